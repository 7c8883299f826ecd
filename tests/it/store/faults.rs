//! What callers see when the disk fails: on the memory engine by command, on sled and fjall by damage.

use std::fs;
use std::path::Path;

use strait::store::find::{Filter, Find, FindOrder};
use strait::store::fjall::FjallStore;
use strait::store::kv::{Kv, KvStore, Writes};
use strait::store::memory::{Memory, MemoryStore};
use strait::store::sled::SledStore;
use strait::store::{
    Change, Commit, CommitError, Completion, Guard, Health, Store, StoreError, StoreSettings, keys,
};

use super::records::*;

fn one_event(store: &impl Store) -> Completion {
    store.commit(Commit {
        guards: Vec::new(),
        changes: vec![emit(1, "{}")],
    })
}

fn kind(result: Result<(), CommitError>) -> &'static str {
    match result {
        Ok(()) => "fine",
        Err(e) => e.kind(),
    }
}

#[test]
fn refused_commit_changes_nothing_and_the_next_one_goes_through() {
    let store = MemoryStore::new();
    let full = StoreError::Full { free: 1, need: 2 };
    store.faults().fail_next(2, &full);
    let kinds: Vec<&str> = (0..3).map(|_| kind(one_event(&store).wait())).collect();
    assert_eq!(kinds, ["full", "full", "fine"]);
    assert_eq!(store.events(0, 10).unwrap().len(), 1);
    assert_eq!(store.last_event(), 1);
}

#[test]
fn full_queue_refuses_at_once_and_loses_nothing() {
    let settings = StoreSettings {
        queue_len: 3,
        ..StoreSettings::default()
    };
    let store = KvStore::start(Memory::default(), &settings, sealer()).unwrap();
    write(&store, vec![emit(1, "{}")]);
    store.faults().hold();
    // The committer holds what it took, the queue three more, whichever they are; the rest is
    // refused.
    let waiting: Vec<Completion> = (0..400).map(|_| one_event(&store)).collect();
    assert_eq!(store.last_event(), 1, "held commits are not durable");
    store.faults().release();
    let kinds: Vec<&str> = waiting.into_iter().map(|done| kind(done.wait())).collect();
    let fine = kinds.iter().filter(|kind| **kind == "fine").count();
    assert!((3..=259).contains(&fine), "{fine} were taken");
    let busy = kinds.iter().filter(|kind| **kind == "busy").count();
    assert_eq!(fine + busy, 400);
    assert_eq!(store.last_event(), u64::try_from(fine).unwrap() + 1);
}

#[test]
fn dropped_store_commits_what_was_held() {
    let engine = Memory::default();
    let store = MemoryStore::over(engine.clone());
    store.faults().hold();
    let waiting: Vec<Completion> = (0..5).map(|_| one_event(&store)).collect();
    drop(store);
    assert!(waiting.into_iter().all(|done| done.wait().is_ok()));
    assert_eq!(MemoryStore::over(engine).last_event(), 5);
}

#[test]
fn batch_that_was_not_written_fails_and_its_numbers_are_given_again() {
    let store = MemoryStore::new();
    write(&store, vec![put_state("d", state(1)), emit(1, "a")]);
    store.faults().fail_applies(1);
    let lost = commit(
        &store,
        vec![],
        vec![put_state("d", state(2)), emit(2, "lost")],
    );
    assert_eq!(kind(lost), "io");
    let guard = Guard::StateVersion(device_id("d"), 1);
    commit(&store, vec![guard], vec![emit(3, "b")]).unwrap();
    let events = store.events(0, 10).unwrap();
    assert_eq!(events, [(1, event(1, "a")), (2, event(3, "b"))]);
    assert_eq!(store.health(), Health::Ready);
}

/// The write reached the disk, the sync failed, the database was opened again: the batch is
/// there, so its commits must not be reported as failed.
#[test]
fn batch_found_after_recovery_counts_as_committed() {
    let store = MemoryStore::new();
    store.faults().fail_syncs(1);
    one_event(&store).wait().unwrap();
    assert_eq!(store.last_event(), 1);
    one_event(&store).wait().unwrap();
    assert_eq!(store.events(0, 10).unwrap().len(), 2);
}

#[test]
fn engine_that_stays_broken_makes_the_store_unavailable_until_it_serves() {
    let store = MemoryStore::new();
    store.faults().fail_applies(1);
    store.faults().fail_recoveries(4);
    assert_eq!(kind(one_event(&store).wait()), "io");
    // Commits are refused, not delayed, until a recovery works.
    let mut refused = 0;
    while kind(one_event(&store).wait()) != "fine" {
        refused += 1;
        assert!(refused < 10_000_000, "never came back");
    }
    assert!(refused > 0);
    assert_eq!(store.health(), Health::Ready);
    assert_eq!(store.last_event(), 1);
}

/// A batch whose answer was an error may be there all the same: then its devices are found.
#[test]
fn searches_follow_a_batch_that_failed_and_is_there() {
    for written in [true, false] {
        let store = MemoryStore::new();
        write(&store, vec![put_device(device("a", 1, "p"))]);
        match written {
            true => store.faults().fail_syncs(1),
            false => store.faults().fail_applies(1),
        }
        store.faults().fail_recoveries(1);
        let changes = vec![
            put_device(device("b", 2, "p")),
            Change::DeleteDevice(device_id("a")),
        ];
        assert_eq!(kind(commit(&store, vec![], changes)), "io");
        let mut tries = 0;
        while kind(one_event(&store).wait()) != "fine" {
            tries += 1;
            assert!(tries < 10_000_000, "never came back");
        }
        let find = Find {
            filter: &Filter::All,
            now: at(0),
            order: FindOrder::NewestFirst,
            offset: 0,
            limit: 9,
            beyond: None,
        };
        let found = store.find(&find).unwrap();
        let want = device(
            if written { "b" } else { "a" },
            if written { 2 } else { 1 },
            "p",
        );
        assert_eq!((found.devices, found.count), (vec![want], 1), "{written}");
    }
}

fn small() -> StoreSettings {
    StoreSettings {
        cache_mb: 4,
        reserve_mb: 1,
        ..StoreSettings::default()
    }
}

fn filled(dir: &Path) {
    let store = SledStore::open(dir, &small(), sealer()).unwrap();
    for n in 0..2000 {
        let id = format!("d{n}");
        write(&store, vec![put_state(&id, state(n)), emit(n, "{}")]);
    }
}

#[test]
fn second_process_is_told_who_has_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let first = SledStore::open(dir.path(), &small(), sealer()).unwrap();
    let second = SledStore::open(dir.path(), &small(), sealer());
    assert!(
        matches!(second, Err(StoreError::InUse { .. })),
        "{second:?}"
    );
    drop(first);
    SledStore::open(dir.path(), &small(), sealer()).unwrap();
}

#[test]
fn unfinished_snapshot_of_a_crash_does_not_block() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    fs::write(dir.path().join("snap.00000000000FFFFF.generating"), b"half").unwrap();
    let store = SledStore::open(dir.path(), &small(), sealer()).unwrap();
    assert_eq!(store.last_event(), 2000);
}

/// Damage of every file: refused with the place and the command that helps, or nothing is lost.
#[test]
fn damaged_files_are_refused_with_advice() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    drop(SledStore::open(dir.path(), &small(), sealer()).unwrap());
    let mut refused = 0;
    for entry in fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_file() {
            continue;
        }
        let sound = fs::read(&path).unwrap();
        let zeroed = vec![0; sound.len()];
        let mut flipped = sound.clone();
        for byte in flipped.iter_mut().step_by(97) {
            *byte ^= 0x5a;
        }
        let cut = sound[..sound.len() / 2].to_vec();
        for (how, damaged) in [("zeroed", zeroed), ("flipped", flipped), ("cut", cut)] {
            let copy = tempfile::tempdir().unwrap();
            copy_all(dir.path(), copy.path());
            fs::write(copy.path().join(path.file_name().unwrap()), damaged).unwrap();
            match SledStore::open(copy.path(), &small(), sealer()) {
                Ok(store) => assert_eq!(store.last_event(), 2000, "{path:?} {how}: lost data"),
                Err(e) => {
                    refused += 1;
                    let text = e.to_string();
                    assert_eq!(e.kind(), "corrupt", "{path:?} {how}: {text}");
                    assert!(text.contains(copy.path().to_str().unwrap()), "{text}");
                    assert!(text.contains("strait store import"), "{text}");
                }
            }
        }
    }
    assert!(refused > 3, "only {refused} damages were found");
}

/// The same on fjall. What is cut off or zeroed at the end of its newest journal looks like a batch that was
/// never whole, so less may be there; it is whole batches all the same.
#[test]
fn damaged_files_of_fjall_are_refused_with_advice() {
    let dir = tempfile::tempdir().unwrap();
    let store = FjallStore::open(dir.path(), &small(), sealer()).unwrap();
    // Beyond what is sorted in memory, so that there are tables.
    for n in 0..600 {
        let long = long_state(n, 40_000, 'x');
        write(&store, vec![put_state("d", long), emit(n, "{}")]);
    }
    drop(store);
    let files = files_in(dir.path());
    let tables = files.iter().filter(|file| file.contains("tables"));
    assert!(tables.count() > 1, "{files:?}");
    let mut refused = 0;
    for file in &files {
        let sound = fs::read(dir.path().join(file)).unwrap();
        let zeroed = vec![0; sound.len()];
        let mut flipped = sound.clone();
        for byte in flipped.iter_mut().step_by(97) {
            *byte ^= 0x5a;
        }
        let cut = sound[..sound.len() / 2].to_vec();
        for (how, damaged) in [("zeroed", zeroed), ("flipped", flipped), ("cut", cut)] {
            let copy = tempfile::tempdir().unwrap();
            copy_all(dir.path(), copy.path());
            fs::write(copy.path().join(file), damaged).unwrap();
            let is_journal = file.ends_with(".jnl");
            let read = FjallStore::open(copy.path(), &small(), sealer())
                .and_then(|store| Ok((store.last_event(), store.events(0, 1000)?.len())));
            match read {
                Ok((last, count)) if is_journal && how != "flipped" => {
                    assert_eq!(last, u64::try_from(count).unwrap(), "{file} {how}");
                }
                Ok(found) => assert_eq!(found, (600, 600), "{file} {how}: lost data"),
                Err(e) => {
                    refused += 1;
                    let text = e.to_string();
                    assert_eq!(e.kind(), "corrupt", "{file} {how}: {text}");
                    assert!(text.contains(copy.path().to_str().unwrap()), "{text}");
                    assert!(text.contains("strait store import"), "{text}");
                }
            }
        }
    }
    assert!(refused > 3, "only {refused} damages were found");
}

/// A start that ended before its database was made.
#[test]
fn unfinished_creation_does_not_block() {
    let dir = tempfile::tempdir().unwrap();
    drop(FjallStore::open(dir.path(), &small(), sealer()).unwrap());
    fs::remove_file(dir.path().join("version")).unwrap();
    let error = FjallStore::open(dir.path(), &small(), sealer()).unwrap_err();
    assert_eq!(error.kind(), "corrupt", "it was finished: {error}");
    fs::remove_file(dir.path().join("complete")).unwrap();
    let store = FjallStore::open(dir.path(), &small(), sealer()).unwrap();
    write(&store, vec![emit(1, "{}")]);
}

/// Files below a directory, by their paths in it.
fn files_in(dir: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => dirs.push(path),
                false => {
                    let path = path.strip_prefix(dir).unwrap();
                    files.push(path.to_str().unwrap().to_owned());
                }
            }
        }
    }
    files.sort_unstable();
    files
}

fn copy_all(from: &Path, to: &Path) {
    for file in files_in(from) {
        fs::create_dir_all(to.join(&file).parent().unwrap()).unwrap();
        fs::copy(from.join(&file), to.join(&file)).unwrap();
    }
    fs::create_dir_all(to.join("blobs")).unwrap();
}

#[test]
fn newer_format_is_refused() {
    let engine = Memory::default();
    drop(MemoryStore::over(engine.clone()));
    let mut writes = Writes::new();
    let newer = 99_u32.to_be_bytes().to_vec();
    writes.insert(keys::meta(keys::Meta::Format), Some(newer));
    engine.apply(&writes).unwrap();
    let opened = KvStore::start(engine, &StoreSettings::default(), sealer());
    let Err(StoreError::Format { found, newest, .. }) = opened else {
        panic!("opened a newer format");
    };
    assert_eq!((found, newest), (99, 3));
}

/// Rows without a format number are an import that never finished.
#[test]
fn unfinished_import_is_refused() {
    let engine = Memory::default();
    let mut writes = Writes::new();
    writes.insert(keys::event(1), Some(vec![1]));
    engine.apply(&writes).unwrap();
    let opened = KvStore::start(engine, &StoreSettings::default(), sealer());
    assert!(matches!(opened, Err(StoreError::Corrupt { .. })));
}

/// A damaged row fails the commits that need it, and nobody else's.
#[test]
fn damaged_row_concerns_its_device_alone() {
    let engine = Memory::default();
    let store = MemoryStore::over(engine.clone());
    write(
        &store,
        vec![put_state("good", state(1)), put_state("bad", state(1))],
    );
    drop(store);
    let mut writes = Writes::new();
    writes.insert(keys::state(&device_id("bad")), Some(vec![1, 0xff]));
    engine.apply(&writes).unwrap();
    let store = MemoryStore::over(engine);
    store.faults().hold();
    let next = |id: &str| {
        store.commit(Commit {
            guards: vec![Guard::StateVersion(device_id(id), 1)],
            changes: vec![put_state(id, state(2))],
        })
    };
    let (bad, good) = (next("bad"), next("good"));
    store.faults().release();
    assert_eq!(kind(bad.wait()), "corrupt");
    assert_eq!(kind(good.wait()), "fine");
    assert!(store.state(&device_id("bad")).is_err());
    assert_eq!(store.health(), Health::Ready);
}
