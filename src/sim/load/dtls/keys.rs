//! Key schedule of TLS 1.2 with a pre-shared key, and AES-128-CCM with 8-byte tags.
//!
//! ```text
//! premaster     = u16 n, n zeros, u16 n, key            (RFC 4279 §2; n = length of the key)
//! master        = PRF(premaster, "extended master secret", hash of the messages)   (RFC 7627 §4)
//!                 or PRF(premaster, "master secret", client random, server random)
//! key block     = PRF(master, "key expansion", server random, client random):
//!                 client key 16, server key 16, client iv 4, server iv 4       (RFC 6655 §3)
//! verify data   = PRF(master, "client finished" or "server finished", hash of the messages), 12
//! ```
//!
//! The PRF is that of RFC 5246 §5 with SHA-256.

use aes::Aes128;
use ccm::aead::AeadInOut;
use ccm::consts::{U8, U12};
use ccm::{Ccm, KeyInit};
use hmac::{Hmac, Mac};
use sha2::Sha256;

pub(super) const TAG_LEN: usize = 8;
/// Epoch and sequence number, which the record carries before the ciphertext as well.
pub(super) const EXPLICIT_LEN: usize = 8;
const KEY_BLOCK_LEN: usize = 40;

type Cipher = Ccm<Aes128, U8, U12>;

/// Fills `out`; `seed` is hashed in order.
pub(super) fn prf(secret: &[u8], label: &str, seed: &[&[u8]], out: &mut [u8]) {
    let Ok(keyed) = <Hmac<Sha256> as KeyInit>::new_from_slice(secret) else {
        return; // HMAC takes keys of any length
    };
    let step = |parts: &[&[u8]]| {
        let mut mac = keyed.clone();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes()
    };
    let whole: Vec<&[u8]> = [label.as_bytes()]
        .into_iter()
        .chain(seed.iter().copied())
        .collect();
    let mut a = step(&whole);
    for chunk in out.chunks_mut(32) {
        let with_a: Vec<&[u8]> = [&a[..]].into_iter().chain(whole.iter().copied()).collect();
        let block = step(&with_a);
        for (to, from) in chunk.iter_mut().zip(&block) {
            *to = *from;
        }
        a = step(&[&a[..]]);
    }
}

/// What both sides know before any message; a key has at most 65,535 bytes.
pub(super) fn premaster(key: &[u8]) -> Vec<u8> {
    let [.., high, low] = key.len().to_be_bytes();
    let mut out = vec![high, low];
    out.resize(2 + key.len(), 0);
    out.extend([high, low]);
    out.extend(key);
    out
}

/// One direction of a session.
struct Direction {
    cipher: Cipher,
    iv: [u8; 4],
}

impl Direction {
    fn new(key: &[u8], iv: &[u8]) -> Option<Self> {
        Some(Self {
            cipher: Cipher::new_from_slice(key).ok()?,
            iv: iv.try_into().ok()?,
        })
    }

    fn nonce(&self, explicit: [u8; EXPLICIT_LEN]) -> [u8; 12] {
        let mut nonce = [0; 12];
        let bytes = self.iv.iter().chain(&explicit);
        for (to, from) in nonce.iter_mut().zip(bytes) {
            *to = *from;
        }
        nonce
    }
}

/// Keys of both directions, from the client's side.
pub(super) struct Keys {
    sending: Direction,
    receiving: Direction,
}

/// `epoch and sequence(8) type(1) version(2) plaintext length(2)` (RFC 5246 §6.2.3.3).
fn associated(kind: u8, explicit: [u8; EXPLICIT_LEN], len: usize) -> [u8; 13] {
    let [a, b, c, d, e, f, g, h] = explicit;
    let [.., high, low] = len.to_be_bytes();
    [a, b, c, d, e, f, g, h, kind, 0xfe, 0xfd, high, low]
}

impl Keys {
    pub(super) fn new(master: &[u8], client: &[u8], server: &[u8]) -> Option<Self> {
        let mut block = [0; KEY_BLOCK_LEN];
        prf(master, "key expansion", &[server, client], &mut block);
        let (client_key, rest) = block.split_at(16);
        let (server_key, rest) = rest.split_at(16);
        let (client_iv, server_iv) = rest.split_at(4);
        Some(Self {
            sending: Direction::new(client_key, client_iv)?,
            receiving: Direction::new(server_key, server_iv)?,
        })
    }

    /// Appends explicit nonce, ciphertext and tag.
    pub(super) fn seal(
        &self,
        kind: u8,
        explicit: [u8; EXPLICIT_LEN],
        plain: &[u8],
        out: &mut Vec<u8>,
    ) {
        out.extend(explicit);
        let from = out.len();
        out.extend(plain);
        let nonce = self.sending.nonce(explicit).into();
        let data = associated(kind, explicit, plain.len());
        let body = out.get_mut(from..).unwrap_or_default();
        // Fails beyond the 16 MB that 3 bytes of length can say: no datagram is that long.
        if let Ok(tag) = self
            .sending
            .cipher
            .encrypt_inout_detached(&nonce, &data, body.into())
        {
            out.extend(&tag[..]);
        }
    }

    /// The plaintext of a record's body; `None` when it is not authentic. `number` is the header's:
    /// a server may use another explicit nonce.
    pub(super) fn open(
        &self,
        kind: u8,
        number: [u8; EXPLICIT_LEN],
        body: &[u8],
    ) -> Option<Vec<u8>> {
        let (explicit, rest) = body.split_first_chunk::<EXPLICIT_LEN>()?;
        let (sealed, tag) = rest.split_at_checked(rest.len().checked_sub(TAG_LEN)?)?;
        let tag: [u8; TAG_LEN] = tag.try_into().ok()?;
        let mut plain = sealed.to_vec();
        let nonce = self.receiving.nonce(*explicit).into();
        let data = associated(kind, number, plain.len());
        let buffer = plain.as_mut_slice().into();
        let opened =
            self.receiving
                .cipher
                .decrypt_inout_detached(&nonce, &data, buffer, &tag.into());
        opened.ok().map(|()| plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answer of the SHA-256 PRF, published on the IETF TLS mailing list.
    #[test]
    fn the_prf_gives_its_known_answer() {
        let unhex = |text: &str| -> Vec<u8> {
            let digits: Vec<_> = text.chars().filter_map(|c| c.to_digit(16)).collect();
            let pairs = digits.chunks(2);
            pairs
                .map(|p| u8::try_from(p[0] << 4 | p[1]).unwrap())
                .collect()
        };
        let secret = unhex("9bbe436ba940f017b17652849a71db35");
        let seed = unhex("a0ba9f936cda311827a6f796ffd5198c");
        let want = unhex(
            "e3f229ba727be17b 8d122620557cd453 c2aab21d07c3d495 329b52d4e61edb5a
             6b301791e90d35c9 c9a46b4e14baf9af 0fa022f7077def17 abfd3797c0564bab
             4fbc91666e9def9b 97fce34f796789ba a48082d122ee42c5 a72e5a5110fff701
             87347b66",
        );
        let mut out = [0; 100];
        prf(&secret, "test label", &[&seed], &mut out);
        assert_eq!(out[..], want);
    }

    #[test]
    fn the_premaster_of_a_key_has_zeros_in_front() {
        assert_eq!(premaster(&[7, 8]), [0, 2, 0, 0, 0, 2, 7, 8]);
    }
}
