//! PCP frames as a device reads and writes them, apart from the server's.
//!
//! ```text
//! ff fe | version 1 | code 1 | checksum 2 | length 2 | data       big-endian
//! ```
//!
//! The checksum is computed bit by bit: each byte meets the low half of the sum, is divided by
//! x^16+x^12+x^5+1 from its highest bit on, and the sum moves right by a byte. Broken frames
//! are an error with a stable kind, never a panic.

/// Message codes.
pub const QUERY: u8 = 19;
pub const OFFER: u8 = 20;
pub const FRAGMENT: u8 = 21;
pub const DOWNLOADED: u8 = 22;
pub const EXECUTE: u8 = 23;
pub const RESULT: u8 = 24;

const START: [u8; 2] = [0xff, 0xfe];
const HEADER_LEN: usize = 8;
const PROTOCOL: u8 = 1;
/// Bytes of a version.
pub const VERSION_LEN: usize = 16;

/// A version as it travels: ASCII, padded with zeros.
pub type Version = [u8; VERSION_LEN];

/// Why bytes are no frame that a device understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("{len} bytes, a header needs 8")]
    Truncated { len: usize },
    #[error("does not begin with ff fe")]
    Start,
    #[error("protocol version {0}, not 1")]
    Protocol(u8),
    #[error("message code {0}, takes 19 to 24")]
    Code(u8),
    #[error("checksum is {got:#06x}, computed {want:#06x}")]
    Checksum { got: u16, want: u16 },
    #[error("length says {told} bytes of data, there are {len}")]
    Length { told: usize, len: usize },
    #[error("{len} bytes of data don't fit message {code}")]
    Data { code: u8, len: usize },
}

impl FrameError {
    /// Stable word for fixtures; never reworded.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Truncated { .. } => "truncated",
            Self::Start => "start",
            Self::Protocol(_) => "protocol",
            Self::Code(_) => "code",
            Self::Checksum { .. } => "checksum",
            Self::Length { .. } => "length",
            Self::Data { .. } => "data",
        }
    }
}

/// What a platform says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Downlink<'a> {
    Query,
    Offer(Offer),
    /// The bytes of a fragment; `result` is 0 then.
    Fragment {
        index: u16,
        bytes: &'a [u8],
    },
    /// No fragment. Without an index it is one byte, which the guide does not know.
    NoFragment {
        result: u8,
        index: Option<u16>,
    },
    DownloadedTaken {
        result: u8,
    },
    Execute,
    ResultTaken {
        result: u8,
    },
}

/// A new version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    pub version: Version,
    pub fragment_size: u16,
    pub fragments: u16,
    pub check: u16,
}

/// True when a payload is meant as PCP.
pub fn is_frame(bytes: &[u8]) -> bool {
    bytes.starts_with(&START)
}

/// Reads what a platform sent. A device may trust the checksum.
pub fn read(bytes: &[u8], verify: bool) -> Result<Downlink<'_>, FrameError> {
    let (header, data) = bytes
        .split_first_chunk::<HEADER_LEN>()
        .ok_or(FrameError::Truncated { len: bytes.len() })?;
    let [start @ .., protocol, code, sum_1, sum_2, len_1, len_2] = *header;
    if start != START {
        return Err(FrameError::Start);
    }
    if protocol & 0x0f != PROTOCOL {
        return Err(FrameError::Protocol(protocol & 0x0f));
    }
    if !(QUERY..=RESULT).contains(&code) {
        return Err(FrameError::Code(code));
    }
    let got = u16::from_be_bytes([sum_1, sum_2]);
    let want = checksum(
        [START[0], START[1], protocol, code, 0, 0, len_1, len_2],
        data,
    );
    if verify && got != want {
        return Err(FrameError::Checksum { got, want });
    }
    let told = usize::from(u16::from_be_bytes([len_1, len_2]));
    if told != data.len() {
        let len = data.len();
        return Err(FrameError::Length { told, len });
    }
    let len = data.len();
    interpret(code, data).ok_or(FrameError::Data { code, len })
}

fn interpret(code: u8, data: &[u8]) -> Option<Downlink<'_>> {
    match (code, data) {
        (QUERY, []) => Some(Downlink::Query),
        (OFFER, data) => offer(data).map(Downlink::Offer),
        (FRAGMENT, [0, high, low, bytes @ ..]) if !bytes.is_empty() => Some(Downlink::Fragment {
            index: u16::from_be_bytes([*high, *low]),
            bytes,
        }),
        (FRAGMENT, [result]) => Some(Downlink::NoFragment {
            result: *result,
            index: None,
        }),
        (FRAGMENT, [result, high, low, ..]) if *result != 0 => Some(Downlink::NoFragment {
            result: *result,
            index: Some(u16::from_be_bytes([*high, *low])),
        }),
        (DOWNLOADED, [result]) => Some(Downlink::DownloadedTaken { result: *result }),
        (EXECUTE, []) => Some(Downlink::Execute),
        (RESULT, [result]) => Some(Downlink::ResultTaken { result: *result }),
        _ => None,
    }
}

fn offer(data: &[u8]) -> Option<Offer> {
    let (version, rest) = data.split_first_chunk::<VERSION_LEN>()?;
    let &[size_1, size_2, count_1, count_2, check_1, check_2] = rest else {
        return None;
    };
    Some(Offer {
        version: *version,
        fragment_size: u16::from_be_bytes([size_1, size_2]),
        fragments: u16::from_be_bytes([count_1, count_2]),
        check: u16::from_be_bytes([check_1, check_2]),
    })
}

/// A frame with this data; what is beyond the largest frame is cut.
pub fn write(code: u8, data: &[u8]) -> Vec<u8> {
    let data = data.get(..usize::from(u16::MAX)).unwrap_or(data);
    let [.., len_1, len_2] = data.len().to_be_bytes();
    let [start_1, start_2] = START;
    let sum = checksum([start_1, start_2, PROTOCOL, code, 0, 0, len_1, len_2], data);
    let [sum_1, sum_2] = sum.to_be_bytes();
    let header = [start_1, start_2, PROTOCOL, code, sum_1, sum_2, len_1, len_2];
    [&header[..], data].concat()
}

/// A result and a version: the answer to a query, or what came of an upgrade.
pub fn write_version(code: u8, result: u8, version: Version) -> Vec<u8> {
    write(code, &[&[result][..], &version].concat())
}

/// Asks for a fragment.
pub fn ask(version: Version, index: u16) -> Vec<u8> {
    write(FRAGMENT, &[&version[..], &index.to_be_bytes()].concat())
}

/// A version from text; what is longer than 16 bytes is cut.
pub fn version(text: &str) -> Version {
    let mut out = [0; VERSION_LEN];
    for (to, from) in out.iter_mut().zip(text.bytes()) {
        *to = from;
    }
    out
}

/// The text of a version, without its padding.
pub fn version_text(version: Version) -> String {
    let text = version.split(|b| *b == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

fn checksum(header: [u8; HEADER_LEN], data: &[u8]) -> u16 {
    header.iter().chain(data).fold(0, |sum, byte| {
        let [_, low] = sum.to_be_bytes();
        let mut rest = u16::from(low ^ byte) << 8;
        for _ in 0..8 {
            let carry = rest & 0x8000 != 0;
            rest <<= 1;
            if carry {
                rest ^= 0x1021;
            }
        }
        sum >> 8 ^ rest
    })
}
