//! Arbitrary datagrams: no panic, bounded state.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::Bench;
use crate::base::peer::{DeviceSeq, Mark, Peer};
use crate::engine::exchange::{Arrival, Event, Route};

proptest! {
    /// Whatever arrives from whomever: no panic, bounded state, and in the end none.
    #[test]
    fn any_datagrams_leave_bounded_state(
        datagrams in prop::collection::vec(
            (0u16..20, prop::collection::vec(any::<u8>(), 0..40), any::<bool>(), 0u32..3),
            0..80,
        ),
    ) {
        let mut bench = Bench::new();
        let mut open = Vec::new();
        for (port, mut bytes, shaped, choice) in datagrams {
            if shaped && bytes.len() >= 4 {
                bytes[0] = 0x40 | (bytes[0] & 0x31);
            }
            let address = SocketAddr::from(([192, 0, 2, 2], 1000 + port));
            let (from, mark) = match port % 2 {
                0 => (Peer::Plain(address), None),
                _ => {
                    let (device, seq) = (DeviceSeq(port.into()), bytes.len() as u64);
                    (Peer::Secured(device), Some(Mark { session: 1, seq, address, is_proven: false }))
                }
            };
            let route = match (mark, choice) {
                (None, _) | (_, 0) => Route::Unproven,
                (_, 1) => Route::Moved,
                _ => Route::Proven,
            };
            let arrival = Arrival { peer: from, bytes: bytes.into(), mark, route };
            let out = bench.arrive(arrival, false);
            for event in out.events {
                match event {
                    Event::Request { id, .. } => open.push(id),
                    Event::Response { settle: Some(id), .. } => open.push(id),
                    Event::Response { .. } | Event::Repeated { .. } | Event::Acknowledged { .. } | Event::Sent { .. } | Event::Failed { .. } => {}
                }
            }
            match choice {
                0 => { bench.pass(0.7); }
                1 => { bench.observe(from, u64::from(port)); }
                _ => if let Some(id) = open.pop() { bench.answer(id, Some(7)); },
            }
        }
        for id in open {
            bench.answer(id, Some(8));
        }
        for _ in 0..200 {
            bench.pass(10.0);
        }
        prop_assert_eq!(bench.exchange.peers(), 0);
    }
}
