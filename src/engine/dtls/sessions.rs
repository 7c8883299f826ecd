//! All sessions, found by device, by number and, those without a connection id, by address. In order
//! of use: the newest keep their keys in memory, the others only their place here, until they are
//! needed again.
//!
//! ```text
//! newest <-> … <-> last with its keys in memory | <-> first without … <-> oldest
//! ```

use std::hash::BuildHasher;
use std::net::SocketAddr;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::session::Session;
use super::types::{Cid, Stored};
use super::window::Window;
use crate::base::peer::DeviceSeq;

/// Where a session stands in the table.
pub(super) type Index = u32;

const NONE: Index = Index::MAX;

/// A session, with its keys or without.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) device: DeviceSeq,
    pub(super) number: u64,
    pub(super) own_cid: Option<Cid>,
    pub(super) address: SocketAddr,
    /// Bytes that may go to an address that has not shown to be the device's; `None`: it has.
    pub(super) allowance: Option<u64>,
    pub(super) keys: Keys,
    newer: Index,
    older: Index,
}

/// Whether the keys are in memory.
#[derive(Debug)]
pub(super) enum Keys {
    Here(Box<Session>),
    /// In the store. What came up to this number is not taken again.
    Stored {
        received: Option<u64>,
    },
}

#[derive(Debug)]
pub(super) struct Sessions {
    slots: Vec<Option<Slot>>,
    free: Vec<Index>,
    by_device: HashTable<Index>,
    by_number: HashTable<Index>,
    by_address: HashTable<Index>,
    hasher: DefaultHashBuilder,
    newest: Index,
    oldest: Index,
    /// The oldest with its keys in memory.
    last_here: Index,
    here: usize,
    max: usize,
    here_max: usize,
}

impl Sessions {
    pub(super) fn new(max: usize, here_max: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_device: HashTable::new(),
            by_number: HashTable::new(),
            by_address: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            newest: NONE,
            oldest: NONE,
            last_here: NONE,
            here: 0,
            max: max.max(1),
            here_max: here_max.max(1),
        }
    }

    /// All, and those with their keys in memory.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.by_device.len(), self.here)
    }

    pub(super) fn slot(&self, index: Index) -> Option<&Slot> {
        self.slots.get(index as usize)?.as_ref()
    }

    pub(super) fn slot_mut(&mut self, index: Index) -> Option<&mut Slot> {
        self.slots.get_mut(index as usize)?.as_mut()
    }

    pub(super) fn by_device(&self, device: DeviceSeq) -> Option<Index> {
        let hash = self.hasher.hash_one(device);
        let is_it = |index: &Index| self.slot(*index).is_some_and(|s| s.device == device);
        self.by_device.find(hash, is_it).copied()
    }

    /// The session that gave this connection id.
    pub(super) fn by_cid(&self, cid: &Cid) -> Option<Index> {
        let number = number_of(cid);
        let hash = self.hasher.hash_one(number);
        let is_it = |index: &Index| self.slot(*index).is_some_and(|s| s.number == number);
        let found = *self.by_number.find(hash, is_it)?;
        (self.slot(found)?.own_cid.as_ref() == Some(cid)).then_some(found)
    }

    /// The session without connection id at this address.
    pub(super) fn by_address(&self, address: SocketAddr) -> Option<Index> {
        let hash = self.hasher.hash_one(address);
        let is_it = |index: &Index| self.slot(*index).is_some_and(|s| s.address == address);
        self.by_address.find(hash, is_it).copied()
    }

    /// Adds a session as the newest; `session` are its keys. Gives back the devices and numbers of
    /// those that it replaces: the device's own, one without connection id at the same address, and
    /// the oldest when there are too many (with `true`).
    pub(super) fn add(&mut self, stored: &Stored, session: Box<Session>) -> Vec<(Slot, bool)> {
        let mut gone = Vec::new();
        let replaced = [
            self.by_device(stored.device),
            stored
                .own_cid
                .is_none()
                .then(|| self.by_address(stored.address))
                .flatten(),
        ];
        for index in replaced.into_iter().flatten() {
            gone.extend(self.remove(index).map(|slot| (slot, false)));
        }
        if self.by_device.len() >= self.max {
            gone.extend(self.remove(self.oldest).map(|slot| (slot, true)));
        }
        let index = self.insert(stored, Keys::Here(session));
        self.link_newest(index);
        self.came_here(index);
        gone
    }

    /// Takes up a stored session at start, as the oldest; its keys come into memory while there is
    /// room. False when there are too many, or another of the device or address is there.
    pub(super) fn take_up(&mut self, stored: &Stored) -> bool {
        let is_taken = self.by_device(stored.device).is_some()
            || stored.own_cid.is_none() && self.by_address(stored.address).is_some();
        if is_taken || self.by_device.len() >= self.max {
            return false;
        }
        let is_here = self.here < self.here_max;
        let keys = if is_here {
            // One whose keys don't fit its suite must not stand among those that are here.
            let Some(session) = Session::restore(stored) else {
                return false;
            };
            Keys::Here(Box::new(session))
        } else {
            Keys::Stored {
                received: stored.received,
            }
        };
        let index = self.insert(stored, keys);
        self.link_oldest(index);
        if is_here {
            self.here += 1;
            self.last_here = index;
        }
        true
    }

    /// The session was used: it is the newest.
    pub(super) fn touch(&mut self, index: Index) {
        if self.newest == index {
            return;
        }
        if self.last_here == index {
            // Never the newest here, so there is a newer one.
            self.last_here = self.slot(index).map_or(NONE, |slot| slot.newer);
        }
        self.unlink(index);
        self.link_newest(index);
    }

    /// The keys of a session came back from the store; it is the newest already.
    pub(super) fn bring_back(&mut self, index: Index, session: Box<Session>) {
        if let Some(slot) = self.slot_mut(index) {
            slot.keys = Keys::Here(session);
            self.came_here(index);
        }
    }

    /// How many sessions' keys left the memory since there are too many: one at most.
    pub(super) fn put_away(&mut self) -> u64 {
        if self.here <= self.here_max {
            return 0;
        }
        let last = self.last_here;
        let Some(slot) = self.slot_mut(last) else {
            return 0;
        };
        let newer = slot.newer;
        if let Keys::Here(session) = &slot.keys {
            slot.keys = Keys::Stored {
                received: session.window.highest(),
            };
        }
        self.last_here = newer;
        self.here -= 1;
        1
    }

    pub(super) fn remove(&mut self, index: Index) -> Option<Slot> {
        let slot = self.slot(index)?;
        let is_here = matches!(slot.keys, Keys::Here(_));
        let newer = slot.newer;
        self.unindex(index);
        if self.last_here == index {
            self.last_here = newer;
        }
        if is_here {
            self.here -= 1;
        }
        self.unlink(index);
        self.free.push(index);
        self.slots.get_mut(index as usize)?.take()
    }

    fn came_here(&mut self, index: Index) {
        self.here += 1;
        if self.last_here == NONE {
            self.last_here = index;
        }
    }

    fn insert(&mut self, stored: &Stored, keys: Keys) -> Index {
        let slot = Slot {
            device: stored.device,
            number: stored.number,
            own_cid: stored.own_cid,
            address: stored.address,
            allowance: (!stored.is_proven).then_some(0),
            keys,
            newer: NONE,
            older: NONE,
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            Index::try_from(self.slots.len() - 1).unwrap_or(NONE)
        });
        if let Some(place) = self.slots.get_mut(index as usize) {
            *place = Some(slot);
        }
        let Self { slots, hasher, .. } = self;
        let of = |index: &Index| slots.get(*index as usize).and_then(Option::as_ref);
        let device = |index: &Index| of(index).map_or(0, |s| hasher.hash_one(s.device));
        let number = |index: &Index| of(index).map_or(0, |s| hasher.hash_one(s.number));
        let address = |index: &Index| of(index).map_or(0, |s| hasher.hash_one(s.address));
        self.by_device.insert_unique(device(&index), index, device);
        if stored.own_cid.is_some() {
            self.by_number.insert_unique(number(&index), index, number);
        } else {
            self.by_address
                .insert_unique(address(&index), index, address);
        }
        index
    }

    fn unindex(&mut self, index: Index) {
        let Some(slot) = self.slots.get(index as usize).and_then(Option::as_ref) else {
            return;
        };
        let is_it = |other: &Index| *other == index;
        let device = self.hasher.hash_one(slot.device);
        let number = self.hasher.hash_one(slot.number);
        let address = self.hasher.hash_one(slot.address);
        for (table, hash) in [
            (&mut self.by_device, device),
            (&mut self.by_number, number),
            (&mut self.by_address, address),
        ] {
            if let Ok(found) = table.find_entry(hash, is_it) {
                found.remove();
            }
        }
    }

    fn link_newest(&mut self, index: Index) {
        let former = std::mem::replace(&mut self.newest, index);
        if let Some(slot) = self.slot_mut(index) {
            slot.newer = NONE;
            slot.older = former;
        }
        match self.slot_mut(former) {
            Some(slot) => slot.newer = index,
            None => self.oldest = index,
        }
    }

    fn link_oldest(&mut self, index: Index) {
        let former = std::mem::replace(&mut self.oldest, index);
        if let Some(slot) = self.slot_mut(index) {
            slot.newer = former;
            slot.older = NONE;
        }
        match self.slot_mut(former) {
            Some(slot) => slot.older = index,
            None => self.newest = index,
        }
    }

    fn unlink(&mut self, index: Index) {
        let Some((newer, older)) = self.slot(index).map(|s| (s.newer, s.older)) else {
            return;
        };
        match self.slot_mut(newer) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
        match self.slot_mut(older) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
    }
}

/// Bytes that an unproven address gets for each that came from it (RFC 9146 §6).
const AMPLIFICATION: u64 = 3;

impl Slot {
    /// An authentic datagram came from an address that has to prove itself.
    pub(super) fn allow(&mut self, len: usize) {
        if let Some(left) = &mut self.allowance {
            *left = left.saturating_add(len as u64 * AMPLIFICATION);
        }
    }

    /// Whether so many bytes may go to the device's address; they count as sent then.
    pub(super) fn spend(&mut self, len: usize) -> bool {
        let Some(left) = &mut self.allowance else {
            return true;
        };
        match left.checked_sub(len as u64) {
            Some(rest) => {
                *left = rest;
                true
            }
            None => false,
        }
    }

    pub(super) const fn is_here(&self) -> bool {
        matches!(self.keys, Keys::Here(_))
    }

    /// The newest record that came; `None` when none did.
    pub(super) fn received(&self) -> Option<u64> {
        match &self.keys {
            Keys::Here(session) => session.window.highest(),
            Keys::Stored { received } => *received,
        }
    }

    /// The session as it must be stored now. `None`: its keys are not here.
    pub(super) fn stored(&self) -> Option<Stored> {
        let Keys::Here(session) = &self.keys else {
            return None;
        };
        let place = (self.address, self.allowance.is_none());
        Some(session.stored(self.device, self.number, self.own_cid, place))
    }

    /// What came before the keys left the memory is not taken again.
    pub(super) fn close_window(&self, session: &mut Session) {
        session.window = Window::closed_at(session.window.highest().max(self.received()));
    }
}

/// The connection id of a session with this number.
pub(super) fn cid_of(number: u64, random: [u8; 3]) -> Cid {
    let [_, _, _, a, b, c, d, e] = number.to_be_bytes();
    let [x, y, z] = random;
    [a, b, c, d, e, x, y, z]
}

pub(super) fn number_of(cid: &Cid) -> u64 {
    let [a, b, c, d, e, ..] = *cid;
    u64::from_be_bytes([0, 0, 0, a, b, c, d, e])
}
