//! The sample codecs and `strait codec`, through the built program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use strait::product::codec::{Kind, compile, fixture};
use strait::product::profile::Profile;

const SAMPLES: [&str; 5] = [
    "gas-meter",
    "parking-sensor",
    "smoke-detector",
    "street-light",
    "water-meter",
];

pub(crate) fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("codecs")
}

fn strait(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_strait"))
        .current_dir(dir)
        .args(args)
        .output()
        .unwrap()
}

/// Exit code, stdout, stderr of `strait codec …`.
pub(crate) fn codec(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let output = strait(dir, &[&["codec"], args].concat());
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// A copy of a sample that a test may break.
pub(crate) fn copy_of(sample: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join(sample);
    fs::create_dir_all(to.join("fixtures")).unwrap();
    for part in ["", "fixtures"] {
        for entry in fs::read_dir(samples().join(sample).join(part)).unwrap() {
            let from = entry.unwrap().path();
            if from.is_file() {
                fs::copy(&from, to.join(part).join(from.file_name().unwrap())).unwrap();
            }
        }
    }
    dir
}

pub(crate) fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from:?} in {}", path.display());
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// Every fixture of every sample passes, and together they show each message and each error.
#[test]
fn samples_pass_and_cover_their_messages() {
    for sample in SAMPLES {
        let dir = samples().join(sample);
        let product: Value =
            serde_json::from_slice(&fs::read(dir.join("profile.json")).unwrap()).unwrap();
        assert_eq!(product["product_id"], sample);
        assert_eq!(
            (&product["protocol_type"], &product["data_format"]),
            (&"CoAP".into(), &"binary".into())
        );
        let profile: Profile =
            serde_json::from_value(product["service_capabilities"].clone()).unwrap();
        let source = fs::read_to_string(dir.join("codec.toml")).unwrap();
        let compiled = compile(Kind::Table, source.as_bytes(), Some(&profile), None).unwrap();
        let mut text = String::new();
        for entry in fs::read_dir(dir.join("fixtures")).unwrap() {
            let file = fs::read_to_string(entry.unwrap().path()).unwrap();
            for fixture in fixture::parse(&file).unwrap() {
                let verdict = fixture::run(&*compiled, Some(&profile), &fixture);
                assert_eq!(verdict.failures, [], "{sample}: {}", fixture.name);
            }
            text += &file;
        }
        // Commands and responses are named in fixtures, properties in expected reports.
        for command in profile.services.iter().flat_map(|s| &s.commands) {
            assert!(
                text.contains(&format!("\"{}\"", command.command_name)),
                "{sample}"
            );
            for response in &command.responses {
                assert!(
                    text.contains(&format!("\"{}\"", response.response_name)),
                    "{sample}"
                );
            }
        }
        for property in profile.services.iter().flat_map(|s| &s.properties) {
            let name = format!("\"{}\"", property.property_name);
            assert!(text.contains(&name), "{sample}: no fixture shows {name}");
        }
        for kind in ["truncated", "unknown_command"] {
            assert!(text.contains(&format!("\"{kind}\"")), "{sample}: {kind}");
        }
    }
}

#[test]
fn test_command_passes_on_the_samples() {
    let (code, out, err) = codec(&samples(), &["test", "."]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    for sample in SAMPLES {
        assert!(out.contains(sample), "{out}");
    }
    let last = out.lines().last().unwrap();
    assert!(last.contains(" passed, 0 failed"), "{last}");
    assert!(!out.contains('\x1b'), "no colour but on a terminal");
}

#[test]
fn one_broken_byte_is_shown_with_path_expected_and_got() {
    let dir = copy_of("smoke-detector");
    let file = dir.path().join("smoke-detector/fixtures/report.json");
    replace(&file, "0050005a", "0051005b");
    let (code, out, _) = codec(dir.path(), &["test", "smoke-detector"]);
    assert_eq!(code, 1, "{out}");
    for part in [
        "FAIL  report.json: level 80, temperature 90",
        "services[0].properties.level\n          - expected 80\n          + got      81",
        "services[0].properties.temperature\n          - expected 90\n          + got      91",
        ", 1 failed in 1 codecs",
    ] {
        assert!(out.contains(part), "{part}\n{out}");
    }

    let (code, out, _) = codec(dir.path(), &["test", "smoke-detector", "--json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["failed"]), (1, &1.into()));
    let fixtures = json["codecs"][0]["fixtures"].as_array().unwrap();
    let broken = fixtures.iter().find(|f| f["ok"] == false).unwrap();
    assert_eq!(
        broken["failures"][0]["path"],
        "services[0].properties.level"
    );

    let (code, out, _) = codec(dir.path(), &["test", "smoke-detector", "--filter", "alone"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("1 passed, 0 failed"), "{out}");
    let (code, _, err) = codec(
        dir.path(),
        &["test", "smoke-detector", "--filter", "no such"],
    );
    assert_eq!(code, 1, "{err}");

    let args = ["test", "smoke-detector", "--junit", "out.xml"];
    assert_eq!(codec(dir.path(), &args).0, 1);
    let xml = fs::read_to_string(dir.path().join("out.xml")).unwrap();
    assert!(xml.contains("failures=\"1\" errors=\"0\""), "{xml}");
    assert!(
        xml.contains("services[0].properties.level: expected 80, got 81"),
        "{xml}"
    );

    assert_eq!(
        codec(dir.path(), &["test", "smoke-detector", "--update"]).0,
        0
    );
    assert!(fs::read_to_string(&file).unwrap().contains("91"));
    assert_eq!(codec(dir.path(), &["test", "smoke-detector"]).0, 0);
}

/// Every byte of every report matters: whichever is broken, some fixture fails.
#[test]
fn every_broken_nibble_of_an_encoded_command_fails() {
    let dir = copy_of("smoke-detector");
    let file = dir.path().join("smoke-detector/fixtures/commands.json");
    let whole = fs::read_to_string(&file).unwrap();
    for broken in ["13000101", "03010101", "03000201", "03000102"] {
        fs::write(&file, whole.replacen("03000101", broken, 1)).unwrap();
        let (code, out, _) = codec(dir.path(), &["test", "."]);
        assert_eq!(code, 1, "{out}");
        assert!(out.contains(&format!("- expected \"{broken}\"")), "{out}");
        assert!(out.contains("+ got      \"03000101\""), "{out}");
    }
}

#[test]
fn mistakes_are_listed_with_their_places() {
    let dir = copy_of("parking-sensor");
    let root = dir.path().join("parking-sensor");
    replace(
        &root.join("codec.toml"),
        "n = \"tamper\"",
        "n = \"tampered\"",
    );
    replace(&root.join("codec.toml"), "scale = 0.5", "scael = 0.5");
    replace(&root.join("profile.json"), "\"-512\"", "\"512\"");
    fs::write(root.join("fixtures/more.json"), "[{\n  \"name\": 1 }").unwrap();
    for command in ["check", "test"] {
        let (code, out, _) = codec(dir.path(), &[command, "parking-sensor"]);
        assert_eq!(code, 2, "{out}");
        for part in [
            "codec.toml:11:5: service Parking has no property tampered\n",
            "  hint: did you mean tamper?",
            "codec.toml:25:36: unknown key `scael` in i8\n  hint: did you mean `scale`?",
            "profile.json: service_capabilities[0].properties[4].min: got 512, takes at most max",
            "more.json:2:13: not JSON: EOF while parsing",
        ] {
            assert!(out.contains(part), "{part}\n{out}");
        }
    }
    let (code, out, _) = codec(dir.path(), &["check", "parking-sensor", "--json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["ok"]), (2, &false.into()));
    assert_eq!(json["errors"].as_array().unwrap().len(), 4, "{json:#}");
}

#[test]
fn decode_shows_values_and_which_bytes_they_are() {
    let args = ["decode", "smoke-detector", "--hex", "00 50 005A", "--trace"];
    let (code, out, err) = codec(&samples(), &args);
    assert_eq!(code, 0, "{err}");
    let trace: Vec<Vec<&str>> = out
        .lines()
        .take(3)
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        trace,
        [
            ["0", "00", "id", "0"],
            ["1", "50", "level", "80"],
            ["2", "005a", "temperature", "90"],
        ]
    );
    let json = out.split_once('{').unwrap().1;
    let json: Value = serde_json::from_str(&format!("{{{json}")).unwrap();
    assert_eq!(json["services"][0]["properties"]["level"], 80);

    let args = ["decode", "water-meter", "--hex", "0102030405", "--json"];
    let (code, out, _) = codec(&samples(), &args);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["error"]), (1, &"checksum".into()));
}

#[test]
fn encode_prints_hex_or_says_why_not() {
    let cases = [
        (
            vec!["--paras", r#"{"state":"closed"}"#],
            0,
            "81000101e848\n",
            "",
        ),
        (
            vec!["--paras", r#"{"state":"closed"}"#, "--mid", "7"],
            0,
            "81000701ebe8\n",
            "",
        ),
        (
            vec!["--paras", r#"{"state":"ajar"}"#],
            1,
            "",
            "paras.state: got \"ajar\", takes open, closed",
        ),
        (vec!["--paras", "{}"], 1, "", "paras.state: is required"),
        (
            vec!["--paras", "[]"],
            64,
            "",
            "--paras: takes a JSON object",
        ),
        (vec!["--mid", "0"], 64, "", "0 is not in 1..=65535"),
        (
            vec!["--service", "Battery"],
            1,
            "",
            "command_name: got \"SET_VALVE\", service Battery has none",
        ),
    ];
    for (more, want, stdout, stderr) in cases {
        let args = [
            &["encode", "water-meter", "--command", "SET_VALVE"],
            &more[..],
        ]
        .concat();
        let (code, out, err) = codec(&samples(), &args);
        assert!(err.contains(stderr), "{more:?}: {err}");
        assert_eq!(code, want, "{more:?}: {out}{err}");
        assert_eq!(out, stdout);
    }
}

#[test]
fn new_codec_passes_its_own_tests() {
    let dir = tempfile::tempdir().unwrap();
    let (code, _, err) = codec(dir.path(), &["new", "wm1", "--kind", "table"]);
    assert_eq!(code, 0, "{err}");
    for args in [&["check", "wm1"][..], &["test", "wm1"]] {
        let (code, out, _) = codec(dir.path(), args);
        assert_eq!(code, 0, "{out}");
    }
    let (code, out, _) = codec(&dir.path().join("wm1"), &["test", "."]);
    assert_eq!(code, 0, "{out}");
    assert!(out.starts_with("wm1\n"), "{out}");
    assert_eq!(
        codec(dir.path(), &["new", "wm1"]).0,
        1,
        "it is there already"
    );
    assert_eq!(codec(dir.path(), &["new", "two words"]).0, 64);
    let cases = [
        (["--kind", "wasm"].as_slice(), "without WebAssembly"),
        (
            &["--kind", "table", "--contract", "iotda"],
            "is for --kind script",
        ),
    ];
    for (args, want) in cases.into_iter().skip(usize::from(cfg!(feature = "wasm"))) {
        let (code, _, err) = codec(dir.path(), &[&["new", "other"], args].concat());
        assert_eq!(code, 64);
        assert!(err.contains(want), "{err}");
    }
    assert!(!dir.path().join("other").exists());
}

#[test]
fn usage_is_64_below_codec_and_2_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let cases: [(&[&str], i32); 7] = [
        (&["codec"], 64),
        (&["codec", "shake"], 64),
        (&["codec", "decode", "x"], 64),
        (&["codec", "decode", ".", "--hex", "0g"], 64),
        (&["codec", "test", "nowhere"], 64),
        (&["codec", "--help"], 0),
        (&["shake"], 2),
    ];
    for (args, want) in cases {
        let output = strait(dir.path(), args);
        assert_eq!(output.status.code(), Some(want), "{args:?}");
    }
}

/// More JSON than production takes is its own exit code.
#[test]
fn a_limit_of_production_is_exit_3() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("big");
    fs::create_dir_all(root.join("fixtures")).unwrap();
    let source = "[[message]]\ndir = \"up\"\nservice = \"S\"\nfields = [\n  \
                  { n = \"a\", t = \"array\", of = { t = \"u8\" } },\n]\n";
    fs::write(root.join("codec.toml"), source).unwrap();
    for bytes in [100, 40_000, 65_537] {
        let hex = "ff".repeat(bytes);
        let list = vec!["255"; bytes].join(",");
        let text = format!(
            "{{\"name\":\"big\",\"kind\":\"decode\",\"hex\":\"{hex}\",\"expect\":{{\"services\":\
             [{{\"service_id\":\"S\",\"properties\":{{\"a\":[{list}]}}}}]}}}}"
        );
        fs::write(root.join("fixtures/big.json"), text).unwrap();
        let want = if bytes == 100 { 0 } else { 3 };
        let (code, out, _) = codec(dir.path(), &["test", "big"]);
        assert_eq!(code, want, "{bytes}: {}", &out[..out.len().min(300)]);
    }
}

/// The guide's example loads, and its bytes mean what the guide says.
#[test]
fn the_guide_tells_the_truth() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/codecs.md");
    let guide = fs::read_to_string(guide).unwrap();
    let block = |language: &str| {
        let from = guide.split_once(&format!("```{language}\n")).unwrap().1;
        from.split_once("```").unwrap().0
    };
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("meter")).unwrap();
    fs::write(dir.path().join("meter/codec.toml"), block("toml")).unwrap();
    let text = guide.split_once("The bytes `").unwrap().1;
    let hex = text.split_once('`').unwrap().0.replace(' ', "");
    let bytes: Vec<u8> = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    let sum = crc::Crc::<u16>::new(&crc::CRC_16_MODBUS).checksum(&bytes);
    let [low, high] = sum.to_le_bytes();
    let hex = format!("{hex}{low:02x}{high:02x}");
    let (code, out, err) = codec(dir.path(), &["decode", "meter", "--hex", &hex, "--json"]);
    assert_eq!(code, 0, "{err}");
    let got: Value = serde_json::from_str(&out).unwrap();
    let want: Value = serde_json::from_str(block("json")).unwrap();
    assert_eq!(got["services"], want["services"]);

    // All its pieces are one codec, and its fixtures hold.
    let pieces = |language: &str| -> Vec<String> {
        let opening = format!("```{language}\n");
        let from = guide.split(&opening).skip(1);
        from.map(|text| text.split_once("```").unwrap().0.to_owned())
            .collect()
    };
    fs::write(
        dir.path().join("meter/codec.toml"),
        pieces("toml").join("\n"),
    )
    .unwrap();
    fs::create_dir(dir.path().join("meter/fixtures")).unwrap();
    let fixtures = &pieces("json")[1];
    fs::write(dir.path().join("meter/fixtures/all.json"), fixtures).unwrap();
    let (code, out, _) = codec(dir.path(), &["test", "meter"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("6 passed, 0 failed"), "{out}");
}
