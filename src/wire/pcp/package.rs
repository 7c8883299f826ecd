//! What a package is cut into: its version, the size of its fragments and their number.

use std::fmt::{self, Write};

/// Bytes of a version in a message.
pub const VERSION_LEN: usize = 16;

/// A version: ASCII, at most 16 characters, padded with 00. What a device sends after the first 00
/// is no part of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version([u8; VERSION_LEN]);

/// Why a text can't travel as a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VersionError {
    #[error("the version is empty, takes 1 to {VERSION_LEN} ASCII characters")]
    Empty,
    #[error("the version has {len} bytes, takes at most {VERSION_LEN}: PCP carries no more")]
    TooLong { len: usize },
    #[error("character {at} of the version is {found:?}, takes printable ASCII")]
    Character { at: usize, found: char },
}

impl VersionError {
    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Empty => "version_empty",
            Self::TooLong { .. } => "version_too_long",
            Self::Character { .. } => "version_character",
        }
    }
}

impl Version {
    /// Reads what an operator wrote.
    pub fn parse(text: &str) -> Result<Self, VersionError> {
        let strange = |found: &char| !(' '..='~').contains(found);
        if let Some((at, found)) = text.chars().enumerate().find(|(_, c)| strange(c)) {
            return Err(VersionError::Character { at: at + 1, found });
        }
        if text.is_empty() {
            return Err(VersionError::Empty);
        }
        let len = text.len();
        let mut bytes = [0; VERSION_LEN];
        let place = bytes.get_mut(..len).ok_or(VersionError::TooLong { len })?;
        place.copy_from_slice(text.as_bytes());
        Ok(Self(bytes))
    }

    /// Takes what a device sent: any bytes, as far as the first 00.
    pub const fn from_bytes(mut bytes: [u8; VERSION_LEN]) -> Self {
        let mut rest: &mut [u8] = &mut bytes;
        let mut over = false;
        while let [byte, after @ ..] = rest {
            over |= *byte == 0;
            if over {
                *byte = 0;
            }
            rest = after;
        }
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; VERSION_LEN] {
        &self.0
    }
}

/// As text; bytes that are no printable ASCII as `\xff`.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.iter().take_while(|byte| **byte != 0) {
            match byte {
                b' '..=b'~' => f.write_char(char::from(*byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Bytes of each fragment but the last: 32 to 500.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FragmentSize(u16);

impl FragmentSize {
    pub const MIN: u16 = 32;
    pub const MAX: u16 = 500;

    pub const fn new(bytes: u16) -> Result<Self, FragmentError> {
        match bytes {
            Self::MIN..=Self::MAX => Ok(Self(bytes)),
            _ => Err(FragmentError::Size { bytes }),
        }
    }

    pub const fn bytes(self) -> u16 {
        self.0
    }
}

impl Default for FragmentSize {
    fn default() -> Self {
        Self(Self::MAX)
    }
}

/// Why a package can't be cut into fragments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FragmentError {
    #[error(
        "fragments of {bytes} bytes, takes {} to {}",
        FragmentSize::MIN,
        FragmentSize::MAX
    )]
    Size { bytes: u16 },
    #[error("the package is empty")]
    Empty,
    #[error(
        "{package} bytes in fragments of {fragment} bytes are {count} fragments, takes at most {}: \
         the package has at most {} bytes so",
        u16::MAX, u64::from(u16::MAX) * u64::from(*fragment)
    )]
    Count {
        package: u64,
        fragment: u16,
        count: u64,
    },
}

impl FragmentError {
    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Size { .. } => "fragment_size",
            Self::Empty => "package_empty",
            Self::Count { .. } => "fragment_count",
        }
    }
}

/// Fragments of a package of so many bytes; they are numbered from 0.
pub fn fragment_count(package: u64, size: FragmentSize) -> Result<u16, FragmentError> {
    let count = package.div_ceil(u64::from(size.0));
    match u16::try_from(count) {
        Ok(0) => Err(FragmentError::Empty),
        Ok(count) => Ok(count),
        Err(_) => Err(FragmentError::Count {
            package,
            fragment: size.0,
            count,
        }),
    }
}
