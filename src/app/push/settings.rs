//! What an operator sets under `[push]`. Spans are seconds, sizes KB or MB (1024s).

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;

use crate::net::webhook::Limits;

/// Of all pushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// No push goes to an address of this host or of a private network.
    pub public_only: bool,
    /// Connections of one action, and pushes of it at the same time.
    pub connections_max: usize,
    /// For a whole push.
    pub timeout_s: u64,
    /// Read of an answer's body.
    pub answer_kb: usize,
    /// The first wait of a push that failed; it doubles each time.
    pub retry_first_s: u64,
    pub retry_max_s: u64,
    /// Failures in a row after which a host pauses.
    pub host_failures_max: u32,
    pub host_pause_s: u64,
    /// Answers other than 200 after which a push is set aside.
    pub refusals_max: u32,
    /// Kept of one action; the oldest goes.
    pub set_aside_max: u64,
    /// What may wait for one action, unless a policy says less.
    pub backlog_mb: u64,
    pub backlog_s: u64,
    /// Pushes of one action that are known in memory, without their bodies.
    pub window: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            public_only: false,
            connections_max: 32,
            timeout_s: 15,
            answer_kb: 64,
            retry_first_s: 1,
            retry_max_s: 60,
            host_failures_max: 10,
            host_pause_s: 300,
            refusals_max: 10,
            set_aside_max: 10_000,
            backlog_mb: 1024,
            backlog_s: 86_400,
            window: 16_384,
        }
    }
}

/// A setting that can't work: its name, its value, and what it takes.
pub type Wrong = (&'static str, u64, &'static str);

impl Settings {
    /// Judges the values.
    pub fn check(&self) -> Result<(), Wrong> {
        let wide = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let connections = wide(self.connections_max);
        let (answer, window) = (wide(self.answer_kb), wide(self.window));
        let failures = u64::from(self.host_failures_max);
        let refusals = u64::from(self.refusals_max);
        let retry_first = self.retry_first_s;
        let bounds: [(&str, u64, RangeInclusive<u64>, &str); 12] = [
            ("push.connections_max", connections, 1..=1024, "1 to 1024"),
            ("push.timeout_s", self.timeout_s, 1..=300, "1 to 300"),
            ("push.answer_kb", answer, 1..=1024, "1 to 1024"),
            ("push.retry_first_s", retry_first, 1..=3600, "1 to 3600"),
            (
                "push.retry_max_s",
                self.retry_max_s,
                retry_first..=86_400,
                "push.retry_first_s to 86400",
            ),
            ("push.host_failures_max", failures, 1..=1000, "1 to 1000"),
            (
                "push.host_pause_s",
                self.host_pause_s,
                1..=86_400,
                "1 to 86400",
            ),
            ("push.refusals_max", refusals, 1..=1000, "1 to 1000"),
            (
                "push.set_aside_max",
                self.set_aside_max,
                1..=1_000_000,
                "1 to 1000000",
            ),
            (
                "push.backlog_mb",
                self.backlog_mb,
                0..=1 << 20,
                "0 to 1048576",
            ),
            (
                "push.backlog_s",
                self.backlog_s,
                0..=31_536_000,
                "0 to 31536000",
            ),
            ("push.window", window, 64..=1 << 20, "64 to 1048576"),
        ];
        for (field, got, range, takes) in bounds {
            if !range.contains(&got) {
                return Err((field, got, takes));
            }
        }
        Ok(())
    }

    /// As the push client takes them.
    pub(super) const fn limits(&self) -> Limits {
        Limits {
            timeout: Duration::from_secs(self.timeout_s),
            answer_max: self.answer_kb.saturating_mul(1024),
            idle_max: self.connections_max,
        }
    }
}
