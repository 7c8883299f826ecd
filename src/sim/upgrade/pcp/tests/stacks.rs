//! Each row of what real devices do.

use super::*;
use crate::sim::upgrade::Event;

#[test]
fn an_at_module_upgrades_as_it_does() {
    let bench = play(
        Stack::AtModule,
        None,
        &[
            "< query
             > version 19 0 V1.0",
            AT_DOWNLOAD,
            "< query
             > version 19 0 V1.0
             < downloaded taken 0
             < execute
             + 4s
             + 1s
             > result 23 6
             > result 22 0
             < execute
             > result 23 0
             + 5s
             runs V1.0
             + 10s
             > version 24 0 V2.0
             runs V2.0
             + 600s",
        ],
    );
    let record = bench.device.record();
    assert_eq!((record.early, record.executed, record.installed), (1, 1, 1));
    assert_eq!((record.pieces, record.wrong), (3, 0));
    let execution = &record.executions[0];
    assert_eq!(execution.intact, Some(true));
    assert_eq!(execution.hash, Expected::new(&package()).hash());
}

#[test]
fn the_lwm2m_stack_upgrades_as_it_does() {
    let mut bench = play(
        Stack::Lwm2m,
        None,
        &[
            "< query
             > version 19 0 V1.0",
            LWM2M_DOWNLOAD,
            "< query
             > version 19 0 V2.0
             < execute
             + 2s
             > result 22 0
             < downloaded taken 0
             + 2s
             > result 22 0
             < execute
             > result 23 0
             + 5s
             off 10s
             on
             > version 24 0 V2.0
             runs V2.0
             + 4s
             > version 24 0 V2.0
             > version 24 0 V2.0
             < result taken 0
             + 600s
             < query
             > version 19 0 V2.0
             < offer V2.0 32 3 0000
             > result 20 3",
        ],
    );
    let kinds: Vec<_> = std::iter::from_fn(|| bench.device.event())
        .filter(|event| !matches!(event, Event::Progress { .. }))
        .map(|event| event.kind())
        .collect();
    let want = [
        "offered",
        "downloaded",
        "executed",
        "installed",
        "confirmed",
    ];
    assert_eq!(kinds, want);
}

#[test]
fn checksums_count_for_one_and_not_for_the_other() {
    play(Stack::AtModule, None, &["<broken query", AT_DOWNLOAD]);
    play(
        Stack::Lwm2m,
        None,
        &["<broken query
           > version 19 0 V1.0"],
    );
}

#[test]
fn a_known_version_is_asked_for_later_by_one() {
    let again = "< offer V2.0 32 3 0000";
    play(
        Stack::AtModule,
        None,
        &[again, "> ask V2.0 0", again, "> ask V2.0 0"],
    );
    let answer = "> result 20 0";
    let later = "+ 1s\n + 1s\n > ask V2.0 0";
    play(
        Stack::Lwm2m,
        None,
        &[again, answer, "> ask V2.0 0", again, answer, later],
    );
    // Another package check is another package, of the same name.
    play(
        Stack::Lwm2m,
        None,
        &[
            LWM2M_DOWNLOAD,
            "< offer V2.0 32 3 0000
             > result 20 0
             + 2s
             > result 22 0
             < offer V2.0 32 3 1234
             > result 20 0
             > ask V2.0 0",
        ],
    );
}

#[test]
fn no_fragment_is_ignored_but_one_byte_spoils_the_image() {
    let three_bytes = "
        < no fragment 81 0
        < no fragment 80 0
    ";
    let offer = "< offer V2.0 32 3 0000";
    play(
        Stack::Lwm2m,
        None,
        &[
            offer,
            "> result 20 0
             > ask V2.0 0",
            three_bytes,
            "< no fragment 81 -
             + 6s
             > ask V2.0 0
             > ask V2.0 0
             > ask V2.0 0
             < fragment 0
             > ask V2.0 1",
        ],
    );
    let bench = play(
        Stack::AtModule,
        None,
        &[
            offer,
            "> ask V2.0 0",
            three_bytes,
            "+ 5s
             > result 23 6
             > ask V2.0 0
             < no fragment 81 -
             > ask V2.0 1
             < fragment 1
             > ask V2.0 2
             < fragment 2
             > result 22 0
             + 2s
             < execute
             > result 23 0
             + 600s
             runs V1.0",
        ],
    );
    let record = bench.device.record();
    assert_eq!((record.denied, record.failed, record.reports), (3, 1, 0));
    assert_eq!(record.executions[0].intact, Some(false));
}

#[test]
fn after_a_reboot_one_begins_anew_and_the_other_goes_on() {
    let offer = "< offer V2.0 32 3 0000";
    let first = "> ask V2.0 0
                 < fragment 0
                 > ask V2.0 1
                 cut 60s
                 on";
    let bench = play(Stack::AtModule, None, &[offer, first, "> ask V2.0 0"]);
    assert_eq!(
        (bench.device.record().begun, bench.device.record().resumed),
        (2, 0)
    );
    let rest = "> ask V2.0 1
                < fragment 0
                < fragment 1
                > ask V2.0 2
                < fragment 2
                > result 22 0";
    let bench = play(Stack::Lwm2m, None, &[offer, "> result 20 0", first, rest]);
    let record = bench.device.record();
    assert_eq!((record.begun, record.resumed, record.stale), (1, 1, 1));
    assert_eq!((record.pieces, record.wrong), (3, 0));
}

/// What does not fit the request under way is not taken.
#[test]
fn fragments_must_be_those_that_were_asked_for() {
    let wrong_length = format!("< fragment 0 {}", "aa".repeat(31));
    let too_long = format!("< fragment 2 {}", "aa".repeat(33));
    let bench = play(
        Stack::Lwm2m,
        None,
        &[
            "< fragment 0
             < offer V2.0 32 3 0000
             > result 20 0
             > ask V2.0 0
             < fragment 1",
            &wrong_length,
            "< fragment 0
             > ask V2.0 1
             < fragment 0
             < fragment 1
             > ask V2.0 2",
            &too_long,
            "< fragment 2
             > result 22 0",
        ],
    );
    assert_eq!(bench.device.record().stale, 5);
    let bench = play(
        Stack::Lwm2m,
        None,
        &[&format!(
            "< offer V2.0 32 3 0000
             > result 20 0
             > ask V2.0 0
             < fragment 0 {}
             > ask V2.0 1",
            "aa".repeat(32)
        )],
    );
    // It was well formed, and was not the package's.
    assert_eq!(bench.device.record().wrong, 1);
}

#[test]
fn offers_that_make_no_sense_are_refused() {
    for offer in ["V2.0 31 3 0000", "V2.0 501 3 0000", "V2.0 32 0 0000"] {
        let script = format!("< offer {offer}\n > result 20 127");
        play(Stack::Lwm2m, None, &[&script]);
        play(Stack::AtModule, None, &[&script]);
    }
}

/// A week without a platform: it goes on asking, and a patient one does not.
#[test]
fn it_asks_for_ever_unless_it_is_told_otherwise() {
    let week = Duration::from_secs(7 * 86_400);
    let mut bench = Bench::new(Stack::Lwm2m, None);
    assert!(
        bench
            .device
            .take(bench.now, &spoken("offer V2.0 32 3 0000"))
    );
    bench.turn();
    bench.pass(week);
    assert_eq!(bench.said.len(), 7 * 86_400 / 2 + 2);
    let mut habits = Habits::software(Stack::Lwm2m, "V1.0");
    habits.software.as_mut().unwrap().patience = Some(Duration::from_secs(60));
    bench.device = Upgrader::new(habits);
    bench.said.clear();
    assert!(
        bench
            .device
            .take(bench.now, &spoken("offer V2.0 32 3 0000"))
    );
    bench.turn();
    bench.pass(week);
    assert_eq!(bench.said.len(), 32);
}
