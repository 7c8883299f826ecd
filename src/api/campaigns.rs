//! `/v1/campaigns/{task_id}/…`: what tasks that upgrade devices have beyond the v5 API: pause and resume, a
//! canary share, and a window of the day.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::batch_tasks::TaskPath;
use super::error::ApiError;
use super::input::{Fields, TextRule, read_body};
use super::operation::{Operation, Routes};
use super::request::{CallerIs, JsonBody, MaybeJsonBody};
use super::respond::json as answer;
use crate::app::App;
use crate::app::batch::{CampaignChange, CampaignPolicy, SUBTASKS_MAX};
use crate::app::credentials::Caller;
use crate::base::ids::TaskId;
use crate::store::catalog::{CampaignRecord, CanaryRecord, WindowRecord};

/// `HH:MM`.
const CLOCK: TextRule = TextRule::any(5);
/// The farthest time zones from UTC.
const OFFSET_MAX_MIN: f64 = 840.0;
/// Subtasks of one task, as a number of results.
const RESULTS_MAX: u32 = 30_000;
const _: () = assert!(
    RESULTS_MAX as usize == SUBTASKS_MAX,
    "a canary waits for no more results than there can be"
);

/// What this file serves.
pub fn routes() -> Routes {
    const PAUSE: &str = "/v1/campaigns/{task_id}/pause";
    const RESUME: &str = "/v1/campaigns/{task_id}/resume";
    const POLICY: &str = "/v1/campaigns/{task_id}/policy";
    Routes::tagged("Campaigns")
        .add(
            Operation::post(
                PAUSE,
                "pause_campaign",
                "Lets no further device begin; those under way go on",
            )
            .maybe_body(|f| {
                nothing(f);
            })
            .answers::<CampaignView>(StatusCode::OK)
            .example(json!({})),
            pause,
        )
        .add(
            Operation::post(RESUME, "resume_campaign", "Goes on with a paused campaign")
                .maybe_body(|f| {
                    nothing(f);
                })
                .answers::<CampaignView>(StatusCode::OK)
                .example(json!({})),
            resume,
        )
        .add(
            Operation::get(
                POLICY,
                "show_campaign_policy",
                "Shows what holds a campaign back",
            )
            .answers::<PolicyView>(StatusCode::OK),
            show_policy,
        )
        .add(
            Operation::put(
                POLICY,
                "put_campaign_policy",
                "Replaces a campaign's canary share and window of the day",
            )
            .body(|f| {
                policy_of(f);
            })
            .answers::<PolicyView>(StatusCode::OK)
            .example(json!({
                "canary": {"share_percent": 5, "max_failure_percent": 10, "min_results": 20},
                "window": {"from": "22:00", "to": "05:00", "utc_offset_min": 120}
            })),
            put_policy,
        )
}

/// Whether a campaign goes on.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Campaign")]
struct CampaignView {
    task_id: TaskId,
    status: &'static str,
    paused: bool,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CampaignPolicy")]
struct PolicyView {
    canary: Option<CanaryView>,
    window: Option<WindowView>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CampaignCanary")]
struct CanaryView {
    share_percent: u32,
    max_failure_percent: u32,
    min_results: u32,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CampaignWindow")]
struct WindowView {
    from: String,
    to: String,
    utc_offset_min: i32,
}

impl From<&CampaignRecord> for PolicyView {
    fn from(campaign: &CampaignRecord) -> Self {
        let clock = |min: u32| format!("{:02}:{:02}", min / 60, min % 60);
        Self {
            canary: campaign.canary.map(|canary| CanaryView {
                share_percent: canary.share_percent,
                max_failure_percent: canary.max_failure_percent,
                min_results: canary.min_results,
            }),
            window: campaign.window.map(|window| WindowView {
                from: clock(window.from_min),
                to: clock(window.to_min),
                utc_offset_min: window.utc_offset_min,
            }),
        }
    }
}

/// `POST …/pause`: also when it is paused. Errors: 404; 400 no campaign, or one that is over.
pub async fn pause(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    TaskPath(id): TaskPath,
    MaybeJsonBody(body): MaybeJsonBody,
) -> Result<Response, ApiError> {
    read_body(&body, nothing)?;
    change(&app, &caller, &id, CampaignChange::Pause).await
}

/// `POST …/resume`: also when it is not paused. Errors: as of `pause`.
pub async fn resume(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    TaskPath(id): TaskPath,
    MaybeJsonBody(body): MaybeJsonBody,
) -> Result<Response, ApiError> {
    read_body(&body, nothing)?;
    change(&app, &caller, &id, CampaignChange::Resume).await
}

async fn change(
    app: &App,
    caller: &Caller,
    id: &TaskId,
    change: CampaignChange,
) -> Result<Response, ApiError> {
    let space = caller.space.as_ref();
    let task = app.batches.change_campaign(id, space, change).await?;
    let campaign = task.record.campaign.as_ref();
    let view = CampaignView {
        status: task.status.word(),
        paused: campaign.is_some_and(|campaign| campaign.paused),
        task_id: task.record.task_id,
    };
    Ok(answer(StatusCode::OK, &view))
}

/// `GET …/policy`. Errors: 404; 400 no campaign.
pub async fn show_policy(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    TaskPath(id): TaskPath,
) -> Result<Response, ApiError> {
    let (_, campaign) = app.batches.campaign(&id, caller.space.as_ref())?;
    Ok(answer(StatusCode::OK, &PolicyView::from(&campaign)))
}

/// `PUT …/policy`: what is absent holds nothing back any more. Errors: 404; 400 no campaign, one that is
/// over, or a share that is smaller than what has begun.
pub async fn put_policy(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    TaskPath(id): TaskPath,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let policy = read_body(&body, policy_of)?;
    let space = caller.space.as_ref();
    let change = CampaignChange::Policy(policy);
    app.batches.change_campaign(&id, space, change).await?;
    let (_, campaign) = app.batches.campaign(&id, space)?;
    Ok(answer(StatusCode::OK, &PolicyView::from(&campaign)))
}

/// A body that says nothing.
fn nothing(fields: &Fields<'_>) -> Option<()> {
    fields.refuse_others();
    Some(())
}

fn policy_of(fields: &Fields<'_>) -> Option<CampaignPolicy> {
    let canary = fields.object("canary").map(|f| canary_of(&f));
    let window = fields.object("window").map(|f| window_of(&f));
    fields.refuse_others();
    Some(CampaignPolicy {
        canary,
        window: window.flatten(),
    })
}

fn canary_of(fields: &Fields<'_>) -> CanaryRecord {
    let needed = |name, range, takes| {
        let number = fields.integer(name, range);
        if !fields.has(name) {
            fields.missing(name, takes);
        }
        number.unwrap_or_default()
    };
    let canary = CanaryRecord {
        share_percent: needed("share_percent", 1..=100, "a number from 1 to 100"),
        max_failure_percent: needed("max_failure_percent", 0..=100, "a number from 0 to 100"),
        min_results: fields.integer("min_results", 1..=RESULTS_MAX).unwrap_or(1),
    };
    fields.refuse_others();
    canary
}

fn window_of(fields: &Fields<'_>) -> Option<WindowRecord> {
    let from = clock_of(fields, "from");
    let to = clock_of(fields, "to");
    let offset = fields.number("utc_offset_min", -OFFSET_MAX_MIN..=OFFSET_MAX_MIN);
    let offset = offset.unwrap_or_default();
    if offset.fract() != 0.0 {
        fields.problem("utc_offset_min", "takes whole minutes");
    }
    fields.refuse_others();
    let (from_min, to_min) = (from?, to?);
    if from_min == to_min {
        fields.problem("to", "is the time of from: takes another one, or no window");
    }
    Some(WindowRecord {
        from_min,
        to_min,
        utc_offset_min: whole(offset),
    })
}

#[expect(clippy::cast_possible_truncation, reason = "at most 840, and whole")]
const fn whole(number: f64) -> i32 {
    number as i32
}

/// Minutes since midnight.
fn clock_of(fields: &Fields<'_>, name: &'static str) -> Option<u32> {
    let takes = "a time of the day like 22:30";
    let text = fields.text(name, CLOCK);
    if !fields.has(name) {
        fields.missing(name, takes);
    }
    let text = text?;
    let minutes = minutes_of(&text);
    if minutes.is_none() {
        fields.problem(name, format!("got {text:?}, takes {takes}"));
    }
    minutes
}

fn minutes_of(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |digits: &str, end: u32| {
        let is_two = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        let number = digits.parse::<u32>().ok().filter(|_| is_two)?;
        (number < end).then_some(number)
    };
    Some(two(hours, 24)? * 60 + two(minutes, 60)?)
}

#[cfg(test)]
mod tests {
    use super::minutes_of;

    #[test]
    fn times_of_the_day() {
        let cases = [
            ("00:00", Some(0)),
            ("22:30", Some(1350)),
            ("23:59", Some(1439)),
            ("24:00", None),
            ("12:60", None),
            ("7:30", None),
            ("+7:30", None),
            ("0730", None),
            ("07:3", None),
            ("", None),
        ];
        for (text, want) in cases {
            assert_eq!(minutes_of(text), want, "{text:?}");
        }
    }
}
