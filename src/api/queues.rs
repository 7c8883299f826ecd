//! `…/amqp-queues` and `…/auth/accesscode` of the v5 API: queues, and who may read them. They belong to all
//! resource spaces.
//!
//! An access code is shown once, to who creates it; a new one ends the one before.

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::error::ApiError;
use super::input::{Alphabet, Fields, Query, TextRule, read_body, read_query};
use super::operation::{Operation, Routes};
use super::page::{PageInfo, PageQuery};
use super::request::{ForAllSpaces, JsonBody, MaybeJsonBody, path_id};
use super::respond::{about, json as answer};
use crate::app::App;
use crate::base::ids::{AccessKey, QueueId};
use crate::store::forwarding::{AccessKind, QueueRecord};

/// What the API and its guide take, both: they differ.
const NAME: TextRule = TextRule::new(Alphabet::Queue, 8, 128);
/// A part of a name.
const PART: TextRule = TextRule::new(Alphabet::Queue, 0, 128);

const KINDS: [(&str, AccessKind); 2] = [("AMQP", AccessKind::Amqp), ("MQTT", AccessKind::Mqtt)];

/// What this file serves.
pub fn routes() -> Routes {
    const ALL: &str = "/v5/iot/{project_id}/amqp-queues";
    const ONE: &str = "/v5/iot/{project_id}/amqp-queues/{queue_id}";
    const ACCESS: &str = "/v5/iot/{project_id}/auth/accesscode";
    const BOUND: &[StatusCode] = &[StatusCode::FORBIDDEN];
    Routes::tagged("Queues")
        .add(
            Operation::post(ALL, "add_queue", "Creates a queue")
                .body(|f| drop(new_queue(f)))
                .answers::<View<'_>>(StatusCode::CREATED)
                .fails(BOUND)
                .example(json!({"queue_name": "Water.meters"})),
            create,
        )
        .add(
            Operation::get(ALL, "batch_show_queue", "Lists queues, newest first")
                .query(|q| drop(wanted_of(q)))
                .answers::<List<'_>>(StatusCode::OK)
                .fails(BOUND),
            list,
        )
        .add(
            Operation::get(ONE, "show_queue", "Shows a queue")
                .answers::<View<'_>>(StatusCode::OK)
                .fails(BOUND),
            show,
        )
        .add(
            Operation::delete(ONE, "delete_queue", "Deletes a queue")
                .answers_nothing(StatusCode::NO_CONTENT)
                .fails(BOUND),
            delete,
        )
        .add(
            Operation::post(
                ACCESS,
                "create_access_code",
                "Makes a new access code, which ends the one before",
            )
            .maybe_body(|f| {
                new_access(f);
            })
            .answers::<Access<'_>>(StatusCode::CREATED)
            .fails(BOUND)
            .example(json!({"type": "AMQP"})),
            create_access,
        )
}

/// `{queue_id}` of the path, of a caller for all spaces.
pub struct QueuePath(QueueId);

impl FromRequestParts<App> for QueuePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        ForAllSpaces::from_request_parts(parts, app).await?;
        let id = path_id(parts, app, "queue_id", QueueId::parse).await?;
        Ok(Self(id))
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Queue")]
struct View<'a> {
    queue_id: &'a QueueId,
    queue_name: &'a str,
    create_time: String,
    last_modify_time: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "QueueList")]
struct List<'a> {
    queues: Vec<View<'a>>,
    page: PageInfo,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AccessCode")]
struct Access<'a> {
    access_key: &'a AccessKey,
    access_code: &'a str,
}

impl<'a> From<&'a QueueRecord> for View<'a> {
    fn from(queue: &'a QueueRecord) -> Self {
        Self {
            queue_id: &queue.queue_id,
            queue_name: &queue.queue_name,
            create_time: queue.created_at.compact(),
            last_modify_time: queue.modified_at.compact(),
        }
    }
}

/// `QueueInfo`.
fn new_queue(fields: &Fields<'_>) -> Option<String> {
    Some(fields.needed_text("queue_name", NAME))
}

/// `POST …/amqp-queues`: 201. Errors: 400 bad or taken name, too many; 403 a bound caller.
async fn create(
    State(app): State<App>,
    _: ForAllSpaces,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let name = read_body(&body, new_queue)?;
    let queue = app.forwarding.create_queue(name).await?;
    let made = answer(StatusCode::CREATED, &View::from(&queue));
    Ok(about("queue_id", &queue.queue_id, made))
}

fn wanted_of(query: &Query<'_>) -> (PageQuery, String) {
    let part = query.text("queue_name", PART);
    (PageQuery::of(query), part.unwrap_or_default())
}

/// `GET …/amqp-queues`: newest first, those with `queue_name` in their names. Errors: 403 a bound caller.
async fn list(State(app): State<App>, _: ForAllSpaces, uri: Uri) -> Result<Response, ApiError> {
    let (page, part) = read_query(&uri, wanted_of)?;
    let snapshot = app.forwarding.snapshot();
    let found = snapshot.queues.iter();
    let found = found.filter(|queue| queue.queue_name.contains(&part));
    let page = page.cut(found.collect(), |queue| queue.seq);
    let list = List {
        queues: page.shown.into_iter().map(View::from).collect(),
        page: PageInfo {
            count: page.count,
            marker: page.marker,
        },
    };
    Ok(answer(StatusCode::OK, &list))
}

/// `GET …/amqp-queues/{queue_id}`. Errors: 404, 403 a bound caller.
async fn show(State(app): State<App>, QueuePath(id): QueuePath) -> Result<Response, ApiError> {
    let snapshot = app.forwarding.snapshot();
    Ok(answer(StatusCode::OK, &View::from(snapshot.queue(&id)?)))
}

/// `DELETE …/amqp-queues/{queue_id}`: 204. Errors: 404, 403 a bound caller.
async fn delete(State(app): State<App>, QueuePath(id): QueuePath) -> Result<StatusCode, ApiError> {
    app.forwarding.delete_queue(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `CreateAccessCodeRequestBody`. Nobody is connected, so `force_disconnect` has nothing to end.
fn new_access(fields: &Fields<'_>) -> Option<AccessKind> {
    let kind = fields.one_of("type", &KINDS);
    fields.boolean("force_disconnect");
    Some(kind.unwrap_or(AccessKind::Amqp))
}

/// `POST …/auth/accesscode`: 201; the pair before is not valid any more. Errors: 400 bad field, 403 a bound
/// caller.
async fn create_access(
    State(app): State<App>,
    _: ForAllSpaces,
    MaybeJsonBody(body): MaybeJsonBody,
) -> Result<Response, ApiError> {
    let kind = read_body(&body, new_access)?;
    let access = app.forwarding.create_access(kind).await?;
    let shown = Access {
        access_key: &access.access_key,
        access_code: access.access_code.expose(),
    };
    let made = answer(StatusCode::CREATED, &shown);
    Ok(about("access_key", &access.access_key, made))
}
