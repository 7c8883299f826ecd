//! TLS 1.2 and 1.3 for the HTTP face, from a certificate chain and its key in PEM files.
//!
//! A running server reads the files again when they change. A pair that can't be used, such as one
//! that was replaced by half, is logged and the one before goes on.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::app::tasks::Stop;

/// How often the files are looked at.
pub const EVERY: Duration = Duration::from_secs(30);

/// Longest file: a chain of certificates has a few KB.
const FILE_MAX: u64 = 1024 * 1024;

/// Why the files can't be used. `field` is the setting that names the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {path}: {reason}")]
pub struct TlsError {
    pub field: &'static str,
    pub path: String,
    pub reason: String,
}

/// Tells one state of a file from another.
type Stamp = Option<(SystemTime, u64)>;

/// A certificate with its key, as the files last had them.
#[derive(Debug)]
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads both files.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        Ok(Self {
            cert: cert.to_owned(),
            key: key.to_owned(),
            current: RwLock::new(Arc::new(read(cert, key)?)),
        })
    }

    /// What a new connection takes.
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn stamps(&self) -> [Stamp; 2] {
        [&self.cert, &self.key].map(|path| {
            let meta = std::fs::metadata(path).ok()?;
            Some((meta.modified().ok()?, meta.len()))
        })
    }

    /// Takes the files as they are now.
    pub fn reload(&self) -> Result<(), TlsError> {
        let fresh = Arc::new(read(&self.cert, &self.key)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }
}

/// Looks at the files every `every` until `stop`.
pub async fn watch(tls: Arc<Tls>, every: Duration, mut stop: Stop) {
    let mut seen = tls.stamps();
    loop {
        tokio::select! {
            () = stop.requested() => return,
            () = tokio::time::sleep(every) => {}
        }
        let (looked, before) = (Arc::clone(&tls), seen);
        let look = tokio::task::spawn_blocking(move || {
            let now = looked.stamps();
            if now == before {
                return now;
            }
            match looked.reload() {
                Ok(()) => tracing::info!(cert = %looked.cert.display(), "a new certificate serves"),
                Err(error) => tracing::error!(%error, "the certificate stays as it was"),
            }
            now
        });
        seen = look.await.unwrap_or(seen);
    }
}

fn read(cert: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let wrong = |field, path: &Path, reason: String| TlsError {
        field,
        path: path.display().to_string(),
        reason,
    };
    let in_cert = |reason| wrong("http.tls_cert", cert, reason);
    let in_key = |reason| wrong("http.tls_key", key, reason);
    let pem = bytes_of(cert).map_err(in_cert)?;
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|e| in_cert(format!("is no PEM: {e}")))?;
    if chain.is_empty() {
        return Err(in_cert("has no certificate (BEGIN CERTIFICATE)".to_owned()));
    }
    let pem = bytes_of(key).map_err(in_key)?;
    let private = PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|e| in_key(format!("has no private key (BEGIN PRIVATE KEY): {e}")))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|e| in_cert(e.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|e| in_key(format!("does not go with the certificate: {e}")))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn bytes_of(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let read = || {
        let mut bytes = Zeroizing::new(Vec::new());
        File::open(path)?.take(FILE_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|e: std::io::Error| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_setting_and_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let pair = || rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (one, other) = (pair(), pair());
        std::fs::write(at("cert"), one.cert.pem()).unwrap();
        std::fs::write(at("key"), one.signing_key.serialize_pem()).unwrap();
        std::fs::write(at("other"), other.signing_key.serialize_pem()).unwrap();
        std::fs::write(at("text"), "hello").unwrap();
        let cases = [
            ("none", "key", "http.tls_cert", "No such file"),
            ("text", "key", "http.tls_cert", "has no certificate"),
            ("key", "key", "http.tls_cert", "has no certificate"),
            ("cert", "none", "http.tls_key", "No such file"),
            ("cert", "text", "http.tls_key", "has no private key"),
            (
                "cert",
                "other",
                "http.tls_key",
                "does not go with the certificate",
            ),
        ];
        for (cert, key, field, reason) in cases {
            let error = Tls::load(&at(cert), &at(key)).unwrap_err().to_string();
            assert!(
                error.starts_with(field) && error.contains(reason),
                "{error}"
            );
        }
        let tls = Tls::load(&at("cert"), &at("key")).unwrap();
        let before = tls.current();
        std::fs::write(at("cert"), other.cert.pem()).unwrap();
        assert_eq!(tls.reload().unwrap_err().field, "http.tls_key");
        assert!(Arc::ptr_eq(&before, &tls.current()));
        std::fs::write(at("key"), other.signing_key.serialize_pem()).unwrap();
        tls.reload().unwrap();
        assert!(!Arc::ptr_eq(&before, &tls.current()));
    }
}
