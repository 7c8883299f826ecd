//! `GET /v1/packages/{package_id}/file`: the file of a package, whole or one range of it (RFC 9110 §14), for
//! devices that fetch over HTTP and for people.
//!
//! Who has no credentials shows a token in the query ([`super::packages::token`]). The ETag is the file's SHA-256.
//! Several ranges in one request are refused with 416: no downloader of devices asks for them.

use std::ops::Range;
use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;

use super::error::{ApiError, code};
use super::input::{Query, read_query};
use super::operation::{Operation, Routes};
use super::precondition::{precondition_of, with_etag};
use super::request::path_id;
use crate::app::App;
use crate::app::credentials::Caller;
use crate::app::package::PackageError;
use crate::app::package::shelf::Volume;
use crate::base::ids::PackageId;
use crate::store::package_files::FilesError;
use crate::store::packages::PackageRecord;

/// Bytes read from the file in one go.
const STEP: u64 = 64 * 1024;

/// What this file serves.
pub fn routes() -> Routes {
    const FILE: &str = "/v1/packages/{package_id}/file";
    const OCTETS: &str = "application/octet-stream";
    Routes::tagged("Packages").add(
        Operation::get(
            FILE,
            "download_package",
            "Downloads the file of a package, or one range of it",
        )
        .by_link()
        .query(|q| drop(token_of(q)))
        .header(
            "Range",
            "One range: `bytes=0-499`, `bytes=500-`, `bytes=-500`.",
        )
        .header(
            "If-Range",
            "The range only while the ETag is this one, else all.",
        )
        .header("If-None-Match", "Only when the ETag is none of these.")
        .answers_bytes(StatusCode::OK, OCTETS)
        .answers_bytes(StatusCode::PARTIAL_CONTENT, OCTETS)
        .answers_nothing(StatusCode::NOT_MODIFIED)
        .fails(&[
            StatusCode::FORBIDDEN,
            StatusCode::CONFLICT,
            StatusCode::RANGE_NOT_SATISFIABLE,
        ]),
        download,
    )
}

/// `{package_id}` of the path; who may see it is judged later.
pub struct AnyPackage(PackageId);

impl FromRequestParts<App> for AnyPackage {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        path_id(parts, app, "package_id", PackageId::parse)
            .await
            .map(Self)
    }
}

/// `GET /v1/packages/{package_id}/file`: 200, 206, 304. Errors: 403 a wrong token, 404, 409 it has no file,
/// 416 no such range.
pub async fn download(
    State(app): State<App>,
    caller: Option<Extension<Caller>>,
    AnyPackage(id): AnyPackage,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let known = precondition_of(&headers)?.if_none_match;
    let package = match caller {
        Some(Extension(caller)) => {
            let (package, _) = app.packages.show(&id)?;
            if !caller.may_see(&package.app_id) {
                return Err(PackageError::NotFound(id).into());
            }
            package
        }
        None => {
            let token = read_query(&uri, token_of)?.unwrap_or_default();
            // Before anything is said of the package.
            app.packages.check_token(&id, &token)?;
            app.packages.show(&id)?.0
        }
    };
    let file = package
        .file
        .ok_or(PackageError::NoFile { package_id: id })?;
    let etag = file.sha256.to_string();
    if known.is_some_and(|tags| tags.matches(Some(&etag))) {
        return Ok(with_etag(StatusCode::NOT_MODIFIED.into_response(), &etag));
    }
    let volume = app
        .packages
        .shelf()
        .open(file)
        .map_err(PackageError::from)?;
    let range = match may_be_partial(&headers, &etag) {
        true => range_of(&headers, file.size),
        false => Ok(None),
    };
    Ok(match range {
        Err(problem) => out_of_range(problem, file.size),
        Ok(range) => with_etag(content(&package, volume, range), &etag),
    })
}

fn token_of(query: &Query<'_>) -> Option<String> {
    query.raw("token").map(str::to_owned)
}

/// Whether a range counts: `If-Range` names this file, or is not there. Dates never do (RFC 9110
/// §13.1.5).
fn may_be_partial(headers: &HeaderMap, etag: &str) -> bool {
    let Some(condition) = headers.get(header::IF_RANGE) else {
        return true;
    };
    condition.as_bytes() == format!("\"{etag}\"").as_bytes()
}

/// The range that is asked for; `None`: all. Error: why there is none.
fn range_of(headers: &HeaderMap, size: u64) -> Result<Option<Range<u64>>, &'static str> {
    let mut values = headers.get_all(header::RANGE).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err("is given twice, takes one range");
    }
    let text = value.to_str().unwrap_or_default();
    // Another unit is not ours to judge (RFC 9110 §14.2).
    let Some(("bytes", spec)) = text.split_once('=') else {
        return Ok(None);
    };
    if spec.contains(',') {
        return Err("names several ranges, takes one");
    }
    let wrong = "takes bytes=first-last, bytes=first- or bytes=-length";
    let (first, last) = spec.trim().split_once('-').ok_or(wrong)?;
    let number = |text: &str| {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| digits).ok_or(wrong)
    };
    let range = match (first, last) {
        ("", last) => size.saturating_sub(number(last)?)..size,
        (first, "") => number(first)?..size,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return Err(wrong);
            }
            first..last.saturating_add(1).min(size)
        }
    };
    match range.is_empty() {
        true => Err("begins behind the end of the file"),
        false => Ok(Some(range)),
    }
}

fn out_of_range(problem: &str, size: u64) -> Response {
    let status = StatusCode::RANGE_NOT_SATISFIABLE;
    let message = format!("Range: {problem}; the file has {size} bytes");
    let mut response = ApiError::new(status, code::INVALID, message).into_response();
    if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    response
}

fn content(package: &PackageRecord, volume: Arc<Volume>, range: Option<Range<u64>>) -> Response {
    let size = volume.size();
    let status = match range {
        Some(_) => StatusCode::PARTIAL_CONTENT,
        None => StatusCode::OK,
    };
    let span = range.clone().unwrap_or(0..size);
    let mut lines = vec![
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (
            header::CONTENT_LENGTH,
            span.end.saturating_sub(span.start).to_string(),
        ),
        (header::CONTENT_DISPOSITION, disposition(package)),
    ];
    if range.is_some() {
        let last = span.end.saturating_sub(1);
        let value = format!("bytes {}-{last}/{size}", span.start);
        lines.push((header::CONTENT_RANGE, value));
    }
    let mut response = (status, Body::from_stream(pieces(volume, span))).into_response();
    for (name, value) in lines {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// What a download is saved as, in the characters that every client takes.
fn disposition(package: &PackageRecord) -> String {
    let name = package
        .file_name
        .as_deref()
        .unwrap_or(&package.package_version);
    let safe = |c: char| c.is_ascii_alphanumeric() || "._- ".contains(c);
    let name: String = name
        .chars()
        .map(|c| if safe(c) { c } else { '_' })
        .collect();
    format!("attachment; filename=\"{name}\"")
}

/// The bytes of a span, read where waiting for the disk harms nobody.
fn pieces(
    volume: Arc<Volume>,
    span: Range<u64>,
) -> impl futures_util::Stream<Item = Result<Bytes, FilesError>> {
    unfold(Some(span), move |span| {
        let volume = Arc::clone(&volume);
        async move {
            let span = span.filter(|span| !span.is_empty())?;
            // Up to the end of a step of the file, so that no byte is read twice.
            let end = (span.start / STEP).saturating_add(1).saturating_mul(STEP);
            let end = end.min(span.end);
            let len = usize::try_from(end.saturating_sub(span.start)).unwrap_or(usize::MAX);
            let read = tokio::task::spawn_blocking(move || volume.read(span.start, len)).await;
            match read.ok()? {
                Ok(bytes) => Some((Ok(bytes), Some(end..span.end))),
                Err(error) => {
                    tracing::warn!(%error, "a download breaks off");
                    Some((Err(error), None))
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_file_of_ten_bytes() {
        type Want = Result<Option<Range<u64>>, ()>;
        let cases: [(&str, Want); 17] = [
            ("bytes=0-0", Ok(Some(0..1))),
            ("bytes=2-5", Ok(Some(2..6))),
            ("bytes=2-", Ok(Some(2..10))),
            ("bytes=-3", Ok(Some(7..10))),
            ("bytes=-30", Ok(Some(0..10))),
            ("bytes=9-99", Ok(Some(9..10))),
            ("bytes=10-", Err(())),
            ("bytes=-0", Err(())),
            ("bytes=5-2", Err(())),
            ("bytes=0-1,3-4", Err(())),
            ("bytes=", Err(())),
            ("bytes=-", Err(())),
            ("bytes=a-b", Err(())),
            ("bytes=+1-2", Err(())),
            ("bytes=99999999999999999999-", Err(())),
            ("items=0-1", Ok(None)),
            ("nonsense", Ok(None)),
        ];
        for (text, want) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, text.parse().unwrap());
            assert_eq!(range_of(&headers, 10).map_err(drop), want, "{text}");
        }
        assert_eq!(range_of(&HeaderMap::new(), 10), Ok(None));
    }
}
