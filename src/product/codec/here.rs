//! Codecs with code of their own, loaded into the process that asks: a worker, or the server where
//! its operator trusts the author. Errors: every mistake that loading finds.

use super::call::Options;
use super::script::{Limits, Script};
use super::{Codec, Kind, LoadError, not_text};

/// A codec that runs in this process.
#[derive(Debug)]
pub enum Loaded {
    Script(Script),
}

impl Loaded {
    /// Runs what the source runs when it is loaded, within the limits of production.
    pub fn load(kind: Kind, source: &[u8], options: &Options) -> Result<Self, Vec<LoadError>> {
        match kind {
            Kind::Script => {
                let text = std::str::from_utf8(source)
                    .map_err(|e| vec![not_text(source, e.valid_up_to())])?;
                Script::load(text, options, Limits::default()).map(Self::Script)
            }
            Kind::Table => Err(vec![LoadError {
                line: 1,
                column: 1,
                message: "a table has no code: it is not run apart".to_owned(),
                hint: None,
            }]),
        }
    }

    pub fn codec(&self) -> &dyn Codec {
        match self {
            Self::Script(script) => script,
        }
    }

    /// Bytes that it holds now. Costs as much as the codec holds: not for each call.
    pub fn heap_bytes(&self) -> u64 {
        match self {
            Self::Script(script) => script.heap_bytes(),
        }
    }
}
