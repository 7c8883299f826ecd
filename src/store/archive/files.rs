//! The files of packages in an archive, behind its rows: each once, by its hash.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use sha2::{Digest, Sha256};

use super::{ArchiveError, Hashing};
use crate::store::StoreError;
use crate::store::kv::Kv;
use crate::store::package_files::{FilesError, PackageFiles, Receiving};
use crate::store::packages::{FileHash, PackageFile, PackageRecord};
use crate::store::rows;

/// Bytes of a file read in one go.
const CHUNK: usize = 64 * 1024;

/// The file of a package's row; of one that can't be read, none.
pub(super) fn file_of<E: Kv>(
    engine: &E,
    row: &[u8],
) -> Result<Option<(FileHash, PackageFile)>, StoreError> {
    let whole = rows::join(row.to_vec(), |part| engine.get(part))?;
    let package = whole.and_then(|row| rows::decode::<PackageRecord>(&row).ok());
    let file = package.and_then(|package| package.file);
    Ok(file.map(|file| (file.sha256, file)))
}

/// Writes the files that are there, in order of hashes. Each is read twice: what is begun must be
/// whole.
pub(super) fn write_files(
    out: &mut dyn Write,
    package_files: &PackageFiles,
    wanted: BTreeMap<FileHash, PackageFile>,
) -> Result<(u64, Vec<FilesError>), ArchiveError> {
    let (mut files, mut left_out) = (0_u64, Vec::new());
    for file in wanted.into_values() {
        if let Err(e) = package_files.check(file) {
            left_out.push(e);
            continue;
        }
        out.write_all(&[1])?;
        out.write_all(&file.sha256.0)?;
        out.write_all(&file.size.to_be_bytes())?;
        package_files.copy(file, out)?;
        files = files.saturating_add(1);
    }
    out.write_all(&[0])?;
    Ok((files, left_out))
}

/// Reads the files of packages into the places that they are given; `None`: nowhere.
pub(super) fn read_files(
    from: &mut Hashing<&mut dyn Read>,
    place: &mut dyn FnMut(FileHash) -> Result<Option<Receiving>, FilesError>,
) -> Result<(), ArchiveError> {
    let mut chunk = vec![0; CHUNK];
    loop {
        match from.take_array::<1>()? {
            [0] => return Ok(()),
            [1] => {}
            [found] => return Err(ArchiveError::Mark { found }),
        }
        let file = FileHash(from.take_array()?);
        let mut left = u64::from_be_bytes(from.take_array()?);
        let mut receiving = place(file)?;
        let mut hash = Sha256::new();
        while left > 0 {
            let len = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let part = chunk.get_mut(..len).unwrap_or_default();
            from.fill(part)?;
            hash.update(&*part);
            if let Some(receiving) = &mut receiving {
                receiving.write(part)?;
            }
            left = left.saturating_sub(u64::try_from(len).unwrap_or(left));
        }
        let found = FileHash(hash.finalize().into());
        if found != file {
            return Err(ArchiveError::File { file, found });
        }
        if let Some(receiving) = receiving {
            receiving.finish()?;
        }
    }
}
