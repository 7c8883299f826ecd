//! The codec of products whose devices speak JSON themselves (`data_format` `json`): nobody
//! writes one, every such product has it.
//!
//! | way | `msg_type` | holds |
//! |---|---|---|
//! | up | none, `properties_report` | `services: [{service_id, properties, event_time?}]`, `has_more?` |
//! | up | `command_response` | `mid?`, `result_code?` (0: done), `response_name?`, `paras?` |
//! | up | `properties_set_response` | anything: the next report shows what was set |
//! | down | `commands` | `mid`, `service_id`, `command_name`, `paras` |
//! | down | `properties_set` | `mid`, `services: [{service_id, properties}]` |
//!
//! Keys that are not listed are passed over. Texts of more than [`CODEC_OUTPUT_MAX`] bytes or
//! nested deeper than [`CODEC_DEPTH_MAX`] levels are refused, both ways. An `event_time` that is
//! no time is passed over too: the platform's own then counts.

#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

use crate::base::limits::{CODEC_DEPTH_MAX, CODEC_OUTPUT_MAX};
use crate::base::time::Timestamp;
use crate::product::codec::{
    Codec, CodecError, Decoded, Downlink, Encode, EncodeProperties, PropertySet, Report, Response,
    ServiceReport, TraceEntry, Uplink,
};

const REPORT: &str = "properties_report";
const RESPONSE: &str = "command_response";
const SET_RESPONSE: &str = "properties_set_response";
const COMMAND: &str = "commands";
const SET: &str = "properties_set";

/// How many times longer JSON may get when it is read and written again: `1e15` becomes
/// `1000000000000000.0`.
const GROWTH_MAX: usize = 5;

/// JSON in, JSON out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonCodec;

impl Codec for JsonCodec {
    fn decode(
        &self,
        uplink: &Uplink<'_>,
        _trace: Option<&mut Vec<TraceEntry>>,
    ) -> Result<Decoded, CodecError> {
        let mut body = read(uplink.payload)?;
        let sort = body.get("msg_type").and_then(Value::as_str);
        match sort {
            Some(RESPONSE) => return response(&mut body).map(Decoded::Response),
            Some(SET_RESPONSE) => return Ok(Decoded::Nothing),
            // Whatever it is called: services are news of the device.
            Some(other) if other != REPORT && !body.contains_key("services") => {
                let got = Value::from(other);
                let reason = format!("is {got}, takes {REPORT}, {RESPONSE} or {SET_RESPONSE}");
                return Err(wrong("msg_type", reason));
            }
            _ => {}
        }
        let decoded = Decoded::Report(report(&mut body)?);
        let may_grow = uplink.payload.len() > CODEC_OUTPUT_MAX / GROWTH_MAX;
        if may_grow && decoded.to_json().to_string().len() > CODEC_OUTPUT_MAX {
            return Err(TOO_LONG);
        }
        Ok(decoded)
    }

    fn encode(&self, command: &Encode<'_>) -> Result<Vec<u8>, CodecError> {
        written(&json!({
            "msg_type": COMMAND,
            "mid": command.mid,
            "service_id": command.service_id,
            "command_name": command.command_name,
            "paras": command.paras,
        }))
    }

    fn decode_downlink(&self, bytes: &[u8]) -> Option<Result<Downlink, CodecError>> {
        Some(downlink(bytes))
    }

    fn answers_by_mid(&self, _command: &Encode<'_>) -> bool {
        true
    }

    /// All wanted properties, or as many of them as fit into one message.
    fn encode_properties(&self, set: &EncodeProperties<'_>) -> Result<PropertySet, CodecError> {
        let frame = |properties: &Map<String, Value>| {
            json!({
                "msg_type": SET,
                "mid": set.mid,
                "services": [{ "service_id": set.service_id, "properties": properties }],
            })
        };
        if set.wanted.is_empty() {
            return Err(CodecError::no_property_set(set));
        }
        let mut size = written(&frame(&Map::new()))?.len();
        let mut taken = Map::new();
        for (name, value) in set.wanted {
            // The text's braces outweigh the comma that it will need.
            let pair = json!({ (name.as_str()): value }).to_string();
            if size + pair.len() > CODEC_OUTPUT_MAX {
                continue;
            }
            size += pair.len();
            taken.insert(name.clone(), value.clone());
        }
        if taken.is_empty() {
            return Err(TOO_LONG);
        }
        Ok(PropertySet {
            bytes: written(&frame(&taken))?,
            covered: taken.into_iter().map(|(name, _)| name).collect(),
        })
    }
}

const TOO_LONG: CodecError = CodecError::Output {
    max: CODEC_OUTPUT_MAX,
};

fn wrong(field: impl Into<String>, reason: impl Into<String>) -> CodecError {
    CodecError::Field {
        field: field.into(),
        reason: reason.into(),
    }
}

/// One object, bounded in size and depth.
fn read(payload: &[u8]) -> Result<Map<String, Value>, CodecError> {
    if payload.len() > CODEC_OUTPUT_MAX {
        return Err(TOO_LONG);
    }
    let value = serde_json::from_slice(payload).map_err(|e| CodecError::Json {
        reason: e.to_string(),
    })?;
    if is_deeper(&value, CODEC_DEPTH_MAX) {
        return Err(TOO_DEEP);
    }
    match value {
        Value::Object(body) => Ok(body),
        _ => Err(CodecError::Json {
            reason: "it takes an object".to_owned(),
        }),
    }
}

const TOO_DEEP: CodecError = CodecError::Depth {
    max: CODEC_DEPTH_MAX,
};

/// Whether lists and objects stand in each other more than `left` levels deep.
fn is_deeper(value: &Value, left: usize) -> bool {
    let Some(below) = left.checked_sub(1) else {
        return matches!(value, Value::Array(_) | Value::Object(_));
    };
    match value {
        Value::Array(items) => items.iter().any(|item| is_deeper(item, below)),
        Value::Object(map) => map.values().any(|item| is_deeper(item, below)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn written(body: &Value) -> Result<Vec<u8>, CodecError> {
    if is_deeper(body, CODEC_DEPTH_MAX) {
        return Err(TOO_DEEP);
    }
    let bytes = serde_json::to_vec(body).map_err(|e| CodecError::Json {
        reason: e.to_string(),
    })?;
    if bytes.len() > CODEC_OUTPUT_MAX {
        return Err(TOO_LONG);
    }
    Ok(bytes)
}

fn report(body: &mut Map<String, Value>) -> Result<Report, CodecError> {
    let has_more = match body.get("has_more") {
        Some(Value::Bool(more)) => *more,
        Some(Value::Number(more)) => more.as_f64() != Some(0.0),
        _ => false,
    };
    let services = services(body)?
        .into_iter()
        .map(|(service_id, properties, event_time)| ServiceReport {
            service_id,
            properties,
            event_time,
        });
    Ok(Report {
        services: services.collect(),
        has_more,
    })
}

type Service = (String, Map<String, Value>, Option<Timestamp>);

fn services(body: &mut Map<String, Value>) -> Result<Vec<Service>, CodecError> {
    let items = match body.remove("services") {
        Some(Value::Array(items)) => items,
        other => return Err(wrong("services", takes("a list", other.as_ref()))),
    };
    let mut found = Vec::with_capacity(items.len());
    for (at, item) in items.into_iter().enumerate() {
        let place = |name: &str| format!("services[{at}]{name}");
        let Value::Object(mut item) = item else {
            return Err(wrong(place(""), takes("an object", Some(&item))));
        };
        let service_id = match item.remove("service_id") {
            Some(Value::String(id)) => id,
            other => {
                let reason = takes("a string", other.as_ref());
                return Err(wrong(place(".service_id"), reason));
            }
        };
        let properties = match item.remove("properties") {
            Some(Value::Object(properties)) => properties,
            other => {
                let reason = takes("an object", other.as_ref());
                return Err(wrong(place(".properties"), reason));
            }
        };
        let event_time = match item.remove("event_time") {
            Some(Value::String(text)) => Timestamp::parse(&text),
            None | Some(Value::Null) => None,
            Some(other) => {
                let reason = takes("a time as a string", Some(&other));
                return Err(wrong(place(".event_time"), reason));
            }
        };
        found.push((service_id, properties, event_time));
    }
    Ok(found)
}

fn response(body: &mut Map<String, Value>) -> Result<Response, CodecError> {
    let result_code = match body.get("result_code") {
        None | Some(Value::Null) => 0.0,
        Some(code) => {
            let number = code.as_f64();
            number.ok_or_else(|| wrong("result_code", takes("a number", Some(code))))?
        }
    };
    Ok(Response {
        mid: mid(body)?,
        succeeded: result_code == 0.0,
        response_name: text(body, "response_name")?,
        paras: object(body, "paras")?,
    })
}

fn mid(body: &Map<String, Value>) -> Result<Option<u16>, CodecError> {
    let Some(got) = body.get("mid").filter(|got| !got.is_null()) else {
        return Ok(None);
    };
    let mid = got.as_u64().and_then(|mid| u16::try_from(mid).ok());
    match mid.filter(|mid| *mid > 0) {
        Some(mid) => Ok(Some(mid)),
        None => Err(wrong("mid", takes("1 to 65535", Some(got)))),
    }
}

fn text(body: &mut Map<String, Value>, name: &str) -> Result<Option<String>, CodecError> {
    match body.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        other => Err(wrong(name, takes("a string", other.as_ref()))),
    }
}

fn object(body: &mut Map<String, Value>, name: &str) -> Result<Map<String, Value>, CodecError> {
    match body.remove(name) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map),
        other => Err(wrong(name, takes("an object", other.as_ref()))),
    }
}

/// What came instead of what is taken; long values are named by their sort.
fn takes(what: &str, got: Option<&Value>) -> String {
    match got {
        None => format!("is missing, takes {what}"),
        Some(Value::Array(_)) => format!("is a list, takes {what}"),
        Some(Value::Object(_)) => format!("is an object, takes {what}"),
        Some(Value::String(text)) if text.len() > 64 => format!("is a long string, takes {what}"),
        Some(other) => format!("is {other}, takes {what}"),
    }
}

/// What a device reads of a command or a set.
fn downlink(bytes: &[u8]) -> Result<Downlink, CodecError> {
    let mut body = read(bytes)?;
    let mid = mid(&body)?;
    let needed = |name, found: Option<String>| {
        found.ok_or_else(|| wrong(name, "is missing, takes a string"))
    };
    match body.get("msg_type").and_then(Value::as_str) {
        Some(COMMAND) => Ok(Downlink::Command {
            command_name: needed("command_name", text(&mut body, "command_name")?)?,
            paras: object(&mut body, "paras")?,
            mid,
        }),
        Some(SET) => {
            let mut all = services(&mut body)?;
            let (Some((service_id, properties, _)), true) = (all.pop(), all.is_empty()) else {
                return Err(wrong("services", "takes one service"));
            };
            Ok(Downlink::Set {
                service_id,
                properties,
                mid,
            })
        }
        _ => Err(wrong("msg_type", format!("takes {COMMAND} or {SET}"))),
    }
}
