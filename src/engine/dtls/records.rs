//! Records of sessions in: opened, judged by the window, and seen to by what they carry.

use std::net::SocketAddr;

use bytes::Bytes;

use super::Dtls;
use super::sending::{alert_bytes, close_notify};
use super::sessions::{Index, Keys, Slot};
use super::types::{Ended, Lookup, Outputs, Received, Report, Want};
use crate::base::peer::Mark;
use crate::engine::exchange::Route;
use crate::wire::dtls::alert::{Alert, AlertDescription, AlertLevel};
use crate::wire::dtls::handshake::{Fragment, MsgType};
use crate::wire::dtls::{ContentType, Record};

/// First byte of the messages of RFC 9853 §5.
const PATH_CHALLENGE: u8 = 0;
const PATH_RESPONSE: u8 = 1;

/// What became of a record of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Taken,
    /// It does not open.
    Forged,
    Replayed,
    /// No session has this connection id or address, or none of this epoch.
    Unknown,
}

impl Dtls {
    /// A record for a session: what it carries is seen to only when it is authentic and new.
    pub(super) fn session_record(
        &mut self,
        index: Index,
        (address, len): (SocketAddr, usize),
        record: &Record<'_>,
        lookup: &mut dyn Lookup,
        out: &mut Outputs,
    ) -> Fate {
        if record.epoch != super::session::EPOCH {
            return Fate::Unknown;
        }
        // Judged before anything is opened or fetched: an old number is old, forged or not.
        if !self.admits(index, record.seq) {
            return Fate::Replayed;
        }
        let is_here = self.sessions.slot(index).is_some_and(Slot::is_here);
        if !is_here && !self.wake(index, lookup, out) {
            return Fate::Unknown;
        }
        let Some(slot) = self.sessions.slot_mut(index) else {
            return Fate::Unknown;
        };
        let Keys::Here(session) = &mut slot.keys else {
            return Fate::Unknown;
        };
        self.scratch.clear();
        let Some(content_type) = session.open(record, &mut self.scratch) else {
            return Fate::Forged;
        };
        self.counters.records_ok += 1;
        let is_newest = session.window.is_newest(record.seq);
        session.window.note(record.seq);
        // RFC 9146 §6: only the newest record tells where the device is. One without connection id
        // was found by its address.
        let mut route = match slot.allowance {
            None => Route::Proven,
            Some(_) => Route::Unproven,
        };
        let mut challenge = false;
        if address != slot.address && is_newest {
            slot.address = address;
            slot.allowance = Some(0);
            route = Route::Moved;
            challenge = session.return_routability;
            self.counters.moved += 1;
        }
        if address == slot.address {
            slot.allow(len);
        }
        let mark = Mark {
            session: slot.number,
            seq: record.seq,
            address: slot.address,
            is_proven: slot.allowance.is_none(),
        };
        let device = slot.device;
        self.sessions.touch(index);
        if challenge {
            self.challenge(index, out);
        }
        match content_type {
            ContentType::APPLICATION_DATA => {
                out.received.push(Received {
                    device,
                    payload: Bytes::copy_from_slice(&self.scratch),
                    mark,
                    route,
                });
            }
            ContentType::HANDSHAKE => self.late_handshake(index, out),
            ContentType::ALERT => self.alert(index, out),
            ContentType::RETURN_ROUTABILITY => self.routability(index, address, out),
            _ => {}
        }
        Fate::Taken
    }

    /// Whether the number may be new; judged before anything is opened or fetched.
    fn admits(&self, index: Index, seq: u64) -> bool {
        self.sessions
            .slot(index)
            .is_some_and(|slot| match &slot.keys {
                Keys::Here(session) => session.window.admits(seq),
                Keys::Stored { received } => received.is_none_or(|received| seq > received),
            })
    }

    /// An authentic handshake message in a session, in `scratch`.
    fn late_handshake(&mut self, index: Index, out: &mut Outputs) {
        let Ok((fragment, _)) = Fragment::parse(&self.scratch) else {
            return;
        };
        if fragment.msg_type == MsgType::FINISHED {
            // Our final flight was lost (RFC 6347 §4.2.4).
            let plain_seq = self.sessions.slot(index).and_then(|slot| match &slot.keys {
                Keys::Here(session) => Some(session.plain_seq()),
                Keys::Stored { .. } => None,
            });
            if let Some(plain_seq) = plain_seq {
                self.counters.final_flights_repeated += 1;
                self.send_final_flight(index, plain_seq, out);
            }
        } else if fragment.msg_type == MsgType::CLIENT_HELLO {
            // Renegotiation (RFC 5746 §4.5).
            let payload = alert_bytes(AlertLevel::WARNING, AlertDescription::NO_RENEGOTIATION);
            self.transmit(index, ContentType::ALERT, payload, out);
        }
    }

    /// An authentic alert, in `scratch`: close_notify and every fatal one end the session.
    fn alert(&mut self, index: Index, out: &mut Outputs) {
        let Ok(alert) = Alert::parse(&self.scratch) else {
            return;
        };
        let is_close = alert.description == AlertDescription::CLOSE_NOTIFY;
        if !is_close && alert.level != AlertLevel::FATAL {
            return;
        }
        if is_close {
            // RFC 5246 §7.2.1 asks for the answer.
            self.transmit(index, ContentType::ALERT, close_notify(), out);
        }
        let Some(slot) = self.sessions.remove(index) else {
            return;
        };
        out.wants.push(Want::Forget {
            device: slot.device,
            number: slot.number,
        });
        out.reports.push(Report {
            address: slot.address,
            device: Some(slot.device),
            identity: Box::default(),
            what: Ended::Closed {
                alert: alert.description.0,
            },
        });
    }

    /// Asks the new address to prove itself (RFC 9853 §6).
    fn challenge(&mut self, index: Index, out: &mut Outputs) {
        let mut cookie = [0; 8];
        self.random.fill(&mut cookie);
        if let Some(slot) = self.sessions.slot_mut(index)
            && let Keys::Here(session) = &mut slot.keys
        {
            session.challenge = Some(cookie);
        }
        let message = path_message(PATH_CHALLENGE, &cookie);
        self.transmit(index, ContentType::RETURN_ROUTABILITY, message, out);
    }

    /// An authentic message of RFC 9853, in `scratch`.
    fn routability(&mut self, index: Index, address: SocketAddr, out: &mut Outputs) {
        let Some((&kind, cookie)) = self.scratch.split_first() else {
            return;
        };
        let Ok(cookie) = <[u8; 8]>::try_from(cookie) else {
            return;
        };
        let Some(slot) = self.sessions.slot_mut(index) else {
            return;
        };
        let Keys::Here(session) = &mut slot.keys else {
            return;
        };
        if !session.return_routability {
            return;
        }
        if kind == PATH_RESPONSE && session.challenge == Some(cookie) && slot.address == address {
            session.challenge = None;
            slot.allowance = None;
        } else if kind == PATH_CHALLENGE && slot.address == address {
            let message = path_message(PATH_RESPONSE, &cookie);
            self.transmit(index, ContentType::RETURN_ROUTABILITY, message, out);
        }
    }
}

fn path_message(kind: u8, cookie: &[u8; 8]) -> Bytes {
    let mut message = Vec::with_capacity(9);
    message.push(kind);
    message.extend_from_slice(cookie);
    message.into()
}
