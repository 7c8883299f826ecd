//! Software over PCP ([`crate::wire::pcp`]), from the slot to the result.
//!
//! ```text
//! Notified --21--> Downloading --22/00--> Execute --23/00--> Updating --24--> end
//!  PCP 20            |    ^                PCP 23 until it     |  30 min
//!    '---22/00 and everything was sent---> is taken            '--> Check: PCP 19
//!    60 min          60 min                30 min: Check              3 min
//! ```
//!
//! [`State`] is of one attempt with a slot; [`Memory`] outlives it. [`State::step`] takes what
//! happens, [`State::hear`] what the device says; both judge the deadline first and give
//! [`Effects`]: an answer to the device, a request to it, the end. All of it is to be durable
//! before it leaves when `commit` says so; answers to requests for fragments change nothing that
//! a restart must know.
//!
//! What devices taught, and what follows from it:
//! - Some never answer PCP 20: the first request for a fragment is the acceptance.
//! - Some answer PCP 19 with the *target* once they were notified. So the target is believed only
//!   of a device that was never notified, or that took the order to execute ([`Memory::told`]).
//! - An order to execute that comes before the last fragment is stored is dropped without a word.
//!   So it follows 22/00 at once, and again after each later 22/00 and by itself, until 23 or 24
//!   answers.
//! - 23/06 is a device that waits for a fragment or an order, never an answer to the order. 01 to
//!   an order given twice may be one that has begun: only the first order can be refused so.
//! - 22 and 24 are repeated until answered, also after the end: each is answered.
//! - A request that is repeated while its answer is under way is not answered twice.
//! - Some say nothing when an installation fails or their one 24 is lost: after 30 minutes the
//!   version is asked for, and is believed of a device that took the order.
//!
//! No device that is known not to have been sent the whole package is told to execute it
//! ([`served::Served`]). Who was, and lost it, knows itself.

pub mod memory;
pub mod served;

mod hear;

#[cfg(test)]
mod tests;

pub use memory::{Memory, Outside, Reach};

use crate::base::time::Timestamp;
use crate::wire::pcp::{FragmentSize, ResultCode, ToDevice, Verdict, Version};

/// How long the version is waited for.
pub const ANSWER_WAIT_MS: u64 = 3 * 60_000;
/// The download of one attempt, from PCP 20 on.
pub const DOWNLOAD_WAIT_MS: u64 = 3_600_000;
/// From the first order to execute to its result.
pub const UPDATE_WAIT_MS: u64 = 30 * 60_000;

/// A download in which nothing was asked for so long is announced again when the device shows
/// itself: devices that wait for a fragment ask every few seconds.
pub const STALLED_MS: u64 = 60_000;
/// An answer that may be under way is not sent a second time within this, unless its end is told.
pub const FLIGHT_MS: u64 = 10_000;
/// A device that asks for the order to execute gets it again after this.
pub const ORDER_AGAIN_MS: u64 = 5_000;
/// A device that took the order and asks for it again after this has started anew.
pub const ORDER_ANEW_MS: u64 = 30_000;
/// The order is repeated by itself after this, then after twice as long, and so on to the longest.
pub const ORDER_REPEAT_MS: u64 = 10_000;
pub const ORDER_REPEAT_MAX_MS: u64 = 300_000;

/// What is to be brought to the device: the same for all devices of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    pub version: Version,
    pub size: FragmentSize,
    /// Fragments of the package, at least one.
    pub count: u16,
}

/// Where a software upgrade with a slot stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    pub phase: Phase,
    /// `Notified`, `Downloading`: when the new version was announced first. `Execute`,
    /// `Updating`: when the order was given first. `Check`: when the version was asked for.
    pub since: Timestamp,
    /// The last request to the device.
    pub asked: Asked,
    /// The last fragment that it was sent in this attempt.
    pub last: Option<Sent>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The new version is announced.
    Notified,
    /// It asks for fragments.
    Downloading,
    /// It has the package, and is ordered to execute it. `held`: it asks for fragments again, and
    /// gets no order before it says that it has them.
    Execute { held: bool },
    /// It took the order.
    Updating,
    /// Its time is over: it is asked for its version. `accepted`: it took the order.
    Check { accepted: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub at: Timestamp,
    /// How often, in this phase.
    pub times: u8,
    /// It did not reach the device: again when that shows itself.
    pub lost: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    pub index: u16,
    pub at: Timestamp,
    /// It may still be under way.
    pub flying: bool,
}

/// What happens, besides messages of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// The device listens now.
    Reachable,
    /// It has acknowledged what was sent.
    Arrived(Item),
    /// What was sent came to nothing.
    Lost(Item),
    /// Somebody stops the task. What installs is not stopped.
    Stop,
}

/// What was sent to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    Request(Request),
    Fragment(u16),
}

/// A request to the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Request {
    /// PCP 19
    Version,
    /// PCP 20
    Notify,
    /// PCP 23
    Execute,
}

impl Request {
    pub const fn message(self, plan: &Plan) -> ToDevice<'static> {
        match self {
            Self::Version => ToDevice::QueryVersion,
            Self::Notify => ToDevice::NewVersion {
                version: plan.version,
                size: plan.size,
                count: plan.count,
                check: 0,
            },
            Self::Execute => ToDevice::Execute,
        }
    }
}

/// An answer to the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The framed fragment, as the package has it.
    Fragment(u16),
    /// Three bytes: devices know no shorter refusal.
    Refused { index: u16, verdict: Verdict },
    /// To 22.
    Downloaded(Verdict),
    /// To 24.
    Upgraded(Verdict),
}

impl Answer {
    /// What is to be written. `None` for a fragment: that lies ready in
    /// [`crate::wire::pcp::FramedPackage`].
    pub const fn message(self) -> Option<ToDevice<'static>> {
        match self {
            Self::Fragment(_) => None,
            Self::Refused { index, verdict } => Some(ToDevice::Fragment {
                verdict,
                index,
                bytes: &[],
            }),
            Self::Downloaded(verdict) => Some(ToDevice::Downloaded(verdict)),
            Self::Upgraded(verdict) => Some(ToDevice::Upgraded(verdict)),
        }
    }
}

/// How an attempt ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Success,
    Failed(Failure),
    Stopped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It asked for no fragment within the time of the download.
    StartTimeout,
    DownloadTimeout,
    /// It did not take the order to execute.
    UpdateTimeout,
    /// It took the order and reported nothing, and does not have the version.
    ResultTimeout,
    /// It took the order, reported nothing, and does not tell its version.
    CheckTimeout,
    /// It reports success, and another version.
    OtherVersion(Version),
    /// Its own word.
    Refused(ResultCode),
}

/// What is to be done. Nothing when a repetition or a late message changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effects {
    pub answer: Option<Answer>,
    pub send: Option<Request>,
    /// At most once in an attempt; nothing is asked of it afterwards.
    pub end: Option<End>,
    /// State and memory are to be durable before the rest leaves.
    pub commit: bool,
}

impl State {
    /// The attempt has its slot now.
    pub fn begin(now: Timestamp, memory: &mut Memory) -> (Self, Request) {
        memory.reach = memory.reach.max(Reach::Notified);
        memory.doubtful = true;
        let state = Self {
            phase: Phase::Notified,
            since: now,
            asked: Asked::first(now),
            last: None,
        };
        (state, Request::Notify)
    }

    /// It comes from the store: what was under way may never have left, and what was sent since
    /// it was stored is not in the memory.
    pub fn recover(&mut self, memory: &mut Memory) {
        self.asked.lost = true;
        if let Some(sent) = &mut self.last {
            sent.flying = false;
        }
        // The first fragment is durable before it leaves.
        if self.phase != Phase::Notified {
            memory.served.doubt();
        }
    }

    /// When [`Input::Tick`] is next due.
    pub fn deadline(&self) -> Timestamp {
        let end = self.since.plus_ms(self.phase.wait_ms());
        self.repeat_at().map_or(end, |at| at.min(end))
    }

    /// When the order to execute goes out again by itself. Not to one that does not hear us.
    fn repeat_at(&self) -> Option<Timestamp> {
        let repeats = matches!(self.phase, Phase::Execute { held: false }) && !self.asked.lost;
        let doublings = u32::from(self.asked.times.saturating_sub(1)).min(16);
        let after = (ORDER_REPEAT_MS << doublings).min(ORDER_REPEAT_MAX_MS);
        repeats.then(|| self.asked.at.plus_ms(after))
    }

    /// Advances by what is no message.
    pub fn step(&mut self, memory: &mut Memory, now: Timestamp, input: Input) -> Effects {
        self.act(memory, now, |state, _, effects| match input {
            Input::Tick => {}
            Input::Reachable => effects.send = effects.send.or_else(|| state.ask_again(now)),
            Input::Arrived(item) => state.settle(item, false),
            Input::Lost(item) => state.settle(item, true),
            Input::Stop => {
                if matches!(state.phase, Phase::Notified | Phase::Downloading) {
                    effects.end = Some(End::Stopped);
                }
            }
        })
    }

    /// The deadline, the input, and what is due by itself.
    fn act(
        &mut self,
        memory: &mut Memory,
        now: Timestamp,
        take: impl FnOnce(&mut Self, &mut Memory, &mut Effects),
    ) -> Effects {
        let before = (self.phase, memory.reach);
        let mut effects = Effects::default();
        self.turn_back(now);
        if now >= self.since.plus_ms(self.phase.wait_ms()) {
            self.expire(now, &mut effects);
        }
        if effects.end.is_none() {
            take(self, memory, &mut effects);
        }
        if effects.end.is_some() {
            effects.send = None;
        } else if effects.send.is_none() && self.repeat_at().is_some_and(|at| now >= at) {
            self.ask(now);
            effects.send = Some(Request::Execute);
        }
        if effects.send == Some(Request::Execute) {
            memory.reach = memory.reach.max(Reach::Ordered);
        }
        effects.commit = effects.end.is_some() || before != (self.phase, memory.reach);
        effects
    }

    /// A clock that was set back must not make a wait longer.
    fn turn_back(&mut self, now: Timestamp) {
        self.since = self.since.min(now);
        self.asked.at = self.asked.at.min(now);
        if let Some(sent) = &mut self.last {
            sent.at = sent.at.min(now);
        }
    }

    fn expire(&mut self, now: Timestamp, effects: &mut Effects) {
        let failure = match self.phase {
            Phase::Notified => Failure::StartTimeout,
            Phase::Downloading => Failure::DownloadTimeout,
            Phase::Execute { .. } | Phase::Updating => {
                let accepted = self.phase == Phase::Updating;
                self.enter(Phase::Check { accepted }, now);
                effects.send = Some(Request::Version);
                return;
            }
            Phase::Check { accepted: true } => Failure::CheckTimeout,
            Phase::Check { accepted: false } => Failure::UpdateTimeout,
        };
        effects.end = Some(End::Failed(failure));
    }

    /// The device listens, and may not have heard what it was asked last.
    fn ask_again(&mut self, now: Timestamp) -> Option<Request> {
        let quiet_ms = now.since_ms(self.asked.at);
        let unheard = |after_ms| self.asked.lost || quiet_ms >= after_ms;
        let request = match self.phase {
            Phase::Notified => unheard(STALLED_MS).then_some(Request::Notify),
            Phase::Downloading => {
                let stalled = |sent: Sent| now.since_ms(sent.at) >= STALLED_MS;
                let stalls = self.last.is_none_or(stalled);
                (stalls && unheard(STALLED_MS)).then_some(Request::Notify)
            }
            Phase::Execute { held: false } => unheard(ORDER_AGAIN_MS).then_some(Request::Execute),
            Phase::Execute { held: true } | Phase::Updating => None,
            Phase::Check { .. } => unheard(STALLED_MS).then_some(Request::Version),
        };
        if request.is_some() {
            self.ask(now);
        }
        request
    }

    /// The answer with this fragment has arrived, or is lost: the next request for it is answered.
    pub const fn settle_fragment(&mut self, index: u16) {
        if let Some(sent) = &mut self.last
            && sent.index == index
        {
            sent.flying = false;
        }
    }

    /// What was sent has arrived, or is lost.
    fn settle(&mut self, item: Item, lost: bool) {
        match item {
            Item::Fragment(index) => self.settle_fragment(index),
            Item::Request(request) => {
                let awaited = match self.phase {
                    Phase::Notified | Phase::Downloading => Request::Notify,
                    Phase::Execute { .. } | Phase::Updating => Request::Execute,
                    Phase::Check { .. } => Request::Version,
                };
                if request == awaited {
                    self.asked.lost = lost;
                }
            }
        }
    }

    const fn enter(&mut self, phase: Phase, now: Timestamp) {
        self.phase = phase;
        self.since = now;
        self.asked = Asked::first(now);
    }

    const fn ask(&mut self, now: Timestamp) {
        self.asked = Asked {
            at: now,
            times: self.asked.times.saturating_add(1),
            lost: false,
        };
    }
}

impl Asked {
    const fn first(now: Timestamp) -> Self {
        Self {
            at: now,
            times: 1,
            lost: false,
        }
    }
}

impl Phase {
    const fn wait_ms(self) -> u64 {
        match self {
            Self::Notified | Self::Downloading => DOWNLOAD_WAIT_MS,
            Self::Execute { .. } | Self::Updating => UPDATE_WAIT_MS,
            Self::Check { .. } => ANSWER_WAIT_MS,
        }
    }
}
