//! Every batch task as it is now, in memory: its record, how far it is, and, while it is not over,
//! which of its subtasks wait. Rebuilt from the store at start. The runner alone changes what is on
//! it, but for new tasks; everyone reads.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::base::time::Timestamp;
use crate::engine::batch::{Counts, Order, Phase, RetryPolicy, State, Status, Subtask, Task};
use crate::store::catalog::{
    CountsRecord, PolicyRecord, SubtaskRecord, SubtaskState, TaskPhase, TaskRecord,
};
use crate::store::{Store, StoreError};

/// Subtasks read in one go.
pub(super) const CHUNK: usize = 500;

/// Of no consequence where only the state is asked for.
pub(super) const NO_RETRY: RetryPolicy = RetryPolicy {
    count: 0,
    interval_ms: 0,
};

/// All tasks by `seq`.
#[derive(Default)]
pub(super) struct Board {
    pub(super) entries: BTreeMap<u64, Entry>,
    /// Tasks whose rows are being written, so that limits count them.
    pub(super) creating: usize,
    /// Whose turn it is: a task begins one subtask, then the next task does.
    turns: VecDeque<u64>,
}

/// One task.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) record: TaskRecord,
    pub(super) task: Task,
    /// `None`: it is over.
    pub(super) live: Option<Live>,
}

/// What is left to do of a task.
#[derive(Clone, Default)]
pub(super) struct Live {
    pub(super) waiting: VecDeque<u32>,
    pub(super) retries: BTreeSet<(Timestamp, u32)>,
    pub(super) running: BTreeSet<u32>,
    /// Subscribers know that it is being processed, as far as this process told them.
    pub(super) is_told: bool,
}

impl Live {
    fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.retries.is_empty() && self.running.is_empty()
    }

    pub(super) fn add(&mut self, index: u32, state: State) {
        match state {
            State::Waiting => self.waiting.push_back(index),
            State::FailWaitRetry { at } => drop(self.retries.insert((at, index))),
            State::Processing => drop(self.running.insert(index)),
            State::Success | State::Fail | State::Stopped | State::Removed => {}
        }
    }
}

impl Entry {
    /// A task as its record says. One that is not over has its subtasks added.
    pub(super) fn new(record: TaskRecord) -> Self {
        let phase = match record.phase {
            TaskPhase::Scheduled => {
                let at = record.policy.as_ref().and_then(|policy| policy.schedule_at);
                at.map_or(Phase::Running, |at| Phase::Scheduled { at })
            }
            TaskPhase::Running => Phase::Running,
            TaskPhase::Stopping => Phase::Stopping,
            TaskPhase::Stopped => Phase::Stopped,
            TaskPhase::Ended => Phase::Ended,
        };
        let over = matches!(phase, Phase::Stopped | Phase::Ended);
        let counts = match over {
            true => Counts {
                success: record.counts.success,
                fail: record.counts.fail,
                stopped: record.counts.stopped,
                removed: record.counts.removed,
                ..Counts::default()
            },
            false => Counts::default(),
        };
        Self {
            record,
            task: Task { phase, counts },
            live: (!over).then(Live::default),
        }
    }

    /// Reads the subtasks of a task that is not over.
    pub(super) fn load(record: TaskRecord, store: &dyn Store) -> Result<Self, StoreError> {
        let mut entry = Self::new(record);
        if entry.live.is_some() {
            entry.task.counts = Counts::default();
            each_subtask(store, entry.record.seq, |index, row| {
                entry.join(index, subtask_of(row, entry_policy(&entry.record)).state);
            })?;
        }
        Ok(entry)
    }

    pub(super) fn join(&mut self, index: u32, state: State) {
        self.task.counts.add(state);
        if let Some(live) = &mut self.live {
            live.add(index, state);
        }
    }

    pub(super) fn status(&self) -> Status {
        self.task.status()
    }

    pub(super) fn policy(&self) -> RetryPolicy {
        entry_policy(&self.record)
    }

    /// The record as it is to be written: with the phase, and with counts when it is over.
    pub(super) fn next_record(&self, now: Timestamp) -> TaskRecord {
        let mut record = self.record.clone();
        record.version = record.version.saturating_add(1);
        record.phase = match self.task.phase {
            Phase::Scheduled { .. } => TaskPhase::Scheduled,
            Phase::Running => TaskPhase::Running,
            Phase::Stopping => TaskPhase::Stopping,
            Phase::Stopped => TaskPhase::Stopped,
            Phase::Ended => TaskPhase::Ended,
        };
        let over = matches!(self.task.phase, Phase::Stopped | Phase::Ended);
        let counts = self.task.counts;
        record.ended_at = over.then_some(now);
        record.counts = match over {
            true => CountsRecord {
                success: counts.success,
                fail: counts.fail,
                stopped: counts.stopped,
                removed: counts.removed,
            },
            false => CountsRecord::default(),
        };
        record
    }
}

impl Board {
    /// Tasks that are not over, with those in the making.
    pub(super) fn running(&self) -> usize {
        let live = self.entries.values().filter(|entry| entry.live.is_some());
        live.count().saturating_add(self.creating)
    }

    pub(super) fn insert(&mut self, entry: Entry) {
        let seq = entry.record.seq;
        if entry.live.is_some() && !self.turns.contains(&seq) {
            self.turns.push_back(seq);
        }
        self.entries.insert(seq, entry);
    }

    /// Lets time pass: schedules and retries that are due.
    pub(super) fn look(&mut self, now: Timestamp) {
        for entry in self.entries.values_mut() {
            let Some(live) = &mut entry.live else {
                continue;
            };
            // A durable phase is written by who orders it; that a time has come needs no record.
            if matches!(entry.task.phase, Phase::Scheduled { .. }) {
                entry.task.step(now, Order::Look);
            }
            while let Some((at, index)) = live.retries.first().copied().filter(|(at, _)| now >= *at)
            {
                live.retries.pop_first();
                let from = State::FailWaitRetry { at };
                entry.task.counts.moved(from, State::Waiting);
                live.waiting.push_back(index);
            }
        }
    }

    /// The next subtask to begin, by turns; it is running from now on.
    pub(super) fn begin_next(&mut self) -> Option<(u64, u32)> {
        for _ in 0..self.turns.len() {
            let seq = self.turns.pop_front()?;
            let Some(entry) = self.entries.get_mut(&seq) else {
                continue; // deleted
            };
            let Some(live) = &mut entry.live else {
                continue; // over
            };
            self.turns.push_back(seq);
            if entry.task.phase != Phase::Running || !live.is_told {
                continue;
            }
            if let Some(index) = live.waiting.pop_front() {
                live.running.insert(index);
                entry.task.counts.moved(State::Waiting, State::Processing);
                return Some((seq, index));
            }
        }
        None
    }

    /// Tasks that could begin and whose beginning nobody was told.
    pub(super) fn untold(&self) -> Vec<u64> {
        let begins = |entry: &&Entry| {
            let live = entry.live.as_ref();
            entry.task.phase == Phase::Running
                && live.is_some_and(|live| !live.is_told && !live.waiting.is_empty())
        };
        let untold = self.entries.values().filter(begins);
        untold.map(|entry| entry.record.seq).collect()
    }

    /// A try has ended; `None`: it was given up, and begins anew later.
    pub(super) fn settle(&mut self, seq: u64, index: u32, state: Option<State>) {
        let Some(entry) = self.entries.get_mut(&seq) else {
            return;
        };
        let Some(live) = &mut entry.live else {
            return;
        };
        if live.running.remove(&index) {
            let state = state.unwrap_or(State::Waiting);
            entry.task.counts.moved(State::Processing, state);
            live.add(index, state);
        }
    }

    /// Tasks of which nothing is open any more and whose record does not say so yet.
    pub(super) fn finished(&self) -> Vec<u64> {
        let over = |entry: &&Entry| {
            let runs = matches!(entry.task.phase, Phase::Running | Phase::Stopping);
            runs && entry.live.as_ref().is_some_and(Live::is_over)
        };
        let finished = self.entries.values().filter(over);
        finished.map(|entry| entry.record.seq).collect()
    }

    /// Tasks that are being stopped and have subtasks that still wait.
    pub(super) fn stopping(&self) -> Vec<u64> {
        let waits = |entry: &&Entry| {
            let live = entry.live.as_ref();
            entry.task.phase == Phase::Stopping
                && live.is_some_and(|live| !live.waiting.is_empty() || !live.retries.is_empty())
        };
        let stopping = self.entries.values().filter(waits);
        stopping.map(|entry| entry.record.seq).collect()
    }

    /// When [`Board::look`] next changes something.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let of = |entry: &Entry| {
            let live = entry.live.as_ref()?;
            let retry = live.retries.first().map(|(at, _)| *at);
            [entry.task.deadline(), retry].into_iter().flatten().min()
        };
        self.entries.values().filter_map(of).min()
    }
}

fn entry_policy(record: &TaskRecord) -> RetryPolicy {
    record
        .policy
        .as_ref()
        .map_or_else(RetryPolicy::default, policy_of)
}

fn policy_of(policy: &PolicyRecord) -> RetryPolicy {
    RetryPolicy {
        count: policy.retry_count,
        interval_ms: u64::from(policy.retry_interval_min).saturating_mul(60_000),
    }
}

/// A subtask as its row says.
pub(super) fn subtask_of(row: &SubtaskRecord, policy: RetryPolicy) -> Subtask {
    let state = match row.state {
        SubtaskState::Waiting => State::Waiting,
        SubtaskState::Success => State::Success,
        SubtaskState::Fail => State::Fail,
        SubtaskState::FailWaitRetry { at } => State::FailWaitRetry { at },
        SubtaskState::Stopped => State::Stopped,
        SubtaskState::Removed => State::Removed,
    };
    Subtask {
        state,
        tries: row.tries,
        policy,
    }
}

/// Writes where a subtask stands into its row.
pub(super) fn note(row: &mut SubtaskRecord, subtask: &Subtask) {
    row.tries = subtask.tries;
    row.state = match subtask.state {
        // What it does and its end are one commit: until then it waits.
        State::Waiting | State::Processing => SubtaskState::Waiting,
        State::Success => SubtaskState::Success,
        State::Fail => SubtaskState::Fail,
        State::FailWaitRetry { at } => SubtaskState::FailWaitRetry { at },
        State::Stopped => SubtaskState::Stopped,
        State::Removed => SubtaskState::Removed,
    };
}

/// Visits the subtasks of a task, ascending.
pub(super) fn each_subtask(
    store: &dyn Store,
    seq: u64,
    mut visit: impl FnMut(u32, &SubtaskRecord),
) -> Result<(), StoreError> {
    let mut from = 0;
    loop {
        let rows = store.subtasks(seq, from, CHUNK)?;
        for (index, row) in &rows {
            visit(*index, row);
        }
        match rows.last().and_then(|(last, _)| last.checked_add(1)) {
            Some(next) if rows.len() == CHUNK => from = next,
            _ => return Ok(()),
        }
    }
}
