//! A cursor over borrowed bytes, and vectors with their length before them (RFC 5246 4.3).
//!
//! Reading beyond the end gives `None` and moves nothing. A vector longer than its length field
//! can say is cut when written, so that what is written is always well-formed.

/// What is left to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u24(&mut self) -> Option<u32> {
        let [high, mid, low] = self.array()?;
        Some(u32::from_be_bytes([0, high, mid, low]))
    }

    pub(super) fn u48(&mut self) -> Option<u64> {
        let [a, b, c, d, e, f] = self.array()?;
        Some(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    /// A vector with a length of one byte.
    pub(super) fn vector8(&mut self) -> Option<&'a [u8]> {
        let mut after = *self;
        let len = after.u8()?;
        let taken = after.take(usize::from(len))?;
        *self = after;
        Some(taken)
    }

    /// A vector with a length of two bytes.
    pub(super) fn vector16(&mut self) -> Option<&'a [u8]> {
        let mut after = *self;
        let len = after.u16()?;
        let taken = after.take(usize::from(len))?;
        *self = after;
        Some(taken)
    }
}

/// Writes a vector with a length of one byte.
pub(super) fn write_vector8(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    out.push(len);
    out.extend(bytes.iter().take(usize::from(len)));
}

/// Writes a vector with a length of two bytes.
pub(super) fn write_vector16(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend(len.to_be_bytes());
    out.extend(bytes.iter().take(usize::from(len)));
}

/// Writes the low 24 bits.
pub(super) fn write_u24(out: &mut Vec<u8>, value: u32) {
    let [_, low @ ..] = value.to_be_bytes();
    out.extend(low);
}

/// Writes the low 48 bits.
pub(super) fn write_u48(out: &mut Vec<u8>, value: u64) {
    let [_, _, low @ ..] = value.to_be_bytes();
    out.extend(low);
}
