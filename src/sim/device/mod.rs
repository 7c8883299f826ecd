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
//! next one; 4.04 to an update makes it register anew. Times are `Instant`, handed in; the caller
//! drains [`Device::transmit`] and [`Device::event`] after each call and calls [`Device::tick`]
//! at [`Device::deadline`]. Failures are events, never errors (RFC 7252 §4, RFC 7641, LwM2M 1.0-1.2
//! registration interface).

mod event;
mod incoming;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use coap_lite::{CoapOption, MessageType};

use super::message::{self, Draft};
pub use event::{Event, Failure, ReportId};
pub use settings::{Binding, Kind, Settings, Timing, Version};

/// Tasks that wait at most; a report beyond it fails at once.
const QUEUE_MAX: usize = 64;
/// Answers kept to recognise repeated requests, and unconfirmed notifications kept for a reset.
const RECENT_MAX: usize = 16;
/// How long a report waits for the server's observation, and an answer for its separate response.
const PATIENCE: Duration = Duration::from_secs(60);
/// Registrations tried in a row before the waiting reports fail.
const REGISTER_TRIES: u32 = 4;

#[derive(Debug, Clone)]
struct Report {
    id: ReportId,
    payload: Vec<u8>,
    confirmable: bool,
    sent: bool,
    resets: u32,
    /// Since when it waits for the server's observation.
    waiting_since: Option<Instant>,
}

#[derive(Debug, Clone)]
enum Task {
    Register,
    Update,
    Deregister,
    Report(Report),
}

/// A confirmable message that waits for its acknowledgement or answer.
#[derive(Debug)]
struct Pending {
    task: Task,
    msg_id: u16,
    token: Vec<u8>,
    datagram: Vec<u8>,
    retransmits: u32,
    timeout: Duration,
    deadline: Instant,
    /// An empty acknowledgement came: the answer follows separately.
    acknowledged: bool,
}

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

/// Turns a downlink's bytes into the bytes of an answering report.
type Responder = Box<dyn FnMut(&[u8]) -> Option<Vec<u8>> + Send + Sync>;

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
    answered: VecDeque<(u16, Vec<u8>)>,
    unconfirmed: VecDeque<(u16, Report)>,
    responder: Option<Responder>,
    outgoing: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
}

impl Device {
    pub fn new(settings: Settings) -> Self {
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
            answered: VecDeque::new(),
            unconfirmed: VecDeque::new(),
            responder: None,
            outgoing: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Answers each downlink with the report that `responder` makes of it.
    #[must_use]
    pub fn with_responder(
        mut self,
        responder: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        self.responder = Some(Box::new(responder));
        self
    }

    /// Registers, also when registered already (a reboot).
    pub fn register(&mut self, now: Instant) {
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
        self.queue.push_back(Task::Report(Report {
            id,
            payload,
            // `POST /t/d` has an answer either way.
            confirmable: confirmable || self.settings.kind == Kind::Raw,
            sent: false,
            resets: 0,
            waiting_since: None,
        }));
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

    /// When [`Device::tick`] is next due. Derived from the state.
    pub fn deadline(&self) -> Option<Instant> {
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
        if self.not_before.is_some_and(|at| now < at) {
            return;
        }
        self.not_before = None;
        while self.pending.is_none() {
            let Some(task) = self.queue.pop_front() else {
                return;
            };
            if self.registration.is_none() && !matches!(task, Task::Register) {
                self.queue.push_front(task);
                self.queue.push_front(Task::Register);
                continue;
            }
            if !self.send(now, task) {
                return;
            }
        }
    }

    /// Sends one task; false when it went back to the queue's front to wait for an observation.
    fn send(&mut self, now: Instant, task: Task) -> bool {
        match task {
            Task::Report(report) if self.settings.kind != Kind::Raw => self.notify(now, report),
            Task::Register | Task::Update | Task::Deregister | Task::Report(_) => {
                self.request(now, task);
                true
            }
        }
    }

    fn notify(&mut self, now: Instant, mut report: Report) -> bool {
        let msg_id = self.take_msg_id();
        let Some(observation) = &mut self.observation else {
            let since = *report.waiting_since.get_or_insert(now);
            if now >= since + PATIENCE {
                self.fail(now, Task::Report(report), Failure::NotObserved);
                return true;
            }
            self.queue.push_front(Task::Report(report));
            return false;
        };
        observation.sequence = (observation.sequence + 1) & 0x00ff_ffff;
        let kind = if report.confirmable {
            MessageType::Confirmable
        } else {
            MessageType::NonConfirmable
        };
        let (format, body) = self.settings.wrap(&report.payload);
        let token = observation.token.clone();
        let draft = Draft::new(kind, message::CONTENT, msg_id)
            .token(&token)
            .uint(CoapOption::Observe, observation.sequence)
            .uint(CoapOption::ContentFormat, u32::from(format))
            .payload(&body);
        let Ok(datagram) = draft.bytes() else {
            self.fail(now, Task::Report(report), Failure::TooLong);
            return true;
        };
        self.note_sent(&mut report);
        if report.confirmable {
            self.await_answer(now, Task::Report(report), msg_id, token, datagram);
        } else {
            self.outgoing.push_back(datagram);
            self.unconfirmed.push_back((msg_id, report));
            if self.unconfirmed.len() > RECENT_MAX {
                self.unconfirmed.pop_front();
            }
        }
        true
    }

    fn request(&mut self, now: Instant, mut task: Task) {
        let msg_id = self.take_msg_id();
        let token = self.rng.u32(..).to_be_bytes().to_vec();
        let location = self.registration.as_ref().map_or("", |r| &r.location);
        let draft = match &task {
            Task::Register => self.settings.registration(msg_id),
            Task::Update => {
                Draft::new(MessageType::Confirmable, message::POST, msg_id).path(location)
            }
            Task::Deregister => {
                Draft::new(MessageType::Confirmable, message::DELETE, msg_id).path(location)
            }
            Task::Report(report) => Draft::new(MessageType::Confirmable, message::POST, msg_id)
                .path("t/d")
                .uint(CoapOption::ContentFormat, u32::from(message::FORMAT_OPAQUE))
                .payload(&report.payload),
        };
        let Ok(datagram) = draft.token(&token).bytes() else {
            self.fail(now, task, Failure::TooLong);
            return;
        };
        match &mut task {
            // The next observation belongs to the new registration. It may overtake the answer, so
            // the old one ends here. The raw client keeps its token over reboots.
            Task::Register if self.settings.kind == Kind::Lwm2m => self.observation = None,
            Task::Report(report) => self.note_sent(report),
            Task::Register | Task::Update | Task::Deregister => {}
        }
        self.await_answer(now, task, msg_id, token, datagram);
    }

    fn note_sent(&mut self, report: &mut Report) {
        if !std::mem::replace(&mut report.sent, true) {
            self.events.push_back(Event::Sent {
                report: report.id,
                payload: report.payload.clone(),
                confirmable: report.confirmable,
            });
        }
    }

    fn await_answer(
        &mut self,
        now: Instant,
        task: Task,
        msg_id: u16,
        token: Vec<u8>,
        datagram: Vec<u8>,
    ) {
        let spread = 1.0 + self.rng.f64() / 2.0; // ACK_RANDOM_FACTOR 1.5
        let timeout = self.settings.timing.ack_timeout.mul_f64(spread);
        self.outgoing.push_back(datagram.clone());
        self.pending = Some(Pending {
            task,
            msg_id,
            token,
            datagram,
            retransmits: 0,
            timeout,
            deadline: now + timeout,
            acknowledged: false,
        });
    }

    fn take_msg_id(&mut self) -> u16 {
        self.next_msg_id = self.next_msg_id.wrapping_add(1);
        self.next_msg_id
    }

    /// Ends a task that came to nothing.
    fn fail(&mut self, now: Instant, task: Task, failure: Failure) {
        match task {
            Task::Register => self.fail_registration(now, failure),
            Task::Update => {
                // Whatever the reason, the server may have forgotten the device.
                if failure == Failure::Refused(message::NOT_FOUND) {
                    self.events.push_back(Event::Gone);
                }
                self.registration = None;
                self.queue.push_front(Task::Register);
            }
            Task::Deregister => {
                self.registration = None;
                let failure = Some(failure);
                self.events.push_back(Event::Deregistered { failure });
            }
            Task::Report(report) => {
                let id = report.id;
                self.events.push_back(Event::Failed {
                    report: id,
                    failure,
                });
            }
        }
    }

    fn fail_registration(&mut self, now: Instant, failure: Failure) {
        self.registration = None;
        self.register_failures += 1;
        self.events.push_back(Event::RegisterFailed { failure });
        if self.register_failures < REGISTER_TRIES {
            self.queue.push_front(Task::Register);
            self.not_before = Some(now + self.settings.timing.ack_timeout);
            return;
        }
        self.register_failures = 0;
        for task in std::mem::take(&mut self.queue) {
            if let Task::Report(report) = task {
                let failure = Failure::NotRegistered;
                self.events.push_back(Event::Failed {
                    report: report.id,
                    failure,
                });
            }
        }
    }
}
