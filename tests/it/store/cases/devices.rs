//! Devices with their indexes, states and pages; products with codec and settings.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use strait::base::ids::ProductId;
use strait::base::limits::ROW_MAX;
use strait::store::{Change, CommitError, Guard, Health, Page, Store};

use crate::store::Engine;
use crate::store::records::*;

pub(crate) fn devices_and_their_indexes<E: Engine>(engine: &E) {
    let store = engine.open();
    let record = device("d", 5, "p");
    write(
        &store,
        vec![put_device(record.clone()), put_state("d", state(1))],
    );
    let id = device_id("d");
    assert_eq!(store.device(&id).unwrap(), Some(record));
    assert_eq!(
        store.device_by_node(&node_id("node-d")).unwrap(),
        Some(id.clone())
    );
    assert_eq!(store.state(&id).unwrap(), Some(state(1)));
    assert_eq!(store.device(&device_id("node-d")).unwrap(), None);
    assert_eq!(store.device_by_node(&node_id("d")).unwrap(), None);
    assert_eq!(store.state(&device_id("x")).unwrap(), None);
    assert_eq!(store.health(), Health::Ready);
}

/// A device that changes node id, product and even seq is found by the new ones alone.
pub(crate) fn moved_device_leaves_no_index_behind<E: Engine>(engine: &E) {
    let store = engine.open();
    write(&store, vec![put_device(device("d", 5, "old"))]);
    let mut moved = device("d", 6, "new");
    moved.version = 2;
    moved.node_id = node_id("elsewhere");
    write(&store, vec![put_device(moved.clone())]);
    let owner = |node: &str| store.device_by_node(&node_id(node)).unwrap();
    assert_eq!(owner("node-d"), None);
    assert_eq!(owner("elsewhere"), Some(device_id("d")));
    assert_eq!(seqs(&store, Some("old"), None, 10), [0; 0]);
    assert_eq!(seqs(&store, Some("new"), None, 10), [6]);
    assert_eq!(seqs(&store, None, None, 10), [6]);
    let unused = Guard::ProductUnused(product_id("old"));
    commit(&store, vec![unused], vec![]).unwrap();

    // Two devices swap their node ids in one step.
    write(&store, vec![put_device(device("e", 7, "new"))]);
    let mut other = device("e", 7, "new");
    other.node_id = node_id("elsewhere");
    moved.node_id = node_id("node-e");
    write(&store, vec![put_device(other), put_device(moved)]);
    assert_eq!(owner("elsewhere"), Some(device_id("e")));
    assert_eq!(owner("node-e"), Some(device_id("d")));
}

pub(crate) fn deleted_device_is_gone<E: Engine>(engine: &E) {
    let store = engine.open();
    let id = device_id("d");
    write(
        &store,
        vec![
            put_device(device("d", 5, "p")),
            put_state("d", long_state(1, 3 * ROW_MAX, 'a')),
            append(5, 1, "[]"),
        ],
    );
    write(
        &store,
        vec![
            Change::DeleteDevice(id.clone()),
            Change::DeleteDevice(device_id("x")),
        ],
    );
    assert_eq!(store.device(&id).unwrap(), None);
    assert_eq!(store.state(&id).unwrap(), None);
    assert_eq!(store.device_by_node(&node_id("node-d")).unwrap(), None);
    assert_eq!(seqs(&store, None, None, 10), [0; 0]);
    assert_eq!(seqs(&store, Some("p"), None, 10), [0; 0]);
    assert_eq!(engine.parts(&store), 0);
    // The same id anew starts without the old state and history.
    write(&store, vec![put_device(device("d", 6, "p"))]);
    commit(&store, vec![Guard::StateVersion(id.clone(), 0)], vec![]).unwrap();
    assert_eq!(store.state(&id).unwrap(), None);
    assert!(store.history(&all_history(6)).unwrap().is_empty());
    let stale = commit(&store, vec![Guard::DeviceSeq(id, 5)], vec![]);
    assert!(matches!(stale, Err(CommitError::Conflict(_))));
}

pub(crate) fn pages_of_devices<E: Engine>(engine: &E) {
    let store = engine.open();
    for seq in 1..=30 {
        let product = if seq % 3 == 0 { "three" } else { "rest" };
        let record = device(&format!("d{seq}"), seq, product);
        write(&store, vec![put_device(record)]);
    }
    let three = Some("three");
    assert_eq!(seqs(&store, None, None, 4), [30, 29, 28, 27]);
    assert_eq!(seqs(&store, None, Some(27), 3), [26, 25, 24]);
    assert_eq!(seqs(&store, None, Some(3), 10), [2, 1]);
    assert_eq!(seqs(&store, None, Some(1), 10), [0; 0]);
    assert_eq!(seqs(&store, None, None, 0), [0; 0]);
    assert_eq!(seqs(&store, three, None, 3), [30, 27, 24]);
    assert_eq!(seqs(&store, three, Some(24), 3), [21, 18, 15]);
    assert_eq!(seqs(&store, three, Some(22), 2), [21, 18]);
    assert_eq!(seqs(&store, Some("thre"), None, 3), [0; 0]);
    assert_eq!(seqs(&store, None, None, 1000).len(), 30);
}

pub(crate) fn each_device_comes_once_with_its_state<E: Engine>(engine: &E) {
    let store = engine.open();
    let count = 2500_u64; // more than two chunks of reading
    for from in (1..=count).step_by(100) {
        // A state without a device belongs to nobody.
        let mut changes = vec![put_state(&format!("a{from}"), state(1))];
        for seq in from..(from + 100).min(count + 1) {
            let id = format!("d{}", seq * 7919 % 100_003);
            changes.push(put_device(device(&id, seq, "p")));
            if seq % 3 != 0 {
                changes.push(put_state(&id, state(seq)));
            }
        }
        write(&store, changes);
    }
    let mut seen = BTreeSet::new();
    store
        .each_device(&mut |device, state| {
            let version = (device.seq % 3 != 0).then_some(device.seq);
            assert_eq!(state.map(|s| s.version), version);
            assert!(seen.insert(device.seq), "twice: {}", device.seq);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(seen.into_iter().eq(1..=count));
    let mut visits = 0;
    store
        .each_device(&mut |_, _| {
            visits += 1;
            if visits == 5 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .unwrap();
    assert_eq!(visits, 5);
}

pub(crate) fn products_codecs_settings<E: Engine>(engine: &E) {
    let store = engine.open();
    let id = product_id("b");
    write(
        &store,
        vec![
            put_product(product("b", 1)),
            put_product(product("a", 3)),
            put_product(product("c", 2)),
            Change::PutCodec(id.clone(), Box::new(codec("e1", 200_000))),
            Change::PutSettings(id.clone(), Box::new(settings())),
        ],
    );
    let order: Vec<u64> = store.products().unwrap().iter().map(|p| p.seq).collect();
    assert_eq!(order, [3, 2, 1]);
    assert_eq!(store.product(&id).unwrap(), Some(product("b", 1)));
    assert_eq!(store.codec(&id).unwrap(), Some(codec("e1", 200_000)));
    assert_eq!(store.settings(&id).unwrap(), Some(settings()));
    assert_eq!(store.codec(&product_id("a")).unwrap(), None);
    write(&store, vec![Change::DeleteCodec(id.clone())]);
    assert_eq!(store.codec(&id).unwrap(), None);
    assert_eq!(engine.parts(&store), 0);
    assert_eq!(store.settings(&id).unwrap(), Some(settings()));
    let small = Change::PutCodec(id.clone(), Box::new(codec("e2", 5)));
    write(&store, vec![small]);
    write(&store, vec![Change::DeleteProduct(id.clone())]);
    assert_eq!(store.product(&id).unwrap(), None);
    assert_eq!(store.codec(&id).unwrap(), None);
    assert_eq!(store.settings(&id).unwrap(), None);
    assert_eq!(store.products().unwrap().len(), 2);
}

pub(crate) fn versions_of_codecs<E: Engine>(engine: &E) {
    let store = engine.open();
    let (a, longer) = (product_id("a"), product_id("a-"));
    let version = |id: &ProductId, seq, len| {
        Change::PutCodecVersion(id.clone(), seq, Box::new(codec(&format!("e{seq}"), len)))
    };
    write(
        &store,
        vec![
            put_product(product("a", 1)),
            put_product(product("a-", 2)),
            Change::PutCodec(a.clone(), Box::new(codec("e300", 20_000))),
            version(&a, 7, 20_000),
            version(&a, 300, 20_000),
            version(&longer, 8, 10),
        ],
    );
    let kept = |id: &ProductId| {
        let found = store.codec_versions(id).unwrap().into_iter();
        found
            .map(|(seq, record)| (seq, record.etag, record.source.len()))
            .collect::<Vec<_>>()
    };
    let named = |seq: u64, len| (seq, format!("e{seq}"), len);
    assert_eq!(kept(&a), [named(300, 20_000), named(7, 20_000)]);
    write(&store, vec![Change::DeleteCodecVersion(a.clone(), 7)]);
    // The running one is a row of its own.
    write(&store, vec![Change::DeleteCodec(a.clone())]);
    assert_eq!(kept(&a), [named(300, 20_000)]);
    // Also those that the same batch has written.
    write(
        &store,
        vec![version(&a, 301, 20_000), Change::DeleteProduct(a.clone())],
    );
    assert_eq!(kept(&a), []);
    assert_eq!(engine.parts(&store), 0);
    drop(store);
    let store = engine.open();
    assert_eq!(store.codec_versions(&longer).unwrap().len(), 1);
}

fn seqs(store: &impl Store, product: Option<&str>, before: Option<u64>, limit: usize) -> Vec<u64> {
    let product = product.map(product_id);
    let page = Page {
        product_id: product.as_ref(),
        before,
        limit,
    };
    let devices = store.devices(&page).unwrap();
    devices.iter().map(|device| device.seq).collect()
}
