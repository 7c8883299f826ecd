//! Script codecs in process: a water meter's 68 bytes with 12 values, by three scripts of
//! `fixtures/codec/scripts/`: the IoTDA contract, TS013, and TS013 with a checksum bit by bit.
//!
//! `cargo bench --bench script -- node` measures node's `vm` on the same scripts and bytes, in turns
//! with ours, and prints the medians of the rounds, their ratios, and the best round of each; see `script_node.mjs`.
//! `STRAIT_BENCH_ROUNDS`: so many rounds instead of 15.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement fails by panicking, prints, and reads the real clock"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use divan::{Bencher, black_box};
use strait::base::time::Timestamp;
use strait::product::codec::call::Options;
use strait::product::codec::script::{Limits, Script};
use strait::product::codec::{Codec, Decoded, Uplink, text};

const NAMES: [&str; 3] = ["meter_iotda", "meter_ts013", "meter_crc"];
const CALLS: u32 = 2000;
/// What node needs to have compiled what is hot.
const WARM_UP: usize = 3;

fn main() {
    if std::env::args().any(|arg| arg == "node") {
        compare();
    } else {
        divan::main();
    }
}

fn path(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("fixtures/codec/scripts")
        .join(format!("{name}.js"))
}

fn script(name: &str) -> Script {
    let source = std::fs::read_to_string(path(name)).unwrap();
    let options = Options {
        services: vec!["Meter".to_owned()],
        ..Options::default()
    };
    Script::load(&source, &options, Limits::default()).unwrap()
}

/// Id, serial, time, four numbers, battery, flags, nine intervals, ICCID, pressure, checksum.
fn payload() -> Vec<u8> {
    let mut bytes = vec![1, 0, 0x12, 0x34, 0x56, 0x78, 0x90];
    bytes.extend(1_597_133_265_u32.to_be_bytes());
    bytes.extend(123_456_u32.to_le_bytes());
    bytes.extend(7_u32.to_le_bytes());
    bytes.extend((-25_i16).to_be_bytes());
    bytes.extend(655_i16.to_be_bytes());
    bytes.extend([36, 0x11, 9]);
    for litres in [10_u16, 25, 0, 130, 45, 7, 0, 12, 3] {
        bytes.extend(litres.to_be_bytes());
    }
    bytes.extend(*b"89860412345678901234");
    bytes.extend(3012_u16.to_be_bytes());
    let sum = crc::Crc::<u16>::new(&crc::CRC_16_MODBUS).checksum(&bytes);
    bytes.extend(sum.to_le_bytes());
    assert_eq!(bytes.len(), 68);
    bytes
}

fn decode(script: &Script, payload: &[u8]) -> Decoded {
    let uplink = Uplink {
        payload,
        received_at: Timestamp::from_ms(1_597_133_270_000),
        f_port: None,
    };
    script.decode(&uplink, None).unwrap()
}

#[divan::bench(args = NAMES, sample_size = 100)]
fn decode_68_bytes(bencher: Bencher<'_, '_>, name: &str) {
    let (script, payload) = (script(name), payload());
    let Decoded::Report(report) = decode(&script, &payload) else {
        unreachable!("a report");
    };
    let properties = &report.services[0].properties;
    assert_eq!(properties["volume_m3"], 123.456);
    assert_eq!(properties["serial"], "001234567890");
    assert_eq!(properties["pressure_kpa"], 301.2);
    bencher.bench_local(|| decode(&script, black_box(&payload)));
}

#[divan::bench(args = NAMES, sample_size = 1)]
fn load(bencher: Bencher<'_, '_>, name: &str) {
    bencher.bench_local(|| script(name));
}

/// Ours and node's in turns, so that what else the machine does meets both.
fn compare() {
    let rounds = std::env::var("STRAIT_BENCH_ROUNDS").map_or(15, |n| n.parse().unwrap());
    let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/script_node.mjs");
    let mut node = Command::new("node")
        .arg(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut asks = node.stdin.take().unwrap();
    let mut answers = BufReader::new(node.stdout.take().unwrap());
    let payload = payload();
    let hex = text::hex(&payload);
    println!("medians of {rounds} rounds of {CALLS} calls, µs per call");
    println!(
        "script        ours | node: called, run, run with a limit of time | ratios | best rounds"
    );
    for name in NAMES {
        let script = script(name);
        let mut columns: [Vec<f64>; 4] = Default::default();
        for round in 0..rounds + WARM_UP {
            writeln!(asks, "{} {hex} {CALLS}", path(name).display()).unwrap();
            let mut line = String::new();
            answers.read_line(&mut line).unwrap();
            let theirs = line.split_whitespace().map(|n| n.parse().unwrap());
            let begin = Instant::now();
            for _ in 0..CALLS {
                black_box(decode(&script, black_box(&payload)));
            }
            let ours = begin.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS);
            if round >= WARM_UP {
                for (column, figure) in columns.iter_mut().zip([ours].into_iter().chain(theirs)) {
                    column.push(figure);
                }
            }
        }
        let best = columns
            .clone()
            .map(|column| column.into_iter().fold(f64::MAX, f64::min));
        let [ours, called, run, limited] = columns.map(median);
        println!(
            "{name:12} {ours:5.1} | {called:5.1} {run:5.1} {limited:6.1} | {:.2} {:.2} {:.2} | {best:.1?}",
            ours / called,
            ours / run,
            ours / limited
        );
    }
    drop(asks);
    node.wait().unwrap();
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
