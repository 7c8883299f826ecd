//! What frames say: every message of devices ([`FromDevice`]) and of the platform ([`ToDevice`]).
//!
//! Both directions read and write, so that each proves the other. Data of another length than a
//! message has is an error and nothing is guessed; but a device that reports a failure may leave
//! its version out.

use nom::bytes::complete::take;
use nom::combinator::{all_consuming, map, opt, rest};
use nom::number::complete::{be_u8, be_u16};
use nom::{IResult, Parser};

use super::frame::{Code, Frame, header_of};
use super::package::{FragmentError, FragmentSize, VERSION_LEN, Version};
use super::result::{ResultCode, Verdict};

/// From a device to the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromDevice {
    /// Answer to 19. Without a version only beside a failure.
    Version {
        result: ResultCode,
        version: Option<Version>,
    },
    /// Answer to 20.
    Notified(ResultCode),
    /// 21: asks for a fragment.
    Fragment { version: Version, index: u16 },
    /// 22: says how the download ended.
    Downloaded(ResultCode),
    /// Answer to 23.
    Executed(ResultCode),
    /// 24: says how the upgrade ended. Without a version only beside a failure.
    Upgraded {
        result: ResultCode,
        version: Option<Version>,
    },
}

/// From the platform to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToDevice<'a> {
    /// 19
    QueryVersion,
    /// 20
    NewVersion {
        version: Version,
        size: FragmentSize,
        count: u16,
        /// Compared by devices for equality alone; 0 for every package.
        check: u16,
    },
    /// Answer to 21. Without bytes when the verdict is not `Ok`.
    Fragment {
        verdict: Verdict,
        index: u16,
        bytes: &'a [u8],
    },
    /// Answer to 22.
    Downloaded(Verdict),
    /// 23
    Execute,
    /// Answer to 24.
    Upgraded(Verdict),
}

/// Why the data of a frame is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    #[error("{} with {len} bytes of data, takes {takes}", code.name())]
    DataLength {
        code: Code,
        len: usize,
        takes: &'static str,
    },
    #[error(transparent)]
    Fragment(#[from] FragmentError),
}

impl MessageError {
    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::DataLength { .. } => "data_length",
            Self::Fragment(error) => error.kind(),
        }
    }
}

fn version(bytes: &[u8]) -> IResult<&[u8], Version> {
    map(take(VERSION_LEN), |bytes: &[u8]| {
        Version::from_bytes(bytes.try_into().unwrap_or_default())
    })
    .parse(bytes)
}

/// Reads all of the data, or says what it should have been.
fn whole<'a, T>(
    frame: &Frame<'a>,
    parser: impl Parser<&'a [u8], Output = T, Error = nom::error::Error<&'a [u8]>>,
    takes: &'static str,
) -> Result<T, MessageError> {
    match all_consuming(parser).parse(frame.data) {
        Ok((_, read)) => Ok(read),
        Err(_) => Err(MessageError::DataLength {
            code: frame.code,
            len: frame.data.len(),
            takes,
        }),
    }
}

impl FromDevice {
    pub fn read(frame: &Frame<'_>) -> Result<Self, MessageError> {
        let code = frame.code;
        let result = || map(be_u8, move |byte| ResultCode::read(code, byte));
        let reported = || -> Result<_, MessageError> {
            let takes = "17: result and version (or the result alone, unless it is 0)";
            let (result, version) = whole(frame, (result(), opt(version)), takes)?;
            if result == ResultCode::Ok && version.is_none() {
                let len = frame.data.len();
                return Err(MessageError::DataLength { code, len, takes });
            }
            Ok((result, version))
        };
        let one = "1: result";
        Ok(match code {
            Code::QueryVersion => {
                let (result, version) = reported()?;
                Self::Version { result, version }
            }
            Code::NewVersion => Self::Notified(whole(frame, result(), one)?),
            Code::Fragment => {
                let takes = "18: version and index";
                let (version, index) = whole(frame, (version, be_u16), takes)?;
                Self::Fragment { version, index }
            }
            Code::Downloaded => Self::Downloaded(whole(frame, result(), one)?),
            Code::Execute => Self::Executed(whole(frame, result(), one)?),
            Code::Upgraded => {
                let (result, version) = reported()?;
                Self::Upgraded { result, version }
            }
        })
    }

    pub const fn code(&self) -> Code {
        match self {
            Self::Version { .. } => Code::QueryVersion,
            Self::Notified(_) => Code::NewVersion,
            Self::Fragment { .. } => Code::Fragment,
            Self::Downloaded(_) => Code::Downloaded,
            Self::Executed(_) => Code::Execute,
            Self::Upgraded { .. } => Code::Upgraded,
        }
    }

    /// The whole frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Version { result, version } | Self::Upgraded { result, version } => {
                let version = version.as_ref().map(|v| &v.as_bytes()[..]);
                let parts = [&[result.to_u8()], version.unwrap_or_default()];
                write(self.code(), &parts, &mut out);
            }
            Self::Notified(result) | Self::Downloaded(result) | Self::Executed(result) => {
                write(self.code(), &[&[result.to_u8()]], &mut out);
            }
            Self::Fragment { version, index } => {
                let parts = [&version.as_bytes()[..], &index.to_be_bytes()];
                write(self.code(), &parts, &mut out);
            }
        }
        out
    }
}

impl<'a> ToDevice<'a> {
    pub fn read(frame: &Frame<'a>) -> Result<Self, MessageError> {
        let verdict = || map(be_u8, Verdict::from_u8);
        let nothing = |message| match frame.data.len() {
            0 => Ok(message),
            len => Err(MessageError::DataLength {
                code: frame.code,
                len,
                takes: "none",
            }),
        };
        let one = "1: result";
        match frame.code {
            Code::QueryVersion => nothing(Self::QueryVersion),
            Code::NewVersion => {
                let parser = (version, be_u16, be_u16, be_u16);
                let takes = "22: version, fragment size, count and check";
                let (version, size, count, check) = whole(frame, parser, takes)?;
                let size = FragmentSize::new(size)?;
                Ok(Self::NewVersion {
                    version,
                    size,
                    count,
                    check,
                })
            }
            Code::Fragment => {
                let takes = "3 or more: result, index and the fragment";
                let (verdict, index, bytes) = whole(frame, (verdict(), be_u16, rest), takes)?;
                Ok(Self::Fragment {
                    verdict,
                    index,
                    bytes,
                })
            }
            Code::Downloaded => Ok(Self::Downloaded(whole(frame, verdict(), one)?)),
            Code::Execute => nothing(Self::Execute),
            Code::Upgraded => Ok(Self::Upgraded(whole(frame, verdict(), one)?)),
        }
    }

    pub const fn code(&self) -> Code {
        match self {
            Self::QueryVersion => Code::QueryVersion,
            Self::NewVersion { .. } => Code::NewVersion,
            Self::Fragment { .. } => Code::Fragment,
            Self::Downloaded(_) => Code::Downloaded,
            Self::Execute => Code::Execute,
            Self::Upgraded(_) => Code::Upgraded,
        }
    }

    /// Appends the whole frame.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        match self {
            Self::QueryVersion | Self::Execute => write(self.code(), &[], out),
            Self::NewVersion {
                version,
                size,
                count,
                check,
            } => {
                let numbers = [size.bytes(), *count, *check].map(u16::to_be_bytes);
                let parts = [&version.as_bytes()[..], numbers.as_flattened()];
                write(self.code(), &parts, out);
            }
            Self::Fragment {
                verdict,
                index,
                bytes,
            } => {
                let parts = [&[verdict.to_u8()], &index.to_be_bytes()[..], bytes];
                write(self.code(), &parts, out);
            }
            Self::Downloaded(verdict) | Self::Upgraded(verdict) => {
                write(self.code(), &[&[verdict.to_u8()]], out);
            }
        }
    }

    /// The whole frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_into(&mut out);
        out
    }
}

fn write(code: Code, parts: &[&[u8]], out: &mut Vec<u8>) {
    out.extend(header_of(code, parts));
    for part in parts {
        out.extend_from_slice(part);
    }
}
