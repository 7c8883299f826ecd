//! What one phase of a run counts, and the report that it makes.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::Job;
use super::heard::Ending;
use super::report::{Latency, Report};
use crate::sim::message;

/// Latencies beyond ten minutes count as that.
const LATENCY_MAX_US: u64 = 600_000_000;

/// What one phase counts.
pub(super) struct Sums {
    pub(super) started: u64,
    pub(super) late: u64,
    pub(super) answered: u64,
    pub(super) succeeded: u64,
    pub(super) retransmitted: u64,
    pub(super) timeouts: u64,
    codes: [u64; 256],
    resets: u64,
    /// Handshakes by how they ended.
    named: BTreeMap<String, u64>,
    histogram: Histogram<u64>,
}

impl Sums {
    pub(super) fn new() -> std::io::Result<Self> {
        let histogram =
            Histogram::new_with_max(LATENCY_MAX_US, 3).map_err(std::io::Error::other)?;
        Ok(Self {
            started: 0,
            late: 0,
            answered: 0,
            succeeded: 0,
            retransmitted: 0,
            timeouts: 0,
            codes: [0; 256],
            resets: 0,
            named: BTreeMap::new(),
            histogram,
        })
    }

    /// Nothing is counted yet.
    pub(super) fn clear(&mut self) -> std::io::Result<()> {
        *self = Self::new()?;
        Ok(())
    }

    /// A request is over.
    pub(super) fn count(&mut self, ending: Ending, good: bool, took_us: u64) {
        self.answered += 1;
        self.succeeded += u64::from(good);
        self.histogram.saturating_record(took_us.max(1));
        match ending {
            Ending::Code(code) => {
                if let Some(count) = self.codes.get_mut(usize::from(code)) {
                    *count += 1;
                }
            }
            Ending::Reset => self.resets += 1,
        }
    }

    /// A handshake is over.
    pub(super) fn count_named(&mut self, name: &str, good: bool, took_us: u64) {
        self.answered += 1;
        self.succeeded += u64::from(good);
        self.histogram.saturating_record(took_us.max(1));
        *self.named.entry(name.to_owned()).or_default() += 1;
    }

    /// Answers by name. The bare echo has one kind only.
    fn answers(&self, blind: bool) -> BTreeMap<String, u64> {
        let named = (0u8..=255).zip(self.codes).map(|(code, count)| {
            let name = match code {
                _ if blind => "echo".to_owned(),
                0 => "ACK".to_owned(),
                _ => message::code_text(code),
            };
            (name, count)
        });
        let resets = [("RST".to_owned(), self.resets)];
        let handshakes = self.named.clone();
        let all = named.chain(resets).chain(handshakes);
        let counted = all.filter(|(_, count)| *count > 0);
        counted.collect()
    }

    /// One line for an error.
    pub(super) fn answers_text(&self) -> String {
        let each = self.answers(false).into_iter();
        let counts = each.map(|(code, count)| format!("{code} {count}"));
        let silent = format!("no answer {}", self.timeouts);
        counts.chain([silent]).collect::<Vec<_>>().join(", ")
    }

    /// `in_time` successes came within `elapsed`.
    pub(super) fn report(&self, job: &Job, elapsed: Duration, in_time: u64, blind: bool) -> Report {
        Report {
            workload: job.workload.name(),
            devices: job.devices,
            elapsed_s: elapsed.as_secs_f64(),
            started: self.started,
            answered: self.answered,
            succeeded: self.succeeded,
            rate: in_time as f64 / elapsed.as_secs_f64().max(1e-9),
            latency: Latency::of(&self.histogram),
            answers: self.answers(blind),
            retransmitted: self.retransmitted,
            timeouts: self.timeouts,
            late: self.late,
        }
    }
}
