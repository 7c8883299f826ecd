//! Answers against the OpenAPI document: the operation is found by method and path, its status must
//! be documented, and the body must be what the schema says. Every answer of [`crate::api::Server`]
//! passes through here.

use std::sync::OnceLock;

use axum::http::Method;
use serde_json::Value;
use strait::api;

/// The document of the server under test.
pub(crate) fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| api::openapi::document(&api::operations()))
}

/// The operation that a request goes to.
fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let fits = |template: &str| {
        let (wanted, given) = (template.split('/'), path.split('/'));
        wanted.clone().count() == given.clone().count()
            && wanted
                .zip(given)
                .all(|(w, g)| w == g || (w.starts_with('{') && !g.is_empty()))
    };
    let paths = document()["paths"].as_object().unwrap();
    let mut found: Vec<_> = paths.iter().filter(|(t, _)| fits(t)).collect();
    // A word of the path goes before a parameter, as in the router.
    found.sort_by_key(|(template, _)| template.matches('{').count());
    let (_, entry) = found.first()?;
    entry.get(method.as_str().to_ascii_lowercase())
}

/// Panics when the answer is not documented.
pub(crate) fn check(method: &Method, path: &str, status: u16, media: &str, body: &Value) {
    let Some(operation) = operation(method, path) else {
        assert!(
            [401, 404, 405].contains(&status) || *method == Method::HEAD,
            "{method} {path}: {status}"
        );
        return;
    };
    let id = &operation["operationId"];
    let response = resolve(&operation["responses"][status.to_string()]);
    assert!(
        response.is_object(),
        "{id}: {status} is not documented: {body}"
    );
    let Some(content) = response["content"].as_object() else {
        assert!(body.is_null(), "{id}: {status} has a body: {body}");
        return;
    };
    let essence = media.split(';').next().unwrap();
    let Some(described) = content.get(essence) else {
        panic!("{id}: {status} has media type {media:?}, not {content:?}");
    };
    if essence == "application/json" {
        let problems = problems(body, &described["schema"]);
        let problems = problems.join("\n");
        assert!(problems.is_empty(), "{id}: {status}\n{problems}\n{body:#}");
    }
}

/// What `$ref` leads to.
pub(crate) fn resolve(value: &Value) -> &Value {
    match value["$ref"].as_str() {
        Some(place) => {
            let pointer = place.strip_prefix('#').unwrap();
            document().pointer(pointer).expect(place)
        }
        None => value,
    }
}

/// What of `value` is not as the schema says: the part of JSON Schema 2020-12 that the document
/// uses, but for patterns. A keyword that is none of those known here fails the test.
pub(crate) fn problems(value: &Value, schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    judge(value, schema, "", &mut found);
    found
}

fn judge(value: &Value, schema: &Value, at: &str, found: &mut Vec<String>) {
    let Value::Object(rules) = schema else {
        assert_eq!(*schema, true, "{at}: a schema of another kind");
        return;
    };
    let length = || value.as_str().map(|text| text.chars().count() as f64);
    let count = || value.as_array().map(|items| items.len() as f64);
    for (rule, says) in rules {
        let limit = says.as_f64().unwrap_or_default();
        let holds = match rule.as_str() {
            "$ref" => {
                judge(value, resolve(schema), at, found);
                true
            }
            "type" => match says {
                Value::Array(types) => types.iter().any(|t| is_of(value, t)),
                one => is_of(value, one),
            },
            "enum" => says.as_array().unwrap().contains(value),
            "const" => says == value,
            "anyOf" | "oneOf" => {
                let mut choices = says.as_array().unwrap().iter();
                choices.any(|choice| problems(value, choice).is_empty())
            }
            "minLength" => length().is_none_or(|n| n >= limit),
            "maxLength" => length().is_none_or(|n| n <= limit),
            "minItems" => count().is_none_or(|n| n >= limit),
            "maxItems" => count().is_none_or(|n| n <= limit),
            "minimum" => value.as_f64().is_none_or(|n| n >= limit),
            "maximum" => value.as_f64().is_none_or(|n| n <= limit),
            "required" => {
                let has = |name: &Value| value.get(name.as_str().unwrap()).is_some();
                !value.is_object() || says.as_array().unwrap().iter().all(has)
            }
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    judge(item, says, &format!("{at}[{i}]"), found);
                }
                true
            }
            "properties" | "additionalProperties" => {
                judge_fields(value, rules, rule, at, found);
                true
            }
            "pattern" | "format" | "description" | "title" | "default" | "contentMediaType" => true,
            other => panic!("{at}: the rule {other} is not known here"),
        };
        if !holds {
            found.push(format!("{at}: {rule} {says}, got {value}"));
        }
    }
}

fn judge_fields(
    value: &Value,
    rules: &serde_json::Map<String, Value>,
    rule: &str,
    at: &str,
    found: &mut Vec<String>,
) {
    let nothing = serde_json::Map::new();
    let known = rules.get("properties").and_then(Value::as_object);
    let known = known.unwrap_or(&nothing);
    let others = rules.get("additionalProperties");
    for (name, field) in value.as_object().into_iter().flatten() {
        let here = format!("{at}.{name}");
        match (known.get(name), others) {
            (Some(schema), _) if rule == "properties" => judge(field, schema, &here, found),
            (None, Some(Value::Bool(false))) if rule != "properties" => {
                found.push(format!("{here}: is no field"))
            }
            (None, Some(schema)) if rule != "properties" => judge(field, schema, &here, found),
            _ => {}
        }
    }
}

fn is_of(value: &Value, kind: &Value) -> bool {
    match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        other => panic!("the type {other} is not known here"),
    }
}

#[test]
fn an_answer_that_is_not_as_documented_is_found() {
    let schema = serde_json::json!({
        "type": "object",
        "properties": {
            "id": {"type": "string", "maxLength": 3},
            "count": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]},
            "words": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2}
        },
        "required": ["id"],
        "additionalProperties": false
    });
    let cases = [
        (r#"{"id": "x", "count": null, "words": ["a", "b"]}"#, 0),
        (r#"{"id": "long"}"#, 1),
        (r#"{"count": 0}"#, 2),
        (r#"{"id": "x", "other": 1}"#, 1),
        (r#"{"id": "x", "words": ["a", "c", "b"]}"#, 2),
        (r#"[]"#, 1),
    ];
    for (text, want) in cases {
        let found = problems(&serde_json::from_str(text).unwrap(), &schema);
        assert_eq!(found.len(), want, "{text}: {found:?}");
    }
    let undocumented = || {
        check(
            &Method::GET,
            "/healthz",
            404,
            "application/json",
            &Value::Null,
        )
    };
    assert!(std::panic::catch_unwind(undocumented).is_err());
}
