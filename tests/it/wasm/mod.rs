//! Codecs in WebAssembly: what is loaded, what hostile code comes to, in this process and in workers,
//! and the sample that is built from Rust.

pub(crate) mod component;
mod hostile;
mod loading;
mod program;
mod workers;

use std::fs;

use serde_json::{Map, Value};
use strait::base::time::Timestamp;
use strait::product::codec::text::unhex;
use strait::product::codec::wasm::{Runtime, WIT, Wasm};
use strait::product::codec::{
    AnswerTo, Codec, CodecError, Decoded, Encode, EncodeProperties, Uplink, fixture, table,
};
use strait::product::profile::Profile;

use crate::codecs::samples;

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

fn sample() -> std::path::PathBuf {
    samples().join("water-meter-wasm")
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

    let text = include_str!("../../../fixtures/codec/tables/bench.toml");
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
    assert_eq!(copy, WIT);
}

/// A report of 68 bytes with everything.
const REPORT: &str = "010012345678905f3251d140e2010007000000ffe7028f0bc4241109000a00190000\
    0082002d00070000000c00033839383630343132333435363738393031323334dac7";
