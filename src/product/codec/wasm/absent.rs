//! What stands for the runtime in a program that was built without it.

use super::{HOW_TO_BUILD, NOT_HERE, RuntimeError};
use crate::product::codec::{Codec, CodecError, Decoded, Encode, LoadError, TraceEntry, Uplink};

/// Loads nothing.
#[derive(Debug)]
pub struct Runtime;

impl Runtime {
    /// Never fails.
    pub const fn new() -> Result<Self, RuntimeError> {
        Ok(Self)
    }

    /// Errors: always.
    pub fn load(&self, _source: &[u8]) -> Result<Wasm, Vec<LoadError>> {
        Err(vec![LoadError {
            line: 1,
            column: 1,
            message: NOT_HERE.to_owned(),
            hint: Some(HOW_TO_BUILD.to_owned()),
        }])
    }
}

/// There is none.
#[derive(Debug)]
pub enum Wasm {}

impl Wasm {
    pub const fn memory_bytes(&self) -> u64 {
        match *self {}
    }
}

impl Codec for Wasm {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_to_get_it() {
        let mistakes = Runtime::new().unwrap().load(b"\0asm").unwrap_err();
        assert!(
            mistakes[0]
                .hint
                .as_ref()
                .unwrap()
                .contains("--features wasm")
        );
    }
}
