//! What happens when an exchange does not go its usual way.

use bytes::Bytes;

use super::{Bench, peer, post, request, requested, sent};
use crate::engine::exchange::{
    Event, Failure, Outgoing, Outputs, ReplyId, Request, Response, Resume, Settle,
};
use crate::wire::coap::{Block, Builder, Code, Message, Token, Type};

/// A first block of a notification, and the fetch of its rest under way.
fn fetching(bench: &mut Bench) -> (Builder, ReplyId, Outputs) {
    let note = Builder::new(Type::Confirmable, Code::CONTENT, 9, Token::from_u64(42))
        .observe(7)
        .block2(Block::new(0, true, 6).unwrap())
        .payload(&[7; 1024]);
    let out = bench.receive(peer(), &note);
    let [
        Event::Response {
            settle: Some(id),
            message,
            ..
        },
    ] = out.events.as_slice()
    else {
        panic!("{out:?}");
    };
    let resume = Some(Resume {
        first: message.clone(),
        settle: Some(*id),
    });
    let fetch = Request {
        resume,
        ..request(peer(), 42)
    };
    (note, *id, bench.send(Outgoing::Request(Box::new(fetch))))
}

#[test]
fn a_notification_during_a_fetch_is_not_taken_for_its_answer() {
    let mut bench = Bench::new();
    let (_, _, out) = fetching(&mut bench);
    let asked = Message::parse(&out.datagrams[0].1).unwrap();
    assert_ne!(asked.token, Token::from_u64(42));
    let other = Builder::new(Type::Confirmable, Code::CONTENT, 10, Token::from_u64(42))
        .observe(8)
        .payload(b"other");
    let out = bench.receive(peer(), &other);
    assert!(out.datagrams.is_empty(), "acknowledged without effect");
    let [
        Event::Response {
            settle: Some(_),
            solicited: false,
            message,
            ..
        },
    ] = out.events.as_slice()
    else {
        panic!("{out:?}");
    };
    assert_eq!(message.payload(), b"other"[..]);
}

#[test]
fn a_failed_fetch_lets_the_notification_be_heard_again() {
    type End = fn(&mut Bench, &Outputs) -> Outputs;
    let reset: End = |bench, out| {
        let asked = Message::parse(&out.datagrams[0].1).unwrap().msg_id;
        bench.receive(peer(), &Builder::empty(Type::Reset, asked))
    };
    let timeout: End = |bench, _| {
        let mut all = Outputs::default();
        for _ in 0..160 {
            all.events.extend(bench.pass(1.0).events);
        }
        all
    };
    let cancel: End = |bench, _| {
        bench.send(Outgoing::Cancel {
            peer: peer(),
            tokens: vec![Token::from_u64(42)],
        })
    };
    for (name, end) in [("reset", reset), ("timeout", timeout), ("cancel", cancel)] {
        let mut bench = Bench::new();
        let (note, _, out) = fetching(&mut bench);
        let ended = end(&mut bench, &out);
        for event in &ended.events {
            let Event::Failed { reason, .. } = event else {
                panic!("{name}: {event:?}")
            };
            assert_ne!(
                *reason,
                Failure::Reset,
                "{name}: the observation itself stands"
            );
        }
        let again = bench.receive(peer(), &note);
        assert!(
            matches!(again.events[..], [Event::Response { .. }]),
            "{name}: {again:?}"
        );
    }
}

#[test]
fn a_late_refusal_of_a_stranger_still_arrives() {
    let mut bench = Bench::new();
    let id = requested(&bench.receive(peer(), &post(5)));
    assert!(bench.exchange.next_timeout().unwrap() <= bench.now + super::Duration::from_secs(2));
    assert_eq!(
        sent(&bench.pass(1.6)),
        [(Type::Acknowledgement, Code::EMPTY, 5)]
    );
    let response = Response::refusal(Code::SERVICE_UNAVAILABLE);
    let out = bench.send(Outgoing::Respond { id, response });
    let [(Type::Confirmable, Code::SERVICE_UNAVAILABLE, msg_id)] = sent(&out)[..] else {
        panic!("{out:?}");
    };
    bench.receive(peer(), &Builder::empty(Type::Acknowledgement, msg_id));
}

#[test]
fn a_repetition_after_a_separate_answer_is_acknowledged() {
    let mut bench = Bench::new();
    let id = requested(&bench.receive(peer(), &post(5)));
    bench.pass(1.6);
    bench.answer(id, Some(900));
    assert_eq!(
        sent(&bench.receive(peer(), &post(5))),
        [(Type::Acknowledgement, Code::EMPTY, 5)]
    );
}

#[test]
fn eight_broken_transfers_do_not_lock_an_address_out() {
    let mut bench = Bench::new();
    for msg_id in 0..8 {
        let note = Builder::new(
            Type::Confirmable,
            Code::CONTENT,
            msg_id,
            Token::from_u64(42),
        )
        .observe(7)
        .block2(Block::new(0, true, 6).unwrap())
        .payload(b"short");
        let out = bench.receive(peer(), &note);
        let [
            Event::Response {
                settle, message, ..
            },
        ] = out.events.as_slice()
        else {
            panic!()
        };
        let resume = Some(Resume {
            first: message.clone(),
            settle: *settle,
        });
        bench.send(Outgoing::Request(Box::new(Request {
            resume,
            ..request(peer(), 42)
        })));
    }
    requested(&bench.receive(peer(), &post(100)));
}

#[test]
fn strangers_blocks_leave_no_peers() {
    let mut bench = Bench::new();
    for port in 1..=500 {
        let stranger = super::Peer::Plain(super::SocketAddr::from(([192, 0, 2, 9], port)));
        let first = Builder::new(Type::Confirmable, Code::POST, 1, Token::EMPTY)
            .path("/t/d")
            .block1(Block::new(0, true, 2).unwrap())
            .payload(&[0; 64]);
        assert_eq!(
            sent(&bench.receive(stranger, &first)),
            [(Type::Acknowledgement, Code::CONTINUE, 1)]
        );
    }
    assert_eq!(bench.exchange.peers(), 0);
}

#[test]
fn a_crowd_of_strangers_makes_room_for_the_next() {
    let settings = super::Settings {
        peers_max: 100,
        ..super::Settings::default()
    };
    let mut bench = Bench::with(settings);
    for port in 1..=300 {
        let stranger = super::Peer::Plain(super::SocketAddr::from(([192, 0, 2, 9], port)));
        let id = requested(&bench.receive(stranger, &post(1)));
        bench.answer(id, Some(1));
        bench.pass(0.1);
    }
    assert!(bench.exchange.peers() <= 100);
    let how = Settle::Silent;
    let note = Builder::new(Type::Confirmable, Code::CONTENT, 9, Token::from_u64(42));
    let out = bench.receive(peer(), &note.payload(&Bytes::from_static(b"x")));
    let [
        Event::Response {
            settle: Some(id), ..
        },
    ] = out.events[..]
    else {
        panic!("{out:?}")
    };
    bench.send(Outgoing::Settle {
        id,
        how,
        timing: None,
    });
}

#[test]
fn a_request_to_an_address_of_which_nothing_is_left_goes_out() {
    let mut bench = Bench::new();
    assert_eq!(bench.observe(peer(), 42).datagrams.len(), 1);
}

/// One that only asks, as in a download that a restart of ours interrupts: its reset proves its address.
#[test]
fn a_known_device_that_asks_for_too_much_is_pinged_and_then_answered() {
    let mut bench = Bench::new();
    let get = Builder::new(Type::Confirmable, Code::GET, 1, Token::EMPTY).path("/fw/p");
    let ask = |bench: &mut Bench, remember| {
        let id = requested(&bench.receive(peer(), &get));
        let response = Response {
            payload: Bytes::from(vec![0; 512]),
            remember,
            ..Response::refusal(Code::CONTENT)
        };
        bench.send(Outgoing::Respond { id, response })
    };
    assert_eq!(sent(&ask(&mut bench, None)), [], "nobody of ours");
    let known = Some(super::Duration::ZERO);
    let out = ask(&mut bench, known);
    let [(Type::Confirmable, Code::EMPTY, ping)] = sent(&out)[..] else {
        panic!("{out:?}");
    };
    assert_eq!(sent(&ask(&mut bench, known)), [], "it is asked already");
    bench.receive(peer(), &Builder::empty(Type::Reset, ping.wrapping_add(1)));
    assert_eq!(sent(&ask(&mut bench, known)), [], "that was a guess");
    bench.receive(peer(), &Builder::empty(Type::Reset, ping));
    let answer = (Type::Acknowledgement, Code::CONTENT, 1);
    assert_eq!(sent(&ask(&mut bench, known)), [answer]);
}

#[test]
fn a_ping_that_nobody_answers_goes_once_and_bars_the_way_no_longer_than_that() {
    let mut bench = Bench::new();
    let get = Builder::new(Type::Confirmable, Code::GET, 1, Token::EMPTY).path("/fw/p");
    let id = requested(&bench.receive(peer(), &get));
    let response = Response {
        payload: Bytes::from(vec![0; 512]),
        remember: Some(super::Duration::ZERO),
        ..Response::refusal(Code::CONTENT)
    };
    bench.send(Outgoing::Respond { id, response });
    assert_eq!(sent(&bench.observe(peer(), 42)), [], "waits for its turn");
    let out = bench.pass(23.0);
    assert_eq!(sent(&out), [(Type::Confirmable, Code::GET, 100)]);
    assert!(out.events.is_empty(), "{out:?}");
}
