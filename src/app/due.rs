//! What a device needs without having sent anything: a timer fired, or the API changed it.

use super::command::reply::overdue;
use super::directory::Placement;
use super::step::{Draft, Loaded, Note, Outcome, Step};
use super::timers::{activation_deadline, deadline};
use super::upgrade;
use super::wake::wake;
use crate::base::time::Timestamp;
use crate::engine::presence::Presence;
use crate::store::records::ObservationStatus;

/// A timer fired: look what is due.
pub fn due(loaded: &Loaded, now: Timestamp) -> Step {
    let Loaded { device, state, .. } = loaded;
    if activation_deadline(device, state).is_some_and(|at| at <= now) {
        return Step {
            is_overdue: true,
            ..Step::default()
        };
    }
    let mut draft = Draft::new(loaded, now);
    let presence = draft.judge_presence();
    let mut changed = presence | overdue(&mut draft) | upgrade::drive::overdue(&mut draft);
    changed |= wake(&mut draft);
    if changed {
        let mut step = draft.finish(Outcome::Done);
        if presence {
            let presence = Presence::at(now, state.last_seen_at).as_str();
            step.note = Some(Note::new(format!("silent for long: {presence}")));
        }
        return step;
    }
    // An ended registration changes nothing durable: it follows from the state. The device can't
    // be reached any more, and its address may be another's by now.
    Step {
        placement: Some(Placement::of(device, state, now)),
        deadline: deadline(device, state, now),
        ..draft.entries_only()
    }
}

/// The API changed the device. A frozen one is asked to observe again once it may come back; the
/// rest only moves its timer.
pub fn changed(loaded: &Loaded, now: Timestamp) -> Step {
    let Loaded { device, state, .. } = loaded;
    let established = |s: &ObservationStatus| *s == ObservationStatus::Established;
    if device.frozen && state.observations.iter().any(|o| established(&o.status)) {
        let mut draft = Draft::new(loaded, now);
        for observation in &mut draft.state.observations {
            observation.status = ObservationStatus::Asked;
        }
        return draft.finish(Outcome::Done);
    }
    Step {
        placement: Some(Placement::of(device, state, now)),
        deadline: deadline(device, state, now),
        // What waits may go when it is not frozen any more.
        follow: !device.frozen && !state.queue.pending.is_empty(),
        ..Step::default()
    }
}
