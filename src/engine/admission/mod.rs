//! Which devices may upgrade now. A narrow cell takes few downloads at once; this says whose turn it is.
//!
//! ```text
//! measured -> waiting -> reserved -> held -> released
//!              ^            |          (confirmed: its row is durable)
//!              '- taken back'
//! ```
//!
//! Slots belong to a cell and a coverage level ([`coverage`]); besides, a cell has a budget of airtime that is
//! learnt ([`airtime`]). One [`Admission`] serves all campaigns, so that limits hold across them. In a pool
//! first attempts go before retries, then who was measured first; a device that sleeps keeps its rank and
//! holds up nobody. In a cell the weakest pool goes first, since its devices need longest.
//!
//! What it holds is a view of the devices' own rows: [`Admission::rebuild`] makes it anew. No clock, no I/O;
//! unknown devices are ignored, a step repeated changes nothing. Steps cost the logarithm of those who wait.

pub mod airtime;
pub mod coverage;
mod line;
pub mod plan;
mod reason;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use hashbrown::HashMap;

use crate::base::time::Timestamp;
use airtime::Airtime;
use coverage::{CellId, Place, Pool, Table};
use line::{Line, Rank};

pub use reason::Reason;

/// Radio time granted at once to a device in the line, after which it is judged anew.
const KEPT_AWAKE_MS: u64 = 10_000;

/// How long devices that sleep are kept awake in the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAwake {
    /// At most so many of each pool, those next in line.
    pub devices: u32,
    /// At most so long, counted from each wake-up.
    pub time_ms: u64,
}

/// What admission goes by.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Settings {
    pub table: Table,
    pub airtime: airtime::Settings,
    /// `None`: a device that can't be admitted goes back to sleep.
    pub keep_awake: Option<KeepAwake>,
}

/// A device's own row after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub device: u64,
    pub place: Place,
    pub holds: bool,
    pub measured_at: Timestamp,
    /// 0 for the first.
    pub attempt: u8,
}

/// One pool as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolView {
    pub place: Place,
    /// Slots, reservations included.
    pub taken: u32,
    pub waiting: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Asleep,
    Awake,
    Reserved,
    Held,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    measured_at: Timestamp,
    cell: CellId,
    pool: Pool,
    attempt: u8,
    state: State,
}

impl Entry {
    const fn place(self) -> Place {
        Place {
            cell: self.cell,
            pool: self.pool,
        }
    }

    const fn holds(self) -> bool {
        matches!(self.state, State::Reserved | State::Held)
    }

    const fn rank(self, device: u64) -> Rank {
        Rank::new(self.place(), self.attempt, self.measured_at, device)
    }
}

/// Slots taken by pool, reservations included, and the budget once something runs.
#[derive(Debug, Default)]
struct Cell {
    taken: [u32; 4],
    airtime: Option<Box<Airtime>>,
}

impl Cell {
    fn taken(&self, pool: Pool) -> u32 {
        self.taken.get(pool.index()).copied().unwrap_or(0)
    }
}

/// Slots, lines and budgets of all cells.
#[derive(Debug, Default)]
pub struct Admission {
    settings: Settings,
    entries: HashMap<u64, Entry>,
    line: Line,
    /// Those of the line that can be reached now.
    awake: Line,
    cells: HashMap<CellId, Cell>,
    /// Cells where somebody's turn may have come.
    changed: Vec<CellId>,
    kept_awake_ms: u64,
}

impl Admission {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }

    /// The view of the rows. Slots are those that the rows hold, even when the table has become smaller;
    /// waiters are asleep until they are heard.
    pub fn rebuild(
        settings: Settings,
        now: Timestamp,
        rows: impl IntoIterator<Item = Row>,
    ) -> Self {
        let mut this = Self::new(settings);
        for row in rows {
            this.adopt(now, row);
        }
        this
    }

    /// One row of [`Self::rebuild`].
    pub fn adopt(&mut self, now: Timestamp, row: Row) {
        self.leave(row.device);
        let entry = Entry {
            measured_at: row.measured_at,
            cell: row.place.cell,
            pool: row.place.pool,
            attempt: row.attempt,
            state: State::Asleep,
        };
        self.entries.insert(row.device, entry);
        self.line.insert(entry.rank(row.device));
        if row.holds {
            self.reserve(now, row.device);
            self.confirm(row.device);
        }
    }

    /// A device was measured at `at` and is awake: it joins the line. Measured again while it waits, it moves
    /// to its new place with the rank of its first measurement in this attempt. A device with a slot keeps that.
    pub fn measured(&mut self, at: Timestamp, device: u64, place: Place, attempt: u8) {
        let before = self.entries.get(&device).copied();
        let measured_at = match before {
            Some(entry) if entry.holds() => return,
            Some(entry) if entry.attempt == attempt => entry.measured_at,
            Some(_) | None => at,
        };
        self.leave(device);
        let entry = Entry {
            measured_at,
            cell: place.cell,
            pool: place.pool,
            attempt,
            state: State::Awake,
        };
        self.entries.insert(device, entry);
        self.line.insert(entry.rank(device));
        self.awake.insert(entry.rank(device));
        self.look_at(place.cell);
    }

    /// A waiter can be reached.
    pub fn awake(&mut self, device: u64) {
        let Some(entry) = self.entries.get_mut(&device) else {
            return;
        };
        if entry.state == State::Asleep {
            entry.state = State::Awake;
            let entry = *entry;
            self.awake.insert(entry.rank(device));
            self.look_at(entry.cell);
        }
    }

    /// A waiter can't be reached any more; it keeps its rank.
    pub fn asleep(&mut self, device: u64) {
        let Some(entry) = self.entries.get_mut(&device) else {
            return;
        };
        if entry.state == State::Awake {
            entry.state = State::Asleep;
            self.awake.remove(&entry.rank(device));
        }
    }

    /// Reserves a slot for the next device whose turn it is: write that down, then [`Self::confirm`] it, or
    /// [`Self::take_back`] when it could not be written. To be asked after each step until it gives none.
    pub fn next(&mut self, now: Timestamp) -> Option<u64> {
        while let Some(id) = self.changed.last().copied() {
            if let Some(device) = self.turn(now, id) {
                self.reserve(now, device);
                return Some(device);
            }
            self.changed.pop();
        }
        None
    }

    /// A reservation is durable.
    pub fn confirm(&mut self, device: u64) {
        if let Some(entry) = self.entries.get_mut(&device)
            && entry.state == State::Reserved
        {
            entry.state = State::Held;
        }
    }

    /// A reservation could not be made durable: the device waits again, with its rank, until it is heard.
    pub fn take_back(&mut self, device: u64) {
        let Some(entry) = self.entries.get(&device).copied() else {
            return;
        };
        if entry.state != State::Reserved {
            return;
        }
        self.leave(device);
        let entry = Entry {
            state: State::Asleep,
            ..entry
        };
        self.entries.insert(device, entry);
        self.line.insert(entry.rank(device));
    }

    /// A device has `done` of the `total` fragments or blocks of its package.
    pub fn acknowledged(&mut self, now: Timestamp, device: u64, done: u32, total: u32) {
        let Some(entry) = self.entries.get(&device).filter(|e| e.holds()).copied() else {
            return;
        };
        let settings = &self.settings.airtime;
        let airtime = self.cells.get_mut(&entry.cell);
        let airtime = airtime.and_then(|cell| cell.airtime.as_mut());
        if airtime.is_some_and(|a| a.take(settings, now, device, done, total)) {
            self.look_at(entry.cell);
        }
    }

    /// An upgrade ended, or a waiter gave up: whatever it had is free. Harmless when repeated.
    pub fn leave(&mut self, device: u64) {
        let Some(entry) = self.entries.remove(&device) else {
            return;
        };
        let rank = entry.rank(device);
        self.line.remove(&rank);
        self.awake.remove(&rank);
        if entry.holds()
            && let Some(cell) = self.cells.get_mut(&entry.cell)
        {
            if let Some(taken) = cell.taken.get_mut(entry.pool.index()) {
                *taken = taken.saturating_sub(1);
            }
            if let Some(airtime) = &mut cell.airtime {
                airtime.end(device);
            }
            self.look_at(entry.cell);
        }
        let cell = entry.cell;
        let is_idle = self.cells.get(&cell).is_some_and(|c| c.taken == [0; 4]);
        if is_idle
            && Pool::WEAKEST_FIRST
                .iter()
                .all(|pool| self.waiting(cell, *pool).next().is_none())
        {
            self.cells.remove(&cell);
        }
    }

    /// For how long a waiter that woke at `woke_at` is to be kept awake from now: `None`, let it sleep. What is
    /// granted is counted as radio time that the devices spend for the line.
    pub fn keep_awake(&mut self, now: Timestamp, device: u64, woke_at: Timestamp) -> Option<u64> {
        let keep = self.settings.keep_awake?;
        let entry = self
            .entries
            .get(&device)
            .filter(|e| e.state == State::Awake)?;
        let left_ms = keep
            .time_ms
            .checked_sub(now.since_ms(woke_at))
            .filter(|ms| *ms > 0)?;
        let next = usize::try_from(keep.devices).unwrap_or(usize::MAX);
        // Those next in line among the reachable: a sleeping head is not what this one waits for.
        let is_next = |rank: &Rank| rank.device == device;
        self.awake
            .at(entry.place())
            .take(next)
            .any(is_next)
            .then(|| {
                let granted_ms = left_ms.min(KEPT_AWAKE_MS);
                self.kept_awake_ms += granted_ms;
                granted_ms
            })
    }

    /// Radio time that devices were told to spend in the line.
    pub const fn kept_awake_ms(&self) -> u64 {
        self.kept_awake_ms
    }

    /// Why a device waits; `None` when it holds a slot or is not known. Counts those before it.
    pub fn explain(&self, now: Timestamp, device: u64) -> Option<Reason> {
        let entry = *self.entries.get(&device)?;
        let place = entry.place();
        let behind = self.line.ahead(entry.rank(device));
        let slots = self.settings.table.slots(entry.pool);
        match entry.state {
            State::Asleep => Some(Reason::Asleep { behind }),
            State::Reserved => Some(Reason::Reserved),
            State::Held => None,
            State::Awake => {
                let cell = self.cells.get(&entry.cell);
                let taken = cell.map_or(0, |c| c.taken(entry.pool));
                let airtime = cell.and_then(|c| c.airtime.as_ref());
                let reason = match airtime {
                    Some(airtime) if taken < slots => Reason::Airtime {
                        place,
                        downloads: airtime.active(&self.settings.airtime, now),
                        budget: airtime.window(),
                        behind,
                    },
                    Some(_) | None => Reason::Slot {
                        place,
                        taken,
                        slots,
                        behind,
                    },
                };
                Some(reason)
            }
        }
    }

    /// Where a device waits or holds a slot.
    pub fn place(&self, device: u64) -> Option<Place> {
        self.entries.get(&device).map(|entry| entry.place())
    }

    /// The slots that a pool has taken, reservations included.
    pub fn taken(&self, place: Place) -> u32 {
        self.cells
            .get(&place.cell)
            .map_or(0, |c| c.taken(place.pool))
    }

    /// Downloads that need airtime in a cell, and how many it carries: `None` while nothing runs, or without budget.
    pub fn airtime(&self, now: Timestamp, cell: CellId) -> Option<(u32, u32)> {
        let airtime = self.cells.get(&cell)?.airtime.as_ref()?;
        Some((
            airtime.active(&self.settings.airtime, now),
            airtime.window(),
        ))
    }

    /// Where a device waits; `None`: it does not.
    pub fn waits_at(&self, device: u64) -> Option<Place> {
        let entry = self.entries.get(&device).filter(|e| !e.holds())?;
        Some(entry.place())
    }

    /// Devices whose slot is durable.
    pub fn held(&self) -> impl Iterator<Item = u64> {
        let held = self.entries.iter();
        held.filter_map(|(device, entry)| (entry.state == State::Held).then_some(*device))
    }

    /// Whether a device's slot is durable.
    pub fn holds(&self, device: u64) -> bool {
        let entry = self.entries.get(&device);
        entry.is_some_and(|entry| entry.state == State::Held)
    }

    /// Every pool that has anybody.
    pub fn pools(&self) -> Vec<PoolView> {
        let mut pools: BTreeMap<Place, PoolView> = BTreeMap::new();
        for entry in self.entries.values() {
            let place = entry.place();
            let new = || PoolView {
                place,
                taken: 0,
                waiting: 0,
            };
            let pool = pools.entry(place).or_insert_with(new);
            match entry.holds() {
                true => pool.taken = pool.taken.saturating_add(1),
                false => pool.waiting = pool.waiting.saturating_add(1),
            }
        }
        pools.into_values().collect()
    }

    /// Devices that wait, and slots that are taken, reservations included.
    pub fn counts(&self) -> (usize, usize) {
        let waiting = self.line.len();
        (waiting, self.entries.len().saturating_sub(waiting))
    }

    /// Who waits in a pool, in order.
    pub fn waiting(&self, cell: CellId, pool: Pool) -> impl Iterator<Item = u64> {
        self.line.at(Place { cell, pool }).map(|rank| rank.device)
    }

    fn look_at(&mut self, cell: CellId) {
        if self.changed.last() != Some(&cell) {
            self.changed.push(cell);
        }
    }

    /// Whose turn it is in a cell: of the weakest pool with a free slot, the first who is awake.
    fn turn(&self, now: Timestamp, id: CellId) -> Option<u64> {
        let cell = self.cells.get(&id);
        let budget = cell
            .and_then(|c| c.airtime.as_ref())
            .is_none_or(|airtime| airtime.active(&self.settings.airtime, now) < airtime.window());
        if !budget {
            return None;
        }
        let mut lightest = None;
        for pool in Pool::WEAKEST_FIRST {
            let taken = cell.map_or(0, |c| c.taken(pool));
            if taken >= self.settings.table.slots(pool) {
                continue;
            }
            let Some(first) = self.awake.at(Place { cell: id, pool }).next() else {
                continue;
            };
            let airtime = cell.and_then(|c| c.airtime.as_ref());
            if airtime.is_none_or(|a| a.fits(&self.settings.airtime, now, pool)) {
                return Some(first.device);
            }
            lightest = Some(first.device);
        }
        // Who would be late goes last, but goes: an idle cell helps nobody.
        lightest
    }

    fn reserve(&mut self, now: Timestamp, device: u64) {
        let Some(entry) = self.entries.get_mut(&device) else {
            return;
        };
        entry.state = State::Reserved;
        let entry = *entry;
        self.line.remove(&entry.rank(device));
        self.awake.remove(&entry.rank(device));
        let cell = self.cells.entry(entry.cell).or_default();
        if let Some(taken) = cell.taken.get_mut(entry.pool.index()) {
            *taken += 1;
        }
        if self.settings.airtime.on {
            let new = || Box::new(Airtime::new(&self.settings.airtime, now));
            cell.airtime
                .get_or_insert_with(new)
                .begin(now, device, entry.pool);
        }
    }
}
