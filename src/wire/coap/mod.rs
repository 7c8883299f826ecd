//! CoAP messages (RFC 7252, 7641, 7959): one module per part of the message.

pub mod block;
pub mod code;
pub mod message;
pub mod option;

mod builder;

pub use block::{Block, BlockError};
pub use builder::Builder;
pub use code::Code;
pub use message::{Header, Message, ParseError, Token, Type};
pub use option::{ContentFormat, OptionRef, Options};
