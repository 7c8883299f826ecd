//! Rules, actions, policies and the rest of forwarding.

use strait::store::forwarding::ForwardingRecord;
use strait::store::{Change, CommitError, Guard, Store};

use crate::store::Engine;
use crate::store::forwarding::*;
use crate::store::records::{commit, emit, write};

/// Each comes back, kind by kind and newest first, also after the store was opened anew; a replaced one is the
/// new one, a deleted one is gone. Ids of different kinds may be the same.
pub(crate) fn forwarding_records_come_and_go<E: Engine>(engine: &E) {
    let store = engine.open();
    let all = [
        rule("z", 9),
        rule("r", 1),
        action("z", 8, Some("z")),
        action("a", 2, None),
        backlog("z", 7),
        backlog("b", 4),
        flow("z", 6),
        flow("f", 5),
        queue("z", 14),
        queue("q", 13),
        access("z"),
        push_certificate("z", 12),
        push_certificate("c", 11),
    ];
    let shuffled = all.iter().rev().cloned().map(put_forwarding);
    write(&store, shuffled.collect());
    drop(store);
    let store = engine.open();
    assert_eq!(store.forwarding().unwrap(), all);

    let ForwardingRecord::Rule(mut renamed) = rule("z", 9) else {
        panic!("a rule is a rule");
    };
    (renamed.version, renamed.select) = (2, Some("x".repeat(9000)));
    let renamed = ForwardingRecord::Rule(renamed);
    let mut changes = vec![put_forwarding(renamed.clone())];
    changes.extend(
        all.iter()
            .skip(1)
            .map(|one| Change::DeleteForwarding(one.key())),
    );
    write(&store, changes);
    assert_eq!(store.forwarding().unwrap(), [renamed]);
    assert!(engine.parts(&store) > 0, "a long one is split");
    write(&store, vec![Change::DeleteForwarding(all[0].key())]);
    assert_eq!(store.forwarding().unwrap(), []);
    assert_eq!(engine.parts(&store), 0);
}

pub(crate) fn forwarding_guards_hold_or_conflict<E: Engine>(engine: &E) {
    let store = engine.open();
    let here = [
        rule("x", 1),
        action("x", 2, None),
        backlog("x", 3),
        flow("x", 4),
        queue("x", 5),
        access("x"),
        push_certificate("x", 6),
    ];
    write(&store, here.iter().cloned().map(put_forwarding).collect());
    drop(store);
    let store = engine.open();
    let none = [
        rule("y", 0),
        action("y", 0, None),
        backlog("y", 0),
        flow("y", 0),
        queue("y", 0),
        access("y"),
        push_certificate("y", 0),
    ];
    let cases = here
        .iter()
        .flat_map(|one| [(one, 1, true), (one, 0, false), (one, 2, false)]);
    let cases = cases.chain(
        none.iter()
            .flat_map(|one| [(one, 0, true), (one, 1, false)]),
    );
    for (record, version, holds) in cases {
        let guard = Guard::ForwardingVersion(record.key(), version);
        match commit(&store, vec![guard.clone()], vec![emit(1, "{}")]) {
            Ok(()) => assert!(holds, "{guard:?}"),
            Err(CommitError::Conflict(failed)) => {
                assert!(!holds, "{guard:?}");
                assert_eq!(failed, guard);
            }
            Err(e) => panic!("{guard:?}: {e}"),
        }
    }
}

/// Tokens and access codes can't be read from the disk, and open in no other row.
pub(crate) fn forwarding_lies_sealed<E: Engine>(engine: &E) {
    let store = engine.open();
    let records = [rule("r", 1), action("a", 2, None), access("k")];
    write(&store, records.into_iter().map(put_forwarding).collect());
    let rows = engine.rows(&store);
    let hidden = [TOKEN, CODE, "push.example.org", "Meters"];
    for (key, row) in &rows {
        for text in hidden {
            let piece = &text.as_bytes()[..6];
            let seen = row.windows(6).any(|bytes| bytes == piece);
            assert!(!seen, "{key:x?} shows {text}");
        }
    }
    let shown = format!("{:?}", store.forwarding().unwrap());
    assert!(!shown.contains(TOKEN) && !shown.contains(CODE), "{shown}");
}
