//! What applications arrange around devices: spaces, groups, batch tasks with files, certificates; and the audit
//! log.

use strait::base::time::Timestamp;
use strait::store::{AuditQuery, Change, CommitError, Expiry, Guard, Store};

use crate::store::Engine;
use crate::store::records::*;

/// Each record comes back, newest first, also after the store was opened anew; a replaced one is the new one, a
/// deleted one is gone.
pub(crate) fn catalog_records_come_and_go<E: Engine>(engine: &E) {
    let store = engine.open();
    write(
        &store,
        vec![
            Change::PutApp(Box::new(app("z", 1))),
            Change::PutApp(Box::new(app("a", 2))),
            Change::PutGroup(Box::new(group("z", 3))),
            Change::PutGroup(Box::new(group("a", 4))),
            Change::PutTask(Box::new(task(5))),
            Change::PutTask(Box::new(task(6))),
            Change::PutCertificate(Box::new(certificate("z", 7))),
            Change::PutCertificate(Box::new(certificate("a", 8))),
        ],
    );
    drop(store);
    let store = engine.open();
    assert_eq!(store.apps().unwrap(), [app("a", 2), app("z", 1)]);
    assert_eq!(store.groups().unwrap(), [group("a", 4), group("z", 3)]);
    assert_eq!(store.tasks().unwrap(), [task(6), task(5)]);
    let certificates = [certificate("a", 8), certificate("z", 7)];
    assert_eq!(store.certificates().unwrap(), certificates);

    let mut renamed = app("z", 1);
    (renamed.version, renamed.app_name) = (2, "x".repeat(9000));
    write(
        &store,
        vec![
            Change::PutApp(Box::new(renamed.clone())),
            Change::DeleteApp(app_id("a")),
            Change::DeleteGroup(group("a", 4).group_id),
            Change::DeleteTask(6),
            Change::DeleteCertificate(certificate("a", 8).certificate_id),
        ],
    );
    assert_eq!(store.apps().unwrap(), [renamed]);
    assert_eq!(store.groups().unwrap(), [group("z", 3)]);
    assert_eq!(store.tasks().unwrap(), [task(5)]);
    assert_eq!(store.certificates().unwrap(), [certificate("z", 7)]);
    write(&store, vec![Change::DeleteApp(app_id("z"))]);
    assert_eq!(engine.parts(&store), 0);
}

/// Every guard where it holds and where it does not.
pub(crate) fn catalog_guards_hold_or_conflict<E: Engine>(engine: &E) {
    let store = engine.open();
    let mut leaving = app("leaving", 2);
    leaving.deleting = true;
    let mut fading = product("fading", 3);
    fading.deleting = true;
    write(
        &store,
        vec![
            Change::PutApp(Box::new(app("here", 1))),
            Change::PutApp(Box::new(leaving)),
            put_product(product("p", 4)),
            put_product(fading),
            Change::PutGroup(Box::new(group("g", 5))),
            Change::PutTask(Box::new(task(6))),
            Change::PutCertificate(Box::new(certificate("c", 7))),
        ],
    );
    let (here, none) = (app_id("here"), app_id("none"));
    let group_of = |text| group(text, 0).group_id;
    let certificate_of = |text| certificate(text, 0).certificate_id;
    let table = [
        (Guard::AppVersion(here.clone(), 1), true),
        (Guard::AppVersion(here.clone(), 2), false),
        (Guard::AppVersion(here.clone(), 0), false),
        (Guard::AppVersion(none.clone(), 0), true),
        (Guard::AppExists(here), true),
        (Guard::AppExists(none), false),
        (Guard::AppExists(app_id("leaving")), false),
        (Guard::ProductExists(product_id("p")), true),
        (Guard::ProductExists(product_id("fading")), false),
        (Guard::GroupVersion(group_of("g"), 1), true),
        (Guard::GroupVersion(group_of("g"), 2), false),
        (Guard::GroupVersion(group_of("x"), 0), true),
        (Guard::TaskVersion(6, 1), true),
        (Guard::TaskVersion(6, 0), false),
        (Guard::TaskVersion(7, 0), true),
        (Guard::CertificateVersion(certificate_of("c"), 1), true),
        (Guard::CertificateVersion(certificate_of("c"), 3), false),
        (Guard::CertificateVersion(certificate_of("x"), 0), true),
    ];
    drop(store);
    let store = engine.open();
    // Once with what the committer reads, once with what it remembers.
    for _ in 0..2 {
        for (guard, holds) in &table {
            let result = commit(&store, vec![guard.clone()], vec![emit(1, "{}")]);
            match result {
                Ok(()) => assert!(holds, "{guard:?}"),
                Err(CommitError::Conflict(failed)) => {
                    assert!(!holds, "{guard:?}");
                    assert_eq!(&failed, guard);
                }
                Err(e) => panic!("{guard:?}: {e}"),
            }
        }
    }
}

/// What is remembered of a product or a space follows each change of it.
pub(crate) fn owners_are_there_until_they_are_deleted<E: Engine>(engine: &E) {
    let store = engine.open();
    let is_there = |guard: &Guard| commit(&store, vec![guard.clone()], vec![]).is_ok();
    let spaces = Guard::AppExists(app_id("a"));
    let products = Guard::ProductExists(product_id("p"));
    let mut leaving = app("a", 1);
    leaving.deleting = true;
    let mut fading = product("p", 2);
    fading.deleting = true;
    let steps = [
        (Change::PutApp(Box::new(app("a", 1))), true),
        (Change::PutApp(Box::new(leaving)), false),
        (Change::PutApp(Box::new(app("a", 1))), true),
        (Change::DeleteApp(app_id("a")), false),
    ];
    assert!(!is_there(&spaces));
    for (n, (change, there)) in steps.into_iter().enumerate() {
        write(&store, vec![change]);
        assert_eq!(is_there(&spaces), there, "space, step {n}");
    }
    let steps = [
        (put_product(product("p", 2)), true),
        (put_product(fading), false),
        (put_product(product("p", 2)), true),
        (Change::DeleteProduct(product_id("p")), false),
    ];
    assert!(!is_there(&products));
    for (n, (change, there)) in steps.into_iter().enumerate() {
        write(&store, vec![change]);
        assert_eq!(is_there(&products), there, "product, step {n}");
    }
}

pub(crate) fn subtasks_in_order_and_by_ranges<E: Engine>(engine: &E) {
    let store = engine.open();
    for task in [1, 2, 300] {
        let indexes = [0, 1, 2, 255, 256, 70_000];
        write(&store, indexes.map(|n| put_subtask(task, n)).into());
    }
    let read = |task: u64, from: u32, limit: usize| -> Vec<u32> {
        let rows = store.subtasks(task, from, limit).unwrap();
        for (index, record) in &rows {
            assert_eq!(*record, subtask(&format!("d{index}")));
        }
        rows.into_iter().map(|(index, _)| index).collect()
    };
    assert_eq!(read(2, 0, 99), [0, 1, 2, 255, 256, 70_000]);
    assert_eq!(read(2, 1, 2), [1, 2]);
    assert_eq!(read(2, 3, 2), [255, 256]);
    assert_eq!(read(2, 70_001, 2), [0; 0]);
    assert_eq!(read(3, 0, 99), [0; 0]);
    assert_eq!(read(u64::MAX, 0, 99), [0; 0]);
    let delete = |indexes| Change::DeleteSubtasks {
        task_seq: 2,
        indexes,
    };
    write(&store, vec![delete(1..256)]);
    assert_eq!(read(2, 0, 99), [0, 256, 70_000]);
    assert_eq!(read(1, 0, 99).len() + read(300, 0, 99).len(), 12);
    write(&store, vec![delete(0..1000), delete(70_000..70_001)]);
    assert_eq!(read(2, 0, 99), [0; 0]);
}

/// A file of several megabytes comes back byte by byte, and leaves nothing behind.
pub(crate) fn files_with_their_contents<E: Engine>(engine: &E) {
    let store = engine.open();
    let large = content(5_000_000, 7);
    write(&store, vec![put_file(file("f", 1), large.clone())]);
    write(&store, vec![put_file(file("g", 2), content(3, 1))]);
    drop(store);
    let store = engine.open();
    assert_eq!(store.files().unwrap(), [file("g", 2), file("f", 1)]);
    let read = |id: &str| store.file_content(&file_id(id)).unwrap();
    assert!(read("f") == Some(large), "the bytes differ");
    assert_eq!(read("g"), Some(content(3, 1)));
    assert_eq!(read("x"), None);
    let other = content(20_000, 3);
    write(&store, vec![put_file(file("f", 3), other.clone())]);
    assert!(read("f") == Some(other), "the bytes differ");
    write(&store, vec![Change::DeleteFile(file_id("f"))]);
    assert_eq!(store.files().unwrap(), [file("g", 2)]);
    assert_eq!(read("f"), None);
    assert_eq!(engine.parts(&store), 0);
}

pub(crate) fn audit_ranges_markers_and_expiry<E: Engine>(engine: &E) {
    let store = engine.open();
    // Of the same millisecond, the larger seq is the newer one.
    let rows = [(10, 1), (20, 2), (20, 300), (30, 4), (40, 5)];
    write(
        &store,
        rows.map(|(ms, seq)| put_audit(audit(ms, seq))).into(),
    );
    let read = |query: AuditQuery| -> Vec<(u64, u64)> {
        let rows = store.audit(&query).unwrap();
        rows.iter().map(|row| (row.at.as_ms(), row.seq)).collect()
    };
    let all = || AuditQuery {
        limit: 99,
        ..AuditQuery::default()
    };
    let table = [
        (all(), vec![(40, 5), (30, 4), (20, 300), (20, 2), (10, 1)]),
        (
            AuditQuery {
                from: Some(at(20)),
                to: Some(at(40)),
                ..all()
            },
            vec![(30, 4), (20, 300), (20, 2)],
        ),
        (AuditQuery { limit: 2, ..all() }, vec![(40, 5), (30, 4)]),
        (
            AuditQuery {
                before: Some((at(20), 300)),
                ..all()
            },
            vec![(20, 2), (10, 1)],
        ),
        (
            AuditQuery {
                before: Some((at(30), 4)),
                to: Some(at(20)),
                ..all()
            },
            vec![(10, 1)],
        ),
        (
            AuditQuery {
                from: Some(at(40)),
                to: Some(at(20)),
                ..all()
            },
            vec![],
        ),
    ];
    for (query, want) in table {
        let told = format!("{query:?}");
        assert_eq!(read(query), want, "{told}");
    }
    // The end of a request replaces its beginning.
    let mut ended = audit(40, 5);
    (ended.status, ended.error_code) = (Some(400), Some("IOTDA.000006".to_owned()));
    write(&store, vec![put_audit(ended.clone())]);
    assert_eq!(
        store.audit(&AuditQuery { limit: 1, ..all() }).unwrap(),
        [ended]
    );

    let before = |ms| Expiry {
        history_before: Timestamp::from_ms(0),
        raw_before: Timestamp::from_ms(0),
        events_before: Timestamp::from_ms(0),
        audit_before: at(ms),
        commands_before: at(ms),
    };
    assert_eq!(store.expire(&before(10), 99).unwrap(), 0);
    assert_eq!(store.expire(&before(30), 2).unwrap(), 2);
    assert_eq!(read(all()), [(40, 5), (30, 4), (20, 300)]);
    assert_eq!(store.expire(&before(30), 99).unwrap(), 1);
    assert_eq!(read(all()), [(40, 5), (30, 4)]);
}
