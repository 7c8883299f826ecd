//! From what a device tells of its radio (LwM2M Object 4) to its pool of slots.
//!
//! | level | RSRP (dBm) | SINR (dB) |
//! |---|---|---|
//! | 0 | at least -105 | at least 7 |
//! | 1 | at least -115 | at least -3 |
//! | 2 | weaker | weaker |
//!
//! The weaker of the two decides. Without both, the coverage enhancement level of object 4 from 1.3 on
//! decides; without that, the cell alone is known.

/// What a device told of its radio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Radio {
    pub cell: Option<u64>,
    pub rsrp_dbm: Option<i64>,
    pub sinr_db: Option<i64>,
    /// 4/0/13: 0 and 1 without extended coverage, to 4.
    pub ce_level: Option<i64>,
}

/// A pool of slots: a cell, and a coverage level in it; `None`: devices whose coverage is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    pub cell: u64,
    pub level: Option<u8>,
}

/// Where the levels begin, and how many of each may fetch at once in one cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Weakest RSRP of levels 0 and 1, in dBm.
    pub rsrp_min_dbm: [i64; 2],
    /// Weakest SINR of levels 0 and 1, in dB.
    pub sinr_min_db: [i64; 2],
    /// Slots of levels 0, 1 and 2.
    pub slots: [u32; 3],
    /// Slots of those in a cell whose coverage is not known.
    pub slots_unknown: u32,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            rsrp_min_dbm: [-105, -115],
            sinr_min_db: [7, -3],
            slots: [50, 10, 1],
            slots_unknown: 10,
        }
    }
}

impl Table {
    /// The pool that a device belongs to; `None`: its cell is not known.
    pub fn place(&self, radio: &Radio) -> Option<Place> {
        let cell = radio.cell?;
        let level = match (radio.rsrp_dbm, radio.sinr_db) {
            (Some(rsrp), Some(sinr)) => {
                let by = |value: i64, [first, second]: [i64; 2]| match value {
                    value if value >= first => 0,
                    value if value >= second => 1,
                    _ => 2,
                };
                Some(by(rsrp, self.rsrp_min_dbm).max(by(sinr, self.sinr_min_db)))
            }
            _ => match radio.ce_level {
                Some(0 | 1) => Some(0),
                Some(2) => Some(1),
                Some(3 | 4) => Some(2),
                Some(_) | None => None,
            },
        };
        Some(Place { cell, level })
    }

    /// How many may fetch at once there.
    pub fn slots(&self, place: Place) -> u32 {
        let level = place.level.map(usize::from);
        let slots = level.and_then(|level| self.slots.get(level));
        slots.copied().unwrap_or(self.slots_unknown)
    }
}
