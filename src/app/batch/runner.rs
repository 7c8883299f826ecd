//! The one writer of tasks: begins subtasks, ends tasks, and carries out orders.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;

use super::attempt::{Done, Job};
use super::board::{CHUNK, note, subtask_of};
use super::create::of_commit;
use super::orders::Request;
use super::{Batches, Entry};
use crate::app::tasks::Stop;
use crate::engine::batch::{Input, Order, State, Status};
use crate::store::catalog::TaskRecord;
use crate::store::{Change, Commit, CommitError, Guard, StoreError};

/// Longest sleep while something is due later: the wall clock may be set.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// Sleep while nothing is: what comes wakes the runner.
const IDLE: Duration = Duration::from_secs(3600);

/// Before what the store refused is tried again.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) struct Runner {
    batches: Arc<Batches>,
    in_flight: FuturesUnordered<BoxFuture<'static, Done>>,
}

impl Runner {
    pub(super) fn new(batches: Arc<Batches>) -> Self {
        Self {
            batches,
            in_flight: FuturesUnordered::new(),
        }
    }

    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>, mut stop: Stop) {
        loop {
            let sleep = self.turn(&stop).await;
            tokio::select! {
                () = stop.requested() => break,
                Some(done) = self.in_flight.next(), if !self.in_flight.is_empty() => {
                    self.settle(&done);
                }
                Some(request) = requests.recv() => self.batches.answer(request).await,
                () = self.batches.wake.notified() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
        // What was begun ends, or gives up when the store can't take it.
        while let Some(done) = self.in_flight.next().await {
            self.settle(&done);
        }
    }

    fn settle(&self, done: &Done) {
        let mut board = self.batches.board();
        board.settle(done.seq, done.index, done.state);
    }

    /// Does what can be done now; returns how long nothing else will be.
    async fn turn(&mut self, stop: &Stop) -> Duration {
        let batches = Arc::clone(&self.batches);
        let now = batches.parts.clock.now();
        let (stopping, finished, untold) = {
            let mut board = batches.board();
            board.look(now);
            (board.stopping(), board.finished(), board.untold())
        };
        let mut sleep = IDLE;
        let mut note_failure = |result: Result<(), StoreError>| match result {
            // What is left of it, and what follows from it, is for the next turn.
            Ok(()) => sleep = Duration::ZERO,
            Err(error) => {
                tracing::warn!(%error, "a batch task waits for the store");
                sleep = sleep.min(PAUSE);
            }
        };
        for seq in stopping {
            note_failure(batches.stop_some(seq).await);
        }
        for seq in finished {
            note_failure(batches.finish(seq).await);
        }
        for seq in untold {
            note_failure(batches.tell_begun(seq).await);
        }
        while self.in_flight.len() < batches.parts.settings.in_flight_max {
            let job = {
                let mut board = batches.board();
                let next = board.begin_next();
                next.and_then(|(seq, index)| Some(Job::of(board.entries.get(&seq)?, index)))
            };
            let Some(job) = job else {
                break;
            };
            let attempt = Arc::clone(&batches).attempt(job, stop.clone());
            self.in_flight.push(attempt.boxed());
        }
        let due = batches.board().deadline().map(|at| at.since_ms(now));
        sleep.min(due.map_or(IDLE, |ms| Duration::from_millis(ms).min(SLEEP_MAX)))
    }
}

impl Batches {
    /// Marks some subtasks of a task that is being stopped.
    pub(super) async fn stop_some(&self, seq: u64) -> Result<(), StoreError> {
        let (indexes, policy) = {
            let board = self.board();
            let Some((entry, live)) = board
                .entries
                .get(&seq)
                .and_then(|entry| Some((entry, entry.live.as_ref()?)))
            else {
                return Ok(());
            };
            let retries = live.retries.iter().map(|(_, index)| *index);
            let all = live.waiting.iter().copied().chain(retries);
            (all.take(CHUNK).collect::<Vec<u32>>(), entry.policy())
        };
        let mut changes = Vec::with_capacity(indexes.len());
        for index in &indexes {
            let rows = self.parts.store.subtasks(seq, *index, 1)?;
            let row = rows.into_iter().find(|(found, _)| found == index);
            if let Some((_, mut row)) = row {
                let mut subtask = subtask_of(&row, policy);
                subtask.step(self.parts.clock.now(), Input::Stop);
                note(&mut row, &subtask);
                changes.push(Change::PutSubtask {
                    task_seq: seq,
                    index: *index,
                    record: Box::new(row),
                });
            }
        }
        let guards = Vec::new();
        let commit = self.parts.store.commit(Commit { guards, changes });
        commit.await.map_err(of_commit)?;
        self.mark_stopped(seq, &indexes);
        Ok(())
    }

    /// What waited is stopped: its rows say so already.
    pub(super) fn mark_stopped(&self, seq: u64, indexes: &[u32]) {
        let mut board = self.board();
        let Some(Entry { task, live, .. }) = board.entries.get_mut(&seq) else {
            return;
        };
        let Some(live) = live else {
            return;
        };
        let chosen: HashSet<u32> = indexes.iter().copied().collect();
        live.waiting.retain(|index| {
            let stopped = chosen.contains(index);
            if stopped {
                task.counts.moved(State::Waiting, State::Stopped);
            }
            !stopped
        });
        live.retries.retain(|(at, index)| {
            let stopped = chosen.contains(index);
            if stopped {
                let from = State::FailWaitRetry { at: *at };
                task.counts.moved(from, State::Stopped);
            }
            !stopped
        });
    }

    /// Tells that a task is being processed, before anything of it is done. A restart tells it again.
    async fn tell_begun(&self, seq: u64) -> Result<(), StoreError> {
        let Some(entry) = self.copy_of(seq) else {
            return Ok(());
        };
        let now = self.parts.clock.now();
        let told = super::event(&entry.record, Status::Processing, now);
        self.commit(told.into_iter().collect()).await?;
        self.parts.outbox.notify();
        let mut board = self.board();
        let there = board.entries.get_mut(&seq);
        if let Some(live) = there.and_then(|there| there.live.as_mut()) {
            live.is_told = true;
        }
        Ok(())
    }

    /// Writes that a task is over.
    pub(super) async fn finish(&self, seq: u64) -> Result<(), StoreError> {
        let Some(mut entry) = self.copy_of(seq) else {
            return Ok(());
        };
        let now = self.parts.clock.now();
        if entry.task.step(now, Order::Look).is_none() {
            return Ok(());
        }
        self.put(&mut entry).await?;
        let status = entry.status().word();
        tracing::info!(task_id = %entry.record.task_id, status, "a batch task is over");
        let mut board = self.board();
        if let Some(there) = board.entries.get_mut(&seq) {
            (there.record, there.task, there.live) = (entry.record, entry.task, None);
        }
        Ok(())
    }

    pub(super) fn copy_of(&self, seq: u64) -> Option<Entry> {
        let board = self.board();
        let entry = board.entries.get(&seq)?;
        Some(Entry {
            record: entry.record.clone(),
            task: entry.task,
            live: None,
        })
    }

    /// Writes the entry's record as its task stands; the entry has it afterwards.
    pub(super) async fn put(&self, entry: &mut Entry) -> Result<(), StoreError> {
        let now = self.parts.clock.now();
        let record = entry.next_record(now);
        let mut changes = vec![Change::PutTask(Box::new(record.clone()))];
        changes.extend(super::event(&record, entry.status(), now));
        let commit = Commit {
            guards: vec![Guard::TaskVersion(record.seq, entry.record.version)],
            changes,
        };
        match self.parts.store.commit(commit).await {
            Ok(()) => {}
            // A commit before this one looked failed and was not: there is no other writer.
            Err(CommitError::Conflict(_)) if self.is_written(&record)? => {}
            Err(error) => return Err(of_commit(error)),
        }
        self.parts.outbox.notify();
        entry.record = record;
        Ok(())
    }

    fn is_written(&self, record: &TaskRecord) -> Result<bool, StoreError> {
        let tasks = self.parts.store.tasks()?;
        let there = tasks.iter().find(|task| task.seq == record.seq);
        // Gone with its space, or written.
        Ok(there.is_none_or(|task| task.version == record.version && task.phase == record.phase))
    }
}

impl crate::app::upgrade::line::Campaigns for Batches {
    fn settled(&self, task_seq: u64, index: u32, state: State) {
        self.board().settle(task_seq, index, Some(state));
        self.wake();
    }

    fn may_admit(&self, _task_seq: u64) -> bool {
        true
    }
}
