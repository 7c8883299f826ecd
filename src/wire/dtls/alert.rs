//! Alerts (RFC 5246 7.2): two bytes, level and description.
//!
//! A level or description that nobody assigned is kept as its number: the receiver decides.

use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AlertLevel(pub u8);

impl AlertLevel {
    pub const WARNING: Self = Self(1);
    pub const FATAL: Self = Self(2);
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AlertDescription(pub u8);

impl AlertDescription {
    pub const CLOSE_NOTIFY: Self = Self(0);
    pub const UNEXPECTED_MESSAGE: Self = Self(10);
    pub const BAD_RECORD_MAC: Self = Self(20);
    pub const RECORD_OVERFLOW: Self = Self(22);
    pub const HANDSHAKE_FAILURE: Self = Self(40);
    pub const ILLEGAL_PARAMETER: Self = Self(47);
    pub const ACCESS_DENIED: Self = Self(49);
    pub const DECODE_ERROR: Self = Self(50);
    pub const DECRYPT_ERROR: Self = Self(51);
    pub const PROTOCOL_VERSION: Self = Self(70);
    pub const INSUFFICIENT_SECURITY: Self = Self(71);
    pub const INTERNAL_ERROR: Self = Self(80);
    pub const USER_CANCELED: Self = Self(90);
    pub const NO_RENEGOTIATION: Self = Self(100);
    pub const UNSUPPORTED_EXTENSION: Self = Self(110);
    /// RFC 4279 2.
    pub const UNKNOWN_PSK_IDENTITY: Self = Self(115);

    /// The name that the IANA registry gives, `None` for a number without one here.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::CLOSE_NOTIFY => "close_notify",
            Self::UNEXPECTED_MESSAGE => "unexpected_message",
            Self::BAD_RECORD_MAC => "bad_record_mac",
            Self::RECORD_OVERFLOW => "record_overflow",
            Self::HANDSHAKE_FAILURE => "handshake_failure",
            Self::ILLEGAL_PARAMETER => "illegal_parameter",
            Self::ACCESS_DENIED => "access_denied",
            Self::DECODE_ERROR => "decode_error",
            Self::DECRYPT_ERROR => "decrypt_error",
            Self::PROTOCOL_VERSION => "protocol_version",
            Self::INSUFFICIENT_SECURITY => "insufficient_security",
            Self::INTERNAL_ERROR => "internal_error",
            Self::USER_CANCELED => "user_canceled",
            Self::NO_RENEGOTIATION => "no_renegotiation",
            Self::UNSUPPORTED_EXTENSION => "unsupported_extension",
            Self::UNKNOWN_PSK_IDENTITY => "unknown_psk_identity",
            _ => return None,
        })
    }
}

impl fmt::Display for AlertDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "alert {}", self.0),
        }
    }
}

impl fmt::Debug for AlertDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why bytes are not an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AlertError {
    #[error("{len} bytes, an alert has 2")]
    Length { len: usize },
}

impl AlertError {
    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Length { .. } => "length",
        }
    }
}

/// One alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alert {
    pub level: AlertLevel,
    pub description: AlertDescription,
}

impl Alert {
    pub const fn fatal(description: AlertDescription) -> Self {
        Self {
            level: AlertLevel::FATAL,
            description,
        }
    }

    pub const fn warning(description: AlertDescription) -> Self {
        Self {
            level: AlertLevel::WARNING,
            description,
        }
    }

    /// Reads the content of a record: an alert is never split nor joined with another.
    pub const fn parse(input: &[u8]) -> Result<Self, AlertError> {
        match *input {
            [level, description] => Ok(Self {
                level: AlertLevel(level),
                description: AlertDescription(description),
            }),
            _ => Err(AlertError::Length { len: input.len() }),
        }
    }

    /// The content of a record.
    pub const fn to_bytes(self) -> [u8; 2] {
        [self.level.0, self.description.0]
    }

    pub fn write(self, out: &mut Vec<u8>) {
        out.extend(self.to_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_and_names_alerts() {
        let close = Alert::parse(&[1, 0]).unwrap();
        assert_eq!(close, Alert::warning(AlertDescription::CLOSE_NOTIFY));
        let failure = Alert::fatal(AlertDescription::HANDSHAKE_FAILURE);
        assert_eq!(failure.to_bytes(), [2, 40]);
        assert_eq!(failure.description.to_string(), "handshake_failure");
        assert_eq!(AlertDescription(99).to_string(), "alert 99");
        for wrong in [&[][..], &[2], &[2, 40, 0]] {
            assert_eq!(Alert::parse(wrong).unwrap_err().kind(), "length");
        }
    }

    proptest! {
        #[test]
        fn reads_what_it_wrote(bytes in prop::collection::vec(any::<u8>(), 0..4)) {
            if let Ok(alert) = Alert::parse(&bytes) {
                let mut out = Vec::new();
                alert.write(&mut out);
                prop_assert_eq!(out, bytes);
            }
        }
    }
}
