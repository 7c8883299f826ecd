//! What is compared rather than looked up: when a device was created and last heard. Rows lie by `seq` in
//! blocks of [`BLOCK`] numbers, 24 bytes each; a search walks all of them, some nanoseconds each, and leaves
//! out blocks by their range of creation times. Clones share the blocks; a change copies a block
//! when a clone is about.

use std::collections::BTreeMap;
use std::sync::Arc;

use roaring::RoaringTreemap;

use super::SetKey;
use crate::base::time::Timestamp;
use crate::engine::presence::Presence;

/// Numbers in a block. Rows come in any order when the index is loaded, and each makes room in its
/// block.
const BLOCK: u64 = 512;

/// Rows that a new block has room for. It grows by half, and a full one has no room to spare.
const FIRST: usize = 8;

/// In place of a time.
const NEVER: u32 = u32::MAX;

/// One device.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Key of the set of devices behind it.
    behind: SetKey,
    created_s: u32,
    heard_s: u32,
    /// The rest of `heard_s`.
    heard_ms: u16,
    /// Place in the block.
    offset: u16,
}

/// What a row must be.
#[derive(Debug, Clone, Copy)]
pub enum Test {
    Presence {
        is: Presence,
        now: Timestamp,
    },
    /// Seconds, both inclusive.
    Created {
        from: u32,
        to: u32,
    },
}

/// Rows by `seq`.
#[derive(Debug, Clone, Default)]
pub struct Column(BTreeMap<u64, Arc<Block>>);

#[derive(Debug, Clone)]
struct Block {
    /// Ascending.
    rows: Vec<Row>,
    /// No row was created before or after these.
    created_min: u32,
    created_max: u32,
}

/// Whole seconds; what is beyond the year 2106 counts as its end.
pub(super) fn second(at: Timestamp) -> u32 {
    u32::try_from(at.as_ms() / 1000)
        .unwrap_or(NEVER)
        .min(NEVER - 1)
}

impl Row {
    pub fn new(behind: SetKey, created_at: Timestamp, heard: Option<Timestamp>) -> Self {
        let mut row = Self {
            behind,
            created_s: second(created_at),
            heard_s: NEVER,
            heard_ms: 0,
            offset: 0,
        };
        row.hear(heard);
        row
    }

    pub const fn behind(&self) -> SetKey {
        self.behind
    }

    pub fn heard(&self) -> Option<Timestamp> {
        let whole_ms = u64::from(self.heard_s).saturating_mul(1000);
        let at = Timestamp::from_ms(whole_ms.saturating_add(u64::from(self.heard_ms)));
        (self.heard_s != NEVER).then_some(at)
    }

    fn hear(&mut self, at: Option<Timestamp>) {
        self.heard_s = at.map_or(NEVER, second);
        let rest = at.map_or(0, |at| at.as_ms() % 1000);
        self.heard_ms = u16::try_from(rest).unwrap_or(0);
    }
}

impl Test {
    fn fits(self, row: &Row) -> bool {
        match self {
            Self::Presence { is, now } => Presence::at(now, row.heard()) == is,
            Self::Created { from, to } => (from..=to).contains(&row.created_s),
        }
    }
}

impl Column {
    /// Puts a row where none is or in place of the one that is.
    pub fn put(&mut self, seq: u64, row: Row) {
        let (number, offset) = place(seq);
        let block = self.0.entry(number).or_insert_with(|| {
            Arc::new(Block {
                rows: Vec::new(),
                created_min: row.created_s,
                created_max: row.created_s,
            })
        });
        let block = Arc::make_mut(block);
        block.created_min = block.created_min.min(row.created_s);
        block.created_max = block.created_max.max(row.created_s);
        let row = Row { offset, ..row };
        match block.find(offset) {
            Ok(at) => {
                if let Some(old) = block.rows.get_mut(at) {
                    *old = row;
                }
            }
            Err(at) => {
                if block.rows.len() == block.rows.capacity() {
                    let len = block.rows.len();
                    let full = usize::try_from(BLOCK).unwrap_or(len);
                    let more = (len / 2).clamp(FIRST, full.saturating_sub(len).max(FIRST));
                    block.rows.reserve_exact(more);
                }
                block.rows.insert(at, row);
            }
        }
    }

    pub fn remove(&mut self, seq: u64) {
        let (number, offset) = place(seq);
        let Some(block) = self.0.get_mut(&number) else {
            return;
        };
        let block = Arc::make_mut(block);
        if let Ok(at) = block.find(offset) {
            block.rows.remove(at);
        }
        if block.rows.is_empty() {
            self.0.remove(&number);
        }
    }

    /// The device was last heard then.
    pub fn hear(&mut self, seq: u64, at: Option<Timestamp>) {
        let (number, offset) = place(seq);
        let Some(block) = self.0.get_mut(&number) else {
            return;
        };
        let block = Arc::make_mut(block);
        if let Ok(at_row) = block.find(offset)
            && let Some(row) = block.rows.get_mut(at_row)
        {
            row.hear(at);
        }
    }

    pub fn row(&self, seq: u64) -> Option<&Row> {
        let (number, offset) = place(seq);
        let block = self.0.get(&number)?;
        block.find(offset).ok().and_then(|at| block.rows.get(at))
    }

    /// Every device that fits.
    pub fn search(&self, test: Test) -> RoaringTreemap {
        let mut found = RoaringTreemap::new();
        let mut fitting = Vec::new();
        for (number, block) in &self.0 {
            if block.is_outside(test) {
                continue;
            }
            let first = number.saturating_mul(BLOCK);
            fitting.clear();
            let rows = block.rows.iter().filter(|row| test.fits(row));
            fitting.extend(rows.map(|row| first.saturating_add(u64::from(row.offset))));
            // Blocks and rows ascend, so nothing is refused.
            drop(found.append(fitting.iter().copied()));
        }
        found
    }

    /// Those of `among` that fit.
    pub fn narrow(&self, among: &RoaringTreemap, test: Test) -> RoaringTreemap {
        let fits = |seq: &u64| self.row(*seq).is_some_and(|row| test.fits(row));
        among.iter().filter(fits).collect()
    }
}

impl Block {
    fn find(&self, offset: u16) -> Result<usize, usize> {
        self.rows.binary_search_by_key(&offset, |row| row.offset)
    }

    /// No row of it can fit.
    fn is_outside(&self, test: Test) -> bool {
        match test {
            Test::Presence { .. } => false,
            Test::Created { from, to } => self.created_max < from || self.created_min > to,
        }
    }
}

/// Number of the block, and place in it.
fn place(seq: u64) -> (u64, u16) {
    (seq / BLOCK, u16::try_from(seq % BLOCK).unwrap_or(0))
}
