//! `/v1/devices/{device_id}/trace`: what happened with one device, and switching it on and off.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;

use super::error::{ApiError, code};
use super::input::{Fields, Problems, Query};
use super::operation::{Operation, Routes};
use super::request::{DevicePath, JsonBody};
use super::respond::json;
use crate::app::App;
use crate::app::trace::{RING_MAX, TraceEntry};

/// What this file serves.
pub fn routes() -> Routes {
    Routes::default()
        .add(
            Operation::get(
                "/v1/devices/{device_id}/trace",
                "show_trace",
                "Shows the traced messages of a device",
            ),
            show,
        )
        .add(
            Operation::put(
                "/v1/devices/{device_id}/trace",
                "switch_trace",
                "Starts or stops the trace of a device",
            ),
            switch,
        )
}

/// Entries in one answer unless asked for otherwise.
const DEFAULT_LIMIT: usize = 100;

#[derive(Serialize)]
struct Answer {
    /// Whether every message is traced; undecodable uplinks show either way.
    enabled: bool,
    trace: Vec<TraceEntry>,
}

#[derive(Serialize)]
struct Switched {
    enabled: bool,
}

/// `GET …/trace?limit=`: newest first. Errors: 404, 400.
pub async fn show(
    State(app): State<App>,
    DevicePath(id): DevicePath,
    uri: Uri,
) -> Result<Response, ApiError> {
    let limit = {
        let problems = Problems::default();
        let limit = Query::of(&uri, &problems)?.integer("limit", 1..=RING_MAX as u64, code::LIMIT);
        problems.check()?;
        limit.map_or(DEFAULT_LIMIT, |n| usize::try_from(n).unwrap_or(RING_MAX))
    };
    let device = app.devices.show(&id)?.device;
    let undecoded = app.store.raw_uplinks(device.seq, limit)?;
    let answer = Answer {
        enabled: app.tracer.is_on(&id),
        trace: app.tracer.entries(&id, &undecoded, limit),
    };
    Ok(json(StatusCode::OK, &answer))
}

/// `PUT …/trace` with `{"enabled": true}` or `false`. Errors: 404, 400 bad field, or too many traced.
pub async fn switch(
    State(app): State<App>,
    DevicePath(id): DevicePath,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let problems = Problems::default();
    let enabled = Fields::of_body(&body, &problems).and_then(|fields| {
        if !fields.has("enabled") {
            fields.missing("enabled", "true or false");
        }
        let enabled = fields.boolean("enabled");
        fields.refuse_others();
        enabled
    });
    problems.check()?;
    let enabled = enabled.unwrap_or(false);
    app.devices.show(&id)?;
    match enabled {
        true => app.tracer.start(&id)?,
        false => app.tracer.stop(&id),
    }
    Ok(json(StatusCode::OK, &Switched { enabled }))
}
