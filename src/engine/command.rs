//! One command, from its submission to its end.
//!
//! ```text
//! (delay) Pending --sent--> Sent --acknowledged--> Delivered --answer--> Successful | Failed
//!            |               |                         '-- rests when nothing answers
//!            '--> Expired    |--180 s without acknowledgement--> Timeout
//! (immediately) ---sent--> --'--refused, unreachable, busy--> Failed
//! ```
//! An ended command stays as it is, whatever comes. The deadline is judged first, so that the outcome
//! never depends on which of timer and message came first. An answer stands for the acknowledgement
//! that it overtook (RFC 7252 §5.2.2). Times are UTC.

use crate::base::time::Timestamp;

/// How long a sent command waits for its acknowledgement.
pub const ACK_WAIT_S: u64 = 180;
/// How long what is sent immediately waits for its turn.
pub const TURN_WAIT_S: u64 = 5;
/// What `expire_time` is when the caller names none.
pub const EXPIRE_DEFAULT_S: u32 = 86_400;
/// The longest `expire_time`.
pub const EXPIRE_MAX_S: u32 = 172_800;

/// Where a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Waits for the device until then.
    Pending {
        expires_at: Timestamp,
    },
    /// Written to the network, or waiting for its turn there.
    Sent {
        at: Timestamp,
        waits: bool,
    },
    /// The device has it, and its answer is awaited for so long.
    Delivered {
        at: Timestamp,
        answer_within_s: u32,
    },
    /// The device has it, and its answer is not awaited any more. An answer of its own still counts.
    Rested,
    Ended(Outcome),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was not sent in time.
    Expired,
    /// It was not acknowledged in time.
    Timeout,
    Successful,
    Failed,
}

/// What happens to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// It is encoded and goes out, at once or when its turn has come.
    Sent { waits: bool },
    /// Its turn has come.
    Turn,
    /// The device acknowledged it. `answer_within_s`: how long its answer is awaited; `None`: its model
    /// declares none.
    Acknowledged { answer_within_s: Option<u32> },
    /// The device answered it, or the answer was read as a failure.
    Answered { succeeded: bool },
    /// It can't be encoded, the device refused it or can't be reached.
    Refused,
}

/// One step of a command: the states that it goes through, in order; empty when nothing changes.
pub fn step(state: State, now: Timestamp, input: Input) -> Vec<State> {
    let ended = |outcome| vec![State::Ended(outcome)];
    let answered = |succeeded| match succeeded {
        true => State::Ended(Outcome::Successful),
        false => State::Ended(Outcome::Failed),
    };
    let overdue = deadline(state).is_some_and(|at| now >= at);
    let delivered = |answer_within_s| State::Delivered {
        at: now,
        answer_within_s,
    };
    match (state, input) {
        (State::Pending { .. }, _) if overdue => ended(Outcome::Expired),
        (State::Sent { waits: true, .. }, _) if overdue => ended(Outcome::Failed),
        (State::Sent { waits: false, .. }, _) if overdue => ended(Outcome::Timeout),
        // What comes with the same breath still counts for it.
        (State::Delivered { .. }, Input::Tick) if overdue => vec![State::Rested],
        (State::Pending { .. }, Input::Sent { waits }) => vec![State::Sent { at: now, waits }],
        (State::Sent { at, waits: true }, Input::Turn) => vec![State::Sent { at, waits: false }],
        (State::Pending { .. } | State::Sent { .. }, Input::Refused) => ended(Outcome::Failed),
        (State::Sent { .. }, Input::Acknowledged { answer_within_s }) => match answer_within_s {
            Some(within_s) => vec![delivered(within_s)],
            None => vec![delivered(0), State::Ended(Outcome::Successful)],
        },
        (State::Sent { .. }, Input::Answered { succeeded }) => {
            vec![delivered(0), answered(succeeded)]
        }
        (State::Delivered { .. } | State::Rested, Input::Answered { succeeded }) => {
            vec![answered(succeeded)]
        }
        // Late, repeated, or nothing to it: it stays as it is.
        (
            State::Pending { .. }
            | State::Sent { .. }
            | State::Delivered { .. }
            | State::Rested
            | State::Ended(_),
            Input::Tick
            | Input::Sent { .. }
            | Input::Turn
            | Input::Acknowledged { .. }
            | Input::Answered { .. }
            | Input::Refused,
        ) => Vec::new(),
    }
}

/// When [`Input::Tick`] is next due. Derived from the state, so that a restart loses no timer.
pub fn deadline(state: State) -> Option<Timestamp> {
    match state {
        State::Pending { expires_at } => Some(expires_at),
        State::Sent { at, waits: true } => Some(at.plus_s(TURN_WAIT_S)),
        State::Sent { at, waits: false } => Some(at.plus_s(ACK_WAIT_S)),
        State::Delivered {
            at,
            answer_within_s,
        } => Some(at.plus_s(u64::from(answer_within_s))),
        State::Rested | State::Ended(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(s: u64) -> Timestamp {
        Timestamp::from_ms(0).plus_s(s)
    }

    const WAITS: State = State::Pending {
        expires_at: Timestamp::from_ms(100_000),
    };

    fn sent(s: u64) -> State {
        State::Sent {
            at: at(s),
            waits: false,
        }
    }

    fn delivered(s: u64, answer_within_s: u32) -> State {
        State::Delivered {
            at: at(s),
            answer_within_s,
        }
    }

    /// Every arrow of the diagram, and what must not be one.
    #[test]
    fn every_transition() {
        use Outcome::{Expired, Failed, Successful, Timeout};
        let end = State::Ended;
        let go = Input::Sent { waits: false };
        let ack = |answer_within_s| Input::Acknowledged { answer_within_s };
        let answer = |succeeded| Input::Answered { succeeded };
        let turn = |at_s| State::Sent {
            at: at(at_s),
            waits: true,
        };
        let cases: Vec<(State, u64, Input, Vec<State>)> = vec![
            (WAITS, 5, go, vec![sent(5)]),
            (WAITS, 100, go, vec![end(Expired)]),
            (WAITS, 99, Input::Tick, vec![]),
            (WAITS, 100, Input::Tick, vec![end(Expired)]),
            (WAITS, 1, Input::Refused, vec![end(Failed)]),
            (WAITS, 1, ack(None), vec![]),
            (WAITS, 1, answer(true), vec![]),
            (turn(5), 6, Input::Turn, vec![sent(5)]),
            (turn(5), 10, Input::Turn, vec![end(Failed)]),
            (sent(5), 6, Input::Turn, vec![]),
            (sent(5), 6, ack(Some(9)), vec![delivered(6, 9)]),
            (
                sent(5),
                6,
                ack(None),
                vec![delivered(6, 0), end(Successful)],
            ),
            (
                sent(5),
                6,
                answer(true),
                vec![delivered(6, 0), end(Successful)],
            ),
            (
                sent(5),
                6,
                answer(false),
                vec![delivered(6, 0), end(Failed)],
            ),
            (sent(5), 6, Input::Refused, vec![end(Failed)]),
            (sent(5), 184, Input::Tick, vec![]),
            (sent(5), 185, ack(Some(9)), vec![end(Timeout)]),
            (sent(5), 185, Input::Tick, vec![end(Timeout)]),
            (delivered(5, 9), 6, ack(Some(9)), vec![]),
            (delivered(5, 9), 6, Input::Refused, vec![]),
            (delivered(5, 9), 6, answer(false), vec![end(Failed)]),
            (delivered(5, 9), 14, Input::Tick, vec![State::Rested]),
            (delivered(5, 9), 14, answer(true), vec![end(Successful)]),
            (State::Rested, 900, answer(true), vec![end(Successful)]),
            (State::Rested, 900, Input::Refused, vec![]),
            (end(Timeout), 900, answer(true), vec![]),
            (end(Successful), 900, answer(false), vec![]),
        ];
        for (state, now_s, input, want) in cases {
            assert_eq!(step(state, at(now_s), input), want, "{state:?} {input:?}");
        }
    }

    fn any_input() -> impl Strategy<Value = Input> {
        prop_oneof![
            Just(Input::Tick),
            any::<bool>().prop_map(|waits| Input::Sent { waits }),
            Just(Input::Turn),
            proptest::option::of(0u32..400)
                .prop_map(|answer_within_s| Input::Acknowledged { answer_within_s }),
            any::<bool>().prop_map(|succeeded| Input::Answered { succeeded }),
            Just(Input::Refused),
        ]
    }

    proptest! {
        /// Whatever comes in whatever order: one end at most, and time alone frees the queue.
        #[test]
        fn a_command_ends_once(inputs in proptest::collection::vec((0u64..200, any_input()), 0..30)) {
            let (mut state, mut now, mut ends) = (WAITS, 0, 0);
            for (after, input) in inputs {
                now += after;
                for next in step(state, at(now), input) {
                    prop_assert_ne!(next, state);
                    ends += u32::from(matches!(next, State::Ended(_)));
                    state = next;
                }
            }
            prop_assert!(ends <= 1);
            for _ in 0..3 {
                if let Some(due) = deadline(state) {
                    state = *step(state, due, Input::Tick).last().unwrap();
                }
            }
            prop_assert!(matches!(state, State::Rested | State::Ended(_)), "{:?}", state);
        }
    }
}
