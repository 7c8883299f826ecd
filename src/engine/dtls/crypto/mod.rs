//! What DTLS 1.2 computes with keys: the suites, the key schedule, and the protection of records.
//!
//! ```text
//!  psk -> premaster secret -> master secret -> key block -> keys of two directions
//!                                  '-> verify data of both Finished messages
//! ```
//!
//! The primitives (AES, CCM, GCM, CBC, HMAC, SHA-256) are those of the RustCrypto crates, which
//! take the processor's AES instructions where it has them. Secrets and expanded keys are
//! overwritten when dropped and never printed; comparisons of secrets take constant time.

pub mod prf;
pub mod protection;
pub mod suite;

mod aead;
mod associated;
mod blind;
mod cbc;
mod keys;
mod mac;

pub use keys::{DirectionKeys, Keys};
pub(super) use mac::keyed;
pub use prf::{MasterSecret, Side};
pub use protection::{Head, Protection, SealError};
pub use suite::Suite;

#[cfg(test)]
mod tests;
