//! Fixtures: bytes and what they mean, one format for every kind of codec.
//!
//! A file is one object or a list of them: `name`, `kind` (`decode`, `response`, `encode`), what
//! goes in (`hex` with `fPort` and `recvTime`, or `command`) and what must come out (`expect`).
//! [`run`] reports every difference with its JSON path. It stands on a fixed clock and enforces
//! the limits of production: payload size, output size, and the product model.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::base::limits::{BODY_MAX, CODEC_OUTPUT_MAX};
use crate::base::time::Timestamp;
use crate::product::check;
use crate::product::codec::text::{hex, unhex};
use crate::product::codec::{Codec, CodecError, Decoded, Downlink, Encode, Uplink};
use crate::product::profile::Profile;

/// When an uplink without `recvTime` arrives: 2020-01-01T00:00:00Z.
pub const RECEIVED_AT: Timestamp = Timestamp::from_ms(1_577_836_800_000);

/// Why text is not a fixture file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FixtureError {
    #[error("not JSON: {0}")]
    Json(serde_json::Error),
    #[error("fixture {at}: {source}")]
    Shape {
        at: usize,
        source: serde_json::Error,
    },
    #[error("fixture {name:?}: {reason}")]
    Content { name: String, reason: String },
}

impl FixtureError {
    /// Stable word; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Json(_) => "json",
            Self::Shape { .. } => "shape",
            Self::Content { .. } => "content",
        }
    }
}

/// One example of what a codec does.
#[derive(Debug, Clone)]
pub struct Fixture {
    pub name: String,
    input: Input,
    expect: Value,
}

#[derive(Debug, Clone)]
enum Input {
    Uplink {
        payload: Vec<u8>,
        f_port: Option<u8>,
        received_at: Timestamp,
        response: bool,
    },
    Command(Command),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    #[serde(default)]
    service_id: String,
    command_name: String,
    #[serde(default)]
    paras: Map<String, Value>,
    #[serde(default = "first_mid")]
    mid: u16,
}

const fn first_mid() -> u16 {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    name: String,
    kind: Kind,
    hex: Option<String>,
    #[serde(rename = "fPort")]
    f_port: Option<u8>,
    #[serde(rename = "recvTime")]
    received_at: Option<String>,
    command: Option<Command>,
    /// Absent and `null` differ: `null` says that nothing comes out.
    #[serde(default, deserialize_with = "present")]
    expect: Option<Value>,
    #[serde(rename = "description")]
    _description: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Decode,
    Response,
    Encode,
}

fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

/// Reads a fixture file: one object or a list.
pub fn parse(text: &str) -> Result<Vec<Fixture>, FixtureError> {
    let value: Value = serde_json::from_str(text).map_err(FixtureError::Json)?;
    let items = match value {
        Value::Array(items) => items,
        single => vec![single],
    };
    let read = |(at, item): (usize, Value)| {
        let form = serde_json::from_value::<Form>(item);
        fixture_of(form.map_err(|source| FixtureError::Shape { at, source })?)
    };
    items.into_iter().enumerate().map(read).collect()
}

fn fixture_of(form: Form) -> Result<Fixture, FixtureError> {
    let fail = |reason: String| FixtureError::Content {
        name: form.name.clone(),
        reason,
    };
    let Some(expect) = form.expect else {
        return Err(fail("has no `expect`".to_owned()));
    };
    let input = match (form.kind, form.hex, form.command) {
        (Kind::Encode, None, Some(command)) if command.mid > 0 => Input::Command(command),
        (Kind::Encode, ..) => {
            let reason = "kind encode takes `command` (with a mid of 1 to 65535) and no `hex`";
            return Err(fail(reason.to_owned()));
        }
        (kind, Some(text), None) => {
            let payload = unhex(&text);
            let payload = payload.ok_or_else(|| fail(format!("`hex` is {text:?}, no hex")))?;
            let received_at = match &form.received_at {
                None => RECEIVED_AT,
                Some(text) => Timestamp::parse(text)
                    .ok_or_else(|| fail(format!("`recvTime` is {text:?}, no UTC time")))?,
            };
            Input::Uplink {
                payload,
                f_port: form.f_port,
                received_at,
                response: matches!(kind, Kind::Response),
            }
        }
        _ => {
            return Err(fail(
                "kinds decode and response take `hex`, no `command`".into(),
            ));
        }
    };
    Ok(Fixture {
        name: form.name,
        input,
        expect,
    })
}

/// One difference between what was expected and what came.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failure {
    /// `services[0].properties.level`, from the root of `expect`.
    pub path: String,
    /// `None`: nothing was expected there.
    pub expected: Option<Value>,
    /// `None`: nothing came.
    pub got: Option<Value>,
}

/// How a fixture went.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Every difference; empty when the fixture passes.
    pub failures: Vec<Failure>,
    /// A limit of production was hit, and not because the fixture expects that.
    pub over_limit: bool,
    /// What came, in the form of `expect`.
    pub got: Value,
}

/// Runs one fixture. With a model, values are checked against it as they are in production.
pub fn run(codec: &dyn Codec, profile: Option<&Profile>, fixture: &Fixture) -> Verdict {
    match &fixture.input {
        Input::Uplink {
            payload,
            f_port,
            received_at,
            response,
        } => {
            let uplink = Uplink {
                payload,
                received_at: *received_at,
                f_port: *f_port,
            };
            run_uplink(codec, profile, fixture, &uplink, *response)
        }
        Input::Command(command) => run_command(codec, profile, fixture, command),
    }
}

fn run_uplink(
    codec: &dyn Codec,
    profile: Option<&Profile>,
    fixture: &Fixture,
    uplink: &Uplink<'_>,
    response: bool,
) -> Verdict {
    if uplink.payload.len() > BODY_MAX {
        return over("hex", uplink.payload.len(), BODY_MAX);
    }
    let mut decoded = match codec.decode(uplink, None) {
        Ok(decoded) => decoded,
        Err(error) => return judge_error(fixture, &error),
    };
    let size = decoded.to_json().to_string().len();
    if size > CODEC_OUTPUT_MAX {
        return over("", size, CODEC_OUTPUT_MAX);
    }
    let mut broken = Vec::new();
    if let (Some(profile), Decoded::Report(report)) = (profile, &mut decoded) {
        broken = check::report(profile, report);
    }
    let mut got = decoded.to_json();
    let came = got.get("kind").cloned().unwrap_or_default();
    let allowed: &[&str] = if response {
        &["response"]
    } else {
        &["report", "none"]
    };
    if !came.as_str().is_some_and(|kind| allowed.contains(&kind)) {
        let failure = Failure {
            path: "kind".to_owned(),
            expected: Some(allowed.first().copied().unwrap_or_default().into()),
            got: Some(came),
        };
        return Verdict {
            failures: vec![failure],
            over_limit: false,
            got,
        };
    }
    if decoded == Decoded::Nothing {
        got = Value::Null;
    } else if let (Some(map), None) = (got.as_object_mut(), fixture.expect.get("kind")) {
        map.shift_remove("kind");
    }
    let mut failures = Vec::new();
    let mut expected = fixture.expect.clone();
    judge_violations(&mut expected, &broken, &mut failures);
    compare("", &expected, &got, &mut failures);
    if let (false, Some(map)) = (broken.is_empty(), got.as_object_mut()) {
        let paths: Vec<&str> = broken.iter().map(|v| v.path.as_str()).collect();
        map.insert("violations".to_owned(), json!(paths));
    }
    Verdict {
        failures,
        over_limit: false,
        got,
    }
}

/// Takes `violations` out of what is expected and compares them with those found.
fn judge_violations(
    expected: &mut Value,
    broken: &[check::Violation],
    failures: &mut Vec<Failure>,
) {
    let listed = expected
        .as_object_mut()
        .and_then(|map| map.shift_remove("violations"));
    let listed: Vec<String> = match listed {
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| {
                item.as_str()
                    .map_or_else(|| item.to_string(), str::to_owned)
            })
            .collect(),
        Some(other) => vec![other.to_string()],
        None => Vec::new(),
    };
    for violation in broken.iter().filter(|v| !listed.contains(&v.path)) {
        failures.push(Failure {
            path: violation.path.clone(),
            expected: Some("a value that fits the product model".into()),
            got: Some(violation.message.clone().into()),
        });
    }
    for path in listed {
        if !broken.iter().any(|v| v.path == path) {
            failures.push(Failure {
                path: "violations".to_owned(),
                expected: Some(path.into()),
                got: None,
            });
        }
    }
}

fn run_command(
    codec: &dyn Codec,
    profile: Option<&Profile>,
    fixture: &Fixture,
    command: &Command,
) -> Verdict {
    let encode = Encode {
        service_id: &command.service_id,
        command_name: &command.command_name,
        paras: &command.paras,
        mid: command.mid,
    };
    let bytes = match codec.encode(&encode) {
        Ok(bytes) => bytes,
        Err(error) => return judge_error(fixture, &error),
    };
    if bytes.len() > CODEC_OUTPUT_MAX {
        return over("hex", bytes.len(), CODEC_OUTPUT_MAX);
    }
    let mut failures = Vec::new();
    let mut expected = fixture.expect.clone();
    if let Some(Value::String(text)) = expected.get_mut("hex")
        && let Some(bytes) = unhex(text)
    {
        *text = hex(&bytes);
    }
    let got = json!({ "hex": hex(&bytes) });
    compare("", &expected, &got, &mut failures);
    if let Some(profile) = profile {
        let (service_id, name) = (&command.service_id, &command.command_name);
        let broken = check::command(profile, service_id, name, &command.paras);
        judge_violations(&mut Value::Null, &broken, &mut failures);
    }
    judge_round_trip(codec, command, &bytes, &mut failures);
    Verdict {
        failures,
        over_limit: false,
        got,
    }
}

/// The bytes must say what the command said.
fn judge_round_trip(
    codec: &dyn Codec,
    command: &Command,
    bytes: &[u8],
    failures: &mut Vec<Failure>,
) {
    let back = match codec.decode_downlink(bytes) {
        None => return,
        Some(Ok(back)) => back,
        Some(Err(error)) => {
            failures.push(Failure {
                path: "round_trip".to_owned(),
                expected: Some(command.command_name.clone().into()),
                got: Some(error.to_string().into()),
            });
            return;
        }
    };
    let mut sent = command.paras.clone();
    sent.retain(|_, value| !value.is_null());
    let (got, mid) = match back {
        Downlink::Command {
            command_name,
            paras,
            mid,
        } => (
            json!({ "command_name": command_name, "paras": paras, "mid": mid }),
            mid,
        ),
        Downlink::Set {
            service_id,
            properties,
            mid,
        } => (
            json!({ "service_id": service_id, "properties": properties, "mid": mid }),
            mid,
        ),
    };
    let mid = mid.map(|_| command.mid);
    let expected = json!({ "command_name": command.command_name, "paras": sent, "mid": mid });
    compare("round_trip", &expected, &got, failures);
}

fn judge_error(fixture: &Fixture, error: &CodecError) -> Verdict {
    let mut got = json!({ "error": error.kind(), "message": error.to_string() });
    let mut failures = Vec::new();
    let expected = &fixture.expect;
    if expected.get("error").is_none() {
        failures.push(Failure {
            path: "error".to_owned(),
            expected: None,
            got: Some(format!("{}: {error}", error.kind()).into()),
        });
    } else {
        if let (None, Some(map)) = (expected.get("message"), got.as_object_mut()) {
            map.shift_remove("message");
        }
        compare("", expected, &got, &mut failures);
    }
    let limit = matches!(error, CodecError::Output { .. });
    Verdict {
        over_limit: limit && !failures.is_empty(),
        failures,
        got,
    }
}

fn over(path: &str, size: usize, max: usize) -> Verdict {
    Verdict {
        failures: vec![Failure {
            path: path.to_owned(),
            expected: Some(format!("at most {max} bytes").into()),
            got: Some(format!("{size} bytes").into()),
        }],
        over_limit: true,
        got: Value::Null,
    }
}

/// Every difference between two values. Numbers are compared by what they say: 4 is 4.0.
fn compare(path: &str, expected: &Value, got: &Value, failures: &mut Vec<Failure>) {
    match (expected, got) {
        (Value::Object(want), Value::Object(have)) => {
            for (key, value) in want {
                match have.get(key) {
                    Some(other) => compare(&join(path, key), value, other, failures),
                    None => failures.push(difference(join(path, key), Some(value), None)),
                }
            }
            for (key, value) in have.iter().filter(|(key, _)| !want.contains_key(*key)) {
                failures.push(difference(join(path, key), None, Some(value)));
            }
        }
        (Value::Array(want), Value::Array(have)) => {
            for at in 0..want.len().max(have.len()) {
                let place = format!("{path}[{at}]");
                match (want.get(at), have.get(at)) {
                    (Some(a), Some(b)) => compare(&place, a, b, failures),
                    (a, b) => failures.push(difference(place, a, b)),
                }
            }
        }
        (Value::Number(want), Value::Number(have)) if same_number(want, have) => {}
        (want, have) if want == have => {}
        (want, have) => failures.push(difference(path.to_owned(), Some(want), Some(have))),
    }
}

fn difference(path: String, expected: Option<&Value>, got: Option<&Value>) -> Failure {
    Failure {
        path,
        expected: expected.cloned(),
        got: got.cloned(),
    }
}

fn same_number(a: &serde_json::Number, b: &serde_json::Number) -> bool {
    a == b || (a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64()
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
