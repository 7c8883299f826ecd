//! A store in memory, for tests: the same contract, nothing survives the process. It can fail and
//! stop on command ([`Faults`]), so that tests see what happens when the disk does.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use super::kv::{Kv, KvStore, Order, Visit, Writes};
use super::seal::{self, Sealer};
use super::{StoreError, StoreSettings};

/// Nothing in memory reaches a disk, so its key protects nothing.
pub const MEMORY_KEY: [u8; seal::KEY_LEN] = [0x5a; seal::KEY_LEN];

/// A store in memory.
pub type MemoryStore = KvStore<Memory>;

impl MemoryStore {
    /// An empty store, sealed with a key that everyone knows, as [`MemoryStore::over`] is.
    pub fn new() -> Self {
        Self::over(Memory::default())
    }

    /// A store over an engine that may hold rows already: clones of an engine share them.
    pub fn over(engine: Memory) -> Self {
        let sealer = Sealer::new(MEMORY_KEY);
        match Self::start(engine, &StoreSettings::default(), sealer.clone()) {
            Ok(store) => store,
            Err(e) => Self::closed(Memory::default(), sealer, &e),
        }
    }

    /// Commands that make the store fail or stop.
    pub fn faults(&self) -> &Faults {
        &self.engine().faults
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

/// Rows in a map. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    rows: Arc<RwLock<BTreeMap<Vec<u8>, Vec<u8>>>>,
    faults: Faults,
}

/// What goes wrong next. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<(Mutex<Plan>, Condvar)>);

#[derive(Debug, Default)]
struct Plan {
    held: bool,
    commits: VecDeque<StoreError>,
    applies: usize,
    syncs: usize,
    recoveries: usize,
    full: bool,
}

impl Faults {
    /// There is no room for anything until [`Faults::make_room`]; reads go on.
    pub fn fill(&self) {
        self.plan().full = true;
    }

    /// Ends what [`Faults::fill`] began.
    pub fn make_room(&self) {
        self.plan().full = false;
    }

    /// The next `count` commits fail with this error and change nothing.
    pub fn fail_next(&self, count: usize, error: &StoreError) {
        let errors = std::iter::repeat_n(error.clone(), count);
        self.plan().commits.extend(errors);
    }

    /// Commits wait until [`Faults::release`]; reads go on. At most one batch is in hand, the
    /// rest waits in the queue.
    pub fn hold(&self) {
        self.plan().held = true;
    }

    /// Lets held commits go on.
    pub fn release(&self) {
        self.plan().held = false;
        self.0.1.notify_all();
    }

    /// The next `count` batches fail before anything is written.
    pub fn fail_applies(&self, count: usize) {
        self.plan().applies = count;
    }

    /// The next `count` batches are written, and then the disk fails.
    pub fn fail_syncs(&self, count: usize) {
        self.plan().syncs = count;
    }

    /// The next `count` tries to serve again fail.
    pub fn fail_recoveries(&self, count: usize) {
        self.plan().recoveries = count;
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn due(&self, pick: impl Fn(&mut Plan) -> &mut usize, what: &str) -> Result<(), StoreError> {
        let mut plan = self.plan();
        let left = pick(&mut plan);
        match left.checked_sub(1) {
            None => Ok(()),
            Some(rest) => {
                *left = rest;
                Err(StoreError::Io(format!("{what} was told to fail")))
            }
        }
    }
}

impl Kv for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        Ok(rows.get(key).cloned())
    }

    fn range(
        &self,
        from: &[u8],
        to: &[u8],
        order: Order,
        visit: Visit<'_>,
    ) -> Result<(), StoreError> {
        if from >= to {
            return Ok(());
        }
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        let mut range = rows.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        while let Some((key, row)) = match order {
            Order::Ascending => range.next(),
            Order::Descending => range.next_back(),
        } {
            if visit(key, row).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, writes: &Writes) -> Result<(), StoreError> {
        self.faults.due(|plan| &mut plan.applies, "the write")?;
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in writes {
            match value {
                Some(row) => drop(rows.insert(key.clone(), row.clone())),
                None => drop(rows.remove(key)),
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.faults.due(|plan| &mut plan.syncs, "the sync")
    }

    fn admit(&self, _bytes: u64) -> Result<(), StoreError> {
        let plan = self.faults.plan();
        let mut plan = self
            .faults
            .0
            .1
            .wait_while(plan, |plan| plan.held)
            .unwrap_or_else(PoisonError::into_inner);
        let error = plan.commits.pop_front();
        drop(plan);
        error.map_or_else(|| self.ready(), Err)
    }

    fn ready(&self) -> Result<(), StoreError> {
        if self.faults.plan().full {
            return Err(StoreError::Full { free: 0, need: 1 });
        }
        Ok(())
    }

    fn recover(&self) -> Result<(), StoreError> {
        self.faults.due(|plan| &mut plan.recoveries, "the recovery")
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        let bytes = rows
            .iter()
            .map(|(key, row)| key.len().saturating_add(row.len()))
            .fold(0_usize, usize::saturating_add);
        Ok(u64::try_from(bytes).unwrap_or(u64::MAX))
    }

    fn release(&self) {
        self.faults.release();
    }

    fn close(&self) {}

    fn origin(&self) -> Result<Vec<u8>, StoreError> {
        let address = Arc::as_ptr(&self.rows).addr();
        Ok(address.to_be_bytes().to_vec())
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }
}
