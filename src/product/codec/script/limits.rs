//! What a script may use of the machine: bytes and time of one engine.

use std::time::Duration;

/// What a script may use of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub heap_bytes: usize,
    pub stack_bytes: usize,
    /// For one call. Some built-in functions of QuickJS go on beyond it: only another process can
    /// end those.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            heap_bytes: 16 * 1024 * 1024,
            stack_bytes: 256 * 1024,
            time: Duration::from_millis(50),
        }
    }
}
