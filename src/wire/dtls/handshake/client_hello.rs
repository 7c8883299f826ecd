//! ClientHello (RFC 6347 4.2.1, RFC 5246 7.4.1.2).
//!
//! ```text
//!  bytes 0, 1    version
//!  bytes 2..34   random
//!  then          session id, length of 1 byte: 0 to 32
//!  then          cookie, length of 1 byte
//!  then          cipher suites, length of 2 bytes: 2 bytes each, at least one
//!  then          compression methods, length of 1 byte: at least one
//!  then          extensions, length of 2 bytes, or nothing
//! ```

use super::super::reader::{Reader, write_vector8, write_vector16};
use super::extension::Extensions;
use super::{HandshakeError, need};

/// TLS_EMPTY_RENEGOTIATION_INFO_SCSV: a suite that says what an empty renegotiation_info says
/// (RFC 5746 3.3).
pub const SIGNALLING_SUITE: u16 = 0x00ff;

/// The suites that a client offers, the one it likes best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CipherSuites<'a>(&'a [[u8; 2]]);

impl<'a> CipherSuites<'a> {
    pub fn iter(self) -> impl Iterator<Item = u16> + 'a {
        self.0.iter().map(|bytes| u16::from_be_bytes(*bytes))
    }

    pub fn contains(self, code: u16) -> bool {
        self.iter().any(|suite| suite == code)
    }

    /// As on the wire, two bytes each, without their length.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0.as_flattened()
    }
}

/// A ClientHello up to its extensions: all that a cookie is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HelloPrefix<'a> {
    pub version: u16,
    pub random: [u8; 32],
    /// At most 32 bytes.
    pub session_id: &'a [u8],
    pub cookie: &'a [u8],
    pub cipher_suites: CipherSuites<'a>,
    pub compression_methods: &'a [u8],
}

/// A ClientHello that borrows from its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientHello<'a> {
    pub prefix: HelloPrefix<'a>,
    pub extensions: Extensions<'a>,
}

impl<'a> ClientHello<'a> {
    /// Reads a whole body.
    pub fn parse(body: &'a [u8]) -> Result<Self, HandshakeError> {
        let (prefix, rest) = split(body)?;
        let extensions = Extensions::parse(rest)?;
        Ok(Self { prefix, extensions })
    }

    /// Reads the beginning of a body, whatever follows the compression methods: so the cookie of
    /// a hello whose first fragment ends within the extensions can be judged.
    /// [`HandshakeError::Truncated`] when the bytes do not reach that far.
    pub fn parse_prefix(body: &'a [u8]) -> Result<HelloPrefix<'a>, HandshakeError> {
        split(body).map(|(prefix, _)| prefix)
    }

    /// Whether the client asks for secure renegotiation, by either signal (RFC 5746 3.6).
    pub fn signals_renegotiation_info(&self) -> bool {
        self.extensions.renegotiation_info.is_some()
            || self.prefix.cipher_suites.contains(SIGNALLING_SUITE)
    }
}

fn split(body: &[u8]) -> Result<(HelloPrefix<'_>, &[u8]), HandshakeError> {
    let mut reader = Reader::new(body);
    let version = need(reader.u16(), "client_version")?;
    let random = need(reader.array(), "random")?;
    let session_id = need(reader.vector8(), "session_id")?;
    check_session_id(session_id)?;
    let cookie = need(reader.vector8(), "cookie")?;
    let suites = need(reader.vector16(), "cipher_suites")?;
    let (pairs, odd) = suites.as_chunks();
    if pairs.is_empty() || !odd.is_empty() {
        return Err(HandshakeError::Length {
            field: "cipher_suites",
            len: suites.len(),
            want: "pairs, at least one",
        });
    }
    let compression_methods = need(reader.vector8(), "compression_methods")?;
    if compression_methods.is_empty() {
        return Err(HandshakeError::Length {
            field: "compression_methods",
            len: 0,
            want: "at least 1",
        });
    }
    let prefix = HelloPrefix {
        version,
        random,
        session_id,
        cookie,
        cipher_suites: CipherSuites(pairs),
        compression_methods,
    };
    Ok((prefix, reader.rest()))
}

/// A session id has at most 32 bytes, from either side.
pub(super) const fn check_session_id(session_id: &[u8]) -> Result<(), HandshakeError> {
    if session_id.len() > 32 {
        return Err(HandshakeError::Length {
            field: "session_id",
            len: session_id.len(),
            want: "at most 32",
        });
    }
    Ok(())
}

/// What a client writes: the other direction of [`ClientHello`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientOffer<'a> {
    pub version: u16,
    pub random: [u8; 32],
    pub session_id: &'a [u8],
    pub cookie: &'a [u8],
    pub cipher_suites: &'a [u16],
    pub compression_methods: &'a [u8],
    /// `None` leaves the whole block out, as old clients do.
    pub extensions: Option<Extensions<'a>>,
    /// Further extensions, number and data, after those above.
    pub others: &'a [(u16, &'a [u8])],
}

impl ClientOffer<'_> {
    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.version.to_be_bytes());
        out.extend(self.random);
        write_vector8(out, self.session_id);
        write_vector8(out, self.cookie);
        let suites: Vec<[u8; 2]> = self.cipher_suites.iter().map(|s| s.to_be_bytes()).collect();
        write_vector16(out, suites.as_flattened());
        write_vector8(out, self.compression_methods);
        if let Some(extensions) = &self.extensions {
            let mut block = Vec::new();
            extensions.write(self.others, &mut block);
            write_vector16(out, &block);
        }
    }
}
