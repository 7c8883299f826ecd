//! The sample in WebAssembly: a 68-byte report to values, with a reused instance and a deadline for
//! each call, as production has it. Beside it loading, fresh and known.

#![allow(clippy::unwrap_used, reason = "a bench that cannot start has failed")]

use std::path::Path;

use divan::{Bencher, black_box};
use serde_json::{Map, json};
use strait::base::time::Timestamp;
use strait::product::codec::text::unhex;
use strait::product::codec::wasm::{Runtime, Wasm};
use strait::product::codec::{Codec, Encode, Uplink};

/// The one of `codecs/water-meter-wasm/fixtures/report.json`.
const REPORT: &str = "010012345678905f3251d140e2010007000000ffe7028f0bc4241109000a00190000\
    0082002d00070000000c00033839383630343132333435363738393031323334dac7";

fn source() -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("codecs/water-meter-wasm");
    std::fs::read(folder.join("codec.wasm")).unwrap()
}

fn codec() -> (Runtime, Wasm) {
    let runtime = Runtime::new().unwrap();
    let codec = runtime.load(&source()).unwrap();
    (runtime, codec)
}

#[divan::bench(sample_size = 100, sample_count = 1000)]
fn decode_68_bytes(bencher: Bencher<'_, '_>) {
    let ((_runtime, codec), payload) = (codec(), unhex(REPORT).unwrap());
    assert_eq!(payload.len(), 68);
    bencher.bench_local(|| {
        let uplink = Uplink {
            payload: black_box(&payload),
            received_at: Timestamp::from_ms(0),
            f_port: None,
        };
        codec.decode(&uplink, None).unwrap()
    });
}

#[divan::bench(sample_size = 100, sample_count = 1000)]
fn encode_command(bencher: Bencher<'_, '_>) {
    let (_runtime, codec) = codec();
    let mut paras = Map::new();
    paras.insert("state".to_owned(), json!("closed"));
    bencher.bench_local(|| {
        let command = Encode {
            service_id: "Meter",
            command_name: "SET_VALVE",
            paras: black_box(&paras),
            mid: 7,
        };
        codec.encode(&command).unwrap()
    });
}

#[divan::bench(sample_count = 5)]
fn load_fresh(bencher: Bencher<'_, '_>) {
    let source = source();
    bencher.bench_local(|| Runtime::new().unwrap().load(&source).unwrap());
}

#[divan::bench(sample_count = 100)]
fn load_known(bencher: Bencher<'_, '_>) {
    let ((runtime, _codec), source) = (codec(), source());
    bencher.bench_local(|| runtime.load(&source).unwrap());
}

fn main() {
    divan::main();
}
