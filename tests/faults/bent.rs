//! The sled engine without one of its precautions, to see what each is for.

use strait::store::StoreError;
use strait::store::kv::{Kv, Order, Visit, Writes};
use strait::store::sled::Sled;

/// sled, less what is switched off.
pub(crate) struct Bent {
    pub(crate) sled: Sled,
    /// Commits are synced; else sled's own flush must do.
    pub(crate) with_sync: bool,
    /// Room is checked before a commit; else the engine meets the end of the disk.
    pub(crate) with_room: bool,
}

impl Kv for Bent {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.sled.get(key)
    }
    fn range(&self, from: &[u8], to: &[u8], order: Order, v: Visit<'_>) -> Result<(), StoreError> {
        self.sled.range(from, to, order, v)
    }
    fn apply(&self, writes: &Writes) -> Result<(), StoreError> {
        self.sled.apply(writes)
    }
    fn sync(&self) -> Result<(), StoreError> {
        if self.with_sync {
            self.sled.sync()
        } else {
            self.sled.flush()
        }
    }
    fn admit(&self, bytes: u64) -> Result<(), StoreError> {
        if self.with_room {
            self.sled.admit(bytes)
        } else {
            Ok(())
        }
    }
    fn ready(&self) -> Result<(), StoreError> {
        self.sled.ready()
    }
    fn recover(&self) -> Result<(), StoreError> {
        self.sled.recover()
    }
    fn size_bytes(&self) -> Result<u64, StoreError> {
        self.sled.size_bytes()
    }
    fn close(&self) {
        self.sled.close();
    }
    fn origin(&self) -> Result<Vec<u8>, StoreError> {
        self.sled.origin()
    }
    fn place(&self) -> String {
        self.sled.place()
    }
}
