//! `/v1/devices/{device_id}/trace`: what happened with one device, and switching it on and off.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::error::{ApiError, code};
use super::input::{Fields, Query, read_body, read_query};
use super::operation::{Operation, Routes};
use super::request::{CallerIs, DevicePath, JsonBody};
use super::respond::json as answer;
use crate::app::App;
use crate::app::trace::{Filter, KINDS, RING_MAX, TraceEntry};
use crate::base::time::Timestamp;

/// What this file serves.
pub fn routes() -> Routes {
    const TRACE: &str = "/v1/devices/{device_id}/trace";
    Routes::tagged("Diagnosis")
        .add(
            Operation::put(
                TRACE,
                "switch_trace",
                "Starts or stops the trace of a device",
            )
            .body(|f| {
                switch_of(f);
            })
            .answers::<Switched>(StatusCode::OK)
            .example(json!({"enabled": true, "duration_s": 3600})),
            switch,
        )
        .add(
            Operation::get(TRACE, "show_trace", "Shows the traced messages of a device")
                .query(|q| {
                    wanted_of(q);
                })
                .answers::<Answer>(StatusCode::OK)
                .example_query(&[("kind", "command"), ("errors", "true"), ("limit", "20")]),
            show,
        )
}

/// Entries in one answer unless asked for otherwise.
const DEFAULT_LIMIT: usize = 100;
/// A day. Who wants to trace for longer says no duration, and stops it himself.
const DURATION_MAX_S: u32 = 86_400;

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Trace")]
struct Answer {
    /// Whether every message is traced; undecodable uplinks show either way.
    enabled: bool,
    /// When that ends by itself; null: when it is stopped, or does not run.
    end_time: Option<String>,
    trace: Vec<TraceEntry>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TraceSwitch")]
struct Switched {
    enabled: bool,
    /// When it ends by itself; null: when it is stopped, or does not run.
    end_time: Option<String>,
}

/// Which entries a query asks for.
struct Wanted {
    filter: Filter,
    limit: usize,
}

/// What a body asks for.
struct Switch {
    enabled: bool,
    duration_s: Option<u32>,
}

/// `GET …/trace?kind=&errors=&from=&to=&limit=`: newest first. Errors: 404, 400.
pub async fn show(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    DevicePath(id): DevicePath,
    uri: Uri,
) -> Result<Response, ApiError> {
    let Wanted { filter, limit } = read_query(&uri, wanted_of)?;
    let device = app.devices.show(&id)?.device;
    // A filter may pass over many.
    let rows = match filter == Filter::default() {
        true => limit,
        false => RING_MAX,
    };
    let undecoded = app.store.raw_uplinks(device.seq, rows)?;
    let running = app.tracer.running(&id, app.clock.now());
    let mut trace = app.tracer.entries(&id, &undecoded, filter, limit);
    trace.retain(|entry| caller.space.is_none() || !entry.unbound_only);
    let shown = Answer {
        enabled: running.is_some(),
        end_time: running.flatten().map(Timestamp::rfc3339_ms),
        trace,
    };
    Ok(answer(StatusCode::OK, &shown))
}

/// `PUT …/trace` with `{"enabled": true}`, for a while with `duration_s`; or `{"enabled": false}`, which
/// forgets what was traced. Errors: 404, 400 bad field, or too many traced.
pub async fn switch(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    DevicePath(id): DevicePath,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let Switch {
        enabled,
        duration_s,
    } = read_body(&body, switch_of)?;
    app.devices.show(&id)?;
    let now = app.clock.now();
    let until = duration_s.map(|span| now.plus_s(u64::from(span)));
    match enabled {
        true => app
            .tracer
            .start(&id, until, now)
            .map_err(|error| match caller.space {
                None => error.into(),
                // The names of the others are none of his.
                Some(_) => ApiError::invalid("enabled: too many devices are traced already"),
            })?,
        false => app.tracer.stop(&id),
    }
    let switched = Switched {
        enabled,
        end_time: until.map(Timestamp::rfc3339_ms),
    };
    Ok(answer(StatusCode::OK, &switched))
}

fn wanted_of(query: &Query<'_>) -> Wanted {
    let kinds = KINDS.map(|kind| (kind, kind));
    let limit = query.integer("limit", 1..=RING_MAX as u64, code::LIMIT);
    let kind = query.one_of("kind", &kinds);
    let errors = query.boolean("errors").unwrap_or(false);
    let (from, to) = query.times("from", "to");
    Wanted {
        filter: Filter {
            kind,
            errors,
            from,
            to,
        },
        limit: limit.map_or(DEFAULT_LIMIT, |n| usize::try_from(n).unwrap_or(RING_MAX)),
    }
}

fn switch_of(fields: &Fields<'_>) -> Option<Switch> {
    if !fields.has("enabled") {
        fields.missing("enabled", "true or false");
    }
    let enabled = fields.boolean("enabled");
    let duration_s = fields.integer("duration_s", 1..=DURATION_MAX_S);
    fields.refuse_others();
    if enabled == Some(false) && duration_s.is_some() {
        fields.problem("duration_s", "goes with \"enabled\": true alone");
    }
    Some(Switch {
        enabled: enabled?,
        duration_s,
    })
}
