//! `…/routing-rule/backlog-policy` and `…/routing-rule/flowcontrol-policy` of the v5 API: how much may wait
//! for subscribers, and how fast it goes. They belong to all resource spaces.

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::error::ApiError;
use super::input::{Alphabet, Fields, Query, TextRule, quoted, read_body, read_query};
use super::operation::{Operation, Routes};
use super::page::PageQuery;
use super::request::{ForAllSpaces, JsonBody, path_id};
use super::respond::{about, json as answer};
use crate::app::App;
use crate::app::forwarding::{BacklogPatch, FlowPatch, NewBacklog, NewFlow};
use crate::base::ids::PolicyId;
use crate::store::forwarding::{BacklogRecord, FlowRecord, FlowScope};

/// Bytes and seconds that a backlog policy bounds at most, which are those of a policy without them.
const SIZE_MAX: u32 = 1_073_741_823;
const TIME_MAX_S: u32 = 86_399;

/// Pushes a second that a flow-control policy allows at most, which are those of a policy without them.
const LIMIT_MAX: u32 = 1000;

const NAME: TextRule = TextRule::name(256);
const NOTE: TextRule = TextRule::note(256);
/// The name of a channel, or an id.
const SCOPE_VALUE: TextRule = TextRule::new(Alphabet::Id, 1, 36);

const SCOPES: [(&str, FlowScope); 4] = [
    ("USER", FlowScope::User),
    ("CHANNEL", FlowScope::Channel),
    ("RULE", FlowScope::Rule),
    ("ACTION", FlowScope::Action),
];

/// Channels that a policy may name.
const CHANNELS: [&str; 5] = [
    "HTTP_FORWARDING",
    "DIS_FORWARDING",
    "OBS_FORWARDING",
    "AMQP_FORWARDING",
    "DMS_KAFKA_FORWARDING",
];

/// What this file serves.
pub fn routes() -> Routes {
    backlog_routes().merge(flow_routes())
}

fn backlog_routes() -> Routes {
    const ALL: &str = "/v5/iot/{project_id}/routing-rule/backlog-policy";
    const ONE: &str = "/v5/iot/{project_id}/routing-rule/backlog-policy/{policy_id}";
    const BOUND: &[StatusCode] = &[StatusCode::FORBIDDEN];
    Routes::tagged("Push policies")
        .add(
            Operation::post(
                ALL,
                "create_routing_backlog_policy",
                "Creates a policy of how much may wait",
            )
            .body(|f| drop(new_backlog(f)))
            .answers::<Backlog<'_>>(StatusCode::CREATED)
            .fails(BOUND)
            .example(
                json!({"policy_name": "Small", "backlog_size": 1048576, "backlog_time": 3600}),
            ),
            create_backlog,
        )
        .add(
            Operation::get(
                ALL,
                "list_routing_backlog_policy",
                "Lists backlog policies, newest first",
            )
            .query(|q| drop(wanted_backlogs(q)))
            .answers::<Backlogs<'_>>(StatusCode::OK)
            .fails(BOUND),
            list_backlogs,
        )
        .add(
            Operation::get(ONE, "show_routing_backlog_policy", "Shows a backlog policy")
                .answers::<Backlog<'_>>(StatusCode::OK)
                .fails(BOUND),
            show_backlog,
        )
        .add(
            Operation::put(
                ONE,
                "update_routing_backlog_policy",
                "Changes a backlog policy; what is absent stays",
            )
            .body(|f| drop(backlog_patch(f)))
            .answers::<Backlog<'_>>(StatusCode::OK)
            .fails(BOUND)
            .example(json!({"backlog_time": 7200})),
            update_backlog,
        )
        .add(
            Operation::delete(
                ONE,
                "delete_routing_backlog_policy",
                "Deletes a backlog policy",
            )
            .answers_nothing(StatusCode::NO_CONTENT)
            .fails(BOUND),
            delete_backlog,
        )
}

fn flow_routes() -> Routes {
    const ALL: &str = "/v5/iot/{project_id}/routing-rule/flowcontrol-policy";
    const ONE: &str = "/v5/iot/{project_id}/routing-rule/flowcontrol-policy/{policy_id}";
    const BOUND: &[StatusCode] = &[StatusCode::FORBIDDEN];
    const ID: &[(&str, &str)] = &[("policy_id", "example-flow-policy")];
    Routes::tagged("Push policies")
        .add(
            Operation::post(
                ALL,
                "create_routing_flow_control_policy",
                "Creates a policy of how many pushes leave in a second",
            )
            .body(|f| drop(new_flow(f)))
            .answers::<Flow<'_>>(StatusCode::CREATED)
            .fails(BOUND)
            .example(json!({"policy_name": "Slow", "scope": "USER", "limit": 100})),
            create_flow,
        )
        .add(
            Operation::get(
                ALL,
                "list_routing_flow_control_policy",
                "Lists flow-control policies, newest first",
            )
            .query(|q| drop(wanted_flows(q)))
            .answers::<Flows<'_>>(StatusCode::OK)
            .fails(BOUND),
            list_flows,
        )
        .add(
            Operation::get(
                ONE,
                "show_routing_flow_control_policy",
                "Shows a flow-control policy",
            )
            .answers::<Flow<'_>>(StatusCode::OK)
            .fails(BOUND)
            .example_path(ID),
            show_flow,
        )
        .add(
            Operation::put(
                ONE,
                "update_routing_flow_control_policy",
                "Changes a flow-control policy; what is absent stays",
            )
            .body(|f| drop(flow_patch(f)))
            .answers::<Flow<'_>>(StatusCode::OK)
            .fails(BOUND)
            .example_path(ID)
            .example(json!({"limit": 200})),
            update_flow,
        )
        .add(
            Operation::delete(
                ONE,
                "delete_routing_flow_control_policy",
                "Deletes a flow-control policy",
            )
            .answers_nothing(StatusCode::NO_CONTENT)
            .fails(BOUND)
            .example_path(ID),
            delete_flow,
        )
}

/// `{policy_id}` of the path, of a caller for all spaces.
pub struct PolicyPath(PolicyId);

impl FromRequestParts<App> for PolicyPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        ForAllSpaces::from_request_parts(parts, app).await?;
        let id = path_id(parts, app, "policy_id", PolicyId::parse).await?;
        Ok(Self(id))
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BacklogPolicy")]
struct Backlog<'a> {
    policy_id: &'a PolicyId,
    policy_name: Option<&'a str>,
    description: Option<&'a str>,
    /// Bytes.
    backlog_size: u64,
    /// Seconds.
    backlog_time: u64,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BacklogPolicyList")]
struct Backlogs<'a> {
    backlog_policies: Vec<Backlog<'a>>,
    count: u64,
    marker: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FlowControlPolicy")]
struct Flow<'a> {
    policy_id: &'a PolicyId,
    policy_name: Option<&'a str>,
    description: Option<&'a str>,
    scope: &'static str,
    scope_value: Option<&'a str>,
    /// Pushes a second.
    limit: u32,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FlowControlPolicyList")]
struct Flows<'a> {
    flowcontrol_policies: Vec<Flow<'a>>,
    count: u64,
    marker: Option<String>,
}

impl<'a> From<&'a BacklogRecord> for Backlog<'a> {
    fn from(policy: &'a BacklogRecord) -> Self {
        Self {
            policy_id: &policy.policy_id,
            policy_name: policy.policy_name.as_deref(),
            description: policy.description.as_deref(),
            backlog_size: policy.backlog_size_bytes,
            backlog_time: policy.backlog_time_s,
        }
    }
}

impl<'a> From<&'a FlowRecord> for Flow<'a> {
    fn from(policy: &'a FlowRecord) -> Self {
        Self {
            policy_id: &policy.policy_id,
            policy_name: policy.policy_name.as_deref(),
            description: policy.description.as_deref(),
            scope: word_of(policy.scope),
            scope_value: policy.scope_value.as_deref(),
            limit: policy.limit_per_s,
        }
    }
}

const fn word_of(scope: FlowScope) -> &'static str {
    match scope {
        FlowScope::User => "USER",
        FlowScope::Channel => "CHANNEL",
        FlowScope::Rule => "RULE",
        FlowScope::Action => "ACTION",
    }
}

/// `AddBacklogPolicy`.
fn new_backlog(fields: &Fields<'_>) -> Option<NewBacklog> {
    let patch = backlog_patch(fields)?;
    Some(NewBacklog {
        policy_name: patch.policy_name,
        description: patch.description,
        backlog_size_bytes: patch.backlog_size_bytes.unwrap_or_else(|| SIZE_MAX.into()),
        backlog_time_s: patch.backlog_time_s.unwrap_or_else(|| TIME_MAX_S.into()),
    })
}

/// `UpdateBacklogPolicy`.
fn backlog_patch(fields: &Fields<'_>) -> Option<BacklogPatch> {
    Some(BacklogPatch {
        policy_name: fields.text("policy_name", NAME),
        description: fields.text("description", NOTE),
        backlog_size_bytes: fields.integer("backlog_size", 0..=SIZE_MAX).map(u64::from),
        backlog_time_s: fields
            .integer("backlog_time", 0..=TIME_MAX_S)
            .map(u64::from),
    })
}

/// `POST …/routing-rule/backlog-policy`: 201. Errors: 400 bad field, too many; 403 a bound caller.
async fn create_backlog(
    State(app): State<App>,
    _: ForAllSpaces,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let new = read_body(&body, new_backlog)?;
    let policy = app.forwarding.create_backlog(new).await?;
    let made = answer(StatusCode::CREATED, &Backlog::from(&policy));
    Ok(about("policy_id", &policy.policy_id, made))
}

fn wanted_backlogs(query: &Query<'_>) -> (PageQuery, Option<String>) {
    (PageQuery::of(query), query.text("policy_name", NAME))
}

/// `GET …/routing-rule/backlog-policy`: newest first. Errors: 403 a bound caller.
async fn list_backlogs(
    State(app): State<App>,
    _: ForAllSpaces,
    uri: Uri,
) -> Result<Response, ApiError> {
    let (page, name) = read_query(&uri, wanted_backlogs)?;
    let snapshot = app.forwarding.snapshot();
    let found = snapshot.backlogs.iter();
    let found = found.filter(|policy| name.is_none() || policy.policy_name == name);
    let page = page.cut(found.collect(), |policy| policy.seq);
    let list = Backlogs {
        backlog_policies: page.shown.into_iter().map(Backlog::from).collect(),
        count: page.count,
        marker: page.marker,
    };
    Ok(answer(StatusCode::OK, &list))
}

/// `GET …/routing-rule/backlog-policy/{policy_id}`. Errors: 404, 403 a bound caller.
async fn show_backlog(
    State(app): State<App>,
    PolicyPath(id): PolicyPath,
) -> Result<Response, ApiError> {
    let snapshot = app.forwarding.snapshot();
    Ok(answer(
        StatusCode::OK,
        &Backlog::from(snapshot.backlog(&id)?),
    ))
}

/// `PUT …/routing-rule/backlog-policy/{policy_id}`: what is absent stays. Errors: 404, 400 bad field, 403
/// a bound caller.
async fn update_backlog(
    State(app): State<App>,
    PolicyPath(id): PolicyPath,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let patch = read_body(&body, backlog_patch)?;
    let policy = app.forwarding.update_backlog(id, patch).await?;
    Ok(answer(StatusCode::OK, &Backlog::from(&policy)))
}

/// `DELETE …/routing-rule/backlog-policy/{policy_id}`: 204. Errors: 404, 403 a bound caller.
async fn delete_backlog(
    State(app): State<App>,
    PolicyPath(id): PolicyPath,
) -> Result<StatusCode, ApiError> {
    app.forwarding.delete_backlog(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `AddFlowControlPolicy`.
fn new_flow(fields: &Fields<'_>) -> Option<NewFlow> {
    let patch = flow_patch(fields)?;
    let scope = fields.one_of("scope", &SCOPES);
    let scope_value = fields.text("scope_value", SCOPE_VALUE);
    let has_value = fields.has("scope_value");
    // A scope that is wrong was told; nothing follows from it.
    if scope.is_none() && fields.has("scope") {
        return None;
    }
    let scope = scope.unwrap_or(FlowScope::User);
    match (scope, scope_value.as_deref()) {
        (FlowScope::User, _) if has_value => {
            fields.problem("scope_value", "the scope USER takes none");
        }
        (FlowScope::Channel, Some(name)) if !CHANNELS.contains(&name) => {
            let (got, takes) = (quoted(name), CHANNELS.join(", "));
            fields.problem("scope_value", format!("got {got}, takes one of {takes}"));
        }
        (FlowScope::Channel, None) if !has_value => {
            let problem = format!("is missing, takes one of {}", CHANNELS.join(", "));
            fields.problem("scope_value", problem);
        }
        (FlowScope::Rule | FlowScope::Action, None) if !has_value => {
            let problem = format!("is missing, the scope {} takes an id", word_of(scope));
            fields.problem("scope_value", problem);
        }
        _ => {}
    }
    Some(NewFlow {
        policy_name: patch.policy_name,
        description: patch.description,
        scope,
        scope_value,
        limit_per_s: patch.limit_per_s.unwrap_or(LIMIT_MAX),
    })
}

/// `UpdateFlowControlPolicy`.
fn flow_patch(fields: &Fields<'_>) -> Option<FlowPatch> {
    Some(FlowPatch {
        policy_name: fields.text("policy_name", NAME),
        description: fields.text("description", NOTE),
        limit_per_s: fields.integer("limit", 1..=LIMIT_MAX),
    })
}

/// `POST …/routing-rule/flowcontrol-policy`: 201. Errors: 400 bad field, a rule or an action that is not
/// there, too many; 403 a bound caller.
async fn create_flow(
    State(app): State<App>,
    _: ForAllSpaces,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let new = read_body(&body, new_flow)?;
    let policy = app.forwarding.create_flow(new).await?;
    let made = answer(StatusCode::CREATED, &Flow::from(&policy));
    Ok(about("policy_id", &policy.policy_id, made))
}

/// What a list of flow-control policies is narrowed by.
struct WantedFlows {
    page: PageQuery,
    scope: Option<FlowScope>,
    scope_value: Option<String>,
    policy_name: Option<String>,
}

fn wanted_flows(query: &Query<'_>) -> WantedFlows {
    WantedFlows {
        page: PageQuery::of(query),
        scope: query.one_of("scope", &SCOPES),
        scope_value: query.text("scope_value", SCOPE_VALUE),
        policy_name: query.text("policy_name", NAME),
    }
}

impl WantedFlows {
    fn fits(&self, policy: &FlowRecord) -> bool {
        self.scope.is_none_or(|want| want == policy.scope)
            && (self.scope_value.is_none() || self.scope_value == policy.scope_value)
            && (self.policy_name.is_none() || self.policy_name == policy.policy_name)
    }
}

/// `GET …/routing-rule/flowcontrol-policy`: newest first. Errors: 403 a bound caller.
async fn list_flows(
    State(app): State<App>,
    _: ForAllSpaces,
    uri: Uri,
) -> Result<Response, ApiError> {
    let wanted = read_query(&uri, wanted_flows)?;
    let snapshot = app.forwarding.snapshot();
    let found = snapshot.flows.iter().filter(|policy| wanted.fits(policy));
    let page = wanted.page.cut(found.collect(), |policy| policy.seq);
    let list = Flows {
        flowcontrol_policies: page.shown.into_iter().map(Flow::from).collect(),
        count: page.count,
        marker: page.marker,
    };
    Ok(answer(StatusCode::OK, &list))
}

/// `GET …/routing-rule/flowcontrol-policy/{policy_id}`. Errors: 404, 403 a bound caller.
async fn show_flow(
    State(app): State<App>,
    PolicyPath(id): PolicyPath,
) -> Result<Response, ApiError> {
    let snapshot = app.forwarding.snapshot();
    Ok(answer(StatusCode::OK, &Flow::from(snapshot.flow(&id)?)))
}

/// `PUT …/routing-rule/flowcontrol-policy/{policy_id}`: what is absent stays. Errors: 404, 400 bad field,
/// 403 a bound caller.
async fn update_flow(
    State(app): State<App>,
    PolicyPath(id): PolicyPath,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let patch = read_body(&body, flow_patch)?;
    let policy = app.forwarding.update_flow(id, patch).await?;
    Ok(answer(StatusCode::OK, &Flow::from(&policy)))
}

/// `DELETE …/routing-rule/flowcontrol-policy/{policy_id}`: 204. Errors: 404, 403 a bound caller.
async fn delete_flow(
    State(app): State<App>,
    PolicyPath(id): PolicyPath,
) -> Result<StatusCode, ApiError> {
    app.forwarding.delete_flow(id).await?;
    Ok(StatusCode::NO_CONTENT)
}
