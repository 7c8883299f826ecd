//! The JSON schema of `codec.toml`: as it is kept, as it is printed, and what it says to codecs.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use strait::product::codec::table::schema;

use crate::codecs::codec;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_kept_schema_is_what_the_code_says() {
    let path = root().join("docs/codec.schema.json");
    if std::env::var_os("STRAIT_RENEW").is_some() {
        fs::write(&path, schema::text()).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == schema::text(),
        "look at the change, then `cargo run -- codec schema > docs/codec.schema.json`"
    );
    assert_eq!(
        codec(root(), &["schema"]),
        (0, schema::text(), String::new())
    );
}

/// All tables that load are fine for an editor too.
#[test]
fn every_table_fits_the_schema() {
    let mut tables = Vec::new();
    for folder in ["codecs", "fixtures"] {
        collect(&root().join(folder), &mut tables);
    }
    tables.retain(|path| !path.to_str().unwrap().contains("mistakes"));
    tables.retain(|path| !path.to_str().unwrap().contains("load_errors"));
    // The package of a codec in Rust is no table.
    tables.retain(|path| path.file_name().is_none_or(|name| name != "Cargo.toml"));
    assert!(tables.len() >= 8, "{tables:?}");
    for path in tables {
        let source = fs::read_to_string(&path).unwrap();
        assert_eq!(problems(&source), Vec::<String>::new(), "{path:?}");
    }
}

fn collect(dir: &Path, tables: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, tables);
        } else if path.extension().is_some_and(|e| e == "toml") {
            tables.push(path);
        }
    }
}

/// An editor marks what the loader refuses, where no other part of the file is needed to know.
#[test]
fn mistakes_are_marked() {
    let table =
        |field: &str| format!("[[message]]\ndir = \"up\"\nservice = \"S\"\nfields = [{field}]\n");
    let fine = [
        r#"{ n = "a", t = "u8", enum = { 0x10 = "x" } }"#,
        r#"{ n = "a", fields = [{ n = "b", t = "u40" }] }"#,
        r#"{ t = "tlv", tag = "u8", cases = { 1 = { n = "b", t = "u8", many = true } } }"#,
    ];
    for field in fine {
        assert_eq!(problems(&table(field)), Vec::<String>::new(), "{field}");
    }
    let wrong = [
        (r#"{ n = "a", t = "u9" }"#, "/message/0/fields/0/t"),
        (
            r#"{ n = "a", t = "u8", len = 3 }"#,
            "/message/0/fields/0/len",
        ),
        (
            r#"{ n = "a", t = "u8", many = true }"#,
            "/message/0/fields/0/many",
        ),
        (
            r#"{ n = "a", t = "u8", typ = 3 }"#,
            "/message/0/fields/0/typ",
        ),
        (r#"{ n = "a", t = "array" }"#, "/message/0/fields/0"),
        (r#"{ n = "a" }"#, "/message/0/fields/0"),
        (
            r#"{ n = "a", len = 3, fields = [{ n = "b", t = "u8" }] }"#,
            "/message/0/fields/0/len",
        ),
        (
            r#"{ n = "a", t = "u8", dec = 19 }"#,
            "/message/0/fields/0/dec",
        ),
        (
            r#"{ n = "a", t = "u8", optional = "yes" }"#,
            "/message/0/fields/0/optional",
        ),
        (
            r#"{ n = "a", t = "u8", enum = { x = "y" } }"#,
            "/message/0/fields/0/enum",
        ),
        (
            r#"{ t = "bits8", bits = [{ n = "a" }] }"#,
            "/message/0/fields/0/bits/0",
        ),
        (
            r#"{ t = "tlv", tag = "u8", cases = {} }"#,
            "/message/0/fields/0/cases",
        ),
    ];
    for (field, place) in wrong {
        let found = problems(&table(field));
        assert!(
            found.iter().any(|p| p.starts_with(place)),
            "{field}: {found:?}"
        );
    }
    let wrong = [
        "codec = { crc = { type = \"crc16-modbuss\" } }\n[[message]]\ndir = \"up\"",
        "codec = { id = { at = 0 } }\n[[message]]\ndir = \"up\"",
        "[[message]]\ndir = \"down\"",
        "[[message]]\ndir = \"set\"",
        "[[message]]\ndir = \"response\"\nservice = \"S\"",
        "[[message]]\nname = \"x\"",
        "codec = {}",
    ];
    for source in wrong {
        assert_ne!(problems(source), Vec::<String>::new(), "{source}");
    }
}

/// What the schema has against a table, each with its place in front.
fn problems(source: &str) -> Vec<String> {
    let schema = schema::schema();
    let table: Value = toml::from_str(source).unwrap();
    let mut found = Vec::new();
    judge(&schema, &schema, &table, "", &mut found);
    found
}

fn fits(root: &Value, schema: &Value, value: &Value) -> bool {
    let mut found = Vec::new();
    judge(root, schema, value, "", &mut found);
    found.is_empty()
}

/// The part of draft 7 that the schema uses; a keyword beyond it fails the test.
fn judge(root: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let mut fail = |reason: String| found.push(format!("{at}: {reason}"));
    let keywords = schema.as_object().unwrap();
    for (keyword, says) in keywords {
        let list = || says.as_array().unwrap();
        match keyword.as_str() {
            "$schema" | "title" | "description" | "definitions" | "then" => {}
            "patternProperties" | "additionalProperties" | "properties" => {}
            "type" => {
                let names = match says {
                    Value::Array(names) => names.clone(),
                    one => vec![one.clone()],
                };
                let is = |name: &Value| is_type(value, name.as_str().unwrap());
                if !names.iter().any(is) {
                    fail(format!("no {says}"));
                }
            }
            "enum" if !list().contains(value) => fail(format!("{value} is not listed")),
            "enum" => {}
            "required" => {
                for key in list() {
                    if value.get(key.as_str().unwrap()).is_none() && value.is_object() {
                        fail(format!("lacks {key}"));
                    }
                }
            }
            "not" if fits(root, says, value) => fail(format!("is {says}")),
            "not" => {}
            "anyOf" if !list().iter().any(|one| fits(root, one, value)) => {
                fail(format!("is none of {says}"));
            }
            "anyOf" => {}
            "minimum" if value.as_f64() < says.as_f64() && value.is_number() => {
                fail(format!("under {says}"));
            }
            "maximum" if value.as_f64() > says.as_f64() => fail(format!("over {says}")),
            "minimum" | "maximum" => {}
            "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" => {
                let count = match value {
                    Value::String(text) => text.chars().count(),
                    Value::Array(items) => items.len(),
                    Value::Object(map) => map.len(),
                    _ => continue,
                };
                let bound = usize::try_from(says.as_u64().unwrap()).unwrap();
                let low = keyword.starts_with("min");
                if (low && count < bound) || (!low && count > bound) {
                    fail(format!("{count} long, {keyword} is {says}"));
                }
            }
            "pattern" => {
                assert_eq!(says, "^request\\..+$");
                let text = value.as_str().unwrap_or_default();
                if text.strip_prefix("request.").is_none_or(str::is_empty) {
                    fail(format!("is not {says}"));
                }
            }
            "allOf" | "$ref" | "if" | "items" | "propertyNames" => {}
            other => panic!("keyword {other}"),
        }
    }
    descend(root, schema, value, at, found);
}

/// Subschemas of the value itself, of its items and of its members.
fn descend(root: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(to) = schema.get("$ref") {
        let to = to.as_str().unwrap().strip_prefix('#').unwrap();
        judge(root, root.pointer(to).unwrap(), value, at, found);
    }
    for one in schema
        .get("allOf")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        judge(root, one, value, at, found);
    }
    if let Some(condition) = schema.get("if")
        && fits(root, condition, value)
    {
        judge(root, &schema["then"], value, at, found);
    }
    if let (Some(of), Value::Array(items)) = (schema.get("items"), value) {
        for (n, item) in items.iter().enumerate() {
            judge(root, of, item, &format!("{at}/{n}"), found);
        }
    }
    let Value::Object(members) = value else {
        return;
    };
    for (key, member) in members {
        let at = format!("{at}/{key}");
        if let Some(names) = schema.get("propertyNames") {
            judge(root, names, &Value::from(key.as_str()), &at, found);
        }
        let patterns = schema.get("patternProperties").and_then(Value::as_object);
        let by_pattern = patterns.into_iter().flatten().find(|(pattern, _)| {
            assert_eq!(*pattern, "^(0[xX][0-9a-fA-F]+|[0-9]+)$");
            is_number_key(key)
        });
        let own = schema.get("properties").and_then(|all| all.get(key));
        match own.or_else(|| by_pattern.map(|(_, of)| of)) {
            Some(of) => judge(root, of, member, &at, found),
            None if schema.get("additionalProperties").is_some() => {
                found.push(format!("{at}: no such key"));
            }
            None => {}
        }
    }
}

fn is_number_key(key: &str) -> bool {
    match key.strip_prefix("0x").or_else(|| key.strip_prefix("0X")) {
        Some(hex) => !hex.is_empty() && hex.chars().all(|c| c.is_ascii_hexdigit()),
        None => !key.is_empty() && key.chars().all(|c| c.is_ascii_digit()),
    }
}

fn is_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("type {other}"),
    }
}
