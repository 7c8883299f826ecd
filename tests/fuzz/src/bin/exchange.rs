//! Datagrams of a few peers against the message layer, with time between them: `[who and when, length, bytes …] …`.
//! Requests and notifications are answered; what is remembered of peers stays within bounds.

#![no_main]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use strait::base::peer::{DeviceSeq, Mark, Peer};
use strait::engine::exchange::{
    Arrival, Event, Exchange, Outgoing, Outputs, Response, Route, Settings,
};
use strait::wire::coap::Code;

fuzz_target!(|input: &[u8]| {
    let mut now = Instant::now();
    let mut exchange = Exchange::new(Settings::default(), now, fastrand::Rng::with_seed(1));
    let mut out = Outputs::default();
    let mut rest = input;
    while let [head, len, more @ ..] = rest {
        let (datagram, after) = more.split_at((*len as usize).min(more.len()));
        rest = after;
        let address = SocketAddr::from(([192, 0, 2, 1], 1000 + u16::from(head & 3)));
        let arrival = match head & 4 {
            0 => Arrival::plain(address, Bytes::copy_from_slice(datagram)),
            _ => Arrival {
                peer: Peer::Secured(DeviceSeq(u64::from(head & 3))),
                bytes: Bytes::copy_from_slice(datagram),
                mark: Some(Mark {
                    session: 1,
                    seq: rest.len() as u64,
                    address,
                    is_proven: head & 8 != 0,
                }),
                route: match head & 8 {
                    0 => Route::Moved,
                    _ => Route::Proven,
                },
            },
        };
        exchange.receive(now, arrival, head & 16 != 0, &mut out);
        now += Duration::from_millis(u64::from(head >> 5) * 700);
        exchange.tick(now, &mut out);
        out.datagrams.clear();
        for event in std::mem::take(&mut out.events) {
            let id = match event {
                Event::Request { id, .. } => id,
                Event::Response {
                    settle: Some(id), ..
                } => id,
                _ => continue,
            };
            let response = Response::refusal(Code::CONTENT);
            exchange.send(now, Outgoing::Respond { id, response }, &mut out);
        }
        assert!(exchange.peers() <= 8);
    }
});
