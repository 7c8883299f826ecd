//! How an action's pushes are doing, for whoever asks; and the counters of all of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::host::Host;
use crate::base::time::Timestamp;

/// The status of one action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Delivery")]
pub struct Status {
    pub state: DeliveryState,
    pub backlog: Backlog,
    /// Pushes that the subscriber took.
    pub delivered: u64,
    /// Tries that failed.
    pub failed: u64,
    /// Pushes that are set aside now.
    pub set_aside: u64,
    /// Pushes that were dropped, by size or age of the backlog.
    pub dropped: u64,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When the subscriber's host is tried again.
    #[serde(serialize_with = "time")]
    #[schemars(with = "Option<String>")]
    pub paused_until: Option<Timestamp>,
}

/// Whether pushes leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    Active,
    /// The host failed too often, and is tried again later.
    Paused,
    /// The rule is not active.
    Idle,
}

/// What is not delivered yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Backlog {
    pub events: u64,
    pub bytes: u64,
    #[serde(serialize_with = "time")]
    #[schemars(with = "Option<String>")]
    pub oldest_time: Option<Timestamp>,
}

fn time<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(Timestamp::rfc3339_ms).serialize(serializer)
}

/// Where a worker tells how it is doing.
#[derive(Debug, Default)]
pub struct Board {
    told: Mutex<Told>,
}

/// What a worker tells.
#[derive(Debug, Default)]
pub struct Told {
    pub is_active: bool,
    pub backlog: Backlog,
    pub delivered: u64,
    pub failed: u64,
    pub set_aside: u64,
    pub dropped: u64,
    pub last_error: Option<String>,
    pub host: Option<Arc<Host>>,
}

impl Board {
    pub fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn status(&self) -> Status {
        let told = self.told();
        let paused_until = told.host.as_ref().and_then(|host| host.paused_until());
        let paused_until = paused_until.filter(|_| told.is_active);
        Status {
            state: match (told.is_active, paused_until) {
                (false, _) => DeliveryState::Idle,
                (true, Some(_)) => DeliveryState::Paused,
                (true, None) => DeliveryState::Active,
            },
            backlog: told.backlog,
            delivered: told.delivered,
            failed: told.failed,
            set_aside: told.set_aside,
            dropped: told.dropped,
            last_error: told.last_error.clone(),
            paused_until,
        }
    }
}

/// Handles made once: counting costs one atomic addition.
pub struct Figures {
    pub delivered: Counter,
    pub refused: Counter,
    pub set_aside: Counter,
    pub dropped: Counter,
    pub backlog_events: Gauge,
    pub backlog_bytes: Gauge,
}

impl Figures {
    /// Registers the names with the process's recorder.
    pub fn new() -> Self {
        let counters = [
            (
                "strait_push_delivered_total",
                "Pushes that subscribers took",
            ),
            (
                "strait_push_refused_total",
                "Tries answered with another status than 200",
            ),
            (
                "strait_push_failed_total",
                "Tries without an answer, by kind",
            ),
            (
                "strait_push_set_aside_total",
                "Pushes refused so often that they were set aside",
            ),
            (
                "strait_push_dropped_total",
                "Pushes dropped by size or age of the backlog",
            ),
        ];
        for (name, text) in counters {
            describe_counter!(name, text);
        }
        describe_gauge!(
            "strait_push_paused_hosts",
            "Hosts of subscribers that pause"
        );
        describe_gauge!("strait_push_backlog_events", "Pushes not delivered yet");
        describe_gauge!(
            "strait_push_backlog_bytes",
            "Bytes of pushes not delivered yet"
        );
        gauge!("strait_push_paused_hosts").increment(0.0);
        Self {
            delivered: counter!("strait_push_delivered_total"),
            refused: counter!("strait_push_refused_total"),
            set_aside: counter!("strait_push_set_aside_total"),
            dropped: counter!("strait_push_dropped_total"),
            backlog_events: gauge!("strait_push_backlog_events"),
            backlog_bytes: gauge!("strait_push_backlog_bytes"),
        }
    }

    /// Counts a try without an answer. `kind`: one of a few words.
    pub fn count_failed(&self, kind: &'static str) {
        counter!("strait_push_failed_total", "kind" => kind).increment(1);
    }

    /// Moves the sums of all actions from what one of them told before to what it tells now.
    pub fn move_backlog(&self, before: Backlog, now: Backlog) {
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        let shift = |gauge: &Gauge, before: u64, now: u64| match before.cmp(&now) {
            std::cmp::Ordering::Equal => {}
            std::cmp::Ordering::Less => gauge.increment((now - before) as f64),
            std::cmp::Ordering::Greater => gauge.decrement((before - now) as f64),
        };
        shift(&self.backlog_events, before.events, now.events);
        shift(&self.backlog_bytes, before.bytes, now.bytes);
    }
}

impl Default for Figures {
    fn default() -> Self {
        Self::new()
    }
}
