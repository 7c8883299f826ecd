//! What can happen to a device, and how it is answered.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;

use super::order::{Order, OrderError, Ticket};
use super::trace::{self, Direction};
use crate::base::peer::{Mark, Peer};
use crate::engine::exchange::{Failure, ReplyId, Resume};
use crate::engine::limit::Limit;
use crate::engine::registration::{Register, Update};
use crate::store::records::RegistrationKind;
use crate::wire::coap::Code;

/// Why an observation was not established.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unobserved {
    /// The device said that it won't.
    Refused,
    /// It said nothing, or that it can't now.
    Unanswered,
    /// It was not asked: something else was under way for as long as it listened.
    Unsent,
}

/// What happened to a device.
#[derive(Debug, Clone)]
pub enum Input {
    Register {
        from: From,
        register: Register,
        kind: RegistrationKind,
        links: String,
    },
    Update {
        from: From,
        update: Update,
        links: Option<String>,
    },
    Deregister {
        from: From,
    },
    Report {
        from: From,
        payload: Bytes,
        content_format: Option<u16>,
        via: Via,
    },
    /// A notification whose body goes on in further blocks.
    Partial {
        origin: Origin,
        token: u64,
        resume: Box<Resume>,
    },
    /// A request of ours (an observation) came to nothing.
    ObserveFailed {
        origin: Origin,
        reply: Reply,
        token: u64,
        why: Unobserved,
    },
    /// A notification with a token that is not ours came from the device.
    Strayed {
        origin: Origin,
    },
    /// A message of before came again in another record, and was answered.
    Repeated {
        origin: Origin,
    },
    /// The device acknowledged a command, or what else went down.
    Acknowledged {
        origin: Origin,
        token: u64,
    },
    /// The device answered such a thing, by its token.
    Answered {
        from: From,
        token: u64,
        code: Code,
        payload: Bytes,
        content_format: Option<u16>,
    },
    /// Such a thing came to nothing.
    RequestFailed {
        origin: Origin,
        token: u64,
        reason: Failure,
    },
    /// What was under way when a commit was in doubt goes on: these tokens of it.
    Resume {
        tokens: Vec<u64>,
    },
    /// An application asks for something.
    Order {
        order: Order,
        ticket: Ticket,
    },
    /// It passed a limit, which is to be told.
    Over {
        limit: Limit,
    },
    /// A timer fired.
    Due,
    /// The API changed the device.
    Changed,
}

/// Who sent the message that an input is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    pub peer: Peer,
    /// The record that it came in; `None` on the unsecured port, and for what no message caused.
    pub mark: Option<Mark>,
}

impl Origin {
    pub const fn is_secured(self) -> bool {
        self.peer.identity().is_some()
    }

    /// Where the sender was; port 0 when nobody knows.
    pub fn address(self) -> SocketAddr {
        match (self.peer, self.mark) {
            (Peer::Plain(address), _) => address,
            (Peer::Secured(_), Some(mark)) => mark.address,
            (Peer::Secured(_), None) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = if self.is_secured() { " over DTLS" } else { "" };
        write!(f, "{}{over}", self.address())
    }
}

/// Where an input came from and how it is answered.
#[derive(Debug, Clone, Copy)]
pub struct From {
    pub reply: Reply,
    pub origin: Origin,
    /// Recognises the same datagram when it comes again.
    pub key: u64,
    /// The key is that of a body in blocks that is sent anew: a repetition only of what a former
    /// process took, since this one would know the transfer. Else it is an equal report.
    pub is_new_transfer: bool,
}

/// How an input is answered.
#[derive(Debug, Clone, Copy)]
pub enum Reply {
    /// With a response.
    Request(ReplyId),
    /// With an acknowledgement.
    Notification(ReplyId),
    /// It rode on an acknowledgement: not at all.
    None,
}

/// How a report came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// `POST /t/d`.
    Post,
    /// On an observation of ours.
    Notification { token: u64, answer: Answer },
}

/// Whether a notification answers the observe request itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// No: it is a notification.
    No,
    /// Yes, and the device observes.
    Observed,
    /// Yes, with data, but the device does not observe (RFC 7641 §4.1).
    Unobserved,
}

impl Input {
    /// How it is answered; `None` for what nobody waits for.
    pub fn reply(&self) -> Option<Reply> {
        match self {
            Self::Register { from, .. }
            | Self::Update { from, .. }
            | Self::Deregister { from }
            | Self::Answered { from, .. }
            | Self::Report { from, .. } => Some(from.reply),
            Self::Partial { resume, .. } => resume.settle.map(Reply::Notification),
            Self::ObserveFailed { reply, .. } => Some(*reply),
            Self::Strayed { .. }
            | Self::Repeated { .. }
            | Self::Acknowledged { .. }
            | Self::RequestFailed { .. }
            | Self::Resume { .. }
            | Self::Order { .. }
            | Self::Over { .. }
            | Self::Due
            | Self::Changed => None,
        }
    }

    /// Answers who gave an order, if it is one.
    pub fn refuse_order(&self, error: OrderError) {
        if let Self::Order { ticket, .. } = self {
            ticket.answer(Err(error));
        }
    }

    /// Who caused it; `None` for what the device has no part in.
    pub fn origin(&self) -> Option<Origin> {
        match self {
            Self::Register { from, .. }
            | Self::Update { from, .. }
            | Self::Deregister { from }
            | Self::Answered { from, .. }
            | Self::Report { from, .. } => Some(from.origin),
            Self::Partial { origin, .. }
            | Self::Acknowledged { origin, .. }
            | Self::ObserveFailed { origin, .. }
            | Self::Strayed { origin }
            | Self::Repeated { origin } => Some(*origin),
            // Nobody's message has to cause it.
            Self::RequestFailed { origin, .. } => origin.mark.is_some().then_some(*origin),
            Self::Resume { .. }
            | Self::Order { .. }
            | Self::Over { .. }
            | Self::Due
            | Self::Changed => None,
        }
    }

    /// The observation that it is a notification of.
    pub const fn notifies(&self) -> Option<u64> {
        match self {
            Self::Report {
                via: Via::Notification { token, .. },
                ..
            }
            | Self::Partial { token, .. } => Some(*token),
            Self::Report { via: Via::Post, .. }
            | Self::Register { .. }
            | Self::Update { .. }
            | Self::Deregister { .. }
            | Self::ObserveFailed { .. }
            | Self::Strayed { .. }
            | Self::Repeated { .. }
            | Self::Acknowledged { .. }
            | Self::Answered { .. }
            | Self::RequestFailed { .. }
            | Self::Resume { .. }
            | Self::Order { .. }
            | Self::Over { .. }
            | Self::Due
            | Self::Changed => None,
        }
    }

    /// Stable word for traces.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Register { .. } => "register",
            Self::Update { .. } => "update",
            Self::Deregister { .. } => "deregister",
            Self::Report { .. } | Self::Partial { .. } | Self::Repeated { .. } => "uplink",
            Self::ObserveFailed { .. } | Self::Strayed { .. } => "observe",
            Self::Acknowledged { .. }
            | Self::Answered { .. }
            | Self::RequestFailed { .. }
            | Self::Resume { .. } => "downlink",
            Self::Order {
                order: Order::Submit(_),
                ..
            } => "command",
            Self::Order {
                order: Order::Desire(_),
                ..
            } => "shadow",
            Self::Order {
                order: Order::Replay(_),
                ..
            } => "uplink",
            Self::Order {
                order: Order::Upgrade(_),
                ..
            } => "upgrade",
            Self::Over { .. } => "limit",
            Self::Due => "timer",
            Self::Changed => "change",
        }
    }

    /// Where it came from, for traces.
    pub const fn direction(&self) -> Direction {
        match self {
            Self::Register { .. }
            | Self::Update { .. }
            | Self::Deregister { .. }
            | Self::Report { .. }
            | Self::Partial { .. }
            | Self::ObserveFailed { .. }
            | Self::Strayed { .. }
            | Self::Repeated { .. }
            | Self::Acknowledged { .. }
            | Self::Answered { .. } => Direction::Up,
            Self::RequestFailed { reason, .. } => match reason {
                Failure::Reset => Direction::Up,
                Failure::Timeout | Failure::Busy | Failure::Blockwise => Direction::Platform,
            },
            Self::Resume { .. }
            | Self::Order { .. }
            | Self::Over { .. }
            | Self::Due
            | Self::Changed => Direction::Platform,
        }
    }

    /// The payload of a report, for traces.
    pub fn hex(&self) -> Option<String> {
        match self {
            Self::Report { payload, .. } | Self::Answered { payload, .. } => {
                Some(trace::hex_of(payload))
            }
            Self::Register { .. }
            | Self::Update { .. }
            | Self::Deregister { .. }
            | Self::Partial { .. }
            | Self::ObserveFailed { .. }
            | Self::Strayed { .. }
            | Self::Repeated { .. }
            | Self::Acknowledged { .. }
            | Self::RequestFailed { .. }
            | Self::Resume { .. }
            | Self::Order { .. }
            | Self::Over { .. }
            | Self::Due
            | Self::Changed => None,
        }
    }
}
