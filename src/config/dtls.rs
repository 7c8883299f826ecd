//! `[dtls]`: the secured port.

use std::time::Duration;

use serde::Deserialize;

use super::ConfigError;
use crate::engine::dtls::{self, crypto::Suite};

/// The secured port.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dtls {
    /// IANA names, in order of preference.
    pub suites: Vec<String>,
    /// When an unanswered flight is first sent again, in seconds; doubles each time.
    pub retransmit_s: f64,
    pub retransmissions: u32,
    /// Handshakes under way at the same time.
    pub handshakes_max: usize,
    /// Handshakes that one source may begin in a second.
    pub handshakes_per_source_s: u32,
    pub sessions_max: usize,
    /// Of these, how many keep their keys in memory.
    pub sessions_in_memory: usize,
}

impl Default for Dtls {
    fn default() -> Self {
        let settings = dtls::Settings::default();
        let suites = settings.suites.iter();
        Self {
            suites: suites.map(|suite| suite.name().to_owned()).collect(),
            retransmit_s: settings.retransmit_first.as_secs_f64(),
            retransmissions: settings.retransmissions,
            handshakes_max: settings.handshakes_max,
            handshakes_per_source_s: settings.handshakes_per_source_s,
            sessions_max: settings.sessions_max,
            sessions_in_memory: settings.sessions_in_memory,
        }
    }
}

impl Dtls {
    /// As the engine takes them.
    pub fn settings(&self) -> Result<dtls::Settings, ConfigError> {
        let wrong_suites = |got: &str| ConfigError::Value {
            field: "dtls.suites",
            got: got.to_owned(),
            takes: "one or more of TLS_PSK_WITH_AES_128_CCM_8, TLS_PSK_WITH_AES_128_CCM, \
                    TLS_PSK_WITH_AES_128_GCM_SHA256, TLS_PSK_WITH_AES_128_CBC_SHA256",
        };
        let mut suites = Vec::with_capacity(self.suites.len());
        for name in &self.suites {
            let suite = Suite::from_name(name.trim()).ok_or_else(|| wrong_suites(name))?;
            if !suites.contains(&suite) {
                suites.push(suite);
            }
        }
        if suites.is_empty() {
            return Err(wrong_suites("empty"));
        }
        let bounds = [
            (
                "dtls.retransmissions",
                self.retransmissions as usize,
                0,
                10,
                "0 to 10",
            ),
            (
                "dtls.handshakes_max",
                self.handshakes_max,
                1,
                10_000_000,
                "1 to 10000000",
            ),
            (
                "dtls.handshakes_per_source_s",
                self.handshakes_per_source_s as usize,
                1,
                1_000_000,
                "1 to 1000000",
            ),
            (
                "dtls.sessions_max",
                self.sessions_max,
                1,
                100_000_000,
                "1 to 100000000",
            ),
            (
                "dtls.sessions_in_memory",
                self.sessions_in_memory,
                1,
                100_000_000,
                "1 to 100000000",
            ),
        ];
        for (field, value, min, max, takes) in bounds {
            if !(min..=max).contains(&value) {
                let got = value.to_string();
                return Err(ConfigError::Value { field, got, takes });
            }
        }
        if !(0.1..=600.0).contains(&self.retransmit_s) {
            return Err(ConfigError::Value {
                field: "dtls.retransmit_s",
                got: self.retransmit_s.to_string(),
                takes: "0.1 to 600 seconds",
            });
        }
        Ok(dtls::Settings {
            suites,
            retransmit_first: Duration::from_secs_f64(self.retransmit_s),
            retransmissions: self.retransmissions,
            handshakes_max: self.handshakes_max,
            handshakes_per_source_s: self.handshakes_per_source_s,
            sessions_max: self.sessions_max,
            sessions_in_memory: self.sessions_in_memory,
            ..dtls::Settings::default()
        })
    }
}
