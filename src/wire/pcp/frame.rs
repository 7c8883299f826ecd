//! Frames: the header that every message has, and how PCP is told from business data.
//!
//! The layout stands in [`super`]. Checks are made in the order that the protocol gives for
//! telling both apart, and the first that fails says what the bytes are not: [`FrameError`].

use nom::number::complete::{be_u8, be_u16};
use nom::{IResult, Parser};

use super::checksum::{Sum, checksum};

/// Bytes before the data.
pub const HEADER: usize = 8;
/// What a frame begins with, and business data must not.
pub const START: u16 = 0xfffe;
/// The protocol's version: the low four bits of byte 2. The high ones are reserved, sent as 0 and
/// not looked at.
pub const PROTOCOL: u8 = 1;
/// The longest data: its length has 16 bits.
pub const DATA_MAX: usize = 0xffff;

/// What a message is about. A response has the code of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    QueryVersion,
    NewVersion,
    Fragment,
    Downloaded,
    Execute,
    Upgraded,
}

impl Code {
    pub const ALL: [Self; 6] = [
        Self::QueryVersion,
        Self::NewVersion,
        Self::Fragment,
        Self::Downloaded,
        Self::Execute,
        Self::Upgraded,
    ];

    /// `None` for the reserved ones.
    pub const fn from_u8(code: u8) -> Option<Self> {
        match code {
            19 => Some(Self::QueryVersion),
            20 => Some(Self::NewVersion),
            21 => Some(Self::Fragment),
            22 => Some(Self::Downloaded),
            23 => Some(Self::Execute),
            24 => Some(Self::Upgraded),
            _ => None,
        }
    }

    pub const fn to_u8(self) -> u8 {
        match self {
            Self::QueryVersion => 19,
            Self::NewVersion => 20,
            Self::Fragment => 21,
            Self::Downloaded => 22,
            Self::Execute => 23,
            Self::Upgraded => 24,
        }
    }

    /// For logs and fixtures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueryVersion => "query version",
            Self::NewVersion => "new version",
            Self::Fragment => "fragment",
            Self::Downloaded => "downloaded",
            Self::Execute => "execute",
            Self::Upgraded => "upgraded",
        }
    }
}

/// A frame whose header is right. What its data says is [`super::message`]'s part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    pub code: Code,
    /// At most [`DATA_MAX`] bytes.
    pub data: &'a [u8],
}

/// Why bytes are not a frame: they are business data then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    #[error("{len} bytes, a header needs {HEADER}")]
    Truncated { len: usize },
    #[error("start is {0:#06x}, not {START:#06x}")]
    Start(u16),
    #[error("protocol version is {0}, not {PROTOCOL}")]
    Version(u8),
    #[error("message code is {0}, takes 19 to 24")]
    Code(u8),
    #[error("checksum is {got:#06x}, computed {want:#06x}")]
    Checksum { got: u16, want: u16 },
    #[error("length is {said}, {follow} bytes follow")]
    Length { said: u16, follow: usize },
}

impl FrameError {
    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Truncated { .. } => "truncated",
            Self::Start(_) => "start",
            Self::Version(_) => "version",
            Self::Code(_) => "code",
            Self::Checksum { .. } => "checksum",
            Self::Length { .. } => "length",
        }
    }
}

/// Start, version, code, checksum, length.
type Header = (u16, u8, u8, u16, u16);

fn header(bytes: &[u8]) -> IResult<&[u8], Header> {
    (be_u16, be_u8, be_u8, be_u16, be_u16).parse(bytes)
}

impl<'a> Frame<'a> {
    /// Reads one frame that fills `bytes`.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let Ok((data, (start, version, code, got, said))) = header(bytes) else {
            return Err(FrameError::Truncated { len: bytes.len() });
        };
        if start != START {
            return Err(FrameError::Start(start));
        }
        if version & 0x0f != PROTOCOL {
            return Err(FrameError::Version(version & 0x0f));
        }
        let Some(code) = Code::from_u8(code) else {
            return Err(FrameError::Code(code));
        };
        let want = checksum(bytes);
        if got != want {
            return Err(FrameError::Checksum { got, want });
        }
        if usize::from(said) != data.len() {
            let follow = data.len();
            return Err(FrameError::Length { said, follow });
        }
        Ok(Self { code, data })
    }

    /// Appends the frame. Data beyond [`DATA_MAX`] can't be told and is left out: no message has
    /// as much.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let data = self.data.get(..DATA_MAX).unwrap_or(self.data);
        out.reserve(HEADER + data.len());
        out.extend(header_of(self.code, &[data]));
        out.extend(data);
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_into(&mut out);
        out
    }
}

/// The header of a frame whose data is `parts`, one after the other; at most [`DATA_MAX`] in all.
pub(super) fn header_of(code: Code, parts: &[&[u8]]) -> [u8; HEADER] {
    let len = parts.iter().map(|part| part.len()).sum::<usize>();
    let [len_0, len_1] = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
    let [start_0, start_1] = START.to_be_bytes();
    let code = code.to_u8();
    let bare = [start_0, start_1, PROTOCOL, code, 0, 0, len_0, len_1];
    let sum = parts
        .iter()
        .fold(Sum::default().feed(&bare), |sum, part| sum.feed(part));
    let [sum_0, sum_1] = sum.value().to_be_bytes();
    [start_0, start_1, PROTOCOL, code, sum_0, sum_1, len_0, len_1]
}

/// Whether an uplink is PCP; `None`: business data. `supports_pcp`: the product declares upgrades
/// of software, and PCP as their protocol. The order is that of the protocol: product, start,
/// version, code, checksum, length.
pub fn recognise(supports_pcp: bool, bytes: &[u8]) -> Option<Frame<'_>> {
    supports_pcp.then(|| Frame::decode(bytes).ok()).flatten()
}
