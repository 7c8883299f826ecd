//! The configuration: a TOML file, then environment variables (`STRAIT_NET__COAP` sets `net.coap`, a
//! list has commas), then flags. Every field has a default; an unknown one is an error. Checked once, then handed to
//! each layer in parts.

mod dtls;
mod http;
mod listen;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::api::server::tls::TlsError;
use crate::app::{batch, codec_pool, command, package, push, replay, upgrade};
use crate::engine::admission::coverage::TableError;
use crate::engine::limit;
use crate::store::StoreSettings;
use crate::telemetry::LogFormat;

pub use dtls::Dtls;
pub use http::Http;
pub use listen::Listen;

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where everything durable lives.
    pub data: PathBuf,
    pub net: Net,
    pub dtls: Dtls,
    pub http: Http,
    pub store: StoreSettings,
    pub batch: batch::Settings,
    pub upgrade: upgrade::Settings,
    pub replay: replay::Settings,
    pub push: push::Settings,
    pub packages: package::Settings,
    pub commands: command::Settings,
    pub limits: limit::Settings,
    pub codecs: codec_pool::Settings,
    pub trace: Trace,
    pub log: Log,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("data"),
            net: Net::default(),
            dtls: Dtls::default(),
            http: Http::default(),
            store: StoreSettings::default(),
            batch: batch::Settings::default(),
            upgrade: upgrade::Settings::default(),
            replay: replay::Settings::default(),
            push: push::Settings::default(),
            packages: package::Settings::default(),
            commands: command::Settings::default(),
            limits: limit::Settings::default(),
            codecs: codec_pool::Settings::default(),
            trace: Trace::default(),
            log: Log::default(),
        }
    }
}

/// The device side.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Net {
    pub coap: Listen,
    pub coaps: Listen,
    /// Tasks that devices are spread over; 0 takes one per core.
    pub shards: usize,
    /// Peers of which anything is remembered at the same time.
    pub peers_max: usize,
    /// When a confirmable request gets its acknowledgement before its answer.
    pub separate_after_ms: u64,
}

impl Default for Net {
    fn default() -> Self {
        Self {
            coap: Listen::On(SocketAddr::from(([0, 0, 0, 0], 5683))),
            coaps: Listen::On(SocketAddr::from(([0, 0, 0, 0], 5684))),
            shards: 0,
            peers_max: 1 << 20,
            separate_after_ms: 1_500,
        }
    }
}

/// Message traces.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trace {
    /// Devices traced at the same time.
    pub devices_max: usize,
}

impl Default for Trace {
    fn default() -> Self {
        Self {
            devices_max: crate::app::trace::DEVICES_MAX,
        }
    }
}

/// What goes to stderr.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// As in `info,strait=debug`.
    pub filter: String,
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: LogFormat::default(),
        }
    }
}

/// Why the configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{0}")]
    Source(#[from] config::ConfigError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("upgrade: {0}")]
    Coverage(#[from] TableError),
    #[error("{field} is {got}: takes {takes}")]
    Value {
        field: &'static str,
        got: String,
        takes: &'static str,
    },
}

/// Reads file and environment. Without a file: environment over defaults. Values are not checked
/// yet: flags may still change them.
pub fn load(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    // Variables of other uses (`STRAIT_SEEDS`) are not configuration: a field's name has a section.
    let variables: HashMap<String, String> = environment
        .filter(|(name, _)| {
            name.starts_with("STRAIT_") && (name.contains("__") || name == "STRAIT_DATA")
        })
        .collect();
    let mut builder = config::Config::builder();
    if let Some(file) = file {
        builder = builder.add_source(config::File::from(file).format(config::FileFormat::Toml));
    }
    let environment = config::Environment::with_prefix("STRAIT")
        .prefix_separator("_")
        .separator("__")
        .try_parsing(true)
        .list_separator(",")
        .with_list_parse_key("dtls.suites")
        .with_list_parse_key("packages.keys")
        .with_list_parse_key("upgrade.slots")
        .with_list_parse_key("upgrade.rsrp_min_dbm")
        .with_list_parse_key("upgrade.sinr_min_db")
        .source(Some(variables));
    Ok(builder.add_source(environment).build()?.try_deserialize()?)
}

impl Config {
    /// Judges values that each parse but can't work.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |field, got: &dyn ToString, takes| {
            Err(ConfigError::Value {
                field,
                got: got.to_string(),
                takes,
            })
        };
        self.http.check()?;
        self.dtls.settings()?;
        if let (Listen::On(coap), Listen::On(coaps)) = (self.net.coap, self.net.coaps)
            && coap == coaps
            && coap.port() != 0
        {
            return wrong("net.coaps", &coaps, "another address than net.coap");
        }
        if self.net.shards > 256 {
            return wrong("net.shards", &self.net.shards, "0 (one per core) to 256");
        }
        if self.net.peers_max == 0 {
            return wrong("net.peers_max", &0, "1 or more");
        }
        if !(100..=60_000).contains(&self.net.separate_after_ms) {
            return wrong(
                "net.separate_after_ms",
                &self.net.separate_after_ms,
                "100 to 60000",
            );
        }
        let store = &self.store;
        if !(4..=1 << 20).contains(&store.cache_mb) {
            return wrong("store.cache_mb", &store.cache_mb, "4 to 1048576 MB");
        }
        if store.reserve_mb > 1 << 20 {
            return wrong("store.reserve_mb", &store.reserve_mb, "0 to 1048576 MB");
        }
        if !(1..=1 << 20).contains(&store.queue_len) {
            return wrong("store.queue_len", &store.queue_len, "1 to 1048576");
        }
        let generation = store.generation_path(&self.data);
        if generation == store.key_path(&self.data) {
            let takes = "another file than store.sealing_key";
            return wrong("store.generation", &generation.display(), takes);
        }
        let days = [
            ("store.history_days", store.history_days),
            ("store.raw_days", store.raw_days),
            ("store.events_days", store.events_days),
            ("store.audit_days", store.audit_days),
        ];
        for (field, days) in days {
            if !(1..=36_500).contains(&days) {
                return wrong(field, &days, "1 to 36500 days");
            }
        }
        let batch = &self.batch;
        let bounds = [
            (
                "batch.tasks_running_max",
                batch.tasks_running_max,
                1_000,
                "1 to 1000",
            ),
            ("batch.tasks_max", batch.tasks_max, 100_000, "1 to 100000"),
            (
                "commands.pending_max",
                self.commands.pending_max,
                100,
                "1 to 100",
            ),
            (
                "batch.in_flight_max",
                batch.in_flight_max,
                1_024,
                "1 to 1024",
            ),
            (
                "upgrade.begun_max",
                self.upgrade.begun_max,
                1_000_000,
                "1 to 1000000",
            ),
            ("batch.files_max", batch.files_max, 10_000, "1 to 10000"),
            ("batch.file_kb", batch.file_kb, 65_536, "1 to 65536 KB"),
        ];
        for (field, value, max, takes) in bounds {
            if !(1..=max).contains(&value) {
                return wrong(field, &value, takes);
            }
        }
        self.upgrade.check()?;
        if let Err((field, got, takes)) = self.limits.check() {
            return wrong(field, &got, takes);
        }
        if let Err((field, got, takes)) = self.replay.check() {
            return wrong(field, &got, takes);
        }
        if let Err((field, got, takes)) = self.push.check() {
            return wrong(field, &got, takes);
        }
        if let Err((field, got, takes)) = self.packages.check() {
            return wrong(field, &got, takes);
        }
        if let Err((field, got, takes)) = self.codecs.check() {
            return wrong(field, &got, takes);
        }
        let kept_s = u64::from(self.store.events_days).saturating_mul(86_400);
        if self.push.backlog_s > kept_s {
            let takes = "no longer than events are kept (store.events_days)";
            return wrong("push.backlog_s", &self.push.backlog_s, takes);
        }
        if let Err(error) = crate::telemetry::parse_filter(&self.log.filter) {
            let got = error.to_string();
            return wrong("log.filter", &got, "a level (info) or target=level,…");
        }
        Ok(())
    }
}

/// The commented template that `strait config` prints. It holds the defaults.
pub const TEMPLATE: &str = include_str!("../config.toml");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::dtls::crypto::Suite;

    fn with(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        load(
            None,
            variables
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
        )
    }

    #[test]
    fn the_template_holds_the_defaults() {
        let parsed: Config = toml::from_str(TEMPLATE).unwrap();
        assert_eq!(parsed, Config::default());
        let fields = TEMPLATE.lines().filter(|l| l.contains('=')).count();
        assert!(fields >= 12, "{fields} fields");
    }

    #[test]
    fn the_environment_overrides() {
        let variables = [
            ("STRAIT_NET__COAP", "127.0.0.1:0"),
            ("STRAIT_NET__SHARDS", "3"),
            ("STRAIT_HTTP__NO_AUTH", "true"),
            ("STRAIT_DATA", "/tmp/x"),
            ("STRAIT_SEEDS", "7"),
            (
                "STRAIT_DTLS__SUITES",
                "TLS_PSK_WITH_AES_128_CCM, TLS_PSK_WITH_AES_128_CCM_8",
            ),
        ];
        let config = with(&variables).unwrap();
        assert_eq!(
            config.net.coap,
            Listen::On(SocketAddr::from(([127, 0, 0, 1], 0)))
        );
        assert_eq!(
            (config.net.shards, config.data),
            (3, PathBuf::from("/tmp/x"))
        );
        let suites = config.dtls.settings().unwrap().suites;
        assert_eq!(suites, [Suite::Ccm, Suite::Ccm8]);
    }

    #[test]
    fn errors_name_the_field_and_the_value() {
        let cases = [
            (("STRAIT_NET__COAP", "nowhere"), "nowhere"),
            (("STRAIT_NET__SHARDS", "many"), "shards"),
            (("STRAIT_NET__SPEED", "1"), "speed"),
        ];
        for (variable, part) in cases {
            let error = with(&[variable]).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let mut config = with(&[("STRAIT_HTTP__NO_AUTH", "true")]).unwrap();
        assert!(config.check().is_ok());
        for (cache_mb, days) in [(0, 30), (48, 0)] {
            let mut wrong = config.clone();
            (wrong.store.cache_mb, wrong.store.history_days) = (cache_mb, days);
            let error = wrong.check().unwrap_err().to_string();
            assert!(error.starts_with("store."), "{error}");
        }
        let mut wrong = config.clone();
        wrong.net.coaps = wrong.net.coap;
        let error = wrong.check().unwrap_err().to_string();
        assert!(error.contains("another address than net.coap"), "{error}");
        let mut wrong = config.clone();
        wrong.store.sealing_key = PathBuf::from("/etc/strait/own.generation");
        let error = wrong.check().unwrap_err().to_string();
        assert!(error.contains("than store.sealing_key"), "{error}");
        config.http.listen = SocketAddr::from(([0, 0, 0, 0], 8080));
        let error = config.check().unwrap_err().to_string();
        assert!(error.contains("http.listen is 0.0.0.0:8080"), "{error}");
        config.http.no_auth = false;
        assert!(config.check().is_ok());
        type Change = fn(&mut Http);
        let mut wrong = config.clone();
        (wrong.push.retry_first_s, wrong.push.retry_max_s) = (61, 60);
        let error = wrong.check().unwrap_err().to_string();
        assert!(error.contains("push.retry_max_s is 60"), "{error}");
        let cases: [(Change, &str); 7] = [
            (
                |http| http.tls_cert = "cert.pem".into(),
                "http.tls_key is empty",
            ),
            (
                |http| http.tls_key = "key.pem".into(),
                "http.tls_cert is empty",
            ),
            (
                |http| http.clock_skew_s = 0,
                "http.clock_skew_s is 0: takes 1 to",
            ),
            (
                |http| http.connections_max = 0,
                "http.connections_max is 0: takes 1",
            ),
            (
                |http| http.connections_per_address = 1_000_001,
                "http.connections_per_address is 1000001: takes 1 to 1000000, or 0",
            ),
            (
                |http| http.body_s = 0,
                "http.body_s is 0: takes 1 to 3600 seconds",
            ),
            (
                |http| http.idle_s = 3601,
                "http.idle_s is 3601: takes 1 to 3600",
            ),
        ];
        for (change, want) in cases {
            let mut wrong = config.clone();
            change(&mut wrong.http);
            let error = wrong.check().unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
    }
}
