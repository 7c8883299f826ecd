//! `[http]`: where applications arrive, who they must be, and how many.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::ConfigError;
use crate::api::server;
use crate::api::server::tls::Tls;
use crate::app::credentials::CLOCK_SKEW;

/// The application side.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    pub listen: SocketAddr,
    /// Whoever reaches the address may do everything: only on loopback.
    pub no_auth: bool,
    /// PEM files with the certificate chain and its key; both empty: plain HTTP.
    pub tls_cert: PathBuf,
    pub tls_key: PathBuf,
    /// How far the time of a signature may be from the server's, either way.
    pub clock_skew_s: u64,
    /// Connections at the same time.
    pub connections_max: usize,
    /// Of these, from one address (IPv6: one /64); 0: all.
    pub connections_per_address: usize,
    /// A connection that sends no whole request head, or takes nothing of an answer, for this long is
    /// closed.
    pub idle_s: u64,
    /// How long a body may take; the file of a package must bring 64 KB in each such span.
    pub body_s: u64,
    /// Bodies in memory whose senders are not known yet.
    pub unverified_mb: usize,
}

impl Default for Http {
    fn default() -> Self {
        let settings = server::Settings::default();
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            no_auth: false,
            tls_cert: PathBuf::new(),
            tls_key: PathBuf::new(),
            clock_skew_s: CLOCK_SKEW.as_secs(),
            connections_max: settings.connections_max,
            connections_per_address: settings.connections_per_address,
            idle_s: settings.idle.as_secs(),
            body_s: settings.body.as_secs(),
            unverified_mb: settings.unverified_max / (1024 * 1024),
        }
    }
}

impl Http {
    /// Reads the certificate and its key. `None`: plain HTTP.
    pub fn tls(&self) -> Result<Option<Arc<Tls>>, ConfigError> {
        match self.tls_cert.as_os_str().is_empty() {
            true => Ok(None),
            false => Ok(Some(Arc::new(Tls::load(&self.tls_cert, &self.tls_key)?))),
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |field, got: &dyn ToString, takes| {
            Err(ConfigError::Value {
                field,
                got: got.to_string(),
                takes,
            })
        };
        if self.no_auth && !self.listen.ip().is_loopback() {
            let takes = "a loopback address such as 127.0.0.1:8080 while http.no_auth is true";
            return wrong("http.listen", &self.listen, takes);
        }
        let is_given = |path: &Path| !path.as_os_str().is_empty();
        match (is_given(&self.tls_cert), is_given(&self.tls_key)) {
            (true, false) => {
                return wrong("http.tls_key", &"empty", "the key of http.tls_cert");
            }
            (false, true) => {
                return wrong("http.tls_cert", &"empty", "the certificate of http.tls_key");
            }
            _ => {}
        }
        if !(1..=86_400).contains(&self.clock_skew_s) {
            return wrong(
                "http.clock_skew_s",
                &self.clock_skew_s,
                "1 to 86400 seconds",
            );
        }
        if !(1..=1_000_000).contains(&self.connections_max) {
            return wrong(
                "http.connections_max",
                &self.connections_max,
                "1 to 1000000",
            );
        }
        if self.connections_per_address > 1_000_000 {
            return wrong(
                "http.connections_per_address",
                &self.connections_per_address,
                "1 to 1000000, or 0 for no bound",
            );
        }
        if !(1..=3600).contains(&self.idle_s) {
            return wrong("http.idle_s", &self.idle_s, "1 to 3600 seconds");
        }
        if !(1..=3600).contains(&self.body_s) {
            return wrong("http.body_s", &self.body_s, "1 to 3600 seconds");
        }
        if !(8..=65_536).contains(&self.unverified_mb) {
            return wrong("http.unverified_mb", &self.unverified_mb, "8 to 65536");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest body of a batch task must have room.
    #[test]
    fn bodies_have_room() {
        let mut http = Http::default();
        assert_eq!(http.unverified_mb, 64);
        http.unverified_mb = 7;
        let error = http.check().unwrap_err().to_string();
        assert!(
            error.starts_with("http.unverified_mb is 7: takes 8 to 65536"),
            "{error}"
        );
    }
}
