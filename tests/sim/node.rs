//! A device of a scene: where it is, what it saw, and its page of the ledger. [`Node::check`] holds
//! that against the server: what was acknowledged is there, once, and nothing was invented.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Instant;

use serde_json::Value;
use strait::base::ids::DeviceId;
use strait::sim::device::{Conduct, Device, Event, Failure, Kind, Reaction, ReportId};
use strait::sim::link::Link;

use crate::flight::Flight;
use crate::server::Server;
use crate::session::Session;

/// Forbidden: what a raw device hears whose address is not known.
const FORBIDDEN: Failure = Failure::Refused(0x83);

/// A device, where it is and what it knows.
pub(crate) struct Node {
    pub(crate) device: Device,
    pub(crate) kind: Kind,
    /// On the server.
    pub(crate) device_id: String,
    pub(crate) address: SocketAddr,
    /// Without power it neither hears nor sends, and its timers stand.
    pub(crate) is_off: bool,
    pub(crate) sleeps: bool,
    pub(crate) events: Vec<Event>,
    pub(crate) awake_until: Instant,
    pub(crate) up: Link,
    pub(crate) down: Link,
    pub(crate) volumes: BTreeMap<ReportId, u64>,
    pub(crate) session: Option<Session>,
    pub(crate) conduct: Conduct,
    /// What the server has under way to it.
    pub(crate) flight: Flight,
}

impl Node {
    pub(crate) fn is_awake(&self, now: Instant) -> bool {
        !self.sleeps || now <= self.awake_until
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let deadlines = [
            self.device.deadline(),
            self.up.deadline(),
            self.down.deadline(),
        ];
        let next = deadlines.into_iter().flatten().min();
        next.filter(|_| !self.is_off)
    }

    /// Hands downlinks to an application.
    pub(crate) fn equip(
        &mut self,
        application: impl FnMut(&[u8]) -> Reaction + Send + Sync + 'static,
    ) {
        self.device.set_application(application);
    }

    pub(crate) fn id(&self) -> DeviceId {
        DeviceId::parse(&self.device_id).unwrap()
    }

    pub(crate) fn count(&self, is_it: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| is_it(event)).count()
    }

    pub(crate) fn registrations(&self) -> usize {
        self.count(|event| matches!(event, Event::Registered { .. }))
    }

    /// Volumes of the reports that the device saw acknowledged.
    pub(crate) fn acknowledged(&self) -> BTreeSet<u64> {
        let ids = self.events.iter().filter_map(|event| match event {
            Event::Acknowledged { report } => Some(report),
            _ => None,
        });
        ids.map(|id| self.volumes[id]).collect()
    }

    /// Volumes in the device's history, in order.
    pub(crate) fn history(&self, server: &Server) -> Vec<u64> {
        volumes(&server.history(&self.device_id))
    }

    /// What was acknowledged is there, nothing is there twice, nothing was invented, the events
    /// tell the same, and the server never denied that it knows the device.
    pub(crate) fn check(&self, server: &Server) {
        let id = &self.device_id;
        let history = self.history(server);
        let once: BTreeSet<u64> = history.iter().copied().collect();
        assert_eq!(once.len(), history.len(), "{id}: twice in {history:?}");
        let lost: Vec<_> = self.acknowledged().difference(&once).copied().collect();
        assert!(lost.is_empty(), "{id}: acknowledged and lost: {lost:?}");
        let sent = self.events.iter().filter_map(|event| match event {
            Event::Sent { report, .. } => Some(self.volumes[report]),
            _ => None,
        });
        let sent: BTreeSet<u64> = sent.collect();
        assert!(once.is_subset(&sent), "{id}: invented: {history:?}");
        let told = volumes(&server.reported_events(id));
        assert_eq!(told, history, "{id}: events and history differ");
        for event in &self.events {
            let is_fine = match event {
                Event::Gone | Event::Reset { .. } | Event::Malformed => false,
                Event::Failed { failure, .. } | Event::RegisterFailed { failure } => {
                    match failure {
                        Failure::Refused(_) => {
                            let is_raw = self.kind == Kind::Raw && self.session.is_none();
                            *failure == FORBIDDEN && is_raw
                        }
                        Failure::Reset | Failure::TooLong => false,
                        _ => true,
                    }
                }
                _ => true,
            };
            assert!(is_fine, "{id}: {event:?}");
        }
    }
}

fn volumes(reported: &[Value]) -> Vec<u64> {
    let reported = reported.iter();
    reported.map(|r| r["volume"].as_u64().unwrap()).collect()
}
