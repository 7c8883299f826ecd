//! Runs codecs that have code of their own where they can hurt nobody: in worker processes.

use serde::Deserialize;

use crate::product::codec::call::{Call, Outside, Reply};
use crate::product::codec::{CodecError, LoadError};

/// What an operator sets under `[codecs]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Worker processes. Each codec has its place in one of them.
    pub workers: usize,
    /// Calls that wait in all; further ones fail as unavailable.
    pub waiting_max: usize,
    /// Strikes within `strike_window_s` that quarantine a codec.
    pub strikes: u32,
    pub strike_window_s: u64,
    /// Scripts of products whose settings say `codec.trusted` may run inside the server's process.
    pub trust: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            workers: 2,
            waiting_max: 10_000,
            strikes: 5,
            strike_window_s: 3600,
            trust: false,
        }
    }
}

/// The workers and what runs in them.
#[derive(Debug, Default)]
pub struct CodecPool {}

impl CodecPool {
    /// Performs a call where the codec runs. Errors: those of the codec; `limit` when it was ended;
    /// `unavailable` when it is quarantined or too much waits.
    pub async fn call(&self, _codec: &Outside, _call: Call) -> Result<Reply, CodecError> {
        Err(CodecError::Unavailable {
            reason: "no worker".to_owned(),
        })
    }

    /// Loads a codec and gives every mistake. It runs its top level.
    pub async fn check(&self, _codec: &Outside) -> Result<(), Vec<LoadError>> {
        Ok(())
    }

    /// Whether a codec is quarantined: why.
    pub fn quarantined(&self, _codec: &Outside) -> Option<String> {
        None
    }

    /// Lets a quarantined codec run again.
    pub fn release(&self, _codec: &Outside) {}
}
