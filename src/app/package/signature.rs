//! Signatures of package files: Ed25519 (RFC 8032) over
//!
//! ```text
//! "strait package v1" 0a  SHA-256 of the file as 64 lower-case hexadecimal digits
//! ```
//!
//! in base64. The prefix keeps a signature that was made for something else from being one of a file.

use ring::signature::{ED25519, UnparsedPublicKey};
use sha2::{Digest, Sha256};

use crate::product::codec::text::{hex, unbase64};
use crate::store::packages::FileHash;

/// What an Ed25519 key in PEM (RFC 8410) has before its 32 bytes.
const PEM_HEAD: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// A public key of those who sign packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    bytes: [u8; 32],
    name: String,
}

impl SigningKey {
    /// Reads base64 of 32 bytes, or of the whole key as PEM has it.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = unbase64(text.trim())?;
        let bytes = bytes.strip_prefix(&PEM_HEAD).unwrap_or(&bytes);
        let bytes: [u8; 32] = bytes.try_into().ok()?;
        let digest = Sha256::digest(bytes);
        Some(Self {
            name: hex(digest.get(..8).unwrap_or_default()),
            bytes,
        })
    }

    /// What it is called in answers: the first 16 hexadecimal digits of its SHA-256.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, &self.bytes);
        key.verify(message, signature).is_ok()
    }
}

/// What is signed of a file.
pub fn message(file: FileHash) -> String {
    format!("strait package v1\n{file}")
}

/// The key that signed the file, if one of these did.
pub fn signer<'a>(
    keys: &'a [SigningKey],
    file: FileHash,
    signature: &[u8; 64],
) -> Option<&'a SigningKey> {
    let message = message(file);
    keys.iter()
        .find(|key| key.has_signed(message.as_bytes(), signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032 §7.1, test 1: the key that signed nothing.
    const KEY: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

    #[test]
    fn keys_are_read_bare_and_as_pem_has_them() {
        let bare = SigningKey::parse(KEY).unwrap();
        let pem = "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        assert_eq!(SigningKey::parse(pem), Some(bare.clone()));
        assert_eq!(bare.name().len(), 16);
        // RFC 8032 §7.1, test 1.
        let signature = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155\
             5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";
        let signature = crate::product::codec::text::unhex(signature).unwrap();
        assert!(bare.has_signed(b"", &signature));
        assert!(!bare.has_signed(b"x", &signature));
        for wrong in ["", "AAAA", "not base64", &KEY[..40], &format!("{KEY}AAAA")] {
            assert_eq!(SigningKey::parse(wrong), None, "{wrong}");
        }
    }
}
