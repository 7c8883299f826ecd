//! The uplink journey: a device's bytes become JSON.
//!
//! ```text
//! udp -> net::endpoint -> ingress -> shard: device and product loaded
//!   -> [this page] duplicate? -> data? -> codec.decode -> product::check -> shadow, history, event
//!   -> store.commit (one atomic durable step) -> acknowledgement -> outbox -> subscribers
//! ```
//!
//! Bytes that no codec can read are acknowledged all the same and kept raw with the reason: the
//! device did its part, and the bytes can be decoded later.

use bytes::Bytes;

use super::command;
use super::downlink::observe_again;
use super::report::{Taken, answer_again, decode_payload, keep_unread, take_report};
use super::step::{Answer, Draft, From, Loaded, Note, Outcome, Step, Via, place, refusal};
use super::trace::{Direction, TraceEntry, hex_of};
use super::upgrade;
use super::wake::wake;
use crate::base::time::Timestamp;
use crate::engine::observe;
use crate::product::codec::Decoded;
use crate::store::records::{ObservationStatus, RegistrationKind, RegistrationRecord};
use crate::wire::coap::{Code, ContentFormat, option};

/// What a raw device that never registered gets when it reports with its name.
const RAW_LIFETIME_S: u32 = crate::engine::registration::DEFAULT_LIFETIME_S;

/// A payload on `POST /t/d`, or in a notification.
pub fn report(
    loaded: &Loaded,
    from: From,
    payload: &[u8],
    content_format: Option<u16>,
    via: Via,
    now: Timestamp,
) -> Step {
    let mut draft = Draft::new(loaded, now);
    let first = match via {
        Via::Post => false,
        Via::Notification { answer, .. } => answer != Answer::No,
    };
    if loaded.is_duplicate(from, now) {
        let data = observe::data(first, content_format, payload);
        let answer = data.and_then(|data| answer_again(loaded, data, now));
        reply(&mut draft, from, via, answer.unwrap_or_default());
        let known = loaded.peer_in(&loaded.state);
        let is_here = via == Via::Post || known == Some(from.origin.peer);
        if is_here && !loaded.is_anything_forgotten() {
            return draft.repeat();
        }
        // The device moved before it repeated itself: that is news. Or what was to go down when a former
        // process took this waits for it to show that it is awake.
        refresh(&mut draft, from, via);
        draft.hear(from);
        wake(&mut draft);
        return draft.finish(Outcome::Done);
    }
    draft.remember(from.key);
    refresh(&mut draft, from, via);
    draft.hear(from);
    let Taken {
        outcome,
        note,
        answer,
    } = match upgrade_notified(&mut draft, via, payload, content_format) {
        Told::Taken(taken) => taken,
        Told::Unwanted => return unwanted(draft, from),
        Told::Data => data_taken(&mut draft, first, content_format, payload),
    };
    match (via, answer) {
        (Via::Post, answer) => {
            if let Some(answer) = &answer {
                draft.trace(|now| TraceEntry {
                    hex: Some(hex_of(answer)),
                    ..TraceEntry::new(
                        now,
                        "answer",
                        Direction::Down,
                        "the codec answers the report",
                    )
                });
            }
            reply(&mut draft, from, via, answer.unwrap_or_default());
            // It is awake, and an observation may still be wanted.
            observe_again(&mut draft);
        }
        // The acknowledgement of a notification is empty and final, so the answer is a downlink.
        (Via::Notification { .. }, answer) => {
            reply(&mut draft, from, via, Vec::new());
            if let Some(answer) = answer {
                command::send::answer(&mut draft, answer);
            }
        }
    }
    wake(&mut draft);
    let mut step = draft.finish_passing(outcome);
    step.note = Some(note);
    step
}

/// Whose a notification is.
enum Told {
    Taken(Taken),
    /// Of an upgrade that has ended: the device shall forget the observation.
    Unwanted,
    /// Business data.
    Data,
}

fn upgrade_notified(
    draft: &mut Draft<'_>,
    via: Via,
    payload: &[u8],
    content_format: Option<u16>,
) -> Told {
    let Via::Notification { token, .. } = via else {
        return Told::Data;
    };
    let Some(path) = draft
        .path_observed(token)
        .filter(|p| upgrade::drive::is_observed(p))
    else {
        return Told::Data;
    };
    match upgrade::drive::notified(draft, &path, payload, content_format) {
        Some(taken) => Told::Taken(taken),
        None => Told::Unwanted,
    }
}

/// A reset ends an observation at the device (RFC 7641 §3.6).
fn unwanted(mut draft: Draft<'_>, from: From) -> Step {
    if let Some(reset) = refusal(from.reply, Code::NOT_FOUND) {
        draft.effect(reset);
    }
    let mut step = draft.finish(Outcome::Done);
    step.note = Some(Note::new("notified of an upgrade that has ended"));
    step
}

fn data_taken(
    draft: &mut Draft<'_>,
    first: bool,
    content_format: Option<u16>,
    payload: &[u8],
) -> Taken {
    match observe::data(first, content_format, payload) {
        None => Taken::new(Outcome::Empty, Note::new("sent no data")),
        Some(data) => decode(draft, data),
    }
}

fn reply(draft: &mut Draft<'_>, from: From, via: Via, answer: Vec<u8>) {
    let mut options = Vec::new();
    let payload = match via {
        Via::Post => Bytes::from(answer),
        Via::Notification { .. } => Bytes::new(),
    };
    if !payload.is_empty() {
        let opaque = option::Uint::new(u64::from(ContentFormat::OPAQUE.0));
        options.push((option::CONTENT_FORMAT, opaque.as_bytes().to_vec()));
    }
    draft.reply_with(from.reply, Code::CHANGED, options, payload);
}

/// Any uplink refreshes the registration. A new address is believed of a secured device, or with an
/// observation's token, which nobody else knows; a raw device without a registration gets one.
fn refresh(draft: &mut Draft<'_>, from: From, via: Via) {
    let now = draft.now;
    if let Via::Notification { token, answer } = via {
        observed(draft, token, answer);
    }
    match (&mut draft.state.registration, via) {
        (Some(registration), Via::Notification { .. }) => {
            place(registration, from.origin);
            registration.updated_at = now;
        }
        (Some(registration), Via::Post) => {
            let expiry = super::timers::registration_deadline(&draft.loaded.state);
            if from.origin.is_secured() || expiry.is_some_and(|at| at <= now) {
                place(registration, from.origin);
            }
            registration.updated_at = now;
        }
        (None, Via::Post) => {
            draft.state.registration = Some(RegistrationRecord {
                kind: RegistrationKind::Raw,
                peer: from.origin.address(),
                registered_at: now,
                updated_at: now,
                lifetime_s: RAW_LIFETIME_S,
                lwm2m: String::new(),
                binding: String::new(),
                queue_mode: false,
                links: String::new(),
                endpoint: draft.loaded.device.node_id.as_str().to_owned(),
                secured: from.origin.is_secured(),
            });
        }
        // It deregistered, and the notification is a late one.
        (None, Via::Notification { .. }) => {}
    }
}

/// What a notification says of its observation.
fn observed(draft: &mut Draft<'_>, token: u64, answer: Answer) {
    let mut observations = draft.state.observations.iter_mut();
    let Some(known) = observations.find(|o| o.token == token) else {
        return;
    };
    let before = known.status;
    known.status = match answer {
        Answer::No | Answer::Observed => ObservationStatus::Established,
        Answer::Unobserved => ObservationStatus::Asked,
    };
    let (after, path) = (known.status, known.path.clone());
    if before == after || !draft.loaded.is_traced {
        return;
    }
    draft.trace(|now| match after {
        ObservationStatus::Established => {
            let summary = format!("observes {path}");
            TraceEntry::new(now, "observe", Direction::Up, summary)
        }
        ObservationStatus::Asked | ObservationStatus::Refused => {
            let summary = format!("answered {path} once, without observing it");
            TraceEntry::new(now, "observe", Direction::Up, summary).failed(
                "the device does not observe",
                "it is asked again when it next shows itself; if that goes on, its firmware has no \
                 notifications: let it send POST /t/d",
            )
        }
    });
}

fn decode(draft: &mut Draft<'_>, payload: &[u8]) -> Taken {
    if let Some(taken) = upgrade::pcp::heard(draft, payload) {
        return taken;
    }
    match decode_payload(draft.loaded, payload, draft.now) {
        Err(unread) => keep_unread(draft, payload, &unread),
        Ok(Decoded::Report(report)) => take_report(draft, report, payload),
        Ok(Decoded::Response(response)) => {
            let note = command::reply::take_response(draft, &response);
            Taken::new(Outcome::Reported, note)
        }
        Ok(Decoded::Nothing) => {
            let note = Note::new("the codec found nothing to report");
            Taken::new(Outcome::Empty, note)
        }
    }
}
