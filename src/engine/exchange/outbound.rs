//! Messages to a peer: answers, acknowledgements, requests and their retransmission.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::peer::{Open, Pending, Queued, SeenState, Transfer, Waiting};
use super::types::{Event, Failure, Outgoing, Outputs, ReplyId, Request, Response, Settle, Timing};
use super::{Exchange, What, blocks};
use crate::base::peer::{Mark, Peer};
use crate::wire::coap::{Block, Token, Type};

/// The random factor of RFC 7252 §4.8: a timeout is up to half as long again.
const RANDOM_FACTOR: f64 = 1.5;

/// What an address that the app names, and of which nothing is remembered any more, counts as having
/// sent: the registration that made it known. Enough for a request whose acknowledgement proves it.
const KNOWN_BYTES: usize = 100;

impl Exchange {
    /// Does what the app decided.
    pub fn send(&mut self, now: Instant, outgoing: Outgoing, out: &mut Outputs) {
        match outgoing {
            Outgoing::Respond { id, response } => self.respond(now, id, response, out),
            Outgoing::Settle { id, how, timing } => self.settle(now, id, how, timing, out),
            Outgoing::Request(request) => self.request(now, *request, out),
            Outgoing::Cancel { peer, tokens } => self.cancel(now, peer, &tokens, out),
        }
    }

    /// Answers a request: on its acknowledgement, or separately when that went out before.
    pub fn respond(&mut self, now: Instant, id: ReplyId, response: Response, out: &mut Outputs) {
        let Some(pending) = self.pending(id) else {
            return;
        };
        self.adopt(id.peer, response.timing);
        let class = response.code.class();
        let unwanted = pending.no_response & (1u8 << (class.saturating_sub(1) & 7)) != 0;
        let remember = response.remember;
        if unwanted {
            self.acknowledge_quietly(now, id, pending, remember, out);
            return;
        }
        let separate = !pending.confirmable || pending.acknowledged;
        let msg_id = match (separate, response.msg_id) {
            (false, _) => id.msg_id,
            (true, Some(reserved)) => reserved,
            (true, None) => {
                self.stranger_msg_id = self.stranger_msg_id.wrapping_add(1);
                self.stranger_msg_id
            }
        };
        let ty = match (pending.confirmable, separate) {
            (true, false) => Type::Acknowledgement,
            (true, true) => Type::Confirmable,
            (false, _) => Type::NonConfirmable,
        };
        let timing = response.timing.unwrap_or_default();
        let head = (ty, msg_id);
        let datagram: Bytes = blocks::answer(head, &pending, &response).build().into();
        if ty == Type::Confirmable {
            let (token, serial) = (pending.token, self.next_serial());
            let what = Queued::Response {
                msg_id,
                token,
                datagram,
                timing,
            };
            // First, so that a stranger is not forgotten before it has its answer.
            self.enqueue(now, id.peer, Waiting { serial, what }, out);
            // A repetition means that the acknowledgement was lost.
            self.finish(now, id, SeenState::Acknowledged, remember);
        } else {
            let reply = match remember.is_some_and(|span| !span.is_zero()) {
                // A copy of its exact size: most peers leave nothing else behind.
                true => SeenState::Replied(datagram.as_ref().into()),
                false => SeenState::Quiet,
            };
            let is_sent = self.transmit(id.peer, datagram, out);
            self.finish(now, id, reply, remember);
            if !is_sent && remember.is_some() {
                self.probe(now, id.peer, out);
            }
        }
    }

    /// The client asked for no answer (RFC 7967): a confirmable is still acknowledged.
    fn acknowledge_quietly(
        &mut self,
        now: Instant,
        id: ReplyId,
        pending: Pending,
        remember: Option<Duration>,
        out: &mut Outputs,
    ) {
        if !pending.confirmable || pending.acknowledged {
            self.finish(now, id, SeenState::Quiet, remember);
            return;
        }
        self.send_empty(id.peer, Type::Acknowledgement, id.msg_id, out);
        self.finish(now, id, SeenState::Acknowledged, remember);
    }

    /// Ends a response or notification of the device.
    pub fn settle(
        &mut self,
        now: Instant,
        id: ReplyId,
        how: Settle,
        timing: Option<Timing>,
        out: &mut Outputs,
    ) {
        let Some(pending) = self.pending(id) else {
            return;
        };
        self.adopt(id.peer, timing);
        let always = Some(Duration::MAX);
        let ty = match how {
            Settle::Acknowledge if pending.confirmable => Type::Acknowledgement,
            Settle::Acknowledge => {
                self.finish(now, id, SeenState::Quiet, always);
                return;
            }
            Settle::Reset => Type::Reset,
            Settle::Silent => {
                self.finish(now, id, SeenState::Quiet, None);
                return;
            }
        };
        self.send_empty(id.peer, ty, id.msg_id, out);
        let remember = always.filter(|_| how == Settle::Acknowledge);
        self.finish(now, id, SeenState::Acknowledged, remember);
    }

    /// Sends a confirmable request, or queues it behind the open exchange with its peer.
    pub fn request(&mut self, now: Instant, request: Request, out: &mut Outputs) {
        let (address, token) = (request.peer, request.token);
        let turn_within = request.turn_within;
        let serial = self.next_serial();
        let transfer = match Transfer::new(request) {
            Ok(transfer) => Box::new(transfer),
            Err(settle) => {
                self.give_up(now, settle, out);
                let reason = Failure::Blockwise;
                out.events.push(Event::Failed {
                    peer: address,
                    token,
                    reason,
                    mark: None,
                });
                return;
            }
        };
        if !self.peers.contains_key(&address) {
            if !self.admit(now, address, KNOWN_BYTES) {
                self.counters.overloaded += 1;
                self.fail(now, transfer, Failure::Busy, None, out);
                return;
            }
            // Nothing is remembered of its address here, but the layer below knows whether it is
            // proven, and bounds what goes there.
            if let Some(peer) = self.peers.get_mut(&address) {
                peer.proven = address.identity().is_some();
            }
        }
        self.adopt(address, Some(transfer.request.timing));
        // A body that goes down was asked for by whoever runs the server: nobody makes it come by
        // naming an address that is not his, so it may go there with its repetitions.
        if let Some(peer) = self.peers.get_mut(&address) {
            peer.received_bytes += transfer.request.payload.len() as u64;
        }
        let waiting = Waiting {
            serial,
            what: Queued::Request(transfer),
        };
        self.enqueue(now, address, waiting, out);
        if let Some(within) = turn_within {
            self.arm(now + within, address, What::Turn(serial));
        }
    }

    /// Ends requests of ours, whatever their state.
    pub fn cancel(&mut self, now: Instant, address: Peer, tokens: &[Token], out: &mut Outputs) {
        let Some(peer) = self.peers.get_mut(&address) else {
            return;
        };
        let is_it = |transfer: &Transfer| tokens.contains(&transfer.request.token);
        let mut gone = Vec::new();
        for waiting in std::mem::take(&mut peer.waiting) {
            match waiting.what {
                Queued::Request(transfer) if is_it(&transfer) => gone.push(transfer),
                Queued::Request(_) | Queued::Response { .. } => peer.waiting.push_back(waiting),
            }
        }
        while let Some(at) = peer.acknowledged.iter().position(|a| is_it(&a.transfer)) {
            gone.push(peer.take_acknowledged(at).transfer);
        }
        let open = peer
            .open
            .take_if(|o| o.request.as_deref().is_some_and(is_it));
        gone.extend(open.and_then(|open| open.request));
        for transfer in gone {
            self.give_up(now, transfer.settle, out);
        }
        self.next_turn(now, address, out);
    }

    fn pending(&mut self, id: ReplyId) -> Option<Pending> {
        let seen = self.peers.get_mut(&id.peer)?.seen(id.msg_id, id.serial)?;
        match seen.state {
            SeenState::Pending(pending) => Some(pending),
            SeenState::Replied(_) | SeenState::Acknowledged | SeenState::Quiet => None,
        }
    }

    /// The answer to this request confirms a block other than the one that it carries.
    pub(super) fn confirm_block(&mut self, id: ReplyId, block: Option<Block>) {
        let seen = self
            .peers
            .get_mut(&id.peer)
            .and_then(|p| p.seen(id.msg_id, id.serial));
        if let Some(SeenState::Pending(pending)) = seen.map(|s| &mut s.state) {
            pending.block1 = block;
        }
    }

    /// Takes over the product's exchange lifetime.
    fn adopt(&mut self, address: Peer, timing: Option<Timing>) {
        if let (Some(timing), Some(peer)) = (timing, self.peers.get_mut(&address)) {
            peer.lifetime = timing.exchange_lifetime;
        }
    }

    /// Remembers how a message was answered for so long, the exchange lifetime at most, or forgets
    /// that it came.
    pub(super) fn finish(
        &mut self,
        now: Instant,
        id: ReplyId,
        state: SeenState,
        remember: Option<Duration>,
    ) {
        let Some(peer) = self.peers.get_mut(&id.peer) else {
            return;
        };
        if let Some(span) = remember.filter(|span| !span.is_zero()) {
            let until = now + span.min(peer.lifetime);
            if let Some(seen) = peer.seen(id.msg_id, id.serial) {
                seen.state = state;
                seen.until = until;
            }
            self.keep(now, id.peer);
        } else {
            peer.seen
                .retain(|s| s.msg_id != id.msg_id || s.serial != id.serial);
            match remember {
                Some(_) => self.keep(now, id.peer),
                None => self.drop_stranger(id.peer),
            }
        }
    }

    /// Ends a request of ours without success. What waited for its answer is heard again when the
    /// device repeats it. A refusal in the middle of a body is none of the whole. `mark`: of the
    /// message that ended it.
    pub(super) fn fail(
        &mut self,
        now: Instant,
        transfer: Box<Transfer>,
        reason: Failure,
        mark: Option<Mark>,
        out: &mut Outputs,
    ) {
        let (peer, token) = (transfer.request.peer, transfer.request.token);
        let reason = match (reason, transfer.asking) {
            (Failure::Reset, Some(_)) => Failure::Blockwise,
            (reason, _) => reason,
        };
        self.give_up(now, transfer.settle, out);
        out.events.push(Event::Failed {
            peer,
            token,
            reason,
            mark,
        });
    }

    /// A notification whose body did not come: the device may repeat it.
    fn give_up(&mut self, now: Instant, settle: Option<ReplyId>, out: &mut Outputs) {
        if let Some(id) = settle {
            self.settle(now, id, Settle::Silent, None, out);
        }
    }

    fn fail_waiting(&mut self, now: Instant, waiting: Waiting, reason: Failure, out: &mut Outputs) {
        match waiting.what {
            Queued::Request(transfer) => self.fail(now, transfer, reason, None, out),
            // The client asks again.
            Queued::Response { .. } => {}
        }
    }

    pub(super) fn enqueue(
        &mut self,
        now: Instant,
        address: Peer,
        next: Waiting,
        out: &mut Outputs,
    ) {
        let waiting_max = self.settings.waiting_max;
        self.keep(now, address);
        let Some(peer) = self.peers.get_mut(&address) else {
            return;
        };
        if peer.waiting.len() >= waiting_max {
            self.counters.overloaded += 1;
            self.fail_waiting(now, next, Failure::Busy, out);
            return;
        }
        peer.waiting.push_back(next);
        self.next_turn(now, address, out);
    }

    /// Opens the next waiting exchange if none is open.
    pub(super) fn next_turn(&mut self, now: Instant, address: Peer, out: &mut Outputs) {
        while let Some(peer) = self.peers.get_mut(&address) {
            if peer.open.is_some() {
                return;
            }
            let Some(Waiting { serial, what }) = peer.take_waiting() else {
                return;
            };
            match what {
                Queued::Request(transfer) => self.open_request(now, serial, transfer, out),
                Queued::Response {
                    msg_id,
                    token,
                    datagram,
                    timing,
                } => {
                    let open = Opening {
                        serial,
                        msg_id,
                        token,
                        datagram,
                        timing,
                    };
                    self.open(now, address, open, None, out);
                }
            }
        }
    }

    /// Sends the next datagram of a transfer.
    pub(super) fn open_request(
        &mut self,
        now: Instant,
        serial: u32,
        mut transfer: Box<Transfer>,
        out: &mut Outputs,
    ) {
        let (address, timing) = (transfer.request.peer, transfer.request.timing);
        let msg_id = transfer.request.msg_ids.take();
        let next = msg_id.and_then(|msg_id| Some((msg_id, transfer.datagram(msg_id)?)));
        let Some((msg_id, datagram)) = next else {
            self.fail(now, transfer, Failure::Blockwise, None, out);
            return;
        };
        let token = transfer.token();
        let open = Opening {
            serial,
            msg_id,
            token,
            datagram,
            timing,
        };
        self.open(now, address, open, Some(transfer), out);
    }

    fn open(
        &mut self,
        now: Instant,
        address: Peer,
        opening: Opening,
        request: Option<Box<Transfer>>,
        out: &mut Outputs,
    ) {
        let Opening {
            serial,
            msg_id,
            token,
            datagram,
            timing,
        } = opening;
        let factor = 1.0 + self.rng.f64() * (RANDOM_FACTOR - 1.0);
        let Some(peer) = self.peers.get_mut(&address) else {
            return;
        };
        // A device known to be slow gets up to twice the product's time: a retransmission that
        // crosses the answer costs it a radio second for nothing.
        let estimate = peer
            .round_trip
            .map_or(timing.ack_timeout, super::peer::RoundTrip::timeout);
        let base = estimate.clamp(timing.ack_timeout, timing.ack_timeout * 2);
        let timeout = base.mul_f64(factor);
        peer.open = Some(Box::new(Open {
            serial,
            msg_id,
            token,
            datagram: datagram.clone(),
            retransmits_left: timing.max_retransmit,
            timeout,
            first_sent: now,
            retransmitted: false,
            sent_elsewhere: false,
            request,
        }));
        peer.last_at = now;
        self.transmit(address, datagram, out);
        self.arm(now + timeout, address, What::Retransmit(serial));
    }

    /// The open exchange was not acknowledged in time.
    pub(super) fn retransmit(
        &mut self,
        now: Instant,
        address: Peer,
        serial: u32,
        out: &mut Outputs,
    ) {
        let Some(peer) = self.peers.get_mut(&address) else {
            return;
        };
        let Some(open) = peer.open.as_mut().filter(|open| open.serial == serial) else {
            return;
        };
        if let Some(left) = open.retransmits_left.checked_sub(1) {
            open.retransmits_left = left;
            open.retransmitted = true;
            open.timeout *= 2;
            let (datagram, timeout) = (open.datagram.clone(), open.timeout);
            self.counters.retransmitted += 1;
            self.transmit(address, datagram, out);
            self.arm(now + timeout, address, What::Retransmit(serial));
            return;
        }
        self.counters.timeouts += 1;
        if let Some(transfer) = peer.open.take().and_then(|open| open.request) {
            self.fail(now, transfer, Failure::Timeout, None, out);
        }
        self.next_turn(now, address, out);
    }

    /// An acknowledged request was never answered.
    pub(super) fn miss_answer(
        &mut self,
        now: Instant,
        address: Peer,
        serial: u32,
        out: &mut Outputs,
    ) {
        let Some(peer) = self.peers.get_mut(&address) else {
            return;
        };
        if let Some(at) = peer.acknowledged.iter().position(|a| a.serial == serial) {
            let transfer = peer.take_acknowledged(at).transfer;
            self.counters.timeouts += 1;
            self.fail(now, transfer, Failure::Timeout, None, out);
        }
    }

    /// A waiting request gives up.
    pub(super) fn miss_turn(
        &mut self,
        now: Instant,
        address: Peer,
        serial: u32,
        out: &mut Outputs,
    ) {
        let Some(peer) = self.peers.get_mut(&address) else {
            return;
        };
        if let Some(at) = peer.waiting.iter().position(|w| w.serial == serial)
            && let Some(waiting) = peer.waiting.remove(at)
        {
            self.fail_waiting(now, waiting, Failure::Busy, out);
        }
    }
}

/// A confirmable about to be sent for the first time.
struct Opening {
    serial: u32,
    msg_id: u16,
    token: Token,
    datagram: Bytes,
    timing: Timing,
}
