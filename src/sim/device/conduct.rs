//! How a device treats commands: well, as most firmware does, or badly, as some does.
//!
//! ```text
//! downlink -> [recognised?] -> receipt (after receipt_after) -> application -> answer (after answer_after)
//! ```
//!
//! A downlink is a PUT or POST of 19/1/0, or `POST /t/d`. The receipt is what the message layer says
//! about it, the answer is what the application says: two messages, whose order the two delays
//! decide. An answer that is due before its receipt overtakes it (RFC 7252 §5.2.2). [`Conduct::default`] is
//! the good device: 2.04 in the acknowledgement, one confirmable report as the answer, at once.

use std::time::Duration;

use crate::sim::message;

/// Largest block size exponent: 1024 bytes (RFC 7959 §2.2).
pub const SZX_MAX: u8 = 6;

/// What the message layer says about a downlink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// 2.04 in the acknowledgement.
    Piggybacked,
    /// The same, twice.
    Twice,
    /// An empty acknowledgement, and a confirmable 2.04 of its own.
    Separate,
    /// An empty acknowledgement, and no response.
    Empty,
    /// Nothing; the application gets the command all the same.
    Never,
    /// Nothing; the application hears nothing of it.
    Ignored,
    /// This code in the acknowledgement, such as 4.00, 4.05 or 5.00; nothing is executed.
    Refused(u8),
    /// A reset; nothing is executed.
    Reset,
}

/// How the application's bytes reach the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Not at all.
    None,
    /// As an uplink like any other: a notification, or `POST /t/d`, which is always confirmable.
    Report { confirmable: bool },
    /// As a separate 2.05 with the token of the request.
    Content { confirmable: bool },
}

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conduct {
    pub receipt: Receipt,
    pub receipt_after: Duration,
    pub answer: Answer,
    pub answer_after: Duration,
    /// Messages with the same answer.
    pub answers: u8,
    /// Repetitions of a downlink get the first receipt again. Without, they are executed again.
    pub recognises_duplicates: bool,
    /// Largest block that it takes, as an exponent: 16 bytes times two to the power of this.
    pub szx_max: u8,
    /// How long the radio listens after its last message in or out; `None`: always.
    pub awake: Option<Duration>,
    /// An upgrade keeps the radio on no longer than this; it goes on at the next report. `None`: as long as
    /// it takes.
    pub awake_max: Option<Duration>,
    /// Observation tokens outlive a reboot and a new registration.
    pub keeps_observation: bool,
}

impl Default for Conduct {
    fn default() -> Self {
        Self {
            receipt: Receipt::Piggybacked,
            receipt_after: Duration::ZERO,
            answer: Answer::Report { confirmable: true },
            answer_after: Duration::ZERO,
            answers: 1,
            recognises_duplicates: true,
            szx_max: SZX_MAX,
            awake: None,
            awake_max: None,
            keeps_observation: false,
        }
    }
}

impl Conduct {
    /// Any conduct, the good one most often: for tests that draw their devices from a seed. Delays
    /// are up to `delay_max`; sleep and memory are left to the caller.
    #[must_use]
    pub fn drawn(rng: &mut fastrand::Rng, delay_max: Duration) -> Self {
        let good = Self::default();
        if rng.u8(..4) == 0 {
            return good;
        }
        let receipts = [
            Receipt::Piggybacked,
            Receipt::Twice,
            Receipt::Separate,
            Receipt::Empty,
            Receipt::Never,
            Receipt::Ignored,
            Receipt::Refused(message::BAD_REQUEST),
            Receipt::Refused(message::NOT_ALLOWED),
            Receipt::Refused(message::INTERNAL_ERROR),
            Receipt::Reset,
        ];
        let answers = [
            Answer::None,
            Answer::Report { confirmable: true },
            Answer::Report { confirmable: false },
            Answer::Content { confirmable: true },
            Answer::Content { confirmable: false },
        ];
        let late = |rng: &mut fastrand::Rng| match rng.bool() {
            true => Duration::ZERO,
            false => delay_max.mul_f64(rng.f64()),
        };
        Self {
            receipt: rng.choice(receipts).unwrap_or(good.receipt),
            receipt_after: late(rng),
            answer: rng.choice(answers).unwrap_or(good.answer),
            answer_after: late(rng),
            answers: rng.u8(1..=2),
            recognises_duplicates: rng.bool(),
            szx_max: rng.u8(..=SZX_MAX),
            ..good
        }
    }

    /// True when the application gets the downlink.
    pub const fn executes(&self) -> bool {
        match self.receipt {
            Receipt::Ignored | Receipt::Refused(_) | Receipt::Reset => false,
            Receipt::Piggybacked
            | Receipt::Twice
            | Receipt::Separate
            | Receipt::Empty
            | Receipt::Never => true,
        }
    }
}
