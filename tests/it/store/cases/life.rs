//! Expiry, numbers that never repeat, closing and opening again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use strait::store::{Change, Commit, CommitError, Expiry, Health, Store, StoreError};

use crate::store::Engine;
use crate::store::records::*;

pub(crate) fn expiry_takes_the_old_and_nothing_else<E: Engine>(engine: &E) {
    let store = engine.open();
    for seq in 1..=20 {
        let rows = (1..=10).flat_map(|ms| {
            let event = emit(seq * 100 + ms, "{}");
            [append(seq, ms, "[]"), keep_raw(seq, ms, b"r"), event]
        });
        write(&store, rows.collect());
    }
    let none = Expiry {
        history_before: at(0),
        raw_before: at(0),
        events_before: at(0),
        audit_before: at(0),
        commands_before: at(0),
    };
    assert_eq!(store.expire(&none, 100).unwrap(), 0);
    let old_history = Expiry {
        history_before: at(4),
        ..none
    };
    assert_eq!(store.expire(&old_history, 7).unwrap(), 7);
    let expiry = Expiry {
        history_before: at(4),
        raw_before: at(9),
        events_before: at(1505),
        audit_before: at(1505),
        commands_before: at(1505),
    };
    let mut total = 7;
    // A call may end at a bound of its own, but never for good.
    for _ in 0..100 {
        let rows = store.expire(&expiry, 11).unwrap();
        assert!(rows <= 11);
        total += rows;
    }
    assert_eq!(total, 20 * 3 + 20 * 8 + 144);
    for seq in 1..=20 {
        assert_eq!(store.history(&all_history(seq)).unwrap().len(), 7);
        assert_eq!(store.raw_uplinks(seq, 100).unwrap().len(), 2);
    }
    assert_eq!(store.events(0, 1).unwrap()[0].1.at, at(1505));
    assert_eq!(store.last_event(), 200);
    // All events are old, yet the next one goes on counting, also after reopening.
    let all = Expiry {
        events_before: at(u64::MAX),
        ..none
    };
    while store.expire(&all, 11).unwrap() > 0 {}
    drop(store);
    let store = engine.open();
    assert_eq!(store.last_event(), 200);
    write(&store, vec![emit(1, "next")]);
    assert_eq!(store.events(200, 10).unwrap()[0].0, 201);
}

pub(crate) fn sequence_numbers_never_repeat<E: Engine>(engine: &E) {
    let mut highest = 0;
    for _ in 0..4 {
        let store = Arc::new(engine.open());
        let own: Vec<u64> = (0..3000).map(|_| store.allocate_seq().unwrap()).collect();
        assert!(own.is_sorted_by(|a, b| a < b));
        assert!(own[0] > highest, "{} was given before", own[0]);
        let taken = Mutex::new(own);
        in_parallel(&store, 4, |store, _| {
            let more: Vec<u64> = (0..500).map(|_| store.allocate_seq().unwrap()).collect();
            taken.lock().unwrap().extend(more);
        });
        let taken: BTreeSet<u64> = taken.into_inner().unwrap().into_iter().collect();
        assert_eq!(taken.len(), 5000);
        highest = *taken.last().unwrap();
    }
    assert!(highest < 100_000, "{highest}: numbers are wasted");
}

pub(crate) fn everything_survives_reopening<E: Engine>(engine: &E) {
    let store = engine.open();
    let long = long_state(4, 20_000, 'q');
    write(
        &store,
        vec![
            put_product(product("p", 1)),
            Change::PutCodec(product_id("p"), Box::new(codec("e", 30_000))),
            Change::PutSettings(product_id("p"), Box::new(settings())),
            put_device(device("d", 2, "p")),
            put_state("d", long.clone()),
            append(2, 10, "before"),
            keep_raw(2, 10, b"raw"),
            emit(10, "event"),
        ],
    );
    // Queued when the store closes: still committed.
    let last = store.commit(Commit {
        guards: Vec::new(),
        changes: vec![append(2, 10, "last")],
    });
    drop(store);
    last.wait().unwrap();

    let store = engine.open();
    write(&store, vec![append(2, 10, "after")]);
    let (p, d) = (product_id("p"), device_id("d"));
    assert_eq!(store.product(&p).unwrap(), Some(product("p", 1)));
    assert_eq!(store.codec(&p).unwrap(), Some(codec("e", 30_000)));
    assert_eq!(store.settings(&p).unwrap(), Some(settings()));
    assert_eq!(store.device(&d).unwrap(), Some(device("d", 2, "p")));
    assert_eq!(store.state(&d).unwrap(), Some(long));
    assert_eq!(store.raw_uplinks(2, 5).unwrap().len(), 1);
    assert_eq!(store.events(0, 5).unwrap(), [(1, event(10, "event"))]);
    // Rows of one millisecond keep their order over restarts.
    let rows = store.history(&all_history(2)).unwrap();
    let texts: Vec<&str> = rows.iter().map(|r| r.record.services.as_str()).collect();
    assert_eq!(texts, ["after", "last", "before"]);
}

pub(crate) fn closed_store_refuses<E: Engine>(engine: &E) {
    let store = engine.open();
    write(&store, vec![put_device(device("d", 1, "p"))]);
    engine.close(&store);
    let refused = commit(&store, vec![], vec![emit(1, "{}")]);
    assert!(matches!(
        refused,
        Err(CommitError::Store(StoreError::Closed))
    ));
    assert!(matches!(store.health(), Health::Unavailable(_)));
    engine.close(&store);
}
