//! What a device does with the datagrams it gets: answers to its own messages and resets; requests of
//! the server are in `downlink` (RFC 7252 §4.2, §4.5, §5.2; RFC 7641 §3.6).

use std::time::{Duration, Instant};

use coap_lite::{CoapOption, MessageType, Packet};

use super::{Device, Event, Failure, Kind, Origin, PATIENCE, Pending, Registration, Task};
use crate::sim::message;
use crate::sim::upgrade::fota::NoticeEnd;

impl Device {
    /// Takes one datagram from the server.
    pub fn receive(&mut self, now: Instant, datagram: &[u8]) {
        if self.is_off() {
            return;
        }
        self.active_at = Some(now);
        let Ok(packet) = message::read(datagram) else {
            self.events.push_back(Event::Malformed);
            return;
        };
        let code = message::code(&packet);
        match (packet.header.get_type(), code) {
            (MessageType::Acknowledgement, _) => self.acknowledged(now, &packet, code),
            (MessageType::Reset, _) => self.reset(now, packet.header.message_id),
            (MessageType::Confirmable, 0) => self.send_empty(MessageType::Reset, &packet),
            (MessageType::NonConfirmable, 0) => {}
            (_, 1..=31) => self.requested(now, &packet, code),
            (kind, _) => self.answered_separately(now, &packet, kind, code),
        }
        self.pump(now);
    }

    fn acknowledged(&mut self, now: Instant, packet: &Packet, code: u8) {
        let msg_id = packet.header.message_id;
        let Some(mut pending) = self.pending.take_if(|p| p.msg_id == msg_id) else {
            return;
        };
        if code != 0 {
            self.finish(now, pending, packet, code);
            return;
        }
        match pending.task {
            Task::Report(report) if self.settings.kind != Kind::Raw => {
                self.tell_acknowledged(report.origin);
            }
            Task::Answer(_) => self.tell_acknowledged(Origin::Application),
            Task::Notice(notice) => self.notice_settled(&notice, NoticeEnd::Taken),
            Task::Register | Task::Update | Task::Deregister | Task::Report(_) | Task::Fetch(_) => {
                if !pending.acknowledged {
                    pending.acknowledged = true;
                    pending.deadline = now + PATIENCE;
                }
                self.pending = Some(pending);
            }
        }
    }

    fn answered_separately(&mut self, now: Instant, packet: &Packet, kind: MessageType, code: u8) {
        let own = |p: &mut Pending| {
            let is_response = p.datagram.get(1).is_some_and(|code| *code >= 0x40);
            !is_response && p.token == packet.get_token()
        };
        let pending = self.pending.take_if(own);
        if kind == MessageType::Confirmable {
            // A repeated answer is acknowledged again: its first acknowledgement was lost.
            self.send_empty(MessageType::Acknowledgement, packet);
        }
        if let Some(pending) = pending {
            self.finish(now, pending, packet, code);
        }
    }

    /// A request of the device has its answer.
    fn finish(&mut self, now: Instant, pending: Pending, packet: &Packet, code: u8) {
        if code == message::UNAVAILABLE {
            let wait_s = message::uint(packet, CoapOption::MaxAge).unwrap_or(60);
            self.not_before = Some(now + Duration::from_secs(u64::from(wait_s.min(3600))));
            self.queue.push_front(pending.task);
            return;
        }
        match (pending.task, code) {
            (Task::Register, message::CREATED) => {
                let location = message::joined(packet, CoapOption::LocationPath);
                let renew_at = now + Duration::from_secs(u64::from(self.settings.lifetime_s / 2));
                self.register_failures = 0;
                self.registration = Some(Registration {
                    location: location.clone(),
                    renew_at,
                });
                self.events.push_back(Event::Registered { location });
            }
            (Task::Update, message::CHANGED) => {
                if let Some(registration) = &mut self.registration {
                    let half_s = u64::from(self.settings.lifetime_s / 2);
                    registration.renew_at = now + Duration::from_secs(half_s);
                }
                self.events.push_back(Event::Updated);
            }
            (Task::Deregister, message::DELETED) => {
                self.registration = None;
                self.observation = None;
                self.events.push_back(Event::Deregistered { failure: None });
            }
            (Task::Report(report), code) if message::is_success(code) => {
                self.tell_acknowledged(report.origin);
            }
            (Task::Fetch(_), code) => self.fetched(now, packet, code),
            // The server knows a raw device by its address: after a change of it, it must register.
            (Task::Report(mut report), 0x81..=0x84) if report.resets == 0 => {
                report.resets += 1;
                self.registration = None;
                self.queue.push_front(Task::Report(report));
            }
            (task, code) => self.fail(now, task, Failure::Refused(code)),
        }
    }

    /// The server does not know what it got: its observation is over (RFC 7641 §3.6).
    fn reset(&mut self, now: Instant, msg_id: u16) {
        if let Some(pending) = self.pending.take_if(|p| p.msg_id == msg_id) {
            match pending.task {
                Task::Report(report) if self.settings.kind != Kind::Raw => self.retry(now, report),
                Task::Notice(notice) => self.notice_settled(&notice, NoticeEnd::Refused),
                task @ (Task::Register
                | Task::Update
                | Task::Deregister
                | Task::Report(_)
                | Task::Fetch(_)
                | Task::Answer(_)) => {
                    self.fail(now, task, Failure::Reset);
                }
            }
            return;
        }
        let at = self.unconfirmed.iter().position(|(id, _)| *id == msg_id);
        if let Some((_, report)) = at.and_then(|at| self.unconfirmed.remove(at)) {
            self.retry(now, report);
        }
    }

    fn retry(&mut self, now: Instant, mut report: super::Report) {
        self.observation = None;
        if let Origin::Own(report) = report.origin {
            self.events.push_back(Event::Reset { report });
        }
        report.resets += 1;
        if report.resets > 1 {
            self.fail(now, Task::Report(report), Failure::Reset);
        } else {
            report.waiting_since = Some(now);
            self.queue.push_front(Task::Report(report));
        }
    }
}
