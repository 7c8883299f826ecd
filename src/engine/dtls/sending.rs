//! Records of sessions out: sealed under a number of their own, within what their address may get.

use bytes::Bytes;

use super::session::Sent;
use super::sessions::{Index, Keys};
use super::types::{Outputs, PEER_CID_MAX, Want};
use super::{Dtls, handshake};
use crate::wire::dtls::alert::{Alert, AlertDescription, AlertLevel};
use crate::wire::dtls::{ContentType, VERSION_1_2, record};

/// What a record adds to its content: header, connection id, IV, MAC and padding.
const RECORD_OVERHEAD: usize = 13 + PEER_CID_MAX + 16 + 32 + 16;

impl Dtls {
    /// Sends one record in a session whose keys are in memory.
    pub(super) fn transmit(
        &mut self,
        index: Index,
        content_type: ContentType,
        payload: Bytes,
        out: &mut Outputs,
    ) {
        let Some(slot) = self.sessions.slot_mut(index) else {
            return;
        };
        let (device, number) = (slot.device, slot.number);
        let Keys::Here(session) = &mut slot.keys else {
            return;
        };
        let mut datagram = Vec::with_capacity(payload.len() + RECORD_OVERHEAD);
        match session.send(content_type, payload, self.random.as_mut(), &mut datagram) {
            Sent::Now => self.dispatch(index, datagram, out),
            Sent::Held => {}
            Sent::Dropped => self.counters.unsent += 1,
            Sent::Exhausted => {
                self.counters.unsent += 1;
                self.sessions.remove(index);
                out.wants.push(Want::Forget { device, number });
                return;
            }
        }
        self.reserve(index, out);
    }

    /// A sealed record leaves, unless its address has not proven itself and got enough.
    pub(super) fn dispatch(&mut self, index: Index, datagram: Vec<u8>, out: &mut Outputs) {
        let Some(slot) = self.sessions.slot_mut(index) else {
            return;
        };
        if slot.spend(datagram.len()) {
            self.counters.records_sent += 1;
            out.datagrams.push((slot.address, datagram.into()));
        } else {
            self.counters.amplification_stopped += 1;
        }
    }

    /// Asks for more numbers when it is time to.
    pub(super) fn reserve(&mut self, index: Index, out: &mut Outputs) {
        let Some(slot) = self.sessions.slot_mut(index) else {
            return;
        };
        let Keys::Here(session) = &mut slot.keys else {
            return;
        };
        let Some(bound) = session.wants_numbers() else {
            return;
        };
        if let Some(mut stored) = slot.stored() {
            stored.send_reserved = bound;
            out.wants.push(Want::Reserve(Box::new(stored)));
        }
    }

    /// ChangeCipherSpec and Finished in one datagram. Numbers for it are at hand: it comes first,
    /// or the session has gone on since.
    pub(super) fn send_final_flight(&mut self, index: Index, record_seq: u64, out: &mut Outputs) {
        let Some(slot) = self.sessions.slot(index) else {
            return;
        };
        let Keys::Here(session) = &slot.keys else {
            return;
        };
        let message = handshake::finished(session.finished_seq, &session.verify_data);
        let address = slot.address;
        let mut datagram = Vec::with_capacity(96);
        record::write(
            &mut datagram,
            ContentType::CHANGE_CIPHER_SPEC,
            VERSION_1_2,
            0,
            record_seq,
            &[1],
        );
        let before = out.datagrams.len();
        self.transmit(index, ContentType::HANDSHAKE, message.into(), out);
        // One datagram for both; a Finished that waits for numbers goes alone.
        match out.datagrams.get_mut(before) {
            Some((_, finished)) => {
                datagram.extend_from_slice(finished);
                *finished = datagram.into();
            }
            None => out.datagrams.push((address, datagram.into())),
        }
    }
}

/// The alert that ends a session in peace.
pub(super) fn close_notify() -> Bytes {
    let mut bytes = Vec::with_capacity(2);
    Alert {
        level: AlertLevel::WARNING,
        description: AlertDescription::CLOSE_NOTIFY,
    }
    .write(&mut bytes);
    bytes.into()
}

/// An alert as a message.
pub(super) fn alert_bytes(level: AlertLevel, description: AlertDescription) -> Bytes {
    let mut bytes = Vec::with_capacity(2);
    Alert { level, description }.write(&mut bytes);
    bytes.into()
}
