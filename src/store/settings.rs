//! What an operator sets of the store. Sizes in MB, ages in days.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Expiry;
use super::disk::EngineName;
use crate::base::time::Timestamp;

/// What an operator sets under `[store]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSettings {
    /// The engine of a new database; one that is there stays on its own.
    pub engine: EngineName,
    /// Memory for pages of the database.
    pub cache_mb: u64,
    /// Commits are refused while the file system has less room than this.
    pub reserve_mb: u64,
    /// Commits that may wait for the committer; more are refused as busy.
    pub queue_len: usize,
    /// Reported data older than this goes.
    pub history_days: u32,
    /// Uplinks that no codec could decode, older than this, go.
    pub raw_days: u32,
    /// Events older than this go, pushed or not.
    pub events_days: u32,
    /// Rows of the audit log older than this go.
    pub audit_days: u32,
    /// Commands that ended, created longer ago than this, go.
    pub commands_days: u32,
    /// The file with the sealing key; empty: `sealing.key` in the data directory.
    pub sealing_key: PathBuf,
    /// The file that tells a restored database from the newest; empty: beside the sealing key, with
    /// the extension `generation`.
    pub generation: PathBuf,
}

/// 48 MB of cache hold the hot pages of 75,000 devices; a reserve of 64 MB is a hundred segments
/// of the engine; 8192 commits are half a second of work.
impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            engine: EngineName::default(),
            cache_mb: 48,
            reserve_mb: 64,
            queue_len: 8192,
            history_days: 30,
            raw_days: 7,
            events_days: 3,
            audit_days: 90,
            commands_days: 30,
            sealing_key: PathBuf::new(),
            generation: PathBuf::new(),
        }
    }
}

impl StoreSettings {
    /// Where the sealing key of a server with this data directory lies.
    pub fn key_path(&self, data: &Path) -> PathBuf {
        if self.sealing_key.as_os_str().is_empty() {
            return data.join("sealing.key");
        }
        self.sealing_key.clone()
    }

    /// Where the generation file of a server with this data directory lies.
    pub fn generation_path(&self, data: &Path) -> PathBuf {
        if self.generation.as_os_str().is_empty() {
            return self.key_path(data).with_extension("generation");
        }
        self.generation.clone()
    }

    /// What is expired at `now`.
    pub fn expiry(&self, now: Timestamp) -> Expiry {
        let before = |days: u32| {
            let span_ms = u64::from(days).saturating_mul(86_400_000);
            Timestamp::from_ms(now.as_ms().saturating_sub(span_ms))
        };
        Expiry {
            history_before: before(self.history_days),
            raw_before: before(self.raw_days),
            events_before: before(self.events_days),
            audit_before: before(self.audit_days),
            commands_before: before(self.commands_days),
        }
    }
}
