//! A campaign by cell and coverage: who waits, who downloads, what failed and why.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Campaigns;
use crate::app::batch::{BatchError, TaskDetail, Why};
use crate::base::ids::{AppId, DeviceId, TaskId};
use crate::base::time::Timestamp;
use crate::engine::admission::coverage::Place;
use crate::engine::upgrade::Stage;
use crate::store::StoreError;
use crate::store::catalog::{SubtaskError, SubtaskRecord, SubtaskState};
use crate::store::upgrades::PlaceRecord;

/// Ended devices from which an end is estimated.
const ENDED_MIN: u32 = 5;

/// Devices by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Their attempt has not begun.
    pub waiting: u32,
    /// They are asked for version and coverage.
    pub asked: u32,
    pub in_line: u32,
    pub downloading: u32,
    pub installing: u32,
    pub success: u32,
    pub failed: u32,
    /// They failed, and are tried again.
    pub to_retry: u32,
    /// Stopped by somebody, or their devices were deleted.
    pub stopped: u32,
}

impl Tally {
    pub const fn all(&self) -> u32 {
        let begun = self.asked + self.in_line + self.downloading + self.installing;
        self.waiting + begun + self.to_retry + self.ended()
    }

    pub const fn ended(&self) -> u32 {
        self.success + self.failed + self.stopped
    }

    /// Devices that hold a slot.
    pub const fn slots(&self) -> u32 {
        self.downloading + self.installing
    }

    const fn add(&mut self, state: SubtaskState, stage: Option<Stage>) {
        let count = match (state, stage) {
            (SubtaskState::Waiting, _) => &mut self.waiting,
            (SubtaskState::Processing, Some(Stage::InLine)) => &mut self.in_line,
            (SubtaskState::Processing, Some(Stage::Downloads)) => &mut self.downloading,
            (SubtaskState::Processing, Some(Stage::Installs)) => &mut self.installing,
            // Its end is about to be told.
            (SubtaskState::Processing, Some(Stage::Asked | Stage::Ended) | None) => &mut self.asked,
            (SubtaskState::Success, _) => &mut self.success,
            (SubtaskState::Fail, _) => &mut self.failed,
            (SubtaskState::FailWaitRetry { .. }, _) => &mut self.to_retry,
            (SubtaskState::Stopped | SubtaskState::Removed, _) => &mut self.stopped,
        };
        *count += 1;
    }
}

/// Failures of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failures {
    /// With the text of one of them.
    pub error: SubtaskError,
    pub count: u32,
}

/// Failures by code.
#[derive(Debug, Clone, Default)]
struct Reasons(BTreeMap<String, (String, u32)>);

impl Reasons {
    fn add(&mut self, error: &SubtaskError) {
        let new = || (error.error_msg.clone(), 0);
        let (_, count) = self.0.entry(error.error_code.clone()).or_insert_with(new);
        *count = count.saturating_add(1);
    }

    /// The most frequent first.
    fn list(self) -> Vec<Failures> {
        let failures = |(error_code, (error_msg, count))| Failures {
            error: SubtaskError {
                error_code,
                error_msg,
            },
            count,
        };
        let mut list: Vec<Failures> = self.0.into_iter().map(failures).collect();
        list.sort_by_key(|failures| std::cmp::Reverse(failures.count));
        list
    }
}

/// One pool of a cell.
#[derive(Debug, Clone)]
pub struct PoolCells {
    /// Coverage level; `None`: not known.
    pub level: Option<u8>,
    pub tally: Tally,
    /// Of all campaigns.
    pub slots: u32,
    pub slots_taken: u32,
    pub in_line: usize,
}

/// One cell.
#[derive(Debug, Clone)]
pub struct Cell {
    pub cell: u64,
    /// Downloads of all campaigns that need airtime, and how many the cell carries; `None` while nothing runs, or
    /// when that is off.
    pub airtime: Option<(u32, u32)>,
    pub levels: Vec<PoolCells>,
    pub failures: Vec<Failures>,
}

/// Which cells.
#[derive(Debug, Clone, Copy)]
pub struct CellsQuery {
    /// Only those with a greater number.
    pub after: Option<u64>,
    pub limit: usize,
}

/// A campaign by cell.
#[derive(Debug)]
pub struct CellsPage {
    pub task: TaskDetail,
    pub held_back: Option<Why>,
    pub tally: Tally,
    pub failures: Vec<Failures>,
    /// Of devices whose cell is not known yet.
    pub without_cell: Tally,
    /// When it ends if the rest takes as long as what is done; `None`: too little is done, or it is over.
    pub estimated_end: Option<Timestamp>,
    /// Cells in all.
    pub count: usize,
    pub cells: Vec<Cell>,
}

/// What the rows say of one cell, by level.
#[derive(Debug, Default)]
struct Rows {
    levels: BTreeMap<Option<u8>, Tally>,
    reasons: Reasons,
}

impl Campaigns {
    /// A campaign by cell, ascending. Errors: 404; no campaign.
    pub async fn cells(
        self: &Arc<Self>,
        id: &TaskId,
        space: Option<&AppId>,
        query: CellsQuery,
    ) -> Result<CellsPage, BatchError> {
        let (task, rows) = self.parts.batches.campaign_rows(id, space).await?;
        let this = Arc::clone(self);
        // A row of each device is read.
        let look = move || this.look(task, &rows, query);
        let looked = tokio::task::spawn_blocking(look).await;
        Ok(looked.map_err(|_| StoreError::Closed)??)
    }

    fn look(
        &self,
        task: TaskDetail,
        rows: &[(u32, SubtaskRecord)],
        query: CellsQuery,
    ) -> Result<CellsPage, StoreError> {
        let mut cells: BTreeMap<u64, Rows> = BTreeMap::new();
        let (mut tally, mut without_cell) = (Tally::default(), Tally::default());
        let mut reasons = Reasons::default();
        for (_, row) in rows {
            let (place, stage) = self.place_of(&row.target, task.record.seq)?;
            tally.add(row.state, stage);
            let error = row.error.as_ref().filter(|_| is_failure(row.state));
            error.into_iter().for_each(|error| reasons.add(error));
            let Some(PlaceRecord { cell, level }) = place else {
                without_cell.add(row.state, stage);
                continue;
            };
            let rows = cells.entry(cell).or_default();
            rows.levels.entry(level).or_default().add(row.state, stage);
            error.into_iter().for_each(|error| rows.reasons.add(error));
        }
        let after = |cell: &u64| query.after.is_none_or(|after| *cell > after);
        let count = cells.len();
        let page = cells.into_iter().filter(|(cell, _)| after(cell));
        let page = page.take(query.limit);
        Ok(CellsPage {
            held_back: self.parts.batches.may_admit(task.record.seq).err(),
            estimated_end: self.estimate(&task, &tally),
            tally,
            failures: reasons.list(),
            without_cell,
            count,
            cells: page.map(|(cell, rows)| self.cell(cell, rows)).collect(),
            task,
        })
    }

    fn cell(&self, cell: u64, rows: Rows) -> Cell {
        let pool = |(level, tally)| {
            let place = Place::from(PlaceRecord { cell, level });
            let (slots_taken, in_line) = self.parts.line.pool(place);
            PoolCells {
                level,
                tally,
                slots: self.parts.admission.table.slots(place.pool),
                slots_taken,
                in_line,
            }
        };
        Cell {
            cell,
            airtime: self.parts.line.airtime(cell),
            levels: rows.levels.into_iter().map(pool).collect(),
            failures: rows.reasons.list(),
        }
    }

    /// Where a device was measured for this task, and what it does.
    fn place_of(
        &self,
        target: &str,
        task_seq: u64,
    ) -> Result<(Option<PlaceRecord>, Option<Stage>), StoreError> {
        let Ok(device_id) = DeviceId::parse(target) else {
            return Ok((None, None));
        };
        let state = self.parts.store.state(&device_id)?;
        let upgrade = state.and_then(|state| state.upgrade);
        let upgrade = upgrade.filter(|u| u.task_seq == task_seq);
        Ok(upgrade.map_or((None, None), |u| (u.place, Some(u.engine().stage()))))
    }

    fn estimate(&self, task: &TaskDetail, tally: &Tally) -> Option<Timestamp> {
        let (ended, all) = (tally.ended(), tally.all());
        if ended < ENDED_MIN || ended == all {
            return None;
        }
        let now = self.parts.clock.now();
        let passed = now.since_ms(task.record.created_at);
        let rest = passed.saturating_mul(u64::from(all - ended)) / u64::from(ended);
        Some(now.plus_ms(rest))
    }
}

const fn is_failure(state: SubtaskState) -> bool {
    matches!(
        state,
        SubtaskState::Fail | SubtaskState::FailWaitRetry { .. }
    )
}
