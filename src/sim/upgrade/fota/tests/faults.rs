//! Each fault, at its step.

use super::*;

#[test]
fn each_fault_does_what_it_says() {
    let off_for = Duration::from_secs(7);
    let cases: Vec<(Fault, Vec<&str>)> = vec![
        (
            Fault::Silent(Step::Asked),
            vec!["get 3/0/3\n = silence\n get 4/0\n = silence"],
        ),
        (
            Fault::Silent(Step::Fragment(1)),
            vec![BEGIN, "block 0\n + 600\n get 5/0/3\n = silence"],
        ),
        (
            Fault::Silent(Step::Installed),
            vec![BEGIN, DOWNLOAD, EXECUTE, "runs V2.0\n + 600"],
        ),
        (
            Fault::ClaimsVersion("V9".to_owned()),
            vec!["get 3/0/3\n = 2.05 c2035639\n runs V1.0"],
        ),
        (
            Fault::KeepsOldVersion,
            vec![
                BEGIN,
                DOWNLOAD,
                EXECUTE,
                "> notice s c10300\n get 5/0/5\n = 2.05 c10501\n runs V1.0",
            ],
        ),
        (
            Fault::Refuses(Step::Fragment(1), 3),
            vec![
                BEGIN,
                "block 0\n > notice s c10300\n get 5/0/5\n = 2.05 c10503",
            ],
        ),
        (
            Fault::Refuses(Step::Executed, 8),
            vec![
                BEGIN,
                DOWNLOAD,
                "post 5/0/2\n = 2.04\n > notice s c10302\n get 5/0/5\n = 2.05 c10508",
            ],
        ),
        (
            Fault::Refuses(Step::Installed, 8),
            vec![
                BEGIN,
                DOWNLOAD,
                EXECUTE,
                "> notice s c10302\n get 5/0/5\n = 2.05 c10508\n runs V1.0",
            ],
        ),
        (
            Fault::Corrupts(2),
            vec![
                BEGIN,
                "block 0\n > fetch fw/a?v=2 1 5\n block 1\n > fetch fw/a?v=2 2 5",
                "block 2\n > notice s c10300\n get 5/0/5\n = 2.05 c10505",
            ],
        ),
        (
            Fault::RepeatsResult(2),
            vec![
                BEGIN,
                DOWNLOAD,
                EXECUTE,
                "> notice s c10300\n > notice s c10300",
            ],
        ),
        (
            Fault::LosesPower {
                at: Step::Executed,
                off_for,
            },
            vec![
                BEGIN,
                DOWNLOAD,
                "post 5/0/2\n = silence\n off 7\n on\n > notice s c10302\n ack",
                EXECUTE,
                "> notice s c10300",
            ],
        ),
        (
            Fault::LosesPower {
                at: Step::Installed,
                off_for,
            },
            vec![
                BEGIN,
                DOWNLOAD,
                EXECUTE,
                "off 7\n on\n > notice s c10300\n runs V2.0",
            ],
        ),
    ];
    for (fault, scripts) in cases {
        eprintln!("{fault:?}");
        play(Some(fault), &scripts);
    }
    let flood = "
        get 5/0/3 observe s
        = 2.05 c10300
        put 5/0/1 0 coap://h/a
        = 2.04
        > notice s c10301
        > fetch a 0 5
        > fetch a 0 5
    ";
    play(Some(Fault::Floods(2)), &[flood]);
    let stray = flood.replacen("> fetch a 0 5", "> fetch ax 0 5", 1);
    play(Some(Fault::AsksForeign), &[&stray]);
    let stray = flood.replacen("> fetch a 0 5", "> fetch a 65535 5", 1);
    play(Some(Fault::AsksBeyond), &[&stray]);
}
