//! Script codecs in process: a water meter's 68 bytes with 12 values, by three scripts of
//! `fixtures/codec/scripts/`: the IoTDA contract, TS013, and TS013 with a checksum bit by bit.
//!
//! `cargo bench --bench script -- node` measures node's `vm` on the same scripts and bytes, in turns
//! with ours: these three, and all of `codecs/scripts/`, each with the messages of its fixtures that decode, in
//! turns. It prints the medians of the rounds, their ratios, and the best round of each; at the end the median
//! ratio and the worst. See `script_node.mjs`. `STRAIT_BENCH_ROUNDS`: so many rounds instead of 15.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement fails by panicking, prints, and reads the real clock"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use divan::{Bencher, black_box};
use strait::base::time::Timestamp;
use strait::product::codec::call::{Call, Options};
use strait::product::codec::script::{Limits, Script};
use strait::product::codec::{Codec, Decoded, Uplink, fixture, text};

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

fn uplink(payload: &[u8], port: u8) -> Uplink<'_> {
    Uplink {
        payload,
        received_at: Timestamp::from_ms(1_597_133_270_000),
        f_port: Some(port),
    }
}

fn decode(script: &Script, payload: &[u8]) -> Decoded {
    script.decode(&uplink(payload, 1), None).unwrap()
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

/// One script and the messages that it is measured with.
struct Case {
    name: String,
    path: PathBuf,
    script: Script,
    messages: Vec<(Vec<u8>, u8)>,
}

fn cases() -> Vec<Case> {
    let meter = |name: &str| Case {
        name: name.to_owned(),
        path: path(name),
        script: script(name),
        messages: vec![(payload(), 1)],
    };
    let mut cases: Vec<Case> = NAMES.into_iter().map(meter).collect();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("codecs/scripts");
    let mut folders: Vec<PathBuf> = entries(&root).iter().flat_map(|f| entries(f)).collect();
    folders.sort();
    cases.extend(folders.iter().filter_map(|folder| collected(&root, folder)));
    cases
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// A folder's script with its messages; none if it only encodes.
fn collected(root: &Path, folder: &Path) -> Option<Case> {
    let path = folder.join("codec.js");
    let source = std::fs::read_to_string(&path).unwrap();
    let options = Options {
        ts013_service: Some("measured".to_owned()),
        ..Options::default()
    };
    let script = Script::load(&source, &options, Limits::default()).unwrap();
    let mut messages = Vec::new();
    for file in entries(&folder.join("fixtures")) {
        for fixture in fixture::parse(&std::fs::read_to_string(file).unwrap()).unwrap() {
            let Call::Decode {
                payload, f_port, ..
            } = fixture.call()
            else {
                continue;
            };
            let port = f_port.unwrap_or(1);
            // What throws in one throws in the other, too, and is no work of a codec.
            if script.decode(&uplink(&payload, port), None).is_ok() {
                messages.push((payload, port));
            }
        }
    }
    let name = folder.strip_prefix(root).unwrap().display().to_string();
    (!messages.is_empty()).then_some(Case {
        name,
        path,
        script,
        messages,
    })
}

/// Node's side of the comparison: a line in, a line of figures out.
struct Node {
    process: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Node {
    fn start() -> Self {
        let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/script_node.mjs");
        let mut process = Command::new("node")
            .arg(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let asks = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self {
            process,
            asks,
            answers,
        }
    }

    /// Microseconds of a call: called, run, run with a limit of time.
    fn measure(&mut self, case: &Case) -> [f64; 3] {
        let message = |(bytes, port): &(Vec<u8>, u8)| format!("{port}:{}", text::hex(bytes));
        let messages: Vec<String> = case.messages.iter().map(message).collect();
        let path = case.path.display();
        writeln!(self.asks, "{path} {CALLS} {}", messages.join(",")).unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let figures: Vec<f64> = line
            .split_whitespace()
            .map(|n| n.parse().unwrap())
            .collect();
        figures.try_into().unwrap()
    }
}

fn measure_ours(case: &Case) -> f64 {
    let mut messages = case.messages.iter().cycle();
    let begin = Instant::now();
    for _ in 0..CALLS {
        let (bytes, port) = messages.next().unwrap();
        let decoded = case.script.decode(&uplink(black_box(bytes), *port), None);
        black_box(decoded.unwrap());
    }
    begin.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS)
}

/// Ours and node's in turns, so that what else the machine does meets both.
fn compare() {
    let rounds = std::env::var("STRAIT_BENCH_ROUNDS").map_or(15, |n| n.parse().unwrap());
    let mut node = Node::start();
    println!("medians of {rounds} rounds of {CALLS} calls, µs per call");
    println!(
        "{:28}  ours | node: called, run, run with a limit of time | ratios | best rounds",
        "script"
    );
    let mut ratios = Vec::new();
    for case in cases() {
        let mut columns: [Vec<f64>; 4] = Default::default();
        for round in 0..rounds + WARM_UP {
            let theirs = node.measure(&case);
            let ours = measure_ours(&case);
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
            "{:28} {ours:5.1} | {called:5.1} {run:5.1} {limited:6.1} | {:.2} {:.2} {:.2} | {best:.1?}",
            case.name,
            ours / called,
            ours / run,
            ours / limited
        );
        ratios.push((ours / run, best[0] / best[2], case.name));
    }
    let medians = ratios.iter().map(|(ratio, ..)| *ratio).collect();
    let bests = ratios.iter().map(|(_, ratio, _)| *ratio).collect();
    println!(
        "against vm, {} scripts: median ratio {:.2}, of the best rounds {:.2}; {} are beyond 2",
        ratios.len(),
        median(medians),
        median(bests),
        ratios.iter().filter(|(ratio, ..)| *ratio > 2.0).count()
    );
    ratios.sort_by(|one, other| other.0.total_cmp(&one.0));
    for (ratio, best, name) in ratios.iter().take(3) {
        println!("worst: {name} {ratio:.2}, of the best rounds {best:.2}");
    }
    drop(node.asks);
    node.process.wait().unwrap();
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
