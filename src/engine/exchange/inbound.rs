//! Messages of a peer: requests, responses, acknowledgements.

use std::hash::BuildHasher;
use std::time::Instant;

use bytes::Bytes;

use super::blocks::Upload;
use super::peer::{Acknowledged, Known, Open, Pending, Seen, SeenState, Transfer};
use super::types::{Arrival, Event, Failure, Incoming, Outputs, ReplyId, Route};
use super::{Exchange, What};
use crate::base::peer::{Mark, Peer};
use crate::wire::coap::{Builder, Code, Message, Token, Type, option};

/// Critical options that the server understands.
const CRITICAL_OPTIONS: [u16; 9] = [
    option::IF_MATCH,
    option::URI_HOST,
    option::IF_NONE_MATCH,
    option::URI_PORT,
    option::URI_PATH,
    option::URI_QUERY,
    option::ACCEPT,
    option::BLOCK2,
    option::BLOCK1,
];

/// A message that names one of ours by its message id.
pub(super) struct Echo {
    peer: Peer,
    msg_id: u16,
    /// Of its datagram.
    len: usize,
    mark: Option<Mark>,
}

impl Echo {
    pub(super) const fn of(arrival: &Arrival, msg_id: u16) -> Self {
        Self {
            peer: arrival.peer,
            msg_id,
            len: arrival.bytes.len(),
            mark: arrival.mark,
        }
    }
}

impl Exchange {
    /// A confirmable or non-confirmable message with a code: a duplicate, a request, a response.
    pub(super) fn fresh(&mut self, now: Instant, arrival: Arrival, busy: bool, out: &mut Outputs) {
        let Arrival {
            peer: address,
            bytes,
            mark,
            route,
        } = arrival;
        // Message ids are those of a session (RFC 7252 §9.1.1): who rebooted and shook hands anew may use them
        // again for the same bytes.
        let session = mark.map(|mark| mark.session);
        let hash = self.hasher.hash_one((session, &bytes));
        let Ok(message) = Message::parse(&bytes) else {
            return;
        };
        if let Some(peer) = self.peers.get_mut(&address) {
            peer.received_bytes += bytes.len() as u64;
            peer.prune(now);
            if self.repeat(address, &message, hash, out) {
                let repeated = mark.map(|mark| Event::Repeated {
                    peer: address,
                    mark,
                });
                out.events.extend(repeated);
                return;
            }
        }
        if !message.code.is_request() && !message.code.is_response() {
            self.counters.malformed += 1;
            return;
        }
        if let Some(number) = message.options.unknown_critical(&CRITICAL_OPTIONS) {
            self.refuse_option(address, &message, number, out);
            return;
        }
        if busy || !self.admit(now, address, bytes.len()) {
            self.counters.overloaded += 1;
            self.refuse_busy(address, &message, out);
            return;
        }
        let serial = self.next_serial();
        let id = ReplyId {
            peer: address,
            msg_id: message.msg_id,
            serial,
        };
        let pending = Pending {
            confirmable: message.ty == Type::Confirmable,
            is_request: message.code.is_request(),
            token: message.token,
            no_response: message.options.no_response().unwrap_or(0),
            block1: message.options.block1().and_then(Result::ok),
            block2: message.options.block2().and_then(Result::ok),
            acknowledged: false,
        };
        let state = SeenState::Pending(pending);
        let seen = Seen {
            msg_id: message.msg_id,
            serial,
            hash,
            until: now,
            state,
        };
        if let Some(peer) = self.peers.get_mut(&address) {
            peer.seen.push_back(seen);
            // New here, it may be well known below.
            peer.proven |= route == Route::Proven;
        }
        let incoming = Incoming::new(bytes, mark);
        if pending.is_request {
            self.request_in(now, id, pending, incoming, out);
        } else {
            self.response_in(now, id, incoming, out);
        }
    }

    /// Answers a duplicate as the first time; true when it was one.
    fn repeat(
        &mut self,
        address: Peer,
        message: &Message<'_>,
        hash: u64,
        out: &mut Outputs,
    ) -> bool {
        let known = self.peers.get(&address).and_then(|peer| {
            peer.seen
                .iter()
                .rev()
                .find(|s| s.msg_id == message.msg_id && s.hash == hash)
        });
        let Some(seen) = known else {
            return false;
        };
        self.counters.duplicates += 1;
        match &seen.state {
            SeenState::Pending(pending) if pending.acknowledged => {
                self.send_empty(address, Type::Acknowledgement, message.msg_id, out);
            }
            SeenState::Acknowledged => {
                self.send_empty(address, Type::Acknowledgement, message.msg_id, out);
            }
            SeenState::Pending(_) | SeenState::Quiet => {}
            SeenState::Replied(reply) => {
                let reply = Bytes::copy_from_slice(reply);
                self.transmit(address, reply, out);
            }
        }
        true
    }

    /// Room for one more message of this peer, and for the peer.
    pub(super) fn admit(&mut self, now: Instant, address: Peer, len: usize) -> bool {
        if let Some(peer) = self.peers.get_mut(&address) {
            return peer.make_room(self.settings.seen_max);
        }
        if self.peers.len() >= self.settings.peers_max {
            self.make_room(now);
        }
        if self.peers.len() >= self.settings.peers_max {
            return false;
        }
        let mut peer = Known::new(now, self.settings.exchange_lifetime);
        peer.received_bytes = len as u64;
        self.peers.insert(address, Box::new(peer));
        true
    }

    /// 4.02 for a request, RST for a confirmable response (RFC 7252 §5.4.1).
    fn refuse_option(&mut self, peer: Peer, message: &Message<'_>, number: u16, out: &mut Outputs) {
        self.counters.bad_option += 1;
        if message.ty != Type::Confirmable {
            return;
        }
        if !message.code.is_request() {
            self.send_reset(peer, message.msg_id, out);
            return;
        }
        let proxy = number == option::PROXY_URI || number == option::PROXY_SCHEME;
        let code = if proxy {
            Code::PROXYING_NOT_SUPPORTED
        } else {
            Code::BAD_OPTION
        };
        let reply = Builder::new(Type::Acknowledgement, code, message.msg_id, message.token);
        self.transmit(peer, reply.build().into(), out);
    }

    /// 5.03 for a request; silence for a notification, which the device then repeats.
    fn refuse_busy(&mut self, peer: Peer, message: &Message<'_>, out: &mut Outputs) {
        if message.ty == Type::Confirmable && message.code.is_request() {
            let (ty, code) = (Type::Acknowledgement, Code::SERVICE_UNAVAILABLE);
            let reply = Builder::new(ty, code, message.msg_id, message.token)
                .uint_option(option::MAX_AGE, u64::from(self.settings.retry_after_s))
                .build();
            self.transmit(peer, reply.into(), out);
        }
    }

    fn request_in(
        &mut self,
        now: Instant,
        id: ReplyId,
        pending: Pending,
        mut message: Incoming,
        out: &mut Outputs,
    ) {
        match self.collect_upload(now, id, &message.datagram, out) {
            Upload::Whole => {}
            Upload::Complete { body, repeated } => {
                message.body = Some(body);
                message.repeated = repeated;
            }
            Upload::Answered => return,
        }
        if pending.confirmable {
            self.await_answer(now, id);
        }
        out.events.push(Event::Request { id, message });
    }

    /// A separate response, or a notification.
    fn response_in(&mut self, now: Instant, id: ReplyId, message: Incoming, out: &mut Outputs) {
        let Some(token) = message.message().map(|m| m.token) else {
            return;
        };
        let solicited = self.close_by_token(now, id.peer, token, message.mark, out);
        if let Some(transfer) = solicited {
            self.continue_transfer(now, transfer, Some(id), message, out);
            return;
        }
        out.events.push(Event::Response {
            peer: id.peer,
            token,
            settle: Some(id),
            solicited: false,
            message,
        });
    }

    /// Takes the open or acknowledged request with this token.
    fn close_by_token(
        &mut self,
        now: Instant,
        address: Peer,
        token: Token,
        mark: Option<Mark>,
        out: &mut Outputs,
    ) -> Option<Box<Transfer>> {
        let peer = self.peers.get_mut(&address)?;
        let is_open = peer
            .open
            .as_ref()
            .is_some_and(|o| o.token == token && o.request.is_some());
        if is_open {
            let open = peer.open.take()?;
            if open.request.as_ref().is_some_and(|t| t.has_fresh_token()) {
                self.prove(address, &open, mark, out);
            }
            self.next_turn(now, address, out);
            return open.request;
        }
        // Its acknowledgement came before, and proved what there is to prove.
        let at = peer
            .acknowledged
            .iter()
            .position(|a| a.transfer.token() == token)?;
        Some(peer.take_acknowledged(at).transfer)
    }

    /// An empty ACK: the request arrived.
    pub(super) fn acknowledged(&mut self, now: Instant, echo: &Echo, out: &mut Outputs) {
        let address = echo.peer;
        let Some(open) = self.close_by_msg_id(now, echo, out) else {
            self.counters.unmatched += 1;
            return;
        };
        if let Some(transfer) = open.request {
            let wait = transfer.request.timing.max_transmit_wait();
            let serial = open.serial;
            let token = transfer.request.token;
            let is_whole = transfer.is_last();
            let peer = self.peers.get_mut(&address);
            let evicted =
                peer.and_then(|peer| peer.await_response(Acknowledged { serial, transfer }));
            if let Some(evicted) = evicted {
                self.fail(now, evicted.transfer, Failure::Timeout, None, out);
            }
            self.arm(now + wait, address, What::Answer(serial));
            // Of a body in blocks, the device has the body when it has the last.
            if is_whole {
                out.events.push(Event::Acknowledged {
                    peer: address,
                    token,
                    mark: echo.mark,
                });
            }
        }
        self.next_turn(now, address, out);
    }

    /// An ACK that carries the response.
    pub(super) fn piggybacked(&mut self, now: Instant, arrival: &Arrival, out: &mut Outputs) {
        let Ok(message) = Message::parse(&arrival.bytes) else {
            return;
        };
        let (address, mark) = (arrival.peer, arrival.mark);
        let matches = self
            .peers
            .get(&address)
            .and_then(|p| p.open.as_ref())
            .is_some_and(|open| {
                open.msg_id == message.msg_id
                    && open.token == message.token
                    && open.request.is_some()
            });
        if !matches {
            self.counters.unmatched += 1;
            return;
        }
        let echo = Echo::of(arrival, message.msg_id);
        let Some(open) = self.close_by_msg_id(now, &echo, out) else {
            return;
        };
        let Some(transfer) = open.request else {
            return;
        };
        if message
            .options
            .unknown_critical(&CRITICAL_OPTIONS)
            .is_some()
        {
            self.counters.bad_option += 1;
            self.fail(now, transfer, Failure::Reset, mark, out);
        } else {
            let message = Incoming::new(arrival.bytes.clone(), mark);
            self.continue_transfer(now, transfer, None, message, out);
        }
        self.next_turn(now, address, out);
    }

    /// A RST: the device does not know what we sent.
    pub(super) fn reset(&mut self, now: Instant, echo: &Echo, out: &mut Outputs) {
        let Some(open) = self.close_by_msg_id(now, echo, out) else {
            self.counters.unmatched += 1;
            return;
        };
        if let Some(transfer) = open.request {
            self.fail(now, transfer, Failure::Reset, echo.mark, out);
        }
        self.next_turn(now, echo.peer, out);
    }

    /// Takes the open exchange with this message id, learns the round trip, and that the peer
    /// really is there.
    fn close_by_msg_id(
        &mut self,
        now: Instant,
        echo: &Echo,
        out: &mut Outputs,
    ) -> Option<Box<Open>> {
        let peer = self.peers.get_mut(&echo.peer)?;
        peer.received_bytes += echo.len as u64;
        if peer
            .open
            .as_ref()
            .is_none_or(|open| open.msg_id != echo.msg_id)
        {
            return None;
        }
        let open = peer.open.take()?;
        if !open.retransmitted {
            peer.learn_round_trip(now.saturating_duration_since(open.first_sent));
        }
        self.prove(echo.peer, &open, echo.mark, out);
        self.keep(now, echo.peer);
        Some(open)
    }

    /// The peer echoed `open`: its address is its own, if that is where `open` was first sent.
    fn prove(&mut self, address: Peer, open: &Open, mark: Option<Mark>, out: &mut Outputs) {
        let Some(peer) = self.peers.get_mut(&address) else {
            return;
        };
        if peer.proven || open.sent_elsewhere {
            return;
        }
        peer.proven = true;
        if let (Some(device), Some(mark)) = (address.identity(), mark) {
            out.proven.push((device, mark.address));
        }
    }
}
