//! The desired half of a device's shadow changes: one durable step on the device's shard.

use serde_json::{Map, Value, json};

use super::check::{misfits, oversize};
use crate::app::command::send::is_reachable;
use crate::app::command::submit::add;
use crate::app::order::{Desire, DesiredService, OrderError, Told, Wish};
use crate::app::step::{Draft, Loaded, Outcome, Step};
use crate::app::trace::{Direction, TraceEntry};
use crate::base::time::Timestamp;
use crate::engine::shadow::merge_desired;
use crate::product::check::Violation;
use crate::store::records::ShadowRecord;

/// Changes what is desired, all of it or nothing. Its answer follows the commit; what the device lacks goes
/// down in a step of its own, at once when it listens.
pub fn desire(loaded: &Loaded, desire: &Desire, now: Timestamp) -> Step {
    let mut draft = Draft::new(loaded, now);
    let told = |draft: &Draft<'_>| Some(Ok(Told::Shadow(draft.state.shadow.clone())));
    match &desire.what {
        Wish::Set(services) => {
            if let Err(error) = set(&mut draft, services) {
                return Step {
                    told: Some(Err(error)),
                    ..Step::default()
                };
            }
            draft.follow = is_reachable(&draft);
        }
        Wish::Clear => {
            draft.state.shadow.clear();
            draft.state.queue.attempts.clear();
            tell(&mut draft, "the shadow was cleared".to_owned(), None);
        }
    }
    let beside = &desire.beside;
    let is_alone = beside.guards.is_empty() && beside.changes.is_empty();
    if draft.state == loaded.state && is_alone {
        return Step {
            told: told(&draft),
            ..Step::default()
        };
    }
    add(&mut draft, beside);
    let answer = told(&draft);
    let mut step = draft.finish(Outcome::Done);
    step.told = answer;
    step
}

fn set(draft: &mut Draft<'_>, services: &[DesiredService]) -> Result<(), OrderError> {
    judge(draft, services)?;
    for wish in services {
        let at = place_of(draft, &wish.service_id);
        let now = draft.now;
        let Some(known) = draft.state.shadow.get_mut(at) else {
            continue;
        };
        let changed = merge_desired(&mut known.desired, &wish.desired);
        known.version = known.version.saturating_add(1);
        known.desired_at = Some(now);
        let summary = format!("{} is desired, version {}", wish.service_id, known.version);
        try_anew(draft, &wish.service_id, &changed);
        tell(draft, summary, Some(json!({ "desired": wish.desired })));
    }
    match oversize(&draft.loaded.state.shadow, &draft.state.shadow) {
        Some(violation) => Err(OrderError::Model(vec![violation])),
        None => Ok(()),
    }
}

/// Nothing is changed unless all of it can be.
fn judge(draft: &Draft<'_>, services: &[DesiredService]) -> Result<(), OrderError> {
    let shadow = &draft.state.shadow;
    for (at, wish) in services.iter().enumerate() {
        let known = shadow.iter().find(|s| s.service_id == wish.service_id);
        let is = known.map_or(0, |known| known.version);
        if let Some(got) = wish.version.filter(|got| *got != is) {
            return Err(OrderError::Version { at, got, is });
        }
        let before = services.iter().take(at);
        if before
            .into_iter()
            .any(|other| other.service_id == wish.service_id)
        {
            let message = format!("names {} again, takes each once", wish.service_id);
            return Err(OrderError::Model(vec![Violation {
                path: format!("shadow[{at}].service_id"),
                message,
                kind: "duplicate",
            }]));
        }
    }
    let product = draft.loaded.product.as_ref().ok_or(OrderError::NotFound)?;
    // What the model has not any more can still be taken back.
    let is_known = |id: &str| shadow.iter().any(|s| s.service_id == id);
    let takes_back = |wish: &DesiredService| {
        wish.desired.values().all(Value::is_null) && is_known(&wish.service_id)
    };
    let wishes = services.iter().enumerate();
    let wishes = wishes
        .filter(|(_, wish)| !takes_back(wish))
        .map(|(at, wish)| (at, wish.service_id.as_str(), &wish.desired));
    let found = misfits(&product.record.profile, wishes);
    match found.is_empty() {
        true => Ok(()),
        false => Err(OrderError::Model(found)),
    }
}

/// Where the service is in the shadow; from now on, if it was not.
fn place_of(draft: &mut Draft<'_>, service_id: &str) -> usize {
    let shadow = &mut draft.state.shadow;
    let known = shadow.iter().position(|s| s.service_id == service_id);
    known.unwrap_or_else(|| {
        shadow.push(ShadowRecord {
            service_id: service_id.to_owned(),
            version: 0,
            reported: Map::new(),
            reported_at: None,
            desired: Map::new(),
            desired_at: None,
        });
        shadow.len() - 1
    })
}

/// What is desired anew has not been tried yet. What was not changed waits as before.
fn try_anew(draft: &mut Draft<'_>, service_id: &str, changed: &[String]) {
    if changed.is_empty() {
        return;
    }
    let last_heard = draft.state.last_seen_at;
    let attempts = &mut draft.state.queue.attempts;
    if let Some(attempt) = attempts.iter_mut().find(|a| a.service_id == service_id) {
        attempt.sent.retain(|name| !changed.contains(name));
        attempt.taken.retain(|name| !changed.contains(name));
        // As if it had ended when the device was last heard: a silence since then holds up nothing new.
        let heard = last_heard.unwrap_or(attempt.last_at);
        attempt.last_at = attempt.last_at.min(heard);
    }
    attempts.retain(|a| !a.sent.is_empty() || !a.taken.is_empty());
}

fn tell(draft: &mut Draft<'_>, summary: String, detail: Option<Value>) {
    draft.entries.push(TraceEntry {
        time: draft.now,
        kind: "shadow",
        direction: Direction::Platform,
        summary,
        hex: None,
        detail,
        error: None,
        hint: None,
        unbound_only: false,
    });
}
