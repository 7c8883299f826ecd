//! Codecs: a device's bytes become JSON of the product model, and commands become bytes.
//!
//! One internal form for every kind of codec: [`Decoded`] up, [`Encode`] down. Errors:
//! [`CodecError`], whose `kind()` is a stable word. See `docs/codecs.md`.

pub mod fixture;
pub mod table;

use serde_json::{Map, Value};

use crate::base::time::Timestamp;

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
#[derive(Debug, Clone, PartialEq)]
pub enum Decoded {
    Report(Report),
    Response(Response),
    /// Understood, and nothing to report.
    Nothing,
}

/// Properties that the device reports.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    pub services: Vec<ServiceReport>,
    /// More uplink follows at once: queued commands wait.
    pub has_more: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ServiceReport {
    pub service_id: String,
    pub properties: Map<String, Value>,
    /// The device's own time of the values, when it sent one.
    pub event_time: Option<Timestamp>,
}

/// The device's answer to a command.
#[derive(Debug, Clone, PartialEq)]
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

/// Which bytes became which field.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
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
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
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
}

impl CodecError {
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
        }
    }
}
