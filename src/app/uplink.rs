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
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::command;
use super::downlink::observe_again;
use super::envelope::{self, DeviceHeader};
use super::product::ProductRuntime;
use super::step::{Answer, Draft, From, Loaded, Note, Outcome, Step, Via, place};
use super::trace::{Direction, TraceEntry, hex_of, hint_for};
use crate::base::time::Timestamp;
use crate::engine::observe;
use crate::engine::shadow::merge_reported;
use crate::product::check::{self, Violation};
use crate::product::codec::{AnswerTo, CodecError, Decoded, Report, ServiceReport, Uplink};
use crate::store::Change;
use crate::store::records::{
    HistoryRecord, ObservationStatus, RawRecord, RegistrationKind, RegistrationRecord, ShadowRecord,
};
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
        if via == Via::Post || known == Some(from.origin.peer) {
            return draft.repeat();
        }
        // The device moved before it repeated itself: that is news.
        refresh(&mut draft, from, via);
        draft.hear(from);
        return draft.finish(Outcome::Duplicate);
    }
    draft.remember(from.key);
    refresh(&mut draft, from, via);
    draft.hear(from);
    let Taken {
        outcome,
        note,
        answer,
    } = match observe::data(first, content_format, payload) {
        None => Taken::new(Outcome::Empty, Note::new("sent no data")),
        Some(data) => decode(&mut draft, data),
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
    command::send::wake(&mut draft);
    let mut step = draft.finish(outcome);
    step.note = Some(note);
    step
}

/// What a report came to.
pub struct Taken {
    outcome: Outcome,
    note: Note,
    /// What the codec says to it.
    answer: Option<Vec<u8>>,
}

impl Taken {
    const fn new(outcome: Outcome, note: Note) -> Self {
        Self {
            outcome,
            note,
            answer: None,
        }
    }

    /// What the trace tells of it.
    pub fn into_note(self) -> Note {
        self.note
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

/// What was said to a report that comes again, for which the process of before may have answered.
fn answer_again(loaded: &Loaded, payload: &[u8], now: Timestamp) -> Option<Vec<u8>> {
    let product = loaded.product.as_ref()?;
    let Ok(Decoded::Report(mut report)) = decode_payload(loaded, payload, now) else {
        return None;
    };
    let fits = check::report(&product.record.profile, &mut report).is_empty();
    answer_to(product, payload, fits, report.has_more).ok()?
}

/// What the codec says to a report. `fits`: all of it was taken.
fn answer_to(
    product: &ProductRuntime,
    request: &[u8],
    fits: bool,
    has_more: bool,
) -> Result<Option<Vec<u8>>, CodecError> {
    let Some(codec) = &product.codec else {
        return Ok(None);
    };
    codec.answer(&AnswerTo {
        request,
        errcode: u8::from(!fits),
        has_more,
    })
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

/// Why a payload gave no values.
pub struct Unread {
    kind: &'static str,
    reason: String,
}

/// What a device's bytes say.
pub fn decode_payload(loaded: &Loaded, payload: &[u8], now: Timestamp) -> Result<Decoded, Unread> {
    let unread = |kind, reason: &str| {
        let reason = reason.to_owned();
        Err(Unread { kind, reason })
    };
    let Some(product) = &loaded.product else {
        return unread("no_product", "the product is gone");
    };
    let Some(codec) = &product.codec else {
        return unread("no_codec", "the product has no codec");
    };
    let uplink = Uplink {
        payload,
        received_at: now,
        f_port: None,
    };
    codec.decode(&uplink, None).map_err(|e| Unread {
        kind: e.kind(),
        reason: e.to_string(),
    })
}

/// Checks against the model, then shadow, history and event.
pub fn take_report(draft: &mut Draft<'_>, mut report: Report, payload: &[u8]) -> Taken {
    let product = draft.loaded.product.as_ref();
    let violations = product.map_or_else(Vec::new, |product| {
        check::report(&product.record.profile, &mut report)
    });
    draft.state.queue.more_follows = report.has_more;
    let answer = product.map(|p| answer_to(p, payload, violations.is_empty(), report.has_more));
    report.services.retain(|s| !s.properties.is_empty());
    let mut note = Note::new(format!("reported {} bytes", payload.len()));
    if !violations.is_empty() {
        let reason = describe(&violations);
        draft.change(raw(draft, payload, "model", &reason));
        note.kind = Some("undecoded");
        note.error = Some(reason);
        note.hint = Some(hint_for("model").to_owned());
    }
    let answer = match answer {
        Some(Ok(answer)) => answer,
        Some(Err(error)) => {
            note.error = Some(format!("the codec can't answer it: {error}"));
            note.hint = Some("correct the codec's answer to this message".to_owned());
            None
        }
        None => None,
    };
    if report.services.is_empty() {
        let outcome = if violations.is_empty() {
            Outcome::Empty
        } else {
            Outcome::Undecodable
        };
        return Taken {
            outcome,
            note,
            answer,
        };
    }
    for service in &report.services {
        merge(draft, service);
    }
    let now = draft.now;
    let services = services_json(&report.services, now);
    if draft.loaded.is_traced {
        note.detail = services_detail(&report.services);
    }
    let device = &draft.loaded.device;
    let header = DeviceHeader::from(device);
    draft.tell(envelope::property_report(&header, &services, now));
    let record = Box::new(HistoryRecord {
        received_at: now,
        services,
    });
    draft.change(Change::AppendHistory {
        device_seq: device.seq,
        record,
    });
    Taken {
        outcome: Outcome::Reported,
        note,
        answer,
    }
}

fn merge(draft: &mut Draft<'_>, service: &ServiceReport) {
    let at = service.event_time.unwrap_or(draft.now);
    let shadow = &mut draft.state.shadow;
    match shadow
        .iter_mut()
        .find(|s| s.service_id == service.service_id)
    {
        Some(known) => {
            merge_reported(&mut known.reported, &service.properties);
            known.reported_at = Some(at);
        }
        None => shadow.push(ShadowRecord {
            service_id: service.service_id.clone(),
            version: 0,
            reported: service.properties.clone(),
            reported_at: Some(at),
            desired: Map::new(),
            desired_at: None,
        }),
    }
}

/// `[{"service_id", "properties", "event_time"}]`: what history keeps and subscribers get.
fn services_json(services: &[ServiceReport], now: Timestamp) -> String {
    #[derive(Serialize)]
    struct Service<'a> {
        service_id: &'a str,
        properties: &'a Map<String, Value>,
        event_time: String,
    }
    let services: Vec<Service<'_>> = services
        .iter()
        .map(|s| Service {
            service_id: &s.service_id,
            properties: &s.properties,
            event_time: s.event_time.unwrap_or(now).compact(),
        })
        .collect();
    serde_json::to_string(&services).unwrap_or_else(|e| {
        crate::bug!("a report can't be written as JSON: {e}");
        "[]".to_owned()
    })
}

/// The same for the trace.
fn services_detail(services: &[ServiceReport]) -> Option<Value> {
    let services: Vec<Value> = services
        .iter()
        .map(|s| json!({ "service_id": s.service_id, "properties": s.properties }))
        .collect();
    Some(json!({ "services": services }))
}

/// Keeps what no codec can read.
pub fn keep_unread(draft: &mut Draft<'_>, payload: &[u8], unread: &Unread) -> Taken {
    let Unread { kind, reason } = unread;
    draft.change(raw(draft, payload, kind, reason));
    let summary = format!("sent {} bytes that stay raw", payload.len());
    let mut note = Note::failed(summary, format!("{kind}: {reason}"), hint_for(kind));
    note.kind = Some("undecoded");
    Taken::new(Outcome::Undecodable, note)
}

fn raw(draft: &Draft<'_>, payload: &[u8], kind: &str, reason: &str) -> Change {
    let record = RawRecord {
        received_at: draft.now,
        payload: payload.to_vec(),
        kind: kind.to_owned(),
        reason: reason.to_owned(),
    };
    Change::KeepRaw {
        device_seq: draft.loaded.device.seq,
        record: Box::new(record),
    }
}

fn describe(violations: &[Violation]) -> String {
    let lines: Vec<String> = violations
        .iter()
        .map(|v| format!("{}: {}", v.path, v.message))
        .collect();
    lines.join("; ")
}
