//! `/v1/products/{product_id}/codec`: upload, download, delete, and dry runs.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

use super::error::{ApiError, code};
use super::input::{Alphabet, Fields, Problems, TextRule, quoted};
use super::operation::{Operation, Routes};
use super::precondition::{precondition_of, with_etag};
use super::request::{JsonBody, MediaType, ProductPath, read_body};
use super::respond::json;
use crate::app::App;
use crate::app::product::codec::DecodeRun;
use crate::base::limits::{BODY_MAX, CODEC_SOURCE_MAX};
use crate::product::check::Violation;
use crate::product::codec::text::unhex;
use crate::product::codec::{Decoded, TraceEntry};
use crate::store::records::CodecKind;

/// What this file serves.
pub fn routes() -> Routes {
    Routes::default()
        .add(
            Operation::put(
                "/v1/products/{product_id}/codec",
                "put_codec",
                "Uploads a codec",
            ),
            put,
        )
        .add(
            Operation::get(
                "/v1/products/{product_id}/codec",
                "show_codec",
                "Downloads the codec",
            ),
            show,
        )
        .add(
            Operation::delete(
                "/v1/products/{product_id}/codec",
                "delete_codec",
                "Removes the codec",
            ),
            delete,
        )
        .add(
            Operation::post(
                "/v1/products/{product_id}/codec/decode",
                "decode",
                "Dry run: bytes to JSON",
            )
            .reads(),
            decode,
        )
        .add(
            Operation::post(
                "/v1/products/{product_id}/codec/encode",
                "encode",
                "Dry run: a command to bytes",
            )
            .reads(),
            encode,
        )
}

/// Media types of codec bundles.
const KINDS: [(&str, CodecKind); 1] = [("application/toml", CodecKind::Table)];

/// Bytes of JSON in a command's `paras`.
const PARAS_MAX: usize = 32 * 1024;

#[derive(Serialize)]
struct Uploaded<'a> {
    product_id: &'a str,
    etag: &'a str,
}

/// `PUT …/codec`: 201 new, 200 replaced. Errors: 404 no product, 412, 413, 415 other types, 422 with
/// every mistake.
pub async fn put(
    State(app): State<App>,
    ProductPath(id): ProductPath,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, ApiError> {
    let kind = kind_of(&headers)?;
    let precondition = precondition_of(&headers)?;
    let source = read_body(request).await?;
    if source.len() > CODEC_SOURCE_MAX {
        let message = format!(
            "the codec has {} bytes, takes up to {CODEC_SOURCE_MAX}",
            source.len()
        );
        return Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            code::MALFORMED,
            message,
        ));
    }
    let uploaded = app
        .products
        .put_codec(id.clone(), kind, source.to_vec(), precondition)
        .await?;
    let status = match uploaded.is_new {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    let body = Uploaded {
        product_id: id.as_str(),
        etag: &uploaded.etag,
    };
    Ok(with_etag(json(status, &body), &uploaded.etag))
}

/// `GET …/codec`: the source as it was uploaded; 304 with `If-None-Match`. Errors: 404.
pub async fn show(
    State(app): State<App>,
    ProductPath(id): ProductPath,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let codec = app.products.show_codec(&id)?;
    let known = precondition_of(&headers)?.if_none_match;
    if known.is_some_and(|tags| tags.matches(Some(&codec.etag))) {
        return Ok(with_etag(
            StatusCode::NOT_MODIFIED.into_response(),
            &codec.etag,
        ));
    }
    let media = KINDS
        .iter()
        .find(|(_, kind)| *kind == codec.kind)
        .map_or("application/octet-stream", |(media, _)| media);
    let response = ([(header::CONTENT_TYPE, media)], codec.source).into_response();
    Ok(with_etag(response, &codec.etag))
}

/// `DELETE …/codec`: 204. Errors: 404, 412.
pub async fn delete(
    State(app): State<App>,
    ProductPath(id): ProductPath,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let precondition = precondition_of(&headers)?;
    app.products.delete_codec(id, precondition).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn kind_of(headers: &HeaderMap) -> Result<CodecKind, ApiError> {
    let refuse = |got: &str| {
        let known: Vec<&str> = KINDS.iter().map(|(media, _)| *media).collect();
        ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            code::MALFORMED,
            format!("Content-Type: got {got}, takes {}", known.join(", ")),
        )
    };
    let media = match MediaType::of(headers) {
        Ok(Some(media)) => media,
        Ok(None) => return Err(refuse("none")),
        Err(_) => return Err(refuse("what can't be read")),
    };
    let kind = KINDS.iter().find(|(name, _)| *name == media.essence);
    match kind {
        Some((_, kind)) if media.is_utf8() => Ok(*kind),
        Some(_) => Err(refuse("another charset than UTF-8")),
        None => Err(refuse(&quoted(&media.essence))),
    }
}

#[derive(Serialize)]
struct DecodeAnswer {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    services: Option<Vec<ServiceAnswer>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    has_more: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mid: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    succeeded: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paras: Option<Map<String, Value>>,
    /// What the model does not take; it is left out of `services`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    violations: Vec<Violation>,
    trace: Vec<TraceEntry>,
    took_us: u64,
}

#[derive(Serialize)]
struct ServiceAnswer {
    service_id: String,
    properties: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<String>,
}

impl From<DecodeRun> for DecodeAnswer {
    fn from(run: DecodeRun) -> Self {
        let mut answer = Self {
            kind: "none",
            services: None,
            has_more: None,
            mid: None,
            succeeded: None,
            response_name: None,
            paras: None,
            violations: run.violations,
            trace: run.trace,
            took_us: run.took_us,
        };
        match run.decoded {
            Decoded::Nothing => {}
            Decoded::Report(report) => {
                answer.kind = "report";
                answer.has_more = report.has_more.then_some(true);
                let services = report.services.into_iter().map(|service| ServiceAnswer {
                    service_id: service.service_id,
                    properties: service.properties,
                    event_time: service.event_time.map(|t| t.compact()),
                });
                answer.services = Some(services.collect());
            }
            Decoded::Response(response) => {
                answer.kind = "response";
                answer.mid = response.mid;
                answer.succeeded = Some(response.succeeded);
                answer.response_name = response.response_name;
                answer.paras = Some(response.paras);
            }
        }
        answer
    }
}

/// `POST …/codec/decode`: what the codec makes of these bytes. Errors: 404 without a codec, 422 with
/// the codec's error.
pub async fn decode(
    State(app): State<App>,
    ProductPath(id): ProductPath,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let (payload, f_port) = decode_body(&body)?;
    let run = app.products.try_decode(&id, &payload, f_port)?;
    Ok(json(StatusCode::OK, &DecodeAnswer::from(run)))
}

fn decode_body(body: &Value) -> Result<(Vec<u8>, Option<u8>), ApiError> {
    let problems = Problems::default();
    let mut payload = Vec::new();
    let mut f_port = None;
    if let Some(fields) = Fields::of_body(body, &problems) {
        let rule = TextRule::new(Alphabet::Hex, 0, 2 * BODY_MAX);
        let hex = fields.needed_text("hex", rule);
        payload = unhex(&hex).unwrap_or_else(|| {
            let problem = format!("got {} digits, takes an even number", hex.len());
            fields.problem("hex", problem);
            Vec::new()
        });
        f_port = fields
            .integer("fPort", 0..=255)
            .and_then(|n| u8::try_from(n).ok());
        fields.refuse_others();
    }
    problems.check()?;
    Ok((payload, f_port))
}

#[derive(Serialize)]
struct EncodeAnswer {
    hex: String,
}

/// `POST …/codec/encode`: the bytes of a command. Errors: 404 without a codec, 400 what the model
/// does not take, 422 with the codec's error.
pub async fn encode(
    State(app): State<App>,
    ProductPath(id): ProductPath,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let problems = Problems::default();
    let command = Fields::of_body(&body, &problems).map(|fields| {
        let command = (
            fields.needed_text("service_id", TextRule::name(64)),
            fields.needed_text("command_name", TextRule::name(64)),
            fields.map("paras", PARAS_MAX).unwrap_or_default(),
            fields.integer("mid", 1..=65_535).unwrap_or(1),
        );
        fields.refuse_others();
        command
    });
    problems.check()?;
    let Some((service_id, command_name, paras, mid)) = command else {
        return Err(ApiError::invalid("body: takes an object"));
    };
    let mid = u16::try_from(mid).unwrap_or(u16::MAX);
    let bytes = app
        .products
        .try_encode(&id, &service_id, &command_name, &paras, mid)?;
    let hex = bytes.iter().map(|b| format!("{b:02x}")).collect();
    Ok(json(StatusCode::OK, &EncodeAnswer { hex }))
}
