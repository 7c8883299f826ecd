//! Where a device is: its cell, and how well it hears it, from what it says in Object 4.
//!
//! ```text
//! level   RSRP (4/0/2, dBm)   SINR (4/0/11, dB)   slots      no SINR: CE level 4/0/13
//! 0       >= -105             >= 7                50         0, 1
//! 1       [-115, -105)        [-3, 7)             10         2
//! 2       below               below                1         3, 4
//! ?       not known                               10
//! ```
//!
//! The weaker of the two decides. What is weaker than every range is level 2. A device whose cell is not
//! known has no place and can't be admitted.

/// How much a device must repeat to be heard: 0 the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    Zero,
    One,
    Two,
}

/// The devices of a cell that share slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pool {
    Level(Level),
    /// The cell is known, the coverage is not.
    Unmeasured,
}

impl Pool {
    /// Whose devices go first when a cell has room for some only: the weakest need longest.
    pub const WEAKEST_FIRST: [Self; 4] = [
        Self::Level(Level::Two),
        Self::Unmeasured,
        Self::Level(Level::One),
        Self::Level(Level::Zero),
    ];

    pub(super) const fn index(self) -> usize {
        match self {
            Self::Level(Level::Zero) => 0,
            Self::Level(Level::One) => 1,
            Self::Level(Level::Two) => 2,
            Self::Unmeasured => 3,
        }
    }
}

/// As operators read it: `level 0`, `without coverage`.
impl std::fmt::Display for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Level(_) => write!(f, "level {}", self.index()),
            Self::Unmeasured => f.write_str("without coverage"),
        }
    }
}

/// A cell's identity as devices report it (4/0/8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellId(pub u64);

impl std::fmt::Display for CellId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A cell, and the pool of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub cell: CellId,
    pub pool: Pool,
}

/// What a device said of its radio; what it left out is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measurement {
    /// 4/0/8
    pub cell: Option<CellId>,
    /// 4/0/2
    pub rsrp_dbm: Option<i32>,
    /// 4/0/11
    pub sinr_db: Option<i32>,
    /// 4/0/13
    pub enhancement_level: Option<u8>,
}

/// One level of a [`Table`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub rsrp_min_dbm: i32,
    pub sinr_min_db: i32,
    /// Upgrades at once in one cell.
    pub slots: u32,
}

/// Which measurement is which level, and how many of each a cell takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Levels 0, 1 and 2.
    pub levels: [Row; 3],
    /// Slots of a cell for devices whose coverage is not known.
    pub unmeasured_slots: u32,
}

impl Default for Table {
    fn default() -> Self {
        let row = |rsrp_min_dbm, sinr_min_db, slots| Row {
            rsrp_min_dbm,
            sinr_min_db,
            slots,
        };
        Self {
            levels: [row(-105, 7, 50), row(-115, -3, 10), row(-125, -8, 1)],
            unmeasured_slots: 10,
        }
    }
}

/// Why a table is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    #[error("{pool} has 0 slots, takes 1 or more: its devices would wait for ever")]
    Slots { pool: Pool },
    #[error("level {level} begins at {got} {unit}, takes less than level {} does: {above}", level - 1)]
    Order {
        level: usize,
        got: i32,
        above: i32,
        unit: &'static str,
    },
}

impl TableError {
    /// Stable word; never reworded.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Slots { .. } => "slots",
            Self::Order { .. } => "order",
        }
    }
}

impl Table {
    /// Whether the levels descend and each pool has a slot.
    pub fn check(&self) -> Result<(), TableError> {
        for pool in Pool::WEAKEST_FIRST {
            if self.slots(pool) == 0 {
                return Err(TableError::Slots { pool });
            }
        }
        for (at, pair) in self.levels.windows(2).enumerate() {
            let [above, below] = pair else { continue };
            let limits = [
                (below.rsrp_min_dbm, above.rsrp_min_dbm, "dBm"),
                (below.sinr_min_db, above.sinr_min_db, "dB"),
            ];
            if let Some((got, above, unit)) =
                limits.into_iter().find(|(got, above, _)| got >= above)
            {
                let level = at + 1;
                return Err(TableError::Order {
                    level,
                    got,
                    above,
                    unit,
                });
            }
        }
        Ok(())
    }

    /// Upgrades at once in one cell.
    pub const fn slots(&self, pool: Pool) -> u32 {
        let [zero, one, two] = &self.levels;
        match pool {
            Pool::Level(Level::Zero) => zero.slots,
            Pool::Level(Level::One) => one.slots,
            Pool::Level(Level::Two) => two.slots,
            Pool::Unmeasured => self.unmeasured_slots,
        }
    }

    /// Where a device belongs; `None` when its cell is not known.
    pub fn place(&self, measured: Measurement) -> Option<Place> {
        let cell = measured.cell?;
        let pool = match (measured.rsrp_dbm, measured.sinr_db) {
            (Some(rsrp), Some(sinr)) => {
                let by_rsrp = self.level(|row| rsrp >= row.rsrp_min_dbm);
                let by_sinr = self.level(|row| sinr >= row.sinr_min_db);
                Pool::Level(by_rsrp.max(by_sinr))
            }
            (Some(_) | None, None) | (None, Some(_)) => {
                let level = measured.enhancement_level.and_then(enhanced);
                level.map_or(Pool::Unmeasured, Pool::Level)
            }
        };
        Some(Place { cell, pool })
    }

    fn level(&self, is_within: impl Fn(&Row) -> bool) -> Level {
        let [zero, one, _] = &self.levels;
        if is_within(zero) {
            Level::Zero
        } else if is_within(one) {
            Level::One
        } else {
            Level::Two
        }
    }
}

/// Resource 13 of Object 4: 0 and 1 are no enhancement, 2, 3 and 4 are CE levels 0, 1 and 2.
const fn enhanced(value: u8) -> Option<Level> {
    match value {
        0 | 1 => Some(Level::Zero),
        2 => Some(Level::One),
        3 | 4 => Some(Level::Two),
        _ => None,
    }
}
