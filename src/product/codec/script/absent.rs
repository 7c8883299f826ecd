//! Stands for the engine of scripts where the program was built without one: every script is refused.

#[path = "limits.rs"]
mod limits;

use super::call::Options;
use super::{Codec, CodecError, Decoded, Encode, LoadError, TraceEntry, Uplink};

pub use limits::Limits;

/// There is none.
#[derive(Debug)]
pub enum Script {}

impl Script {
    /// Errors: always, with the one mistake that scripts can't be run.
    pub fn load(
        _source: &str,
        _options: &Options,
        _limits: Limits,
    ) -> Result<Self, Vec<LoadError>> {
        Err(vec![LoadError {
            line: 1,
            column: 1,
            message: "this program was built without scripts".to_owned(),
            hint: Some(
                "build it with the cargo feature `script`, which is on by default".to_owned(),
            ),
        }])
    }

    pub fn heap_bytes(&self) -> u64 {
        match *self {}
    }
}

impl Codec for Script {
    fn decode(
        &self,
        _uplink: &Uplink<'_>,
        _trace: Option<&mut Vec<TraceEntry>>,
    ) -> Result<Decoded, CodecError> {
        match *self {}
    }

    fn encode(&self, _command: &Encode<'_>) -> Result<Vec<u8>, CodecError> {
        match *self {}
    }
}
