//! Message codes: one byte, three bits of class and five of detail, written `class.detail` with
//! two decimal digits of detail (RFC 7252 §3, §12.1).
//!
//! Class 0 with detail 0 is the empty message, other details of class 0 are requests, classes 2
//! to 5 are responses; 1, 6 and 7 are reserved over UDP, and `Message::parse` refuses them.

use std::fmt;

/// The code of a message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(u8);

impl Code {
    pub const EMPTY: Self = Self::new(0, 0);

    pub const GET: Self = Self::new(0, 1);
    pub const POST: Self = Self::new(0, 2);
    pub const PUT: Self = Self::new(0, 3);
    pub const DELETE: Self = Self::new(0, 4);
    /// RFC 8132.
    pub const FETCH: Self = Self::new(0, 5);
    /// RFC 8132.
    pub const PATCH: Self = Self::new(0, 6);
    /// RFC 8132.
    pub const IPATCH: Self = Self::new(0, 7);

    pub const CREATED: Self = Self::new(2, 1);
    pub const DELETED: Self = Self::new(2, 2);
    pub const VALID: Self = Self::new(2, 3);
    pub const CHANGED: Self = Self::new(2, 4);
    pub const CONTENT: Self = Self::new(2, 5);
    /// RFC 7959.
    pub const CONTINUE: Self = Self::new(2, 31);

    pub const BAD_REQUEST: Self = Self::new(4, 0);
    pub const UNAUTHORIZED: Self = Self::new(4, 1);
    pub const BAD_OPTION: Self = Self::new(4, 2);
    pub const FORBIDDEN: Self = Self::new(4, 3);
    pub const NOT_FOUND: Self = Self::new(4, 4);
    pub const METHOD_NOT_ALLOWED: Self = Self::new(4, 5);
    pub const NOT_ACCEPTABLE: Self = Self::new(4, 6);
    /// RFC 7959.
    pub const REQUEST_ENTITY_INCOMPLETE: Self = Self::new(4, 8);
    /// RFC 8132.
    pub const CONFLICT: Self = Self::new(4, 9);
    pub const PRECONDITION_FAILED: Self = Self::new(4, 12);
    pub const REQUEST_ENTITY_TOO_LARGE: Self = Self::new(4, 13);
    pub const UNSUPPORTED_CONTENT_FORMAT: Self = Self::new(4, 15);
    /// RFC 8132.
    pub const UNPROCESSABLE_ENTITY: Self = Self::new(4, 22);
    /// RFC 8516.
    pub const TOO_MANY_REQUESTS: Self = Self::new(4, 29);

    pub const INTERNAL_SERVER_ERROR: Self = Self::new(5, 0);
    pub const NOT_IMPLEMENTED: Self = Self::new(5, 1);
    pub const BAD_GATEWAY: Self = Self::new(5, 2);
    pub const SERVICE_UNAVAILABLE: Self = Self::new(5, 3);
    pub const GATEWAY_TIMEOUT: Self = Self::new(5, 4);
    pub const PROXYING_NOT_SUPPORTED: Self = Self::new(5, 5);
    /// RFC 8768.
    pub const HOP_LIMIT_REACHED: Self = Self::new(5, 8);

    /// Bits beyond three of class and five of detail are cut off.
    pub const fn new(class: u8, detail: u8) -> Self {
        Self((class << 5) | (detail & 0x1f))
    }

    pub const fn from_byte(byte: u8) -> Self {
        Self(byte)
    }

    pub const fn to_byte(self) -> u8 {
        self.0
    }

    /// 0 to 7.
    pub const fn class(self) -> u8 {
        self.0 >> 5
    }

    /// 0 to 31.
    pub const fn detail(self) -> u8 {
        self.0 & 0x1f
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Also for methods not known here: they get 4.05.
    pub const fn is_request(self) -> bool {
        self.class() == 0 && !self.is_empty()
    }

    pub const fn is_response(self) -> bool {
        matches!(self.class(), 2..=5)
    }

    /// A response of class 2.
    pub const fn is_success(self) -> bool {
        self.class() == 2
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.class(), self.detail())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_read_as_class_and_detail() {
        let cases = [
            (Code::EMPTY, 0x00, "0.00"),
            (Code::POST, 0x02, "0.02"),
            (Code::CHANGED, 0x44, "2.04"),
            (Code::CONTINUE, 0x5f, "2.31"),
            (Code::REQUEST_ENTITY_INCOMPLETE, 0x88, "4.08"),
            (Code::REQUEST_ENTITY_TOO_LARGE, 0x8d, "4.13"),
            (Code::TOO_MANY_REQUESTS, 0x9d, "4.29"),
            (Code::SERVICE_UNAVAILABLE, 0xa3, "5.03"),
        ];
        for (code, byte, text) in cases {
            assert_eq!((code.to_byte(), code.to_string()), (byte, text.to_owned()));
        }
    }

    #[test]
    fn every_byte_is_at_most_one_kind() {
        for byte in 0..=u8::MAX {
            let code = Code::from_byte(byte);
            let kinds = [code.is_empty(), code.is_request(), code.is_response()];
            let reserved = matches!(code.class(), 1 | 6 | 7);
            let count = kinds.iter().filter(|kind| **kind).count();
            assert_eq!(count, usize::from(!reserved), "{code}");
            assert_eq!(Code::new(code.class(), code.detail()), code);
        }
    }
}
