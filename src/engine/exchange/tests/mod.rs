//! The message layer by hazard: duplicates, loss, slowness, strangers, bad input.

mod any;
mod blocks;
mod hazards;
mod secured;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::*;
use crate::wire::coap::{Token, option};
use bytes::Bytes;

const TIMING: Timing = Timing {
    ack_timeout: Duration::from_secs(15),
    max_retransmit: 2,
    exchange_lifetime: Duration::from_millis(282_500),
};

/// An exchange layer with a clock, whose outputs are taken call by call.
struct Bench {
    exchange: Exchange,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "an arbitrary origin; tests move it by hand"
    )]
    fn with(settings: Settings) -> Self {
        let now = Instant::now();
        let rng = fastrand::Rng::with_seed(1);
        Self {
            exchange: Exchange::new(settings, now, rng),
            now,
        }
    }

    fn pass(&mut self, seconds: f64) -> Outputs {
        self.now += Duration::from_secs_f64(seconds);
        let mut out = Outputs::default();
        self.exchange.tick(self.now, &mut out);
        out
    }

    fn receive(&mut self, peer: Peer, message: &Builder) -> Outputs {
        self.receive_bytes(peer, message.build().into(), false)
    }

    fn receive_bytes(&mut self, peer: Peer, bytes: Bytes, busy: bool) -> Outputs {
        let arrival = Arrival {
            peer,
            bytes,
            mark: None,
            route: Route::Unproven,
        };
        self.arrive(arrival, busy)
    }

    fn arrive(&mut self, arrival: Arrival, busy: bool) -> Outputs {
        let mut out = Outputs::default();
        self.exchange.receive(self.now, arrival, busy, &mut out);
        out
    }

    fn send(&mut self, outgoing: Outgoing) -> Outputs {
        let mut out = Outputs::default();
        self.exchange.send(self.now, outgoing, &mut out);
        out
    }

    fn answer(&mut self, id: ReplyId, msg_id: Option<u16>) -> Outputs {
        let response = Response {
            msg_id,
            remember: Some(Duration::MAX),
            timing: Some(TIMING),
            ..Response::refusal(Code::CHANGED)
        };
        self.send(Outgoing::Respond { id, response })
    }

    fn observe(&mut self, peer: Peer, token: u64) -> Outputs {
        self.send(Outgoing::Request(Box::new(request(peer, token))))
    }
}

fn request(peer: Peer, token: u64) -> Request {
    Request {
        peer,
        token: Token::from_u64(token),
        body_token: Token::from_u64(token ^ 1),
        code: Code::GET,
        options: vec![
            (option::OBSERVE, vec![]),
            (option::URI_PATH, b"19".to_vec()),
        ],
        payload: Bytes::new(),
        msg_ids: MsgIds {
            first: 100,
            count: 16,
        },
        timing: TIMING,
        turn_within: None,
        resume: None,
        push: None,
    }
}

fn peer() -> Peer {
    Peer::Plain(SocketAddr::from(([192, 0, 2, 1], 40_000)))
}

fn post(msg_id: u16) -> Builder {
    let token = Token::from_bytes(&[7]).unwrap();
    Builder::new(Type::Confirmable, Code::POST, msg_id, token)
        .path("/t/d")
        .payload(b"0123456789")
}

/// The one request in `out`.
fn requested(out: &Outputs) -> ReplyId {
    match out.events.as_slice() {
        [Event::Request { id, .. }] => *id,
        other => panic!("{other:?}"),
    }
}

/// Type, code, message id.
type Sent = (Type, Code, u16);

fn sent(out: &Outputs) -> Vec<Sent> {
    let parse = |bytes: &Bytes| {
        let m = Message::parse(bytes).unwrap();
        (m.ty, m.code, m.msg_id)
    };
    out.datagrams
        .iter()
        .map(|(_, bytes)| parse(bytes))
        .collect()
}

#[test]
fn a_duplicate_gets_the_first_answer_and_no_second_effect() {
    let mut bench = Bench::new();
    let id = requested(&bench.receive(peer(), &post(5)));
    // Repeated before the answer: nothing, the answer is on its way.
    let out = bench.receive(peer(), &post(5));
    assert!(out.events.is_empty() && out.datagrams.is_empty());
    let first = bench.answer(id, Some(900));
    assert_eq!(sent(&first), [(Type::Acknowledgement, Code::CHANGED, 5)]);
    let again = bench.receive(peer(), &post(5));
    assert!(again.events.is_empty());
    assert_eq!(again.datagrams, first.datagrams);
    // After the exchange lifetime it is a new message.
    bench.pass(283.0);
    requested(&bench.receive(peer(), &post(5)));
}

#[test]
fn a_reused_message_id_with_other_content_is_a_new_message() {
    let mut bench = Bench::new();
    let id = requested(&bench.receive(peer(), &post(5)));
    bench.answer(id, Some(900));
    requested(&bench.receive(peer(), &post(5).payload(b"other")));
}

#[test]
fn a_slow_answer_is_acknowledged_first_and_retransmitted() {
    let mut bench = Bench::new();
    let id = requested(&bench.receive(peer(), &post(5)));
    assert!(bench.pass(1.0).datagrams.is_empty());
    assert_eq!(
        sent(&bench.pass(0.6)),
        [(Type::Acknowledgement, Code::EMPTY, 5)]
    );
    // Its repetition is acknowledged again.
    assert_eq!(
        sent(&bench.receive(peer(), &post(5))),
        [(Type::Acknowledgement, Code::EMPTY, 5)]
    );
    assert_eq!(
        sent(&bench.answer(id, Some(900))),
        [(Type::Confirmable, Code::CHANGED, 900)]
    );
    assert_eq!(
        sent(&bench.pass(23.0)),
        [(Type::Confirmable, Code::CHANGED, 900)]
    );
    bench.receive(peer(), &Builder::empty(Type::Acknowledgement, 900));
    assert!(bench.pass(300.0).datagrams.is_empty());
}

#[test]
fn a_request_is_retransmitted_and_given_up() {
    let mut bench = Bench::new();
    // A known peer with some allowance.
    let id = requested(&bench.receive(peer(), &post(1)));
    bench.answer(id, Some(1));
    let mut sendings = bench.observe(peer(), 42).datagrams.len();
    let mut failed_at = None;
    for second in 1..400 {
        let out = bench.pass(1.0);
        sendings += out.datagrams.len();
        if let [
            Event::Failed {
                reason: Failure::Timeout,
                ..
            },
        ] = out.events.as_slice()
        {
            failed_at = Some(second);
        }
    }
    assert_eq!(sendings, 3);
    // 15 s * 7, times a random factor of up to 1.5.
    assert!((105..=158).contains(&failed_at.unwrap()), "{failed_at:?}");
    assert_eq!(bench.exchange.peers(), 0, "an idle peer is forgotten");
}

#[test]
fn one_open_exchange_per_peer_and_the_rest_in_order() {
    let mut bench = Bench::new();
    let id = requested(&bench.receive(peer(), &post(1)));
    bench.answer(id, Some(1));
    assert_eq!(bench.observe(peer(), 1).datagrams.len(), 1);
    assert!(bench.observe(peer(), 2).datagrams.is_empty());
    let reply = Builder::new(
        Type::Acknowledgement,
        Code::CONTENT,
        100,
        Token::from_u64(1),
    );
    let out = bench.receive(peer(), &reply);
    assert!(matches!(
        out.events.as_slice(),
        [Event::Response {
            solicited: true,
            ..
        }]
    ));
    assert_eq!(sent(&out).len(), 1, "the next one goes out");
}

#[test]
fn a_turn_that_does_not_come_in_time_fails_as_busy() {
    let mut bench = Bench::new();
    let id = requested(&bench.receive(peer(), &post(1)));
    bench.answer(id, Some(1));
    bench.observe(peer(), 1);
    let within = Some(Duration::from_secs(5));
    bench.send(Outgoing::Request(Box::new(Request {
        turn_within: within,
        ..request(peer(), 2)
    })));
    assert!(bench.pass(4.9).events.is_empty());
    let out = bench.pass(0.2);
    assert!(matches!(
        out.events.as_slice(),
        [Event::Failed {
            reason: Failure::Busy,
            ..
        }]
    ));
}

#[test]
fn acknowledged_requests_wait_for_their_response() {
    let mut bench = Bench::new();
    let id = requested(&bench.receive(peer(), &post(1)));
    bench.answer(id, Some(1));
    bench.observe(peer(), 42);
    let out = bench.receive(peer(), &Builder::empty(Type::Acknowledgement, 100));
    assert!(matches!(
        out.events.as_slice(),
        [Event::Acknowledged { .. }]
    ));
    let response = Builder::new(Type::Confirmable, Code::CONTENT, 9, Token::from_u64(42));
    let out = bench.receive(peer(), &response);
    let [
        Event::Response {
            solicited: true,
            settle: Some(settle),
            ..
        },
    ] = out.events[..]
    else {
        panic!("{out:?}");
    };
    let how = Settle::Acknowledge;
    let out = bench.send(Outgoing::Settle {
        id: settle,
        how,
        timing: Some(TIMING),
    });
    assert_eq!(sent(&out), [(Type::Acknowledgement, Code::EMPTY, 9)]);
    // Without a response the request fails in the end.
    bench.observe(peer(), 43);
    let mut events = bench
        .receive(peer(), &Builder::empty(Type::Acknowledgement, 100))
        .events;
    events.extend(bench.pass(158.0).events);
    assert!(
        matches!(
            events[..],
            [Event::Acknowledged { .. }, Event::Failed { .. }]
        ),
        "{events:?}"
    );
}

#[test]
fn a_notification_that_can_not_be_kept_is_heard_again() {
    let mut bench = Bench::new();
    let note = Builder::new(Type::Confirmable, Code::CONTENT, 9, Token::from_u64(42));
    let settle = |out: &Outputs| match out.events[..] {
        [
            Event::Response {
                settle: Some(id),
                solicited: false,
                ..
            },
        ] => id,
        _ => panic!("{out:?}"),
    };
    let id = settle(&bench.receive(peer(), &note));
    let silent = Outgoing::Settle {
        id,
        how: Settle::Silent,
        timing: None,
    };
    assert!(bench.send(silent).datagrams.is_empty());
    let id = settle(&bench.receive(peer(), &note));
    let out = bench.send(Outgoing::Settle {
        id,
        how: Settle::Acknowledge,
        timing: None,
    });
    assert_eq!(sent(&out), [(Type::Acknowledgement, Code::EMPTY, 9)]);
    let again = bench.receive(peer(), &note);
    assert!(again.events.is_empty());
    assert_eq!(again.datagrams, out.datagrams);
}

#[test]
fn bad_input_is_answered_as_the_standard_says() {
    let con = |code: Code| Builder::new(Type::Confirmable, code, 3, Token::EMPTY);
    let non = |code: Code| Builder::new(Type::NonConfirmable, code, 3, Token::EMPTY);
    let reset = vec![(Type::Reset, Code::EMPTY, 3)];
    let refused = |code: Code| vec![(Type::Acknowledgement, code, 3)];
    let unknown_critical = 0xfffd;
    let cases: Vec<(&str, Vec<u8>, Vec<Sent>)> = vec![
        ("ping", con(Code::EMPTY).build(), reset.clone()),
        (
            "malformed confirmable",
            vec![0x4f, 0x01, 0x00, 0x03],
            reset.clone(),
        ),
        (
            "malformed non-confirmable",
            vec![0x5f, 0x01, 0x00, 0x03],
            vec![],
        ),
        ("garbage", vec![0xff; 40], vec![]),
        ("empty", vec![], vec![]),
        (
            "critical",
            con(Code::GET).option(unknown_critical, b"").build(),
            refused(Code::BAD_OPTION),
        ),
        (
            "critical, NON",
            non(Code::GET).option(unknown_critical, b"").build(),
            vec![],
        ),
        (
            "critical, response",
            con(Code::CONTENT).option(unknown_critical, b"").build(),
            reset,
        ),
        (
            "proxy",
            con(Code::GET)
                .option(option::PROXY_URI, b"coap://a/")
                .build(),
            refused(Code::PROXYING_NOT_SUPPORTED),
        ),
        (
            "stray ack",
            Builder::empty(Type::Acknowledgement, 3).build(),
            vec![],
        ),
        (
            "stray reset",
            Builder::empty(Type::Reset, 3).build(),
            vec![],
        ),
    ];
    for (name, datagram, want) in cases {
        let mut bench = Bench::new();
        let out = bench.receive_bytes(peer(), datagram.into(), false);
        assert_eq!(sent(&out), want, "{name}");
        assert!(out.events.is_empty(), "{name}");
        assert_eq!(bench.exchange.peers(), 0, "{name} leaves state");
    }
}

#[test]
fn overload_refuses_requests_and_leaves_notifications_alone() {
    let mut bench = Bench::new();
    let out = bench.receive_bytes(peer(), post(4).build().into(), true);
    assert_eq!(
        sent(&out),
        [(Type::Acknowledgement, Code::SERVICE_UNAVAILABLE, 4)]
    );
    let message = Message::parse(&out.datagrams[0].1).unwrap();
    assert_eq!(message.options.max_age(), Some(60));
    let note = Builder::new(Type::Confirmable, Code::CONTENT, 9, Token::from_u64(42));
    assert!(
        bench
            .receive_bytes(peer(), note.build().into(), true)
            .datagrams
            .is_empty()
    );
    assert_eq!(bench.exchange.peers(), 0);
}

#[test]
fn a_stranger_costs_no_memory_and_gets_no_flood() {
    let mut bench = Bench::new();
    for port in 1..=1000 {
        let stranger = Peer::Plain(SocketAddr::from(([192, 0, 2, 9], port)));
        let id = requested(&bench.receive(stranger, &post(1)));
        let response = Response::refusal(Code::FORBIDDEN);
        assert_eq!(
            bench
                .send(Outgoing::Respond { id, response })
                .datagrams
                .len(),
            1
        );
    }
    assert_eq!(bench.exchange.peers(), 0);
    // An answer of over three times the request is not sent to an unproven address.
    let id = requested(&bench.receive(peer(), &post(1)));
    let payload = Bytes::from(vec![0; 200]);
    let response = Response {
        payload,
        ..Response::refusal(Code::CONTENT)
    };
    assert!(
        bench
            .send(Outgoing::Respond { id, response })
            .datagrams
            .is_empty()
    );
    assert_eq!(bench.exchange.counters().amplification_stopped, 1);
}

#[test]
fn an_unwanted_response_is_not_sent() {
    let mut bench = Bench::new();
    // 2: not interested in 2.xx (RFC 7967).
    let quiet = |msg_id| post(msg_id).uint_option(option::NO_RESPONSE, 2);
    let id = requested(&bench.receive(peer(), &quiet(1)));
    let out = bench.answer(id, None);
    assert_eq!(sent(&out), [(Type::Acknowledgement, Code::EMPTY, 1)]);
    let id = requested(&bench.receive(peer(), &quiet(2)));
    let response = Response::refusal(Code::NOT_FOUND);
    let out = bench.send(Outgoing::Respond { id, response });
    assert_eq!(sent(&out), [(Type::Acknowledgement, Code::NOT_FOUND, 2)]);
}
