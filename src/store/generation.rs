//! Which copy of a database may go on with its DTLS sessions: the newest, where it lies.
//!
//! A session's send counter must never go back: with the same key, a number used twice breaks CCM
//! and GCM. So a database that was copied back, restored or moved to another machine ends every
//! session before it serves, and its devices shake hands anew. What tells:
//!
//! - The *generation file*, beside the sealing key as a rule, holds a number (20 digits, line end).
//!   The database notes that number, and the inode and time of change (ctime) of the file, which
//!   no copy keeps.
//! - The *origin* of the database ([`Kv::origin`]): the same for files inside its directory, so
//!   that a restored directory is known even when the generation file lies elsewhere.
//!
//! The number goes up at each start, then while sessions change ([`Generation::bump_if_changed`],
//! each minute) and at a clean stop, in three steps, of which each is durable before the next:
//!
//! ```text
//!              database                    file
//! a   number N, pending                    N
//! b   number N, pending                    N + 1 (in place, so the inode stays)
//! c   number N + 1, its inode and ctime    N + 1
//! ```
//!
//! After a crash in between, `pending` says why the file's number or ctime is ahead. That allows
//! no copy: what is copied in that moment has another origin where it is used.
//!
//! Not noticed: a whole file system or block device rolled back with both inside, which is why the
//! file may lie outside (`store.generation`, `store.sealing_key`). Errors: [`GenerationError`].

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::StoreError;
use super::keys::{self, Meta};
use super::kv::{Kv, KvStore};
use super::rows;

/// Why the generation can't be told or moved on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerationError {
    #[error("the generation file {path}: {source}; name another place (store.generation)")]
    File { path: String, source: io::Error },
    /// Somebody else's, and it would be written over.
    #[error(
        "{path} is no generation file: name another place (store.generation), or remove it, \
         which ends every DTLS session"
    )]
    Foreign { path: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl GenerationError {
    /// Stable word for logs and messages; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::File { .. } => "generation_file",
            Self::Foreign { .. } => "generation_foreign",
            Self::Store(e) => e.kind(),
        }
    }
}

/// What becomes of the sessions in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// This is the newest copy, where it was: they go on.
    Stand,
    /// They are gone from the database, for good.
    Ended { reason: Reason, sessions: u64 },
}

/// Why a database is not the newest copy where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It notes no generation: new, or just imported.
    New,
    /// It lies in other files than it noted: a copy, or copied back.
    Copied,
    /// There is no generation file.
    NoFile,
    /// The generation file is empty: a crash while it was made.
    NoNumber,
    /// The file holds the right number, but was written, or is a copy.
    OtherFile,
    /// The file is further than the database: this is an old database.
    OldDatabase { database: u64, file: u64 },
    /// The database is further than the file.
    OldFile { database: u64, file: u64 },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => write!(f, "the database is new or was imported"),
            Self::Copied => write!(f, "the database is a copy, or was copied back"),
            Self::NoFile => write!(f, "the generation file is missing"),
            Self::NoNumber => write!(f, "the generation file is empty"),
            Self::OtherFile => write!(f, "the generation file was copied or written"),
            Self::OldDatabase { database, file } => write!(
                f,
                "the database is older (generation {database}) than the generation file ({file})"
            ),
            Self::OldFile { database, file } => write!(
                f,
                "the generation file is older ({file}) than the database (generation {database})"
            ),
        }
    }
}

/// The generation of an open database. It alone writes the generation file.
#[derive(Debug)]
pub struct Generation {
    path: PathBuf,
    origin: Vec<u8>,
    at: Mutex<At>,
}

/// Where the counting stands.
#[derive(Debug, Clone, Copy)]
struct At {
    number: u64,
    stamp: Stamp,
    /// [`KvStore::session_commits`] when it was last moved on; `None`: not since the start.
    seen: Option<u64>,
}

/// What no copy of a file keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    inode: u64,
    changed_s: i64,
    changed_ns: i64,
}

/// The meta row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    number: u64,
    pending: bool,
    stamp: Stamp,
    #[serde(with = "serde_bytes")]
    origin: Vec<u8>,
}

/// The generation file as it was found.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// `None`: it is empty.
    number: Option<u64>,
    stamp: Stamp,
}

impl Generation {
    /// Judges the database and moves its generation on; ends every session unless it is the newest
    /// copy where it was. To be called once, before anything is served. Blocks on the disk.
    pub fn check<E: Kv>(
        store: &KvStore<E>,
        path: &Path,
    ) -> Result<(Self, Verdict), GenerationError> {
        let file_error = |source| GenerationError::File {
            path: path.display().to_string(),
            source,
        };
        let origin = store.engine().origin()?;
        let found = find(path).map_err(file_error)?;
        let found = found
            .transpose()
            .map_err(|Foreign| GenerationError::Foreign {
                path: path.display().to_string(),
            })?;
        let note = read_note(store.engine())?;
        let newest = [
            note.as_ref().map(|note| note.number),
            found.and_then(|found| found.number),
        ];
        let newest = newest.into_iter().flatten().max().unwrap_or(0);
        let (verdict, number, stamp) = match judge(note.as_ref(), found, &origin) {
            Ok((number, stamp)) => (Verdict::Stand, number, stamp),
            Err(reason) => {
                let sessions = store.end_sessions()?;
                // Nothing is left to lose, so a crash from here on does no harm.
                let number = newest.saturating_add(1);
                let stamp = write(path, number).map_err(file_error)?;
                (Verdict::Ended { reason, sessions }, number, stamp)
            }
        };
        let at = At {
            number,
            stamp,
            seen: None,
        };
        let generation = Self {
            path: path.to_owned(),
            origin,
            at: Mutex::new(at),
        };
        let moved = match verdict {
            Verdict::Stand => generation.bump(store),
            Verdict::Ended { .. } => generation.note(store, &at, false).map_err(Into::into),
        };
        tell(verdict);
        match moved {
            // A full disk is no reason not to start: the next bump makes up for it.
            Err(GenerationError::Store(e @ StoreError::Full { .. })) => {
                tracing::warn!(error = %e, "the generation stands for now");
            }
            moved => moved?,
        }
        Ok((generation, verdict))
    }

    /// Moves the generation on if a session changed since it last was; returns whether. An error
    /// ends nothing: the next call tries again. Blocks on the disk.
    pub fn bump_if_changed<E: Kv>(&self, store: &KvStore<E>) -> Result<bool, GenerationError> {
        let seen = self.at.lock().unwrap_or_else(PoisonError::into_inner).seen;
        if seen == Some(store.session_commits()) {
            return Ok(false);
        }
        self.bump(store)?;
        Ok(true)
    }

    /// Moves the generation on: older copies of the database are told from it from now on. Blocks
    /// on the disk.
    pub fn bump<E: Kv>(&self, store: &KvStore<E>) -> Result<(), GenerationError> {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = Some(store.session_commits());
        self.note(store, &at, true)?;
        let number = at.number.saturating_add(1);
        let stamp = write(&self.path, number).map_err(|source| GenerationError::File {
            path: self.path.display().to_string(),
            source,
        })?;
        let next = At {
            number,
            stamp,
            seen,
        };
        self.note(store, &next, false)?;
        *at = next;
        Ok(())
    }

    fn note<E: Kv>(&self, store: &KvStore<E>, at: &At, pending: bool) -> Result<(), StoreError> {
        let note = Note {
            number: at.number,
            pending,
            stamp: at.stamp,
            origin: self.origin.clone(),
        };
        let row = rows::encode(&note).map_err(|e| StoreError::Io(format!("generation: {e}")))?;
        store.note(Meta::Generation, row)
    }
}

/// The number and stamp of the file, when database and file belong together.
fn judge(note: Option<&Note>, found: Option<Found>, origin: &[u8]) -> Result<(u64, Stamp), Reason> {
    let note = note.ok_or(Reason::New)?;
    if note.origin != origin {
        return Err(Reason::Copied);
    }
    let found = found.ok_or(Reason::NoFile)?;
    let file = found.number.ok_or(Reason::NoNumber)?;
    let database = note.number;
    let same_file = found.stamp.inode == note.stamp.inode;
    let next = file == database.saturating_add(1);
    if note.pending && same_file && (file == database || next) {
        return Ok((file, found.stamp));
    }
    match file.cmp(&database) {
        std::cmp::Ordering::Greater => Err(Reason::OldDatabase { database, file }),
        std::cmp::Ordering::Less => Err(Reason::OldFile { database, file }),
        std::cmp::Ordering::Equal if found.stamp == note.stamp => Ok((file, found.stamp)),
        std::cmp::Ordering::Equal => Err(Reason::OtherFile),
    }
}

fn tell(verdict: Verdict) {
    match verdict {
        Verdict::Ended { reason, sessions } if sessions > 0 => tracing::warn!(
            %reason,
            sessions,
            "ended every DTLS session: devices will shake hands anew"
        ),
        Verdict::Stand | Verdict::Ended { .. } => {}
    }
}

/// A row that can't be read is no note: the sessions end.
fn read_note<E: Kv>(engine: &E) -> Result<Option<Note>, StoreError> {
    let row = engine.get(&keys::meta(Meta::Generation))?;
    Ok(row.and_then(|row| rows::decode(&row).ok()))
}

/// A file that holds something else than a number.
#[derive(Debug)]
struct Foreign;

fn find(path: &Path) -> io::Result<Option<Result<Found, Foreign>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut text = Vec::new();
    let stamp = stamp(&file)?;
    file.take(64).read_to_end(&mut text)?;
    if text.iter().all(|byte| *byte == 0) {
        let number = None;
        return Ok(Some(Ok(Found { number, stamp })));
    }
    let number = std::str::from_utf8(&text)
        .ok()
        .and_then(|text| text.trim_end().parse().ok());
    let found = number.map(|number| Found {
        number: Some(number),
        stamp,
    });
    Ok(Some(found.ok_or(Foreign)))
}

fn stamp(file: &File) -> io::Result<Stamp> {
    let meta = file.metadata()?;
    Ok(Stamp {
        inode: meta.ino(),
        changed_s: meta.ctime(),
        changed_ns: meta.ctime_nsec(),
    })
}

/// Writes the number in place, in a new file when there is none; durable.
fn write(path: &Path, number: u64) -> io::Result<Stamp> {
    let line = format!("{number:020}\n");
    let new = !path.exists();
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    file.write_all_at(line.as_bytes(), 0)?;
    // Of a file that a crash left there may be more.
    let len = u64::try_from(line.len()).unwrap_or(u64::MAX);
    if file.metadata()?.len() != len {
        file.set_len(len)?;
    }
    file.sync_all()?;
    if new {
        let parent = path.parent().filter(|dir| *dir != Path::new(""));
        File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
    }
    stamp(&file)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every way in which database and file can differ.
    #[test]
    fn only_the_newest_copy_where_it_was_goes_on() {
        let stamp = |inode, changed_s| Stamp {
            inode,
            changed_s,
            changed_ns: 5,
        };
        let note = |number, pending| {
            Some(Note {
                number,
                pending,
                stamp: stamp(1, 100),
                origin: b"here".to_vec(),
            })
        };
        let file = |number, stamp| {
            Some(Found {
                number: Some(number),
                stamp,
            })
        };
        let (same, written, copy) = (stamp(1, 100), stamp(1, 101), stamp(2, 100));
        let torn = Some(Found {
            number: None,
            stamp: written,
        });
        let old = |database, file| Err(Reason::OldDatabase { database, file });
        let ahead = |database, file| Err(Reason::OldFile { database, file });
        let table = [
            (note(7, false), file(7, same), Ok(7)),
            (note(7, false), file(7, written), Err(Reason::OtherFile)),
            (note(7, false), file(7, copy), Err(Reason::OtherFile)),
            (note(7, false), file(8, written), old(7, 8)),
            (note(7, false), file(6, same), ahead(7, 6)),
            (note(7, false), torn, Err(Reason::NoNumber)),
            (note(7, false), None, Err(Reason::NoFile)),
            // A crash before, while and after the file was written.
            (note(7, true), file(7, same), Ok(7)),
            (note(7, true), file(7, written), Ok(7)),
            (note(7, true), file(8, written), Ok(8)),
            (note(7, true), file(8, copy), old(7, 8)),
            (note(7, true), file(9, written), old(7, 9)),
            (note(7, true), file(6, written), ahead(7, 6)),
            (note(7, true), None, Err(Reason::NoFile)),
            (None, file(7, same), Err(Reason::New)),
            (None, None, Err(Reason::New)),
        ];
        for (row, (note, file, want)) in table.into_iter().enumerate() {
            let got = judge(note.as_ref(), file, b"here");
            assert_eq!(got.map(|(number, _)| number), want, "row {row}");
            if want.is_ok() {
                let elsewhere = judge(note.as_ref(), file, b"there");
                assert_eq!(elsewhere, Err(Reason::Copied), "row {row}");
            }
        }
    }

    #[test]
    fn files_are_written_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("generation");
        assert!(find(&path).unwrap().is_none());
        std::fs::write(&path, "something else, as a key").unwrap();
        assert!(find(&path).unwrap().unwrap().is_err());
        std::fs::write(&path, [0; 40]).unwrap();
        let torn = find(&path).unwrap().unwrap().unwrap();
        assert_eq!(torn.number, None);
        for number in [9, 10, u64::MAX] {
            let stamp = write(&path, number).unwrap();
            let found = find(&path).unwrap().unwrap().unwrap();
            assert_eq!((found.number, found.stamp), (Some(number), stamp));
            assert_eq!(stamp.inode, torn.stamp.inode);
        }
    }
}
