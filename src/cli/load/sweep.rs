//! A sweep: the workload once for each rate, open loop, so that a latency counts from when its request
//! was meant to start, also at rates that the server cannot take. Rates per second.

use serde::Serialize;

use super::process::{Usage, Watch};
use super::{Args, RunError, measure, plot, print};
use crate::sim::load::{self, Job, Pace, Report};

/// What one rate gave.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Point {
    /// Requests meant to start per second.
    pub(super) planned_rate: f64,
    #[serde(flatten)]
    pub(super) report: Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<Usage>,
}

/// Less of the planned rate than this share: the server did not keep up.
const KEPT_UP: f64 = 0.95;

impl Point {
    pub(super) fn keeps_up(&self) -> bool {
        self.report.rate >= self.planned_rate * KEPT_UP
    }

    fn row(&self) -> String {
        let (report, latency) = (&self.report, &self.report.latency);
        let cpu = self.server.map_or_else(String::new, |s| {
            format!("  {:>8.2} {:>9.1}", s.user_s + s.system_s, s.rss_peak_mib)
        });
        format!(
            "{:>9.0} {:>11.0}  {:>9.3} {:>9.3} {:>9.3} {:>9.3}  {:>8} {:>8}{cpu}",
            self.planned_rate,
            report.rate,
            latency.p50_ms,
            latency.p90_ms,
            latency.p99_ms,
            latency.p999_ms,
            report.retransmitted,
            report.timeouts,
        )
    }
}

const HEADING: &str =
    "planned/s  succeeded/s     p50 ms       p90       p99     p99.9    repeated timeouts";
const HEADING_SERVER: &str = "     CPU s  peak MiB";

/// Reads one rate.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let rate: Result<f64, _> = text.parse();
    rate.ok()
        .filter(|rate| *rate > 0.0 && *rate <= 1e9)
        .ok_or_else(|| format!("{text} is no number above 0 and up to 1e9 per second"))
}

/// Runs all rates in their order; true when anything succeeded. Each row is printed when it is there.
pub(super) fn run(args: &Args, job: &Job) -> Result<bool, RunError> {
    let mut watch = args.watch()?;
    let mut points = Vec::new();
    if !args.json {
        let server = watch.as_ref().map_or("", |_| HEADING_SERVER);
        print(&format!("{HEADING}{server}"));
    }
    for per_second in &args.rates {
        let job = Job {
            pace: Pace::Open {
                per_second: *per_second,
            },
            ..job.clone()
        };
        let report = measure(&job, args.json, watch.as_mut(), load::run)?;
        let point = Point {
            planned_rate: *per_second,
            report,
            server: watch.as_mut().and_then(Watch::finish),
        };
        if !args.json {
            print(&point.row());
        }
        points.push(point);
    }
    if args.json {
        print(&serde_json::json!({ "points": points }).to_string());
    }
    if let Some(path) = &args.plot {
        let name = job.workload.name();
        let title = format!("{name}, {} devices: latency over rate", job.devices);
        std::fs::write(path, plot::draw(&title, &points)).map_err(|source| RunError::Plot {
            path: path.display().to_string(),
            source,
        })?;
    }
    Ok(points.iter().any(|point| point.report.succeeded > 0))
}
