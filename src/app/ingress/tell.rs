//! What the trace tells of what never becomes a step of its device: refused requests, and changes by
//! the API.

use crate::app::device::{DeviceChange, DeviceChangeKind};
use crate::app::step::Origin;
use crate::app::trace::{Direction, TraceEntry, Tracer};
use crate::base::time::Timestamp;
use crate::engine::exchange::Response;
use crate::engine::registration::{Register, RegisterError};
use crate::wire::coap::{Code, Message};

/// The API changed the device. A deleted one has no trace any more.
pub(super) fn changed(tracer: &Tracer, now: Timestamp, change: &DeviceChange) {
    if !tracer.is_on(&change.device_id) {
        return;
    }
    let what = match change.what {
        DeviceChangeKind::Created => "was created",
        DeviceChangeKind::Updated => "was changed: its name, tags, groups or other fields",
        DeviceChangeKind::Deleted => "was deleted",
        DeviceChangeKind::Frozen => "was frozen: what it sends is refused from now on",
        DeviceChangeKind::Unfrozen => "was unfrozen: it may connect again",
        DeviceChangeKind::SecretReset => "got another secret",
    };
    let ended = match change.ends_session {
        Some(_) => "; its DTLS session, if it has one, ends",
        None => "",
    };
    let summary = format!("{what}{ended}");
    let entry = TraceEntry::new(now, "change", Direction::Platform, summary);
    tracer.record(&change.device_id, entry);
}

/// A request that was refused before it reached its device; `None` for one that was served.
pub(super) fn refused(
    now: Timestamp,
    origin: Origin,
    message: &Message<'_>,
    response: &Response,
) -> Option<TraceEntry> {
    let code = response.code;
    if code.is_success() {
        return None;
    }
    let segments: Vec<&str> = message.options.uri_path().flatten().collect();
    let path = segments.join("/");
    let kind = match (segments.first().copied(), segments.len(), message.code) {
        (Some("rd"), 1, _) | (Some("t"), 2, _) if segments.last() != Some(&"d") => "register",
        (Some("rd"), _, Code::DELETE) => "deregister",
        (Some("rd"), _, _) => "update",
        _ => "uplink",
    };
    let (error, hint) = explain(message, kind, response);
    let method = method_of(message.code);
    let summary = format!("{method} /{path} from {origin} refused with {code}");
    Some(TraceEntry::new(now, kind, Direction::Up, summary).failed(error, hint))
}

fn method_of(code: Code) -> String {
    match code {
        Code::GET => "GET".to_owned(),
        Code::POST => "POST".to_owned(),
        Code::PUT => "PUT".to_owned(),
        Code::DELETE => "DELETE".to_owned(),
        other => other.to_string(),
    }
}

/// Why, and what to do about it.
fn explain(message: &Message<'_>, kind: &str, response: &Response) -> (String, &'static str) {
    if let Some(RegisterError::Version(version)) = version_error(message)
        && kind == "register"
    {
        return (
            RegisterError::Version(version).to_string(),
            "set the LwM2M version in the device's client; one that knows several steps down by itself",
        );
    }
    match response.code {
        Code::NOT_FOUND if kind == "update" || kind == "deregister" => (
            "no registration has this location".to_owned(),
            "it registers anew by itself; if it does not, restart its client",
        ),
        Code::NOT_FOUND | Code::METHOD_NOT_ALLOWED => (
            "nothing is served there".to_owned(),
            "devices send POST /rd or /t/r to register, POST /rd/<location> to update, POST /t/d to \
             report",
        ),
        Code::SERVICE_UNAVAILABLE => (
            "the store can't be read now".to_owned(),
            "see the server's log; the device tries again",
        ),
        _ if !response.payload.is_empty() => (
            String::from_utf8_lossy(&response.payload).into_owned(),
            "correct the request in the device's client",
        ),
        code => (
            format!("answered {code}"),
            "compare ep with the device's node_id, and the request with what devices send",
        ),
    }
}

/// Why its query is no registration's.
fn version_error(message: &Message<'_>) -> Option<RegisterError> {
    let query: Vec<&str> = message.options.uri_query().flatten().collect();
    Register::parse(query.into_iter()).err()
}
