//! What the platform sends besides commands, through the built program: sets and answers.

use std::fs;

use crate::codecs::{codec, copy_of, replace, samples};

#[test]
fn encode_prints_the_message_that_sets_properties() {
    let period = r#"{"report_period_min":30}"#;
    let limit = r#"{"leak_limit_m3h":0.01}"#;
    let cases: [(&[&str], i32, &str, &str); 9] = [
        (&["--set", period], 0, "84001eb1e1\n", ""),
        (
            &["--set", limit, "--known", period],
            0,
            "84001e000175d8\n",
            "",
        ),
        (
            &["--set", period, "--json"],
            0,
            "{\"hex\":\"84001eb1e1\",\"covered\":[\"report_period_min\"]}\n",
            "",
        ),
        (
            &["--set", limit],
            1,
            "",
            "field: report_period_min: is missing",
        ),
        (
            &["--set", r#"{"volume_m3":1}"#],
            1,
            "",
            "properties.volume_m3: has method R, takes properties with W",
        ),
        (&["--set", r#"{"colour":1}"#], 64, "", "--set: no service"),
        (&["--set", "[]"], 64, "", "--set: takes a JSON object"),
        (
            &["--set", "{}", "--command", "SET_VALVE"],
            64,
            "",
            "cannot be used with",
        ),
        (&[], 64, "", "--command"),
    ];
    for (more, want, stdout, stderr) in cases {
        let (code, out, err) = codec(&samples(), &[&["encode", "water-meter"], more].concat());
        assert!(err.contains(stderr), "{more:?}: {err}");
        assert_eq!((code, out.as_str()), (want, stdout), "{more:?}: {err}");
    }
}

/// What a fixture of each kind must bring, and what a wrong one shows.
#[test]
fn sets_and_answers_are_tested_like_the_rest() {
    let dir = copy_of("water-meter");
    let root = dir.path().join("water-meter/fixtures");
    replace(&root.join("stored.json"), "4500070000", "4500070001");
    replace(&root.join("settings.json"), "84001eb1e1", "84001fb1e1");
    let (code, out, _) = codec(dir.path(), &["test", "water-meter", "--junit", "out.xml"]);
    assert_eq!(code, 1, "{out}");
    for part in [
        "FAIL  stored.json: taken",
        "FAIL  settings.json: set what must be there",
        "- expected \"84001fb1e1\"\n          + got      \"84001eb1e1\"",
        ", 2 failed in 1 codecs",
    ] {
        assert!(out.contains(part), "{part}\n{out}");
    }
    let xml = fs::read_to_string(dir.path().join("out.xml")).unwrap();
    assert!(xml.contains("failures=\"2\" errors=\"0\""), "{xml}");
    assert_eq!(codec(dir.path(), &["test", "water-meter", "--update"]).0, 0);

    let cases = [
        (
            r#""kind":"set","hex":"00","set":{"service_id":"S","properties":{}}"#,
            "kind set takes `set` and no other input",
        ),
        (
            r#""kind":"set","set":{"service_id":"S","properties":{},"mid":0}"#,
            "`mid` is 0, takes 1 to 65535",
        ),
        (
            r#""kind":"answer","hex":"00","answer":{"errcode":2}"#,
            "kind answer takes `hex` of a report and `answer` with an errcode of 0 or 1",
        ),
        (
            r#""kind":"answer","hex":"0","answer":{}"#,
            "`hex` is \"0\", takes pairs of hex digits",
        ),
        (
            r#""kind":"decode","hex":"00","answer":{}"#,
            "kinds decode and response take `hex`",
        ),
        (
            r#""kind":"encode","set":{"service_id":"S","properties":{}}"#,
            "kind encode takes",
        ),
    ];
    for (body, want) in cases {
        let text = format!("{{\"name\":\"x\",\"expect\":null,{body}}}");
        fs::write(root.join("more.json"), text).unwrap();
        let (code, out, _) = codec(dir.path(), &["check", "water-meter"]);
        assert_eq!(code, 2, "{out}");
        assert!(out.contains(want), "{want}\n{out}");
    }
}
