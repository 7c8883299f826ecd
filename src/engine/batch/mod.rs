//! Batch tasks: one task does the same to many targets, one subtask each.
//!
//! ```text
//! task      Scheduled --due--> Running --nothing open--> Ended
//!               '------stop------> Stopping --nothing open--> Stopped
//!           Ended, Stopped --retry--> Running
//! subtask   Waiting --begin--> Processing --succeed--> Success
//!              ^  '-stop-> Stopped   '-fail-> FailWaitRetry --due--> Waiting
//!              '---retry (by hand)---- Fail, Stopped <-- no tries left
//! ```
//!
//! What a subtask does is nobody's business here: a command or an upgrade is carried the same way.
//! What a task is found to be ([`Status`]) follows from its phase and the counts of its subtasks.
//! Deadlines are derived from the state. Spelling of the words: the v5 API's, `Waitting` included.

mod campaign;
mod subtask;
mod task;

#[cfg(test)]
mod tests;

pub use campaign::{Canary, Tally, Verdict, Window};
pub use subtask::{Input, RetryPolicy, State, Subtask};
pub use task::{Counts, Order, Phase, Status, Task};

/// Most times that a failed subtask is tried again.
pub const RETRY_COUNT_MAX: u32 = 5;

/// Longest wait before a failed subtask is tried again, in minutes.
pub const RETRY_INTERVAL_MAX_MIN: u32 = 1440;

/// How far ahead a task may be scheduled, in milliseconds: seven days.
pub const SCHEDULE_AHEAD_MAX_MS: u64 = 7 * 24 * 3_600_000;
