//! What a device's trace tells of its commands.

use serde_json::{Value, json};

use super::transit::status_word;
use crate::app::step::Draft;
use crate::app::trace::{Direction, TraceEntry, hex_of};
use crate::engine::command::{Outcome, State};
use crate::store::commands::{CommandRecord, DownlinkKind, Strategy};

/// One step of a command.
pub(super) fn tell(draft: &mut Draft<'_>, record: &CommandRecord, state: State) {
    if !draft.loaded.is_traced {
        return;
    }
    let what = match record.kind {
        DownlinkKind::Command => format!("command {} {}", record.command_name, record.id),
        DownlinkKind::Properties => format!("property set of {}", record.service_id),
        DownlinkKind::Answer => "answer to a report".to_owned(),
    };
    let how = match state {
        State::Pending { .. } => "waits for the device".to_owned(),
        State::Sent { waits: true, .. } => "is sent, and waits for its turn".to_owned(),
        State::Sent { waits: false, .. } => "is sent".to_owned(),
        State::Delivered { .. } => "is delivered".to_owned(),
        State::Rested => "rests as delivered: no answer came".to_owned(),
        State::Ended(_) => format!("ended as {}", status_word(record.status)),
    };
    let (error, hint) = explain(record, state);
    let message = record.message.as_ref();
    let is_sent = matches!(state, State::Sent { .. });
    let result = record.result.as_ref();
    let detail = match is_sent {
        true => Some(json!({ "mid": message.map(|m| m.mid), "paras": record.paras })),
        false => result.map(|result| Value::Object(result.detail.clone())),
    };
    draft.entries.push(TraceEntry {
        time: draft.now,
        kind: "command",
        direction: match state {
            State::Sent { .. } => Direction::Down,
            State::Delivered { .. } => Direction::Up,
            State::Pending { .. } | State::Rested | State::Ended(_) => Direction::Platform,
        },
        summary: format!("{what} {how}"),
        hex: message.filter(|_| is_sent).map(|m| hex_of(&m.payload)),
        detail,
        error,
        hint,
        unbound_only: false,
    });
}

/// Something that came and changed nothing.
pub(super) fn tell_stray(draft: &mut Draft<'_>, summary: String, error: &str, hint: &str) {
    draft.trace(|now| TraceEntry::new(now, "command", Direction::Up, summary).failed(error, hint));
}

/// What went wrong, and what to do about it.
fn explain(record: &CommandRecord, state: State) -> (Option<String>, Option<String>) {
    let told = |error: &str, hint: &str| (Some(error.to_owned()), Some(hint.to_owned()));
    match state {
        State::Ended(Outcome::Timeout) => told(
            "the device did not acknowledge it within 180 s",
            "is the device in coverage? To one that sleeps send with the strategy delay; how long it \
             listens is command.awake_s in the product's settings",
        ),
        State::Ended(Outcome::Expired) => told(
            "it was not sent within its expire_time",
            "the device neither came online nor reported; give it a longer expire_time",
        ),
        State::Rested => told(
            "no answer within command.response_timeout_s of the product's settings",
            "does the device answer this command? One without responses in the product model ends \
             as SUCCESSFUL at delivery",
        ),
        State::Ended(Outcome::Failed) => {
            let detail = record.result.as_ref().map(|result| &result.detail);
            let text = |name| detail.and_then(|d| d.get(name)).and_then(Value::as_str);
            let error = text("error_msg").unwrap_or("the device answered that it failed");
            told(error, hint_of(text("error_code"), record))
        }
        State::Pending { .. }
        | State::Sent { .. }
        | State::Delivered { .. }
        | State::Ended(Outcome::Successful) => (None, None),
    }
}

/// What to do about a command that failed. `code`: why it did before the device could say.
fn hint_of(code: Option<&str>, record: &CommandRecord) -> &'static str {
    let at_once = record.strategy == Strategy::Immediately;
    match code {
        Some("IOTDA.014013") => {
            "try its parameters with POST /v1/products/{product_id}/codec/encode, and correct the codec"
        }
        Some(_) if at_once && record.sent_at.is_none() => {
            "send it with the strategy delay: then it waits until the device listens"
        }
        Some(_) => {
            "send it again. If the device refuses it each time, look at downlink in the product's \
             settings: write, or execute"
        }
        None => "what the device said is in detail; the codec's documentation tells what it means",
    }
}

/// A command that was queued.
pub(super) fn tell_queued(draft: &mut Draft<'_>, record: &CommandRecord) {
    draft.trace(|now| {
        let (name, id) = (&record.command_name, record.id);
        let summary = format!("command {name} {id} waits for the device");
        TraceEntry {
            detail: Some(json!({ "paras": record.paras })),
            ..TraceEntry::new(now, "command", Direction::Platform, summary)
        }
    });
}
