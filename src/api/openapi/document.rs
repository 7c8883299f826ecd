//! Operations as an OpenAPI 3.1 document.

use axum::http::StatusCode;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::parameter;
use crate::api::error::ErrorBody;
use crate::api::input::sketch::{self, put};
use crate::api::operation::{Access, AnswerBody, ExampleBody, Operation, RequestBody};

const ABOUT: &str = "IoTDA v5 under `/v5/iot/{project_id}/`, and what it has no operation for \
    under `/v1/`. A body is JSON in UTF-8 of up to 1 MB; `null` counts as absent. Fields that are \
    not listed are ignored under `/v5`, refused under `/v1`. A write is answered when it is \
    durable. Every error is `{\"error_code\", \"error_msg\"}`; the message says which field, what \
    it got and what it takes. A path that is none of these is 404; a method that a path does not \
    take is 405, with `Allow`.";

/// The whole document.
pub(super) fn of(operations: &[Operation]) -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut generator = settings
        .with(|s| s.definitions_path = "/components/schemas".into())
        .into_generator();
    let error = generator.subschema_for::<ErrorBody<'_>>().to_value();
    let (mut paths, mut tags) = (Map::new(), Vec::new());
    for operation in operations {
        let tag = tag_of(operation);
        if !tags.contains(&tag) {
            tags.push(tag);
        }
        let one = describe(operation, &mut generator);
        let entry = paths.entry(operation.path).or_insert_with(|| json!({}));
        put(entry, &operation.method.as_str().to_ascii_lowercase(), one);
    }
    let named: Vec<Value> = tags.iter().map(|tag| json!({"name": tag})).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Strait",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {"bearer": []}, {"signature": []}],
        "tags": named,
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "responses": error_responses(&error),
            "headers": headers(),
            "securitySchemes": security_schemes()
        }
    })
}

/// The feature: what was declared, else the first word of the path that is one.
fn tag_of(operation: &Operation) -> &'static str {
    operation.tag.unwrap_or_else(|| {
        let mut words = operation.path.split('/');
        let is_word = |w: &&str| !["", "v5", "v1", "iot", "{project_id}"].contains(w);
        words.find(is_word).unwrap_or("operations")
    })
}

fn describe(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let mut described = json!({
        "tags": [tag_of(operation)],
        "operationId": operation.id,
        "summary": operation.summary,
        "description": match operation.by_link {
            true => "Takes any role, or a token in the query.",
            false => needs(operation.access),
        },
    });
    if operation.access == Access::Open {
        put(&mut described, "security", json!([]));
    }
    if operation.by_link {
        let security = json!([{"token": []}, {"bearer": []}, {"signature": []}, {}]);
        put(&mut described, "security", security);
    }
    let mut parameters = path_parameters(operation);
    parameters.extend(query_parameters(operation));
    for header in &operation.headers {
        parameters.push(json!({
            "name": header.name, "in": "header", "description": header.description,
            "schema": {"type": "string"}
        }));
    }
    if !parameters.is_empty() {
        put(&mut described, "parameters", parameters);
    }
    if let Some(body) = request_body(operation) {
        put(&mut described, "requestBody", body);
    }
    put(&mut described, "responses", responses(operation, generator));
    described
}

const fn needs(access: Access) -> &'static str {
    match access {
        Access::Open => "Open to everybody.",
        Access::Read => "Takes any role.",
        Access::Write => "Takes the role operator or admin.",
        Access::Admin => "Takes the role admin.",
    }
}

/// Names in braces, in order.
fn names_of(path: &str) -> impl Iterator<Item = &str> {
    let open = path.split('{').skip(1);
    open.filter_map(|rest| rest.split('}').next())
}

fn path_parameters(operation: &Operation) -> Vec<Value> {
    let described = names_of(operation.path).map(|name| {
        let known = parameter::of_path(name);
        let own = operation.example.path.iter().find(|(n, _)| *n == name);
        json!({
            "name": name, "in": "path", "required": true, "description": known.description,
            "schema": known.schema, "example": own.map_or(known.example, |(_, value)| value)
        })
    });
    described.collect()
}

fn query_parameters(operation: &Operation) -> Vec<Value> {
    let read = operation.query.map(sketch::query_parameters);
    let described = read.unwrap_or_default().into_iter().map(|parameter| {
        let mut described = json!({
            "name": parameter.name, "in": "query", "required": parameter.is_required,
            "description": parameter::of_query(&parameter.name), "schema": parameter.schema
        });
        let mut examples = operation.example.query.iter();
        let own = examples.find(|(name, _)| *name == parameter.name);
        let own = own.map(|(_, text)| typed(text, &parameter.schema));
        let only = || parameter.schema.pointer("/enum/0").cloned();
        let example = own.or_else(|| only().filter(|_| parameter.is_required));
        if let Some(example) = example {
            put(&mut described, "example", example);
        }
        described
    });
    described.collect()
}

/// The text of a query as the JSON that its schema describes.
fn typed(text: &str, schema: &Value) -> Value {
    match schema.get("type").and_then(Value::as_str) {
        Some("integer" | "boolean") => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
        _ => text.into(),
    }
}

fn request_body(operation: &Operation) -> Option<Value> {
    let (media, schema, is_required) = match operation.request {
        RequestBody::None => return None,
        RequestBody::Json(reader) => (
            ["application/json"].as_slice(),
            sketch::body_schema(reader),
            true,
        ),
        RequestBody::MaybeJson(reader) => (
            ["application/json"].as_slice(),
            sketch::body_schema(reader),
            false,
        ),
        RequestBody::Bytes(media) => (media, json!({"type": "string"}), true),
        RequestBody::File(part) => ([FORM].as_slice(), form_of(part), true),
    };
    let example = match (&operation.example.body, operation.request) {
        (Some(ExampleBody::Text(text)), RequestBody::File(part)) => Some(json!({part: text})),
        (Some(ExampleBody::Text(text)), _) => Some(json!(text)),
        (Some(ExampleBody::Json(body)), _) => Some(body.clone()),
        (None, _) => None,
    };
    let mut content = Map::new();
    for kind in media {
        let is_form = *kind == FORM && matches!(operation.request, RequestBody::Bytes(_));
        let mut described = match is_form {
            true => json!({"schema": form_of("file")}),
            false => json!({"schema": schema}),
        };
        let own = operation
            .example
            .texts
            .iter()
            .find(|(media, _)| media == kind);
        let own = own.map(|(_, text)| json!(text));
        if let Some(example) = own.as_ref().or(example.as_ref()) {
            let example = match is_form {
                true => json!({"file": example}),
                false => example.clone(),
            };
            put(&mut described, "example", example);
        }
        content.insert((*kind).to_owned(), described);
    }
    Some(json!({"required": is_required, "content": content}))
}

const FORM: &str = "multipart/form-data";

/// A form with one file.
fn form_of(part: &str) -> Value {
    let file = json!({
        "type": "string", "minLength": 1, "contentMediaType": "application/octet-stream"
    });
    json!({"type": "object", "properties": {part: file}, "required": [part]})
}

fn responses(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    for (status, body) in &operation.answers {
        let mut answer = json!({
            "description": status.canonical_reason().unwrap_or("Done"),
            "headers": {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}
        });
        match body {
            AnswerBody::None => {}
            AnswerBody::Json(schema) => {
                let schema = schema(generator).to_value();
                put(
                    &mut answer,
                    "content",
                    json!({"application/json": {"schema": schema}}),
                );
            }
            AnswerBody::Bytes(media) => {
                let before = responses.get(status.as_str());
                let mut content = before.and_then(|b: &Value| b.get("content")).cloned();
                let content = content.get_or_insert_with(|| json!({}));
                put(content, media, json!({"schema": {"type": "string"}}));
                put(&mut answer, "content", content.clone());
            }
        }
        responses.insert(status.as_str().to_owned(), answer);
    }
    for status in errors_of(operation) {
        let place = format!("#/components/responses/{}", status.as_str());
        responses
            .entry(status.as_str())
            .or_insert_with(|| json!({"$ref": place}));
    }
    Value::Object(responses)
}

/// Its own errors, and those that come with what it takes.
fn errors_of(operation: &Operation) -> Vec<StatusCode> {
    let mut errors = operation.errors.clone();
    let has_id = names_of(operation.path).any(|name| name != "project_id");
    let (is_json, is_bytes) = match operation.request {
        RequestBody::None => (false, false),
        RequestBody::Json(_) | RequestBody::MaybeJson(_) => (true, false),
        RequestBody::Bytes(_) | RequestBody::File(_) => (false, true),
    };
    let has_body = is_json || is_bytes;
    let is_closed = operation.access != Access::Open;
    let has_input = has_id || has_body || operation.query.is_some();
    let rules = [
        (StatusCode::BAD_REQUEST, has_input || is_closed),
        (StatusCode::UNAUTHORIZED, is_closed),
        (StatusCode::FORBIDDEN, is_closed),
        (StatusCode::NOT_FOUND, has_id),
        (StatusCode::REQUEST_TIMEOUT, has_body),
        (StatusCode::CONFLICT, operation.is_audited),
        (StatusCode::PAYLOAD_TOO_LARGE, has_body),
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, is_bytes),
        (StatusCode::SERVICE_UNAVAILABLE, is_closed),
    ];
    errors.extend(rules.iter().filter(|(_, holds)| *holds).map(|(s, _)| *s));
    errors.sort_unstable();
    errors.dedup();
    errors
}

/// Every status that an error may have, with what it means.
fn error_responses(error: &Value) -> Value {
    let meanings = [
        (
            400,
            "A field or parameter is wrong, or the body can't be read.",
        ),
        (401, "No credentials, or a signature that does not hold."),
        (
            403,
            "The credentials don't allow this, or a limit is reached.",
        ),
        (404, "Nothing of this id is there, or not for the caller."),
        (408, "The body took too long."),
        (
            409,
            "Others change the same thing, or it is in another state; try again.",
        ),
        (412, "A precondition does not hold."),
        (413, "The body is too large."),
        (415, "The body has a media type that is not taken."),
        (416, "The range is not one of what is there."),
        (
            422,
            "Well formed, and yet it can't be done; `errors` has the places.",
        ),
        (429, "Too many requests; try again later."),
        (503, "The server can't do it now; try again later."),
    ];
    let mut responses = Map::new();
    for (status, description) in meanings {
        let mut headers = json!({"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}});
        if matches!(status, 409 | 429 | 503) {
            let after = json!({"$ref": "#/components/headers/Retry-After"});
            put(&mut headers, "Retry-After", after);
        }
        let response = json!({
            "description": description, "headers": headers,
            "content": {"application/json": {"schema": error}}
        });
        responses.insert(status.to_string(), response);
    }
    Value::Object(responses)
}

fn headers() -> Value {
    json!({
        "X-Request-Id": {
            "description": "The caller's, else one of the server's: names the request in its log.",
            "schema": {"type": "string"}
        },
        "Retry-After": {
            "description": "Seconds after which to try again.",
            "schema": {"type": "integer", "minimum": 0}
        }
    })
}

fn security_schemes() -> Value {
    json!({
        "token": {
            "type": "apiKey", "in": "header", "name": "X-Auth-Token",
            "description": "The token of a credential."
        },
        "bearer": {
            "type": "http", "scheme": "bearer",
            "description": "The same token."
        },
        "signature": {
            "type": "apiKey", "in": "header", "name": "Authorization",
            "description": "A request signed with access key and secret key, as the SDKs do: \
                `SDK-HMAC-SHA256 Access=…, SignedHeaders=…, Signature=…`, or derived \
                `V11-HMAC-SHA256 Credential=…`; with `X-Sdk-Date`, at most 15 minutes off."
        }
    })
}
