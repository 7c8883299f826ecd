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

use serde::Serialize;
use serde_json::{Map, Value};

use super::downlink::observe_again;
use super::envelope::{self, DeviceHeader};
use super::product::ProductRuntime;
use super::step::{Answer, Draft, From, Loaded, Note, Outcome, Step, Via, place};
use crate::base::time::Timestamp;
use crate::engine::observe;
use crate::engine::shadow::merge_reported;
use crate::product::check::{self, Violation};
use crate::product::codec::{Decoded, Report, ServiceReport, Uplink};
use crate::store::Change;
use crate::store::records::{
    HistoryRecord, ObservationStatus, RawRecord, RegistrationKind, RegistrationRecord, ShadowRecord,
};
use crate::wire::coap::Code;

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
    if loaded.is_duplicate(from, now) {
        draft.reply(from.reply, Code::CHANGED, Vec::new());
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
    let first = match via {
        Via::Post => false,
        Via::Notification { answer, .. } => answer != Answer::No,
    };
    let (outcome, note) = match observe::data(first, content_format, payload) {
        None => (Outcome::Empty, Note::new("sent no data")),
        Some(data) => decode(&mut draft, data),
    };
    draft.reply(from.reply, Code::CHANGED, Vec::new());
    if matches!(via, Via::Post) {
        // It is awake, and an observation may still be wanted.
        observe_again(&mut draft);
    }
    let mut step = draft.finish(outcome);
    step.note = Some(note);
    step
}

/// Any uplink refreshes the registration. A new address is believed of a secured device, or with an
/// observation's token, which nobody else knows; a raw device without a registration gets one.
fn refresh(draft: &mut Draft<'_>, from: From, via: Via) {
    let now = draft.now;
    if let Via::Notification { token, answer } = via
        && let Some(known) = draft
            .state
            .observations
            .iter_mut()
            .find(|o| o.token == token)
    {
        known.status = match answer {
            Answer::No | Answer::Observed => ObservationStatus::Established,
            Answer::Unobserved => ObservationStatus::Asked,
        };
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

fn decode(draft: &mut Draft<'_>, payload: &[u8]) -> (Outcome, Note) {
    let now = draft.now;
    let Some(product) = &draft.loaded.product else {
        return keep_raw(draft, payload, "no_product", "the product is gone");
    };
    let decoded = match read(product, payload, now) {
        Ok(decoded) => decoded,
        Err(Unread { kind, reason }) => return keep_raw(draft, payload, kind, &reason),
    };
    match decoded {
        Decoded::Report(report) => take_report(draft, product, report, payload),
        Decoded::Response(response) => {
            let mut note = Note::new("answered a command");
            note.detail = Some(Value::Object(response.paras));
            (Outcome::Reported, note)
        }
        Decoded::Nothing => (
            Outcome::Empty,
            Note::new("the codec found nothing to report"),
        ),
    }
}

/// Why a payload gave no values.
struct Unread {
    kind: &'static str,
    reason: String,
}

fn read(product: &ProductRuntime, payload: &[u8], now: Timestamp) -> Result<Decoded, Unread> {
    let Some(codec) = &product.codec else {
        let reason = "the product has no codec".to_owned();
        return Err(Unread {
            kind: "no_codec",
            reason,
        });
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
fn take_report(
    draft: &mut Draft<'_>,
    product: &ProductRuntime,
    mut report: Report,
    payload: &[u8],
) -> (Outcome, Note) {
    let violations = check::report(&product.record.profile, &mut report);
    report.services.retain(|s| !s.properties.is_empty());
    let mut note = Note::new(format!("reported {} bytes", payload.len()));
    if !violations.is_empty() {
        let reason = describe(&violations);
        draft.change(raw(draft, payload, "model", &reason));
        note.error = Some(reason);
        note.hint = Some("correct the codec or the product model".to_owned());
    }
    if report.services.is_empty() {
        let outcome = if violations.is_empty() {
            Outcome::Empty
        } else {
            Outcome::Undecodable
        };
        return (outcome, note);
    }
    for service in &report.services {
        merge(draft, service);
    }
    let now = draft.now;
    let services = services_json(&report.services, now);
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
    (Outcome::Reported, note)
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

fn keep_raw(draft: &mut Draft<'_>, payload: &[u8], kind: &str, reason: &str) -> (Outcome, Note) {
    draft.change(raw(draft, payload, kind, reason));
    let mut note = Note::failed(
        format!("sent {} bytes that stay raw", payload.len()),
        reason,
    );
    note.hint = Some("try them with POST /v1/products/{product_id}/codec/decode".to_owned());
    (Outcome::Undecodable, note)
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
