//! `…/devices` of the v5 API.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::device_body;
use super::error::ApiError;
use super::input::{Query, TextRule, read_body, read_query};
use super::operation::{Operation, Routes};
use super::page::{PageInfo, PageQuery, marker_of};
use super::request::{CallerIs, DevicePath, JsonBody, MaybeJsonBody, visible_space};
use super::respond::{about, json as answer};
use crate::app::App;
use crate::app::credentials::Role;
use crate::app::device::list::DeviceQuery;
use crate::app::device::view::{DeviceSummary, DeviceView};
use crate::app::device::{DeviceError, SecretKind};
use crate::base::ids::{AppId, DeviceId, NodeId, ProductId};

/// What this file serves.
pub fn routes() -> Routes {
    const ALL: &str = "/v5/iot/{project_id}/devices";
    const ONE: &str = "/v5/iot/{project_id}/devices/{device_id}";
    Routes::tagged("Devices")
        .add(
            Operation::post(ALL, "add_device", "Creates a device")
                .body(|f| drop(device_body::new_device(f)))
                .answers::<DeviceView<'_>>(StatusCode::CREATED)
                .example(json!({
                    "node_id": "867725038317248",
                    "product_id": "watermeter",
                    "device_name": "Cellar",
                    "auth_info": {"secret": "00112233445566778899aabbccddeeff"}
                })),
            create,
        )
        .add(
            Operation::get(ALL, "list_devices", "Lists devices, newest first")
                .query(|q| drop(wanted_of(q)))
                .answers::<List<'_>>(StatusCode::OK)
                .example_query(&[("product_id", "watermeter"), ("limit", "10")]),
            list,
        )
        .add(
            Operation::get(ONE, "show_device", "Shows a device with its secret")
                .answers::<DeviceView<'_>>(StatusCode::OK),
            show,
        )
        .add(
            Operation::put(
                ONE,
                "update_device",
                "Changes a device; what is absent stays",
            )
            .body(|f| drop(device_body::device_patch(f)))
            .answers::<DeviceView<'_>>(StatusCode::OK)
            .example(json!({"device_name": "Cellar-2"})),
            update,
        )
        .add(
            Operation::delete(ONE, "delete_device", "Deletes a device")
                .answers_nothing(StatusCode::NO_CONTENT),
            delete,
        )
        .merge(state_routes())
}

/// A device's secret, and whether it may connect.
fn state_routes() -> Routes {
    const ACTION: &str = "/v5/iot/{project_id}/devices/{device_id}/action";
    const FREEZE: &str = "/v5/iot/{project_id}/devices/{device_id}/freeze";
    const UNFREEZE: &str = "/v5/iot/{project_id}/devices/{device_id}/unfreeze";
    Routes::tagged("Devices")
        .add(
            Operation::post(ACTION, "reset_device_secret", "Gives a device a new secret")
                .query(check_action)
                .maybe_body(|f| drop(device_body::secret_reset(f)))
                .answers::<SecretAnswer<'_>>(StatusCode::OK)
                .example(json!({"secret": "ffeeddccbbaa99887766554433221100"})),
            act,
        )
        .add(
            Operation::post(
                FREEZE,
                "freeze_device",
                "Freezes a device: it may not connect",
            )
            .answers_nothing(StatusCode::NO_CONTENT),
            freeze,
        )
        .add(
            Operation::post(
                UNFREEZE,
                "unfreeze_device",
                "Lets a frozen device connect again",
            )
            .answers_nothing(StatusCode::NO_CONTENT),
            unfreeze,
        )
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeviceList")]
struct List<'a> {
    devices: Vec<DeviceSummary<'a>>,
    page: PageInfo,
}

/// `POST …/devices`: 201 with the secret. Errors: 400 bad field, unknown product, id or node id
/// taken.
pub async fn create(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let mut new = read_body(&body, device_body::new_device)?;
    new.app_id = visible_space(&caller, new.app_id)?;
    let product = app.products.show(&new.product_id).ok();
    if product.is_some_and(|p| !caller.may_see(&p.record.app_id)) {
        return Err(DeviceError::NoProduct(new.product_id).into());
    }
    let device = app.devices.create(new).await?;
    let view = DeviceView::of(&device, app.clock.now());
    let made = answer(StatusCode::CREATED, &view);
    Ok(about("device_id", &device.device.device_id, made))
}

/// `GET …/devices`: newest first.
pub async fn list(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut wanted = read_query(&uri, wanted_of)?;
    wanted.app_id = visible_space(&caller, wanted.app_id)?;
    let found = app.devices.list(wanted).await?;
    let now = app.clock.now();
    let devices = found.devices.iter().map(|d| DeviceSummary::of(d, now));
    let list = List {
        devices: devices.collect(),
        page: PageInfo {
            count: found.count,
            marker: found.devices.last().map(|d| marker_of(d.device.seq)),
        },
    };
    Ok(answer(StatusCode::OK, &list))
}

fn wanted_of(query: &Query<'_>) -> DeviceQuery {
    let page = PageQuery::of(query);
    let (created_from, created_to) = query.times("start_time", "end_time");
    DeviceQuery {
        product_id: query.id("product_id", ProductId::parse),
        node_id: query.id("node_id", NodeId::parse),
        app_id: query.id("app_id", AppId::parse),
        device_name: query.text("device_name", TextRule::name(256)),
        gateway_id: query.id("gateway_id", DeviceId::parse),
        cascade: query.boolean("is_cascade_query").unwrap_or(false),
        created_from,
        created_to,
        before: page.before,
        offset: page.offset,
        limit: page.limit,
    }
}

/// `GET …/devices/{device_id}`: without secrets for who may only read, as with them he could send
/// data in the device's name. Errors: 404.
pub async fn show(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    DevicePath(id): DevicePath,
) -> Result<Response, ApiError> {
    let device = app.devices.show(&id)?;
    let mut view = DeviceView::of(&device, app.clock.now());
    if caller.role == Role::ReadOnly {
        (view.auth_info.secret, view.auth_info.secondary_secret) = (None, None);
    }
    Ok(answer(StatusCode::OK, &view))
}

/// `PUT …/devices/{device_id}`: what is absent stays. Errors: 404, 400 bad field.
pub async fn update(
    State(app): State<App>,
    DevicePath(id): DevicePath,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let patch = read_body(&body, device_body::device_patch)?;
    let device = app.devices.update(id, patch).await?;
    let view = DeviceView::of(&device, app.clock.now());
    Ok(answer(StatusCode::OK, &view))
}

/// `DELETE …/devices/{device_id}`: 204. Errors: 404.
pub async fn delete(
    State(app): State<App>,
    DevicePath(id): DevicePath,
) -> Result<StatusCode, ApiError> {
    app.devices.delete(id.clone()).await?;
    app.tracer.stop(&id);
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NewSecret")]
struct SecretAnswer<'a> {
    device_id: &'a DeviceId,
    secret: &'a str,
    /// `PRIMARY` or `SECONDARY`.
    secret_type: &'a str,
}

/// `POST …/devices/{device_id}/action?action_id=resetSecret`. Errors: 404, 400.
pub async fn act(
    State(app): State<App>,
    DevicePath(id): DevicePath,
    uri: Uri,
    MaybeJsonBody(body): MaybeJsonBody,
) -> Result<Response, ApiError> {
    read_query(&uri, check_action)?;
    let reset = read_body(&body, device_body::secret_reset)?;
    let kind = reset.kind;
    let secret = app
        .devices
        .reset_secret(id.clone(), kind, reset.secret, reset.disconnect)
        .await?;
    let shown = SecretAnswer {
        device_id: &id,
        secret: secret.expose(),
        secret_type: match kind {
            SecretKind::Primary => "PRIMARY",
            SecretKind::Secondary => "SECONDARY",
        },
    };
    Ok(answer(StatusCode::OK, &shown))
}

fn check_action(query: &Query<'_>) {
    query.needed_word("action_id", "resetSecret");
}

/// `POST …/devices/{device_id}/freeze`: 204, also when it is frozen already. Errors: 404.
pub async fn freeze(
    State(app): State<App>,
    DevicePath(id): DevicePath,
) -> Result<StatusCode, ApiError> {
    app.devices.freeze(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST …/devices/{device_id}/unfreeze`: 204, also when it is not frozen. Errors: 404.
pub async fn unfreeze(
    State(app): State<App>,
    DevicePath(id): DevicePath,
) -> Result<StatusCode, ApiError> {
    app.devices.unfreeze(id).await?;
    Ok(StatusCode::NO_CONTENT)
}
