//! Each fault, at its step.

use super::*;
use crate::sim::upgrade::Step;

#[test]
fn each_fault_does_what_it_says() {
    let off_for = Duration::from_secs(7);
    let offer = "< offer V2.0 32 3 0000";
    let accept = "> result 20 0\n > ask V2.0 0";
    let install = "+ 2s\n > result 22 0\n < execute";
    let on = "> result 23 0\n + 5s\n off 10s\n on";
    let cases: Vec<(Fault, Vec<&str>)> = vec![
        (Fault::Silent(Step::Asked), vec!["< query", offer, "+ 600s"]),
        (
            Fault::Silent(Step::Fragment(1)),
            vec![offer, accept, "< fragment 0\n + 600s\n < query"],
        ),
        (
            Fault::Silent(Step::Installed),
            vec![LWM2M_DOWNLOAD, install, on, "runs V2.0\n + 600s\n < query"],
        ),
        (
            Fault::ClaimsVersion("V2.0".to_owned()),
            vec!["< query\n > version 19 0 V2.0\n runs V1.0"],
        ),
        (
            Fault::KeepsOldVersion,
            vec![
                LWM2M_DOWNLOAD,
                install,
                on,
                "> version 24 0 V1.0\n runs V1.0",
            ],
        ),
        (
            Fault::Refuses(Step::Offered, 4),
            vec![offer, "> result 20 4\n + 600s"],
        ),
        (
            Fault::Refuses(Step::Fragment(1), 5),
            vec![
                offer,
                accept,
                "< fragment 0\n > result 22 5\n < downloaded taken 0\n + 600s",
            ],
        ),
        (
            Fault::Refuses(Step::Executed, 0x7f),
            vec![
                LWM2M_DOWNLOAD,
                install,
                "> result 23 127\n + 600s\n runs V1.0",
            ],
        ),
        (
            Fault::Refuses(Step::Installed, 8),
            vec![
                LWM2M_DOWNLOAD,
                install,
                on,
                "> version 24 8 V1.0\n < result taken 0",
            ],
        ),
        (
            Fault::Corrupts(1),
            vec![
                offer,
                accept,
                "< fragment 0\n > ask V2.0 1\n < fragment 1\n > ask V2.0 2\n < fragment 2",
                "> result 22 7\n + 2s\n > result 22 7\n < downloaded taken 0\n + 600s",
            ],
        ),
        (
            Fault::Reboots {
                every: Duration::from_secs(3),
                times: 1,
            },
            vec![
                offer,
                accept,
                "+ 2s\n > ask V2.0 0\n + 1s\n off 5s\n on\n > ask V2.0 0\n + 2s\n > ask V2.0 0\n + 2s\n > ask V2.0 0",
            ],
        ),
        (
            Fault::Floods(3),
            vec![
                offer,
                accept,
                "> ask V2.0 0\n > ask V2.0 0\n < fragment 0\n > ask V2.0 1\n > ask V2.0 1\n > ask V2.0 1",
            ],
        ),
        (
            Fault::AsksForeign,
            vec![
                offer,
                "> result 20 0\n > ask V9.9-foreign 0\n > ask V2.0 0\n < no fragment 80 0\n < fragment 0\n > ask V2.0 1",
            ],
        ),
        (
            Fault::AsksBeyond,
            vec![
                offer,
                "> result 20 0\n > ask V2.0 3\n > ask V2.0 0\n < no fragment 81 3\n < fragment 0\n > ask V2.0 1",
            ],
        ),
        (
            Fault::RepeatsResult(2),
            vec![
                LWM2M_DOWNLOAD,
                install,
                on,
                "> version 24 0 V2.0\n < result taken 0\n > version 24 0 V2.0\n < result taken 0\n + 600s",
            ],
        ),
        (
            Fault::AnswersLate(Duration::from_secs(9)),
            vec![
                "< query\n + 8s\n + 1s\n > version 19 0 V1.0",
                offer,
                "+ 8s\n + 1s\n > result 20 0\n > ask V2.0 0",
            ],
        ),
        (
            Fault::LosesPower {
                at: Step::Fragment(1),
                off_for,
            },
            vec![
                offer,
                accept,
                "< fragment 0\n off 7s\n on\n > ask V2.0 1\n < fragment 1\n > ask V2.0 2",
            ],
        ),
        (
            Fault::LosesPower {
                at: Step::Executed,
                off_for,
            },
            vec![
                LWM2M_DOWNLOAD,
                install,
                "off 7s\n on\n > result 22 0\n < execute",
                on,
                "> version 24 0 V2.0",
            ],
        ),
        (
            Fault::LosesPower {
                at: Step::Installed,
                off_for,
            },
            vec![
                LWM2M_DOWNLOAD,
                install,
                on,
                "off 7s\n on\n > version 24 0 V2.0\n runs V2.0",
            ],
        ),
    ];
    for (fault, scripts) in cases {
        eprintln!("{fault:?}");
        play(Stack::Lwm2m, Some(fault), &scripts);
    }
    // What fails at the end, an AT module keeps to itself; what succeeds it repeats if it is like that.
    let install = "+ 5s\n > result 23 6\n > result 22 0\n < execute\n > result 23 0\n + 15s";
    let fault = Fault::Refuses(Step::Installed, 0x0a);
    play(
        Stack::AtModule,
        Some(fault),
        &[AT_DOWNLOAD, install, "+ 600s\n runs V1.0"],
    );
    let twice = "> version 24 0 V2.0\n > version 24 0 V2.0\n + 600s";
    let fault = Fault::RepeatsResult(2);
    play(Stack::AtModule, Some(fault), &[AT_DOWNLOAD, install, twice]);
}
