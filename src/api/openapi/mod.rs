//! The interface described by itself: `/openapi.json` (OpenAPI 3.1), and `/docs`, a page that shows
//! it and sends requests.
//!
//! The document is made of the operations that the router is made of: requests by running their
//! readers in recording mode, answers by the schemas of their types. The page is one answer without
//! anything from elsewhere, so that it works where there is no internet.

mod document;
mod parameter;

use std::sync::{Arc, OnceLock};

use axum::Extension;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::Value;

use super::error::ApiError;
use super::operation::{Access, Operation, Operations, Routes};
use crate::bug;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What this file serves.
pub fn routes() -> Routes {
    Routes::tagged("Server")
        .add(
            Operation::get("/openapi.json", "openapi", "This document")
                .access(Access::Open)
                .answers::<serde_json::Map<String, Value>>(StatusCode::OK),
            openapi,
        )
        .add(
            Operation::get("/docs", "docs", "A page that shows this document")
                .access(Access::Open)
                .answers_bytes(StatusCode::OK, "text/html")
                .fails(&[StatusCode::SERVICE_UNAVAILABLE]),
            docs,
        )
}

/// The document of these operations.
pub fn document(operations: &Operations) -> Value {
    document::of(operations.all())
}

/// The document as text, one field a line, with a line end.
pub fn text(operations: &Operations) -> String {
    match serde_json::to_string_pretty(&document(operations)) {
        Ok(text) => text + "\n",
        Err(error) => {
            bug!("the OpenAPI document can't be written: {error}");
            String::new()
        }
    }
}

/// The document as it is served: made when it is first asked for.
#[derive(Debug, Clone)]
pub struct Served(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    operations: Operations,
    text: OnceLock<Bytes>,
}

impl Served {
    pub fn of(operations: Operations) -> Self {
        let text = OnceLock::new();
        Self(Arc::new(Inner { operations, text }))
    }

    fn text(&self) -> Bytes {
        let make = || text(&self.0.operations).into();
        Bytes::clone(self.0.text.get_or_init(make))
    }
}

/// `GET /openapi.json`.
pub async fn openapi(Extension(served): Extension<Served>) -> Response {
    let media = (header::CONTENT_TYPE, "application/json");
    ([media], served.text()).into_response()
}

/// `GET /docs`. The page may run its own script and talk to this server, and nothing else.
pub async fn docs() -> Result<Response, ApiError> {
    let mut seed = [0; 16];
    getrandom::fill(&mut seed)
        .map_err(|_| ApiError::unavailable("the system gives no random numbers, try again"))?;
    let nonce: String = seed.iter().map(|b| format!("{b:02x}")).collect();
    let page = PAGE
        .replace("{nonce}", &nonce)
        .replace("{style}", STYLE)
        .replace("{script}", SCRIPT);
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut response = axum::response::Html(page).into_response();
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    let same = HeaderValue::from_static("no-referrer");
    headers.insert(header::REFERRER_POLICY, same);
    let literal = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, literal);
    Ok(response)
}
