//! Firmware over LwM2M Object 5 (OMA LwM2M 1.0.2, E.6), from the slot to the result. Pull: the
//! device is told a URI and fetches the package itself. Push, for one that refuses the URI and says that
//! it takes packages no other way (5/0/9): the package is written to it, block by block.
//!
//! ```text
//! ObserveState -> ObserveResult -> WriteUri -> Starting -> Downloading -> Execute -> Updating -> Check
//!      |               (reset when it has something else)  state 1,   state 2   2.04, state 3  state 0
//!      '-- state 1, 2, 3: goes on where the device is      a block
//!                                      WriteUri -refused-> Delivery -push-> Push -state 2-> Execute
//! ```
//!
//! What devices taught: the state is observed before the URI is written, else nothing follows; the
//! device's state is believed over ours, so an attempt after another goes on where that ended; state
//! 2 *after* the order to update means that the update failed, and giving the order again would
//! loop, unless its result says that nothing failed: then it lost its power before it began, and has the
//! order again for a while ([`ORDER_AGAIN_MS`]); after the reboot the result may come with the old token, as an answer to a new observation,
//! or not at all, so the version decides. Only a package that the device said to have whole, in this
//! chain of attempts, is ordered to be installed: what it has of somebody else is reset first.

use super::{Ask, DOWNLOAD_WAIT_MS, Input, Outcome, Reason, Saying, Target, UPDATE_WAIT_MS};
use crate::base::time::Timestamp;

/// 5/0/3
const IDLE: u8 = 0;
const DOWNLOADING: u8 = 1;
const DOWNLOADED: u8 = 2;
const UPDATING: u8 = 3;

/// 5/0/5
const INITIAL: u8 = 0;
const UPDATED: u8 = 1;

/// Where a firmware upgrade with a slot stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    pub phase: Phase,
    /// Until `Execute`: when the attempt got its slot. From the URI on: when that was written.
    /// From the order to update on: when it was first given.
    pub since: Timestamp,
    /// When the download was last seen to go on. Before `since`: not since the device started anew, after
    /// it had been told the URI in this attempt, whose time goes on.
    pub moved_at: Timestamp,
    pub way: Way,
}

/// How the device takes packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    /// Nobody asked: it is told the URI, as most want it.
    #[default]
    Unknown,
    /// It fetches them.
    Pull,
    /// They are written to it.
    Push,
}

/// A download that stood still for so long is announced again when the device speaks: it goes on
/// where it was for the same URI.
pub const STALLED_MS: u64 = 10 * 60_000;
/// So long after the first order to update, one that did not begin gets it again.
pub const ORDER_AGAIN_MS: u64 = 10 * 60_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    ObserveState,
    ObserveResult,
    /// What it has is not ours.
    Reset,
    WriteUri,
    /// It did not take the URI: is asked how it takes packages.
    Delivery,
    /// The package is written to it.
    Push,
    /// It has the URI.
    Starting,
    /// It fetches.
    Downloading,
    /// The download ended badly: why is asked.
    Broken,
    /// It has the package, and is ordered to install it.
    Execute,
    /// It took the order.
    Updating,
    /// The update ended, well or not: how is asked.
    Result,
    /// It has the package and does not install it, after the order: why is asked.
    Back,
    /// It is asked for its version.
    Check,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    Nothing,
    Ask(Ask),
    End(Outcome),
}

impl State {
    /// The attempt has its slot now.
    pub const fn begin(now: Timestamp, way: Way) -> (Self, Next) {
        let state = Self {
            phase: Phase::ObserveState,
            since: now,
            moved_at: now,
            way,
        };
        (state, Next::Ask(Ask::ObserveState))
    }

    pub fn deadline(&self) -> Timestamp {
        self.since.plus_ms(match self.phase {
            Phase::ObserveState
            | Phase::ObserveResult
            | Phase::Reset
            | Phase::WriteUri
            | Phase::Delivery
            | Phase::Push
            | Phase::Starting
            | Phase::Downloading
            | Phase::Broken => DOWNLOAD_WAIT_MS,
            Phase::Execute | Phase::Updating | Phase::Result | Phase::Back | Phase::Check => {
                UPDATE_WAIT_MS
            }
        })
    }

    /// The device has taken the package's URI, or may have: it had nothing of anybody else when that
    /// was written, and its answer can be lost.
    pub const fn is_announced(&self) -> bool {
        !matches!(
            self.phase,
            Phase::ObserveState | Phase::ObserveResult | Phase::Reset | Phase::Delivery
        )
    }

    /// Its time is over.
    pub fn overdue(&mut self) -> Next {
        fail(match self.phase {
            Phase::ObserveState
            | Phase::ObserveResult
            | Phase::Reset
            | Phase::WriteUri
            | Phase::Delivery
            | Phase::Starting => Reason::StartTimeout,
            Phase::Push | Phase::Downloading | Phase::Broken => Reason::DownloadTimeout,
            Phase::Execute => Reason::UpdateTimeout,
            Phase::Updating | Phase::Result | Phase::Back => Reason::ResultTimeout,
            Phase::Check => Reason::CheckTimeout,
        })
    }

    /// Advances by one input. `announced`: the device took the package's URI before, in this chain of
    /// attempts.
    pub fn step(
        &mut self,
        now: Timestamp,
        input: Input<'_>,
        target: &Target<'_>,
        announced: bool,
    ) -> Next {
        match input {
            Input::Tick | Input::Measured(_) | Input::Admitted => Next::Nothing,
            Input::Stop => self.stop(),
            Input::Reachable => self.again(now),
            Input::Registered => self.registered(),
            Input::Fetched => {
                self.begin_download(now);
                self.moved_at = now;
                Next::Nothing
            }
            Input::Said(Saying::State(state)) => self.told_state(now, state, announced),
            Input::Said(Saying::Result(result)) => self.told_result(now, result),
            Input::Said(Saying::Version(version)) => self.told_version(version, target),
            Input::Said(Saying::Delivery(delivery)) => self.told_delivery(now, delivery),
            Input::Said(Saying::Done(ask)) => self.done(now, ask),
            Input::Refused { ask, code } => self.refused(now, ask, code),
            // Asked again when it shows itself.
            Input::Lost { .. } => Next::Nothing,
        }
    }

    /// What installs is not stopped.
    fn stop(&self) -> Next {
        match self.phase {
            Phase::Execute | Phase::Updating | Phase::Result | Phase::Back | Phase::Check => {
                Next::Nothing
            }
            Phase::ObserveState
            | Phase::ObserveResult
            | Phase::Reset
            | Phase::WriteUri
            | Phase::Delivery
            | Phase::Push
            | Phase::Starting
            | Phase::Downloading
            | Phase::Broken => Next::End(Outcome::Stopped),
        }
    }

    /// What it was asked last is asked once more: it listens now, and has not answered.
    const fn again(&self, now: Timestamp) -> Next {
        match self.phase {
            Phase::ObserveState => Next::Ask(Ask::ObserveState),
            Phase::ObserveResult => Next::Ask(Ask::ObserveResult),
            Phase::Reset => Next::Ask(Ask::ResetUri),
            Phase::WriteUri => Next::Ask(Ask::WriteUri),
            Phase::Delivery => Next::Ask(Ask::Delivery),
            Phase::Push => Next::Ask(Ask::Push),
            Phase::Broken | Phase::Result | Phase::Back => Next::Ask(Ask::Result),
            Phase::Execute => Next::Ask(Ask::Execute),
            Phase::Check => Next::Ask(Ask::Version),
            Phase::Starting | Phase::Downloading if now.since_ms(self.moved_at) >= STALLED_MS => {
                match self.way {
                    // It has all of it, and did not say so.
                    Way::Push => Next::Ask(Ask::ObserveState),
                    Way::Unknown | Way::Pull => Next::Ask(Ask::WriteUri),
                }
            }
            Phase::Starting | Phase::Downloading | Phase::Updating => Next::Nothing,
        }
    }

    /// A reboot ends the device's observations. In the middle of an update it is a sign of its end.
    const fn registered(&mut self) -> Next {
        match self.phase {
            Phase::Updating | Phase::Result | Phase::Back => {
                self.phase = Phase::Result;
                Next::Ask(Ask::ObserveState)
            }
            Phase::Check => Next::Ask(Ask::Version),
            // It may have begun to update before its answer arrived.
            Phase::Execute => Next::Ask(Ask::ObserveState),
            Phase::Push | Phase::Starting | Phase::Downloading | Phase::Broken => {
                self.phase = Phase::ObserveState;
                // The time of the download goes on: one that starts anew again and again must end.
                self.moved_at = Timestamp::from_ms(0);
                Next::Ask(Ask::ObserveState)
            }
            Phase::ObserveState
            | Phase::ObserveResult
            | Phase::Reset
            | Phase::WriteUri
            | Phase::Delivery => {
                self.phase = Phase::ObserveState;
                Next::Ask(Ask::ObserveState)
            }
        }
    }

    /// It has the URI, or what it names. The time of the download begins, unless it did before.
    fn announce(&mut self, now: Timestamp, phase: Phase) {
        self.phase = phase;
        if self.moved_at >= self.since {
            self.since = now;
        }
        self.moved_at = now;
    }

    /// The package comes next, in the way that the device takes it.
    fn offer(&mut self, now: Timestamp) -> Next {
        match self.way {
            Way::Push => {
                self.announce(now, Phase::Push);
                Next::Ask(Ask::Push)
            }
            Way::Unknown | Way::Pull => {
                self.phase = Phase::WriteUri;
                Next::Ask(Ask::WriteUri)
            }
        }
    }

    /// 5/0/9: the URI once more if that is how it takes packages, or if it does not say.
    fn told_delivery(&mut self, now: Timestamp, delivery: u8) -> Next {
        if self.phase != Phase::Delivery {
            return Next::Nothing;
        }
        self.way = match delivery {
            PUSH => Way::Push,
            _ => Way::Pull,
        };
        self.offer(now)
    }

    fn done(&mut self, now: Timestamp, ask: Ask) -> Next {
        match (self.phase, ask) {
            (Phase::ObserveResult, Ask::ObserveResult) | (Phase::Reset, Ask::ResetUri) => {
                self.offer(now)
            }
            // It has all of it, and says so in its state.
            (Phase::Push, Ask::Push) => {
                (self.phase, self.moved_at) = (Phase::Downloading, now);
                Next::Nothing
            }
            (Phase::WriteUri, Ask::WriteUri) => {
                self.announce(now, Phase::Starting);
                Next::Nothing
            }
            (Phase::Starting | Phase::Downloading, Ask::WriteUri) => {
                self.moved_at = now;
                Next::Nothing
            }
            (Phase::Execute, Ask::Execute) => {
                self.phase = Phase::Updating;
                Next::Nothing
            }
            _ => Next::Nothing,
        }
    }

    fn refused(&mut self, now: Timestamp, ask: Ask, code: &str) -> Next {
        match (self.phase, ask) {
            // Not every device can tell its result by itself: it is read when it is needed.
            (Phase::ObserveResult, Ask::ObserveResult) => self.offer(now),
            // Not every device takes a URI.
            (Phase::WriteUri, Ask::WriteUri)
                if self.way == Way::Unknown && !code.starts_with("5.") =>
            {
                self.phase = Phase::Delivery;
                Next::Ask(Ask::Delivery)
            }
            (Phase::Delivery, Ask::Delivery) => {
                self.way = Way::Pull;
                self.offer(now)
            }
            // Busy with a notification of its own: once more when it has spoken.
            (Phase::WriteUri, Ask::WriteUri)
            | (Phase::Push, Ask::Push)
            | (Phase::Execute, Ask::Execute)
                if is_for_now(code) =>
            {
                Next::Nothing
            }
            (Phase::Broken, Ask::Result) => fail(Reason::Object5(CONNECTION_LOST)),
            // How it ended is not told: the version decides.
            (Phase::Result, Ask::Result | Ask::ObserveState) | (Phase::Back, Ask::Result) => {
                self.phase = Phase::Check;
                Next::Ask(Ask::Version)
            }
            (Phase::ObserveState, Ask::ObserveState)
            | (Phase::Reset, Ask::ResetUri)
            | (Phase::WriteUri, Ask::WriteUri)
            | (Phase::Push, Ask::Push)
            | (Phase::Execute, Ask::Execute)
            | (Phase::Check, Ask::Version) => fail(Reason::Refused {
                what: ask.words(),
                code: code.to_owned(),
            }),
            _ => Next::Nothing,
        }
    }

    /// 5/0/3, as an answer or a notification.
    fn told_state(&mut self, now: Timestamp, state: u8, announced: bool) -> Next {
        match (self.phase, state) {
            (Phase::ObserveState, IDLE) => {
                self.phase = Phase::ObserveResult;
                Next::Ask(Ask::ObserveResult)
            }
            // It fetches still, for an attempt before this one; if not, it is told the URI again.
            (Phase::ObserveState, DOWNLOADING) if announced && self.way == Way::Push => {
                self.offer(now)
            }
            (Phase::ObserveState, DOWNLOADING) if announced => {
                self.announce(now, Phase::Downloading);
                Next::Nothing
            }
            (Phase::ObserveState, DOWNLOADED) if announced => self.execute(now),
            // Of somebody else: it is not what shall be installed.
            (Phase::ObserveState, DOWNLOADING | DOWNLOADED) => {
                self.phase = Phase::Reset;
                Next::Ask(Ask::ResetUri)
            }
            (Phase::ObserveState, UPDATING) => {
                self.phase = Phase::Updating;
                self.since = now;
                Next::Nothing
            }
            (Phase::WriteUri | Phase::Starting, DOWNLOADING) => {
                self.begin_download(now);
                Next::Nothing
            }
            (Phase::Push | Phase::Starting | Phase::Downloading, DOWNLOADED) => self.execute(now),
            // Until it has taken a block, it is what it was before.
            (Phase::Push, IDLE) if self.moved_at <= self.since => Next::Nothing,
            (Phase::Push | Phase::Downloading, IDLE) => {
                self.phase = Phase::Broken;
                Next::Ask(Ask::Result)
            }
            (Phase::Execute, UPDATING) => {
                self.phase = Phase::Updating;
                Next::Nothing
            }
            (Phase::Execute | Phase::Updating | Phase::Result | Phase::Back, IDLE) => {
                self.phase = Phase::Result;
                Next::Ask(Ask::Result)
            }
            // Back where it was: the update failed, or never began.
            (Phase::Updating | Phase::Result, DOWNLOADED) => {
                self.phase = Phase::Back;
                Next::Ask(Ask::Result)
            }
            (Phase::Result | Phase::Back, UPDATING) => {
                self.phase = Phase::Updating;
                Next::Nothing
            }
            _ => Next::Nothing,
        }
    }

    /// It has the URI, whether it said so or not: its time runs.
    const fn begin_download(&mut self, now: Timestamp) {
        if matches!(self.phase, Phase::WriteUri) {
            (self.since, self.moved_at) = (now, now);
        }
        if matches!(self.phase, Phase::WriteUri | Phase::Starting) {
            self.phase = Phase::Downloading;
        }
    }

    fn execute(&mut self, now: Timestamp) -> Next {
        self.phase = Phase::Execute;
        self.since = now;
        Next::Ask(Ask::Execute)
    }

    /// 5/0/5, as an answer or a notification.
    fn told_result(&mut self, now: Timestamp, result: u8) -> Next {
        match (self.phase, result) {
            (Phase::ObserveResult, _) => self.offer(now),
            // It took the URI, and can't use it.
            (Phase::Starting, BAD_URI | NO_PROTOCOL) if self.way == Way::Unknown => {
                self.phase = Phase::Delivery;
                Next::Ask(Ask::Delivery)
            }
            (Phase::Push | Phase::Downloading | Phase::Broken, 2..) => {
                fail(Reason::Object5(result))
            }
            // It started anew without a word: what it has is asked.
            (Phase::Broken, INITIAL | UPDATED) => fail(Reason::Object5(CONNECTION_LOST)),
            (Phase::Starting, 2..) => fail(Reason::Object5(result)),
            // It lost its power before it began, and has what it needs.
            (Phase::Back, INITIAL) if now.since_ms(self.since) < ORDER_AGAIN_MS => {
                self.phase = Phase::Execute;
                Next::Ask(Ask::Execute)
            }
            (Phase::Back, INITIAL) => fail(Reason::Object5(UPDATE_FAILED)),
            (Phase::Result, INITIAL | UPDATED) | (Phase::Updating | Phase::Back, UPDATED) => {
                self.phase = Phase::Check;
                Next::Ask(Ask::Version)
            }
            (Phase::Execute | Phase::Updating | Phase::Result | Phase::Back, 2..) => {
                fail(Reason::Object5(result))
            }
            _ => Next::Nothing,
        }
    }

    fn told_version(&self, version: &str, target: &Target<'_>) -> Next {
        if self.phase != Phase::Check {
            return Next::Nothing;
        }
        if version == target.version {
            return Next::End(Outcome::Success { was_there: false });
        }
        let version = version.to_owned();
        fail(Reason::OtherVersion { version })
    }
}

/// Update results.
const CONNECTION_LOST: u8 = 4;
const BAD_URI: u8 = 7;
const UPDATE_FAILED: u8 = 8;
const NO_PROTOCOL: u8 = 9;

/// 5/0/9: by push alone. 2 is both ways, and then the URI costs the fewest messages of ours.
const PUSH: u8 = 1;

/// What passes: 4.05 while a notification of its state is not acknowledged, 5.xx.
pub(super) fn is_for_now(code: &str) -> bool {
    code.starts_with("4.05") || code.starts_with("5.")
}

const fn fail(reason: Reason) -> Next {
    Next::End(Outcome::Failed(reason))
}
