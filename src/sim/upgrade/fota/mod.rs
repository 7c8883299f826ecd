//! The firmware object (LwM2M object 5) with a real client's habits.
//!
//! ```text
//! Idle 0 -URI-> Downloading 1 -last block-> Downloaded 2 -execute-> Updating 3 -restart-> Idle 0, result 1
//!   ^----failure, with a result---'                ^-----------restart that failed, result 8-----'
//! ```
//!
//! - Nothing happens after a URI when 5/0/3 is not observed.
//! - The URI must be text/plain (4.00 else); 4.05 while a notification of the state is not acknowledged.
//! - Scheme, host and port of the URI are ignored; a query stays with the last segment. Every answer
//!   must carry Block2. A download that broke goes on at the next block for the same URI.
//! - An execute must be empty. After the restart the device registers anew and notifies the state once, with
//!   the token that it had before; of the result's token it knows nothing any more.
//!
//! Failures are results in the object and in the record. Times are `Instant`, handed in.

mod download;
mod push;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use super::common::{Common, Event, Notice, Output};
use super::fault::{Going, Step};
use super::image::Image;
use super::objects::{self, Answer, Reply, Request, Value};
use crate::sim::message;
pub use download::{Block, FetchError};
use download::{Source, Transfer};

/// Update results.
pub const SUCCESS: u8 = 1;
pub const NO_SPACE: u8 = 2;
pub const CONNECTION_LOST: u8 = 4;
pub const INTEGRITY: u8 = 5;
pub const BAD_URI: u8 = 7;
pub const FAILED: u8 = 8;
const CANCELLED: u8 = 10;

const STATE: u8 = 3;
const RESULT: u8 = 5;

/// How the package comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// The device fetches it (5/0/1).
    Pull,
    /// The server writes it (5/0/0).
    Push,
    Both,
}

/// How a device upgrades its firmware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FotaHabits {
    pub delivery: Delivery,
    /// Says 8 (failed) whatever went wrong.
    pub reports_eight: bool,
    /// Size exponent of the blocks that it asks for: 16 bytes times two to the power of this.
    pub szx: u8,
    /// From a block to the request for the next.
    pub pace: Duration,
    /// From the execute to the restart.
    pub reboot_after: Duration,
    /// How long it is off while it installs.
    pub boots_for: Duration,
    /// Bytes that it has room for.
    pub room: usize,
    /// After a power cut in a download it goes on by itself, instead of telling that the connection was lost.
    pub continues: bool,
}

impl Default for FotaHabits {
    fn default() -> Self {
        Self {
            delivery: Delivery::Both,
            reports_eight: false,
            szx: 5,
            pace: Duration::ZERO,
            reboot_after: Duration::from_secs(5),
            boots_for: Duration::from_secs(20),
            room: 16 * 1024 * 1024,
            continues: false,
        }
    }
}

/// Resource 5/0/3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    Idle = 0,
    Downloading = 1,
    Downloaded = 2,
    Updating = 3,
}

/// An observation of a resource.
#[derive(Debug, Clone)]
struct Watch {
    token: Vec<u8>,
    /// Observe option of the next notification (24 bits).
    sequence: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Fota {
    habits: FotaHabits,
    /// The version that runs.
    runs: String,
    /// What runs after an upgrade, when the image does not say it.
    target: Option<String>,
    state: State,
    result: u8,
    source: Option<Source>,
    image: Image,
    /// It knows that what it has is no good.
    is_spoilt: bool,
    transfer: Option<Transfer>,
    state_watch: Option<Watch>,
    result_watch: Option<Watch>,
    /// Notifications of the state that are not acknowledged yet.
    unacknowledged: u32,
    /// When it restarts to install.
    restarts_at: Option<Instant>,
}

impl Fota {
    pub(super) fn new(habits: FotaHabits, runs: String, target: Option<String>) -> Self {
        Self {
            habits,
            runs,
            target,
            state: State::Idle,
            result: 0,
            source: None,
            image: Image::default(),
            is_spoilt: false,
            transfer: None,
            state_watch: None,
            result_watch: None,
            unacknowledged: 0,
            restarts_at: None,
        }
    }

    pub(super) fn runs(&self) -> &str {
        &self.runs
    }

    pub(super) const fn state(&self) -> (State, u8) {
        (self.state, self.result)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.state != State::Idle
    }

    pub(super) const fn image(&self) -> &Image {
        &self.image
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let fetch = self.transfer.as_ref().and_then(Transfer::due);
        fetch.into_iter().chain(self.restarts_at).min()
    }

    pub(super) fn tick(&mut self, now: Instant, common: &mut Common) {
        if self.restarts_at.is_some_and(|at| at <= now) {
            self.restarts_at = None;
            common.power_off(self.habits.boots_for);
            return;
        }
        self.fetch_if_due(now, common);
    }

    /// A request for 5/0.
    pub(super) fn request(
        &mut self,
        now: Instant,
        request: &Request<'_>,
        common: &mut Common,
    ) -> Reply {
        let Ok(resource) = objects::resource(request.path) else {
            return Reply::Answer(Answer::of(message::NOT_FOUND));
        };
        match (request.code, resource) {
            (message::GET, _) => Reply::Answer(self.read(request, resource, common)),
            (message::PUT | message::POST, Some(0)) => self.take_package(request, common),
            (message::PUT, Some(1)) => self.take_uri(now, request, common),
            (message::POST, Some(2)) => self.execute(now, request, common),
            (message::POST, Some(10)) => Reply::Answer(Answer::of(self.cancel(common))),
            _ => Reply::Answer(Answer::of(message::NOT_ALLOWED)),
        }
    }

    fn read(&mut self, request: &Request<'_>, resource: Option<u8>, common: &Common) -> Answer {
        if matches!(resource, Some(0..=2 | 10)) {
            return Answer::of(message::NOT_ALLOWED);
        }
        let mut answer = objects::read(&self.values(common), resource, request.accept);
        let watch = match resource {
            Some(STATE) => &mut self.state_watch,
            Some(RESULT) => &mut self.result_watch,
            _ => return answer,
        };
        match request.observe {
            Some(0) if message::is_success(answer.code) => {
                let (token, sequence) = (request.token.to_vec(), 1);
                answer.observe = Some(sequence);
                *watch = Some(Watch { token, sequence });
            }
            Some(_) => *watch = None,
            None => {}
        }
        answer
    }

    fn values(&self, common: &Common) -> Vec<(u8, Value)> {
        let delivery = match self.habits.delivery {
            Delivery::Pull => 0,
            Delivery::Push => 1,
            Delivery::Both => 2,
        };
        let version = common.mischief.claimed(&self.runs).to_owned();
        vec![
            (STATE, Value::Number(i64::from(self.state as u8))),
            (RESULT, Value::Number(i64::from(self.result))),
            (6, Value::Text("firmware".to_owned())),
            (7, Value::Text(version)),
            (8, Value::Numbers(vec![0, 1])),
            (9, Value::Number(delivery)),
        ]
    }

    fn execute(&mut self, now: Instant, request: &Request<'_>, common: &mut Common) -> Reply {
        if !request.payload.is_empty() {
            return Reply::Answer(Answer::of(message::BAD_REQUEST));
        }
        if self.state != State::Downloaded {
            common.record.early += 1;
            return Reply::Answer(Answer::of(message::NOT_ALLOWED));
        }
        match common.reach(Step::Executed) {
            Going::On => {}
            Going::Refuse(result) => {
                common.note_failed(result);
                self.result = self.said(result);
                self.notify(STATE, 1, common);
                return Reply::Answer(Answer::of(message::CHANGED));
            }
            Going::Silent | Going::Off(_) => return Reply::Silence,
        }
        let version = self.image.version().or_else(|| self.target.clone());
        common.note_executed(&self.image, version);
        self.enter(State::Updating, 0, common);
        self.restarts_at = Some(now + self.habits.reboot_after + common.mischief.lateness());
        Reply::Answer(Answer::of(message::CHANGED))
    }

    fn cancel(&mut self, common: &mut Common) -> u8 {
        match self.state {
            State::Downloading | State::Downloaded => {
                self.forget_download();
                self.enter(State::Idle, CANCELLED, common);
                message::CHANGED
            }
            State::Idle | State::Updating => message::NOT_ALLOWED,
        }
    }

    /// Back to the beginning, as an empty URI or package has it.
    fn reset(&mut self, common: &mut Common) {
        self.forget_download();
        if self.state != State::Idle || self.result != 0 {
            self.enter(State::Idle, 0, common);
        }
    }

    fn forget_download(&mut self) {
        self.transfer = None;
        self.source = None;
        self.is_spoilt = false;
        self.image.clear();
    }

    /// All of the package is there.
    fn complete(&mut self, common: &mut Common) {
        self.transfer = None;
        let going = if std::mem::take(&mut self.is_spoilt) {
            Going::Refuse(INTEGRITY)
        } else {
            common.note_downloaded(&self.image);
            common.reach(Step::Downloaded)
        };
        match going {
            Going::On => self.enter(State::Downloaded, 0, common),
            Going::Refuse(result) => {
                self.fail(result, common);
                self.forget_download();
            }
            // What it has is there when the power is back.
            Going::Silent | Going::Off(_) => self.state = State::Downloaded,
        }
    }

    /// A download comes to nothing. What is there stays for the same URI.
    fn fail(&mut self, result: u8, common: &mut Common) {
        common.note_failed(result);
        self.transfer = None;
        let said = self.said(result);
        self.enter(State::Idle, said, common);
    }

    /// How the device calls a result.
    const fn said(&self, result: u8) -> u8 {
        if self.habits.reports_eight {
            FAILED
        } else {
            result
        }
    }

    /// Enters a state with a result, and notifies who watches.
    fn enter(&mut self, state: State, result: u8, common: &mut Common) {
        let changed = self.result != result;
        self.state = state;
        self.result = result;
        if changed {
            self.notify(RESULT, 1, common);
        }
        self.notify(STATE, 1, common);
    }

    fn notify(&mut self, resource: u8, times: u8, common: &mut Common) {
        let (watch, value) = match resource {
            STATE => (&mut self.state_watch, self.state as u8),
            _ => (&mut self.result_watch, self.result),
        };
        let Some(watch) = watch else {
            return;
        };
        if common.mischief.is_silent() {
            return;
        }
        for _ in 0..times {
            watch.sequence = (watch.sequence + 1) & 0x00ff_ffff;
            if resource == STATE {
                self.unacknowledged += 1;
            }
            common.send(Output::Notice(Notice {
                resource,
                token: watch.token.clone(),
                sequence: watch.sequence,
                payload: Value::Number(i64::from(value)).tlv(resource),
            }));
        }
    }

    /// A notification has come to its end; a reset to it ends the observation.
    pub(super) fn settled(&mut self, notice: &Notice, end: NoticeEnd, common: &mut Common) {
        let is_state = notice.resource == STATE;
        if is_state {
            self.unacknowledged = self.unacknowledged.saturating_sub(1);
        }
        let watch = match is_state {
            true => &mut self.state_watch,
            false => &mut self.result_watch,
        };
        let is_current = watch.as_ref().is_some_and(|w| w.token == notice.token);
        match end {
            NoticeEnd::Taken => {
                let is_result = is_state && self.state == State::Idle && self.result == SUCCESS;
                if is_result {
                    common.tell(Event::Confirmed);
                }
            }
            NoticeEnd::Refused if is_current => *watch = None,
            NoticeEnd::Refused | NoticeEnd::Lost => {}
        }
    }

    /// Its memory is gone but for state, image, URI and the token of the state.
    pub(super) fn lose_power(&mut self) {
        self.unacknowledged = 0;
        self.result_watch = None;
        self.restarts_at = None;
        if let Some(transfer) = &mut self.transfer {
            transfer.stop();
        }
    }

    /// It has started: tells once where it stands.
    pub(super) fn start(&mut self, now: Instant, common: &mut Common) {
        match self.state {
            State::Idle => {}
            State::Downloading if self.habits.continues && self.transfer.is_some() => {
                common.record.resumed += 1;
                if let Some(transfer) = &mut self.transfer {
                    transfer.ask_at(now);
                }
            }
            State::Downloading => {
                // What a server pushed, it pushes again from its beginning.
                if self.source.is_none() {
                    self.image.clear();
                }
                self.fail(CONNECTION_LOST, common);
            }
            State::Downloaded => self.notify(STATE, 1, common),
            State::Updating => self.install(common),
        }
    }

    fn install(&mut self, common: &mut Common) {
        let refused = match common.reach(Step::Installed) {
            Going::Off(_) => return,
            Going::Refuse(result) => Some(result),
            Going::On | Going::Silent => None,
        };
        if let Some(result) = refused {
            common.note_failed(result);
            self.state = State::Downloaded;
            self.result = self.said(result);
        } else {
            if !common.mischief.keeps_old() {
                let version = self.image.version().or_else(|| self.target.clone());
                // An image that says nothing of itself is known by its hash.
                self.runs = version.unwrap_or_else(|| short_hash(&self.image));
                common.note_installed(&self.runs);
            }
            self.forget_download();
            self.state = State::Idle;
            self.result = SUCCESS;
        }
        common.record.reports += 1;
        self.notify(STATE, common.mischief.results(), common);
    }
}

/// What became of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeEnd {
    Taken,
    /// Answered with a reset.
    Refused,
    /// Never answered.
    Lost,
}

fn short_hash(image: &Image) -> String {
    let hash = image.hash();
    let start = hash.iter().take(4);
    start.map(|b| format!("{b:02x}")).collect()
}
