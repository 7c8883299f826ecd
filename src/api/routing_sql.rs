//! `/v1/routing-rule/sql/test`: what the clauses of a routing rule (`app::sql`) make of an event,
//! before a rule has them.

use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::input::{Alphabet, Fields, TextRule, read_body};
use super::operation::{Operation, Routes};
use super::request::JsonBody;
use super::respond::json as answer;
use crate::app::sql::{CLAUSE_MAX, Filter};

/// A `select` or `where`; a blank one takes everything.
pub const CLAUSE: TextRule = TextRule::new(Alphabet::Any, 0, CLAUSE_MAX);

/// Bytes of JSON in an event that is tried.
const DATA_MAX: usize = 32 * 1024;

/// What this file serves.
pub fn routes() -> Routes {
    const TEST: &str = "/v1/routing-rule/sql/test";
    const SUMMARY: &str = "Dry run: what the clauses of a rule make of an event";
    Routes::tagged("Routing rules").add(
        Operation::post(TEST, "test_sql", SUMMARY)
            .reads()
            .body(|f| drop(trial_of(f)))
            .answers::<TrialResult>(StatusCode::OK)
            .example(json!({
                "select": "notify_data.header.device_id AS device_id, \
                           GET_SERVICE_PROPERTY('Flow', 'volume') AS volume",
                "where": "GET_SERVICE_PROPERTY('Flow', 'volume') > 100",
                "data": {
                    "resource": "device.property",
                    "event": "report",
                    "notify_data": {
                        "header": {"device_id": "watermeter_1"},
                        "body": {"services": [
                            {"service_id": "Flow", "properties": {"volume": 314}}
                        ]}
                    }
                }
            })),
        test,
    )
}

/// What came of it.
#[derive(Serialize, JsonSchema)]
struct TrialResult {
    /// Whether `where` takes the event.
    matches: bool,
    /// What would be pushed; null when `where` does not take the event.
    result: Option<Value>,
}

struct Trial {
    select: Option<String>,
    condition: Option<String>,
    data: Map<String, Value>,
}

fn trial_of(fields: &Fields<'_>) -> Option<Trial> {
    let select = fields.text("select", CLAUSE);
    let condition = fields.text("where", CLAUSE);
    if !fields.has("data") {
        fields.missing("data", "an event as it is pushed, an object");
    }
    let data = fields.map("data", DATA_MAX);
    fields.refuse_others();
    Some(Trial {
        select,
        condition,
        data: data?,
    })
}

/// Reads both clauses. Errors: 400 with the mistakes of both, with their clauses and columns.
pub fn filter_of(select: Option<&str>, condition: Option<&str>) -> Result<Filter, ApiError> {
    Filter::parse(select, condition).map_err(|first| {
        // `where` was not read when `select` is the one that is wrong.
        let second = Filter::parse(None, condition).err();
        let both = [Some(&first), second.as_ref().filter(|e| **e != first)];
        let both: Vec<String> = both
            .into_iter()
            .flatten()
            .map(ToString::to_string)
            .collect();
        ApiError::invalid(both.join("; "))
    })
}

/// `POST /v1/routing-rule/sql/test`. Errors: 400 what can't be read, with clause and column.
async fn test(JsonBody(body): JsonBody) -> Result<Response, ApiError> {
    let trial = read_body(&body, trial_of)?;
    let filter = filter_of(trial.select.as_deref(), trial.condition.as_deref())?;
    let result = filter.apply(&Value::Object(trial.data));
    let told = TrialResult {
        matches: result.is_some(),
        result,
    };
    Ok(answer(StatusCode::OK, &told))
}
