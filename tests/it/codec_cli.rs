//! `strait codec` with scripts, and what it measures and searches, through the built program.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::codecs::{codec, copy_of, replace, samples};

/// The output without what differs from run to run: times, rates and memory.
pub(crate) fn steady(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut words: Vec<&str> = line.split(' ').collect();
        for at in 1..words.len() {
            let unit = words[at].trim_end_matches(',');
            let number = words[at - 1].parse::<u64>().is_ok();
            if number && ["µs", "ms", "KiB"].contains(&unit) {
                words[at - 1] = "N";
                words[at] = if words[at].ends_with(',') { "T," } else { "T" };
            }
        }
        lines.push(words.join(" ").replace(" N T, N T", " N T"));
    }
    lines.join("\n")
}

/// A codec folder of a script alone.
fn script(dir: &Path, name: &str, source: &str) {
    fs::create_dir_all(dir.join(name)).unwrap();
    fs::write(dir.join(name).join("codec.js"), source).unwrap();
}

const HOSTILE: &str = "function decodeUplink(input) {\n  switch (input.bytes[0]) {\n    \
    case 7: for (;;) {}\n    case 8: new Array(4294967295).join('');\n    \
    case 9: throw new TypeError('nine');\n  }\n  \
    return { data: { a: input.bytes[0], port: input.fPort, at: input.recvTime }, \
    warnings: ['low battery'] };\n}\n";

#[test]
fn new_scripts_pass_their_own_tests() {
    let dir = tempfile::tempdir().unwrap();
    for contract in ["iotda", "ts013", "offline"] {
        let args = ["new", contract, "--kind", "script", "--contract", contract];
        let (code, _, err) = codec(dir.path(), &args);
        assert_eq!(code, 0, "{err}");
        let (code, out, _) = codec(dir.path(), &["check", contract]);
        assert_eq!(code, 0, "{out}");
    }
    let (code, out, err) = codec(dir.path(), &["test", "."]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    insta::assert_snapshot!("new_scripts", steady(&out));

    let fixtures = dir.path().join("iotda/fixtures/all.json");
    replace(&fixtures, "\"0124f100ea\"", "\"0125f100ea\"");
    let (code, out, _) = codec(dir.path(), &["test", "iotda", "--filter", "report"]);
    assert_eq!(code, 1, "{out}");
    insta::assert_snapshot!("broken_byte_of_a_script", steady(&out));
    let (_, out, _) = codec(dir.path(), &["test", "iotda", "--json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["failed"], 1, "{json:#}");
    assert!(json["codecs"][0]["fixtures"][0]["took_us"].is_u64());
    assert_eq!(codec(dir.path(), &["test", "iotda", "--update"]).0, 0);
    assert!(fs::read_to_string(&fixtures).unwrap().contains("3.7"));
}

/// The command line comes back whatever a script does, and says what it ran into.
#[test]
fn a_hostile_script_is_a_limit_not_a_hang() {
    let dir = tempfile::tempdir().unwrap();
    script(dir.path(), "bad", HOSTILE);
    let cases = [("07", 3, "limit"), ("08", 3, "limit"), ("09", 1, "nine")];
    for (hex, want, message) in cases {
        let (code, out, err) = codec(dir.path(), &["decode", "bad", "--hex", hex]);
        assert_eq!(code, want, "{hex}: {out}{err}");
        assert!(err.contains(message), "{err}");
        let (code, out, _) = codec(dir.path(), &["decode", "bad", "--hex", hex, "--json"]);
        let json: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(code, want, "{json}");
        let kind = if want == 3 { "limit" } else { "script" };
        assert_eq!(json["error"], kind);
    }

    // Each fixture says so: none is refused because others were ended before.
    fs::create_dir(dir.path().join("bad/fixtures")).unwrap();
    let fixture = |at: u32| {
        format!("{{\"name\":\"loop {at}\",\"kind\":\"decode\",\"hex\":\"07\",\"expect\":null}}")
    };
    let all: Vec<String> = (0..7).map(fixture).collect();
    let file = dir.path().join("bad/fixtures/loops.json");
    fs::write(&file, format!("[{}]", all.join(","))).unwrap();
    let (code, out, _) = codec(dir.path(), &["test", "bad", "--json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["failed"]), (3, &7.into()));
    let fixtures = json["codecs"][0]["fixtures"].as_array().unwrap();
    assert!(fixtures.iter().all(|f| f["over_limit"] == true), "{json:#}");
    let (code, _, err) = codec(dir.path(), &["bench", "bad"]);
    assert_eq!(code, 3, "{err}");

    script(
        dir.path(),
        "top",
        "for (;;) {}\nfunction decodeUplink() {}\n",
    );
    let (code, out, _) = codec(dir.path(), &["check", "top"]);
    assert_eq!(code, 2, "{out}");
    assert!(out.contains("limit") || out.contains("ms"), "{out}");
}

#[test]
fn decode_gives_scripts_port_and_time_and_shows_warnings() {
    let dir = tempfile::tempdir().unwrap();
    script(dir.path(), "s", HOSTILE);
    let time = "2021-02-03T04:05:06Z";
    let args = [
        "decode",
        "s",
        "--hex",
        "01",
        "--fport",
        "5",
        "--recv-time",
        time,
        "--trace",
    ];
    let (code, out, err) = codec(dir.path(), &args);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("low battery"), "{out}");
    let json = out.split_once('{').unwrap().1;
    let json: Value = serde_json::from_str(&format!("{{{json}")).unwrap();
    let properties = &json["services"][0]["properties"];
    assert_eq!(properties["port"], 5);
    assert!(
        properties["at"]
            .as_str()
            .unwrap()
            .starts_with("2021-02-03T04:05:06"),
        "{json}"
    );
    let (code, _, err) = codec(
        dir.path(),
        &["decode", "s", "--hex", "01", "--recv-time", "now"],
    );
    assert_eq!(code, 64);
    assert!(err.contains("takes a time in UTC"), "{err}");
}

#[test]
fn a_folder_has_one_source_and_settings_of_its_model() {
    let dir = copy_of("smoke-detector");
    let root = dir.path().join("smoke-detector");
    fs::write(root.join("codec.js"), "function decodeUplink() {}").unwrap();
    let (code, out, _) = codec(dir.path(), &["check", "smoke-detector"]);
    assert_eq!(code, 2);
    assert!(
        out.contains("has codec.toml and codec.js, takes one of them"),
        "{out}"
    );
    fs::remove_file(root.join("codec.toml")).unwrap();
    fs::write(root.join("settings.json"), r#"{"ts013_service":"Smoke"}"#).unwrap();
    let (code, out, _) = codec(dir.path(), &["check", "smoke-detector"]);
    assert_eq!(code, 2);
    assert!(
        out.contains("settings.json: ts013_service: got \"Smoke\", the product"),
        "{out}"
    );
    fs::write(root.join("settings.json"), "{\n \"ts013\": 1}").unwrap();
    let (code, out, _) = codec(dir.path(), &["check", "smoke-detector"]);
    assert_eq!(code, 2);
    assert!(
        out.contains("settings.json:2:8: unknown field `ts013`"),
        "{out}"
    );
    fs::remove_file(root.join("settings.json")).unwrap();
    fs::write(root.join("codec.js"), "function decodeUplink( {\n").unwrap();
    let (code, out, _) = codec(dir.path(), &["check", "smoke-detector"]);
    assert_eq!(code, 2);
    assert!(out.contains("codec.js:2:1: SyntaxError"), "{out}");
    fs::rename(root.join("codec.js"), root.join("codec.wasm")).unwrap();
    let (code, out, _) = codec(dir.path(), &["check", "smoke-detector"]);
    assert_eq!(code, 2, "{out}");
    fs::remove_file(root.join("codec.wasm")).unwrap();
    let (code, _, err) = codec(dir.path(), &["check", "smoke-detector"]);
    assert_eq!(code, 64);
    assert!(
        err.contains("none of codec.toml, codec.js, codec.wasm"),
        "{err}"
    );
}

#[test]
fn bench_measures_each_way_of_running() {
    let dir = tempfile::tempdir().unwrap();
    codec(dir.path(), &["new", "s", "--kind", "script"]);
    let sample = samples().join("water-meter");
    let cases = [
        (Path::new("s"), vec!["in process", "worker"]),
        (sample.as_path(), vec!["in process"]),
    ];
    for (path, want) in cases {
        let path = path.to_str().unwrap();
        let (code, out, err) = codec(dir.path(), &["bench", path, "--seconds", "1", "--json"]);
        assert_eq!(code, 0, "{err}");
        let json: Value = serde_json::from_str(&out).unwrap();
        let runs = json["runs"].as_array().unwrap();
        let places: Vec<&str> = runs.iter().map(|r| r["where"].as_str().unwrap()).collect();
        assert_eq!(places, want);
        for run in runs {
            let number = |name: &str| run[name].as_u64().unwrap();
            assert!(
                number("executions") > 0 && number("per_second") > 0,
                "{json}"
            );
            assert!(number("median_ns") <= number("p99_ns"), "{json}");
        }
    }
    let (code, _, err) = codec(dir.path(), &["bench", "s", "--filter", "no such"]);
    assert_eq!(code, 1, "{err}");
    assert_eq!(codec(dir.path(), &["bench", "s", "--seconds", "0"]).0, 64);
}

#[test]
fn fuzz_finds_what_hurts_and_makes_it_small() {
    let dir = tempfile::tempdir().unwrap();
    // The trap is behind a byte that only changed fixtures have.
    let trap = "function decodeUplink(input) {\n  var b = input.bytes;\n  \
                if (b.length > 2 && b[0] === 0x51 && b[1] === 0xff) for (;;) {}\n  \
                return { data: { level: b[2] || 0 } };\n}\n";
    script(dir.path(), "trap", trap);
    fs::create_dir(dir.path().join("trap/fixtures")).unwrap();
    let fixture = r#"{"name":"fine","kind":"decode","hex":"510022334455","expect":
        {"services":[{"service_id":"data","properties":{"level":34}}]}}"#;
    fs::write(dir.path().join("trap/fixtures/a.json"), fixture).unwrap();
    let args = ["fuzz", "trap", "--seconds", "4", "--seed", "3", "--json"];
    let (code, out, err) = codec(dir.path(), &args);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 3, "{json:#}{err}");
    assert_eq!(json["findings"][0]["kind"], "limit", "{json:#}");
    let found = &json["fixture"];
    assert_eq!(found["hex"], "51ff00", "made as small as it gets: {json:#}");
    assert_eq!(found["expect"], serde_json::json!({ "error": "limit" }));
    // It is a fixture that says what it is about.
    fs::write(dir.path().join("trap/fixtures/b.json"), found.to_string()).unwrap();
    let (code, out, _) = codec(dir.path(), &["test", "trap", "--filter", "fuzz"]);
    assert_eq!(code, 0, "{out}");
}

/// Whatever a script defines is called, and what hurts there is a fixture, too.
#[test]
fn fuzz_calls_all_that_a_codec_does() {
    let profile = r#"{"product_id":"p","service_capabilities":[{"service_id":"S","service_type":"S",
        "properties":[{"property_name":"period","data_type":"int","method":"RW","min":"1","max":"99"}],
        "commands":[{"command_name":"GO","paras":[],"responses":[]}]}]}"#;
    let offline = "function decode(b) { return { msgType: 'deviceReq', hasMore: 0, data: [] }; }\n";
    let iotda = "function decode(p) { return { msg_type: 'properties_report', services: [] }; }\n";
    let lora = "function decodeUplink(i) { return { data: {} }; }\n";
    let rows = [
        (
            "answer",
            format!(
                "{offline}function encode(m) {{ if (m.msgType === 'cloudRsp') for (;;) {{}} return [1]; }}"
            ),
            &["answer", "hex"],
        ),
        (
            "set",
            format!(
                "{iotda}function encode(t) {{ if (JSON.parse(t).msg_type === 'properties_set') for (;;) {{}} return [1]; }}"
            ),
            &["set", "set"],
        ),
        (
            "downlink",
            format!(
                "{lora}function decodeDownlink(i) {{ if (i.bytes.length) for (;;) {{}} return {{ data: {{}} }}; }}"
            ),
            &["fuzz: limit", "decode_downlink"],
        ),
    ];
    for (name, source, [word, field]) in rows {
        let dir = tempfile::tempdir().unwrap();
        script(dir.path(), name, &source);
        fs::write(dir.path().join(name).join("profile.json"), profile).unwrap();
        let args = ["fuzz", name, "--seconds", "2", "--json"];
        let (code, out, err) = codec(dir.path(), &args);
        assert_eq!(code, 3, "{name}: {out}{err}");
        let json: Value = serde_json::from_str(&out).unwrap();
        let found = &json["fixture"];
        assert!(found.to_string().contains(word), "{name}: {json:#}");
        assert!(!found[field].is_null(), "{name}: {json:#}");
        if *word == name {
            assert_eq!(
                found["expect"],
                serde_json::json!({ "error": "limit" }),
                "{json:#}"
            );
            let path = dir.path().join(name).join("fixtures");
            fs::create_dir(&path).unwrap();
            fs::write(path.join("b.json"), found.to_string()).unwrap();
            let (code, out, _) = codec(dir.path(), &["test", name]);
            assert_eq!(code, 0, "{name}: {out}");
        }
    }
}

/// What takes too long once and never again is the machine's doing.
#[test]
fn fuzz_tells_no_limit_that_it_can_not_repeat() {
    let dir = tempfile::tempdir().unwrap();
    let source = "let calls = 0;\nfunction decodeUplink(i) {\n  calls += 1;\n  \
                  if (calls === 50) for (;;) {}\n  return { data: {} };\n}\n";
    script(dir.path(), "once", source);
    let args = ["fuzz", "once", "--seconds", "2", "--json"];
    let (code, out, err) = codec(dir.path(), &args);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 0, "{json:#}{err}");
    assert_eq!(json["findings"], serde_json::json!([]));
    assert!(json["unconfirmed"].as_u64().unwrap() > 0, "{json:#}");
}

/// Reports beyond the model are told, and fail only who asks for it.
#[test]
fn fuzz_tells_what_the_model_does_not_have() {
    let args = ["fuzz", "smoke-detector", "--seconds", "1"];
    let (code, out, err) = codec(&samples(), &args);
    assert_eq!(code, 0, "{out}{err}");
    for part in [
        " executions in 1 s, ",
        " per second, seed 1; ",
        "none of which harms",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert!(out.contains("model  "), "{out}");
    let (code, out, _) = codec(&samples(), &[&args[..], &["--strict"]].concat());
    assert_eq!(code, 1, "{out}");
    assert_eq!(codec(&samples(), &["fuzz", "."]).0, 64);
}
