//! `/v1/campaigns/{task_id}/cells` and `/v1/campaigns/plan`: a campaign by cell and coverage, while it runs
//! and before it begins.

use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::batch_body::{self, TaskBody};
use super::batch_tasks::{TaskPath, new_task};
use super::error::{ApiError, code};
use super::input::{Fields, Query, quoted, read_body, read_query};
use super::operation::{Operation, Routes};
use super::request::{CallerIs, read_json_up_to};
use super::respond::json as answer;
use crate::app::App;
use crate::app::campaign::cells::{Cell, CellsPage, CellsQuery, Failures, PoolCells, Tally};
use crate::app::campaign::plan::{Assumed, CellPlan, Plan};
use crate::base::ids::TaskId;
use crate::base::limits::BATCH_TASK_BODY_MAX;
use crate::engine::admission::coverage::{Level, Pool};

/// Cells in one answer.
const CELLS_MAX: u64 = 1000;
const CELLS_DEFAULT: usize = 100;
/// Cells over which devices are assumed to be.
const ASSUMED_MAX: u32 = 100_000;
/// Largest share of a level.
const SHARE_MAX: u64 = 1_000_000;

/// What this file serves.
pub fn routes() -> Routes {
    const CELLS: &str = "/v1/campaigns/{task_id}/cells";
    const PLAN: &str = "/v1/campaigns/plan";
    Routes::tagged("Campaigns")
        .add(
            Operation::get(
                CELLS,
                "list_campaign_cells",
                "Shows where a campaign's devices are, who waits for what, and what failed",
            )
            .query(|q| {
                cells_of(q);
            })
            .answers::<CellsView>(StatusCode::OK),
            cells,
        )
        .add(
            Operation::post(
                PLAN,
                "plan_campaign",
                "Tells how long a campaign would take; the body is the one that would create it",
            )
            .reads()
            .body(|f| drop(plan_of(f)))
            .answers::<PlanView>(StatusCode::OK)
            .fails(&[StatusCode::FORBIDDEN])
            .example(json!({
                "task_name": "Winter",
                "task_type": "softwareUpgrade",
                "targets": ["watermeter_867725038317248"],
                "document": {"package_ids": ["0000000000000001"]},
                "assume": {"cells": 3, "mix": [450, 45, 5]}
            })),
            plan,
        )
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CampaignCells")]
struct CellsView {
    task_id: TaskId,
    status: &'static str,
    /// Why no further device gets a slot now.
    held_back: Option<String>,
    /// If the rest takes as long as what is done.
    estimated_end: Option<String>,
    devices: TallyView,
    without_cell: TallyView,
    failures: Vec<FailuresView>,
    /// Cells in all.
    count: usize,
    cells: Vec<CellView>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CampaignTally")]
struct TallyView {
    total: u32,
    waiting: u32,
    asked: u32,
    in_line: u32,
    downloading: u32,
    installing: u32,
    success: u32,
    failed: u32,
    to_retry: u32,
    stopped: u32,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CampaignFailures")]
struct FailuresView {
    error_code: String,
    error_msg: String,
    count: u32,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CampaignCell")]
struct CellView {
    cell: u64,
    airtime: Option<AirtimeView>,
    levels: Vec<LevelView>,
    failures: Vec<FailuresView>,
}

/// Of all campaigns.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CellAirtime")]
struct AirtimeView {
    downloads: u32,
    carries: u32,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CampaignLevel")]
struct LevelView {
    /// Null: the coverage is not known.
    level: Option<u8>,
    slots: u32,
    /// Of all campaigns.
    slots_taken: u32,
    in_line: usize,
    devices: TallyView,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CampaignPlan")]
struct PlanView {
    package_id: String,
    version: String,
    size: u64,
    devices: u32,
    without_cell: u32,
    refused: Vec<FailuresView>,
    /// Null: no cell is known, and none is assumed.
    expected_s: Option<u64>,
    lower_bound_s: Option<u64>,
    /// The one by the other.
    over_bound: Option<f64>,
    /// Attempts that don't end within the hour that each has.
    beyond_one_attempt: u32,
    alone: Vec<AloneView>,
    /// Cells in all.
    count: usize,
    /// The slowest.
    cells: Vec<CellPlanView>,
}

/// One device that has its cell for itself.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DownloadAlone")]
struct AloneView {
    level: u8,
    download_s: u64,
    airtime_s: u64,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CellPlan")]
struct CellPlanView {
    /// Null: one that was assumed.
    cell: Option<u64>,
    expected_s: u64,
    lower_bound_s: u64,
    beyond_one_attempt: u32,
    levels: Vec<LevelPlanView>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LevelPlan")]
struct LevelPlanView {
    /// Null: the coverage is not known.
    level: Option<u8>,
    devices: u32,
    beyond_one_attempt: u32,
}

impl From<&Tally> for TallyView {
    fn from(tally: &Tally) -> Self {
        Self {
            total: tally.all(),
            waiting: tally.waiting,
            asked: tally.asked,
            in_line: tally.in_line,
            downloading: tally.downloading,
            installing: tally.installing,
            success: tally.success,
            failed: tally.failed,
            to_retry: tally.to_retry,
            stopped: tally.stopped,
        }
    }
}

impl From<Failures> for FailuresView {
    fn from(failures: Failures) -> Self {
        Self {
            error_code: failures.error.error_code,
            error_msg: failures.error.error_msg,
            count: failures.count,
        }
    }
}

impl From<Cell> for CellView {
    fn from(cell: Cell) -> Self {
        let airtime = cell
            .airtime
            .map(|(downloads, carries)| AirtimeView { downloads, carries });
        Self {
            cell: cell.cell,
            airtime,
            levels: cell.levels.iter().map(LevelView::from).collect(),
            failures: cell.failures.into_iter().map(FailuresView::from).collect(),
        }
    }
}

impl From<&PoolCells> for LevelView {
    fn from(pool: &PoolCells) -> Self {
        Self {
            level: pool.level,
            slots: pool.slots,
            slots_taken: pool.slots_taken,
            in_line: pool.in_line,
            devices: TallyView::from(&pool.tally),
        }
    }
}

impl From<CellsPage> for CellsView {
    fn from(page: CellsPage) -> Self {
        Self {
            status: page.task.status.word(),
            task_id: page.task.record.task_id,
            held_back: page.held_back.map(|why| why.to_string()),
            estimated_end: page.estimated_end.map(|at| at.compact()),
            devices: TallyView::from(&page.tally),
            without_cell: TallyView::from(&page.without_cell),
            failures: page.failures.into_iter().map(FailuresView::from).collect(),
            count: page.count,
            cells: page.cells.into_iter().map(CellView::from).collect(),
        }
    }
}

impl From<&CellPlan> for CellPlanView {
    fn from(plan: &CellPlan) -> Self {
        let pools = Pool::WEAKEST_FIRST.into_iter();
        let counts = plan.devices.into_iter().zip(plan.forecast.late);
        let levels = pools.zip(counts).filter(|(_, (devices, _))| *devices > 0);
        let mut levels: Vec<LevelPlanView> = levels
            .map(|(pool, (devices, late))| LevelPlanView {
                level: level_of(pool),
                devices,
                beyond_one_attempt: late,
            })
            .collect();
        levels.sort_by_key(|level| level.level.unwrap_or(u8::MAX));
        Self {
            cell: plan.cell,
            expected_s: seconds(plan.forecast.expected_ms),
            lower_bound_s: seconds(plan.forecast.bound_ms),
            beyond_one_attempt: plan.forecast.late.iter().sum(),
            levels,
        }
    }
}

impl From<Plan> for PlanView {
    fn from(plan: Plan) -> Self {
        let (expected_ms, bound_ms) = plan.span();
        let is_known = !plan.cells.is_empty();
        let alone = (0..)
            .zip(plan.alone_ms)
            .map(|(level, (time, carrier))| AloneView {
                level,
                download_s: seconds(time),
                airtime_s: seconds(carrier),
            });
        let refused = plan.refused.iter().map(|(error, count)| FailuresView {
            error_code: error.error_code.clone(),
            error_msg: error.error_msg.clone(),
            count: *count,
        });
        Self {
            devices: plan.devices,
            without_cell: plan.without_cell,
            refused: refused.collect(),
            expected_s: is_known.then(|| seconds(expected_ms)),
            lower_bound_s: is_known.then(|| seconds(bound_ms)),
            over_bound: is_known.then(|| (100.0 * expected_ms / bound_ms.max(1.0)).round() / 100.0),
            beyond_one_attempt: plan.late(),
            alone: alone.collect(),
            count: plan.cells.len(),
            cells: plan
                .cells
                .iter()
                .take(CELLS_DEFAULT)
                .map(CellPlanView::from)
                .collect(),
            package_id: plan.package.package_id.clone(),
            version: plan.package.version.clone(),
            size: plan.package.size,
        }
    }
}

const fn level_of(pool: Pool) -> Option<u8> {
    match pool {
        Pool::Level(Level::Zero) => Some(0),
        Pool::Level(Level::One) => Some(1),
        Pool::Level(Level::Two) => Some(2),
        Pool::Unmeasured => None,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a span is positive; what is too long saturates"
)]
const fn seconds(ms: f64) -> u64 {
    (ms / 1000.0).round() as u64
}

/// `GET …/cells`: ascending. Errors: 404; 400 no campaign.
pub async fn cells(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    TaskPath(id): TaskPath,
    uri: Uri,
) -> Result<Response, ApiError> {
    let query = read_query(&uri, cells_of)?;
    let found = app.campaigns.cells(&id, caller.space.as_ref(), query);
    Ok(answer(StatusCode::OK, &CellsView::from(found.await?)))
}

fn cells_of(query: &Query<'_>) -> CellsQuery {
    let limit = query.integer("limit", 1..=CELLS_MAX, code::LIMIT);
    let after = query.raw_like("after", "^[0-9]{1,19}$").and_then(|text| {
        let number = text.parse().ok();
        if number.is_none() {
            let problem = format!("got {}, takes the number of a cell", quoted(text));
            query.problem(code::INVALID, "after", problem);
        }
        number
    });
    CellsQuery {
        after,
        limit: limit.map_or(CELLS_DEFAULT, |n| {
            usize::try_from(n).unwrap_or(CELLS_DEFAULT)
        }),
    }
}

/// `POST /v1/campaigns/plan`. Errors: those of the task's creation.
pub async fn plan(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    request: Request,
) -> Result<Response, ApiError> {
    let body = read_json_up_to(request, BATCH_TASK_BODY_MAX).await?;
    // Thousands of devices take long to read.
    let read = tokio::task::spawn_blocking(move || read_body(&body, plan_of));
    let stopping = |_| ApiError::unavailable("the server is stopping, try again");
    let (task, assumed) = read.await.map_err(stopping)??;
    let new = new_task(&app, &caller, task).await?;
    let plan = app.campaigns.plan(&new, assumed).await?;
    Ok(answer(StatusCode::OK, &PlanView::from(plan)))
}

fn plan_of(fields: &Fields<'_>) -> Option<(TaskBody, Option<Assumed>)> {
    let assumed = fields.object("assume").map(|f| assumed_of(&f));
    let task = batch_body::new_task(fields)?;
    Some((task, assumed))
}

fn assumed_of(fields: &Fields<'_>) -> Assumed {
    let cells = fields.integer("cells", 1..=ASSUMED_MAX);
    if !fields.has("cells") {
        fields.missing("cells", format!("a number from 1 to {ASSUMED_MAX}"));
    }
    let takes = "shares of levels 0, 1 and 2, as [450, 45, 5]";
    let shares = fields.integers("mix", 3..=3);
    if !fields.has("mix") {
        fields.missing("mix", takes);
    }
    let mut mix = [1, 0, 0];
    if let Some(shares) = shares {
        let fits = shares.iter().all(|share| *share <= SHARE_MAX) && shares.iter().any(|s| *s > 0);
        if !fits {
            fields.problem(
                "mix",
                format!("takes {takes}: each up to {SHARE_MAX}, not all 0"),
            );
        }
        for (to, share) in mix.iter_mut().zip(shares) {
            *to = u32::try_from(share).unwrap_or(u32::MAX);
        }
    }
    fields.refuse_others();
    Assumed {
        cells: cells.unwrap_or(1),
        mix,
    }
}
