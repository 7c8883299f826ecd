//! A CoAP message over UDP, read in place (RFC 7252 §3).
//!
//! ```text
//!  byte 0       | version = 1, 2 bits | type, 2 bits | token length, 4 bits: 0 to 8 |
//!  byte 1       code
//!  bytes 2, 3   message id, big-endian
//!  then         token | options | 0xff and at least one byte of payload, or nothing
//! ```
//!
//! One pass checks everything and allocates nothing. Refused: other versions (to be dropped in
//! silence), reserved code classes, empty messages with content, and whatever breaks the format;
//! a confirmable among these is answered with a reset, for which [`Header::peek`] reads what
//! there is.

use std::fmt;

use super::code::Code;
use super::option::Options;

/// How the message layer treats a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    Confirmable,
    NonConfirmable,
    Acknowledgement,
    Reset,
}

impl Type {
    const fn from_bits(bits: u8) -> Self {
        match bits & 0b11 {
            0 => Self::Confirmable,
            1 => Self::NonConfirmable,
            2 => Self::Acknowledgement,
            _ => Self::Reset,
        }
    }

    pub(super) const fn to_bits(self) -> u8 {
        match self {
            Self::Confirmable => 0,
            Self::NonConfirmable => 1,
            Self::Acknowledgement => 2,
            Self::Reset => 3,
        }
    }
}

/// Up to eight bytes that tie a response to its request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Token {
    len: u8,
    /// Zero from `len` on.
    bytes: [u8; 8],
}

impl Token {
    pub const EMPTY: Self = Self {
        len: 0,
        bytes: [0; 8],
    };

    /// `None` for more than eight bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut token = Self {
            len: u8::try_from(bytes.len()).ok()?,
            bytes: [0; 8],
        };
        token.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(token)
    }

    /// A token of eight bytes, big-endian.
    pub const fn from_u64(value: u64) -> Self {
        Self {
            len: 8,
            bytes: value.to_be_bytes(),
        }
    }

    /// The number of a token of eight bytes: `None` for shorter ones, which are none of ours.
    pub const fn to_u64(self) -> Option<u64> {
        match self.len {
            8 => Some(u64::from_be_bytes(self.bytes)),
            _ => None,
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({self})")
    }
}

/// Why a datagram is not a CoAP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    #[error("{len} bytes, a header needs 4")]
    Truncated { len: usize },
    #[error("version is {0}, not 1")]
    Version(u8),
    #[error("token length is {0}, takes 0 to 8")]
    TokenLength(u8),
    #[error("{have} bytes follow the header, the token alone has {len}")]
    TokenTruncated { len: u8, have: usize },
    #[error("code {0} is of a reserved class")]
    ReservedClass(Code),
    #[error("an empty message has {extra} bytes after its header")]
    EmptyWithContent { extra: usize },
    #[error("an option has the reserved delta 15")]
    OptionDelta,
    #[error("an option has the reserved length 15")]
    OptionLength,
    #[error("an option has the number {number}, beyond 65535")]
    OptionNumber { number: u32 },
    #[error("the message ends within an option")]
    OptionTruncated,
    #[error("nothing follows the payload marker")]
    EmptyPayload,
}

impl ParseError {
    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Truncated { .. } => "truncated",
            Self::Version(_) => "version",
            Self::TokenLength(_) => "token_length",
            Self::TokenTruncated { .. } => "token_truncated",
            Self::ReservedClass(_) => "reserved_class",
            Self::EmptyWithContent { .. } => "empty_with_content",
            Self::OptionDelta => "option_delta",
            Self::OptionLength => "option_length",
            Self::OptionNumber { .. } => "option_number",
            Self::OptionTruncated => "option_truncated",
            Self::EmptyPayload => "empty_payload",
        }
    }
}

/// The first four bytes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub ty: Type,
    pub code: Code,
    pub msg_id: u16,
}

impl Header {
    /// The header of a datagram whose rest may be malformed. `None` when it is shorter than that
    /// or of another version: nothing can be said, so nothing is answered.
    pub const fn peek(datagram: &[u8]) -> Option<Self> {
        let [first, code, high, low, ..] = datagram else {
            return None;
        };
        if *first >> 6 != 1 {
            return None;
        }
        Some(Self {
            ty: Type::from_bits(*first >> 4),
            code: Code::from_byte(*code),
            msg_id: u16::from_be_bytes([*high, *low]),
        })
    }
}

/// A message that borrows from its datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    pub ty: Type,
    pub code: Code,
    pub msg_id: u16,
    pub token: Token,
    pub options: Options<'a>,
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads and checks a whole datagram.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, ParseError> {
        let [first, code, high, low, rest @ ..] = datagram else {
            return Err(ParseError::Truncated {
                len: datagram.len(),
            });
        };
        let version = first >> 6;
        if version != 1 {
            return Err(ParseError::Version(version));
        }
        let len = first & 0x0f;
        if len > 8 {
            return Err(ParseError::TokenLength(len));
        }
        let code = Code::from_byte(*code);
        if matches!(code.class(), 1 | 6 | 7) {
            return Err(ParseError::ReservedClass(code));
        }
        if code.is_empty() && (len > 0 || !rest.is_empty()) {
            return Err(ParseError::EmptyWithContent { extra: rest.len() });
        }
        let (token, rest) = rest
            .split_at_checked(usize::from(len))
            .and_then(|(token, rest)| Some((Token::from_bytes(token)?, rest)))
            .ok_or(ParseError::TokenTruncated {
                len,
                have: rest.len(),
            })?;
        let (options, payload) = Options::parse(rest)?;
        if payload.is_some_and(<[u8]>::is_empty) {
            return Err(ParseError::EmptyPayload);
        }
        Ok(Self {
            ty: Type::from_bits(first >> 4),
            code,
            msg_id: u16::from_be_bytes([*high, *low]),
            token,
            options,
            payload: payload.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::coap::Builder;

    #[test]
    fn a_malformed_confirmable_still_has_its_header() {
        // Option delta 15: no message, but enough to reset it.
        let datagram = [0x40, 0x01, 0x12, 0x34, 0xf1];
        assert_eq!(
            Message::parse(&datagram).unwrap_err().kind(),
            "option_delta"
        );
        let header = Header {
            ty: Type::Confirmable,
            code: Code::GET,
            msg_id: 0x1234,
        };
        assert_eq!(Header::peek(&datagram), Some(header));
        // Nothing is said to another version, nor to three bytes.
        assert_eq!(Header::peek(&[0x80, 0x01, 0x12, 0x34]), None);
        assert_eq!(Header::peek(&[0x40, 0x01, 0x12]), None);
    }

    #[test]
    fn tokens_compare_by_length_and_bytes() {
        let short = Token::from_bytes(&[0]).unwrap();
        assert_ne!(short, Token::EMPTY);
        assert_ne!(short, Token::from_bytes(&[0, 0]).unwrap());
        assert_eq!(short.as_bytes(), [0]);
        assert_eq!(short.to_u64(), None);
        assert_eq!(Token::from_bytes(&[0; 9]), None);
        let token = Token::from_u64(0x0102_0304_0506_0708);
        assert_eq!(token.as_bytes(), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(token.to_u64(), Some(0x0102_0304_0506_0708));
        assert_eq!(token.to_string(), "0102030405060708");
    }

    #[test]
    fn an_empty_message_is_its_header_alone() {
        let token = Token::from_u64(7);
        let built = Builder::new(Type::Acknowledgement, Code::EMPTY, 9, token)
            .observe(1)
            .payload(b"x")
            .build();
        assert_eq!(built, [0x60, 0, 0, 9]);
        assert_eq!(built, Builder::empty(Type::Acknowledgement, 9).build());
    }

    #[test]
    fn an_option_that_can_not_be_written_is_left_out() {
        let builder = Builder::new(Type::Confirmable, Code::PUT, 1, Token::EMPTY);
        let longest = builder.clone().option(35, &vec![b'a'; 65535 + 269]).build();
        let value = Message::parse(&longest).unwrap().options.values(35).next();
        assert_eq!(value.map(<[u8]>::len), Some(65535 + 269));
        assert_eq!(
            builder.option(35, &vec![b'a'; 65535 + 270]).build(),
            [0x40, 3, 0, 1]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(datagram in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(message) = Message::parse(&datagram) {
                let header = Header { ty: message.ty, code: message.code, msg_id: message.msg_id };
                prop_assert_eq!(Header::peek(&datagram), Some(header));
            }
        }

        #[test]
        fn reads_what_it_wrote(
            kind in 0..4u8,
            msg_id: u16,
            token in prop::collection::vec(any::<u8>(), 0..=8),
            options in prop::collection::vec(
                (any::<u16>(), prop::collection::vec(any::<u8>(), 0..300)), 0..6),
            payload in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let ty = Type::from_bits(kind);
            let token = Token::from_bytes(&token).unwrap();
            let builder = Builder::new(ty, Code::CONTENT, msg_id, token).payload(&payload);
            let builder = options.iter().fold(builder, |b, (number, value)| b.option(*number, value));
            let datagram = builder.build();
            let message = Message::parse(&datagram).unwrap();
            prop_assert_eq!((message.ty, message.code), (ty, Code::CONTENT));
            prop_assert_eq!((message.msg_id, message.token), (msg_id, token));
            prop_assert_eq!(message.payload, &payload[..]);
            let mut want = options;
            want.sort_by_key(|(number, _)| *number);
            let got: Vec<_> =
                message.options.iter().map(|o| (o.number, o.value.to_vec())).collect();
            prop_assert_eq!(got, want);
        }
    }
}
