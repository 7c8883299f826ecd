//! History, raw uplinks, events, and values too long for one row.

use std::sync::Arc;

use strait::base::limits::ROW_MAX;
use strait::store::replays::{
    RawQuery, ReplayCounts, ReplayPlace, ReplayRecord, ReplayWanted, ReplaysRecord,
};
use strait::store::rows::ROW_WHOLE_MAX;
use strait::store::{Change, Expiry, Guard, HistoryKey, HistoryQuery, Store};

use crate::store::Engine;
use crate::store::records::*;

pub(crate) fn history_ranges_and_markers<E: Engine>(engine: &E) {
    let store = engine.open();
    // Ten rows at 100, 200, … for two devices, and three more of one millisecond.
    for ms in (100..=1000).step_by(100) {
        let one = format!("one-{ms}");
        write(&store, vec![append(1, ms, &one), append(2, ms, "two")]);
    }
    for n in 0..3 {
        write(&store, vec![append(1, 500, &format!("same-{n}"))]);
    }
    let texts = |query: HistoryQuery| -> Vec<String> {
        let rows = store.history(&query).unwrap();
        assert!(rows.is_sorted_by(|a, b| a.key > b.key));
        rows.into_iter().map(|row| row.record.services).collect()
    };
    let between = |from: Option<u64>, to: Option<u64>, limit| HistoryQuery {
        from: from.map(at),
        to: to.map(at),
        limit,
        ..all_history(1)
    };
    let none: [&str; 0] = [];
    assert_eq!(texts(all_history(1)).len(), 13);
    assert_eq!(texts(all_history(2)).len(), 10);
    assert_eq!(texts(all_history(3)), none);
    let newest = ["one-1000", "one-900", "one-800"];
    assert_eq!(texts(between(Some(800), None, 10)), newest);
    assert_eq!(texts(between(None, Some(300), 10)), ["one-200", "one-100"]);
    let same = ["same-2", "same-1", "same-0", "one-500"];
    assert_eq!(texts(between(Some(500), Some(501), 10)), same);
    assert_eq!(texts(between(Some(500), Some(500), 10)), none);
    assert_eq!(texts(between(Some(600), Some(500), 10)), none);
    assert_eq!(texts(between(None, None, 2)), ["one-1000", "one-900"]);

    // Pages of two join to the whole, also across rows of one millisecond.
    let mut joined = Vec::new();
    let mut before: Option<HistoryKey> = None;
    loop {
        let query = HistoryQuery {
            before,
            limit: 2,
            ..all_history(1)
        };
        let page = store.history(&query).unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.key);
        joined.extend(page.into_iter().map(|row| row.record.services));
    }
    assert_eq!(joined, texts(all_history(1)));
}

pub(crate) fn raw_uplinks_newest_first<E: Engine>(engine: &E) {
    let store = engine.open();
    for ms in 1..=5_u8 {
        let own = keep_raw(4, u64::from(ms), &[ms]);
        write(&store, vec![own, keep_raw(5, 9, b"other")]);
    }
    let payloads = |limit| -> Vec<u8> {
        let rows = store.raw_uplinks(4, limit).unwrap();
        rows.iter().map(|raw| raw.payload[0]).collect()
    };
    assert_eq!(payloads(10), [5, 4, 3, 2, 1]);
    assert_eq!(payloads(2), [5, 4]);
    assert_eq!(store.raw_uplinks(4, 1).unwrap()[0].kind, "truncated");
}

pub(crate) fn raw_uplinks_are_read_late<E: Engine>(engine: &E) {
    let store = engine.open();
    for ms in 1..=4_u8 {
        let at = u64::from(ms / 2);
        write(
            &store,
            vec![keep_raw(4, at, &[ms]), keep_raw(5, at, b"other")],
        );
    }
    let all = RawQuery {
        device_seq: 4,
        from: None,
        to: None,
        after: None,
        limit: 10,
    };
    let rows = |query: &RawQuery| store.raw_rows(query).unwrap();
    let payloads = |query: &RawQuery| -> Vec<u8> {
        rows(query)
            .iter()
            .map(|row| row.record.payload[0])
            .collect()
    };
    assert_eq!(payloads(&all), [1, 2, 3, 4], "oldest first");
    let first = rows(&all)[0].clone();
    let third = rows(&all)[2].clone();
    let cases = [
        (
            RawQuery {
                limit: 2,
                ..all.clone()
            },
            vec![1, 2],
        ),
        (
            RawQuery {
                from: Some(at(1)),
                to: Some(at(2)),
                ..all.clone()
            },
            vec![2, 3],
        ),
        (
            RawQuery {
                after: Some(first.key),
                ..all.clone()
            },
            vec![2, 3, 4],
        ),
        (
            RawQuery {
                from: Some(at(1)),
                after: Some(third.key),
                ..all.clone()
            },
            vec![4],
        ),
    ];
    for (query, want) in cases {
        assert_eq!(payloads(&query), want, "{query:?}");
    }
    let mut again = third;
    again.record.kind = "model".to_owned();
    let (device_seq, key) = (4, first.key);
    let row = Box::new(again.clone());
    let gone = Change::DeleteRaw(device_seq, key);
    write(&store, vec![Change::PutRaw(device_seq, row), gone]);
    assert_eq!(payloads(&all), [2, 3, 4]);
    assert_eq!(rows(&all)[1], again, "in its place");
    assert_eq!(store.raw_uplinks(5, 10).unwrap().len(), 4);
}

pub(crate) fn replays_go_with_their_product<E: Engine>(engine: &E) {
    let store = engine.open();
    let p = product_id("p");
    assert_eq!(store.replays(&p).unwrap(), None);
    let replays = ReplaysRecord {
        product_seq: 7,
        newest: vec![ReplayRecord {
            number: 1,
            wanted: ReplayWanted {
                device_ids: vec![device_id("d")],
                from: None,
                to: at(9),
                kinds: vec!["no_codec".to_owned()],
                dry_run: true,
            },
            started_at: at(9),
            ended: None,
            counts: ReplayCounts::default(),
            unread: Vec::new(),
            place: Some(ReplayPlace {
                device_seq: 3,
                after: Some((at(2), 5)),
            }),
        }],
    };
    let put = Change::PutReplays(p.clone(), Box::new(replays.clone()));
    write(&store, vec![put]);
    assert_eq!(store.replays(&p).unwrap(), Some(replays));
    write(&store, vec![Change::DeleteProduct(p.clone())]);
    assert_eq!(store.replays(&p).unwrap(), None);
}

pub(crate) fn events_in_order_without_gaps<E: Engine>(engine: &E) {
    let store = Arc::new(engine.open());
    assert_eq!(store.last_event(), 0);
    write(&*store, vec![emit(1, "a"), emit(2, "b")]);
    assert_eq!(store.last_event(), 2);
    in_parallel(&store, 8, |store, thread| {
        for n in 0..50 {
            let first = emit(n, &format!("{thread}-first"));
            write(store, vec![first, emit(n, "second")]);
        }
    });
    let events = store.events(2, 10_000).unwrap();
    assert!(events.iter().map(|(position, _)| *position).eq(3..=802));
    // What one commit emits stays together; what one thread commits stays in order.
    for pair in events.chunks(2) {
        assert!(pair[0].1.envelopes[0].json.ends_with("first"));
        assert_eq!(pair[1].1.envelopes[0].json, "second");
    }
    for thread in 0..8 {
        let first = format!("{thread}-first");
        let own = events
            .iter()
            .filter(|(_, event)| event.envelopes[0].json == first);
        assert!(own.map(|(_, event)| event.at.as_ms()).eq(0..50));
    }
    let some = store.events(5, 3).unwrap();
    assert!(some.iter().map(|(position, _)| *position).eq(6..=8));
    assert!(store.events(802, 3).unwrap().is_empty());
    assert!(store.events(u64::MAX, 3).unwrap().is_empty());
    assert_eq!(store.events(0, 1).unwrap()[0].1, event(1, "a"));
}

/// Values around and far over the limit come back whole, and leave nothing when they shrink.
pub(crate) fn long_values_are_split_and_cleaned_up<E: Engine>(engine: &E) {
    let store = engine.open();
    write(&store, vec![put_device(device("d", 1, "p"))]);
    let lengths = [
        1,
        ROW_MAX / 2,
        ROW_MAX - 300,
        ROW_MAX,
        ROW_MAX + 1,
        5 * ROW_MAX,
        300_000,
        2,
    ];
    for (n, len) in (1_u64..).zip(lengths) {
        let record = long_state(n, len, 'a');
        let text = "s".repeat(len);
        write(
            &store,
            vec![
                put_state("d", record.clone()),
                append(1, n, &text),
                keep_raw(1, n, text.as_bytes()),
                emit(n, &text),
            ],
        );
        assert_eq!(store.state(&device_id("d")).unwrap(), Some(record), "{len}");
        let newest = store.history(&all_history(1)).unwrap().remove(0).record;
        assert_eq!(newest.services, text);
        let raw = store.raw_uplinks(1, 1).unwrap().remove(0);
        assert_eq!(raw.payload, text.as_bytes());
        let last = store.events(n - 1, 1).unwrap().remove(0).1;
        assert_eq!(last, event(n, &text));
        // The version inside a split row is found, too.
        let guard = Guard::StateVersion(device_id("d"), n);
        commit(&store, vec![guard], vec![]).unwrap();
    }
    drop(store);
    let store = engine.open();
    let guard = Guard::StateVersion(device_id("d"), 8);
    let delete = Change::DeleteDevice(device_id("d"));
    commit(&store, vec![guard], vec![delete]).unwrap();
    let expiry = Expiry {
        history_before: at(100),
        raw_before: at(100),
        events_before: at(100),
        audit_before: at(100),
        commands_before: at(100),
    };
    while store.expire(&expiry, 100).unwrap() > 0 {}
    assert_eq!(engine.parts(&store), 0, "parts are left behind");
}

/// Pages full of the longest rows: the engine must keep them in its log.
pub(crate) fn many_rows_of_the_largest_size<E: Engine>(engine: &E) {
    let store = engine.open();
    for round in 1..=4 {
        for from in (0..120).step_by(20) {
            let changes = (from..from + 20).map(|n| {
                let len = match n % 3 {
                    0 => ROW_WHOLE_MAX - 300,
                    1 => ROW_MAX - 400,
                    _ => 60_000,
                };
                put_state(&format!("d{n}"), long_state(round, len, 'z'))
            });
            write(&store, changes.collect());
        }
    }
    // One page after the other, filled with the longest rows that are not split.
    for n in 0..400 {
        let record = long_state(1, ROW_WHOLE_MAX - 300, 'y');
        write(&store, vec![put_state(&format!("e{n}"), record)]);
    }
    let last = store.state(&device_id("d7")).unwrap().unwrap();
    assert_eq!(last.version, 4);
}

/// A reader never sees half of one value and half of another.
pub(crate) fn replaced_values_are_never_read_torn<E: Engine>(engine: &E) {
    let store = Arc::new(engine.open());
    write(&*store, vec![put_state("d", long_state(1, 50_000, 'a'))]);
    in_parallel(&store, 4, |store, thread| {
        for n in 0..60_u64 {
            if thread == 0 {
                let letter = if n % 2 == 0 { 'a' } else { 'b' };
                let len = 20_000 + usize::try_from(n).unwrap() * 500;
                write(store, vec![put_state("d", long_state(n, len, letter))]);
            } else {
                let record = store.state(&device_id("d")).unwrap().unwrap();
                let text = record.shadow[0].reported["text"].as_str().unwrap();
                let first = text.chars().next().unwrap();
                assert!(text.chars().all(|c| c == first), "torn");
            }
        }
    });
}
