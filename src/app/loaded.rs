//! What a step reads: a device as it is when an input comes.

use std::sync::Arc;
use std::time::Duration;

use super::directory::peer_of;
use super::input::{From, Origin};
use super::note::Refusal;
use super::product::ProductRuntime;
use super::upgrading::Package;
use crate::base::peer::{DeviceSeq, Mark, Peer};
use crate::base::time::Timestamp;
use crate::engine::admission::coverage::Table;
use crate::engine::exchange::Timing;
use crate::product::codec::call::Memo;
use crate::product::settings::CoapTiming;
use crate::store::commands::{CommandRecord, SubmissionRecord};
use crate::store::records::{
    DeviceRecord, ObservationStatus, RecentRecord, RegistrationRecord, StateRecord,
};

/// What a step reads.
#[derive(Debug)]
pub struct Loaded {
    pub device: DeviceRecord,
    pub state: StateRecord,
    pub product: Option<Arc<ProductRuntime>>,
    /// What is known of the product's codec when that runs elsewhere: it stands for it.
    pub memo: Option<Memo>,
    /// Rows of the commands that the step may change: the open ones, the next that waits, those that are
    /// overdue, and the one that a late answer may be for.
    pub commands: Vec<CommandRecord>,
    /// Which radio is which level of coverage.
    pub levels: Table,
    /// Of the device's upgrade; `None`: it has none, or the package is gone.
    pub package: Option<Arc<Package>>,
    /// What the order's name has made before, if it has one.
    pub submitted: Option<(SubmissionRecord, Option<CommandRecord>)>,
    /// Commands that may wait for one device.
    pub pending_max: usize,
    /// The state is ahead of the stored one by what need not be durable; so many message ids are
    /// reserved for that.
    pub ids_reserved: u16,
    /// Another device was heard later from the address where this one registered.
    pub is_displaced: bool,
    /// Who caused the input; `None` for what the device has no part in.
    pub origin: Option<Origin>,
    /// Somebody reads what happens with the device: entries for its trace are worth their making.
    pub is_traced: bool,
    /// When this process started.
    pub started_at: Timestamp,
    /// Numbers that nobody can guess.
    pub random: fn() -> u64,
}

impl Loaded {
    /// The product's transmission parameters.
    pub fn timing(&self) -> Timing {
        let coap = self
            .product
            .as_ref()
            .map(|p| p.settings.coap)
            .unwrap_or_default();
        let CoapTiming {
            ack_timeout_s,
            max_retransmit,
            exchange_lifetime_s,
        } = coap;
        let seconds = |s: f64| Duration::try_from_secs_f64(s).unwrap_or_default();
        Timing {
            ack_timeout: seconds(ack_timeout_s),
            max_retransmit,
            exchange_lifetime: seconds(exchange_lifetime_s),
        }
    }

    /// Why `peer` may not speak for the device, if so: the one place where that is judged.
    pub fn refusal(&self, peer: Peer) -> Option<Refusal> {
        match peer {
            Peer::Secured(seq) if seq != DeviceSeq(self.device.seq) => Some(Refusal::Foreign),
            Peer::Plain(_) | Peer::Secured(_) if self.device.frozen => Some(Refusal::Frozen),
            Peer::Plain(_) if self.device.auth.is_secured() => Some(Refusal::Unsecured),
            Peer::Plain(_) | Peer::Secured(_) => None,
        }
    }

    /// The record that the input came in.
    pub(super) fn mark(&self) -> Option<Mark> {
        self.origin.and_then(|origin| origin.mark)
    }

    /// Where the device is reached according to `state`.
    pub fn peer_in(&self, state: &StateRecord) -> Option<Peer> {
        let registration = state.registration.as_ref();
        registration.map(|r| peer_of(&self.device, r))
    }

    /// Whether this datagram had its effect before.
    pub fn is_duplicate(&self, from: From, now: Timestamp) -> bool {
        let timing = self.timing();
        let lifetime_ms = as_ms(timing.exchange_lifetime);
        // A body that is sent anew from the address where this process would know its transfer
        // repeats only what a former process took, and only while the device waits for an answer.
        let here = self
            .state
            .registration
            .as_ref()
            .is_some_and(|r| peer_of(&self.device, r) == from.origin.peer);
        let (before, within_ms) = match (from.is_new_transfer, here) {
            (true, true) => (self.started_at, as_ms(timing.max_transmit_wait())),
            (true, false) => (now.plus_ms(1), as_ms(timing.max_transmit_wait())),
            (false, _) => (now.plus_ms(1), lifetime_ms),
        };
        let is_it = |r: &RecentRecord| {
            r.key == from.key && r.at < before && now.since_ms(r.at) < within_ms.min(lifetime_ms)
        };
        self.state.recent.iter().any(is_it)
    }

    /// Something that a former process sent is not acknowledged, and nobody carries it.
    pub fn is_anything_forgotten(&self) -> bool {
        let mut open = self.state.queue.open.iter();
        open.any(|o| !o.waits && o.delivered_at.is_none() && o.carried_at < self.started_at)
    }

    /// The device may have ended its observations: they are to be asked for again.
    pub fn doubt_observations(&mut self) {
        for observation in &mut self.state.observations {
            if observation.status == ObservationStatus::Established {
                observation.status = ObservationStatus::Asked;
                observation.asked_at = Timestamp::from_ms(0);
            }
        }
    }
}

/// From now on the device is reached where this came from.
pub fn place(registration: &mut RegistrationRecord, origin: Origin) {
    registration.peer = origin.address();
    registration.secured = origin.is_secured();
}

pub(super) fn as_ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
