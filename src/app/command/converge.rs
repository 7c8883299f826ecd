//! How a device gets where it shall be: what is desired of it and was not reported so goes down as
//! property sets, one at a time, behind all commands.
//!
//! A set that is acknowledged proves nothing: only a report shows what the device made of it. So what was
//! sent and is still not reported is sent again, in rounds: each property once in a round (a codec may
//! need several messages for them), and the next round only when the device has shown itself since
//! and a wait has passed, which doubles from a minute to a day. A device that refuses,
//! rounds, or forgets a value costs one set a day in the end. What is desired anew, or differs anew,
//! goes at once.
//!
//! All of that is in the state ([`AttemptRecord`]), so a restart changes nothing; no timer is needed,
//! since a device that says nothing is not tried again.

use serde_json::{Map, Value, json};

use super::send::{Message, next_mid, send_unasked, unasked};
use crate::app::codec_call::StepCodec;
use crate::app::product::ProductRuntime;
use crate::app::step::Draft;
use crate::app::trace::{Direction, TraceEntry};
use crate::base::time::Timestamp;
use crate::engine::shadow::difference;
use crate::product::check;
use crate::product::codec::{CodecError, EncodeProperties, PropertySet};
use crate::product::profile::{DataType, Service};
use crate::store::commands::{AttemptRecord, CommandRecord, CommandStatus, DownlinkKind};
use crate::store::records::ShadowRecord;

/// Wait after the first round: a device that reports what it took over does so within seconds, in the
/// same radio session.
const WAIT_FIRST_S: u64 = 60;
/// The longest wait: one set a day is within the budget of a battery.
const WAIT_MAX_S: u64 = 86_400;
/// Properties tried one by one, when all of them together can't be encoded.
const SINGLES_MAX: usize = 64;

/// What a device lacks of one service.
struct Lack {
    service_id: String,
    wanted: Map<String, Value>,
    /// Reported, overlaid with desired.
    known: Map<String, Value>,
}

/// Sends a difference between what is desired and what was reported, if it is its turn. True when anything
/// changed.
pub fn converge(draft: &mut Draft<'_>) -> bool {
    let is_set = |kind: DownlinkKind| kind == DownlinkKind::Properties;
    if draft.state.queue.open.iter().any(|o| is_set(o.kind)) {
        return false;
    }
    let Some(product) = draft.loaded.product.clone() else {
        return false;
    };
    let shadow = draft.state.shadow.iter();
    let mut lacks: Vec<Lack> = shadow.filter_map(|one| lack_of(&product, one)).collect();
    let mut changed = settle(draft, &lacks);
    for lack in &mut lacks {
        let attempts = draft.state.queue.attempts.iter();
        for attempt in attempts.filter(|a| a.service_id == lack.service_id) {
            lack.wanted.retain(|name, _| !attempt.taken.contains(name));
        }
    }
    lacks.retain(|lack| !lack.wanted.is_empty());
    for lack in &lacks {
        let Some((wanted, begins)) = turn_of(draft, lack) else {
            continue;
        };
        changed = true;
        if send(draft, lack, &wanted, begins) {
            break;
        }
    }
    changed
}

/// A property set has ended, however: the wait counts from now on. Of what no report ever shows, its
/// acknowledgement is all there will be.
pub fn ended(draft: &mut Draft<'_>, set: &CommandRecord) {
    let now = draft.now;
    let product = draft.loaded.product.as_ref();
    let service = product.and_then(|p| p.record.profile.service(&set.service_id));
    let is_hidden = |name: &str| {
        let property = service.and_then(|s| s.property(name));
        property.is_some_and(|p| !p.method.contains('R'))
    };
    let attempts = draft.state.queue.attempts.iter_mut();
    for attempt in attempts.filter(|a| a.service_id == set.service_id) {
        attempt.last_at = now;
        if set.status == CommandStatus::Successful {
            // Those with another value by now are in `sent` no more.
            let names = set.paras.keys().filter(|name| is_hidden(name));
            let taken = names.filter(|name| attempt.sent.contains(name));
            attempt.taken.extend(taken.cloned());
        }
    }
}

/// Writable properties with another value than desired, as far as the model of now takes it.
fn lack_of(product: &ProductRuntime, shadow: &ShadowRecord) -> Option<Lack> {
    let mut wanted = difference(&shadow.desired, &shadow.reported);
    if wanted.is_empty() {
        return None;
    }
    let profile = &product.record.profile;
    let service = profile.service(&shadow.service_id)?;
    for misfit in check::writable(profile, &shadow.service_id, &wanted) {
        if let Some(name) = misfit.path.strip_prefix("properties.") {
            wanted.shift_remove(name);
        }
    }
    wanted.retain(|name, value| !is_same_time(service, name, value, shadow.reported.get(name)));
    let mut known = shadow.reported.clone();
    known.extend(shadow.desired.clone());
    (!wanted.is_empty()).then(|| Lack {
        service_id: shadow.service_id.clone(),
        wanted,
        known,
    })
}

/// The same time in the other of the two forms.
fn is_same_time(service: &Service, name: &str, one: &Value, other: Option<&Value>) -> bool {
    let is_time = |p: &crate::product::profile::Property| p.data_type == DataType::DateTime;
    let time = |value: &Value| value.as_str().and_then(Timestamp::parse);
    let times = (time(one), other.and_then(time));
    service.property(name).is_some_and(is_time)
        && matches!(times, (Some(one), Some(other)) if one == other)
}

/// Forgets tries of what has come true. Not at once: a value that flaps must not be answered each time.
fn settle(draft: &mut Draft<'_>, lacks: &[Lack]) -> bool {
    let now = draft.now;
    let attempts = &mut draft.state.queue.attempts;
    let count = |a: &AttemptRecord| a.sent.len() + a.taken.len();
    let before: usize = attempts.iter().map(count).sum();
    let aged = |a: &&mut AttemptRecord| now.since_ms(a.last_at) >= WAIT_FIRST_S * 1000;
    for attempt in attempts.iter_mut().filter(aged) {
        let lack = lacks.iter().find(|l| l.service_id == attempt.service_id);
        let lacks = |name: &String| lack.is_some_and(|l| l.wanted.contains_key(name));
        attempt.sent.retain(lacks);
        attempt.taken.retain(lacks);
    }
    attempts.retain(|a| count(a) > 0);
    before != attempts.iter().map(count).sum::<usize>()
}

/// What of it may go now, and whether that begins a round.
fn turn_of(draft: &Draft<'_>, lack: &Lack) -> Option<(Map<String, Value>, bool)> {
    let attempts = &draft.state.queue.attempts;
    let Some(attempt) = attempts.iter().find(|a| a.service_id == lack.service_id) else {
        return Some((lack.wanted.clone(), true));
    };
    let heard = draft.state.last_seen_at?;
    let mut rest = lack.wanted.clone();
    rest.retain(|name, _| !attempt.sent.contains(name));
    if !rest.is_empty() {
        // After a silence the device must be heard first.
        return (heard >= attempt.last_at).then_some((rest, false));
    }
    let waited_ms = draft.now.since_ms(attempt.last_at);
    let is_due = heard > attempt.last_at && waited_ms >= wait_s(attempt.tries) * 1000;
    is_due.then(|| (lack.wanted.clone(), true))
}

/// How long after so many rounds, one at least.
fn wait_s(tries: u32) -> u64 {
    let doubled = WAIT_FIRST_S.checked_shl(tries.saturating_sub(1).min(32));
    doubled.unwrap_or(WAIT_MAX_S).min(WAIT_MAX_S)
}

/// Sends what one message holds of it. False when nothing can be sent: then others may.
fn send(draft: &mut Draft<'_>, lack: &Lack, wanted: &Map<String, Value>, begins: bool) -> bool {
    let mid = next_mid(draft);
    let set = EncodeProperties {
        service_id: &lack.service_id,
        wanted,
        known: &lack.known,
        mid,
    };
    match encode(draft.loaded.codec(), &set) {
        Ok(PropertySet { bytes, mut covered }) => {
            covered.retain(|name| wanted.contains_key(name));
            if covered.is_empty() {
                // Should a codec not say what it sets: all of it, so that this ends.
                covered = wanted.keys().cloned().collect();
            }
            let mut paras = wanted.clone();
            paras.retain(|name, _| covered.contains(name));
            note(draft, &lack.service_id, begins, covered);
            let record = CommandRecord {
                service_id: lack.service_id.clone(),
                paras,
                ..unasked(draft)
            };
            let message = Message {
                payload: bytes,
                mid,
                by_mid: true,
            };
            send_unasked(draft, record, message);
            true
        }
        Err(why) => {
            let names = wanted.keys().cloned().collect();
            note(draft, &lack.service_id, begins, names);
            tell_unsent(draft, lack, wanted, why);
            false
        }
    }
}

/// Why nothing goes down, and what to do about it.
struct Unsent {
    error: String,
    hint: &'static str,
}

/// All of it, else the first that can be encoded alone: one that can't holds up no other.
fn encode(codec: Option<StepCodec<'_>>, set: &EncodeProperties<'_>) -> Result<PropertySet, Unsent> {
    let Some(codec) = codec else {
        return Err(Unsent {
            error: "the product has no codec".to_owned(),
            hint: "upload one with PUT /v1/products/{product_id}/codec",
        });
    };
    let first = match codec.encode_properties(set) {
        Ok(encoded) => return Ok(encoded),
        Err(error) => error,
    };
    let has_more = set.wanted.len() > 1;
    if has_more && !matches!(first, CodecError::NoPropertySet { .. }) {
        for (name, value) in set.wanted.iter().take(SINGLES_MAX) {
            let alone = Map::from_iter([(name.clone(), value.clone())]);
            let alone = EncodeProperties {
                wanted: &alone,
                ..*set
            };
            if let Ok(encoded) = codec.encode_properties(&alone) {
                return Ok(encoded);
            }
        }
    }
    Err(Unsent {
        error: format!("the codec can't encode it: {first}"),
        hint: match first.kind() {
            "no_property_set" => {
                "give the codec a message that sets it (dir = \"set\"), or send a command instead"
            }
            _ => "correct the codec, or what is desired",
        },
    })
}

/// These were tried in this round.
fn note(draft: &mut Draft<'_>, service_id: &str, begins: bool, names: Vec<String>) {
    let now = draft.now;
    let attempts = &mut draft.state.queue.attempts;
    let known = attempts.iter_mut().find(|a| a.service_id == service_id);
    let Some(attempt) = known else {
        attempts.push(AttemptRecord {
            service_id: service_id.to_owned(),
            tries: 1,
            last_at: now,
            sent: names,
            taken: Vec::new(),
        });
        return;
    };
    if begins {
        attempt.tries = attempt.tries.saturating_add(1);
        attempt.sent.clear();
    }
    attempt.sent.extend(names);
    attempt.last_at = now;
}

fn tell_unsent(draft: &mut Draft<'_>, lack: &Lack, wanted: &Map<String, Value>, why: Unsent) {
    draft.entries.push(TraceEntry {
        time: draft.now,
        kind: "shadow",
        direction: Direction::Platform,
        summary: format!("properties of {} are not sent", lack.service_id),
        hex: None,
        detail: Some(json!({ "desired": wanted })),
        error: Some(why.error),
        hint: Some(why.hint.to_owned()),
        unbound_only: false,
    });
}
