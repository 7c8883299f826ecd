//! Writes until killed, and looks up what was acknowledged.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::path::Path;
use std::process::exit;

use strait::base::ids::DeviceId;
use strait::base::time::Timestamp;
use strait::store::check::check;
use strait::store::disk::{Disk, DiskStore, EngineName};
use strait::store::kv::KvStore;
use strait::store::records::{EnvelopeRecord, EventRecord, HistoryRecord, StateRecord};
use strait::store::seal::Sealer;
use strait::store::{Change, Commit, Completion, Guard, HistoryQuery, Store, StoreSettings};

use crate::bent::Bent;

const DEVICES: u64 = 40;
const IN_FLIGHT: usize = 100;

pub(crate) fn sealer() -> Sealer {
    Sealer::new([1; 32])
}

/// On the engine that `STRAIT_FAULTS_ENGINE` names.
pub(crate) fn settings() -> StoreSettings {
    let engine = std::env::var("STRAIT_FAULTS_ENGINE");
    StoreSettings {
        engine: engine.map_or_else(
            |_| EngineName::default(),
            |name| serde_json::from_value(name.into()).unwrap(),
        ),
        cache_mb: 8,
        reserve_mb: 8,
        ..StoreSettings::default()
    }
}

pub(crate) fn device_id(device: u64) -> DeviceId {
    DeviceId::parse(&format!("device-{device}")).unwrap()
}

/// One uplink: state, history and event carry device and version. Every 50th is long enough to
/// be split.
pub(crate) fn uplink(device: u64, version: u64) -> Commit {
    let fill = if version.is_multiple_of(50) {
        20_000
    } else {
        150
    };
    let text = format!("{device} {version} {}", "x".repeat(fill));
    let now = Timestamp::from_ms(version);
    let state = StateRecord {
        version,
        location: Some(device),
        fw_version: Some(text.clone()),
        ..StateRecord::default()
    };
    let history = HistoryRecord {
        received_at: now,
        services: text.clone(),
    };
    let event = EventRecord {
        at: now,
        envelopes: vec![EnvelopeRecord {
            resource: "device.property".to_owned(),
            event: "report".to_owned(),
            device_id: Some(device_id(device)),
            json: text,
            app_id: None,
        }],
    };
    Commit {
        guards: vec![Guard::StateVersion(device_id(device), version - 1)],
        changes: vec![
            Change::PutState(device_id(device), Box::new(state)),
            Change::AppendHistory {
                device_seq: device,
                record: Box::new(history),
            },
            Change::Emit(Box::new(event)),
        ],
    }
}

pub(crate) fn write(dir: &Path, with_sync: bool) {
    if with_sync {
        write_on(&DiskStore::open(dir, &settings(), sealer()).unwrap());
    } else {
        let engine = Bent {
            disk: Disk::open(dir, &settings()).unwrap(),
            with_sync: false,
            with_room: true,
        };
        write_on(&KvStore::start(engine, &settings(), sealer()).unwrap());
    }
}

fn write_on(store: &impl Store) {
    let mut versions: Vec<u64> = (0..DEVICES)
        .map(|device| {
            let state = store.state(&device_id(device)).unwrap();
            state.map_or(0, |state| state.version)
        })
        .collect();
    let mut waiting: VecDeque<(u64, u64, Completion)> = VecDeque::new();
    let mut out = std::io::stdout().lock();
    for n in 0.. {
        let device = n % DEVICES;
        let version = &mut versions[usize::try_from(device).unwrap()];
        *version += 1;
        waiting.push_back((device, *version, store.commit(uplink(device, *version))));
        if waiting.len() >= IN_FLIGHT {
            let (device, version, done) = waiting.pop_front().unwrap();
            done.wait().unwrap();
            out.write_all(format!("{device} {version}\n").as_bytes())
                .unwrap();
        }
    }
}

pub(crate) fn look(dir: &Path, acks: &Path) {
    let acknowledged = read_acks(acks);
    let total: u64 = acknowledged.values().sum();
    let store = match DiskStore::open(dir, &settings(), sealer()) {
        Ok(store) => store,
        Err(e) => {
            println!("LOST: {e}");
            exit(1);
        }
    };
    let mut lost = Vec::new();
    let stored = look_at_devices(&store, &acknowledged, &mut lost);
    look_at_events(&store, stored, &mut lost);
    check(
        store.engine(),
        Some(&sealer()),
        &strait::store::package_files::PackageFiles::of(Path::new("/nonexistent")),
        &mut |_| (),
        &mut |mistake| {
            // States of devices without a device record are what this program writes.
            if !mistake.what.starts_with("there is no row devices") {
                lost.push(format!("{}: {}", mistake.row, mistake.what));
            }
        },
    )
    .unwrap();
    if lost.is_empty() {
        println!("{total} acknowledged, {stored} stored, all there");
        return;
    }
    for line in lost.iter().take(5) {
        println!("LOST: {line}");
    }
    exit(1);
}

/// The newest acknowledged version of each device.
fn read_acks(acks: &Path) -> BTreeMap<u64, u64> {
    let mut acknowledged = BTreeMap::<u64, u64>::new();
    let text = std::fs::read_to_string(acks).unwrap();
    // The last line may be cut by the kill; it was not read by anybody.
    let lines = text.split_inclusive('\n');
    for line in lines.filter(|line| line.ends_with('\n')) {
        let (device, version) = words(line.trim_end());
        let newest = acknowledged.entry(device).or_default();
        *newest = (*newest).max(version);
    }
    acknowledged
}

/// State and history of each device; the number of reports that are there.
fn look_at_devices(
    store: &impl Store,
    acknowledged: &BTreeMap<u64, u64>,
    lost: &mut Vec<String>,
) -> u64 {
    let mut stored = 0;
    for device in 0..DEVICES {
        let newest = acknowledged.get(&device).copied().unwrap_or(0);
        let state = store.state(&device_id(device)).unwrap();
        let version = state.map_or(0, |state| state.version);
        stored += version;
        if version < newest {
            lost.push(format!(
                "device {device}: {newest} acknowledged, state {version}"
            ));
        }
        let history = store.history(&HistoryQuery {
            device_seq: device,
            from: None,
            to: None,
            before: None,
            limit: usize::MAX,
        });
        let rows = history.unwrap();
        let found = rows.iter().rev().map(|row| words(&row.record.services));
        if !found.eq((1..=version).map(|version| (device, version))) {
            lost.push(format!("device {device}: history is not 1 to {version}"));
        }
    }
    stored
}

/// Each report is told once, in order: as many events as reports.
fn look_at_events(store: &impl Store, stored: u64, lost: &mut Vec<String>) {
    let mut told = BTreeMap::<u64, u64>::new();
    let mut after = 0;
    loop {
        let events = store.events(after, 1000).unwrap();
        let Some((position, _)) = events.last() else {
            break;
        };
        after = *position;
        for (_, event) in events {
            let (device, version) = words(&event.envelopes[0].json);
            let newest = told.entry(device).or_default();
            if version != *newest + 1 {
                lost.push(format!("device {device}: event {version} follows {newest}"));
            }
            *newest = version;
        }
    }
    let count: u64 = told.values().sum();
    if count != stored {
        lost.push(format!("{stored} reports, {count} events"));
    }
}

/// The two numbers that a text begins with.
fn words(text: &str) -> (u64, u64) {
    let mut words = text.split(' ').take(2).map(|word| word.parse().unwrap());
    (words.next().unwrap(), words.next().unwrap())
}
