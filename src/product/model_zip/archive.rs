//! Zip bytes to files and back, within bounds: what is packed decides how much is unpacked, so both
//! are counted. Names with `..`, from the root or a drive, encrypted entries, links and doubles are
//! refused.

use std::io::{Cursor, Read, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::PackageError;

/// Entries of a package. A model has at most 500 services, each with a folder or two.
pub const ENTRIES_MAX: usize = 1000;
/// Bytes of all files unpacked.
pub const UNPACKED_MAX: u64 = 8 * 1024 * 1024;
/// Characters of a file's name.
const NAME_MAX: usize = 512;

/// One file of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// As in the package, with `/` between folders.
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// The files whose last part of the name is `wanted`; all others are counted and left out.
pub(super) fn unpack(bytes: &[u8], wanted: fn(&str) -> bool) -> Result<Vec<File>, PackageError> {
    let mut archive =
        ZipArchive::new(Cursor::new(bytes)).map_err(|e| PackageError::NotZip(e.to_string()))?;
    if archive.len() > ENTRIES_MAX {
        let got = archive.len();
        return Err(PackageError::Entries { got });
    }
    if archive.has_duplicate_names() {
        return Err(PackageError::Duplicate);
    }
    let mut files = Vec::new();
    let mut left = UNPACKED_MAX;
    for index in 0..archive.len() {
        let (name, is_dir) = {
            let entry = archive
                .by_index_raw(index)
                .map_err(|e| damaged(index, &e))?;
            let name = entry.name().map_err(|e| damaged(index, &e))?.into_owned();
            if entry.encrypted() {
                return Err(PackageError::Encrypted(shown(&name)));
            }
            let kind = entry.unix_mode().unwrap_or(0) & 0o170_000;
            if kind == 0o120_000 {
                return Err(PackageError::Link(shown(&name)));
            }
            (check_name(&name)?, entry.is_dir())
        };
        if is_dir || name.ends_with('/') {
            continue;
        }
        let entry = archive.by_index(index).map_err(|e| damaged(index, &e))?;
        let mut bytes = Vec::new();
        // One byte more than may be: then it is too much.
        let read = entry.take(left.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|e| PackageError::Damaged(format!("{}: {e}", shown(&name))))?;
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        left = left.checked_sub(len).ok_or(PackageError::Unpacked)?;
        let last = name.rsplit('/').next().unwrap_or_default();
        if wanted(last) && !is_foreign(&name) {
            files.push(File { name, bytes });
        }
    }
    Ok(files)
}

/// What a certain operating system puts beside each file.
fn is_foreign(name: &str) -> bool {
    name.split('/').any(|part| part == "__MACOSX")
}

/// A name relative to the package, with `/` between its parts.
fn check_name(name: &str) -> Result<String, PackageError> {
    let refuse = || PackageError::Name(shown(name));
    if name.chars().count() > NAME_MAX || name.contains('\0') {
        return Err(refuse());
    }
    let name = name.replace('\\', "/");
    let from_root = name.starts_with('/') || name.get(1..2) == Some(":");
    if name.is_empty() || from_root || name.split('/').any(|part| part == "..") {
        return Err(refuse());
    }
    Ok(name)
}

/// Files as a package: the same for the same files.
pub(super) fn pack(files: &[File]) -> Result<Vec<u8>, PackageError> {
    let failed = |e: &dyn std::fmt::Display| PackageError::Damaged(e.to_string());
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for file in files {
        let name = file.name.as_str();
        writer.start_file(name, options).map_err(|e| failed(&e))?;
        writer.write_all(&file.bytes).map_err(|e| failed(&e))?;
    }
    let written = writer.finish().map_err(|e| failed(&e))?;
    Ok(written.into_inner())
}

fn damaged(index: usize, error: &dyn std::fmt::Display) -> PackageError {
    PackageError::Damaged(format!("entry {}: {error}", index.saturating_add(1)))
}

/// A name for an error: short, and on one line.
fn shown(name: &str) -> String {
    let short: String = name.chars().take(80).collect();
    format!("{short:?}")
}
