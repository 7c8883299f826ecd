//! Every batch task as it is now, in memory: its record, how far it is, and, while it is not over,
//! which of its subtasks wait. Rebuilt from the store at start. The runner alone changes what is on
//! it, but for new tasks; everyone reads.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::rows::{canary_of, each_subtask, policy_of_task, subtask_of, window_of};
use crate::base::time::Timestamp;
use crate::engine::batch::{
    Counts, Order, Phase, RetryPolicy, State, Status, Tally, Task, Verdict,
};
use crate::store::catalog::{CountsRecord, SubtaskRecord, TaskPhase, TaskRecord};
use crate::store::{Store, StoreError};

/// All tasks by `seq`.
#[derive(Default)]
pub(super) struct Board {
    pub(super) entries: BTreeMap<u64, Entry>,
    /// Tasks whose rows are being written, so that limits count them; with the package of those that
    /// upgrade.
    pub(super) creating: BTreeMap<u64, Option<String>>,
    /// Whose turn it is: a task begins one subtask, then the next task does.
    turns: VecDeque<u64>,
    /// The same of tasks that upgrade.
    upgrade_turns: VecDeque<u64>,
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
    /// Those that wait until somebody confirms them.
    pub(super) unconfirmed: BTreeSet<u32>,
    pub(super) retries: BTreeSet<(Timestamp, u32)>,
    pub(super) running: BTreeSet<u32>,
    /// Of those the upgrades whose beginning may not be durable yet.
    pub(super) starting: BTreeSet<u32>,
    /// Of those the upgrades that are yet to hear that the task is stopped.
    pub(super) to_stop: BTreeSet<u32>,
    /// Of those that wait: they began before, and are tried again.
    pub(super) again: BTreeSet<u32>,
    /// Outside of the campaign's window, when last looked at.
    is_shut: bool,
    /// Failed before a try, for what was given is wrong.
    pub(super) refused: u32,
    /// Subscribers know that it is being processed, as far as this process told them.
    pub(super) is_told: bool,
}

impl Live {
    fn is_over(&self) -> bool {
        self.waiting.is_empty()
            && self.unconfirmed.is_empty()
            && self.retries.is_empty()
            && self.running.is_empty()
    }

    /// Whether anything of it has not begun.
    fn waits(&self) -> bool {
        !self.waiting.is_empty() || !self.unconfirmed.is_empty() || !self.retries.is_empty()
    }

    /// Takes up a subtask as its row says.
    fn take_up(&mut self, index: u32, row: &SubtaskRecord, state: State) {
        self.refused = self.refused.saturating_add(u32::from(row.refused));
        match state {
            State::Waiting if row.unconfirmed => drop(self.unconfirmed.insert(index)),
            _ => self.add(index, state),
        }
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
            each_subtask(store, entry.record.seq, |index, row| entry.join(index, row))?;
        }
        entry.stop_begun();
        Ok(entry)
    }

    pub(super) fn join(&mut self, index: u32, row: &SubtaskRecord) {
        let state = subtask_of(row, self.policy()).state;
        self.task.counts.add(state);
        if let Some(live) = &mut self.live {
            live.take_up(index, row, state);
        }
    }

    /// Of a task that is being stopped: what was begun is to hear of it.
    pub(super) fn stop_begun(&mut self) {
        let is_upgrade = self.record.campaign.is_some();
        if let Some(live) = self.live.as_mut().filter(|_| is_upgrade)
            && self.task.phase == Phase::Stopping
        {
            live.to_stop.extend(&live.running - &live.starting);
        }
    }

    /// Its devices as a canary sees them.
    pub(super) fn tally(&self) -> Tally {
        let counts = self.task.counts;
        let (again, refused) = self
            .live
            .as_ref()
            .map_or((0, 0), |live| (live.again.len(), live.refused));
        let again = u32::try_from(again).unwrap_or(u32::MAX);
        Tally {
            total: counts
                .total()
                .saturating_sub(counts.stopped)
                .saturating_sub(counts.removed)
                .saturating_sub(refused),
            under_way: counts
                .processing
                .saturating_add(counts.fail_wait_retry)
                .saturating_add(again),
            success: counts.success,
            fail: counts.fail.saturating_sub(refused),
        }
    }

    /// What its canary says; `Passed` without one.
    pub(super) fn verdict(&self) -> Verdict {
        let campaign = self.record.campaign.as_ref();
        match campaign.and_then(|campaign| campaign.canary) {
            Some(canary) => canary_of(canary).judge(&self.tally()),
            None => Verdict::Passed,
        }
    }

    /// The next subtask may begin; `is_again`: one that was begun before.
    fn lets_begin(&self, is_again: bool) -> bool {
        let is_paused = self.record.campaign.as_ref().is_some_and(|c| c.paused);
        let is_let = match self.verdict() {
            Verdict::Passed => true,
            Verdict::Holds { room } => room > 0 || is_again,
            Verdict::Broken => false,
        };
        self.task.phase == Phase::Running && !is_paused && is_let
    }

    pub(super) fn status(&self) -> Status {
        self.task.status()
    }

    pub(super) fn policy(&self) -> RetryPolicy {
        policy_of_task(&self.record)
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
        live.count().saturating_add(self.creating.len())
    }

    /// Upgrades that were begun and have not ended, over all tasks.
    pub(super) fn begun(&self) -> usize {
        let lives = self.upgrade_turns.iter().filter_map(|seq| {
            let entry = self.entries.get(seq)?;
            entry.live.as_ref()
        });
        lives.map(|live| live.running.len()).sum()
    }

    pub(super) fn insert(&mut self, entry: Entry) {
        let seq = entry.record.seq;
        let turns = match entry.record.campaign.is_some() {
            true => &mut self.upgrade_turns,
            false => &mut self.turns,
        };
        if entry.live.is_some() && !turns.contains(&seq) {
            turns.push_back(seq);
        }
        self.entries.insert(seq, entry);
    }

    /// Lets time pass: schedules and retries that are due. True when a window has opened.
    pub(super) fn look(&mut self, now: Timestamp) -> bool {
        let mut has_opened = false;
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
                match entry.record.campaign.is_some() {
                    // A canary waits for its devices: they go before those that never began.
                    true => {
                        live.waiting.push_front(index);
                        live.again.insert(index);
                    }
                    false => live.waiting.push_back(index),
                }
            }
            let window = entry.record.campaign.as_ref().and_then(|c| c.window);
            let is_shut = window.is_some_and(|window| !window_of(window).is_open(now));
            has_opened |= std::mem::replace(&mut live.is_shut, is_shut) && !is_shut;
        }
        has_opened
    }

    /// The next subtask to begin, by turns; it is running from now on.
    pub(super) fn begin_next(&mut self) -> Option<(u64, u32)> {
        next_of(&mut self.turns, &mut self.entries)
    }

    /// The next upgrade to begin, by turns; it is running from now on, and starting.
    pub(super) fn begin_upgrade(&mut self) -> Option<(u64, u32)> {
        let (seq, index) = next_of(&mut self.upgrade_turns, &mut self.entries)?;
        let entry = self.entries.get_mut(&seq);
        if let Some(live) = entry.and_then(|entry| entry.live.as_mut()) {
            live.starting.insert(index);
        }
        Some((seq, index))
    }

    /// Upgrades under way, as far as this board knows; without those that are just beginning.
    pub(super) fn begun_by_task(&self) -> Vec<(u64, Vec<u32>)> {
        let of = |seq: &u64| {
            let live = self.entries.get(seq)?.live.as_ref()?;
            Some((*seq, (&live.running - &live.starting).into_iter().collect()))
        };
        self.upgrade_turns.iter().filter_map(of).collect()
    }

    pub(super) fn is_begun(&self, seq: u64, index: u32) -> bool {
        let entry = self.entries.get(&seq);
        let live = entry.and_then(|entry| entry.live.as_ref());
        live.is_some_and(|l| l.running.contains(&index) && !l.starting.contains(&index))
    }

    /// The beginning of an upgrade is durable.
    pub(super) fn started(&mut self, seq: u64, index: u32) {
        let entry = self.entries.get_mut(&seq);
        let Some(entry) = entry else {
            return;
        };
        let phase = entry.task.phase;
        if let Some(live) = &mut entry.live {
            live.starting.remove(&index);
            if phase == Phase::Stopping && live.running.contains(&index) {
                live.to_stop.insert(index);
            }
        }
    }

    /// The next upgrade that is to hear that it is stopped.
    pub(super) fn stop_next(&mut self) -> Option<(u64, u32)> {
        for seq in &self.upgrade_turns {
            let entry = self.entries.get_mut(seq);
            let live = entry.and_then(|entry| entry.live.as_mut());
            if let Some(index) = live.and_then(|live| live.to_stop.pop_first()) {
                return Some((*seq, index));
            }
        }
        None
    }

    /// Tasks that could begin and whose beginning nobody was told.
    pub(super) fn untold(&self) -> Vec<u64> {
        let begins = |entry: &&Entry| {
            let live = entry.live.as_ref();
            live.is_some_and(|live| !live.is_told && !live.waiting.is_empty())
                && entry.lets_begin(false)
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
        live.starting.remove(&index);
        live.to_stop.remove(&index);
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

    /// Tasks whose canary says that they stop.
    pub(super) fn broken(&self) -> Vec<u64> {
        let broken = |seq: &&u64| {
            self.entries.get(seq).is_some_and(|entry| {
                entry.task.phase == Phase::Running
                    && entry.task.counts.open() > 0
                    && entry.verdict() == Verdict::Broken
            })
        };
        self.upgrade_turns.iter().filter(broken).copied().collect()
    }

    /// Tasks that are being stopped and have subtasks that still wait.
    pub(super) fn stopping(&self) -> Vec<u64> {
        let waits = |entry: &&Entry| {
            let live = entry.live.as_ref();
            entry.task.phase == Phase::Stopping && live.is_some_and(Live::waits)
        };
        let stopping = self.entries.values().filter(waits);
        stopping.map(|entry| entry.record.seq).collect()
    }

    /// When [`Board::look`] next changes something.
    pub(super) fn deadline(&self, now: Timestamp) -> Option<Timestamp> {
        let of = |entry: &Entry| {
            let live = entry.live.as_ref()?;
            let retry = live.retries.first().map(|(at, _)| *at);
            let window = entry.record.campaign.as_ref().and_then(|c| c.window);
            let opens = window.filter(|_| live.is_shut);
            let opens = opens.map(|window| window_of(window).opens_at(now));
            [entry.task.deadline(), retry, opens]
                .into_iter()
                .flatten()
                .min()
        };
        self.entries.values().filter_map(of).min()
    }
}

/// The next of these tasks that lets a subtask begin, with that one.
fn next_of(turns: &mut VecDeque<u64>, entries: &mut BTreeMap<u64, Entry>) -> Option<(u64, u32)> {
    for _ in 0..turns.len() {
        let seq = turns.pop_front()?;
        let Some(entry) = entries.get_mut(&seq) else {
            continue; // deleted
        };
        let Some(live) = &entry.live else {
            continue; // over
        };
        turns.push_back(seq);
        let Some(index) = live.waiting.front().copied().filter(|_| live.is_told) else {
            continue;
        };
        let is_again = live.again.contains(&index);
        if !entry.lets_begin(is_again) {
            continue;
        }
        if let Some(live) = &mut entry.live {
            live.waiting.pop_front();
            live.again.remove(&index);
            live.running.insert(index);
            entry.task.counts.moved(State::Waiting, State::Processing);
            return Some((seq, index));
        }
    }
    None
}
