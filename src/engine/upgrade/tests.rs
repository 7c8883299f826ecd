mod push;

use proptest::prelude::*;

use super::*;
use crate::engine::upgrade::fota::{Phase, STALLED_MS, State};

const MIN: u64 = 60_000;

const TARGET: Target<'_> = Target {
    version: "2.0",
    sources: &[],
};

const fn at(ms: u64) -> Timestamp {
    Timestamp::from_ms(ms)
}

/// Inputs with their times, in minutes.
fn run(inputs: &[(u64, Input<'_>)]) -> (Upgrade, Vec<Wish>) {
    let mut upgrade = Upgrade::new(Kind::Firmware, at(0));
    let mut last = Vec::new();
    for (minute, input) in inputs {
        last = upgrade.step(at(minute * MIN), *input, &TARGET);
    }
    (upgrade, last)
}

const fn said(saying: Saying<'_>) -> Input<'_> {
    Input::Said(saying)
}

const fn done<'a>(ask: Ask) -> Input<'a> {
    Input::Said(Saying::Done(ask))
}

const OLD: Input<'_> = said(Saying::Version("1.0"));
const NEW: Input<'_> = said(Saying::Version("2.0"));
const CELL: Input<'_> = Input::Measured(Measured::Cell);

/// As far as the slot.
const TO_SLOT: [(u64, Input<'_>); 4] = [
    (1, Input::Reachable),
    (1, OLD),
    (1, CELL),
    (1, Input::Admitted),
];

/// And on to the download.
const TO_DOWNLOAD: [(u64, Input<'_>); 4] = [
    (1, said(Saying::State(0))),
    (1, said(Saying::Result(0))),
    (2, done(Ask::WriteUri)),
    (2, said(Saying::State(1))),
];

fn after<'a>(parts: &[&[(u64, Input<'a>)]]) -> (Upgrade, Vec<Wish>) {
    run(&parts.concat())
}

fn failed(reason: Reason) -> Vec<Wish> {
    vec![Wish::End(Outcome::Failed(reason))]
}

#[test]
fn a_firmware_upgrade_goes_well() {
    let steps: [(u64, Input<'_>, Vec<Wish>); 14] = [
        (1, Input::Reachable, vec![Wish::Ask(Ask::Version)]),
        (1, OLD, vec![Wish::Ask(Ask::Coverage)]),
        (1, CELL, vec![Wish::Line]),
        (1, Input::Admitted, vec![Wish::Ask(Ask::ObserveState)]),
        (
            1,
            said(Saying::State(0)),
            vec![Wish::Ask(Ask::ObserveResult)],
        ),
        (1, said(Saying::Result(0)), vec![Wish::Ask(Ask::WriteUri)]),
        (1, done(Ask::WriteUri), vec![]),
        (2, Input::Fetched, vec![]),
        (60, said(Saying::State(2)), vec![Wish::Ask(Ask::Execute)]),
        (60, done(Ask::Execute), vec![]),
        (61, said(Saying::State(3)), vec![]),
        (80, said(Saying::State(0)), vec![Wish::Ask(Ask::Result)]),
        (80, said(Saying::Result(1)), vec![Wish::Ask(Ask::Version)]),
        (
            80,
            NEW,
            vec![Wish::End(Outcome::Success { was_there: false })],
        ),
    ];
    let mut upgrade = Upgrade::new(Kind::Firmware, at(0));
    for (n, (minute, input, wishes)) in steps.into_iter().enumerate() {
        let got = upgrade.step(at(minute * MIN), input, &TARGET);
        assert_eq!(got, wishes, "step {n}");
        assert_eq!(
            upgrade.holds_slot(),
            (3..13).contains(&n),
            "slot after step {n}"
        );
    }
}

/// Not every device that sleeps says so: asked out of its sleep, it is waited for.
#[test]
fn who_slept_when_it_was_asked_is_waited_for() {
    let lost = |asleep| {
        let ask = Ask::Version;
        Input::Lost { ask, asleep }
    };
    for minute in [3, 5] {
        let (mut upgrade, wishes) = run(&[(1, Input::Reachable), (minute, lost(true))]);
        assert_eq!(wishes, vec![], "minute {minute}");
        assert_eq!(upgrade.step, Step::Online { since: at(MIN) });
        let wishes = upgrade.step(at(600 * MIN), Input::Reachable, &TARGET);
        assert_eq!(wishes, vec![Wish::Ask(Ask::Version)]);
    }
    let (_, wishes) = run(&[(1, Input::Reachable), (5, lost(false))]);
    assert_eq!(wishes, failed(Reason::VersionTimeout));
}

/// A URI whose answer is lost may have been taken: what the device has then is ours.
#[test]
fn a_download_that_was_never_acknowledged_goes_on() {
    let (first, wishes) = after(&[&TO_SLOT, &TO_DOWNLOAD[..2], &[(61, Input::Tick)]]);
    assert_eq!(wishes, failed(Reason::StartTimeout));
    let mut second = first.again(at(70 * MIN));
    for (_, input) in TO_SLOT {
        second.step(at(70 * MIN), input, &TARGET);
    }
    let wishes = second.step(at(71 * MIN), said(Saying::State(2)), &TARGET);
    assert_eq!(wishes, vec![Wish::Ask(Ask::Execute)]);
}

/// Also when the state tells of the download before the answer to the URI does.
#[test]
fn a_download_has_its_hour_from_the_uri_on() {
    for input in [said(Saying::State(1)), Input::Fetched, done(Ask::WriteUri)] {
        let (upgrade, _) = after(&[&TO_SLOT, &TO_DOWNLOAD[..2], &[(40, input)]]);
        assert_eq!(upgrade.deadline(), Some(at(100 * MIN)), "{input:?}");
    }
}

/// What it is, what happened, and what comes of the last of it.
type Case<'a> = (&'a str, Vec<&'a [(u64, Input<'a>)]>, Vec<Wish>);

#[test]
fn every_failure_has_its_text() {
    let told = |result| {
        [
            (3, said(Saying::State(0))),
            (3, said(Saying::Result(result))),
        ]
    };
    let (broken, integrity) = (told(4), told(5));
    let execute = [(9, said(Saying::State(2))), (9, done(Ask::Execute))];
    let back = [(10, said(Saying::State(2))), (10, said(Saying::Result(8)))];
    let up = [(10, said(Saying::State(0))), (10, said(Saying::Result(1)))];
    let lies = [(10, OLD)];
    let cases: Vec<Case<'_>> = vec![
        (
            "never there",
            vec![&[(1440, Input::Tick)]],
            failed(Reason::OnlineTimeout),
        ),
        (
            "no version",
            vec![&[(1, Input::Reachable), (4, Input::Tick)]],
            failed(Reason::VersionTimeout),
        ),
        (
            "is there already",
            vec![&[(1, Input::Reachable), (1, NEW)]],
            vec![Wish::End(Outcome::Success { was_there: true })],
        ),
        (
            "no coverage, then no cell",
            vec![&[
                (1, Input::Reachable),
                (1, OLD),
                (4, Input::Tick),
                (7, Input::Tick),
            ]],
            failed(Reason::CellTimeout),
        ),
        (
            "silent in the line",
            vec![&TO_SLOT[..3], &[(1441, Input::Tick)]],
            failed(Reason::OnlineTimeout),
        ),
        (
            "does not begin",
            vec![&TO_SLOT, &TO_DOWNLOAD[..3], &[(62, Input::Tick)]],
            failed(Reason::StartTimeout),
        ),
        (
            "does not end",
            vec![&TO_SLOT, &TO_DOWNLOAD, &[(62, Input::Tick)]],
            failed(Reason::DownloadTimeout),
        ),
        (
            "breaks",
            vec![&TO_SLOT, &TO_DOWNLOAD, &broken],
            failed(Reason::Object5(4)),
        ),
        (
            "is damaged",
            vec![&TO_SLOT, &TO_DOWNLOAD, &integrity],
            failed(Reason::Object5(5)),
        ),
        (
            "does not take the order",
            vec![&TO_SLOT, &TO_DOWNLOAD, &execute[..1], &[(39, Input::Tick)]],
            failed(Reason::UpdateTimeout),
        ),
        (
            "is silent afterwards",
            vec![&TO_SLOT, &TO_DOWNLOAD, &execute, &[(39, Input::Tick)]],
            failed(Reason::ResultTimeout),
        ),
        (
            "state 2 after the order",
            vec![&TO_SLOT, &TO_DOWNLOAD, &execute, &back],
            failed(Reason::Object5(8)),
        ),
        (
            "does not tell its version",
            vec![&TO_SLOT, &TO_DOWNLOAD, &execute, &up, &[(39, Input::Tick)]],
            failed(Reason::CheckTimeout),
        ),
        (
            "success with the old version",
            vec![&TO_SLOT, &TO_DOWNLOAD, &execute, &up, &lies],
            failed(Reason::OtherVersion {
                version: "1.0".to_owned(),
            }),
        ),
        (
            "stopped",
            vec![&TO_SLOT, &TO_DOWNLOAD, &[(3, Input::Stop)]],
            vec![Wish::End(Outcome::Stopped)],
        ),
        (
            "installs, and is not stopped",
            vec![&TO_SLOT, &TO_DOWNLOAD, &execute, &[(10, Input::Stop)]],
            vec![],
        ),
    ];
    for (name, parts, wishes) in cases {
        let (upgrade, got) = after(&parts);
        assert_eq!(got, wishes, "{name}");
        let ends = wishes.iter().any(|w| matches!(w, Wish::End(_)));
        assert_eq!(upgrade.step == Step::Ended, ends, "{name}");
    }
}

#[test]
fn an_attempt_goes_on_where_the_one_before_ended() {
    let first = after(&[&TO_SLOT, &TO_DOWNLOAD, &[(62, Input::Tick)]]).0;
    for (state, phase, wish) in [
        (0, Phase::ObserveResult, Some(Ask::ObserveResult)),
        (1, Phase::Downloading, None),
        (2, Phase::Execute, Some(Ask::Execute)),
        (3, Phase::Updating, None),
    ] {
        let mut second = first.again(at(70 * MIN));
        for (minute, input) in TO_SLOT {
            second.step(at((70 + minute) * MIN), input, &TARGET);
        }
        let got = second.step(at(72 * MIN), said(Saying::State(state)), &TARGET);
        let wishes: Vec<Wish> = wish.into_iter().map(Wish::Ask).collect();
        assert_eq!(got, wishes, "state {state}");
        let Step::Fota(State { phase: is, .. }) = second.step else {
            panic!("{second:?}");
        };
        assert_eq!(is, phase, "state {state}");
    }
}

#[test]
fn what_somebody_else_has_loaded_is_never_installed() {
    let (mut upgrade, got) = after(&[&TO_SLOT, &[(2, said(Saying::State(2)))]]);
    assert_eq!(got, vec![Wish::Ask(Ask::ResetUri)]);
    let got = upgrade.step(at(2 * MIN), done(Ask::ResetUri), &TARGET);
    assert_eq!(got, vec![Wish::Ask(Ask::WriteUri)]);
}

#[test]
fn a_download_that_stands_still_is_announced_again() {
    let (mut upgrade, _) = after(&[&TO_SLOT, &TO_DOWNLOAD]);
    let written = 2 * MIN;
    let soon = upgrade.step(at(written + STALLED_MS - 1), Input::Reachable, &TARGET);
    assert_eq!(soon, vec![]);
    let later = upgrade.step(at(written + STALLED_MS), Input::Reachable, &TARGET);
    assert_eq!(later, vec![Wish::Ask(Ask::WriteUri)]);
}

/// State 2 without a result, after the order: it never began. So a device loops no longer than a while.
#[test]
fn a_device_that_lost_its_power_on_the_order_gets_it_again() {
    let execute = [(9, said(Saying::State(2))), (9, done(Ask::Execute))];
    let (mut upgrade, _) = after(&[&TO_SLOT, &TO_DOWNLOAD, &execute]);
    let mut comes_back = |minute: u64| {
        let inputs = [
            done(Ask::Execute),
            Input::Registered,
            said(Saying::State(2)),
            said(Saying::Result(0)),
        ];
        inputs.map(|input| upgrade.step(at(minute * MIN), input, &TARGET))
    };
    let ask = |ask| vec![Wish::Ask(ask)];
    let [_, registered, told, order] = comes_back(10);
    let want = [ask(Ask::ObserveState), ask(Ask::Result), ask(Ask::Execute)];
    assert_eq!([registered, told, order], want);
    assert_eq!(comes_back(18)[3], ask(Ask::Execute));
    assert_eq!(comes_back(19)[3], failed(Reason::Object5(8)));
}

/// The time of a download is that of the attempt, however often the device starts anew.
#[test]
fn a_device_that_reboots_in_a_loop_ends_in_its_time() {
    let (mut upgrade, _) = after(&[&TO_SLOT, &TO_DOWNLOAD]);
    let anew = [
        Input::Registered,
        said(Saying::State(0)),
        said(Saying::Result(0)),
        done(Ask::WriteUri),
        said(Saying::State(1)),
        Input::Fetched,
    ];
    for minute in (10..62).step_by(4) {
        for input in anew {
            upgrade.step(at(minute * MIN), input, &TARGET);
        }
        assert!(upgrade.holds_slot(), "{minute}");
    }
    let end = upgrade.step(at(62 * MIN), anew[0], &TARGET);
    assert_eq!(end, failed(Reason::DownloadTimeout));
}

#[test]
fn a_sleeper_keeps_its_rank_and_is_measured_anew_after_an_hour() {
    let (mut upgrade, _) = after(&[&TO_SLOT[..3]]);
    let ranked_at = upgrade.ranked_at;
    assert_eq!(
        upgrade.step(at(30 * MIN), Input::Reachable, &TARGET),
        vec![Wish::Line]
    );
    let asked = upgrade.step(at(600 * MIN), Input::Reachable, &TARGET);
    assert_eq!(asked, vec![Wish::Ask(Ask::Coverage)]);
    assert_eq!(upgrade.step(at(600 * MIN), CELL, &TARGET), vec![Wish::Line]);
    assert_eq!(upgrade.ranked_at, ranked_at);
}

fn input() -> impl Strategy<Value = Input<'static>> {
    let ask = prop::sample::select(vec![
        Ask::Version,
        Ask::Coverage,
        Ask::Cell,
        Ask::ObserveState,
        Ask::ObserveResult,
        Ask::WriteUri,
        Ask::ResetUri,
        Ask::Result,
        Ask::Execute,
    ]);
    prop_oneof![
        Just(Input::Tick),
        Just(Input::Reachable),
        Just(Input::Registered),
        Just(Input::Admitted),
        Just(Input::Fetched),
        Just(Input::Stop),
        Just(OLD),
        Just(NEW),
        Just(CELL),
        Just(Input::Measured(Measured::Nothing)),
        (0u8..5).prop_map(|s| Input::Said(Saying::State(s))),
        (0u8..12).prop_map(|s| Input::Said(Saying::Result(s))),
        ask.clone().prop_map(|a| Input::Said(Saying::Done(a))),
        (
            ask.clone(),
            prop::sample::select(vec!["4.04", "4.05", "5.03"])
        )
            .prop_map(|(ask, code)| Input::Refused { ask, code }),
        (ask, any::<bool>()).prop_map(|(ask, asleep)| Input::Lost { ask, asleep }),
    ]
}

proptest! {
    /// Whatever comes in whatever order: one end at most, and time alone brings it.
    #[test]
    fn it_always_ends(inputs in prop::collection::vec((0u64..200, input()), 0..60)) {
        let mut upgrade = Upgrade::new(Kind::Firmware, at(0));
        let (mut now, mut ends) = (0, 0);
        let is_end = |w: &Wish| matches!(w, Wish::End(_));
        for (minutes, input) in inputs {
            now += minutes * MIN;
            ends += upgrade.step(at(now), input, &TARGET).iter().filter(|w| is_end(w)).count();
        }
        // No attempt needs more steps than this without an answer.
        for _ in 0..8 {
            let Some(due) = upgrade.deadline() else { break };
            now = now.max(due.as_ms());
            ends += upgrade.step(at(now), Input::Tick, &TARGET).iter().filter(|w| is_end(w)).count();
        }
        prop_assert_eq!(ends, 1);
        prop_assert_eq!(upgrade.step, Step::Ended);
        prop_assert!(upgrade.deadline().is_none());
    }
}
