//! Arbitrary datagrams, and valid flights that were bent: no panic, bounded state, and a session
//! that stands goes on.

use std::time::Duration;

use proptest::prelude::*;

use super::client::Offer;
use super::world::{World, at, ccm8, client};
use crate::engine::dtls::crypto::Suite;

/// What is done to a datagram on its way.
#[derive(Debug, Clone)]
enum Bend {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Drop,
    Twice,
    Swap,
    Append(Vec<u8>),
    Elsewhere,
}

fn bends() -> impl Strategy<Value = Bend> {
    prop_oneof![
        (any::<prop::sample::Index>(), 1..=255_u8).prop_map(|(at, bits)| Bend::Flip(at, bits)),
        any::<prop::sample::Index>().prop_map(Bend::Cut),
        Just(Bend::Drop),
        Just(Bend::Twice),
        Just(Bend::Swap),
        prop::collection::vec(any::<u8>(), 1..60).prop_map(Bend::Append),
        Just(Bend::Elsewhere),
    ]
}

fn bend(flight: Vec<Vec<u8>>, bend: Option<&Bend>) -> Vec<(u16, Vec<u8>)> {
    let mut bent: Vec<(u16, Vec<u8>)> = flight.into_iter().map(|d| (1, d)).collect();
    let Some(first) = bent.first_mut() else {
        return bent;
    };
    match bend {
        None => {}
        Some(Bend::Flip(index, bits)) => {
            let at = index.index(first.1.len());
            first.1[at] ^= bits;
        }
        Some(Bend::Cut(index)) => {
            let at = index.index(first.1.len());
            first.1.truncate(at);
        }
        Some(Bend::Drop) => drop(bent.remove(0)),
        Some(Bend::Twice) => {
            let again = first.clone();
            bent.push(again);
        }
        Some(Bend::Swap) => bent.reverse(),
        Some(Bend::Append(bytes)) => first.1.extend_from_slice(bytes),
        Some(Bend::Elsewhere) => first.0 = 2,
    }
    bent
}

proptest! {
    #[test]
    fn any_datagrams_are_no_panic_and_leave_little(
        datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..40),
    ) {
        let mut world = World::new();
        let mut device = world.connect(1, ccm8().with_cid(b""), at(1));
        for datagram in &datagrams {
            world.deliver(at(1), datagram);
            world.deliver(at(2), datagram);
            // As records of known kinds and epochs.
            for (kind, epoch) in [(22, 0), (25, 1), (23, 1), (22, 1)] {
                let mut record = vec![kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 99];
                if kind == 25 {
                    record.extend_from_slice(device.server_cid().unwrap());
                }
                record.extend(u16::try_from(datagram.len()).unwrap().to_be_bytes());
                record.extend_from_slice(datagram);
                world.deliver(at(1), &record);
            }
        }
        prop_assert!(world.dtls.counts().0 == 0, "nothing without a cookie");
        prop_assert!(world.received.is_empty());
        world.talk(1, &mut device, at(1));
    }

    /// Whatever happens to the flights of another handshake on the same address, the session that
    /// stands goes on, until that handshake proves itself; and with its timers the client connects.
    #[test]
    fn bent_flights_end_well(
        suite in 0..4_usize,
        cid in any::<bool>(),
        bending in prop::collection::vec(prop::option::weighted(0.5, bends()), 0..12),
    ) {
        let mut world = World::new();
        let mut other = world.connect(9, ccm8().with_cid(b""), at(1));
        let offer = Offer { cid: cid.then(Vec::new), ..Offer::of(Suite::ALL[suite]) };
        let mut client = client(1, offer, 5);
        let mut to_server = client.start();
        let mut bending = bending.iter();
        let mut silent = 0;
        for _ in 0..60 {
            let mut next = Vec::new();
            for (port, datagram) in bend(to_server, bending.next().and_then(Option::as_ref)) {
                for (to, answer) in world.deliver(at(port), &datagram) {
                    if to == at(1) {
                        next.extend(client.receive(&answer));
                    }
                }
            }
            world.talk(9, &mut other, at(1));
            if client.is_connected() {
                break;
            }
            if next.is_empty() {
                for (to, answer) in world.pass(Duration::from_secs(3)) {
                    if to == at(1) {
                        next.extend(client.receive(&answer));
                    }
                }
                silent += 1;
                // What was bent behind its cookie never verifies: the device begins anew.
                if silent % 5 == 0 {
                    client = super::world::client(1, client.offer, 50 + silent);
                    next = client.start();
                } else {
                    next.extend(client.repeat());
                }
            }
            // A network does not multiply for ever.
            next.truncate(6);
            to_server = next;
        }
        prop_assert!(client.is_connected(), "{:?} {:?}", client.stage, world.reports);
        world.talk(1, &mut client, at(1));
        world.talk(9, &mut other, at(1));
    }
}
