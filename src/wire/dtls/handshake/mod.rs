//! Handshake messages of DTLS 1.2 (RFC 6347 4.2.2), as far as pre-shared keys need them.
//!
//! ```text
//!  byte 0        message type
//!  bytes 1..4    length of the whole message's body
//!  bytes 4, 5    message sequence number
//!  bytes 6..9    offset of this fragment in the body
//!  bytes 9..12   length of this fragment
//!  then          the fragment
//! ```
//!
//! A record holds one fragment or several, one after the other. The bodies are read from the whole
//! message: [`ClientHello`], [`ServerHello`], [`HelloVerifyRequest`], [`ClientKeyExchange`] and
//! [`Finished`]; ServerHelloDone has none. What writes a body writes the body alone, and
//! [`message`] puts the header before it. A value that is too long for its length field is cut
//! when written.

mod client_hello;
mod extension;
mod key_exchange;
mod server_hello;

pub use client_hello::{CipherSuites, ClientHello, ClientOffer, HelloPrefix, SIGNALLING_SUITE};
pub use extension::Extensions;
pub use key_exchange::{ClientKeyExchange, Finished, VERIFY_DATA_LEN};
pub use server_hello::{HelloVerifyRequest, ServerHello};

use super::reader::{Reader, write_u24};

/// The length of a handshake message's header.
pub const HEADER_LEN: usize = 12;
/// The longest body that a header can announce.
pub const LENGTH_MAX: u32 = (1 << 24) - 1;

/// Which message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MsgType(pub u8);

impl MsgType {
    pub const HELLO_REQUEST: Self = Self(0);
    pub const CLIENT_HELLO: Self = Self(1);
    pub const SERVER_HELLO: Self = Self(2);
    pub const HELLO_VERIFY_REQUEST: Self = Self(3);
    pub const SERVER_KEY_EXCHANGE: Self = Self(12);
    pub const SERVER_HELLO_DONE: Self = Self(14);
    pub const CLIENT_KEY_EXCHANGE: Self = Self(16);
    pub const FINISHED: Self = Self(20);
}

/// Why bytes are not a handshake message. The `field` is named as in RFC 5246.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    #[error("the message ends within {field}")]
    Truncated { field: &'static str },
    #[error("{field} has {len} bytes, takes {want}")]
    Length {
        field: &'static str,
        len: usize,
        want: &'static str,
    },
    #[error("fragment {offset}+{len} goes beyond its message of {total}")]
    Fragment { offset: u32, len: u32, total: u32 },
    #[error("extension {number} comes twice")]
    ExtensionTwice { number: u16 },
    #[error("extension {number} is malformed")]
    Extension { number: u16 },
    #[error("{extra} bytes follow the message's end")]
    Trailing { extra: usize },
}

impl HandshakeError {
    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Truncated { .. } => "truncated",
            Self::Length { .. } => "length",
            Self::Fragment { .. } => "fragment",
            Self::ExtensionTwice { .. } => "extension_twice",
            Self::Extension { .. } => "extension",
            Self::Trailing { .. } => "trailing",
        }
    }
}

/// One fragment of a message, or the whole of it. It lies within the message's length: checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment<'a> {
    pub msg_type: MsgType,
    /// Of the whole body, 24 bits.
    pub length: u32,
    pub message_seq: u16,
    /// Where `body` begins in the whole body, 24 bits.
    pub offset: u32,
    pub body: &'a [u8],
}

impl<'a> Fragment<'a> {
    /// The first fragment in a record's content, and what follows it.
    pub fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), HandshakeError> {
        let header = HandshakeError::Truncated { field: "header" };
        let mut reader = Reader::new(input);
        let msg_type = MsgType(reader.u8().ok_or(header)?);
        let length = reader.u24().ok_or(header)?;
        let message_seq = reader.u16().ok_or(header)?;
        let offset = reader.u24().ok_or(header)?;
        let len = reader.u24().ok_or(header)?;
        // Both have 24 bits: the sum fits.
        if offset + len > length {
            return Err(HandshakeError::Fragment {
                offset,
                len,
                total: length,
            });
        }
        let body = usize::try_from(len)
            .ok()
            .and_then(|len| reader.take(len))
            .ok_or(HandshakeError::Truncated { field: "fragment" })?;
        let fragment = Self {
            msg_type,
            length,
            message_seq,
            offset,
            body,
        };
        Ok((fragment, reader.rest()))
    }

    /// Whether this is a whole message.
    pub fn is_whole(&self) -> bool {
        self.offset == 0 && usize::try_from(self.length) == Ok(self.body.len())
    }

    /// Appends header and body.
    pub fn write(&self, out: &mut Vec<u8>) {
        let len = u32::try_from(self.body.len()).map_or(LENGTH_MAX, |len| len.min(LENGTH_MAX));
        out.push(self.msg_type.0);
        write_u24(out, self.length);
        out.extend(self.message_seq.to_be_bytes());
        write_u24(out, self.offset);
        write_u24(out, len);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        out.extend_from_slice(self.body.get(..len).unwrap_or(self.body));
    }
}

/// The fragments in a record's content, in order; the first malformed one ends them.
pub fn fragments(content: &[u8]) -> Fragments<'_> {
    Fragments { rest: content }
}

/// See [`fragments`].
#[derive(Debug, Clone)]
pub struct Fragments<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fragments<'a> {
    type Item = Result<Fragment<'a>, HandshakeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let parsed = Fragment::parse(self.rest);
        self.rest = parsed.map_or(&[], |(_, rest)| rest);
        Some(parsed.map(|(fragment, _)| fragment))
    }
}

/// Appends a whole message: its header, unfragmented, and its body. The same bytes are what the
/// transcript hashes, whatever fragments a message came in (RFC 6347 4.2.6).
pub fn message(out: &mut Vec<u8>, msg_type: MsgType, message_seq: u16, body: &[u8]) {
    let fragment = Fragment {
        msg_type,
        length: u32::try_from(body.len()).map_or(LENGTH_MAX, |len| len.min(LENGTH_MAX)),
        message_seq,
        offset: 0,
        body,
    };
    fragment.write(out);
}

/// What was read, or the name of the field that the message ends within.
fn need<T>(read: Option<T>, field: &'static str) -> Result<T, HandshakeError> {
    read.ok_or(HandshakeError::Truncated { field })
}

#[cfg(test)]
mod tests;
