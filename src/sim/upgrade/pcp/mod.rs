//! The device side of PCP, behaving as one of two implementations from the field does.
//!
//! ```text
//! Idle -20-> Downloading -last 21-> Downloaded -23-> Installing -restart-> Reporting -24 answered-> Idle
//!                  '---------------> Failing -22 answered-> Idle
//! ```
//!
//! | | [`Stack::AtModule`] | [`Stack::Lwm2m`] |
//! |---|---|---|
//! | checksum of what comes | checked | not checked |
//! | 20 that is accepted | not answered, asks at once | answered, then asks; after 2 s if it knows the version |
//! | version, during an upgrade | the one that runs | the one that is offered |
//! | no fragment (0x80, 0x81) | ignored; one byte of it spoils the image | ignored |
//! | no answer to 21 | after 5 s 23 with result 06, then 21 | 21 every 2 s |
//! | 22, until 23 comes | every 5 s: 23 with result 06, then 22 | every 2 s |
//! | 24 | once, when it succeeded | every 2 s until it is answered |
//! | after a reboot | from fragment 0 | from the next fragment |
//!
//! Both restart to install, take an offer with another package check for another package, and drop an
//! execute that comes before the last fragment is stored. Times are `Instant`, handed in.

pub mod frame;
mod stack;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use super::common::Common;
use super::image::Image;
use frame::{Offer, Version};
pub use stack::Stack;

/// How a device upgrades its software.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PcpHabits {
    pub stack: Stack,
    /// Between two repetitions of what is not answered.
    pub repeat_every: Duration,
    /// Before it asks for a version that it knows already.
    pub ask_after: Duration,
    /// How long it takes to store the last fragment.
    pub store_for: Duration,
    /// From a fragment to the request for the next: a slow memory.
    pub pace: Duration,
    /// From the order to install to the restart.
    pub reboot_after: Duration,
    /// How long it is off while it installs.
    pub boots_for: Duration,
    /// It gives up what is not answered for so long; real ones never do.
    pub patience: Option<Duration>,
    /// Sends its frames confirmable.
    pub confirmable: bool,
}

impl PcpHabits {
    pub const fn new(stack: Stack) -> Self {
        let repeat_s = match stack {
            Stack::AtModule => 5,
            Stack::Lwm2m => 2,
        };
        Self {
            stack,
            repeat_every: Duration::from_secs(repeat_s),
            ask_after: Duration::from_secs(2),
            store_for: Duration::from_secs(1),
            pace: Duration::ZERO,
            reboot_after: Duration::from_secs(5),
            boots_for: Duration::from_secs(10),
            patience: None,
            confirmable: false,
        }
    }
}

/// A package under way.
#[derive(Debug, Clone)]
struct Job {
    offer: Offer,
    image: Image,
    /// It knows that what it has is no good.
    is_spoilt: bool,
}

/// Repeats something until it is answered.
#[derive(Debug, Clone, Copy)]
struct Repeat {
    /// `None`: it has given up.
    due: Option<Instant>,
    /// When it said so first.
    since: Option<Instant>,
}

impl Repeat {
    const fn at(at: Instant) -> Self {
        Self {
            due: Some(at),
            since: None,
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|at| at <= now)
    }

    /// It says it now; true when it said it before.
    fn say(&mut self, now: Instant, habits: &PcpHabits) -> bool {
        let is_repeated = self.since.is_some();
        let since = *self.since.get_or_insert(now);
        let patient = |patience| now + habits.repeat_every <= since + patience;
        let goes_on = habits.patience.is_none_or(patient);
        self.due = goes_on.then(|| now + habits.repeat_every);
        is_repeated
    }

    const fn stop(&mut self) {
        self.due = None;
    }
}

#[derive(Debug, Clone)]
enum Phase {
    Idle,
    Downloading {
        job: Job,
        asks: Repeat,
    },
    Downloaded {
        job: Job,
        stored_at: Instant,
        tells: Repeat,
    },
    /// Tells that the download failed, a limited number of times.
    Failing {
        result: u8,
        left: u8,
        tells: Repeat,
    },
    /// `at` is the restart, or with an AT module the end of the installation; `None` while it is off.
    Installing {
        job: Job,
        at: Option<Instant>,
    },
    Reporting {
        result: u8,
        /// Answers to wait for.
        left: u8,
        tells: Repeat,
    },
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pcp {
    habits: PcpHabits,
    /// The version that runs.
    runs: String,
    phase: Phase,
}

impl Pcp {
    pub(super) const fn new(habits: PcpHabits, runs: String) -> Self {
        Self {
            habits,
            runs,
            phase: Phase::Idle,
        }
    }

    pub(super) fn runs(&self) -> &str {
        &self.runs
    }

    /// An upgrade is under way.
    pub(super) const fn is_busy(&self) -> bool {
        !matches!(self.phase, Phase::Idle)
    }

    pub(super) const fn image(&self) -> Option<&Image> {
        match self.job() {
            Some(job) => Some(&job.image),
            None => None,
        }
    }

    const fn job(&self) -> Option<&Job> {
        match &self.phase {
            Phase::Downloading { job, .. }
            | Phase::Downloaded { job, .. }
            | Phase::Installing { job, .. } => Some(job),
            Phase::Idle | Phase::Failing { .. } | Phase::Reporting { .. } => None,
        }
    }

    /// When [`Pcp::tick`] is due.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Idle => None,
            Phase::Downloading { asks, .. } => asks.due,
            Phase::Downloaded { tells, .. }
            | Phase::Failing { tells, .. }
            | Phase::Reporting { tells, .. } => tells.due,
            Phase::Installing { at, .. } => *at,
        }
    }

    /// Its memory is gone but for what this stack keeps.
    pub(super) fn lose_power(&mut self) {
        let keeps = self.habits.stack == Stack::Lwm2m;
        match &mut self.phase {
            Phase::Installing { at, .. } => *at = None,
            Phase::Downloading { job, asks } => {
                asks.stop();
                if !keeps {
                    job.image.clear();
                    job.is_spoilt = false;
                }
            }
            Phase::Downloaded { job, .. } if !keeps => {
                let mut job = job.clone();
                job.image.clear();
                job.is_spoilt = false;
                let (due, since) = (None, None);
                let asks = Repeat { due, since };
                self.phase = Phase::Downloading { job, asks };
            }
            Phase::Failing { .. } | Phase::Reporting { .. } if !keeps => self.phase = Phase::Idle,
            Phase::Downloaded { tells, .. }
            | Phase::Failing { tells, .. }
            | Phase::Reporting { tells, .. } => tells.stop(),
            Phase::Idle => {}
        }
    }

    /// It has started.
    pub(super) fn start(&mut self, now: Instant, common: &mut Common) {
        match &mut self.phase {
            Phase::Idle => {}
            Phase::Downloading { job, asks } => {
                count_begin(job, common);
                *asks = Repeat::at(now);
            }
            Phase::Downloaded { tells, .. }
            | Phase::Failing { tells, .. }
            | Phase::Reporting { tells, .. } => *tells = Repeat::at(now),
            Phase::Installing { .. } => self.install(now, common),
        }
    }

    /// What it says of its version.
    fn version(&self, common: &Common) -> Version {
        match self.job() {
            Some(job) if self.habits.stack == Stack::Lwm2m => job.offer.version,
            _ => frame::version(common.mischief.claimed(&self.runs)),
        }
    }
}

fn count_begin(job: &Job, common: &mut Common) {
    if job.image.is_empty() {
        common.record.begun += 1;
    } else {
        common.record.resumed += 1;
    }
}
