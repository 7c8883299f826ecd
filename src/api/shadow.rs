//! `…/devices/{device_id}/shadow` of the v5 API: what a device reported and what is desired of it.
//!
//! A change takes `desired` flat, and answers it as `{properties, event_time}`, as the reading does.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::input::{Fields, TextRule, read_body};
use super::operation::{Operation, Routes};
use super::request::{DevicePath, JsonBody};
use super::respond::json as answer;
use crate::app::App;
use crate::app::order::DesiredService;
use crate::app::shadow::DESIRED_MAX;
use crate::base::ids::DeviceId;
use crate::base::time::Timestamp;
use crate::engine::shadow::misnamed;
use crate::store::records::ShadowRecord;

/// Services of one change: as many as a model has.
pub const SERVICES_MAX: usize = 500;
const SERVICE_ID: TextRule = TextRule::name(64);

/// What this file serves.
pub fn routes() -> Routes {
    const SHADOW: &str = "/v5/iot/{project_id}/devices/{device_id}/shadow";
    Routes::tagged("Devices")
        .add(
            Operation::get(
                SHADOW,
                "show_device_shadow",
                "Shows what is reported and desired",
            )
            .answers::<Shadow<'_>>(StatusCode::OK),
            show,
        )
        .add(
            Operation::put(
                SHADOW,
                "update_device_shadow_desired_data",
                "Changes what is desired; what differs goes down to the device",
            )
            .body(|f| drop(desired_services(f)))
            .answers::<Shadow<'_>>(StatusCode::OK)
            .example(json!({
                "shadow": [{"service_id": "Flow", "desired": {"volume": 60}, "version": 0}]
            })),
            update,
        )
        .add(
            Operation::delete(
                SHADOW,
                "delete_device_shadow",
                "Empties the shadow, what was reported too",
            )
            .answers_nothing(StatusCode::NO_CONTENT),
            clear,
        )
}

#[derive(Serialize, JsonSchema)]
struct Shadow<'a> {
    device_id: &'a DeviceId,
    shadow: Vec<ServiceShadow<'a>>,
}

#[derive(Serialize, JsonSchema)]
struct ServiceShadow<'a> {
    service_id: &'a str,
    desired: Side<'a>,
    reported: Side<'a>,
    version: u64,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ShadowSide")]
struct Side<'a> {
    properties: &'a Map<String, Value>,
    event_time: Option<String>,
}

impl<'a> Shadow<'a> {
    fn of(device_id: &'a DeviceId, shadow: &'a [ShadowRecord]) -> Self {
        Self {
            device_id,
            shadow: shadow.iter().map(ServiceShadow::from).collect(),
        }
    }
}

impl<'a> From<&'a ShadowRecord> for ServiceShadow<'a> {
    fn from(shadow: &'a ShadowRecord) -> Self {
        let side = |properties, at: Option<Timestamp>| Side {
            properties,
            event_time: at.map(Timestamp::compact),
        };
        Self {
            service_id: &shadow.service_id,
            desired: side(&shadow.desired, shadow.desired_at),
            reported: side(&shadow.reported, shadow.reported_at),
            version: shadow.version,
        }
    }
}

/// `UpdateDesireds`. Without services, nothing changes.
pub fn desired_services(fields: &Fields<'_>) -> Option<Vec<DesiredService>> {
    let services = fields.objects("shadow", 0..=SERVICES_MAX);
    let services = services.unwrap_or_default();
    Some(services.iter().map(desired_service).collect())
}

fn desired_service(fields: &Fields<'_>) -> DesiredService {
    DesiredService {
        service_id: fields.needed_text("service_id", SERVICE_ID),
        desired: desired(fields),
        version: fields.integer("version", 0..=u32::MAX).map(u64::from),
    }
}

/// What is desired of one service: names that no shadow takes are refused.
pub fn desired(fields: &Fields<'_>) -> Map<String, Value> {
    if !fields.has("desired") {
        fields.missing("desired", "an object of properties");
    }
    let desired = fields.map("desired", DESIRED_MAX).unwrap_or_default();
    if let Some(place) = misnamed(&desired) {
        let place: String = place.chars().take(128).collect();
        let problem = format!("got the name {place:?}, takes names without '.', '$' and NUL");
        fields.problem("desired", problem);
    }
    desired
}

/// `GET …/devices/{device_id}/shadow`: services that were reported or are desired. Errors: 404.
pub async fn show(
    State(app): State<App>,
    DevicePath(id): DevicePath,
) -> Result<Response, ApiError> {
    let state = app.devices.show(&id)?.state.unwrap_or_default();
    Ok(answer(StatusCode::OK, &Shadow::of(&id, &state.shadow)))
}

/// `PUT …/devices/{device_id}/shadow`: the whole shadow as it is then. Errors: 404; 400 what the model
/// does not take; 409 another version than the caller has seen.
pub async fn update(
    State(app): State<App>,
    DevicePath(id): DevicePath,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let services = read_body(&body, desired_services)?;
    let shadow = app.shadows.set(&id, services).await?;
    Ok(answer(StatusCode::OK, &Shadow::of(&id, &shadow)))
}

/// `DELETE …/devices/{device_id}/shadow`: 204. Errors: 404.
pub async fn clear(
    State(app): State<App>,
    DevicePath(id): DevicePath,
) -> Result<StatusCode, ApiError> {
    app.shadows.clear(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}
