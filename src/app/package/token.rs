//! Tokens that let one package be downloaded over HTTP until a time, by who has no credentials:
//!
//! ```text
//! expiry, seconds since 1970, decimal  "."  HMAC-SHA256 as 64 hexadecimal digits
//! HMAC over: "strait package download v1" 0a  package id  0a  expiry
//! ```
//!
//! The key is 32 random bytes in `packages/token.key` of the data directory, made with the first token. Without
//! it, tokens that were given are none any more; nothing else is lost.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::PackageError;
use crate::base::ids::PackageId;
use crate::base::time::Timestamp;
use crate::product::codec::text::{hex, unhex};
use crate::store::StoreError;

const KEY_FILE: &str = "token.key";
const KEY_LEN: usize = 32;

type Key = Zeroizing<[u8; KEY_LEN]>;

/// Makes and judges tokens.
#[derive(Default)]
pub(super) struct Tokens {
    key: Mutex<Option<Key>>,
}

impl Tokens {
    /// A token for this package. `dir`: where the key lies. Blocks while the key is made.
    pub(super) fn make(
        &self,
        dir: &Path,
        package: &PackageId,
        expires_at: Timestamp,
    ) -> Result<String, PackageError> {
        let mut held = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        let key = match held.take() {
            Some(key) => key,
            None => match read(dir)? {
                Some(key) => key,
                None => create(dir)?,
            },
        };
        let expires_s = expires_at.as_ms() / 1000;
        let mac = mac_of(&key, package, expires_s).finalize().into_bytes();
        *held = Some(key);
        Ok(format!("{expires_s}.{}", hex(&mac)))
    }

    /// Whether a token is one of this package's at `now`.
    pub(super) fn check(
        &self,
        dir: &Path,
        package: &PackageId,
        token: &str,
        now: Timestamp,
    ) -> Result<(), PackageError> {
        let wrong = || PackageError::Token("is none of this package's");
        let (expires, mac) = token.split_once('.').ok_or_else(wrong)?;
        let digits = !expires.is_empty() && expires.bytes().all(|b| b.is_ascii_digit());
        let expires_s: u64 = expires.parse().ok().filter(|_| digits).ok_or_else(wrong)?;
        let mac = unhex(mac).ok_or_else(wrong)?;
        let mut held = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() {
            *held = read(dir)?;
        }
        let key = held.as_ref().ok_or_else(wrong)?;
        let fits = mac_of(key, package, expires_s).verify_slice(&mac);
        fits.map_err(|_| wrong())?;
        match now.as_ms() / 1000 < expires_s {
            true => Ok(()),
            false => Err(PackageError::Token("has expired")),
        }
    }
}

/// HMAC with a key shorter than its block, which zeros fill (RFC 2104 §2).
pub(super) fn keyed(key: &[u8; KEY_LEN]) -> Hmac<Sha256> {
    let mut block = Zeroizing::new([0_u8; 64]);
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    Hmac::new((&*block).into())
}

fn mac_of(key: &Key, package: &PackageId, expires_s: u64) -> Hmac<Sha256> {
    let mut mac = keyed(key);
    mac.update(format!("strait package download v1\n{package}\n{expires_s}").as_bytes());
    mac
}

fn read(dir: &Path) -> Result<Option<Key>, PackageError> {
    let path = dir.join(KEY_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => Zeroizing::new(text),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(&path, &e)),
    };
    let bytes = unhex(text.trim()).map(Zeroizing::new);
    let key = bytes.and_then(|bytes| <[u8; KEY_LEN]>::try_from(bytes.as_slice()).ok());
    let key = key.ok_or_else(|| {
        let e = io::Error::other("it is no key of 64 hexadecimal digits; delete it");
        failed(&path, &e)
    })?;
    Ok(Some(Zeroizing::new(key)))
}

fn create(dir: &Path) -> Result<Key, PackageError> {
    let (path, part) = (dir.join(KEY_FILE), dir.join(".upload-token.key"));
    let io = |e: io::Error| failed(&path, &e);
    let mut key = Zeroizing::new([0; KEY_LEN]);
    getrandom::fill(key.as_mut()).map_err(|e| io(io::Error::other(e.to_string())))?;
    fs::create_dir_all(dir).map_err(io)?;
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)
        .map_err(io)?;
    let text = Zeroizing::new(format!("{}\n", hex(key.as_ref())));
    file.write_all(text.as_bytes()).map_err(io)?;
    file.sync_all().map_err(io)?;
    fs::rename(&part, &path).map_err(io)?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)?;
    Ok(key)
}

fn failed(path: &Path, e: &io::Error) -> PackageError {
    StoreError::Io(format!("{}: {e}", path.display())).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_for_one_package_and_until_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("packages");
        let id = |text: &str| PackageId::parse(text).unwrap();
        let at = |s: u64| Timestamp::from_ms(s * 1000);
        let tokens = Tokens::default();
        let unknown = tokens.check(&dir, &id("p"), "100.00", at(1));
        assert!(unknown.is_err(), "there is no key yet");
        let token = tokens.make(&dir, &id("p"), at(100)).unwrap();
        // The next process.
        let tokens = Tokens::default();
        let told = |package: &str, token: &str, now| {
            let checked = tokens.check(&dir, &id(package), token, at(now));
            checked
                .err()
                .map_or_else(|| "fine".to_owned(), |e| e.to_string())
        };
        let (expires, mac) = token.split_once('.').unwrap();
        assert_eq!(told("p", &token, 99), "fine");
        assert_eq!(told("p", &token, 100), "token: has expired");
        let none = "token: is none of this package's";
        for wrong in [
            format!("101.{mac}"),
            format!("+{expires}.{mac}"),
            format!("{expires}.{}", &mac[2..]),
            format!("{expires}."),
            mac.to_owned(),
            String::new(),
        ] {
            assert_eq!(told("p", &wrong, 99), none, "{wrong}");
        }
        assert_eq!(told("q", &token, 99), none);
        assert_eq!(tokens.make(&dir, &id("p"), at(100)).unwrap(), token);
    }
}
