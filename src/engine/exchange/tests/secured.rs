//! Peers known by their DTLS identity: moves, proofs, and the record that each message came in.

use std::net::SocketAddr;

use bytes::Bytes;

use super::{Bench, TIMING, request, requested, sent};
use crate::base::peer::{DeviceSeq, Mark, Peer};
use crate::engine::exchange::{
    Arrival, Event, Failure, Outgoing, Outputs, Request, Response, Resume, Route, Timing,
};
use crate::wire::coap::{Block, Builder, Code, Message, Token, Type};

const DEVICE: DeviceSeq = DeviceSeq(7);
const PEER: Peer = Peer::Secured(DEVICE);

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 7], port))
}

fn mark(port: u16, seq: u64) -> Mark {
    let session = 3;
    let address = at(port);
    Mark {
        session,
        seq,
        address,
        is_proven: true,
    }
}

impl Bench {
    /// A record from a port.
    fn record(&mut self, route: Route, mark: Mark, message: &Builder) -> Outputs {
        let arrival = Arrival {
            peer: PEER,
            bytes: message.build().into(),
            mark: Some(mark),
            route,
        };
        self.arrive(arrival, false)
    }

    /// A request of ours that is no observation.
    fn read(&mut self, token: u64, first: u16) -> Outputs {
        let mut read = request(PEER, token);
        read.options.remove(0);
        read.msg_ids.first = first;
        self.send(Outgoing::Request(Box::new(read)))
    }

    /// Whether an answer of 1000 bytes to a short request leaves: only to a proven address.
    fn gets_bulk(&mut self, port: u16, msg_id: u16) -> bool {
        let get = Builder::new(Type::Confirmable, Code::GET, msg_id, Token::EMPTY).path("/p");
        let id = requested(&self.record(Route::Unproven, mark(port, msg_id.into()), &get));
        let response = Response {
            payload: Bytes::from(vec![0; 1000]),
            timing: Some(TIMING),
            ..Response::refusal(Code::CONTENT)
        };
        !self
            .send(Outgoing::Respond { id, response })
            .datagrams
            .is_empty()
    }
}

fn ack(msg_id: u16) -> Builder {
    Builder::empty(Type::Acknowledgement, msg_id)
}

fn post(msg_id: u16) -> Builder {
    super::post(msg_id)
}

/// Registered in a session whose cookie proved the address.
fn settled() -> Bench {
    let mut bench = Bench::new();
    let id = requested(&bench.record(Route::Proven, mark(1, 1), &post(1)));
    bench.answer(id, Some(1));
    bench
}

#[test]
fn a_cookie_proves_an_address_from_the_first_message_on() {
    let mut bench = settled();
    assert!(bench.gets_bulk(1, 2));
    // Also when the first message is the one with the long answer.
    let mut bench = Bench::new();
    let get = Builder::new(Type::Confirmable, Code::GET, 1, Token::EMPTY).path("/p");
    let out = bench.record(Route::Proven, mark(1, 1), &get);
    assert_eq!(out.proven, [], "nothing new to the layer below");
    let response = Response {
        payload: Bytes::from(vec![0; 1000]),
        ..Response::refusal(Code::CONTENT)
    };
    let id = requested(&out);
    assert_eq!(
        bench
            .send(Outgoing::Respond { id, response })
            .datagrams
            .len(),
        1
    );
    // Nobody has vouched for this one.
    assert!(!Bench::new().gets_bulk(1, 1));
}

/// A device that reboots may begin with the same message id and token each time.
#[test]
fn a_new_session_has_message_ids_of_its_own() {
    let mut bench = settled();
    let again = bench.record(Route::Proven, mark(1, 2), &post(1));
    assert!(
        again
            .events
            .iter()
            .all(|e| !matches!(e, Event::Request { .. }))
    );
    assert_eq!(again.datagrams.len(), 1, "the answer of before");
    let rebooted = Mark {
        session: 4,
        ..mark(2, 1)
    };
    requested(&bench.record(Route::Proven, rebooted, &post(1)));
}

#[test]
fn a_moved_peer_gets_three_times_what_it_sends_until_it_echoes() {
    let mut bench = settled();
    assert!(bench.gets_bulk(1, 2));
    let long = post(9).payload(&[0; 1000]);
    let id = requested(&bench.record(Route::Unproven, mark(1, 2), &long));
    bench.answer(id, Some(2));
    // What came from the old address and went there counts no more, either way.
    let moved = bench.record(Route::Moved, mark(2, 3), &post(3));
    let answer = bench.answer(requested(&moved), Some(3));
    assert_eq!(sent(&answer), [(Type::Acknowledgement, Code::CHANGED, 3)]);
    assert!(!bench.gets_bulk(2, 4));
    assert_eq!(bench.read(50, 200).datagrams.len(), 1);
    let out = bench.record(Route::Unproven, mark(2, 5), &ack(200));
    assert_eq!(out.proven, [(DEVICE, at(2))]);
    assert!(bench.gets_bulk(2, 6));
    // Once for each move.
    bench.read(51, 201);
    let out = bench.record(Route::Unproven, mark(2, 7), &ack(201));
    assert_eq!(out.proven, []);
    bench.record(Route::Moved, mark(3, 8), &Builder::empty(Type::Reset, 999));
    bench.read(52, 202);
    let out = bench.record(Route::Unproven, mark(3, 9), &ack(202));
    assert_eq!(out.proven, [(DEVICE, at(3))]);
}

/// Name, the device's answer to the request 200 with token 50, and whether it proves an address.
#[test]
fn what_proves_an_address() {
    let answer = |ty, msg_id| Builder::new(ty, Code::CONTENT, msg_id, Token::from_u64(50));
    let rows = [
        ("acknowledgement", ack(200), true),
        ("reset", Builder::empty(Type::Reset, 200), true),
        ("answer on it", answer(Type::Acknowledgement, 200), true),
        ("separate answer", answer(Type::Confirmable, 9), true),
        ("another id", ack(199), false),
        ("another token", answer(Type::Acknowledgement, 199), false),
    ];
    for (name, reply, proves) in rows {
        for observes in [false, true] {
            let mut bench = settled();
            bench.record(Route::Moved, mark(2, 2), &post(2));
            if observes {
                let mut observe = request(PEER, 50);
                observe.msg_ids.first = 200;
                bench.send(Outgoing::Request(Box::new(observe)));
            } else {
                bench.read(50, 200);
            }
            let out = bench.record(Route::Unproven, mark(2, 3), &reply);
            // A notification needs no request: the token of an observation is an old one.
            let proves = proves && !(observes && name == "separate answer");
            let want = Vec::from_iter(proves.then_some((DEVICE, at(2))));
            assert_eq!(out.proven, want, "{name}, observes: {observes}");
            assert_eq!(bench.gets_bulk(2, 77), proves, "{name}");
        }
    }
}

#[test]
fn an_echo_of_what_went_elsewhere_proves_nothing() {
    let mut bench = settled();
    bench.read(50, 200);
    // Waits for its turn: it will go to the new address first.
    assert!(bench.read(51, 201).datagrams.is_empty());
    let moved = bench.record(Route::Moved, mark(2, 2), &post(2));
    bench.answer(requested(&moved), Some(3));
    let again = bench.pass(23.0);
    assert_eq!(sent(&again), [(Type::Confirmable, Code::GET, 200)]);
    let out = bench.record(Route::Unproven, mark(2, 3), &ack(200));
    assert_eq!(out.proven, [], "it may have got it where it was");
    assert!(matches!(out.events[..], [Event::Acknowledged { .. }]));
    assert_eq!(sent(&out), [(Type::Confirmable, Code::GET, 201)]);
    // The answer to the first one, with a token that it knew before.
    let answer = Builder::new(Type::Confirmable, Code::CONTENT, 9, Token::from_u64(50));
    let out = bench.record(Route::Unproven, mark(2, 4), &answer);
    assert_eq!(out.proven, []);
    let out = bench.record(Route::Unproven, mark(2, 5), &ack(201));
    assert_eq!(out.proven, [(DEVICE, at(2))]);
}

#[test]
fn a_request_goes_on_over_a_move_and_fails_in_its_time() {
    let mut bench = settled();
    bench.read(50, 200);
    let moved = bench.record(Route::Moved, mark(2, 2), &post(2));
    bench.answer(requested(&moved), Some(3));
    let mut all = Outputs::default();
    for _ in 0..160 {
        let out = bench.pass(1.0);
        all.datagrams.extend(out.datagrams);
        all.events.extend(out.events);
    }
    let repeats = all.datagrams.iter().filter(|(peer, _)| *peer == PEER);
    assert_eq!(repeats.count(), 2);
    let [
        Event::Failed {
            peer: PEER,
            reason: Failure::Timeout,
            mark: None,
            ..
        },
    ] = all.events[..]
    else {
        panic!("{all:?}");
    };
}

#[test]
fn a_body_in_blocks_survives_a_move_and_has_the_mark_of_its_last_block() {
    let mut bench = settled();
    let body: Vec<u8> = (0..3000u32).map(|n| (n % 251) as u8).collect();
    for (num, part) in (0u16..).zip(body.chunks(1024)) {
        let block = Block::new(num.into(), num < 2, 6).unwrap();
        let message = Builder::new(Type::Confirmable, Code::POST, 10 + num, Token::EMPTY)
            .path("/t/d")
            .block1(block)
            .payload(part);
        // Another port with every block.
        let mark = mark(10 + num, 10 + u64::from(num));
        let out = bench.record(Route::Moved, mark, &message);
        if num < 2 {
            let want = (Type::Acknowledgement, Code::CONTINUE, 10 + num);
            assert_eq!(sent(&out), [want]);
            continue;
        }
        let [Event::Request { message, .. }] = &out.events[..] else {
            panic!("{out:?}");
        };
        assert_eq!(message.payload(), body);
        assert_eq!(message.mark(), Some(mark));
    }
}

#[test]
fn the_rest_of_a_notification_is_fetched_over_a_move() {
    let mut bench = settled();
    let token = Token::from_u64(42);
    let note = Builder::new(Type::Confirmable, Code::CONTENT, 9, token)
        .observe(7)
        .block2(Block::new(0, true, 6).unwrap())
        .payload(&[1; 1024]);
    let out = bench.record(Route::Unproven, mark(1, 2), &note);
    let [
        Event::Response {
            settle,
            ref message,
            ..
        },
    ] = out.events[..]
    else {
        panic!("{out:?}");
    };
    assert_eq!(message.mark(), Some(mark(1, 2)));
    let first = message.clone();
    let resume = Some(Resume { first, settle });
    let fetch = Request {
        resume,
        ..request(PEER, 42)
    };
    let out = bench.send(Outgoing::Request(Box::new(fetch)));
    let asked = Message::parse(&out.datagrams[0].1).unwrap();
    let rest = Builder::new(
        Type::Acknowledgement,
        Code::CONTENT,
        asked.msg_id,
        asked.token,
    )
    .block2(Block::new(1, false, 6).unwrap())
    .payload(&[2; 10]);
    let out = bench.record(Route::Moved, mark(2, 3), &rest);
    let [
        Event::Response {
            settle: Some(_),
            ref message,
            ..
        },
    ] = out.events[..]
    else {
        panic!("{out:?}");
    };
    assert_eq!(message.payload().len(), 1034);
    assert_eq!(message.mark(), Some(mark(2, 3)));
    assert_eq!(out.proven, [], "it was asked where the device was before");
}

#[test]
fn every_event_of_a_record_has_its_mark() {
    let mut bench = settled();
    bench.read(50, 200);
    let out = bench.record(Route::Unproven, mark(1, 2), &ack(200));
    let acknowledged = Event::Acknowledged {
        peer: PEER,
        token: Token::from_u64(50),
        mark: Some(mark(1, 2)),
    };
    assert_eq!(out.events, [acknowledged]);
    bench.read(51, 201);
    let reset = Builder::empty(Type::Reset, 201);
    let out = bench.record(Route::Unproven, mark(1, 3), &reset);
    let failed = Event::Failed {
        peer: PEER,
        token: Token::from_u64(51),
        reason: Failure::Reset,
        mark: Some(mark(1, 3)),
    };
    assert_eq!(out.events, [failed]);
    let out = bench.record(Route::Unproven, mark(1, 4), &post(4));
    let [Event::Request { message, .. }] = &out.events[..] else {
        panic!("{out:?}");
    };
    assert_eq!(message.mark(), Some(mark(1, 4)));
}

#[test]
fn a_session_and_an_address_are_different_peers() {
    let mut bench = settled();
    let out = bench.receive(Peer::Plain(at(1)), &post(1));
    requested(&out);
    // In the session it is a repetition, wherever it comes from: only its record is news.
    let out = bench.record(Route::Moved, mark(2, 2), &post(1));
    let repeated = Event::Repeated {
        peer: PEER,
        mark: mark(2, 2),
    };
    assert_eq!(out.events, [repeated]);
    assert_eq!(sent(&out), [(Type::Acknowledgement, Code::CHANGED, 1)]);
    bench.pass(Timing::default().exchange_lifetime.as_secs_f64() + 1.0);
    let out = bench.record(Route::Unproven, mark(2, 3), &post(1));
    requested(&out);
}
