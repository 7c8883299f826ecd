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
use crate::app::trace::{RING_MAX, TraceEntry};

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
            .example(json!({"enabled": true})),
            switch,
        )
        .add(
            Operation::get(TRACE, "show_trace", "Shows the traced messages of a device")
                .query(|q| {
                    limit_of(q);
                })
                .answers::<Answer>(StatusCode::OK)
                .example_query(&[("limit", "20")]),
            show,
        )
}

/// Entries in one answer unless asked for otherwise.
const DEFAULT_LIMIT: usize = 100;

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Trace")]
struct Answer {
    /// Whether every message is traced; undecodable uplinks show either way.
    enabled: bool,
    trace: Vec<TraceEntry>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TraceSwitch")]
struct Switched {
    enabled: bool,
}

/// `GET …/trace?limit=`: newest first. Errors: 404, 400.
pub async fn show(
    State(app): State<App>,
    DevicePath(id): DevicePath,
    uri: Uri,
) -> Result<Response, ApiError> {
    let limit = read_query(&uri, limit_of)?;
    let device = app.devices.show(&id)?.device;
    let undecoded = app.store.raw_uplinks(device.seq, limit)?;
    let shown = Answer {
        enabled: app.tracer.is_on(&id),
        trace: app.tracer.entries(&id, &undecoded, limit),
    };
    Ok(answer(StatusCode::OK, &shown))
}

/// `PUT …/trace` with `{"enabled": true}` or `false`. Errors: 404, 400 bad field, or too many traced.
pub async fn switch(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    DevicePath(id): DevicePath,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let enabled = read_body(&body, switch_of)?;
    app.devices.show(&id)?;
    match enabled {
        true => app.tracer.start(&id).map_err(|error| match caller.space {
            None => error.into(),
            // The names of the others are none of his.
            Some(_) => ApiError::invalid("enabled: too many devices are traced already"),
        })?,
        false => app.tracer.stop(&id),
    }
    Ok(answer(StatusCode::OK, &Switched { enabled }))
}

fn limit_of(query: &Query<'_>) -> usize {
    let limit = query.integer("limit", 1..=RING_MAX as u64, code::LIMIT);
    limit.map_or(DEFAULT_LIMIT, |n| usize::try_from(n).unwrap_or(RING_MAX))
}

fn switch_of(fields: &Fields<'_>) -> Option<bool> {
    if !fields.has("enabled") {
        fields.missing("enabled", "true or false");
    }
    let enabled = fields.boolean("enabled");
    fields.refuse_others();
    enabled
}
