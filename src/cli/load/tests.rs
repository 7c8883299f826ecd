use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn args(flags: &[&str]) -> Args {
    Line::parse_from(["load"].iter().chain(flags)).args
}

#[test]
fn what_contradicts_itself_says_what_would_be_right() {
    let base = ["--provision", "http://127.0.0.1:1"];
    let cases: [(&[&str], Option<&str>); 15] = [
        (&[], None),
        (&["--workload", "command"], Some("--provision")),
        (&["--workload", "command", "--api", base[1]], None),
        (
            &["--workload", "command", base[0], base[1], "--baseline"],
            Some("--baseline"),
        ),
        (&["--api", base[1]], Some("--workload command")),
        (&["--workload", "fragments"], Some("--provision")),
        (&["--workload", "fragments", "--api", base[1]], None),
        (
            &[
                "--workload",
                "fragments",
                base[0],
                base[1],
                "--payload",
                "00",
            ],
            Some("--payload"),
        ),
        (&["--token", "t"], Some("--provision or --api")),
        (&["--psk", "00ff"], None),
        (&["--workload", "handshake"], Some("needs --psk")),
        (&["--psk"], Some("--provision")),
        (&["--psk", base[0], base[1]], None),
        (
            &["--workload", "handshake", "--psk", "ff", "--baseline"],
            Some("--baseline"),
        ),
        (
            &["--workload", "hostile", "--psk", "ff"],
            Some("takes no --psk"),
        ),
    ];
    for (flags, want) in cases {
        let got = args(flags).contradiction();
        match want {
            None => assert_eq!(got, None, "{flags:?}"),
            Some(part) => assert!(got.unwrap().contains(part), "{flags:?}: {got:?}"),
        }
    }
}

#[test]
fn the_usual_port_follows_the_key() {
    assert_eq!(args(&[]).address().port(), 5683);
    assert_eq!(args(&["--psk", "ff"]).address().port(), 5684);
    let named = args(&["--psk", "ff", "--server", "127.0.0.1:7", "--identity", "me"]);
    assert_eq!(named.address().port(), 7);
    let secure = named.job().unwrap().secure.unwrap();
    assert_eq!(secure.identity.as_deref(), Some("me"));
    assert_eq!(secure.key.expose(), &[255]);
}

#[test]
fn a_sweep_is_of_rates_and_of_datagrams() {
    assert_eq!(args(&["--rates", "1000,2.5"]).rates, [1000.0, 2.5]);
    let command = ["--workload", "command", "--api", "http://h", "--rates", "1"];
    assert!(args(&command).contradiction().unwrap().contains("--rates"));
    let wrong: [&[&str]; 5] = [
        &["--rates", "0"],
        &["--rates", "1,x"],
        &["--rates", "1", "--rate", "1"],
        &["--rates", "1", "--in-flight", "1"],
        &["--plot", "x.svg"],
    ];
    for flags in wrong {
        assert!(
            Line::try_parse_from(["load"].iter().chain(flags)).is_err(),
            "{flags:?}"
        );
    }
}
