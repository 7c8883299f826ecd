//! Fills a small file system and makes room again, in one process.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use strait::store::disk::{Disk, DiskStore};
use strait::store::kv::KvStore;
use strait::store::{CommitError, Health, Store, StoreError, StoreSettings};

use crate::bent::Bent;
use crate::power::{device_id, sealer, settings, uplink};

pub(crate) fn fill(dir: &Path) {
    refused_before_it_is_too_late(dir);
    survives_a_disk_without_any_room(dir);
}

/// With a reserve: commits are refused as full, reads go on, and room is enough to go on.
fn refused_before_it_is_too_late(dir: &Path) {
    let store = DiskStore::open(&dir.join("a"), &settings(), sealer()).unwrap();
    let mut version = commit_some(&store, 0, 200).unwrap();
    let ballast = dir.join("ballast");
    take_all_but(dir, &ballast, 4);
    let error = commit_some(&store, version, 1).unwrap_err();
    assert!(
        matches!(error, CommitError::Store(StoreError::Full { .. })),
        "{error}"
    );
    assert!(matches!(store.health(), Health::Unavailable(_)));
    assert_eq!(newest(&store), version, "reads go on");
    fs::remove_file(&ballast).unwrap();
    assert_eq!(store.health(), Health::Ready);
    version = commit_some(&store, version, 200).unwrap();
    assert_eq!(newest(&store), version);
    println!("refused as full at the reserve, went on with room: {version} commits");
}

/// Without a reserve the engine itself hits the end of the disk: the database is opened anew as
/// soon as there is room, and has everything acknowledged.
fn survives_a_disk_without_any_room(dir: &Path) {
    let settings = StoreSettings {
        reserve_mb: 0,
        ..settings()
    };
    let engine = Bent {
        disk: Disk::open(&dir.join("b"), &settings).unwrap(),
        with_sync: true,
        with_room: false,
    };
    let store = KvStore::start(engine, &settings, sealer()).unwrap();
    let mut version = 0;
    for round in 1..=3 {
        version = commit_some(&store, version, 100).unwrap();
        let ballast = dir.join("ballast");
        take_all_but(dir, &ballast, 0);
        let error = loop {
            match commit_some(&store, version, 1) {
                Ok(newer) => version = newer,
                Err(e) => break e,
            }
        };
        assert!(!matches!(store.health(), Health::Ready), "{error}");
        println!("round {round}: {version} commits, then: {error}");
        fs::remove_file(&ballast).unwrap();
        let mut tries = 0;
        version = loop {
            // A batch whose answer was an error may be there all the same.
            let base = newest_or(&store, version);
            assert!(base >= version, "lost: {base} of {version}");
            match commit_some(&store, base, 1) {
                Ok(version) => break version,
                Err(e) => {
                    tries += 1;
                    assert!(tries < 600, "does not come back: {e}");
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        };
        assert_eq!(newest(&store), version);
        println!("round {round}: serves again after {tries} tries");
    }
    drop(store);
    let store = DiskStore::open(&dir.join("b"), &settings, sealer()).unwrap();
    assert_eq!(newest(&store), version, "after opening again");
    assert_eq!(store.last_event(), version);
}

/// Commits one by one; the newest version.
fn commit_some(store: &impl Store, from: u64, count: u64) -> Result<u64, CommitError> {
    for version in from + 1..=from + count {
        store.commit(uplink(1, version)).wait()?;
    }
    Ok(from + count)
}

fn newest(store: &impl Store) -> u64 {
    store.state(&device_id(1)).unwrap().unwrap().version
}

fn newest_or(store: &impl Store, known: u64) -> u64 {
    match store.state(&device_id(1)) {
        Ok(state) => state.map_or(0, |state| state.version),
        Err(_) => known,
    }
}

/// Writes a file until so few megabytes are left.
fn take_all_but(dir: &Path, file: &Path, left_mb: u64) {
    let mut out = File::create(file).unwrap();
    let block = vec![0xaa; 64 * 1024];
    loop {
        let stat = rustix::fs::statvfs(dir).unwrap();
        if stat.f_bavail * stat.f_frsize <= left_mb * 1024 * 1024 {
            return;
        }
        // The last blocks may be too few for a whole write.
        if out
            .write_all(&block)
            .and_then(|()| out.sync_data())
            .is_err()
        {
            return;
        }
    }
}
