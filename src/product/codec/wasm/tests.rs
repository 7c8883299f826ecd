//! Hostile and broken components, the form of values, and the sample that is built from Rust.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::form;
use super::instance::Wasm;
use super::runtime::Runtime;
use crate::base::limits::{CODEC_DEPTH_MAX, CODEC_OUTPUT_MAX, CODEC_WASM_MAX, WASM_INSTANCES_MAX};
use crate::base::time::Timestamp;
use crate::product::codec::text::unhex;
use crate::product::codec::{
    AnswerTo, Codec, CodecError, Decoded, Encode, EncodeProperties, LoadError, Uplink, fixture,
    table,
};
use crate::product::profile::Profile;

/// A component in text; what a test breaks is put in.
struct Component {
    /// More of the core module.
    module: &'static str,
    pages: u32,
    realloc: &'static str,
    version: &'static str,
    /// Gives the address of its answer; 16 says `null`, 32 is an error that reads `no`.
    decode: &'static str,
    exports: &'static str,
    imports: &'static str,
}

const SOUND: Component = Component {
    module: "",
    pages: 1,
    realloc: "(i32.const 4096)",
    version: "(i32.const 1)",
    decode: "(i32.const 16)",
    exports: DECODE,
    imports: "",
};

const DECODE: &str = r#"
  (func (export "decode")
    (param "payload" (list u8)) (param "received-at-ms" u64) (param "f-port" (option u8))
    (result (result string (error string)))
    (canon lift (core func $i "decode") (memory (core memory $i "memory"))
    (realloc (core func $i "cabi_realloc"))))
"#;

impl Component {
    fn binary(&self) -> Vec<u8> {
        let Self {
            module,
            pages,
            realloc,
            version,
            decode,
            exports,
            imports,
        } = self;
        let text = format!(
            r#"(component {imports}
  (core module $m
    (memory (export "memory") {pages})
    (data (i32.const 16) "\00\00\00\00\40\00\00\00\04\00\00\00")
    (data (i32.const 32) "\01\00\00\00\44\00\00\00\02\00\00\00")
    (data (i32.const 64) "nullno")
    {module}
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {realloc})
    (func (export "version") (result i32) {version})
    (func (export "decode") (param $at i32) (param $len i32) (param i64 i32 i32) (result i32)
      {decode})
    (func (export "encode") (param i32 i32) (result i32) (i32.const 32)))
  (core instance $i (instantiate $m))
  (func (export "model-version") (result u32) (canon lift (core func $i "version")))
  {exports}
  (func (export "encode") (param "command" string) (result (result (list u8) (error string)))
    (canon lift (core func $i "encode") (memory (core memory $i "memory"))
    (realloc (core func $i "cabi_realloc")))))"#
        );
        wat::parse_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))
    }
}

fn decode(codec: &Wasm, payload: &[u8]) -> Result<Decoded, CodecError> {
    let uplink = Uplink {
        payload,
        received_at: Timestamp::from_ms(0),
        f_port: None,
    };
    codec.decode(&uplink, None)
}

fn encode(codec: &Wasm) -> Result<Vec<u8>, CodecError> {
    codec.encode(&Encode {
        service_id: "S",
        command_name: "C",
        paras: &Map::new(),
        mid: 1,
    })
}

/// Name, what is broken, and what a call then gives: kind, and a part of the message.
fn hostile() -> Vec<(&'static str, Component, &'static str, &'static str)> {
    let decode = |decode| Component { decode, ..SOUND };
    let module = |module, decode| Component {
        module,
        decode,
        ..SOUND
    };
    let large = |pages, decode| Component {
        pages,
        decode,
        ..SOUND
    };
    let realloc = |realloc| Component { realloc, ..SOUND };
    vec![
        ("panics", decode("unreachable"), "trap", "unreachable"),
        (
            "reads out of bounds",
            decode("(i32.load (i32.const 0x7fffffff))"),
            "trap",
            "out of bounds",
        ),
        (
            "writes just behind its memory",
            decode("(i32.store8 (i32.const 65536) (i32.const 1)) (i32.const 16)"),
            "trap",
            "out of bounds",
        ),
        (
            "divides by zero",
            decode("(i32.div_u (i32.const 1) (i32.const 0))"),
            "trap",
            "divide by zero",
        ),
        (
            "calls what is no function",
            module(
                "(table 1 funcref) (type $t (func (result i32)))",
                "(call_indirect (type $t) (i32.const 0))",
            ),
            "trap",
            "",
        ),
        (
            "spins",
            decode("(loop $l (br $l)) unreachable"),
            "limit",
            "50 ms",
        ),
        (
            "spins in a function that calls itself last",
            module("(func $f (result i32) (return_call $f))", "(call $f)"),
            "limit",
            "50 ms",
        ),
        (
            "recurses",
            module(
                "(func $f (param i64) (result i64) (i64.add (local.get 0) (call $f (i64.add (local.get 0) (i64.const 1)))))",
                "(drop (call $f (i64.const 0))) (i32.const 16)",
            ),
            "limit",
            "stack",
        ),
        (
            "grows for ever",
            decode("(loop $l (drop (memory.grow (i32.const 1))) (br $l)) unreachable"),
            "limit",
            "memory",
        ),
        (
            "grows by 4 GiB at once",
            decode("(drop (memory.grow (i32.const 65535))) (i32.const 16)"),
            "limit",
            "memory",
        ),
        (
            "grows a table for ever",
            module(
                "(table $t 1 funcref)",
                "(loop $l (drop (table.grow $t (ref.null func) (i32.const 1000))) (br $l)) unreachable",
            ),
            "limit",
            "50 ms",
        ),
        (
            "fills memory for ever",
            large(
                60,
                "(loop $l (memory.fill (i32.const 4096) (i32.const 1) (i32.const 3900000)) (br $l)) unreachable",
            ),
            "limit",
            "50 ms",
        ),
        (
            "answers out of bounds",
            decode("(i32.const 0x7ffffff0)"),
            "trap",
            "",
        ),
        (
            "answers at an odd address",
            decode("(i32.const 17)"),
            "trap",
            "aligned",
        ),
        (
            "answers neither yes nor no",
            decode("(i32.store8 (i32.const 16) (i32.const 7)) (i32.const 16)"),
            "trap",
            "",
        ),
        (
            "answers a text of 4 GiB",
            decode("(i32.store (i32.const 24) (i32.const -1)) (i32.const 16)"),
            "trap",
            "out of bounds",
        ),
        (
            "answers what is not UTF-8",
            decode("(i32.store8 (i32.const 64) (i32.const 0xff)) (i32.const 16)"),
            "trap",
            "utf-8",
        ),
        (
            "answers more than 64 KiB",
            large(
                4,
                "(i32.store (i32.const 24) (i32.const 65537)) (i32.const 16)",
            ),
            "output",
            "65536",
        ),
        (
            "answers 3 MiB",
            large(
                60,
                "(i32.store (i32.const 24) (i32.const 3000000)) (i32.const 16)",
            ),
            "output",
            "65536",
        ),
        (
            "answers no JSON",
            decode("(i32.store (i32.const 24) (i32.const 3)) (i32.const 16)"),
            "json",
            "column 3",
        ),
        (
            "answers brackets without end",
            decode(
                "(memory.fill (i32.const 64) (i32.const 0x5b) (i32.const 1000)) (i32.store (i32.const 24) (i32.const 1000)) (i32.const 16)",
            ),
            "depth",
            "32",
        ),
        ("refuses", decode("(i32.const 32)"), "refused", "no"),
        (
            "allocates out of bounds",
            realloc("(i32.const -8)"),
            "trap",
            "out of bounds",
        ),
        (
            "allocates for ever",
            realloc("(loop $l (br $l)) unreachable"),
            "limit",
            "50 ms",
        ),
    ]
}

#[test]
fn hostile_code_ends_with_its_reason_and_the_next_call_runs() {
    let runtime = Runtime::new().unwrap();
    let mut failures = Vec::new();
    for (name, component, kind, part) in hostile() {
        let codec = match runtime.load(&component.binary()) {
            Ok(codec) => codec,
            Err(mistakes) => {
                failures.push(format!("{name}: is not loaded: {mistakes:?}"));
                continue;
            }
        };
        // Twice: the second meets a fresh instance.
        for _ in 0..2 {
            match decode(&codec, &[1, 2, 3]) {
                Err(e) if e.kind() == kind && e.to_string().contains(part) => {}
                other => failures.push(format!("{name}: {other:?}, want {kind} with {part:?}")),
            }
        }
        let other_function = encode(&codec);
        if component.realloc == SOUND.realloc
            && other_function.as_ref().map_err(CodecError::kind) != Err("refused")
        {
            failures.push(format!("{name}: encode then gives {other_function:?}"));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// A codec that fails in each second call keeps none of the pool's places, and nothing of its own.
#[test]
fn a_failed_instance_is_replaced_and_leaves_nothing() {
    let runtime = Runtime::new().unwrap();
    let component = Component {
        module: "(global $calls (mut i32) (i32.const 0))",
        // Without a payload a trap; else refused from the second call of an instance on.
        decode: "(if (i32.eqz (local.get $len)) (then unreachable))
            (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
            (select (i32.const 16) (i32.const 32) (i32.eq (global.get $calls) (i32.const 1)))",
        ..SOUND
    };
    let codec = runtime.load(&component.binary()).unwrap();
    for _ in 0..3 * WASM_INSTANCES_MAX {
        assert_eq!(decode(&codec, &[1]), Ok(Decoded::Nothing));
        assert_eq!(decode(&codec, &[1]).unwrap_err().kind(), "refused");
        assert_eq!(decode(&codec, &[]).unwrap_err().kind(), "trap");
    }
    assert_eq!(codec.memory_bytes(), 0, "the last call failed");
    assert_eq!(decode(&codec, &[1]), Ok(Decoded::Nothing));
    assert_eq!(codec.memory_bytes(), 65536);
}

#[test]
fn more_codecs_than_places_are_refused_until_one_goes() {
    let runtime = Runtime::new().unwrap();
    let source = SOUND.binary();
    let mut codecs: Vec<Wasm> = (0..WASM_INSTANCES_MAX)
        .map(|_| runtime.load(&source).unwrap())
        .collect();
    let refused = runtime.load(&source).unwrap_err();
    assert!(refused[0].message.contains("does not begin"), "{refused:?}");
    codecs.pop();
    runtime.load(&source).unwrap();
}

fn mistakes(source: &[u8]) -> Vec<LoadError> {
    Runtime::new().unwrap().load(source).unwrap_err()
}

#[test]
fn what_does_not_fit_is_told_when_it_is_loaded() {
    let import = r#"(import "wasi:cli/exit@0.2.0" (instance (export "exit" (func (param "code" u32)))))
        (import "own" (func))"#;
    let odd = r#"(func (export "decode") (param "payload" string) (result u32)
        (canon lift (core func $i "encode") (memory (core memory $i "memory"))
    (realloc (core func $i "cabi_realloc"))))"#;
    let rows: Vec<(Component, &[&str])> = vec![
        (
            Component {
                imports: import,
                ..SOUND
            },
            &["imports wasi:cli/exit@0.2.0", "without WASI", "imports own"],
        ),
        (
            Component {
                exports: "",
                ..SOUND
            },
            &["exports no decode: func(payload: list<u8>", "world `codec`"],
        ),
        (
            Component {
                exports: odd,
                ..SOUND
            },
            &["decode is not func(payload: list<u8>"],
        ),
        (
            Component {
                version: "(i32.const 2)",
                ..SOUND
            },
            &["model-version: is 2, takes 1"],
        ),
        (
            Component {
                version: "(loop $l (br $l)) unreachable",
                ..SOUND
            },
            &["does not begin", "50 ms"],
        ),
        (
            Component {
                module: "(func $s (loop $l (br $l))) (start $s)",
                ..SOUND
            },
            &["does not begin", "50 ms"],
        ),
        (
            Component {
                module: "(func $s unreachable) (start $s)",
                ..SOUND
            },
            &["does not begin", "unreachable"],
        ),
        (Component { pages: 65, ..SOUND }, &["memory"]),
        (
            Component {
                module: "(table 100000 funcref)",
                ..SOUND
            },
            &["table"],
        ),
    ];
    for (component, parts) in rows {
        let text = format!("{:?}", mistakes(&component.binary()));
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    }
}

#[test]
fn malformed_binaries_are_refused() {
    let sound = SOUND.binary();
    let core = wat::parse_str("(module)").unwrap();
    let memory64 = wat::parse_str("(component (core module (memory i64 1)))").unwrap();
    let mut endless_section = sound[..8].to_vec();
    endless_section.extend([1, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    let mut many_types = sound[..8].to_vec();
    many_types.extend([7, 6, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x40]);
    let rows: Vec<(&[u8], &str)> = vec![
        (b"", "not WebAssembly"),
        (b"(component)", "not WebAssembly"),
        (b"\0asm", "of a version"),
        (b"\0asm\x63\0\0\0", "of a version"),
        (&core, "core module"),
        (&memory64, "not a component"),
        (&endless_section, "not a component"),
        (&many_types, "not a component"),
    ];
    for (source, part) in rows {
        let found = mistakes(source);
        assert!(found[0].message.contains(part), "{found:?}, want {part:?}");
    }
    let long = [&sound[..8], &vec![0; CODEC_WASM_MAX]].concat();
    assert!(mistakes(&long)[0].message.contains("takes up to 4194304"));
    let runtime = Runtime::new().unwrap();
    for cut in 8..sound.len() {
        assert!(runtime.load(&sound[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn compiled_code_is_kept_within_bounds() {
    let mut kept = super::compiled::Compiled::default();
    let runtime = Runtime::new().unwrap();
    let source = SOUND.binary();
    runtime.load(&source).unwrap();
    let ready = runtime.known(&source).expect("it was compiled");
    for n in 0..100_u8 {
        kept.keep([n; 32], 1024 * 1024, ready.clone());
    }
    assert_eq!(kept.count(), 16);
    assert!(kept.find(&[99; 32]).is_some() && kept.find(&[83; 32]).is_none());
    kept.keep([200; 32], usize::MAX / 2, ready);
    assert_eq!(kept.count(), 1, "the newest stays, however large");
}

fn sample() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("codecs/water-meter-wasm")
}

#[test]
fn the_sample_passes_its_fixtures_and_agrees_with_a_table() {
    let source = fs::read(sample().join("codec.wasm")).unwrap();
    let codec = Runtime::new().unwrap().load(&source).unwrap();
    let product: Value =
        serde_json::from_slice(&fs::read(sample().join("profile.json")).unwrap()).unwrap();
    let profile: Profile = serde_json::from_value(product["service_capabilities"].clone()).unwrap();
    let mut count = 0;
    for entry in fs::read_dir(sample().join("fixtures")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for fixture in fixture::parse(&text).unwrap() {
            let verdict = fixture::run(&codec, Some(&profile), &fixture);
            assert_eq!(verdict.failures, [], "{}", fixture.name);
            count += 1;
        }
    }
    assert!(count >= 12, "{count} fixtures");

    let text = include_str!("../../../../fixtures/codec/tables/bench.toml");
    let table = table::load(text, None).unwrap();
    let report = unhex(REPORT).unwrap();
    assert_eq!(report.len(), 68);
    let uplink = Uplink {
        payload: &report,
        received_at: Timestamp::from_ms(0),
        f_port: None,
    };
    assert_eq!(codec.decode(&uplink, None), table.decode(&uplink, None));

    let empty = Map::new();
    let set = EncodeProperties {
        service_id: "Meter",
        wanted: &empty,
        known: &empty,
        mid: 1,
    };
    let error = codec.encode_properties(&set).unwrap_err();
    assert_eq!(error.kind(), "no_property_set");
    let to = AnswerTo {
        request: &report,
        errcode: 0,
        has_more: false,
    };
    assert_eq!(codec.answer(&to), Ok(None));
}

/// Authors build against the file beside the sample.
#[test]
fn the_sample_has_the_interface() {
    let copy = fs::read_to_string(sample().join("source/codec.wit")).unwrap();
    assert_eq!(copy, super::WIT);
}

/// A report of 68 bytes with everything.
const REPORT: &str = "010012345678905f3251d140e2010007000000ffe7028f0bc4241109000a00190000\
    0082002d00070000000c00033839383630343132333435363738393031323334dac7";

/// Whoever has no optional function has none.
#[test]
fn optional_functions_may_be_absent() {
    let codec = Runtime::new().unwrap().load(&SOUND.binary()).unwrap();
    assert_eq!(codec.decode_downlink(&[1]), None);
    let to = AnswerTo {
        request: &[1],
        errcode: 0,
        has_more: true,
    };
    assert_eq!(codec.answer(&to), Ok(None));
    assert_eq!(decode(&codec, &[]), Ok(Decoded::Nothing));
}

#[test]
fn forms_are_read_as_the_interface_describes_them() {
    let rows = [
        ("null", json!({"kind": "none"})),
        (
            r#"{"services":[{"service_id":"M","properties":{"v":1.5,"o":null},"event_time":1597133265000,"x":1}],"has_more":true}"#,
            json!({"kind": "report", "services": [{"service_id": "M", "properties": {"v": 1.5, "o": null},
                "event_time": "20200811T080745Z"}], "has_more": true}),
        ),
        (
            r#"{"services":[{"service_id":"M","properties":{},"event_time":"20200811T080745Z"},{"service_id":"N","properties":{},"event_time":null}]}"#,
            json!({"kind": "report", "services": [
                {"service_id": "M", "properties": {}, "event_time": "20200811T080745Z"},
                {"service_id": "N", "properties": {}}]}),
        ),
        (
            r#"{"result_code":3,"mid":7}"#,
            json!({"kind": "response", "mid": 7, "result_code": 1, "paras": {}}),
        ),
        ("{}", json!("services")),
        (r#"{"services":[],"result_code":0}"#, json!("result_code")),
        (r#"{"result_code":0,"mid":0}"#, json!("mid")),
        (
            r#"{"services":[{"service_id":"M","properties":{},"event_time":"soon"}]}"#,
            json!("services[0].event_time"),
        ),
    ];
    for (text, want) in rows {
        let got = match form::decoded(text) {
            Ok(decoded) => decoded.to_json(),
            Err(CodecError::Field { field, .. }) => json!(field),
            Err(other) => panic!("{text}: {other:?}"),
        };
        assert_eq!(got, want, "{text}");
    }
    for (text, kind) in [
        ("", "json"),
        ("{\"services\":1}", "json"),
        ("{\"result_code\":0,\"mid\":65536}", "json"),
    ] {
        assert_eq!(form::decoded(text).unwrap_err().kind(), kind, "{text}");
    }
    let nested = |n: usize| {
        let properties = format!("{}1{}", "[".repeat(n), "]".repeat(n));
        format!(r#"{{"services":[{{"service_id":"]\"","properties":{{"a":{properties}}}}}]}}"#)
    };
    assert!(form::decoded(&nested(CODEC_DEPTH_MAX - 4)).is_ok());
    assert_eq!(
        form::decoded(&nested(CODEC_DEPTH_MAX - 3))
            .unwrap_err()
            .kind(),
        "depth"
    );
    let long = format!("null{}", " ".repeat(CODEC_OUTPUT_MAX));
    assert_eq!(form::decoded(&long).unwrap_err().kind(), "output");
}

#[test]
fn a_set_covers_what_was_wanted_and_that_alone() {
    let wanted = Map::from_iter([("a".to_owned(), json!(1))]);
    let set = EncodeProperties {
        service_id: "S",
        wanted: &wanted,
        known: &wanted,
        mid: 1,
    };
    let covers = |names: &[&str]| {
        let names = names.iter().map(|n| (*n).to_owned()).collect();
        form::property_set(&set, vec![1], names).map(|set| set.covered)
    };
    assert_eq!(covers(&["a"]), Ok(vec!["a".to_owned()]));
    assert_eq!(covers(&[]).unwrap_err().kind(), "field");
    assert!(
        covers(&["a", "b"])
            .unwrap_err()
            .to_string()
            .contains("\"b\"")
    );
    let refused = form::refused("ü".repeat(1000)).to_string();
    assert!(refused.len() < 1100 && refused.ends_with('…'));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".*|[{}\\[\\]\":,a-z0-9]{0,64}") {
        let _ = form::decoded(&text);
        let _ = form::downlink(&text);
    }

    #[test]
    fn what_a_codec_writes_reads_back(
        ms in 0..253_402_300_799_999_u64, value: i32, has_more: bool, id in "[a-zA-Z]{1,8}",
    ) {
        let text = json!({
            "services": [{"service_id": id, "properties": {"v": value}, "event_time": ms}],
            "has_more": has_more,
        });
        let Ok(Decoded::Report(report)) = form::decoded(&text.to_string()) else {
            panic!("{text}");
        };
        prop_assert_eq!(report.has_more, has_more);
        let service = &report.services[0];
        prop_assert_eq!(&service.service_id, &id);
        prop_assert_eq!(&service.properties["v"], &json!(value));
        prop_assert_eq!(service.event_time, Some(Timestamp::from_ms(ms)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Broken binaries are refused or run: neither loading nor calling panics or hangs.
    #[test]
    fn broken_binaries_never_panic(
        flips in proptest::collection::vec((8..4096_usize, any::<u8>()), 1..4),
    ) {
        let mut source = SOUND.binary();
        let len = source.len();
        for (at, byte) in flips {
            source[8 + at % (len - 8)] = byte;
        }
        let runtime = Runtime::new().unwrap();
        if let Ok(codec) = runtime.load(&source) {
            let _ = decode(&codec, &[1, 2, 3]);
            let _ = encode(&codec);
        }
    }
}
