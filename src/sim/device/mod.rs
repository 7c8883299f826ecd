//! One simulated device as a state machine: no socket, no clock, its chance from a seed.
//!
//! ```text
//! report()/update()/deregister()/receive()/tick() -> queue -> pending (one at a time, NSTART = 1)
//!                                                          -> transmit() datagrams, event()
//! ```
//!
//! Three kinds: LwM2M (registers at `/rd`, is observed on 19/0/0, takes writes on 19/1/0), raw CoAP
//! (`POST /t/r`, then `POST /t/d`) and raw CoAP observed on `/t/d`. Reports wait for registration
//! and observation; a reset takes the observation away and the report goes once more after the
//! next one; 4.04 to an update makes it register anew. How it treats commands is its [`Conduct`], which may
//! be a bad one; what it executed is in its [`Ledger`]. How it upgrades is its [`Upgrader`], see
//! `upgrading`. Times are `Instant`, handed in; the caller
//! drains [`Device::transmit`] and [`Device::event`] after each call and calls [`Device::tick`]
//! at [`Device::deadline`]. Failures are events, never errors (RFC 7252 §4, RFC 7641, LwM2M 1.0-1.2
//! registration interface).

mod conduct;
mod downlink;
mod event;
mod incoming;
mod ledger;
mod sending;
mod settings;
mod task;
#[cfg(test)]
pub(crate) mod tests;
mod upgrading;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub use conduct::{Answer, Conduct, Receipt, SZX_MAX};
use downlink::{Body, Known, Owed};
pub use event::{Event, Failure, ReportId};
pub use ledger::{EXECUTIONS_MAX, Execution, Ledger};
pub use settings::{Binding, Kind, Settings, Timing, Version, Wakes};
use task::{AnswerMessage, Origin, Pending, Report, Task};
use upgrading::Power;

use super::upgrade::Upgrader;

/// Tasks that wait at most; a report beyond it fails at once.
const QUEUE_MAX: usize = 64;
/// Unconfirmed notifications kept for a reset.
const RECENT_MAX: usize = 16;
/// How long a report waits for the server's observation, and an answer for its separate response.
const PATIENCE: Duration = Duration::from_secs(60);
/// Registrations tried in a row before the waiting reports fail.
const REGISTER_TRIES: u32 = 4;

#[derive(Debug)]
struct Registration {
    location: String,
    renew_at: Instant,
}

#[derive(Debug)]
struct Observation {
    token: Vec<u8>,
    /// Observe option of the next notification (24 bits).
    sequence: u32,
}

/// What an application makes of a downlink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reaction {
    Nothing,
    /// The command's answer; how and when it goes is the device's conduct.
    Answer(Vec<u8>),
    /// A report at once, such as of a property that was set.
    Report(Vec<u8>),
}

/// Takes the bytes of a downlink.
type Application = Box<dyn FnMut(&[u8]) -> Reaction + Send + Sync>;

/// The device. See the module's documentation for how to drive it.
pub struct Device {
    settings: Settings,
    rng: fastrand::Rng,
    next_msg_id: u16,
    next_report: ReportId,
    registration: Option<Registration>,
    register_failures: u32,
    observation: Option<Observation>,
    queue: VecDeque<Task>,
    pending: Option<Pending>,
    /// The server asked for patience (5.03), or the last registration failed.
    not_before: Option<Instant>,
    known: VecDeque<Known>,
    owed: VecDeque<Owed>,
    body: Option<Body>,
    unconfirmed: VecDeque<(u16, Report)>,
    application: Option<Application>,
    executed: Ledger,
    upgrader: Option<Box<Upgrader>>,
    power: Power,
    /// When the radio went on last.
    woke_at: Option<Instant>,
    /// An upgrade waits for the radio.
    is_suspended: bool,
    /// When it reports by itself.
    next_wake: Option<Instant>,
    /// Last message in or out.
    active_at: Option<Instant>,
    outgoing: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
}

impl Device {
    pub fn new(mut settings: Settings) -> Self {
        // The registration still says which objects there are.
        let upgrader = settings.upgrade.clone().map(|h| Box::new(Upgrader::new(h)));
        if let Some(habits) = &mut settings.upgrade {
            habits.expected = None;
        }
        let is_dead = upgrader.as_ref().is_some_and(|u| u.is_dead());
        let mut rng = fastrand::Rng::with_seed(settings.seed);
        Self {
            next_msg_id: rng.u16(..),
            rng,
            settings,
            next_report: 1,
            registration: None,
            register_failures: 0,
            observation: None,
            queue: VecDeque::new(),
            pending: None,
            not_before: None,
            known: VecDeque::new(),
            owed: VecDeque::new(),
            body: None,
            unconfirmed: VecDeque::new(),
            application: None,
            executed: Ledger::default(),
            upgrader,
            power: if is_dead { Power::Off(None) } else { Power::On },
            woke_at: None,
            is_suspended: false,
            next_wake: None,
            active_at: None,
            outgoing: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Answers each downlink with the bytes that `responder` makes of it.
    #[must_use]
    pub fn with_responder(
        self,
        mut responder: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        self.with_application(move |bytes| {
            responder(bytes).map_or(Reaction::Nothing, Reaction::Answer)
        })
    }

    /// Hands each downlink that is executed to `application`.
    #[must_use]
    pub fn with_application(
        mut self,
        application: impl FnMut(&[u8]) -> Reaction + Send + Sync + 'static,
    ) -> Self {
        self.set_application(application);
        self
    }

    /// The same from now on.
    pub fn set_application(
        &mut self,
        application: impl FnMut(&[u8]) -> Reaction + Send + Sync + 'static,
    ) {
        self.application = Some(Box::new(application));
    }

    /// Behaves like this from now on.
    pub const fn set_conduct(&mut self, conduct: Conduct) {
        self.settings.conduct = conduct;
    }

    /// What the application executed. It outlives reboots, as a log on the bench would.
    pub const fn executed(&self) -> &Ledger {
        &self.executed
    }

    /// Registers, also when registered already (a reboot).
    pub fn register(&mut self, now: Instant) {
        if self.is_dead() {
            return;
        }
        self.wake_radio(now);
        if let (Some(wakes), None) = (&self.settings.wakes, self.next_wake) {
            self.next_wake = Some(now + wakes.period);
        }
        self.queue.push_front(Task::Register);
        self.pump(now);
    }

    /// Sends `payload` as soon as the device is registered and, where its kind needs it, observed.
    pub fn report(&mut self, now: Instant, payload: Vec<u8>, confirmable: bool) -> ReportId {
        let id = self.next_report;
        self.next_report += 1;
        if self.queue.len() >= QUEUE_MAX {
            let failure = Failure::QueueFull;
            self.events.push_back(Event::Failed {
                report: id,
                failure,
            });
            return id;
        }
        self.wake_radio(now);
        // `POST /t/d` has an answer either way.
        let confirmable = confirmable || self.settings.kind == Kind::Raw;
        let report = Report::new(Origin::Own(id), payload, confirmable);
        self.queue.push_back(Task::Report(report));
        self.pump(now);
        id
    }

    /// Renews the registration now instead of at half its lifetime.
    pub fn update(&mut self, now: Instant) {
        self.queue.push_back(Task::Update);
        self.pump(now);
    }

    pub fn deregister(&mut self, now: Instant) {
        self.queue.push_back(Task::Deregister);
        self.pump(now);
    }

    /// Loses its memory, as by power or watchdog: what waits, is under way or was recognised. It
    /// registers anew; its observation stays where its conduct keeps that.
    pub fn reboot(&mut self, now: Instant) {
        if self.is_off() {
            return;
        }
        self.lose_memory();
        if let Some(upgrader) = &mut self.upgrader {
            upgrader.start(now);
        }
        self.register(now);
    }

    fn lose_memory(&mut self) {
        self.events.push_back(Event::Rebooted);
        let pending = self.pending.take().map(|p| p.task);
        for task in pending.into_iter().chain(std::mem::take(&mut self.queue)) {
            self.drop_task(&task, Failure::Rebooted);
        }
        if !self.settings.conduct.keeps_observation {
            self.observation = None;
        }
        self.registration = None;
        self.register_failures = 0;
        self.not_before = None;
        self.known.clear();
        self.owed.clear();
        self.body = None;
        self.unconfirmed.clear();
        self.outgoing.clear();
        self.next_msg_id = self.rng.u16(..);
        self.is_suspended = false;
        if let Some(upgrader) = &mut self.upgrader {
            upgrader.lose_power();
        }
    }

    /// False while the radio is off: then whatever is sent to the device is lost. It listens for a
    /// while after each message, and as long as something of its own is under way.
    pub fn is_listening(&self, now: Instant) -> bool {
        if self.is_off() || (self.is_suspended && self.is_idle()) {
            return false;
        }
        let Some(awake) = self.settings.conduct.awake else {
            return true;
        };
        !self.is_idle() || self.active_at.is_some_and(|at| now < at + awake)
    }

    /// The next datagram to send.
    pub fn transmit(&mut self) -> Option<Vec<u8>> {
        self.outgoing.pop_front()
    }

    pub fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// A new session stands: tells an LwM2M server by an update, so that it sends what waits (LwM2M
    /// 1.1 core §6.2.2); a registration that waits already says the same.
    pub fn reconnected(&mut self, now: Instant) {
        if self.settings.kind == Kind::Lwm2m && self.is_registered() {
            self.update(now);
        }
    }

    pub const fn is_registered(&self) -> bool {
        self.registration.is_some()
    }

    /// Nothing is under way or waits, so the radio may go off.
    pub fn is_idle(&self) -> bool {
        self.pending.is_none() && self.queue.is_empty()
    }

    /// A receipt or an answer waits for its time.
    pub fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// When [`Device::tick`] is next due. Derived from the state.
    pub fn deadline(&self) -> Option<Instant> {
        if let Power::Off(until) = self.power {
            return until;
        }
        let owed = self.owed.iter().map(|owed| owed.at);
        let others = [self.own_deadline(), self.next_wake, self.upgrade_deadline()];
        owed.chain(others.into_iter().flatten()).min()
    }

    fn own_deadline(&self) -> Option<Instant> {
        if let Some(pending) = &self.pending {
            return Some(pending.deadline);
        }
        let patience = match self.queue.front() {
            Some(Task::Report(report)) => report.waiting_since.map(|at| at + PATIENCE),
            Some(_) => self.not_before,
            None if self.settings.kind == Kind::Lwm2m => {
                self.registration.as_ref().map(|r| r.renew_at)
            }
            None => None,
        };
        patience.into_iter().chain(self.not_before).min()
    }

    /// Advances what is due at `now`.
    pub fn tick(&mut self, now: Instant) {
        match self.power {
            Power::Off(Some(until)) if now >= until => self.power_on(now),
            Power::Off(_) => return,
            Power::On => {}
        }
        self.report_if_due(now);
        if let Some(pending) = self.pending.take_if(|p| now >= p.deadline) {
            self.overdue(now, pending);
        }
        let renew = self
            .registration
            .as_ref()
            .is_some_and(|r| now >= r.renew_at);
        if renew && self.is_idle() && self.settings.kind == Kind::Lwm2m {
            self.queue.push_back(Task::Update);
        }
        self.pump(now);
    }

    /// What it reports by itself.
    fn report_if_due(&mut self, now: Instant) {
        let Some(wakes) = &self.settings.wakes else {
            return;
        };
        if let Some(at) = self.next_wake.filter(|at| *at <= now) {
            let next = at + wakes.period;
            self.next_wake = Some(next.max(now + Duration::from_millis(1)));
            let payload = wakes.payload.clone();
            self.report(now, payload, true);
        }
    }

    fn overdue(&mut self, now: Instant, mut pending: Pending) {
        let over = pending.retransmits >= self.settings.timing.max_retransmit;
        if pending.acknowledged || over {
            if !pending.acknowledged {
                self.events.push_back(Event::Unanswered);
            }
            self.fail(now, pending.task, Failure::Timeout);
            return;
        }
        pending.retransmits += 1;
        pending.timeout *= 2;
        pending.deadline = now + pending.timeout;
        self.outgoing.push_back(pending.datagram.clone());
        self.events.push_back(Event::Retransmitted);
        self.pending = Some(pending);
    }

    /// Sends what may be sent now.
    fn pump(&mut self, now: Instant) {
        if self.is_off() {
            return;
        }
        self.pump_upgrade(now);
        self.pay_due(now);
        self.pump_queue(now);
        // What came to nothing may make the upgrade say something.
        self.pump_upgrade(now);
        self.pump_queue(now);
        if !self.outgoing.is_empty() {
            self.active_at = Some(now);
        }
    }

    fn pump_queue(&mut self, now: Instant) {
        if self.not_before.is_some_and(|at| now < at) {
            return;
        }
        self.not_before = None;
        while self.pending.is_none() {
            let Some(task) = self.queue.pop_front() else {
                return;
            };
            let is_free = matches!(task, Task::Register | Task::Answer(_));
            if self.registration.is_none() && !is_free {
                self.queue.push_front(task);
                self.queue.push_front(Task::Register);
                continue;
            }
            if !self.send(now, task) {
                return;
            }
        }
    }
}
