//! Words that every layer shares: ids, time, limits, the CBOR library, the timer wheel, secrets.

pub mod bug;
pub mod cbor;
pub mod ids;
pub mod limits;
pub mod peer;
pub mod secret;
pub mod time;
pub mod wheel;
