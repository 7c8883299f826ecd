//! `…/devices/{device_id}/async-commands` and `…/async-commands-history` of the v5 API: commands
//! that devices get at once or when they wake up, and what became of them.
//!
//! The list holds what is open (PENDING, SENT, DELIVERED), the history what has ended and what rests
//! as DELIVERED because nothing answered in time. A page's marker is the id of its last command.

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::command_body::{COMMAND_NAME, expire_time, new_command, strategy_word, submission_name};
use super::error::{ApiError, code};
use super::input::{Query, quoted, read_body, read_query};
use super::operation::{Operation, Routes};
use super::page::PageInfo;
use super::request::{DevicePath, JsonBody, path_text};
use super::respond::{about, json as answer};
use crate::app::App;
use crate::app::command::transit::status_word;
use crate::app::command::{CommandFilter, CommandList};
use crate::app::envelope::result_code;
use crate::base::ids::{CommandId, DeviceId};
use crate::base::time::Timestamp;
use crate::store::commands::{CommandRecord, CommandStatus};

/// What this file serves.
pub fn routes() -> Routes {
    const ALL: &str = "/v5/iot/{project_id}/devices/{device_id}/async-commands";
    const ONE: &str = "/v5/iot/{project_id}/devices/{device_id}/async-commands/{command_id}";
    const HISTORY: &str = "/v5/iot/{project_id}/devices/{device_id}/async-commands-history";
    const COUNT: &str = "/v5/iot/{project_id}/devices/{device_id}/async-commands-history/count";
    Routes::tagged("Commands")
        .add(
            Operation::post(ALL, "create_async_command", "Sends a command to a device")
                .header("X-Request-Id", SUBMISSION)
                .body(|f| drop(new_command(f)))
                .answers::<Submitted<'_>>(StatusCode::OK)
                .fails(&[StatusCode::FORBIDDEN, StatusCode::CONFLICT])
                .example(json!({
                    "service_id": "Flow",
                    "command_name": "SET_VALVE",
                    "paras": {"open": 1},
                    "expire_time": 3600,
                    "send_strategy": "delay"
                })),
            create,
        )
        .add(
            Operation::get(
                ALL,
                "list_async_commands",
                "Lists open commands, newest first",
            )
            .query(|q| drop(list_of(q, false)))
            .answers::<OpenList<'_>>(StatusCode::OK)
            .example_query(&[("status", "PENDING"), ("limit", "10")]),
            list,
        )
        .add(
            Operation::get(
                ONE,
                "show_async_device_command",
                "Shows a command and what became of it",
            )
            .answers::<Shown<'_>>(StatusCode::OK),
            show,
        )
        .add(
            Operation::get(
                HISTORY,
                "list_async_history_commands",
                "Lists commands that have ended or rest, newest first",
            )
            .query(|q| drop(list_of(q, true)))
            .answers::<HistoryList<'_>>(StatusCode::OK)
            .example_query(&[("status", "SUCCESSFUL"), ("limit", "10")]),
            history,
        )
        .add(
            Operation::post(
                COUNT,
                "count_async_history_commands",
                "Counts commands that have ended or rest",
            )
            .reads()
            .query(|q| drop(filter_of(q, true)))
            .answers::<Count>(StatusCode::OK)
            .example_query(&[("status", "SUCCESSFUL")]),
            count,
        )
}

const SUBMISSION: &str = "The caller's own name for this submission, 1 to 128 visible ASCII \
    characters: submitted again under the same name, the same command is given back, as it is by then.";

/// The words of `status`.
const STATUSES: [(&str, CommandStatus); 7] = {
    const fn row(status: CommandStatus) -> (&'static str, CommandStatus) {
        (status_word(status), status)
    }
    [
        row(CommandStatus::Pending),
        row(CommandStatus::Expired),
        row(CommandStatus::Sent),
        row(CommandStatus::Timeout),
        row(CommandStatus::Delivered),
        row(CommandStatus::Successful),
        row(CommandStatus::Failed),
    ]
};

/// A marker above every command, which callers of other lists know as theirs.
const FIRST_MARKER: &str = "ffffffffffffffffffffffff";

/// What every answer tells of a command.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CommandHead")]
struct Head<'a> {
    device_id: &'a DeviceId,
    command_id: String,
    service_id: &'a str,
    command_name: &'a str,
    /// Seconds; 0 of what is sent immediately, which never waits.
    expire_time: u32,
    status: &'static str,
    created_time: String,
    send_strategy: &'static str,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SubmittedCommand")]
struct Submitted<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    paras: &'a Map<String, Value>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ListedCommand")]
struct Listed<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    sent_time: Option<String>,
    delivered_time: Option<String>,
    response_time: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Command")]
struct Shown<'a> {
    #[serde(flatten)]
    listed: Listed<'a>,
    paras: &'a Map<String, Value>,
    result: Option<ResultView<'a>>,
}

/// What the device answered, or why the command failed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CommandResult")]
#[serde(rename_all = "camelCase")]
struct ResultView<'a> {
    /// `SUCCESSFUL` or `FAILED`.
    result_code: &'static str,
    result_detail: &'a Map<String, Value>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OpenCommands")]
struct OpenList<'a> {
    commands: Vec<Listed<'a>>,
    page: PageInfo,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EndedCommands")]
struct HistoryList<'a> {
    commands: Vec<Listed<'a>>,
    page: HistoryPage,
}

/// Without a number: what has ended is counted by an operation of its own.
#[derive(Serialize, JsonSchema)]
struct HistoryPage {
    marker: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CommandCount")]
struct Count {
    count: u64,
}

impl<'a> Head<'a> {
    fn of(device_id: &'a DeviceId, record: &'a CommandRecord) -> Self {
        Self {
            device_id,
            command_id: record.id.to_string(),
            service_id: &record.service_id,
            command_name: &record.command_name,
            expire_time: expire_time(record.strategy, record.expire_time_s),
            status: status_word(record.status),
            created_time: record.id.created_at.compact(),
            send_strategy: strategy_word(record.strategy),
        }
    }
}

impl<'a> Listed<'a> {
    fn of(device_id: &'a DeviceId, record: &'a CommandRecord) -> Self {
        Self {
            head: Head::of(device_id, record),
            sent_time: record.sent_at.map(Timestamp::compact),
            delivered_time: record.delivered_at.map(Timestamp::compact),
            response_time: record.answered_at.map(Timestamp::compact),
        }
    }

    fn all(device_id: &'a DeviceId, records: &'a [CommandRecord]) -> Vec<Self> {
        let each = records.iter().map(|record| Self::of(device_id, record));
        each.collect()
    }
}

/// `{command_id}` of the path.
pub struct CommandPath(CommandId);

impl FromRequestParts<App> for CommandPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let text = path_text(parts, app, "command_id").await?;
        let is_uuid_part =
            |part: &str, len| part.len() == len && part.bytes().all(|b| b.is_ascii_hexdigit());
        let parts: Vec<&str> = text.split('-').collect();
        let is_uuid = parts.len() == 5
            && parts
                .iter()
                .zip([8, 4, 4, 4, 12])
                .all(|(part, len)| is_uuid_part(part, len));
        if !is_uuid {
            let message = format!("command_id: got {}, takes a UUID", quoted(&text));
            return Err(ApiError::invalid(message));
        }
        // One of another make than ours is not here.
        let found = CommandId::parse(&text.to_ascii_lowercase());
        found.map(Self).ok_or_else(|| no_command(&text))
    }
}

fn no_command(id: &str) -> ApiError {
    let message = format!("command_id: the device has no command {}", quoted(id));
    ApiError::new(StatusCode::NOT_FOUND, code::INVALID, message)
}

/// `POST …/async-commands`: checked against the product model, stored, and answered before anything
/// is sent. Errors: 400 bad field or parameter, 403 too many wait, 404 no device, 409 and 503 try again.
pub async fn create(
    State(app): State<App>,
    DevicePath(id): DevicePath,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let name = submission_name(&headers)?;
    let new = read_body(&body, new_command)?;
    let record = app.commands.submit(&id, new, name).await?;
    let view = Submitted {
        head: Head::of(&id, &record),
        paras: &record.paras,
    };
    let made = answer(StatusCode::OK, &view);
    Ok(about("command_id", record.id, made))
}

/// `GET …/async-commands/{command_id}`. Errors: 404.
pub async fn show(
    State(app): State<App>,
    DevicePath(id): DevicePath,
    CommandPath(command): CommandPath,
) -> Result<Response, ApiError> {
    let device_seq = app.devices.show(&id)?.device.seq;
    let found = app.commands.show(device_seq, command)?;
    let record = found.ok_or_else(|| no_command(&command.to_string()))?;
    let view = Shown {
        listed: Listed::of(&id, &record),
        paras: &record.paras,
        result: record.result.as_ref().map(|result| ResultView {
            result_code: result_code(result),
            result_detail: &result.detail,
        }),
    };
    Ok(answer(StatusCode::OK, &view))
}

/// `GET …/async-commands`. Errors: 400 bad query, 404.
pub async fn list(
    State(app): State<App>,
    DevicePath(id): DevicePath,
    uri: Uri,
) -> Result<Response, ApiError> {
    let wanted = read_query(&uri, |q| list_of(q, false))?;
    let device_seq = app.devices.show(&id)?.device.seq;
    let count = app.commands.count(device_seq, wanted.filter.clone());
    let count = count.await?;
    let records = app.commands.list(device_seq, wanted).await?;
    let page = OpenList {
        commands: Listed::all(&id, &records),
        page: PageInfo {
            count,
            marker: marker_of(&records),
        },
    };
    Ok(answer(StatusCode::OK, &page))
}

/// `GET …/async-commands-history`. Errors: 400 bad query, 404.
pub async fn history(
    State(app): State<App>,
    DevicePath(id): DevicePath,
    uri: Uri,
) -> Result<Response, ApiError> {
    let wanted = read_query(&uri, |q| list_of(q, true))?;
    let device_seq = app.devices.show(&id)?.device.seq;
    let records = app.commands.list(device_seq, wanted).await?;
    let page = HistoryList {
        commands: Listed::all(&id, &records),
        page: HistoryPage {
            marker: marker_of(&records),
        },
    };
    Ok(answer(StatusCode::OK, &page))
}

/// `POST …/async-commands-history/count`. Errors: 400 bad query, 404.
pub async fn count(
    State(app): State<App>,
    DevicePath(id): DevicePath,
    uri: Uri,
) -> Result<Response, ApiError> {
    let filter = read_query(&uri, |q| filter_of(q, true))?;
    let device_seq = app.devices.show(&id)?.device.seq;
    let count = app.commands.count(device_seq, filter).await?;
    Ok(answer(StatusCode::OK, &Count { count }))
}

fn marker_of(records: &[CommandRecord]) -> Option<String> {
    records.last().map(|last| last.id.to_string())
}

fn list_of(query: &Query<'_>, ended: bool) -> CommandList {
    let number = |name, range, default: usize, code| {
        let found = query.integer(name, range, code);
        found.map_or(default, |n| usize::try_from(n).unwrap_or(default))
    };
    let limit = number("limit", 1..=50, 10, code::LIMIT);
    let offset = number("offset", 0..=500, 0, code::INVALID);
    let marker = query.raw_like("marker", "^([0-9A-Fa-f-]{36}|[Ff]{24})$");
    let before = marker.and_then(|text| {
        let before = CommandId::parse(&text.to_ascii_lowercase());
        if before.is_none() && !text.eq_ignore_ascii_case(FIRST_MARKER) {
            let problem = format!("got {}, takes the marker of the page before", quoted(text));
            query.problem(code::MARKER, "marker", problem);
        }
        before
    });
    CommandList {
        filter: filter_of(query, ended),
        before,
        offset,
        limit,
    }
}

fn filter_of(query: &Query<'_>, ended: bool) -> CommandFilter {
    let (from, to) = query.times("start_time", "end_time");
    CommandFilter {
        ended,
        from,
        // Answers show whole seconds, so the last one counts whole.
        to: to.map(|to| to.plus_ms(1000 - to.as_ms() % 1000)),
        status: query.one_of("status", &STATUSES),
        command_name: query.text("command_name", COMMAND_NAME),
    }
}
