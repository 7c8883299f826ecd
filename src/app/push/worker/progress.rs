//! How far an action has come, on its way to disk: counters, positions, what is set aside. One
//! commit at a time, at most a second or a thousand pushes behind.

use std::time::{Duration, Instant};

use hashbrown::HashSet;

use super::Parts;
use crate::app::push::subscriber::Outcome;
use crate::app::push::window::Lane;
use crate::base::time::Clock;
use crate::store::forwarding::{DeliveryRecord, SetAsideKey, SetAsideQuery, SetAsideRecord};
use crate::store::{Change, Commit, CommitError, Completion, StoreError};

/// What may be pushed again after a crash.
const UNWRITTEN_MAX: usize = 1000;
const UNWRITTEN_FOR: Duration = Duration::from_secs(1);

/// After a commit that failed.
const WRITE_AGAIN: Duration = Duration::from_secs(5);

/// Positions behind the first that are remembered as not dealt with.
pub(super) const OUTSTANDING_MAX: usize = 4096;

/// Drops are logged no more often.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// What is known of an action beside its window.
pub(super) struct Progress {
    action_seq: u64,
    /// Its positions are those of the last write.
    pub(super) record: DeliveryRecord,
    /// Refused too often; their lanes are busy until they are durably set aside.
    aside: Vec<(Lane, SetAsideRecord)>,
    /// Set aside once, and taken now.
    pub(super) gone: Vec<SetAsideKey>,
    unwritten: usize,
    /// Since when something is unwritten.
    since: Option<Instant>,
    write_again_at: Option<Instant>,
    writing: Option<Writing>,
    unlogged_drops: u64,
    logged_at: Option<Instant>,
}

/// A commit under way.
struct Writing {
    completion: Completion,
    set_aside: u64,
    /// Set aside before, and gone for others.
    trimmed: u64,
    aside: Vec<(Lane, SetAsideRecord)>,
    gone: Vec<SetAsideKey>,
}

/// What a commit was about, when it has ended.
pub(super) struct Settled {
    pub(super) is_durable: bool,
    pub(super) aside: Vec<(Lane, SetAsideKey)>,
}

impl Progress {
    pub(super) fn new(action_seq: u64, record: DeliveryRecord) -> Self {
        Self {
            action_seq,
            record,
            aside: Vec::new(),
            gone: Vec::new(),
            unwritten: 0,
            since: None,
            write_again_at: None,
            writing: None,
            unlogged_drops: 0,
            logged_at: None,
        }
    }

    /// Something changed that is to be written some time.
    pub(super) fn touch(&mut self, clock: &Clock) {
        self.since.get_or_insert_with(|| clock.instant());
    }

    /// A push is dealt with.
    pub(super) fn finished(&mut self, clock: &Clock) {
        self.unwritten = self.unwritten.saturating_add(1);
        self.touch(clock);
    }

    /// The subscriber took a push.
    pub(super) fn delivered(&mut self, parts: &Parts) {
        self.record.delivered = self.record.delivered.saturating_add(1);
        parts.figures.delivered.increment(1);
    }

    /// A try failed.
    pub(super) fn failed(&mut self, parts: &Parts, outcome: &Outcome) {
        self.record.failed = self.record.failed.saturating_add(1);
        match outcome {
            Outcome::Refused(_) => parts.figures.refused.increment(1),
            Outcome::Taken | Outcome::Failed(_) => parts.figures.count_failed(outcome.kind()),
        }
        self.touch(&parts.wiring.clock);
    }

    /// Pushes are lost, for good.
    pub(super) fn dropped(&mut self, count: u64, parts: &Parts) {
        self.record.dropped = self.record.dropped.saturating_add(count);
        parts.figures.dropped.increment(count);
        self.touch(&parts.wiring.clock);
        self.unlogged_drops = self.unlogged_drops.saturating_add(count);
        let now = parts.wiring.clock.instant();
        let is_quiet = self
            .logged_at
            .is_none_or(|at| now.saturating_duration_since(at) >= LOG_EVERY);
        if is_quiet {
            tracing::warn!(
                action_seq = self.action_seq,
                dropped = self.unlogged_drops,
                "pushes were dropped: too many waited, or for too long"
            );
            self.unlogged_drops = 0;
            self.logged_at = Some(now);
        }
    }

    /// A push is to be set aside, with the next write.
    pub(super) fn put_aside(&mut self, lane: Lane, record: SetAsideRecord, clock: &Clock) {
        self.aside.push((lane, record));
        self.touch(clock);
    }

    /// What the next write sets aside.
    pub(super) fn being_set_aside(&self) -> HashSet<SetAsideKey> {
        self.aside.iter().map(|(_, row)| row.key()).collect()
    }

    /// When the next write is due; `None`: nothing is unwritten, or a write is under way.
    pub(super) fn due_at(&self) -> Option<Instant> {
        if self.writing.is_some() {
            return None;
        }
        let since = self.since?;
        let is_urgent = self.unwritten >= UNWRITTEN_MAX
            || !self.aside.is_empty()
            || self.gone.len() >= UNWRITTEN_MAX;
        let due = match is_urgent {
            true => since,
            false => since.checked_add(UNWRITTEN_FOR)?,
        };
        Some(self.write_again_at.map_or(due, |at| at.max(due)))
    }

    /// Begins a write. `progress`: as the window has it.
    pub(super) fn begin(&mut self, parts: &Parts, progress: (u64, Vec<u64>)) {
        let action_seq = self.action_seq;
        (self.record.position, self.record.outstanding) = progress;
        let (aside, gone) = (
            std::mem::take(&mut self.aside),
            std::mem::take(&mut self.gone),
        );
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let fresh = aside.iter().filter(|(lane, _)| !lane.is_again).count();
        let mut record = self.record.clone();
        record.set_aside = record
            .set_aside
            .saturating_add(count(fresh))
            .saturating_sub(count(gone.len()));
        let mut changes = Vec::with_capacity(aside.len() + gone.len() + 1);
        let most = parts.wiring.settings.set_aside_max;
        let excess = record.set_aside.saturating_sub(most);
        let oldest = self.oldest_aside(parts, excess);
        let trimmed = count(oldest.len());
        record.set_aside = record.set_aside.saturating_sub(trimmed);
        record.dropped = record.dropped.saturating_add(trimmed);
        for key in oldest {
            changes.push(Change::DeleteSetAside { action_seq, key });
        }
        for (_, row) in &aside {
            let record = Box::new(row.clone());
            changes.push(Change::PutSetAside { action_seq, record });
        }
        for key in &gone {
            let key = *key;
            changes.push(Change::DeleteSetAside { action_seq, key });
        }
        let set_aside = record.set_aside;
        changes.push(Change::PutDelivery {
            action_seq,
            record: Box::new(record),
        });
        let guards = Vec::new();
        let completion = parts.store.commit(Commit { guards, changes });
        (self.unwritten, self.since, self.write_again_at) = (0, None, None);
        self.writing = Some(Writing {
            completion,
            set_aside,
            trimmed,
            aside,
            gone,
        });
    }

    /// Set-aside rows that must go for others.
    fn oldest_aside(&self, parts: &Parts, count: u64) -> Vec<SetAsideKey> {
        if count == 0 {
            return Vec::new();
        }
        let rows = parts.store.set_aside(&SetAsideQuery {
            action_seq: self.action_seq,
            after: None,
            before: None,
            oldest_first: true,
            limit: usize::try_from(count)
                .unwrap_or(usize::MAX)
                .min(UNWRITTEN_MAX),
        });
        let rows = rows.unwrap_or_default();
        rows.iter().map(SetAsideRecord::key).collect()
    }

    /// Waits for the write under way; never resolves without one.
    pub(super) async fn written(&mut self) -> Result<(), CommitError> {
        match &mut self.writing {
            Some(writing) => (&mut writing.completion).await,
            None => std::future::pending().await,
        }
    }

    pub(super) const fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// Takes the end of the write.
    pub(super) fn settle(&mut self, result: Result<(), CommitError>, parts: &Parts) -> Settled {
        let Some(writing) = self.writing.take() else {
            return Settled {
                is_durable: true,
                aside: Vec::new(),
            };
        };
        let rows = writing.aside.into_iter();
        let aside: Vec<_> = rows.map(|(lane, row)| (lane, row.key())).collect();
        let is_durable = result.is_ok();
        if let Err(error) = result {
            let closing = matches!(error, CommitError::Store(StoreError::Closed));
            if !closing {
                tracing::warn!(%error, "the progress of pushes can't be written, trying again");
            }
            let now = parts.wiring.clock.instant();
            self.gone.extend(writing.gone);
            self.since.get_or_insert(now);
            self.write_again_at = now.checked_add(WRITE_AGAIN);
        } else {
            self.record.dropped = self.record.dropped.saturating_add(writing.trimmed);
            self.record.set_aside = writing.set_aside;
            parts.figures.dropped.increment(writing.trimmed);
            let fresh = aside.iter().filter(|(lane, _)| !lane.is_again).count();
            let fresh = u64::try_from(fresh).unwrap_or(u64::MAX);
            parts.figures.set_aside.increment(fresh);
            if !aside.is_empty() {
                self.touch(&parts.wiring.clock);
            }
        }
        Settled { is_durable, aside }
    }

    /// The lanes of what is to be set aside are no more.
    pub(super) fn forget_lanes(&mut self) {
        self.aside.clear();
        if let Some(writing) = &mut self.writing {
            writing.aside.clear();
        }
    }
}
