//! Commands and their conduct, as they show on the wire.

use super::*;

use MessageType::{Acknowledgement, Confirmable, NonConfirmable};

const CHANGED: u8 = message::CHANGED;

/// A registered device whose answer is the command's bytes, backwards.
fn bench(kind: Kind, conduct: Conduct) -> Bench {
    let settings = Settings {
        conduct,
        ..Settings::new("1", kind, 1)
    };
    let mut bench = Bench::with(settings.clone());
    bench.device =
        Device::new(settings).with_responder(|bytes| Some(bytes.iter().rev().copied().collect()));
    bench.register();
    if kind == Kind::Lwm2m {
        bench.observe("19/0/0", 1, b"obs");
    }
    bench.events();
    bench
}

fn command(kind: Kind, msg_id: u16) -> Draft {
    let (code, path) = match kind {
        Kind::Lwm2m => (message::PUT, "19/1/0"),
        Kind::Raw | Kind::RawObserved => (message::POST, "t/d"),
    };
    Draft::new(Confirmable, code, msg_id)
        .token(b"cmd")
        .path(path)
        .payload(&[1, 2, 3])
}

/// Type, code, message id if it is the command's, token and payload of what was sent.
type Seen = (MessageType, u8, bool, Vec<u8>, Vec<u8>);

fn seen(bench: &mut Bench, msg_id: u16) -> Vec<Seen> {
    let sent = bench.sent().into_iter();
    let read = |packet: Packet| {
        (
            packet.header.get_type(),
            message::code(&packet),
            packet.header.message_id == msg_id,
            packet.get_token().to_vec(),
            packet.payload,
        )
    };
    sent.map(read).collect()
}

fn ack(code: u8) -> Seen {
    let token = if code == 0 { vec![] } else { b"cmd".to_vec() };
    (Acknowledgement, code, true, token, vec![])
}

fn notification(kind: MessageType) -> Seen {
    (
        kind,
        message::CONTENT,
        false,
        b"obs".to_vec(),
        vec![3, 2, 1],
    )
}

fn content(kind: MessageType) -> Seen {
    (
        kind,
        message::CONTENT,
        false,
        b"cmd".to_vec(),
        vec![3, 2, 1],
    )
}

#[test]
fn each_conduct_shows_on_the_wire() {
    let good = Conduct::default();
    let receipt = |receipt| Conduct { receipt, ..good };
    let answer = |answer| Conduct {
        receipt: Receipt::Empty,
        answer,
        ..good
    };
    let unconfirmed = notification(NonConfirmable);
    let separate = (Confirmable, CHANGED, false, b"cmd".to_vec(), vec![]);
    let rst = (MessageType::Reset, 0, true, vec![], vec![]);
    let cases = [
        (good, vec![ack(CHANGED), notification(Confirmable)]),
        (
            receipt(Receipt::Twice),
            vec![ack(CHANGED), ack(CHANGED), notification(Confirmable)],
        ),
        (
            receipt(Receipt::Empty),
            vec![ack(0), notification(Confirmable)],
        ),
        // The answer waits for the acknowledgement of the separate response (NSTART = 1).
        (receipt(Receipt::Separate), vec![ack(0), separate]),
        (receipt(Receipt::Never), vec![notification(Confirmable)]),
        (receipt(Receipt::Ignored), vec![]),
        (receipt(Receipt::Refused(0x85)), vec![ack(0x85)]),
        (receipt(Receipt::Refused(0xa0)), vec![ack(0xa0)]),
        (receipt(Receipt::Reset), vec![rst]),
        (answer(Answer::None), vec![ack(0)]),
        (
            answer(Answer::Report { confirmable: false }),
            vec![ack(0), unconfirmed.clone()],
        ),
        (
            answer(Answer::Content { confirmable: true }),
            vec![ack(0), content(Confirmable)],
        ),
        (
            answer(Answer::Content { confirmable: false }),
            vec![ack(0), content(NonConfirmable)],
        ),
        (
            Conduct {
                answer: Answer::Report { confirmable: false },
                answers: 2,
                ..good
            },
            vec![ack(CHANGED), unconfirmed.clone(), unconfirmed],
        ),
    ];
    for (conduct, want) in cases {
        let mut bench = bench(Kind::Lwm2m, conduct);
        bench.give(&command(Kind::Lwm2m, 40));
        assert_eq!(seen(&mut bench, 40), want, "{conduct:?}");
        let executed = bench.device.executed().times(&[1, 2, 3]);
        assert_eq!(executed, usize::from(conduct.executes()), "{conduct:?}");
        let downlinks = bench.events();
        let arrived = |e: &&Event| matches!(e, Event::Downlink { .. });
        assert_eq!(downlinks.iter().filter(arrived).count(), 1, "{conduct:?}");
    }
}

#[test]
fn a_separate_response_is_repeated_until_acknowledged_and_the_answer_follows() {
    let conduct = Conduct {
        receipt: Receipt::Separate,
        ..Conduct::default()
    };
    let mut bench = bench(Kind::Raw, conduct);
    bench.give(&command(Kind::Raw, 40));
    let sent = bench.sent();
    let [_, response] = &sent[..] else {
        panic!("{sent:?}");
    };
    bench.wait_until_due();
    assert_eq!(bench.sent_one(), *response);
    bench.answer(response, 0);
    let answer = bench.sent_one();
    assert_eq!(message::joined(&answer, CoapOption::UriPath), "t/d");
    assert_eq!(answer.payload, [3, 2, 1]);
    bench.answer(&answer, CHANGED);
    assert_eq!(bench.events().last(), Some(&Event::AnswerAcknowledged));
    assert!(bench.device.is_idle());
}

#[test]
fn an_answer_overtakes_its_late_receipt_and_repetitions_meanwhile_are_quiet() {
    let conduct = Conduct {
        receipt_after: Duration::from_secs(3),
        answer: Answer::Content { confirmable: false },
        ..Conduct::default()
    };
    let mut bench = bench(Kind::Lwm2m, conduct);
    bench.give(&command(Kind::Lwm2m, 40));
    assert_eq!(seen(&mut bench, 40), [content(NonConfirmable)]);
    bench.give(&command(Kind::Lwm2m, 40));
    assert_eq!(seen(&mut bench, 40), []);
    let before = bench.now;
    bench.wait_until_due();
    assert_eq!(bench.now - before, Duration::from_secs(3));
    assert_eq!(seen(&mut bench, 40), [ack(CHANGED)]);
    bench.give(&command(Kind::Lwm2m, 40));
    assert_eq!(seen(&mut bench, 40), [ack(CHANGED)]);
    assert_eq!(bench.device.executed().count(), 1);
}

#[test]
fn a_late_answer_comes_in_its_time() {
    let conduct = Conduct {
        answer_after: Duration::from_secs(600),
        ..Conduct::default()
    };
    let mut bench = bench(Kind::Lwm2m, conduct);
    bench.give(&command(Kind::Lwm2m, 40));
    assert_eq!(seen(&mut bench, 40), [ack(CHANGED)]);
    assert!(bench.device.owes() && bench.device.is_idle());
    bench.now += Duration::from_secs(599);
    bench.device.tick(bench.now);
    assert_eq!(seen(&mut bench, 40), []);
    bench.wait_until_due();
    assert_eq!(seen(&mut bench, 40), [notification(Confirmable)]);
}

#[test]
fn duplicates_are_recognised_for_an_exchange_lifetime_or_never() {
    for recognises_duplicates in [true, false] {
        let conduct = Conduct {
            recognises_duplicates,
            answer: Answer::None,
            ..Conduct::default()
        };
        let mut bench = bench(Kind::Lwm2m, conduct);
        for _ in 0..3 {
            bench.give(&command(Kind::Lwm2m, 40));
            assert_eq!(seen(&mut bench, 40), [ack(CHANGED)]);
        }
        let times = if recognises_duplicates { 1 } else { 3 };
        assert_eq!(bench.device.executed().count(), times);
        let repeated = |e: &&Event| matches!(e, Event::Repeated { msg_id: 40 });
        let repeated = bench.events().iter().filter(repeated).count();
        assert_eq!(repeated as u64, 3 - times);
        bench.now += Duration::from_secs(247);
        bench.give(&command(Kind::Lwm2m, 40));
        assert_eq!(bench.device.executed().count(), times + 1);
    }
}

fn block(msg_id: u16, value: u32, payload: &[u8]) -> Draft {
    Draft::new(Confirmable, message::PUT, msg_id)
        .token(b"cmd")
        .path("19/1/0")
        .uint(CoapOption::Block1, value)
        .payload(payload)
}

/// Message id, Block1 and payload of a request; code and Block1 of its answer.
type BlockRow<'a> = (u16, u32, &'a [u8], u8, Option<u32>);

#[test]
fn blocks_are_put_together_and_a_body_may_start_over() {
    let body: Vec<u8> = (0..40).collect();
    let mut bench = bench(Kind::Lwm2m, Conduct::default());
    // Number, more and size 16: 0x08 is block 0 with more to come.
    let rows: [BlockRow<'_>; 8] = [
        (1, 0x18, &body[16..32], message::INCOMPLETE, None),
        (2, 0x08, &[9; 16], message::CONTINUE, Some(0x08)),
        (3, 0x28, &body[..16], message::INCOMPLETE, None),
        (4, 0x08, &body[..16], message::CONTINUE, Some(0x08)),
        (4, 0x08, &body[..16], message::CONTINUE, Some(0x08)),
        (5, 0x18, &body[16..32], message::CONTINUE, Some(0x18)),
        (6, 0x28, &body[32..36], message::BAD_REQUEST, None),
        (7, 0x20, &body[32..], CHANGED, Some(0x20)),
    ];
    for (msg_id, value, payload, code, echo) in rows {
        bench.give(&block(100 + msg_id, value, payload));
        let sent = bench.sent();
        assert_eq!(message::code(&sent[0]), code, "{msg_id}");
        assert_eq!(message::uint(&sent[0], CoapOption::Block1), echo);
    }
    let executed: Vec<_> = bench.device.executed().iter().collect();
    assert_eq!(executed.len(), 1);
    assert_eq!((executed[0].msg_id, &executed[0].payload), (107, &body));
}

#[test]
fn small_devices_ask_for_smaller_blocks_and_long_bodies_are_refused() {
    let conduct = Conduct {
        szx_max: 0,
        ..Conduct::default()
    };
    let mut bench = bench(Kind::Lwm2m, conduct);
    // 32 bytes at a time; the device echoes 16, so the next is number 2 of those.
    bench.give(&block(50, 0x09, &[1; 32]));
    let echo = bench.sent_one();
    assert_eq!(message::uint(&echo, CoapOption::Block1), Some(0x08));
    bench.give(&block(51, 0x20, &[2; 3]));
    bench.sent();
    let want = [[1; 32].as_slice(), &[2; 3]].concat();
    assert_eq!(bench.device.executed().times(&want), 1);
    let mut codes = Vec::new();
    for n in 0..65u32 {
        let msg_id = 200 + u16::try_from(n).unwrap();
        bench.give(&block(msg_id, n << 4 | 0x0e, &[7; 1024]));
        codes.push(message::code(&bench.sent()[0]));
    }
    assert_eq!(
        (codes[63], codes[64]),
        (message::CONTINUE, message::TOO_LARGE)
    );
}

#[test]
fn the_radio_goes_off_after_the_awake_window() {
    let awake = Duration::from_secs(10);
    let conduct = Conduct {
        awake: Some(awake),
        answer: Answer::None,
        ..Conduct::default()
    };
    let mut bench = bench(Kind::Lwm2m, conduct);
    let last = bench.now;
    assert!(bench.device.is_listening(last + Duration::from_secs(9)));
    assert!(!bench.device.is_listening(last + awake));
    bench.now = last + Duration::from_secs(9);
    bench.give(&command(Kind::Lwm2m, 40));
    assert!(
        bench
            .device
            .is_listening(bench.now + Duration::from_secs(9))
    );
    bench.now += Duration::from_secs(3600);
    assert!(!bench.device.is_listening(bench.now));
    // It wakes to renew its registration, and stays awake as long as it waits for the answer.
    bench.device.update(bench.now);
    assert!(
        bench
            .device
            .is_listening(bench.now + Duration::from_secs(30))
    );
}

#[test]
fn a_reboot_forgets_what_it_knew_and_keeps_observations_only_if_told() {
    for keeps_observation in [true, false] {
        let conduct = Conduct {
            keeps_observation,
            answer: Answer::None,
            answer_after: Duration::from_secs(9),
            ..Conduct::default()
        };
        let mut bench = bench(Kind::Lwm2m, conduct);
        bench.give(&command(Kind::Lwm2m, 40));
        let report = bench.device.report(bench.now, vec![7], true);
        bench.sent();
        bench.device.reboot(bench.now);
        let failure = Failure::Rebooted;
        assert!(bench.events().contains(&Event::Failed { report, failure }));
        let register = bench.sent_one();
        assert_eq!(message::joined(&register, CoapOption::UriPath), "rd");
        bench.give(
            &Draft::new(
                Acknowledgement,
                message::CREATED,
                register.header.message_id,
            )
            .token(register.get_token())
            .location("rd"),
        );
        bench.device.report(bench.now, vec![8], true);
        assert_eq!(bench.sent().len(), usize::from(keeps_observation));
        // The repetition of the command is new to it.
        bench.give(&command(Kind::Lwm2m, 40));
        assert_eq!(bench.device.executed().repeated(), [(&[1, 2, 3][..], 2)]);
    }
}

#[test]
fn a_property_that_was_set_is_reported_at_once_whatever_the_conduct() {
    let conduct = Conduct {
        answer: Answer::None,
        ..Conduct::default()
    };
    let settings = Settings {
        conduct,
        ..Settings::new("1", Kind::Raw, 1)
    };
    let mut bench = Bench::with(settings.clone());
    bench.device = Device::new(settings).with_application(|bytes| Reaction::Report(bytes.to_vec()));
    bench.register();
    bench.give(&command(Kind::Raw, 40));
    let sent = bench.sent();
    assert_eq!(sent.len(), 2);
    assert_eq!(
        (message::code(&sent[1]), &sent[1].payload[..]),
        (message::POST, &[1, 2, 3][..])
    );
}

proptest::proptest! {
    /// Whatever its conduct, a command ends: the device owes nothing for ever, and what it executed
    /// more than once came more than once.
    #[test]
    fn any_conduct_comes_to_rest(seed: u64, repetitions in 1usize..4) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let conduct = Conduct::drawn(&mut rng, Duration::from_secs(5));
        let mut bench = bench(Kind::Lwm2m, conduct);
        for _ in 0..repetitions {
            bench.give(&command(Kind::Lwm2m, 40));
        }
        for _ in 0..200 {
            for packet in bench.sent() {
                if packet.header.get_type() == Confirmable && rng.bool() {
                    bench.answer(&packet, 0);
                }
            }
            if bench.device.is_idle() && !bench.device.owes() {
                break;
            }
            bench.wait_until_due();
        }
        proptest::prop_assert!(bench.device.is_idle() && !bench.device.owes(), "{:?}", conduct);
        let most = match (conduct.executes(), conduct.recognises_duplicates) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => repetitions as u64,
        };
        proptest::prop_assert_eq!(bench.device.executed().count(), most);
    }
}
