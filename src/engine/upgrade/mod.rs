//! The upgrade of one device, from the order of a campaign to its one end. Pure: no clock, no I/O.
//!
//! ```text
//! Online --shows itself--> Version --told--> Coverage --measured--> Line --admitted--> Run
//!    \                        |  \              | \-- Cell --/        |                 |
//!     24 h                 3 min  target:      3 min    3 min        24 h silent     fota, sota
//!                                  success
//! ```
//!
//! `Run` is what follows admission: [`fota`] over LwM2M Object 5, [`sota`]
//! over PCP, whose messages come through [`Upgrade::hear`]. A
//! slot of the cell is held from admission to the end ([`Upgrade::holds_slot`]). Requests to the
//! device are wishes ([`Ask`]): whoever carries them says what the device answered, or that it did
//! not; a lost one is asked again when the device next shows itself. The deadline is judged first,
//! so the outcome never depends on which of timer and message came first. Deadlines are derived
//! from the step, so a restart loses none.

pub mod fota;
pub mod reason;
pub mod software;
mod stage;

#[cfg(test)]
mod tests;

pub use reason::Reason;
pub use software::Heard;
pub use stage::Stage;

use super::sota;
use crate::base::time::Timestamp;

/// How long a device is waited for, before and in the line.
pub const ONLINE_WAIT_MS: u64 = 24 * HOUR_MS;
/// How long the version, the coverage and the cell are waited for, each.
pub const ANSWER_WAIT_MS: u64 = sota::ANSWER_WAIT_MS;
/// A version or a coverage that is older is asked for again.
pub const FRESH_MS: u64 = HOUR_MS;
/// The download of one attempt, from the package's announcement on.
pub const DOWNLOAD_WAIT_MS: u64 = sota::DOWNLOAD_WAIT_MS;
/// From the order to install to its result.
pub const UPDATE_WAIT_MS: u64 = sota::UPDATE_WAIT_MS;

const HOUR_MS: u64 = 3_600_000;

/// What is upgraded, and so how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// LwM2M Object 5.
    Firmware,
    /// PCP.
    Software,
}

/// One attempt at upgrading one device, with what the attempts before it have learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upgrade {
    pub kind: Kind,
    pub step: Step,
    /// When the device last told its version.
    pub version_at: Option<Timestamp>,
    /// When its coverage or cell was last learnt.
    pub measured_at: Option<Timestamp>,
    /// When it was first measured: its rank in the line.
    pub ranked_at: Option<Timestamp>,
    /// The device took the package's URI, in this attempt or one before it.
    pub announced: bool,
    /// Firmware: how the device takes packages.
    pub way: fota::Way,
    /// Software: what the device is known to have heard of the package and to have of it.
    pub software: sota::Memory,
}

/// Where an attempt stands. Times are when it came there, unless they say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Waits for the device to show itself.
    Online {
        since: Timestamp,
    },
    /// Its version was asked for.
    Version {
        since: Timestamp,
    },
    /// `/4/0` was asked for.
    Coverage {
        since: Timestamp,
    },
    /// The cell alone was asked for.
    Cell {
        since: Timestamp,
    },
    /// Waits for a slot.
    Line {
        heard_at: Timestamp,
    },
    /// Has a slot.
    Fota(fota::State),
    /// Has a slot.
    Sota(sota::State),
    Ended,
}

/// What the package is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// What the device reports afterwards.
    pub version: &'a str,
    /// Versions that it may have before; empty: any.
    pub sources: &'a [String],
}

/// What happens to an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input<'a> {
    /// Time has passed.
    Tick,
    /// The device listens now.
    Reachable,
    /// It registered: after a reboot, or for the first time.
    Registered,
    /// What it said to [`Ask`], or in a notification.
    Said(Saying<'a>),
    /// It refused a request: the CoAP code in words.
    Refused { ask: Ask, code: &'a str },
    /// A request of ours came to nothing: the device does not hear us. `asleep`: it had been silent
    /// when it was asked, and has been since.
    Lost { ask: Ask, asleep: bool },
    /// It was measured.
    Measured(Measured),
    /// It has a slot.
    Admitted,
    /// It asked for a part of the package.
    Fetched,
    /// Somebody stops the campaign. What installs is not stopped.
    Stop,
}

/// What the device says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saying<'a> {
    Version(&'a str),
    /// 5/0/3
    State(u8),
    /// 5/0/5
    Result(u8),
    /// 5/0/9
    Delivery(u8),
    /// It took the request.
    Done(Ask),
}

/// What was learnt of the device's radio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured {
    /// The cell, and perhaps the coverage.
    Cell,
    /// The answer tells no cell.
    Nothing,
}

/// A request to the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ask {
    /// Firmware: read 3/0/3. Software: PCP 19.
    Version,
    /// Read 4/0.
    Coverage,
    /// Read 4/0/8.
    Cell,
    /// Observe 5/0/3.
    ObserveState,
    /// Observe 5/0/5.
    ObserveResult,
    /// Write the package's URI to 5/0/1, as text.
    WriteUri,
    /// Write an empty URI: Object 5 forgets what it has.
    ResetUri,
    /// Read 5/0/9.
    Delivery,
    /// Write the package itself to 5/0/0, from where the device has it.
    Push,
    /// Read 5/0/5.
    Result,
    /// Execute 5/0/2, without a payload.
    Execute,
    /// PCP 20.
    NewVersion,
    /// PCP 23.
    Install,
}

impl Ask {
    /// For traces and failures.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Version => "the question for its version",
            Self::Coverage => "the question for its coverage (4/0)",
            Self::Cell => "the question for its cell (4/0/8)",
            Self::ObserveState => "the observation of the update state (5/0/3)",
            Self::ObserveResult => "the observation of the update result (5/0/5)",
            Self::WriteUri => "the package's URI (5/0/1)",
            Self::ResetUri => "the reset of the package's URI (5/0/1)",
            Self::Delivery => "the question how it takes packages (5/0/9)",
            Self::Push => "the package (5/0/0)",
            Self::Result => "the question for the update result (5/0/5)",
            Self::Execute => "the order to update (5/0/2)",
            Self::NewVersion => "the announcement of the new version (PCP 20)",
            Self::Install => "the order to upgrade (PCP 23)",
        }
    }
}

/// What an attempt wants done, after its change is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    Ask(Ask),
    /// It waits for a slot; again after each measurement.
    Line,
    End(Outcome),
}

/// How an attempt ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It has the version. `was_there`: it had it before, nothing was sent.
    Success {
        was_there: bool,
    },
    Failed(Reason),
    Stopped,
}

impl Upgrade {
    /// A first attempt.
    pub const fn new(kind: Kind, now: Timestamp) -> Self {
        Self {
            kind,
            step: Step::Online { since: now },
            version_at: None,
            measured_at: None,
            ranked_at: None,
            announced: false,
            way: fota::Way::Unknown,
            software: sota::Memory::NEW,
        }
    }

    /// The attempt after this one. What the device has of the package is still there.
    pub const fn again(&self, now: Timestamp) -> Self {
        Self {
            announced: self.announced,
            way: self.way,
            software: self.software,
            ..Self::new(self.kind, now)
        }
    }

    /// A slot of its cell is its own.
    pub const fn holds_slot(&self) -> bool {
        matches!(self.step, Step::Fota(_) | Step::Sota(_))
    }

    /// It waits for a slot.
    pub const fn is_in_line(&self) -> bool {
        matches!(self.step, Step::Line { .. })
    }

    /// When [`Input::Tick`] is next due.
    pub fn deadline(&self) -> Option<Timestamp> {
        match self.step {
            Step::Online { since } => Some(since.plus_ms(ONLINE_WAIT_MS)),
            Step::Version { since } | Step::Coverage { since } | Step::Cell { since } => {
                Some(since.plus_ms(ANSWER_WAIT_MS))
            }
            Step::Line { heard_at } => Some(heard_at.plus_ms(ONLINE_WAIT_MS)),
            Step::Fota(state) => Some(state.deadline()),
            Step::Sota(state) => Some(state.deadline()),
            Step::Ended => None,
        }
    }

    /// Advances by one input; gives what is to be done. Empty when nothing is.
    pub fn step(&mut self, now: Timestamp, input: Input<'_>, target: &Target<'_>) -> Vec<Wish> {
        let mut wishes = Vec::new();
        let was_asleep = matches!(
            (self.step, input),
            (Step::Version { .. }, Input::Lost { asleep: true, .. })
        );
        // Who slept had no time to answer in.
        if self.deadline().is_some_and(|at| now >= at) && !was_asleep {
            self.overdue(now, &mut wishes);
            // What is left of it sees the input all the same.
            if self.step == Step::Ended {
                return wishes;
            }
        }
        self.take(now, input, target, &mut wishes);
        wishes
    }

    fn overdue(&mut self, now: Timestamp, wishes: &mut Vec<Wish>) {
        match self.step {
            Step::Online { .. } | Step::Line { .. } => self.fail(Reason::OnlineTimeout, wishes),
            Step::Version { .. } => self.fail(Reason::VersionTimeout, wishes),
            // What can't be measured may still tell its cell.
            Step::Coverage { .. } => self.ask_cell(now, wishes),
            Step::Cell { .. } => self.fail(Reason::CellTimeout, wishes),
            Step::Fota(mut state) => {
                let next = state.overdue();
                self.follow(state, next, wishes);
            }
            // It judges its deadline with the input.
            Step::Sota(_) | Step::Ended => {}
        }
    }

    fn take(
        &mut self,
        now: Timestamp,
        input: Input<'_>,
        target: &Target<'_>,
        wishes: &mut Vec<Wish>,
    ) {
        match (self.step, input) {
            (Step::Ended, _) => {}
            (Step::Fota(mut state), input) => {
                let next = state.step(now, input, target, self.announced);
                self.follow(state, next, wishes);
            }
            (Step::Sota(state), input) => self.step_software(now, state, input, wishes),
            (_, Input::Stop) => self.end(Outcome::Stopped, wishes),
            (Step::Online { .. }, Input::Reachable | Input::Registered) => {
                self.begin(now, wishes);
            }
            (Step::Version { .. }, Input::Reachable | Input::Registered) => {
                wishes.push(Wish::Ask(Ask::Version));
            }
            // Not every device that sleeps says so when it registers: it was not there after all.
            (
                Step::Version { since },
                Input::Lost {
                    ask: Ask::Version,
                    asleep: true,
                },
            ) => self.step = Step::Online { since },
            (Step::Version { .. }, Input::Said(Saying::Version(version))) => {
                self.version_at = Some(now);
                let is_target = version == target.version;
                if self.software.told(is_target) {
                    self.end(Outcome::Success { was_there: true }, wishes);
                } else if !is_target && !target.takes(version) {
                    let version = version.to_owned();
                    self.fail(Reason::NotSupported { version }, wishes);
                } else {
                    self.measure(now, wishes);
                }
            }
            (
                Step::Version { .. },
                Input::Refused {
                    ask: Ask::Version,
                    code,
                },
            ) => {
                let code = code.to_owned();
                let what = Ask::Version.words();
                self.fail(Reason::Refused { what, code }, wishes);
            }
            (Step::Coverage { .. }, Input::Reachable | Input::Registered) => {
                wishes.push(Wish::Ask(Ask::Coverage));
            }
            (Step::Cell { .. }, Input::Reachable | Input::Registered) => {
                wishes.push(Wish::Ask(Ask::Cell));
            }
            (Step::Coverage { .. } | Step::Cell { .. }, Input::Measured(Measured::Cell)) => {
                self.measured_at = Some(now);
                self.ranked_at.get_or_insert(now);
                self.step = Step::Line { heard_at: now };
                wishes.push(Wish::Line);
            }
            (Step::Coverage { .. }, Input::Measured(Measured::Nothing)) => {
                self.ask_cell(now, wishes);
            }
            (
                Step::Coverage { .. },
                Input::Refused {
                    ask: Ask::Coverage, ..
                },
            ) => {
                self.ask_cell(now, wishes);
            }
            (Step::Cell { .. }, Input::Measured(Measured::Nothing)) => {
                self.fail(Reason::CellTimeout, wishes);
            }
            (Step::Cell { .. }, Input::Refused { ask: Ask::Cell, .. }) => {
                self.fail(Reason::CellTimeout, wishes);
            }
            (Step::Line { .. }, Input::Reachable | Input::Registered) => {
                self.step = Step::Line { heard_at: now };
                match self.measured_at.is_some_and(|at| is_fresh(at, now)) {
                    true => wishes.push(Wish::Line),
                    false => self.measure(now, wishes),
                }
            }
            (Step::Line { .. }, Input::Admitted) if self.kind == Kind::Software => {
                self.begin_software(now, wishes);
            }
            (Step::Line { .. }, Input::Admitted) => {
                let (state, next) = fota::State::begin(now, self.way);
                self.follow(state, next, wishes);
            }
            // Late, repeated, or not for this step.
            (
                Step::Online { .. }
                | Step::Version { .. }
                | Step::Coverage { .. }
                | Step::Cell { .. }
                | Step::Line { .. },
                _,
            ) => {}
        }
    }

    /// The device is there: its version first, unless that was told within the hour.
    fn begin(&mut self, now: Timestamp, wishes: &mut Vec<Wish>) {
        if self.version_at.is_some_and(|at| is_fresh(at, now)) {
            self.measure(now, wishes);
        } else {
            self.step = Step::Version { since: now };
            wishes.push(Wish::Ask(Ask::Version));
        }
    }

    fn measure(&mut self, now: Timestamp, wishes: &mut Vec<Wish>) {
        self.step = Step::Coverage { since: now };
        wishes.push(Wish::Ask(Ask::Coverage));
    }

    fn ask_cell(&mut self, now: Timestamp, wishes: &mut Vec<Wish>) {
        self.step = Step::Cell { since: now };
        wishes.push(Wish::Ask(Ask::Cell));
    }

    fn follow(&mut self, state: fota::State, next: fota::Next, wishes: &mut Vec<Wish>) {
        self.step = Step::Fota(state);
        self.announced |= state.is_announced();
        self.way = state.way;
        match next {
            fota::Next::Nothing => {}
            fota::Next::Ask(ask) => wishes.push(Wish::Ask(ask)),
            fota::Next::End(outcome) => self.end(outcome, wishes),
        }
    }

    fn fail(&mut self, reason: Reason, wishes: &mut Vec<Wish>) {
        self.end(Outcome::Failed(reason), wishes);
    }

    fn end(&mut self, outcome: Outcome, wishes: &mut Vec<Wish>) {
        self.step = Step::Ended;
        wishes.push(Wish::End(outcome));
    }
}

impl Target<'_> {
    /// Whether a device of this version may have the package.
    pub fn takes(&self, version: &str) -> bool {
        self.sources.is_empty() || self.sources.iter().any(|s| s == version)
    }
}

const fn is_fresh(at: Timestamp, now: Timestamp) -> bool {
    now.since_ms(at) < FRESH_MS
}
