//! How a device sends its own messages, and what becomes of those that come to nothing (RFC 7252
//! §4.2, RFC 7641 §4.5, LwM2M 1.0 §5.3).

use std::time::Instant;

use coap_lite::{CoapOption, MessageType};

use super::PATIENCE;
use super::{
    AnswerMessage, Device, Event, Failure, Kind, Origin, Pending, QUEUE_MAX, RECENT_MAX,
    REGISTER_TRIES, Report, Task,
};
use crate::sim::message::{self, Draft};
use crate::sim::upgrade::fota::NoticeEnd;

impl Device {
    /// Sends one task; false when it went back to the queue's front to wait for an observation.
    pub(super) fn send(&mut self, now: Instant, task: Task) -> bool {
        match task {
            Task::Report(report) if self.settings.kind != Kind::Raw => self.notify(now, report),
            Task::Answer(answer) => {
                self.send_answer(now, answer);
                true
            }
            Task::Fetch(fetch) => {
                self.send_fetch(now, fetch);
                true
            }
            Task::Notice(notice) => {
                self.send_notice(now, notice);
                true
            }
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
                // The server may have forgotten to observe it: the next report begins with a
                // registration.
                self.registration = None;
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

    /// Answers are no requests of the device: they need no registration.
    fn send_answer(&mut self, now: Instant, answer: AnswerMessage) {
        let msg_id = self.take_msg_id();
        let kind = if answer.confirmable {
            MessageType::Confirmable
        } else {
            MessageType::NonConfirmable
        };
        let draft = Draft::new(kind, answer.code, msg_id).token(&answer.token);
        let draft = if answer.payload.is_empty() {
            draft
        } else {
            let format = u32::from(message::FORMAT_OPAQUE);
            draft
                .uint(CoapOption::ContentFormat, format)
                .payload(&answer.payload)
        };
        let Ok(datagram) = draft.bytes() else {
            self.fail(now, Task::Answer(answer), Failure::TooLong);
            return;
        };
        let payload = answer.payload.clone();
        self.events.push_back(Event::AnswerSent { payload });
        if answer.confirmable {
            let token = answer.token.clone();
            self.await_answer(now, Task::Answer(answer), msg_id, token, datagram);
        } else {
            self.outgoing.push_back(datagram);
        }
    }

    /// Puts an answer behind what waits already.
    pub(super) fn enqueue_answer(&mut self, task: Task) {
        if self.queue.len() >= QUEUE_MAX {
            self.drop_task(&task, Failure::QueueFull);
        } else {
            self.queue.push_back(task);
        }
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
            // They are sent elsewhere.
            Task::Answer(_) | Task::Fetch(_) | Task::Notice(_) => return,
        };
        let Ok(datagram) = draft.token(&token).bytes() else {
            self.fail(now, task, Failure::TooLong);
            return;
        };
        match &mut task {
            // The next observation belongs to the new registration. It may overtake the answer, so
            // the old one ends here. The raw client keeps its token over reboots.
            Task::Register
                if self.settings.kind == Kind::Lwm2m
                    && !self.settings.conduct.keeps_observation =>
            {
                self.observation = None;
            }
            Task::Report(report) => self.note_sent(report),
            Task::Register
            | Task::Update
            | Task::Deregister
            | Task::Answer(_)
            | Task::Fetch(_)
            | Task::Notice(_) => {}
        }
        self.await_answer(now, task, msg_id, token, datagram);
    }

    fn note_sent(&mut self, report: &mut Report) {
        if std::mem::replace(&mut report.sent, true) {
            return;
        }
        let payload = report.payload.clone();
        let event = match report.origin {
            Origin::Own(id) => Event::Sent {
                report: id,
                payload,
                confirmable: report.confirmable,
            },
            Origin::Application => Event::AnswerSent { payload },
            Origin::Upgrade => return,
        };
        self.events.push_back(event);
    }

    pub(super) fn tell_acknowledged(&mut self, origin: Origin) {
        let event = match origin {
            Origin::Own(report) => Event::Acknowledged { report },
            Origin::Application => Event::AnswerAcknowledged,
            Origin::Upgrade => return,
        };
        self.events.push_back(event);
    }

    fn tell_failed(&mut self, origin: Origin, failure: Failure) {
        let event = match origin {
            Origin::Own(report) => Event::Failed { report, failure },
            Origin::Application => Event::AnswerFailed { failure },
            // It repeats what matters.
            Origin::Upgrade => return,
        };
        self.events.push_back(event);
    }

    pub(super) fn await_answer(
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

    pub(super) fn take_msg_id(&mut self) -> u16 {
        self.next_msg_id = self.next_msg_id.wrapping_add(1);
        self.next_msg_id
    }

    /// Ends a task that came to nothing.
    pub(super) fn fail(&mut self, now: Instant, task: Task, failure: Failure) {
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
            Task::Report(report) => self.tell_failed(report.origin, failure),
            Task::Answer(_) => self.tell_failed(Origin::Application, failure),
            Task::Fetch(_) => self.fetch_failed(now),
            Task::Notice(notice) => self.notice_settled(&notice, NoticeEnd::Lost),
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
        self.drop_queue(Failure::NotRegistered);
    }

    /// Gives up what waits.
    pub(super) fn drop_queue(&mut self, failure: Failure) {
        for task in std::mem::take(&mut self.queue) {
            self.drop_task(&task, failure);
        }
    }

    pub(super) fn drop_task(&mut self, task: &Task, failure: Failure) {
        match task {
            Task::Report(report) => self.tell_failed(report.origin, failure),
            Task::Answer(_) => self.tell_failed(Origin::Application, failure),
            Task::Notice(notice) => self.notice_settled(notice, NoticeEnd::Lost),
            Task::Register | Task::Update | Task::Deregister | Task::Fetch(_) => {}
        }
    }
}
