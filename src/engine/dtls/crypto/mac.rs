//! HMAC-SHA256 (RFC 2104) with a key of any length.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The length of a MAC.
pub(super) const MAC_LEN: usize = 32;
/// The block of SHA-256.
pub(super) const BLOCK_LEN: usize = 64;

/// The key as HMAC uses it: with zeros to the length of a block, hashed first when it is longer.
pub(super) fn padded(key: &[u8]) -> Zeroizing<[u8; BLOCK_LEN]> {
    let hashed;
    let bytes = if key.len() > BLOCK_LEN {
        hashed = Zeroizing::new(<[u8; 32]>::from(Sha256::digest(key)));
        hashed.as_slice()
    } else {
        key
    };
    let mut block = Zeroizing::new([0; BLOCK_LEN]);
    for (slot, byte) in block.iter_mut().zip(bytes) {
        *slot = *byte;
    }
    block
}

/// A MAC that is keyed and waits for its message; a clone saves the keying.
pub(in super::super) fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new((&*padded(key)).into())
}

/// The MAC of the parts, one after the other.
pub(super) fn mac(keyed: &Hmac<Sha256>, parts: &[&[u8]]) -> [u8; MAC_LEN] {
    let mut mac = keyed.clone();
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any other way to the same MAC: the crate's own keying.
    #[test]
    fn keys_of_any_length() {
        for len in [0, 1, 32, 63, 64, 65, 200] {
            let key = vec![0x5c; len];
            let mut want = Hmac::<Sha256>::new_from_slice(&key).unwrap();
            want.update(b"message");
            let want: [u8; 32] = want.finalize().into_bytes().into();
            assert_eq!(mac(&keyed(&key), &[b"mess", b"age"]), want, "{len}");
        }
    }
}
