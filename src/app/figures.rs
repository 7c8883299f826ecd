//! Counters of the device side, in one place so that the names on `/metrics` are found here.

use metrics::{Counter, counter, describe_counter};

use super::command::transit::status_word;
use super::step::{Count, Outcome};
use crate::engine::limit::Limit;
use crate::store::commands::CommandStatus;

/// What a command comes to after `PENDING`.
const COMMAND_STATUSES: [CommandStatus; 6] = [
    CommandStatus::Sent,
    CommandStatus::Delivered,
    CommandStatus::Successful,
    CommandStatus::Failed,
    CommandStatus::Timeout,
    CommandStatus::Expired,
];

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
    fragments: Counter,
    /// Refused because the device sends more than its limit.
    pub limited: Counter,
}

fn alarms(limit: Limit) -> Counter {
    counter!("strait_limit_alarms_total", "limit" => limit.as_str())
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
        let plain = [
            (
                "strait_refused_total",
                "Messages of known devices that were refused",
            ),
            (
                "strait_strangers_total",
                "Requests of nobody known, or for nothing that exists",
            ),
            (
                "strait_unavailable_total",
                "Not acknowledged because not durable",
            ),
            (
                "strait_overloaded_total",
                "Refused because too much waited for one device",
            ),
            (
                "strait_limited_total",
                "Messages refused because their device sends more than its limit",
            ),
            (
                "strait_package_bytes_total",
                "Bytes of packages that devices fetched over CoAP, repetitions too",
            ),
        ];
        for (name, text) in plain {
            describe_counter!(name, text);
        }
        describe_counter!(
            "strait_commands_total",
            "Commands that came to a status, property sets and answers of codecs among them"
        );
        describe_counter!(
            "strait_upgrades_fragments_total",
            "Fragments of packages that went to devices over PCP, repetitions too"
        );
        describe_counter!(
            "strait_limit_alarms_total",
            "Episodes in which a device sent more than a limit, by limit"
        );
        // Known to Prometheus before the first one happens.
        for limit in [Limit::PerSecond, Limit::PerMinute] {
            alarms(limit).increment(0);
        }
        for status in COMMAND_STATUSES {
            count_command(status, 0);
        }
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
            fragments: counter!("strait_upgrades_fragments_total"),
            limited: counter!("strait_limited_total"),
        }
    }

    /// Counts an episode over a limit.
    pub fn count_alarm(&self, limit: Limit) {
        alarms(limit).increment(1);
    }

    /// Counts what else a step did.
    pub fn add(&self, counts: &[Count]) {
        for count in counts {
            match count {
                Count::Command(status) => count_command(*status, 1),
                Count::Fragment => self.fragments.increment(1),
            }
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

fn count_command(status: CommandStatus, by: u64) {
    counter!("strait_commands_total", "status" => status_word(status)).increment(by);
}

impl Default for Figures {
    fn default() -> Self {
        Self::new()
    }
}
