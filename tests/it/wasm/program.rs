//! `strait codec` with components, through the built program.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::component::{Component, SOUND};
use crate::codecs::{codec, copy_of, samples};

#[test]
fn all_samples_run_and_none_is_skipped() {
    let (code, out, err) = codec(&samples(), &["test", "."]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let last = out.lines().last().unwrap();
    assert!(last.contains(" passed, 0 failed in "), "{last}");
    assert!(out.contains("\nwater-meter-wasm\n  ok  "), "{out}");
    assert!(!out.contains("skipped"), "{out}");
}

#[test]
fn a_new_component_passes_its_own_tests() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, err) = codec(dir.path(), &["new", "own", "--kind", "wasm"]);
    assert_eq!(code, 0, "{err}");
    for file in out.lines().filter(|line| !line.contains(": ")) {
        assert!(dir.path().join(file).is_file(), "{file}");
    }
    let profile = fs::read_to_string(dir.path().join("own/profile.json")).unwrap();
    let profile: Value = serde_json::from_str(&profile).unwrap();
    assert_eq!(profile["product_id"], "own");
    let (code, out, err) = codec(dir.path(), &["test", "own"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let source = fs::read_dir(samples().join("water-meter-wasm/source/src")).unwrap();
    for file in source {
        let name = file.unwrap().file_name();
        let copy = fs::read(dir.path().join("own/source/src").join(&name)).unwrap();
        let original = samples().join("water-meter-wasm/source/src").join(&name);
        assert_eq!(copy, fs::read(original).unwrap(), "{name:?}");
    }
}

fn folder(dir: &Path, name: &str, component: &Component) {
    fs::create_dir(dir.join(name)).unwrap();
    fs::write(dir.join(name).join("codec.wasm"), component.binary()).unwrap();
}

/// Exit codes tell a limit from an error of the codec, and a codec that is none from both.
#[test]
fn a_hostile_component_is_a_limit_not_a_hang() {
    let dir = tempfile::tempdir().unwrap();
    let decodes = |decode| Component { decode, ..SOUND };
    folder(
        dir.path(),
        "spins",
        &decodes("(loop $l (br $l)) unreachable"),
    );
    folder(dir.path(), "panics", &decodes("unreachable"));
    folder(dir.path(), "refuses", &decodes("(i32.const 32)"));
    folder(
        dir.path(),
        "other",
        &Component {
            exports: "",
            version: "(i32.const 7)",
            ..SOUND
        },
    );
    for (name, want, message) in [
        ("spins", 3, "50 ms"),
        ("panics", 1, "unreachable"),
        ("refuses", 1, "error: refused: no"),
        ("other", 2, "exports no decode"),
    ] {
        let (code, out, err) = codec(dir.path(), &["decode", name, "--hex", "000000"]);
        assert_eq!(code, want, "{name}: {out}{err}");
        assert!(err.contains(message), "{name}: {err}");
    }
    let (code, out, _) = codec(dir.path(), &["check", "."]);
    assert_eq!(code, 2, "{out}");
    assert!(out.ends_with("1 mistakes\n"), "{out}");
}

#[test]
fn a_component_is_measured_and_searched() {
    let sample = copy_of("water-meter-wasm");
    let args = ["bench", "water-meter-wasm", "--seconds", "1", "--json"];
    let (code, out, err) = codec(sample.path(), &args);
    assert_eq!(code, 0, "{err}");
    let json: Value = serde_json::from_str(&out).unwrap();
    let runs = json["runs"].as_array().unwrap();
    let places: Vec<&str> = runs.iter().map(|r| r["where"].as_str().unwrap()).collect();
    assert_eq!(places, ["in process", "worker"]);

    let args = ["fuzz", "water-meter-wasm", "--seconds", "2"];
    let (code, out, err) = codec(sample.path(), &args);
    assert_eq!(code, 0, "{out}{err}");
    // What panics on two bytes in a row is found at once.
    let panics = Component {
        decode: "(if (i32.gt_u (local.get $len) (i32.const 2)) (then unreachable)) (i32.const 16)",
        ..SOUND
    };
    fs::write(
        sample.path().join("water-meter-wasm/codec.wasm"),
        panics.binary(),
    )
    .unwrap();
    let (code, out, err) = codec(sample.path(), &args);
    assert_eq!(code, 1, "{out}{err}");
    assert!(out.contains("  crash "), "{out}{err}");
    assert!(out.contains("unreachable"), "{out}{err}");
}
