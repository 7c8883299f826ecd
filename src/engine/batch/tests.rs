use proptest::prelude::*;

use super::*;
use crate::base::time::Timestamp;

const fn at(ms: u64) -> Timestamp {
    Timestamp::from_ms(ms)
}

const POLICY: RetryPolicy = RetryPolicy {
    count: 1,
    interval_ms: 100,
};

/// What it is, inputs with their times, the state after them, and the tries.
type Case<'a> = (&'a str, &'a [(u64, Input)], State, u32);

#[test]
fn a_subtask_goes_its_way() {
    use Input::{Begin, Due, Fail, Remove, Retry, Stop, Succeed};
    let soft = Fail { retriable: true };
    let hard = Fail { retriable: false };
    let cases: [Case<'_>; 10] = [
        ("done", &[(0, Begin), (5, Succeed)], State::Success, 1),
        (
            "waits",
            &[(0, Begin), (5, soft)],
            State::FailWaitRetry { at: at(105) },
            1,
        ),
        (
            "early",
            &[(0, Begin), (5, soft), (104, Due)],
            State::FailWaitRetry { at: at(105) },
            1,
        ),
        (
            "again",
            &[(0, Begin), (5, soft), (105, Due), (105, Begin)],
            State::Processing,
            2,
        ),
        (
            "used up",
            &[(0, Begin), (5, soft), (105, Due), (105, Begin), (106, soft)],
            State::Fail,
            2,
        ),
        ("hopeless", &[(0, Begin), (5, hard)], State::Fail, 1),
        ("stopped", &[(0, Stop), (1, Begin)], State::Stopped, 0),
        (
            "runs on",
            &[(0, Begin), (1, Stop), (2, Succeed), (3, Retry)],
            State::Success,
            1,
        ),
        (
            "by hand",
            &[(0, Begin), (1, hard), (2, Retry)],
            State::Waiting,
            0,
        ),
        (
            "removed",
            &[(0, Begin), (1, soft), (2, Remove), (200, Due)],
            State::Removed,
            1,
        ),
    ];
    for (name, inputs, state, tries) in cases {
        let mut subtask = Subtask::new(POLICY);
        for (now, input) in inputs {
            subtask.step(at(*now), *input);
        }
        assert_eq!((subtask.state, subtask.tries), (state, tries), "{name}");
    }
}

#[test]
fn the_status_follows_from_phase_and_counts() {
    let counts = |waiting, processing, success, fail, stopped| Counts {
        waiting,
        processing,
        success,
        fail,
        stopped,
        ..Counts::default()
    };
    let cases = [
        (
            Phase::Scheduled { at: at(9) },
            counts(3, 0, 0, 0, 0),
            "Waitting",
        ),
        (Phase::Running, counts(3, 0, 0, 0, 0), "Waitting"),
        (Phase::Running, counts(2, 1, 0, 0, 0), "Processing"),
        (Phase::Running, counts(2, 0, 1, 0, 0), "Processing"),
        (Phase::Stopping, counts(2, 1, 0, 0, 0), "Stopping"),
        (Phase::Stopped, counts(0, 0, 1, 0, 2), "Stopped"),
        (Phase::Ended, counts(0, 0, 3, 0, 0), "Success"),
        (Phase::Ended, counts(0, 0, 0, 3, 0), "Fail"),
        (Phase::Ended, counts(0, 0, 0, 1, 2), "Fail"),
        (Phase::Ended, counts(0, 0, 2, 1, 0), "PartialSuccess"),
        (Phase::Ended, counts(0, 0, 2, 0, 1), "PartialSuccess"),
        (Phase::Ended, counts(0, 0, 0, 0, 3), "Stopped"),
    ];
    for (phase, counts, word) in cases {
        assert_eq!(
            Status::of(phase, &counts).word(),
            word,
            "{phase:?} {counts:?}"
        );
    }
}

fn inputs() -> impl Strategy<Value = Input> {
    prop_oneof![
        1 => Just(Input::Due),
        3 => Just(Input::Begin),
        2 => Just(Input::Succeed),
        2 => any::<bool>().prop_map(|retriable| Input::Fail { retriable }),
        1 => Just(Input::Stop),
        1 => Just(Input::Retry),
        1 => Just(Input::Remove),
    ]
}

#[derive(Debug, Clone)]
enum Event {
    Subtask(usize, Input),
    Task(Order),
    Pass(u64),
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0..5_usize, inputs()).prop_map(|(i, input)| Event::Subtask(i, input)),
        2 => Just(Event::Task(Order::Look)),
        1 => Just(Event::Task(Order::Stop)),
        1 => Just(Event::Task(Order::Retry)),
        2 => (0..300_u64).prop_map(Event::Pass),
    ]
}

proptest! {
    #[test]
    fn counts_add_up_and_ends_are_final(events in prop::collection::vec(events(), 0..200)) {
        let mut subtasks = [Subtask::new(POLICY); 5];
        let mut task = Task {
            phase: Phase::Scheduled { at: at(50) },
            counts: Counts { waiting: 5, ..Counts::default() },
        };
        let mut now = 0;
        for event in events {
            match event {
                Event::Pass(ms) => now += ms,
                Event::Subtask(index, input) => {
                    let before = subtasks[index];
                    let moved = subtasks[index].step(at(now), input);
                    if let Some(to) = moved {
                        task.counts.moved(before.state, to);
                        let again = matches!(input, Input::Retry);
                        prop_assert!(!before.state.is_ended() || again, "{before:?} {to:?}");
                    }
                    prop_assert!(subtasks[index].tries <= POLICY.count + 1);
                    let due = subtasks[index].deadline();
                    prop_assert_eq!(due.is_some(), matches!(subtasks[index].state,
                        State::FailWaitRetry { .. }));
                }
                Event::Task(order) => {
                    let before = task;
                    let moved = task.step(at(now), order);
                    let ended = matches!(before.phase, Phase::Ended | Phase::Stopped);
                    prop_assert!(moved.is_none() || !ended || order == Order::Retry);
                    if matches!(moved, Some(Phase::Ended | Phase::Stopped)) {
                        prop_assert_eq!(task.counts.open(), 0);
                    }
                }
            }
            prop_assert_eq!(task.counts.total(), 5);
            let mut counted = Counts::default();
            subtasks.iter().for_each(|s| counted.add(s.state));
            prop_assert_eq!(counted, task.counts);
        }
    }
}
