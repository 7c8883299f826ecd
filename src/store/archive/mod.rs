//! A database as one portable file, whatever the engine.
//!
//! ```text
//! "STRAITDB"  archive version u32  database format u32
//! length u32  CBOR [key, row]                       for each row, in order of keys
//! 00000000    rows u64
//! 01  SHA-256 of the file  size u64  its bytes      for each file of a package, since version 2
//! 00                                                behind the last one, since version 2
//! SHA-256 of all bytes before it, 32 bytes
//! ```
//!
//! Numbers are big-endian. Rows are as the engine holds them, indexes and parts too, so that an
//! old archive becomes an old database, which migrates when it is opened. Sealed values stay
//! sealed: the meta row `seal` tells which key opens them. What belongs to this one copy of the
//! database (sessions, its generation) is left out: [`is_portable`]. Errors: [`ArchiveError`].

mod files;

use std::collections::BTreeMap;
use std::io::{Read, Write};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::check::each_chunk;
use super::key_file::KeyError;
use super::keys::{self, Meta, Table};
use super::kv::{Kv, Writes};
use super::package_files::{FilesError, PackageFiles, Receiving};
use super::packages::FileHash;
use super::rows::ROW_WHOLE_MAX;
use super::seal::CHECK_LEN;
use super::{StoreError, migrate};
use crate::base::cbor;
use files::{file_of, read_files, write_files};

const MAGIC: [u8; 8] = *b"STRAITDB";

/// The archive version that this version writes. It reads all up to it.
pub const VERSION: u32 = 2;

/// The first version with the files of packages.
const WITH_FILES: u32 = 2;

/// Longest CBOR of a row: a row, its key and their headers.
const ENTRY_MAX: usize = ROW_WHOLE_MAX + 512;

/// Rows written to the engine in one step.
const STEP: usize = 512;

/// Why an archive can't be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    #[error("the file does not begin with STRAITDB: it is no archive")]
    Magic,
    #[error("archive version is {found}, this version reads up to {VERSION}")]
    Version { found: u32 },
    #[error(
        "database format is {found}, this version reads up to {}",
        migrate::NEWEST
    )]
    Format { found: u32 },
    #[error("the file ends in the middle")]
    Truncated,
    #[error("row {row} is {len} bytes long, {ENTRY_MAX} at most are possible")]
    Entry { row: u64, len: usize },
    #[error("row {row}: {reason}")]
    Row { row: u64, reason: String },
    #[error("the file says {want} rows, it has {got}")]
    Count { got: u64, want: u64 },
    #[error("SHA-256 does not match: the file was changed")]
    Checksum,
    #[error("the bytes of package file {file} have SHA-256 {found}")]
    File { file: FileHash, found: FileHash },
    #[error("behind the files of packages there is a byte {found:#04x}, expected 00 or 01")]
    Mark { found: u8 },
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error("the file goes on behind its checksum")]
    Trailing,
    #[error("{path} already has rows; an archive goes into an empty directory")]
    NotEmpty { path: String },
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}; nothing was written")]
    Key(#[from] KeyError),
}

impl ArchiveError {
    /// Stable word for messages and fixtures; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Magic => "magic",
            Self::Version { .. } => "version",
            Self::Format { .. } => "format",
            Self::Truncated => "truncated",
            Self::Entry { .. } => "entry",
            Self::Row { .. } => "row",
            Self::Count { .. } => "count",
            Self::Checksum => "checksum",
            Self::File { .. } => "file",
            Self::Mark { .. } => "mark",
            Self::Files(e) => e.kind(),
            Self::Trailing => "trailing",
            Self::NotEmpty { .. } => "not_empty",
            Self::Io(_) => "io",
            Self::Store(e) => e.kind(),
            Self::Key(e) => e.kind(),
        }
    }
}

/// One row, as CBOR `[key, row]`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry(
    #[serde(with = "serde_bytes")] Vec<u8>,
    #[serde(with = "serde_bytes")] Vec<u8>,
);

/// Whether the row under this key goes into archives.
fn is_portable_row(key: &[u8]) -> bool {
    Table::of(key).is_none_or(is_portable) && key != keys::meta(Meta::Generation)
}

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    pub rows: u64,
    /// Of packages.
    pub files: u64,
    /// Files that a package should have and the export did not find whole.
    pub left_out: Vec<FilesError>,
    /// Each has a secret.
    pub devices: u64,
    /// Of the database.
    pub format: u32,
    /// Tells which sealing key opens its sealed values; `None`: nothing is sealed.
    pub seal_check: Option<[u8; CHECK_LEN]>,
}

/// Whether a table goes into archives.
pub const fn is_portable(table: Table) -> bool {
    match table {
        // The number of the newest batch means nothing elsewhere, but does no harm.
        Table::Meta
        | Table::Devices
        | Table::States
        | Table::Nodes
        | Table::Order
        | Table::Members
        | Table::Products
        | Table::Codecs
        | Table::Settings
        | Table::History
        | Table::Raw
        | Table::Events
        | Table::Parts
        | Table::Apps
        | Table::Groups
        | Table::Tasks
        | Table::Subtasks
        | Table::Files
        | Table::Contents
        | Table::Certificates
        | Table::Audit
        | Table::Names
        | Table::Forwarding
        | Table::Queue
        | Table::Ended
        | Table::Submissions
        | Table::Deliveries
        | Table::SetAside
        | Table::CodecVersions
        | Table::Replays
        | Table::Packages
        | Table::PackageNames => true,
        // A restored counter would use numbers again, which breaks the keys.
        Table::Sessions => false,
    }
}

/// Writes every portable row, and the files of packages; `step` is called with the number of rows so
/// far. A file that is missing or damaged is left out: the rest must not be lost with it.
pub fn export<E: Kv>(
    engine: &E,
    package_files: &PackageFiles,
    out: &mut dyn Write,
    step: &mut dyn FnMut(u64),
) -> Result<Contents, ArchiveError> {
    let format = migrate::format(engine)?.ok_or_else(|| StoreError::Corrupt {
        path: engine.place(),
        reason: "it has no format number".to_owned(),
    })?;
    let seal_check = migrate::seal_check(engine)?;
    let mut out = Hashing::new(out);
    out.write_all(&MAGIC)?;
    out.write_all(&VERSION.to_be_bytes())?;
    out.write_all(&format.to_be_bytes())?;
    let (mut count, mut devices) = (0_u64, 0_u64);
    let mut failed = None;
    let mut wanted = BTreeMap::new();
    each_chunk(engine, &mut |rows| {
        for (key, row) in rows {
            if Table::of(&key) == Some(Table::Packages) {
                wanted.extend(file_of(engine, &row)?);
            }
            if failed.is_some() || !is_portable_row(&key) {
                continue;
            }
            let is_device = Table::of(&key) == Some(Table::Devices);
            devices = devices.saturating_add(u64::from(is_device));
            match write_entry(&mut out, Entry(key, row)) {
                Ok(()) => count = count.saturating_add(1),
                Err(e) => failed = Some(e),
            }
        }
        step(count);
        Ok(())
    })?;
    if let Some(e) = failed {
        return Err(e);
    }
    out.write_all(&0_u32.to_be_bytes())?;
    out.write_all(&count.to_be_bytes())?;
    let (files, left_out) = write_files(&mut out, package_files, wanted)?;
    let (out, sum) = out.finish();
    out.write_all(&sum)?;
    out.flush()?;
    Ok(Contents {
        rows: count,
        files,
        left_out,
        devices,
        format,
        seal_check,
    })
}

fn write_entry(out: &mut dyn Write, entry: Entry) -> Result<(), ArchiveError> {
    let bytes = cbor::encode(&entry).map_err(|e| StoreError::Io(e.to_string()))?;
    let len = u32::try_from(bytes.len()).map_err(|_| ArchiveError::Entry {
        row: 0,
        len: bytes.len(),
    })?;
    out.write_all(&len.to_be_bytes())?;
    out.write_all(&bytes)?;
    Ok(())
}

/// Reads a whole archive without keeping anything.
pub fn verify(from: &mut dyn Read, step: &mut dyn FnMut(u64)) -> Result<Contents, ArchiveError> {
    let mut devices = 0_u64;
    let mut seal_check = None;
    let mut files = 0_u64;
    let mut skip = |_: FileHash| {
        files = files.saturating_add(1);
        Ok(None)
    };
    let (format, rows) = read(from, step, &mut skip, &mut |row, Entry(key, value)| {
        let is_device = Table::of(&key) == Some(Table::Devices);
        devices = devices.saturating_add(u64::from(is_device));
        if key == keys::meta(Meta::Seal) {
            let check = <[u8; CHECK_LEN]>::try_from(value.as_slice());
            seal_check = Some(check.map_err(|_| ArchiveError::Row {
                row,
                reason: format!(
                    "a check value has {CHECK_LEN} bytes, this one {}",
                    value.len()
                ),
            })?);
        }
        Ok(())
    })?;
    if format > 1 && seal_check.is_none() {
        return Err(ArchiveError::Row {
            row: rows,
            reason: "no row before it holds the check value of the sealing key".to_owned(),
        });
    }
    Ok(Contents {
        rows,
        files,
        left_out: Vec::new(),
        devices,
        format,
        seal_check,
    })
}

/// Writes the rows of an archive, which [`verify`] accepted, into an empty engine. The format
/// number comes last: an import that stopped half-way is refused when it is opened. Sessions are not
/// taken, wherever the archive comes from. Files of packages go where the server looks for them. Returns
/// its number of rows.
pub fn import<E: Kv>(
    engine: &E,
    package_files: &PackageFiles,
    from: &mut dyn Read,
    step: &mut dyn FnMut(u64),
) -> Result<u64, ArchiveError> {
    if !migrate::is_empty(engine)? {
        return Err(ArchiveError::NotEmpty {
            path: engine.place(),
        });
    }
    let mut writes = Writes::new();
    let mut last = Writes::new();
    let mut receive = |_: FileHash| Ok(Some(package_files.receive()?));
    let (_, count) = read(from, step, &mut receive, &mut |_, Entry(key, row)| {
        if !is_portable_row(&key) {
            return Ok(());
        }
        if key == keys::meta(Meta::Format) {
            last.insert(key, Some(row));
            return Ok(());
        }
        writes.insert(key, Some(row));
        if writes.len() >= STEP {
            engine.apply(&writes)?;
            engine.sync()?;
            writes.clear();
        }
        Ok(())
    })?;
    engine.apply(&writes)?;
    engine.sync()?;
    engine.apply(&last)?;
    engine.sync()?;
    Ok(count)
}

fn read(
    from: &mut dyn Read,
    step: &mut dyn FnMut(u64),
    place: &mut dyn FnMut(FileHash) -> Result<Option<Receiving>, FilesError>,
    take: &mut dyn FnMut(u64, Entry) -> Result<(), ArchiveError>,
) -> Result<(u32, u64), ArchiveError> {
    let mut from = Hashing::new(from);
    if from.take_array::<8>()? != MAGIC {
        return Err(ArchiveError::Magic);
    }
    let found = u32::from_be_bytes(from.take_array()?);
    if !(1..=VERSION).contains(&found) {
        return Err(ArchiveError::Version { found });
    }
    let format = u32::from_be_bytes(from.take_array()?);
    if !(1..=migrate::NEWEST).contains(&format) {
        return Err(ArchiveError::Format { found: format });
    }
    let mut count = 0_u64;
    loop {
        let len = usize::try_from(u32::from_be_bytes(from.take_array()?)).unwrap_or(usize::MAX);
        if len == 0 {
            break;
        }
        if len > ENTRY_MAX {
            return Err(ArchiveError::Entry { row: count, len });
        }
        let mut bytes = vec![0; len];
        from.fill(&mut bytes)?;
        let entry = cbor::decode::<Entry>(&bytes).map_err(|e| ArchiveError::Row {
            row: count,
            reason: e.to_string(),
        })?;
        take(count, entry)?;
        count = count.saturating_add(1);
        if count.is_multiple_of(1024) {
            step(count);
        }
    }
    let want = u64::from_be_bytes(from.take_array()?);
    if want != count {
        return Err(ArchiveError::Count { got: count, want });
    }
    if found >= WITH_FILES {
        read_files(&mut from, place)?;
    }
    let (from, sum) = from.finish();
    let mut tail = Hashing::new(from);
    if tail.take_array::<32>()? != sum {
        return Err(ArchiveError::Checksum);
    }
    let (from, _) = tail.finish();
    if from.read(&mut [0])? != 0 {
        return Err(ArchiveError::Trailing);
    }
    step(count);
    Ok((format, count))
}

/// A reader or writer with the hash of what went through.
struct Hashing<T> {
    inner: T,
    hash: Sha256,
}

impl<T> Hashing<T> {
    fn new(inner: T) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
        }
    }

    fn finish(self) -> (T, [u8; 32]) {
        (self.inner, self.hash.finalize().into())
    }
}

impl Hashing<&mut dyn Read> {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), ArchiveError> {
        self.inner.read_exact(bytes).map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => ArchiveError::Truncated,
            _ => ArchiveError::Io(e),
        })?;
        self.hash.update(&*bytes);
        Ok(())
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], ArchiveError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }
}

impl Write for Hashing<&mut dyn Write> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let len = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..len).unwrap_or_default());
        Ok(len)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}
