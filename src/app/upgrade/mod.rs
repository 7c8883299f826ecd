//! Upgrades of devices, as steps of their shards.
//!
//! ```text
//! campaign --Order::Upgrade(Begin)--> shard: row in the device's state -> store.commit
//!    device shows itself -> drive: engine::upgrade -> wishes -> requests (request), the line (News)
//!    device answers, notifies -> reading -> drive
//!    line --Order::Upgrade(Admit)--> drive
//!    end: row, subtask, event in one commit (ending) -> News -> line and campaign
//! ```
//!
//! The states are `engine::upgrade`, `engine::upgrade::fota` and `engine::sota`; the messages of PCP come and go
//! through `pcp`. A device's row is a part of its state, written
//! by its shard alone; who admits and who counts only hear of it ([`News`]), after it is durable.

pub mod drive;
mod ending;
pub mod fetches;
pub mod line;
mod link;
pub mod pcp;
mod reading;
mod request;

#[cfg(test)]
mod tests;

pub use super::upgrading::{
    Began, Begin, News, Package, Packages, Software, SoftwareError, UpgradeOrder, What,
};
pub use link::{FixedPackages, Upgrades};

use serde::Deserialize;

use crate::engine::admission;
use crate::engine::admission::airtime;
use crate::engine::admission::coverage::{self, Table, TableError};

/// What an operator sets under `[upgrade]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Devices of campaigns under way at the same time, over all campaigns.
    pub begun_max: usize,
    /// Upgrades at once in one cell, by level of coverage: 0, 1 and 2.
    pub slots: [u32; 3],
    /// Of devices whose coverage is not known.
    pub slots_unmeasured: u32,
    /// Where the levels begin, in dBm and dB; weaker than the last is level 2, too.
    pub rsrp_min_dbm: [i32; 3],
    pub sinr_min_db: [i32; 3],
    /// A cell admits no more than it carries, which is learnt; off: exactly the slots.
    pub airtime: bool,
}

/// The operator's guide of a large network, and as many devices as wait for slots there.
impl Default for Settings {
    fn default() -> Self {
        let Table {
            levels,
            unmeasured_slots,
        } = Table::default();
        Self {
            begun_max: 100_000,
            slots: levels.map(|row| row.slots),
            slots_unmeasured: unmeasured_slots,
            rsrp_min_dbm: levels.map(|row| row.rsrp_min_dbm),
            sinr_min_db: levels.map(|row| row.sinr_min_db),
            airtime: airtime::Settings::default().on,
        }
    }
}

impl Settings {
    /// What admission goes by.
    pub fn admission(&self) -> admission::Settings {
        let [zero, one, two] = self.slots;
        let [rsrp_zero, rsrp_one, rsrp_two] = self.rsrp_min_dbm;
        let [sinr_zero, sinr_one, sinr_two] = self.sinr_min_db;
        let row = |rsrp_min_dbm, sinr_min_db, slots| coverage::Row {
            rsrp_min_dbm,
            sinr_min_db,
            slots,
        };
        admission::Settings {
            table: Table {
                levels: [
                    row(rsrp_zero, sinr_zero, zero),
                    row(rsrp_one, sinr_one, one),
                    row(rsrp_two, sinr_two, two),
                ],
                unmeasured_slots: self.slots_unmeasured,
            },
            airtime: airtime::Settings {
                on: self.airtime,
                ..airtime::Settings::default()
            },
            keep_awake: None,
        }
    }

    /// Errors: levels that do not descend, pools without a slot.
    pub fn check(&self) -> Result<(), TableError> {
        self.admission().table.check()
    }
}
