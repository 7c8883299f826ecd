//! `/v1/products/{product_id}/codec`: upload, download, delete, and dry runs.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::error::{ApiError, code};
use super::input::{Alphabet, Fields, TextRule, quoted, read_body as read_fields};
use super::operation::{Operation, Routes};
use super::precondition::{precondition_of, with_etag};
use super::request::{JsonBody, MediaType, ProductPath, read_body_up_to};
use super::respond::json as answer;
use crate::app::App;
use crate::app::product::codec::{self as upload, kind_of};
use crate::app::product::trial::DecodeRun;
use crate::base::ids::ProductId;
use crate::base::limits::BODY_MAX;
use crate::product::check::Violation;
use crate::product::codec::text::{hex, unhex};
use crate::product::codec::{Decoded, EncodeProperties, TraceEntry};
use crate::store::records::{CodecKind, CodecRecord};

/// What this file serves.
pub fn routes() -> Routes {
    const CODEC: &str = "/v1/products/{product_id}/codec";
    const IF_MATCH: &str = "Only when the codec has one of these tags, or any with `*`.";
    const IF_NONE_MATCH: &str = "Only when the codec has none of these tags, or not any with `*`.";
    const PRECONDITION: StatusCode = StatusCode::PRECONDITION_FAILED;
    Routes::tagged("Codecs")
        .add(
            Operation::put(CODEC, "put_codec", "Uploads a codec")
                .header("If-Match", IF_MATCH)
                .header("If-None-Match", IF_NONE_MATCH)
                .bytes(&[
                    "application/toml",
                    JAVASCRIPT,
                    "application/javascript",
                    WASM,
                ])
                .answers::<Uploaded<'_>>(StatusCode::CREATED)
                .answers::<Uploaded<'_>>(StatusCode::OK)
                .fails(&[PRECONDITION, StatusCode::UNPROCESSABLE_ENTITY])
                .example_text(EXAMPLE)
                .example_text_as(JAVASCRIPT, EXAMPLE_SCRIPT)
                .example_text_as("application/javascript", EXAMPLE_SCRIPT),
            put,
        )
        .add(
            Operation::get(CODEC, "show_codec", "Downloads the codec")
                .header("If-None-Match", IF_NONE_MATCH)
                .answers_bytes(StatusCode::OK, "application/toml")
                .answers_bytes(StatusCode::OK, JAVASCRIPT)
                .answers_bytes(StatusCode::OK, WASM)
                .answers_nothing(StatusCode::NOT_MODIFIED),
            show,
        )
        .add(
            Operation::delete(CODEC, "delete_codec", "Removes the codec")
                .header("If-Match", IF_MATCH)
                .header("If-None-Match", IF_NONE_MATCH)
                .answers_nothing(StatusCode::NO_CONTENT)
                .fails(&[PRECONDITION]),
            delete,
        )
        .merge(dry_routes())
}

fn dry_routes() -> Routes {
    const DECODE: &str = "/v1/products/{product_id}/codec/decode";
    const ENCODE: &str = "/v1/products/{product_id}/codec/encode";
    Routes::tagged("Codecs")
        .add(
            Operation::post(DECODE, "decode", "Dry run: bytes to JSON")
                .reads()
                .body(|f| drop(decode_body(f)))
                .answers::<DecodeAnswer>(StatusCode::OK)
                .fails(&[StatusCode::UNPROCESSABLE_ENTITY])
                .example(json!({"hex": "010000013a"})),
            decode,
        )
        .add(
            Operation::post(
                ENCODE,
                "encode",
                "Dry run: a command, or properties to set, to bytes",
            )
            .reads()
            .body(|f| drop(encode_body(f)))
            .answers::<EncodeAnswer>(StatusCode::OK)
            .fails(&[StatusCode::UNPROCESSABLE_ENTITY])
            .example(json!({
                "service_id": "Flow", "command_name": "SET_VALVE", "paras": {"open": 1}
            })),
            encode,
        )
}

/// A codec for the product of the example.
const EXAMPLE: &str = r#"codec = { name = "watermeter", endian = "be", id = { at = 0, type = "u8" } }

[[message]]
id = 1
name = "flow"
dir = "up"
service = "Flow"
fields = [ { n = "volume", t = "u32" } ]

[[message]]
id = 2
name = "SET_VALVE"
dir = "down"
service = "Flow"
fields = [ { n = "mid", t = "u16", auto = "mid" }, { n = "open", t = "u8" } ]
"#;

/// SHA-256 of [`EXAMPLE`].
pub(super) const EXAMPLE_ETAG: &str =
    "ed7abfde0923cc5692a45de72d122ff048109c432bab8d04799052e22ae874c6";

/// The same in JavaScript.
const EXAMPLE_SCRIPT: &str = r#"function decodeUplink(input) {
  return { data: { Flow: { volume: new DataView(new Uint8Array(input.bytes).buffer).getUint32(1) } } };
}
"#;

const JAVASCRIPT: &str = "text/javascript";
const WASM: &str = "application/wasm";

/// Media types of codecs. The first of a kind is the one that is answered.
const KINDS: [(&str, CodecKind); 4] = [
    ("application/toml", CodecKind::Table),
    (JAVASCRIPT, CodecKind::Script),
    ("application/javascript", CodecKind::Script),
    (WASM, CodecKind::Wasm),
];

/// The media type of a codec's source.
pub(super) fn media_of(kind: CodecKind) -> &'static str {
    let known = KINDS.iter().find(|(_, one)| *one == kind);
    known.map_or("application/octet-stream", |(media, _)| media)
}

/// Bytes of JSON in a command's `paras`.
const PARAS_MAX: usize = 32 * 1024;

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UploadedCodec")]
pub(super) struct Uploaded<'a> {
    product_id: &'a str,
    etag: &'a str,
}

/// `PUT …/codec`: 201 new, 200 replaced or the same as before. Errors: 404 no product, 412, 413, 415 other types, 422 with
/// every mistake.
pub async fn put(
    State(app): State<App>,
    ProductPath(id): ProductPath,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, ApiError> {
    let kind = kind_in(&headers)?;
    let precondition = precondition_of(&headers)?;
    let source = read_body_up_to(request, kind_of(kind).source_max()).await?;
    let uploaded = app
        .products
        .put_codec(id.clone(), kind, source.to_vec(), precondition)
        .await?;
    Ok(runs_now(&id, &uploaded))
}

/// The codec that runs from now on: 201 when none did before.
pub(super) fn runs_now(id: &ProductId, codec: &upload::Uploaded) -> Response {
    let status = match codec.is_new {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    let body = Uploaded {
        product_id: id.as_str(),
        etag: &codec.etag,
    };
    with_etag(answer(status, &body), &codec.etag)
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
    Ok(source_of(codec))
}

/// A codec as it was uploaded, with its tag.
pub(super) fn source_of(codec: CodecRecord) -> Response {
    let media = media_of(codec.kind);
    let response = ([(header::CONTENT_TYPE, media)], codec.source).into_response();
    with_etag(response, &codec.etag)
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

fn kind_in(headers: &HeaderMap) -> Result<CodecKind, ApiError> {
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

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DecodeRun")]
struct DecodeAnswer {
    /// `report`, `response` or `none`.
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

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DecodedService")]
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
    let (payload, f_port) = read_fields(&body, decode_body)?;
    let run = app.products.try_decode(&id, &payload, f_port).await?;
    Ok(answer(StatusCode::OK, &DecodeAnswer::from(run)))
}

fn decode_body(fields: &Fields<'_>) -> Option<(Vec<u8>, Option<u8>)> {
    let rule = TextRule::new(Alphabet::HexBytes, 0, 2 * BODY_MAX);
    let hex = fields.needed_text("hex", rule);
    let f_port = fields.integer("fPort", 0..=255);
    fields.refuse_others();
    Some((unhex(&hex)?, f_port.and_then(|n| u8::try_from(n).ok())))
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EncodeRun")]
struct EncodeAnswer {
    hex: String,
    /// The properties that the message sets; others take another message.
    #[serde(skip_serializing_if = "Option::is_none")]
    covered: Option<Vec<String>>,
}

/// `POST …/codec/encode`: the bytes of a command, or of a message that sets properties. Errors: 404
/// without a codec, 400 what the model does not take, 422 with the codec's error.
pub async fn encode(
    State(app): State<App>,
    ProductPath(id): ProductPath,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let Try {
        service_id,
        mid,
        what,
    } = read_fields(&body, encode_body)?;
    let (bytes, covered) = match what {
        What::Command(name, paras) => {
            let bytes = app
                .products
                .try_encode(&id, &service_id, &name, &paras, mid)
                .await?;
            (bytes, None)
        }
        What::Set { wanted, known } => {
            let set = EncodeProperties {
                service_id: &service_id,
                wanted: &wanted,
                known: &known,
                mid,
            };
            let set = app.products.try_set(&id, &set).await?;
            (set.bytes, Some(set.covered))
        }
    };
    let hex = hex(&bytes);
    Ok(answer(StatusCode::OK, &EncodeAnswer { hex, covered }))
}

/// A dry run of what goes down.
struct Try {
    service_id: String,
    mid: u16,
    what: What,
}

enum What {
    /// Name and parameters.
    Command(String, Map<String, Value>),
    Set {
        wanted: Map<String, Value>,
        known: Map<String, Value>,
    },
}

fn encode_body(fields: &Fields<'_>) -> Option<Try> {
    let service_id = fields.needed_text("service_id", TextRule::name(64));
    let command_name = fields.text("command_name", TextRule::name(64));
    let paras = fields.map("paras", PARAS_MAX);
    let wanted = fields.map("properties", PARAS_MAX);
    let known = fields.map("known", PARAS_MAX);
    let mid = fields.integer("mid", 1..=65_535);
    fields.refuse_others();
    let what = match (fields.has("command_name"), fields.has("properties")) {
        (true, true) => {
            let problem = "stands beside command_name, takes its place: give one of them";
            fields.problem("properties", problem);
            return None;
        }
        (_, true) => {
            if fields.has("paras") {
                fields.problem("paras", "belongs to command_name");
            }
            What::Set {
                wanted: wanted?,
                known: known.unwrap_or_default(),
            }
        }
        (_, false) => {
            if fields.has("known") {
                fields.problem("known", "belongs to properties");
            }
            let Some(command_name) = command_name else {
                if !fields.has("command_name") {
                    let takes = "the name of a command, or properties in its place";
                    fields.missing("command_name", takes);
                }
                return None;
            };
            What::Command(command_name, paras.unwrap_or_default())
        }
    };
    Some(Try {
        service_id,
        mid: mid.and_then(|mid| u16::try_from(mid).ok()).unwrap_or(1),
        what,
    })
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_example_has_its_tag() {
        assert_eq!(hex(&Sha256::digest(EXAMPLE)), EXAMPLE_ETAG);
    }
}
