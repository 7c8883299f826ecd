//! Protection of records: what goes into one, and what comes out.
//!
//! ```text
//!  record without a connection id: header as in wire::dtls::record, then the fragment
//!    CCM, GCM                  explicit nonce 8 | enc(content) | tag
//!    CBC, encrypt-then-MAC     IV 16 | enc(content | padding) | MAC 32
//!    CBC, MAC-then-encrypt     IV 16 | enc(content | MAC 32 | padding)
//!  record with one (content type 25): in place of the content
//!    content | its real type, 1 byte, not 0 | any number of zeros          (RFC 9146 4)
//! ```
//!
//! Opening gives no reason for a refusal: whoever sent bad bytes learns nothing from it, and the
//! caller drops the record in silence. How CBC refuses in constant time: see `blind`.

use super::aead::{self, AeadKeys};
use super::associated::{Covered, epoch_and_seq};
use super::cbc::CbcKeys;
use super::keys::{DirectionKeys, Form};
use super::suite::Suite;
use crate::wire::dtls::record::{Record, SEQ_MAX};
use crate::wire::dtls::{ContentType, VERSION_1_2};

/// The most that a record may hold, with the real type and zeros that go with a connection id
/// (RFC 5246 6.2.1, RFC 9146 4).
pub const CONTENT_MAX: usize = 1 << 14;

/// How a session's records are protected, as its handshake agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protection {
    pub suite: Suite,
    /// Means something for [`Suite::CbcSha256`] alone (RFC 7366).
    pub encrypt_then_mac: bool,
}

/// What a sealed record's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'a> {
    pub epoch: u16,
    /// 48 bits; never twice with the same keys and epoch.
    pub seq: u64,
    /// The id that the receiver gave out, empty when it wants none.
    pub cid: &'a [u8],
}

/// Why nothing was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    #[error("{len} bytes, a record holds at most {CONTENT_MAX}, with a connection id one less")]
    TooLong { len: usize },
    #[error("sequence number {0} is beyond 48 bits: the session must end")]
    Sequence(u64),
    #[error("a connection id of {len} bytes, takes at most 255")]
    ConnectionId { len: usize },
    #[error("the keys are not of suite {}", .0.name())]
    Keys(Suite),
}

impl SealError {
    /// Stable word for logs and metrics; never reworded.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::TooLong { .. } => "too_long",
            Self::Sequence(_) => "sequence",
            Self::ConnectionId { .. } => "connection_id",
            Self::Keys(_) => "keys",
        }
    }
}

impl Protection {
    /// Appends a whole record, header and all. `iv` is fresh chance, for CBC alone; the others
    /// ignore it. On an error `out` is as it was.
    pub fn seal(
        &self,
        keys: &DirectionKeys,
        head: Head<'_>,
        content_type: ContentType,
        plaintext: &[u8],
        iv: [u8; 16],
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let real_type = [content_type.0];
        let after: &[u8] = if head.cid.is_empty() { &[] } else { &real_type };
        if plaintext.len() + after.len() > CONTENT_MAX {
            let len = plaintext.len();
            return Err(SealError::TooLong { len });
        }
        if head.seq > SEQ_MAX {
            return Err(SealError::Sequence(head.seq));
        }
        if head.cid.len() > usize::from(u8::MAX) {
            let len = head.cid.len();
            return Err(SealError::ConnectionId { len });
        }
        let start = out.len();
        let covered = Covered {
            content_type,
            version: VERSION_1_2,
            epoch: head.epoch,
            seq: head.seq,
            cid: head.cid,
        };
        let sealed = self.append(keys, covered, [plaintext, after], iv, out);
        if sealed.is_none() {
            out.truncate(start);
            return Err(SealError::Keys(self.suite));
        }
        Ok(())
    }

    /// `None` when the keys are not of the suite.
    fn append(
        &self,
        keys: &DirectionKeys,
        covered: Covered<'_>,
        content: [&[u8]; 2],
        iv: [u8; 16],
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let number = epoch_and_seq(covered.epoch, covered.seq);
        let outer_type = if covered.cid.is_empty() {
            covered.content_type
        } else {
            ContentType::TLS12_CID
        };
        out.push(outer_type.0);
        out.extend(covered.version.to_be_bytes());
        out.extend(number);
        out.extend_from_slice(covered.cid);
        let len_at = out.len();
        out.extend([0, 0]);
        let [plaintext, after] = content;
        match (&keys.0, self.suite) {
            (Form::Aead { key, salt }, Suite::Ccm8 | Suite::Ccm | Suite::Gcm) => {
                let associated = covered.with_len(plaintext.len() + after.len())?;
                let keys = AeadKeys { key, salt };
                keys.seal(self.suite, number, associated.as_bytes(), content, out)?;
            }
            (Form::Cbc { key, mac_key }, Suite::CbcSha256) => {
                let keys = CbcKeys { key, mac_key };
                keys.seal(self.encrypt_then_mac, covered, content, iv, out)?;
            }
            _ => return None,
        }
        let fragment_at = len_at + 2;
        let len = u16::try_from(out.len().checked_sub(fragment_at)?).ok()?;
        out.get_mut(len_at..fragment_at)?
            .copy_from_slice(&len.to_be_bytes());
        Some(())
    }

    /// Replaces what is in `out` by the record's content and gives its real type. `None`, with
    /// `out` empty, for anything wrong. Epoch and replays are the caller's to judge.
    pub fn open(
        &self,
        keys: &DirectionKeys,
        record: &Record<'_>,
        out: &mut Vec<u8>,
    ) -> Option<ContentType> {
        out.clear();
        let opened = self.open_into(keys, record, out);
        if opened.is_none() {
            out.fill(0);
            out.clear();
        }
        opened
    }

    fn open_into(
        &self,
        keys: &DirectionKeys,
        record: &Record<'_>,
        out: &mut Vec<u8>,
    ) -> Option<ContentType> {
        // Type 25 means a connection id, and nothing else does: else a record of the one form
        // could pass for the other.
        if (record.content_type == ContentType::TLS12_CID) == record.cid.is_empty() {
            return None;
        }
        let covered = Covered {
            content_type: record.content_type,
            version: record.version,
            epoch: record.epoch,
            seq: record.seq,
            cid: record.cid,
        };
        match (&keys.0, self.suite) {
            (Form::Aead { key, salt }, Suite::Ccm8 | Suite::Ccm | Suite::Gcm) => {
                let len = aead::content_len(self.suite, record.fragment)?;
                let associated = covered.with_len(len).filter(|_| len <= CONTENT_MAX)?;
                let keys = AeadKeys { key, salt };
                keys.open(self.suite, record.fragment, associated.as_bytes(), out)?;
            }
            (Form::Cbc { key, mac_key }, Suite::CbcSha256) => {
                let keys = CbcKeys { key, mac_key };
                keys.open(self.encrypt_then_mac, covered, record.fragment, out)?;
            }
            _ => return None,
        }
        if record.cid.is_empty() {
            return Some(record.content_type);
        }
        // Authentic by now: how many zeros there are is for the two sides to know.
        let content_len = out.iter().rposition(|byte| *byte != 0)?;
        let real_type = out.get(content_len).copied()?;
        out.truncate(content_len);
        Some(ContentType(real_type))
    }
}

#[cfg(test)]
mod tests;
