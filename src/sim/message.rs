//! CoAP messages as a device builds and reads them, over coap-lite's `Packet` (RFC 7252 §3).
//!
//! Codes and numbers are plain here: `code` is the class and detail byte (`0x45` is 2.05), uints
//! are big-endian without leading zeros (§3.2). Broken datagrams are an error, never a panic.

use coap_lite::{CoapOption, MessageClass, MessageType, Packet};

/// Content formats that a device uses.
pub const FORMAT_LINK: u16 = 40;
pub const FORMAT_OPAQUE: u16 = 42;
pub const FORMAT_TLV: u16 = 11542;

/// Codes that a device sends or looks for.
pub const GET: u8 = 0x01;
pub const POST: u8 = 0x02;
pub const PUT: u8 = 0x03;
pub const DELETE: u8 = 0x04;
pub const CREATED: u8 = 0x41;
pub const DELETED: u8 = 0x42;
pub const CHANGED: u8 = 0x44;
pub const CONTENT: u8 = 0x45;
pub const CONTINUE: u8 = 0x5f;
pub const BAD_REQUEST: u8 = 0x80;
pub const NOT_FOUND: u8 = 0x84;
pub const NOT_ALLOWED: u8 = 0x85;
pub const INCOMPLETE: u8 = 0x88;
pub const TOO_LARGE: u8 = 0x8d;
pub const INTERNAL_ERROR: u8 = 0xa0;
pub const UNAVAILABLE: u8 = 0xa3;

/// Why a datagram is not a CoAP message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    #[error("{len} bytes are not a CoAP message: {reason}")]
    Malformed { len: usize, reason: String },
    #[error("message of {len} bytes exceeds the {max} bytes of one datagram")]
    TooLong { len: usize, max: usize },
}

impl MessageError {
    /// Stable word for logs; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed",
            Self::TooLong { .. } => "too_long",
        }
    }
}

/// Reads one datagram.
pub fn read(datagram: &[u8]) -> Result<Packet, MessageError> {
    let malformed = |reason: String| MessageError::Malformed {
        len: datagram.len(),
        reason,
    };
    if datagram.first().is_some_and(|b| b >> 6 != 1) {
        return Err(malformed("the version is not 1".to_owned()));
    }
    Packet::from_bytes(datagram).map_err(|e| malformed(e.to_string()))
}

/// The code byte of a message.
pub fn code(packet: &Packet) -> u8 {
    u8::from(packet.header.code)
}

/// A code as people write it: `2.05`.
pub fn code_text(code: u8) -> String {
    format!("{}.{:02}", code >> 5, code & 0x1f)
}

/// True for 2.xx.
pub const fn is_success(code: u8) -> bool {
    code >> 5 == 2
}

/// First value of an option that holds a uint; `None` when absent or longer than four bytes.
pub fn uint(packet: &Packet, option: CoapOption) -> Option<u32> {
    let bytes = packet.get_first_option(option)?;
    (bytes.len() <= 4).then(|| bytes.iter().fold(0, |sum, b| sum << 8 | u32::from(*b)))
}

/// The values of a repeated text option, joined: `rd/5a3f` for Location-Path.
pub fn joined(packet: &Packet, option: CoapOption) -> String {
    let values = packet.get_option(option).into_iter().flatten();
    let parts: Vec<_> = values.map(|v| String::from_utf8_lossy(v)).collect();
    parts.join("/")
}

/// A message under construction.
#[derive(Debug, Clone)]
pub struct Draft(Packet);

impl Draft {
    pub fn new(kind: MessageType, code: u8, msg_id: u16) -> Self {
        let mut packet = Packet::new();
        packet.header.set_version(1);
        packet.header.set_type(kind);
        packet.header.code = MessageClass::from(code);
        packet.header.message_id = msg_id;
        Self(packet)
    }

    /// Tokens are at most eight bytes; what is longer is cut.
    #[must_use]
    pub fn token(mut self, token: &[u8]) -> Self {
        self.0.set_token(token.iter().copied().take(8).collect());
        self
    }

    /// Adds one Uri-Path option for each segment of `a/b/c`.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        for segment in path.split('/').filter(|s| !s.is_empty()) {
            self = self.segment(segment);
        }
        self
    }

    /// One Location-Path segment, as a server answers a registration.
    #[cfg(test)]
    pub(crate) fn location(mut self, segment: &str) -> Self {
        self.0
            .add_option(CoapOption::LocationPath, segment.as_bytes().to_vec());
        self
    }

    /// One Uri-Path option, whatever it holds.
    #[must_use]
    pub fn segment(mut self, segment: &str) -> Self {
        self.0
            .add_option(CoapOption::UriPath, segment.as_bytes().to_vec());
        self
    }

    #[must_use]
    pub fn query(mut self, query: &str) -> Self {
        self.0
            .add_option(CoapOption::UriQuery, query.as_bytes().to_vec());
        self
    }

    #[must_use]
    pub fn uint(mut self, option: CoapOption, value: u32) -> Self {
        let bytes = value.to_be_bytes();
        let significant = bytes.iter().copied().skip_while(|b| *b == 0).collect();
        self.0.add_option(option, significant);
        self
    }

    #[must_use]
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.0.payload = payload.to_vec();
        self
    }

    /// The datagram. Fails only for a message beyond coap-lite's 1280 bytes.
    pub fn bytes(&self) -> Result<Vec<u8>, MessageError> {
        self.0.to_bytes().map_err(|_| MessageError::TooLong {
            len: self.0.payload.len(),
            max: Packet::MAX_SIZE,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_registration_reads_back() {
        let bytes = Draft::new(MessageType::Confirmable, POST, 7)
            .token(&[1, 2])
            .path("rd")
            .query("ep=867725038317248")
            .uint(CoapOption::ContentFormat, u32::from(FORMAT_LINK))
            .uint(CoapOption::Observe, 0)
            .payload(b"</19/0>")
            .bytes()
            .unwrap();
        let packet = read(&bytes).unwrap();
        assert_eq!(
            (code(&packet), packet.header.message_id, packet.get_token()),
            (POST, 7, &[1, 2][..])
        );
        assert_eq!(joined(&packet, CoapOption::UriPath), "rd");
        assert_eq!(uint(&packet, CoapOption::ContentFormat), Some(40));
        assert_eq!(uint(&packet, CoapOption::Observe), Some(0));
        assert_eq!(packet.payload, b"</19/0>");
    }

    #[test]
    fn too_long_and_garbage_are_errors() {
        let draft = Draft::new(MessageType::Confirmable, POST, 7).payload(&[0; 2000]);
        assert_eq!(draft.bytes().unwrap_err().kind(), "too_long");
        for bytes in [&[][..], &[0x40], &[0xc0, 1, 0, 1], &[0x49, 1, 0, 1]] {
            assert_eq!(read(bytes).unwrap_err().kind(), "malformed", "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(packet) = read(&bytes) {
                uint(&packet, CoapOption::Observe);
                joined(&packet, CoapOption::LocationPath);
            }
        }

        #[test]
        fn what_is_built_reads_back(
            msg_id: u16,
            token in prop::collection::vec(any::<u8>(), 0..=8),
            value: u32,
            payload in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let bytes = Draft::new(MessageType::NonConfirmable, CONTENT, msg_id)
                .token(&token)
                .uint(CoapOption::MaxAge, value)
                .payload(&payload)
                .bytes()
                .unwrap();
            let packet = read(&bytes).unwrap();
            prop_assert_eq!(packet.get_token(), &token[..]);
            prop_assert_eq!(uint(&packet, CoapOption::MaxAge), Some(value));
            prop_assert_eq!(&packet.payload, &payload);
        }
    }
}
