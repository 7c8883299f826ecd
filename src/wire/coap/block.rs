//! Block1 and Block2 option values (RFC 7959 §2.2).
//!
//! ```text
//!  0 to 3 bytes, big-endian, leading zeros left out:
//!  | NUM, 20 bits | M, 1 bit | SZX, 3 bits |      block size = 2^(SZX + 4) bytes
//! ```

use super::option::Uint;

/// One block of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Block {
    num: u32,
    more: bool,
    szx: u8,
}

/// Why bytes, or numbers, are not a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    #[error("block option has {len} bytes, takes 0 to 3")]
    Length { len: usize },
    #[error("block option has the reserved SZX 7, takes 0 to 6")]
    Size,
    #[error("block number {num} is beyond {}", Block::NUM_MAX)]
    Number { num: u32 },
}

impl BlockError {
    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Length { .. } => "block_length",
            Self::Size => "block_size",
            Self::Number { .. } => "block_number",
        }
    }
}

impl Block {
    /// The largest block number: 20 bits.
    pub const NUM_MAX: u32 = (1 << 20) - 1;
    /// The largest size exponent: blocks of 1024 bytes.
    pub const SZX_MAX: u8 = 6;

    pub const fn new(num: u32, more: bool, szx: u8) -> Result<Self, BlockError> {
        if szx > Self::SZX_MAX {
            return Err(BlockError::Size);
        }
        if num > Self::NUM_MAX {
            return Err(BlockError::Number { num });
        }
        Ok(Self { num, more, szx })
    }

    /// Reads an option value. Superfluous leading zeros are fine.
    pub fn parse(value: &[u8]) -> Result<Self, BlockError> {
        if value.len() > 3 {
            return Err(BlockError::Length { len: value.len() });
        }
        let raw = value
            .iter()
            .fold(0, |sum, byte| (sum << 8) | u32::from(*byte));
        let [.., low] = raw.to_be_bytes();
        Self::new(raw >> 4, low & 0b1000 != 0, low & 0b0111)
    }

    /// The option value, shortest form.
    pub fn encode(self) -> Uint {
        let raw = (self.num << 4) | (u32::from(self.more) << 3) | u32::from(self.szx);
        Uint::new(u64::from(raw))
    }

    pub const fn num(self) -> u32 {
        self.num
    }

    /// More blocks follow.
    pub const fn more(self) -> bool {
        self.more
    }

    /// Size exponent, 0 to 6.
    pub const fn szx(self) -> u8 {
        self.szx
    }

    /// Block size in bytes: 16 to 1024.
    pub const fn size(self) -> usize {
        16 << self.szx
    }

    /// Offset of the block's first byte in the body, at most about 1 GiB.
    pub const fn offset(self) -> usize {
        (self.num as usize) << (self.szx + 4)
    }

    /// The largest size exponent whose blocks are at most `size` bytes; 0 when even 16 are more.
    pub const fn szx_for(size: usize) -> u8 {
        let mut szx = Self::SZX_MAX;
        while szx > 0 && (16 << szx) > size {
            szx -= 1;
        }
        szx
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn option_values() {
        type Row = (&'static [u8], Result<(u32, bool, u8), &'static str>);
        let cases: [Row; 10] = [
            (&[], Ok((0, false, 0))),
            (&[0x06], Ok((0, false, 6))),
            (&[0x0e], Ok((0, true, 6))),
            // RFC 7959 §3: 1/1/128 and 3/0/128.
            (&[0x1b], Ok((1, true, 3))),
            (&[0x33], Ok((3, false, 3))),
            (&[0x00, 0x00, 0x33], Ok((3, false, 3))),
            (&[0xff, 0xff, 0xfe], Ok((Block::NUM_MAX, true, 6))),
            (&[0x07], Err("block_size")),
            (&[0x12, 0x0f], Err("block_size")),
            (&[0, 0, 0, 6], Err("block_length")),
        ];
        for (value, want) in cases {
            let got = Block::parse(value)
                .map(|b| (b.num(), b.more(), b.szx()))
                .map_err(BlockError::kind);
            assert_eq!(got, want, "{value:02x?}");
        }
        assert_eq!(
            Block::new(1 << 20, false, 0),
            Err(BlockError::Number { num: 1 << 20 })
        );
    }

    #[test]
    fn the_largest_size_that_fits() {
        let cases = [
            (0, 0),
            (16, 0),
            (31, 0),
            (32, 1),
            (512, 5),
            (1023, 5),
            (1024, 6),
            (9000, 6),
        ];
        for (size, szx) in cases {
            assert_eq!(Block::szx_for(size), szx, "{size}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(value in prop::collection::vec(any::<u8>(), 0..6)) {
            if let Ok(block) = Block::parse(&value) {
                prop_assert!(block.offset() < 1 << 30);
            }
        }

        #[test]
        fn reads_what_it_wrote(num in 0..=Block::NUM_MAX, more: bool, szx in 0..=6u8) {
            let block = Block::new(num, more, szx).unwrap();
            prop_assert_eq!(Block::parse(block.encode().as_bytes()), Ok(block));
        }
    }
}
