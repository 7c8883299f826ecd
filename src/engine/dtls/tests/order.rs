//! The table of sessions against a plain list of them.

use proptest::prelude::*;

use super::world::at;
use crate::base::peer::DeviceSeq;
use crate::base::secret::Secret;
use crate::engine::dtls::Stored;
use crate::engine::dtls::crypto::Suite;
use crate::engine::dtls::session::Session;
use crate::engine::dtls::sessions::{Sessions, cid_of};

const MAX: usize = 6;
const HERE_MAX: usize = 3;

#[derive(Debug, Clone)]
enum Call {
    Add(u64, u16, bool),
    TakeUp(u64, u16, bool),
    Use(u64),
    Remove(u64),
}

/// As the table should have it.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    stored: Stored,
    is_here: bool,
}

/// The newest first.
#[derive(Debug, Default)]
struct Model(Vec<Entry>);

fn calls() -> impl Strategy<Value = Call> {
    let device = 1..9_u64;
    let port = 1..5_u16;
    prop_oneof![
        3 => (device.clone(), port.clone(), any::<bool>())
            .prop_map(|(device, port, cid)| Call::Add(device, port, cid)),
        1 => (device.clone(), port, any::<bool>())
            .prop_map(|(device, port, cid)| Call::TakeUp(device, port, cid)),
        4 => device.clone().prop_map(Call::Use),
        1 => device.prop_map(Call::Remove),
    ]
}

fn stored(device: u64, number: u64, port: u16, cid: bool) -> Stored {
    Stored {
        device: DeviceSeq(device),
        number,
        own_cid: cid.then(|| cid_of(number, [1, 2, 3])),
        peer_cid: Box::default(),
        address: at(port),
        suite: Suite::Ccm8,
        encrypt_then_mac: false,
        is_proven: true,
        return_routability: false,
        key_block: Secret::new(vec![7; 40]),
        verify_data: [0; 12],
        finished_seq: 3,
        send_reserved: 1024,
        received: Some(number),
    }
}

impl Model {
    fn place(&self, device: u64) -> Option<usize> {
        self.0
            .iter()
            .position(|e| e.stored.device == DeviceSeq(device))
    }

    fn at_address(&self, stored: &Stored) -> Option<usize> {
        let here = |e: &Entry| e.stored.own_cid.is_none() && e.stored.address == stored.address;
        self.0.iter().position(here)
    }

    fn here(&self) -> usize {
        self.0.iter().filter(|e| e.is_here).count()
    }

    /// The oldest that is here leaves the memory when there are too many.
    fn put_away(&mut self) {
        if self.here() > HERE_MAX
            && let Some(oldest) = self.0.iter_mut().rev().find(|e| e.is_here)
        {
            oldest.is_here = false;
        }
    }

    fn add(&mut self, stored: Stored) -> Vec<u64> {
        let mut gone = Vec::new();
        self.0.retain(|e| {
            let replaced = e.stored.device == stored.device
                || stored.own_cid.is_none()
                    && e.stored.own_cid.is_none()
                    && e.stored.address == stored.address;
            if replaced {
                gone.push(e.stored.number);
            }
            !replaced
        });
        if self.0.len() >= MAX {
            gone.extend(self.0.pop().map(|e| e.stored.number));
        }
        let is_here = true;
        self.0.insert(0, Entry { stored, is_here });
        self.put_away();
        gone.sort_unstable();
        gone
    }

    fn take_up(&mut self, stored: Stored) -> bool {
        let is_taken = self.place(stored.device.0).is_some()
            || stored.own_cid.is_none() && self.at_address(&stored).is_some();
        if is_taken || self.0.len() >= MAX {
            return false;
        }
        let is_here = self.here() < HERE_MAX;
        self.0.push(Entry { stored, is_here });
        true
    }
}

/// Uses a device's session as a record does.
fn use_it(table: &mut Sessions, stored: &Stored) {
    let index = table.by_device(stored.device).unwrap();
    table.touch(index);
    let slot = table.slot(index).unwrap();
    if !slot.is_here() {
        let mut session = Session::restore(stored).unwrap();
        slot.close_window(&mut session);
        table.bring_back(index, Box::new(session));
        table.put_away();
    }
}

proptest! {
    #[test]
    fn sessions_stand_as_in_a_plain_list(calls in prop::collection::vec(calls(), 0..60)) {
        let mut table = Sessions::new(MAX, HERE_MAX);
        let mut model = Model::default();
        // Taking up is what a start does: before anything is used.
        let (starts, runs): (Vec<_>, Vec<_>) =
            calls.into_iter().partition(|call| matches!(call, Call::TakeUp(..)));
        for (number, call) in (1..).zip(starts.into_iter().chain(runs)) {
            match call {
                Call::Add(device, port, cid) => {
                    let stored = stored(device, number, port, cid);
                    let session = Session::begin(&stored).unwrap();
                    let gone = table.add(&stored, Box::new(session));
                    table.put_away();
                    let mut gone: Vec<u64> = gone.iter().map(|(slot, _)| slot.number).collect();
                    gone.sort_unstable();
                    prop_assert_eq!(gone, model.add(stored));
                }
                Call::TakeUp(device, port, cid) => {
                    let stored = stored(device, number, port, cid);
                    prop_assert_eq!(table.take_up(&stored), model.take_up(stored));
                }
                Call::Use(device) => {
                    if let Some(place) = model.place(device) {
                        use_it(&mut table, &model.0[place].stored);
                        let entry = model.0.remove(place);
                        model.0.insert(0, Entry { is_here: true, ..entry });
                        model.put_away();
                    }
                }
                Call::Remove(device) => {
                    let place = model.place(device);
                    let want = place.map(|place| model.0.remove(place).stored.number);
                    let index = table.by_device(DeviceSeq(device));
                    let got = index.and_then(|index| table.remove(index));
                    prop_assert_eq!(got.map(|slot| slot.number), want);
                }
            }
            prop_assert_eq!(table.count(), (model.0.len(), model.here()));
            for entry in &model.0 {
                let index = table.by_device(entry.stored.device).unwrap();
                let slot = table.slot(index).unwrap();
                prop_assert_eq!(slot.number, entry.stored.number);
                prop_assert_eq!(slot.is_here(), entry.is_here);
                prop_assert_eq!(slot.received(), entry.stored.received);
                match &entry.stored.own_cid {
                    Some(cid) => prop_assert_eq!(table.by_cid(cid), Some(index)),
                    None => prop_assert_eq!(table.by_address(entry.stored.address), Some(index)),
                }
            }
        }
        // The oldest goes first, to the last one.
        while let Some(last) = model.0.pop() {
            let index = table.by_device(last.stored.device).unwrap();
            prop_assert_eq!(table.remove(index).map(|slot| slot.number), Some(last.stored.number));
            prop_assert_eq!(table.count(), (model.0.len(), model.here()));
        }
    }
}

#[test]
fn keys_that_fit_no_suite_are_not_taken_up() {
    let mut table = Sessions::new(MAX, HERE_MAX);
    let broken = Stored {
        key_block: Secret::new(vec![7; 39]),
        ..stored(1, 1, 1, false)
    };
    assert!(!table.take_up(&broken));
    assert_eq!(table.count(), (0, 0));
}
