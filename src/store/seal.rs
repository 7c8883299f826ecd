//! Seals values before they reach the disk: secrets of devices and DTLS sessions.
//!
//! ```text
//! salt (16 random bytes)  ciphertext  tag (16 bytes)
//!
//! subkey     = HMAC-SHA256(sealing key, salt ‖ context)
//! ciphertext = AES-256-GCM(subkey, nonce 0, AAD = context)
//! context    = the key of the row that holds the value
//! ```
//!
//! Every value has a key of its own, used for one message, so the nonce may be constant, and there
//! is no number of messages after which a random 96-bit nonce would have to be feared: two values
//! share a subkey only when 128-bit salts collide. The context goes into both, so that a value
//! which was moved to another row can't be opened there. Primitives: RFC 2104, FIPS 180-4,
//! NIST SP 800-38D.
//!
//! [`Sealer::check_value`] tells whether a key belongs to a database or an archive, and nothing
//! else about it: HMAC of a constant too short to be salt ‖ context. Errors: [`SealError`].

use std::fmt;

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, Tag};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a sealing key.
pub const KEY_LEN: usize = 32;

/// Bytes of [`Sealer::check_value`].
pub const CHECK_LEN: usize = 32;

/// Bytes that sealing adds to a value.
pub const OVERHEAD: usize = SALT_LEN + TAG_LEN;

const SALT_LEN: usize = 16;
const TAG_LEN: usize = 16;

/// HMAC takes keys of up to a block of the hash as they are, filled with zeros.
const BLOCK_LEN: usize = 64;

/// Shorter than a salt: never the input of a subkey.
const CHECK_TEXT: &[u8; 13] = b"sealing check";

/// Why a value can't be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    #[error("its sealed part can't be opened: the sealing key does not fit, or the row is damaged")]
    Closed,
    #[error("there are no random numbers to seal it with")]
    Random,
}

impl SealError {
    /// Stable word for logs and messages; never reworded.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Random => "random",
        }
    }
}

/// Seals and opens with one sealing key, which is overwritten when this is dropped.
#[derive(Clone)]
pub struct Sealer {
    /// The sealing key, filled with zeros to a block.
    key: Zeroizing<[u8; BLOCK_LEN]>,
    /// Where the key comes from, for messages.
    place: String,
}

impl Sealer {
    /// A sealer with this key.
    pub fn new(key: [u8; KEY_LEN]) -> Self {
        Self::named(key, "the sealing key".to_owned())
    }

    /// A sealer whose key lies at `place`.
    pub(super) fn named(mut key: [u8; KEY_LEN], place: String) -> Self {
        let mut block = Zeroizing::new([0; BLOCK_LEN]);
        for (to, from) in block.iter_mut().zip(&key) {
            *to = *from;
        }
        key.zeroize();
        Self { key: block, place }
    }

    /// Where the key comes from: a path, as a rule.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The same for the same key, and of no use to find it.
    pub fn check_value(&self) -> [u8; CHECK_LEN] {
        let mut mac = self.mac();
        mac.update(CHECK_TEXT);
        mac.finalize().into_bytes().into()
    }

    /// `value` sealed for `context`: [`OVERHEAD`] bytes longer, different each time.
    pub fn seal(&self, context: &[u8], value: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut salt = [0; SALT_LEN];
        getrandom::fill(&mut salt).map_err(|_| SealError::Random)?;
        self.seal_with(salt, context, value)
    }

    fn seal_with(
        &self,
        salt: [u8; SALT_LEN],
        context: &[u8],
        value: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let mut sealed = Vec::with_capacity(value.len().saturating_add(OVERHEAD));
        sealed.extend_from_slice(&salt);
        sealed.extend_from_slice(value);
        let inside = sealed.get_mut(SALT_LEN..).unwrap_or_default();
        // Fails beyond 64 GB alone; rows are far shorter.
        let tag = self
            .cipher(&salt, context)
            .encrypt_inout_detached(&Nonce::default(), context, inside.into())
            .map_err(|_| SealError::Closed)?;
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    /// What [`Sealer::seal`] sealed for this context.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (salt, rest) = sealed
            .split_first_chunk::<SALT_LEN>()
            .ok_or(SealError::Closed)?;
        let (inside, tag) = rest
            .split_last_chunk::<TAG_LEN>()
            .ok_or(SealError::Closed)?;
        let mut value = Zeroizing::new(inside.to_vec());
        self.cipher(salt, context)
            .decrypt_inout_detached(
                &Nonce::default(),
                context,
                value.as_mut_slice().into(),
                &Tag::from(*tag),
            )
            .map_err(|_| SealError::Closed)?;
        Ok(value)
    }

    fn mac(&self) -> Hmac<Sha256> {
        <Hmac<Sha256> as KeyInit>::new((&*self.key).into())
    }

    fn cipher(&self, salt: &[u8; SALT_LEN], context: &[u8]) -> Aes256Gcm {
        let mut mac = self.mac();
        mac.update(salt);
        mac.update(context);
        let mut subkey = mac.finalize().into_bytes();
        let cipher = Aes256Gcm::new(&subkey);
        subkey.as_mut_slice().zeroize();
        cipher
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer")
            .field("key", &"***")
            .field("place", &self.place)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(digit).collect()
    }

    /// Rows: key, salt, context, value, sealed; in hex. Then key and check value.
    #[test]
    fn sealed_bytes_are_the_same_for_ever() {
        for row in include_str!("../../fixtures/store/sealed.tsv").lines() {
            if row.is_empty() || row.starts_with('#') {
                continue;
            }
            let cells: Vec<Vec<u8>> = row.split('\t').map(unhex).collect();
            let [key, salt, context, value, sealed, check] = &cells[..] else {
                panic!("bad fixture row: {row}");
            };
            let sealer = Sealer::new(key.as_slice().try_into().unwrap());
            let salt = salt.as_slice().try_into().unwrap();
            assert_eq!(&sealer.seal_with(salt, context, value).unwrap(), sealed);
            assert_eq!(&*sealer.open(context, sealed).unwrap(), value);
            assert_eq!(&sealer.check_value()[..], check);
        }
    }

    #[test]
    fn nothing_else_opens() {
        let sealer = Sealer::new([7; KEY_LEN]);
        let sealed = sealer.seal(b"row", b"secret").unwrap();
        assert_ne!(sealed, sealer.seal(b"row", b"secret").unwrap());
        assert_eq!(sealed.len(), 6 + OVERHEAD);
        let closed = Err(SealError::Closed);
        let other = Sealer::new([8; KEY_LEN]);
        assert_eq!(other.open(b"row", &sealed), closed, "another key");
        assert_eq!(sealer.open(b"rov", &sealed), closed, "another row");
        assert_ne!(sealer.check_value(), other.check_value());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(sealer.open(b"row", &changed), closed, "byte {at}");
            assert_eq!(sealer.open(b"row", &sealed[..at]), closed, "{at} bytes");
        }
        assert_eq!(sealer.open(b"row", &sealed).unwrap().as_slice(), b"secret");
    }

    #[test]
    fn debug_output_hides_the_key() {
        let shown = format!("{:?}", Sealer::new([0x41; KEY_LEN]));
        assert!(shown.contains("***"), "{shown}");
        assert!(!shown.contains("65") && !shown.contains("AA"), "{shown}");
    }

    proptest! {
        #[test]
        fn values_come_back(context in any::<Vec<u8>>(), value in any::<Vec<u8>>()) {
            let sealer = Sealer::new([7; KEY_LEN]);
            let sealed = sealer.seal(&context, &value).unwrap();
            prop_assert_eq!(&*sealer.open(&context, &sealed).unwrap(), &value);
        }

        #[test]
        fn any_bytes_stay_closed(bytes in any::<Vec<u8>>()) {
            prop_assert!(Sealer::new([7; KEY_LEN]).open(b"row", &bytes).is_err());
        }
    }
}
