//! The fjall engine (fjall 3): a log-structured tree. Writes go to a journal, are sorted in memory, and
//! become tables in the background.
//!
//! - One thread writes: batch, then `persist(SyncData)`, which is fdatasync of the journal.
//! - Reads go through snapshots: a keyspace that is read directly shows half of a batch.
//! - A failed write or sync poisons fjall for good, as does a table that could not be written:
//!   [`Kv::recover`] drops the database and opens it anew.
//! - A power cut may leave the journal's last batch in pieces, and a disk may damage any: `journal` tells one
//!   from the other before fjall reads.

mod journal;

use std::fs::{self, File};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};
use rustix::fs::FlockOperation;

use self::journal::JournalError;
use super::damage::{corrupt, panic_text};
use super::kv::{Kv, KvStore, Order, Visit, Writes};
use super::room::Room;
use super::seal::Sealer;
use super::{StoreError, StoreSettings};

/// A store in a directory.
pub type FjallStore = KvStore<Fjall>;

impl FjallStore {
    /// Opens or creates the store in this directory.
    pub fn open(path: &Path, settings: &StoreSettings, sealer: Sealer) -> Result<Self, StoreError> {
        Self::start(Fjall::open(path, settings)?, settings, sealer)
    }
}

/// The engine: one keyspace of a fjall database.
#[derive(Debug)]
pub struct Fjall {
    path: PathBuf,
    sizes: Sizes,
    room: Room,
    /// `None` while the database is closed or could not be opened again.
    open: RwLock<Option<Open>>,
}

/// Bytes of memory.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    cache: u64,
    /// Rows that are sorted in memory before they become a table.
    memtable: u64,
}

impl Sizes {
    /// Half of the cache for rows on their way, which are the newest and most read.
    fn of(settings: &StoreSettings) -> Self {
        let cache = settings.cache_mb.saturating_mul(MB);
        Self {
            cache,
            memtable: (cache / 2).clamp(4 * MB, 64 * MB),
        }
    }
}

struct Open {
    rows: Keyspace,
    db: Database,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").finish_non_exhaustive()
    }
}

const MB: u64 = 1024 * 1024;

/// The one keyspace.
const ROWS: &str = "rows";

/// Journals are kept until their rows are in tables, and read again at a start.
const JOURNALS_MAX: u64 = 128 * MB;

/// Tables open at the same time.
const FILES_MAX: usize = 256;

/// What fjall makes in the directory of a database; the marker comes last.
pub(super) const MARKER: &str = "version";
const LOCK: &str = "lock";
const FIRST_JOURNAL: &str = "0.jnl";
const TABLES: &str = "keyspaces";

/// A file of ours: the keyspace has been made.
const COMPLETE: &str = "complete";

impl Fjall {
    /// Opens or creates the database in this directory.
    pub fn open(path: &Path, settings: &StoreSettings) -> Result<Self, StoreError> {
        let sizes = Sizes::of(settings);
        let open = Open::new(path, sizes)?;
        let reserve = settings.reserve_mb.saturating_mul(MB);
        Ok(Self {
            path: path.to_owned(),
            sizes,
            room: Room::new(path, reserve, sizes.memtable.min(8 * MB)),
            open: RwLock::new(Some(open)),
        })
    }

    fn with<T>(&self, work: impl FnOnce(&Open) -> fjall::Result<T>) -> Result<T, StoreError> {
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
    fn new(path: &Path, sizes: Sizes) -> Result<Self, StoreError> {
        let io = |e: io::Error| StoreError::Io(format!("{}: {e}", path.display()));
        make_dirs(path).map_err(io)?;
        remove_unfinished(path).map_err(io)?;
        journal::mend(path).map_err(|e| match e {
            JournalError::Io(e) => io(e),
            e @ JournalError::Damaged { .. } => corrupt(path, &e.to_string()),
        })?;
        let work = || {
            let was_complete = path.join(COMPLETE).exists();
            if was_complete && !path.join(MARKER).exists() {
                return Ok(None);
            }
            let db = Database::builder(path)
                .cache_size(sizes.cache)
                .max_journaling_size(JOURNALS_MAX)
                .max_cached_files(Some(FILES_MAX))
                .open()?;
            let options = || KeyspaceCreateOptions::default().max_memtable_size(sizes.memtable);
            // fjall takes a list of keyspaces that it can't read for an empty one.
            if was_complete && !db.keyspace_exists(ROWS) {
                return Ok(None);
            }
            let rows = db.keyspace(ROWS, options)?;
            db.persist(PersistMode::SyncAll)?;
            if !was_complete {
                complete(path)?;
            }
            Ok(Some(Self { rows, db }))
        };
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(Some(opened))) => Ok(opened),
            Ok(Ok(None)) => Err(corrupt(
                path,
                "its version or its list of keyspaces is lost",
            )),
            Ok(Err(e)) => Err(translate(path, e)),
            Err(panic) => Err(corrupt(path, &panic_text(&*panic))),
        }
    }
}

impl Kv for Fjall {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(|open| {
            Ok(open
                .db
                .snapshot()
                .get(&open.rows, key)?
                .map(|row| row.to_vec()))
        })
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
            let mut range = open.db.snapshot().range::<&[u8], _>(&open.rows, bounds);
            while let Some(row) = match order {
                Order::Ascending => range.next(),
                Order::Descending => range.next_back(),
            } {
                let (key, row) = row.into_inner()?;
                if visit(&key, &row).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    fn apply(&self, writes: &Writes) -> Result<(), StoreError> {
        self.with(|open| {
            let mut batch = open.db.batch();
            for (key, value) in writes {
                match value {
                    Some(row) => batch.insert(&open.rows, key.as_slice(), row.as_slice()),
                    None => batch.remove(&open.rows, key.as_slice()),
                }
            }
            batch.commit()
        })
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.room.forget();
        self.with(|open| open.db.persist(PersistMode::SyncData))
    }

    fn admit(&self, bytes: u64) -> Result<(), StoreError> {
        self.room.admit(bytes)
    }

    fn ready(&self) -> Result<(), StoreError> {
        self.with(|_| Ok(()))?;
        self.room.ready()
    }

    fn recover(&self) -> Result<(), StoreError> {
        drop_quietly(&self.path, self.swap(None));
        self.room.ready()?;
        distrust_cache(&self.path);
        // Reads fail meanwhile, and don't wait.
        let open = Open::new(&self.path, self.sizes)?;
        self.swap(Some(open));
        Ok(())
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        size_of(&self.path).map_err(|e| StoreError::Io(format!("{}: {e}", self.path.display())))
    }

    fn close(&self) {
        drop_quietly(&self.path, self.swap(None));
    }

    /// What a copy of the files can't take along: the number and the time of change of the file that fjall
    /// writes once, when it makes the database.
    fn origin(&self) -> Result<Vec<u8>, StoreError> {
        let path = self.path.join(MARKER);
        let meta =
            fs::metadata(&path).map_err(|e| StoreError::Io(format!("{}: {e}", path.display())))?;
        let (at, ns) = (meta.ctime(), meta.ctime_nsec());
        Ok(format!("{} {at} {ns}", meta.ino()).into_bytes())
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

/// How long fjall's own threads may hold the database after it was dropped, in tries of 1 ms.
const DROP_TRIES: usize = 2000;

/// Drops the database and waits until its lock is free, so that it can be opened again at once.
fn drop_quietly(path: &Path, open: Option<Open>) {
    let Some(Open { rows, db }) = open else {
        return;
    };
    drop(rows);
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(db))) {
        let reason = panic_text(&*panic);
        tracing::warn!(reason, "the engine panicked when it closed");
    }
    let Ok(lock) = File::open(path.join(LOCK)) else {
        return;
    };
    for _ in 0..DROP_TRIES {
        let free = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .and_then(|()| rustix::fs::flock(&lock, FlockOperation::Unlock));
        if free.is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    tracing::warn!("the engine still holds its lock");
}

/// A start that was cut off before the database was made: fjall would stumble over what it left. Nothing was
/// written yet.
fn remove_unfinished(path: &Path) -> io::Result<()> {
    let has = |file| path.join(file).exists();
    if has(MARKER) || has(COMPLETE) || !has(FIRST_JOURNAL) {
        return Ok(());
    }
    tracing::info!(path = %path.display(), "removed a database that was never finished");
    fs::remove_file(path.join(FIRST_JOURNAL))?;
    fs::remove_dir_all(path.join(TABLES)).or_else(absent)
}

/// Notes that the keyspace is there.
fn complete(path: &Path) -> io::Result<()> {
    File::create(path.join(COMPLETE))?.sync_all()?;
    File::open(path)?.sync_all()
}

fn absent(e: io::Error) -> io::Result<()> {
    match e.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(e),
    }
}

/// After a failed fdatasync the kernel counts pages as clean that never reached the disk. What is read
/// from now on must come from there: it decides which batch is durable.
fn distrust_cache(path: &Path) {
    for journal in journal::journals(path).unwrap_or_default() {
        let dropped = File::open(&journal).and_then(|journal| {
            rustix::fs::fadvise(&journal, 0, None, rustix::fs::Advice::DontNeed).map_err(Into::into)
        });
        if let Err(error) = dropped {
            tracing::warn!(%error, "the cache of a journal could not be dropped");
        }
    }
}

/// Bytes that the files take on disk: journals are longer than what was written to them.
fn size_of(path: &Path) -> io::Result<u64> {
    let mut bytes = 0_u64;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        // Tables come and go while this looks.
        let found = entry.metadata().and_then(|meta| match meta.is_dir() {
            true => size_of(&entry.path()),
            false => Ok(meta.blocks().saturating_mul(512)),
        });
        bytes = bytes.saturating_add(found.or_else(|e| absent(e).map(|()| 0))?);
    }
    Ok(bytes)
}

/// Directories that are made for `path`, and the one above them, synced: fjall syncs what lies within.
fn make_dirs(path: &Path) -> io::Result<()> {
    let missing = path.ancestors().take_while(|dir| !dir.exists()).count();
    fs::create_dir_all(path)?;
    let path = path.canonicalize()?;
    for dir in path.ancestors().take(missing.saturating_add(1)) {
        match File::open(dir) {
            Ok(dir) => dir.sync_all()?,
            // Not ours to read, so none of ours was created there.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => break,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn translate(path: &Path, e: fjall::Error) -> StoreError {
    match e {
        fjall::Error::Locked => StoreError::InUse {
            path: path.display().to_string(),
        },
        // What a damaged file names is not there, or ends too early.
        fjall::Error::Io(e) | fjall::Error::Storage(fjall::LsmError::Io(e))
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData
            ) =>
        {
            corrupt(path, &e.to_string())
        }
        fjall::Error::Io(e) | fjall::Error::Storage(fjall::LsmError::Io(e)) => {
            StoreError::Io(format!("{}: {e}", path.display()))
        }
        fjall::Error::Poisoned => {
            StoreError::Io(format!("{}: an earlier write failed", path.display()))
        }
        e => corrupt(path, &e.to_string()),
    }
}
