//! One target of a batch task.

use crate::base::time::Timestamp;

/// Where a subtask stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Waiting,
    Processing,
    Success,
    Fail,
    /// Tried again at this time.
    FailWaitRetry {
        at: Timestamp,
    },
    Stopped,
    /// Its target is none any more.
    Removed,
}

impl State {
    /// In the words of the v5 API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "Waitting",
            Self::Processing => "Processing",
            Self::Success => "Success",
            Self::Fail => "Fail",
            Self::FailWaitRetry { .. } => "FailWaitRetry",
            Self::Stopped => "Stopped",
            Self::Removed => "Removed",
        }
    }

    /// Nothing happens to it by itself any more.
    pub const fn is_ended(self) -> bool {
        match self {
            Self::Waiting | Self::Processing | Self::FailWaitRetry { .. } => false,
            Self::Success | Self::Fail | Self::Stopped | Self::Removed => true,
        }
    }
}

/// How often what failed is tried again by itself. The default: never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetryPolicy {
    pub count: u32,
    pub interval_ms: u64,
}

/// What happens to a subtask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// The time to try again may have come.
    Due,
    /// A try begins.
    Begin,
    Succeed,
    /// `retriable`: another try may end otherwise.
    Fail {
        retriable: bool,
    },
    /// Somebody stops it. What runs is finished.
    Stop,
    /// Somebody has it tried again.
    Retry,
    /// Its target is none any more.
    Remove,
}

/// One subtask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subtask {
    pub state: State,
    /// Tries begun since it was made, or since somebody had it tried again.
    pub tries: u32,
    pub policy: RetryPolicy,
}

impl Subtask {
    pub const fn new(policy: RetryPolicy) -> Self {
        Self {
            state: State::Waiting,
            tries: 0,
            policy,
        }
    }

    /// Advances by one input; returns the state if it changed.
    pub fn step(&mut self, now: Timestamp, input: Input) -> Option<State> {
        let next = match (self.state, input) {
            (State::FailWaitRetry { at }, Input::Due) if now >= at => State::Waiting,
            (State::Waiting, Input::Begin) => {
                self.tries = self.tries.saturating_add(1);
                State::Processing
            }
            (State::Processing, Input::Succeed) => State::Success,
            (State::Processing, Input::Fail { retriable: true })
                if self.tries <= self.policy.count =>
            {
                let at = now.plus_ms(self.policy.interval_ms);
                State::FailWaitRetry { at }
            }
            (State::Processing, Input::Fail { .. }) => State::Fail,
            (State::Waiting | State::FailWaitRetry { .. }, Input::Stop) => State::Stopped,
            (State::Waiting | State::Processing | State::FailWaitRetry { .. }, Input::Remove) => {
                State::Removed
            }
            (State::Fail | State::Stopped, Input::Retry) => {
                self.tries = 0;
                State::Waiting
            }
            // Late, repeated, or not for this state.
            (same, _) => same,
        };
        (std::mem::replace(&mut self.state, next) != next).then_some(next)
    }

    /// When [`Input::Due`] changes something.
    pub const fn deadline(&self) -> Option<Timestamp> {
        match self.state {
            State::FailWaitRetry { at } => Some(at),
            State::Waiting
            | State::Processing
            | State::Success
            | State::Fail
            | State::Stopped
            | State::Removed => None,
        }
    }
}
