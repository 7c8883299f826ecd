//! One process per data directory: an advisory lock on `<data>/lock`, held until dropped. The
//! kernel takes it back when the process dies, so no stale lock needs an operator.

use std::fs::{self, File};
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::StoreError;

/// The lock of a data directory.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

impl DataLock {
    /// Creates the directory where needed and locks it. Errors: `InUse`, `Io`.
    pub fn hold(data: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(data).map_err(|e| StoreError::Io(format!("{}: {e}", data.display())))?;
        Self::hold_existing(data)
    }

    /// Locks a directory that must be there. Errors: `InUse`, `Io`.
    pub fn hold_existing(data: &Path) -> Result<Self, StoreError> {
        let path = data.join("lock");
        let io = |e: std::io::Error| StoreError::Io(format!("{}: {e}", path.display()));
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(io)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(Errno::WOULDBLOCK) => Err(StoreError::InUse {
                path: data.display().to_string(),
            }),
            Err(e) => Err(io(e.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_holder_is_refused_until_the_first_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("new");
        let first = DataLock::hold(&data).unwrap();
        let second = DataLock::hold(&data);
        assert!(matches!(second, Err(StoreError::InUse { .. })));
        drop(first);
        DataLock::hold(&data).unwrap();
    }
}
