//! The keys and counters of one session: records in and out. Epoch 1 throughout, since there is no
//! renegotiation.
//!
//! Sending takes numbers only below `send_reserved`, which is durable; what must wait for the next
//! reservation is held. Numbers ascend over restarts, with gaps.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;

use super::Random;
use super::crypto::{Head, Keys, Protection, Suite};
use super::types::{Cid, Stored};
use super::window::Window;
use crate::base::peer::DeviceSeq;
use crate::wire::dtls::{ContentType, Record, record};

/// Numbers reserved in one durable step.
pub(super) const RESERVE: u64 = 1024;

/// The next block is asked for when fewer than this are left.
const RESERVE_AHEAD: u64 = 256;

/// Messages that wait for numbers.
const HELD_MAX: usize = 16;

/// The last number that a record may have (RFC 6347 §4.1); then the session must end.
const SEQ_MAX: u64 = record::SEQ_MAX;

/// The epoch of protected records.
pub(super) const EPOCH: u16 = 1;

#[derive(Debug)]
pub(super) struct Session {
    keys: Keys,
    protection: Protection,
    pub(super) peer_cid: Box<[u8]>,
    pub(super) return_routability: bool,
    pub(super) verify_data: [u8; 12],
    pub(super) finished_seq: u16,
    pub(super) window: Window,
    send_next: u64,
    send_reserved: u64,
    is_reserving: bool,
    #[expect(clippy::box_collection, reason = "rarely there, so 8 bytes and not 32")]
    held: Option<Box<VecDeque<(ContentType, Bytes)>>>,
    /// Sent to an address that must prove itself (RFC 9853).
    pub(super) challenge: Option<[u8; 8]>,
}

/// How sending went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    Now,
    /// Waits for the reservation that is under way.
    Held,
    /// Too much waits.
    Dropped,
    /// No number is left: the session must end.
    Exhausted,
}

impl Session {
    /// `None`: the stored key block does not fit the suite.
    pub(super) fn restore(stored: &Stored) -> Option<Self> {
        Some(Self {
            keys: Keys::from_key_block(stored.suite, stored.key_block.expose())?,
            protection: Protection {
                suite: stored.suite,
                encrypt_then_mac: stored.encrypt_then_mac,
            },
            peer_cid: stored.peer_cid.clone(),
            return_routability: stored.return_routability,
            verify_data: stored.verify_data,
            finished_seq: stored.finished_seq,
            window: Window::closed_at(stored.received),
            // Those below may have been used before.
            send_next: stored.send_reserved,
            send_reserved: stored.send_reserved,
            is_reserving: false,
            held: None,
            challenge: None,
        })
    }

    /// One whose first block of numbers is reserved and unused.
    pub(super) fn begin(stored: &Stored) -> Option<Self> {
        let mut session = Self::restore(stored)?;
        session.send_next = 0;
        // The client's Finished is the only record so far; others may have overtaken it.
        session.window = Window::default();
        if let Some(seq) = stored.received {
            session.window.note(seq);
        }
        Some(session)
    }

    pub(super) fn open(&self, record: &Record<'_>, out: &mut Vec<u8>) -> Option<ContentType> {
        self.protection.open(&self.keys.client, record, out)
    }

    /// Protects one message; `out` gets the datagram when it can go at once.
    pub(super) fn send(
        &mut self,
        content_type: ContentType,
        payload: Bytes,
        random: &mut dyn Random,
        out: &mut Vec<u8>,
    ) -> Sent {
        if self.send_next >= SEQ_MAX {
            return Sent::Exhausted;
        }
        if self.send_next >= self.send_reserved {
            let held = self.held.get_or_insert_default();
            if held.len() >= HELD_MAX {
                return Sent::Dropped;
            }
            held.push_back((content_type, payload));
            return Sent::Held;
        }
        self.seal(content_type, &payload, random, out);
        Sent::Now
    }

    fn seal(
        &mut self,
        content_type: ContentType,
        payload: &[u8],
        random: &mut dyn Random,
        out: &mut Vec<u8>,
    ) {
        let head = Head {
            epoch: EPOCH,
            seq: self.send_next,
            cid: &self.peer_cid,
        };
        self.send_next += 1;
        let mut iv = [0; 16];
        if self.protection.suite == Suite::CbcSha256 {
            random.fill(&mut iv);
        }
        let keys = &self.keys.server;
        if let Err(error) = self
            .protection
            .seal(keys, head, content_type, payload, iv, out)
        {
            crate::bug!("a record can't be sealed: {error}");
        }
    }

    /// The bound to reserve now, when it is time to; then a reservation counts as under way.
    pub(super) fn wants_numbers(&mut self) -> Option<u64> {
        let is_low = self.send_next + RESERVE_AHEAD > self.send_reserved || self.held.is_some();
        if self.is_reserving || !is_low || self.send_reserved >= SEQ_MAX {
            return None;
        }
        self.is_reserving = true;
        Some((self.send_reserved + RESERVE).min(SEQ_MAX))
    }

    /// A reservation ended: `Some` with the new durable bound, `None` when it failed.
    pub(super) const fn reserved(&mut self, bound: Option<u64>) {
        self.is_reserving = false;
        if let Some(bound) = bound
            && bound > self.send_reserved
        {
            self.send_reserved = bound;
        }
    }

    /// The next message that waited, when there is a number for it now.
    pub(super) fn send_held(&mut self, random: &mut dyn Random, out: &mut Vec<u8>) -> bool {
        if self.send_next >= self.send_reserved {
            return false;
        }
        let Some((content_type, payload)) = self.held.as_mut().and_then(|held| held.pop_front())
        else {
            self.held = None;
            return false;
        };
        self.seal(content_type, &payload, random, out);
        true
    }

    /// The session as it is made durable. The arguments are what its slot knows.
    pub(super) fn stored(
        &self,
        device: DeviceSeq,
        number: u64,
        own_cid: Option<Cid>,
        (address, is_proven): (SocketAddr, bool),
    ) -> Stored {
        Stored {
            device,
            number,
            own_cid,
            peer_cid: self.peer_cid.clone(),
            address,
            is_proven,
            suite: self.protection.suite,
            encrypt_then_mac: self.protection.encrypt_then_mac,
            return_routability: self.return_routability,
            key_block: self.keys.key_block(),
            verify_data: self.verify_data,
            finished_seq: self.finished_seq,
            send_reserved: self.send_reserved,
            received: self.window.highest(),
        }
    }

    /// A number for unprotected records sent again, above all that were used: those of the
    /// handshake are few.
    pub(super) const fn plain_seq(&self) -> u64 {
        let seq = (1 << 16) + self.send_next;
        if seq > SEQ_MAX { SEQ_MAX } else { seq }
    }
}
