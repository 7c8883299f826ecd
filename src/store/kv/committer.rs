//! The committer: the one thread that writes. It takes what waits, at once; under load more waits,
//! so batches grow by themselves.
//!
//! A commit that conflicts, or that the engine has no room for, fails alone. When the engine
//! itself fails, the batch waits for one recovery: the batch number in the database tells whether
//! the batch is there. If the engine can't be recovered, the batch fails and the committer tries
//! again with growing pauses, refusing commits meanwhile.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use super::draft::{Counters, Draft, StepError};
use super::heads::Heads;
use super::plan::Plan;
use super::reader::corrupt;
use super::{Kv, Order, Shared, Writes, load, resolve};
use crate::base::limits::BATCH_MAX;
use crate::base::time::Clock;
use crate::store::index::{Keys, Touch};
use crate::store::keys::{self, Meta, Table};
use crate::store::{CommitError, StoreError};

/// A batch ends when its rows exceed this, so that one batch of long rows stays short.
const BATCH_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Sequence numbers are reserved by so many: a fleet of 200,000 takes 50 reservations.
const SEQ_BLOCK: u64 = 4096;

/// Pauses between tries to recover the engine.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

type Answer = tokio::sync::oneshot::Sender<Result<(), CommitError>>;
type Told = SyncSender<Result<(), StoreError>>;

/// What the committer is asked for.
#[derive(Debug)]
pub(super) enum Job {
    Commit {
        plan: Box<Plan>,
        done: Answer,
    },
    /// Reserves sequence numbers.
    Reserve {
        done: Told,
    },
    /// Deletes rows with their parts.
    Delete {
        keys: Vec<Vec<u8>>,
        done: Told,
    },
    /// Writes a row of the meta table.
    Note {
        key: Vec<u8>,
        row: Vec<u8>,
        done: Told,
    },
}

impl Job {
    fn bytes(&self) -> u64 {
        match self {
            Self::Commit { plan, .. } => plan.bytes,
            Self::Reserve { .. } | Self::Delete { .. } | Self::Note { .. } => 0,
        }
    }

    fn refuse(self, e: StoreError) {
        match self {
            Self::Commit { done, .. } => resolve(done, Err(e.into())),
            Self::Reserve { done } | Self::Delete { done, .. } | Self::Note { done, .. } => {
                tell(&done, Err(e));
            }
        }
    }
}

/// A job taken into the batch, waiting for it to be durable.
enum Waiting {
    /// A commit; with what it gets when the batch is through.
    Commit(Answer, Result<(), CommitError>),
    Other(Told),
}

pub(super) struct Committer<E> {
    shared: Arc<Shared<E>>,
    jobs: Receiver<Job>,
    heads: Heads,
    counters: Counters,
    batch: u64,
    seq_end: u64,
    keys: Keys,
    /// A batch whose answer was an error, and its number: it may be there all the same.
    doubtful: Option<(u64, Vec<Touch>)>,
}

impl<E: Kv> Committer<E> {
    /// Finds where the store stopped.
    pub(super) fn load(shared: Arc<Shared<E>>, jobs: Receiver<Job>) -> Result<Self, StoreError> {
        let engine = &shared.engine;
        let serial = number(engine, Meta::Serial)?;
        let counters = Counters {
            position: last_number(engine, Table::Events)?,
            serial,
            serial_end: serial,
            split: last_number(engine, Table::Parts)?.saturating_add(1),
        };
        let batch = number(engine, Meta::Batch)?;
        let seq_end = number(engine, Meta::Seq)?.max(1);
        shared.last_event.store(counters.position, Ordering::SeqCst);
        shared.seq_next.store(seq_end, Ordering::SeqCst);
        shared.seq_end.store(seq_end, Ordering::SeqCst);
        let keys = shared.index_now().keys();
        Ok(Self {
            shared,
            jobs,
            heads: Heads::default(),
            counters,
            batch,
            seq_end,
            keys,
            doubtful: None,
        })
    }

    /// Runs until the queue is closed and empty.
    pub(super) fn run(mut self) {
        while let Ok(first) = self.jobs.recv() {
            let mut bytes = first.bytes();
            let mut jobs = vec![first];
            while jobs.len() < BATCH_MAX && bytes < BATCH_BYTES_MAX {
                let Ok(job) = self.jobs.try_recv() else {
                    break;
                };
                bytes = bytes.saturating_add(job.bytes());
                jobs.push(job);
            }
            let now_ms = Clock::System.now().as_ms();
            self.shared.batch_since_ms.store(now_ms, Ordering::SeqCst);
            let fine = self.run_batch(jobs);
            self.shared.batch_since_ms.store(0, Ordering::SeqCst);
            if !fine && !self.wait_for_engine() {
                break;
            }
        }
    }

    /// Whether the engine still serves.
    fn run_batch(&mut self, jobs: Vec<Job>) -> bool {
        let shared = Arc::clone(&self.shared);
        let before = self.counters;
        let mut draft = Draft::new(
            &shared.engine,
            &mut self.heads,
            &mut self.counters,
            &self.keys,
        );
        let mut waiting = Vec::with_capacity(jobs.len());
        let mut reserve = shared
            .seq_next
            .load(Ordering::SeqCst)
            .saturating_add(SEQ_BLOCK / 2)
            > self.seq_end;
        let mut broken = None;
        for job in jobs {
            if let Some(e) = &broken {
                job.refuse(StoreError::clone(e));
                continue;
            }
            let room = match &job {
                Job::Commit { plan, .. } => shared.engine.admit(plan.bytes),
                Job::Reserve { .. } | Job::Delete { .. } | Job::Note { .. } => {
                    shared.engine.ready()
                }
            };
            if let Err(e) = room {
                job.refuse(e);
                continue;
            }
            reserve |= matches!(job, Job::Reserve { .. });
            match take(&mut draft, job) {
                Ok(taken) => waiting.push(taken),
                Err(e) => broken = Some(e),
            }
        }
        let mut writes = std::mem::take(&mut draft.writes);
        let touches = std::mem::take(&mut draft.touches);
        if let Some(e) = broken {
            // A damaged row stays damaged: opening the engine anew can't help, and the other
            // commits of the batch may try again.
            let serves = matches!(e, StoreError::Corrupt { .. });
            self.forget(before);
            answer(waiting, Some(&StoreError::Io(e.to_string())));
            return serves;
        }
        if writes.is_empty() && !reserve {
            answer(waiting, None);
            return true;
        }
        let seq_end = if reserve {
            let next = shared.seq_next.load(Ordering::SeqCst);
            let end = next.max(self.seq_end).saturating_add(SEQ_BLOCK);
            writes.insert(keys::meta(Meta::Seq), Some(end.to_be_bytes().to_vec()));
            end
        } else {
            self.seq_end
        };
        self.make_durable(writes, touches, waiting, before, seq_end)
    }

    fn make_durable(
        &mut self,
        mut writes: Writes,
        touches: Vec<Touch>,
        waiting: Vec<Waiting>,
        before: Counters,
        seq_end: u64,
    ) -> bool {
        let engine = &self.shared.engine;
        self.batch = self.batch.saturating_add(1);
        writes.insert(
            keys::meta(Meta::Batch),
            Some(self.batch.to_be_bytes().to_vec()),
        );
        let began = Clock::System.instant();
        let mut done = engine.apply(&writes).and_then(|()| engine.sync());
        let took = Clock::System.instant().saturating_duration_since(began);
        metrics::histogram!("strait_store_batch_seconds").record(took.as_secs_f64());
        if let Err(e) = &done {
            tracing::warn!(error = %e, "a batch failed, the database is opened anew");
            if self.recovered() {
                done = Ok(());
            }
        }
        match done {
            Ok(()) => {
                self.seq_end = seq_end;
                let shared = &self.shared;
                shared.seq_end.store(seq_end, Ordering::SeqCst);
                shared
                    .last_event
                    .store(self.counters.position, Ordering::SeqCst);
                metrics::counter!("strait_store_batches_total").increment(1);
                load::apply(shared, touches);
                answer(waiting, None);
                true
            }
            Err(e) => {
                metrics::counter!("strait_store_failed_batches_total").increment(1);
                self.doubtful = Some((self.batch, touches));
                self.batch = self.batch.saturating_sub(1);
                self.forget(before);
                answer(waiting, Some(&e));
                false
            }
        }
    }

    /// One recovery; whether the batch in hand turns out to be durable.
    fn recovered(&self) -> bool {
        let engine = &self.shared.engine;
        engine.recover().is_ok()
            && number(engine, Meta::Batch).is_ok_and(|batch| batch == self.batch)
            && engine.sync().is_ok()
    }

    /// Throws away what a failed batch changed here. Serials and split ids are not given again.
    fn forget(&mut self, before: Counters) {
        self.heads.clear();
        self.counters.position = before.position;
        // The reservation that the batch wrote may be lost with it.
        self.counters.serial_end = before.serial_end;
        self.counters.serial = self.counters.serial.max(before.serial);
    }

    /// Tries to recover the engine until it serves, refusing jobs meanwhile. `false`: the store
    /// was closed.
    fn wait_for_engine(&mut self) -> bool {
        let mut pause = PAUSE_MIN;
        loop {
            match self.shared.engine.recover().and_then(|()| self.reload()) {
                Ok(()) => {
                    tracing::info!("the store serves again");
                    self.shared.set_trouble(None);
                    return true;
                }
                Err(e) => self.shared.set_trouble(Some(e.to_string())),
            }
            if !self.refuse_for(pause) {
                return false;
            }
            pause = pause.saturating_mul(2).min(PAUSE_MAX);
        }
    }

    /// Refuses jobs for so long. `false`: the store was closed.
    fn refuse_for(&self, pause: Duration) -> bool {
        let until = Clock::System.instant() + pause;
        loop {
            let left = until.saturating_duration_since(Clock::System.instant());
            match self.jobs.recv_timeout(left) {
                Ok(job) => job.refuse(StoreError::Io(self.shared.trouble())),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
            if left.is_zero() {
                return true;
            }
        }
    }

    /// Reads the counters again: a batch whose answer was an error may be there all the same.
    fn reload(&mut self) -> Result<(), StoreError> {
        let engine = &self.shared.engine;
        engine.sync()?;
        let serial = number(engine, Meta::Serial)?.max(self.counters.serial_end);
        self.counters = Counters {
            position: last_number(engine, Table::Events)?,
            serial: serial.max(self.counters.serial),
            serial_end: serial,
            split: last_number(engine, Table::Parts)?
                .max(self.counters.split)
                .saturating_add(1),
        };
        self.batch = number(engine, Meta::Batch)?;
        self.seq_end = number(engine, Meta::Seq)?.max(self.seq_end);
        self.heads.clear();
        let shared = &self.shared;
        if let Some((batch, touches)) = self.doubtful.take()
            && batch == self.batch
        {
            load::apply(shared, touches);
        }
        shared
            .last_event
            .store(self.counters.position, Ordering::SeqCst);
        Ok(())
    }
}

/// Takes one job into the batch. `Err`: the engine failed, and the batch is spoilt.
fn take<E: Kv>(draft: &mut Draft<'_, E>, job: Job) -> Result<Waiting, StoreError> {
    match job {
        Job::Commit { plan, done } => {
            let result = match draft.add(*plan) {
                Ok(()) => Ok(()),
                Err(StepError::Conflict(guard)) => Err(CommitError::Conflict(guard)),
                Err(StepError::Damaged(e)) => Err(e.into()),
                Err(StepError::Engine(e)) => {
                    resolve(done, Err(e.clone().into()));
                    return Err(e);
                }
            };
            Ok(Waiting::Commit(done, result))
        }
        Job::Reserve { done } => Ok(Waiting::Other(done)),
        Job::Note { key, row, done } => {
            draft.writes.insert(key, Some(row));
            Ok(Waiting::Other(done))
        }
        Job::Delete { keys, done } => {
            match keys.into_iter().try_for_each(|key| draft.remove(key)) {
                Ok(()) => Ok(Waiting::Other(done)),
                Err(e) => {
                    tell(&done, Err(e.clone()));
                    Err(e)
                }
            }
        }
    }
}

/// Resolves in the order of the queue.
fn answer(waiting: Vec<Waiting>, failure: Option<&StoreError>) {
    if failure.is_none() {
        let count = u64::try_from(waiting.len()).unwrap_or(u64::MAX);
        metrics::counter!("strait_store_commits_total").increment(count);
    }
    for waiting in waiting {
        match (waiting, failure) {
            (Waiting::Commit(done, Ok(())), Some(e)) => resolve(done, Err(e.clone().into())),
            (Waiting::Commit(done, result), _) => resolve(done, result),
            (Waiting::Other(done), Some(e)) => tell(&done, Err(e.clone())),
            (Waiting::Other(done), None) => tell(&done, Ok(())),
        }
    }
}

/// The caller waits for exactly one answer, so there is room; one that is gone is fine.
fn tell(done: &Told, result: Result<(), StoreError>) {
    drop(done.try_send(result));
}

fn number<E: Kv>(engine: &E, row: Meta) -> Result<u64, StoreError> {
    let key = keys::meta(row);
    let Some(value) = engine.get(&key)? else {
        return Ok(0);
    };
    <[u8; 8]>::try_from(value.as_slice())
        .map(u64::from_be_bytes)
        .map_err(|_| corrupt(engine, &key, "it is no number of 8 bytes"))
}

/// The number behind the prefix of the table's last key, 0 when the table is empty.
fn last_number<E: Kv>(engine: &E, table: Table) -> Result<u64, StoreError> {
    let (from, to) = table.span();
    let mut last = None;
    engine.range(&from, &to, Order::Descending, &mut |key, _| {
        last = Some(key.to_vec());
        ControlFlow::Break(())
    })?;
    let Some(key) = last else {
        return Ok(0);
    };
    keys::leading_number(&key).ok_or_else(|| corrupt(engine, &key, "the key has another shape"))
}
