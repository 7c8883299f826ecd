//! Codecs: a device's bytes become JSON of the product model, and commands become bytes.
//!
//! One internal form for every kind of codec: [`Decoded`] up; [`Encode`], [`EncodeProperties`] and
//! [`AnswerTo`] down. Errors: [`CodecError`], whose `kind()` is a stable word. [`compile`] takes a
//! codec's source of any kind, [`json()`] is the one that has no source. See `docs/codecs.md`.

pub mod call;
pub mod fixture;
pub mod frames;
pub mod here;
pub mod json;
#[cfg(feature = "script")]
pub mod script;
#[cfg(not(feature = "script"))]
#[path = "script/absent.rs"]
pub mod script;
pub mod table;
pub mod text;
pub mod wasm;

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::base::limits::{CODEC_SOURCE_MAX, CODEC_WASM_MAX};
use crate::base::time::Timestamp;
use crate::product::profile::Profile;

pub use crate::product::report::{Report, ServiceReport};

/// What a codec does. Implementations are pure: same input, same output.
pub trait Codec: Send + Sync + std::fmt::Debug {
    /// One uplink's bytes as values. With `trace`, says which bytes became which field.
    fn decode(
        &self,
        uplink: &Uplink<'_>,
        trace: Option<&mut Vec<TraceEntry>>,
    ) -> Result<Decoded, CodecError>;

    /// A command as the bytes that the device takes.
    fn encode(&self, command: &Encode<'_>) -> Result<Vec<u8>, CodecError>;

    /// What an encoded command or set says, read back as the device would: fixtures prove with it
    /// that nothing got lost. `None` when this codec cannot tell.
    fn decode_downlink(&self, _bytes: &[u8]) -> Option<Result<Downlink, CodecError>> {
        None
    }

    /// Whether the device's response to this command carries the command's mid. Where it does not,
    /// the next command must wait for the answer to this one.
    fn answers_by_mid(&self, _command: &Encode<'_>) -> bool {
        false
    }

    /// One message that sets at least one wanted property, with the names of those that it sets.
    /// What it does not cover takes another message. Errors: `no_property_set` when the codec has
    /// no message for any of them, `field` when a value is missing or does not fit.
    fn encode_properties(&self, set: &EncodeProperties<'_>) -> Result<PropertySet, CodecError> {
        Err(CodecError::no_property_set(set))
    }

    /// What the platform says to a report. `None`: nothing, and nothing is sent.
    fn answer(&self, _report: &AnswerTo<'_>) -> Result<Option<Vec<u8>>, CodecError> {
        Ok(None)
    }

    /// For a codec that can't be called in place: what it is, for who runs it.
    fn outside(&self) -> Option<&call::Outside> {
        None
    }
}

/// The sorts of codec sources.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "CodecKind")]
pub enum Kind {
    /// `codec.toml`, see [`table`].
    Table,
    /// JavaScript, `codec.js`, see [`script`].
    Script,
    /// WebAssembly, `codec.wasm`, see [`wasm`].
    Wasm,
}

impl Kind {
    /// Bytes of a source, at most.
    pub const fn source_max(self) -> usize {
        match self {
            Self::Table | Self::Script => CODEC_SOURCE_MAX,
            Self::Wasm => CODEC_WASM_MAX,
        }
    }
}

/// One mistake in a codec's source. Lines and columns count from 1, columns in characters.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
    thiserror::Error,
)]
#[schemars(rename = "CodecMistake")]
#[error("{line}:{column}: {message}")]
pub struct LoadError {
    pub line: u32,
    pub column: u32,
    pub message: String,
    /// What would be right, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Compiles a codec's source and checks it, against the product model too when there is one. What has
/// code of its own becomes an [`call::Outside`], of which no more is known than that a script is text:
/// who runs it checks it. `ts013_service`: the product's setting of this name.
/// Errors: every mistake, in the order of the source.
pub fn compile(
    kind: Kind,
    source: &[u8],
    profile: Option<&Profile>,
    ts013_service: Option<&str>,
) -> Result<Arc<dyn Codec>, Vec<LoadError>> {
    let text = || std::str::from_utf8(source).map_err(|e| vec![not_text(source, e.valid_up_to())]);
    match kind {
        Kind::Table => Ok(Arc::new(table::load(text()?, profile)?)),
        Kind::Wasm => {
            let options = call::Options::default();
            Ok(Arc::new(call::Outside::new(kind, source, options)))
        }
        Kind::Script => {
            text()?;
            let services = profile.map_or(&[][..], |p| p.services.as_slice());
            let options = call::Options {
                ts013_service: ts013_service.map(str::to_owned),
                services: services.iter().map(|s| s.service_id.clone()).collect(),
                trusted: false,
                stands_at: None,
            };
            Ok(Arc::new(call::Outside::new(kind, source, options)))
        }
    }
}

/// The codec of products whose devices speak JSON themselves, see [`json`](mod@json).
pub fn json() -> Arc<dyn Codec> {
    Arc::new(json::JsonCodec)
}

/// The place where a source stops being UTF-8.
fn not_text(source: &[u8], valid: usize) -> LoadError {
    let before = source.get(..valid).unwrap_or_default();
    let line_start = before
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |at| at + 1);
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let text = String::from_utf8_lossy(before.get(line_start..).unwrap_or_default());
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    LoadError {
        line: number(line),
        column: number(text.chars().count() + 1),
        message: "the source is not UTF-8 text".to_owned(),
        hint: Some("save the file as UTF-8".to_owned()),
    }
}

/// What arrived.
#[derive(Debug, Clone, Copy)]
pub struct Uplink<'a> {
    pub payload: &'a [u8],
    pub received_at: Timestamp,
    /// LoRaWAN port, for scripts that expect one.
    pub f_port: Option<u8>,
}

/// What an uplink means.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Decoded {
    Report(Report),
    Response(Response),
    /// Understood, and nothing to report.
    Nothing,
}

impl Decoded {
    /// The form that fixtures and dry runs show: `kind` and what belongs to it. Event times are
    /// `yyyyMMdd'T'HHmmss'Z'`, with milliseconds in the longer form.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Report(report) => {
                let services: Vec<Value> = report.services.iter().map(shown).collect();
                let mut shown = json!({ "kind": "report", "services": services });
                if let (true, Some(map)) = (report.has_more, shown.as_object_mut()) {
                    map.insert("has_more".to_owned(), Value::Bool(true));
                }
                shown
            }
            Self::Response(response) => {
                let mut map = Map::new();
                map.insert("kind".to_owned(), "response".into());
                if let Some(mid) = response.mid {
                    map.insert("mid".to_owned(), mid.into());
                }
                map.insert(
                    "result_code".to_owned(),
                    u8::from(!response.succeeded).into(),
                );
                if let Some(name) = &response.response_name {
                    map.insert("response_name".to_owned(), name.clone().into());
                }
                map.insert("paras".to_owned(), response.paras.clone().into());
                Value::Object(map)
            }
            Self::Nothing => json!({ "kind": "none" }),
        }
    }
}

fn shown(service: &ServiceReport) -> Value {
    let mut map = Map::new();
    map.insert("service_id".to_owned(), service.service_id.clone().into());
    map.insert("properties".to_owned(), service.properties.clone().into());
    if let Some(at) = service.event_time {
        let text = if at.as_ms() % 1000 == 0 {
            at.compact()
        } else {
            at.rfc3339_ms()
        };
        map.insert("event_time".to_owned(), text.into());
    }
    Value::Object(map)
}

/// The device's answer to a command.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Response {
    pub mid: Option<u16>,
    pub succeeded: bool,
    pub response_name: Option<String>,
    pub paras: Map<String, Value>,
}

/// A command to encode. `paras` were checked against the model.
#[derive(Debug, Clone, Copy)]
pub struct Encode<'a> {
    pub service_id: &'a str,
    pub command_name: &'a str,
    pub paras: &'a Map<String, Value>,
    /// Correlation id, 1 to 65535.
    pub mid: u16,
}

/// Properties of one service that the device shall take over.
#[derive(Debug, Clone, Copy)]
pub struct EncodeProperties<'a> {
    pub service_id: &'a str,
    /// What shall change. Values were checked against the model.
    pub wanted: &'a Map<String, Value>,
    /// What is known of the service: reported, overlaid with desired. It fills the fields of a
    /// message that sets more than is wanted.
    pub known: &'a Map<String, Value>,
    /// Correlation id, 1 to 65535.
    pub mid: u16,
}

/// A message that sets properties.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PropertySet {
    pub bytes: Vec<u8>,
    /// Names of the wanted properties that it sets; never empty.
    pub covered: Vec<String>,
}

/// A report to answer.
#[derive(Debug, Clone, Copy)]
pub struct AnswerTo<'a> {
    /// The report's own bytes.
    pub request: &'a [u8],
    /// 0: taken, 1: not.
    pub errcode: u8,
    /// Whether the platform has more for the device, such as a queued command.
    pub has_more: bool,
}

/// What goes down, read back.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Downlink {
    Command {
        command_name: String,
        paras: Map<String, Value>,
        mid: Option<u16>,
    },
    Set {
        service_id: String,
        properties: Map<String, Value>,
        mid: Option<u16>,
    },
    /// What a message that names no command says.
    Data { paras: Map<String, Value> },
    /// What an answer to a report says, as far as it says it.
    Answer {
        errcode: Option<u64>,
        has_more: Option<bool>,
    },
}

/// Which bytes became which field.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[schemars(rename = "DecodedField")]
pub struct TraceEntry {
    /// Offset of the first byte.
    pub at: usize,
    /// Number of bytes.
    pub len: usize,
    /// Path of the field, or what the bytes are for (`id`, `crc`).
    pub field: String,
    pub value: Value,
}

/// Why bytes could not be decoded, or a command not encoded.
#[derive(Debug, Clone, PartialEq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum CodecError {
    #[error("{field} needs {need} bytes at offset {at}, {have} are left")]
    Truncated {
        field: String,
        at: usize,
        need: usize,
        have: usize,
    },
    #[error("{left} bytes are left over at offset {at}")]
    Trailing { at: usize, left: usize },
    #[error("no message has id {id}")]
    UnknownMessage { id: String },
    #[error("checksum is {got}, computed {want}")]
    Checksum { got: String, want: String },
    #[error("{field}: {reason}")]
    Field { field: String, reason: String },
    #[error("no command {command_name} of service {service_id}")]
    UnknownCommand {
        service_id: String,
        command_name: String,
    },
    #[error("output is over {max} bytes")]
    Output { max: usize },
    #[error("nested deeper than {max} levels")]
    Depth { max: usize },
    #[error("not JSON: {reason}")]
    Json { reason: String },
    #[error("no message sets {properties} of service {service_id}")]
    NoPropertySet {
        service_id: String,
        /// Their names in one line.
        properties: String,
    },
    /// The script threw, or gave what no contract knows.
    #[error("the script failed: {reason}")]
    Script { reason: String },
    /// The codec's own code says why, in its words.
    #[error("{reason}")]
    Refused { reason: String },
    /// Compiled code failed: a panic, memory that is not there, an answer that is none.
    #[error("the codec's code failed: {reason}")]
    Trap { reason: String },
    /// Each costs the codec a strike: time, memory, stack, and access outside of that memory.
    #[error("a limit of production was hit: {what}")]
    Limit { what: String },
    /// It is not there or quarantined, or nobody runs it: the same bytes may be read later.
    #[error("the codec does not run: {reason}")]
    Unavailable { reason: String },
}

impl CodecError {
    /// That nothing sets what is wanted.
    fn no_property_set(set: &EncodeProperties<'_>) -> Self {
        let names: Vec<&str> = set.wanted.keys().take(8).map(String::as_str).collect();
        let properties = if names.is_empty() {
            "nothing".to_owned()
        } else {
            names.join(", ")
        };
        Self::NoPropertySet {
            service_id: set.service_id.to_owned(),
            properties,
        }
    }

    /// Whether a limit of production stopped it, not what the bytes say.
    pub const fn is_limit(&self) -> bool {
        matches!(self, Self::Limit { .. } | Self::Output { .. })
    }

    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "truncated",
            Self::Trailing { .. } => "trailing",
            Self::UnknownMessage { .. } => "unknown_message",
            Self::Checksum { .. } => "checksum",
            Self::Field { .. } => "field",
            Self::UnknownCommand { .. } => "unknown_command",
            Self::Output { .. } => "output",
            Self::Depth { .. } => "depth",
            Self::Json { .. } => "json",
            Self::NoPropertySet { .. } => "no_property_set",
            Self::Script { .. } => "script",
            Self::Refused { .. } => "refused",
            Self::Trap { .. } => "trap",
            Self::Limit { .. } => "limit",
            Self::Unavailable { .. } => "unavailable",
        }
    }
}
