//! Sessions go on in the newest copy of a database, where it was, and nowhere else.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use strait::store::generation::{Generation, Reason, Verdict};
use strait::store::kv::{Kv, KvStore, Order, Visit, Writes};
use strait::store::memory::{Memory, MemoryStore};
use strait::store::sled::{Sled, SledStore};
use strait::store::{Store, StoreError, StoreSettings, keys};

use super::records::*;

/// A data directory and the place of its generation file.
struct Place {
    data: PathBuf,
    generation: PathBuf,
}

const COUNT: u64 = 5;

fn settings() -> StoreSettings {
    StoreSettings {
        cache_mb: 4,
        ..StoreSettings::default()
    }
}

fn sessions(store: &impl Store) -> u64 {
    let mut count = 0;
    store
        .each_session(&mut |_| {
            count += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    count
}

fn change(store: &impl Store, number: u64) {
    write(store, vec![put_session(session("d", 1, number))]);
}

impl Place {
    fn inside(dir: &Path) -> Self {
        let data = dir.join("data");
        let generation = data.join("generation");
        Self { data, generation }
    }

    fn outside(dir: &Path) -> Self {
        let data = dir.join("data");
        let generation = dir.join("generation");
        Self { data, generation }
    }

    fn open(&self) -> (SledStore, Generation, Verdict) {
        let store = SledStore::open(&self.data.join("store"), &settings(), sealer()).unwrap();
        let (generation, verdict) = Generation::check(&store, &self.generation).unwrap();
        (store, generation, verdict)
    }

    /// One run of a server: what it says at its start, and then sessions come.
    fn run(&self) -> Verdict {
        let (store, generation, verdict) = self.open();
        if verdict != Verdict::Stand {
            assert_eq!(sessions(&store), 0);
        }
        let put = |seq| put_session(session("d", seq, seq));
        write(&store, (1..=COUNT).map(put).collect());
        assert!(generation.bump_if_changed(&store).unwrap());
        assert!(!generation.bump_if_changed(&store).unwrap());
        verdict
    }
}

const fn ended(reason: Reason) -> Verdict {
    let sessions = COUNT;
    Verdict::Ended { reason, sessions }
}

/// Copies every file; into a directory that is there, over its files.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

const PLACES: [fn(&Path) -> Place; 2] = [Place::inside, Place::outside];

#[test]
fn restarts_keep_sessions() {
    for place in PLACES {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path());
        let new = Verdict::Ended {
            reason: Reason::New,
            sessions: 0,
        };
        fs::create_dir(&place.data).unwrap();
        assert_eq!(place.run(), new);
        for _ in 0..3 {
            assert_eq!(place.run(), Verdict::Stand);
            let (store, _, verdict) = place.open();
            assert_eq!((verdict, sessions(&store)), (Verdict::Stand, COUNT));
        }
        // Moving the directory is no copy.
        let moved = Place {
            data: dir.path().join("moved"),
            generation: dir
                .path()
                .join(match place.generation.starts_with(&place.data) {
                    true => "moved/generation",
                    false => "generation",
                }),
        };
        fs::rename(&place.data, &moved.data).unwrap();
        let (store, _, verdict) = moved.open();
        assert_eq!((verdict, sessions(&store)), (Verdict::Stand, COUNT));
    }
}

#[test]
fn copies_lose_sessions() {
    for place in PLACES {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path());
        fs::create_dir(&place.data).unwrap();
        place.run();
        let backup = dir.path().join("backup");
        copy(&place.data, &backup);
        // Copied back over the files at once: the same inodes, and nothing was counted since.
        copy(&backup, &place.data);
        assert_eq!(place.run(), ended(Reason::Copied));
        // The same as a new directory.
        fs::remove_dir_all(&place.data).unwrap();
        copy(&backup, &place.data);
        assert_eq!(place.run(), ended(Reason::Copied));
        // In another place, with the generation file or without.
        let elsewhere = Place {
            data: dir.path().join("elsewhere"),
            generation: place.generation.clone(),
        };
        copy(&backup, &elsewhere.data);
        let (store, _, verdict) = elsewhere.open();
        assert_eq!(verdict, ended(Reason::Copied));
        assert_eq!(sessions(&store), 0);
    }
}

/// Copied while the server runs, and restored after it went on: for good, not for one start.
#[test]
fn a_restored_copy_of_a_running_server_loses_sessions_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::inside(dir.path());
    fs::create_dir(&place.data).unwrap();
    place.run();
    let (store, generation, _) = place.open();
    let backup = dir.path().join("backup");
    copy(&place.data, &backup);
    change(&store, 99);
    generation.bump(&store).unwrap();
    drop(store);
    fs::remove_dir_all(&place.data).unwrap();
    copy(&backup, &place.data);
    assert_eq!(place.open().2, ended(Reason::Copied));
    let (store, _, verdict) = place.open();
    assert_eq!((verdict, sessions(&store)), (Verdict::Stand, 0));
}

#[test]
fn the_generation_file_must_be_the_one_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::outside(dir.path());
    fs::create_dir(&place.data).unwrap();
    place.run();
    let file = &place.generation;
    let number = || {
        fs::read_to_string(file)
            .unwrap()
            .trim()
            .parse::<u64>()
            .unwrap()
    };
    let write = |number: u64| fs::write(file, format!("{number:020}\n")).unwrap();

    fs::remove_file(file).unwrap();
    assert_eq!(place.run(), ended(Reason::NoFile));
    let at = number();
    write(at);
    assert_eq!(place.run(), ended(Reason::OtherFile));
    fs::write(file, "").unwrap();
    assert_eq!(place.run(), ended(Reason::NoNumber));
    let database = number();
    write(database + 5);
    let file_ahead = Reason::OldDatabase {
        database,
        file: database + 5,
    };
    assert_eq!(place.run(), ended(file_ahead));
    assert!(number() > database + 5, "it never goes back");
    let database = number();
    write(database - 1);
    let file_behind = Reason::OldFile {
        database,
        file: database - 1,
    };
    assert_eq!(place.run(), ended(file_behind));
    assert_eq!(place.run(), Verdict::Stand);
    // What can't be written, or is somebody else's, is an error that names the place.
    let wrong = dir.path().join("none/generation");
    let store = SledStore::open(&place.data.join("store"), &settings(), sealer()).unwrap();
    let error = Generation::check(&store, &wrong).unwrap_err();
    assert_eq!(error.kind(), "generation_file");
    assert!(
        error.to_string().contains(wrong.to_str().unwrap()),
        "{error}"
    );
    drop(store);
    let key = dir.path().join("sealing.key");
    fs::write(&key, "07".repeat(32)).unwrap();
    let store = SledStore::open(&place.data.join("store"), &settings(), sealer()).unwrap();
    let error = Generation::check(&store, &key).unwrap_err();
    assert_eq!(error.kind(), "generation_foreign");
    assert_eq!(fs::read_to_string(&key).unwrap(), "07".repeat(32));
}

/// sled, but the process ends at the n-th write of the generation: nothing more is written.
struct Dying {
    sled: Sled,
    left: AtomicUsize,
}

impl Kv for Dying {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.sled.get(key)
    }
    fn range(&self, from: &[u8], to: &[u8], order: Order, v: Visit<'_>) -> Result<(), StoreError> {
        self.sled.range(from, to, order, v)
    }
    fn apply(&self, writes: &Writes) -> Result<(), StoreError> {
        let dead = || Err(StoreError::Io("the process ended".to_owned()));
        if writes.contains_key(&keys::meta(keys::Meta::Generation)) {
            let left = self.left.load(Ordering::SeqCst);
            let Some(rest) = left.checked_sub(1) else {
                return dead();
            };
            self.left.store(rest, Ordering::SeqCst);
        }
        self.sled.apply(writes)
    }
    fn sync(&self) -> Result<(), StoreError> {
        self.sled.sync()
    }
    fn admit(&self, bytes: u64) -> Result<(), StoreError> {
        self.sled.admit(bytes)
    }
    fn ready(&self) -> Result<(), StoreError> {
        self.sled.ready()
    }
    fn recover(&self) -> Result<(), StoreError> {
        Err(StoreError::Io("the process ended".to_owned()))
    }
    fn size_bytes(&self) -> Result<u64, StoreError> {
        self.sled.size_bytes()
    }
    fn close(&self) {
        self.sled.close();
    }
    fn origin(&self) -> Result<Vec<u8>, StoreError> {
        self.sled.origin()
    }
    fn place(&self) -> String {
        self.sled.place()
    }
}

/// A crash before and after each write of the database; also with the file as it was before, as it
/// is when the crash comes between (a) and (b).
#[test]
fn crashes_while_it_moves_on_keep_sessions() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::inside(dir.path());
    fs::create_dir(&place.data).unwrap();
    place.run();
    // At a start there are two writes, at the bump after it two more.
    for (left, put_back) in [
        (0, false),
        (1, false),
        (2, false),
        (3, false),
        (1, true),
        (3, true),
    ] {
        let engine = Dying {
            sled: Sled::open(&place.data.join("store"), &settings()).unwrap(),
            left: AtomicUsize::new(left),
        };
        let store = KvStore::start(engine, &settings(), sealer()).unwrap();
        let number = || fs::read_to_string(&place.generation).unwrap();
        let mut before = number();
        let died = match Generation::check(&store, &place.generation) {
            Ok((generation, verdict)) => {
                assert_eq!(verdict, Verdict::Stand, "{left} writes");
                before = number();
                generation.bump(&store).is_err()
            }
            Err(_) => true,
        };
        assert!(died, "{left} writes");
        drop(store);
        let written = left % 2 == 1;
        assert_eq!(number() != before, written, "{left} writes");
        if put_back {
            fs::write(&place.generation, before).unwrap();
        }
        let (store, _, verdict) = place.open();
        assert_eq!(verdict, Verdict::Stand, "a crash after {left} writes");
        assert_eq!(sessions(&store), COUNT);
    }
}

/// A full disk keeps no server from starting, and the bump is made up for when there is room.
#[test]
fn a_full_disk_delays_the_generation() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::outside(dir.path());
    let engine = Memory::default();
    let open = || MemoryStore::over(engine.clone());
    let store = open();
    Generation::check(&store, &place.generation).unwrap();
    write(&store, vec![put_session(session("d", 1, 1))]);
    drop(store);
    let number = || fs::read_to_string(&place.generation).unwrap();
    let before = number();
    let store = open();
    store.faults().fill();
    let (generation, verdict) = Generation::check(&store, &place.generation).unwrap();
    assert_eq!((verdict, number()), (Verdict::Stand, before.clone()));
    generation.bump_if_changed(&store).unwrap_err();
    store.faults().make_room();
    assert!(generation.bump_if_changed(&store).unwrap());
    assert_ne!(number(), before);
}
