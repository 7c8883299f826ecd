//! What scripts get and give, as the three contracts have it.
//!
//! | contract | up | down |
//! |---|---|---|
//! | offline plug-in | `decode(bytes)` gives `{msgType: "deviceReq" \| "deviceRsp", …}` | `encode({msgType: "cloudReq" \| "cloudRsp", …})` |
//! | IoTDA | `decode(payload, topic)` gives `{msg_type: …}`, as text | `encode(text)` of `{msg_type: …}` |
//! | TS013 | `decodeUplink({bytes, fPort, recvTime})` gives `{data, warnings, errors}`; before it `Decode(fPort, bytes)`, `Decoder(bytes, port)` gave the data | `encodeDownlink({data})`, `Encode(fPort, data)`, `Encoder(data, port)` |

use serde_json::{Map, Value, json};

use super::fault::bounded;
use crate::base::time::Timestamp;
use crate::product::codec::call::Options;
use crate::product::codec::{
    AnswerTo, CodecError, Decoded, Encode, EncodeProperties, Report, Response, ServiceReport,
};

fn odd<T>(reason: impl Into<String>) -> Result<T, CodecError> {
    Err(CodecError::Script {
        reason: reason.into(),
    })
}

fn shown(value: &Value) -> String {
    bounded(&value.to_string())
}

/// What `decode` gave, of whichever of the two contracts.
pub(super) fn decoded(value: Value) -> Result<Decoded, CodecError> {
    let Value::Object(map) = value else {
        return match value {
            Value::Null => Ok(Decoded::Nothing),
            other => odd(format!("decode gave {}, takes an object", shown(&other))),
        };
    };
    let kind = |name: &str| map.get(name).and_then(Value::as_str).map(str::to_owned);
    match (kind("msg_type"), kind("msgType")) {
        (Some(kind), _) => iotda(&kind, map),
        (None, Some(kind)) => offline(&kind, map),
        (None, None) => odd(
            "decode gave neither msg_type (properties_report, command_response, …) nor msgType \
             (deviceReq, deviceRsp)",
        ),
    }
}

fn offline(kind: &str, mut map: Map<String, Value>) -> Result<Decoded, CodecError> {
    match kind {
        "deviceReq" => {
            let has_more = flag(map.get("hasMore"));
            let list = list_of(map.remove("data"), "data")?;
            let services = list.into_iter().enumerate().map(|(at, one)| {
                service(
                    one,
                    &format!("data[{at}]"),
                    ["serviceId", "serviceData", "eventTime"],
                )
            });
            Ok(Decoded::Report(Report {
                services: services.collect::<Result<_, _>>()?,
                has_more,
            }))
        }
        "deviceRsp" => Ok(Decoded::Response(Response {
            mid: mid_of(map.get("mid"))?,
            succeeded: is_zero(map.get("errcode")),
            response_name: None,
            paras: paras_of(map.remove("body"), "body")?,
        })),
        other => odd(format!(
            "msgType is {other:?}, takes deviceReq or deviceRsp"
        )),
    }
}

fn iotda(kind: &str, mut map: Map<String, Value>) -> Result<Decoded, CodecError> {
    match kind {
        "properties_report" | "properties_get_response" => {
            let has_more = flag(map.get("has_more"));
            let list = list_of(map.remove("services"), "services")?;
            let services = list.into_iter().enumerate().map(|(at, one)| {
                let names = ["service_id", "properties", "event_time"];
                service(one, &format!("services[{at}]"), names)
            });
            Ok(Decoded::Report(Report {
                services: services.collect::<Result<_, _>>()?,
                has_more,
            }))
        }
        "command_response" => {
            let mid = map.get("mid").filter(|mid| !mid.is_null());
            let name = map.get("response_name").and_then(Value::as_str);
            Ok(Decoded::Response(Response {
                mid: mid_of(mid.or_else(|| map.get("request_id")))?,
                succeeded: is_zero(map.get("result_code")),
                response_name: name.map(str::to_owned),
                paras: paras_of(map.remove("paras"), "paras")?,
            }))
        }
        // What was set shows itself in the next report.
        "properties_set_response" => Ok(Decoded::Nothing),
        "message_up" => odd("msg_type message_up is not supported: report properties"),
        other => odd(format!(
            "msg_type is {other:?}, takes properties_report, command_response, \
             properties_set_response or properties_get_response"
        )),
    }
}

fn list_of(value: Option<Value>, name: &str) -> Result<Vec<Value>, CodecError> {
    match value {
        Some(Value::Array(list)) => Ok(list),
        Some(one @ Value::Object(_)) => Ok(vec![one]),
        Some(Value::Null) | None => Ok(Vec::new()),
        Some(other) => odd(format!("{name} is {}, takes a list", shown(&other))),
    }
}

fn service(one: Value, path: &str, names: [&str; 3]) -> Result<ServiceReport, CodecError> {
    let [id, data, time] = names;
    let Value::Object(mut map) = one else {
        return odd(format!("{path} is {}, takes an object", shown(&one)));
    };
    let Some(Value::String(service_id)) = map.remove(id) else {
        return odd(format!("{path}.{id} is missing"));
    };
    let properties = paras_of(map.remove(data), &format!("{path}.{data}"))?;
    let event_time = match map.remove(time) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(Value::String(text)) => match Timestamp::parse(&text) {
            Some(at) => Some(at),
            None => {
                return odd(format!(
                    "{path}.{time} is {text:?}, takes yyyyMMdd'T'HHmmss'Z' or yyyy-MM-dd'T'HH:mm:ss'Z'"
                ));
            }
        },
        Some(Value::Number(ms)) if ms.is_u64() => ms.as_u64().map(Timestamp::from_ms),
        Some(other) => return odd(format!("{path}.{time} is {}, takes text", shown(&other))),
    };
    Ok(ServiceReport {
        service_id,
        properties,
        event_time,
    })
}

fn paras_of(value: Option<Value>, path: &str) -> Result<Map<String, Value>, CodecError> {
    match value {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map),
        Some(other) => odd(format!("{path} is {}, takes an object", shown(&other))),
    }
}

/// A number, or its digits as text.
fn mid_of(value: Option<&Value>) -> Result<Option<u16>, CodecError> {
    let number = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text.is_empty() => return Ok(None),
        Some(Value::String(text)) => text.parse().ok(),
        Some(other) => other.as_u64().and_then(|n| u16::try_from(n).ok()),
    };
    match (number, value) {
        (Some(mid), _) => Ok(Some(mid)),
        (None, Some(other)) => odd(format!("the mid is {}, takes 0 to 65535", shown(other))),
        (None, None) => Ok(None),
    }
}

/// 1, true, "1": set.
fn flag(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::Number(number)) => number.as_f64().is_some_and(|n| n != 0.0),
        Some(Value::String(text)) => text == "1" || text == "true",
        _ => false,
    }
}

/// A result code of success: 0, or none.
fn is_zero(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Number(number)) => number.as_f64() == Some(0.0),
        Some(Value::String(text)) => text.is_empty() || text == "0",
        Some(_) => false,
    }
}

/// What a TS013 decoder gave: its values, and its warnings. `is_wrapped`: as `{data, warnings, errors}`.
pub(super) fn ts013(
    value: Value,
    is_wrapped: bool,
    options: &Options,
) -> Result<(Decoded, Vec<String>), CodecError> {
    let Value::Object(mut map) = value else {
        return match value {
            Value::Null => Ok((Decoded::Nothing, Vec::new())),
            other => odd(format!(
                "the decoder gave {}, takes an object",
                shown(&other)
            )),
        };
    };
    if !is_wrapped {
        return Ok((Decoded::Report(report(map, options)?), Vec::new()));
    }
    let errors = texts(map.get("errors"));
    if !errors.is_empty() {
        return odd(bounded(&errors.join("; ")));
    }
    let warnings = texts(map.get("warnings"));
    match map.remove("data") {
        None | Some(Value::Null) => Ok((Decoded::Nothing, warnings)),
        Some(Value::Object(data)) => Ok((Decoded::Report(report(data, options)?), warnings)),
        Some(other) => odd(format!("data is {}, takes an object", shown(&other))),
    }
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let text = |one: &Value| one.as_str().map_or_else(|| one.to_string(), str::to_owned);
    match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(list)) => list.iter().map(text).collect(),
        Some(one) => vec![text(one)],
    }
}

/// Data as services: by its keys where they are all services, else as one service.
fn report(data: Map<String, Value>, options: &Options) -> Result<Report, CodecError> {
    let services = &options.services;
    let is_service = |(key, value): (&String, &Value)| services.contains(key) && value.is_object();
    let one = |service_id: String, properties: Map<String, Value>| ServiceReport {
        service_id,
        properties,
        event_time: None,
    };
    if options.ts013_service.is_none() && !data.is_empty() && data.iter().all(is_service) {
        let services = data.into_iter().map(|(key, value)| match value {
            Value::Object(properties) => one(key, properties),
            _ => one(key, Map::new()),
        });
        return Ok(Report {
            services: services.collect(),
            has_more: false,
        });
    }
    let service_id = match (&options.ts013_service, services.as_slice()) {
        (Some(named), _) => named.clone(),
        (None, [only]) => only.clone(),
        // Without a model there is nothing to choose from.
        (None, []) => "data".to_owned(),
        (None, several) => {
            return odd(format!(
                "the product has {} services: the setting ts013_service says which one the data is, or \
                 the data's keys are the services {}",
                several.len(),
                bounded(&several.join(", "))
            ));
        }
    };
    Ok(Report {
        services: vec![one(service_id, data)],
        has_more: false,
    })
}

/// The object that the offline contract's `encode` gets for a command.
pub(super) fn cloud_req(command: &Encode<'_>) -> Value {
    json!({
        "msgType": "cloudReq", "serviceId": command.service_id, "cmd": command.command_name,
        "paras": command.paras, "mid": command.mid, "hasMore": 0,
    })
}

/// The same for the answer to a report.
pub(super) fn cloud_rsp(report: &AnswerTo<'_>) -> Value {
    json!({
        "msgType": "cloudRsp", "request": report.request, "errcode": report.errcode,
        "hasMore": u8::from(report.has_more),
    })
}

/// What the IoTDA contract's `encode` gets, as text, for a command.
pub(super) fn commands(command: &Encode<'_>) -> Value {
    json!({
        "msg_type": "commands", "request_id": command.mid.to_string(), "mid": command.mid,
        "service_id": command.service_id, "command_name": command.command_name,
        "paras": command.paras,
    })
}

/// The same for properties.
pub(super) fn properties_set(set: &EncodeProperties<'_>) -> Value {
    json!({
        "msg_type": "properties_set", "request_id": set.mid.to_string(), "mid": set.mid,
        "services": [{"service_id": set.service_id, "properties": set.wanted}],
    })
}
