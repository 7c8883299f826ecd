//! The signature of a push, by which a subscriber knows that it is ours:
//!
//! ```text
//! X-Strait-Timestamp: seconds since 1970
//! X-Strait-Nonce:     32 hexadecimal digits
//! X-Strait-Signature: hex of HMAC-SHA256(token, timestamp "\n" nonce "\n" body)
//! ```
//!
//! A subscriber that refuses old times and nonces seen before takes no push twice from a listener.
//! Each try has its own (RFC 2104).

use hmac::{Hmac, KeyInit, Mac};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use sha2::Sha256;

use crate::base::time::Timestamp;

const TIMESTAMP: HeaderName = HeaderName::from_static("x-strait-timestamp");
const NONCE: HeaderName = HeaderName::from_static("x-strait-nonce");
const SIGNATURE: HeaderName = HeaderName::from_static("x-strait-signature");

/// The headers of a signed push.
pub fn headers(token: &str, now: Timestamp, nonce: u128, body: &[u8]) -> HeaderMap {
    let timestamp = (now.as_ms() / 1000).to_string();
    let nonce = format!("{nonce:032x}");
    let signature = signature(token, &timestamp, &nonce, body);
    let pairs = [
        (TIMESTAMP, timestamp),
        (NONCE, nonce),
        (SIGNATURE, signature),
    ];
    let mut headers = HeaderMap::with_capacity(pairs.len());
    for (name, value) in pairs {
        // Digits and letters are always a value.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    headers
}

fn signature(token: &str, timestamp: &str, nonce: &str, body: &[u8]) -> String {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(token.as_bytes()) else {
        crate::bug!("HMAC takes no key of {} bytes", token.len());
        return String::new();
    };
    for part in [timestamp.as_bytes(), b"\n", nonce.as_bytes(), b"\n", body] {
        mac.update(part);
    }
    let digest = mac.finalize().into_bytes();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with `openssl dgst -sha256 -hmac secret3`.
    #[test]
    fn the_signature_is_as_documented() {
        let now = Timestamp::from_ms(1_700_000_000_999);
        let headers = headers("secret3", now, 0xabc, b"{\"a\":1}");
        let got = |name: &str| headers[name].to_str().unwrap().to_owned();
        assert_eq!(got("x-strait-timestamp"), "1700000000");
        assert_eq!(got("x-strait-nonce"), "00000000000000000000000000000abc");
        assert_eq!(
            got("x-strait-signature"),
            "d3d5d3d5b66118b9424e1669b5c195620d909cdfd0333a6a4faeffee539dfad9"
        );
    }
}
