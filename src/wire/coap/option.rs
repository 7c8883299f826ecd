//! Options: numbers, content formats, values, and the walk over a message's options
//! (RFC 7252 §3.1, §5.4, §5.10; numbers from the IANA registry).
//!
//! ```text
//!  | delta, 4 bits | length, 4 bits | delta: 0 to 2 bytes | length: 0 to 2 bytes | value |
//!  13: one byte follows, less 13; 14: two bytes follow, less 269; 15: payload marker, or error
//! ```
//!
//! An elective option whose length is out of its bounds counts as absent, a critical one as
//! unrecognised (RFC 7252 §5.4.3).

use super::block::{Block, BlockError};
use super::message::ParseError;

pub const IF_MATCH: u16 = 1;
pub const URI_HOST: u16 = 3;
pub const ETAG: u16 = 4;
pub const IF_NONE_MATCH: u16 = 5;
/// RFC 7641.
pub const OBSERVE: u16 = 6;
pub const URI_PORT: u16 = 7;
pub const LOCATION_PATH: u16 = 8;
/// RFC 8613.
pub const OSCORE: u16 = 9;
pub const URI_PATH: u16 = 11;
pub const CONTENT_FORMAT: u16 = 12;
pub const MAX_AGE: u16 = 14;
pub const URI_QUERY: u16 = 15;
/// RFC 8768.
pub const HOP_LIMIT: u16 = 16;
pub const ACCEPT: u16 = 17;
pub const LOCATION_QUERY: u16 = 20;
/// RFC 7959.
pub const BLOCK2: u16 = 23;
/// RFC 7959.
pub const BLOCK1: u16 = 27;
/// RFC 7959.
pub const SIZE2: u16 = 28;
pub const PROXY_URI: u16 = 35;
pub const PROXY_SCHEME: u16 = 39;
pub const SIZE1: u16 = 60;
/// RFC 9175.
pub const ECHO: u16 = 252;
/// RFC 7967.
pub const NO_RESPONSE: u16 = 258;
/// RFC 9175.
pub const REQUEST_TAG: u16 = 292;

/// A receiver that does not know it must refuse the message.
pub const fn is_critical(number: u16) -> bool {
    number & 1 != 0
}

/// A proxy that does not know it must not forward the message.
pub const fn is_unsafe(number: u16) -> bool {
    number & 2 != 0
}

/// What a number's definition allows: shortest and longest value, and whether it may repeat.
/// `None` for numbers not defined here.
const fn rule(number: u16) -> Option<(usize, usize, bool)> {
    Some(match number {
        IF_MATCH => (0, 8, true),
        URI_HOST => (1, 255, false),
        ETAG => (1, 8, true),
        IF_NONE_MATCH => (0, 0, false),
        OBSERVE => (0, 3, false),
        URI_PORT | CONTENT_FORMAT | ACCEPT => (0, 2, false),
        LOCATION_PATH | URI_PATH | URI_QUERY | LOCATION_QUERY => (0, 255, true),
        OSCORE => (0, 255, false),
        MAX_AGE | SIZE1 | SIZE2 => (0, 4, false),
        HOP_LIMIT => (1, 1, false),
        BLOCK1 | BLOCK2 => (0, 3, false),
        PROXY_URI => (1, 1034, false),
        PROXY_SCHEME => (1, 255, false),
        ECHO => (1, 40, false),
        NO_RESPONSE => (0, 1, false),
        REQUEST_TAG => (0, 8, true),
        _ => return None,
    })
}

/// Content formats, as numbers of the Content-Format and Accept options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentFormat(pub u16);

impl ContentFormat {
    pub const TEXT: Self = Self(0);
    /// RFC 6690.
    pub const LINK: Self = Self(40);
    pub const OPAQUE: Self = Self(42);
    pub const JSON: Self = Self(50);
    pub const CBOR: Self = Self(60);
    pub const SENML_JSON: Self = Self(110);
    pub const SENML_CBOR: Self = Self(112);
    /// `application/vnd.oma.lwm2m+tlv`.
    pub const TLV: Self = Self(11542);
    /// `application/vnd.oma.lwm2m+json`, of LwM2M 1.0.
    pub const LWM2M_JSON: Self = Self(11543);
    /// `application/vnd.oma.lwm2m+cbor`, of LwM2M 1.2.
    pub const LWM2M_CBOR: Self = Self(11544);

    /// The number as it is today: early LwM2M 1.0 stacks write 1541 (text), 1542 (TLV) and
    /// 1543 (JSON) for what became 11541 to 11543; 11541 in turn was dropped for plain text.
    #[must_use]
    pub const fn modern(self) -> Self {
        match self.0 {
            1541 | 11541 => Self::TEXT,
            1542 => Self::TLV,
            1543 => Self::LWM2M_JSON,
            number => Self(number),
        }
    }
}

/// An unsigned integer as an option value: big-endian without leading zeros, 0 is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uint {
    bytes: [u8; 8],
    skip: u8,
}

impl Uint {
    pub const fn new(value: u64) -> Self {
        let zeros = value.leading_zeros() / 8;
        Self {
            bytes: value.to_be_bytes(),
            #[expect(clippy::cast_possible_truncation, reason = "at most 8")]
            skip: zeros as u8,
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(usize::from(self.skip)..).unwrap_or_default()
    }

    /// The number in an option value of at most 8 bytes; superfluous leading zeros are fine
    /// (RFC 7252 §3.2).
    pub fn parse(value: &[u8]) -> Option<u64> {
        (value.len() <= 8).then(|| {
            value
                .iter()
                .fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
        })
    }
}

/// Why a Uri-Path or Uri-Query value is no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("option {number} is not UTF-8 from byte {at} on")]
pub struct TextError {
    pub number: u16,
    pub at: usize,
}

impl TextError {
    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(self) -> &'static str {
        "option_text"
    }
}

/// One option of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionRef<'a> {
    pub number: u16,
    pub value: &'a [u8],
}

/// The options of a parsed message: bytes that were checked once, read again without error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options<'a>(&'a [u8]);

impl<'a> Options<'a> {
    /// Checks `bytes`, what follows the token, up to the payload marker or the end: the options,
    /// and what follows the marker (`None` without one).
    pub(super) fn parse(bytes: &'a [u8]) -> Result<(Self, Option<&'a [u8]>), ParseError> {
        let mut rest = bytes;
        let mut number = 0;
        loop {
            match rest {
                [] => return Ok((Self(bytes), None)),
                [0xff, payload @ ..] => {
                    let len = bytes.len() - rest.len();
                    return Ok((Self(bytes.get(..len).unwrap_or_default()), Some(payload)));
                }
                [head, after @ ..] => {
                    let (option, after) = read(*head, after, number)?;
                    number = option.number;
                    rest = after;
                }
            }
        }
    }

    /// In ascending order of their numbers.
    pub const fn iter(&self) -> Iter<'a> {
        Iter {
            rest: self.0,
            number: 0,
        }
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values of a number, in order, whatever their lengths.
    pub fn values(&self, number: u16) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        self.iter()
            .skip_while(move |option| option.number < number)
            .take_while(move |option| option.number == number)
            .map(|option| option.value)
    }

    /// The first value of a number, when its length is legal.
    pub fn first(&self, number: u16) -> Option<&'a [u8]> {
        let value = self.values(number).next()?;
        let legal = rule(number).is_none_or(|(min, max, _)| (min..=max).contains(&value.len()));
        legal.then_some(value)
    }

    /// The first value of a number, as an unsigned integer.
    pub fn uint(&self, number: u16) -> Option<u64> {
        self.first(number).and_then(Uint::parse)
    }

    fn uint16(&self, number: u16) -> Option<u16> {
        self.uint(number).and_then(|value| value.try_into().ok())
    }

    fn uint32(&self, number: u16) -> Option<u32> {
        self.uint(number).and_then(|value| value.try_into().ok())
    }

    fn texts(
        &self,
        number: u16,
    ) -> impl Iterator<Item = Result<&'a str, TextError>> + Clone + use<'a> {
        self.values(number).map(move |value| {
            std::str::from_utf8(value).map_err(|e| TextError {
                number,
                at: e.valid_up_to(),
            })
        })
    }

    /// Path segments, as they are: a segment may be empty or hold a `/`.
    pub fn uri_path(&self) -> impl Iterator<Item = Result<&'a str, TextError>> + Clone + use<'a> {
        self.texts(URI_PATH)
    }

    /// Query arguments, as they are: `ep=867725038317248`, or a bare `Q`.
    pub fn uri_query(&self) -> impl Iterator<Item = Result<&'a str, TextError>> + Clone + use<'a> {
        self.texts(URI_QUERY)
    }

    /// Segments of the location that a 2.01 names.
    pub fn location_path(
        &self,
    ) -> impl Iterator<Item = Result<&'a str, TextError>> + Clone + use<'a> {
        self.texts(LOCATION_PATH)
    }

    /// Whether the path is exactly these segments.
    pub fn is_path(&self, segments: &[&str]) -> bool {
        self.values(URI_PATH)
            .eq(segments.iter().map(|segment| segment.as_bytes()))
    }

    pub fn content_format(&self) -> Option<u16> {
        self.uint16(CONTENT_FORMAT)
    }

    pub fn accept(&self) -> Option<u16> {
        self.uint16(ACCEPT)
    }

    /// In a request 0 observes and 1 ends that; in a notification, its order (24 bits).
    pub fn observe(&self) -> Option<u32> {
        self.uint32(OBSERVE)
    }

    pub fn block1(&self) -> Option<Result<Block, BlockError>> {
        self.values(BLOCK1).next().map(Block::parse)
    }

    pub fn block2(&self) -> Option<Result<Block, BlockError>> {
        self.values(BLOCK2).next().map(Block::parse)
    }

    /// Bytes in the request's body, as the sender says or the receiver would take.
    pub fn size1(&self) -> Option<u32> {
        self.uint32(SIZE1)
    }

    /// Bytes in the response's body, as the sender says.
    pub fn size2(&self) -> Option<u32> {
        self.uint32(SIZE2)
    }

    /// Seconds. Absent means 60 (RFC 7252 §5.10.5).
    pub fn max_age(&self) -> Option<u32> {
        self.uint32(MAX_AGE)
    }

    /// The first ETag: the only one a response may have.
    pub fn etag(&self) -> Option<&'a [u8]> {
        self.first(ETAG)
    }

    pub fn echo(&self) -> Option<&'a [u8]> {
        self.first(ECHO)
    }

    /// The first Request-Tag. It may repeat; all of them are `values(REQUEST_TAG)`.
    pub fn request_tag(&self) -> Option<&'a [u8]> {
        self.first(REQUEST_TAG)
    }

    /// Bit 1 set: no interest in 2.xx, bit 3: 4.xx, bit 4: 5.xx (RFC 7967 §2.1).
    pub fn no_response(&self) -> Option<u8> {
        self.uint(NO_RESPONSE)
            .and_then(|value| value.try_into().ok())
    }

    /// The first critical option that is not one of `known`, has a length that its definition
    /// forbids, or repeats against it (RFC 7252 §5.4.3, §5.4.5). The answer to it is 4.02.
    pub fn unknown_critical(&self, known: &[u16]) -> Option<u16> {
        let mut last = None;
        for OptionRef { number, value } in self.iter() {
            let repeated = last.replace(number) == Some(number);
            if !is_critical(number) {
                continue;
            }
            let legal = match rule(number) {
                Some((min, max, repeats)) => {
                    (min..=max).contains(&value.len()) && (repeats || !repeated)
                }
                None => true,
            };
            if !legal || !known.contains(&number) {
                return Some(number);
            }
        }
        None
    }
}

impl<'a> IntoIterator for Options<'a> {
    type Item = OptionRef<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Walks the options of a message.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    rest: &'a [u8],
    number: u16,
}

impl<'a> Iterator for Iter<'a> {
    type Item = OptionRef<'a>;

    fn next(&mut self) -> Option<OptionRef<'a>> {
        let (head, after) = self.rest.split_first()?;
        // Checked when the message was parsed: an error can't occur here.
        let (option, rest) = read(*head, after, self.number).ok()?;
        self.rest = rest;
        self.number = option.number;
        Some(option)
    }
}

/// Reads the option that begins with `head` and goes on in `bytes`; `previous` is the number of
/// the one before. Also what follows it.
#[inline]
fn read(head: u8, bytes: &[u8], previous: u16) -> Result<(OptionRef<'_>, &[u8]), ParseError> {
    let (delta, bytes) = extend(head >> 4, bytes, ParseError::OptionDelta)?;
    let (len, bytes) = extend(head & 0x0f, bytes, ParseError::OptionLength)?;
    let number = u32::from(previous) + delta;
    let number = u16::try_from(number).map_err(|_| ParseError::OptionNumber { number })?;
    let (value, rest) = usize::try_from(len)
        .ok()
        .and_then(|len| bytes.split_at_checked(len))
        .ok_or(ParseError::OptionTruncated)?;
    Ok((OptionRef { number, value }, rest))
}

/// A delta or length whose first four bits are `nibble`; 15 is `reserved`.
#[inline]
fn extend(nibble: u8, bytes: &[u8], reserved: ParseError) -> Result<(u32, &[u8]), ParseError> {
    match (nibble, bytes) {
        (0..=12, _) => Ok((u32::from(nibble), bytes)),
        (13, [byte, rest @ ..]) => Ok((u32::from(*byte) + 13, rest)),
        (14, [high, low, rest @ ..]) => {
            Ok((u32::from(u16::from_be_bytes([*high, *low])) + 269, rest))
        }
        (13 | 14, _) => Err(ParseError::OptionTruncated),
        _ => Err(reserved),
    }
}

#[cfg(test)]
mod tests;
