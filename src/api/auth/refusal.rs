//! Why a request is refused before its handler runs, and what its caller is told.
//!
//! An unknown access key and a wrong signature are one and the same: neither the message nor the
//! time tells which access keys exist.

use axum::http::StatusCode;

use super::signature::Malformed;
use crate::api::error::{ApiError, code};
use crate::app::credentials::Role;
use crate::base::time::Timestamp;

/// Why nobody is served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "the request names no caller: takes X-Auth-Token, Authorization: Bearer, or a signature \
         (SDK-HMAC-SHA256, V11-HMAC-SHA256)"
    )]
    NoCaller,
    #[error(
        "Authorization: got the scheme {0}, takes SDK-HMAC-SHA256, V11-HMAC-SHA256, Bearer, or \
         none with X-Auth-Token"
    )]
    Scheme(String),
    #[error("{0} is given twice")]
    Twice(String),
    #[error("Authorization: {0}")]
    Malformed(#[from] Malformed),
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("SignedHeaders: {0} must be signed")]
    NotSigned(&'static str),
    #[error("SignedHeaders names {0}, which the request does not have exactly once")]
    SignedAbsent(String),
    #[error("X-Sdk-Date: takes a time such as 20260301T120000Z")]
    Date,
    #[error("X-Sdk-Date: got {got}, the server has {now}: takes at most {max_s} s between them")]
    Skew {
        got: String,
        now: String,
        max_s: u64,
    },
    #[error("Authorization: Credential is of the day {day}, X-Sdk-Date is {date}")]
    Day { day: String, date: String },
    #[error(
        "X-Sdk-Content-Sha256: takes the SHA-256 of the body in lower-case hex, or \
         UNSIGNED-PAYLOAD when Content-Type is not JSON"
    )]
    ContentHash,
    #[error("the access key or the signature is wrong")]
    Signature,
    #[error("the token is wrong")]
    Token,
    #[error("the role {} may not do this: takes {}", role.as_str(), takes.as_str())]
    Role { role: Role, takes: Role },
}

impl Refusal {
    /// Stable word for metrics and logs; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NoCaller => "no_caller",
            Self::Scheme(_) => "scheme",
            Self::Twice(_) | Self::Malformed(_) | Self::Date | Self::ContentHash => "malformed",
            Self::Missing(_) | Self::NotSigned(_) | Self::SignedAbsent(_) => "not_signed",
            Self::Skew { .. } | Self::Day { .. } => "skew",
            Self::Signature => "signature",
            Self::Token => "token",
            Self::Role { .. } => "role",
        }
    }

    pub(super) fn skew(got: Timestamp, now: Timestamp, max_s: u64) -> Self {
        Self::Skew {
            got: got.compact(),
            now: now.compact(),
            max_s,
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = match refusal {
            Refusal::Token => (StatusCode::FORBIDDEN, code::NO_CALLER),
            Refusal::Role { .. } => (StatusCode::FORBIDDEN, code::NOT_AUTHORIZED),
            _ => (StatusCode::UNAUTHORIZED, code::NO_CALLER),
        };
        Self::new(status, code, refusal.to_string())
    }
}
