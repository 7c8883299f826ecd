//! Pages and searches of devices on sled: medians over random values, each with its exact count and a page of 50
//! devices; how long opening takes; what the index costs in memory.
//!
//! `STRAIT_BENCH_DIR` names the directory (default: the system's temporary one), `STRAIT_BENCH_FLEETS` the
//! sizes of the fleets (default `200000,1000000`). One pass over a fleet of a million takes 2 GB there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    reason = "a measurement fails by panicking, prints, and reads the real clock"
)]

#[path = "fleet/mod.rs"]
mod fleet;

use std::time::{Duration, Instant};

use strait::base::ids::{AppId, DeviceId, NodeId, ProductId};
use strait::base::time::Timestamp;
use strait::engine::presence::Presence;
use strait::store::disk::DiskStore;
use strait::store::facts::DeviceFacts;
use strait::store::find::{Filter, Find, FindOrder, TagText};
use strait::store::index::{Index, Life};
use strait::store::keys;
use strait::store::records::{DeviceRecord, StateRecord, TagRecord};
use strait::store::seal::Sealer;
use strait::store::{Change, Commit, Store, StoreSettings};

const NOW: Timestamp = Timestamp::from_ms(1_800_000_000_000);
const HOUR_MS: u64 = 3_600_000;
const PAGE: usize = 50;
const ROUNDS: u64 = 40;

fn main() {
    // cargo passes its own arguments; none is meant for us.
    let parent = std::env::var_os("STRAIT_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let fleets = std::env::var("STRAIT_BENCH_FLEETS");
    let fleets = fleets.unwrap_or_else(|_| "200000,1000000".to_owned());
    memory(200_000);
    for devices in fleets.split(',').map(|n| n.parse().unwrap()) {
        let dir = tempfile::tempdir_in(&parent).unwrap();
        let open = || {
            let sealer = Sealer::new([1; 32]);
            DiskStore::open(dir.path(), &StoreSettings::default(), sealer).unwrap()
        };
        let store = open();
        let begun = Instant::now();
        fill(&store, devices);
        println!("\n{devices} devices, written in {:?}", begun.elapsed());
        drop(store);
        let begun = Instant::now();
        let store = open();
        println!("opened in {:?}", begun.elapsed());
        pages(&store, devices);
        searches(&store, devices);
    }
}

/// The index alone, of idle devices: no tags, one never heard of in ten.
fn memory(devices: u64) {
    let seqs = 1..=devices;
    let nodes = seqs
        .clone()
        .map(|seq| (keys::node(&device(seq).node_id), seq));
    let names = seqs.map(|seq| (keys::name(&name(seq), seq), seq));
    // As they lie on disk.
    let (mut nodes, mut names) = (nodes.collect::<Vec<_>>(), names.collect::<Vec<_>>());
    nodes.sort_unstable();
    names.sort_unstable();
    let before = resident();
    let mut index = Index::default();
    let set_keys = index.keys();
    for seq in 1..=devices {
        let mut record = device(seq);
        record.tags = Vec::new();
        let heard = heard(seq);
        let life = Life {
            heard,
            ..Life::default()
        };
        index.load(&set_keys.entry(&DeviceFacts::from(record)), life);
    }
    index.loaded();
    for (key, seq) in &nodes {
        index.nodes.push(key, *seq);
    }
    for (key, seq) in &names {
        index.names.push(key, *seq);
    }
    let after = resident();
    let each = (after - before) / devices;
    println!("index of {devices} idle devices: {each} bytes each");
    drop(index);
}

/// Bytes of memory that the process holds.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// A number that looks random, the same for each run.
const fn scattered(n: u64) -> u64 {
    let mixed = (n ^ (n >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

fn node(seq: u64) -> String {
    format!("8677{:011}", scattered(seq) % 100_000_000_000)
}

fn name(seq: u64) -> String {
    let streets = [
        "Birch", "Cedar", "Elm", "Fir", "Maple", "Oak", "Pine", "Willow",
    ];
    let street = streets[(scattered(seq) % 8) as usize];
    format!("{street} Street {}", scattered(seq ^ 0xff) % 100_000)
}

/// A tenth was never heard of; the others within four days.
fn heard(seq: u64) -> Option<Timestamp> {
    let silent_ms = scattered(seq ^ 0xabc) % (96 * HOUR_MS);
    (!seq.is_multiple_of(10)).then(|| Timestamp::from_ms(NOW.as_ms() - silent_ms))
}

fn device_id(seq: u64) -> DeviceId {
    DeviceId::parse(&format!("meter-{}_{}", seq % 20, node(seq))).unwrap()
}

/// 20 products in 5 spaces; one in 100 frozen, in a group; one in 4 tagged; one in 5 behind a gateway.
fn device(seq: u64) -> DeviceRecord {
    let gateway = match seq % 5 {
        0 if seq > 100 => device_id(seq / 100 * 100 + 1),
        _ => device_id(seq),
    };
    let tag = |key: &str, value: u64| TagRecord {
        tag_key: key.to_owned(),
        tag_value: format!("v{value}"),
    };
    let product = format!("meter-{}", seq % 20);
    DeviceRecord {
        app_id: AppId::parse(&format!("app-{}", seq % 5)).unwrap(),
        device_name: Some(name(seq)),
        gateway_id: gateway,
        frozen: seq.is_multiple_of(100),
        created_at: Timestamp::from_ms(1_700_000_000_000 + seq * 100),
        tags: match seq % 4 {
            0 => vec![tag("district", seq % 97), tag("serial", seq)],
            _ => Vec::new(),
        },
        groups: match seq % 100 {
            7 => vec![seq % 10],
            _ => Vec::new(),
        },
        ..fleet::device(&device_id(seq), &product, &node(seq), seq)
    }
}

fn fill(store: &DiskStore, devices: u64) {
    let mut waiting = std::collections::VecDeque::new();
    let seqs: Vec<u64> = (1..=devices).collect();
    for chunk in seqs.chunks(500) {
        let mut changes = Vec::new();
        for seq in chunk {
            let record = device(*seq);
            if let Some(heard) = heard(*seq) {
                let state = StateRecord {
                    version: 1,
                    last_seen_at: Some(heard),
                    fw_version: Some(format!("1.{}", seq % 12)),
                    ..StateRecord::default()
                };
                changes.push(Change::PutState(record.device_id.clone(), Box::new(state)));
            }
            changes.push(Change::PutDevice(Box::new(record)));
        }
        waiting.push_back(store.commit(Commit {
            guards: Vec::new(),
            changes,
        }));
        if waiting.len() >= 8 {
            waiting.pop_front().unwrap().wait().unwrap();
        }
    }
    for completion in waiting {
        completion.wait().unwrap();
    }
}

/// Asks with other values each round; prints median, longest, and what was found.
fn ask(store: &DiskStore, what: &str, question: &dyn Fn(u64) -> (Filter, usize, Option<u64>)) {
    let mut took: Vec<Duration> = Vec::new();
    let mut counts = 0;
    for round in 0..ROUNDS {
        let (filter, offset, beyond) = question(scattered(round + 1));
        let find = Find {
            filter: &filter,
            now: NOW,
            order: match round % 2 {
                0 => FindOrder::NewestFirst,
                _ => FindOrder::OldestFirst,
            },
            offset,
            limit: PAGE,
            beyond,
        };
        let begun = Instant::now();
        let found = store.find(&find).unwrap();
        took.push(begun.elapsed());
        counts += found.count;
    }
    took.sort_unstable();
    let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
    let found = counts / ROUNDS;
    println!("{what:<44} {median:>12.2?} {longest:>12.2?} {found:>9}");
}

fn pages(store: &DiskStore, devices: u64) {
    println!(
        "{:<44} {:>12} {:>12} {:>9}",
        "page of", "median", "longest", "fit"
    );
    let app = |n: u64| Filter::App(AppId::parse(&format!("app-{}", n % 5)).unwrap());
    let product = |n: u64| Filter::Product(ProductId::parse(&format!("meter-{}", n % 20)).unwrap());
    ask(store, "all, first page", &|_| (Filter::All, 0, None));
    ask(store, "all, any marker", &|n| {
        (Filter::All, 0, Some(n % devices))
    });
    ask(store, "all, any offset", &|n| {
        (Filter::All, (n % devices) as usize, None)
    });
    ask(store, "a product, any marker", &|n| {
        (product(n), 0, Some(n % devices))
    });
    ask(store, "a space, any offset", &|n| {
        (app(n), (n % (devices / 5)) as usize, None)
    });
    ask(store, "created in an hour", &|n| {
        let from = Timestamp::from_ms(1_700_000_000_000 + n % devices * 100);
        let created = Filter::Created {
            from: Some(from),
            to: Some(from.plus_ms(HOUR_MS)),
        };
        (created, 0, None)
    });
}

fn searches(store: &DiskStore, devices: u64) {
    let seq = |n: u64| n % devices + 1;
    let product = |n: u64| Filter::Product(ProductId::parse(&format!("meter-{}", n % 20)).unwrap());
    let tag = |n: u64, all: bool| Filter::Tag {
        key: TagText::Is("district".to_owned()),
        value: match all {
            true => TagText::Any,
            false => TagText::Is(format!("v{}", n % 97)),
        },
    };
    let prefix = |n: u64, len: usize| Filter::NodePrefix(node(seq(n))[..len].to_owned());
    let names = |n: u64, len: usize| Filter::NamePrefix(name(seq(n))[..len].to_owned());
    let not = |filter| Filter::Not(Box::new(filter));
    let presence = Filter::Presence;
    type Question<'a> = (&'a str, Box<dyn Fn(u64) -> Filter + 'a>);
    let questions: Vec<Question<'_>> = vec![
        (
            "a node id",
            Box::new(|n| Filter::Node(NodeId::parse(&node(seq(n))).unwrap())),
        ),
        ("node id prefix of 3 (all)", Box::new(|n| prefix(n, 3))),
        ("node id prefix of 5 (a tenth)", Box::new(|n| prefix(n, 5))),
        ("node id prefix of 9", Box::new(|n| prefix(n, 9))),
        ("a name", Box::new(|n| Filter::Name(name(seq(n))))),
        ("name prefix of 1", Box::new(|n| names(n, 1))),
        ("name prefix of 14", Box::new(|n| names(n, 14))),
        ("a product", Box::new(product)),
        (
            "behind a gateway",
            Box::new(|n| Filter::Gateway(device_id(seq(n) / 100 * 100 + 1))),
        ),
        (
            "below a gateway",
            Box::new(|n| Filter::Below(device_id(seq(n) / 100 * 100 + 1))),
        ),
        ("online", Box::new(|_| presence(Presence::Online))),
        ("offline", Box::new(|_| presence(Presence::Offline))),
        ("frozen", Box::new(|_| Filter::Frozen)),
        (
            "a firmware version",
            Box::new(|n| Filter::FirmwareVersion(format!("1.{}", n % 12))),
        ),
        ("a tag", Box::new(|n| tag(n, false))),
        ("a tag key", Box::new(|n| tag(n, true))),
        (
            "a tag's value, its key unknown",
            Box::new(|n| Filter::Tag {
                key: TagText::Any,
                value: TagText::Is(format!("v{}", n % 97)),
            }),
        ),
        (
            "a tag's value by its beginning",
            Box::new(|n| Filter::Tag {
                key: TagText::Is("serial".to_owned()),
                value: TagText::Begins(format!("v{}", n % 97)),
            }),
        ),
        ("a group", Box::new(|n| Filter::Group(n % 10))),
        (
            "not a product, and online",
            Box::new(|n| Filter::And(vec![not(product(n)), presence(Presence::Online)])),
        ),
        (
            "a product and a name prefix",
            Box::new(|n| Filter::And(vec![product(n), names(n, 1)])),
        ),
        (
            "a tag or a product or a prefix, not frozen",
            Box::new(|n| {
                let any = Filter::Or(vec![tag(n, false), product(n), prefix(n, 6)]);
                Filter::And(vec![any, not(Filter::Frozen)])
            }),
        ),
        (
            "neither offline nor a prefix nor a name",
            Box::new(|n| {
                let any = vec![presence(Presence::Offline), prefix(n, 5), names(n, 1)];
                not(Filter::Or(any))
            }),
        ),
    ];
    println!(
        "{:<44} {:>12} {:>12} {:>9}",
        "search for", "median", "longest", "fit"
    );
    for (what, question) in &questions {
        ask(store, what, &|n| (question(n), 0, None));
    }
}
