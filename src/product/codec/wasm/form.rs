//! The JSON forms in which values cross, as `codec.wit` describes them, and the signatures of its
//! functions. Texts are bounded in size and depth, both ways. Errors: `output`, `depth`, `json` with the
//! place in the text, `field` for a value that means nothing.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::base::limits::{CODEC_DEPTH_MAX, CODEC_OUTPUT_MAX};
use crate::base::time::Timestamp;
use crate::product::codec::{
    CodecError, Decoded, Downlink, Encode, EncodeProperties, PropertySet, Report, Response,
    ServiceReport,
};

pub(super) const DECODE: &str = "func(payload: list<u8>, received-at-ms: u64, f-port: option<u8>) \
     -> result<string, string>";
pub(super) const ENCODE: &str = "func(command: string) -> result<list<u8>, string>";
pub(super) const ANSWERS_BY_MID: &str = "func(command: string) -> bool";
pub(super) const SET: &str =
    "func(set: string) -> result<option<tuple<list<u8>, list<string>>>, string>";
pub(super) const ANSWER: &str = "func(request: list<u8>, errcode: u8, has-more: bool) \
     -> result<option<list<u8>>, string>";
pub(super) const DECODE_DOWNLINK: &str = "func(bytes: list<u8>) -> result<string, string>";

/// Bytes of a codec's own error that are kept.
const REASON_MAX: usize = 1024;

#[derive(Deserialize)]
struct Uplinked {
    services: Option<Vec<Service>>,
    has_more: Option<bool>,
    result_code: Option<i64>,
    mid: Option<u16>,
    response_name: Option<String>,
    paras: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Service {
    service_id: String,
    properties: Map<String, Value>,
    event_time: Option<Time>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Time {
    Ms(u64),
    Text(String),
}

/// What `decode` gave.
pub(super) fn decoded(text: &str) -> Result<Decoded, CodecError> {
    let Some(uplinked) = read::<Option<Uplinked>>(text)? else {
        return Ok(Decoded::Nothing);
    };
    match (uplinked.services, uplinked.result_code) {
        (Some(services), None) => {
            let services: Result<_, _> = services.into_iter().enumerate().map(service).collect();
            Ok(Decoded::Report(Report {
                services: services?,
                has_more: uplinked.has_more.unwrap_or(false),
            }))
        }
        (None, Some(code)) => Ok(Decoded::Response(Response {
            mid: checked_mid(uplinked.mid)?,
            succeeded: code == 0,
            response_name: uplinked.response_name,
            paras: uplinked.paras.unwrap_or_default(),
        })),
        (Some(_), Some(_)) => Err(wrong(
            "result_code",
            "stands beside services, takes one of them",
        )),
        (None, None) => Err(wrong(
            "services",
            "is missing, takes a list, or result_code in its place, or null for nothing",
        )),
    }
}

fn service((at, service): (usize, Service)) -> Result<ServiceReport, CodecError> {
    let event_time = match service.event_time {
        None => None,
        Some(Time::Ms(ms)) => Some(Timestamp::from_ms(ms)),
        Some(Time::Text(text)) => match Timestamp::parse(&text) {
            Some(time) => Some(time),
            None => {
                let got: String = text.chars().take(64).collect();
                let reason = format!("is {got:?}, takes a time such as 20200811T080745Z");
                return Err(wrong(format!("services[{at}].event_time"), reason));
            }
        },
    };
    Ok(ServiceReport {
        service_id: service.service_id,
        properties: service.properties,
        event_time,
    })
}

#[derive(Deserialize)]
struct Downlinked {
    command_name: Option<String>,
    paras: Option<Map<String, Value>>,
    service_id: Option<String>,
    properties: Option<Map<String, Value>>,
    mid: Option<u16>,
    errcode: Option<u64>,
    has_more: Option<bool>,
}

/// What `decode-downlink` gave.
pub(super) fn downlink(text: &str) -> Result<Downlink, CodecError> {
    let read: Downlinked = read(text)?;
    let mid = checked_mid(read.mid)?;
    match (read.command_name, read.service_id, read.properties) {
        (Some(command_name), _, _) => Ok(Downlink::Command {
            command_name,
            paras: read.paras.unwrap_or_default(),
            mid,
        }),
        (None, Some(service_id), Some(properties)) => Ok(Downlink::Set {
            service_id,
            properties,
            mid,
        }),
        (None, _, Some(_)) => Err(wrong("service_id", "is missing, takes a string")),
        (None, _, None) if read.errcode.is_none() && read.has_more.is_none() => Err(wrong(
            "command_name",
            "is missing, takes a string, or properties or errcode in its place",
        )),
        (None, _, None) => Ok(Downlink::Answer {
            errcode: read.errcode,
            has_more: read.has_more,
        }),
    }
}

fn checked_mid(mid: Option<u16>) -> Result<Option<u16>, CodecError> {
    match mid {
        Some(0) => Err(wrong("mid", "is 0, takes 1 to 65535")),
        mid => Ok(mid),
    }
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, CodecError> {
    if text.len() > CODEC_OUTPUT_MAX {
        return Err(TOO_LONG);
    }
    if is_deeper(text) {
        return Err(CodecError::Depth {
            max: CODEC_DEPTH_MAX,
        });
    }
    serde_json::from_str(text).map_err(|error| CodecError::Json {
        reason: error.to_string(),
    })
}

/// Whether lists and objects stand in each other deeper than allowed. Counts brackets outside of
/// strings; text that is not JSON may count wrongly, and is refused later.
fn is_deeper(text: &str) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > CODEC_DEPTH_MAX {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// A command as `encode` takes it.
pub(super) fn command(command: &Encode<'_>) -> Result<String, CodecError> {
    written(&json!({
        "service_id": command.service_id,
        "command_name": command.command_name,
        "paras": command.paras,
        "mid": command.mid,
    }))
}

/// Properties as `encode-properties` takes them.
pub(super) fn set(set: &EncodeProperties<'_>) -> Result<String, CodecError> {
    written(&json!({
        "service_id": set.service_id,
        "wanted": set.wanted,
        "known": set.known,
        "mid": set.mid,
    }))
}

fn written(value: &Value) -> Result<String, CodecError> {
    let text = value.to_string();
    if text.len() > CODEC_OUTPUT_MAX {
        return Err(TOO_LONG);
    }
    Ok(text)
}

/// What `encode-properties` gave, if it covers what was wanted, and that alone.
pub(super) fn property_set(
    set: &EncodeProperties<'_>,
    bytes: Vec<u8>,
    covered: Vec<String>,
) -> Result<PropertySet, CodecError> {
    if covered.is_empty() {
        return Err(wrong(
            "encode-properties",
            "sets nothing: give none for that",
        ));
    }
    if let Some(other) = covered.iter().find(|name| !set.wanted.contains_key(*name)) {
        let got: String = other.chars().take(64).collect();
        let reason = format!("sets {got:?}, takes names of wanted properties");
        return Err(wrong("encode-properties", reason));
    }
    let bytes = bounded(bytes)?;
    Ok(PropertySet { bytes, covered })
}

const TOO_LONG: CodecError = CodecError::Output {
    max: CODEC_OUTPUT_MAX,
};

pub(super) fn bounded(bytes: Vec<u8>) -> Result<Vec<u8>, CodecError> {
    if bytes.len() > CODEC_OUTPUT_MAX {
        return Err(TOO_LONG);
    }
    Ok(bytes)
}

/// What the codec itself says is wrong.
pub(super) fn refused(reason: String) -> CodecError {
    let mut reason = reason;
    if reason.len() > REASON_MAX {
        let end = (0..=REASON_MAX)
            .rev()
            .find(|at| reason.is_char_boundary(*at));
        reason.truncate(end.unwrap_or(0));
        reason.push('…');
    }
    CodecError::Refused { reason }
}

fn wrong(field: impl Into<String>, reason: impl Into<String>) -> CodecError {
    CodecError::Field {
        field: field.into(),
        reason: reason.into(),
    }
}
