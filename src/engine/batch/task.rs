//! A batch task over its subtasks.

use super::State;
use crate::base::time::Timestamp;

/// How many subtasks stand where. Their sum is the number of subtasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub waiting: u32,
    pub processing: u32,
    pub success: u32,
    pub fail: u32,
    pub fail_wait_retry: u32,
    pub stopped: u32,
    pub removed: u32,
}

impl Counts {
    pub const fn total(&self) -> u32 {
        self.open() + self.success + self.fail + self.stopped + self.removed
    }

    /// Those that have not ended.
    pub const fn open(&self) -> u32 {
        self.waiting + self.processing + self.fail_wait_retry
    }

    /// Counts one more.
    pub const fn add(&mut self, state: State) {
        let slot = self.slot(state);
        *slot = slot.saturating_add(1);
    }

    /// One went from one state to another.
    pub const fn moved(&mut self, from: State, to: State) {
        let slot = self.slot(from);
        *slot = slot.saturating_sub(1);
        self.add(to);
    }

    const fn slot(&mut self, state: State) -> &mut u32 {
        match state {
            State::Waiting => &mut self.waiting,
            State::Processing => &mut self.processing,
            State::Success => &mut self.success,
            State::Fail => &mut self.fail,
            State::FailWaitRetry { .. } => &mut self.fail_wait_retry,
            State::Stopped => &mut self.stopped,
            State::Removed => &mut self.removed,
        }
    }
}

/// What a task is up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Runs from this time on.
    Scheduled {
        at: Timestamp,
    },
    Running,
    /// No further subtask begins.
    Stopping,
    Stopped,
    /// Every subtask has ended.
    Ended,
}

/// What is asked of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Time has passed, or subtasks have moved.
    Look,
    Stop,
    /// Subtasks that had ended wait again.
    Retry,
}

/// What a task is found to be, in the words of the v5 API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Its targets are still being written down. Such a task is not shown.
    Initializing,
    Waiting,
    Processing,
    Success,
    Fail,
    PartialSuccess,
    Stopping,
    Stopped,
}

impl Status {
    pub const ALL: [Self; 8] = [
        Self::Initializing,
        Self::Waiting,
        Self::Processing,
        Self::Success,
        Self::Fail,
        Self::PartialSuccess,
        Self::Stopping,
        Self::Stopped,
    ];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Initializing => "Initializing",
            Self::Waiting => "Waitting",
            Self::Processing => "Processing",
            Self::Success => "Success",
            Self::Fail => "Fail",
            Self::PartialSuccess => "PartialSuccess",
            Self::Stopping => "Stopping",
            Self::Stopped => "Stopped",
        }
    }

    pub fn of(phase: Phase, counts: &Counts) -> Self {
        match phase {
            Phase::Scheduled { .. } => Self::Waiting,
            Phase::Running if counts.total() == counts.waiting => Self::Waiting,
            Phase::Running => Self::Processing,
            Phase::Stopping => Self::Stopping,
            Phase::Stopped => Self::Stopped,
            Phase::Ended => match (counts.success, counts.fail, counts.stopped) {
                (0, 0, _) => Self::Stopped,
                (0, _, _) => Self::Fail,
                (_, 0, 0) => Self::Success,
                _ => Self::PartialSuccess,
            },
        }
    }
}

/// One task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task {
    pub phase: Phase,
    pub counts: Counts,
}

impl Task {
    /// Advances by one order; returns the phase if it changed.
    pub fn step(&mut self, now: Timestamp, order: Order) -> Option<Phase> {
        let open = self.counts.open() > 0;
        let next = match (self.phase, order) {
            (Phase::Scheduled { at }, Order::Look) if now >= at => Phase::Running,
            (Phase::Running, Order::Look) if !open => Phase::Ended,
            // What ran was the last of it: then nothing was stopped.
            (Phase::Stopping, Order::Look) if !open && self.counts.stopped == 0 => Phase::Ended,
            (Phase::Stopping, Order::Look) if !open => Phase::Stopped,
            (Phase::Scheduled { .. } | Phase::Running, Order::Stop) => Phase::Stopping,
            (Phase::Ended | Phase::Stopped, Order::Retry) if open => Phase::Running,
            (same, _) => same,
        };
        (std::mem::replace(&mut self.phase, next) != next).then_some(next)
    }

    pub fn status(&self) -> Status {
        Status::of(self.phase, &self.counts)
    }

    /// When [`Order::Look`] changes something by itself.
    pub const fn deadline(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Scheduled { at } => Some(at),
            Phase::Running | Phase::Stopping | Phase::Stopped | Phase::Ended => None,
        }
    }
}
