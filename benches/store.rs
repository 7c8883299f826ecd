//! The committer alone: durable uplinks per second on an engine, with 1 to 1,024 commits in
//! flight, and reading every device at start.
//!
//! One uplink is what the server commits for one: state (about 600 bytes), history (150), event
//! (400), guarded by the versions it read. Figures depend on the disk: `STRAIT_BENCH_DIR` names
//! the directory (default: the system's temporary one), `STRAIT_BENCH_SECONDS` the length of each
//! run (default 3), `STRAIT_BENCH_ENGINE` the engine (default `sled`; `fjall`, `memory`),
//! `STRAIT_BENCH_DEVICES` the size of the fleet (default 10,000; the start is measured with the same
//! fleet).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement fails by panicking, prints, and reads the real clock"
)]

#[path = "fleet/mod.rs"]
mod fleet;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Map, json};
use strait::base::ids::DeviceId;
use strait::base::time::Timestamp;
use strait::store::disk::{DiskStore, EngineName};
use strait::store::records::{
    DeviceRecord, EnvelopeRecord, EventRecord, HistoryRecord, PresenceRecord, RegistrationKind,
    RegistrationRecord, ShadowRecord, StateRecord,
};
use strait::store::seal::Sealer;
use strait::store::{Change, Commit, Completion, Guard, Store, StoreSettings};

fn main() {
    let setting = |name: &str, default: u64| {
        let text = std::env::var(name).ok();
        text.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let seconds = Duration::from_secs(setting("STRAIT_BENCH_SECONDS", 3));
    let devices = setting("STRAIT_BENCH_DEVICES", 10_000);
    let parent = std::env::var_os("STRAIT_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let dir = tempfile::tempdir_in(&parent).unwrap();
    let engine = std::env::var("STRAIT_BENCH_ENGINE").unwrap_or_else(|_| "sled".to_owned());
    let settings = StoreSettings {
        engine: serde_json::from_value(engine.clone().into()).unwrap(),
        ..StoreSettings::default()
    };
    let open = || DiskStore::open(dir.path(), &settings, Sealer::new([1; 32])).unwrap();
    println!("engine: {engine}");

    let store = open();
    let begun = Instant::now();
    create(&store, devices);
    println!("create {devices} devices: {:?}", begun.elapsed());
    for in_flight in [1, 16, 256, 1024] {
        let figures = measure(&store, devices, in_flight, seconds);
        println!("{in_flight:>5} in flight: {figures}");
    }
    drop(store);

    let begun = Instant::now();
    let store = open();
    println!("open: {:?}", begun.elapsed());
    let begun = Instant::now();
    let cpu = cpu_time("");
    let mut seen = 0_u64;
    let mut count = |_: DeviceRecord, _: Option<StateRecord>| {
        seen += 1;
        ControlFlow::Continue(())
    };
    store.each_device(&mut count).unwrap();
    let cpu = cpu_time("") - cpu;
    println!(
        "each_device, {seen} devices: {:?}, cpu {cpu:?}",
        begun.elapsed()
    );
    let size = strait::store::kv::Kv::size_bytes(store.engine()).unwrap();
    println!("size on disk: {} MB", size / 1_000_000);
}

fn create(store: &DiskStore, devices: u64) {
    let mut waiting: VecDeque<Completion> = VecDeque::new();
    for seq in 1..=devices {
        let record = device(seq);
        let changes = vec![
            Change::PutState(record.device_id.clone(), Box::new(state(seq, 1))),
            Change::PutDevice(Box::new(record)),
        ];
        waiting.push_back(store.commit(Commit {
            guards: Vec::new(),
            changes,
        }));
        if waiting.len() >= 1024 {
            waiting.pop_front().unwrap().wait().unwrap();
        }
    }
    for completion in waiting {
        completion.wait().unwrap();
    }
}

/// Keeps so many uplinks in flight, each of another device, for so long.
fn measure(store: &DiskStore, devices: u64, in_flight: usize, length: Duration) -> String {
    let mut versions: Vec<u64> = (0..=devices)
        .map(|seq| {
            store
                .state(&device_id(seq))
                .unwrap()
                .map_or(0, |s| s.version)
        })
        .collect();
    let mut waiting: VecDeque<(Instant, Completion)> = VecDeque::new();
    let mut latency = Histogram::<u64>::new(3).unwrap();
    let mut done = 0_u64;
    let threads = ["", "store-committer", background(store)];
    let cpu = threads.map(cpu_time);
    let begun = Instant::now();
    let mut n = 0_u64;
    while begun.elapsed() < length {
        while waiting.len() < in_flight {
            n += 1;
            let seq = n * 7919 % devices + 1;
            let version = &mut versions[usize::try_from(seq).unwrap()];
            let commit = uplink(seq, *version, n);
            *version += 1;
            waiting.push_back((Instant::now(), store.commit(commit)));
        }
        let (sent, completion) = waiting.pop_front().unwrap();
        completion.wait().unwrap();
        latency
            .record(u64::try_from(sent.elapsed().as_micros()).unwrap())
            .unwrap();
        done += 1;
    }
    let spent = begun.elapsed();
    for (_, completion) in waiting {
        completion.wait().unwrap();
        done += 1;
    }
    let mut cpu_us = [0; 3];
    for n in 0..3 {
        let spent = cpu_time(threads[n]).saturating_sub(cpu[n]);
        cpu_us[n] = spent.as_micros() / u128::from(done.max(1));
    }
    let [all, committer, io] = cpu_us;
    format!(
        "{:>6} commits/s, p50 {} us, p99 {} us; cpu per commit {all} us: \
         committer {committer}, the engine's threads {io}, callers the rest",
        u128::from(done) * 1000 / spent.as_millis(),
        latency.value_at_quantile(0.5),
        latency.value_at_quantile(0.99),
    )
}

/// How the names of the engine's own threads begin.
fn background(store: &DiskStore) -> &'static str {
    match store.engine().name() {
        EngineName::Sled => "sled-io",
        EngineName::Fjall => "fjall:",
        EngineName::Memory => "none",
    }
}

/// Processor time so far, of threads whose name begins so.
fn cpu_time(name: &str) -> Duration {
    let mut ticks = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        // A thread may end while it is looked at.
        let Ok(stat) = std::fs::read_to_string(task.unwrap().path().join("stat")) else {
            continue;
        };
        let (head, tail) = stat.rsplit_once(')').unwrap();
        if head.split_once('(').unwrap().1.starts_with(name) {
            let fields: Vec<&str> = tail.split_whitespace().collect();
            ticks += fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        }
    }
    Duration::from_millis(ticks * 10) // a tick is 10 ms
}

fn device_id(seq: u64) -> DeviceId {
    DeviceId::parse(&format!("water-meter_8677250{seq:08}")).unwrap()
}

fn device(seq: u64) -> DeviceRecord {
    let node = format!("8677250{seq:08}");
    DeviceRecord {
        device_name: Some(format!("Meter {seq}")),
        ..fleet::device(&device_id(seq), "water-meter", &node, seq)
    }
}

fn reported(n: u64) -> Map<String, serde_json::Value> {
    let properties = json!({
        "volume_m3": 1234.5 + f64::from(u32::try_from(n % 1_000_000).unwrap()),
        "flow_rate": 0.25, "temperature": 17, "battery": 3.58, "rssi": -97, "leak": false,
        "valve": "OPEN", "alarm": 0, "serial": "WM-20991231-0001"
    });
    properties.as_object().unwrap().clone()
}

fn state(seq: u64, version: u64) -> StateRecord {
    let now = Timestamp::from_ms(1_700_000_000_000 + version * 1000);
    StateRecord {
        version,
        activated_at: Some(now),
        last_seen_at: Some(now),
        presence: PresenceRecord::Online,
        presence_since: Some(now),
        registration: Some(RegistrationRecord {
            kind: RegistrationKind::Lwm2m,
            peer: "192.0.2.17:56830".parse().unwrap(),
            registered_at: now,
            updated_at: now,
            lifetime_s: 86_400,
            lwm2m: "1.0".to_owned(),
            binding: "U".to_owned(),
            queue_mode: false,
            links: "</>;rt=\"oma.lwm2m\",</1/0>,</3/0>,</4/0>,</5/0>,</19/0>,</19/1>".to_owned(),
            endpoint: format!("urn:imei:8677250{seq:08}"),
            secured: false,
        }),
        location: Some(seq * 0x9e37_79b9),
        shadow: vec![ShadowRecord {
            service_id: "WaterMeterBasic".to_owned(),
            version,
            reported: reported(version),
            reported_at: Some(now),
            desired: Map::new(),
            desired_at: None,
        }],
        ..StateRecord::default()
    }
}

fn uplink(seq: u64, version: u64, n: u64) -> Commit {
    let id = device_id(seq);
    let now = Timestamp::from_ms(1_700_000_000_000 + n);
    let services = json!([{"service_id": "WaterMeterBasic", "properties": reported(n)}]);
    let envelope = json!({
        "resource": "device.property", "event": "report", "event_time": now.compact(),
        "notify_data": {"header": {"device_id": id.as_str(), "product_id": "water-meter"},
            "body": {"services": services}}
    });
    let history = HistoryRecord {
        received_at: now,
        services: services.to_string(),
    };
    let event = EventRecord {
        at: now,
        envelopes: vec![EnvelopeRecord {
            resource: "device.property".to_owned(),
            event: "report".to_owned(),
            device_id: Some(id.clone()),
            json: envelope.to_string(),
            app_id: None,
        }],
    };
    Commit {
        guards: vec![
            Guard::DeviceSeq(id.clone(), seq),
            Guard::StateVersion(id.clone(), version),
        ],
        changes: vec![
            Change::PutState(id, Box::new(state(seq, version + 1))),
            Change::AppendHistory {
                device_seq: seq,
                record: Box::new(history),
            },
            Change::Emit(Box::new(event)),
        ],
    }
}
