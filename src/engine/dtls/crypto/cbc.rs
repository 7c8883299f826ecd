//! Records under CBC with HMAC-SHA256 (RFC 5246 6.2.3.2, RFC 7366, RFC 9146 5).
//!
//! ```text
//!  encrypt-then-MAC    IV 16 | enc(content | padding) | MAC(associated | IV | enc(…))
//!  MAC-then-encrypt    IV 16 | enc(content | MAC(associated | content) | padding)
//!  padding             1 to 256 bytes to a multiple of 16, each saying their number less one
//! ```
//!
//! The length in the associated data is that of IV and ciphertext, or that of the content. Every
//! record has an IV of its own from chance. We pad as little as possible; others may pad more to
//! hide a length.
//!
//! When the MAC is inside, it can be judged only after the padding, and whoever can tell one
//! failure from the other decrypts records byte by byte. [`super::blind`] judges both at once.

use aes::cipher::array::Array;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use aes::{Aes128Dec, Aes128Enc};
use hmac::Mac;

use super::associated::Covered;
use super::blind;
use super::mac::{MAC_LEN, keyed, mac};
use super::protection::CONTENT_MAX;

const BLOCK_LEN: usize = 16;

/// One direction's keys, borrowed.
#[derive(Clone, Copy)]
pub(super) struct CbcKeys<'a> {
    pub(super) key: &'a [u8; 16],
    pub(super) mac_key: &'a [u8; 32],
}

impl CbcKeys<'_> {
    /// Appends the protected form of `content` and `after`.
    pub(super) fn seal(
        self,
        encrypt_then_mac: bool,
        covered: Covered<'_>,
        [content, after]: [&[u8]; 2],
        iv: [u8; 16],
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let fragment_at = out.len();
        out.extend(iv);
        let data_at = out.len();
        out.extend_from_slice(content);
        out.extend_from_slice(after);
        let keyed = keyed(self.mac_key);
        if !encrypt_then_mac {
            let associated = covered.with_len(content.len() + after.len())?;
            out.extend(mac(&keyed, &[associated.as_bytes(), content, after]));
        }
        let len = out.len().checked_sub(data_at)?;
        // All of 0 to 15, each less than 256.
        let padding = u8::try_from(BLOCK_LEN - 1 - len % BLOCK_LEN).ok()?;
        out.resize(out.len() + usize::from(padding) + 1, padding);
        let (blocks, _) = Array::slice_as_chunks_mut(out.get_mut(data_at..)?);
        cbc::Encryptor::<Aes128Enc>::new(self.key.into(), &iv.into()).encrypt_blocks(blocks);
        if encrypt_then_mac {
            let fragment = out.get(fragment_at..)?;
            let associated = covered.with_len(fragment.len())?;
            let mac = mac(&keyed, &[associated.as_bytes(), fragment]);
            out.extend(mac);
        }
        Some(())
    }

    /// Puts the content of a fragment into `out`, which is empty. `None` when anything is wrong:
    /// what is in `out` is then worthless.
    pub(super) fn open(
        self,
        encrypt_then_mac: bool,
        covered: Covered<'_>,
        fragment: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<()> {
        if encrypt_then_mac {
            let sealed = self.authenticate(covered, fragment)?;
            self.decrypt(sealed, out)?;
            // Authentic by now; a wrong padding is the sender's mistake.
            let len = blind::unpadded_len(out)?;
            out.truncate(len);
        } else {
            self.decrypt(fragment, out)?;
            let associated = covered.without_len()?;
            let len = blind::content_len(self.mac_key, associated.as_bytes(), out)?;
            out.truncate(len);
        }
        (out.len() <= CONTENT_MAX).then_some(())
    }

    /// IV and ciphertext, when the MAC after them is right.
    fn authenticate<'f>(self, covered: Covered<'_>, fragment: &'f [u8]) -> Option<&'f [u8]> {
        let (sealed, got) = fragment.split_at_checked(fragment.len().checked_sub(MAC_LEN)?)?;
        let associated = covered.with_len(sealed.len())?;
        let mut mac = keyed(self.mac_key);
        mac.update(associated.as_bytes());
        mac.update(sealed);
        mac.verify_slice(got).ok()?; // in constant time
        Some(sealed)
    }

    /// The plaintext of IV and ciphertext: at least one block, and whole ones.
    fn decrypt(self, sealed: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let (iv, data) = sealed.split_first_chunk::<BLOCK_LEN>()?;
        if data.is_empty() || !data.len().is_multiple_of(BLOCK_LEN) {
            return None;
        }
        out.extend_from_slice(data);
        let (blocks, _) = Array::slice_as_chunks_mut(out.as_mut_slice());
        cbc::Decryptor::<Aes128Dec>::new(self.key.into(), iv.into()).decrypt_blocks(blocks);
        Some(())
    }
}
