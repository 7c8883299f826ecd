//! What happens to a simulated device, as its driver hears it. Failures are outcomes here: nothing of
//! it is an error of the program.

use crate::sim::message;
use crate::sim::upgrade;

/// Names one report of one device; counts from 1.
pub type ReportId = u64;

/// Why a request or report came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("no answer")]
    Timeout,
    #[error("answered {}", message::code_text(*.0))]
    Refused(u8),
    #[error("answered with a reset")]
    Reset,
    #[error("the server did not observe the device in time")]
    NotObserved,
    #[error("the device could not register")]
    NotRegistered,
    #[error("the device's queue is full")]
    QueueFull,
    #[error("the payload does not fit one datagram")]
    TooLong,
    #[error("the device was rebooted")]
    Rebooted,
}

impl Failure {
    /// Word for a tally: the code of a refusal, the kind of anything else.
    pub fn reason(self) -> String {
        match self {
            Self::Refused(code) => message::code_text(code),
            other => other.kind().to_owned(),
        }
    }

    /// Stable word for tallies; never reworded.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Refused(_) => "refused",
            Self::Reset => "reset",
            Self::NotObserved => "not_observed",
            Self::NotRegistered => "not_registered",
            Self::QueueFull => "queue_full",
            Self::TooLong => "too_long",
            Self::Rebooted => "rebooted",
        }
    }
}

/// What happened to the device, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Registered {
        location: String,
    },
    RegisterFailed {
        failure: Failure,
    },
    Observed {
        token: Vec<u8>,
    },
    Updated,
    /// The server knows the registration no more (4.04 to an update).
    Gone,
    Deregistered {
        failure: Option<Failure>,
    },
    Sent {
        report: ReportId,
        payload: Vec<u8>,
        confirmable: bool,
    },
    Retransmitted,
    /// Nothing answered a message and all its repetitions: the server or the session is gone.
    Unanswered,
    Acknowledged {
        report: ReportId,
    },
    /// Answered with a reset; it goes once more after the next observation.
    Reset {
        report: ReportId,
    },
    Failed {
        report: ReportId,
        failure: Failure,
    },
    /// The server wrote to or executed 19/1/0, or posted to `/t/d`; a refused one counts too.
    Downlink {
        payload: Vec<u8>,
    },
    /// The device's application took a downlink; `order` counts from 1.
    Executed {
        order: u64,
        msg_id: u16,
        payload: Vec<u8>,
    },
    /// A request came again and was recognised.
    Repeated {
        msg_id: u16,
    },
    /// The application's answer to a downlink left, or what it reports because of one.
    AnswerSent {
        payload: Vec<u8>,
    },
    AnswerAcknowledged,
    AnswerFailed {
        failure: Failure,
    },
    Rebooted,
    Upgrade(upgrade::Event),
    /// A datagram that is no CoAP message.
    Malformed,
}
