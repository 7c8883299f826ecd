//! `/v1/packages`: packages with their files. The v5 API shows the same ones without
//! ([`super::ota_packages`]).

use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body as HttpBody, BodyDataStream};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use axum::response::Response;
use futures_util::StreamExt;
use futures_util::stream::unfold;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::Instant;

use super::error::{ApiError, code};
use super::input::{Alphabet, Fields, Query, TextRule, read_body, read_query};
use super::operation::{Operation, Routes};
use super::ota_packages::{CUSTOM_INFO, DESCRIPTION, MODULE, TYPES, VERSION};
use super::request::{BodyTime, CallerIs, MaybeJsonBody, PackagePath};
use super::respond::{about, json as answer};
use crate::app::App;
use crate::app::package::rules::{FILE_NAME_MAX, FRAGMENT_SIZE_MAX, FRAGMENT_SIZE_MIN};
use crate::app::package::settings::TOKEN_S_MAX;
use crate::app::package::{Body, NewUpload, PackageError, Packages};
use crate::app::product::ProductError;
use crate::base::ids::{AppId, PackageId, ProductId};
use crate::product::codec::text::unbase64;
use crate::store::packages::{PackageRecord, PackageType};

/// Where a signature may be, too: base64 has characters that a query writes otherwise.
const SIGNATURE: HeaderName = HeaderName::from_static("x-package-signature");

const FILE_NAME: TextRule = TextRule::new(Alphabet::Any, 1, FILE_NAME_MAX);

/// Bytes that an upload brings at least in the time that an ordinary body may take: 2 KB/s, when that
/// is as it was.
const PACE: usize = 64 * 1024;

/// What this file serves.
pub fn routes() -> Routes {
    const ALL: &str = "/v1/packages";
    const ONE: &str = "/v1/packages/{package_id}";
    const TOKEN: &str = "/v1/packages/{package_id}/token";
    Routes::tagged("Packages")
        .add(
            Operation::put(
                ALL,
                "upload_package",
                "Uploads the file of a package; the same file again is the same package",
            )
            .query(|q| drop(upload_of(q)))
            .header(
                "X-Package-Signature",
                "An Ed25519 signature of the file, in base64.",
            )
            .bytes(&["application/octet-stream"])
            .answers::<View<'_>>(StatusCode::CREATED)
            .answers::<View<'_>>(StatusCode::OK)
            .fails(&[
                StatusCode::NOT_FOUND,
                StatusCode::CONFLICT,
                StatusCode::PAYLOAD_TOO_LARGE,
            ])
            .example_query(&[
                ("package_type", "firmwarePackage"),
                ("product_id", "watermeter"),
                ("version", "V2.0"),
            ])
            .example_text("the bytes of the firmware"),
            upload,
        )
        .add(
            Operation::get(ONE, "show_package", "Shows a package and its file")
                .answers::<View<'_>>(StatusCode::OK),
            show,
        )
        .add(
            Operation::post(
                TOKEN,
                "create_package_token",
                "Makes a link to the file that works without credentials for a while",
            )
            .reads()
            .maybe_body(|f| {
                token_body(f);
            })
            .answers::<Link>(StatusCode::OK)
            .fails(&[StatusCode::CONFLICT])
            .example(serde_json::json!({"expires_s": 3600})),
            token,
        )
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Package")]
struct View<'a> {
    package_id: &'a PackageId,
    app_id: &'a AppId,
    package_type: &'static str,
    product_id: &'a ProductId,
    module_name: Option<&'a str>,
    version: &'a str,
    support_source_versions: &'a [String],
    description: Option<&'a str>,
    custom_info: Option<&'a str>,
    create_time: String,
    file_name: Option<&'a str>,
    /// In bytes; null: nothing was uploaded yet, and no task can use the package.
    size: Option<u64>,
    /// 64 hexadecimal digits.
    sha256: Option<String>,
    /// In bytes; null for firmware.
    fragment_size: Option<u16>,
    /// PCP fragments of the file; null for firmware.
    fragments: Option<u64>,
    /// Where devices fetch it over CoAP, on the session that they have.
    coap_path: Option<String>,
    /// The first 16 hexadecimal digits of the SHA-256 of the public key that signed the file.
    signed_by: Option<&'a str>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PackageLink")]
struct Link {
    token: String,
    /// The path of the download, with the token.
    path: String,
    expires_time: String,
}

fn view(package: &PackageRecord) -> View<'_> {
    let is_software = package.package_type == PackageType::Software;
    View {
        package_id: &package.package_id,
        app_id: &package.app_id,
        package_type: package.package_type.word(),
        product_id: &package.product_id,
        module_name: package.module_name.as_deref(),
        version: &package.package_version,
        support_source_versions: &package.support_source_versions,
        description: package.description.as_deref(),
        custom_info: package.custom_info.as_deref(),
        create_time: package.created_at.compact(),
        file_name: package.file_name.as_deref(),
        size: package.file.map(|file| file.size),
        sha256: package.file.map(|file| file.sha256.to_string()),
        fragment_size: is_software.then_some(package.fragment_size),
        fragments: package.fragments(),
        coap_path: Packages::path_of(package).map(|path| format!("/fw/{path}")),
        signed_by: package.signed_by.as_deref(),
    }
}

/// `PUT /v1/packages`: 201, or 200 when the package was there with this file. Errors: 400 bad field, empty,
/// no room; 404 no such product; 409 the version means another file; 413 too large.
pub async fn upload(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    uri: Uri,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, ApiError> {
    let new = read_query(&uri, upload_of)?;
    let mut new = new.ok_or_else(|| ApiError::invalid("the query can't be read"))?;
    let product = app.products.show(&new.product_id)?;
    if !caller.may_see(&product.record.app_id) {
        return Err(ProductError::NotFound(new.product_id).into());
    }
    if let Some(value) = headers.get(&SIGNATURE) {
        let text = value.to_str().unwrap_or_default();
        new.signature = Some(
            signature_of(text)
                .map_err(|problem| ApiError::invalid(format!("X-Package-Signature: {problem}")))?,
        );
    }
    new.size = declared_size(&headers);
    let uploaded = app.packages.upload(new, pieces_of(request)).await?;
    let status = match uploaded.is_new {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    let package = &uploaded.package;
    Ok(about(
        "package_id",
        &package.package_id,
        answer(status, &view(package)),
    ))
}

fn declared_size(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
    text.parse().ok()
}

/// The body as it comes. One that brings less than [`PACE`] in its time is given up, be it slow or
/// still: it holds the place of another upload. Only the time that the body is waited for counts.
fn pieces_of(request: Request) -> Body {
    let time = BodyTime::of(&request).0;
    let stream = HttpBody::into_data_stream(request.into_body());
    let pieces = unfold(Some((stream, time, 0)), move |state| async move {
        let (mut stream, left, came): (BodyDataStream, Duration, usize) = state?;
        let began = Instant::now();
        match tokio::time::timeout(left, stream.next()).await {
            Ok(Some(Ok(piece))) => {
                let came = piece.len().saturating_add(came);
                let next = match came < PACE {
                    true => (stream, left.saturating_sub(began.elapsed()), came),
                    false => (stream, time, 0),
                };
                Some((Ok(piece), Some(next)))
            }
            Ok(Some(Err(_))) => {
                let error = PackageError::Broken("the body broke off".to_owned());
                Some((Err(error), None))
            }
            Ok(None) => None,
            Err(_) => {
                let seconds = time.as_secs();
                let (want, came) = (PACE / 1024, came / 1024);
                let problem = format!("{came} KB of the body came in {seconds} s, takes {want} KB");
                Some((Err(PackageError::Slow(problem)), None))
            }
        }
    });
    let pieces: Pin<Box<_>> = Box::pin(pieces);
    pieces
}

/// `GET /v1/packages/{package_id}`. Errors: 404.
pub async fn show(
    State(app): State<App>,
    PackagePath(id): PackagePath,
) -> Result<Response, ApiError> {
    let (package, _) = app.packages.show(&id)?;
    Ok(answer(StatusCode::OK, &view(&package)))
}

/// `POST /v1/packages/{package_id}/token`: 200. Errors: 400 bad field, 404, 409 it has no file.
pub async fn token(
    State(app): State<App>,
    PackagePath(id): PackagePath,
    MaybeJsonBody(body): MaybeJsonBody,
) -> Result<Response, ApiError> {
    let for_s = read_body(&body, token_body)?;
    let (package, _) = app.packages.show(&id)?;
    if package.file.is_none() {
        return Err(PackageError::NoFile { package_id: id }.into());
    }
    let for_s = for_s.map_or_else(|| app.packages.settings().token_s, u64::from);
    let packages = app.packages.clone();
    let of = id.clone();
    let made = tokio::task::spawn_blocking(move || packages.token(&of, for_s)).await;
    let (token, until) =
        made.map_err(|_| ApiError::unavailable("the token could not be made, try again"))??;
    let link = Link {
        path: format!("/v1/packages/{id}/file?token={token}"),
        token,
        expires_time: until.compact(),
    };
    Ok(answer(StatusCode::OK, &link))
}

#[expect(clippy::unnecessary_wraps, reason = "readers of bodies answer options")]
fn token_body(fields: &Fields<'_>) -> Option<Option<u32>> {
    let max = u32::try_from(TOKEN_S_MAX).unwrap_or(u32::MAX);
    let for_s = fields.integer("expires_s", 1..=max);
    fields.refuse_others();
    Some(for_s)
}

/// The query of an upload. `None`: what is wrong is told.
fn upload_of(query: &Query<'_>) -> Option<NewUpload> {
    let package_type = query.needed_one_of("package_type", &TYPES);
    let product_id = query.needed_id("product_id", ProductId::parse);
    let package_version = query.needed_text("version", VERSION);
    let sizes = u64::from(FRAGMENT_SIZE_MIN)..=u64::from(FRAGMENT_SIZE_MAX);
    let fragment_size = query.integer("fragment_size", sizes, code::INVALID);
    let sources = query.raw("support_source_versions");
    let sources = sources.map(|text| {
        let parts = text.split(',').map(str::trim).filter(|v| !v.is_empty());
        parts.map(str::to_owned).collect()
    });
    let module_name = query.text("module_name", MODULE);
    let description = query.text("description", DESCRIPTION);
    let custom_info = query.text("custom_info", CUSTOM_INFO);
    let file_name = query.text("file_name", FILE_NAME);
    // A plus that was not escaped is a blank here.
    let signature = query.raw("signature").map(|text| text.replace(' ', "+"));
    let signature = signature.and_then(|text| match signature_of(&text) {
        Ok(signature) => Some(signature),
        Err(problem) => {
            query.problem(code::INVALID, "signature", problem);
            None
        }
    });
    Some(NewUpload {
        package_type: package_type?,
        product_id: product_id?,
        package_version,
        fragment_size: fragment_size.and_then(|size| u32::try_from(size).ok()),
        support_source_versions: sources,
        module_name,
        description,
        custom_info,
        file_name,
        signature,
        size: None,
    })
}

fn signature_of(text: &str) -> Result<[u8; 64], String> {
    let bytes = unbase64(text.trim());
    let bytes = bytes.and_then(|bytes| <[u8; 64]>::try_from(bytes.as_slice()).ok());
    bytes.ok_or_else(|| "takes 64 bytes in base64: an Ed25519 signature".to_owned())
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;

    use super::*;

    /// A body of pieces that come one after another, each after so many seconds, and its reader's end.
    async fn read(pieces: Vec<(u64, usize)>) -> Result<usize, String> {
        let coming = unfold(pieces.into_iter(), async |mut pieces| {
            let (after_s, len) = pieces.next()?;
            tokio::time::sleep(Duration::from_secs(after_s)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from(vec![0; len])), pieces))
        });
        let mut request = Request::new(HttpBody::from_stream(coming));
        let time = BodyTime(Duration::from_secs(30));
        request.extensions_mut().insert(time);
        let (mut read, mut total) = (pieces_of(request), 0);
        while let Some(piece) = read.next().await {
            total += piece.map_err(|e| e.to_string())?.len();
        }
        Ok(total)
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_keeps_its_pace() {
        let slow = Err("1 KB of the body came in 30 s, takes 64 KB".to_owned());
        // A byte now and then is not enough, however often it comes.
        assert_eq!(read(vec![(1, 50); 100]).await, slow);
        let still = Err("0 KB of the body came in 30 s, takes 64 KB".to_owned());
        assert_eq!(read(vec![(31, PACE)]).await, still);
        let steady = vec![(29, PACE); 100];
        assert_eq!(read(steady).await, Ok(100 * PACE));
        // Half of it twice, and an end that is short.
        let halves = [vec![(14, PACE / 2); 20], vec![(29, 10)]].concat();
        assert_eq!(read(halves).await, Ok(10 * PACE + 10));
        // What came early does not last for long.
        let then_still = vec![(1, 10 * PACE), (31, 10)];
        assert_eq!(read(then_still).await, still);
        assert_eq!(read(Vec::new()).await, Ok(0));
    }
}
