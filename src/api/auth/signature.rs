//! Signatures by access key and secret key, as the official SDK makes them.
//!
//! ```text
//! Authorization: SDK-HMAC-SHA256 Access=AK, SignedHeaders=host;x-sdk-date, Signature=hex
//! Authorization: V11-HMAC-SHA256 Credential=AK/yyyyMMdd/region/iotdm, SignedHeaders=…, Signature=hex
//!
//! canonical request   METHOD \n path/ \n query \n name:value\n… \n names \n hash of the body
//! string to sign      algorithm \n X-Sdk-Date \n [yyyyMMdd/region/iotdm \n] hash of the above
//! signature           HMAC-SHA256(key, string to sign), in lower-case hex
//! key                 the secret key; V11: hex of HKDF-SHA256(salt AK, secret key, info)
//! ```
//!
//! Path and query are decoded and encoded again, so a signature covers what they mean and not how
//! they were escaped: `%2F` in a segment signs as `/`, `+` in a query as a space. The bytes of
//! header values count as they came, without blanks around them. Pure: no clock, no look-up.
//! Errors: [`Malformed`].

use axum::http::{HeaderMap, HeaderName, Method, Uri};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::product::codec::text::hex;

/// The time of a signature.
pub const DATE: HeaderName = HeaderName::from_static("x-sdk-date");
/// The hash of the body, or that there is none.
pub const CONTENT_HASH: HeaderName = HeaderName::from_static("x-sdk-content-sha256");
/// Said instead of a body's hash.
pub const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
/// The service that a derived key is for.
const SERVICE: &str = "iotdm";

/// Headers that one signature may cover.
const HEADERS_MAX: usize = 64;

/// Characters of a signature.
const SIGNATURE_LEN: usize = 64;

/// Both kinds of signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm<'a> {
    Plain,
    /// With the scope of the derived key: `yyyyMMdd/region/iotdm`.
    Derived {
        info: &'a str,
    },
}

impl Algorithm<'_> {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "SDK-HMAC-SHA256",
            Self::Derived { .. } => "V11-HMAC-SHA256",
        }
    }
}

/// Why an `Authorization` header is no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} is given twice")]
    Twice(&'static str),
    #[error("{0} is not known here")]
    Unknown(String),
    #[error("Credential takes access key/yyyyMMdd/region/iotdm")]
    Credential,
    #[error(
        "SignedHeaders takes lower-case names of headers with ';' between, {HEADERS_MAX} at most"
    )]
    SignedHeaders,
    #[error("Signature takes {SIGNATURE_LEN} lower-case hexadecimal digits")]
    Signature,
}

/// What an `Authorization` header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization<'a> {
    pub algorithm: Algorithm<'a>,
    pub access_key: &'a str,
    /// As listed, with `;` between.
    pub signed_headers: &'a str,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    /// Reads the header. `None`: it has another scheme.
    pub fn parse(text: &'a str) -> Option<Result<Self, Malformed>> {
        let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
        let is_plain = scheme.eq_ignore_ascii_case(Algorithm::Plain.name());
        let derived = Algorithm::Derived { info: "" }.name();
        if !is_plain && !scheme.eq_ignore_ascii_case(derived) {
            return None;
        }
        Some(Self::parse_fields(rest, is_plain))
    }

    fn parse_fields(text: &'a str, is_plain: bool) -> Result<Self, Malformed> {
        let names = [
            if is_plain { "Access" } else { "Credential" },
            "SignedHeaders",
            "Signature",
        ];
        let mut values = [None; 3];
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let place = names.iter().zip(&mut values).find(|(n, _)| **n == name);
            let Some((name, place)) = place else {
                return Err(Malformed::Unknown(name.chars().take(40).collect()));
            };
            if place.replace(value).is_some() {
                return Err(Malformed::Twice(name));
            }
        }
        let mut found = names.iter().zip(values).map(|(name, value)| {
            let value = value.filter(|v| !v.is_empty());
            value.ok_or(Malformed::Missing(name))
        });
        let mut next = || found.next().unwrap_or(Err(Malformed::Signature));
        let (who, signed_headers, signature) = (next()?, next()?, next()?);
        let (access_key, algorithm) = match is_plain {
            true => (who, Algorithm::Plain),
            false => derived(who)?,
        };
        let is_name = |n: &str| {
            !n.is_empty() && HeaderName::from_lowercase(n.as_bytes()).is_ok_and(|h| h == *n)
        };
        let names = signed_headers.split(';');
        if names.clone().count() > HEADERS_MAX || !names.clone().all(is_name) {
            return Err(Malformed::SignedHeaders);
        }
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if signature.len() != SIGNATURE_LEN || !signature.bytes().all(is_hex) {
            return Err(Malformed::Signature);
        }
        Ok(Self {
            algorithm,
            access_key,
            signed_headers,
            signature,
        })
    }

    /// Whether the signature covers this header.
    pub fn covers(&self, name: &HeaderName) -> bool {
        self.signed_headers.split(';').any(|n| name == n)
    }

    /// The day of a derived key, as `yyyyMMdd`.
    pub fn day(&self) -> Option<&'a str> {
        match self.algorithm {
            Algorithm::Plain => None,
            Algorithm::Derived { info } => info.split('/').next(),
        }
    }

    /// Whether this is the signature of a canonical request, in a time that does not depend on how
    /// much of it is right.
    pub fn fits(&self, secret_key: &str, date: &str, canonical: &[u8]) -> bool {
        let hash = hex(&Sha256::digest(canonical));
        let name = self.algorithm.name();
        let computed = match self.algorithm {
            Algorithm::Plain => sign(secret_key, &format!("{name}\n{date}\n{hash}")),
            Algorithm::Derived { info } => {
                let text = format!("{name}\n{date}\n{info}\n{hash}");
                let mut key = Zeroizing::new([0; 32]);
                let derived =
                    Hkdf::<Sha256>::new(Some(self.access_key.as_bytes()), secret_key.as_bytes());
                // 32 bytes are one block of HKDF: it can't refuse.
                if derived.expand(info.as_bytes(), &mut *key).is_err() {
                    return false;
                }
                sign(&Zeroizing::new(hex(&*key)), &text)
            }
        };
        computed.as_bytes().ct_eq(self.signature.as_bytes()).into()
    }
}

/// Access key and scope; the access key may hold no `/`.
fn derived(credential: &str) -> Result<(&str, Algorithm<'_>), Malformed> {
    let (access_key, info) = credential.split_once('/').ok_or(Malformed::Credential)?;
    let mut parts = info.split('/');
    let (day, region, service) = (parts.next(), parts.next(), parts.next());
    let is_day = |d: &str| d.len() == 8 && d.bytes().all(|b| b.is_ascii_digit());
    let fits = day.is_some_and(is_day)
        && region.is_some_and(|r| !r.is_empty())
        && service == Some(SERVICE)
        && parts.next().is_none()
        && !access_key.is_empty();
    match fits {
        true => Ok((access_key, Algorithm::Derived { info })),
        false => Err(Malformed::Credential),
    }
}

/// HMAC-SHA256 in hex.
fn sign(key: &str, text: &str) -> String {
    // HMAC takes keys of every length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else {
        return String::new();
    };
    mac.update(text.as_bytes());
    hex(&mac.finalize().into_bytes())
}

/// The bytes that a signature is about. Error: a signed header that is not there, or there twice:
/// its name.
pub fn canonical_request(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    signed_headers: &str,
    body_hash: &str,
) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b'\n');
    let path = decode(uri.path(), false);
    encode_into(&mut out, &path, b'/');
    if out.last() != Some(&b'/') {
        out.push(b'/');
    }
    out.push(b'\n');
    canonical_query(&mut out, uri.query().unwrap_or_default());
    out.push(b'\n');
    for name in signed_headers.split(';') {
        let mut values = headers.get_all(name).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(name.to_owned());
        };
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        out.extend_from_slice(value.as_bytes().trim_ascii());
        out.push(b'\n');
    }
    for part in ["\n", signed_headers, "\n", body_hash] {
        out.extend_from_slice(part.as_bytes());
    }
    Ok(out)
}

/// Pairs by key, then value; a key without `=` has an empty value.
fn canonical_query(out: &mut Vec<u8>, query: &str) {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key, true), decode(value, true))
        })
        .collect();
    pairs.sort_unstable();
    for (at, (key, value)) in pairs.iter().enumerate() {
        if at > 0 {
            out.push(b'&');
        }
        encode_into(out, key, b'~');
        out.push(b'=');
        encode_into(out, value, b'~');
    }
}

/// `%41` as `A`; what is no escape stays. `plus`: `+` is a space, as in a query.
fn decode(text: &str, plus: bool) -> Vec<u8> {
    let digit = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match (first, digit(after.first()), digit(after.get(1))) {
            (b'%', Some(high), Some(low)) => {
                out.extend(u8::try_from(high * 16 + low));
                rest = after.get(2..).unwrap_or_default();
            }
            (b'+', ..) if plus => out.push(b' '),
            (byte, ..) => out.push(byte),
        }
    }
    out
}

/// Escapes all but letters, digits, `-._~` and `also` (RFC 3986 §2.3), in upper case.
fn encode_into(out: &mut Vec<u8>, bytes: &[u8], also: u8) {
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || byte == also {
            out.push(byte);
        } else {
            let digit = |n: u8| if n < 10 { b'0' + n } else { b'A' - 10 + n };
            out.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

/// SHA-256 in lower-case hex.
pub fn hash_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}
