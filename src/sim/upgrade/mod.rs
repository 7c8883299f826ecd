//! How a simulated device upgrades: software over PCP, firmware over LwM2M object 5, and what it says of itself
//! in objects 3 and 4. It shares no code with the server.
//!
//! ```text
//! downlink on 19/1/0 --take--> Pcp  --Output::Frame--> report
//! requests of 3, 4, 5 --request--> Fota --Output::Notice--> notification, Output::Fetch--> GET with Block2
//! Output::PowerOff: the device loses its power, and with it what is not in its flash
//! ```
//!
//! A state machine without socket or clock: after each call its owner drains [`Upgrader::output`] and
//! [`Upgrader::event`], and calls [`Upgrader::tick`] at [`Upgrader::deadline`]. What it does wrong is its
//! [`Fault`], the same for the same seed; what it went through is its [`Record`]. Sizes in bytes.

mod common;
mod fault;
pub mod fota;
mod image;
mod objects;
pub mod pcp;
mod radio;

use std::time::{Duration, Instant};

use super::message;
use common::Common;
pub use common::{Event, Execution, Fetch, FrameOut, Notice, Output, Record};
pub use fault::{Fault, Step};
use fault::{Going, Mischief};
use fota::{Block, FetchError, Fota, FotaHabits, NoticeEnd};
pub use image::{Expected, Hash, Image};
pub use objects::{Answer, Reply, Request};
use pcp::{Pcp, PcpHabits, Stack, frame};
pub use radio::{CellObject, Radio};

/// Steps of one moment.
const ROUNDS_MAX: u32 = 4;
/// How long a device is off that reboots by itself.
const SELF_REBOOT: Duration = Duration::from_secs(5);

/// What a device that upgrades is like.
#[derive(Debug, Clone)]
pub struct Habits {
    /// `None`: knows no PCP; then its frames are business data.
    pub software: Option<PcpHabits>,
    /// `None`: has no object 5.
    pub firmware: Option<FotaHabits>,
    pub software_version: String,
    pub firmware_version: String,
    /// The firmware that it runs after an upgrade with an image that does not say `version=…` in its
    /// first 64 bytes. Without either it is the start of the image's hash.
    pub firmware_target: Option<String>,
    pub radio: Radio,
    pub fault: Option<Fault>,
    /// The image that it should receive, to compare each piece with.
    pub expected: Option<Expected>,
}

impl Habits {
    /// Upgrades neither; says of itself what others do.
    pub fn new(version: &str) -> Self {
        Self {
            software: None,
            firmware: None,
            software_version: version.to_owned(),
            firmware_version: version.to_owned(),
            firmware_target: None,
            radio: Radio::default(),
            fault: None,
            expected: None,
        }
    }

    /// Upgrades its software over PCP as this stack does.
    pub fn software(stack: Stack, version: &str) -> Self {
        Self {
            software: Some(PcpHabits::new(stack)),
            ..Self::new(version)
        }
    }

    /// Upgrades its firmware over object 5.
    pub fn firmware(version: &str) -> Self {
        Self {
            firmware: Some(FotaHabits::default()),
            ..Self::new(version)
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Upgrader {
    common: Common,
    pcp: Option<Pcp>,
    fota: Option<Fota>,
    software_version: String,
    firmware_version: String,
    radio: Radio,
    /// When it reboots by itself, as its fault is.
    reboots_at: Option<Instant>,
}

impl Upgrader {
    pub fn new(habits: Habits) -> Self {
        let Habits {
            software_version,
            firmware_version,
            ..
        } = habits;
        let pcp = habits
            .software
            .map(|h| Pcp::new(h, software_version.clone()));
        let target = habits.firmware_target;
        let fota = habits
            .firmware
            .map(|h| Fota::new(h, firmware_version.clone(), target));
        Self {
            common: Common::new(Mischief::new(habits.fault), habits.expected),
            pcp,
            fota,
            software_version,
            firmware_version,
            radio: habits.radio,
            reboots_at: None,
        }
    }

    /// True for a device that never says anything.
    pub fn is_dead(&self) -> bool {
        self.fault() == Some(&Fault::NeverOnline)
    }

    pub const fn fault(&self) -> Option<&Fault> {
        self.common.mischief.fault()
    }

    /// Expects another image from the next download on.
    pub fn expect(&mut self, image: Option<Expected>) {
        self.common.expected = image;
    }

    /// Moves to another place in the network.
    pub const fn set_radio(&mut self, radio: Radio) {
        self.radio = radio;
    }

    pub const fn radio(&self) -> &Radio {
        &self.radio
    }

    /// The software that really runs, whatever the device says.
    pub fn software_version(&self) -> &str {
        self.pcp.as_ref().map_or(&self.software_version, Pcp::runs)
    }

    /// The firmware that really runs, whatever the device says.
    pub fn firmware_version(&self) -> &str {
        self.fota
            .as_ref()
            .map_or(&self.firmware_version, Fota::runs)
    }

    /// State and result of object 5.
    pub fn firmware_state(&self) -> Option<(fota::State, u8)> {
        self.fota.as_ref().map(Fota::state)
    }

    /// An upgrade is under way.
    pub fn is_busy(&self) -> bool {
        self.pcp.as_ref().is_some_and(Pcp::is_busy) || self.fota.as_ref().is_some_and(Fota::is_busy)
    }

    /// The software image under way; what is done is in the record.
    pub fn software_image(&self) -> Option<&Image> {
        self.pcp.as_ref().and_then(Pcp::image)
    }

    /// The firmware image that is there so far.
    pub fn firmware_image(&self) -> Option<&Image> {
        self.fota.as_ref().map(Fota::image)
    }

    pub const fn record(&self) -> &Record {
        &self.common.record
    }

    /// A downlink is a frame of PCP, and no business data.
    pub fn is_frame(&self, bytes: &[u8]) -> bool {
        self.pcp.is_some() && frame::is_frame(bytes)
    }

    /// Takes a downlink; false when it is business data.
    pub fn take(&mut self, now: Instant, bytes: &[u8]) -> bool {
        let Some(pcp) = self.pcp.as_mut().filter(|_| frame::is_frame(bytes)) else {
            return false;
        };
        pcp.take(now, bytes, &mut self.common);
        true
    }

    /// A request of the server for a path of object 3, 4 or 5; others are foreign.
    pub fn request(&mut self, now: Instant, request: &Request<'_>) -> Reply {
        let object = request.path.split('/').next().unwrap_or_default();
        let mut reply = match object {
            "3" => self.read_device(request),
            "4" => self.read_cell(request),
            "5" => match &mut self.fota {
                Some(fota) => fota.request(now, request, &mut self.common),
                None => return Reply::Foreign,
            },
            _ => return Reply::Foreign,
        };
        if self.common.mischief.is_silent() {
            return Reply::Silence;
        }
        if let Reply::Answer(answer) = &mut reply {
            answer.after = self.common.mischief.lateness();
        }
        reply
    }

    fn read_device(&mut self, request: &Request<'_>) -> Reply {
        let resource = match (request.code, objects::resource(request.path)) {
            (message::GET, Ok(resource)) => resource,
            (message::GET, Err(())) => return Reply::Answer(Answer::of(message::NOT_FOUND)),
            _ => return Reply::Answer(Answer::of(message::NOT_ALLOWED)),
        };
        if matches!(resource, None | Some(3)) {
            match self.common.reach(Step::Asked) {
                Going::On => {}
                Going::Refuse(_) => return Reply::Answer(Answer::of(message::NOT_FOUND)),
                Going::Silent | Going::Off(_) => return Reply::Silence,
            }
        }
        let mischief = &self.common.mischief;
        let firmware = mischief.claimed(self.firmware_version());
        let software = mischief.claimed(self.software_version());
        let values = objects::device(firmware, software);
        Reply::Answer(objects::read(&values, resource, request.accept))
    }

    fn read_cell(&self, request: &Request<'_>) -> Reply {
        Reply::Answer(match (request.code, objects::resource(request.path)) {
            (message::GET, Ok(resource)) => self.radio.read(resource, request.accept),
            (message::GET, Err(())) => Answer::of(message::NOT_FOUND),
            _ => Answer::of(message::NOT_ALLOWED),
        })
    }

    /// A notification has come to its end.
    pub fn settled(&mut self, notice: &Notice, end: NoticeEnd) {
        if let Some(fota) = &mut self.fota {
            fota.settled(notice, end, &mut self.common);
        }
    }

    /// What became of the request for a block.
    pub fn fetched(&mut self, now: Instant, outcome: Result<Block<'_>, FetchError>) {
        if let Some(fota) = &mut self.fota {
            fota.fetched(now, outcome, &mut self.common);
        }
    }

    /// When [`Upgrader::tick`] is due. Derived from the state.
    pub fn deadline(&self) -> Option<Instant> {
        let machines = [
            self.pcp.as_ref().and_then(Pcp::deadline),
            self.fota.as_ref().and_then(Fota::deadline),
            self.common.deadline(),
            self.reboots_at,
        ];
        machines.into_iter().flatten().min()
    }

    /// Does what is due at `now`; to be called after everything that came, too.
    pub fn tick(&mut self, now: Instant) {
        self.common.send_late(now);
        let after = self.common.mischief.reboots_after();
        self.reboots_at = match (self.is_busy(), self.reboots_at, after) {
            (true, None, Some(after)) => Some(now + after),
            (true, at, Some(_)) => at,
            _ => None,
        };
        if self.reboots_at.take_if(|at| *at <= now).is_some() {
            self.common.mischief.note_reboot();
            self.common.power_off(SELF_REBOOT);
            return;
        }
        // What came to nothing is told at once.
        for _ in 0..ROUNDS_MAX {
            if let Some(pcp) = &mut self.pcp {
                pcp.tick(now, &mut self.common);
            }
            if let Some(fota) = &mut self.fota {
                fota.tick(now, &mut self.common);
            }
            let is_due = self.deadline().is_some_and(|at| at <= now);
            if !is_due || self.common.loses_power() {
                break;
            }
        }
    }

    /// Its power goes: what is not in its flash is lost.
    pub fn lose_power(&mut self) {
        self.common.lose_power();
        self.common.record.power_losses += 1;
        self.reboots_at = None;
        if let Some(pcp) = &mut self.pcp {
            pcp.lose_power();
        }
        if let Some(fota) = &mut self.fota {
            fota.lose_power();
        }
    }

    /// It has started again.
    pub fn start(&mut self, now: Instant) {
        if let Some(pcp) = &mut self.pcp {
            pcp.start(now, &mut self.common);
        }
        if let Some(fota) = &mut self.fota {
            fota.start(now, &mut self.common);
        }
    }

    /// Its radio goes off for long: requests under way are given up.
    pub fn pause(&mut self) {
        self.common.outputs.clear();
    }

    /// Its radio is on again: asks for what is still wanted.
    pub fn resume(&mut self, now: Instant) {
        if let Some(fota) = &mut self.fota {
            fota.resume(now);
        }
    }

    /// The next thing to do.
    pub fn output(&mut self) -> Option<Output> {
        self.common.outputs.pop_front()
    }

    pub fn event(&mut self) -> Option<Event> {
        self.common.events.pop_front()
    }
}
