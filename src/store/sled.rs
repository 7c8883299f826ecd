//! The sled engine (sled 0.34.7), with what it takes to lose nothing.
//!
//! - One thread writes: batch, `flush()`, then `sync_data()` on our own handle of `<dir>/db`.
//!   sled's flush alone does not reach the disk's platter: it never calls fdatasync.
//! - What sled creates when it opens (`conf`, `db`, `blobs/`, snapshots) is synced before the
//!   first commit, with the directories that name it.
//! - A leftover `snap.*.generating` of a crash is removed before opening.
//! - sled panics on damaged files; a panic becomes [`StoreError::Corrupt`].
//! - A failed write poisons sled for good: [`Kv::recover`] drops the database and opens it anew.
//!   [`Kv::admit`] refuses commits while the disk has less room than the reserve, before that.

use std::fs::{self, File};
use std::ops::Bound;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use rustix::fs::FlockOperation;
use sled::{Db, IVec, Mode};

use super::damage::{corrupt, panic_text};
use super::kv::{Kv, KvStore, Order, Visit, Writes};
use super::room::Room;
use super::seal::Sealer;
use super::{StoreError, StoreSettings};

/// A store in a directory.
pub type SledStore = KvStore<Sled>;

impl SledStore {
    /// Opens or creates the store in this directory.
    pub fn open(path: &Path, settings: &StoreSettings, sealer: Sealer) -> Result<Self, StoreError> {
        Self::start(Sled::open(path, settings)?, settings, sealer)
    }
}

/// The engine: one sled tree.
#[derive(Debug)]
pub struct Sled {
    path: PathBuf,
    cache_bytes: u64,
    room: Room,
    /// `None` while the database is closed or could not be opened again.
    open: RwLock<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    db: Db,
    /// Our own handle of the log, for fdatasync.
    log: File,
}

/// The file of the log.
pub(super) const LOG: &str = "db";

/// Room that must be there beside the reserve, and the bytes written until it is looked up again:
/// two segments of the engine.
const ROOM_MIN: u64 = 1024 * 1024;

impl Sled {
    /// Opens or creates the database in this directory.
    pub fn open(path: &Path, settings: &StoreSettings) -> Result<Self, StoreError> {
        let cache_bytes = settings.cache_mb.saturating_mul(1024 * 1024);
        let open = Open::new(path, cache_bytes)?;
        Ok(Self {
            path: path.to_owned(),
            cache_bytes,
            room: Room::new(
                path,
                settings.reserve_mb.saturating_mul(1024 * 1024),
                ROOM_MIN,
            ),
            open: RwLock::new(Some(open)),
        })
    }

    /// Hands everything applied to the kernel. That is what sled calls a flush; only
    /// [`Kv::sync`] makes it survive a power cut.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.with(|open| open.db.flush().map(drop))
    }

    fn with<T>(&self, work: impl FnOnce(&Open) -> sled::Result<T>) -> Result<T, StoreError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = open.as_ref() else {
            return Err(StoreError::Io(format!(
                "{} is closed, it is opened again as soon as the disk allows",
                self.path.display()
            )));
        };
        match catch_unwind(AssertUnwindSafe(|| work(open))) {
            Ok(done) => done.map_err(|e| translate(&self.path, e)),
            Err(panic) => Err(StoreError::Io(format!(
                "{}: the engine panicked: {}",
                self.path.display(),
                panic_text(&*panic)
            ))),
        }
    }

    fn swap(&self, new: Option<Open>) -> Option<Open> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *open, new)
    }
}

impl Open {
    fn new(path: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        let io = |e: std::io::Error| StoreError::Io(format!("{}: {e}", path.display()));
        let new_dirs = count_missing(path);
        fs::create_dir_all(path).map_err(io)?;
        remove_unfinished_snapshots(path).map_err(io)?;
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(cache_bytes)
            .mode(Mode::LowSpace)
            .flush_every_ms(None);
        let db = match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(opened) => opened.map_err(|e| translate(path, e))?,
            Err(panic) => return Err(corrupt(path, &panic_text(&*panic))),
        };
        sync_created(path, new_dirs).map_err(io)?;
        let log = File::options()
            .read(true)
            .write(true)
            .open(path.join(LOG))
            .map_err(io)?;
        Ok(Self { db, log })
    }
}

impl Kv for Sled {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(|open| Ok(open.db.get(key)?.map(|row| row.to_vec())))
    }

    fn range(
        &self,
        from: &[u8],
        to: &[u8],
        order: Order,
        visit: Visit<'_>,
    ) -> Result<(), StoreError> {
        if from >= to {
            return Ok(());
        }
        self.with(|open| {
            let bounds = (Bound::Included(from), Bound::Excluded(to));
            let mut range = open.db.range::<&[u8], _>(bounds);
            while let Some(row) = match order {
                Order::Ascending => range.next(),
                Order::Descending => range.next_back(),
            } {
                let (key, row) = row?;
                if visit(&key, &row).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    fn apply(&self, writes: &Writes) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for (key, value) in writes {
            match value {
                Some(row) => batch.insert(IVec::from(key.as_slice()), IVec::from(row.as_slice())),
                None => batch.remove(IVec::from(key.as_slice())),
            }
        }
        self.with(|open| open.db.apply_batch(batch))
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.room.forget();
        self.flush()?;
        self.with(|open| Ok(open.log.sync_data()?))
    }

    fn admit(&self, bytes: u64) -> Result<(), StoreError> {
        self.room.admit(bytes)
    }

    fn ready(&self) -> Result<(), StoreError> {
        self.with(|_| Ok(()))?;
        self.room.ready()
    }

    fn recover(&self) -> Result<(), StoreError> {
        drop_quietly(self.swap(None));
        self.room.ready()?;
        self.distrust_cache();
        // Reads fail meanwhile, and don't wait.
        let open = Open::new(&self.path, self.cache_bytes)?;
        self.swap(Some(open));
        Ok(())
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        let io = |e: std::io::Error| StoreError::Io(format!("{}: {e}", self.path.display()));
        let mut bytes = 0_u64;
        for entry in fs::read_dir(&self.path).map_err(io)? {
            let meta = entry.and_then(|entry| entry.metadata()).map_err(io)?;
            bytes = bytes.saturating_add(meta.len());
        }
        Ok(bytes)
    }

    fn close(&self) {
        drop_quietly(self.swap(None));
    }

    /// What a copy of the files can't take along: the number of the log's file, number and time of
    /// change of the file `conf`, which sled writes once, when it makes the database.
    fn origin(&self) -> Result<Vec<u8>, StoreError> {
        let meta = |name| {
            let path = self.path.join(name);
            fs::metadata(&path).map_err(|e| StoreError::Io(format!("{}: {e}", path.display())))
        };
        let (log, conf) = (meta(LOG)?, meta("conf")?);
        let (at, ns) = (conf.ctime(), conf.ctime_nsec());
        Ok(format!("{} {} {at} {ns}", log.ino(), conf.ino()).into_bytes())
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

impl Sled {
    /// After a failed fdatasync the kernel counts pages as clean that never reached the disk. What
    /// is read from now on must come from there: it decides which batch is durable.
    fn distrust_cache(&self) {
        let dropped = File::open(self.path.join(LOG)).and_then(|log| {
            rustix::fs::fadvise(&log, 0, None, rustix::fs::Advice::DontNeed).map_err(Into::into)
        });
        if let Err(error) = dropped {
            tracing::warn!(%error, "the cache of the database could not be dropped");
        }
    }
}

/// How long sled's own threads may hold the database after it was dropped, in tries of 1 ms.
const DROP_TRIES: usize = 2000;

/// Drops the database and waits until sled's threads have let go of its lock, so that it can be
/// opened again at once. sled panics when its last flush fails; everything acknowledged is on
/// disk by then.
fn drop_quietly(open: Option<Open>) {
    let Some(Open { db, log }) = open else {
        return;
    };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(db))) {
        tracing::warn!(
            reason = panic_text(&*panic),
            "the engine panicked when it closed"
        );
    }
    for _ in 0..DROP_TRIES {
        // Closing the file would unlock it, were there no child process with a copy of it.
        let free = rustix::fs::flock(&log, FlockOperation::NonBlockingLockExclusive)
            .and_then(|()| rustix::fs::flock(&log, FlockOperation::Unlock));
        if free.is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    tracing::warn!("the engine still holds its lock");
}

/// sled refuses to open beside a snapshot that a crash left unfinished.
fn remove_unfinished_snapshots(path: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            tracing::info!(file = %entry.path().display(), "removed an unfinished snapshot");
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// How many directories `create_dir_all` will make for `path`.
fn count_missing(path: &Path) -> usize {
    path.ancestors().take_while(|dir| !dir.exists()).count()
}

/// Files that sled just created have names and contents in memory only: a power cut would take
/// the database with all that was committed. Syncs them, their directory, and the one that names
/// it; more when more directories are new.
fn sync_created(path: &Path, new_dirs: usize) -> std::io::Result<()> {
    for entry in fs::read_dir(path)? {
        File::open(entry?.path())?.sync_all()?;
    }
    let path = path.canonicalize()?;
    File::open(&path)?.sync_all()?;
    for dir in path.ancestors().skip(1).take(new_dirs.saturating_add(1)) {
        match File::open(dir) {
            Ok(dir) => dir.sync_all()?,
            // Not ours to read, so none of ours was created there.
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => break,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn translate(path: &Path, e: sled::Error) -> StoreError {
    match e {
        sled::Error::Io(e) if e.to_string().contains("could not acquire lock") => {
            StoreError::InUse {
                path: path.display().to_string(),
            }
        }
        sled::Error::Io(e) => StoreError::Io(format!("{}: {e}", path.display())),
        e @ (sled::Error::Corruption { .. }
        | sled::Error::Unsupported(_)
        | sled::Error::ReportableBug(_)
        | sled::Error::CollectionNotFound(_)) => corrupt(path, &e.to_string()),
    }
}
