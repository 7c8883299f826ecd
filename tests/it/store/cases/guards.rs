//! Guards: each one, conflicts, and what commits of one batch see of each other.

use strait::store::{Change, Commit, CommitError, Completion, Guard, Store};

use crate::store::Engine;
use crate::store::records::*;

/// Every guard where it holds and where it does not.
pub(crate) fn guards_hold_or_conflict<E: Engine>(engine: &E) {
    let store = engine.open();
    write(
        &store,
        vec![
            put_product(product("used", 1)),
            put_product(product("unused", 2)),
            put_device(device("known", 7, "used")),
            put_state("known", state(3)),
            Change::PutCodec(product_id("used"), Box::new(codec("tag-1", 10))),
        ],
    );
    let (known, other) = (device_id("known"), device_id("other"));
    let (used, unused, none) = (product_id("used"), product_id("unused"), product_id("none"));
    let tag = |text: &str| Some(text.to_owned());
    let table = [
        (Guard::DeviceAbsent(other.clone()), true),
        (Guard::DeviceAbsent(known.clone()), false),
        (Guard::DeviceVersion(known.clone(), 1), true),
        (Guard::DeviceVersion(known.clone(), 2), false),
        (Guard::DeviceVersion(other.clone(), 1), false),
        (Guard::DeviceSeq(known.clone(), 7), true),
        (Guard::DeviceSeq(known.clone(), 8), false),
        (Guard::DeviceSeq(other.clone(), 7), false),
        (Guard::NodeFree(node_id("node-other")), true),
        (Guard::NodeFree(node_id("node-known")), false),
        (Guard::StateVersion(known.clone(), 3), true),
        (Guard::StateVersion(known.clone(), 2), false),
        (Guard::StateVersion(known, 0), false),
        (Guard::StateVersion(other.clone(), 0), true),
        (Guard::StateVersion(other, 1), false),
        (Guard::ProductAbsent(none.clone()), true),
        (Guard::ProductAbsent(used.clone()), false),
        (Guard::ProductExists(used.clone()), true),
        (Guard::ProductExists(none.clone()), false),
        (Guard::ProductVersion(used.clone(), 1), true),
        (Guard::ProductVersion(used.clone(), 2), false),
        (Guard::ProductVersion(none.clone(), 1), false),
        (Guard::ProductUnused(unused.clone()), true),
        (Guard::ProductUnused(none), true),
        (Guard::ProductUnused(used.clone()), false),
        (Guard::CodecTag(used.clone(), tag("tag-1")), true),
        (Guard::CodecTag(used.clone(), tag("tag-2")), false),
        (Guard::CodecTag(used, None), false),
        (Guard::CodecTag(unused.clone(), None), true),
        (Guard::CodecTag(unused, tag("tag-1")), false),
    ];
    drop(store);
    let store = engine.open();
    // Once with what the committer reads, once with what it remembers.
    for _ in 0..2 {
        for (guard, holds) in &table {
            match commit(&store, vec![guard.clone()], Vec::new()) {
                Ok(()) => assert!(holds, "{guard:?} held"),
                Err(CommitError::Conflict(named)) => {
                    assert!(!holds, "{guard:?} did not hold");
                    assert_eq!(&named, guard);
                }
                Err(e) => panic!("{guard:?}: {e}"),
            }
        }
    }
}

pub(crate) fn conflict_changes_nothing<E: Engine>(engine: &E) {
    let store = engine.open();
    write(
        &store,
        vec![
            put_device(device("d", 1, "p")),
            put_state("d", state(1)),
            put_product(product("p", 2)),
        ],
    );
    let id = device_id("d");
    let result = commit(
        &store,
        vec![
            Guard::DeviceSeq(id.clone(), 1),
            Guard::StateVersion(id.clone(), 9),
        ],
        vec![
            put_device(device("e", 3, "p")),
            put_state("d", state(2)),
            append(1, 10, "[]"),
            keep_raw(1, 10, b"x"),
            emit(10, "{}"),
            Change::DeleteProduct(product_id("p")),
        ],
    );
    assert!(matches!(
        result,
        Err(CommitError::Conflict(Guard::StateVersion(_, 9)))
    ));
    assert_eq!(store.state(&id).unwrap(), Some(state(1)));
    assert_eq!(store.device(&device_id("e")).unwrap(), None);
    assert_eq!(store.device_by_node(&node_id("node-e")).unwrap(), None);
    assert!(store.history(&all_history(1)).unwrap().is_empty());
    assert!(store.raw_uplinks(1, 10).unwrap().is_empty());
    assert_eq!(store.last_event(), 0);
    assert!(store.events(0, 10).unwrap().is_empty());
    assert!(store.product(&product_id("p")).unwrap().is_some());
}

/// Commits are queued without waiting, so they share batches: each sees those before it.
pub(crate) fn commits_of_one_batch_see_each_other<E: Engine>(engine: &E) {
    let store = engine.open();
    write(&store, vec![put_device(device("d", 1, "p"))]);
    let id = device_id("d");
    let queue = |guards, changes| store.commit(Commit { guards, changes });
    let step = |from: u64| {
        queue(
            vec![Guard::StateVersion(id.clone(), from)],
            vec![put_state("d", state(from + 1)), emit(from, "{}")],
        )
    };
    // Every version twice: the first wins.
    let waiting: Vec<[Completion; 2]> = (0..300).map(|n| [step(n), step(n)]).collect();
    for (n, [first, second]) in waiting.into_iter().enumerate() {
        first.wait().unwrap_or_else(|e| panic!("{n}: {e}"));
        assert!(
            matches!(second.wait(), Err(CommitError::Conflict(_))),
            "{n}"
        );
    }
    assert_eq!(store.state(&id).unwrap().unwrap().version, 300);
    let events = store.events(0, 1000).unwrap();
    let ats = events.iter().map(|(_, event)| event.at.as_ms());
    assert!(ats.eq(0..300));

    // Creation, use and deletion queued together.
    let late = device_id("late");
    let fresh = product_id("fresh");
    let node = node_id("node-late");
    let results = [
        queue(
            vec![
                Guard::DeviceAbsent(late.clone()),
                Guard::NodeFree(node.clone()),
            ],
            vec![put_device(device("late", 2, "fresh"))],
        ),
        queue(vec![Guard::DeviceAbsent(late.clone())], vec![emit(1, "a")]),
        queue(vec![Guard::NodeFree(node)], vec![emit(1, "b")]),
        queue(
            vec![Guard::ProductUnused(fresh.clone())],
            vec![emit(1, "c")],
        ),
        queue(
            vec![Guard::DeviceSeq(late.clone(), 2)],
            vec![Change::DeleteDevice(late.clone())],
        ),
        queue(vec![Guard::DeviceSeq(late.clone(), 2)], vec![emit(1, "d")]),
        queue(vec![Guard::ProductUnused(fresh)], vec![]),
        queue(vec![Guard::DeviceAbsent(late)], vec![]),
    ];
    let fine = results.map(|done| done.wait().is_ok());
    assert_eq!(fine, [true, false, false, false, true, false, true, true]);
    assert_eq!(store.last_event(), 300);
}
