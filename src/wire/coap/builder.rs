//! Writes messages: options in any order, each in its shortest form (RFC 7252 §3).

use super::block::Block;
use super::code::Code;
use super::message::{Token, Type};
use super::option::{self, ContentFormat, Uint};
use crate::bug;

/// The longest option value that the format can say: two bytes of length, and 269.
const VALUE_MAX: usize = 65535 + 269;

/// A message in the making. The fields of the header may be set until the end, so that a response
/// can be shaped before the exchange that carries it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Builder {
    pub ty: Type,
    pub code: Code,
    pub msg_id: u16,
    pub token: Token,
    /// Number, start and end in `values`.
    options: Vec<(u16, usize, usize)>,
    values: Vec<u8>,
    payload: Vec<u8>,
}

impl Builder {
    pub const fn new(ty: Type, code: Code, msg_id: u16, token: Token) -> Self {
        Self {
            ty,
            code,
            msg_id,
            token,
            options: Vec::new(),
            values: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// An empty message: an acknowledgement, a reset, or (confirmable) a ping.
    pub const fn empty(ty: Type, msg_id: u16) -> Self {
        Self::new(ty, Code::EMPTY, msg_id, Token::EMPTY)
    }

    /// Adds an option; options of one number keep the order in which they were added.
    #[must_use]
    pub fn option(mut self, number: u16, value: &[u8]) -> Self {
        if value.len() > VALUE_MAX {
            bug!(
                "option {number} with {} bytes can't be written",
                value.len()
            );
            return self;
        }
        let start = self.values.len();
        self.values.extend_from_slice(value);
        self.options.push((number, start, self.values.len()));
        self
    }

    /// Adds an option that is an unsigned integer.
    #[must_use]
    pub fn uint_option(self, number: u16, value: u64) -> Self {
        self.option(number, Uint::new(value).as_bytes())
    }

    /// Adds a Uri-Path option for each segment of `/19/1/0`; the first slash may be missing.
    #[must_use]
    pub fn path(self, path: &str) -> Self {
        self.segments(option::URI_PATH, path)
    }

    /// Adds a Location-Path option for each segment of `rd/5a3f`.
    #[must_use]
    pub fn location(self, path: &str) -> Self {
        self.segments(option::LOCATION_PATH, path)
    }

    fn segments(self, number: u16, path: &str) -> Self {
        let path = path.strip_prefix('/').unwrap_or(path);
        if path.is_empty() {
            return self;
        }
        path.split('/').fold(self, |builder, segment| {
            builder.option(number, segment.as_bytes())
        })
    }

    /// Adds a Uri-Query option for each argument of `ep=8677&lt=90`.
    #[must_use]
    pub fn query(self, query: &str) -> Self {
        query
            .split('&')
            .filter(|argument| !argument.is_empty())
            .fold(self, |builder, argument| {
                builder.option(option::URI_QUERY, argument.as_bytes())
            })
    }

    #[must_use]
    pub fn content_format(self, format: ContentFormat) -> Self {
        self.uint_option(option::CONTENT_FORMAT, u64::from(format.0))
    }

    #[must_use]
    pub fn accept(self, format: ContentFormat) -> Self {
        self.uint_option(option::ACCEPT, u64::from(format.0))
    }

    #[must_use]
    pub fn observe(self, value: u32) -> Self {
        self.uint_option(option::OBSERVE, u64::from(value))
    }

    #[must_use]
    pub fn block1(self, block: Block) -> Self {
        self.option(option::BLOCK1, block.encode().as_bytes())
    }

    #[must_use]
    pub fn block2(self, block: Block) -> Self {
        self.option(option::BLOCK2, block.encode().as_bytes())
    }

    /// Replaces the payload. An empty one is written as none.
    #[must_use]
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.payload.clear();
        self.payload.extend_from_slice(payload);
        self
    }

    /// The message as a datagram.
    pub fn build(&self) -> Vec<u8> {
        let most = 13 + 5 * self.options.len() + self.values.len() + self.payload.len();
        let mut out = Vec::with_capacity(most);
        self.encode_into(&mut out);
        out
    }

    /// Appends the message. One with the code 0.00 is written as the header alone.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let token = if self.code.is_empty() {
            Token::EMPTY
        } else {
            self.token
        };
        let token = token.as_bytes();
        let [.., len] = token.len().to_be_bytes();
        out.push(0x40 | (self.ty.to_bits() << 4) | len);
        out.push(self.code.to_byte());
        out.extend_from_slice(&self.msg_id.to_be_bytes());
        if self.code.is_empty() {
            return;
        }
        out.extend_from_slice(token);
        self.encode_options(out);
        if !self.payload.is_empty() {
            out.push(0xff);
            out.extend_from_slice(&self.payload);
        }
    }

    fn encode_options(&self, out: &mut Vec<u8>) {
        // Equal numbers sort by where their values start: the order in which they were added;
        // empty values at the same place are all alike.
        let mut sorted = self.options.clone();
        sorted.sort_unstable();
        let mut previous = 0;
        for (number, start, end) in sorted {
            let value = self.values.get(start..end).unwrap_or_default();
            let (delta, delta_more) = split(usize::from(number - previous));
            let (len, len_more) = split(value.len());
            out.push((delta << 4) | len);
            out.extend_from_slice(delta_more.as_bytes());
            out.extend_from_slice(len_more.as_bytes());
            out.extend_from_slice(value);
            previous = number;
        }
    }
}

/// The bytes that extend a delta or a length.
enum Extension {
    None,
    Byte([u8; 1]),
    Word([u8; 2]),
}

impl Extension {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Byte(bytes) => bytes,
            Self::Word(bytes) => bytes,
        }
    }
}

/// The four bits of a delta or length up to `VALUE_MAX`, and what extends them.
fn split(value: usize) -> (u8, Extension) {
    let low = |value: usize| {
        let [.., high, low] = value.to_be_bytes();
        [high, low]
    };
    match value {
        0..=12 => (low(value)[1], Extension::None),
        13..=268 => (13, Extension::Byte([low(value - 13)[1]])),
        _ => (14, Extension::Word(low(value - 269))),
    }
}
