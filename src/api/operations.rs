//! `/healthz`, `/readyz`, `/metrics`, and what answers when nothing else does.

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::error::{ApiError, code};
use super::operation::{Access, Operation, Routes};
use super::request::CallerIs;
use super::respond::json;
use crate::app::App;
use crate::store::Health;

/// What this file serves.
pub fn routes() -> Routes {
    Routes::tagged("Server")
        .add(
            Operation::get("/healthz", "healthz", "Tells that the process serves")
                .access(Access::Open)
                .answers::<Status<'_>>(StatusCode::OK),
            healthz,
        )
        .add(
            Operation::get("/readyz", "readyz", "Tells whether commits can succeed")
                .access(Access::Open)
                .answers::<Status<'_>>(StatusCode::OK)
                .answers::<Status<'_>>(StatusCode::SERVICE_UNAVAILABLE),
            readyz,
        )
        .add(
            Operation::get(
                "/metrics",
                "metrics",
                "Metrics in the Prometheus text format",
            )
            .answers_bytes(StatusCode::OK, "text/plain"),
            metrics,
        )
}

#[derive(Serialize, JsonSchema)]
struct Status<'a> {
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// `GET /healthz`: the process serves.
pub async fn healthz() -> Response {
    let status = Status {
        status: "ok",
        reason: None,
    };
    json(StatusCode::OK, &status)
}

/// `GET /readyz`: commits can succeed; 503 with the reason when not, and while the server stops.
pub async fn readyz(State(app): State<App>) -> Response {
    let health = app.store.health();
    let (code, status, reason) = match &health {
        _ if app.tasks.stop().is_requested() => {
            let reason = Some("the server is stopping");
            (StatusCode::SERVICE_UNAVAILABLE, "unavailable", reason)
        }
        Health::Ready => (StatusCode::OK, "ready", None),
        // Whoever asks is a stranger: what the system says, paths and all, is in the log.
        Health::Unavailable(reason) => {
            tracing::warn!(reason, "the server is not ready");
            let reason = Some("the server's store can't be used now, its log says why");
            (StatusCode::SERVICE_UNAVAILABLE, "unavailable", reason)
        }
    };
    json(code, &Status { status, reason })
}

/// `GET /metrics`: Prometheus text format. They are of all resource spaces together. Errors: 403 a
/// caller bound to one.
pub async fn metrics(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
) -> Result<Response, ApiError> {
    if let Some(space) = caller.space {
        return Err(ApiError::foreign_space(format!(
            "metrics are for credentials without a resource space, this one has {}",
            space.as_str()
        )));
    }
    let media = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, media)], app.metrics.render()).into_response())
}

/// 404 for a path that is none of ours.
pub async fn unknown_path(uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    ApiError::new(
        StatusCode::NOT_FOUND,
        code::MALFORMED,
        format!("there is nothing at {path}"),
    )
}

/// 405 for a path of ours and a method that it does not take; `Allow` names those it does.
pub async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        code::MALFORMED,
        format!("{path} does not take {method}"),
    )
}
