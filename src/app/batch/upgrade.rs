//! Subtasks that upgrade a device. The device's shard begins one, with its row in the same commit, and from
//! then on the shard alone moves it: its end comes as news ([`Campaigns::settled`]).
//!
//! ```text
//! runner --Begin--> shard: device's row and subtask's (Processing) in one commit
//! shard  --News::Ended--> line --> settled: the row says so already
//! runner --Stop--> shard: ends it, unless it installs
//! ```
//! What a board says is under way and the devices' rows don't know any more is found by [`check`](Batches::check),
//! at start and every now and then: its device was deleted meanwhile, or news were lost. Whatever
//! is begun reads its row first, so that a board that is behind does nothing twice.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::attempt::{Became, Done, Job, PAUSE_FIRST, PAUSE_MAX, Trouble, put};
use super::campaign::Why;
use super::create::of_commit;
use super::rows::{CHUNK, NO_RETRY, note, subtask_of, window_of};
use super::{Batches, Entry};
use crate::app::device::LostUpgrades;
use crate::app::envelope::{self, DeviceHeader};
use crate::app::order::{Order, OrderError, Told};
use crate::app::package::InUse;
use crate::app::tasks::Stop;
use crate::app::upgrade::line::Campaigns;
use crate::app::upgrade::{Began, Begin, Package, UpgradeOrder};
use crate::base::ids::{DeviceId, PackageId, TaskId};
use crate::base::time::Timestamp;
use crate::bug;
use crate::engine::batch::{Input, Phase, State, Subtask, Verdict};
use crate::engine::upgrade::Reason;
use crate::store::catalog::{SubtaskError, SubtaskRecord, SubtaskState};
use crate::store::records::{DeviceRecord, EventRecord};
use crate::store::upgrades::{RetryRecord, StepRecord, UpgradeRecord};
use crate::store::{Change, Commit, StoreError};

/// A try that is to begin, with its row as it was.
struct Try {
    subtask: Subtask,
    row: SubtaskRecord,
}

impl Batches {
    /// Begins until the store has taken it, or the server stops.
    pub(super) async fn begin_upgrade(self: Arc<Self>, job: Job, mut stop: Stop) -> Done {
        let mut pause = PAUSE_FIRST;
        loop {
            match self.begin_once(&job).await {
                Ok(became) => return job.became(became),
                Err(error) => {
                    tracing::warn!(%error, task_seq = job.seq, "an upgrade waits for the store");
                }
            }
            if !wait(&mut stop, &mut pause).await {
                return job.became(Became::GivenUp);
            }
        }
    }

    async fn begin_once(&self, job: &Job) -> Result<Became, StoreError> {
        let Some(row) = self.row(job.seq, job.index)? else {
            bug!("subtask {} of task {} has no row", job.index, job.seq);
            return Ok(Became::Ended(State::Removed));
        };
        let mut subtask = subtask_of(&row, job.policy);
        match subtask.state {
            // A commit that looked failed was not.
            State::Processing => return Ok(Became::UnderWay),
            state if state.is_ended() => return Ok(Became::Ended(state)),
            // That its time has come was judged before.
            _ => subtask.state = State::Waiting,
        }
        subtask.step(self.parts.clock.now(), Input::Begin);
        let this = Try { subtask, row };
        let Ok(device_id) = self.target(job, &this.row) else {
            return self.remove(job, this).await;
        };
        let package_id = job.package_id.as_deref().unwrap_or_default();
        let Some(package) = self.parts.packages.find(package_id) else {
            let error = told_of(&Reason::NoPackage);
            return self.fail(job, this, None, error, false).await;
        };
        let told = self.order_begin(job, &this, &device_id, &package).await;
        match told {
            Ok(Told::Upgrade(Began::UnderWay)) => Ok(Became::UnderWay),
            Ok(Told::Upgrade(Began::Conflict)) => {
                let error = told_of(&Reason::Conflict);
                self.fail(job, this, Some(&package), error, true).await
            }
            Ok(other) => {
                bug!("an upgrade was begun, and {other:?} was told");
                Err(StoreError::Busy)
            }
            Err(OrderError::NotFound) => self.remove(job, this).await,
            Err(error) => {
                let trouble = Trouble::from(error);
                if trouble.passes() {
                    return Err(trouble.store());
                }
                let error = trouble.error();
                self.fail(job, this, Some(&package), error, true).await
            }
        }
    }

    async fn order_begin(
        &self,
        job: &Job,
        this: &Try,
        device_id: &DeviceId,
        package: &Arc<Package>,
    ) -> Result<Told, OrderError> {
        let mut begun = this.row.clone();
        note(&mut begun, &this.subtask);
        begun.error = None;
        let begin = Begin {
            task_seq: job.seq,
            index: job.index,
            package: Arc::clone(package),
            tries: this.subtask.tries,
            retry: RetryRecord {
                count: job.policy.count,
                interval_ms: job.policy.interval_ms,
            },
            guards: Vec::new(),
            changes: vec![put(job.seq, job.index, begun)],
        };
        let order = Order::Upgrade(UpgradeOrder::Begin(Box::new(begin)));
        self.parts.shards.order(device_id, order).await
    }

    /// The try failed before its device heard of it.
    async fn fail(
        &self,
        job: &Job,
        this: Try,
        package: Option<&Package>,
        error: SubtaskError,
        retriable: bool,
    ) -> Result<Became, StoreError> {
        let Try {
            mut subtask,
            mut row,
        } = this;
        let now = self.parts.clock.now();
        subtask.step(now, Input::Fail { retriable });
        note(&mut row, &subtask);
        let mut changes = Vec::with_capacity(2);
        if let Some(device) = device_of(&row).map(|id| self.parts.store.device(&id)) {
            let result = envelope::UpgradeResult {
                task_seq: job.seq,
                package_id: job.package_id.as_deref().unwrap_or_default(),
                version: package.map(|package| package.version.as_str()),
                status: subtask.state.word(),
                tries: subtask.tries,
                reason: Some(&error.error_msg),
            };
            let told = device?.map(|device| {
                let header = DeviceHeader::from(&device);
                envelope::upgrade_result(&header, &result, now)
            });
            let envelopes: Vec<_> = told.into_iter().collect();
            if !envelopes.is_empty() {
                let event = EventRecord { at: now, envelopes };
                changes.push(Change::Emit(Box::new(event)));
            }
        }
        row.error = Some(error);
        changes.push(put(job.seq, job.index, row));
        self.commit_and_tell(changes).await?;
        Ok(Became::Ended(subtask.state))
    }

    /// The device is none any more.
    async fn remove(&self, job: &Job, this: Try) -> Result<Became, StoreError> {
        let mut row = this.row;
        row.state = SubtaskState::Removed;
        row.error = None;
        self.commit_and_tell(vec![put(job.seq, job.index, row)])
            .await?;
        Ok(Became::Ended(State::Removed))
    }

    async fn commit_and_tell(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let guards = Vec::new();
        let commit = self.parts.store.commit(Commit { guards, changes });
        commit.await.map_err(of_commit)?;
        self.parts.outbox.notify();
        Ok(())
    }

    /// Has an upgrade stopped, until its shard has taken that or the server stops.
    pub(super) async fn stop_upgrade(self: Arc<Self>, job: Job, mut stop: Stop) -> Done {
        let mut pause = PAUSE_FIRST;
        loop {
            match self.stop_once(job.seq, job.index).await {
                Ok(State::Processing) => return job.became(Became::GoesOn),
                Ok(state) => return job.became(Became::Ended(state)),
                Err(error) => {
                    tracing::warn!(%error, task_seq = job.seq, "the stop of an upgrade waits");
                }
            }
            if !wait(&mut stop, &mut pause).await {
                return job.became(Became::GoesOn);
            }
        }
    }

    /// Orders an upgrade to stop; where it stands then. One that installs goes on.
    pub(super) async fn stop_once(&self, seq: u64, index: u32) -> Result<State, StoreError> {
        let Some(row) = self.row(seq, index)? else {
            return Ok(State::Removed);
        };
        let (SubtaskState::Processing, Some(device_id)) = (row.state, device_of(&row)) else {
            return Ok(subtask_of(&row, NO_RETRY).state);
        };
        let order = Order::Upgrade(UpgradeOrder::Stop { task_seq: seq });
        match self.parts.shards.order(&device_id, order).await {
            Ok(_) | Err(OrderError::NotFound) => {}
            Err(OrderError::Store(error)) => return Err(error),
            Err(_) => return Err(StoreError::Busy),
        }
        self.find_state(seq, index).await
    }

    /// Where an upgrade stands, by its rows: one that its device knows nothing of is `Removed` from now on.
    async fn find_state(&self, seq: u64, index: u32) -> Result<State, StoreError> {
        match self.look_at(seq, index)? {
            Found::State(state) => Ok(state),
            Found::Lost(mut row) => {
                row.state = SubtaskState::Removed;
                self.commit_and_tell(vec![put(seq, index, *row)]).await?;
                Ok(State::Removed)
            }
        }
    }

    fn look_at(&self, seq: u64, index: u32) -> Result<Found, StoreError> {
        let Some(before) = self.row(seq, index)? else {
            return Ok(Found::State(State::Removed));
        };
        let state = subtask_of(&before, NO_RETRY).state;
        if state != State::Processing || self.is_known(seq, index, &before)? {
            return Ok(Found::State(state));
        }
        // It may have ended between the two rows.
        match self.row(seq, index)? {
            Some(row) if row.state == SubtaskState::Processing => Ok(Found::Lost(Box::new(row))),
            Some(row) => Ok(Found::State(subtask_of(&row, NO_RETRY).state)),
            None => Ok(Found::State(State::Removed)),
        }
    }

    /// Whether the device's own row has this upgrade under way.
    fn is_known(&self, seq: u64, index: u32, row: &SubtaskRecord) -> Result<bool, StoreError> {
        let Some(id) = device_of(row) else {
            return Ok(false);
        };
        if self.parts.store.device(&id)?.is_none() {
            return Ok(false);
        }
        let upgrade = self.parts.store.state(&id)?.and_then(|state| state.upgrade);
        let is_it = |u: &UpgradeRecord| {
            u.task_seq == seq && u.index == index && u.step != StepRecord::Ended
        };
        Ok(upgrade.as_deref().is_some_and(is_it))
    }

    /// Looks at every upgrade that is under way as far as the board knows.
    pub(super) async fn check(self: Arc<Self>, stop: Stop) {
        let begun = self.board().begun_by_task();
        for (seq, indexes) in begun {
            for chunk in indexes.chunks(CHUNK) {
                if stop.is_requested() {
                    return;
                }
                if let Err(error) = self.check_these(seq, chunk.to_vec()).await {
                    tracing::warn!(%error, task_seq = seq, "upgrades are looked at later");
                    return;
                }
            }
        }
    }

    async fn check_these(self: &Arc<Self>, seq: u64, indexes: Vec<u32>) -> Result<(), StoreError> {
        let this = Arc::clone(self);
        let look = move || {
            let differs = |index: &u32| {
                let found = this.look_at(seq, *index);
                !matches!(found, Ok(Found::State(State::Processing)))
            };
            indexes.into_iter().filter(differs).collect::<Vec<u32>>()
        };
        let suspects = tokio::task::spawn_blocking(look).await;
        for index in suspects.map_err(|_| StoreError::Closed)? {
            let state = self.find_state(seq, index).await?;
            if state != State::Processing && self.board().is_begun(seq, index) {
                tracing::info!(task_seq = seq, index, ?state, "an upgrade ended unheard");
                self.settled(seq, index, state);
            }
        }
        Ok(())
    }

    pub(super) fn row(&self, seq: u64, index: u32) -> Result<Option<SubtaskRecord>, StoreError> {
        let rows = self.parts.store.subtasks(seq, index, 1)?;
        let found = rows.into_iter().find(|(found, _)| *found == index);
        Ok(found.map(|(_, row)| row))
    }

    /// Whether a device of this campaign may get a slot now.
    pub fn may_admit(&self, task_seq: u64) -> Result<(), Why> {
        let now = self.parts.clock.now();
        let board = self.board();
        let entry = board.entries.get(&task_seq).ok_or(Why::Over)?;
        match entry.task.phase {
            Phase::Scheduled { .. } | Phase::Running => {}
            Phase::Stopping | Phase::Stopped | Phase::Ended => return Err(Why::Over),
        }
        may_admit(entry, now)
    }
}

fn may_admit(entry: &Entry, now: Timestamp) -> Result<(), Why> {
    if entry.verdict() == Verdict::Broken {
        return Err(Why::Canary);
    }
    let campaign = entry.record.campaign.as_ref().ok_or(Why::Over)?;
    if campaign.paused {
        return Err(Why::Paused);
    }
    match campaign.window.map(window_of) {
        Some(window) if !window.is_open(now) => Err(Why::Window {
            opens_at: window.opens_at(now),
        }),
        Some(_) | None => Ok(()),
    }
}

impl Campaigns for Batches {
    /// An attempt has ended: its rows say so already.
    fn settled(&self, task_seq: u64, index: u32, state: State) {
        // News may be behind what the row says by now.
        let state = match self.row(task_seq, index) {
            Ok(Some(row)) => subtask_of(&row, NO_RETRY).state,
            Ok(None) | Err(_) => state,
        };
        if state != State::Processing && state != State::Waiting {
            self.board().settle(task_seq, index, Some(state));
            self.wake();
        }
    }

    fn admission_changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(Self::admission_changed(self))
    }

    fn may_admit(&self, task_seq: u64) -> bool {
        Self::may_admit(self, task_seq).is_ok()
    }
}

impl InUse for Batches {
    fn task_of(&self, package: &PackageId) -> Option<TaskId> {
        self.uses_package(package.as_str())
    }
}

impl LostUpgrades for Batches {
    fn lost(&self, _: &DeviceRecord, upgrade: &UpgradeRecord) {
        self.settled(upgrade.task_seq, upgrade.index, State::Removed);
    }
}

/// What the rows say of an upgrade.
enum Found {
    State(State),
    /// Its row says that it is under way, and its device knows nothing of it.
    Lost(Box<SubtaskRecord>),
}

fn device_of(row: &SubtaskRecord) -> Option<DeviceId> {
    let id = DeviceId::parse(&row.target);
    id.inspect_err(|e| bug!("a subtask's target is no device id: {e}"))
        .ok()
}

fn told_of(reason: &Reason) -> SubtaskError {
    SubtaskError {
        error_code: format!("upgrade_{}", reason.kind()),
        error_msg: reason.text(),
    }
}

/// False: the server stops.
async fn wait(stop: &mut Stop, pause: &mut Duration) -> bool {
    tokio::select! {
        () = stop.requested() => false,
        () = tokio::time::sleep(*pause) => {
            *pause = PAUSE_MAX.min(*pause * 2);
            true
        }
    }
}
