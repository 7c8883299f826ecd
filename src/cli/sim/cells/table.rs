//! The table of `strait sim cells`: what the runs of one case came to.

use serde::Serialize;

use super::Case;
use crate::sim::cell::campaign::Outcome;

const HOUR_US: f64 = 3.6e9;

/// One case, over all its seeds.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) mix: String,
    pub(super) admission: &'static str,
    pub(super) speed: f64,
    pub(super) seeds: usize,
    pub(super) makespan_hours: f64,
    pub(super) bound_hours: f64,
    /// Makespan by lower bound: mean and worst of the seeds.
    pub(super) ratio: f64,
    pub(super) ratio_worst: f64,
    pub(super) devices: u64,
    pub(super) succeeded: u64,
    pub(super) attempts: u64,
    /// Attempts that ran into their limit, of all seeds and in the worst.
    pub(super) timed_out: u64,
    pub(super) timed_out_worst: u32,
    pub(super) latency_hours: f64,
    /// Of each run, summed over its devices.
    pub(super) kept_awake_hours: f64,
    /// Most slots at once, by level.
    pub(super) held_max: [u32; 3],
}

pub(super) fn heading() -> String {
    format!(
        "{:<42} {:<19} {:>8} {:>7} {:>6} {:>6} {:>9} {:>9} {:>7} {:>5} {:>7} {:>7}",
        "mix, package",
        "admission",
        "makespan",
        "bound",
        "ratio",
        "worst",
        "succeeded",
        "time-outs",
        "of all",
        "worst",
        "latency",
        "awake"
    )
}

impl Row {
    pub(super) fn of(case: &Case, outcomes: &[Outcome]) -> Self {
        let runs = outcomes.len().max(1) as f64;
        let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
        let hours = |of: fn(&Outcome) -> u64| sum(of) as f64 / HOUR_US / runs;
        let succeeded = sum(|o| o.succeeded.into());
        let mut held_max = [0; 3];
        for outcome in outcomes {
            for (most, held) in held_max.iter_mut().zip(outcome.held_max) {
                *most = held.max(*most);
            }
        }
        Self {
            mix: case.name.clone(),
            admission: case.admission(),
            speed: case.scenario.speed,
            seeds: outcomes.len(),
            makespan_hours: hours(|o| o.makespan_us),
            bound_hours: hours(|o| o.bound_us),
            ratio: outcomes.iter().map(Outcome::ratio).sum::<f64>() / runs,
            ratio_worst: outcomes.iter().map(Outcome::ratio).fold(0.0, f64::max),
            devices: sum(|o| o.devices.into()),
            succeeded,
            attempts: sum(|o| o.attempts.into()),
            timed_out: sum(|o| o.timed_out.into()),
            timed_out_worst: outcomes.iter().map(|o| o.timed_out).max().unwrap_or(0),
            latency_hours: sum(|o| o.latency_us) as f64 / HOUR_US / succeeded.max(1) as f64,
            kept_awake_hours: hours(|o| o.kept_awake_us),
            held_max,
        }
    }

    /// Share of the attempts that timed out.
    pub(super) fn timed_out_share(&self) -> f64 {
        self.timed_out as f64 / self.attempts.max(1) as f64
    }

    pub(super) fn line(&self) -> String {
        let runs = self.seeds.max(1) as f64;
        let succeeded = 100.0 * self.succeeded as f64 / self.devices.max(1) as f64;
        format!(
            "{:<42} {:<19} {:>6.1} h {:>5.1} h {:>6.3} {:>6.3} {:>7.1} % {:>9.2} {:>5.2} % {:>5} {:>5.1} h {:>5.1} h",
            self.mix,
            self.admission,
            self.makespan_hours,
            self.bound_hours,
            self.ratio,
            self.ratio_worst,
            succeeded,
            self.timed_out as f64 / runs,
            100.0 * self.timed_out_share(),
            self.timed_out_worst,
            self.latency_hours,
            self.kept_awake_hours
        )
    }
}
