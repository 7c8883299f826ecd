//! Rows of subtasks and what they stand for.

use crate::engine::batch::{Canary, RetryPolicy, State, Subtask, Window};
use crate::store::catalog::{
    CanaryRecord, PolicyRecord, SubtaskRecord, SubtaskState, TaskRecord, WindowRecord,
};
use crate::store::{Store, StoreError};

/// Subtasks read in one go.
pub(super) const CHUNK: usize = 500;

/// Of no consequence where only the state is asked for.
pub(super) const NO_RETRY: RetryPolicy = RetryPolicy {
    count: 0,
    interval_ms: 0,
};

pub(super) const fn canary_of(record: CanaryRecord) -> Canary {
    Canary {
        share_percent: record.share_percent,
        max_failure_percent: record.max_failure_percent,
        min_results: record.min_results,
    }
}

pub(super) const fn window_of(record: WindowRecord) -> Window {
    Window {
        from_min: record.from_min,
        to_min: record.to_min,
        utc_offset_min: record.utc_offset_min,
    }
}

pub(super) fn policy_of_task(record: &TaskRecord) -> RetryPolicy {
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
        SubtaskState::Processing => State::Processing,
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
    row.unconfirmed &= subtask.state == State::Waiting;
    row.state = match subtask.state {
        State::Waiting => SubtaskState::Waiting,
        // Of upgrades alone: of others, what is done and its end are one commit.
        State::Processing => SubtaskState::Processing,
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
