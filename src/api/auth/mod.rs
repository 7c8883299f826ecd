//! Who asks: every request passes here before its handler, except to operations that are open.
//!
//! A caller shows a token (`X-Auth-Token`, `Authorization: Bearer`) or signs the request with an
//! access key and its secret key ([`signature`]). With `X-Auth-Token` the token decides, and a
//! signature beside it is not looked at. What passes has a [`Caller`] among its extensions. Paths
//! and methods that are not served are refused the same way, so strangers learn nothing from them.
//!
//! Errors: 401 `IOTDA.000004` with `WWW-Authenticate` when nobody or a wrong signature comes, 403
//! `IOTDA.000004` for a wrong token, 403 `IOTDA.001002` when the role does not allow it.
//!
//! A few operations are also asked for by links: there, a `token` in the query stands for the caller, and the
//! handler judges it.
//!
//! What changes something is noted in the audit log ([`crate::app::audit`]), also when it is refused
//! to its caller's role.

pub mod refusal;
pub mod signature;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::{HeaderMap, HeaderName, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::oneshot;

use super::RequestId;
use super::buffer::{Buffer, Held};
use super::error::{ApiError, ErrorCode};
use super::operation::{Access, Operation, Operations};
use super::request::MediaType;
use super::respond::Named;
use crate::app::App;
use crate::app::audit::Asked;
use crate::app::credentials::{Caller, Credentials, Role};
use crate::base::limits::{BATCH_TASK_BODY_MAX, HTTP_BODY_MAX};
use crate::base::time::Timestamp;
use refusal::Refusal;
use signature::{Authorization, CONTENT_HASH, DATE, UNSIGNED};

const AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

/// Compared against when the access key is unknown: as long as real ones.
const NO_SECRET: &str = "0000000000000000000000000000000000000000000000000000";

/// What the check needs. Clones share it.
#[derive(Clone)]
pub struct Gate {
    pub app: App,
    pub operations: Operations,
    pub buffer: Buffer,
}

/// Lets a request through to its handler, or answers in its place.
pub async fn admit(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let operation = gate.operation_of(&request);
    if operation.is_some_and(|o| o.access == Access::Open || o.by_link && has_token(&request)) {
        return next.run(request).await;
    }
    let peer = peer_of(&request);
    let (mut request, caller) = match gate.caller_of(request).await {
        Ok(found) => found,
        Err(error) => return error.into_response(peer),
    };
    let needed = operation.map_or(Access::Read, |o| o.access);
    let allowed = allow(caller.role, needed);
    let Some(operation) = operation.filter(|o| o.is_audited) else {
        return match allowed {
            Ok(()) => {
                request.extensions_mut().insert(caller);
                next.run(request).await
            }
            Err(refusal) => Failure::Refused(refusal).into_response(peer),
        };
    };
    let (request, asked) = asked_of(request, operation.id, peer).await;
    audited(gate.app, caller, asked, async move |caller| match allowed {
        Ok(()) => {
            let mut request = request;
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refusal) => Failure::Refused(refusal).into_response(peer),
    })
    .await
}

/// Whether its query has a token: the handler judges it.
fn has_token(request: &Request) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').any(|pair| pair.starts_with("token="))
}

/// Runs a write between its two entries in the audit log, to the end even when its caller goes away.
async fn audited<F>(
    app: App,
    caller: Caller,
    asked: Asked,
    write: impl FnOnce(Caller) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = Response> + Send + 'static,
{
    let audit = Arc::clone(&app.audit);
    let (sender, receiver) = oneshot::channel();
    app.tasks.spawn("audited request", async move {
        let entry = match audit.begin(&caller, asked).await {
            Ok(entry) => entry,
            Err(error) => return drop(sender.send(ApiError::from(error).into_response())),
        };
        let response = write(caller).await;
        let code = response.extensions().get::<ErrorCode>().map(|c| c.0);
        let made = response.extensions().get::<Named>();
        let made = made.map(|named| (named.0.to_owned(), named.1.clone()));
        let status = response.status().as_u16();
        // An answered write has its result in the log, also when the server dies with the answer.
        audit
            .end(entry, status, code, made.into_iter().collect())
            .await;
        // He may be gone; the write had to be done.
        drop(sender.send(response));
    });
    receiver.await.unwrap_or_else(|_| {
        ApiError::unavailable("the server ended the request, see what came of it").into_response()
    })
}

/// What the audit log holds of a request.
async fn asked_of(
    request: Request,
    operation: &'static str,
    peer: Option<SocketAddr>,
) -> (Request, Asked) {
    let (mut parts, body) = request.into_parts();
    let params = RawPathParams::from_request_parts(&mut parts, &()).await;
    let targets = params
        .iter()
        .flatten()
        .filter(|(name, _)| *name != "project_id");
    let targets = targets.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let id = parts.extensions.get::<RequestId>();
    let id = id.and_then(|id| id.0.to_str().ok()).unwrap_or_default();
    let asked = Asked {
        from: peer.map_or_else(|| "-".to_owned(), |peer| peer.to_string()),
        request_id: id.to_owned(),
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        operation,
        targets: targets.collect(),
    };
    (Request::from_parts(parts, body), asked)
}

/// Why there is no caller.
enum Failure {
    Refused(Refusal),
    /// The body, which the signature covers, can't be read.
    Body(ApiError),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Failure {
    fn into_response(self, peer: Option<SocketAddr>) -> Response {
        match self {
            Self::Refused(refusal) => {
                let reason = refusal.kind();
                metrics::counter!("strait_http_refused_total", "reason" => reason).increment(1);
                tracing::debug!(?peer, reason, %refusal, "a request is refused");
                ApiError::from(refusal).into_response()
            }
            Self::Body(error) => error.into_response(),
        }
    }
}

/// Where the request came from. `None`: through no socket.
pub fn peer_of(request: &Request) -> Option<SocketAddr> {
    let info = request.extensions().get::<ConnectInfo<SocketAddr>>();
    info.map(|info| info.0)
}

fn allow(role: Role, needed: Access) -> Result<(), Refusal> {
    let takes = match needed {
        Access::Open | Access::Read => Role::ReadOnly,
        Access::Write => Role::Operator,
        Access::Admin => Role::Admin,
    };
    match role >= takes {
        true => Ok(()),
        false => Err(Refusal::Role { role, takes }),
    }
}

impl Gate {
    fn operation_of(&self, request: &Request) -> Option<&Operation> {
        let path = request.extensions().get::<MatchedPath>()?;
        // HEAD is answered as GET without its body.
        let method = match *request.method() {
            Method::HEAD => &Method::GET,
            ref method => method,
        };
        self.operations.find(path.as_str(), method)
    }

    /// The request again, with its body as before, and who sent it.
    async fn caller_of(&self, request: Request) -> Result<(Request, Caller), Failure> {
        let credentials = &*self.app.credentials;
        if credentials.is_open() {
            return Ok((request, Caller::anyone()));
        }
        let headers = request.headers();
        let token = only(headers, &AUTH_TOKEN)?;
        let authorization = only(headers, &header::AUTHORIZATION)?;
        if let Some(token) = token {
            let caller = by_token(credentials, token)?;
            return Ok((request, caller));
        }
        let Some(authorization) = authorization else {
            return Err(Refusal::NoCaller.into());
        };
        if let Some(token) = bearer(authorization) {
            let caller = by_token(credentials, token)?;
            return Ok((request, caller));
        }
        let text = std::str::from_utf8(authorization)
            .map_err(|_| Refusal::Scheme("that is no text".to_owned()))?
            .to_owned();
        let Some(signed) = Authorization::parse(text.trim_ascii()) else {
            let scheme = text.split(' ').next().unwrap_or_default();
            return Err(match scheme.eq_ignore_ascii_case("none") {
                true => Refusal::NoCaller.into(),
                false => Refusal::Scheme(scheme.chars().take(40).collect()).into(),
            });
        };
        let signed = signed.map_err(Refusal::from)?;
        self.by_signature(&signed, request).await
    }

    async fn by_signature(
        &self,
        signed: &Authorization<'_>,
        request: Request,
    ) -> Result<(Request, Caller), Failure> {
        let (credentials, now) = (&*self.app.credentials, self.app.clock.now());
        let headers = request.headers();
        for (name, shown) in [(DATE, "X-Sdk-Date"), (header::HOST, "Host")] {
            if !headers.contains_key(&name) {
                return Err(Refusal::Missing(shown).into());
            }
            if !signed.covers(&name) {
                return Err(Refusal::NotSigned(shown).into());
            }
        }
        let date = date_of(headers, now, credentials.clock_skew.as_secs())?;
        if let Some(day) = signed.day().filter(|day| !date.starts_with(day)) {
            let day = day.to_owned();
            return Err(Refusal::Day { day, date }.into());
        }
        let payload = Payload::of(signed, &request)?;
        // Its places are free again with the verdict.
        let (held, (request, hashes)) = payload.hashes(request, &self.buffer).await?;
        let found = credentials.by_access_key(signed.access_key);
        let secret = found
            .as_ref()
            .map_or(NO_SECRET, |c| c.secret_key.expose().as_str());
        let (method, uri) = (request.method(), request.uri());
        let mut fits = false;
        for hash in hashes.iter().flatten() {
            let names = signed.signed_headers;
            let canonical =
                signature::canonical_request(method, uri, request.headers(), names, hash)
                    .map_err(Refusal::SignedAbsent)?;
            fits |= signed.fits(secret, &date, &canonical);
        }
        drop(held);
        match found {
            Some(credential) if fits => Ok((request, credential.caller())),
            _ => Err(Refusal::Signature.into()),
        }
    }
}

/// The bytes of a header that may be there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    match values.next() {
        None => Ok(value.map(|v| v.as_bytes())),
        Some(_) => Err(Refusal::Twice(name.to_string())),
    }
}

fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked("Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| token.trim_ascii())
}

fn by_token(credentials: &Credentials, token: &[u8]) -> Result<Caller, Refusal> {
    let found = credentials.by_token(token).ok_or(Refusal::Token)?;
    Ok(found.caller())
}

/// The time of the signature, as it was written.
fn date_of(headers: &HeaderMap, now: Timestamp, max_s: u64) -> Result<String, Refusal> {
    let text = only(headers, &DATE)?.unwrap_or_default();
    let text = std::str::from_utf8(text).map_err(|_| Refusal::Date)?;
    // The long form of a time is none of a signature's.
    let parsed = Timestamp::parse(text).filter(|_| text.len() == 16);
    let at = parsed.ok_or(Refusal::Date)?;
    let apart_ms = at.since_ms(now).max(now.since_ms(at));
    match apart_ms > max_s.saturating_mul(1000) {
        true => Err(Refusal::skew(at, now, max_s)),
        false => Ok(text.to_owned()),
    }
}

/// What may stand for the body in what was signed.
type Hashes = [Option<String>; 2];

/// How a signature covers the body.
enum Payload {
    /// By this hash, if it is given.
    Hashed(Option<String>),
    /// Not at all.
    Unsigned,
}

impl Payload {
    fn of(signed: &Authorization<'_>, request: &Request) -> Result<Self, Refusal> {
        let headers = request.headers();
        let Some(hash) = only(headers, &CONTENT_HASH)?.filter(|_| signed.covers(&CONTENT_HASH))
        else {
            return Ok(Self::Hashed(None));
        };
        if hash == UNSIGNED.as_bytes() {
            // What would be read as JSON is always signed.
            let media = MediaType::of(headers).ok().flatten();
            let is_json = media.is_none_or(|m| m.essence.ends_with("json"));
            return match is_json {
                true => Err(Refusal::ContentHash),
                false => Ok(Self::Unsigned),
            };
        }
        let text = std::str::from_utf8(hash).map_err(|_| Refusal::ContentHash)?;
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        match text.len() == 64 && text.bytes().all(is_hex) {
            true => Ok(Self::Hashed(Some(text.to_owned()))),
            false => Err(Refusal::ContentHash),
        }
    }

    /// What the signature may hold in place of the body; a body that it covers was read.
    async fn hashes(
        self,
        request: Request,
        buffer: &Buffer,
    ) -> Result<(Option<Held>, (Request, Hashes)), Failure> {
        let given = match self {
            Self::Hashed(given) => given,
            Self::Unsigned => {
                // An empty body may be signed as such.
                let is_empty = request.body().is_end_stream();
                let empty = is_empty.then(|| signature::hash_of(b""));
                return Ok((None, (request, [Some(UNSIGNED.to_owned()), empty])));
            }
        };
        let (parts, body) = request.into_parts();
        let mut head = Request::new(body);
        *head.headers_mut() = parts.headers.clone();
        let max = match parts.uri.path().ends_with("/batchtasks") {
            true => BATCH_TASK_BODY_MAX,
            false => HTTP_BODY_MAX,
        };
        let held = buffer.read(head, max).await.map_err(Failure::Body)?;
        let hash = signature::hash_of(&held.bytes);
        if given.is_some_and(|given| given != hash) {
            return Err(Refusal::Signature.into());
        }
        let request = Request::from_parts(parts, Body::from(held.bytes.clone()));
        Ok((Some(held), (request, [Some(hash), None])))
    }
}
