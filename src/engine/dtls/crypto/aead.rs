//! Records under CCM and GCM (RFC 6655 3, RFC 5288 3).
//!
//! ```text
//!  fragment   explicit nonce, 8 bytes | ciphertext, as long as the content | tag, 8 or 16 bytes
//!  nonce      salt, 4 bytes of the key block | explicit nonce
//! ```
//!
//! The explicit nonce is ours to choose when we seal: epoch and sequence number, which never come
//! twice under one key. When we open, whatever the sender chose is taken.

use aes::Aes128Enc;
use aes_gcm::AesGcm;
use ccm::Ccm;
use ccm::aead::consts::{U8, U12, U16};
use ccm::aead::{AeadInOut, KeyInit, KeySizeUser, Nonce, Tag};

use super::suite::Suite;

const NONCE_LEN: usize = 8;

/// One direction's key and salt, borrowed.
#[derive(Clone, Copy)]
pub(super) struct AeadKeys<'a> {
    pub(super) key: &'a [u8; 16],
    pub(super) salt: &'a [u8; 4],
}

impl AeadKeys<'_> {
    fn nonce(self, explicit: [u8; 8]) -> [u8; 12] {
        let mut nonce = [0; 12];
        let bytes = self.salt.iter().chain(&explicit);
        for (slot, byte) in nonce.iter_mut().zip(bytes) {
            *slot = *byte;
        }
        nonce
    }

    /// Appends the protected form of `content` and `after`. `None` when the suite has no AEAD.
    pub(super) fn seal(
        self,
        suite: Suite,
        explicit: [u8; 8],
        associated: &[u8],
        [content, after]: [&[u8]; 2],
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let nonce = self.nonce(explicit);
        out.extend(explicit);
        let start = out.len();
        out.extend_from_slice(content);
        out.extend_from_slice(after);
        let data = out.get_mut(start..)?;
        match suite {
            Suite::Ccm8 => {
                let tag = encrypt::<Ccm<Aes128Enc, U8, U12>>(self.key, nonce, associated, data)?;
                out.extend_from_slice(&tag);
            }
            Suite::Ccm => {
                let tag = encrypt::<Ccm<Aes128Enc, U16, U12>>(self.key, nonce, associated, data)?;
                out.extend_from_slice(&tag);
            }
            Suite::Gcm => {
                let tag = encrypt::<AesGcm<Aes128Enc, U12>>(self.key, nonce, associated, data)?;
                out.extend_from_slice(&tag);
            }
            Suite::CbcSha256 => return None,
        }
        Some(())
    }

    /// Appends the content of a fragment. `None` when anything is wrong: what was appended is
    /// then worthless.
    pub(super) fn open(
        self,
        suite: Suite,
        fragment: &[u8],
        associated: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let (explicit, sealed) = fragment.split_first_chunk::<NONCE_LEN>()?;
        let nonce = self.nonce(*explicit);
        let (content, tag) = sealed.split_at_checked(content_len(suite, fragment)?)?;
        let start = out.len();
        out.extend_from_slice(content);
        let data = out.get_mut(start..)?;
        match suite {
            Suite::Ccm8 => {
                decrypt::<Ccm<Aes128Enc, U8, U12>>(self.key, nonce, associated, data, tag)
            }
            Suite::Ccm => {
                decrypt::<Ccm<Aes128Enc, U16, U12>>(self.key, nonce, associated, data, tag)
            }
            Suite::Gcm => decrypt::<AesGcm<Aes128Enc, U12>>(self.key, nonce, associated, data, tag),
            Suite::CbcSha256 => None,
        }
    }
}

/// How many bytes of content a fragment holds: `None` when it is too short for any, or the suite
/// has no AEAD.
pub(super) const fn content_len(suite: Suite, fragment: &[u8]) -> Option<usize> {
    let tag_len = match suite {
        Suite::Ccm8 => 8,
        Suite::Ccm | Suite::Gcm => 16,
        Suite::CbcSha256 => return None,
    };
    fragment.len().checked_sub(NONCE_LEN + tag_len)
}

fn encrypt<C>(key: &[u8; 16], nonce: [u8; 12], associated: &[u8], data: &mut [u8]) -> Option<Tag<C>>
where
    C: AeadInOut<NonceSize = U12> + KeyInit + KeySizeUser<KeySize = U16>,
{
    let nonce: Nonce<C> = nonce.into();
    let cipher = C::new(key.into());
    cipher
        .encrypt_inout_detached(&nonce, associated, data.into())
        .ok()
}

fn decrypt<C>(
    key: &[u8; 16],
    nonce: [u8; 12],
    associated: &[u8],
    data: &mut [u8],
    tag: &[u8],
) -> Option<()>
where
    C: AeadInOut<NonceSize = U12> + KeyInit + KeySizeUser<KeySize = U16>,
{
    let nonce: Nonce<C> = nonce.into();
    let tag = <&Tag<C>>::try_from(tag).ok()?;
    let cipher = C::new(key.into());
    cipher
        .decrypt_inout_detached(&nonce, associated, data.into(), tag)
        .ok()
}
