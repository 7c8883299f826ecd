//! The command workload: posts commands over HTTP, and follows each to its end.
//!
//! ```text
//! POST …/async-commands -> device (engine::answering) -> answer -> SUCCESSFUL
//! '--- post latency ---'                                           | /v1/events
//! '--------------------------- latency ---------------------------'
//! ```
//!
//! One thread drives all of HTTP, another all devices. Closed loop: a number of commands not ended;
//! open loop: posts start at a rate, and a late start counts as latency. A device has one command at
//! a time. Ends are learnt from `/v1/events`; when that stream breaks, it goes on behind its last
//! event, and posts that fail meanwhile count by what they met. Latencies in microseconds.

mod driver;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::report::Latency;
use super::{Body, Job, LoadError, Progress, Workload, prepared};
use crate::sim::payload::Product;
use crate::sim::rest::Rest;
use driver::Driver;

/// When the server sends a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    Immediately,
    Delay,
}

impl Strategy {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Immediately => "immediately",
            Self::Delay => "delay",
        }
    }
}

/// What the HTTP side needs besides the [`Job`].
#[derive(Debug, Clone)]
pub struct Commands {
    pub rest: Rest,
    /// Of the product; device ids are this, `_` and the node id.
    pub product_id: String,
    pub product: Product,
    pub strategy: Strategy,
    /// Posts under way at a time.
    pub concurrency: usize,
    /// How long commands that have not ended are waited for after the last post.
    pub patience: Duration,
}

/// The outcome of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CommandReport {
    pub workload: &'static str,
    pub strategy: &'static str,
    pub devices: u32,
    pub elapsed_s: f64,
    /// Posts begun, and those that gave a command.
    pub started: u64,
    pub accepted: u64,
    /// Commands that ended as SUCCESSFUL, also after the posts had stopped.
    pub succeeded: u64,
    /// Commands per second that ended as SUCCESSFUL while posts went on.
    pub rate: f64,
    /// From post to SUCCESSFUL.
    pub latency: Latency,
    /// From post to its answer.
    pub post: Latency,
    /// Posts by HTTP status, or by the kind of failure without one.
    pub answers: BTreeMap<String, u64>,
    /// What the first post that gave no command was told.
    pub refusal: Option<String>,
    /// Commands by the state that they ended in.
    pub ended: BTreeMap<String, u64>,
    /// Commands that had not ended when the run was over.
    pub unended: u64,
    /// Posts that began late because no device was free (open loop).
    pub late: u64,
    /// Times that the stream of events broke.
    pub reconnected: u64,
    /// What the devices took, took again, could not read; their answers sent again or given up.
    pub executed: u64,
    pub repeated: u64,
    pub unread: u64,
    pub retransmitted: u64,
    pub timeouts: u64,
}

impl CommandReport {
    /// A few lines for people.
    pub fn text(&self) -> String {
        let refusal = self.refusal.as_ref();
        let refusal = refusal.map_or_else(String::new, |r| format!("\nfirst refusal: {r}"));
        format!(
            "{} {}: {:.0}/s successful ({} of {} in {:.1} s, {} devices)\n\
             post to successful ms: {}\n\
             post ms: {}\n\
             answers: {}; ended: {}; not ended {}, late {}, streams broken {}\n\
             devices: executed {}, repeated {}, unread {}; answers repeated {}, given up {}{refusal}",
            self.workload,
            self.strategy,
            self.rate,
            self.succeeded,
            self.started,
            self.elapsed_s,
            self.devices,
            self.latency.text(),
            self.post.text(),
            counts(&self.answers),
            counts(&self.ended),
            self.unended,
            self.late,
            self.reconnected,
            self.executed,
            self.repeated,
            self.unread,
            self.retransmitted,
            self.timeouts,
        )
    }
}

fn counts(by: &BTreeMap<String, u64>) -> String {
    let each: Vec<_> = by.iter().map(|(name, n)| format!("{name} {n}")).collect();
    if each.is_empty() {
        "none".to_owned()
    } else {
        each.join(", ")
    }
}

/// Runs the workload; the job's is [`Workload::Command`].
pub fn command(
    job: &Job,
    commands: &Commands,
    progress: &mut dyn FnMut(Progress),
) -> Result<CommandReport, LoadError> {
    debug_assert!(matches!(job.workload, Workload::Command { .. }));
    let Some((service, name, paras)) = commands.product.sample_command() else {
        return Err(LoadError::NoCommand(commands.product.name()));
    };
    let body = json!({
        "service_id": service,
        "command_name": name,
        "paras": paras,
        "send_strategy": commands.strategy.name(),
    });
    let job = Job {
        body: Body::Product(commands.product),
        ..job.clone()
    };
    let engine = prepared(&job, progress)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let driver = Driver::new(&job, commands, body.to_string())?;
    let (is_over, succeeded) = (AtomicBool::new(false), AtomicU64::new(0));
    let (driven, answered) = std::thread::scope(|scope| {
        let http = scope.spawn(|| {
            let _over = Raised(&is_over);
            runtime.block_on(driver.drive(&succeeded))
        });
        let answered = engine.answer_until(&is_over, &succeeded, progress);
        (http.join(), answered)
    });
    let driven = driven.map_err(|_| std::io::Error::other("the thread that posts died"))?;
    Ok(driven?.report(&job, commands, answered?))
}

/// Raises a flag when it goes, however that happens.
struct Raised<'a>(&'a AtomicBool);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
