//! What is remembered of one peer: received messages, the open request, requests that wait.
//! Nothing of it depends on where the peer is, but for what its address is allowed to get.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::types::{Incoming, ReplyId, Request};
use crate::engine::blockwise::{Collector, Sender};
use crate::wire::coap::block::Block;
use crate::wire::coap::message::Token;

/// One peer. Kept while anything is open, and for the exchange lifetime after the last message.
#[derive(Debug)]
pub(super) struct Known {
    /// Newest last.
    pub(super) seen: VecDeque<Seen>,
    pub(super) open: Option<Box<Open>>,
    /// Requests that were acknowledged and whose response is still to come.
    pub(super) acknowledged: Vec<Acknowledged>,
    pub(super) waiting: VecDeque<Waiting>,
    /// The peer sent back what only it can have received where it is now.
    pub(super) proven: bool,
    /// From and to its present address.
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
    pub(super) round_trip: Option<RoundTrip>,
    pub(super) lifetime: Duration,
    pub(super) last_at: Instant,
    /// A timer for forgetting this peer is in the wheel.
    pub(super) forget_armed: bool,
}

/// A message received from the peer.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) msg_id: u16,
    pub(super) serial: u32,
    /// Of the whole datagram and its session: a rebooted device may use a message id again.
    pub(super) hash: u64,
    /// Forgotten from then on, unless still pending.
    pub(super) until: Instant,
    pub(super) state: SeenState,
}

#[derive(Debug)]
pub(super) enum SeenState {
    /// Handed up, not answered yet.
    Pending(Pending),
    /// The datagram that answered it.
    Replied(Box<[u8]>),
    /// An empty acknowledgement answered it.
    Acknowledged,
    /// Done, and nothing was sent.
    Quiet,
}

/// What answering needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    pub(super) confirmable: bool,
    pub(super) is_request: bool,
    pub(super) token: Token,
    /// RFC 7967: classes of responses that the client does not want.
    pub(super) no_response: u8,
    /// The block that ended its body, to be confirmed in the answer.
    pub(super) block1: Option<Block>,
    /// The part of the answer's body that it asks for.
    pub(super) block2: Option<Block>,
    /// An empty acknowledgement went first.
    pub(super) acknowledged: bool,
}

/// A confirmable of ours in flight (NSTART = 1).
#[derive(Debug)]
pub(super) struct Open {
    pub(super) serial: u32,
    pub(super) msg_id: u16,
    pub(super) token: Token,
    pub(super) datagram: Bytes,
    pub(super) retransmits_left: u32,
    pub(super) timeout: Duration,
    pub(super) first_sent: Instant,
    pub(super) retransmitted: bool,
    /// It was first sent to where the peer was before: its echo says nothing of where it is.
    pub(super) sent_elsewhere: bool,
    /// The request; `None` for a separate response and a ping.
    pub(super) request: Option<Box<Transfer>>,
}

/// A request whose acknowledgement came before its response.
#[derive(Debug)]
pub(super) struct Acknowledged {
    pub(super) serial: u32,
    pub(super) transfer: Box<Transfer>,
}

/// A device that acknowledges and never answers must not fill the memory.
const ACKNOWLEDGED_MAX: usize = 8;

/// A request of ours, possibly over several datagrams (RFC 7959).
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) request: Request,
    pub(super) sender: Sender,
    pub(super) collector: Collector,
    /// The block of the response's body to ask for.
    pub(super) asking: Option<Block>,
    /// The response's first message, when more follow.
    pub(super) first: Option<Incoming>,
    /// A notification that waits for the whole body.
    pub(super) settle: Option<ReplyId>,
}

#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) serial: u32,
    pub(super) what: Queued,
}

/// What waits for its turn.
#[derive(Debug)]
pub(super) enum Queued {
    Request(Box<Transfer>),
    /// A separate response, or a ping: datagram, message id and token are fixed already.
    Response {
        msg_id: u16,
        token: Token,
        datagram: Bytes,
        timing: super::types::Timing,
    },
}

impl Known {
    pub(super) fn new(now: Instant, lifetime: Duration) -> Self {
        Self {
            // One message is what most peers leave; four at once would cost a third of a kilobyte.
            seen: VecDeque::with_capacity(1),
            open: None,
            acknowledged: Vec::new(),
            waiting: VecDeque::new(),
            proven: false,
            received_bytes: 0,
            sent_bytes: 0,
            round_trip: None,
            lifetime,
            last_at: now,
            forget_armed: false,
        }
    }

    /// The peer speaks from another address, which has to prove itself. What is open goes on.
    pub(super) fn relocate(&mut self) {
        self.proven = false;
        self.received_bytes = 0;
        self.sent_bytes = 0;
        if let Some(open) = &mut self.open {
            open.sent_elsewhere = true;
        }
    }

    /// Forgets messages whose time has passed; those still pending stay.
    pub(super) fn prune(&mut self, now: Instant) {
        self.seen
            .retain(|s| s.until > now || matches!(s.state, SeenState::Pending(_)));
    }

    /// Remembers that a response is still to come; gives back the oldest such beyond the bound.
    pub(super) fn await_response(&mut self, acknowledged: Acknowledged) -> Option<Acknowledged> {
        let is_full = self.acknowledged.len() >= ACKNOWLEDGED_MAX;
        let oldest = is_full.then(|| self.acknowledged.remove(0));
        self.acknowledged.push(acknowledged);
        oldest
    }

    /// Removes one of those that wait for their response.
    pub(super) fn take_acknowledged(&mut self, at: usize) -> Acknowledged {
        let taken = self.acknowledged.remove(at);
        if self.acknowledged.is_empty() {
            self.acknowledged = Vec::new();
        }
        taken
    }

    /// Takes the next in line; an empty line gives its memory back.
    pub(super) fn take_waiting(&mut self) -> Option<Waiting> {
        let next = self.waiting.pop_front();
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        next
    }

    pub(super) fn learn_round_trip(&mut self, sample: Duration) {
        match &mut self.round_trip {
            Some(estimate) => estimate.add(sample),
            None => self.round_trip = Some(RoundTrip::first(sample)),
        }
    }

    /// Makes room for one more message; false when all are pending.
    pub(super) fn make_room(&mut self, max: usize) -> bool {
        if self.seen.len() < max {
            return true;
        }
        let done = self
            .seen
            .iter()
            .position(|s| !matches!(s.state, SeenState::Pending(_)));
        done.is_some_and(|at| self.seen.remove(at).is_some())
    }

    pub(super) fn seen(&mut self, msg_id: u16, serial: u32) -> Option<&mut Seen> {
        self.seen
            .iter_mut()
            .rev()
            .find(|s| s.msg_id == msg_id && s.serial == serial)
    }

    /// Nothing is open, nothing would be lost but duplicates.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_none()
            && self.waiting.is_empty()
            && self.acknowledged.is_empty()
            && !self
                .seen
                .iter()
                .any(|s| matches!(s.state, SeenState::Pending(_)))
    }
}

/// Estimate of the round trip (RFC 6298 without its floor), from exchanges that needed no
/// retransmission.
#[derive(Debug, Clone, Copy)]
pub(super) struct RoundTrip {
    smoothed_ms: u32,
    variation_ms: u32,
}

impl RoundTrip {
    pub(super) fn first(sample: Duration) -> Self {
        let smoothed_ms = whole_ms(sample);
        Self {
            smoothed_ms,
            variation_ms: smoothed_ms / 2,
        }
    }

    pub(super) fn add(&mut self, sample: Duration) {
        let sample_ms = whole_ms(sample);
        let off_ms = self.smoothed_ms.abs_diff(sample_ms);
        let mean = |old: u32, new: u32, of: u64| {
            let sum = u64::from(old) * (of - 1) + u64::from(new);
            u32::try_from(sum / of).unwrap_or(u32::MAX)
        };
        self.variation_ms = mean(self.variation_ms, off_ms, 4);
        self.smoothed_ms = mean(self.smoothed_ms, sample_ms, 8);
    }

    /// A time in which the device has answered, as a rule.
    pub(super) fn timeout(self) -> Duration {
        Duration::from_millis(u64::from(self.smoothed_ms) + u64::from(self.variation_ms) * 4)
    }
}

fn whole_ms(sample: Duration) -> u32 {
    u32::try_from(sample.as_millis()).unwrap_or(u32::MAX)
}
