//! Durable deadlines of a device. Derived from its state, never kept beside it, so that a restart
//! loses none: the shard's wheel only says when to look.

use crate::base::time::Timestamp;
use crate::engine::presence::Presence;
use crate::engine::registration::expires_at;
use crate::store::records::{DeviceRecord, PresenceRecord, StateRecord};

/// When the device needs a look even if it stays silent: it was not activated in time, its
/// registration ends, its presence changes. `None`: never.
pub fn deadline(device: &DeviceRecord, state: &StateRecord, now: Timestamp) -> Option<Timestamp> {
    // A change that fell into a time when nobody looked is due at once.
    let missed = (Presence::at(now, state.last_seen_at) != presence_of(state)).then_some(now);
    let candidates = [
        missed,
        activation_deadline(device, state),
        registration_deadline(state).filter(|at| *at > now),
        Presence::next_change(now, state.last_seen_at),
    ];
    candidates.into_iter().flatten().min()
}

/// When a device that never connected is deleted.
pub fn activation_deadline(device: &DeviceRecord, state: &StateRecord) -> Option<Timestamp> {
    let timeout_s = u64::from(device.auth.timeout_s);
    let waits = timeout_s > 0 && state.activated_at.is_none();
    waits.then(|| device.created_at.plus_s(timeout_s))
}

/// When the registration ends.
pub fn registration_deadline(state: &StateRecord) -> Option<Timestamp> {
    let registration = state.registration.as_ref()?;
    expires_at(registration.updated_at, registration.lifetime_s)
}

/// The presence that was last told.
pub fn presence_of(state: &StateRecord) -> Presence {
    match state.presence {
        PresenceRecord::Inactive => Presence::Inactive,
        PresenceRecord::Online => Presence::Online,
        PresenceRecord::Abnormal => Presence::Abnormal,
        PresenceRecord::Offline => Presence::Offline,
    }
}
