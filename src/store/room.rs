//! Room on the file system of a database: commits are refused before an engine meets its end.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::StoreError;

/// Bytes that reach the disk for each byte of a row: engines write rows to a log first, and again when
/// they put them in order.
const AMPLIFICATION: u64 = 4;

/// The room of one database.
#[derive(Debug)]
pub(super) struct Room {
    place: PathBuf,
    reserve: u64,
    /// Must be there beside the reserve. So many bytes are written until it is looked up again.
    least: u64,
    /// Bytes that may be written before that.
    allowance: AtomicU64,
}

impl Room {
    /// `place`: a directory of the database; `reserve` and `least` in bytes.
    pub(super) fn new(place: &Path, reserve: u64, least: u64) -> Self {
        Self {
            place: place.to_owned(),
            reserve,
            least,
            allowance: AtomicU64::new(0),
        }
    }

    /// Whether a commit of so many bytes can be taken.
    pub(super) fn admit(&self, bytes: u64) -> Result<(), StoreError> {
        let need = bytes.saturating_mul(AMPLIFICATION);
        let allowance = self.allowance.load(Ordering::Relaxed);
        let left = match allowance.checked_sub(need) {
            Some(left) if allowance > 0 => left,
            _ => {
                self.look(need.max(self.least))?;
                self.least.saturating_sub(need)
            }
        };
        self.allowance.store(left, Ordering::Relaxed);
        Ok(())
    }

    /// Whether commits would be taken now.
    pub(super) fn ready(&self) -> Result<(), StoreError> {
        self.look(self.least)
    }

    /// The next commit looks the room up.
    pub(super) fn forget(&self) {
        self.allowance.store(0, Ordering::Relaxed);
    }

    /// Whether there is so much above the reserve.
    fn look(&self, need: u64) -> Result<(), StoreError> {
        let stat = rustix::fs::statvfs(&self.place)
            .map_err(|e| StoreError::Io(format!("{}: {e}", self.place.display())))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let need = self.reserve.saturating_add(need);
        if free < need {
            return Err(StoreError::Full { free, need });
        }
        Ok(())
    }
}
