//! Answers in JSON.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// What a request created, or named elsewhere than in its path: among the extensions of the answer,
/// for the audit log. The name of the id, and the id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named(pub &'static str, pub String);

/// The value with this status. Written at once, so that it may borrow.
pub fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    (status, Json(value)).into_response()
}

/// The answer, with what it is about for the audit log.
pub fn about(name: &'static str, id: impl ToString, answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    response
        .extensions_mut()
        .insert(Named(name, id.to_string()));
    response
}
