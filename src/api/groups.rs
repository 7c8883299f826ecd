//! `…/device-group` of the v5 API, and the groups of one device.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::error::ApiError;
use super::input::{Alphabet, Fields, Query, TextRule, read_body, read_query};
use super::operation::{Operation, Routes};
use super::page::{PageInfo, PageQuery, marker_of};
use super::request::{CallerIs, DevicePath, GroupPath, JsonBody, space_for, visible_space};
use super::respond::{about, json as answer};
use crate::app::App;
use crate::app::credentials::Caller;
use crate::app::device::{DeviceDetail, DeviceError, DeviceFind};
use crate::app::group::{Group, GroupPatch, NewGroup};
use crate::app::search::RULE_MAX;
use crate::base::ids::{AppId, DeviceId, GroupId, NodeId, ProductId};
use crate::base::time::Timestamp;
use crate::store::find::FindOrder;

const ALL: &str = "/v5/iot/{project_id}/device-group";
const ONE: &str = "/v5/iot/{project_id}/device-group/{group_id}";

/// A rule that is read where all of it is at hand: not empty, and no longer than is kept.
const RULE: TextRule = TextRule::new(Alphabet::Any, 1, RULE_MAX);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
enum GroupType {
    Static,
    Dynamic,
}

const GROUP_TYPES: [(&str, GroupType); 2] = [
    ("STATIC", GroupType::Static),
    ("DYNAMIC", GroupType::Dynamic),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Add,
    Remove,
}

const ACTIONS: [(&str, Action); 2] = [("addDevice", Action::Add), ("removeDevice", Action::Remove)];

/// What this file serves.
pub fn routes() -> Routes {
    Routes::tagged("Groups")
        .add(
            Operation::post(ALL, "add_device_group", "Creates a group of devices")
                .body(|f| drop(new_group(f)))
                .answers::<GroupView>(StatusCode::CREATED)
                .example(json!({"name": "Cellars", "description": "north"})),
            create,
        )
        .add(
            Operation::get(ALL, "list_device_groups", "Lists groups, newest first")
                .query(|q| drop(wanted_of(q)))
                .answers::<GroupList>(StatusCode::OK),
            list,
        )
        .add(
            Operation::get(ONE, "show_device_group", "Shows a group")
                .answers::<GroupView>(StatusCode::OK)
                .fails(&[StatusCode::NOT_FOUND]),
            show,
        )
        .add(
            Operation::put(
                ONE,
                "update_device_group",
                "Changes a group; what is absent stays",
            )
            .body(|f| drop(group_patch(f)))
            .answers::<GroupView>(StatusCode::OK)
            .fails(&[StatusCode::NOT_FOUND])
            .example(json!({"name": "Cellars-2"})),
            update,
        )
        .add(
            Operation::delete(
                ONE,
                "delete_device_group",
                "Deletes a group without groups below it; its devices stay",
            )
            .answers_nothing(StatusCode::NO_CONTENT)
            .fails(&[StatusCode::NOT_FOUND]),
            delete,
        )
        .merge(member_routes())
}

/// Who is in a group, and the other way round.
fn member_routes() -> Routes {
    const ACTION: &str = "/v5/iot/{project_id}/device-group/{group_id}/action";
    const DEVICES: &str = "/v5/iot/{project_id}/device-group/{group_id}/devices";
    const OF_DEVICE: &str = "/v5/iot/{project_id}/devices/{device_id}/list-device-group";
    Routes::tagged("Groups")
        .add(
            Operation::post(
                ACTION,
                "create_or_delete_device_in_group",
                "Puts a device into a group or takes it out",
            )
            .query(|q| drop(wanted_action(q)))
            .answers_nothing(StatusCode::OK)
            .fails(&[StatusCode::NOT_FOUND])
            .example_query(&[
                ("action_id", "addDevice"),
                ("device_id", "watermeter_867725038317248"),
            ]),
            act,
        )
        .add(
            Operation::get(
                DEVICES,
                "show_devices_in_group",
                "Lists the devices of a group, newest first",
            )
            .query(|q| {
                PageQuery::of(q);
            })
            .answers::<MemberList>(StatusCode::OK)
            .fails(&[StatusCode::NOT_FOUND]),
            devices,
        )
        .add(
            Operation::post(
                OF_DEVICE,
                "list_device_groups_by_device",
                "Lists the groups that a device is in, newest first",
            )
            .reads()
            .answers::<GroupsOfDevice>(StatusCode::OK)
            .fails(&[StatusCode::NOT_FOUND]),
            of_device,
        )
}

/// A group in a list.
#[derive(Serialize, JsonSchema)]
struct GroupSummary {
    group_id: GroupId,
    name: String,
    description: Option<String>,
    super_group_id: Option<GroupId>,
    group_type: GroupType,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Group")]
struct GroupView {
    #[serde(flatten)]
    summary: GroupSummary,
    dynamic_group_rule: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct GroupList {
    device_groups: Vec<GroupSummary>,
    page: PageInfo,
}

#[derive(Serialize, JsonSchema)]
struct GroupsOfDevice {
    device_groups: Vec<GroupSummary>,
}

#[derive(Serialize, JsonSchema)]
struct Member {
    device_id: DeviceId,
    node_id: NodeId,
    device_name: Option<String>,
    product_id: ProductId,
}

#[derive(Serialize, JsonSchema)]
struct MemberList {
    devices: Vec<Member>,
    page: PageInfo,
}

impl From<&Group> for GroupSummary {
    fn from(group: &Group) -> Self {
        let record = &group.record;
        Self {
            group_id: record.group_id.clone(),
            name: record.name.clone(),
            description: record.description.clone(),
            super_group_id: record.super_group_id.clone(),
            group_type: type_of(group),
        }
    }
}

impl From<&Group> for GroupView {
    fn from(group: &Group) -> Self {
        Self {
            summary: group.into(),
            dynamic_group_rule: group.record.dynamic_group_rule.clone(),
        }
    }
}

impl From<&DeviceDetail> for Member {
    fn from(detail: &DeviceDetail) -> Self {
        let device = &detail.device;
        Self {
            device_id: device.device_id.clone(),
            node_id: device.node_id.clone(),
            device_name: device.device_name.clone(),
            product_id: device.product_id.clone(),
        }
    }
}

const fn type_of(group: &Group) -> GroupType {
    match group.rule {
        Some(_) => GroupType::Dynamic,
        None => GroupType::Static,
    }
}

/// A body without its space.
struct NewBody {
    app_id: Option<AppId>,
    name: Option<String>,
    description: Option<String>,
    super_group_id: Option<GroupId>,
    rule: Option<String>,
}

fn new_group(fields: &Fields<'_>) -> Option<NewBody> {
    let kind = fields.one_of("group_type", &GROUP_TYPES);
    let rule = fields.text("dynamic_group_rule", RULE);
    let body = NewBody {
        app_id: fields.id("app_id", AppId::parse),
        name: fields.text("name", TextRule::name(64)),
        description: fields.text("description", TextRule::note(64)),
        super_group_id: fields.id("super_group_id", GroupId::parse),
        rule,
    };
    let has_rule = fields.has("dynamic_group_rule");
    match kind.unwrap_or(GroupType::Static) {
        GroupType::Dynamic if !has_rule => fields.problem(
            "dynamic_group_rule",
            "is missing, a DYNAMIC group takes a condition like product_id = 'p1'",
        ),
        GroupType::Static if has_rule => fields.problem(
            "dynamic_group_rule",
            "a STATIC group takes none, group_type DYNAMIC takes one",
        ),
        GroupType::Static | GroupType::Dynamic => {}
    }
    Some(body)
}

fn group_patch(fields: &Fields<'_>) -> Option<GroupPatch> {
    Some(GroupPatch {
        name: fields.text("name", TextRule::name(64)),
        description: fields.text("description", TextRule::note(64)),
    })
}

/// `POST …/device-group`: 201. Errors: 400 bad field, name taken, too many or too deep; 403 foreign
/// space.
async fn create(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let new = read_body(&body, new_group)?;
    let new = NewGroup {
        app_id: space_for(&caller, new.app_id)?,
        name: new.name,
        description: new.description,
        super_group_id: new.super_group_id,
        rule: new.rule,
    };
    let group = app.groups.create(new).await?;
    let made = answer(StatusCode::CREATED, &GroupView::from(&group));
    Ok(about("group_id", &group.record.group_id, made))
}

/// What a list is narrowed by.
struct Wanted {
    page: PageQuery,
    changed_from: Option<Timestamp>,
    app_id: Option<AppId>,
    group_type: Option<GroupType>,
    name: Option<String>,
}

fn wanted_of(query: &Query<'_>) -> Wanted {
    Wanted {
        page: PageQuery::of(query),
        changed_from: query.time("last_modified_time"),
        app_id: query.id("app_id", AppId::parse),
        group_type: query.one_of("group_type", &GROUP_TYPES),
        name: query.text("name", TextRule::name(64)),
    }
}

impl Wanted {
    fn fits(&self, group: &Group) -> bool {
        let record = &group.record;
        let second = |at: Timestamp| at.as_ms() / 1000;
        let changed = second(record.modified_at);
        self.app_id.as_ref().is_none_or(|id| *id == record.app_id)
            && self.name.as_ref().is_none_or(|name| *name == record.name)
            && self.group_type.is_none_or(|kind| kind == type_of(group))
            && self.changed_from.is_none_or(|from| changed >= second(from))
    }
}

/// `GET …/device-group`: newest first; `name` is the whole name. Errors: 403 foreign space.
async fn list(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut wanted = read_query(&uri, wanted_of)?;
    wanted.app_id = visible_space(&caller, wanted.app_id)?;
    let mut found = app.groups.list();
    found.retain(|group| wanted.fits(group));
    let page = wanted.page;
    let shown: Vec<&Group> = found
        .iter()
        .filter(|group| page.before.is_none_or(|before| group.record.seq < before))
        .skip(page.offset)
        .take(page.limit)
        .collect();
    let list = GroupList {
        page: PageInfo {
            count: found.len() as u64,
            marker: shown.last().map(|group| marker_of(group.record.seq)),
        },
        device_groups: shown.into_iter().map(GroupSummary::from).collect(),
    };
    Ok(answer(StatusCode::OK, &list))
}

/// `GET …/device-group/{group_id}`. Errors: 404.
async fn show(State(app): State<App>, GroupPath(id): GroupPath) -> Result<Response, ApiError> {
    let group = app.groups.show(&id)?;
    Ok(answer(StatusCode::OK, &GroupView::from(&group)))
}

/// `PUT …/device-group/{group_id}`: what is absent stays. Errors: 404, 400 bad field, name taken.
async fn update(
    State(app): State<App>,
    GroupPath(id): GroupPath,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let patch = read_body(&body, group_patch)?;
    let group = app.groups.update(id, patch).await?;
    Ok(answer(StatusCode::OK, &GroupView::from(&group)))
}

/// `DELETE …/device-group/{group_id}`: 204. Errors: 404, 400 while groups are below it.
async fn delete(State(app): State<App>, GroupPath(id): GroupPath) -> Result<StatusCode, ApiError> {
    app.groups.delete(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn wanted_action(query: &Query<'_>) -> Option<(Action, DeviceId)> {
    let action = query.needed_one_of("action_id", &ACTIONS);
    let device_id = query.needed_id("device_id", DeviceId::parse);
    action.zip(device_id)
}

/// `POST …/device-group/{group_id}/action?action_id=&device_id=`: 200, also when it is so already.
/// Errors: 404 no group, no device; 400 dynamic group, full group, device in too many groups.
async fn act(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    GroupPath(id): GroupPath,
    uri: Uri,
) -> Result<Response, ApiError> {
    let wanted = read_query(&uri, wanted_action)?;
    let Some((action, device_id)) = wanted else {
        return Err(ApiError::invalid("action_id, device_id: are missing"));
    };
    check_visible(&app, &caller, &device_id)?;
    match action {
        Action::Add => app.groups.add(&id, device_id.clone()).await?,
        Action::Remove => app.groups.remove(&id, device_id.clone()).await?,
    }
    Ok(about("device_id", device_id, StatusCode::OK))
}

/// A device that a body or a query names: of another space it is not there.
pub(super) fn check_visible(app: &App, caller: &Caller, id: &DeviceId) -> Result<(), ApiError> {
    match caller.may_see(&app.devices.show(id)?.device.app_id) {
        true => Ok(()),
        false => Err(DeviceError::NotFound(id.clone()).into()),
    }
}

/// `GET …/device-group/{group_id}/devices`: newest first. Errors: 404.
async fn devices(
    State(app): State<App>,
    GroupPath(id): GroupPath,
    uri: Uri,
) -> Result<Response, ApiError> {
    let page = read_query(&uri, PageQuery::of)?;
    let find = DeviceFind {
        filter: app.groups.filter_of(&id)?,
        order: FindOrder::NewestFirst,
        beyond: page.before,
        offset: page.offset,
        limit: page.limit,
    };
    let found = app.devices.find(find).await?;
    let list = MemberList {
        devices: found.devices.iter().map(Member::from).collect(),
        page: PageInfo {
            count: found.count,
            marker: found.devices.last().map(|d| marker_of(d.device.seq)),
        },
    };
    Ok(answer(StatusCode::OK, &list))
}

/// `POST …/devices/{device_id}/list-device-group`. Errors: 404.
async fn of_device(
    State(app): State<App>,
    DevicePath(id): DevicePath,
) -> Result<Response, ApiError> {
    let device = app.devices.show(&id)?;
    let memberships = app.groups.memberships();
    let list = GroupsOfDevice {
        device_groups: memberships.of(&device).map(GroupSummary::from).collect(),
    };
    Ok(answer(StatusCode::OK, &list))
}
