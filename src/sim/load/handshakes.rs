//! Full handshakes as a workload, and as the beginning of secured ones.
//!
//! ```text
//! idle -start-> busy -connected-> idle (measured: close_notify, next time from a fresh address)
//!               busy -failed----> idle
//!               busy -timer-----> busy (flight repeated) or idle (timeout)
//! ```
//!
//! The timer doubles from the acknowledgement timeout, as that of requests does; a handshake that
//! takes more repetitions than a request may have has timed out. Each flight starts the timer anew.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::dtls::{Client, Heard};
use super::engine::{BURST, NAP, PROGRESS_EVERY, repeat_at_ms};
use super::lines::Lines;
use super::pool::Pool;
use super::report::Report;
use super::sums::Sums;
use super::{Job, LoadError, Pace, Phase, Progress, Secure};
use crate::base::wheel::Wheel;

/// Handshakes under way while the sessions of another workload are made.
const CONNECT_IN_FLIGHT: usize = 128;

/// One device.
struct Slot {
    /// Its place in the pool, so its address.
    line: u32,
    client: Option<Client>,
    busy: bool,
    /// Numbers the flights, so that a timer of an earlier one is told apart.
    flight: u32,
    attempts: u32,
    intended_us: u64,
    /// It has made a handshake from this address.
    used: bool,
}

/// See the module.
pub(super) struct Handshakes<'a> {
    job: &'a Job,
    secure: &'a Secure,
    pool: Pool,
    opened: Instant,
    slots: Vec<Slot>,
    idle: VecDeque<u32>,
    busy: usize,
    timers: Wheel<(u32, u32)>,
    rng: fastrand::Rng,
    /// Sessions are kept, and each device makes one.
    keep: bool,
    datagram: Vec<u8>,
    told_at: Instant,
    sums: Sums,
}

impl<'a> Handshakes<'a> {
    pub(super) fn open(job: &'a Job) -> Result<Self, LoadError> {
        let pool = Pool::open(job.server, job.devices as usize)?;
        Self::over(job, pool)
    }

    pub(super) fn over(job: &'a Job, pool: Pool) -> Result<Self, LoadError> {
        let secure = job.secure.as_ref().ok_or(LoadError::NoKey)?;
        let slot = |line| Slot {
            line,
            client: None,
            busy: false,
            flight: 0,
            attempts: 0,
            intended_us: 0,
            used: false,
        };
        let opened = job.clock.instant();
        Ok(Self {
            job,
            secure,
            pool,
            opened,
            slots: (0..job.devices).map(slot).collect(),
            idle: (0..job.devices).collect(),
            busy: 0,
            timers: Wheel::new(0),
            // Unlike all else of a run, randoms are never repeated: a server may remember them.
            rng: fastrand::Rng::with_seed(getrandom::u64()?),
            keep: false,
            datagram: Vec::new(),
            told_at: opened,
            sums: Sums::new()?,
        })
    }

    /// Makes one session for each device; fails unless each has one.
    pub(super) fn connect_all(
        mut self,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Lines, LoadError> {
        self.keep = true;
        let begun = self.job.clock.instant();
        while self.busy > 0 || !self.idle.is_empty() {
            for _ in 0..BURST {
                if self.busy >= CONNECT_IN_FLIGHT || !self.start_next(None)? {
                    break;
                }
            }
            self.hear(NAP)?;
            self.repeat_overdue()?;
            self.tell(progress, Phase::Connecting, begun);
        }
        let devices = self.job.devices;
        let ready = u32::try_from(self.sums.succeeded).unwrap_or(u32::MAX);
        let sessions: Vec<_> = self.slots.into_iter().filter_map(|s| s.client).collect();
        if ready < devices || sessions.len() < devices as usize {
            let answers = self.sums.answers_text();
            return Err(LoadError::NotConnected {
                ready,
                devices,
                answers,
            });
        }
        Ok(Lines::secured(self.pool, sessions))
    }

    /// Handshakes for as long as the job says.
    pub(super) fn measure(
        mut self,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Report, LoadError> {
        let begun = self.job.clock.instant();
        let end = begun + self.job.duration;
        progress(Progress::measuring(0, Duration::ZERO));
        loop {
            let now = self.job.clock.instant();
            if now >= end {
                break;
            }
            let nap = self.start_due(begun, now)?;
            self.hear(nap)?;
            self.repeat_overdue()?;
            self.tell(progress, Phase::Measuring, begun);
        }
        let elapsed = self.job.clock.instant() - begun;
        let in_time = self.sums.succeeded;
        progress(Progress::measuring(self.sums.answered, elapsed));
        while self.busy > 0 {
            self.hear(NAP)?;
            self.repeat_overdue()?;
        }
        Ok(self.sums.report(self.job, elapsed, in_time, false))
    }

    /// Starts what is due and gives how long there is to wait.
    fn start_due(&mut self, begun: Instant, now: Instant) -> Result<Duration, LoadError> {
        for _ in 0..BURST {
            match self.job.pace {
                Pace::Closed { in_flight } => {
                    if self.busy >= in_flight || !self.start_next(None)? {
                        return Ok(NAP);
                    }
                }
                Pace::Open { per_second } => {
                    let after = self.sums.started as f64 / per_second;
                    let due = begun + Duration::from_secs_f64(after);
                    if due > now {
                        return Ok((due - now).min(NAP));
                    }
                    if !self.start_next(Some(due))? {
                        self.sums.late += 1;
                        return Ok(Duration::from_millis(1));
                    }
                }
            }
        }
        Ok(Duration::ZERO)
    }

    /// Starts a handshake on the device that rested longest; false when none is idle.
    fn start_next(&mut self, intended: Option<Instant>) -> Result<bool, LoadError> {
        let Some(device) = self.idle.pop_front() else {
            return Ok(false);
        };
        let now_us = self.us(self.job.clock.instant());
        let intended_us = intended.map_or(now_us, |at| self.us(at));
        let mut random = [0; 32];
        self.rng.fill(&mut random);
        let Some(slot) = self.slots.get_mut(device as usize) else {
            return Ok(false);
        };
        if std::mem::replace(&mut slot.used, true) {
            slot.line = self.pool.renew(slot.line, self.job.devices)?;
        }
        let key = self.secure.key.expose();
        slot.client = Some(match &self.secure.identity {
            Some(identity) => Client::new(identity.as_bytes(), key, random),
            None => Client::new(self.job.node(device).as_bytes(), key, random),
        });
        slot.busy = true;
        slot.intended_us = intended_us;
        self.busy += 1;
        self.sums.started += 1;
        self.send_flight(device, now_us, true)?;
        Ok(true)
    }

    /// Sends the flight under way and starts its timer.
    fn send_flight(&mut self, device: u32, now_us: u64, is_new: bool) -> Result<(), LoadError> {
        let Some(slot) = self.slots.get_mut(device as usize) else {
            return Ok(());
        };
        let Some(client) = &mut slot.client else {
            return Ok(());
        };
        slot.flight = slot.flight.wrapping_add(1);
        slot.attempts = if is_new { 1 } else { slot.attempts + 1 };
        client.flight(&mut self.datagram);
        let at = repeat_at_ms(now_us, self.job, slot.attempts);
        self.timers.add(at, (device, slot.flight));
        Ok(self.pool.send(slot.line, &self.datagram)?)
    }

    fn hear(&mut self, wait: Duration) -> Result<(), LoadError> {
        let (slots, devices) = (&mut self.slots, self.job.devices.max(1));
        let mut heard = Vec::new();
        let mut all: Vec<(u32, Heard)> = Vec::new();
        self.pool.receive(wait, &mut |line, datagram| {
            let device = line % devices;
            let Some(slot) = slots.get_mut(device as usize) else {
                return;
            };
            // What still comes to an address that was left is no concern of the new handshake.
            if let Some(client) = slot.client.as_mut().filter(|_| slot.line == line) {
                client.take(datagram, &mut heard);
                all.extend(heard.drain(..).map(|what| (device, what)));
            }
        })?;
        let now_us = self.us(self.job.clock.instant());
        for (device, what) in all {
            match what {
                Heard::Flight => self.send_flight(device, now_us, true)?,
                Heard::Connected => self.end(device, "connected", true, now_us)?,
                Heard::Failed(failure) => self.end(device, &failure.kind(), false, now_us)?,
                Heard::Message(_) | Heard::Closed => {}
            }
        }
        Ok(())
    }

    /// A handshake is over.
    fn end(&mut self, device: u32, name: &str, good: bool, now_us: u64) -> Result<(), LoadError> {
        let Some(slot) = self.slots.get_mut(device as usize) else {
            return Ok(());
        };
        if !std::mem::replace(&mut slot.busy, false) {
            return Ok(());
        }
        let took = now_us.saturating_sub(slot.intended_us);
        self.sums.count_named(name, good, took);
        self.busy -= 1;
        if !self.keep {
            if let Some(mut client) = slot.client.take().filter(|_| good) {
                client.close(&mut self.datagram);
                self.pool.send(slot.line, &self.datagram)?;
            }
            self.idle.push_back(device);
        }
        Ok(())
    }

    fn repeat_overdue(&mut self) -> Result<(), LoadError> {
        let now_us = self.us(self.job.clock.instant());
        let mut due = Vec::new();
        self.timers.expire(now_us / 1000, &mut due);
        for (_, (device, flight)) in due {
            let Some(slot) = self.slots.get_mut(device as usize) else {
                continue;
            };
            if !slot.busy || slot.flight != flight {
                continue;
            }
            if slot.attempts > self.job.max_retransmit {
                slot.busy = false;
                slot.client = None;
                self.busy -= 1;
                self.sums.timeouts += 1;
                if !self.keep {
                    self.idle.push_back(device);
                }
                continue;
            }
            self.sums.retransmitted += 1;
            self.send_flight(device, now_us, false)?;
        }
        Ok(())
    }

    fn us(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.opened);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    fn tell(&mut self, progress: &mut dyn FnMut(Progress), phase: Phase, begun: Instant) {
        let now = self.job.clock.instant();
        if now >= self.told_at + PROGRESS_EVERY {
            self.told_at = now;
            progress(Progress {
                phase,
                done: self.sums.answered,
                elapsed: now - begun,
            });
        }
    }
}
