//! DTLS sessions, and what lies sealed.

use std::ops::ControlFlow;

use strait::base::peer::DeviceSeq;
use strait::base::secret::Secret;
use strait::store::memory::MEMORY_KEY;
use strait::store::records::SessionRecord;
use strait::store::{Change, CommitError, Guard, Store};

use crate::store::Engine;
use crate::store::records::*;

fn all(store: &impl Store) -> Vec<SessionRecord> {
    let mut sessions = Vec::new();
    store
        .each_session(&mut |session| {
            sessions.push(session);
            ControlFlow::Continue(())
        })
        .unwrap();
    sessions.sort_by_key(|session| session.device_seq);
    sessions
}

pub(crate) fn sessions_come_and_go<E: Engine>(engine: &E) {
    let store = engine.open();
    let count = 2500; // more than two chunks of reading
    for from in (1..=count).step_by(100) {
        let put = |seq| put_session(session("d", seq, seq * 2));
        write(&store, (from..from + 100).map(put).collect());
    }
    assert_eq!(store.session(DeviceSeq(0)).unwrap(), None);
    assert!(
        all(&store)
            .into_iter()
            .eq((1..=count).map(|seq| session("d", seq, seq * 2)))
    );
    let mut visits = 0;
    store
        .each_session(&mut |_| {
            visits += 1;
            ControlFlow::Break(())
        })
        .unwrap();
    assert_eq!(visits, 1);

    // A device has one session: the newest.
    let mut newer = session("d", 1, 9999);
    newer.send_reserved = 5000;
    newer.received = None;
    write(&store, vec![put_session(newer.clone())]);
    let gone = [2, 2, 7777].map(DeviceSeq).map(Change::DeleteSession);
    write(&store, gone.to_vec());
    drop(store);
    let store = engine.open();
    assert_eq!(store.session(DeviceSeq(1)).unwrap(), Some(newer));
    assert_eq!(store.session(DeviceSeq(2)).unwrap(), None);
    assert_eq!(all(&store).len(), 2499);
}

pub(crate) fn sessions_are_guarded_by_number<E: Engine>(engine: &E) {
    let store = engine.open();
    let guard = |number| Guard::SessionNumber(DeviceSeq(5), number);
    let holds = |number: Option<u64>| match commit(&store, vec![guard(number)], vec![]) {
        Ok(()) => true,
        Err(CommitError::Conflict(named)) => {
            assert_eq!(named, guard(number));
            false
        }
        Err(e) => panic!("{number:?}: {e}"),
    };
    assert_eq!([None, Some(0), Some(7)].map(holds), [true, false, false]);
    write(&store, vec![put_session(session("d", 5, 7))]);
    assert_eq!([None, Some(8), Some(7)].map(holds), [false, false, true]);
    // A late write of an ended session changes nothing.
    let put = |number| vec![put_session(session("d", 5, number))];
    commit(&store, vec![guard(Some(7))], put(8)).unwrap();
    commit(&store, vec![guard(Some(7))], put(7)).unwrap_err();
    assert_eq!(store.session(DeviceSeq(5)).unwrap().unwrap().number, 8);
    write(&store, vec![Change::DeleteSession(DeviceSeq(5))]);
    assert_eq!([None, Some(8)].map(holds), [true, false]);
    commit(&store, vec![guard(Some(8))], put(8)).unwrap_err();
    assert_eq!(store.session(DeviceSeq(5)).unwrap(), None);
}

pub(crate) fn a_session_is_not_replaced_by_an_older_one<E: Engine>(engine: &E) {
    let store = engine.open();
    let guard = |number| vec![Guard::SessionUpTo(DeviceSeq(5), number)];
    let put = |number| vec![put_session(session("d", 5, number))];
    commit(&store, guard(7), put(7)).unwrap();
    // Written again when nobody knows whether it was.
    commit(&store, guard(7), put(7)).unwrap();
    commit(&store, guard(6), put(6)).unwrap_err();
    commit(&store, guard(9), put(9)).unwrap();
    assert_eq!(store.session(DeviceSeq(5)).unwrap().unwrap().number, 9);
    write(&store, vec![Change::DeleteSession(DeviceSeq(5))]);
    commit(&store, guard(8), put(8)).unwrap();
}

pub(crate) fn sessions_end_with_their_device<E: Engine>(engine: &E) {
    let store = engine.open();
    let put = |id, seq| {
        [
            put_device(device(id, seq, "p")),
            put_session(session(id, seq, seq)),
        ]
    };
    write(&store, [put("a", 5), put("b", 6), put("c", 7)].concat());
    write(&store, vec![Change::DeleteDevice(device_id("a"))]);
    // Deleted and created anew with another seq, in one step.
    write(&store, vec![put_device(device("b", 8, "p"))]);
    // Changed, and still the same device.
    let mut changed = device("c", 7, "p");
    changed.version = 2;
    write(&store, vec![put_device(changed)]);
    assert_eq!(all(&store), [session("c", 7, 7)]);
    // Created and deleted in one commit.
    let brief = put("d", 9).into_iter();
    let gone = Change::DeleteDevice(device_id("d"));
    write(&store, brief.chain([gone]).collect());
    assert_eq!(all(&store).len(), 1);
}

pub(crate) fn secrets_lie_sealed<E: Engine>(engine: &E) {
    let store = engine.open();
    let mut record = device("d", 5, "p");
    let plain = ["0123456789abcdef", "fedcba9876543210"];
    record.auth.secret = Secret::new(plain[0].to_owned());
    record.auth.secondary_secret = Some(Secret::new(plain[1].to_owned()));
    // Long enough to be split.
    let mut long = record.clone();
    (long.device_id, long.seq) = (device_id("long"), 6);
    long.node_id = node_id("node-long");
    long.description = Some("x".repeat(9000));
    let session = session("d", 5, 9);
    write(
        &store,
        vec![
            put_device(record.clone()),
            put_device(long.clone()),
            put_session(session.clone()),
        ],
    );
    drop(store);
    let store = engine.open();
    assert_eq!(store.device(&device_id("d")).unwrap(), Some(record));
    assert_eq!(store.device(&device_id("long")).unwrap(), Some(long));
    assert_eq!(store.session(DeviceSeq(5)).unwrap(), Some(session.clone()));
    assert!(engine.parts(&store) > 0);
    let secrets: [&[u8]; 6] = [
        plain[0].as_bytes(),
        plain[1].as_bytes(),
        session.key_block.expose(),
        &session.verify_data,
        b"192.0.2.7",
        &MEMORY_KEY,
    ];
    let rows = engine.rows(&store);
    assert!(rows.len() > 8);
    for (key, row) in rows {
        for secret in secrets {
            let pieces = secret.windows(8);
            for piece in pieces {
                let seen = row.windows(8).any(|bytes| bytes == piece);
                assert!(!seen, "{key:x?} shows {piece:x?}");
            }
        }
    }
}
