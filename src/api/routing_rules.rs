//! `…/routing-rule/rules` of the v5 API: which events are pushed.
//!
//! A rule of app_type `APP` belongs to a resource space and takes its events alone; a `GLOBAL` one takes
//! those of all spaces, and is nothing for callers who are bound to one.

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::error::ApiError;
use super::input::{Fields, Query, TextRule, read_body, read_query};
use super::operation::{Operation, Routes};
use super::page::PageQuery;
use super::request::{CallerIs, JsonBody, path_id, space_for, visible_space};
use super::respond::{about, json as answer};
use crate::app::App;
use crate::app::credentials::Caller;
use crate::app::forwarding::subject::{SUBJECTS, events_of, is_subject};
use crate::app::forwarding::{ForwardingError, NewRule, RulePatch};
use crate::base::ids::{AppId, RuleId};
use crate::store::forwarding::RuleRecord;

const ALL: &str = "/v5/iot/{project_id}/routing-rule/rules";
const ONE: &str = "/v5/iot/{project_id}/routing-rule/rules/{rule_id}";

const NAME: TextRule = TextRule::name(256);
/// The v5 API names no bound.
const DESCRIPTION: TextRule = TextRule::any(1024);
const CLAUSE: TextRule = TextRule::any(2500);

/// Whose events a rule takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schemars(rename = "RuleScope")]
pub(super) enum AppType {
    Global,
    App,
}

pub(super) const APP_TYPES: [(&str, AppType); 2] =
    [("GLOBAL", AppType::Global), ("APP", AppType::App)];

/// What this file serves.
pub fn routes() -> Routes {
    Routes::tagged("Routing rules")
        .add(
            Operation::post(ALL, "create_routing_rule", "Creates a rule, not active yet")
                .body(|f| drop(new_rule(f)))
                .answers::<View<'_>>(StatusCode::CREATED)
                .fails(&[StatusCode::FORBIDDEN])
                .example(json!({
                    "rule_name": "Meters",
                    "subject": {"resource": "device.property", "event": "report"},
                    "app_type": "GLOBAL"
                })),
            create,
        )
        .add(
            Operation::get(ALL, "list_routing_rules", "Lists rules, newest first")
                .query(|q| drop(wanted_of(q)))
                .answers::<List<'_>>(StatusCode::OK),
            list,
        )
        .add(
            Operation::get(ONE, "show_routing_rule", "Shows a rule")
                .answers::<View<'_>>(StatusCode::OK)
                .fails(&[StatusCode::NOT_FOUND]),
            show,
        )
        .add(
            Operation::put(
                ONE,
                "update_routing_rule",
                "Changes a rule, switches it on or off; what is absent stays",
            )
            .body(|f| drop(patch_of(f)))
            .answers::<View<'_>>(StatusCode::OK)
            .fails(&[StatusCode::NOT_FOUND])
            .example(json!({"active": true})),
            update,
        )
        .add(
            Operation::delete(
                ONE,
                "delete_routing_rule",
                "Deletes a rule with its actions",
            )
            .answers_nothing(StatusCode::NO_CONTENT)
            .fails(&[StatusCode::NOT_FOUND]),
            delete,
        )
}

/// `{rule_id}` of the path. One that is not the caller's to see is not there.
pub struct RulePath(RuleId);

impl FromRequestParts<App> for RulePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let CallerIs(caller) = CallerIs::from_request_parts(parts, app).await?;
        let id = path_id(parts, app, "rule_id", RuleId::parse).await?;
        if caller.space.is_some() && !is_visible(&caller, app.forwarding.snapshot().rule(&id)?) {
            return Err(ForwardingError::NoRule(id).into());
        }
        Ok(Self(id))
    }
}

/// A rule of all spaces is for callers of all spaces.
pub(super) fn is_visible(caller: &Caller, rule: &RuleRecord) -> bool {
    match &rule.app_id {
        Some(space) => caller.may_see(space),
        None => caller.space.is_none(),
    }
}

pub(super) const fn type_of(rule: &RuleRecord) -> AppType {
    match rule.app_id {
        Some(_) => AppType::App,
        None => AppType::Global,
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RoutingRule")]
struct View<'a> {
    rule_id: &'a RuleId,
    rule_name: Option<&'a str>,
    description: Option<&'a str>,
    subject: Subject<'a>,
    app_type: AppType,
    app_id: Option<&'a AppId>,
    select: Option<&'a str>,
    #[serde(rename = "where")]
    condition: Option<&'a str>,
    active: bool,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RoutingRuleSubject")]
struct Subject<'a> {
    resource: &'a str,
    event: &'a str,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RoutingRuleList")]
struct List<'a> {
    rules: Vec<View<'a>>,
    count: u64,
    marker: Option<String>,
}

impl<'a> From<&'a RuleRecord> for View<'a> {
    fn from(rule: &'a RuleRecord) -> Self {
        Self {
            rule_id: &rule.rule_id,
            rule_name: rule.rule_name.as_deref(),
            description: rule.description.as_deref(),
            subject: Subject {
                resource: &rule.resource,
                event: &rule.event,
            },
            app_type: type_of(rule),
            app_id: rule.app_id.as_ref(),
            select: rule.select.as_deref(),
            condition: rule.condition.as_deref(),
            active: rule.active,
        }
    }
}

/// A body without its space.
struct NewBody {
    rule: NewRule,
    app_type: Option<AppType>,
    app_id: Option<AppId>,
}

/// `AddRuleReq`.
fn new_rule(fields: &Fields<'_>) -> Option<NewBody> {
    let rule_name = fields.text("rule_name", NAME);
    let description = fields.text("description", DESCRIPTION);
    let subject = subject_of(fields);
    let app_type = fields.one_of("app_type", &APP_TYPES);
    let app_id = fields.id("app_id", AppId::parse);
    let (select, condition) = (fields.text("select", CLAUSE), fields.text("where", CLAUSE));
    let (resource, event) = subject?;
    let rule = NewRule {
        rule_name,
        description,
        resource: resource.to_owned(),
        event: event.to_owned(),
        app_id: None,
        select,
        condition,
    };
    Some(NewBody {
        rule,
        app_type,
        app_id,
    })
}

fn resources() -> [&'static str; SUBJECTS.len()] {
    SUBJECTS.map(|(resource, _)| resource)
}

/// Every event, and every resource as the name of all its events.
fn events() -> Vec<&'static str> {
    let mut events = vec!["create", "update", "delete", "report"];
    events.extend(resources());
    events
}

fn subject_of(fields: &Fields<'_>) -> Option<(&'static str, &'static str)> {
    if !fields.has("subject") {
        fields.missing("subject", "an object with resource and event");
    }
    let subject = fields.object("subject")?;
    let (resources, events) = (resources(), events());
    for (name, words) in [("resource", &resources[..]), ("event", &events)] {
        if !subject.has(name) {
            subject.missing(name, format!("one of {}", words.join(", ")));
        }
    }
    let resource = subject.choice("resource", &resources);
    let (resource, event) = resource.zip(subject.choice("event", &events))?;
    if !is_subject(resource, event) {
        let takes = events_of(resource).join(", ");
        let problem = format!(
            "got {event:?}, the resource {resource} takes {takes}, or its own name for all"
        );
        subject.problem("event", problem);
        return None;
    }
    Some((resource, event))
}

/// The space of a new rule; `None`: all of them. A bound caller's rules are of his space.
fn space_of(
    caller: &Caller,
    app_type: Option<AppType>,
    app_id: Option<AppId>,
) -> Result<Option<AppId>, ApiError> {
    let default = match &caller.space {
        Some(_) => AppType::App,
        None => AppType::Global,
    };
    match (app_type.unwrap_or(default), &caller.space) {
        (AppType::App, _) => space_for(caller, app_id).map(Some),
        (AppType::Global, Some(own)) => Err(ApiError::foreign_space(format!(
            "app_type: got GLOBAL, the caller is bound to the resource space {own}, takes APP"
        ))),
        (AppType::Global, None) if app_id.is_some() => Err(ApiError::invalid(
            "app_id: a rule of app_type GLOBAL takes none, one of app_type APP takes it",
        )),
        (AppType::Global, None) => Ok(None),
    }
}

/// `POST …/routing-rule/rules`: 201. Errors: 400 bad field, select or where that can't be read, too many
/// rules; 403 unknown or another space, GLOBAL by a caller bound to a space.
async fn create(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let mut new = read_body(&body, new_rule)?;
    new.rule.app_id = space_of(&caller, new.app_type, new.app_id)?;
    let rule = app.forwarding.create_rule(new.rule).await?;
    let made = answer(StatusCode::CREATED, &View::from(&rule));
    Ok(about("rule_id", &rule.rule_id, made))
}

/// What a list is narrowed by.
struct Wanted {
    page: PageQuery,
    resource: Option<&'static str>,
    event: Option<&'static str>,
    app_type: Option<AppType>,
    app_id: Option<AppId>,
    rule_name: Option<String>,
    active: Option<bool>,
}

fn wanted_of(query: &Query<'_>) -> Wanted {
    let of_words = |name, words: &[&'static str]| {
        let table: Vec<(&'static str, &'static str)> = words.iter().map(|w| (*w, *w)).collect();
        query.one_of(name, &table)
    };
    Wanted {
        page: PageQuery::of(query),
        resource: of_words("resource", &resources()),
        event: of_words("event", &events()),
        app_type: query.one_of("app_type", &APP_TYPES),
        app_id: query.id("app_id", AppId::parse),
        rule_name: query.text("rule_name", NAME),
        active: query.boolean("active"),
    }
}

impl Wanted {
    fn fits(&self, rule: &RuleRecord) -> bool {
        self.resource.is_none_or(|want| want == rule.resource)
            && self.event.is_none_or(|want| want == rule.event)
            && self.app_type.is_none_or(|want| want == type_of(rule))
            && (self.app_id.is_none() || self.app_id == rule.app_id)
            && (self.rule_name.is_none() || self.rule_name == rule.rule_name)
            && self.active.is_none_or(|want| want == rule.active)
    }
}

/// `GET …/routing-rule/rules`: newest first; `rule_name` is the whole name. Errors: 403 foreign space.
async fn list(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut wanted = read_query(&uri, wanted_of)?;
    wanted.app_id = visible_space(&caller, wanted.app_id)?;
    let snapshot = app.forwarding.snapshot();
    let found = snapshot.rules.iter().filter(|rule| wanted.fits(rule));
    let page = wanted.page.cut(found.collect(), |rule| rule.seq);
    let list = List {
        rules: page.shown.into_iter().map(View::from).collect(),
        count: page.count,
        marker: page.marker,
    };
    Ok(answer(StatusCode::OK, &list))
}

/// `GET …/routing-rule/rules/{rule_id}`. Errors: 404.
async fn show(State(app): State<App>, RulePath(id): RulePath) -> Result<Response, ApiError> {
    let snapshot = app.forwarding.snapshot();
    Ok(answer(StatusCode::OK, &View::from(snapshot.rule(&id)?)))
}

/// `UpdateRuleReq`.
fn patch_of(fields: &Fields<'_>) -> Option<RulePatch> {
    Some(RulePatch {
        rule_name: fields.text("rule_name", NAME),
        description: fields.text("description", DESCRIPTION),
        select: fields.text("select", CLAUSE),
        condition: fields.text("where", CLAUSE),
        active: fields.boolean("active"),
    })
}

/// `PUT …/routing-rule/rules/{rule_id}`: what is absent stays, an empty clause goes. Errors: 404, 400 bad
/// field, select or where that can't be read.
async fn update(
    State(app): State<App>,
    RulePath(id): RulePath,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let patch = read_body(&body, patch_of)?;
    let rule = app.forwarding.update_rule(id, patch).await?;
    Ok(answer(StatusCode::OK, &View::from(&rule)))
}

/// `DELETE …/routing-rule/rules/{rule_id}`: 204; its actions go with it. Errors: 404.
async fn delete(State(app): State<App>, RulePath(id): RulePath) -> Result<StatusCode, ApiError> {
    app.forwarding.delete_rule(id).await?;
    Ok(StatusCode::NO_CONTENT)
}
