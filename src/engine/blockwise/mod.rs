//! Bodies longer than a message, in both roles (RFC 7959; Request-Tag: RFC 9175 §3).
//!
//! ```text
//!           block1: a request's body            block2: a response's body
//!  server   uploads.rs: collects it             slice.rs: cuts what is asked for
//!  client   send.rs: cuts it                    collect.rs: asks until it is whole
//! ```
//!
//! A block's place in the body is its offset, `NUM << (SZX + 4)`; so either side may go on with
//! smaller blocks in the middle, and the numbers adapt. No clock here, no I/O: the caller says
//! what came and when, and sends what it is told to. Everything held is bounded by [`Settings`].

#![deny(clippy::wildcard_enum_match_arm)]

mod collect;
mod send;
mod slice;
mod uploads;

use std::time::Duration;

pub use collect::{Collected, Collector};
pub use send::{Sender, Sent};
pub use slice::{PastEnd, Window, etag, slice, window};
pub use uploads::{Received, Refusal, Uploads};

use crate::base::limits;
use crate::wire::coap::{Block, BlockError, Code};

/// Bounds of what is collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Bytes in one body.
    pub body_max: usize,
    /// Transfers of one sender at a time; a further one ends the one longest untouched.
    pub per_sender_max: usize,
    /// Transfers in all; a further one gets 5.03.
    pub total_max: usize,
    /// Bytes held in all; a further one gets 5.03.
    pub bytes_max: usize,
    /// How long a transfer lives without a new block. Longer than EXCHANGE_LIFETIME with the
    /// default timing (282.5 s), within which the sender's retransmissions may still arrive.
    pub lifetime: Duration,
    /// Largest block size that we take or send, as its exponent: 0 (16 bytes) to 6 (1024).
    pub szx_max: u8,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            body_max: limits::BODY_MAX,
            per_sender_max: 4,
            total_max: 2048,
            bytes_max: 8 * 1024 * 1024,
            lifetime: Duration::from_secs(300),
            szx_max: Block::SZX_MAX,
        }
    }
}

/// Why a transfer in the role of the client ends without success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    #[error("body has {len} bytes or more, the limit is {max}")]
    TooLarge { len: usize, max: usize },
    #[error("block at offset {got}, expected the one at {expected}")]
    Gap { expected: usize, got: usize },
    #[error("block of {len} bytes, its size is {size}")]
    Length { len: usize, size: usize },
    #[error("the body changed during the transfer: another ETag")]
    Changed,
    #[error("answered {0} in the middle of the transfer")]
    Unexpected(Code),
    #[error("refused at every block size, last with {0}")]
    Refused(Code),
    #[error(transparent)]
    Block(#[from] BlockError),
}

impl TransferError {
    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Gap { .. } => "gap",
            Self::Length { .. } => "length",
            Self::Changed => "changed",
            Self::Unexpected(_) => "unexpected",
            Self::Refused(_) => "refused",
            Self::Block(e) => e.kind(),
        }
    }
}

#[cfg(test)]
mod tests;
