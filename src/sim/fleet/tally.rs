//! Sums of what a fleet did. `sent` counts reports, not datagrams; every report that was sent is in
//! the end acknowledged, failed or went unconfirmed.

use std::collections::BTreeMap;

use serde::Serialize;

use super::What;
use crate::sim::device::Event;
use crate::sim::upgrade;

/// Counts over all devices of a fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    pub registered: u64,
    pub register_failed: u64,
    /// Failed registrations by code or kind: `4.03`, `timeout`.
    pub register_failures: BTreeMap<String, u64>,
    /// Sessions that stood, and handshakes that failed, with why.
    pub handshakes: u64,
    pub handshake_failed: u64,
    pub handshake_failures: BTreeMap<String, u64>,
    /// Sessions that the server ended.
    pub sessions_ended: u64,
    pub updated: u64,
    pub sent: u64,
    pub acknowledged: u64,
    pub unconfirmed: u64,
    pub retransmitted: u64,
    pub reset: u64,
    pub failed: u64,
    /// Failed reports by code or kind.
    pub failures: BTreeMap<String, u64>,
    /// Downlinks that arrived, refused ones too, and those that an application executed.
    pub downlinks: u64,
    pub executed: u64,
    /// Requests that came again and were recognised.
    pub repeated_requests: u64,
    /// Answers to downlinks, failed ones among them, and why.
    pub answers: u64,
    pub answers_failed: u64,
    pub answer_failures: BTreeMap<String, u64>,
    pub rebooted: u64,
    pub upgrades: UpgradeTally,
    pub malformed: u64,
    pub moved: u64,
    pub finished: u64,
    pub lost: u64,
    pub repeated: u64,
}

impl Tally {
    pub fn count(&mut self, what: &What) {
        match what {
            What::Device(event) => self.count_event(event),
            What::Moved(_) => self.moved += 1,
            What::Connected(_) => self.handshakes += 1,
            What::HandshakeFailed(failure) => {
                self.handshake_failed += 1;
                add(&mut self.handshake_failures, failure.kind());
            }
            What::SessionEnded => self.sessions_ended += 1,
            What::Finished { lost, repeated } => {
                self.finished += 1;
                self.lost += lost;
                self.repeated += repeated;
            }
            What::Broken { .. } => {
                self.finished += 1;
                self.failed += 1;
                add(&mut self.failures, "gave_up".to_owned());
            }
        }
    }

    fn count_event(&mut self, event: &Event) {
        match event {
            Event::Registered { .. } => self.registered += 1,
            Event::RegisterFailed { failure } => {
                self.register_failed += 1;
                add(&mut self.register_failures, failure.reason());
            }
            Event::Updated => self.updated += 1,
            Event::Sent { confirmable, .. } => {
                self.sent += 1;
                self.unconfirmed += u64::from(!confirmable);
            }
            Event::Retransmitted => self.retransmitted += 1,
            Event::Acknowledged { .. } => self.acknowledged += 1,
            Event::Reset { .. } => self.reset += 1,
            Event::Failed { failure, .. } => {
                self.failed += 1;
                add(&mut self.failures, failure.reason());
            }
            Event::Downlink { .. } => self.downlinks += 1,
            Event::Malformed => self.malformed += 1,
            Event::Executed { .. } => self.executed += 1,
            Event::Repeated { .. } => self.repeated_requests += 1,
            Event::AnswerSent { .. } => self.answers += 1,
            Event::AnswerFailed { failure } => {
                self.answers_failed += 1;
                add(&mut self.answer_failures, failure.reason());
            }
            Event::Upgrade(event) => self.upgrades.count(event),
            Event::Rebooted => self.rebooted += 1,
            Event::Observed { .. }
            | Event::AnswerAcknowledged
            | Event::Gone
            | Event::Unanswered
            | Event::Deregistered { .. } => {}
        }
    }

    /// One line for people; what failed with why, when anything did.
    pub fn line(&self) -> String {
        let mut line = format!(
            "sent {}, acknowledged {}, unconfirmed {}, retransmitted {}, reset {}, failed {}{}",
            self.sent,
            self.acknowledged,
            self.unconfirmed,
            self.retransmitted,
            self.reset,
            self.failed,
            reasons(&self.failures),
        );
        if self.register_failed > 0 {
            let why = reasons(&self.register_failures);
            line += &format!("; registrations failed {}{why}", self.register_failed);
        }
        if self.handshakes + self.handshake_failed > 0 {
            let why = reasons(&self.handshake_failures);
            line += &format!(
                "; handshakes {}, failed {}{why}",
                self.handshakes, self.handshake_failed
            );
        }
        if self.downlinks > 0 {
            line += &format!(
                "; downlinks {}, executed {}, answers {}, failed {}{}",
                self.downlinks,
                self.executed,
                self.answers,
                self.answers_failed,
                reasons(&self.answer_failures),
            );
        }
        if self.upgrades != UpgradeTally::default() {
            line += &self.upgrades.text();
        }
        if self.sessions_ended > 0 {
            line += &format!(", sessions ended by the server {}", self.sessions_ended);
        }
        line
    }
}

/// What the devices say of their upgrades.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UpgradeTally {
    pub offered: u64,
    pub refused: u64,
    pub downloaded: u64,
    /// Images that were not the expected one, whole or in the making.
    pub wrong: u64,
    pub executed: u64,
    pub installed: u64,
    pub failed: u64,
    /// Refusals and failures by the result that the device gave: `5`.
    pub results: BTreeMap<String, u64>,
    /// Results that the server took.
    pub confirmed: u64,
    pub power_lost: u64,
}

impl UpgradeTally {
    fn count(&mut self, event: &upgrade::Event) {
        match event {
            upgrade::Event::Offered { .. } => self.offered += 1,
            upgrade::Event::Refused { result } => {
                self.refused += 1;
                add(&mut self.results, result.to_string());
            }
            upgrade::Event::Downloaded { intact, .. } => {
                self.downloaded += 1;
                self.wrong += u64::from(*intact == Some(false));
            }
            upgrade::Event::Executed { .. } => self.executed += 1,
            upgrade::Event::Installed { .. } => self.installed += 1,
            upgrade::Event::Failed { result } => {
                self.failed += 1;
                add(&mut self.results, result.to_string());
            }
            upgrade::Event::Confirmed => self.confirmed += 1,
            upgrade::Event::PowerLost { .. } => self.power_lost += 1,
            upgrade::Event::Progress { .. } | upgrade::Event::PowerBack => {}
        }
    }

    fn text(&self) -> String {
        let mut text = format!(
            "; upgrades offered {}, refused {}, downloaded {}, installed {}, failed {}{}",
            self.offered,
            self.refused,
            self.downloaded,
            self.installed,
            self.failed,
            reasons(&self.results),
        );
        if self.wrong > 0 {
            text += &format!(", WRONG IMAGES {}", self.wrong);
        }
        text
    }
}

fn add(counts: &mut BTreeMap<String, u64>, reason: String) {
    *counts.entry(reason).or_default() += 1;
}

/// ` (4.03 12, timeout 3)`, or nothing.
fn reasons(counts: &BTreeMap<String, u64>) -> String {
    let each: Vec<_> = counts.iter().map(|(why, n)| format!("{why} {n}")).collect();
    if each.is_empty() {
        String::new()
    } else {
        format!(" ({})", each.join(", "))
    }
}
