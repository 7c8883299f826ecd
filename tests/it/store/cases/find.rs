//! Searches: whatever happened to the fleet before, the index answers as looking at every device does.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use strait::base::ids::{AppId, DeviceId};
use strait::engine::presence::Presence;
use strait::store::find::{Filter, Find, FindOrder, TagText};
use strait::store::records::{DeviceRecord, StateRecord, TagRecord};
use strait::store::{Change, Store};

use crate::store::Engine;
use crate::store::records::*;

/// Devices that may be.
const IDS: u8 = 24;
const HOUR_MS: u64 = 3_600_000;
const NOW_MS: u64 = 1000 * HOUR_MS;

/// What happens to the fleet.
#[derive(Debug, Clone)]
enum Happening {
    Put(u8, Look),
    Delete(u8),
    State(u8, Signs),
    /// Whether the product is being deleted; `None`: it is gone.
    Product(u8, Option<bool>),
    Reopen,
}

/// What of a device is indexed, by small numbers.
#[derive(Debug, Clone)]
struct Look {
    /// Deleted and created anew, or only replaced, or changed.
    anew: bool,
    step: u64,
    node: u8,
    product: u8,
    app: u8,
    name: Option<&'static str>,
    gateway: Option<u8>,
    frozen: bool,
    created_ms: u64,
    tags: Vec<(u8, u8)>,
    groups: Vec<u64>,
}

#[derive(Debug, Clone)]
struct Signs {
    heard_ms: Option<u64>,
    versions: [Option<u8>; 2],
}

/// The last one no device has.
const TAG_KEYS: [&str; 4] = ["k", "kk", "水", "kkk"];
const TAG_VALUES: [&str; 4] = ["v", "", "vv", "w"];
const NAMES: [&str; 7] = ["", "a", "ab", "ab\0", "ab\0c", "b", "Zähler"];

fn looks() -> impl Strategy<Value = Look> {
    let indexed = (
        any::<bool>(),
        prop_oneof![Just(1_u64), Just(700), Just(70_000)],
        0..3_u8,
        0..3_u8,
        0..3_u8,
        prop::option::weighted(0.8, prop::sample::select(&NAMES[..])),
        prop::option::of(0..IDS),
    );
    let listed = (
        any::<bool>(),
        0..20_u64,
        prop::collection::vec((0..3_u8, 0..3_u8), 0..3),
        prop::collection::vec(0..3_u64, 0..3),
    );
    (indexed, listed).prop_map(|(indexed, (frozen, created, tags, groups))| {
        let (anew, step, node, product, app, name, gateway) = indexed;
        let created_ms = created * 300;
        Look {
            anew,
            step,
            node,
            product,
            app,
            name,
            gateway,
            frozen,
            created_ms,
            tags,
            groups,
        }
    })
}

fn signs() -> impl Strategy<Value = Signs> {
    let edges = [
        0,
        25 * HOUR_MS - 1,
        25 * HOUR_MS,
        25 * HOUR_MS + 1,
        49 * HOUR_MS,
        49 * HOUR_MS + 1,
    ];
    let silent = prop_oneof![prop::sample::select(edges.to_vec()), 0..60 * HOUR_MS];
    let version = || prop::option::of(0..3_u8);
    (prop::option::of(silent), version(), version()).prop_map(|(silent, fw, sw)| Signs {
        heard_ms: silent.map(|silent| NOW_MS - silent),
        versions: [fw, sw],
    })
}

fn happenings() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => (0..IDS, looks()).prop_map(|(n, look)| Happening::Put(n, look)),
        2 => (0..IDS).prop_map(Happening::Delete),
        4 => (0..IDS, signs()).prop_map(|(n, signs)| Happening::State(n, signs)),
        1 => (0..3_u8, any::<Option<bool>>()).prop_map(|(n, to)| Happening::Product(n, to)),
        1 => Just(Happening::Reopen),
    ]
}

fn filters() -> impl Strategy<Value = Filter> {
    let gateway = || (0..IDS).prop_map(id_of);
    let at = || prop::option::of((0..7000_u64).prop_map(at));
    let presence = prop::sample::select(vec![
        Presence::Inactive,
        Presence::Online,
        Presence::Abnormal,
        Presence::Offline,
    ]);
    let name = || prop::sample::select(&NAMES[..]).prop_map(str::to_owned);
    let leaf = prop_oneof![
        Just(Filter::All),
        (0..4_u8).prop_map(|n| Filter::App(app_of(n))),
        (0..4_u8).prop_map(|n| Filter::Product(product_id(&format!("p{n}")))),
        gateway().prop_map(Filter::Device),
        (0..3_u8, 0..IDS).prop_map(|(k, n)| Filter::Node(node_id(&node_of(k, n)))),
        prop::sample::select(vec!["", "a", "ab", "ab1", "x", "ab-1"])
            .prop_map(|prefix| Filter::NodePrefix(prefix.to_owned())),
        name().prop_map(Filter::Name),
        name().prop_map(Filter::NamePrefix),
        gateway().prop_map(Filter::Gateway),
        gateway().prop_map(Filter::Below),
        Just(Filter::IsGateway),
        Just(Filter::Frozen),
        presence.prop_map(Filter::Presence),
        (0..4_u8).prop_map(|n| Filter::FirmwareVersion(format!("v{n}"))),
        (0..4_u8).prop_map(|n| Filter::SoftwareVersion(format!("v{n}"))),
        (tag_texts(TAG_KEYS), tag_texts(TAG_VALUES))
            .prop_map(|(key, value)| Filter::Tag { key, value }),
        (0..4_u64).prop_map(Filter::Group),
        (at(), at()).prop_map(|(from, to)| Filter::Created { from, to }),
        (0..1_000_000_u64).prop_map(Filter::SeqBelow),
        (0..1_000_000_u64).prop_map(Filter::SeqAbove),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|f| Filter::Not(Box::new(f))),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Filter::And),
            prop::collection::vec(inner, 0..4).prop_map(Filter::Or),
        ]
    })
}

fn tag_texts(texts: [&'static str; 4]) -> impl Strategy<Value = TagText> {
    let text = || prop::sample::select(texts.to_vec()).prop_map(str::to_owned);
    let beginnings = vec!["", "k", "kk", "x", "v", "vv", "水"];
    prop_oneof![
        Just(TagText::Any),
        text().prop_map(TagText::Is),
        text().prop_map(TagText::Begins),
        prop::sample::select(beginnings).prop_map(|t| TagText::Begins(t.to_owned())),
    ]
}

fn id_of(n: u8) -> DeviceId {
    device_id(&format!("d{n}"))
}

fn app_of(n: u8) -> AppId {
    AppId::parse(&format!("app{n}")).unwrap()
}

fn node_of(kind: u8, n: u8) -> String {
    format!("{}{n}", ["a", "ab", "ab-"][usize::from(kind)])
}

/// What the next change needs to know.
#[derive(Default)]
struct Fleet {
    devices: HashMap<u8, DeviceRecord>,
    states: HashMap<u8, u64>,
    seq: u64,
}

impl Fleet {
    fn changes(&mut self, happening: &Happening) -> Vec<Change> {
        match happening {
            Happening::Put(n, look) => {
                let old = self.devices.get(n);
                let (seq, version) = match old.filter(|_| !look.anew) {
                    Some(old) => (old.seq, old.version + 1),
                    None => {
                        self.seq += look.step;
                        (self.seq, 1)
                    }
                };
                let tag = |(key, value): &(u8, u8)| TagRecord {
                    tag_key: TAG_KEYS[usize::from(*key)].to_owned(),
                    tag_value: TAG_VALUES[usize::from(*value)].to_owned(),
                };
                let record = DeviceRecord {
                    seq,
                    version,
                    node_id: node_id(&node_of(look.node, *n)),
                    product_id: product_id(&format!("p{}", look.product)),
                    app_id: app_of(look.app),
                    device_name: look.name.map(str::to_owned),
                    gateway_id: id_of(look.gateway.unwrap_or(*n)),
                    frozen: look.frozen,
                    created_at: at(look.created_ms),
                    tags: look.tags.iter().map(tag).collect(),
                    groups: look.groups.clone(),
                    ..device(&format!("d{n}"), 1, "p0")
                };
                self.devices.insert(*n, record.clone());
                vec![put_device(record)]
            }
            Happening::Delete(n) => {
                self.devices.remove(n);
                self.states.remove(n);
                vec![Change::DeleteDevice(id_of(*n))]
            }
            Happening::State(n, signs) => {
                let version = self.states.entry(*n).or_default();
                *version += 1;
                let name = |n: Option<u8>| n.map(|n| format!("v{n}"));
                let record = StateRecord {
                    version: *version,
                    last_seen_at: signs.heard_ms.map(at),
                    fw_version: name(signs.versions[0]),
                    sw_version: name(signs.versions[1]),
                    ..StateRecord::default()
                };
                vec![Change::PutState(id_of(*n), Box::new(record))]
            }
            Happening::Product(n, None) => {
                vec![Change::DeleteProduct(product_id(&format!("p{n}")))]
            }
            Happening::Product(n, Some(deleting)) => {
                let mut record = product(&format!("p{n}"), 1);
                record.deleting = *deleting;
                vec![put_product(record)]
            }
            Happening::Reopen => Vec::new(),
        }
    }
}

/// Everything that can be found, oldest first, with its states.
struct Looked {
    devices: BTreeMap<u64, (DeviceRecord, Option<StateRecord>)>,
    hidden: Vec<strait::base::ids::ProductId>,
}

impl Looked {
    fn at(store: &impl Store) -> Self {
        let mut devices = BTreeMap::new();
        store
            .each_device(&mut |device, state| {
                devices.insert(device.seq, (device, state));
                ControlFlow::Continue(())
            })
            .unwrap();
        let products = store.products().unwrap();
        let hidden = products.into_iter().filter(|p| p.deleting);
        Self {
            devices,
            hidden: hidden.map(|p| p.product_id).collect(),
        }
    }

    /// All that fit, oldest first.
    fn fitting(&self, filter: &Filter) -> Vec<&DeviceRecord> {
        let gateways: HashMap<&DeviceId, &DeviceId> = self
            .devices
            .values()
            .map(|(device, _)| (&device.device_id, &device.gateway_id))
            .collect();
        let gateway_of = |id: &DeviceId| gateways.get(id).map(|id| (*id).clone());
        let all = self.devices.values();
        all.filter(|(device, state)| {
            !self.hidden.contains(&device.product_id)
                && filter.fits(device, state.as_ref(), at(NOW_MS), &gateway_of)
        })
        .map(|(device, _)| device)
        .collect()
    }
}

#[derive(Debug, Clone)]
struct Question {
    filter: Filter,
    newest_first: bool,
    offset: usize,
    limit: usize,
    /// The seq of a device, or near it.
    beyond: Option<(prop::sample::Index, u64)>,
}

fn questions() -> impl Strategy<Value = Question> {
    let beyond = prop::option::of((any::<prop::sample::Index>(), 0..3_u64));
    (filters(), any::<bool>(), 0..5_usize, 0..9_usize, beyond).prop_map(
        |(filter, newest_first, offset, limit, beyond)| Question {
            filter,
            newest_first,
            offset,
            limit,
            beyond,
        },
    )
}

fn ask(store: &impl Store, looked: &Looked, question: &Question) -> Result<(), TestCaseError> {
    let mut want = looked.fitting(&question.filter);
    let count = u64::try_from(want.len()).unwrap();
    let seqs: Vec<u64> = looked.devices.keys().copied().collect();
    let beyond = question.beyond.filter(|_| !seqs.is_empty());
    let beyond = beyond.map(|(index, near)| (index.get(&seqs) + near).saturating_sub(1));
    if question.newest_first {
        want.reverse();
        want.retain(|device| beyond.is_none_or(|edge| device.seq < edge));
    } else {
        want.retain(|device| beyond.is_none_or(|edge| device.seq > edge));
    }
    let page = want.into_iter().skip(question.offset).take(question.limit);
    let found = store
        .find(&Find {
            filter: &question.filter,
            now: at(NOW_MS),
            order: match question.newest_first {
                true => FindOrder::NewestFirst,
                false => FindOrder::OldestFirst,
            },
            offset: question.offset,
            limit: question.limit,
            beyond,
        })
        .unwrap();
    prop_assert_eq!(found.count, count, "{:?}", question);
    let found: Vec<&DeviceRecord> = found.devices.iter().collect();
    prop_assert_eq!(found, page.collect::<Vec<_>>(), "{:?}", question);
    Ok(())
}

/// Whatever happens to a fleet, in commits of a few changes each: the answers are those of looking at every
/// device. Then again after the store was opened anew.
pub(crate) fn searches_answer_as_looking_does<E: Engine>(engine: &E) {
    drop(engine.open());
    let mut runner = TestRunner::new(Config::with_cases(24));
    let commits = prop::collection::vec(prop::collection::vec(happenings(), 1..5), 1..25);
    let asked = prop::collection::vec(questions(), 40);
    runner
        .run(&(commits, asked), |(commits, asked)| {
            let engine = E::default();
            let mut store = engine.open();
            let mut fleet = Fleet::default();
            let mut asked = asked.iter().cycle();
            for commit in &commits {
                let changes = commit.iter().flat_map(|one| fleet.changes(one)).collect();
                write(&store, changes);
                if commit.iter().any(|one| matches!(one, Happening::Reopen)) {
                    drop(store);
                    store = engine.open();
                }
                let looked = Looked::at(&store);
                for question in asked.by_ref().take(8) {
                    ask(&store, &looked, question)?;
                }
            }
            let looked = Looked::at(&store);
            for question in asked.take(40) {
                ask(&store, &looked, question)?;
            }
            Ok(())
        })
        .unwrap();
}

/// Enough devices for ordered segments to be cut and joined: prefixes are right all the same.
pub(crate) fn prefixes_of_many<E: Engine>(engine: &E) {
    let mut store = engine.open();
    let record = |n: u64, name: &str| DeviceRecord {
        node_id: node_id(&format!("n{:05}", n * 7919 % 20_011)),
        device_name: Some(name.to_owned()),
        ..device(&format!("d{n}"), n, "p")
    };
    let check = |store: &E::Store| {
        let looked = Looked::at(store);
        for prefix in [
            "", "n", "n0", "n00", "n01", "n012", "n0199", "n02", "n1", "n19", "m",
        ] {
            for filter in [
                Filter::NodePrefix(prefix.to_owned()),
                Filter::NamePrefix(prefix.replace('n', "Meter ")),
                Filter::Not(Box::new(Filter::NodePrefix(prefix.to_owned()))),
            ] {
                let question = Question {
                    filter,
                    newest_first: true,
                    offset: 3,
                    limit: 5,
                    beyond: None,
                };
                ask(store, &looked, &question).unwrap();
            }
        }
    };
    for from in (1..3000).step_by(100) {
        let put = |n: u64| put_device(record(n, &format!("Meter {:04}", n * 31 % 3001)));
        write(&store, (from..from + 100).map(put).collect());
    }
    check(&store);
    let rename = |n: u64| put_device(record(n, "n0"));
    write(&store, (500..1500).map(rename).collect());
    check(&store);
    let delete = |n: u64| Change::DeleteDevice(device_id(&format!("d{n}")));
    write(&store, (1..2800).map(delete).collect());
    check(&store);
    drop(store);
    store = engine.open();
    check(&store);
}
