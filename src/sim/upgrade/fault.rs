//! What may go wrong with a device that upgrades: one fault for each device, the same for the same seed.
//!
//! ```text
//! Asked -> Offered -> Fragment(0..) -> Downloaded -> Executed -> Installed
//! ```
//!
//! A [`Step`] is reached when the device is about to do what it is for: to answer for its version, to
//! answer the offer, to ask for that fragment, to tell that it has all of them, to answer the order
//! to install, to tell what came of it. [`Mischief`] says at each step whether the device goes on.

use std::time::Duration;

/// Where in an upgrade a device is. Ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The version is asked for: PCP 19, read of 3/0/3.
    Asked,
    /// A package is offered: PCP 20, write of 5/0/1, first block of 5/0/0.
    Offered,
    /// This fragment or block is wanted, from 0.
    Fragment(u32),
    /// All is there: PCP 22, state 2.
    Downloaded,
    /// PCP 23, execute of 5/0/2.
    Executed,
    /// The new software has started: PCP 24, state 0 with result 1.
    Installed,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Never says anything at all.
    NeverOnline,
    /// From this step on it answers and sends nothing about upgrades; its business goes on.
    Silent(Step),
    /// Says that it runs this version, whatever it runs.
    ClaimsVersion(String),
    /// Says that the upgrade succeeded, and still runs the old version.
    KeepsOldVersion,
    /// Refuses at this step with a PCP result or an Object 5 result. At a fragment: gives the download up.
    Refuses(Step, u8),
    /// This fragment goes bad in its memory, which it finds out when all are there.
    Corrupts(u32),
    /// Reboots by itself so often while it upgrades, so long after it started.
    Reboots { every: Duration, times: u32 },
    /// Sends each request for a fragment so many times.
    Floods(u8),
    /// Asks for fragments of packages that are not its own, too.
    AsksForeign,
    /// Asks for fragments beyond the last, too.
    AsksBeyond,
    /// Tells its result so many times.
    RepeatsResult(u8),
    /// Answers whatever it is asked about upgrades so late.
    AnswersLate(Duration),
    /// Loses power when it reaches the step for the first time, and goes on after a while.
    LosesPower { at: Step, off_for: Duration },
}

impl Fault {
    /// Stable word for tallies; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NeverOnline => "never_online",
            Self::Silent(_) => "silent",
            Self::ClaimsVersion(_) => "claims_version",
            Self::KeepsOldVersion => "keeps_old_version",
            Self::Refuses(..) => "refuses",
            Self::Corrupts(_) => "corrupts",
            Self::Reboots { .. } => "reboots",
            Self::Floods(_) => "floods",
            Self::AsksForeign => "asks_foreign",
            Self::AsksBeyond => "asks_beyond",
            Self::RepeatsResult(_) => "repeats_result",
            Self::AnswersLate(_) => "answers_late",
            Self::LosesPower { .. } => "loses_power",
        }
    }

    /// The device can upgrade in spite of it.
    pub const fn is_survivable(&self) -> bool {
        match self {
            Self::Reboots { .. }
            | Self::Floods(_)
            | Self::AsksForeign
            | Self::AsksBeyond
            | Self::RepeatsResult(_)
            | Self::AnswersLate(_)
            | Self::LosesPower { .. } => true,
            Self::NeverOnline
            | Self::Silent(_)
            | Self::ClaimsVersion(_)
            | Self::KeepsOldVersion
            | Self::Refuses(..)
            | Self::Corrupts(_) => false,
        }
    }

    /// Any fault of a device whose upgrade has `fragments` fragments or blocks.
    #[must_use]
    pub fn drawn(rng: &mut fastrand::Rng, fragments: u32) -> Self {
        let fragment = rng.u32(..fragments.max(1));
        let steps = [
            Step::Asked,
            Step::Offered,
            Step::Fragment(fragment),
            Step::Downloaded,
            Step::Executed,
            Step::Installed,
        ];
        let step = rng.choice(steps).unwrap_or(Step::Asked);
        let minutes = |rng: &mut fastrand::Rng| Duration::from_secs(60 * rng.u64(1..=20));
        match rng.u8(..13) {
            0 => Self::NeverOnline,
            1 => Self::Silent(step),
            2 => Self::ClaimsVersion("V0.0-lie".to_owned()),
            3 => Self::KeepsOldVersion,
            4 => Self::Refuses(step, refusal(rng, step)),
            5 => Self::Corrupts(fragment),
            6 => Self::Reboots {
                every: Duration::from_secs(rng.u64(20..=120)),
                times: rng.u32(1..=20),
            },
            7 => Self::Floods(rng.u8(2..=10)),
            8 => Self::AsksForeign,
            9 => Self::AsksBeyond,
            10 => Self::RepeatsResult(rng.u8(2..=5)),
            11 => Self::AnswersLate(Duration::from_secs(rng.u64(1..=120))),
            _ => Self::LosesPower {
                at: step,
                off_for: minutes(rng),
            },
        }
    }
}

/// A result that fits the step in PCP; Object 5 knows most of them under another name.
fn refusal(rng: &mut fastrand::Rng, step: Step) -> u8 {
    let results: &[u8] = match step {
        Step::Asked => &[1, 0x7f],
        Step::Offered => &[1, 2, 3, 4, 5, 9, 0x7f],
        Step::Fragment(_) | Step::Downloaded => &[5, 6, 7, 8],
        Step::Executed => &[1, 4, 5, 9, 0x7f],
        Step::Installed => &[1, 4, 5, 8, 9, 0x0a, 0x7f],
    };
    rng.choice(results).copied().unwrap_or(1)
}

/// Whether a device goes on at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Going {
    On,
    /// It says nothing.
    Silent,
    Refuse(u8),
    /// Its power is gone before it did anything.
    Off(Duration),
}

/// A fault and what came of it so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Mischief {
    fault: Option<Fault>,
    is_silent: bool,
    /// Power was lost, or the device rebooted, so often.
    times: u32,
}

impl Mischief {
    pub(super) const fn new(fault: Option<Fault>) -> Self {
        Self {
            fault,
            is_silent: false,
            times: 0,
        }
    }

    pub(super) const fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    pub(super) const fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// The device is about to take a step.
    pub(super) fn reach(&mut self, step: Step) -> Going {
        match &self.fault {
            Some(Fault::Silent(from)) if step >= *from => {
                self.is_silent = true;
                Going::Silent
            }
            Some(Fault::LosesPower { at, off_for }) if step == *at && self.times == 0 => {
                self.times = 1;
                Going::Off(*off_for)
            }
            Some(Fault::Refuses(at, code)) if step == *at => Going::Refuse(*code),
            _ if self.is_silent => Going::Silent,
            _ => Going::On,
        }
    }

    /// How long after its start the device reboots by itself; `None` when it does not (any more).
    pub(super) fn reboots_after(&self) -> Option<Duration> {
        match &self.fault {
            Some(Fault::Reboots { every, times }) if self.times < *times => Some(*every),
            _ => None,
        }
    }

    pub(super) const fn note_reboot(&mut self) {
        self.times += 1;
    }

    /// What the device says of its version.
    pub(super) fn claimed<'a>(&'a self, runs: &'a str) -> &'a str {
        match &self.fault {
            Some(Fault::ClaimsVersion(version)) => version,
            _ => runs,
        }
    }

    pub(super) fn keeps_old(&self) -> bool {
        self.fault == Some(Fault::KeepsOldVersion)
    }

    pub(super) fn corrupts(&self, fragment: u32) -> bool {
        self.fault == Some(Fault::Corrupts(fragment))
    }

    /// How often each request goes out.
    pub(super) fn copies(&self) -> u8 {
        match self.fault {
            Some(Fault::Floods(copies)) => copies.max(1),
            _ => 1,
        }
    }

    /// How often a result goes out.
    pub(super) fn results(&self) -> u8 {
        match self.fault {
            Some(Fault::RepeatsResult(times)) => times.max(1),
            _ => 1,
        }
    }

    pub(super) const fn lateness(&self) -> Duration {
        match self.fault {
            Some(Fault::AnswersLate(late)) => late,
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_draws_the_same_faults_and_all_kinds_come() {
        let draw = |seed| {
            let mut rng = fastrand::Rng::with_seed(seed);
            Fault::drawn(&mut rng, 10)
        };
        let faults: Vec<_> = (0..500).map(draw).collect();
        assert_eq!(faults, (0..500).map(draw).collect::<Vec<_>>());
        let kinds: BTreeSet<_> = faults.iter().map(Fault::kind).collect();
        assert_eq!(kinds.len(), 13, "{kinds:?}");
        assert!(faults.iter().any(Fault::is_survivable));
    }

    #[test]
    fn silence_lasts_and_power_is_lost_once() {
        let mut silent = Mischief::new(Some(Fault::Silent(Step::Fragment(3))));
        let going: Vec<_> = [2, 3, 1].map(|n| silent.reach(Step::Fragment(n))).into();
        assert_eq!(going, [Going::On, Going::Silent, Going::Silent]);
        assert_eq!(silent.reach(Step::Asked), Going::Silent);
        let off_for = Duration::from_secs(9);
        let at = Step::Executed;
        let mut dark = Mischief::new(Some(Fault::LosesPower { at, off_for }));
        assert_eq!(dark.reach(Step::Offered), Going::On);
        assert_eq!(dark.reach(at), Going::Off(off_for));
        assert_eq!(dark.reach(at), Going::On);
    }
}
