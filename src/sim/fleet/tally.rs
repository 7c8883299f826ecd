//! Sums of what a fleet did. `sent` counts reports, not datagrams; every report that was sent is in
//! the end acknowledged, failed or went unconfirmed.

use serde::Serialize;

use super::What;
use crate::sim::device::Event;

/// Counts over all devices of a fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    pub registered: u64,
    pub register_failed: u64,
    pub updated: u64,
    pub sent: u64,
    pub acknowledged: u64,
    pub unconfirmed: u64,
    pub retransmitted: u64,
    pub reset: u64,
    pub failed: u64,
    pub downlinks: u64,
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
            What::Finished { lost, repeated } => {
                self.finished += 1;
                self.lost += lost;
                self.repeated += repeated;
            }
            What::Broken { .. } => {
                self.finished += 1;
                self.failed += 1;
            }
        }
    }

    fn count_event(&mut self, event: &Event) {
        match event {
            Event::Registered { .. } => self.registered += 1,
            Event::RegisterFailed { .. } => self.register_failed += 1,
            Event::Updated => self.updated += 1,
            Event::Sent { confirmable, .. } => {
                self.sent += 1;
                self.unconfirmed += u64::from(!confirmable);
            }
            Event::Retransmitted => self.retransmitted += 1,
            Event::Acknowledged { .. } => self.acknowledged += 1,
            Event::Reset { .. } => self.reset += 1,
            Event::Failed { .. } => self.failed += 1,
            Event::Downlink { .. } => self.downlinks += 1,
            Event::Malformed => self.malformed += 1,
            Event::Observed { .. } | Event::Gone | Event::Deregistered { .. } => {}
        }
    }

    /// One line for people.
    pub fn line(&self) -> String {
        format!(
            "sent {}, acknowledged {}, unconfirmed {}, retransmitted {}, reset {}, failed {}",
            self.sent,
            self.acknowledged,
            self.unconfirmed,
            self.retransmitted,
            self.reset,
            self.failed
        )
    }
}
