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

/// What an operator sets under `[upgrade]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Devices of campaigns under way at the same time, over all campaigns.
    pub begun_max: usize,
}

/// As many as wait for slots in a large network.
impl Default for Settings {
    fn default() -> Self {
        Self { begun_max: 100_000 }
    }
}
