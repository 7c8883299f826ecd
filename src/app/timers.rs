//! Durable deadlines of a device. Derived from its state, never kept beside it, so that a restart
//! loses none: the shard's wheel only says when to look.

use crate::base::time::Timestamp;
use crate::engine::command;
use crate::engine::presence::Presence;
use crate::engine::registration::expires_at;
use crate::store::commands::{OpenRecord, QueueRecord};
use crate::store::records::{DeviceRecord, PresenceRecord, StateRecord};

/// When the device needs a look even if it stays silent: it was not activated in time, its
/// registration ends, its presence changes, a command is overdue. `None`: never.
pub fn deadline(device: &DeviceRecord, state: &StateRecord, now: Timestamp) -> Option<Timestamp> {
    // A change that fell into a time when nobody looked is due at once.
    let missed = (Presence::at(now, state.last_seen_at) != presence_of(state)).then_some(now);
    let candidates = [
        missed,
        activation_deadline(device, state),
        registration_deadline(state).filter(|at| *at > now),
        Presence::next_change(now, state.last_seen_at),
        queue_deadline(&state.queue),
        state.upgrade.as_ref().and_then(|u| u.engine().deadline()),
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

/// When one of the device's commands needs a look.
pub fn queue_deadline(queue: &QueueRecord) -> Option<Timestamp> {
    let waiting = queue.pending.iter().map(|p| p.expires_at);
    let open = queue
        .open
        .iter()
        .filter_map(|o| command::deadline(open_state(o)));
    waiting.chain(open).min()
}

/// Where an open command stands.
pub const fn open_state(open: &OpenRecord) -> command::State {
    match open.delivered_at {
        Some(at) => command::State::Delivered {
            at,
            answer_within_s: open.response_timeout_s,
        },
        None => command::State::Sent {
            at: open.sent_at,
            waits: open.waits,
        },
    }
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
