//! Who may fetch now: slots of cells and coverage levels, over all campaigns and both kinds of upgrades.
//!
//! ```text
//! waits --a slot is free, and it listens--> reserved --durable--> holds --end--> gone
//!    ^                                         '-- could not be admitted --> waits, asleep
//!    '-- wakes again: keeps its rank
//! ```
//!
//! A view over the devices' own rows, which alone are durable: after a restart it is told again who
//! holds and who waits. A slot is reserved here first and then written into the device's row, so that
//! no pool ever has more than its slots. First attempts go before retries, then whoever was measured
//! first. A free slot goes to the first that listens: a sleeper keeps its rank and is in nobody's way.
//! Every step costs the logarithm of a pool's line.

pub mod coverage;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;

use crate::base::time::Timestamp;
pub use coverage::{Place, Radio, Table};

/// A device, by its `seq`.
pub type Key = u64;

/// The order in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    pub is_retry: bool,
    /// When it was first measured.
    pub ranked_at: Timestamp,
    pub key: Key,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// `awake_until`: as far as is known; `None`: asleep.
    Waits {
        place: Place,
        rank: Rank,
        awake_until: Option<Timestamp>,
    },
    Reserved {
        place: Place,
        rank: Rank,
    },
    Holds {
        place: Place,
    },
}

#[derive(Debug, Default)]
struct Pool {
    /// Held and reserved.
    taken: u32,
    line: BTreeSet<Rank>,
    /// Those of the line that listen.
    awake: BTreeMap<Rank, Timestamp>,
    /// Fewer than the table's slots, when the cell has not the airtime for more.
    limit: Option<u32>,
}

/// Why a device waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    pub place: Place,
    pub slots: u32,
    pub taken: u32,
    /// Those with a better rank.
    pub behind: usize,
    pub is_awake: bool,
    /// The cell's airtime is what lacks, not its slots.
    pub for_airtime: bool,
}

/// One pool, for those who watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolView {
    pub place: Place,
    pub slots: u32,
    pub limit: Option<u32>,
    pub taken: u32,
    pub waiting: usize,
    pub awake: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Admission {
    table: Table,
    pools: HashMap<Place, Pool>,
    entries: HashMap<Key, Entry>,
    /// Pools in which somebody may have become admissible.
    stirred: BTreeSet<Place>,
}

impl Admission {
    pub fn new(table: Table) -> Self {
        Self {
            table,
            ..Self::default()
        }
    }

    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// A device waits. `awake_until`: how long it listens; `None`: it sleeps. One that holds a slot or
    /// is about to get one is left alone.
    pub fn wait(&mut self, place: Place, rank: Rank, awake_until: Option<Timestamp>) {
        match self.entries.get(&rank.key) {
            Some(Entry::Holds { .. } | Entry::Reserved { .. }) => return,
            Some(Entry::Waits { .. }) => self.leave(rank.key),
            None => {}
        }
        let pool = self.pools.entry(place).or_default();
        pool.line.insert(rank);
        if let Some(until) = awake_until {
            pool.awake.insert(rank, until);
            self.stirred.insert(place);
        }
        let entry = Entry::Waits {
            place,
            rank,
            awake_until,
        };
        self.entries.insert(rank.key, entry);
    }

    /// A device holds a slot, as its row says: after a restart.
    pub fn hold(&mut self, key: Key, place: Place) {
        self.leave(key);
        let pool = self.pools.entry(place).or_default();
        pool.taken = pool.taken.saturating_add(1);
        self.entries.insert(key, Entry::Holds { place });
    }

    /// A device neither waits nor holds a slot any more.
    pub fn leave(&mut self, key: Key) {
        let Some(entry) = self.entries.remove(&key) else {
            return;
        };
        let (place, rank, had_slot) = match entry {
            Entry::Waits { place, rank, .. } => (place, Some(rank), false),
            Entry::Reserved { place, .. } | Entry::Holds { place } => (place, None, true),
        };
        let Some(pool) = self.pools.get_mut(&place) else {
            return;
        };
        if let Some(rank) = rank {
            pool.line.remove(&rank);
            pool.awake.remove(&rank);
        }
        if had_slot {
            pool.taken = pool.taken.saturating_sub(1);
            self.stirred.insert(place);
        }
        if pool.taken == 0 && pool.line.is_empty() && pool.limit.is_none() {
            self.pools.remove(&place);
        }
    }

    /// Reserves a slot for the next device that can have one. `None`: nobody can now.
    pub fn next(&mut self, now: Timestamp) -> Option<(Key, Place)> {
        while let Some(place) = self.stirred.first().copied() {
            let slots = self.table.slots(place);
            let Some(pool) = self.pools.get_mut(&place) else {
                self.stirred.remove(&place);
                continue;
            };
            let room = pool.limit.map_or(slots, |limit| limit.min(slots));
            let first = pool
                .awake
                .first_key_value()
                .map(|(rank, until)| (*rank, *until));
            let Some((rank, until)) = first.filter(|_| pool.taken < room) else {
                self.stirred.remove(&place);
                continue;
            };
            pool.awake.remove(&rank);
            if until <= now {
                // It has fallen asleep meanwhile.
                let entry = Entry::Waits {
                    place,
                    rank,
                    awake_until: None,
                };
                self.entries.insert(rank.key, entry);
                continue;
            }
            pool.line.remove(&rank);
            pool.taken = pool.taken.saturating_add(1);
            self.entries
                .insert(rank.key, Entry::Reserved { place, rank });
            return Some((rank.key, place));
        }
        None
    }

    /// What became of a reservation: the slot is in the device's row, or it could not be, and the
    /// device waits on, asleep.
    pub fn settle(&mut self, key: Key, is_admitted: bool) {
        let Some(Entry::Reserved { place, rank }) = self.entries.get(&key).copied() else {
            // It has left meanwhile.
            return;
        };
        if is_admitted {
            self.entries.insert(key, Entry::Holds { place });
        } else {
            self.leave(key);
            self.wait(place, rank, None);
        }
    }

    /// Where a device stands in the order, while it waits or is about to get a slot.
    pub fn rank(&self, key: Key) -> Option<Rank> {
        match self.entries.get(&key)? {
            Entry::Waits { rank, .. } | Entry::Reserved { rank, .. } => Some(*rank),
            Entry::Holds { .. } => None,
        }
    }

    /// From now on a pool has no more than so many slots, whatever the table says; `None`: those.
    pub fn limit(&mut self, place: Place, limit: Option<u32>) {
        let pool = self.pools.entry(place).or_default();
        pool.limit = limit;
        self.stirred.insert(place);
    }

    /// Why a device waits; `None`: it does not.
    pub fn waiting(&self, key: Key, now: Timestamp) -> Option<Waiting> {
        let Entry::Waits {
            place,
            rank,
            awake_until,
        } = self.entries.get(&key)?
        else {
            return None;
        };
        let pool = self.pools.get(place)?;
        let slots = self.table.slots(*place);
        let room = pool.limit.map_or(slots, |limit| limit.min(slots));
        Some(Waiting {
            place: *place,
            slots,
            taken: pool.taken,
            behind: pool.line.range(..rank).count(),
            is_awake: awake_until.is_some_and(|until| until > now),
            for_airtime: room < slots && pool.taken >= room && pool.taken < slots,
        })
    }

    /// Every pool, by cell and level.
    pub fn pools(&self) -> Vec<PoolView> {
        let view = |(place, pool): (&Place, &Pool)| PoolView {
            place: *place,
            slots: self.table.slots(*place),
            limit: pool.limit,
            taken: pool.taken,
            waiting: pool.line.len(),
            awake: pool.awake.len(),
        };
        let mut pools: Vec<PoolView> = self.pools.iter().map(view).collect();
        pools.sort_unstable_by_key(|pool| pool.place);
        pools
    }

    /// Devices that wait, are about to get a slot, or hold one.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
