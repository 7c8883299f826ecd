//! `/v1/products/{product_id}/codec/…`: versions and rollback, how the codec does, and the end of a
//! quarantine.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::codec::{EXAMPLE_ETAG, Uploaded, runs_now, source_of};
use super::error::ApiError;
use super::input::{Alphabet, Fields, TextRule, quoted, read_body};
use super::operation::{Operation, Routes};
use super::precondition::precondition_of;
use super::request::{MaybeJsonBody, ProductPath, path_text};
use super::respond::json as answer;
use crate::app::App;
use crate::app::product::CodecStatus;
use crate::app::product::codec::kind_of;
use crate::app::product::rates::Times;
use crate::app::product::versions::Version;
use crate::base::time::Timestamp;
use crate::product::codec::Kind;

/// SHA-256 in hex.
const ETAG: TextRule = TextRule::new(Alphabet::Hex, 64, 64);

/// What this file serves.
pub fn routes() -> Routes {
    const VERSIONS: &str = "/v1/products/{product_id}/codec/versions";
    const VERSION: &str = "/v1/products/{product_id}/codec/versions/{etag}";
    const ROLLBACK: &str = "/v1/products/{product_id}/codec/rollback";
    const RELEASE: &str = "/v1/products/{product_id}/codec/release";
    const STATUS: &str = "/v1/products/{product_id}/codec/status";
    Routes::tagged("Codecs")
        .add(
            Operation::get(VERSIONS, "list_codec_versions", "Lists the kept codecs")
                .answers::<Versions>(StatusCode::OK),
            list,
        )
        .add(
            Operation::get(VERSION, "show_codec_version", "Downloads a kept codec")
                .answers_bytes(StatusCode::OK, "application/toml")
                .answers_bytes(StatusCode::OK, "text/javascript"),
            show,
        )
        .add(
            Operation::post(
                ROLLBACK,
                "roll_back_codec",
                "Makes a kept codec run: without etag the one before the running one",
            )
            .header(
                "If-Match",
                "Only when the running codec has one of these tags.",
            )
            .header(
                "If-None-Match",
                "Only when the running codec has none of these tags.",
            )
            .maybe_body(|f| drop(rollback_body(f)))
            .answers::<Uploaded<'_>>(StatusCode::CREATED)
            .answers::<Uploaded<'_>>(StatusCode::OK)
            .fails(&[
                StatusCode::PRECONDITION_FAILED,
                StatusCode::UNPROCESSABLE_ENTITY,
            ])
            .example(json!({"etag": EXAMPLE_ETAG})),
            roll_back,
        )
        .add(
            Operation::post(RELEASE, "release_codec", "Ends a codec's quarantine")
                .answers_nothing(StatusCode::NO_CONTENT),
            release,
        )
        .add(
            Operation::get(STATUS, "show_codec_status", "Shows how the codec does")
                .answers::<StatusView>(StatusCode::OK),
            status,
        )
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CodecVersions")]
struct Versions {
    /// Newest first.
    versions: Vec<VersionView>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CodecVersion")]
struct VersionView {
    etag: String,
    kind: Kind,
    uploaded_at: String,
    bytes: usize,
    is_running: bool,
}

impl From<Version> for VersionView {
    fn from(version: Version) -> Self {
        let Version { codec, is_running } = version;
        Self {
            kind: kind_of(codec.kind),
            uploaded_at: codec.uploaded_at.rfc3339_ms(),
            bytes: codec.source.len(),
            etag: codec.etag,
            is_running,
        }
    }
}

/// `GET …/codec/versions`. Errors: 404 no product.
pub async fn list(
    State(app): State<App>,
    ProductPath(id): ProductPath,
) -> Result<Response, ApiError> {
    let versions = app.products.codec_versions(&id)?.into_iter();
    let versions = versions.map(VersionView::from).collect();
    Ok(answer(StatusCode::OK, &Versions { versions }))
}

/// The tag of a version in the path.
pub struct EtagPath(String);

impl<S: Send + Sync> FromRequestParts<S> for EtagPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let etag = path_text(parts, state, "etag").await?;
        if etag.len() == 64 && etag.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(Self(etag));
        }
        Err(ApiError::invalid(format!(
            "etag: got {}, takes 64 hexadecimal digits",
            quoted(&etag)
        )))
    }
}

/// `GET …/codec/versions/{etag}`: the source as it was uploaded. Errors: 404.
pub async fn show(
    State(app): State<App>,
    ProductPath(id): ProductPath,
    EtagPath(etag): EtagPath,
) -> Result<Response, ApiError> {
    Ok(source_of(app.products.codec_version(&id, &etag)?))
}

fn rollback_body(fields: &Fields<'_>) -> Option<Option<String>> {
    let etag = fields.text("etag", ETAG);
    fields.refuse_others();
    Some(etag)
}

/// `POST …/codec/rollback`: 200, or 201 when no codec ran. Errors: 404 no such version, 412, 422 when it does
/// not fit the model any more.
pub async fn roll_back(
    State(app): State<App>,
    ProductPath(id): ProductPath,
    headers: HeaderMap,
    MaybeJsonBody(body): MaybeJsonBody,
) -> Result<Response, ApiError> {
    let precondition = precondition_of(&headers)?;
    let etag = read_body(&body, rollback_body)?;
    let rolled = app.products.roll_back_codec(id.clone(), etag, precondition);
    Ok(runs_now(&id, &rolled.await?))
}

/// `POST …/codec/release`: 204, also when nothing was quarantined. Errors: 404 no codec.
pub async fn release(
    State(app): State<App>,
    ProductPath(id): ProductPath,
) -> Result<StatusCode, ApiError> {
    app.products.release_codec(&id)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CodecStatus")]
struct StatusView {
    /// Null for products whose devices speak JSON.
    kind: Option<Kind>,
    etag: Option<String>,
    /// False: what the devices send is kept raw.
    is_running: bool,
    /// Why the codec is not called any more, if so.
    quarantined: Option<String>,
    /// Since when it is not; a restart of the server ends a quarantine.
    quarantined_since: Option<String>,
    /// This process counts since then.
    since: String,
    /// Messages that were decoded.
    decoded: u64,
    /// Commands and property sets that were encoded.
    encoded: u64,
    /// Calls that failed, by the kind of error.
    failed: BTreeMap<String, u64>,
    /// Of decoding, with the way to the worker and back; null before the first.
    decode_us: Option<TimesView>,
}

/// Microseconds, rounded up by at most a quarter.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CodecTimes")]
struct TimesView {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

impl From<Times> for TimesView {
    fn from(times: Times) -> Self {
        let us = |time: Duration| (time.as_secs_f64() * 1e8).round() / 100.0;
        Self {
            p50: us(times.p50),
            p90: us(times.p90),
            p99: us(times.p99),
            max: us(times.max),
        }
    }
}

impl From<CodecStatus> for StatusView {
    fn from(status: CodecStatus) -> Self {
        let counted = status.counted;
        let failed = counted.failed.into_iter();
        let since = status.quarantined.as_ref().map(|held| held.since);
        Self {
            kind: status.kind,
            etag: status.etag,
            is_running: status.is_running,
            quarantined: status.quarantined.map(|held| held.why),
            quarantined_since: since.map(Timestamp::rfc3339_ms),
            since: counted.since.rfc3339_ms(),
            decoded: counted.decoded,
            encoded: counted.encoded,
            failed: failed
                .map(|(kind, count)| (kind.to_owned(), count))
                .collect(),
            decode_us: counted.decode_times.map(TimesView::from),
        }
    }
}

/// `GET …/codec/status`. Errors: 404 without a codec.
pub async fn status(
    State(app): State<App>,
    ProductPath(id): ProductPath,
) -> Result<Response, ApiError> {
    let status = app.products.codec_status(&id)?;
    Ok(answer(StatusCode::OK, &StatusView::from(status)))
}
