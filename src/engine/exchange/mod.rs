//! CoAP's message layer (RFC 7252 §4): duplicates, retransmission, separate responses, one open
//! exchange per peer (NSTART = 1), tokens; and blockwise transfers in both roles (RFC 7959).
//!
//! Sans-I/O. Call [`Exchange::receive`] with each datagram, [`Exchange::respond`],
//! [`Exchange::settle`] and [`Exchange::request`] with what the app decides, and
//! [`Exchange::tick`] at [`Exchange::next_timeout`]; after each call send `Outputs::datagrams` and
//! handle `Outputs::events`.
//!
//! ```text
//! received CON/NON:  seen? -> first answer again
//!                    new   -> Pending --respond/settle--> Replied (kept for the exchange lifetime)
//!                             Pending --separate_after--> empty ACK, answer follows as a CON
//! our request:       waiting --turn--> open --ACK--> acknowledged --response--> done
//!                                      open --piggybacked response--> done
//!                                      open --RST, last timeout--> failed
//! ```
//!
//! What a stranger can cost: a peer is forgotten at once when its message was refused, the number
//! of peers is bounded, and an address that has not proven itself gets at most
//! `Settings::amplification` times the bytes that it sent.
//!
//! ```text
//! address:  unproven --echo of a confirmable that was first sent there--> proven
//!           unproven --an answer was too much for it--------------------> pinged
//!           proven   --Route::Moved (RFC 9146 §6)-----------------------> unproven, counted anew
//! ```
//!
//! An echo is an acknowledgement, a reset, or the token of a response if the device can't have
//! known it before. A secured peer is its identity, so a move ends nothing else: what is open is
//! sent again to where the peer is now.

mod blocks;
mod inbound;
mod outbound;
mod peer;
#[cfg(test)]
mod tests;
mod types;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hashbrown::{DefaultHashBuilder, HashMap};

use crate::base::peer::Peer;
use crate::base::wheel::Wheel;
use crate::wire::coap::{Builder, Code, Header, Message, Token, Type};
use inbound::Echo;
use peer::{Known, Queued, SeenState, Waiting};
pub use types::{
    Arrival, Counters, Event, Failure, Incoming, MsgIds, Outgoing, Outputs, Part, Push, ReplyId,
    Request, Response, Resume, Route, Settings, Settle, Timing,
};

use super::blockwise::{self, Uploads};

/// The message layer towards every peer of one endpoint.
#[derive(Debug)]
pub struct Exchange {
    settings: Settings,
    peers: HashMap<Peer, Box<Known>>,
    uploads: Uploads<Peer>,
    wheel: Wheel<Timer>,
    due: Vec<(u64, Timer)>,
    /// Confirmable requests by when their acknowledgement must go first. Their wait is always the
    /// same, so they are in order; those answered meanwhile leave from the front.
    unanswered: VecDeque<(Instant, ReplyId)>,
    /// Tick 0 of the wheel; a tick is a millisecond.
    epoch: Instant,
    serial: u32,
    /// Message ids of answers to strangers.
    stranger_msg_id: u16,
    rng: fastrand::Rng,
    /// When room for new peers may be looked for again.
    crowded_until: Option<Instant>,
    hasher: DefaultHashBuilder,
    counters: Counters,
}

/// A timer of the wheel. One that finds its exchange gone does nothing.
#[derive(Debug, Clone, Copy)]
struct Timer {
    peer: Peer,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    /// Retransmit the open exchange with this serial.
    Retransmit(u32),
    /// The response of an acknowledged request has not come.
    Answer(u32),
    /// The waiting request's turn has not come in time.
    Turn(u32),
    /// Forget the peer if nothing has happened since.
    Forget,
}

impl Exchange {
    /// `rng` must be seeded from the operating system outside tests.
    pub fn new(settings: Settings, now: Instant, mut rng: fastrand::Rng) -> Self {
        let stranger_msg_id = rng.u16(..);
        Self {
            settings,
            peers: HashMap::new(),
            uploads: Uploads::new(blockwise::Settings::default()),
            wheel: Wheel::new(0),
            due: Vec::new(),
            unanswered: VecDeque::new(),
            epoch: now,
            serial: 0,
            stranger_msg_id,
            rng,
            crowded_until: None,
            hasher: DefaultHashBuilder::default(),
            counters: Counters::default(),
        }
    }

    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Number of peers of which anything is remembered.
    pub fn peers(&self) -> usize {
        self.peers.len()
    }

    /// Takes one datagram. With `busy` (the layers above have too much to do) a request is answered
    /// 5.03 and a notification is left for its repetition.
    pub fn receive(&mut self, now: Instant, arrival: Arrival, busy: bool, out: &mut Outputs) {
        self.counters.received += 1;
        self.locate(&arrival);
        let peer = arrival.peer;
        let Ok(message) = Message::parse(&arrival.bytes) else {
            self.counters.malformed += 1;
            if let Some(header) = Header::peek(&arrival.bytes)
                && header.ty == Type::Confirmable
            {
                self.send_reset(peer, header.msg_id, out);
            }
            return;
        };
        let (ty, msg_id, code) = (message.ty, message.msg_id, message.code);
        match ty {
            // An empty confirmable is a ping (RFC 7252 §4.3).
            Type::Confirmable if code == Code::EMPTY => self.send_reset(peer, msg_id, out),
            Type::NonConfirmable if code == Code::EMPTY => self.counters.malformed += 1,
            Type::Acknowledgement if code == Code::EMPTY => {
                self.acknowledged(now, &Echo::of(&arrival, msg_id), out);
            }
            Type::Acknowledgement if code.is_response() => self.piggybacked(now, &arrival, out),
            Type::Reset => self.reset(now, &Echo::of(&arrival, msg_id), out),
            Type::Confirmable | Type::NonConfirmable => {
                self.fresh(now, arrival, busy, out);
            }
            Type::Acknowledgement => self.counters.malformed += 1,
        }
    }

    /// Takes over what the layer below knows of the peer's address.
    fn locate(&mut self, arrival: &Arrival) {
        match arrival.route {
            Route::Unproven => {}
            Route::Proven => {
                if let Some(known) = self.peers.get_mut(&arrival.peer) {
                    known.proven = true;
                }
            }
            Route::Moved => {
                if let Some(known) = self.peers.get_mut(&arrival.peer) {
                    known.relocate();
                }
            }
        }
    }

    /// When [`Exchange::tick`] is next due.
    pub fn next_timeout(&self) -> Option<Instant> {
        let timer = self
            .wheel
            .next()
            .map(|tick| self.epoch + Duration::from_millis(tick));
        let separate = self.unanswered.front().map(|(at, _)| *at);
        timer.into_iter().chain(separate).min()
    }

    /// Does what is due by `now`.
    pub fn tick(&mut self, now: Instant, out: &mut Outputs) {
        let tick = self.tick_of(now);
        let mut due = std::mem::take(&mut self.due);
        self.wheel.expire(tick, &mut due);
        for (_, timer) in due.drain(..) {
            match timer.what {
                What::Retransmit(serial) => self.retransmit(now, timer.peer, serial, out),
                What::Answer(serial) => self.miss_answer(now, timer.peer, serial, out),
                What::Turn(serial) => self.miss_turn(now, timer.peer, serial, out),
                What::Forget => self.forget(now, timer.peer),
            }
        }
        self.due = due;
        while let Some((_, id)) = self.unanswered.pop_front_if(|(at, _)| *at <= now) {
            self.acknowledge_first(id, out);
        }
        self.uploads.sweep(now);
    }

    fn tick_of(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }

    fn arm(&mut self, at: Instant, peer: Peer, what: What) {
        // Rounded up: a timer never fires early.
        let tick = self.tick_of(at) + 1;
        self.wheel.add(tick, Timer { peer, what });
    }

    fn next_serial(&mut self) -> u32 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }

    /// Forgets the peer when it has been silent for its lifetime.
    fn forget(&mut self, now: Instant, address: Peer) {
        let Some(peer) = self.peers.get_mut(&address) else {
            return;
        };
        peer.prune(now);
        let until = peer.last_at + peer.lifetime;
        if peer.is_idle() && now >= until {
            self.peers.remove(&address);
            return;
        }
        let again = until.max(now + Duration::from_secs(1));
        self.arm(again, address, What::Forget);
    }

    /// Keeps the peer for its lifetime from now.
    fn keep(&mut self, now: Instant, address: Peer) {
        let Some(peer) = self.peers.get_mut(&address) else {
            return;
        };
        peer.last_at = now;
        if !peer.forget_armed {
            peer.forget_armed = true;
            let at = now + peer.lifetime;
            self.arm(at, address, What::Forget);
        }
    }

    /// Makes room for new peers: those that never proved themselves and have nothing open go. At
    /// most once a second, since it looks at all of them.
    fn make_room(&mut self, now: Instant) {
        if self.crowded_until.is_some_and(|until| now < until) {
            return;
        }
        self.crowded_until = Some(now + Duration::from_secs(1));
        self.peers.retain(|_, peer| peer.proven || !peer.is_idle());
    }

    /// Drops the peer if nothing of it is worth keeping.
    fn drop_stranger(&mut self, address: Peer) {
        let is_stranger = self
            .peers
            .get(&address)
            .is_some_and(|p| !p.forget_armed && p.seen.is_empty() && p.is_idle());
        if is_stranger {
            self.peers.remove(&address);
        }
    }

    /// Sends to a peer within its allowance (RFC 9175 §2.4: three times, until proven); false when
    /// that was too little.
    fn transmit(&mut self, address: Peer, datagram: Bytes, out: &mut Outputs) -> bool {
        if let Some(peer) = self.peers.get_mut(&address) {
            let sent = peer.sent_bytes + datagram.len() as u64;
            if !peer.proven && sent > peer.received_bytes * self.settings.amplification {
                self.counters.amplification_stopped += 1;
                return false;
            }
            peer.sent_bytes = sent;
        }
        self.counters.sent += 1;
        out.datagrams.push((address, datagram));
        true
    }

    /// Pings a known device whose address is not proven (RFC 7252 §4.3): one that only asks, as in a
    /// download that a restart of ours interrupts, sends nothing else that could prove it. With its
    /// reset it is, and gets at its repetition what was withheld.
    fn probe(&mut self, now: Instant, address: Peer, out: &mut Outputs) {
        // The echo of what is open or waits proves it as well.
        let is_free = |peer: &Known| peer.open.is_none() && peer.waiting.is_empty();
        if !self.peers.get(&address).is_some_and(|peer| is_free(peer)) {
            return;
        }
        // By chance, so that nobody who names an address of others answers for them.
        let msg_id = self.rng.u16(..);
        let datagram = Builder::empty(Type::Confirmable, msg_id).build().into();
        let what = Queued::Response {
            msg_id,
            token: Token::EMPTY,
            datagram,
            // The device repeats what it asks, and is pinged again then.
            timing: Timing {
                max_retransmit: 0,
                ..Timing::default()
            },
        };
        let serial = self.next_serial();
        self.enqueue(now, address, Waiting { serial, what }, out);
    }

    /// An empty message of four bytes, never more than what it answers.
    fn send_empty(&mut self, peer: Peer, ty: Type, msg_id: u16, out: &mut Outputs) {
        let datagram = Builder::empty(ty, msg_id).build();
        self.counters.sent += 1;
        out.datagrams.push((peer, datagram.into()));
    }

    fn send_reset(&mut self, peer: Peer, msg_id: u16, out: &mut Outputs) {
        self.counters.resets_sent += 1;
        self.send_empty(peer, Type::Reset, msg_id, out);
    }

    /// Watches that a request is answered soon, or acknowledged before.
    fn await_answer(&mut self, now: Instant, id: ReplyId) {
        while let Some((_, first)) = self.unanswered.front() {
            let first = *first;
            let seen = self
                .peers
                .get_mut(&first.peer)
                .and_then(|p| p.seen(first.msg_id, first.serial));
            if seen.is_some_and(|s| matches!(s.state, SeenState::Pending(_))) {
                break;
            }
            self.unanswered.pop_front();
        }
        self.unanswered
            .push_back((now + self.settings.separate_after, id));
    }

    /// The empty ACK of a request whose answer takes long (RFC 7252 §5.2.2).
    fn acknowledge_first(&mut self, id: ReplyId, out: &mut Outputs) {
        let ReplyId {
            peer,
            msg_id,
            serial,
        } = id;
        let Some(seen) = self
            .peers
            .get_mut(&peer)
            .and_then(|p| p.seen(msg_id, serial))
        else {
            return;
        };
        if let SeenState::Pending(pending) = &mut seen.state
            && pending.confirmable
            && pending.is_request
            && !pending.acknowledged
        {
            pending.acknowledged = true;
            self.send_empty(peer, Type::Acknowledgement, msg_id, out);
        }
    }
}
