//! Scripts of events with what must come of each.

mod devices;
mod ends;
mod memory;

use proptest::prelude::*;

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
    /// Whatever comes in whatever order, also with a clock that jumps: no order to a device that
    /// was not sent everything, a deadline that never lies behind, and an end by time alone.
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
