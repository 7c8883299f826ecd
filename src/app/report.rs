//! What a device's bytes say, and what becomes of it: values are checked against the product model, and
//! go into shadow, history and event; what nobody can read is kept raw with the reason.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::envelope::{self, DeviceHeader};
use super::step::{Draft, Loaded, Note, Outcome};
use super::trace::hint_for;
use crate::base::time::Timestamp;
use crate::engine::shadow::merge_reported;
use crate::product::check::{self, Violation};
use crate::product::codec::{AnswerTo, CodecError, Decoded, Report, ServiceReport, Uplink};
use crate::store::Change;
use crate::store::records::{HistoryRecord, RawRecord, ShadowRecord};

/// What a report came to.
pub struct Taken {
    pub outcome: Outcome,
    pub note: Note,
    /// What the codec says to it.
    pub answer: Option<Vec<u8>>,
}

impl Taken {
    pub const fn new(outcome: Outcome, note: Note) -> Self {
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
    if loaded.product.is_none() {
        return unread("no_product", "the product is gone");
    }
    let Some(codec) = loaded.codec() else {
        return unread("no_codec", "the product has no codec");
    };
    let uplink = Uplink {
        payload,
        received_at: now,
        f_port: None,
    };
    codec.decode(&uplink).map_err(|e| Unread {
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
    let answer = answer_to(
        draft.loaded,
        payload,
        violations.is_empty(),
        report.has_more,
    );
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
        Ok(answer) => answer,
        Err(error) => {
            note.error = Some(format!("the codec can't answer it: {error}"));
            note.hint = Some("correct the codec's answer to this message".to_owned());
            None
        }
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
pub fn services_json(services: &[ServiceReport], now: Timestamp) -> String {
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

/// In one line.
pub fn describe(violations: &[Violation]) -> String {
    let lines: Vec<String> = violations
        .iter()
        .map(|v| format!("{}: {}", v.path, v.message))
        .collect();
    lines.join("; ")
}

/// What was said to a report that comes again, for which the process of before may have answered.
pub fn answer_again(loaded: &Loaded, payload: &[u8], now: Timestamp) -> Option<Vec<u8>> {
    let product = loaded.product.as_ref()?;
    let Ok(Decoded::Report(mut report)) = decode_payload(loaded, payload, now) else {
        return None;
    };
    let fits = check::report(&product.record.profile, &mut report).is_empty();
    answer_to(loaded, payload, fits, report.has_more).ok()?
}

/// What the codec says to a report. `fits`: all of it was taken.
fn answer_to(
    loaded: &Loaded,
    request: &[u8],
    fits: bool,
    has_more: bool,
) -> Result<Option<Vec<u8>>, CodecError> {
    let Some(codec) = loaded.codec() else {
        return Ok(None);
    };
    codec.answer(&AnswerTo {
        request,
        errcode: u8::from(!fits),
        has_more,
    })
}
