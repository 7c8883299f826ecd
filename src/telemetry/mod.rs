//! Tracing and metrics set-up: logs go to stderr, metrics to a recorder that `/metrics` renders.
//!
//! The subscriber and the recorder are the process's only globals. Tests and embedders install
//! neither and take [`detached_metrics`].

pub mod gauges;
mod lines;

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use crate::app::tasks::Stop;
use crate::net::{dtls, endpoint, udp};

/// Bounds of `*_seconds` histograms: from a tenth of a millisecond to ten seconds.
const SECONDS: [f64; 16] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// Of a codec: from a microsecond to the end that its watchdog makes.
const CODEC_SECONDS: [f64; 15] = [
    0.000_001, 0.000_002, 0.000_005, 0.000_01, 0.000_02, 0.000_05, 0.0001, 0.0002, 0.0005, 0.001,
    0.005, 0.02, 0.05, 0.25, 1.0,
];

/// How often what histograms gathered is folded in, so that it stays bounded without a scrape.
const UPKEEP: Duration = Duration::from_secs(5);

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Plain,
    Json,
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("log filter {filter:?}: {reason}; takes a level (info) or target=level,…")]
    Filter { filter: String, reason: String },
    #[error("logging is set up already")]
    Logging,
    #[error("metrics: {0}")]
    Metrics(String),
}

impl TelemetryError {
    /// Stable word for logs and metrics; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Filter { .. } => "filter",
            Self::Logging => "logging",
            Self::Metrics(_) => "metrics",
        }
    }
}

/// Sends logs to stderr. `filter` is in the style of `RUST_LOG`, such as `info,strait::net=debug`.
pub fn install_logging(filter: &str, format: LogFormat) -> Result<(), TelemetryError> {
    let parsed = parse_filter(filter)?;
    let colours = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_ansi(colours);
    let installed = match format {
        LogFormat::Plain => builder
            .with_writer(move || lines::OneLine {
                inner: std::io::stderr(),
                colours,
            })
            .try_init(),
        // JSON has its own way to write a line break.
        LogFormat::Json => builder
            .with_writer(std::io::stderr)
            .json()
            .flatten_event(true)
            .try_init(),
    };
    installed.map_err(|_| TelemetryError::Logging)
}

/// Checks a filter without using it.
pub fn parse_filter(filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::try_new(filter).map_err(|e| TelemetryError::Filter {
        filter: filter.to_owned(),
        reason: e.to_string(),
    })
}

/// Installs the process's recorder: every counter of every layer ends here. Once in a process.
pub fn install_metrics() -> Result<PrometheusHandle, TelemetryError> {
    let recorder = builder()?.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|e| TelemetryError::Metrics(e.to_string()))?;
    describe();
    Ok(handle)
}

/// What is counted where nothing starts: its help texts, and its zeros for what has no labels.
fn describe() {
    let counters = [
        ("strait_bugs_total", "Cases that should not happen"),
        (
            "strait_audit_failed_total",
            "Ends of requests that the audit log lacks",
        ),
        ("strait_expired_rows_total", "Rows that went by age"),
        ("strait_store_batches_total", "Batches that are durable"),
        ("strait_store_failed_batches_total", "Batches that failed"),
        (
            "strait_store_commits_total",
            "Commits that were answered, conflicts included",
        ),
    ];
    for (name, text) in counters {
        describe_counter!(name, text);
        counter!(name).absolute(0);
    }
    describe_counter!(
        "strait_http_requests_total",
        "HTTP requests that were answered"
    );
    describe_counter!(
        "strait_http_refused_total",
        "HTTP requests and connections refused before anything was done"
    );
    describe_counter!(
        "strait_https_handshakes_failed_total",
        "TLS handshakes of callers that failed"
    );
    describe_histogram!(
        "strait_http_request_seconds",
        Unit::Seconds,
        "From the head of an HTTP request to its answer"
    );
    describe_histogram!(
        "strait_store_batch_seconds",
        Unit::Seconds,
        "How long a batch took to be written and synced"
    );
}

/// A handle whose recorder nobody writes to.
pub fn detached_metrics() -> PrometheusHandle {
    PrometheusBuilder::new().build_recorder().handle()
}

fn builder() -> Result<PrometheusBuilder, TelemetryError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
        .and_then(|builder| {
            let calls = Matcher::Full("strait_codec_call_seconds".into());
            builder.set_buckets_for_metric(calls, &CODEC_SECONDS)
        })
        .map_err(|e| TelemetryError::Metrics(e.to_string()))
}

/// Keeps the recorder small until `stop`.
pub async fn keep_up(handle: PrometheusHandle, mut stop: Stop) {
    loop {
        tokio::select! {
            () = stop.requested() => return,
            () = tokio::time::sleep(UPKEEP) => handle.run_upkeep(),
        }
    }
}

/// How often the figures of the network are carried over to the recorder.
const NETWORK_EVERY: Duration = Duration::from_secs(1);

/// Carries the endpoint's and the socket's counters over to the recorder until `stop`. They are
/// plain numbers where they arise, so that counting costs a datagram nothing.
pub async fn watch_network(
    endpoint: endpoint::Figures,
    socket: Arc<udp::Counters>,
    mut stop: Stop,
) {
    describe_counter!("strait_coap_messages_total", "CoAP messages, by fate");
    describe_gauge!("strait_coap_peers", "Peers of which anything is remembered");
    let fate = |fate: &'static str| counter!("strait_coap_messages_total", "fate" => fate);
    let peers = gauge!("strait_coap_peers");
    loop {
        let (c, known) = endpoint.read();
        let figures = [
            ("received", c.received),
            ("sent", c.sent),
            ("malformed", c.malformed),
            ("duplicate", c.duplicates),
            ("retransmitted", c.retransmitted),
            ("timeout", c.timeouts),
            ("reset_sent", c.resets_sent),
            ("bad_option", c.bad_option),
            ("overloaded", c.overloaded),
            ("amplification_stopped", c.amplification_stopped),
            ("unmatched", c.unmatched),
            ("oversize", socket.oversize.load(Ordering::Relaxed)),
            ("dropped", socket.dropped()),
            ("unsent", socket.unsent.load(Ordering::Relaxed)),
        ];
        for (name, value) in figures {
            fate(name).absolute(value);
        }
        peers.set(f64::from(u32::try_from(known).unwrap_or(u32::MAX)));
        tokio::select! {
            () = stop.requested() => return,
            () = tokio::time::sleep(NETWORK_EVERY) => {}
        }
    }
}

/// How a handshake ends, as `Ended::kind` and the counters have it. Each shows from the start: a
/// series that begins with 1 looks like no growth.
const HANDSHAKE_RESULTS: [&str; 12] = [
    "ok",
    "wrong_key",
    "unknown_identity",
    "frozen",
    "bad_secret",
    "no_suite",
    "no_version",
    "timeout",
    "not_stored",
    "unavailable",
    "throttled",
    "crowded_out",
];

/// Carries the figures of DTLS over to the recorder until `stop`.
pub async fn watch_dtls(figures: dtls::Figures, socket: Arc<udp::Counters>, mut stop: Stop) {
    describe_counter!(
        "strait_dtls_handshakes_total",
        "DTLS handshakes that ended, by result"
    );
    describe_counter!(
        "strait_dtls_records_total",
        "DTLS records and their datagrams, by fate"
    );
    describe_counter!("strait_dtls_cookies_total", "DTLS cookies, by fate");
    describe_counter!(
        "strait_dtls_sessions_total",
        "What happened to DTLS sessions"
    );
    describe_gauge!("strait_dtls_sessions", "DTLS sessions");
    describe_gauge!(
        "strait_dtls_sessions_in_memory",
        "DTLS sessions with their keys in memory"
    );
    describe_gauge!("strait_dtls_handshakes_open", "DTLS handshakes under way");
    for result in HANDSHAKE_RESULTS {
        counter!("strait_dtls_handshakes_total", "result" => result).absolute(0);
    }
    counter!("strait_dtls_sessions_total", "event" => "closed").absolute(0);
    loop {
        let read = figures.read();
        let c = read.counters;
        let unsent = socket.unsent.load(Ordering::Relaxed);
        let records = [
            ("ok", c.records_ok),
            ("replay", c.records_replayed),
            ("bad_mac", c.records_bad_mac),
            ("unknown", c.records_unknown),
            ("plaintext", c.records_plaintext),
            ("malformed", c.records_malformed),
            ("sent", c.records_sent),
            ("unsent", c.unsent + unsent),
            ("amplification_stopped", c.amplification_stopped),
            ("dropped", socket.dropped()),
            ("oversize", socket.oversize.load(Ordering::Relaxed)),
        ];
        for (fate, value) in records {
            counter!("strait_dtls_records_total", "fate" => fate).absolute(value);
        }
        let cookies = [
            ("sent", c.cookies_sent),
            ("valid", c.cookies_valid),
            ("refused", c.cookies_refused),
        ];
        for (fate, value) in cookies {
            counter!("strait_dtls_cookies_total", "fate" => fate).absolute(value);
        }
        let sessions = [
            ("dropped", c.sessions_dropped),
            ("put_away", c.put_away),
            ("brought_back", c.brought_back),
            ("moved", c.moved),
            ("flight_repeated", c.flights_repeated),
            ("final_flight_repeated", c.final_flights_repeated),
        ];
        for (event, value) in sessions {
            counter!("strait_dtls_sessions_total", "event" => event).absolute(value);
        }
        let unfinished = [
            ("unavailable", c.lookups_failed),
            ("throttled", c.throttled),
            ("crowded_out", c.crowded_out),
        ];
        let ended = read.ended.into_iter().chain(unfinished);
        for (result, value) in ended {
            // The one that is no end of a handshake.
            if result == "closed" {
                counter!("strait_dtls_sessions_total", "event" => result).absolute(value);
            } else {
                counter!("strait_dtls_handshakes_total", "result" => result).absolute(value);
            }
        }
        let gauges = [
            ("strait_dtls_handshakes_open", read.handshakes_open),
            ("strait_dtls_sessions", read.sessions),
            ("strait_dtls_sessions_in_memory", read.sessions_in_memory),
        ];
        for (name, value) in gauges {
            gauge!(name).set(f64::from(u32::try_from(value).unwrap_or(u32::MAX)));
        }
        tokio::select! {
            () = stop.requested() => return,
            () = tokio::time::sleep(NETWORK_EVERY) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_filter_is_named() {
        assert!(parse_filter("info,strait::net=debug").is_ok());
        let error = parse_filter("strait=loud").unwrap_err().to_string();
        assert!(error.contains("strait=loud"), "{error}");
    }

    #[test]
    fn seconds_come_in_buckets() {
        let recorder = builder().unwrap().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("strait_test_seconds").record(0.003);
        });
        let text = handle.render();
        assert!(
            text.contains(r#"strait_test_seconds_bucket{le="0.005"} 1"#),
            "{text}"
        );
        assert!(
            text.contains(r#"strait_test_seconds_bucket{le="0.0025"} 0"#),
            "{text}"
        );
    }
}
