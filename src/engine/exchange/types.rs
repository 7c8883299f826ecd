//! What goes into and comes out of the exchange layer. Plain data.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::base::peer::{DeviceSeq, Mark, Peer};
use crate::wire::coap::block::Block;
use crate::wire::coap::code::Code;
use crate::wire::coap::message::{Message, Token};

/// Bounds and times of the exchange layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Peers with any state, in total. A new one beyond it gets 5.03.
    pub peers_max: usize,
    /// Messages of one peer that are remembered as possible duplicates.
    pub seen_max: usize,
    /// Requests that wait for their turn towards one peer (NSTART = 1).
    pub waiting_max: usize,
    /// A confirmable request that is not answered by then gets an empty acknowledgement first. Below
    /// the 2 s in which an impatient client repeats itself (RFC 7252 §4.8).
    pub separate_after: Duration,
    /// How long a message id is remembered, until the app names the product's own figure.
    pub exchange_lifetime: Duration,
    /// Bytes sent to an unproven address, as a multiple of the bytes that came from it.
    pub amplification: u64,
    /// Max-Age of a 5.03, in seconds.
    pub retry_after_s: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            peers_max: 1 << 20,
            seen_max: 8,
            waiting_max: 32,
            separate_after: Duration::from_millis(1_500),
            exchange_lifetime: Duration::from_millis(282_500),
            amplification: 3,
            retry_after_s: 60,
        }
    }
}

/// Transmission parameters towards one device (RFC 7252 §4.8).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    pub ack_timeout: Duration,
    pub max_retransmit: u32,
    pub exchange_lifetime: Duration,
}

/// For devices whose product is not known: the defaults of products.
impl Default for Timing {
    fn default() -> Self {
        Self {
            ack_timeout: Duration::from_secs(15),
            max_retransmit: 2,
            exchange_lifetime: Duration::from_millis(282_500),
        }
    }
}

impl Timing {
    /// RFC 7252 §4.8.2, MAX_TRANSMIT_SPAN: how long the other side repeats a message.
    pub fn max_transmit_span(&self) -> Duration {
        let doublings = 1u32.checked_shl(self.max_retransmit).unwrap_or(u32::MAX);
        self.ack_timeout.saturating_mul(doublings - 1).mul_f64(1.5)
    }

    /// RFC 7252 §4.8.2, MAX_TRANSMIT_WAIT: when to stop waiting for an answer.
    pub fn max_transmit_wait(&self) -> Duration {
        let doublings = 1u32
            .checked_shl(self.max_retransmit + 1)
            .unwrap_or(u32::MAX);
        self.ack_timeout.saturating_mul(doublings - 1).mul_f64(1.5)
    }
}

/// A datagram as it reaches the exchange layer: of a secured peer, what its record held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    pub peer: Peer,
    pub bytes: Bytes,
    /// The record that it came in; `None` on the unsecured port.
    pub mark: Option<Mark>,
    pub route: Route,
}

impl Arrival {
    /// A datagram of the unsecured port.
    pub const fn plain(address: SocketAddr, bytes: Bytes) -> Self {
        Self {
            peer: Peer::Plain(address),
            bytes,
            mark: None,
            route: Route::Unproven,
        }
    }
}

/// What is known of the address that a datagram came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Nothing beyond what the exchange layer has seen itself. All of the unsecured port.
    Unproven,
    /// The peer has shown that it is there: by a cookie, or by an echo of before.
    Proven,
    /// The first one since the peer's address changed: it has to prove itself anew.
    Moved,
}

/// A received message, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    pub(super) datagram: Bytes,
    /// The reassembled body, when the message ends a blockwise transfer.
    pub(super) body: Option<Bytes>,
    /// That body was handed out before; its last block came again.
    pub(super) repeated: bool,
    pub(super) mark: Option<Mark>,
}

impl Incoming {
    /// A message of one datagram; `mark`: the record that it came in.
    pub const fn new(datagram: Bytes, mark: Option<Mark>) -> Self {
        Self {
            datagram,
            body: None,
            repeated: false,
            mark,
        }
    }

    /// The message; `None` never happens for one that the exchange layer handed out.
    pub fn message(&self) -> Option<Message<'_>> {
        Message::parse(&self.datagram).ok()
    }

    /// The payload, reassembled when it came in blocks.
    pub fn payload(&self) -> Bytes {
        if let Some(body) = &self.body {
            return body.clone();
        }
        let Some(message) = self.message() else {
            return Bytes::new();
        };
        self.datagram.slice_ref(message.payload)
    }

    /// The body was put together from blocks.
    pub fn is_whole(&self) -> bool {
        self.body.is_some()
    }

    /// The body was handed out before: its last block came again.
    pub fn is_repeated(&self) -> bool {
        self.repeated
    }

    /// The DTLS record that it came in; of a body in blocks, that of the last one.
    pub const fn mark(&self) -> Option<Mark> {
        self.mark
    }

    /// The bytes as they arrived.
    pub fn datagram(&self) -> &Bytes {
        &self.datagram
    }
}

/// Names a received message that waits for [`super::Exchange::respond`] or
/// [`super::Exchange::settle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplyId {
    pub peer: Peer,
    pub(super) msg_id: u16,
    pub(super) serial: u32,
}

/// What the exchange layer reports.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A request: answer it with `respond`.
    Request { id: ReplyId, message: Incoming },
    /// A response or notification. With `settle`, it waits for its acknowledgement.
    Response {
        peer: Peer,
        token: Token,
        settle: Option<ReplyId>,
        /// It answers a request of ours that was still open.
        solicited: bool,
        message: Incoming,
    },
    /// A message that was handed out before came again in another record. It was answered here; the
    /// record must not count as new for a server that starts anew.
    Repeated { peer: Peer, mark: Mark },
    /// The device acknowledged a request; its response may follow.
    Acknowledged {
        peer: Peer,
        token: Token,
        mark: Option<Mark>,
    },
    /// The device took a block of a request with [`Push`], and more follow. `done`: bytes until there, of
    /// `total`.
    Sent {
        peer: Peer,
        token: Token,
        done: usize,
        total: usize,
    },
    /// A request of ours came to nothing. `mark`: of the message that ended it; `None` when time
    /// did, or the server itself.
    Failed {
        peer: Peer,
        token: Token,
        reason: Failure,
        mark: Option<Mark>,
    },
}

/// Why a request came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No acknowledgement after the last retransmission.
    Timeout,
    /// The device answered RST.
    Reset,
    /// Another exchange with the device did not end in time, or too many wait.
    Busy,
    /// The body could not be transferred in blocks.
    Blockwise,
}

/// An answer to a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    pub code: Code,
    /// Option number and value, in any order.
    pub options: Vec<(u16, Vec<u8>)>,
    pub payload: Bytes,
    /// The payload is a part of a longer body; `None`: it is the whole, and cut here.
    pub part: Option<Part>,
    /// A message id never used towards this device, for when the answer can't ride on the
    /// acknowledgement. `None`: the exchange layer takes one of its own (strangers).
    pub msg_id: Option<u16>,
    /// How long to keep the answer for duplicates; the exchange lifetime at most. Nothing: a
    /// repetition is handed up again, but the peer is still there. `None` for refusals of strangers:
    /// they must not cost memory.
    pub remember: Option<Duration>,
    pub timing: Option<Timing>,
}

impl Response {
    /// An answer without options and payload, not kept.
    pub const fn refusal(code: Code) -> Self {
        Self {
            code,
            options: Vec::new(),
            payload: Bytes::new(),
            part: None,
            msg_id: None,
            remember: None,
            timing: None,
        }
    }
}

/// Which part of a body a payload is, where the body is too long to be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The Block2 of the answer.
    pub block: Block,
    /// Of the whole body.
    pub etag: [u8; 8],
}

/// How a response or notification of a device ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle {
    /// Its effect is durable.
    Acknowledge,
    /// Nobody asked for it.
    Reset,
    /// Its effect could not be made durable: no answer, so that the device repeats it.
    Silent,
}

/// A confirmable request to a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub peer: Peer,
    pub token: Token,
    /// For the further blocks of an answer: those of an observation can't be told from its
    /// notifications by the same token (RFC 7959 §3.4).
    pub body_token: Token,
    pub code: Code,
    pub options: Vec<(u16, Vec<u8>)>,
    pub payload: Bytes,
    /// Message ids never used towards this device: one for each datagram of the exchange.
    pub msg_ids: MsgIds,
    pub timing: Timing,
    /// Fails as busy when its turn has not come by then.
    pub turn_within: Option<Duration>,
    /// Goes on with the body of a notification that came in part.
    pub resume: Option<Resume>,
    /// The payload is long, and it is told how far it is.
    pub push: Option<Push>,
}

/// A payload that takes long: each of its blocks that the device took is told ([`Event::Sent`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Push {
    /// Bytes that the device has already. From the start, if these don't fill blocks of 16 bytes.
    pub from: usize,
    /// The exponent of the first block's size, at most 6.
    pub szx: u8,
}

/// A notification whose body goes on in further blocks (RFC 7959 §3.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    pub first: Incoming,
    /// The notification itself, acknowledged when the whole body has had its effect.
    pub settle: Option<ReplyId>,
}

/// A run of message ids, modulo 65536.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MsgIds {
    pub first: u16,
    pub count: u16,
}

impl MsgIds {
    /// The next unused one.
    pub fn take(&mut self) -> Option<u16> {
        self.count = self.count.checked_sub(1)?;
        let taken = self.first;
        self.first = taken.wrapping_add(1);
        Some(taken)
    }
}

/// What the app tells the exchange layer.
#[derive(Debug, Clone, PartialEq)]
pub enum Outgoing {
    Respond {
        id: ReplyId,
        response: Response,
    },
    Settle {
        id: ReplyId,
        how: Settle,
        timing: Option<Timing>,
    },
    Request(Box<Request>),
    /// Ends requests of ours without a report: all of them before the next in line has its turn.
    Cancel {
        peer: Peer,
        tokens: Vec<Token>,
    },
}

/// What the exchange layer wants done now.
#[derive(Debug, Default)]
pub struct Outputs {
    pub datagrams: Vec<(Peer, Bytes)>,
    pub events: Vec<Event>,
    /// Secured peers that proved the address that they had moved to.
    pub proven: Vec<(DeviceSeq, SocketAddr)>,
}

/// What happened so far, for metrics. Each only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub received: u64,
    pub sent: u64,
    pub malformed: u64,
    pub duplicates: u64,
    pub retransmitted: u64,
    pub timeouts: u64,
    pub resets_sent: u64,
    pub bad_option: u64,
    pub overloaded: u64,
    /// Datagrams not sent: the address had not proven itself and would have got too much.
    pub amplification_stopped: u64,
    /// Acknowledgements and responses that match nothing.
    pub unmatched: u64,
}
