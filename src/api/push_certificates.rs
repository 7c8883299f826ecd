//! `/v1/push-certificates`: CA certificates that the certificates of subscribers are checked with. An action
//! names them by `cert_id`. They belong to all resource spaces, and never change: other ones are another id.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;

use super::certificates::EXAMPLE;
use super::error::{ApiError, code};
use super::input::{quoted, read_query};
use super::operation::{Operation, Routes};
use super::page::{PageInfo, PageQuery};
use super::request::{ForAllSpaces, MediaType, path_id, read_body_up_to};
use super::respond::{about, json as answer};
use crate::app::App;
use crate::app::certificate::CONTENT_MAX;
use crate::app::forwarding::BUNDLE_MAX;
use crate::base::ids::PushCertificateId;
use crate::store::forwarding::PushCertificateRecord;

/// Media types of PEM.
const MEDIA: [&str; 3] = [
    "application/x-pem-file",
    "application/pem-certificate-chain",
    "text/plain",
];

/// Bytes of a body.
const BODY_MAX: usize = CONTENT_MAX * BUNDLE_MAX;

/// What this file serves.
pub fn routes() -> Routes {
    const ALL: &str = "/v1/push-certificates";
    const ONE: &str = "/v1/push-certificates/{cert_id}";
    const BOUND: &[StatusCode] = &[StatusCode::FORBIDDEN];
    Routes::tagged("Push certificates")
        .add(
            Operation::put(
                ALL,
                "put_push_certificate",
                "Takes CA certificates of subscribers",
            )
            .bytes(&MEDIA)
            .answers::<View<'_>>(StatusCode::CREATED)
            .answers::<View<'_>>(StatusCode::OK)
            .fails(&[StatusCode::FORBIDDEN, StatusCode::UNSUPPORTED_MEDIA_TYPE])
            .example_text(EXAMPLE),
            put,
        )
        .add(
            Operation::get(
                ALL,
                "list_push_certificates",
                "Lists CA certificates of subscribers, newest first",
            )
            .query(|q| {
                PageQuery::of(q);
            })
            .answers::<List<'_>>(StatusCode::OK)
            .fails(BOUND),
            list,
        )
        .add(
            Operation::get(
                ONE,
                "show_push_certificate",
                "Shows CA certificates of subscribers with their content",
            )
            .answers::<Whole<'_>>(StatusCode::OK)
            .fails(BOUND),
            show,
        )
        .add(
            Operation::delete(
                ONE,
                "delete_push_certificate",
                "Deletes CA certificates that no action names",
            )
            .answers_nothing(StatusCode::NO_CONTENT)
            .fails(BOUND),
            delete,
        )
}

/// `{cert_id}` of the path, of a caller for all spaces.
pub struct CertPath(PushCertificateId);

impl FromRequestParts<App> for CertPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        ForAllSpaces::from_request_parts(parts, app).await?;
        let id = path_id(parts, app, "cert_id", PushCertificateId::parse).await?;
        Ok(Self(id))
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PushCertificate")]
struct View<'a> {
    cert_id: &'a PushCertificateId,
    /// Of the first of them.
    cn_name: Option<&'a str>,
    /// All of them are valid from then on.
    effective_date: String,
    /// All of them are valid until then.
    expiry_date: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PushCertificateWithContent")]
struct Whole<'a> {
    #[serde(flatten)]
    view: View<'a>,
    content: &'a str,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PushCertificateList")]
struct List<'a> {
    certificates: Vec<View<'a>>,
    page: PageInfo,
}

impl<'a> From<&'a PushCertificateRecord> for View<'a> {
    fn from(certificate: &'a PushCertificateRecord) -> Self {
        Self {
            cert_id: &certificate.cert_id,
            cn_name: certificate.cn_name.as_deref(),
            effective_date: certificate.effective_at.compact(),
            expiry_date: certificate.expires_at.compact(),
        }
    }
}

/// `PUT /v1/push-certificates`: 201 new; 200 the same certificates are there, their id is the old one.
/// Errors: 400 no CA certificates, too many; 403 a bound caller; 413; 415 other types.
async fn put(
    State(app): State<App>,
    _: ForAllSpaces,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, ApiError> {
    check_media(&headers)?;
    let body = read_body_up_to(request, BODY_MAX).await?;
    let content = String::from_utf8(body.to_vec())
        .map_err(|_| ApiError::malformed("the body is not UTF-8, takes PEM"))?;
    let (certificate, is_new) = app.forwarding.add_certificate(content).await?;
    let status = match is_new {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    let made = answer(status, &View::from(&certificate));
    Ok(about("cert_id", &certificate.cert_id, made))
}

fn check_media(headers: &HeaderMap) -> Result<(), ApiError> {
    let got = match MediaType::of(headers) {
        Ok(Some(media)) if !MEDIA.contains(&media.essence.as_str()) => quoted(&media.essence),
        Ok(Some(media)) if media.is_utf8() => return Ok(()),
        Ok(Some(_)) => "another charset than UTF-8".to_owned(),
        Ok(None) => "none".to_owned(),
        Err(_) => "what can't be read".to_owned(),
    };
    let message = format!("Content-Type: got {got}, takes {}", MEDIA.join(", "));
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Err(ApiError::new(status, code::MALFORMED, message))
}

/// `GET /v1/push-certificates`: newest first. Errors: 403 a bound caller.
async fn list(State(app): State<App>, _: ForAllSpaces, uri: Uri) -> Result<Response, ApiError> {
    let page = read_query(&uri, PageQuery::of)?;
    let snapshot = app.forwarding.snapshot();
    let page = page.cut(snapshot.certificates.iter().collect(), |one| one.seq);
    let list = List {
        certificates: page.shown.into_iter().map(View::from).collect(),
        page: PageInfo {
            count: page.count,
            marker: page.marker,
        },
    };
    Ok(answer(StatusCode::OK, &list))
}

/// `GET /v1/push-certificates/{cert_id}`. Errors: 404, 403 a bound caller.
async fn show(State(app): State<App>, CertPath(id): CertPath) -> Result<Response, ApiError> {
    let snapshot = app.forwarding.snapshot();
    let certificate = snapshot.certificate(&id)?;
    let whole = Whole {
        view: View::from(certificate),
        content: &certificate.content,
    };
    Ok(answer(StatusCode::OK, &whole))
}

/// `DELETE /v1/push-certificates/{cert_id}`: 204. Errors: 404, 400 while actions name it, 403 a bound
/// caller.
async fn delete(State(app): State<App>, CertPath(id): CertPath) -> Result<StatusCode, ApiError> {
    app.forwarding.delete_certificate(id).await?;
    Ok(StatusCode::NO_CONTENT)
}
