//! The HTTP side of the command workload: one task with all posts under way and the stream of events.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt};
use hdrhistogram::Histogram;
use hyper::Method;
use serde::Deserialize;

use super::{CommandReport, Commands};
use crate::sim::load::engine::Answered;
use crate::sim::load::report::Latency;
use crate::sim::load::{Job, LoadError, Pace};
use crate::sim::rest::{Events, RestError, ServerEvent};

/// Latencies beyond ten minutes count as that.
const LATENCY_MAX_US: u64 = 600_000_000;
/// Name of the events that tell a command's state.
const STATUS: &str = "device.command.status.update";
/// Between two attempts to follow events again.
const RECONNECT: Duration = Duration::from_millis(200);
/// Pause of a device whose command came to nothing, so that a server that refuses all is not flooded.
const REST: Duration = Duration::from_millis(50);
/// Longest sleep of the loop.
const NAP: Duration = Duration::from_millis(250);

/// A post that was answered, or not.
struct Posted {
    device: u32,
    intended: Instant,
    /// Status, and the command's id or what was said instead.
    outcome: Result<(u16, Result<String, String>), RestError>,
}

/// A command that was accepted.
struct Open {
    device: u32,
    intended: Instant,
}

/// See the module.
pub(super) struct Driver<'a> {
    job: &'a Job,
    commands: &'a Commands,
    body: String,
    idle: VecDeque<u32>,
    /// Devices that rest after a refusal, by when they may go on.
    resting: VecDeque<(Instant, u32)>,
    open: HashMap<String, Open>,
    /// Ends that were told before the post was answered: id, when, status; the oldest first.
    early: VecDeque<(String, Instant, String)>,
    started: u64,
    accepted: u64,
    late: u64,
    reconnected: u64,
    in_time: u64,
    is_measuring: bool,
    elapsed: Duration,
    answers: BTreeMap<String, u64>,
    refusal: Option<String>,
    ended: BTreeMap<String, u64>,
    latency: Histogram<u64>,
    post: Histogram<u64>,
}

/// The fields of an envelope that say how a command stands.
#[derive(Deserialize)]
struct Envelope {
    notify_data: NotifyData,
}

#[derive(Deserialize)]
struct NotifyData {
    body: State,
}

#[derive(Deserialize)]
struct State {
    command_id: String,
    status: String,
}

#[derive(Deserialize)]
struct Created {
    command_id: String,
}

impl<'a> Driver<'a> {
    pub(super) fn new(
        job: &'a Job,
        commands: &'a Commands,
        body: String,
    ) -> Result<Self, LoadError> {
        let histogram =
            || Histogram::new_with_max(LATENCY_MAX_US, 3).map_err(std::io::Error::other);
        Ok(Self {
            job,
            commands,
            body,
            idle: (0..job.devices).collect(),
            resting: VecDeque::new(),
            open: HashMap::new(),
            early: VecDeque::new(),
            started: 0,
            accepted: 0,
            late: 0,
            reconnected: 0,
            in_time: 0,
            is_measuring: true,
            elapsed: Duration::ZERO,
            answers: BTreeMap::new(),
            refusal: None,
            ended: BTreeMap::new(),
            latency: histogram()?,
            post: histogram()?,
        })
    }

    /// Posts for the job's duration, then waits for what has not ended. `succeeded` shows how far it is.
    pub(super) async fn drive(mut self, succeeded: &AtomicU64) -> Result<Self, LoadError> {
        let clock = &self.job.clock;
        let mut events = Some(self.commands.rest.events().await?);
        let mut last_id = None;
        let begun = clock.instant();
        let end = begun + self.job.duration;
        let mut retry_at = begun;
        let mut posts = FuturesUnordered::new();
        loop {
            let now = clock.instant();
            if self.is_measuring && now >= end {
                self.is_measuring = false;
                self.elapsed = now - begun;
            }
            let is_over = now >= end + self.commands.patience;
            if !self.is_measuring && (is_over || posts.is_empty() && self.open.is_empty()) {
                return Ok(self);
            }
            while let Some((device, intended)) = self.next_start(now, begun, posts.len()) {
                posts.push(self.post(device, intended));
            }
            if events.is_none() && now >= retry_at {
                events = self
                    .commands
                    .rest
                    .events_after(last_id.as_deref())
                    .await
                    .ok();
                retry_at = now + RECONNECT;
            }
            succeeded.store(self.succeeded(), Ordering::Relaxed);
            let wake = self.wake_at(now, begun, end);
            tokio::select! {
                Some(posted) = posts.next(), if !posts.is_empty() => self.take_posted(posted),
                event = next_state(&mut events) => match event {
                    Some(event) => self.take_event(&event),
                    None => {
                        last_id = events.take().and_then(|e| e.last_id().map(str::to_owned));
                        self.reconnected += 1;
                    }
                },
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
    }

    /// The device of the next post and when it was meant, if one is due.
    fn next_start(
        &mut self,
        now: Instant,
        begun: Instant,
        under_way: usize,
    ) -> Option<(u32, Instant)> {
        while self.resting.front().is_some_and(|(at, _)| *at <= now) {
            self.idle.extend(self.resting.pop_front().map(|(_, d)| d));
        }
        if !self.is_measuring || under_way >= self.commands.concurrency {
            return None;
        }
        let intended = match self.job.pace {
            Pace::Closed { in_flight } => {
                (under_way + self.open.len() < in_flight).then_some(now)?
            }
            Pace::Open { per_second } => {
                let due = self.due(begun, per_second);
                (due <= now).then_some(due)?
            }
        };
        let Some(device) = self.idle.pop_front() else {
            self.late += u64::from(matches!(self.job.pace, Pace::Open { .. }));
            return None;
        };
        self.started += 1;
        Some((device, intended))
    }

    fn due(&self, begun: Instant, per_second: f64) -> Instant {
        begun + Duration::from_secs_f64(self.started as f64 / per_second)
    }

    fn wake_at(&self, now: Instant, begun: Instant, end: Instant) -> Instant {
        let due = match self.job.pace {
            Pace::Open { per_second } if self.is_measuring => Some(self.due(begun, per_second)),
            Pace::Open { .. } | Pace::Closed { .. } => None,
        };
        let rested = self.resting.front().map(|(at, _)| *at);
        let nap = now + NAP;
        let wakes = [due, rested, self.is_measuring.then_some(end)];
        let next = wakes.into_iter().flatten().filter(|at| *at > now).min();
        next.map_or(nap, |at| at.min(nap))
    }

    /// Posts a command. Borrows what outlives the driver's loop, not the driver.
    fn post(&self, device: u32, intended: Instant) -> impl Future<Output = Posted> + use<'a> {
        let Commands {
            rest, product_id, ..
        } = self.commands;
        let node = self.job.node(device);
        let path = format!("/v5/iot/p/devices/{product_id}_{node}/async-commands");
        let body = self.body.clone();
        async move {
            let answer = rest
                .call(Method::POST, &path, "application/json", body)
                .await;
            let outcome = answer.map(|answer| {
                let created = serde_json::from_slice::<Created>(&answer.body).ok();
                let text = || String::from_utf8_lossy(&answer.body).into_owned();
                (
                    answer.status,
                    created.map(|c| c.command_id).ok_or_else(text),
                )
            });
            Posted {
                device,
                intended,
                outcome,
            }
        }
    }

    fn take_posted(&mut self, posted: Posted) {
        let now = self.job.clock.instant();
        let Posted {
            device,
            intended,
            outcome,
        } = posted;
        let (answer, id) = match outcome {
            Ok((status, id)) => {
                record(&mut self.post, now, intended);
                (status.to_string(), id)
            }
            Err(error) => (error.kind().to_owned(), Err(error.to_string())),
        };
        *self.answers.entry(answer).or_default() += 1;
        let id = match id {
            Ok(id) => id,
            Err(text) => {
                self.refusal.get_or_insert(text);
                self.resting.push_back((now + REST, device));
                return;
            }
        };
        self.accepted += 1;
        let open = Open { device, intended };
        let early = self.early.iter().position(|(early, _, _)| *early == id);
        match early.and_then(|index| self.early.remove(index)) {
            Some((_, at, status)) => self.end(at, &open, status),
            None => {
                self.open.insert(id, open);
            }
        }
    }

    fn take_event(&mut self, event: &ServerEvent) {
        let Ok(envelope) = serde_json::from_str::<Envelope>(&event.data) else {
            return;
        };
        let State { command_id, status } = envelope.notify_data.body;
        if matches!(status.as_str(), "PENDING" | "SENT" | "DELIVERED") {
            return;
        }
        let now = self.job.clock.instant();
        match self.open.remove(&command_id) {
            Some(open) => self.end(now, &open, status),
            // Its post is not answered yet. Commands of others must not fill the memory.
            None => {
                if self.early.len() > 2 * self.commands.concurrency {
                    self.early.pop_front();
                }
                self.early.push_back((command_id, now, status));
            }
        }
    }

    fn end(&mut self, at: Instant, open: &Open, status: String) {
        if status == "SUCCESSFUL" {
            record(&mut self.latency, at, open.intended);
            self.in_time += u64::from(self.is_measuring);
            self.idle.push_back(open.device);
        } else {
            let at = self.job.clock.instant() + REST;
            self.resting.push_back((at, open.device));
        }
        *self.ended.entry(status).or_default() += 1;
    }

    fn succeeded(&self) -> u64 {
        self.ended.get("SUCCESSFUL").copied().unwrap_or(0)
    }

    pub(super) fn report(
        self,
        job: &Job,
        commands: &Commands,
        answered: Answered,
    ) -> CommandReport {
        CommandReport {
            workload: job.workload.name(),
            strategy: commands.strategy.name(),
            devices: job.devices,
            elapsed_s: self.elapsed.as_secs_f64(),
            started: self.started,
            accepted: self.accepted,
            succeeded: self.succeeded(),
            rate: self.in_time as f64 / self.elapsed.as_secs_f64().max(1e-9),
            latency: Latency::of(&self.latency),
            post: Latency::of(&self.post),
            unended: self.open.len() as u64,
            answers: self.answers,
            refusal: self.refusal,
            ended: self.ended,
            late: self.late,
            reconnected: self.reconnected,
            executed: answered.executed,
            repeated: answered.repeated,
            unread: answered.unread,
            retransmitted: answered.retransmitted,
            timeouts: answered.timeouts,
        }
    }
}

/// The next event about a command; `None` when the stream broke. Waits for ever without a stream.
async fn next_state(events: &mut Option<Events>) -> Option<ServerEvent> {
    match events {
        Some(events) => events.next_of(STATUS).await,
        None => std::future::pending().await,
    }
}

fn record(histogram: &mut Histogram<u64>, at: Instant, since: Instant) {
    let took = at.saturating_duration_since(since).as_micros();
    histogram.saturating_record(u64::try_from(took).unwrap_or(u64::MAX).max(1));
}
