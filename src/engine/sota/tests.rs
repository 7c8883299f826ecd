use proptest::prelude::*;

use super::served::{Run, Served};
use super::*;
use crate::wire::pcp::FromDevice;

const S: u64 = 1000;
const MIN: u64 = 60 * S;

const fn at(ms: u64) -> Timestamp {
    Timestamp::from_ms(ms)
}

fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

/// Three fragments of `V2`.
fn plan() -> Plan {
    Plan {
        version: version("V2"),
        size: FragmentSize::default(),
        count: 3,
    }
}

/// What happens: a message or something else.
#[derive(Debug, Clone, Copy)]
enum Event {
    Says(FromDevice),
    Is(Input),
}
use Event::{Is, Says};

const fn asks(index: u16) -> Event {
    Says(FromDevice::Fragment { version: V2, index })
}

const V2: Version = version_of(*b"V2\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
const V1: Version = version_of(*b"V1\0\0\0\0\0\0\0\0\0\0\0\0\0\0");

const fn version_of(bytes: [u8; 16]) -> Version {
    Version::from_bytes(bytes)
}

const fn notified(result: ResultCode) -> Event {
    Says(FromDevice::Notified(result))
}

const fn loaded(result: ResultCode) -> Event {
    Says(FromDevice::Downloaded(result))
}

const fn executed(result: ResultCode) -> Event {
    Says(FromDevice::Executed(result))
}

const fn upgraded(result: ResultCode, version: Version) -> Event {
    Says(FromDevice::Upgraded {
        result,
        version: Some(version),
    })
}

const fn tells(version: Version) -> Event {
    Says(FromDevice::Version {
        result: ResultCode::Ok,
        version: Some(version),
    })
}

const TICK: Event = Is(Input::Tick);
const AWAKE: Event = Is(Input::Reachable);
const LOST_ORDER: Event = Is(Input::Lost(Item::Request(Request::Execute)));
const LOST_NEWS: Event = Is(Input::Lost(Item::Request(Request::Notify)));
const OK: ResultCode = ResultCode::Ok;

/// What comes of an event, in few words: answer, request, end.
type Seen = (Option<Answer>, Option<Request>, Option<End>);

const NOTHING: Seen = (None, None, None);

const fn answers(answer: Answer) -> Seen {
    (Some(answer), None, None)
}

const fn sends(request: Request) -> Seen {
    (None, Some(request), None)
}

const fn ends(end: End) -> Seen {
    (None, None, Some(end))
}

const fn fails(failure: Failure) -> Seen {
    ends(End::Failed(failure))
}

const FRAGMENT_0: Seen = answers(Answer::Fragment(0));
const FRAGMENT_1: Seen = answers(Answer::Fragment(1));
const FRAGMENT_2: Seen = answers(Answer::Fragment(2));
const LOADED: Answer = Answer::Downloaded(Verdict::Ok);
const ORDER: Seen = (Some(LOADED), Some(Request::Execute), None);
const REPORTED: Answer = Answer::Upgraded(Verdict::Ok);
const DONE: Seen = (Some(REPORTED), None, Some(End::Success));

const fn refused(index: u16, verdict: Verdict) -> Seen {
    answers(Answer::Refused { index, verdict })
}

/// One attempt with what it remembers.
struct Attempt {
    state: State,
    memory: Memory,
}

impl Attempt {
    fn begin(now: u64, mut memory: Memory) -> Self {
        let (state, request) = State::begin(at(now), &mut memory);
        assert_eq!(request, Request::Notify);
        Self { state, memory }
    }

    fn take(&mut self, now: u64, event: Event) -> Effects {
        match event {
            Says(message) => self.state.hear(&mut self.memory, at(now), message, &plan()),
            Is(input) => self.state.step(&mut self.memory, at(now), input),
        }
    }

    /// Each event with what must come of it.
    fn follow(&mut self, name: &str, script: &[(u64, Event, Seen)]) {
        for (step, (now, event, want)) in script.iter().enumerate() {
            let got = self.take(*now, *event);
            let got = (got.answer, got.send, got.end);
            assert_eq!(got, *want, "{name}, step {step}: {event:?}");
        }
    }
}

/// Accepts, loads everything, has the order at 10 s and takes it.
const ACCEPTS: [(u64, Event, Seen); 1] = [(S, notified(OK), NOTHING)];
const LOADS: [(u64, Event, Seen); 3] = [
    (3 * S, asks(0), FRAGMENT_0),
    (4 * S, asks(1), FRAGMENT_1),
    (5 * S, asks(2), FRAGMENT_2),
];
const ORDERED: [(u64, Event, Seen); 1] = [(10 * S, loaded(OK), ORDER)];
const TAKES: [(u64, Event, Seen); 1] = [(11 * S, executed(OK), NOTHING)];

type Script = Vec<(u64, Event, Seen)>;

fn script(parts: &[&[(u64, Event, Seen)]]) -> Script {
    parts.concat()
}

/// Every way in which devices differ from the protocol, and every rule that holds for all.
#[test]
fn what_real_devices_do() {
    let waits = ResultCode::Unlisted(6);
    let strange = ResultCode::Unlisted(0x7f);
    let refusal = |code| fails(Failure::Refused(code));
    let foreign = Says(FromDevice::Fragment {
        version: V1,
        index: 0,
    });
    let cases: Vec<(&str, Script)> = vec![
        (
            "as the protocol says",
            script(&[
                &ACCEPTS,
                &LOADS,
                &ORDERED,
                &TAKES,
                &[(60 * S, upgraded(OK, V2), DONE)],
            ]),
        ),
        (
            "the first request is the acceptance",
            script(&[
                &LOADS,
                &[
                    (3599 * S, TICK, NOTHING),
                    (3600 * S, TICK, fails(Failure::DownloadTimeout)),
                ],
            ]),
        ),
        (
            "tells the target while it loads",
            script(&[&ACCEPTS, &[(2 * S, tells(V2), NOTHING)], &LOADS]),
        ),
        (
            "no fragments of another version, none that are not there",
            vec![
                (S, foreign, refused(0, Verdict::NoTask)),
                (S, asks(3), refused(3, Verdict::NoFragment)),
                (S, asks(65_535), refused(65_535, Verdict::NoFragment)),
                // Neither is the begin of a download.
                (3600 * S, TICK, fails(Failure::StartTimeout)),
            ],
        ),
        (
            "asks every two seconds: while the answer is under way it waits, afterwards it does not",
            vec![
                (3 * S, asks(0), FRAGMENT_0),
                (5 * S, asks(0), NOTHING),
                (6 * S, asks(1), FRAGMENT_1),
                (7 * S, asks(0), FRAGMENT_0),
                (8 * S, Is(Input::Arrived(Item::Fragment(0))), NOTHING),
                (9 * S, asks(0), FRAGMENT_0),
                (10 * S, Is(Input::Lost(Item::Fragment(0))), NOTHING),
                (11 * S, asks(0), FRAGMENT_0),
                (21 * S, asks(0), FRAGMENT_0),
            ],
        ),
        (
            "23/06 while it waits for a fragment, and for the order",
            script(&[
                &[(2 * S, executed(waits), NOTHING)],
                &LOADS,
                &[
                    (6 * S, executed(waits), NOTHING),
                    (7 * S, executed(OK), NOTHING),
                ],
                &ORDERED,
                &[
                    (11 * S, executed(waits), NOTHING),
                    (16 * S, loaded(OK), ORDER),
                ],
                &[
                    (17 * S, executed(OK), NOTHING),
                    (18 * S, executed(waits), NOTHING),
                ],
                &[(60 * S, upgraded(OK, V2), DONE)],
            ]),
        ),
        (
            "22 every two seconds: each answered, the order repeated until it is taken",
            script(&[
                &LOADS,
                &ORDERED,
                &[
                    (12 * S, loaded(OK), answers(LOADED)),
                    (14 * S, loaded(OK), answers(LOADED)),
                    (16 * S, loaded(OK), ORDER),
                    (36 * S, TICK, sends(Request::Execute)),
                    (37 * S, executed(OK), NOTHING),
                    (38 * S, loaded(OK), answers(LOADED)),
                    (300 * S, TICK, NOTHING),
                    // It has forgotten that it took it.
                    (301 * S, loaded(OK), ORDER),
                ],
            ]),
        ),
        (
            "a result of 23 that is not listed",
            script(&[
                &LOADS,
                &ORDERED,
                &[(11 * S, executed(strange), refusal(strange))],
            ]),
        ),
        (
            "in use at the first order",
            script(&[
                &LOADS,
                &ORDERED,
                &[(
                    11 * S,
                    executed(ResultCode::InUse),
                    refusal(ResultCode::InUse),
                )],
            ]),
        ),
        (
            "in use at a repeated order: it has begun with the first",
            script(&[
                &LOADS,
                &ORDERED,
                &[
                    (20 * S, TICK, sends(Request::Execute)),
                    (21 * S, executed(ResultCode::InUse), NOTHING),
                    (25 * S, upgraded(OK, V2), DONE),
                ],
            ]),
        ),
        (
            "refuses a repeated order that it took already",
            script(&[
                &LOADS,
                &ORDERED,
                &TAKES,
                &[
                    (12 * S, executed(ResultCode::InUse), NOTHING),
                    (12 * S, executed(ResultCode::LowBattery), NOTHING),
                ],
            ]),
        ),
        (
            "24 before any answer to 23",
            script(&[&LOADS, &ORDERED, &[(12 * S, upgraded(OK, V2), DONE)]]),
        ),
        (
            "24 with a result that is not listed",
            script(&[
                &LOADS,
                &ORDERED,
                &TAKES,
                &[(
                    60 * S,
                    upgraded(ResultCode::Unlisted(8), V1),
                    (
                        Some(REPORTED),
                        None,
                        Some(End::Failed(Failure::Refused(ResultCode::Unlisted(8)))),
                    ),
                )],
            ]),
        ),
        (
            "success with the old version",
            script(&[
                &LOADS,
                &ORDERED,
                &TAKES,
                &[(
                    60 * S,
                    upgraded(OK, V1),
                    (
                        Some(REPORTED),
                        None,
                        Some(End::Failed(Failure::OtherVersion(V1))),
                    ),
                )],
            ]),
        ),
        (
            "24 without an order",
            script(&[
                &LOADS,
                &[(
                    9 * S,
                    upgraded(OK, V2),
                    answers(Answer::Upgraded(Verdict::NoTask)),
                )],
                &ORDERED,
            ]),
        ),
        (
            "starts again at 0 with the order given: gets none before it is whole again",
            script(&[
                &LOADS,
                &ORDERED,
                &[
                    (30 * S, asks(0), (Some(Answer::Fragment(0)), None, None)),
                    (60 * S, TICK, NOTHING),
                    (60 * S, AWAKE, NOTHING),
                    (61 * S, asks(1), FRAGMENT_1),
                    (62 * S, asks(2), FRAGMENT_2),
                    (63 * S, loaded(OK), ORDER),
                ],
            ]),
        ),
        (
            "reboots in a loop: told anew when it stands still, and its hour runs out",
            vec![
                (3 * S, asks(0), FRAGMENT_0),
                (4 * S, AWAKE, NOTHING),
                (62 * S, AWAKE, NOTHING),
                (63 * S, AWAKE, sends(Request::Notify)),
                (64 * S, AWAKE, NOTHING),
                (65 * S, notified(ResultCode::InUse), NOTHING),
                (66 * S, asks(0), FRAGMENT_0),
                (126 * S, AWAKE, sends(Request::Notify)),
                (3600 * S, AWAKE, fails(Failure::DownloadTimeout)),
            ],
        ),
        (
            "did not hear of it: told when it shows itself",
            vec![
                (S, LOST_NEWS, NOTHING),
                (2 * S, AWAKE, sends(Request::Notify)),
                (3 * S, AWAKE, NOTHING),
                (
                    4 * S,
                    notified(ResultCode::InUse),
                    refusal(ResultCode::InUse),
                ),
            ],
        ),
        (
            "did not hear the order: ordered when it shows itself, not before",
            script(&[
                &LOADS,
                &ORDERED,
                &[
                    (11 * S, LOST_ORDER, NOTHING),
                    (600 * S, TICK, NOTHING),
                    (601 * S, AWAKE, sends(Request::Execute)),
                ],
            ]),
        ),
        (
            "loads with pauses of many minutes",
            vec![
                (3 * S, asks(0), FRAGMENT_0),
                (30 * MIN, asks(1), FRAGMENT_1),
                (59 * MIN, asks(2), FRAGMENT_2),
                (59 * MIN, loaded(OK), ORDER),
                (75 * MIN, executed(OK), NOTHING),
                (88 * MIN, upgraded(OK, V2), DONE),
            ],
        ),
    ];
    for (name, script) in cases {
        Attempt::begin(0, Memory::NEW).follow(name, &script);
    }
}

/// Every failure that has a text, and the last moment before it.
#[test]
fn every_wait_ends() {
    let silent = script(&[&LOADS, &ORDERED, &TAKES]);
    let half_hour = 10 * S + 30 * MIN;
    let asked = (half_hour, TICK, sends(Request::Version));
    let cases: Vec<(&str, Script)> = vec![
        (
            "accepts and asks for nothing",
            script(&[
                &ACCEPTS,
                &[
                    (3_599_999, TICK, NOTHING),
                    (60 * MIN, TICK, fails(Failure::StartTimeout)),
                ],
            ]),
        ),
        (
            "does not take the order",
            script(&[
                &LOADS,
                &ORDERED,
                &[
                    (half_hour - 1, TICK, sends(Request::Execute)),
                    (half_hour, TICK, sends(Request::Version)),
                    (half_hour + 3 * MIN - 1, TICK, NOTHING),
                    (half_hour + 3 * MIN, TICK, fails(Failure::UpdateTimeout)),
                ],
            ]),
        ),
        (
            "does not take the order, and tells the target, as one that was only notified does",
            script(&[
                &LOADS,
                &ORDERED,
                &[
                    (half_hour, TICK, sends(Request::Version)),
                    (half_hour + S, tells(V2), fails(Failure::UpdateTimeout)),
                ],
            ]),
        ),
        (
            "reports nothing, and has the old version",
            script(&[
                &silent,
                &[
                    asked,
                    (half_hour + S, tells(V1), fails(Failure::ResultTimeout)),
                ],
            ]),
        ),
        (
            "reports nothing, and has the new version: its one report was lost",
            script(&[
                &silent,
                &[asked, (half_hour + S, tells(V2), ends(End::Success))],
            ]),
        ),
        (
            "reports nothing and tells nothing",
            script(&[
                &silent,
                &[
                    asked,
                    (half_hour + 3 * MIN, TICK, fails(Failure::CheckTimeout)),
                ],
            ]),
        ),
        (
            "reports at the very end",
            script(&[&silent, &[(half_hour, upgraded(OK, V2), DONE)]]),
        ),
        (
            "reports while it is asked for its version",
            script(&[&silent, &[asked, (half_hour + S, upgraded(OK, V2), DONE)]]),
        ),
        (
            "is told to stop",
            script(&[&LOADS, &[(9 * S, Is(Input::Stop), ends(End::Stopped))]]),
        ),
        (
            "installs, and is not stopped",
            script(&[&silent, &[(12 * S, Is(Input::Stop), NOTHING)]]),
        ),
        (
            "finishes too late",
            script(&[
                &LOADS,
                &[(
                    60 * MIN,
                    loaded(OK),
                    (
                        Some(Answer::Downloaded(Verdict::NoTask)),
                        None,
                        Some(End::Failed(Failure::DownloadTimeout)),
                    ),
                )],
            ]),
        ),
    ];
    for (name, script) in cases {
        Attempt::begin(0, Memory::NEW).follow(name, &script);
    }
}

/// Each listed refusal ends the attempt with its own meaning.
#[test]
fn refusals_keep_their_meaning() {
    use crate::wire::pcp::Code;
    for (code, bytes) in [
        (Code::NewVersion, [1, 2, 3, 4, 5, 9, 0x7f, 0x55]),
        (Code::Downloaded, [5, 6, 7, 8, 5, 6, 7, 0x55]),
        (Code::Execute, [1, 4, 5, 9, 1, 4, 0x7f, 0x55]),
        (Code::Upgraded, [1, 4, 5, 9, 0x0a, 0x7f, 8, 0x55]),
    ] {
        for byte in bytes {
            let result = ResultCode::read(code, byte);
            let (before, event) = match code {
                Code::NewVersion => (vec![], notified(result)),
                Code::Downloaded => (LOADS.to_vec(), loaded(result)),
                Code::Execute => (script(&[&LOADS, &ORDERED]), executed(result)),
                _ => (script(&[&LOADS, &ORDERED, &TAKES]), upgraded(result, V1)),
            };
            let mut attempt = Attempt::begin(0, Memory::NEW);
            attempt.follow("before", &before);
            let end = attempt.take(12 * S, event).end;
            assert_eq!(
                end,
                Some(End::Failed(Failure::Refused(result))),
                "{code:?} {byte}"
            );
        }
    }
}

/// What a device may execute.
#[test]
fn nothing_is_executed_that_was_not_sent() {
    let part = Served::from_runs(&[Run { first: 0, end: 2 }], true);
    let memory = |served| Memory {
        served,
        ..Memory::NEW
    };
    let no = answers(Answer::Downloaded(Verdict::NoTask));
    for (name, memory, before, want) in [
        ("just told of it", Memory::NEW, vec![], no),
        ("sent a part", Memory::NEW, LOADS[..2].to_vec(), no),
        ("sent the rest alone", Memory::NEW, LOADS[1..].to_vec(), no),
        (
            "sent the rest, after a part",
            memory(part),
            LOADS[2..].to_vec(),
            ORDER,
        ),
        ("sent a part, and no more", memory(part), vec![], no),
        ("may have it of old", Memory::UNKNOWN, vec![], ORDER),
    ] {
        let mut attempt = Attempt::begin(0, memory);
        attempt.follow(name, &before);
        attempt.follow(name, &[(10 * S, loaded(OK), want)]);
    }
    // Refuted, it may still load what it lacks.
    let mut attempt = Attempt::begin(0, Memory::NEW);
    attempt.follow("heals", &[(2 * S, loaded(OK), no)]);
    attempt.follow("heals", &script(&[&LOADS, &ORDERED]));
}

#[test]
fn a_restart_doubts_only_what_it_can_have_forgotten() {
    let no = answers(Answer::Downloaded(Verdict::NoTask));
    let mut fresh = Attempt::begin(0, Memory::NEW);
    fresh.state.recover(&mut fresh.memory);
    fresh.follow(
        "nothing had been sent",
        &[(9 * S, loaded(OK), (no.0, Some(Request::Notify), None))],
    );

    let mut loading = Attempt::begin(0, Memory::NEW);
    assert!(
        loading.take(3 * S, asks(0)).commit,
        "the begin of a download is stored"
    );
    assert!(
        !loading.take(4 * S, asks(1)).commit,
        "its progress need not be"
    );
    let mut stored = Attempt {
        state: loading.state,
        memory: Memory {
            served: Served::from_runs(&[Run { first: 0, end: 1 }], true),
            ..loading.memory
        },
    };
    stored.state.recover(&mut stored.memory);
    stored.follow(
        "goes on",
        &[(5 * S, asks(2), FRAGMENT_2), (6 * S, loaded(OK), ORDER)],
    );
}

/// The target's version is no proof of a device that was only told of it.
#[test]
fn a_told_target_is_believed_of_those_who_can_have_it() {
    assert!(Memory::NEW.clone().told(true));
    assert!(!Memory::NEW.clone().told(false));

    let mut first = Attempt::begin(0, Memory::NEW);
    first.follow("loads and stops", &LOADS);
    assert!(!first.memory.told(true));
    let mut second = Attempt::begin(100 * MIN, first.memory);
    let newest = notified(ResultCode::Newest);
    second.follow("says so twice", &[(100 * MIN, newest, ends(End::Success))]);

    let mut third = Attempt::begin(0, Memory::NEW);
    third.follow("accepts the order", &script(&[&LOADS, &ORDERED, &TAKES]));
    assert!(third.memory.told(true));
    let again = Attempt::begin(100 * MIN, third.memory);
    assert!(!again.memory.clone().told(true), "told of it once more");
}

/// Messages without a slot: before it, after the end, and without any task.
#[test]
fn every_message_without_a_slot_is_answered() {
    let reach = |reach| Memory {
        reach,
        ..Memory::NEW
    };
    let (none, told) = (Memory::NEW, reach(Reach::Notified));
    let ordered = reach(Reach::Ordered);
    let no_fragment = Some(Answer::Refused {
        index: 7,
        verdict: Verdict::NoTask,
    });
    let loaded = |verdict| Some(Answer::Downloaded(verdict));
    let reported = |verdict| Some(Answer::Upgraded(verdict));
    let (yes, no) = (Verdict::Ok, Verdict::NoTask);
    let wants = FromDevice::Fragment {
        version: V2,
        index: 7,
    };
    let has = FromDevice::Downloaded(OK);
    let failed = FromDevice::Downloaded(ResultCode::TimedOut);
    let is = |version| FromDevice::Upgraded {
        result: OK,
        version: Some(version),
    };
    let cases = [
        (none, wants, false, no_fragment, false),
        (ordered, wants, true, no_fragment, false),
        (none, has, false, loaded(no), false),
        (told, has, true, loaded(yes), false),
        (told, has, false, loaded(no), false),
        (told, failed, false, loaded(yes), false),
        (none, is(V2), false, reported(no), false),
        (told, is(V2), true, reported(no), false),
        (ordered, is(V2), true, reported(yes), true),
        (ordered, is(V1), true, reported(yes), false),
        (ordered, is(V2), false, reported(yes), false),
        (ordered, FromDevice::Executed(OK), true, None, false),
    ];
    for (memory, message, waits, answer, success) in cases {
        let got = memory.hear(message, &V2, waits);
        assert_eq!(
            got,
            Outside { answer, success },
            "{memory:?} {message:?} {waits}"
        );
    }
}

#[test]
fn an_attempt_is_small() {
    let bytes = size_of::<State>() + size_of::<Memory>();
    assert!(bytes <= 96, "{bytes} bytes");
}

fn event() -> impl Strategy<Value = Event> {
    let result = prop::sample::select(vec![
        OK,
        ResultCode::InUse,
        ResultCode::Newest,
        ResultCode::CheckFailed,
        ResultCode::Unlisted(6),
        ResultCode::Unlisted(0x7f),
    ]);
    let version = prop::sample::select(vec![V1, V2]);
    let item = prop_oneof![
        prop::sample::select(vec![Request::Version, Request::Notify, Request::Execute])
            .prop_map(Item::Request),
        (0u16..4).prop_map(Item::Fragment),
    ];
    prop_oneof![
        2 => Just(TICK),
        2 => Just(AWAKE),
        1 => Just(Is(Input::Stop)),
        1 => item.clone().prop_map(|item| Is(Input::Arrived(item))),
        1 => item.prop_map(|item| Is(Input::Lost(item))),
        8 => (0u16..4).prop_map(asks),
        1 => Just(Says(FromDevice::Fragment { version: V1, index: 0 })),
        2 => Just(loaded(OK)),
        1 => result.clone().prop_map(notified),
        1 => result.clone().prop_map(loaded),
        1 => result.clone().prop_map(executed),
        1 => (result.clone(), version.clone()).prop_map(|(r, v)| upgraded(r, v)),
        1 => (result, prop::option::of(version)).prop_map(|(result, version)| {
            Says(FromDevice::Version { result, version })
        }),
    ]
}

proptest! {
    /// Whatever comes in whatever order, also with a clock that jumps: no order to a device that was
    /// not sent everything, a deadline that never lies behind, and an end by time alone.
    #[test]
    fn an_attempt_always_ends(events in prop::collection::vec((-90_000i64..200_000, event()), 0..80)) {
        let mut attempt = Attempt::begin(100_000_000, Memory::NEW);
        let (mut now, mut sent) = (100_000_000u64, [false; 3]);
        for (passed, event) in events {
            now = now.saturating_add_signed(passed);
            let effects = attempt.take(now, event);
            if let Some(Answer::Fragment(index)) = effects.answer {
                sent[usize::from(index)] = true;
            }
            if effects.send == Some(Request::Execute) {
                prop_assert_eq!(sent, [true; 3]);
            }
            if effects.end.is_some() {
                prop_assert!(effects.commit && effects.send.is_none());
                return Ok(());
            }
            prop_assert!(attempt.state.deadline() >= at(now));
        }
        let over = now + DOWNLOAD_WAIT_MS + UPDATE_WAIT_MS + ANSWER_WAIT_MS;
        for _ in 0..200 {
            now = attempt.state.deadline().as_ms();
            prop_assert!(now <= over);
            if attempt.take(now, TICK).end.is_some() {
                return Ok(());
            }
        }
        prop_assert!(false, "goes on: {:?}", attempt.state);
    }
}
