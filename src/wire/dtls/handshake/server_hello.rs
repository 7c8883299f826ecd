//! The server's first words: HelloVerifyRequest (RFC 6347 4.2.1), ServerHello (RFC 5246 7.4.1.3).
//!
//! ```text
//!  HelloVerifyRequest   version, 2 bytes; cookie, length of 1 byte
//!  ServerHello          version, 2 bytes; random, 32; session id, length of 1 byte: 0 to 32;
//!                       cipher suite, 2; compression method, 1; extensions, or nothing
//! ```

use super::super::reader::{Reader, write_vector8, write_vector16};
use super::client_hello::check_session_id;
use super::extension::Extensions;
use super::{HandshakeError, need};

/// Asks the client to say its hello again, with the cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HelloVerifyRequest<'a> {
    pub version: u16,
    pub cookie: &'a [u8],
}

impl<'a> HelloVerifyRequest<'a> {
    /// Reads a whole body.
    pub fn parse(body: &'a [u8]) -> Result<Self, HandshakeError> {
        let mut reader = Reader::new(body);
        let version = need(reader.u16(), "server_version")?;
        let cookie = need(reader.vector8(), "cookie")?;
        if !reader.is_empty() {
            let extra = reader.rest().len();
            return Err(HandshakeError::Trailing { extra });
        }
        Ok(Self { version, cookie })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.version.to_be_bytes());
        write_vector8(out, self.cookie);
    }
}

/// What the server chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerHello<'a> {
    pub version: u16,
    pub random: [u8; 32],
    /// At most 32 bytes.
    pub session_id: &'a [u8],
    pub cipher_suite: u16,
    pub compression_method: u8,
    pub extensions: Extensions<'a>,
}

impl<'a> ServerHello<'a> {
    /// Reads a whole body.
    pub fn parse(body: &'a [u8]) -> Result<Self, HandshakeError> {
        let mut reader = Reader::new(body);
        let version = need(reader.u16(), "server_version")?;
        let random = need(reader.array(), "random")?;
        let session_id = need(reader.vector8(), "session_id")?;
        check_session_id(session_id)?;
        let cipher_suite = need(reader.u16(), "cipher_suite")?;
        let compression_method = need(reader.u8(), "compression_method")?;
        let extensions = Extensions::parse(reader.rest())?;
        Ok(Self {
            version,
            random,
            session_id,
            cipher_suite,
            compression_method,
            extensions,
        })
    }

    /// Appends the body. Without an extension there is no block at all, which a client that
    /// offered none needs.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.version.to_be_bytes());
        out.extend(self.random);
        write_vector8(out, self.session_id);
        out.extend(self.cipher_suite.to_be_bytes());
        out.push(self.compression_method);
        let mut block = Vec::new();
        self.extensions.write(&[], &mut block);
        if !block.is_empty() {
            write_vector16(out, &block);
        }
    }
}
