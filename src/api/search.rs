//! `…/search/query-devices` of the v5 API: devices by a condition in a subset of SQL
//! (`app::search`).

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::error::ApiError;
use super::input::{Alphabet, Fields, TextRule, read_body};
use super::operation::{Operation, Routes};
use super::page::marker_of;
use super::request::{CallerIs, JsonBody};
use super::respond::json as answer;
use crate::app::App;
use crate::app::device::status::DeviceStatus;
use crate::app::device::view::{DeviceSummary, ModuleView, NodeType};
use crate::app::device::{DeviceDetail, DeviceFind};
use crate::app::group::Memberships;
use crate::app::search::{self, Column, SQL_MAX, Select};
use crate::base::ids::{AppId, DeviceId, GroupId, NodeId, ProductId};
use crate::base::time::Timestamp;
use crate::store::find::Filter;
use crate::store::records::TagRecord;

const SQL: TextRule = TextRule::new(Alphabet::Any, 1, SQL_MAX);

/// What this file serves.
pub fn routes() -> Routes {
    const QUERY: &str = "/v5/iot/{project_id}/search/query-devices";
    Routes::tagged("Search").add(
        Operation::post(QUERY, "search_devices", "Finds devices by a condition")
            .reads()
            .body(|f| drop(sql_of(f)))
            .answers::<Findings<'_>>(StatusCode::OK)
            .example(json!({
                "sql": "select * from device where product_id = 'watermeter' \
                        and status = 'INACTIVE' order by marker desc limit 0, 10"
            })),
        query,
    )
}

/// A device that was found. Columns that were not asked for are null.
#[derive(Serialize, JsonSchema)]
struct FoundDevice<'a> {
    app_id: Option<&'a AppId>,
    app_name: Option<&'a str>,
    device_id: Option<&'a DeviceId>,
    node_id: Option<&'a NodeId>,
    gateway_id: Option<&'a DeviceId>,
    device_name: Option<&'a str>,
    node_type: Option<NodeType>,
    fw_version: Option<&'a str>,
    sw_version: Option<&'a str>,
    device_sdk_version: Option<&'a str>,
    product_id: Option<&'a ProductId>,
    product_name: Option<&'a str>,
    /// Ids of the groups that it is in.
    groups: Option<Vec<GroupId>>,
    status: Option<DeviceStatus>,
    tags: Option<&'a [TagRecord]>,
    modules: Option<[ModuleView; 0]>,
    marker: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SearchResult")]
struct Findings<'a> {
    devices: Vec<FoundDevice<'a>>,
    /// All that fit, whatever the limit.
    count: u64,
}

impl<'a> FoundDevice<'a> {
    fn of(
        detail: &'a DeviceDetail,
        memberships: &Memberships,
        select: &Select,
        now: Timestamp,
    ) -> Self {
        let all = DeviceSummary::of(detail, now);
        let groups = || {
            let groups = memberships.of(detail);
            groups.map(|group| group.record.group_id.clone()).collect()
        };
        let shows = |column| select.shows(column);
        Self {
            app_id: shows(Column::AppId).then_some(all.app_id),
            app_name: shows(Column::AppName).then_some(all.app_name),
            device_id: shows(Column::DeviceId).then_some(all.device_id),
            node_id: shows(Column::NodeId).then_some(all.node_id),
            gateway_id: shows(Column::GatewayId).then_some(all.gateway_id),
            device_name: all.device_name.filter(|_| shows(Column::DeviceName)),
            node_type: shows(Column::NodeType).then_some(all.node_type),
            fw_version: all.fw_version.filter(|_| shows(Column::FwVersion)),
            sw_version: all.sw_version.filter(|_| shows(Column::SwVersion)),
            device_sdk_version: all
                .device_sdk_version
                .filter(|_| shows(Column::DeviceSdkVersion)),
            product_id: shows(Column::ProductId).then_some(all.product_id),
            product_name: all.product_name.filter(|_| shows(Column::ProductName)),
            groups: shows(Column::Groups).then(groups),
            status: shows(Column::Status).then_some(all.status),
            tags: shows(Column::Tags).then_some(all.tags),
            modules: shows(Column::Modules).then_some([]),
            marker: shows(Column::Marker).then(|| marker_of(detail.device.seq)),
        }
    }
}

fn sql_of(fields: &Fields<'_>) -> Option<String> {
    Some(fields.needed_text("sql", SQL))
}

/// `POST …/search/query-devices`. Errors: 400 what can't be read, with its place, or too much.
async fn query(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let sql = read_body(&body, sql_of)?;
    let wanted =
        search::statement(&sql).map_err(|error| ApiError::invalid(format!("sql: {error}")))?;
    let condition = wanted.condition.as_ref();
    let condition = condition.map(|c| app.groups.filter_for(c)).transpose()?;
    let condition = condition.unwrap_or(Filter::All);
    let filter = match caller.space {
        Some(space) => Filter::And(vec![Filter::App(space), condition]),
        None => condition,
    };
    let limit = match wanted.select {
        Select::Count => 0,
        Select::All | Select::Columns(_) => wanted.rows,
    };
    let find = DeviceFind {
        filter,
        order: wanted.order,
        beyond: None,
        offset: wanted.offset,
        limit,
    };
    let found = app.devices.find(find).await?;
    let now = app.clock.now();
    let devices = found.devices.iter();
    let memberships = app.groups.memberships();
    let devices = devices.map(|detail| FoundDevice::of(detail, &memberships, &wanted.select, now));
    let findings = Findings {
        devices: devices.collect(),
        count: found.count,
    };
    Ok(answer(StatusCode::OK, &findings))
}
