//! The database of a data directory, on whichever engine it lies.
//!
//! The setting `store.engine` chooses for a new database. One that is there stays on its engine; `strait store
//! export` and `import` move it to another one.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::fjall::{self, Fjall};
use super::kv::{Kv, KvStore, Order, Visit, Writes};
use super::memory::Memory;
use super::seal::Sealer;
use super::sled::{self, Sled};
use super::{StoreError, StoreSettings, migrate};

/// What keeps rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineName {
    /// A tree whose pages lie in a log (decision 1).
    #[default]
    Sled,
    /// A journal and sorted tables (decision 12).
    Fjall,
    /// Nothing survives the process: for measurements and trials.
    Memory,
}

impl fmt::Display for EngineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sled => "sled",
            Self::Fjall => "fjall",
            Self::Memory => "memory",
        })
    }
}

/// A store in a directory.
pub type DiskStore = KvStore<Disk>;

impl DiskStore {
    /// Opens or creates the store in this directory.
    pub fn open(path: &Path, settings: &StoreSettings, sealer: Sealer) -> Result<Self, StoreError> {
        Self::start(Disk::open(path, settings)?, settings, sealer)
    }

    /// The same with the sealing key in a file, which is made when nothing is sealed yet.
    pub fn open_with_key(
        path: &Path,
        settings: &StoreSettings,
        key: &Path,
    ) -> Result<Self, StoreError> {
        let engine = Disk::open(path, settings)?;
        let check = migrate::seal_check(&engine)?;
        let sealer = Sealer::open_or_create(key, &engine.place(), check)?;
        Self::start(engine, settings, sealer)
    }
}

/// One of the engines.
#[derive(Debug)]
pub enum Disk {
    Sled(Sled),
    Fjall(Fjall),
    Memory(Memory),
}

impl Disk {
    /// Opens the database in this directory, or creates one on the engine of the settings.
    pub fn open(path: &Path, settings: &StoreSettings) -> Result<Self, StoreError> {
        let found = Self::found(path);
        if let Some(found) = found
            && found != settings.engine
        {
            tracing::warn!(
                path = %path.display(), engine = %found, setting = %settings.engine,
                "the database stays on its engine: strait store export and import move it"
            );
        }
        Ok(match found.unwrap_or(settings.engine) {
            EngineName::Sled => Self::Sled(Sled::open(path, settings)?),
            EngineName::Fjall => Self::Fjall(Fjall::open(path, settings)?),
            EngineName::Memory => {
                tracing::warn!(
                    "store.engine is memory: nothing that is acknowledged outlives this process"
                );
                Self::Memory(Memory::default())
            }
        })
    }

    /// The engine of the database in this directory.
    pub fn found(path: &Path) -> Option<EngineName> {
        let has = |file| path.join(file).exists();
        match (has(sled::LOG), has(fjall::MARKER)) {
            (true, _) => Some(EngineName::Sled),
            (false, true) => Some(EngineName::Fjall),
            (false, false) => None,
        }
    }

    pub const fn name(&self) -> EngineName {
        match self {
            Self::Sled(_) => EngineName::Sled,
            Self::Fjall(_) => EngineName::Fjall,
            Self::Memory(_) => EngineName::Memory,
        }
    }
}

/// Calls a function of the engine that is there.
macro_rules! on {
    ($disk:expr, $engine:ident => $call:expr) => {
        match $disk {
            Disk::Sled($engine) => $call,
            Disk::Fjall($engine) => $call,
            Disk::Memory($engine) => $call,
        }
    };
}

impl Kv for Disk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        on!(self, engine => engine.get(key))
    }

    fn range(
        &self,
        from: &[u8],
        to: &[u8],
        order: Order,
        visit: Visit<'_>,
    ) -> Result<(), StoreError> {
        on!(self, engine => engine.range(from, to, order, visit))
    }

    fn apply(&self, writes: &Writes) -> Result<(), StoreError> {
        on!(self, engine => engine.apply(writes))
    }

    fn sync(&self) -> Result<(), StoreError> {
        on!(self, engine => engine.sync())
    }

    fn admit(&self, bytes: u64) -> Result<(), StoreError> {
        on!(self, engine => engine.admit(bytes))
    }

    fn ready(&self) -> Result<(), StoreError> {
        on!(self, engine => engine.ready())
    }

    fn recover(&self) -> Result<(), StoreError> {
        on!(self, engine => engine.recover())
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        on!(self, engine => engine.size_bytes())
    }

    fn release(&self) {
        on!(self, engine => engine.release());
    }

    fn close(&self) {
        on!(self, engine => engine.close());
    }

    fn origin(&self) -> Result<Vec<u8>, StoreError> {
        on!(self, engine => engine.origin())
    }

    fn place(&self) -> String {
        on!(self, engine => engine.place())
    }
}
