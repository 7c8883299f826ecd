//! The device against a server of a few lines.

mod commands;
pub(crate) mod platform;
mod upgrading;

use std::time::{Duration, Instant};

use coap_lite::{CoapOption, MessageType, Packet};

use super::*;
use crate::base::time::{Clock, Timestamp};
use crate::sim::message::{self, Draft};

/// A server of a few lines: takes what the device sent and says what it was.
struct Bench {
    device: Device,
    now: Instant,
}

impl Bench {
    fn new(kind: Kind) -> Self {
        Self::with(Settings::new("867725038317248", kind, 1))
    }

    fn with(settings: Settings) -> Self {
        Self {
            device: Device::new(settings),
            now: Clock::manual(Timestamp::from_ms(0)).instant(),
        }
    }

    fn sent(&mut self) -> Vec<Packet> {
        let bytes = std::iter::from_fn(|| self.device.transmit());
        bytes.map(|b| message::read(&b).unwrap()).collect()
    }

    fn sent_one(&mut self) -> Packet {
        let mut all = self.sent();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.device.event()).collect()
    }

    fn give(&mut self, draft: &Draft) {
        let bytes = draft.bytes().unwrap();
        self.device.receive(self.now, &bytes);
    }

    fn wait_until_due(&mut self) {
        self.now = self.device.deadline().unwrap();
        self.device.tick(self.now);
    }

    fn answer(&mut self, request: &Packet, code: u8) {
        let ack = Draft::new(
            MessageType::Acknowledgement,
            code,
            request.header.message_id,
        );
        self.give(&ack.token(request.get_token()));
    }

    fn register(&mut self) {
        self.device.register(self.now);
        let request = self.sent_one();
        let mut ack = Draft::new(
            MessageType::Acknowledgement,
            message::CREATED,
            request.header.message_id,
        )
        .token(request.get_token());
        for segment in ["rd", "5a3f"] {
            ack = ack.location(segment);
        }
        self.give(&ack);
        assert!(self.device.is_registered());
    }

    fn observe(&mut self, path: &str, msg_id: u16, token: &[u8]) {
        self.give(
            &Draft::new(MessageType::Confirmable, message::GET, msg_id)
                .token(token)
                .path(path)
                .uint(CoapOption::Observe, 0),
        );
        let answer = self.sent_one();
        assert_eq!(message::code(&answer), message::CONTENT);
        assert_eq!(answer.get_token(), token);
        assert!(answer.payload.is_empty());
    }
}

#[test]
fn the_registration_says_what_the_version_asks_for() {
    let cases = [
        (Version::V1_0, Binding::Queue, "lwm2m=1.0/b=UQ"),
        (Version::V1_1, Binding::Queue, "lwm2m=1.1/b=U/Q"),
        (Version::V1_2, Binding::Udp, "lwm2m=1.2/b=U"),
    ];
    for (version, binding, want) in cases {
        let mut bench = Bench::with(Settings {
            version,
            binding,
            lifetime_s: 90,
            ..Settings::new("1", Kind::Lwm2m, 1)
        });
        bench.device.register(bench.now);
        let query = message::joined(&bench.sent_one(), CoapOption::UriQuery);
        assert_eq!(query, format!("ep=1/lt=90/{want}"));
    }
}

#[test]
fn a_report_waits_for_registration_and_observation() {
    let mut bench = Bench::new(Kind::Lwm2m);
    let report = bench.device.report(bench.now, b"\x01\x02".to_vec(), true);
    assert_eq!(
        message::joined(&bench.sent_one(), CoapOption::UriPath),
        "rd"
    );
    let mut bench = Bench::new(Kind::Lwm2m);
    bench.register();
    assert_eq!(
        bench.device.report(bench.now, b"\x01\x02".to_vec(), true),
        report
    );
    assert!(bench.sent().is_empty(), "sent without a token");
    bench.give(
        &Draft::new(MessageType::Confirmable, message::GET, 9)
            .token(b"tok")
            .path("19/0/0")
            .uint(CoapOption::Observe, 0),
    );
    let sent = bench.sent();
    let [_, notification] = &sent[..] else {
        panic!("{sent:?}");
    };
    assert_eq!(notification.get_token(), b"tok");
    assert_eq!(notification.payload, b"\x01\x02");
    assert_eq!(
        message::uint(notification, CoapOption::ContentFormat),
        Some(42)
    );
    bench.answer(&notification.clone(), 0);
    assert_eq!(bench.events().last(), Some(&Event::Acknowledged { report }));
    assert!(bench.device.is_idle());
}

#[test]
fn a_report_that_nobody_observes_fails() {
    let mut bench = Bench::new(Kind::Lwm2m);
    bench.register();
    let report = bench.device.report(bench.now, vec![1], true);
    bench.wait_until_due();
    let failure = Failure::NotObserved;
    assert_eq!(
        bench.events().last(),
        Some(&Event::Failed { report, failure })
    );
}

#[test]
fn unanswered_messages_are_repeated_with_doubling_waits_then_fail() {
    let mut bench = Bench::new(Kind::Raw);
    bench.register();
    let report = bench.device.report(bench.now, vec![1], true);
    let first = bench.sent_one();
    let start = bench.now;
    let mut last = Duration::ZERO;
    for _ in 0..4 {
        let before = bench.now;
        bench.wait_until_due();
        assert!(bench.now - before > last);
        last = bench.now - before;
        assert_eq!(bench.sent_one(), first);
    }
    bench.wait_until_due();
    let span = bench.now - start; // 31 to 46.5 times the acknowledgement timeout of 2 s
    assert!((62..=93).contains(&span.as_secs()), "{span:?}");
    let events = bench.events();
    let retransmitted = events.iter().filter(|e| **e == Event::Retransmitted);
    assert_eq!(retransmitted.count(), 4);
    let failure = Failure::Timeout;
    assert_eq!(events.last(), Some(&Event::Failed { report, failure }));
}

#[test]
fn a_reset_takes_the_observation_and_the_report_goes_once_more() {
    for confirmable in [true, false] {
        let mut bench = Bench::new(Kind::Lwm2m);
        bench.register();
        bench.observe("19/0/0", 1, b"one");
        let report = bench.device.report(bench.now, vec![5], confirmable);
        for (token, msg_id) in [(&b"two"[..], 2), (&b"three"[..], 3)] {
            let sent = bench.sent();
            let notification = sent.last().unwrap();
            let id = notification.header.message_id;
            bench.give(&Draft::new(MessageType::Reset, 0, id));
            assert!(bench.events().contains(&Event::Reset { report }));
            bench.give(
                &Draft::new(MessageType::Confirmable, message::GET, msg_id)
                    .token(token)
                    .path("19/0/0")
                    .uint(CoapOption::Observe, 0),
            );
        }
        // The second reset was its end.
        assert!(bench.device.is_idle());
    }
}

#[test]
fn an_unknown_registration_is_made_anew() {
    let mut bench = Bench::new(Kind::Lwm2m);
    bench.register();
    bench.device.update(bench.now);
    let update = bench.sent_one();
    assert_eq!(message::joined(&update, CoapOption::UriPath), "rd/5a3f");
    bench.answer(&update, message::NOT_FOUND);
    assert!(bench.events().contains(&Event::Gone));
    let again = bench.sent_one();
    assert_eq!(message::joined(&again, CoapOption::UriPath), "rd");
}

#[test]
fn half_the_lifetime_brings_an_update_and_deregistering_ends_it() {
    let mut bench = Bench::new(Kind::Lwm2m);
    let registered_at = bench.now;
    bench.register();
    bench.wait_until_due();
    assert_eq!((bench.now - registered_at).as_secs(), 43_200);
    let update = bench.sent_one();
    bench.answer(&update, message::CHANGED);
    assert_eq!(bench.events().last(), Some(&Event::Updated));
    bench.device.deregister(bench.now);
    let request = bench.sent_one();
    assert_eq!(message::code(&request), message::DELETE);
    bench.answer(&request, message::DELETED);
    assert_eq!(
        bench.events().last(),
        Some(&Event::Deregistered { failure: None })
    );
    assert_eq!(bench.device.deadline(), None);
}

#[test]
fn an_overloaded_server_gets_its_pause() {
    let mut bench = Bench::new(Kind::Raw);
    bench.register();
    let report = bench.device.report(bench.now, vec![1], true);
    let request = bench.sent_one();
    bench.give(
        &Draft::new(
            MessageType::Acknowledgement,
            message::UNAVAILABLE,
            request.header.message_id,
        )
        .token(request.get_token())
        .uint(CoapOption::MaxAge, 30),
    );
    assert!(bench.sent().is_empty());
    let before = bench.now;
    bench.wait_until_due();
    assert_eq!((bench.now - before).as_secs(), 30);
    let again = bench.sent_one();
    assert_ne!(again.header.message_id, request.header.message_id);
    bench.answer(&again, message::CHANGED);
    let events = bench.events();
    let sent = events.iter().filter(|e| matches!(e, Event::Sent { .. }));
    assert_eq!(sent.count(), 1);
    assert_eq!(events.last(), Some(&Event::Acknowledged { report }));
}

#[test]
fn separate_answers_count_and_are_acknowledged_each_time() {
    let mut bench = Bench::new(Kind::Raw);
    bench.register();
    let report = bench.device.report(bench.now, vec![1], true);
    let request = bench.sent_one();
    bench.answer(&request, 0);
    let late =
        Draft::new(MessageType::Confirmable, message::CHANGED, 77).token(request.get_token());
    for _ in 0..2 {
        bench.give(&late);
        let ack = bench.sent_one();
        assert_eq!(ack.header.get_type(), MessageType::Acknowledgement);
        assert_eq!(ack.header.message_id, 77);
    }
    assert_eq!(bench.events().last(), Some(&Event::Acknowledged { report }));
}

#[test]
fn a_downlink_is_taken_once_and_its_repetition_answered_alike() {
    let mut bench = Bench::new(Kind::Raw);
    bench.device = Device::new(Settings::new("1", Kind::Raw, 1))
        .with_responder(|bytes| Some(bytes.iter().rev().copied().collect()));
    bench.register();
    let write = Draft::new(MessageType::Confirmable, message::POST, 40)
        .token(b"w")
        .path("t/d")
        .payload(&[1, 2, 3]);
    bench.give(&write);
    let first = bench.sent();
    assert_eq!(message::code(&first[0]), message::CHANGED);
    assert_eq!(first[1].payload, [3, 2, 1]);
    bench.give(&write);
    assert_eq!(bench.sent(), first[..1]);
    let downlinks = bench.events();
    let downlinks = downlinks
        .iter()
        .filter(|e| matches!(e, Event::Downlink { .. }));
    assert_eq!(downlinks.count(), 1);
}

#[test]
fn other_requests_and_pings_get_their_answers() {
    let mut bench = Bench::new(Kind::Lwm2m);
    bench.give(&Draft::new(MessageType::Confirmable, message::GET, 3).path("3/0"));
    assert_eq!(message::code(&bench.sent_one()), message::NOT_FOUND);
    bench.give(&Draft::new(MessageType::Confirmable, 0, 4));
    let pong = bench.sent_one();
    assert_eq!(
        (pong.header.get_type(), pong.header.message_id),
        (MessageType::Reset, 4)
    );
    bench.device.receive(bench.now, b"\xff\xff\xff");
    assert_eq!(bench.events(), [Event::Malformed]);
}

#[test]
fn a_refused_device_tries_again_and_then_gives_its_reports_up() {
    let mut bench = Bench::new(Kind::Raw);
    let report = bench.device.report(bench.now, vec![1], true);
    for attempt in 1..=REGISTER_TRIES {
        let request = bench.sent_one();
        bench.answer(&request, 0x83);
        if attempt < REGISTER_TRIES {
            bench.wait_until_due();
        }
    }
    let failure = Failure::NotRegistered;
    assert_eq!(
        bench.events().last(),
        Some(&Event::Failed { report, failure })
    );
}

#[test]
fn a_raw_device_that_is_not_known_registers_and_reports_again() {
    let mut bench = Bench::new(Kind::Raw);
    bench.register();
    let report = bench.device.report(bench.now, vec![1], false);
    let request = bench.sent_one();
    bench.answer(&request, 0x83);
    let register = bench.sent_one();
    assert_eq!(message::joined(&register, CoapOption::UriPath), "t/r");
    bench.answer(&register, message::CREATED);
    let again = bench.sent_one();
    assert_eq!(again.payload, [1]);
    bench.answer(&again, 0x83);
    let failure = Failure::Refused(0x83);
    assert_eq!(
        bench.events().last(),
        Some(&Event::Failed { report, failure })
    );
}

proptest::proptest! {
    /// Whatever arrives in whatever order, the device neither panics nor forgets how to stop.
    #[test]
    fn any_datagrams_leave_a_bounded_device(
        datagrams in proptest::collection::vec(
            proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40), 0..60),
    ) {
        let mut bench = Bench::new(Kind::Lwm2m);
        bench.register();
        for datagram in datagrams {
            bench.device.receive(bench.now, &datagram);
            bench.device.report(bench.now, datagram, false);
        }
        proptest::prop_assert!(bench.device.queue.len() <= QUEUE_MAX + 1);
        proptest::prop_assert!(bench.device.known.len() <= downlink::KNOWN_MAX);
        proptest::prop_assert!(bench.device.unconfirmed.len() <= RECENT_MAX);
    }
}
