//! `…/certificates` of the v5 API: CA certificates of devices.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::error::ApiError;
use super::input::{Alphabet, Fields, Query, TextRule, read_body, read_query};
use super::operation::{Operation, Routes};
use super::page::{PageInfo, PageQuery, marker_of};
use super::request::{CallerIs, CertificatePath, JsonBody, space_for, visible_space};
use super::respond::{about, json as answer};
use crate::app::App;
use crate::app::certificate::{CONTENT_MAX, CertificatePatch};
use crate::base::ids::{AppId, CertificateId};
use crate::store::catalog::CertificateRecord;

/// A PEM certificate. Longer ones are refused where they are read, in bytes.
const PEM: TextRule = TextRule::new(Alphabet::Any, 1, CONTENT_MAX);
/// Ids of what this server does not have.
const ID: TextRule = TextRule::new(Alphabet::Id, 0, 64);

/// Made up: nobody has its key.
pub(super) const EXAMPLE: &str = "-----BEGIN CERTIFICATE-----
MIIBaTCCARugAwIBAgIUfA91W0AX2IYAsnlShErLIuveCwIwBQYDK2VwMCkxDTAL
BgNVBAoMBEFjbWUxGDAWBgNVBAMMD0FjbWUgRGV2aWNlcyBDQTAgFw0yNjExMjIx
NjUyMzdaGA8yMTI2MTAyOTE2NTIzN1owKTENMAsGA1UECgwEQWNtZTEYMBYGA1UE
AwwPQWNtZSBEZXZpY2VzIENBMCowBQYDK2VwAyEA1BDF/7v1M+IxuR5Pklm8a0f4
eHC0hLYtOBAPsET8YNejUzBRMB0GA1UdDgQWBBQoepqlROTIwWFuK1kq+lLBVe3K
LjAfBgNVHSMEGDAWgBQoepqlROTIwWFuK1kq+lLBVe3KLjAPBgNVHRMBAf8EBTAD
AQH/MAUGAytlcANBAHvdmiWilkz/pGW449LO+JHX9VENjssdrfSNmllmb4bf/Jl8
qeKeCn1f24i7WaXh/pI0/koHJiinobW6WcJNDgg=
-----END CERTIFICATE-----
";

/// What this file serves.
pub fn routes() -> Routes {
    const ALL: &str = "/v5/iot/{project_id}/certificates";
    const ONE: &str = "/v5/iot/{project_id}/certificates/{certificate_id}";
    const ACTION: &str = "/v5/iot/{project_id}/certificates/{certificate_id}/action";
    Routes::tagged("Certificates")
        .add(
            Operation::post(ALL, "add_certificate", "Takes a CA certificate of devices")
                .body(|f| drop(new_certificate(f)))
                .answers::<View<'_>>(StatusCode::CREATED)
                .fails(&[StatusCode::FORBIDDEN])
                .example(json!({"content": EXAMPLE})),
            create,
        )
        .add(
            Operation::get(
                ALL,
                "list_certificates",
                "Lists CA certificates, newest first",
            )
            .query(|q| drop(wanted_of(q)))
            .answers::<List<'_>>(StatusCode::OK)
            .example_query(&[("limit", "10")]),
            list,
        )
        .add(
            Operation::get(
                ONE,
                "show_certificate",
                "Shows a CA certificate with its content",
            )
            .answers::<Whole<'_>>(StatusCode::OK),
            show,
        )
        .add(
            Operation::put(
                ONE,
                "update_certificate",
                "Changes what is kept with a CA certificate; what is absent stays",
            )
            .body(|f| drop(patch_of(f)))
            .answers::<View<'_>>(StatusCode::OK)
            .example(json!({"provision_enable": false})),
            update,
        )
        .add(
            Operation::delete(ONE, "delete_certificate", "Deletes a CA certificate")
                .answers_nothing(StatusCode::NO_CONTENT),
            delete,
        )
        .add(
            Operation::post(
                ACTION,
                "check_certificate",
                "Proves that the sender has the CA's key",
            )
            .query(check_action)
            .body(|f| drop(proof_of(f)))
            .answers_nothing(StatusCode::OK)
            .example(json!({"verify_content": EXAMPLE})),
            verify,
        )
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Certificate")]
struct View<'a> {
    certificate_id: &'a CertificateId,
    cn_name: Option<&'a str>,
    owner: Option<&'a str>,
    status: bool,
    verify_code: &'a str,
    provision_enable: bool,
    template_id: Option<&'a str>,
    ocsp_enable: bool,
    ocsp_server_ca_id: Option<&'a str>,
    ocsp_ssl_enable: bool,
    create_date: String,
    effective_date: String,
    expiry_date: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CertificateWithContent")]
struct Whole<'a> {
    #[serde(flatten)]
    view: View<'a>,
    /// No operation gives one; the field is of the v5 API.
    name: Option<&'a str>,
    content: &'a str,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CertificateList")]
struct List<'a> {
    certificates: Vec<View<'a>>,
    page: PageInfo,
}

impl<'a> From<&'a CertificateRecord> for View<'a> {
    fn from(certificate: &'a CertificateRecord) -> Self {
        Self {
            certificate_id: &certificate.certificate_id,
            cn_name: certificate.cn_name.as_deref(),
            owner: certificate.owner.as_deref(),
            status: certificate.verified,
            verify_code: &certificate.verify_code,
            provision_enable: certificate.provision_enable,
            template_id: certificate.template_id.as_deref(),
            ocsp_enable: certificate.ocsp_enable,
            ocsp_server_ca_id: certificate.ocsp_server_ca_id.as_deref(),
            ocsp_ssl_enable: certificate.ocsp_ssl_enable,
            create_date: certificate.created_at.compact(),
            effective_date: certificate.effective_at.compact(),
            expiry_date: certificate.expires_at.compact(),
        }
    }
}

/// `POST …/certificates`: 201 with the verification code. Errors: 400 no CA certificate, known
/// already, too many; 403 unknown or another space.
pub async fn create(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let (space, content) = read_body(&body, new_certificate)?;
    let space = space_for(&caller, space)?;
    let certificate = app.certificates.add(space, content).await?;
    let made = answer(StatusCode::CREATED, &View::from(&certificate));
    Ok(about("certificate_id", &certificate.certificate_id, made))
}

/// `GET …/certificates`: newest first.
pub async fn list(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    uri: Uri,
) -> Result<Response, ApiError> {
    let (page, space) = read_query(&uri, wanted_of)?;
    let space = visible_space(&caller, space)?;
    let mut found = app.certificates.list()?;
    found.retain(|one| space.as_ref().is_none_or(|id| *id == one.app_id));
    let shown: Vec<_> = found
        .iter()
        .filter(|one| page.before.is_none_or(|before| one.seq < before))
        .skip(page.offset)
        .take(page.limit)
        .collect();
    let list = List {
        certificates: shown.iter().map(|one| View::from(*one)).collect(),
        page: PageInfo {
            count: found.len() as u64,
            marker: shown.last().map(|one| marker_of(one.seq)),
        },
    };
    Ok(answer(StatusCode::OK, &list))
}

/// `GET …/certificates/{certificate_id}`. Errors: 404.
pub async fn show(
    State(app): State<App>,
    CertificatePath(id): CertificatePath,
) -> Result<Response, ApiError> {
    let certificate = app.certificates.show(&id)?;
    let whole = Whole {
        view: View::from(&certificate),
        name: None,
        content: &certificate.content,
    };
    Ok(answer(StatusCode::OK, &whole))
}

/// `PUT …/certificates/{certificate_id}`: what is absent stays. Errors: 404, 400 bad field.
pub async fn update(
    State(app): State<App>,
    CertificatePath(id): CertificatePath,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let patch = read_body(&body, patch_of)?;
    let certificate = app.certificates.update(id, patch).await?;
    Ok(answer(StatusCode::OK, &View::from(&certificate)))
}

/// `DELETE …/certificates/{certificate_id}`: 204. Errors: 404.
pub async fn delete(
    State(app): State<App>,
    CertificatePath(id): CertificatePath,
) -> Result<StatusCode, ApiError> {
    app.certificates.delete(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST …/certificates/{certificate_id}/action?action_id=verify`: 200; the certificate's status is
/// true from then on. Errors: 404, 400 a certificate that proves nothing.
pub async fn verify(
    State(app): State<App>,
    CertificatePath(id): CertificatePath,
    uri: Uri,
    JsonBody(body): JsonBody,
) -> Result<StatusCode, ApiError> {
    read_query(&uri, check_action)?;
    let proof = read_body(&body, proof_of)?;
    app.certificates.verify(id, proof).await?;
    Ok(StatusCode::OK)
}

/// `CreateCertificateDTO`.
fn new_certificate(fields: &Fields<'_>) -> Option<(Option<AppId>, String)> {
    let space = fields.id("app_id", AppId::parse);
    Some((space, fields.needed_text("content", PEM)))
}

/// `UpdateCertificateDTO`.
fn patch_of(fields: &Fields<'_>) -> Option<CertificatePatch> {
    Some(CertificatePatch {
        provision_enable: fields.boolean("provision_enable"),
        template_id: fields.text("template_id", ID),
        ocsp_enable: fields.boolean("ocsp_enable"),
        ocsp_ssl_enable: fields.boolean("ocsp_ssl_enable"),
        ocsp_server_ca_id: fields.text("ocsp_server_ca_id", ID),
    })
}

/// `VerifyCertificateDTO`.
fn proof_of(fields: &Fields<'_>) -> Option<String> {
    Some(fields.needed_text("verify_content", PEM))
}

fn wanted_of(query: &Query<'_>) -> (PageQuery, Option<AppId>) {
    let page = PageQuery::of(query);
    (page, query.id("app_id", AppId::parse))
}

fn check_action(query: &Query<'_>) {
    query.needed_word("action_id", "verify");
}
