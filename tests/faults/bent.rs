//! An engine without one of its precautions, to see what each is for.

use strait::store::StoreError;
use strait::store::disk::Disk;
use strait::store::kv::{Kv, Order, Visit, Writes};

/// The engine, less what is switched off.
pub(crate) struct Bent {
    pub(crate) disk: Disk,
    /// Commits are synced; else what the engine does by itself must do.
    pub(crate) with_sync: bool,
    /// Room is checked before a commit; else the engine meets the end of the disk.
    pub(crate) with_room: bool,
}

impl Kv for Bent {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.disk.get(key)
    }
    fn range(&self, from: &[u8], to: &[u8], order: Order, v: Visit<'_>) -> Result<(), StoreError> {
        self.disk.range(from, to, order, v)
    }
    fn apply(&self, writes: &Writes) -> Result<(), StoreError> {
        self.disk.apply(writes)
    }
    fn sync(&self) -> Result<(), StoreError> {
        match &self.disk {
            disk if self.with_sync => disk.sync(),
            Disk::Sled(sled) => sled.flush(),
            // A batch went to the kernel when it was applied.
            Disk::Fjall(_) | Disk::Memory(_) => Ok(()),
        }
    }
    fn admit(&self, bytes: u64) -> Result<(), StoreError> {
        if self.with_room {
            self.disk.admit(bytes)
        } else {
            Ok(())
        }
    }
    fn ready(&self) -> Result<(), StoreError> {
        self.disk.ready()
    }
    fn recover(&self) -> Result<(), StoreError> {
        self.disk.recover()
    }
    fn size_bytes(&self) -> Result<u64, StoreError> {
        self.disk.size_bytes()
    }
    fn close(&self) {
        self.disk.close();
    }
    fn origin(&self) -> Result<Vec<u8>, StoreError> {
        self.disk.origin()
    }
    fn place(&self) -> String {
        self.disk.place()
    }
}
