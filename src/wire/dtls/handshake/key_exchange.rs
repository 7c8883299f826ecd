//! ClientKeyExchange with a pre-shared key (RFC 4279 2) and Finished (RFC 5246 7.4.9).
//!
//! ```text
//!  ClientKeyExchange    identity, length of 2 bytes
//!  Finished             verify data, 12 bytes
//! ```

use super::super::reader::{Reader, write_vector16};
use super::{HandshakeError, need};

/// The length of the verify data for all suites of TLS 1.2 that are used here.
pub const VERIFY_DATA_LEN: usize = 12;

/// Names the key that the client has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientKeyExchange<'a> {
    /// UTF-8 by RFC 4279 5.1; whatever bytes came are kept.
    pub identity: &'a [u8],
}

impl<'a> ClientKeyExchange<'a> {
    /// Reads a whole body.
    pub fn parse(body: &'a [u8]) -> Result<Self, HandshakeError> {
        let field = "psk_identity";
        let mut reader = Reader::new(body);
        let identity = need(reader.vector16(), field)?;
        if !reader.is_empty() {
            let extra = reader.rest().len();
            return Err(HandshakeError::Trailing { extra });
        }
        Ok(Self { identity })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_vector16(out, self.identity);
    }
}

/// Proves that its sender has the key and saw the same handshake. Compare the verify data in
/// constant time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    pub verify_data: [u8; VERIFY_DATA_LEN],
}

impl Finished {
    /// Reads a whole body.
    pub fn parse(body: &[u8]) -> Result<Self, HandshakeError> {
        match <[u8; VERIFY_DATA_LEN]>::try_from(body) {
            Ok(verify_data) => Ok(Self { verify_data }),
            Err(_) => Err(HandshakeError::Length {
                field: "verify_data",
                len: body.len(),
                want: "12",
            }),
        }
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.verify_data);
    }
}
