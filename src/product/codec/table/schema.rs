//! The JSON schema (draft 7) of `codec.toml`, so that editors complete and check it while it is
//! written. Which keys there are, and which of them each type takes, comes from the loader's own
//! lists; what they mean and hold is told here. Editors know less than the loader: references,
//! sizes, replies and the product model are its matter alone.

use serde_json::{Map, Value, json};

use crate::base::limits::BODY_MAX;
use crate::product::codec::table::checksum::Sum;
use crate::product::codec::table::field::{BIT_KEYS, TYPES, keys_of};
use crate::product::codec::table::load::{
    CODEC_KEYS, CRC_KEYS, FILE_KEYS, ID_KEYS, MESSAGE_KEYS, MESSAGES_MAX,
};

/// Tags and codes as keys: `16`, `0x10`.
const NUMBER_KEY: &str = "^(0[xX][0-9a-fA-F]+|[0-9]+)$";

/// The schema as it is printed and kept.
pub fn text() -> String {
    format!("{:#}\n", schema())
}

/// The schema of the whole file.
pub fn schema() -> Value {
    let mut file = object(
        "A table codec: how a device's bytes and JSON become each other",
        || properties(&FILE_KEYS, file_key),
    );
    merge(
        &mut file,
        json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": "codec.toml",
            "required": ["message"],
            "definitions": {
                "name": { "type": "string", "minLength": 1, "maxLength": 128 },
                "endian": { "type": "string", "enum": ["be", "le"] },
                "unsigned": { "type": "string", "enum": unsigned(8) },
                "prefix": { "type": "string", "enum": unsigned(4) },
                "message": message(),
                "field": field(false),
                "case": field(true),
                "bit": object("Some bits of a bits field", || {
                    properties(&[&BIT_KEYS[..], &["auto"]].concat(), bit_key)
                }),
            },
        }),
    );
    if let Some(bit) = file.pointer_mut("/definitions/bit") {
        merge(bit, json!({ "required": ["at"] }));
    }
    file
}

fn object(description: &str, properties: impl FnOnce() -> Value) -> Value {
    json!({
        "description": description,
        "type": "object",
        "additionalProperties": false,
        "properties": properties(),
    })
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

/// Each key with what it holds and what it means.
fn properties(keys: &[&str], of_key: impl Fn(&str) -> Option<(&'static str, Value)>) -> Value {
    let mut all = Map::new();
    for key in keys {
        // A key without a description is found by the test of this module.
        let Some((description, mut holds)) = of_key(key) else {
            continue;
        };
        if holds.get("$ref").is_some() {
            // Beside a reference draft 7 reads nothing else.
            holds = json!({ "allOf": [holds] });
        }
        merge(&mut holds, json!({ "description": description }));
        all.insert((*key).to_owned(), holds);
    }
    Value::Object(all)
}

fn refer(to: &str) -> Value {
    json!({ "$ref": format!("#/definitions/{to}") })
}

fn unsigned(bytes_max: usize) -> Vec<String> {
    (1..=bytes_max).map(|n| format!("u{}", n * 8)).collect()
}

fn within(from: i64, to: u64) -> Value {
    json!({ "type": "integer", "minimum": from, "maximum": to })
}

fn list_of(what: Value) -> Value {
    json!({ "type": "array", "items": what })
}

fn file_key(key: &str) -> Option<(&'static str, Value)> {
    Some(match key {
        "codec" => (
            "What holds for every message",
            object("", || properties(&CODEC_KEYS, codec_key)),
        ),
        "message" => (
            "One message: a report, a command, a response, a set or an answer",
            json!({
                "type": "array",
                "minItems": 1,
                "maxItems": MESSAGES_MAX,
                "items": refer("message"),
            }),
        ),
        _ => return None,
    })
}

fn codec_key(key: &str) -> Option<(&'static str, Value)> {
    Some(match key {
        "name" => ("The codec's name, for people", refer("name")),
        "endian" => (
            "Byte order of numbers, \"be\" unless given; messages and fields may say otherwise",
            refer("endian"),
        ),
        "id" => (
            "Where a message says which it is",
            with_required(object("", || properties(&ID_KEYS, id_key)), "type"),
        ),
        "crc" => (
            "A checksum over everything before it",
            with_required(object("", || properties(&CRC_KEYS, crc_key)), "type"),
        ),
        _ => return None,
    })
}

fn with_required(mut schema: Value, key: &str) -> Value {
    merge(&mut schema, json!({ "required": [key] }));
    schema
}

fn id_key(key: &str) -> Option<(&'static str, Value)> {
    Some(match key {
        "at" => ("Offset of the id in bytes, 0 unless given", within(0, 255)),
        "type" => ("Type of the id", refer("unsigned")),
        "endian" => ("Byte order of the id", refer("endian")),
        _ => return None,
    })
}

fn crc_key(key: &str) -> Option<(&'static str, Value)> {
    Some(match key {
        "type" => (
            "Name of the checksum: sum8, xor8, a name of the CRC catalogue, or a short name",
            json!({ "type": "string", "enum": Sum::names().collect::<Vec<_>>() }),
        ),
        "at" => (
            "Where it stands, counted from the end; minus its size unless given",
            json!({ "type": "integer", "minimum": -255, "maximum": -1 }),
        ),
        "endian" => ("Byte order of the checksum", refer("endian")),
        "from" => ("First byte that it covers, 0 unless given", within(0, 255)),
        _ => return None,
    })
}

fn message() -> Value {
    let mut message = object("One message", || properties(&MESSAGE_KEYS, message_key));
    merge(
        &mut message,
        json!({
            "required": ["dir"],
            "allOf": [
                when("dir", &["down"], &json!({ "required": ["name"] })),
                when("dir", &["set"], &json!({ "required": ["service"] })),
                when("dir", &["response", "answer"], &without("service")),
                when("dir", &["up", "response", "answer"], &without("reply")),
                when("dir", &["down", "response", "set", "answer"], &without("answer")),
                when("dir", &["down", "response", "set", "answer"], &without("has_more")),
            ],
        }),
    );
    message
}

fn when(key: &str, values: &[&str], then: &Value) -> Value {
    json!({
        "if": { "required": [key], "properties": { key: { "enum": values } } },
        "then": then,
    })
}

fn without(key: &str) -> Value {
    json!({ "not": { "required": [key] } })
}

fn message_key(key: &str) -> Option<(&'static str, Value)> {
    let id = || json!({ "type": "integer", "minimum": 0 });
    Some(match key {
        "id" => (
            "What the id field holds; unique among messages that devices send, and among those \
             they get",
            id(),
        ),
        "name" => (
            "The command's name (down, needed), the response's name (response), for people (others)",
            refer("name"),
        ),
        "dir" => (
            "up: a report, down: a command, response: what answers a command or set, set: writes \
             properties, answer: what the platform says to a report",
            json!({ "type": "string", "enum": ["up", "down", "response", "set", "answer"] }),
        ),
        "service" => (
            "Service of the properties (up; set, needed) or of the command (down)",
            refer("name"),
        ),
        "reply" => ("Id of the response to this command or set", id()),
        "answer" => ("Id of the answer to this report", id()),
        "fields" => ("The fields, in the order of the bytes", fields()),
        "endian" => ("Byte order of this message", refer("endian")),
        "has_more" => (
            "true: more reports follow at once, so queued commands wait",
            json!({ "type": "boolean" }),
        ),
        _ => return None,
    })
}

fn fields() -> Value {
    list_of(refer("field"))
}

/// A field, or a case of a TLV loop: every key for completion, then what each type takes of them.
fn field(is_case: bool) -> Value {
    let extra: &[&str] = if is_case { &["many"] } else { &[] };
    let mut keys: Vec<&str> = Vec::new();
    for key in TYPES.iter().flat_map(|t| keys_of(t)).chain(extra) {
        if !keys.contains(key) {
            keys.push(key);
        }
    }
    let description = match is_case {
        true => "What follows a tag: one field, or `fields` side by side",
        false => "One field: so many bytes, or bits of them",
    };
    let mut field = object(description, || properties(&keys, field_key));
    let mut by_type: Vec<(&[&str], Vec<&str>)> = Vec::new();
    for name in TYPES {
        match by_type.iter_mut().find(|(k, _)| *k == keys_of(name)) {
            Some((_, names)) => names.push(name),
            None => by_type.push((keys_of(name), vec![name])),
        }
    }
    let mut rules: Vec<Value> = by_type
        .iter()
        .map(|(keys, names)| {
            let takes = [keys, extra].concat();
            let mut then = json!({ "propertyNames": { "enum": takes } });
            let needs = |key: &&&str| matches!(**key, "bits" | "of" | "tag" | "cases" | "fields");
            let needed: Vec<&&str> = keys.iter().filter(needs).collect();
            if !needed.is_empty() {
                merge(&mut then, json!({ "required": needed }));
            }
            when("t", names, &then)
        })
        .collect();
    rules.push(json!({ "anyOf": [{ "required": ["t"] }, { "required": ["fields"] }] }));
    let group = [keys_of("group"), extra].concat();
    rules.push(json!({
        "if": { "not": { "required": ["t"] } },
        "then": { "propertyNames": { "enum": group } },
    }));
    merge(&mut field, json!({ "allOf": rules }));
    field
}

fn field_key(key: &str) -> Option<(&'static str, Value)> {
    let flag = || json!({ "type": "boolean" });
    Some(match key {
        "n" => (
            "Name of the property, parameter or length; a number, text or bytes without one is filler",
            refer("name"),
        ),
        "t" => (
            "Type: integers, floats, bits, digits (bcd), text, bytes, times, lists, TLV loops, objects",
            json!({ "type": "string", "enum": TYPES.as_slice() }),
        ),
        "service" => ("Another service than the message's (up)", refer("name")),
        "optional" => (
            "true: may be missing at the end; all after it must be optional too",
            flag(),
        ),
        "endian" => ("Byte order here", refer("endian")),
        "as" => (
            "event_time: a time that dates the report; has_more: more reports follow; string: an \
             integer as digits; echo: no property, there for an answer to repeat",
            json!({ "type": "string", "enum": ["event_time", "has_more", "string", "echo"] }),
        ),
        "auto" => (
            "What the platform fills in: mid (down, set), errcode, has_more or request.<field> \
             (answer)",
            json!({
                "anyOf": [
                    { "type": "string", "enum": ["mid", "errcode", "has_more"] },
                    { "type": "string", "pattern": "^request\\..+$" },
                ],
            }),
        ),
        "match" => (
            "mid: the id of the command that this response answers",
            json!({ "type": "string", "enum": ["mid"] }),
        ),
        "len" => (
            "Bytes: a number, a type in front of them, or the name of an earlier field; without it \
             to the end. In a tlv: the type of each entry's length",
            size(),
        ),
        "count" => (
            "Elements: a number, a type in front of them, or the name of an earlier field; without \
             it to the end",
            size(),
        ),
        "max" => ("Most elements of a list", within(1, most())),
        "enc" => (
            "How bytes are written in JSON, \"hex\" unless given",
            json!({ "type": "string", "enum": ["hex", "base64"] }),
        ),
        "of" => (
            "The element: a type with its keys, or fields for objects",
            refer("field"),
        ),
        "tag" => ("Type of the tags", refer("prefix")),
        "unknown" => (
            "What to do with tags that no case has, \"error\" unless given",
            json!({ "type": "string", "enum": ["error", "skip"] }),
        ),
        "cases" => (
            "What follows each tag, by tag such as 0x10",
            json!({
                "type": "object",
                "minProperties": 1,
                "patternProperties": { NUMBER_KEY: refer("case") },
                "additionalProperties": false,
            }),
        ),
        "many" => (
            "true: the tag may come again, and its values gather in a list",
            flag(),
        ),
        "fields" => ("The fields of an object", {
            let mut fields = fields();
            merge(&mut fields, json!({ "minItems": 1 }));
            fields
        }),
        "bits" => ("The bit fields of the word", {
            let mut bits = list_of(refer("bit"));
            merge(&mut bits, json!({ "minItems": 1 }));
            bits
        }),
        _ => return value_key(key),
    })
}

/// Keys of numbers, whether they are bytes or bits.
fn value_key(key: &str) -> Option<(&'static str, Value)> {
    Some(match key {
        "dec" => (
            "Decimal places: 123456 with dec = 3 is 123.456, exactly. On unix64 3: milliseconds",
            within(0, 18),
        ),
        "scale" => ("raw × scale / 10^dec + offset", json!({ "type": "number" })),
        "offset" => ("raw × scale / 10^dec + offset", json!({ "type": "number" })),
        "enum" => (
            "Names of the codes: a list from 0, or a table by code",
            json!({
                "anyOf": [
                    { "type": "array", "minItems": 1, "items": { "type": "string", "minLength": 1 } },
                    {
                        "type": "object",
                        "minProperties": 1,
                        "patternProperties": { NUMBER_KEY: { "type": "string", "minLength": 1 } },
                        "additionalProperties": false,
                    },
                ],
            }),
        ),
        "other" => (
            "Name of every code that `enum` does not name",
            refer("name"),
        ),
        "const" => (
            "What must be there, and no value: an integer, a text, or bytes as hex",
            json!({ "type": ["integer", "string"] }),
        ),
        "result" => (
            "true: the command succeeded if this is 0, true or the first name of the enum \
             (response)",
            json!({ "type": "boolean" }),
        ),
        _ => return None,
    })
}

fn bit_key(key: &str) -> Option<(&'static str, Value)> {
    Some(match key {
        "at" => (
            "Lowest bit, counted from the lowest of the word",
            within(0, 63),
        ),
        "w" => ("Number of bits, 1 unless given", within(1, 64)),
        "signed" => ("true: two's complement", json!({ "type": "boolean" })),
        _ => return field_key(key),
    })
}

fn size() -> Value {
    json!({ "anyOf": [within(1, most()), { "type": "string", "minLength": 1 }] })
}

fn most() -> u64 {
    u64::try_from(BODY_MAX).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::product::codec::table::field::ALL_KEYS;

    fn keys(schema: &Value, at: &str) -> Vec<String> {
        let properties = schema.pointer(at).unwrap().as_object().unwrap();
        properties.keys().cloned().collect()
    }

    /// What the loader takes, the schema describes, and nothing else.
    #[test]
    fn every_key_is_described() {
        let schema = schema();
        let of = |at: &str, want: &[&str]| {
            let mut got = keys(&schema, at);
            let mut want: Vec<String> = want.iter().map(|&key| key.to_owned()).collect();
            got.sort();
            want.sort();
            assert_eq!(got, want, "{at}");
            for key in got {
                let about = schema.pointer(&format!("{at}/{key}/description"));
                let about = about.and_then(Value::as_str).unwrap_or_default();
                assert!(!about.is_empty(), "{at}/{key} has no description");
            }
        };
        of("/properties", &FILE_KEYS);
        of("/properties/codec/properties", &CODEC_KEYS);
        of("/properties/codec/properties/id/properties", &ID_KEYS);
        of("/properties/codec/properties/crc/properties", &CRC_KEYS);
        of("/definitions/message/properties", &MESSAGE_KEYS);
        of("/definitions/case/properties", &field_keys(&[]));
        of("/definitions/field/properties", &field_keys(&["many"]));
        let bit: Vec<&str> = BIT_KEYS.iter().copied().chain(["auto"]).collect();
        of("/definitions/bit/properties", &bit);
    }

    /// All keys of fields but those of bits alone and `but`.
    fn field_keys(but: &[&str]) -> Vec<&'static str> {
        let mut all = ALL_KEYS.to_vec();
        all.retain(|key| !["at", "w", "signed"].contains(key) && !but.contains(key));
        all
    }
}
