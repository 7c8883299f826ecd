//! What a run measured. Rates per second, latencies in milliseconds with three decimals.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Percentiles of the answered requests, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

impl Latency {
    pub(super) fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| ms(histogram.value_at_quantile(quantile));
        Self {
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: ms(histogram.max()),
        }
    }
}

impl Latency {
    /// `p50 1.2  p90 …`, without a unit.
    pub(super) fn text(&self) -> String {
        format!(
            "p50 {:.3}  p90 {:.3}  p99 {:.3}  p99.9 {:.3}  max {:.3}",
            self.p50_ms, self.p90_ms, self.p99_ms, self.p999_ms, self.max_ms
        )
    }
}

fn ms(us: u64) -> f64 {
    // Microseconds of a run fit a float exactly: 2^53 of them are 285 years.
    Duration::from_micros(us).as_secs_f64() * 1000.0
}

/// The outcome of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    pub workload: &'static str,
    pub devices: u32,
    pub elapsed_s: f64,
    pub started: u64,
    /// Any answer in time, errors included.
    pub answered: u64,
    /// Answers of success: 2.xx, the empty acknowledgement of a notification, a pong.
    pub succeeded: u64,
    /// Successes per second.
    pub rate: f64,
    pub latency: Latency,
    /// Answers by code: `2.04`, `ACK`, `RST`.
    pub answers: BTreeMap<String, u64>,
    pub retransmitted: u64,
    pub timeouts: u64,
    /// Started late because no device was free (open loop): the server is beyond its limit.
    pub late: u64,
}

impl Report {
    /// A few lines for people.
    pub fn text(&self) -> String {
        let answers: Vec<_> = self
            .answers
            .iter()
            .map(|(code, count)| format!("{code} {count}"))
            .collect();
        let answers = if answers.is_empty() {
            "none".to_owned()
        } else {
            answers.join(", ")
        };
        format!(
            "{}: {:.0}/s ({} of {} in {:.1} s, {} devices)\n\
             latency ms: {}\n\
             answers: {}; retransmitted {}, timeouts {}, late {}",
            self.workload,
            self.rate,
            self.succeeded,
            self.started,
            self.elapsed_s,
            self.devices,
            self.latency.text(),
            answers,
            self.retransmitted,
            self.timeouts,
            self.late,
        )
    }
}
