//! What an ordered key-value engine gives to the store: a few operations on bytes.

use std::ops::ControlFlow;

use hashbrown::HashMap;

use super::StoreError;

/// Writes of one batch: `None` removes the key.
pub type Writes = HashMap<Vec<u8>, Option<Vec<u8>>>;

/// Sees rows in order until it breaks. Must not call the engine again.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// Direction of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Ascending,
    Descending,
}

/// An ordered key-value engine. Reads come from any thread, writes from one.
pub trait Kv: Send + Sync + 'static {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Visits the rows from `from` (inclusive) to `to` (exclusive).
    fn range(
        &self,
        from: &[u8],
        to: &[u8],
        order: Order,
        visit: Visit<'_>,
    ) -> Result<(), StoreError>;

    /// Applies all writes or none.
    fn apply(&self, writes: &Writes) -> Result<(), StoreError>;

    /// Returns when everything applied survives a power cut.
    fn sync(&self) -> Result<(), StoreError>;

    /// Whether one more commit of so many bytes can be taken now. Asked once for each commit.
    fn admit(&self, bytes: u64) -> Result<(), StoreError>;

    /// Whether commits would be taken now. Changes nothing.
    fn ready(&self) -> Result<(), StoreError>;

    /// One try to serve again after `apply` or `sync` failed: what was synced is there, what was
    /// not is there as a whole batch or not at all.
    fn recover(&self) -> Result<(), StoreError>;

    /// Bytes on disk.
    fn size_bytes(&self) -> Result<u64, StoreError>;

    /// Ends any wait inside `admit`: the store is about to close.
    fn release(&self) {}

    /// Gives everything back; reads fail from now on. Called after the last batch.
    fn close(&self);

    /// Tells this database from a copy of it, however exact; the same as long as it is used where
    /// it is.
    fn origin(&self) -> Result<Vec<u8>, StoreError>;

    /// The place for messages: a directory.
    fn place(&self) -> String;
}
