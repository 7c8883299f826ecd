//! What a record's protection covers besides its content: the additional data of CCM and GCM, and
//! what the MAC of CBC hashes first (RFC 5246 6.2.3, RFC 9146 5).
//!
//! ```text
//!  without a connection id            with one
//!    epoch             2 bytes          0xff               8 bytes
//!    sequence number   6                content type 25    1
//!    content type      1                length of the id   1
//!    version           2                content type 25    1
//!    length            2                version            2
//!                                       epoch              2
//!                                       sequence number    6
//!                                       connection id      its length
//!                                       length             2
//! ```
//!
//! The length comes last in both, so it can be left to whoever must not show it.

use crate::wire::dtls::ContentType;

/// The longest: with a connection id of 255 bytes.
const LEN_MAX: usize = 8 + 3 + 2 + 8 + 255 + 2;

/// The bytes, on the stack.
pub(super) struct Associated {
    bytes: [u8; LEN_MAX],
    len: usize,
}

/// What of a record is covered, but for the length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Covered<'a> {
    /// Without a connection id: what the record holds.
    pub(super) content_type: ContentType,
    pub(super) version: u16,
    pub(super) epoch: u16,
    /// 48 bits.
    pub(super) seq: u64,
    /// Empty for a record without.
    pub(super) cid: &'a [u8],
}

impl Covered<'_> {
    /// Everything, with the length. `None` for a connection id of more than 255 bytes, or a
    /// length beyond 65,535.
    pub(super) fn with_len(&self, len: usize) -> Option<Associated> {
        let mut associated = self.without_len()?;
        associated.push(&u16::try_from(len).ok()?.to_be_bytes())?;
        Some(associated)
    }

    /// Everything before the length.
    pub(super) fn without_len(&self) -> Option<Associated> {
        let mut associated = Associated {
            bytes: [0; LEN_MAX],
            len: 0,
        };
        let number = epoch_and_seq(self.epoch, self.seq);
        let version = self.version.to_be_bytes();
        if self.cid.is_empty() {
            associated.push(&number)?;
            associated.push(&[self.content_type.0])?;
            associated.push(&version)?;
        } else {
            let cid_len = u8::try_from(self.cid.len()).ok()?;
            let cid_type = ContentType::TLS12_CID.0;
            associated.push(&[0xff; 8])?;
            associated.push(&[cid_type, cid_len, cid_type])?;
            associated.push(&version)?;
            associated.push(&number)?;
            associated.push(self.cid)?;
        }
        Some(associated)
    }
}

impl Associated {
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn push(&mut self, part: &[u8]) -> Option<()> {
        let end = self.len.checked_add(part.len())?;
        self.bytes.get_mut(self.len..end)?.copy_from_slice(part);
        self.len = end;
        Some(())
    }
}

/// Epoch and sequence number as one number of 8 bytes, as a record's header has them.
pub(super) const fn epoch_and_seq(epoch: u16, seq: u64) -> [u8; 8] {
    let [_, _, c, d, e, f, g, h] = seq.to_be_bytes();
    let [a, b] = epoch.to_be_bytes();
    [a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_as_the_figure_says() {
        let mut covered = Covered {
            content_type: ContentType::APPLICATION_DATA,
            version: 0xfefd,
            epoch: 0x0102,
            seq: 0x0304_0506_0708,
            cid: &[],
        };
        let plain = covered.with_len(0x0a0b).unwrap();
        let want = [1, 2, 3, 4, 5, 6, 7, 8, 23, 0xfe, 0xfd, 0x0a, 0x0b];
        assert_eq!(plain.as_bytes(), want);
        covered.cid = &[0xca, 0xfe];
        let with_cid = covered.with_len(0x0a0b).unwrap();
        let bytes = with_cid.as_bytes();
        assert_eq!(bytes[..8], [0xff; 8]);
        assert_eq!(bytes[8..13], [25, 2, 25, 0xfe, 0xfd]);
        assert_eq!(bytes[13..21], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(bytes[21..], [0xca, 0xfe, 0x0a, 0x0b]);
        assert_eq!(covered.without_len().unwrap().as_bytes(), &bytes[..23]);
        let longest = [1; 255];
        covered.cid = &longest;
        assert_eq!(covered.with_len(65_535).unwrap().as_bytes().len(), LEN_MAX);
        assert!(covered.with_len(65_536).is_none());
        covered.cid = &[1; 256];
        assert!(covered.with_len(1).is_none());
    }
}
