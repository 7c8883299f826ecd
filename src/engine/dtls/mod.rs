//! DTLS 1.2 with pre-shared keys (RFC 6347), for devices that sleep.

pub mod crypto;
