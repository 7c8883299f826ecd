//! Waits that end, and refusals.

use super::*;

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
                Code::QueryVersion | Code::Fragment | Code::Upgraded => {
                    (script(&[&LOADS, &ORDERED, &TAKES]), upgraded(result, V1))
                }
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

/// A clock that was set back a day does not hold a slot for a day.
#[test]
fn a_clock_set_back_makes_no_wait_longer() {
    let day = 24 * 60 * MIN;
    let mut attempt = Attempt::begin(2 * day, Memory::NEW);
    attempt.follow(
        "set back",
        &[
            (day, AWAKE, NOTHING),
            (day + 59 * MIN, TICK, NOTHING),
            (day + 60 * MIN, TICK, fails(Failure::StartTimeout)),
        ],
    );
}
