//! Orders to a batch task: stop, retry, delete. The runner carries them out, one after the other,
//! and answers when their commits are durable.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::board::Live;
use super::create::of_commit;
use super::rows::{CHUNK, NO_RETRY, each_subtask, note, subtask_of};
use super::{BatchError, Batches, CampaignChange, Entry};
use crate::app::tasks::Stop;
use crate::base::ids::{AppId, TaskId};
use crate::engine::batch::{Counts, Input, Order, Phase, State, Subtask};
use crate::store::catalog::SubtaskRecord;
use crate::store::{Change, Commit, StoreError};

/// Before the rest of a deleted task is swept again.
const PAUSE: Duration = Duration::from_secs(1);

/// What to do with subtasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderKind {
    /// Those that wait are stopped; what runs is finished.
    Stop,
    /// Those that failed or were stopped wait again.
    Retry,
    /// Those that wait to be confirmed may begin.
    Confirm,
}

/// What became of an order about one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderResult {
    pub target: String,
    /// `None`: done.
    pub problem: Option<String>,
}

/// An order on its way to the runner.
pub(super) struct Request {
    seq: u64,
    what: What,
    reply: oneshot::Sender<Result<Vec<OrderResult>, BatchError>>,
}

pub(super) enum What {
    All(OrderKind),
    Some(OrderKind, Vec<String>),
    Delete,
    Campaign(CampaignChange),
}

/// A row with its place.
pub(super) type Row = (u32, SubtaskRecord);

impl Batches {
    /// Orders all subtasks (`targets` empty: no results), or those of these targets.
    pub async fn order(
        &self,
        id: &TaskId,
        space: Option<&AppId>,
        kind: OrderKind,
        targets: Vec<String>,
    ) -> Result<Vec<OrderResult>, BatchError> {
        let seq = self.entry(id, space)?.record.seq;
        let what = match targets.is_empty() {
            true => What::All(kind),
            false => What::Some(kind, targets),
        };
        self.ask(seq, what).await
    }

    /// Deletes a task that is over.
    pub async fn delete(&self, id: &TaskId, space: Option<&AppId>) -> Result<(), BatchError> {
        let seq = self.entry(id, space)?.record.seq;
        self.ask(seq, What::Delete).await.map(drop)
    }

    pub(super) async fn ask(&self, seq: u64, what: What) -> Result<Vec<OrderResult>, BatchError> {
        let (reply, answer) = oneshot::channel();
        let request = Request { seq, what, reply };
        let closed = || BatchError::Store(StoreError::Closed);
        self.requests.send(request).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Carries out one order.
    pub(super) async fn answer(self: &Arc<Self>, request: Request) {
        let Request { seq, what, reply } = request;
        let result = match self.copy_of(seq) {
            // Deleted by an order before this one.
            None => match super::task_id(seq) {
                Ok(id) => Err(BatchError::NotFound(id)),
                Err(error) => Err(error),
            },
            Some(entry) => match what {
                What::All(OrderKind::Stop) => self.stop_all(entry).await,
                What::Some(OrderKind::Stop, targets) => self.stop_these(&entry, &targets).await,
                What::All(OrderKind::Retry) => self.retry(entry, None).await,
                What::Some(OrderKind::Retry, targets) => self.retry(entry, Some(&targets)).await,
                What::All(OrderKind::Confirm) => self.confirm(&entry, None).await,
                What::Some(OrderKind::Confirm, targets) => {
                    self.confirm(&entry, Some(&targets)).await
                }
                What::Campaign(change) => {
                    let changed = self.change_now(entry, change).await;
                    changed.map(|()| Vec::new())
                }
                What::Delete => self.delete_now(&entry).await,
            },
        };
        // Who asked may be gone; it was still to be done.
        drop(reply.send(result));
    }

    /// The record first, when the task is over: a crash before its rows leaves it as it was.
    async fn retry(
        &self,
        mut entry: Entry,
        targets: Option<&[String]>,
    ) -> Result<Vec<OrderResult>, BatchError> {
        if entry.task.phase == Phase::Stopping && targets.is_none() {
            return Err(state(&entry, "takes a task that is not being stopped"));
        }
        let seq = entry.record.seq;
        let (chosen, results) = match targets {
            None => (self.rows_ended(seq).await?, Vec::new()),
            Some(targets) => self.rows_to_retry(&entry, targets).await?,
        };
        if chosen.is_empty() {
            return match targets {
                Some(_) => Ok(results),
                None => Err(state(
                    &entry,
                    "no subtask failed or was stopped that could be retried",
                )),
            };
        }
        let now = self.parts.clock.now();
        if matches!(entry.task.phase, Phase::Ended | Phase::Stopped) {
            self.check_room()?;
            let ended = entry.task.counts;
            // Judged as if all of them waited, which they will.
            let waiting = u32::try_from(chosen.len()).unwrap_or(u32::MAX);
            entry.task.counts = Counts {
                waiting,
                ..Counts::default()
            };
            entry.record.status_desc = None;
            entry.task.step(now, Order::Retry);
            self.put(&mut entry).await?;
            entry.task.counts = ended;
            entry.live = Some(Live::default());
            self.board().insert(entry.clone());
        }
        for chunk in chosen.chunks(CHUNK) {
            let mut changes = Vec::with_capacity(chunk.len());
            let mut moved = Vec::with_capacity(chunk.len());
            for (index, row) in chunk {
                let mut subtask = subtask_of(row, entry.policy());
                let from = subtask.state;
                subtask.step(now, Input::Retry);
                changes.push(changed(&entry, *index, row, &subtask));
                moved.push((*index, from, subtask.state));
            }
            self.commit(changes).await?;
            let mut board = self.board();
            if let Some(there) = board.entries.get_mut(&seq) {
                for (index, from, to) in moved {
                    there.task.counts.moved(from, to);
                    if let Some(live) = &mut there.live {
                        live.add(index, to);
                    }
                }
            }
        }
        Ok(results)
    }

    async fn rows_to_retry(
        &self,
        entry: &Entry,
        targets: &[String],
    ) -> Result<(Vec<Row>, Vec<OrderResult>), BatchError> {
        let named = self.rows_named(entry.record.seq, targets).await?;
        let (mut chosen, mut results) = (Vec::new(), Vec::new());
        for target in targets {
            let mut problem = Some("the task has no such target".to_owned());
            for (index, row) in named.get(target).into_iter().flatten() {
                let mut subtask = self.standing(entry, *index, row);
                let before = subtask.state;
                let why = match subtask.step(self.parts.clock.now(), Input::Retry) {
                    Some(_) if entry.task.phase == Phase::Stopping => {
                        Some("the task is being stopped".to_owned())
                    }
                    Some(_) if !row.refused => None,
                    Some(_) => Some("what was given for it is wrong, takes a new task".to_owned()),
                    None => {
                        let word = before.word();
                        Some(format!(
                            "it is {word}, takes one that failed or was stopped"
                        ))
                    }
                };
                problem = why;
                if problem.is_none() {
                    chosen.push((*index, row.clone()));
                    break;
                }
            }
            results.push(OrderResult {
                target: target.clone(),
                problem,
            });
        }
        Ok((chosen, results))
    }

    fn check_room(&self) -> Result<(), BatchError> {
        let max = self.parts.settings.tasks_running_max;
        if self.board().running() < max {
            return Ok(());
        }
        Err(BatchError::Limit {
            what: "the number of batch tasks that run or wait for their time",
            max,
            remedy: "wait until one has ended, or stop one",
        })
    }

    /// A subtask as its row says, or running, which no row says.
    pub(super) fn standing(&self, entry: &Entry, index: u32, row: &SubtaskRecord) -> Subtask {
        let mut subtask = subtask_of(row, entry.policy());
        let board = self.board();
        let there = board.entries.get(&entry.record.seq);
        let live = there.and_then(|there| there.live.as_ref());
        if live.is_some_and(|live| live.running.contains(&index)) {
            subtask.state = State::Processing;
        }
        subtask
    }

    pub(super) async fn rows_named(
        &self,
        seq: u64,
        targets: &[String],
    ) -> Result<HashMap<String, Vec<Row>>, BatchError> {
        let wanted: HashSet<String> = targets.iter().cloned().collect();
        let rows = self
            .rows_where(seq, move |row| wanted.contains(&row.target))
            .await?;
        let mut named: HashMap<String, Vec<Row>> = HashMap::new();
        for (index, row) in rows {
            let same = named.entry(row.target.clone()).or_default();
            same.push((index, row));
        }
        Ok(named)
    }

    async fn rows_ended(&self, seq: u64) -> Result<Vec<Row>, BatchError> {
        let fits = |row: &SubtaskRecord| {
            let state = subtask_of(row, NO_RETRY).state;
            matches!(state, State::Fail | State::Stopped) && !row.refused
        };
        Ok(self.rows_where(seq, fits).await?)
    }

    /// Looks at every row of a task, on a thread that may block.
    pub(super) async fn rows_where(
        &self,
        seq: u64,
        fits: impl Fn(&SubtaskRecord) -> bool + Send + 'static,
    ) -> Result<Vec<Row>, StoreError> {
        let store = Arc::clone(&self.parts.store);
        let look = move || {
            let mut found = Vec::new();
            each_subtask(&*store, seq, |index, row| {
                if fits(row) {
                    found.push((index, row.clone()));
                }
            })?;
            Ok(found)
        };
        let looked = tokio::task::spawn_blocking(look).await;
        looked.map_err(|_| StoreError::Closed)?
    }

    pub(super) async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let guards = Vec::new();
        let commit = self.parts.store.commit(Commit { guards, changes });
        commit.await.map_err(of_commit)
    }

    async fn delete_now(self: &Arc<Self>, entry: &Entry) -> Result<Vec<OrderResult>, BatchError> {
        if !matches!(entry.task.phase, Phase::Ended | Phase::Stopped) {
            return Err(state(entry, "takes a task that is over, stop it first"));
        }
        let seq = entry.record.seq;
        self.commit(vec![Change::DeleteTask(seq)]).await?;
        self.board().entries.remove(&seq);
        self.sweep(seq);
        Ok(Vec::new())
    }

    /// Removes the rows of a task that is none, in the background; a restart goes on with it.
    pub(super) fn sweep(self: &Arc<Self>, seq: u64) {
        let this = Arc::clone(self);
        let mut stop = self.parts.tasks.stop();
        self.parts.tasks.spawn("batch sweep", async move {
            while let Err(error) = this.sweep_now(seq, &stop).await {
                tracing::warn!(%error, task_seq = seq, "rows of a batch task stay for now");
                tokio::select! {
                    () = stop.requested() => return,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        });
    }

    async fn sweep_now(&self, seq: u64, stop: &Stop) -> Result<(), StoreError> {
        // The record, too: a commit of it that looked failed may not have.
        self.commit(vec![Change::DeleteTask(seq)]).await?;
        while !stop.is_requested() {
            let rows = self.parts.store.subtasks(seq, 0, CHUNK)?;
            let (Some((first, _)), Some((last, _))) = (rows.first(), rows.last()) else {
                break;
            };
            let indexes = *first..last.saturating_add(1);
            let task_seq = seq;
            self.commit(vec![Change::DeleteSubtasks { task_seq, indexes }])
                .await?;
        }
        Ok(())
    }
}

/// The row as the subtask leaves it.
pub(super) fn changed(entry: &Entry, index: u32, row: &SubtaskRecord, subtask: &Subtask) -> Change {
    let mut record = row.clone();
    note(&mut record, subtask);
    if subtask.state == State::Waiting {
        record.error = None;
    }
    Change::PutSubtask {
        task_seq: entry.record.seq,
        index,
        record: Box::new(record),
    }
}

pub(super) fn state(entry: &Entry, problem: &'static str) -> BatchError {
    BatchError::State {
        status: entry.status().word(),
        problem,
    }
}
