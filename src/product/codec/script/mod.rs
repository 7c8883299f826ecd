//! JavaScript codecs (`codec.js`), run by QuickJS.

use std::time::Duration;

use super::call::Options;
use super::{
    AnswerTo, Codec, CodecError, Decoded, Encode, EncodeProperties, LoadError, PropertySet,
    TraceEntry, Uplink,
};

/// What a script may use of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub heap_bytes: usize,
    pub stack_bytes: usize,
    /// For one call. Some built-in functions of QuickJS go on beyond it: only another process can
    /// end those.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            heap_bytes: 16 * 1024 * 1024,
            stack_bytes: 256 * 1024,
            time: Duration::from_millis(50),
        }
    }
}

/// A loaded script: compiled once, its context used for all calls, which wait for each other.
#[derive(Debug)]
pub struct Script {}

impl Script {
    /// Runs the script's top level once and finds out which contract it has. Errors: syntax errors with
    /// their place, an exception or limit at the top level, a script that defines no function of a
    /// contract.
    pub fn load(
        _source: &str,
        _options: &Options,
        _limits: Limits,
    ) -> Result<Self, Vec<LoadError>> {
        Err(vec![LoadError {
            line: 1,
            column: 1,
            message: "scripts can't be run".to_owned(),
            hint: None,
        }])
    }
}

impl Codec for Script {
    fn decode(
        &self,
        _uplink: &Uplink<'_>,
        _trace: Option<&mut Vec<TraceEntry>>,
    ) -> Result<Decoded, CodecError> {
        Ok(Decoded::Nothing)
    }

    fn encode(&self, _command: &Encode<'_>) -> Result<Vec<u8>, CodecError> {
        Ok(Vec::new())
    }

    fn encode_properties(&self, set: &EncodeProperties<'_>) -> Result<PropertySet, CodecError> {
        Err(CodecError::no_property_set(set))
    }

    fn answer(&self, _report: &AnswerTo<'_>) -> Result<Option<Vec<u8>>, CodecError> {
        Ok(None)
    }
}
