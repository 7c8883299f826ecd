//! What a device has to send: its own requests, reports, and what an upgrade wants; and the one message that
//! waits for its answer.

use std::time::{Duration, Instant};

use coap_lite::Packet;

use super::ReportId;
use crate::sim::upgrade::{Fetch, Notice};

/// Whose doing a report is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Own(ReportId),
    /// The application's, because of a downlink.
    Application,
    /// A frame of an upgrade.
    Upgrade,
}

#[derive(Debug, Clone)]
pub(super) struct Report {
    pub(super) origin: Origin,
    pub(super) payload: Vec<u8>,
    pub(super) confirmable: bool,
    pub(super) sent: bool,
    pub(super) resets: u32,
    /// Since when it waits for the server's observation.
    pub(super) waiting_since: Option<Instant>,
}

impl Report {
    pub(super) const fn of_application(payload: Vec<u8>, confirmable: bool) -> Self {
        Self::new(Origin::Application, payload, confirmable)
    }

    pub(super) const fn of_upgrade(payload: Vec<u8>, confirmable: bool) -> Self {
        Self::new(Origin::Upgrade, payload, confirmable)
    }

    pub(super) const fn new(origin: Origin, payload: Vec<u8>, confirmable: bool) -> Self {
        Self {
            origin,
            payload,
            confirmable,
            sent: false,
            resets: 0,
            waiting_since: None,
        }
    }
}

/// A response with a message id of its own, by the token of its request (RFC 7252 §5.2.2).
#[derive(Debug, Clone)]
pub(super) struct AnswerMessage {
    pub(super) token: Vec<u8>,
    pub(super) code: u8,
    pub(super) payload: Vec<u8>,
    pub(super) confirmable: bool,
}

impl AnswerMessage {
    pub(super) fn new(request: &Packet, code: u8, payload: Vec<u8>, confirmable: bool) -> Self {
        Self {
            token: request.get_token().to_vec(),
            code,
            payload,
            confirmable,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) enum Task {
    Register,
    Update,
    Deregister,
    Report(Report),
    Answer(AnswerMessage),
    /// A block of a package.
    Fetch(Fetch),
    /// A notification of object 5.
    Notice(Notice),
}

impl Task {
    pub(super) fn is_upgrade(&self) -> bool {
        match self {
            Self::Fetch(_) | Self::Notice(_) => true,
            Self::Report(report) => report.origin == Origin::Upgrade,
            Self::Register | Self::Update | Self::Deregister | Self::Answer(_) => false,
        }
    }
}

/// A confirmable message that waits for its acknowledgement or answer.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) task: Task,
    pub(super) msg_id: u16,
    pub(super) token: Vec<u8>,
    pub(super) datagram: Vec<u8>,
    pub(super) retransmits: u32,
    pub(super) timeout: Duration,
    pub(super) deadline: Instant,
    /// An empty acknowledgement came: the answer follows separately.
    pub(super) acknowledged: bool,
}
