//! The loop of the load generator: start what is due, hear answers, repeat what is unanswered.
//!
//! ```text
//! idle -start-> busy -answer-> idle
//!               busy -timer--> busy (repeated) or idle (timeout)
//! ```
//!
//! A device has one request in flight (NSTART = 1); answers are told by device and message id.

mod answering;
mod fetching;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::heard::{Ending, Heard, read};
use super::lines::Lines;
use super::pool::Pool;
use super::report::Report;
use super::sums::Sums;
use super::{Body, Job, LoadError, Pace, Phase, Progress, Workload, template};
use crate::base::wheel::Wheel;
use crate::sim::message;
use crate::sim::payload::Readings;
pub(super) use answering::Answered;
use answering::Answering;
use fetching::Fetching;
pub(super) use fetching::Image;

/// Datagrams sent between two looks at the sockets.
pub(super) const BURST: usize = 64;
/// Longest sleep of the loop.
pub(super) const NAP: Duration = Duration::from_millis(10);
/// Requests in flight while the devices register.
const PREPARE_IN_FLIGHT: usize = 128;
/// Registrations per device while preparing, on average, when the server is overloaded.
const PREPARE_TRIES: u64 = 10;
/// Longest wait for the server's observations, without a new one.
const OBSERVE_PATIENCE: Duration = Duration::from_secs(15);
pub(super) const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// What a device does next.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Register,
    RegisterRaw,
    Work(Workload),
    /// These bytes as an uplink.
    Answer(Vec<u8>),
    /// Asks for the next fragment.
    Fetch,
}

/// One device.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) msg_id: u16,
    pub(super) busy: bool,
    attempts: u32,
    /// Start that was meant, in microseconds since the engine opened.
    intended_us: u64,
    /// Observe counter of the notifications.
    sequence: u32,
    token: Box<[u8]>,
    location: Box<str>,
    pub(super) datagram: Vec<u8>,
    answering: Answering,
    fetching: Fetching,
}

pub(super) struct Engine<'a> {
    job: &'a Job,
    lines: Lines,
    opened: Instant,
    slots: Vec<Slot>,
    idle: VecDeque<u32>,
    busy: usize,
    observed: u32,
    timers: Wheel<(u32, u16)>,
    readings: Option<Readings>,
    /// Any datagram with the right message id is an answer (the bare echo).
    blind: bool,
    /// Each device starts one request only (the preparation).
    once: bool,
    heard: Vec<(u32, Heard)>,
    answer: Vec<u8>,
    told_at: Instant,
    sums: Sums,
    answered: Answered,
    /// What the devices fetch.
    image: Image,
}

impl<'a> Engine<'a> {
    pub(super) fn new(job: &'a Job, lines: Lines) -> Result<Self, LoadError> {
        let mut rng = fastrand::Rng::with_seed(job.seed);
        let slot = |_| Slot {
            msg_id: rng.u16(..),
            ..Slot::default()
        };
        let opened = job.clock.instant();
        Ok(Self {
            job,
            lines,
            opened,
            slots: (0..job.devices).map(slot).collect(),
            idle: (0..job.devices).collect(),
            busy: 0,
            observed: 0,
            timers: Wheel::new(0),
            readings: match &job.body {
                Body::Product(product) => Some(Readings::new(*product, job.seed)),
                Body::Fixed(_) => None,
            },
            blind: false,
            once: false,
            heard: Vec::new(),
            answer: Vec::new(),
            told_at: opened,
            sums: Sums::new()?,
            answered: Answered::default(),
            image: Image::default(),
        })
    }

    /// Takes any datagram with the right message id for an answer, and needs no registration.
    pub(super) fn new_blind(job: &'a Job) -> Result<Self, LoadError> {
        let pool = Pool::open(job.server, job.devices as usize)?;
        let mut engine = Self::new(job, Lines::plain(pool))?;
        engine.blind = true;
        for slot in &mut engine.slots {
            slot.token = Box::from([0; 8]);
            slot.location = "rd/00000000".into();
        }
        Ok(engine)
    }

    /// Brings the devices to where the workload begins.
    pub(super) fn prepare(&mut self, progress: &mut dyn FnMut(Progress)) -> Result<(), LoadError> {
        let step = match self.job.workload {
            Workload::Update
            | Workload::Uplink { raw: false }
            | Workload::Command { raw: false }
            | Workload::Fragments { raw: false } => Step::Register,
            Workload::Uplink { raw: true }
            | Workload::Command { raw: true }
            | Workload::Fragments { raw: true } => Step::RegisterRaw,
            Workload::Register | Workload::Echo { .. } | Workload::Handshake => return Ok(()),
        };
        let begun = self.job.clock.instant();
        self.once = true;
        while self.busy > 0 || !self.idle.is_empty() {
            for _ in 0..BURST {
                if self.busy >= PREPARE_IN_FLIGHT || !self.start_next(&step, None)? {
                    break;
                }
            }
            self.hear(NAP)?;
            self.repeat_overdue()?;
            let done = self.sums.answered;
            self.tell(progress, Phase::Registering, done, begun);
        }
        let devices = self.job.devices;
        let ready = u32::try_from(self.sums.succeeded).unwrap_or(u32::MAX);
        if ready < devices {
            let answers = self.sums.answers_text();
            return Err(LoadError::NotRegistered {
                ready,
                devices,
                answers,
            });
        }
        if step == Step::Register && self.job.workload != Workload::Update {
            self.await_observations(progress)?;
        }
        self.once = false;
        self.idle = (0..devices).collect();
        self.sums = Sums::new()?;
        Ok(())
    }

    fn await_observations(&mut self, progress: &mut dyn FnMut(Progress)) -> Result<(), LoadError> {
        let begun = self.job.clock.instant();
        let mut last = (self.observed, begun);
        while self.observed < self.job.devices {
            self.hear(NAP)?;
            let now = self.job.clock.instant();
            if self.observed > last.0 {
                last = (self.observed, now);
            }
            if now > last.1 + OBSERVE_PATIENCE {
                return Err(LoadError::NotObserved {
                    ready: self.observed,
                    devices: self.job.devices,
                    waited_s: (now - begun).as_secs(),
                });
            }
            self.tell(progress, Phase::Observing, u64::from(self.observed), begun);
        }
        Ok(())
    }

    /// The measured phase.
    pub(super) fn measure(
        mut self,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Report, LoadError> {
        let step = match &self.job.workload {
            Workload::Fragments { .. } => Step::Fetch,
            other => Step::Work(other.clone()),
        };
        let begun = self.job.clock.instant();
        let end = begun + self.job.duration;
        progress(Progress::measuring(0, Duration::ZERO));
        loop {
            let now = self.job.clock.instant();
            if now >= end {
                break;
            }
            let nap = match self.job.pace {
                Pace::Closed { in_flight } => self.start_closed(&step, in_flight)?,
                Pace::Open { per_second } => self.start_open(&step, begun, per_second, now)?,
            };
            self.hear(nap)?;
            self.repeat_overdue()?;
            let answered = self.sums.answered;
            self.tell(progress, Phase::Measuring, answered, begun);
        }
        let elapsed = self.job.clock.instant() - begun;
        let in_time = self.sums.succeeded;
        progress(Progress::measuring(self.sums.answered, elapsed));
        // What is under way may still come to its end, but adds nothing to the rate.
        while self.busy > 0 {
            self.hear(NAP)?;
            self.repeat_overdue()?;
        }
        let report = self.sums.report(self.job, elapsed, in_time, self.blind);
        self.give_up_fetching()?;
        self.lines.close()?;
        Ok(report)
    }

    fn start_closed(&mut self, step: &Step, in_flight: usize) -> Result<Duration, LoadError> {
        for _ in 0..BURST {
            if self.busy >= in_flight || !self.start_next(step, None)? {
                return Ok(NAP);
            }
        }
        Ok(Duration::ZERO)
    }

    fn start_open(
        &mut self,
        step: &Step,
        begun: Instant,
        per_second: f64,
        now: Instant,
    ) -> Result<Duration, LoadError> {
        for _ in 0..BURST {
            let due = begun + Duration::from_secs_f64(self.sums.started as f64 / per_second);
            if due > now {
                return Ok((due - now).min(NAP));
            }
            if !self.start_next(step, Some(due))? {
                self.sums.late += 1;
                return Ok(NAP.min(Duration::from_millis(1)));
            }
        }
        Ok(Duration::ZERO)
    }

    /// Starts one request on the device that rested longest; false when none is idle.
    fn start_next(&mut self, step: &Step, intended: Option<Instant>) -> Result<bool, LoadError> {
        let Some(device) = self.idle.pop_front() else {
            return Ok(false);
        };
        self.start(device, step, intended)?;
        Ok(true)
    }

    /// Starts a request on a device that has none.
    fn start(
        &mut self,
        device: u32,
        step: &Step,
        intended: Option<Instant>,
    ) -> Result<(), LoadError> {
        let now_us = self.us(self.job.clock.instant());
        let intended_us = intended.map_or(now_us, |at| self.us(at));
        let Some(slot) = self.slots.get_mut(device as usize) else {
            return Ok(());
        };
        slot.msg_id = slot.msg_id.wrapping_add(1);
        slot.attempts = 1;
        slot.busy = true;
        slot.intended_us = intended_us;
        match step {
            Step::Answer(bytes) => answering::write(slot, self.job, bytes),
            Step::Fetch => {
                let ask = slot.fetching.ask(&self.image);
                answering::write(slot, self.job, ask);
            }
            step => write(slot, self.job, device, step, self.readings.as_mut()),
        }
        self.busy += 1;
        self.sums.started += 1;
        self.lines.send(device, &slot.datagram)?;
        let key = (device, slot.msg_id);
        self.timers.add(repeat_at_ms(now_us, self.job, 1), key);
        Ok(())
    }

    fn hear(&mut self, wait: Duration) -> Result<(), LoadError> {
        // The lines are apart from the rest while they hand datagrams over.
        let mut heard = std::mem::take(&mut self.heard);
        let (slots, blind) = (&self.slots, self.blind);
        self.lines.receive(wait, &mut |device, datagram| {
            let slot = slots.get(device as usize);
            heard.extend(slot.and_then(|s| Some((device, read(s, datagram, blind)?))));
        })?;
        let now_us = self.us(self.job.clock.instant());
        for (device, what) in heard.drain(..) {
            self.take(device, what, now_us)?;
        }
        self.heard = heard;
        Ok(())
    }

    fn take(&mut self, device: u32, what: Heard, now_us: u64) -> Result<(), LoadError> {
        let Some(slot) = self.slots.get_mut(device as usize) else {
            return Ok(());
        };
        match what {
            Heard::Ended(msg_id, ending, location) => {
                // The same answer may have come twice in one batch.
                if !slot.busy || slot.msg_id != msg_id {
                    return Ok(());
                }
                // What a device asked for follows in a request of the server.
                if slot.fetching.is_asking() && is_good(ending) {
                    return Ok(());
                }
                slot.busy = false;
                slot.fetching.end();
                if let Some(location) = location {
                    slot.location = location;
                }
                let took = now_us.saturating_sub(slot.intended_us);
                self.busy -= 1;
                if !self.once || self.may_try_again(ending) {
                    self.idle.push_back(device);
                }
                self.count(ending, took);
                self.answer_next(device)
            }
            Heard::Observe { msg_id, token } => {
                self.observed += u32::from(slot.token.is_empty());
                template::observed(&mut self.answer, msg_id, &token);
                slot.token = token;
                Ok(self.lines.send(device, &self.answer)?)
            }
            Heard::Request {
                msg_id,
                token,
                command: Some(bytes),
            } if self.takes_commands() => self.take_command(device, msg_id, &token, &bytes, now_us),
            Heard::Radio {
                msg_id,
                token,
                resource,
                accept,
            } => self.tell_cell(device, (msg_id, &token), resource, accept),
            Heard::Request { msg_id, token, .. } => {
                template::not_found(&mut self.answer, msg_id, &token);
                Ok(self.lines.send(device, &self.answer)?)
            }
            Heard::Separate(msg_id, ended) => {
                template::acknowledge(&mut self.answer, msg_id);
                self.lines.send(device, &self.answer)?;
                match ended {
                    Some(ended) => self.take(device, *ended, now_us),
                    None => Ok(()),
                }
            }
        }
    }

    /// While preparing: an overloaded server is asked again, within bounds.
    fn may_try_again(&self, ending: Ending) -> bool {
        let tries = u64::from(self.job.devices) * PREPARE_TRIES;
        ending == Ending::Code(message::UNAVAILABLE) && self.sums.started < tries
    }

    fn count(&mut self, ending: Ending, took_us: u64) {
        let pong = matches!(self.job.workload, Workload::Echo { path: None });
        let good = is_good(ending) || (pong && ending == Ending::Reset);
        self.sums.count(ending, good || self.blind, took_us);
    }

    fn repeat_overdue(&mut self) -> Result<(), LoadError> {
        let now_us = self.us(self.job.clock.instant());
        let mut due = Vec::new();
        self.timers.expire(now_us / 1000, &mut due);
        for (_, (device, msg_id)) in due {
            let Some(slot) = self.slots.get_mut(device as usize) else {
                continue;
            };
            if !slot.busy || slot.msg_id != msg_id {
                continue;
            }
            if slot.attempts > self.job.max_retransmit {
                slot.busy = false;
                slot.fetching.end();
                self.busy -= 1;
                self.sums.timeouts += 1;
                if !self.once {
                    self.idle.push_back(device);
                }
                self.answer_next(device)?;
                continue;
            }
            slot.attempts += 1;
            self.sums.retransmitted += 1;
            self.lines.send(device, &slot.datagram)?;
            let at = repeat_at_ms(now_us, self.job, slot.attempts);
            self.timers.add(at, (device, msg_id));
        }
        Ok(())
    }

    fn us(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.opened);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    fn tell(
        &mut self,
        progress: &mut dyn FnMut(Progress),
        phase: Phase,
        done: u64,
        begun: Instant,
    ) {
        let now = self.job.clock.instant();
        if now >= self.told_at + PROGRESS_EVERY {
            self.told_at = now;
            let elapsed = now - begun;
            progress(Progress {
                phase,
                done,
                elapsed,
            });
        }
    }
}

fn is_good(ending: Ending) -> bool {
    matches!(ending, Ending::Code(code) if code == 0 || message::is_success(code))
}

/// When a request is repeated, in milliseconds since the engine opened: the wait doubles.
pub(super) fn repeat_at_ms(now_us: u64, job: &Job, attempts: u32) -> u64 {
    let wait = job.ack_timeout * (1 << (attempts - 1).min(16));
    now_us / 1000 + u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Writes the device's next datagram.
fn write(slot: &mut Slot, job: &Job, device: u32, step: &Step, readings: Option<&mut Readings>) {
    let id = slot.msg_id;
    let out = &mut slot.datagram;
    let payload = |readings: Option<&mut Readings>| match (&job.body, readings) {
        (Body::Fixed(bytes), _) => bytes.clone(),
        (Body::Product(_), Some(readings)) => readings.payload(job.clock.now()),
        (Body::Product(_), None) => Vec::new(),
    };
    match step {
        Step::Register | Step::Work(Workload::Register) => {
            template::register(out, id, &job.node(device), job.lifetime_s);
        }
        Step::RegisterRaw => template::register_raw(out, id, &job.node(device), job.lifetime_s),
        Step::Work(Workload::Update) => template::update(out, id, &slot.location),
        Step::Work(Workload::Uplink { raw: true }) => {
            template::post_data(out, id, &payload(readings));
        }
        Step::Work(Workload::Uplink { raw: false }) => {
            slot.sequence = slot.sequence.wrapping_add(1);
            template::notify(out, id, &slot.token, slot.sequence, &payload(readings));
        }
        // These have their own loops or steps; a ping is what is nearest to them.
        Step::Work(
            Workload::Echo { path: None }
            | Workload::Handshake
            | Workload::Command { .. }
            | Workload::Fragments { .. },
        )
        | Step::Answer(_)
        | Step::Fetch => template::ping(out, id),
        Step::Work(Workload::Echo { path: Some(path) }) => template::read(out, id, path),
    }
}
