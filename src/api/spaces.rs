//! `…/apps` of the v5 API: resource spaces.
//!
//! Creating, renaming and deleting them is for administrators; a caller bound to a space neither
//! creates nor deletes any, and sees his own alone.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::error::ApiError;
use super::input::{Fields, Query, TextRule, read_body, read_query};
use super::operation::{Access, Operation, Routes};
use super::request::{AppPath, CallerIs, JsonBody};
use super::respond::{about, json as answer};
use crate::app::App;
use crate::app::credentials::Caller;
use crate::base::ids::AppId;
use crate::store::catalog::AppRecord;

const NAME: TextRule = TextRule::name(64);

/// What this file serves.
pub fn routes() -> Routes {
    const ALL: &str = "/v5/iot/{project_id}/apps";
    const ONE: &str = "/v5/iot/{project_id}/apps/{app_id}";
    Routes::tagged("Resource spaces")
        .add(
            Operation::post(ALL, "add_application", "Creates a resource space")
                .access(Access::Admin)
                .body(|f| drop(new_space(f)))
                .answers::<View<'_>>(StatusCode::CREATED)
                .fails(&[StatusCode::FORBIDDEN])
                .example(json!({"app_name": "Water"})),
            create,
        )
        .add(
            Operation::get(
                ALL,
                "show_applications",
                "Lists resource spaces, newest first",
            )
            .query(|q| {
                default_of(q);
            })
            .answers::<List<'_>>(StatusCode::OK)
            .example_query(&[("default_app", "true")]),
            list,
        )
        .add(
            Operation::get(ONE, "show_application", "Shows a resource space")
                .answers::<View<'_>>(StatusCode::OK),
            show,
        )
        .add(
            Operation::put(ONE, "update_application", "Renames a resource space")
                .access(Access::Admin)
                .body(|f| drop(new_name(f)))
                .answers::<View<'_>>(StatusCode::OK)
                .example(json!({"app_name": "Hot_water"})),
            update,
        )
        .add(
            Operation::delete(
                ONE,
                "delete_application",
                "Deletes a resource space with all that belongs to it",
            )
            .access(Access::Admin)
            .answers_nothing(StatusCode::NO_CONTENT)
            .fails(&[StatusCode::FORBIDDEN]),
            delete,
        )
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ResourceSpace")]
struct View<'a> {
    app_id: &'a AppId,
    app_name: &'a str,
    create_time: String,
    default_app: bool,
}

impl<'a> From<&'a AppRecord> for View<'a> {
    fn from(space: &'a AppRecord) -> Self {
        Self {
            app_id: &space.app_id,
            app_name: &space.app_name,
            create_time: space.created_at.compact(),
            default_app: space.is_default,
        }
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ResourceSpaceList")]
struct List<'a> {
    applications: Vec<View<'a>>,
}

/// `POST …/apps`: 201. Errors: 400 bad or taken name, 403 a caller bound to a space.
pub async fn create(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    check_unbound(&caller)?;
    let name = read_body(&body, new_space)?;
    let space = app.spaces.add(name).await?;
    let made = answer(StatusCode::CREATED, &View::from(&*space));
    Ok(about("app_id", &space.app_id, made))
}

/// `GET …/apps`: all of them; with `default_app` the default one, or all others.
pub async fn list(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    uri: Uri,
) -> Result<Response, ApiError> {
    let is_default = read_query(&uri, default_of)?;
    let mut spaces = app.spaces.list();
    spaces.retain(|space| {
        caller.may_see(&space.app_id) && is_default.is_none_or(|want| want == space.is_default)
    });
    let list = List {
        applications: spaces.iter().map(|space| View::from(&**space)).collect(),
    };
    Ok(answer(StatusCode::OK, &list))
}

/// `GET …/apps/{app_id}`. Errors: 404.
pub async fn show(State(app): State<App>, AppPath(id): AppPath) -> Result<Response, ApiError> {
    let space = app.spaces.show(&id)?;
    Ok(answer(StatusCode::OK, &View::from(&*space)))
}

/// `PUT …/apps/{app_id}`: without a name, all stays. Errors: 404, 400 bad or taken name.
pub async fn update(
    State(app): State<App>,
    AppPath(id): AppPath,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let name = read_body(&body, new_name)?;
    let space = app.spaces.update(id, name).await?;
    Ok(answer(StatusCode::OK, &View::from(&*space)))
}

/// `DELETE …/apps/{app_id}`: 204 when it is gone with all that belongs to it. Errors: 404, 400 the
/// default space, 403 a caller bound to a space.
pub async fn delete(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    AppPath(id): AppPath,
) -> Result<StatusCode, ApiError> {
    check_unbound(&caller)?;
    app.removals.delete_space(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn check_unbound(caller: &Caller) -> Result<(), ApiError> {
    match &caller.space {
        None => Ok(()),
        Some(own) => Err(ApiError::foreign_space(format!(
            "the caller is bound to the resource space {own}, which creates and deletes none"
        ))),
    }
}

/// `AddApplication`.
fn new_space(fields: &Fields<'_>) -> Option<String> {
    Some(fields.needed_text("app_name", NAME))
}

/// `UpdateApplicationDTO`.
fn new_name(fields: &Fields<'_>) -> Option<Option<String>> {
    Some(fields.text("app_name", NAME))
}

fn default_of(query: &Query<'_>) -> Option<bool> {
    query.boolean("default_app")
}
