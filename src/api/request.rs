//! Parts of a request as handlers take them: ids in the path, a JSON body, a codec bundle, and
//! media types, which are parsed and not compared.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::LengthLimitError;
use serde_json::Value;

use super::error::{ApiError, code};
use super::json;
use crate::app::App;
use crate::app::certificate::CertificateError;
use crate::app::credentials::Caller;
use crate::app::device::DeviceError;
use crate::app::group::GroupError;
use crate::app::package::PackageError;
use crate::app::product::ProductError;
use crate::app::space::SpaceError;
use crate::base::ids::{AppId, CertificateId, DeviceId, GroupId, IdError, PackageId, ProductId};
use crate::base::limits::HTTP_BODY_MAX;
use crate::bug;

/// How long a body may take to come, unless set otherwise.
pub const BODY_TIME: Duration = Duration::from_secs(30);

/// How long the body of a request may take, among the request's extensions.
#[derive(Debug, Clone, Copy)]
pub struct BodyTime(pub Duration);

impl BodyTime {
    /// That of this request.
    pub fn of(request: &Request) -> Self {
        let set = request.extensions().get::<Self>();
        set.copied().unwrap_or(Self(BODY_TIME))
    }

    /// 408: the body took longer.
    pub fn over(self) -> ApiError {
        ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            code::MALFORMED,
            format!("the body took over {} s", self.0.as_secs()),
        )
    }
}

/// Who sent the request, as the check of credentials found.
pub struct CallerIs(pub Caller);

impl<S: Send + Sync> FromRequestParts<S> for CallerIs {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        caller_of(parts).cloned().map(Self)
    }
}

/// Without a caller nothing is served: every request passes the check of credentials first.
fn caller_of(parts: &Parts) -> Result<&Caller, ApiError> {
    parts.extensions.get::<Caller>().ok_or_else(|| {
        bug!("a request without a caller came to {}", parts.uri.path());
        ApiError::unavailable("the server can't tell who asks")
    })
}

/// `{device_id}` of the path. A device of another resource space than the caller's is not there.
pub struct DevicePath(pub DeviceId);

/// `{product_id}` of the path. A product of another resource space than the caller's is not there.
pub struct ProductPath(pub ProductId);

impl FromRequestParts<App> for DevicePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let id = path_id(parts, app, "device_id", DeviceId::parse).await?;
        let caller = caller_of(parts)?;
        if caller.space.is_some() && !caller.may_see(&app.devices.show(&id)?.device.app_id) {
            return Err(DeviceError::NotFound(id).into());
        }
        Ok(Self(id))
    }
}

impl FromRequestParts<App> for ProductPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let id = path_id(parts, app, "product_id", ProductId::parse).await?;
        let caller = caller_of(parts)?;
        if caller.space.is_some() && !caller.may_see(&app.products.show(&id)?.record.app_id) {
            return Err(ProductError::NotFound(id).into());
        }
        Ok(Self(id))
    }
}

/// `{group_id}` of the path. A group of another resource space than the caller's is not there.
pub struct GroupPath(pub GroupId);

impl FromRequestParts<App> for GroupPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let id = path_id(parts, app, "group_id", GroupId::parse).await?;
        let group = app.groups.show(&id)?;
        if !caller_of(parts)?.may_see(&group.record.app_id) {
            return Err(GroupError::NotFound(id).into());
        }
        Ok(Self(id))
    }
}

/// `{app_id}` of the path. Another space than the caller's is not there.
pub struct AppPath(pub AppId);

impl FromRequestParts<App> for AppPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let id = path_id(parts, app, "app_id", AppId::parse).await?;
        if !caller_of(parts)?.may_see(&id) {
            return Err(SpaceError::NotFound(id).into());
        }
        Ok(Self(id))
    }
}

/// `{certificate_id}` of the path. One of another resource space than the caller's is not there.
pub struct CertificatePath(pub CertificateId);

impl FromRequestParts<App> for CertificatePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let id = path_id(parts, app, "certificate_id", CertificateId::parse).await?;
        let caller = caller_of(parts)?;
        if caller.space.is_some() && !caller.may_see(&app.certificates.show(&id)?.app_id) {
            return Err(CertificateError::NotFound(id).into());
        }
        Ok(Self(id))
    }
}

/// `{package_id}` of the path. A package of another resource space than the caller's is not there.
pub struct PackagePath(pub PackageId);

impl FromRequestParts<App> for PackagePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let id = path_id(parts, app, "package_id", PackageId::parse).await?;
        let caller = caller_of(parts)?;
        if caller.space.is_some() && !caller.may_see(&app.packages.show(&id)?.0.app_id) {
            return Err(PackageError::NotFound(id).into());
        }
        Ok(Self(id))
    }
}

/// Who asks for what belongs to all resource spaces. A caller bound to one is refused: 403.
pub struct ForAllSpaces;

impl<S: Send + Sync> FromRequestParts<S> for ForAllSpaces {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        match &caller_of(parts)?.space {
            None => Ok(Self),
            Some(own) => Err(ApiError::foreign_space(format!(
                "this belongs to all resource spaces, the caller is bound to {own}"
            ))),
        }
    }
}

/// The space that something is created in: the one that `app_id` names, else the caller's, else
/// the default one. Whether it exists, the service and its commit say. Errors: 403 when the caller
/// is bound to another one.
pub fn space_for(caller: &Caller, given: Option<AppId>) -> Result<AppId, ApiError> {
    Ok(visible_space(caller, given)?.unwrap_or_else(AppId::default_space))
}

/// The space that a list shows, or that something is said to be in: the one that `app_id` names,
/// else the caller's; `None`: all of them. Errors: 403 when the caller is bound to another one.
pub fn visible_space(caller: &Caller, given: Option<AppId>) -> Result<Option<AppId>, ApiError> {
    match (&caller.space, given) {
        (Some(own), Some(given)) if *own != given => Err(ApiError::foreign_space(format!(
            "app_id: got {given}, the caller is bound to the resource space {own}, takes that or \
             none"
        ))),
        (own, given) => Ok(given.or_else(|| own.clone())),
    }
}

/// An identifier in the path.
pub async fn path_id<S: Send + Sync, T>(
    parts: &mut Parts,
    state: &S,
    name: &'static str,
    parse: fn(&str) -> Result<T, IdError>,
) -> Result<T, ApiError> {
    let text = path_text(parts, state, name).await?;
    parse(&text).map_err(|e| ApiError::invalid(format!("{name}: {e}")))
}

/// What the path has in this place; empty when it has no such place.
pub async fn path_text<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
    name: &'static str,
) -> Result<String, ApiError> {
    let params = RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|_| ApiError::malformed("the path is not UTF-8"))?;
    let text = params.iter().find(|(key, _)| *key == name).map(|(_, v)| v);
    Ok(text.unwrap_or_default().to_owned())
}

/// A JSON body.
pub struct JsonBody(pub Value);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        check_json_type(request.headers())?;
        let bytes = read_body(request).await?;
        parse_json(&bytes).map(Self)
    }
}

/// A JSON body that may be left out: then it is an empty object.
pub struct MaybeJsonBody(pub Value);

impl<S: Send + Sync> FromRequest<S> for MaybeJsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let typed = check_json_type(request.headers());
        let bytes = read_body(request).await?;
        if bytes.is_empty() {
            return Ok(Self(Value::Object(serde_json::Map::new())));
        }
        typed?;
        parse_json(&bytes).map(Self)
    }
}

fn parse_json(bytes: &[u8]) -> Result<Value, ApiError> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        ApiError::malformed(format!(
            "the body is not UTF-8 from byte {}",
            e.valid_up_to()
        ))
    })?;
    json::parse(text).map_err(|e| ApiError::malformed(format!("the body is not JSON: {e}")))
}

/// A whole body, bounded in size and time.
pub async fn read_body(request: Request) -> Result<Bytes, ApiError> {
    read_body_up_to(request, HTTP_BODY_MAX).await
}

/// A JSON body of up to `max` bytes, where more than usual are taken.
pub async fn read_json_up_to(request: Request, max: usize) -> Result<Value, ApiError> {
    check_json_type(request.headers())?;
    parse_json(&read_body_up_to(request, max).await?)
}

/// A whole body of up to `max` bytes, bounded in time.
pub async fn read_body_up_to(request: Request, max: usize) -> Result<Bytes, ApiError> {
    check_declared(request.headers(), max)?;
    let time = BodyTime::of(&request);
    let reading = axum::body::to_bytes(Body::new(request.into_body()), max);
    match tokio::time::timeout(time.0, reading).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_over_limit(&error) => Err(too_large(max)),
        Ok(Err(_)) => Err(ApiError::malformed("the body broke off")),
        Err(_) => Err(time.over()),
    }
}

/// Errors: 413 when the head tells of a larger body.
pub(super) fn check_declared(headers: &HeaderMap, max: usize) -> Result<(), ApiError> {
    let declared = headers.get(header::CONTENT_LENGTH);
    let declared = declared
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse::<usize>().ok());
    match declared.is_some_and(|len| len > max) {
        true => Err(too_large(max)),
        false => Ok(()),
    }
}

fn is_over_limit(error: &axum::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.is::<LengthLimitError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// 413: the body is over the bound of such requests.
pub(super) fn too_large(max: usize) -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        code::MALFORMED,
        format!("the body is too large, takes up to {max} bytes"),
    )
}

/// A media type without its parameters, in lower case, and its charset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType {
    /// `application/json`
    pub essence: String,
    pub charset: Option<String>,
}

impl MediaType {
    /// Reads a `Content-Type` (RFC 9110 §8.3.1). `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';');
        let essence = parts.next()?.trim().to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/')?;
        let is_token = |t: &str| {
            let legal = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            !t.is_empty() && t.bytes().all(legal)
        };
        if !is_token(kind) || !is_token(subtype) {
            return None;
        }
        let mut charset = None;
        for part in parts.map(str::trim).filter(|p| !p.is_empty()) {
            let (name, value) = part.split_once('=')?;
            if name.trim().eq_ignore_ascii_case("charset") {
                charset = Some(value.trim().trim_matches('"').to_ascii_lowercase());
            }
        }
        Some(Self { essence, charset })
    }

    /// That of a request; `None` when it has none.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        let Some(value) = headers.get(header::CONTENT_TYPE) else {
            return Ok(None);
        };
        let parsed = value.to_str().ok().and_then(Self::parse);
        parsed
            .map(Some)
            .ok_or_else(|| ApiError::malformed("Content-Type: can't be read, takes type/subtype"))
    }

    /// UTF-8, said or unsaid.
    pub fn is_utf8(&self) -> bool {
        matches!(self.charset.as_deref(), None | Some("utf-8" | "utf8"))
    }
}

/// JSON in UTF-8; a body without a type is taken as JSON.
fn check_json_type(headers: &HeaderMap) -> Result<(), ApiError> {
    match MediaType::of(headers)? {
        None => Ok(()),
        Some(media) if media.essence != "application/json" => {
            let got = super::input::quoted(&media.essence);
            Err(ApiError::malformed(format!(
                "Content-Type: got {got}, takes application/json"
            )))
        }
        Some(media) if media.is_utf8() => Ok(()),
        Some(_) => Err(ApiError::malformed(
            "Content-Type: takes application/json in UTF-8",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_caller_names_his_own_space_or_none() {
        let id = |text| AppId::parse(text).unwrap();
        let bound = Caller {
            space: Some(id("a")),
            ..Caller::anyone()
        };
        let anyone = Caller::anyone();
        let cases = [
            (&anyone, None, Some("default"), None),
            (&anyone, Some("b"), Some("b"), Some("b")),
            (&bound, None, Some("a"), Some("a")),
            (&bound, Some("a"), Some("a"), Some("a")),
        ];
        for (caller, given, created, listed) in cases {
            assert_eq!(space_for(caller, given.map(id)).ok(), created.map(id));
            assert_eq!(visible_space(caller, given.map(id)), Ok(listed.map(id)));
        }
        let refused = space_for(&bound, Some(id("b"))).unwrap_err();
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        assert_eq!(refused.code, "IOTDA.001002");
        assert_eq!(visible_space(&bound, Some(id("b"))), Err(refused));
    }

    #[test]
    fn media_types_are_parsed() {
        let cases = [
            ("application/json", Some(("application/json", None))),
            (
                "Application/JSON; Charset=\"UTF-8\"",
                Some(("application/json", Some("utf-8"))),
            ),
            (
                "application/json;charset=utf-8",
                Some(("application/json", Some("utf-8"))),
            ),
            ("text/plain; boundary=x; ", Some(("text/plain", None))),
            ("json", None),
            ("application/", None),
            ("a b/c", None),
            ("application/json; charset", None),
        ];
        for (text, want) in cases {
            let got = MediaType::parse(text);
            let got = got
                .as_ref()
                .map(|m| (m.essence.as_str(), m.charset.as_deref()));
            assert_eq!(got, want, "{text}");
        }
    }
}
