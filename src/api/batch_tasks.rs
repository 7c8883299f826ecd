//! `…/batchtasks` of the v5 API: the same done to many devices.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde_json::{Value, json};

use super::batch_body::{self, TASK_TYPES, Targets, TaskBody, document_of, order_targets};
use super::batch_rows::subtasks_of;
use super::batch_view::{DetailView, List, OrderAnswer, ResultView, TaskAnswer, TaskView};
use super::error::{ApiError, code};
use super::input::{Query, TextRule, read_body, read_query};
use super::operation::{Operation, Routes};
use super::page::{PageInfo, PageQuery, marker_of};
use super::request::{CallerIs, MaybeJsonBody, path_id, read_json_up_to, visible_space};
use super::respond::{about, json as answer};
use crate::app::App;
use crate::app::batch::{
    DetailQuery, Input, NewSubtask, NewTask, OrderKind, OrderResult, TaskQuery,
};
use crate::app::credentials::Caller;
use crate::base::ids::{AppId, TaskId};
use crate::base::limits::BATCH_TASK_BODY_MAX;
use crate::engine::batch::{State as SubtaskState, Status};
use crate::store::catalog::TaskType;

/// Words of `task_detail_status`.
const DETAIL_STATUSES: [(&str, &str); 7] = [
    ("Success", SubtaskState::Success.word()),
    ("Fail", SubtaskState::Fail.word()),
    ("Processing", SubtaskState::Processing.word()),
    ("FailWaitRetry", "FailWaitRetry"),
    ("Stopped", SubtaskState::Stopped.word()),
    ("Waitting", SubtaskState::Waiting.word()),
    ("Removed", SubtaskState::Removed.word()),
];

/// What this file serves.
pub fn routes() -> Routes {
    const ALL: &str = "/v5/iot/{project_id}/batchtasks";
    const ONE: &str = "/v5/iot/{project_id}/batchtasks/{task_id}";
    const STOP: &str = "/v5/iot/{project_id}/batchtasks/{task_id}/stop";
    const RETRY: &str = "/v5/iot/{project_id}/batchtasks/{task_id}/retry";
    const CONFIRM: &str = "/v5/iot/{project_id}/batchtasks/{task_id}/confirm";
    let targets = || json!({"targets": ["watermeter_867725038317248"]});
    Routes::tagged("Batch tasks")
        .add(
            Operation::post(ALL, "create_batch_task", "Does the same to many devices")
                .body(|f| drop(batch_body::new_task(f)))
                .answers::<TaskView>(StatusCode::CREATED)
                .fails(&[StatusCode::FORBIDDEN])
                .example(json!({
                    "task_name": "Winter",
                    "task_type": "updateDevices",
                    "targets": ["watermeter_867725038317248", "watermeter_867725038317249"],
                    "document": {"description": "closed"},
                    "task_policy": {"retry_count": 2, "retry_interval": 5}
                })),
            create,
        )
        .add(
            Operation::get(
                ALL,
                "list_batch_tasks",
                "Lists batch tasks of a type, newest first",
            )
            .query(|q| drop(wanted_of(q)))
            .answers::<List>(StatusCode::OK)
            .fails(&[StatusCode::FORBIDDEN])
            .example_query(&[("task_type", "updateDevices")]),
            list,
        )
        .add(
            Operation::get(
                ONE,
                "show_batch_task",
                "Shows a batch task with its targets",
            )
            .query(|q| drop(details_of(q)))
            .answers::<TaskAnswer>(StatusCode::OK),
            show,
        )
        .add(
            Operation::delete(
                ONE,
                "delete_batch_task",
                "Deletes a batch task that is over",
            )
            .answers_nothing(StatusCode::NO_CONTENT),
            delete,
        )
        .add(
            Operation::post(
                STOP,
                "stop_batch_task",
                "Stops what has not begun, and upgrades that do not install yet",
            )
            .maybe_body(|f| drop(order_targets(f)))
            .answers::<OrderAnswer>(StatusCode::OK)
            .example(json!({})),
            stop,
        )
        .add(
            Operation::post(
                RETRY,
                "retry_batch_task",
                "Tries again what failed or was stopped",
            )
            .maybe_body(|f| drop(order_targets(f)))
            .answers::<OrderAnswer>(StatusCode::OK)
            .example(targets()),
            retry,
        )
        .add(
            Operation::post(
                CONFIRM,
                "confirm_batch_task",
                "Lets upgrades begin that wait to be confirmed",
            )
            .maybe_body(|f| drop(order_targets(f)))
            .answers::<OrderAnswer>(StatusCode::OK)
            .example(targets()),
            confirm,
        )
}

/// `{task_id}` of the path.
pub struct TaskPath(pub TaskId);

impl FromRequestParts<App> for TaskPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        path_id(parts, app, "task_id", TaskId::parse)
            .await
            .map(Self)
    }
}

/// `POST …/batchtasks`: 201 once it is durable; it runs then. Errors: 400 bad field, unreadable
/// file, too many tasks; 403 another space.
pub async fn create(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    request: Request,
) -> Result<Response, ApiError> {
    let body = read_json_up_to(request, BATCH_TASK_BODY_MAX).await?;
    // Thousands of devices take long to read.
    let read = tokio::task::spawn_blocking(move || read_body(&body, batch_body::new_task));
    let read = read.await.map_err(|_| stopping())?;
    let new = new_task(&app, &caller, read?).await?;
    let named: Option<Vec<String>> = new
        .has_targets
        .then(|| new.subtasks.iter().map(|s| s.target.clone()).collect());
    let mut view = TaskView::from(app.batches.create(new).await?);
    // All of them, this once.
    view.targets = named;
    let made = answer(StatusCode::CREATED, &view);
    Ok(about("task_id", &view.task_id, made))
}

fn stopping() -> ApiError {
    ApiError::unavailable("the server is stopping, try again")
}

/// Finds what the body names, and who asks.
pub async fn new_task(app: &App, caller: &Caller, body: TaskBody) -> Result<NewTask, ApiError> {
    let patch = body.patch().cloned();
    let app_id = visible_space(caller, body.app_id)?;
    let space = caller.space.as_ref();
    let mut groups = Vec::new();
    let (mut has_targets, mut targets_filter, mut document_source) = (false, None, None);
    let mut subtasks = match body.targets {
        Targets::Named(targets) => {
            has_targets = true;
            let common = |target| NewSubtask {
                target,
                input: Input::Common,
            };
            targets.into_iter().map(common).collect()
        }
        Targets::Groups(ids) => {
            targets_filter = Some(json!({"group_ids": ids}));
            groups = ids;
            Vec::new()
        }
        Targets::New(subtasks) => subtasks,
        Targets::File(id) => {
            let sheet = app.batches.sheet(&id, space).await.map_err(|error| {
                let inner = ApiError::from(error);
                match inner.status {
                    StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => {
                        ApiError::invalid(format!("document_source: {}", inner.message))
                    }
                    _ => inner,
                }
            })?;
            document_source = Some(id);
            let task_type = body.task_type;
            let reading = move || subtasks_of(&sheet, task_type, patch.as_ref());
            let read = tokio::task::spawn_blocking(reading).await;
            read.map_err(|_| stopping())??
        }
    };
    for subtask in &mut subtasks {
        if let Input::Create(new) = &mut subtask.input {
            new.app_id = new.app_id.take().or_else(|| app_id.clone());
        }
    }
    let package = body.package_id.as_ref();
    let package = package.map(|id| json!({"package_ids": [id], "package_id": id}));
    let document = package.or_else(|| body.work.as_ref().map(document_of));
    Ok(NewTask {
        // Whoever names a space has its devices alone, so that its callers may see the task.
        space: app_id.clone(),
        app_id,
        task_name: body.task_name,
        task_type: body.task_type,
        task_mode: body.task_mode,
        need_confirm: body.need_confirm,
        task_ext_info: body.task_ext_info,
        has_targets,
        groups,
        targets_filter,
        subtasks,
        document,
        document_source,
        work: body.work,
        policy: body.policy,
        package_id: body.package_id,
    })
}

struct Wanted {
    app_id: Option<AppId>,
    task_type: Option<TaskType>,
    status: Option<Status>,
    page: PageQuery,
}

fn wanted_of(query: &Query<'_>) -> Wanted {
    let statuses = Status::ALL.map(|status| (status.word(), status));
    Wanted {
        app_id: query.id("app_id", AppId::parse),
        task_type: query.needed_one_of("task_type", &TASK_TYPES).flatten(),
        status: query.one_of("status", &statuses),
        page: PageQuery::of(query),
    }
}

/// `GET …/batchtasks`: newest first. Errors: 403 another space.
pub async fn list(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    uri: Uri,
) -> Result<Response, ApiError> {
    let wanted = read_query(&uri, wanted_of)?;
    let found = app.batches.list(&TaskQuery {
        task_type: wanted.task_type,
        status: wanted.status,
        app_id: visible_space(&caller, wanted.app_id)?,
        space: caller.space,
        before: wanted.page.before,
        offset: wanted.page.offset,
        limit: wanted.page.limit,
    })?;
    let page = PageInfo {
        count: found.count,
        marker: found.tasks.last().map(|task| marker_of(task.record.seq)),
    };
    let batchtasks = found.tasks.into_iter().map(TaskView::from).collect();
    Ok(answer(StatusCode::OK, &List { batchtasks, page }))
}

fn details_of(query: &Query<'_>) -> DetailQuery {
    let page = PageQuery::of(query);
    DetailQuery {
        status: query.one_of("task_detail_status", &DETAIL_STATUSES),
        target: query.text("target", TextRule::any(128)),
        before: page.before,
        offset: page.offset,
        limit: page.limit,
    }
}

/// `GET …/batchtasks/{task_id}`: its targets newest first. Errors: 404.
pub async fn show(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    TaskPath(id): TaskPath,
    uri: Uri,
) -> Result<Response, ApiError> {
    let query = read_query(&uri, details_of)?;
    let space = caller.space.as_ref();
    let found = app.batches.details(&id, space, &query).await?;
    let last = found.details.last();
    let task_seq = found.task.record.seq;
    let is_campaign = found.task.record.campaign.is_some();
    let mut task_details = Vec::with_capacity(found.details.len());
    for detail in &found.details {
        let mut view = DetailView::from(detail.clone());
        if is_campaign && view.status == SubtaskState::Processing.word() {
            view.output = app.campaigns.doing(task_seq, &view.target)?;
        }
        task_details.push(view);
    }
    let body = TaskAnswer {
        batchtask: found.task.into(),
        page: PageInfo {
            count: found.count,
            marker: last.map(|detail| marker_of(u64::from(detail.index))),
        },
        task_details,
    };
    Ok(answer(StatusCode::OK, &body))
}

/// `DELETE …/batchtasks/{task_id}`: 204. Errors: 404; 400 while it is not over.
pub async fn delete(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    TaskPath(id): TaskPath,
) -> Result<StatusCode, ApiError> {
    app.batches.delete(&id, caller.space.as_ref()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST …/batchtasks/{task_id}/stop`. Errors: 404; 400 when it is over or being stopped.
pub async fn stop(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    TaskPath(id): TaskPath,
    MaybeJsonBody(body): MaybeJsonBody,
) -> Result<Response, ApiError> {
    order(&app, &caller, &id, OrderKind::Stop, &body).await
}

/// `POST …/batchtasks/{task_id}/retry`. Errors: 404; 400 when nothing can be retried.
pub async fn retry(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    TaskPath(id): TaskPath,
    MaybeJsonBody(body): MaybeJsonBody,
) -> Result<Response, ApiError> {
    order(&app, &caller, &id, OrderKind::Retry, &body).await
}

async fn order(
    app: &App,
    caller: &Caller,
    id: &TaskId,
    kind: OrderKind,
    body: &Value,
) -> Result<Response, ApiError> {
    let targets = read_body(body, order_targets)?;
    let space = caller.space.as_ref();
    let results = app.batches.order(id, space, kind, targets).await?;
    Ok(results_of(results))
}

/// `POST …/batchtasks/{task_id}/confirm`: upgrades of a task with `need_confirm` may begin. Errors: 404;
/// 400 when nothing waits for it.
pub async fn confirm(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    TaskPath(id): TaskPath,
    MaybeJsonBody(body): MaybeJsonBody,
) -> Result<Response, ApiError> {
    let targets = read_body(&body, order_targets)?;
    let space = caller.space.as_ref();
    let task = app.batches.show(&id, space)?;
    let is_upgrade = task.record.campaign.is_some();
    if is_upgrade && task.record.need_confirm == Some(true) {
        let order = OrderKind::Confirm;
        let results = app.batches.order(&id, space, order, targets).await?;
        return Ok(results_of(results));
    }
    let word = task.record.task_type.word();
    let problem = match is_upgrade {
        true => "the task was created without need_confirm, so nothing waits for it".to_owned(),
        false => format!("a task of type {word} has nothing to confirm"),
    };
    if targets.is_empty() {
        return Err(ApiError::invalid(format!("task_id: {problem}")));
    }
    let refused = |target| OrderResult {
        target,
        problem: Some(problem.clone()),
    };
    Ok(results_of(targets.into_iter().map(refused).collect()))
}

fn results_of(results: Vec<OrderResult>) -> Response {
    let view = |result: OrderResult| ResultView {
        target: result.target,
        status: match result.problem {
            None => "success",
            Some(_) => "failure",
        },
        error_code: result.problem.is_some().then_some(code::INVALID),
        error_msg: result.problem,
    };
    let targets = results.into_iter().map(view).collect();
    answer(StatusCode::OK, &OrderAnswer { targets })
}
