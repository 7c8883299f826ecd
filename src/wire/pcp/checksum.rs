//! The checksum of PCP frames: 16 bits over the whole frame, its own two bytes counted as 0.
//!
//! ```text
//! c = 0;  for each byte b:  c = (c >> 8) ^ T[(c ^ b) & 0xff]
//! T[i] = CRC-16/XMODEM of the one byte i
//! ```
//!
//! It mixes the table of the algorithm that takes the highest bit first with the shift of the one
//! that takes the lowest first, so no catalogue of CRCs has it. Every single flipped bit is
//! found, in a frame of any length; two need not be.

use crc::{CRC_16_XMODEM, Crc};

static XMODEM: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// Where the checksum stands in a frame.
pub(super) const AT: std::ops::Range<usize> = 4..6;

/// A checksum that grows with what is fed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum(u16);

impl Sum {
    pub(super) fn feed(self, bytes: &[u8]) -> Self {
        let [table] = XMODEM.table();
        Self(bytes.iter().fold(self.0, |sum, byte| {
            let [_, low] = sum.to_be_bytes();
            // A byte always finds its place among 256.
            let mask = table.get(usize::from(low ^ byte)).copied();
            (sum >> 8) ^ mask.unwrap_or_default()
        }))
    }

    pub(super) const fn value(self) -> u16 {
        self.0
    }
}

/// The checksum that belongs into `frame`, whatever stands there.
pub fn checksum(frame: &[u8]) -> u16 {
    let (before, rest) = frame.split_at_checked(AT.start).unwrap_or((frame, &[]));
    let after = rest.get(AT.len()..).unwrap_or_default();
    let zeros = [0; AT.end - AT.start];
    let zeros = zeros.get(..rest.len().min(zeros.len())).unwrap_or_default();
    Sum::default().feed(before).feed(zeros).feed(after).value()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A flipped bit leaves a difference that no number of further bytes takes away.
    #[test]
    fn a_flipped_bit_never_fades() {
        for bit in 0..8 {
            let mut difference = Sum::default().feed(&[1 << bit]);
            for after in 0..70_000 {
                assert_ne!(difference.value(), 0, "bit {bit}, {after} bytes on");
                difference = difference.feed(&[0]);
            }
        }
    }

    #[test]
    fn what_is_too_short_has_one_too() {
        for len in 0..8 {
            assert_eq!(checksum(&vec![0; len]), 0);
        }
        assert_eq!(checksum(&[0, 0, 0, 1, 9]), checksum(&[0, 0, 0, 1, 7]));
    }
}
