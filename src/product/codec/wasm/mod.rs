//! Codecs in WebAssembly (`codec.wasm`), for any language and for authors whom nobody needs to trust.
//!
//! A codec is a component with the exports of `codec.wit`, which imports nothing: it has no files, no
//! network, no clock. Values cross as JSON text, see `form.rs`. What it may use is in `base::limits`;
//! a call beyond it, or out of bounds of its memory, is a [`CodecError::Limit`](super::CodecError::Limit),
//! after which the next call begins with a fresh instance. Errors: [`LoadError`](super::LoadError) for each mistake when it is
//! loaded, later [`CodecError`](super::CodecError) of kind `refused` for what the codec itself refuses,
//! `trap` where its code failed.
//!
//! A [`Runtime`] compiles and runs codecs, and is made once in a process. Compiling costs time and
//! memory that a hostile author can drive up, so it belongs into a worker process.
//!
//! Without the cargo feature `wasm` there is a runtime that says so for each codec.

#[cfg(not(feature = "wasm"))]
mod absent;
#[cfg(feature = "wasm")]
mod compiled;
#[cfg(feature = "wasm")]
mod form;
#[cfg(feature = "wasm")]
mod instance;
#[cfg(feature = "wasm")]
mod runtime;
#[cfg(all(test, feature = "wasm"))]
mod tests;
#[cfg(feature = "wasm")]
mod ticker;

#[cfg(not(feature = "wasm"))]
pub use absent::{Runtime, Wasm};
#[cfg(feature = "wasm")]
pub use instance::Wasm;
#[cfg(feature = "wasm")]
pub use runtime::Runtime;

/// What authors build against.
pub const WIT: &str = include_str!("codec.wit");

/// Whether this program runs such codecs.
pub const IS_HERE: bool = cfg!(feature = "wasm");
/// What is said of each codec where it does not, and what helps.
pub const NOT_HERE: &str = "this program was built without WebAssembly";
pub const HOW_TO_BUILD: &str = "build it with `cargo build --release --features wasm`";

/// Why no runtime could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    #[error("wasm codecs can't run: {reason}")]
    Engine { reason: String },
    #[error("no thread for the deadline of wasm codecs: {0}")]
    Thread(#[from] std::io::Error),
}

impl RuntimeError {
    /// Stable word for logs and metrics; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Engine { .. } => "engine",
            Self::Thread(_) => "thread",
        }
    }
}
