//! Where devices differ from the protocol, and what holds for all of them.

use super::*;

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
            "loses its power after 22 and what it had loaded: asks again from the start, and gets no order \
             before it has all of it",
            script(&[
                &LOADS,
                &ORDERED,
                &[
                    (20 * S, TICK, sends(Request::Execute)),
                    (25 * S, asks(0), FRAGMENT_0),
                    (60 * S, TICK, NOTHING),
                    (61 * S, asks(1), FRAGMENT_1),
                    (300 * S, TICK, NOTHING),
                    (301 * S, loaded(OK), ORDER),
                    (302 * S, executed(OK), NOTHING),
                    (400 * S, upgraded(OK, V2), DONE),
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
