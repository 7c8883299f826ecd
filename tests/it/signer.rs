//! Signs requests as an application would: written from the description of the signature, with none
//! of the server's code.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

pub(crate) const HOST: &str = "iot.example.com";

pub(crate) struct Signer {
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    /// `yyyyMMdd/region/iotdm`: signs with a derived key.
    pub(crate) info: Option<String>,
}

/// A request to be signed: what a test may want to have otherwise.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) method: &'static str,
    /// In canonical form already.
    pub(crate) path: String,
    pub(crate) query: String,
    /// Lower-case names, sorted; the signed ones.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body_hash: String,
}

impl Draft {
    pub(crate) fn new(method: &'static str, path: &str, body: &[u8], date: &str) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        Self {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers: vec![
                ("content-type", "application/json".to_owned()),
                ("host", HOST.to_owned()),
                ("x-sdk-date", date.to_owned()),
            ],
            body_hash: hex(&Sha256::digest(body)),
        }
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(n, _)| *n != name);
        self
    }

    pub(crate) fn with(self, name: &'static str, value: &str) -> Self {
        let mut draft = self.without(name);
        draft.headers.push((name, value.to_owned()));
        draft.headers.sort();
        draft
    }
}

impl Signer {
    /// The value of `Authorization`.
    pub(crate) fn sign(&self, draft: &Draft) -> String {
        let Draft {
            method,
            path,
            query,
            ..
        } = draft;
        let names: Vec<&str> = draft.headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let lines = draft.headers.iter().map(|(n, v)| format!("{n}:{v}\n"));
        let lines: String = lines.collect();
        let slash = if path.ends_with('/') { "" } else { "/" };
        let hash = &draft.body_hash;
        let canonical = format!("{method}\n{path}{slash}\n{query}\n{lines}\n{names}\n{hash}");
        let hash = hex(&Sha256::digest(&canonical));
        let date = draft.headers.iter().find(|(name, _)| *name == "x-sdk-date");
        let date = date.map_or("", |(_, value)| value);
        let access_key = &self.access_key;
        match &self.info {
            None => {
                let signature = mac(
                    &self.secret_key,
                    &format!("SDK-HMAC-SHA256\n{date}\n{hash}"),
                );
                let signature = hex(&signature);
                format!(
                    "SDK-HMAC-SHA256 Access={access_key}, SignedHeaders={names}, \
                     Signature={signature}"
                )
            }
            Some(info) => {
                // HKDF of one block (RFC 5869).
                let extracted = mac(access_key, &self.secret_key);
                let mut block = Hmac::<Sha256>::new_from_slice(&extracted).unwrap();
                block.update(info.as_bytes());
                block.update(&[1]);
                let key = hex(&block.finalize().into_bytes());
                let text = format!("V11-HMAC-SHA256\n{date}\n{info}\n{hash}");
                let signature = hex(&mac(&key, &text));
                format!(
                    "V11-HMAC-SHA256 Credential={access_key}/{info}, SignedHeaders={names}, \
                     Signature={signature}"
                )
            }
        }
    }
}

fn mac(key: &str, text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
