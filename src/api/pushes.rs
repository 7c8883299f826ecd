//! `/v1/routing-rule/actions/{action_id}/…`: how the pushes of an action are doing, trying it out,
//! and those pushes that its subscriber refused so often that they were set aside.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::error::{ApiError, code};
use super::input::{Fields, Query, quoted, read_body, read_query};
use super::operation::{Operation, Routes};
use super::page::PageInfo;
use super::request::MaybeJsonBody;
use super::respond::json as answer;
use super::routing_actions::ActionPath;
use crate::app::App;
use crate::app::push::Trial;
use crate::app::push::status::Status;
use crate::store::forwarding::{SetAsideKey, SetAsideRecord};

/// Bytes of a body that is pushed to try an action out.
const DATA_MAX: usize = 64 * 1024;
/// Events named in one request.
const POSITIONS_MAX: usize = 1000;

/// What this file serves.
pub fn routes() -> Routes {
    const DELIVERY: &str = "/v1/routing-rule/actions/{action_id}/delivery";
    const TEST: &str = "/v1/routing-rule/actions/{action_id}/test";
    const ASIDE: &str = "/v1/routing-rule/actions/{action_id}/set-aside";
    const RETRY: &str = "/v1/routing-rule/actions/{action_id}/set-aside/retry";
    let not_found = [StatusCode::NOT_FOUND];
    Routes::tagged("Routing rules")
        .add(
            Operation::get(
                DELIVERY,
                "show_delivery",
                "Shows how the pushes of an action are doing",
            )
            .answers::<Status>(StatusCode::OK)
            .fails(&not_found),
            show,
        )
        .add(
            Operation::post(TEST, "test_action", "Pushes once now, to try an action out")
                .maybe_body(|f| drop(data_of(f)))
                .answers::<TrialView>(StatusCode::OK)
                .fails(&not_found)
                .example(json!({"data": {"hello": "subscriber"}})),
            test,
        )
        .add(
            Operation::get(
                ASIDE,
                "list_set_aside",
                "Lists the pushes that were refused too often, newest first",
            )
            .query(|q| {
                page_of(q);
            })
            .answers::<List>(StatusCode::OK)
            .fails(&not_found),
            list,
        )
        .add(
            Operation::post(
                RETRY,
                "retry_set_aside",
                "Pushes what was set aside once more: all, or that of some events",
            )
            .maybe_body(|f| drop(positions_of(f)))
            .answers::<Retrying>(StatusCode::OK)
            .fails(&not_found)
            .example(json!({})),
            retry,
        )
        .add(
            Operation::delete(ASIDE, "clear_set_aside", "Deletes what was set aside")
                .answers::<Cleared>(StatusCode::OK)
                .fails(&not_found),
            clear,
        )
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ActionTest")]
struct TrialView {
    /// Whether the subscriber answered 200.
    delivered: bool,
    /// What it answered; null: nothing.
    status: Option<u16>,
    took_ms: u64,
    error: Option<String>,
    /// What to do about it.
    hint: Option<&'static str>,
    /// The body as it was sent.
    sent: Value,
}

impl From<Trial> for TrialView {
    fn from(trial: Trial) -> Self {
        Self {
            delivered: trial.delivered,
            status: trial.status,
            took_ms: u64::try_from(trial.took.as_millis()).unwrap_or(u64::MAX),
            error: trial.error,
            hint: trial.hint,
            sent: trial.sent,
        }
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SetAsideList")]
struct List {
    set_aside: Vec<AsideView>,
    page: PageInfo,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SetAside")]
struct AsideView {
    /// Of the event, as in `Last-Event-ID` of `/v1/events`.
    position: u64,
    /// When it was set aside.
    time: String,
    /// Tries that failed.
    tries: u32,
    /// What went wrong last.
    reason: String,
    resource: String,
    event: String,
    device_id: Option<String>,
    /// What was pushed.
    body: Value,
}

impl From<SetAsideRecord> for AsideView {
    fn from(record: SetAsideRecord) -> Self {
        let envelope = record.envelope;
        let body = serde_json::from_str(&envelope.json);
        Self {
            position: record.position,
            time: record.at.rfc3339_ms(),
            tries: record.tries,
            reason: record.reason,
            resource: envelope.resource,
            event: envelope.event,
            device_id: envelope.device_id.map(|id| id.to_string()),
            body: body.unwrap_or(Value::String(envelope.json)),
        }
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SetAsideRetry")]
struct Retrying {
    /// Pushes that go once more. Those that are taken leave the list.
    retrying: u64,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SetAsideCleared")]
struct Cleared {
    deleted: u64,
}

/// `GET …/delivery`. Errors: 404.
async fn show(State(app): State<App>, ActionPath(id): ActionPath) -> Result<Response, ApiError> {
    Ok(answer(StatusCode::OK, &app.pushes.status(&id)?))
}

/// `POST …/test` with `{"data"?}`: 200 however it went. Without data, a sample of what the rule takes.
/// Errors: 404, 400 bad field.
async fn test(
    State(app): State<App>,
    ActionPath(id): ActionPath,
    MaybeJsonBody(body): MaybeJsonBody,
) -> Result<Response, ApiError> {
    let data = read_body(&body, data_of)?;
    let trial = app.pushes.try_out(&id, data.map(Value::Object)).await?;
    Ok(answer(StatusCode::OK, &TrialView::from(trial)))
}

/// `GET …/set-aside?limit=&marker=`. Errors: 404, 400.
async fn list(
    State(app): State<App>,
    ActionPath(id): ActionPath,
    uri: Uri,
) -> Result<Response, ApiError> {
    let page = read_query(&uri, page_of)?;
    let found = app.pushes.set_aside(&id, page.before, page.limit)?;
    let page = PageInfo {
        count: app.pushes.status(&id)?.set_aside,
        marker: found.last().map(|last| marker_of(last.key())),
    };
    let list = List {
        set_aside: found.into_iter().map(AsideView::from).collect(),
        page,
    };
    Ok(answer(StatusCode::OK, &list))
}

/// `POST …/set-aside/retry` with `{"positions"?}`: 200, before they are pushed. Errors: 404; 400 bad
/// field, a position where nothing is set aside, an inactive rule.
async fn retry(
    State(app): State<App>,
    ActionPath(id): ActionPath,
    MaybeJsonBody(body): MaybeJsonBody,
) -> Result<Response, ApiError> {
    let positions = read_body(&body, positions_of)?;
    let retrying = app.pushes.push_again(&id, positions).await?;
    Ok(answer(StatusCode::OK, &Retrying { retrying }))
}

/// `DELETE …/set-aside`. Errors: 404.
async fn clear(State(app): State<App>, ActionPath(id): ActionPath) -> Result<Response, ApiError> {
    let deleted = app.pushes.clear_set_aside(&id).await?;
    Ok(answer(StatusCode::OK, &Cleared { deleted }))
}

/// The body of a test.
#[expect(
    clippy::option_option,
    reason = "readers give None when the body can't be read, and data may be left out"
)]
fn data_of(fields: &Fields<'_>) -> Option<Option<Map<String, Value>>> {
    let data = fields.map("data", DATA_MAX);
    fields.refuse_others();
    Some(data)
}

/// The body of a retry.
#[expect(
    clippy::option_option,
    reason = "readers give None when the body can't be read, and positions may be left out"
)]
fn positions_of(fields: &Fields<'_>) -> Option<Option<Vec<u64>>> {
    let positions = fields.integers("positions", 1..=POSITIONS_MAX);
    fields.refuse_others();
    Some(positions)
}

/// A page of what was set aside.
struct AsidePage {
    before: Option<SetAsideKey>,
    limit: usize,
}

fn page_of(query: &Query<'_>) -> AsidePage {
    let limit = query.integer("limit", 1..=50, code::LIMIT);
    let marker = query.raw_like("marker", "^[0-9A-Fa-f]{24}$");
    AsidePage {
        before: marker.and_then(|text| {
            let key = parse_marker(text);
            if key.is_none() {
                let problem = format!("got {}, takes 24 hexadecimal digits", quoted(text));
                query.problem(code::MARKER, "marker", problem);
            }
            key
        }),
        limit: limit.map_or(10, |n| usize::try_from(n).unwrap_or(10)),
    }
}

/// 16 digits of the position, 8 of the index: in order of the list.
fn marker_of(key: SetAsideKey) -> String {
    format!("{:016x}{:08x}", key.position, key.index)
}

fn parse_marker(text: &str) -> Option<SetAsideKey> {
    let is_legal = text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let (position, index) = text.split_at_checked(16).filter(|_| is_legal)?;
    Some(SetAsideKey {
        position: u64::from_str_radix(position, 16).ok()?,
        index: u32::from_str_radix(index, 16).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn markers_come_back_as_they_went(position: u64, index: u32, text in "\\PC{0,30}") {
            let key = SetAsideKey { position, index };
            proptest::prop_assert_eq!(parse_marker(&marker_of(key)), Some(key));
            let _ = parse_marker(&text);
        }
    }
}
