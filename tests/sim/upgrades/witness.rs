//! What becomes durable of upgrades, commit by commit, and what must never: more slots than a pool has,
//! a slot or an end without its cause, two ends of one attempt, an end that nobody is told of.

use std::collections::BTreeMap;

use serde_json::Value;
use strait::base::ids::DeviceId;
use strait::base::time::{Clock, Timestamp};
use strait::engine::admission::coverage::{Place, Table};
use strait::engine::batch::Window;
use strait::store::Change;
use strait::store::catalog::{SubtaskRecord, SubtaskState};
use strait::store::upgrades::{StepRecord, UpgradeRecord};

use super::reasons::is_stated;

/// A task, and a place in it.
pub(crate) type Slot = (u64, u32);

/// One attempt has ended, as subscribers are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) task_seq: u64,
    pub(crate) device: DeviceId,
    pub(crate) status: String,
    pub(crate) attempts: u64,
    pub(crate) reason: Option<String>,
}

/// What holds the devices of a campaign back, as far as is known.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hold {
    pub(crate) paused_at: Option<Timestamp>,
    pub(crate) window: Option<Window>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Ledger {
    clock: Clock,
    rows: BTreeMap<DeviceId, UpgradeRecord>,
    subtasks: BTreeMap<Slot, SubtaskRecord>,
    pub(crate) ends: Vec<End>,
    pub(crate) holds: BTreeMap<u64, Hold>,
    pub(crate) mistakes: Vec<String>,
}

/// A row before and after a commit.
type Moved<K, R> = Vec<(K, Option<R>, R)>;

impl Ledger {
    pub(crate) const fn new(clock: Clock) -> Self {
        Self {
            clock,
            rows: BTreeMap::new(),
            subtasks: BTreeMap::new(),
            ends: Vec::new(),
            holds: BTreeMap::new(),
            mistakes: Vec::new(),
        }
    }

    /// Takes a commit that is durable.
    pub(crate) fn see(&mut self, changes: &[Change]) {
        let mut rows: Moved<DeviceId, UpgradeRecord> = Vec::new();
        let mut subtasks: Moved<Slot, SubtaskRecord> = Vec::new();
        let mut told = Vec::new();
        for change in changes {
            match change {
                Change::PutState(id, state) => match &state.upgrade {
                    Some(row) => {
                        let before = self.rows.insert(id.clone(), (**row).clone());
                        rows.push((id.clone(), before, (**row).clone()));
                    }
                    None => {
                        if let Some(before) = self.rows.remove(id) {
                            self.blame(is_running(&before), || format!("{id}: {before:?} is lost"));
                        }
                    }
                },
                Change::DeleteDevice(id) => drop(self.rows.remove(id)),
                Change::PutSubtask {
                    task_seq,
                    index,
                    record,
                } => {
                    let at = (*task_seq, *index);
                    let before = self.subtasks.insert(at, (**record).clone());
                    subtasks.push((at, before, (**record).clone()));
                }
                Change::Emit(event) => {
                    let of_upgrades = event.envelopes.iter();
                    let of_upgrades = of_upgrades.filter(|e| e.resource == "device.upgrade");
                    told.extend(of_upgrades.map(|e| end_of(e.device_id.clone(), &e.json)));
                }
                _ => {}
            }
        }
        self.judge_rows(&rows, &subtasks);
        self.judge_subtasks(&rows, &subtasks, &told);
        self.ends.append(&mut told);
        if !rows.is_empty() {
            self.judge_slots();
        }
    }

    fn blame(&mut self, is_wrong: bool, what: impl FnOnce() -> String) {
        if is_wrong {
            let at = self.clock.now();
            self.mistakes.push(format!("{at}: {}", what()));
        }
    }

    /// No pool has more than its slots.
    fn judge_slots(&mut self) {
        let mut taken: BTreeMap<Place, u32> = BTreeMap::new();
        for place in self.rows.values().filter_map(UpgradeRecord::slot) {
            *taken.entry(place.into()).or_default() += 1;
        }
        for (place, taken) in taken {
            let slots = Table::default().slots(place.pool);
            self.blame(taken > slots, || {
                format!("{place:?}: {taken} of {slots} slots")
            });
        }
    }

    fn judge_rows(
        &mut self,
        rows: &Moved<DeviceId, UpgradeRecord>,
        subtasks: &Moved<Slot, SubtaskRecord>,
    ) {
        let put_as = |row: &UpgradeRecord| {
            let mut of = subtasks.iter();
            let found = of.find(|(at, ..)| *at == (row.task_seq, row.index));
            found.map(|(_, _, after)| after.state)
        };
        for (id, before, after) in rows {
            let before = before.as_ref().filter(|row| is_running(row));
            let (is_same, had_slot) = match before {
                Some(before) => (attempt_of(before) == attempt_of(after), before.slot()),
                None => (true, None),
            };
            self.blame(!is_same, || {
                format!("{id}: {before:?} is overwritten by {after:?}")
            });
            match (before.is_some(), is_running(after)) {
                (false, true) => {
                    let is_begun = put_as(after) == Some(SubtaskState::Processing);
                    self.blame(!is_begun, || format!("{id}: begins by itself: {after:?}"));
                }
                (true, false) => {
                    let ended = put_as(after).is_some_and(|s| s != SubtaskState::Processing);
                    self.blame(!ended, || {
                        format!("{id}: ends without its subtask: {after:?}")
                    });
                }
                (false, false) | (true, true) => {}
            }
            match (had_slot, after.slot()) {
                (None, Some(_)) => self.judge_admission(id, before, after),
                (Some(had), Some(has)) => {
                    self.blame(had != has, || format!("{id}: slot {had:?} becomes {has:?}"));
                }
                (_, None) => {}
            }
        }
    }

    /// A slot is given from the line alone, and by a campaign that lets its devices begin.
    fn judge_admission(
        &mut self,
        id: &DeviceId,
        before: Option<&UpgradeRecord>,
        to: &UpgradeRecord,
    ) {
        let from_line = before.is_some_and(|b| matches!(b.step, StepRecord::Line { .. }));
        self.blame(!from_line, || {
            format!("{id}: a slot without the line: {before:?} {to:?}")
        });
        let hold = self.holds.get(&to.task_seq).copied().unwrap_or_default();
        let now = self.clock.now();
        let is_paused = hold.paused_at.is_some_and(|at| now > at);
        let is_shut = hold.window.is_some_and(|window| !window.is_open(now));
        self.blame(is_paused || is_shut, || {
            format!("{id}: a slot while its campaign is held: {hold:?}")
        });
    }

    fn judge_subtasks(
        &mut self,
        rows: &Moved<DeviceId, UpgradeRecord>,
        subtasks: &Moved<Slot, SubtaskRecord>,
        told: &[End],
    ) {
        let mut untold = told.to_vec();
        for (at, before, after) in subtasks {
            let from = before.as_ref().map(|b| b.state);
            self.blame(!may_follow(from, after), || {
                format!("{at:?}: {before:?} becomes {after:?}")
            });
            let from_row = rows.iter().any(|(_, before, after)| {
                let was = before.as_ref().is_some_and(is_running);
                was && !is_running(after) && (after.task_seq, after.index) == *at
            });
            let runs = from == Some(SubtaskState::Processing);
            let ends = !matches!(
                after.state,
                SubtaskState::Processing | SubtaskState::Removed
            );
            self.blame(runs && ends && !from_row, || {
                format!("{at:?}: {after:?}, and its device goes on")
            });
            let has_reason = after.error.is_some();
            let (failed, reason) = (is_failure(after.state), reason_of(after));
            let is_right = match after.state {
                SubtaskState::Success => !has_reason,
                _ if failed => reason.as_deref().is_some_and(is_stated),
                _ => true,
            };
            self.blame(!is_right, || format!("{at:?}: no such reason: {after:?}"));
            let is_told = failed && !after.refused
                || after.state == SubtaskState::Success
                || runs && after.state == SubtaskState::Stopped;
            if is_told {
                let fits = |end: &End| {
                    end.task_seq == at.0
                        && end.device.as_str() == after.target
                        && end.status == word_of(after.state)
                        && end.attempts == u64::from(after.tries)
                        && end.reason == reason
                };
                match untold.iter().position(fits) {
                    Some(found) => drop(untold.swap_remove(found)),
                    None => self.blame(true, || format!("{at:?}: {after:?} told as {told:?}")),
                }
            }
        }
        self.blame(!untold.is_empty(), || {
            format!("told of nothing: {untold:?}")
        });
    }
}

const fn is_running(row: &UpgradeRecord) -> bool {
    !matches!(row.step, StepRecord::Ended)
}

const fn attempt_of(row: &UpgradeRecord) -> (u64, u32, u32) {
    (row.task_seq, row.index, row.tries)
}

const fn is_failure(state: SubtaskState) -> bool {
    matches!(
        state,
        SubtaskState::Fail | SubtaskState::FailWaitRetry { .. }
    )
}

fn reason_of(row: &SubtaskRecord) -> Option<String> {
    let error = row.error.as_ref().filter(|_| is_failure(row.state))?;
    Some(error.error_msg.clone())
}

/// In the words of the v5 API.
pub(crate) const fn word_of(state: SubtaskState) -> &'static str {
    match state {
        SubtaskState::Waiting => "Waitting",
        SubtaskState::Success => "Success",
        SubtaskState::Fail => "Fail",
        SubtaskState::FailWaitRetry { .. } => "FailWaitRetry",
        SubtaskState::Stopped => "Stopped",
        SubtaskState::Removed => "Removed",
        SubtaskState::Processing => "Processing",
    }
}

/// Where a subtask may go. What has ended well or is gone stays so.
fn may_follow(from: Option<SubtaskState>, after: &SubtaskRecord) -> bool {
    use SubtaskState::{Fail, FailWaitRetry, Processing, Removed, Stopped, Success, Waiting};
    match (from, after.state) {
        (None, Waiting) => true,
        (None, Fail) => after.refused,
        (Some(Waiting | FailWaitRetry { .. }), to) => !matches!(to, Success),
        (Some(Processing), to) => !matches!(to, Waiting | Processing),
        (Some(Fail | Stopped), Waiting) => true,
        (None | Some(Success | Fail | Stopped | Removed), _) => false,
    }
}

fn end_of(device: Option<DeviceId>, json: &str) -> End {
    let envelope: Value = serde_json::from_str(json).unwrap();
    let body = &envelope["notify_data"]["body"];
    let task_id = body["task_id"].as_str().unwrap();
    End {
        task_seq: u64::from_str_radix(task_id, 16).unwrap(),
        device: device.unwrap(),
        status: body["status"].as_str().unwrap().to_owned(),
        attempts: body["attempts"].as_u64().unwrap(),
        reason: body["reason"].as_str().map(str::to_owned),
    }
}
