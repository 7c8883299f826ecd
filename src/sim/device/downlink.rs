//! What a device does with the server's requests: takes observations, collects blocks, writes
//! receipts and answers as its [`Conduct`](super::Conduct) has it.
//!
//! ```text
//! request -> known message id? -> the same receipt again
//!         -> GET with Observe  -> 2.05, observed from now on
//!         -> downlink          -> blocks collected -> receipt -> application -> answer
//!         -> object 3, 4 or 5  -> what the upgrader says
//!         -> anything else     -> 4.04
//! ```
//!
//! Blocks (RFC 7959 §2.5): block 0 begins anew; a block beyond what is there gets 4.08, a body beyond
//! [`BODY_MAX`] 4.13, a block of the wrong length or with size exponent 7 gets 4.00. Message ids are known for
//! EXCHANGE_LIFETIME (RFC 7252 §4.8.2), the last [`KNOWN_MAX`] of them.

use std::time::{Duration, Instant};

use coap_lite::{CoapOption, MessageType, Packet};

use super::conduct::{Answer, Receipt};
use super::{AnswerMessage, Device, Event, Observation, Reaction, Report, Task};
use crate::sim::message::{self, Draft};

/// How long a message id names the same message.
pub(super) const EXCHANGE_LIFETIME: Duration = Duration::from_secs(247);
/// Requests kept to recognise their repetitions.
pub(super) const KNOWN_MAX: usize = 1024;
/// Longest body put together from blocks.
const BODY_MAX: usize = 64 * 1024;
/// Receipts and answers that wait for their time; one beyond it goes at once.
const OWED_MAX: usize = 256;

/// A request that was answered.
#[derive(Debug)]
pub(super) struct Known {
    msg_id: u16,
    heard_at: Instant,
    /// The receipt has left.
    receipt_at: Instant,
    receipt: Vec<Vec<u8>>,
}

/// What the device will send when its time comes.
#[derive(Debug)]
pub(super) struct Owed {
    pub(super) at: Instant,
    what: Due,
}

#[derive(Debug)]
enum Due {
    Receipt(Vec<Vec<u8>>),
    Task(Task),
}

/// A body under way in blocks.
#[derive(Debug)]
pub(super) struct Body {
    bytes: Vec<u8>,
    touched_at: Instant,
}

/// What the message layer answers: code, and the block that it is about.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    code: u8,
    block: Option<u32>,
}

impl Device {
    pub(super) fn requested(&mut self, now: Instant, packet: &Packet, code: u8) {
        let path = message::joined(packet, CoapOption::UriPath);
        let is_observed = path == self.settings.observed_path();
        let is_downlink = path == self.settings.downlink_path()
            && (code == message::PUT || code == message::POST);
        let forgets = is_downlink && !self.settings.conduct.recognises_duplicates;
        if !forgets && self.repeat_receipt(now, packet.header.message_id) {
            return;
        }
        if is_downlink {
            self.take_downlink(now, packet);
            return;
        }
        if !is_observed && self.take_object_request(now, packet, code, &path) {
            return;
        }
        let answer = match code {
            message::GET if is_observed => self.answer_observe(packet),
            _ => answer_to(packet, message::NOT_FOUND),
        };
        self.give_receipt(now, packet, vec![answer], Duration::ZERO);
    }

    /// True when the message is known; its receipt goes once more if it has gone already.
    fn repeat_receipt(&mut self, now: Instant, msg_id: u16) -> bool {
        let is_old = |known: &Known| now >= known.heard_at + EXCHANGE_LIFETIME;
        while self.known.front().is_some_and(is_old) {
            self.known.pop_front();
        }
        let Some(known) = self.known.iter().rev().find(|k| k.msg_id == msg_id) else {
            return false;
        };
        if now >= known.receipt_at {
            self.outgoing.extend(known.receipt.iter().cloned());
        }
        self.events.push_back(Event::Repeated { msg_id });
        true
    }

    fn take_downlink(&mut self, now: Instant, packet: &Packet) {
        let conduct = self.settings.conduct;
        let payload = &packet.payload;
        let refusal = match conduct.receipt {
            Receipt::Ignored => Some(vec![]),
            Receipt::Refused(code) => Some(vec![answer_to(packet, code)]),
            Receipt::Reset => Some(vec![empty(MessageType::Reset, packet)]),
            Receipt::Piggybacked
            | Receipt::Twice
            | Receipt::Separate
            | Receipt::Empty
            | Receipt::Never => None,
        };
        if let Some(refusal) = refusal {
            let payload = payload.clone();
            self.events.push_back(Event::Downlink { payload });
            self.give_receipt(now, packet, refusal, conduct.receipt_after);
            return;
        }
        match self.collect(now, packet) {
            Ok((body, outcome)) => {
                if !self.is_frame(&body) {
                    let payload = body.clone();
                    self.events.push_back(Event::Downlink { payload });
                }
                let drafts = self.receipt(packet, outcome);
                self.give_receipt(now, packet, drafts, conduct.receipt_after);
                if conduct.receipt == Receipt::Separate {
                    let message = AnswerMessage::new(packet, message::CHANGED, Vec::new(), true);
                    let due = Due::Task(Task::Answer(message));
                    self.owe(now, conduct.receipt_after, due);
                }
                if !self.take_frame(now, &body) {
                    self.execute(now, packet, &body);
                }
            }
            // Blocks before the last are a matter of the message layer alone.
            Err(_) if conduct.receipt == Receipt::Never => {}
            Err(outcome) => {
                let drafts = vec![outcome.draft(packet)];
                self.give_receipt(now, packet, drafts, Duration::ZERO);
            }
        }
    }

    /// The whole body with the outcome of its last block, or what to answer before it is whole.
    fn collect(&mut self, now: Instant, packet: &Packet) -> Result<(Vec<u8>, Outcome), Outcome> {
        let plain = |code| Outcome { code, block: None };
        let Some(value) = message::uint(packet, CoapOption::Block1) else {
            self.body = None;
            return Ok((packet.payload.clone(), plain(message::CHANGED)));
        };
        let (num, has_more, szx) = (value >> 4, value & 8 != 0, value & 7);
        let size = 16usize << szx;
        let len = packet.payload.len();
        if szx == 7 || len > size || (has_more && len != size) {
            return Err(plain(message::BAD_REQUEST));
        }
        let offset = num as usize * size;
        let body = self.body.get_or_insert_with(|| Body {
            bytes: Vec::new(),
            touched_at: now,
        });
        if now >= body.touched_at + EXCHANGE_LIFETIME {
            body.bytes.clear();
        }
        body.touched_at = now;
        if offset > body.bytes.len() {
            return Err(plain(message::INCOMPLETE));
        }
        if offset + len > BODY_MAX {
            self.body = None;
            return Err(plain(message::TOO_LARGE));
        }
        body.bytes.truncate(offset);
        body.bytes.extend(&packet.payload);
        let szx = szx.min(u32::from(self.settings.conduct.szx_max));
        let block = Some(num << 4 | value & 8 | szx);
        if has_more {
            let code = message::CONTINUE;
            return Err(Outcome { code, block });
        }
        // The bytes stay: a repeated last block finds them, if the device does not know it.
        let code = message::CHANGED;
        Ok((body.bytes.clone(), Outcome { code, block }))
    }

    /// The receipt's datagrams for a downlink that is executed.
    fn receipt(&self, packet: &Packet, outcome: Outcome) -> Vec<Draft> {
        let whole = outcome.draft(packet);
        let confirmable = packet.header.get_type() == MessageType::Confirmable;
        match self.settings.conduct.receipt {
            Receipt::Piggybacked => vec![whole],
            Receipt::Twice => vec![whole.clone(), whole],
            Receipt::Separate | Receipt::Empty if confirmable => {
                vec![empty(MessageType::Acknowledgement, packet)]
            }
            Receipt::Separate
            | Receipt::Empty
            | Receipt::Never
            | Receipt::Ignored
            | Receipt::Refused(_)
            | Receipt::Reset => vec![],
        }
    }

    /// Remembers a request with its receipt, and sends that when its time has come.
    pub(super) fn give_receipt(
        &mut self,
        now: Instant,
        packet: &Packet,
        drafts: Vec<Draft>,
        after: Duration,
    ) {
        let datagrams = drafts.iter().filter_map(|d| d.bytes().ok());
        let receipt: Vec<_> = datagrams.collect();
        if self.known.len() >= KNOWN_MAX {
            self.known.pop_front();
        }
        self.known.push_back(Known {
            msg_id: packet.header.message_id,
            heard_at: now,
            receipt_at: now + after,
            receipt: receipt.clone(),
        });
        self.owe(now, after, Due::Receipt(receipt));
    }

    fn execute(&mut self, now: Instant, packet: &Packet, payload: &[u8]) {
        let msg_id = packet.header.message_id;
        let order = self.executed.add(now, msg_id, packet.get_token(), payload);
        self.events.push_back(Event::Executed {
            order,
            msg_id,
            payload: payload.to_vec(),
        });
        match self.application.as_mut().map(|take| take(payload)) {
            None | Some(Reaction::Nothing) => {}
            Some(Reaction::Report(bytes)) => {
                let task = Task::Report(Report::of_application(bytes, true));
                self.owe(now, Duration::ZERO, Due::Task(task));
            }
            Some(Reaction::Answer(bytes)) => {
                let conduct = self.settings.conduct;
                for _ in 0..conduct.answers {
                    if let Some(task) = answer_task(conduct.answer, packet, &bytes) {
                        self.owe(now, conduct.answer_after, Due::Task(task));
                    }
                }
            }
        }
    }

    fn owe(&mut self, now: Instant, after: Duration, what: Due) {
        if after.is_zero() || self.owed.len() >= OWED_MAX {
            self.pay(what);
        } else {
            let at = now + after;
            self.owed.push_back(Owed { at, what });
        }
    }

    /// Sends what has come due, in the order of its time.
    pub(super) fn pay_due(&mut self, now: Instant) {
        loop {
            let due = (0..).zip(&self.owed).filter(|(_, owed)| owed.at <= now);
            let next = due.min_by_key(|(index, owed)| (owed.at, *index));
            let index = next.map(|(index, _)| index);
            let Some(owed) = index.and_then(|index| self.owed.remove(index)) else {
                return;
            };
            self.pay(owed.what);
        }
    }

    fn pay(&mut self, what: Due) {
        match what {
            Due::Receipt(datagrams) => self.outgoing.extend(datagrams),
            Due::Task(task) => self.enqueue_answer(task),
        }
    }

    fn answer_observe(&mut self, packet: &Packet) -> Draft {
        let answer = answer_to(packet, message::CONTENT);
        match message::uint(packet, CoapOption::Observe) {
            Some(0) => {
                let token = packet.get_token().to_vec();
                self.events.push_back(Event::Observed {
                    token: token.clone(),
                });
                self.observation = Some(Observation { token, sequence: 1 });
                let first: &[u8] = if self.settings.first_answer_zero {
                    &[0]
                } else {
                    &[]
                };
                answer
                    .uint(CoapOption::Observe, 1)
                    .uint(CoapOption::ContentFormat, u32::from(message::FORMAT_OPAQUE))
                    .payload(first)
            }
            Some(_) => {
                self.observation = None;
                answer
            }
            None => answer,
        }
    }

    pub(super) fn send_empty(&mut self, kind: MessageType, packet: &Packet) {
        if let Ok(bytes) = empty(kind, packet).bytes() {
            self.outgoing.push_back(bytes);
        }
    }
}

impl Outcome {
    fn draft(self, packet: &Packet) -> Draft {
        let draft = answer_to(packet, self.code);
        match self.block {
            Some(block) => draft.uint(CoapOption::Block1, block),
            None => draft,
        }
    }
}

fn answer_task(how: Answer, packet: &Packet, bytes: &[u8]) -> Option<Task> {
    let bytes = bytes.to_vec();
    match how {
        Answer::None => None,
        Answer::Report { confirmable } => {
            Some(Task::Report(Report::of_application(bytes, confirmable)))
        }
        Answer::Content { confirmable } => {
            let message = AnswerMessage::new(packet, message::CONTENT, bytes, confirmable);
            Some(Task::Answer(message))
        }
    }
}

/// Piggybacked on the acknowledgement, or unconfirmed when the request was.
fn answer_to(packet: &Packet, code: u8) -> Draft {
    let kind = match packet.header.get_type() {
        MessageType::Confirmable => MessageType::Acknowledgement,
        _ => MessageType::NonConfirmable,
    };
    Draft::new(kind, code, packet.header.message_id).token(packet.get_token())
}

fn empty(kind: MessageType, packet: &Packet) -> Draft {
    Draft::new(kind, 0, packet.header.message_id)
}
