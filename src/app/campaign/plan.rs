//! How long a campaign would take, from where its devices were last measured and what a cell carries
//! (`engine::admission::plan`).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Campaigns;
use crate::app::batch::{BatchError, NewTask};
use crate::app::upgrade::Package;
use crate::base::ids::DeviceId;
use crate::engine::admission::coverage::{Place, Pool};
use crate::engine::admission::plan::{Forecast, Load, alone, forecast};
use crate::store::StoreError;
use crate::store::catalog::{SubtaskError, SubtaskRecord};
use crate::store::upgrades::PlaceRecord;

/// Bytes of a block of firmware, unless the device asks for others.
const BLOCK: u16 = 512;

/// Where devices are whose cell is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assumed {
    /// Over so many cells, evenly.
    pub cells: u32,
    /// Shares of levels 0, 1 and 2.
    pub mix: [u32; 3],
}

/// One cell of a plan.
#[derive(Debug, Clone)]
pub struct CellPlan {
    /// `None`: one that was assumed.
    pub cell: Option<u64>,
    pub forecast: Forecast,
    /// As [`Pool::WEAKEST_FIRST`].
    pub devices: [u32; 4],
}

/// What a campaign would do. Times in ms.
#[derive(Debug)]
pub struct Plan {
    pub package: Arc<Package>,
    /// Targets that can have it.
    pub devices: u32,
    /// Of these, whose cell is not known.
    pub without_cell: u32,
    /// Targets that can't.
    pub refused: Vec<(SubtaskError, u32)>,
    /// The slowest first.
    pub cells: Vec<CellPlan>,
    /// One device of each level that has its cell for itself: the download, and its airtime.
    pub alone_ms: [(f64, f64); 3],
}

impl Plan {
    /// Until the last cell has ended, and what no order can beat.
    pub fn span(&self) -> (f64, f64) {
        let most = |of: fn(&Forecast) -> f64| {
            let spans = self.cells.iter().map(|cell| of(&cell.forecast));
            spans.fold(0.0, f64::max)
        };
        (most(|f| f.expected_ms), most(|f| f.bound_ms))
    }

    /// Attempts that don't end in time.
    pub fn late(&self) -> u32 {
        let cells = self.cells.iter().flat_map(|cell| cell.forecast.late);
        cells.fold(0, u32::saturating_add)
    }
}

impl Campaigns {
    /// Plans a campaign; nothing is made. Errors: those of its creation.
    pub async fn plan(
        self: &Arc<Self>,
        new: &NewTask,
        assumed: Option<Assumed>,
    ) -> Result<Plan, BatchError> {
        let (package, rows) = self.parts.batches.draft(new).await?;
        let this = Arc::clone(self);
        let planning = move || this.plan_of(package, &rows, assumed);
        let planned = tokio::task::spawn_blocking(planning).await;
        Ok(planned.map_err(|_| StoreError::Closed)??)
    }

    fn plan_of(
        &self,
        package: Arc<Package>,
        rows: &[SubtaskRecord],
        assumed: Option<Assumed>,
    ) -> Result<Plan, StoreError> {
        let mut cells: BTreeMap<u64, [u32; 4]> = BTreeMap::new();
        let mut refused: BTreeMap<&str, (SubtaskError, u32)> = BTreeMap::new();
        let (mut devices, mut without_cell) = (0_u32, 0_u32);
        for row in rows {
            if let Some(error) = &row.error {
                let new = || (error.clone(), 0);
                let (_, count) = refused.entry(&error.error_code).or_insert_with(new);
                *count = count.saturating_add(1);
                continue;
            }
            devices = devices.saturating_add(1);
            match self.last_place(&row.target)? {
                Some(place) => {
                    let counts = cells.entry(place.cell.0).or_default();
                    count(counts, place.pool, 1);
                }
                None => without_cell = without_cell.saturating_add(1),
            }
        }
        let load = Load {
            bytes: package.size,
            part: package
                .software
                .as_ref()
                .map_or(BLOCK, |software| software.plan.size.bytes()),
        };
        let settings = &self.parts.admission;
        let known = cells.into_iter().map(|(cell, counts)| (Some(cell), counts));
        let guessed = assumed.map(|assumed| spread(without_cell, assumed));
        let guessed = guessed.unwrap_or_default().into_iter();
        let all = known.chain(guessed.map(|counts| (None, counts)));
        let mut cells: Vec<CellPlan> = all
            .map(|(cell, devices)| CellPlan {
                cell,
                forecast: forecast(settings, devices, load),
                devices,
            })
            .collect();
        cells.sort_by(|a, b| b.forecast.expected_ms.total_cmp(&a.forecast.expected_ms));
        let [two, _, one, zero] = Pool::WEAKEST_FIRST.map(|pool| alone(pool, load));
        Ok(Plan {
            package,
            devices,
            without_cell,
            refused: refused.into_values().collect(),
            cells,
            alone_ms: [zero, one, two],
        })
    }

    /// Where a device was when it was last upgraded.
    fn last_place(&self, target: &str) -> Result<Option<Place>, StoreError> {
        let Ok(device_id) = DeviceId::parse(target) else {
            return Ok(None);
        };
        let state = self.parts.store.state(&device_id)?;
        let place: Option<PlaceRecord> = state.and_then(|s| s.upgrade).and_then(|u| u.place);
        Ok(place.map(Place::from))
    }
}

/// Devices over so many cells: each has as many of each level as its neighbour, but for one.
fn spread(devices: u32, assumed: Assumed) -> Vec<[u32; 4]> {
    let cells = assumed.cells.clamp(1, devices.max(1));
    let shares: u64 = assumed.mix.iter().map(|share| u64::from(*share)).sum();
    let shares = shares.max(1);
    let mut all = vec![[0; 4]; usize::try_from(cells).unwrap_or(1)];
    let mut at = 0_usize;
    let mut given = 0_u64;
    let mut so_far = 0_u64;
    let pools = [
        Pool::WEAKEST_FIRST[3],
        Pool::WEAKEST_FIRST[2],
        Pool::WEAKEST_FIRST[0],
    ];
    for (share, pool) in assumed.mix.iter().zip(pools) {
        so_far += u64::from(*share);
        // What is rounded off falls to the next level, so that none is lost.
        let until = u64::from(devices) * so_far / shares;
        for _ in given..until {
            let cells = all.len();
            if let Some(counts) = all.get_mut(at % cells) {
                count(counts, pool, 1);
            }
            at = at.wrapping_add(1);
        }
        given = until;
    }
    all
}

fn count(counts: &mut [u32; 4], pool: Pool, more: u32) {
    let at = Pool::WEAKEST_FIRST.iter().position(|p| *p == pool);
    if let Some(count) = at.and_then(|at| counts.get_mut(at)) {
        *count = count.saturating_add(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_spread_and_none_is_lost() {
        for (devices, cells, mix) in [
            (500, 3, [450, 45, 5]),
            (7, 10, [1, 1, 1]),
            (1, 1, [0, 0, 1]),
        ] {
            let all = spread(devices, Assumed { cells, mix });
            let sum: u32 = all.iter().flatten().sum();
            assert_eq!(sum, devices, "{mix:?}");
            let sizes = all.iter().map(|counts| counts.iter().sum::<u32>());
            let (least, most) = (sizes.clone().min().unwrap(), sizes.max().unwrap());
            assert!(most - least <= 1, "{all:?}");
        }
    }
}
