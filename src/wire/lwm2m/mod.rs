//! LwM2M payload formats and paths (OMA LwM2M TS 1.0, 1.1, 1.2): [`value`] reads and writes
//! payloads of text, opaque and TLV, whose parts the others are; [`senml`] reads the newer formats.

pub mod link;
pub mod objects;
pub mod path;
pub mod senml;
pub mod text;
pub mod tlv;
pub mod value;

pub use objects::{ObjectList, Version};
pub use path::Path;
pub use value::{Kind, Value};
