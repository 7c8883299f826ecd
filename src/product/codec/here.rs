//! Codecs with code of their own, loaded into the process that asks: a worker, or the server where
//! its operator trusts the author. Errors: every mistake that loading finds.

use std::sync::OnceLock;

use super::call::Options;
use super::script::{Limits, Script};
use super::wasm::{Runtime, RuntimeError, Wasm};
use super::{Codec, Kind, LoadError, not_text};

/// Loads codecs into this process, and holds what they share.
#[derive(Debug, Default)]
pub struct Loader {
    wasm: OnceLock<Result<Runtime, RuntimeError>>,
}

impl Loader {
    /// With everything that takes a thread made at once, for a process that can't start one later.
    pub fn prepared() -> Self {
        let loader = Self::default();
        if super::wasm::IS_HERE {
            // What failed is told when such a codec is loaded.
            let _tells_later = loader.wasm();
        }
        loader
    }

    fn wasm(&self) -> &Result<Runtime, RuntimeError> {
        self.wasm.get_or_init(Runtime::new)
    }

    /// Runs what the source runs when it is loaded, within the limits of production.
    pub fn load(
        &self,
        kind: Kind,
        source: &[u8],
        options: &Options,
    ) -> Result<Loaded, Vec<LoadError>> {
        match kind {
            Kind::Script => {
                let text = std::str::from_utf8(source)
                    .map_err(|e| vec![not_text(source, e.valid_up_to())])?;
                Script::load(text, options, Limits::default()).map(Loaded::Script)
            }
            Kind::Wasm => match self.wasm() {
                Ok(runtime) => runtime.load(source).map(Loaded::Wasm),
                Err(error) => Err(lone(error.to_string())),
            },
            Kind::Table => Err(lone("a table has no code: it is not run apart".to_owned())),
        }
    }
}

fn lone(message: String) -> Vec<LoadError> {
    vec![LoadError {
        line: 1,
        column: 1,
        message,
        hint: None,
    }]
}

/// A codec that runs in this process.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "wasm"),
    expect(
        clippy::large_enum_variant,
        reason = "without the feature, what is loaded of it is nothing"
    )
)]
pub enum Loaded {
    Script(Script),
    Wasm(Wasm),
}

impl Loaded {
    pub fn codec(&self) -> &dyn Codec {
        match self {
            Self::Script(script) => script,
            Self::Wasm(wasm) => wasm,
        }
    }

    /// Bytes that it holds now. Costs as much as the codec holds: not for each call.
    pub fn heap_bytes(&self) -> u64 {
        match self {
            Self::Script(script) => script.heap_bytes(),
            Self::Wasm(wasm) => wasm.memory_bytes(),
        }
    }
}
