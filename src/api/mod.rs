//! The HTTP face: `/v5/iot/{project_id}/…` as IoTDA has it, `/v1/…` for what is ours, and
//! operations. Described in `docs/api.md`.
//!
//! Handlers parse, call one service and shape the answer. `project_id` may be anything and
//! partitions nothing. Who asks is found out first ([`auth`]).

pub mod audit;
pub mod auth;
pub mod batch_body;
pub mod batch_files;
pub mod batch_rows;
pub mod batch_tasks;
pub mod batch_view;
pub mod buffer;
pub mod campaign_cells;
pub mod campaigns;
pub mod certificates;
pub mod codec;
pub mod codec_replay;
pub mod codec_versions;
pub mod command_body;
pub mod commands;
pub mod device_body;
pub mod devices;
pub mod error;
pub mod events;
pub mod groups;
pub mod history;
pub mod input;
pub mod json;
pub mod openapi;
pub mod operation;
pub mod operations;
pub mod ota_packages;
pub mod package_files;
pub mod packages;
pub mod page;
pub mod precondition;
pub mod product_body;
pub mod product_model;
pub mod products;
pub mod push_certificates;
pub mod pushes;
pub mod queues;
pub mod request;
pub mod respond;
pub mod routing_actions;
pub mod routing_policies;
pub mod routing_rules;
pub mod routing_sql;
pub mod search;
pub mod server;
pub mod settings;
pub mod shadow;
pub mod spaces;
pub mod tags;
pub mod trace;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::{Extension, Router};

use crate::app::App;
use auth::Gate;
use buffer::{Buffer, UNVERIFIED_MAX};
use operation::Routes;
use request::BODY_TIME;
pub use server::Server;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest `X-Request-Id` taken from a caller.
const REQUEST_ID_MAX: usize = 128;

/// Everything that is served over HTTP.
pub fn router(app: App) -> Router {
    router_within(app, Buffer::new(UNVERIFIED_MAX, BODY_TIME))
}

/// The same, with this room for bodies of callers who are not known yet, and this time for every body.
pub fn router_within(app: App, buffer: Buffer) -> Router {
    let (router, operations) = routes().build();
    let document = openapi::Served::of(operations.clone());
    let body_time = buffer.time();
    let gate = Gate {
        app: app.clone(),
        operations,
        buffer,
    };
    router
        .fallback(operations::unknown_path)
        .method_not_allowed_fallback(operations::wrong_method)
        .layer(Extension(document))
        .layer(Extension(body_time))
        .layer(from_fn_with_state(gate, auth::admit))
        .layer(from_fn_with_state(app.clone(), observe))
        .with_state(app)
}

/// Every operation, for those who describe them.
pub fn operations() -> operation::Operations {
    routes().build().1
}

/// Every operation with its handler.
fn routes() -> Routes {
    Routes::default()
        .merge(spaces::routes())
        .merge(certificates::routes())
        .merge(products::routes())
        .merge(product_model::routes())
        .merge(devices::routes())
        .merge(commands::routes())
        .merge(shadow::routes())
        .merge(groups::routes())
        .merge(tags::routes())
        .merge(search::routes())
        .merge(batch_files::routes())
        .merge(batch_tasks::routes())
        .merge(packages::routes())
        .merge(ota_packages::routes())
        .merge(package_files::routes())
        .merge(campaign_cells::routes())
        .merge(campaigns::routes())
        .merge(routing_rules::routes())
        .merge(routing_actions::routes())
        .merge(routing_policies::routes())
        .merge(queues::routes())
        .merge(pushes::routes())
        .merge(push_certificates::routes())
        .merge(codec::routes())
        .merge(codec_versions::routes())
        .merge(codec_replay::routes())
        .merge(settings::routes())
        .merge(history::routes())
        .merge(trace::routes())
        .merge(events::routes())
        .merge(routing_sql::routes())
        .merge(audit::routes())
        .merge(operations::routes())
        .merge(openapi::routes())
}

/// The name of a request, among its extensions.
#[derive(Debug, Clone)]
pub struct RequestId(pub HeaderValue);

/// Counts and times every request, and names it: the caller's `X-Request-Id`, else one of ours.
async fn observe(
    State(app): State<App>,
    matched: Option<MatchedPath>,
    mut request: Request,
    next: Next,
) -> Response {
    let began = app.clock.instant();
    let path = matched.map_or_else(|| "none".to_owned(), |m| m.as_str().to_owned());
    let method = method_label(request.method());
    let id = request_id(&request);
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    let took = app.clock.instant().saturating_duration_since(began);
    let status = response.status().as_u16().to_string();
    let labels = [
        ("path", path.clone()),
        ("method", method.to_owned()),
        ("status", status),
    ];
    metrics::counter!("strait_http_requests_total", &labels).increment(1);
    metrics::histogram!("strait_http_request_seconds", "path" => path).record(took.as_secs_f64());
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// A caller may make up methods; they must not make up metrics.
fn method_label(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];
    let found = known.into_iter().find(|name| *name == method.as_str());
    found.unwrap_or("other")
}

fn request_id(request: &Request) -> HeaderValue {
    let given = request.headers().get(&REQUEST_ID).filter(|id| {
        let printable = |b: &u8| b.is_ascii_graphic();
        (1..=REQUEST_ID_MAX).contains(&id.len()) && id.as_bytes().iter().all(printable)
    });
    given.cloned().unwrap_or_else(|| {
        // For people to find a request by: chance need not be secret.
        let made = format!("{:032x}", fastrand::u128(..));
        HeaderValue::from_str(&made).unwrap_or(HeaderValue::from_static("-"))
    })
}
