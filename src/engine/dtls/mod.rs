//! DTLS 1.2 (RFC 6347) with pre-shared keys, server side, sans-I/O: datagrams in, datagrams and
//! messages out. `docs/dtls.md` is its description for reviewers.
//!
//! Call [`Dtls::receive`] with each datagram, [`Dtls::send`] with each message, [`Dtls::tick`] at
//! [`Dtls::next_timeout`]; after each call see to everything in [`Outputs`]: send `datagrams`,
//! take `received`, make `wants` durable and tell the outcome by [`Dtls::established`] and
//! [`Dtls::reserved`].
//!
//! ```text
//! any datagram          -> record by record                              (receive.rs)
//! hello without cookie  -> HelloVerifyRequest, nothing kept              (hellos.rs, cookie.rs)
//! hello with cookie     -> a handshake beside any session of the address (handshake.rs)
//! its Finished verifies -> durable -> final flight; the former session of the device ends
//! protected record      -> the session of its connection id or address   (sessions.rs)
//!                          -> opened, new by the window -> message       (records.rs, window.rs)
//! message of ours       -> a number of its own -> record                 (sending.rs, session.rs)
//! anything else         -> dropped and counted
//! ```
//!
//! Nothing unauthenticated ends a session, and nothing is kept for an address before its cookie.

mod assembly;
mod cookie;
pub mod crypto;
mod handshake;
mod hellos;
mod receive;
mod records;
mod sending;
mod session;
mod sessions;
mod sources;
#[cfg(test)]
mod tests;
mod types;
mod window;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hashbrown::HashMap;

use crate::base::peer::DeviceSeq;
use crate::base::wheel::Wheel;
use crate::wire::dtls::ContentType;
use cookie::Cookies;
use handshake::Handshake;
use sending::close_notify;
use session::Session;
use sessions::{Index, Keys, Sessions, Slot};
use sources::Sources;
pub use types::{
    CID_LEN, Cid, Counters, Ended, HandshakeId, Known, Lookup, Outputs, PEER_CID_MAX, Received,
    Report, Settings, Stored, Unavailable, Unknown, Want,
};

/// Session numbers fit the 5 bytes that a connection id has for them.
pub const NUMBER_MAX: u64 = (1 << 40) - 1;

/// New numbers are asked for when fewer are left.
const NUMBERS_LOW: usize = 512;

/// Unpredictable bytes: the operating system's, outside tests.
pub trait Random: Send {
    fn fill(&mut self, bytes: &mut [u8]);
}

/// The server side of one socket.
pub struct Dtls {
    settings: Settings,
    random: Box<dyn Random>,
    cookies: Cookies,
    /// For hellos, and for key exchanges.
    sources: Sources,
    exchanges: Sources,
    handshakes: HashMap<SocketAddr, Box<Handshake>>,
    /// Handshakes as they began; some have ended.
    begun: VecDeque<HandshakeId>,
    sessions: Sessions,
    numbers: VecDeque<u64>,
    wheel: Wheel<HandshakeId>,
    due: Vec<(u64, HandshakeId)>,
    /// Tick 0 of the wheel; a tick is a millisecond.
    epoch: Instant,
    serial: u32,
    counters: Counters,
    scratch: Vec<u8>,
}

impl Dtls {
    pub fn new(settings: Settings, now: Instant, mut random: Box<dyn Random>) -> Self {
        Self {
            cookies: Cookies::new(settings.cookie_lifetime, now, random.as_mut()),
            sources: Sources::new(settings.handshakes_per_source_s),
            exchanges: Sources::new(settings.handshakes_per_source_s),
            handshakes: HashMap::new(),
            begun: VecDeque::new(),
            sessions: Sessions::new(settings.sessions_max, settings.sessions_in_memory),
            numbers: VecDeque::new(),
            wheel: Wheel::new(0),
            due: Vec::new(),
            epoch: now,
            serial: 0,
            counters: Counters::default(),
            scratch: Vec::with_capacity(2048),
            random,
            settings,
        }
    }

    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Handshakes under way, sessions in all, and those with their keys in memory.
    pub fn counts(&self) -> (usize, usize, usize) {
        let (sessions, here) = self.sessions.count();
        (self.handshakes.len(), sessions, here)
    }

    /// Whether [`Dtls::add_numbers`] should be called soon. Without numbers no handshake ends.
    pub fn needs_numbers(&self) -> bool {
        self.numbers.len() < NUMBERS_LOW
    }

    /// Session numbers that were never given before, ascending, at most [`NUMBER_MAX`].
    pub fn add_numbers(&mut self, numbers: impl IntoIterator<Item = u64>) {
        self.numbers.extend(numbers);
    }

    /// Takes up a stored session at start. False when there is no room for it.
    pub fn restore(&mut self, stored: &Stored) -> bool {
        let is_taken = self.sessions.take_up(stored);
        self.counters.sessions_dropped += u64::from(!is_taken);
        is_taken
    }

    /// Sends a message to a device.
    pub fn send(
        &mut self,
        device: DeviceSeq,
        payload: Bytes,
        lookup: &mut dyn Lookup,
        out: &mut Outputs,
    ) {
        match self.sessions.by_device(device) {
            Some(index) if self.wake(index, lookup, out) => {
                self.transmit(index, ContentType::APPLICATION_DATA, payload, out);
            }
            Some(_) | None => self.counters.unsent += 1,
        }
    }

    /// The device is at this address: it sent back what only it can have received there.
    pub fn prove(&mut self, device: DeviceSeq, address: SocketAddr) {
        if let Some(index) = self.sessions.by_device(device)
            && let Some(slot) = self.sessions.slot_mut(index)
            && slot.address == address
        {
            slot.allowance = None;
        }
    }

    /// Ends the device's session and its handshakes: it was frozen or deleted, or has another key.
    /// The stored session is the caller's to delete.
    pub fn end(&mut self, device: DeviceSeq, out: &mut Outputs) {
        self.handshakes.retain(|_, handshake| {
            let known = handshake.derived().map(|derived| &derived.known);
            !matches!(known, Some(Ok(known)) if known.device == device)
        });
        let Some(index) = self.sessions.by_device(device) else {
            return;
        };
        if self.sessions.slot(index).is_some_and(Slot::is_here) {
            self.transmit(index, ContentType::ALERT, close_notify(), out);
        }
        self.sessions.remove(index);
    }

    /// A session that [`Want::Establish`] asked to store is durable, or can't be.
    pub fn established(
        &mut self,
        id: HandshakeId,
        stored: &Stored,
        result: Result<(), Unstored>,
        out: &mut Outputs,
    ) {
        let Some(handshake) = self
            .handshakes
            .get_mut(&id.address)
            .filter(|handshake| handshake.serial == id.serial)
        else {
            if result.is_ok() {
                self.give_up(stored, out);
            }
            return;
        };
        let identity = handshake
            .derived()
            .map(|derived| derived.identity.clone())
            .unwrap_or_default();
        let what = match result {
            Ok(()) => Ended::Connected {
                suite: stored.suite,
                extended_master_secret: handshake.extended_master_secret,
                connection_id: stored.own_cid.is_some(),
            },
            Err(Unstored::ForNow) => {
                handshake.not_stored();
                return;
            }
            Err(Unstored::Refused) => Ended::NotStored,
        };
        let change_cipher_spec_seq = handshake.record_seq;
        self.handshakes.remove(&id.address);
        out.reports.push(Report {
            address: id.address,
            device: Some(stored.device),
            identity,
            what,
        });
        let session = result.ok().and_then(|()| Session::begin(stored));
        if let Some(session) = session {
            self.begin_session(stored, session, change_cipher_spec_seq, out);
        }
    }

    /// A session was stored whose handshake was given up meanwhile: nobody will use it. In the
    /// store it took the place of the device's former one, which therefore ends, too.
    fn give_up(&mut self, stored: &Stored, out: &mut Outputs) {
        let (device, number) = (stored.device, stored.number);
        let is_former = |slot: &Slot| slot.number < number;
        if let Some(index) = self.sessions.by_device(device)
            && self.sessions.slot(index).is_some_and(is_former)
        {
            self.sessions.remove(index);
        }
        out.wants.push(Want::Forget { device, number });
    }

    fn begin_session(
        &mut self,
        stored: &Stored,
        session: Session,
        record_seq: u64,
        out: &mut Outputs,
    ) {
        for (slot, is_crowded) in self.sessions.add(stored, Box::new(session)) {
            self.counters.sessions_dropped += u64::from(is_crowded);
            // The device's own former session was replaced in the store already.
            if slot.device != stored.device {
                out.wants.push(Want::Forget {
                    device: slot.device,
                    number: slot.number,
                });
            }
        }
        self.make_room();
        if let Some(index) = self.sessions.by_device(stored.device) {
            self.send_final_flight(index, record_seq, out);
        }
    }

    /// A reservation that [`Want::Reserve`] asked for is durable, or failed.
    pub fn reserved(&mut self, stored: &Stored, is_durable: bool, out: &mut Outputs) {
        let Some(index) = self.sessions.by_device(stored.device) else {
            return;
        };
        let Some(slot) = self
            .sessions
            .slot_mut(index)
            .filter(|slot| slot.number == stored.number)
        else {
            return;
        };
        if let Keys::Here(session) = &mut slot.keys {
            session.reserved(is_durable.then_some(stored.send_reserved));
        }
        if !is_durable {
            // Asked for again with the next message: at once would be a race with a full disk.
            return;
        }
        loop {
            let mut datagram = Vec::new();
            let Some(Keys::Here(session)) = self.sessions.slot_mut(index).map(|s| &mut s.keys)
            else {
                return;
            };
            if !session.send_held(self.random.as_mut(), &mut datagram) {
                break;
            }
            self.dispatch(index, datagram, out);
        }
        self.reserve(index, out);
    }

    /// When [`Dtls::tick`] is next due.
    pub fn next_timeout(&self) -> Option<Instant> {
        let tick = self.wheel.next()?;
        Some(self.epoch + Duration::from_millis(tick))
    }

    /// Does what is due by `now`.
    pub fn tick(&mut self, now: Instant, out: &mut Outputs) {
        let tick = self.tick_of(now);
        let mut due = std::mem::take(&mut self.due);
        self.wheel.expire(tick, &mut due);
        for (_, id) in due.drain(..) {
            self.repeat_flight(now, id, out);
        }
        self.due = due;
    }

    /// The client has not answered: its flight is repeated, or the handshake given up.
    fn repeat_flight(&mut self, now: Instant, id: HandshakeId, out: &mut Outputs) {
        let Some(handshake) = self
            .handshakes
            .get_mut(&id.address)
            .filter(|handshake| handshake.serial == id.serial)
        else {
            return;
        };
        if handshake.repeated >= self.settings.retransmissions {
            let derived = handshake.derived();
            let report = Report {
                address: id.address,
                device: derived.and_then(|d| d.known.as_ref().ok().map(|k| k.device)),
                identity: derived.map(|d| d.identity.clone()).unwrap_or_default(),
                what: Ended::TimedOut,
            };
            if !handshake.is_reported {
                out.reports.push(report);
            }
            self.handshakes.remove(&id.address);
            return;
        }
        handshake.repeated += 1;
        // One that has answered got the flight; it repeats its own when that was lost.
        if handshake.derived().is_none() {
            let datagram = handshake.flight();
            if !datagram.is_empty() {
                self.counters.flights_repeated += 1;
                out.datagrams.push((id.address, datagram.into()));
            }
        }
        let at = handshake::repeat_at(now, &self.settings, handshake.repeated);
        self.arm(at, id);
    }

    fn arm(&mut self, at: Instant, id: HandshakeId) {
        // Rounded up: a timer never fires early.
        let tick = self.tick_of(at) + 1;
        self.wheel.add(tick, id);
    }

    fn tick_of(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }

    /// Brings the session's keys into memory and makes it the newest. False when that can't be.
    fn wake(&mut self, index: Index, lookup: &mut dyn Lookup, out: &mut Outputs) -> bool {
        let Some(slot) = self.sessions.slot(index).filter(|slot| !slot.is_here()) else {
            self.sessions.touch(index);
            return true;
        };
        let (device, number) = (slot.device, slot.number);
        let Ok(stored) = lookup.session(device) else {
            // It may still be there: whoever spoke tries again.
            return false;
        };
        let stored = stored.filter(|stored| stored.number == number);
        let Some(mut session) = stored.as_ref().and_then(Session::restore) else {
            // Another session of the device took its place in the store, or none.
            self.sessions.remove(index);
            out.wants.push(Want::Forget { device, number });
            return false;
        };
        slot.close_window(&mut session);
        self.sessions.touch(index);
        self.sessions.bring_back(index, Box::new(session));
        self.counters.brought_back += 1;
        self.make_room();
        true
    }

    fn make_room(&mut self) {
        self.counters.put_away += self.sessions.put_away();
    }
}

/// Why a session was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unstored {
    /// The store can't, now. The client repeats its Finished, and that tries again.
    ForNow,
    /// The device was frozen, deleted, or has another key.
    Refused,
}

#[cfg(test)]
impl Dtls {
    /// Where the device's session is.
    fn by_device_for_tests(&self, device: DeviceSeq) -> Option<SocketAddr> {
        let index = self.sessions.by_device(device)?;
        self.sessions.slot(index).map(|slot| slot.address)
    }
}
