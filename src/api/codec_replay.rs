//! `/v1/products/{product_id}/codec/replay` and `…/replays`: uplinks that were kept raw are decoded
//! later.

use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::error::ApiError;
use super::input::{Fields, TextRule, quoted, read_body};
use super::operation::{Operation, Routes};
use super::request::{MaybeJsonBody, ProductPath, path_text};
use super::respond::json as answer;
use crate::app::App;
use crate::app::replay::{MODEL, NewReplay};
use crate::base::ids::DeviceId;
use crate::base::time::Timestamp;
use crate::product::codec::text::hex;
use crate::store::replays::{ReplayOutcome, ReplayRecord, UnreadRecord};

/// Devices that one replay may name.
const DEVICES_MAX: usize = 100;

/// Why uplinks are kept raw. Of those that the model refused in part, what fitted was taken when they came.
const KINDS: [&str; 16] = [
    "no_product",
    "no_codec",
    "unavailable",
    "limit",
    "script",
    "refused",
    "trap",
    "truncated",
    "trailing",
    "unknown_message",
    "checksum",
    "field",
    "output",
    "depth",
    "json",
    MODEL,
];

/// What this file serves.
pub fn routes() -> Routes {
    const REPLAY: &str = "/v1/products/{product_id}/codec/replay";
    const REPLAYS: &str = "/v1/products/{product_id}/codec/replays";
    const ONE: &str = "/v1/products/{product_id}/codec/replays/{replay_id}";
    const STOP: &str = "/v1/products/{product_id}/codec/replays/{replay_id}/stop";
    Routes::tagged("Codecs")
        .add(
            Operation::post(
                REPLAY,
                "replay_uplinks",
                "Decodes uplinks that were kept raw",
            )
            .maybe_body(|f| drop(new_replay(f)))
            .answers::<View>(StatusCode::ACCEPTED)
            .fails(&[StatusCode::CONFLICT])
            .example(json!({"from": "20260101T000000Z", "dry_run": true})),
            begin,
        )
        .add(
            Operation::get(
                REPLAYS,
                "list_replays",
                "Lists a product's replays, newest first",
            )
            .answers::<List>(StatusCode::OK),
            list,
        )
        .add(
            Operation::get(ONE, "show_replay", "Shows how far a replay is")
                .answers::<View>(StatusCode::OK),
            show,
        )
        .add(
            Operation::post(STOP, "stop_replay", "Stops a replay").answers::<View>(StatusCode::OK),
            stop,
        )
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Replays")]
struct List {
    /// The last ten.
    replays: Vec<View>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Replay")]
struct View {
    /// Counts the replays of the product, from 1.
    replay_id: u32,
    product_id: String,
    /// `running`, `done`, `stopped` or `failed`.
    state: &'static str,
    /// Why it failed.
    reason: Option<String>,
    dry_run: bool,
    /// Those that it is for; empty: every device of the product.
    device_ids: Vec<String>,
    from: Option<String>,
    to: String,
    /// Reasons for which uplinks were kept; empty: every one.
    kinds: Vec<String>,
    started_time: String,
    ended_time: Option<String>,
    /// Devices that it has done with.
    devices: u64,
    /// Uplinks that it was for, so far.
    found: u64,
    /// Reports, all of which the model takes.
    decoded: u64,
    /// Reports of which the model takes a part.
    partly: u64,
    /// Responses to commands.
    responses: u64,
    /// Uplinks in which the codec finds nothing to report.
    empty: u64,
    /// What stays raw, by kind.
    unread: Vec<Unread>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UnreadUplinks")]
struct Unread {
    kind: String,
    count: u64,
    first: FirstUnread,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FirstUnreadUplink")]
struct FirstUnread {
    device_id: String,
    received_time: String,
    /// Its first 64 bytes.
    hex: String,
    reason: String,
}

impl From<UnreadRecord> for Unread {
    fn from(record: UnreadRecord) -> Self {
        Self {
            kind: record.kind,
            count: record.count,
            first: FirstUnread {
                device_id: record.device_id.as_str().to_owned(),
                received_time: record.received_at.compact(),
                hex: hex(&record.payload),
                reason: record.reason,
            },
        }
    }
}

impl View {
    fn of(product_id: &str, record: ReplayRecord) -> Self {
        let (ended_time, how) = match record.ended {
            Some(end) => (Some(end.at.compact()), Some(end.how)),
            None => (None, None),
        };
        let (state, reason) = match how {
            None => ("running", None),
            Some(ReplayOutcome::Done) => ("done", None),
            Some(ReplayOutcome::Stopped) => ("stopped", None),
            Some(ReplayOutcome::Failed(reason)) => ("failed", Some(reason)),
        };
        let (wanted, counts) = (record.wanted, record.counts);
        let ids = wanted.device_ids.iter();
        Self {
            replay_id: record.number,
            product_id: product_id.to_owned(),
            state,
            reason,
            dry_run: wanted.dry_run,
            device_ids: ids.map(|id| id.as_str().to_owned()).collect(),
            from: wanted.from.map(Timestamp::compact),
            to: wanted.to.compact(),
            kinds: wanted.kinds,
            started_time: record.started_at.compact(),
            ended_time,
            devices: counts.devices,
            found: counts.found,
            decoded: counts.decoded,
            partly: counts.partly,
            responses: counts.responses,
            empty: counts.empty,
            unread: record.unread.into_iter().map(Unread::from).collect(),
        }
    }
}

/// `{replay_id}` of the path.
pub struct ReplayPath(u32);

impl FromRequestParts<App> for ReplayPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let text = path_text(parts, app, "replay_id").await?;
        let number = text.parse().ok().filter(|number| *number > 0);
        number.map(Self).ok_or_else(|| {
            let got = quoted(&text);
            ApiError::invalid(format!("replay_id: got {got}, takes a number of 1 or more"))
        })
    }
}

/// `POST …/codec/replay`: 202, and it goes on by itself. Errors: 404 no product or codec, 400, 409 while
/// one goes on or the codec is quarantined.
pub async fn begin(
    State(app): State<App>,
    ProductPath(id): ProductPath,
    MaybeJsonBody(body): MaybeJsonBody,
) -> Result<Response, ApiError> {
    let new = read_body(&body, new_replay)?;
    let record = app.replays.begin(id.clone(), new).await?;
    let view = View::of(id.as_str(), record);
    Ok(answer(StatusCode::ACCEPTED, &view))
}

fn new_replay(fields: &Fields<'_>) -> Option<NewReplay> {
    let one = fields.id("device_id", DeviceId::parse);
    let many = fields.ids("device_ids", 1..=DEVICES_MAX, DeviceId::parse);
    let from = time(fields, "from");
    let to = time(fields, "to");
    let kinds = fields.texts("kinds", 1..=KINDS.len(), TextRule::name(32));
    let dry_run = fields.boolean("dry_run").unwrap_or(false);
    fields.refuse_others();
    if fields.has("device_id") && fields.has("device_ids") {
        let problem = "stands beside device_ids: give one of them";
        fields.problem("device_id", problem);
    }
    if let (Some(first), Some(last)) = (from, to)
        && first > last
    {
        let problem = "is later than to, takes the same time or an earlier one";
        fields.problem("from", problem);
    }
    let kinds = kinds.unwrap_or_default();
    if fields.has("kinds") {
        check_kinds(fields, &kinds);
    }
    Some(NewReplay {
        device_ids: many.unwrap_or_else(|| one.into_iter().collect()),
        from,
        to,
        kinds,
        dry_run,
    })
}

fn check_kinds(fields: &Fields<'_>, kinds: &[String]) {
    for (at, kind) in kinds.iter().enumerate() {
        let place = format!("kinds[{at}]");
        if !KINDS.contains(&kind.as_str()) {
            let known = KINDS.join(", ");
            let problem = format!("got {}, takes one of {known}", quoted(kind));
            fields.problem(&place, problem);
        }
    }
}

fn time(fields: &Fields<'_>, name: &'static str) -> Option<Timestamp> {
    let text = fields.text(name, TextRule::any(32))?;
    let time = Timestamp::parse(&text);
    if time.is_none() {
        let got = quoted(&text);
        fields.problem(
            name,
            format!("got {got}, takes a time like 20260131T235959Z"),
        );
    }
    time
}

/// `GET …/codec/replays`. Errors: 404.
pub async fn list(
    State(app): State<App>,
    ProductPath(id): ProductPath,
) -> Result<Response, ApiError> {
    let found = app.replays.list(&id)?.into_iter();
    let replays = found.map(|record| View::of(id.as_str(), record)).collect();
    Ok(answer(StatusCode::OK, &List { replays }))
}

/// `GET …/codec/replays/{replay_id}`. Errors: 404.
pub async fn show(
    State(app): State<App>,
    ProductPath(id): ProductPath,
    ReplayPath(number): ReplayPath,
) -> Result<Response, ApiError> {
    let record = app.replays.show(&id, number)?;
    Ok(answer(StatusCode::OK, &View::of(id.as_str(), record)))
}

/// `POST …/codec/replays/{replay_id}/stop`: answered when it has stopped; one that has ended stays as it is.
/// Errors: 404.
pub async fn stop(
    State(app): State<App>,
    ProductPath(id): ProductPath,
    ReplayPath(number): ReplayPath,
) -> Result<Response, ApiError> {
    let record = app.replays.stop(&id, number).await?;
    Ok(answer(StatusCode::OK, &View::of(id.as_str(), record)))
}
