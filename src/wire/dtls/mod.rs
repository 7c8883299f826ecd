//! DTLS 1.2 as bytes (RFC 6347, RFC 9146): records, handshake messages, alerts, routability
//! checks.
//!
//! Nothing here decrypts or decides: [`record`] cuts a datagram into records, [`handshake`],
//! [`alert`] and [`routability`] read what is inside. There are writers for both sides, so that a
//! client can be played as well.

pub mod alert;
pub mod handshake;
pub mod record;
pub mod routability;

mod reader;

pub use alert::{Alert, AlertError};
pub use record::{ContentType, Record, RecordError};
pub use routability::{RoutabilityCheck, RoutabilityError, RoutabilityType};

/// The version on the wire of DTLS 1.0, which may stand on a first ClientHello's record and on a
/// HelloVerifyRequest (RFC 6347 4.2.1).
pub const VERSION_1_0: u16 = 0xfeff;
/// The version on the wire of DTLS 1.2.
pub const VERSION_1_2: u16 = 0xfefd;
