//! A package as the answers that carry it: every fragment in its whole frame, one after the other.
//!
//! ```text
//! | header 8 | 00 | index 2 | fragment | header 8 | 00 | index 2 | … | the last is shorter |
//! '------ stride: size + 11 ------------'
//! ```
//!
//! The answer to a request names no version, so the one for (package, index) is the same for
//! every device and every time: it is written once, when the package comes, and an answer is then
//! a slice of a file or of memory. Nothing else is in the file, so its length tells the package's.

use std::io::{self, Read, Write};
use std::ops::Range;

use bytes::Bytes;

use super::frame::{Code, HEADER, header_of};
use super::package::{FragmentError, FragmentSize, fragment_count};
use super::result::Verdict;

/// Bytes of an answer before its fragment: header, result, index.
pub const ANSWER_HEADER: usize = HEADER + 3;

/// The longest answer.
pub const ANSWER_MAX: usize = ANSWER_HEADER + 500;

/// Where the answers of a package lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    size: FragmentSize,
    count: u16,
    /// Bytes of the last fragment: 1 to `size`.
    last: u16,
}

/// Why a package could not be framed, or bytes are no framed package.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FramedError {
    #[error(transparent)]
    Fragment(#[from] FragmentError),
    #[error("{len} bytes can't be a package in fragments of {size} bytes with their headers")]
    Torn { len: u64, size: u16 },
    #[error("the package ended after {got} bytes, {want} were told")]
    Short { got: u64, want: u64 },
    #[error("the package has more than the {want} bytes that were told")]
    Long { want: u64 },
    #[error("the package could not be copied: {0}")]
    Io(#[from] io::Error),
}

impl FramedError {
    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Fragment(error) => error.kind(),
            Self::Torn { .. } => "torn",
            Self::Short { .. } => "short",
            Self::Long { .. } => "long",
            Self::Io(_) => "io",
        }
    }
}

impl Layout {
    /// Of a package of so many bytes.
    pub fn of_package(package: u64, size: FragmentSize) -> Result<Self, FragmentError> {
        let count = fragment_count(package, size)?;
        let before = u64::from(count - 1) * u64::from(size.bytes());
        let last = u16::try_from(package - before).unwrap_or_default();
        Ok(Self { size, count, last })
    }

    /// Of a file of so many bytes.
    pub fn of_framed(len: u64, size: FragmentSize) -> Result<Self, FramedError> {
        let torn = FramedError::Torn {
            len,
            size: size.bytes(),
        };
        let headers = len.div_ceil(stride(size)) * ANSWER_HEADER as u64;
        let package = len.checked_sub(headers).ok_or(torn)?;
        let layout = Self::of_package(package, size)?;
        match layout.framed_len() == len {
            true => Ok(layout),
            false => Err(FramedError::Torn {
                len,
                size: size.bytes(),
            }),
        }
    }

    pub const fn size(&self) -> FragmentSize {
        self.size
    }

    pub const fn count(&self) -> u16 {
        self.count
    }

    /// Bytes of the package.
    pub fn package_len(&self) -> u64 {
        u64::from(self.count - 1) * u64::from(self.size.bytes()) + u64::from(self.last)
    }

    /// Bytes of all answers.
    pub fn framed_len(&self) -> u64 {
        self.package_len() + u64::from(self.count) * ANSWER_HEADER as u64
    }

    /// Where the answer with this fragment lies: for a file that is read in part. `None`: no such
    /// fragment.
    pub fn place(&self, index: u16) -> Option<Range<u64>> {
        let fragment = match self.count.checked_sub(index)? {
            0 => return None,
            1 => self.last,
            _ => self.size.bytes(),
        };
        let start = u64::from(index) * stride(self.size);
        Some(start..start + ANSWER_HEADER as u64 + u64::from(fragment))
    }
}

const fn stride(size: FragmentSize) -> u64 {
    (size.bytes() as usize + ANSWER_HEADER) as u64
}

/// Copies a package of `package` bytes from `reader` to `writer`, each fragment in its answer.
/// Holds one fragment at a time: give it buffered ends.
pub fn frame_package(
    package: u64,
    size: FragmentSize,
    mut reader: impl Read,
    mut writer: impl Write,
) -> Result<Layout, FramedError> {
    let layout = Layout::of_package(package, size)?;
    let mut space = [0; FragmentSize::MAX as usize];
    let mut got = 0;
    for index in 0..layout.count {
        let is_last = index == layout.count - 1;
        let len = if is_last { layout.last } else { size.bytes() };
        let fragment = space.get_mut(..usize::from(len)).unwrap_or_default();
        let filled = fill(&mut reader, fragment)?;
        got += filled as u64;
        if filled < fragment.len() {
            return Err(FramedError::Short { got, want: package });
        }
        let lead = lead(index);
        writer.write_all(&header_of(Code::Fragment, &[&lead, fragment]))?;
        writer.write_all(&lead)?;
        writer.write_all(fragment)?;
    }
    if fill(&mut reader, &mut [0])? > 0 {
        return Err(FramedError::Long { want: package });
    }
    Ok(layout)
}

/// Result and index.
const fn lead(index: u16) -> [u8; 3] {
    let [high, low] = index.to_be_bytes();
    [Verdict::Ok.to_u8(), high, low]
}

/// How much of `space` could be filled.
fn fill(reader: &mut impl Read, space: &mut [u8]) -> Result<usize, io::Error> {
    let mut filled = 0;
    while let Some(left) = space.get_mut(filled..).filter(|left| !left.is_empty()) {
        match reader.read(left) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A framed package in memory. Clones share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FramedPackage {
    bytes: Bytes,
    layout: Layout,
}

impl FramedPackage {
    /// Frames a package that is in memory.
    pub fn new(package: &[u8], size: FragmentSize) -> Result<Self, FramedError> {
        let len = package.len() as u64;
        let space = Layout::of_package(len, size)?.framed_len();
        let mut framed = Vec::with_capacity(usize::try_from(space).unwrap_or_default());
        let layout = frame_package(len, size, package, &mut framed)?;
        Ok(Self {
            bytes: framed.into(),
            layout,
        })
    }

    /// Over what [`frame_package`] wrote. The length alone is checked: who stores files checks
    /// their hash.
    pub fn over(bytes: Bytes, size: FragmentSize) -> Result<Self, FramedError> {
        let layout = Layout::of_framed(bytes.len() as u64, size)?;
        Ok(Self { bytes, layout })
    }

    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The whole answer with this fragment. `None`: no such fragment.
    pub fn frame(&self, index: u16) -> Option<&[u8]> {
        self.bytes.get(self.place(index)?)
    }

    /// The same, to be kept or sent: it shares the package's memory.
    pub fn frame_bytes(&self, index: u16) -> Option<Bytes> {
        let place = self.place(index)?;
        (place.end <= self.bytes.len()).then(|| self.bytes.slice(place))
    }

    /// The package itself, fragment by fragment.
    pub fn fragments(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.layout.count).filter_map(|index| self.frame(index)?.get(ANSWER_HEADER..))
    }

    fn place(&self, index: u16) -> Option<Range<usize>> {
        let place = self.layout.place(index)?;
        Some(usize::try_from(place.start).ok()?..usize::try_from(place.end).ok()?)
    }
}
