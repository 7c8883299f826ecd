//! `…/routing-rule/actions` of the v5 API: where the events of a rule are pushed. Of its channels this
//! server has one, HTTP_FORWARDING.
//!
//! `tls_verify` is this server's own: with `false`, whoever answers is believed to be the subscriber.
//! `token` is taken and never shown.

use std::collections::HashMap;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::error::ApiError;
use super::input::{Alphabet, Fields, Problems, Query, TextRule, read_body, read_query};
use super::operation::{Operation, Routes};
use super::page::PageQuery;
use super::request::{CallerIs, JsonBody, path_id, visible_space};
use super::respond::{about, json as answer};
use super::routing_rules::{APP_TYPES, AppType, is_visible, type_of};
use crate::app::App;
use crate::app::credentials::Caller;
use crate::app::forwarding::{ForwardingError, HttpPatch, NewAction, Snapshot};
use crate::base::ids::{ActionId, AppId, PushCertificateId, RuleId};
use crate::base::secret::Secret;
use crate::store::forwarding::{ActionRecord, RuleRecord};

const ALL: &str = "/v5/iot/{project_id}/routing-rule/actions";
const ONE: &str = "/v5/iot/{project_id}/routing-rule/actions/{action_id}";

/// The channel that is served.
pub(super) const HTTP: &str = "HTTP_FORWARDING";

/// All channels of the v5 API.
pub(super) const CHANNELS: [&str; 12] = [
    HTTP,
    "DIS_FORWARDING",
    "OBS_FORWARDING",
    "AMQP_FORWARDING",
    "DMS_KAFKA_FORWARDING",
    "ROMA_FORWARDING",
    "INFLUXDB_FORWARDING",
    "MYSQL_FORWARDING",
    "FUNCTIONGRAPH_FORWARDING",
    "MRS_KAFKA_FORWARDING",
    "DMS_ROCKETMQ_FORWARDING",
    "MQTT_DEVICE_FORWARDING",
];

/// Judged as a URL where all of it is at hand.
const URL: TextRule = TextRule::new(Alphabet::Any, 1, 2048);
const TOKEN: TextRule = TextRule::new(Alphabet::Plain, 3, 32);
/// An empty text takes the name away. A host's longest name, and a port.
const CN_NAME: TextRule = TextRule::any(259);
/// An empty text takes the certificate away.
const CERT_ID: TextRule = TextRule::new(Alphabet::Id, 0, PushCertificateId::MAX_LEN);

/// What this file serves.
pub fn routes() -> Routes {
    Routes::tagged("Routing rules")
        .add(
            Operation::post(ALL, "create_rule_action", "Creates an action of a rule")
                .body(|f| drop(new_action(f)))
                .answers::<View<'_>>(StatusCode::CREATED)
                .fails(&[StatusCode::NOT_FOUND])
                .example(json!({
                    "rule_id": "example-rule", "channel": HTTP,
                    "channel_detail": {"http_forwarding": {"url": "http://127.0.0.1:9/events"}}
                })),
            create,
        )
        .add(
            Operation::get(ALL, "list_rule_actions", "Lists actions, newest first")
                .query(|q| drop(wanted_of(q)))
                .answers::<List<'_>>(StatusCode::OK),
            list,
        )
        .add(
            Operation::get(ONE, "show_rule_action", "Shows an action")
                .answers::<View<'_>>(StatusCode::OK)
                .fails(&[StatusCode::NOT_FOUND]),
            show,
        )
        .add(
            Operation::put(
                ONE,
                "update_rule_action",
                "Changes an action; what is absent stays",
            )
            .body(|f| drop(patch_of(f)))
            .answers::<View<'_>>(StatusCode::OK)
            .fails(&[StatusCode::NOT_FOUND])
            .example(json!({
                "channel": HTTP,
                "channel_detail": {"http_forwarding": {"url": "http://127.0.0.1:9/other"}}
            })),
            update,
        )
        .add(
            Operation::delete(ONE, "delete_rule_action", "Deletes an action")
                .answers_nothing(StatusCode::NO_CONTENT)
                .fails(&[StatusCode::NOT_FOUND]),
            delete,
        )
}

/// `{action_id}` of the path. One whose rule is not the caller's to see is not there.
pub struct ActionPath(pub ActionId);

impl FromRequestParts<App> for ActionPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let CallerIs(caller) = CallerIs::from_request_parts(parts, app).await?;
        let id = path_id(parts, app, "action_id", ActionId::parse).await?;
        if caller.space.is_some() {
            let snapshot = app.forwarding.snapshot();
            let rule = snapshot.rule(&snapshot.action(&id)?.rule_id);
            if !rule.is_ok_and(|rule| is_visible(&caller, rule)) {
                return Err(ForwardingError::NoAction(id).into());
            }
        }
        Ok(Self(id))
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RoutingRuleAction")]
struct View<'a> {
    action_id: &'a ActionId,
    rule_id: &'a RuleId,
    /// The rule's.
    app_id: Option<&'a AppId>,
    channel: &'a str,
    channel_detail: Detail<'a>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ChannelDetail")]
struct Detail<'a> {
    http_forwarding: HttpView<'a>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "HttpForwarding")]
struct HttpView<'a> {
    url: &'a str,
    cert_id: Option<&'a PushCertificateId>,
    cn_name: Option<&'a str>,
    sni_enable: bool,
    signature_enable: bool,
    /// Always null: what was set is not shown.
    token: Option<&'a str>,
    tls_verify: bool,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RoutingRuleActionList")]
struct List<'a> {
    actions: Vec<View<'a>>,
    count: u64,
    marker: Option<String>,
}

impl<'a> View<'a> {
    fn of(action: &'a ActionRecord, rule: Option<&'a RuleRecord>) -> Self {
        let http = &action.http;
        Self {
            action_id: &action.action_id,
            rule_id: &action.rule_id,
            app_id: rule.and_then(|rule| rule.app_id.as_ref()),
            channel: HTTP,
            channel_detail: Detail {
                http_forwarding: HttpView {
                    url: &http.url,
                    cert_id: http.cert_id.as_ref(),
                    cn_name: http.cn_name.as_deref(),
                    sni_enable: http.sni_enable,
                    signature_enable: http.signature_enable,
                    token: None,
                    tls_verify: http.tls_verify,
                },
            },
        }
    }
}

/// `AddActionReq`.
fn new_action(fields: &Fields<'_>) -> Option<NewAction> {
    let rule_id = fields.needed_id("rule_id", RuleId::parse);
    if !fields.has("channel") {
        fields.missing("channel", HTTP);
    }
    check_channel(fields);
    if !fields.has("channel_detail") {
        fields.missing("channel_detail", "an object with http_forwarding");
    }
    let detail = fields.object("channel_detail")?;
    if !detail.has("http_forwarding") {
        detail.missing("http_forwarding", "an object with url");
    }
    let http = detail.object("http_forwarding")?;
    if !http.has("url") {
        http.missing("url", "http://host/path or https://host/path");
    }
    let http = http_of(&http);
    Some(NewAction {
        rule_id: rule_id?,
        http,
    })
}

/// `UpdateActionReq`.
fn patch_of(fields: &Fields<'_>) -> Option<HttpPatch> {
    check_channel(fields);
    let detail = fields.object("channel_detail");
    let http = detail.and_then(|detail| detail.object("http_forwarding"));
    Some(http.as_ref().map(http_of).unwrap_or_default())
}

/// Tells a channel that this server lacks apart from a word that is none.
fn check_channel(fields: &Fields<'_>) {
    let (refused, ignored) = (Problems::default(), Problems::default());
    let served = fields.within(&refused).choice("channel", &[HTTP]);
    let named = fields.within(&ignored).text("channel", TextRule::any(64));
    match named.filter(|name| served.is_none() && CHANNELS.contains(&name.as_str())) {
        Some(other) => fields.problem(
            "channel",
            format!("{other} is not available on this server, takes {HTTP}"),
        ),
        None => fields.append(refused),
    }
}

fn http_of(fields: &Fields<'_>) -> HttpPatch {
    HttpPatch {
        url: fields.text("url", URL),
        cert_id: fields
            .text("cert_id", CERT_ID)
            .map(|id| PushCertificateId::parse(&id).ok()),
        cn_name: fields
            .text("cn_name", CN_NAME)
            .map(|name| Some(name).filter(|name| !name.is_empty())),
        sni_enable: fields.boolean("sni_enable"),
        signature_enable: fields.boolean("signature_enable"),
        token: fields.text("token", TOKEN).map(Secret::new),
        tls_verify: fields.boolean("tls_verify"),
    }
}

/// `POST …/routing-rule/actions`: 201. Errors: 404 no such rule; 400 bad field, unknown certificate, too
/// many actions of this rule.
async fn create(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let new = read_body(&body, new_action)?;
    let snapshot = app.forwarding.snapshot();
    if !is_visible(&caller, snapshot.rule(&new.rule_id)?) {
        return Err(ForwardingError::NoRule(new.rule_id).into());
    }
    let action = app.forwarding.create_action(new).await?;
    let rule = snapshot.rule(&action.rule_id).ok();
    let made = answer(StatusCode::CREATED, &View::of(&action, rule));
    Ok(about("action_id", &action.action_id, made))
}

/// What a list is narrowed by.
struct Wanted {
    page: PageQuery,
    rule_id: Option<RuleId>,
    channel: Option<&'static str>,
    app_type: Option<AppType>,
    app_id: Option<AppId>,
}

fn wanted_of(query: &Query<'_>) -> Wanted {
    Wanted {
        page: PageQuery::of(query),
        rule_id: query.id("rule_id", RuleId::parse),
        channel: query.one_of("channel", &CHANNELS.map(|channel| (channel, channel))),
        app_type: query.one_of("app_type", &APP_TYPES),
        app_id: query.id("app_id", AppId::parse),
    }
}

impl Wanted {
    fn fits(&self, caller: &Caller, action: &ActionRecord, rule: &RuleRecord) -> bool {
        is_visible(caller, rule)
            && self.channel.is_none_or(|want| want == HTTP)
            && (self.rule_id.as_ref()).is_none_or(|want| *want == action.rule_id)
            && self.app_type.is_none_or(|want| want == type_of(rule))
            && (self.app_id.is_none() || self.app_id == rule.app_id)
    }
}

/// `GET …/routing-rule/actions`: newest first. Errors: 403 foreign space.
async fn list(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut wanted = read_query(&uri, wanted_of)?;
    wanted.app_id = visible_space(&caller, wanted.app_id)?;
    let snapshot = app.forwarding.snapshot();
    let rules = rules_of(&snapshot);
    let rule_of = |action: &ActionRecord| rules.get(&action.rule_id).copied();
    let found = snapshot
        .actions
        .iter()
        .filter(|action| rule_of(action).is_some_and(|rule| wanted.fits(&caller, action, rule)));
    let page = wanted.page.cut(found.collect(), |action| action.seq);
    let shown = page.shown.into_iter();
    let list = List {
        actions: shown.map(|one| View::of(one, rule_of(one))).collect(),
        count: page.count,
        marker: page.marker,
    };
    Ok(answer(StatusCode::OK, &list))
}

fn rules_of(snapshot: &Snapshot) -> HashMap<&RuleId, &RuleRecord> {
    let rules = snapshot.rules.iter();
    rules.map(|rule| (&rule.rule_id, rule)).collect()
}

/// `GET …/routing-rule/actions/{action_id}`. Errors: 404.
async fn show(State(app): State<App>, ActionPath(id): ActionPath) -> Result<Response, ApiError> {
    let snapshot = app.forwarding.snapshot();
    let action = snapshot.action(&id)?;
    let rule = snapshot.rule(&action.rule_id).ok();
    Ok(answer(StatusCode::OK, &View::of(action, rule)))
}

/// `PUT …/routing-rule/actions/{action_id}`: what is absent stays. Errors: 404, 400 bad field, unknown
/// certificate.
async fn update(
    State(app): State<App>,
    ActionPath(id): ActionPath,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let patch = read_body(&body, patch_of)?;
    let action = app.forwarding.update_action(id, patch).await?;
    let snapshot = app.forwarding.snapshot();
    let rule = snapshot.rule(&action.rule_id).ok();
    Ok(answer(StatusCode::OK, &View::of(&action, rule)))
}

/// `DELETE …/routing-rule/actions/{action_id}`: 204. Errors: 404.
async fn delete(
    State(app): State<App>,
    ActionPath(id): ActionPath,
) -> Result<StatusCode, ApiError> {
    app.forwarding.delete_action(id).await?;
    Ok(StatusCode::NO_CONTENT)
}
