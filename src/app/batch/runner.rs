//! The one writer of tasks: begins subtasks, ends tasks, and carries out orders.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;

use super::attempt::{Became, Done, Job};
use super::campaign::broken_text;
use super::create::of_commit;
use super::orders::Request;
use super::rows::{CHUNK, note, subtask_of};
use super::{Batches, Entry};
use crate::app::tasks::Stop;
use crate::base::time::Timestamp;
use crate::engine::batch::{Input, Order, State, Status};
use crate::store::catalog::TaskRecord;
use crate::store::{Change, Commit, CommitError, Guard, StoreError};

/// Longest sleep while something is due later: the wall clock may be set.
const SLEEP_MAX: Duration = Duration::from_mins(1);

/// Sleep while nothing is: what comes wakes the runner.
const IDLE: Duration = Duration::from_secs(3600);

/// Orders to shards under way.
const ORDERS: usize = 256;

/// How often upgrades under way are looked at.
const CHECK_EVERY_MS: u64 = 10 * 60_000;

/// Before what the store refused is tried again.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) struct Runner {
    batches: Arc<Batches>,
    in_flight: FuturesUnordered<BoxFuture<'static, Done>>,
    /// Upgrades that are being begun or stopped.
    upgrades: FuturesUnordered<BoxFuture<'static, Done>>,
    /// Looks whether what is under way still is.
    check: Option<BoxFuture<'static, ()>>,
    check_at: Timestamp,
}

impl Runner {
    pub(super) fn new(batches: Arc<Batches>) -> Self {
        Self {
            batches,
            in_flight: FuturesUnordered::new(),
            upgrades: FuturesUnordered::new(),
            check: None,
            check_at: Timestamp::from_ms(0),
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
                Some(done) = self.upgrades.next(), if !self.upgrades.is_empty() => {
                    self.settle(&done);
                }
                () = checking(&mut self.check) => self.check = None,
                Some(request) = requests.recv() => {
                    // Who orders knows whether an upgrade has begun or not.
                    while let Some(done) = self.upgrades.next().await {
                        self.settle(&done);
                    }
                    self.batches.answer(request).await;
                }
                () = self.batches.wake.notified() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
        // What was begun ends, or gives up when the store can't take it.
        while let Some(done) = self.in_flight.next().await {
            self.settle(&done);
        }
        while let Some(done) = self.upgrades.next().await {
            self.settle(&done);
        }
    }

    fn settle(&self, done: &Done) {
        let mut board = self.batches.board();
        match done.became {
            Became::Ended(state) => board.settle(done.seq, done.index, Some(state)),
            Became::GivenUp => board.settle(done.seq, done.index, None),
            Became::UnderWay => board.started(done.seq, done.index),
            // Its end comes as news.
            Became::GoesOn => {}
        }
    }

    /// Does what can be done now; returns how long nothing else will be.
    async fn turn(&mut self, stop: &Stop) -> Duration {
        let batches = Arc::clone(&self.batches);
        let now = batches.parts.clock.now();
        let (stopping, finished, untold, broken) = {
            let mut board = batches.board();
            if board.look(now) {
                batches.admission_changes();
            }
            let (stopping, finished) = (board.stopping(), board.finished());
            (stopping, finished, board.untold(), board.broken())
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
        for seq in broken {
            note_failure(batches.stop_broken(seq).await);
        }
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
        self.turn_upgrades(stop, now);
        let mut due = batches.board().deadline(now);
        if self.check.is_none() && batches.board().begun() > 0 {
            due = Some(due.unwrap_or(self.check_at).min(self.check_at));
        }
        let due = due.map(|at| at.since_ms(now));
        sleep.min(due.map_or(IDLE, |ms| Duration::from_millis(ms).min(SLEEP_MAX)))
    }

    /// Begins and stops upgrades, and looks after those under way.
    fn turn_upgrades(&mut self, stop: &Stop, now: Timestamp) {
        let batches = &self.batches;
        let max = batches.parts.begun_max;
        while self.upgrades.len() < ORDERS {
            let mut board = batches.board();
            let (next, stops) = match board.stop_next() {
                Some(next) => (Some(next), true),
                None if board.begun() < max => (board.begin_upgrade(), false),
                None => (None, false),
            };
            let job = next.and_then(|(seq, index)| Some(Job::of(board.entries.get(&seq)?, index)));
            drop(board);
            let Some(job) = job else {
                break;
            };
            let (this, stop) = (Arc::clone(batches), stop.clone());
            self.upgrades.push(match stops {
                true => this.stop_upgrade(job, stop).boxed(),
                false => this.begin_upgrade(job, stop).boxed(),
            });
        }
        if self.check.is_none() && now >= self.check_at {
            self.check_at = now.plus_ms(CHECK_EVERY_MS);
            if batches.board().begun() > 0 {
                self.check = Some(Arc::clone(batches).check(stop.clone()).boxed());
            }
        }
    }
}

/// Ends when the check has; never without one.
async fn checking(check: &mut Option<BoxFuture<'static, ()>>) {
    match check {
        Some(check) => check.await,
        None => std::future::pending().await,
    }
}

impl Batches {
    /// A campaign of which too many devices failed is being stopped.
    async fn stop_broken(&self, seq: u64) -> Result<(), StoreError> {
        let text = self.board().entries.get(&seq).and_then(broken_text);
        let Some(mut entry) = self.copy_of(seq) else {
            return Ok(());
        };
        if entry
            .task
            .step(self.parts.clock.now(), Order::Stop)
            .is_some()
        {
            entry.record.status_desc = text;
            self.put_stopping(entry).await?;
        }
        Ok(())
    }

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
            let waiting = live.waiting.iter().chain(&live.unconfirmed).copied();
            let all = waiting.chain(retries);
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
        for index in indexes {
            live.again.remove(index);
            if live.unconfirmed.remove(index) {
                task.counts.moved(State::Waiting, State::Stopped);
            }
        }
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
        self.put_and_tell(entry, true).await
    }

    /// The same, and subscribers hear nothing.
    pub(super) async fn put_quietly(&self, entry: &mut Entry) -> Result<(), StoreError> {
        self.put_and_tell(entry, false).await
    }

    async fn put_and_tell(&self, entry: &mut Entry, tells: bool) -> Result<(), StoreError> {
        let now = self.parts.clock.now();
        loop {
            let record = entry.next_record(now);
            let mut changes = vec![Change::PutTask(Box::new(record.clone()))];
            if tells {
                changes.extend(super::event(&record, entry.status(), now));
            }
            let commit = Commit {
                guards: vec![Guard::TaskVersion(record.seq, entry.record.version)],
                changes,
            };
            match self.parts.store.commit(commit).await {
                Ok(()) => {}
                // A commit before this one looked failed and was not: there is no other writer.
                Err(CommitError::Conflict(_)) => match self.written(record.seq)? {
                    Some(there) if there.version > entry.record.version => {
                        let is_it =
                            there.phase == record.phase && there.campaign == record.campaign;
                        if !is_it {
                            entry.record.version = there.version;
                            continue;
                        }
                    }
                    // Gone with its space.
                    None => {}
                    Some(_) => return Err(StoreError::Busy),
                },
                Err(error) => return Err(of_commit(error)),
            }
            self.parts.outbox.notify();
            entry.record = record;
            return Ok(());
        }
    }

    fn written(&self, seq: u64) -> Result<Option<TaskRecord>, StoreError> {
        let tasks = self.parts.store.tasks()?;
        Ok(tasks.into_iter().find(|task| task.seq == seq))
    }
}
