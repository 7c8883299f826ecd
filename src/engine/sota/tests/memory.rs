//! What is known beyond an attempt: what was sent, and what is believed.

use super::*;
use crate::engine::sota::served::{Run, Served};

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
    let mut new = Memory::NEW;
    assert!(new.told(true));
    assert!(!new.told(false));

    let mut first = Attempt::begin(0, Memory::NEW);
    first.follow("loads and stops", &LOADS);
    assert!(!first.memory.told(true));
    let mut second = Attempt::begin(100 * MIN, first.memory);
    let newest = notified(ResultCode::Newest);
    second.follow("says so twice", &[(100 * MIN, newest, ends(End::Success))]);

    let mut third = Attempt::begin(0, Memory::NEW);
    third.follow("accepts the order", &script(&[&LOADS, &ORDERED, &TAKES]));
    assert!(third.memory.told(true));
    let mut again = Attempt::begin(100 * MIN, third.memory);
    assert!(!again.memory.told(true), "told of it once more");
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
