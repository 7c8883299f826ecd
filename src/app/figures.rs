//! Counters of the device side, in one place so that the names on `/metrics` are found here.

use metrics::{Counter, counter, describe_counter};

use super::step::Outcome;

/// Handles made once: counting costs one atomic addition.
pub struct Figures {
    reported: Counter,
    undecodable: Counter,
    empty: Counter,
    duplicate: Counter,
    refused: Counter,
    registered: Counter,
    updated: Counter,
    deregistered: Counter,
    /// Not durable, so not acknowledged.
    pub unavailable: Counter,
    /// Refused because too much waited.
    pub overloaded: Counter,
    /// Requests for resources that do not exist, from devices nobody knows, and the like.
    pub strangers: Counter,
    /// Blocks of packages, and their bytes.
    pub package_blocks: Counter,
    pub package_bytes: Counter,
}

impl Figures {
    /// Registers the names with the process's recorder.
    pub fn new() -> Self {
        describe_counter!(
            "strait_uplinks_total",
            "Messages with data from devices, by result"
        );
        describe_counter!(
            "strait_registrations_total",
            "Registration messages, by operation"
        );
        describe_counter!(
            "strait_package_blocks_total",
            "Blocks of packages that devices fetched over CoAP, repetitions too"
        );
        // Known to Prometheus before the first one happens.
        counter!("strait_bugs_total").increment(0);
        counter!("strait_store_failed_batches_total").increment(0);
        let uplink = |result: &'static str| counter!("strait_uplinks_total", "result" => result);
        let registration = |operation: &'static str| counter!("strait_registrations_total", "operation" => operation);
        Self {
            reported: uplink("reported"),
            undecodable: uplink("undecodable"),
            empty: uplink("empty"),
            duplicate: uplink("duplicate"),
            refused: counter!("strait_refused_total"),
            registered: registration("register"),
            updated: registration("update"),
            deregistered: registration("deregister"),
            unavailable: counter!("strait_unavailable_total"),
            overloaded: counter!("strait_overloaded_total"),
            strangers: counter!("strait_strangers_total"),
            package_blocks: counter!("strait_package_blocks_total"),
            package_bytes: counter!("strait_package_bytes_total"),
        }
    }

    /// Counts how an input ended.
    pub fn count(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Done => return,
            Outcome::Reported => &self.reported,
            Outcome::Undecodable => &self.undecodable,
            Outcome::Empty => &self.empty,
            Outcome::Duplicate => &self.duplicate,
            Outcome::Refused => &self.refused,
            Outcome::Registered => &self.registered,
            Outcome::Updated => &self.updated,
            Outcome::Deregistered => &self.deregistered,
        };
        counter.increment(1);
    }
}

impl Default for Figures {
    fn default() -> Self {
        Self::new()
    }
}
