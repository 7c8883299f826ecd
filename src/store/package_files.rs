//! The files of packages: `<data>/packages/<SHA-256 as 64 hexadecimal digits>`, beside the database.
//!
//! A file is written under a name of its own (`.upload-…`), synced, renamed to its hash, and the directory
//! synced, before any row names it; so what a row names is there, whole. What a crash leaves is
//! swept at the next start: uploads that were not finished, and files that no row names. Everything here
//! blocks. Errors: [`FilesError`].

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hashbrown::HashSet;
use sha2::{Digest, Sha256};

use super::packages::{FileHash, PackageFile};

/// The directory in the data directory.
pub const DIRECTORY: &str = "packages";

/// How the names of unfinished uploads begin.
const UPLOAD: &str = ".upload-";

/// Bytes read in one go.
const CHUNK: usize = 64 * 1024;

/// Why a file can't be kept or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    #[error("{path} is missing")]
    Missing { path: String },
    #[error("{path} is damaged: {reason}")]
    Damaged { path: String, reason: String },
    #[error("{path}: {reason}")]
    Io { path: String, reason: String },
}

impl FilesError {
    /// Stable word for logs and messages; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "file_missing",
            Self::Damaged { .. } => "file_damaged",
            Self::Io { .. } => "file_io",
        }
    }

    fn io(path: &Path) -> impl Fn(io::Error) -> Self + Copy + '_ {
        |e| Self::of(path, &e)
    }

    fn of(path: &Path, e: &io::Error) -> Self {
        let path = path.display().to_string();
        if e.kind() == io::ErrorKind::NotFound {
            return Self::Missing { path };
        }
        let reason = e.to_string();
        Self::Io { path, reason }
    }
}

/// The files of all packages of one server.
#[derive(Debug, Clone)]
pub struct PackageFiles {
    dir: PathBuf,
}

impl PackageFiles {
    /// Those of a data directory; nothing is created yet.
    pub fn of(data: &Path) -> Self {
        Self {
            dir: data.join(DIRECTORY),
        }
    }

    pub fn directory(&self) -> &Path {
        &self.dir
    }

    /// Where the file with this hash lies.
    pub fn path(&self, hash: FileHash) -> PathBuf {
        self.dir.join(hash.to_string())
    }

    /// Deletes what no row names. Returns how many files went.
    pub fn sweep(&self, needed: &HashSet<FileHash>) -> Result<usize, FilesError> {
        let io = FilesError::io(&self.dir);
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(e) => return Err(io(e)),
        };
        let mut swept = 0_usize;
        for entry in entries {
            let name = entry.map_err(io)?.file_name();
            let Some(name) = name.to_str() else { continue };
            let is_left = match FileHash::parse(name) {
                Some(hash) => !needed.contains(&hash),
                // Other files are somebody's.
                None => name.starts_with(UPLOAD),
            };
            if is_left {
                let path = self.dir.join(name);
                fs::remove_file(&path).map_err(FilesError::io(&path))?;
                swept = swept.saturating_add(1);
            }
        }
        Ok(swept)
    }

    fn create(&self) -> Result<(), FilesError> {
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir);
        made.map_err(FilesError::io(&self.dir))
    }

    /// Bytes that the file system has room for.
    pub fn free_bytes(&self) -> Result<u64, FilesError> {
        self.create()?;
        let stat = rustix::fs::statvfs(&self.dir);
        let stat = stat.map_err(|e| FilesError::of(&self.dir, &e.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Begins to write a file.
    pub fn receive(&self) -> Result<Receiving, FilesError> {
        self.create()?;
        let mut salt = [0; 8];
        getrandom::fill(&mut salt).map_err(|e| FilesError::Io {
            path: self.dir.display().to_string(),
            reason: format!("no randomness: {e}"),
        })?;
        let path = self
            .dir
            .join(format!("{UPLOAD}{:016x}", u64::from_be_bytes(salt)));
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(FilesError::io(&path))?;
        Ok(Receiving {
            files: self.clone(),
            path,
            file,
            hash: Sha256::new(),
            size: 0,
        })
    }

    /// Opens a file that a row names; its size is checked, its bytes are not.
    pub fn open(&self, wanted: PackageFile) -> Result<File, FilesError> {
        let path = self.path(wanted.sha256);
        let io = FilesError::io(&path);
        let file = File::open(&path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        if size != wanted.size {
            return Err(FilesError::Damaged {
                path: path.display().to_string(),
                reason: format!("it has {size} bytes, its package has {}", wanted.size),
            });
        }
        Ok(file)
    }

    /// Reads a whole file against its hash.
    pub fn check(&self, wanted: PackageFile) -> Result<(), FilesError> {
        self.copy(wanted, &mut io::sink())
    }

    /// Writes a whole file to `out`, checking it against its hash.
    pub fn copy(&self, wanted: PackageFile, out: &mut dyn Write) -> Result<(), FilesError> {
        let path = self.path(wanted.sha256);
        let io = FilesError::io(&path);
        let mut file = self.open(wanted)?;
        let mut hash = Sha256::new();
        let mut chunk = vec![0; CHUNK];
        let mut left = wanted.size;
        while left > 0 {
            let len = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let part = chunk.get_mut(..len).unwrap_or_default();
            file.read_exact(part).map_err(io)?;
            hash.update(&*part);
            out.write_all(part).map_err(io)?;
            left = left.saturating_sub(u64::try_from(len).unwrap_or(left));
        }
        let found = FileHash(hash.finalize().into());
        if found != wanted.sha256 {
            return Err(FilesError::Damaged {
                path: path.display().to_string(),
                reason: format!("its SHA-256 is {found}"),
            });
        }
        Ok(())
    }

    /// Deletes a file that no row names any more.
    pub fn remove(&self, hash: FileHash) -> Result<(), FilesError> {
        let path = self.path(hash);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(FilesError::of(&path, &e)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// A file that is being written. Dropped before [`Receiving::finish`], it leaves nothing.
#[derive(Debug)]
pub struct Receiving {
    files: PackageFiles,
    path: PathBuf,
    file: File,
    hash: Sha256,
    size: u64,
}

impl Receiving {
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FilesError> {
        let written = self.file.write_all(bytes);
        written.map_err(FilesError::io(&self.path))?;
        self.hash.update(bytes);
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.size = self.size.saturating_add(len);
        Ok(())
    }

    /// Bytes so far.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// What was written, by its hash. It is not kept yet.
    pub fn seal(&mut self) -> Result<PackageFile, FilesError> {
        let synced = self.file.sync_all();
        synced.map_err(FilesError::io(&self.path))?;
        Ok(PackageFile {
            sha256: FileHash(self.hash.clone().finalize().into()),
            size: self.size,
        })
    }

    /// Keeps the file under its hash. When this returns, a power cut does not take it away.
    pub fn finish(mut self) -> Result<PackageFile, FilesError> {
        let file = self.seal()?;
        let path = self.files.path(file.sha256);
        fs::rename(&self.path, &path).map_err(FilesError::io(&path))?;
        let dir = &self.files.dir;
        let synced = File::open(dir).and_then(|dir| dir.sync_all());
        synced.map_err(FilesError::io(dir))?;
        Ok(file)
    }
}

impl Drop for Receiving {
    /// After `finish` there is nothing under this name.
    fn drop(&mut self) {
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(error = %e, path = %self.path.display(), "an upload stays until the next start");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &PackageFiles) -> Vec<String> {
        let entries = fs::read_dir(files.directory()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn kept(files: &PackageFiles, bytes: &[u8]) -> PackageFile {
        let mut receiving = files.receive().unwrap();
        for part in bytes.chunks(7) {
            receiving.write(part).unwrap();
        }
        receiving.finish().unwrap()
    }

    #[test]
    fn a_file_lies_under_its_hash_and_a_broken_upload_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let files = PackageFiles::of(dir.path());
        // FIPS 180-2, appendix B.1.
        let abc = kept(&files, b"abc");
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((abc.size, abc.sha256), (3, FileHash::parse(hash).unwrap()));
        let mut broken = files.receive().unwrap();
        broken.write(b"half").unwrap();
        assert_eq!(names(&files).len(), 2);
        drop(broken);
        assert_eq!(names(&files), [hash]);
        assert_eq!(kept(&files, b"abc"), abc, "again");
        assert_eq!(names(&files), [hash]);
        let mut copied = Vec::new();
        files.copy(abc, &mut copied).unwrap();
        assert_eq!(copied, b"abc");
        files.remove(abc.sha256).unwrap();
        files.remove(abc.sha256).unwrap();
        assert_eq!(files.check(abc).unwrap_err().kind(), "file_missing");
    }

    #[test]
    fn what_a_crash_leaves_is_swept_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let files = PackageFiles::of(dir.path());
        assert_eq!(files.sweep(&HashSet::new()).unwrap(), 0, "an empty start");
        let (one, two) = (kept(&files, b"one"), kept(&files, b"two"));
        let mut left = files.receive().unwrap();
        left.write(b"torn").unwrap();
        std::mem::forget(left);
        fs::write(files.directory().join("notes.txt"), "mine").unwrap();
        assert_eq!(
            files.sweep(&std::iter::once(two.sha256).collect()).unwrap(),
            2
        );
        assert_eq!(
            names(&files),
            [two.sha256.to_string(), "notes.txt".to_owned()]
        );
        assert_eq!(files.check(one).unwrap_err().kind(), "file_missing");
    }

    #[test]
    fn damage_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let files = PackageFiles::of(dir.path());
        let file = kept(&files, &[7; 200_000]);
        files.check(file).unwrap();
        let path = files.path(file.sha256);
        let mut bytes = fs::read(&path).unwrap();
        bytes[150_000] = 8;
        fs::write(&path, &bytes).unwrap();
        let told = files.check(file).unwrap_err();
        assert_eq!(told.kind(), "file_damaged");
        fs::write(&path, &bytes[..199_999]).unwrap();
        let told = files.open(file).unwrap_err().to_string();
        assert!(
            told.ends_with("it has 199999 bytes, its package has 200000"),
            "{told}"
        );
    }
}
