//! The extensions that mean something here (RFC 5246 7.4.1.4), in a hello of either side.
//!
//! ```text
//!  extensions    length, 2 bytes; then each: type, 2 bytes; length, 2 bytes; data
//!    22          encrypt_then_mac, empty                (RFC 7366)
//!    23          extended_master_secret, empty          (RFC 7627)
//!    54          connection_id, length of 1 byte, id    (RFC 9146)
//!    61          return routability check, empty        (RFC 9853)
//!    0xff01      renegotiation_info, length of 1 byte   (RFC 5746)
//! ```
//!
//! One of these that is malformed or comes twice spoils the hello. All others are passed over,
//! however often they come. A hello may end before its extensions.

use super::super::reader::{Reader, write_vector8, write_vector16};
use super::{HandshakeError, need};

const ENCRYPT_THEN_MAC: u16 = 22;
const EXTENDED_MASTER_SECRET: u16 = 23;
const CONNECTION_ID: u16 = 54;
const RETURN_ROUTABILITY: u16 = 61;
const RENEGOTIATION_INFO: u16 = 0xff01;

/// What a hello offers or accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extensions<'a> {
    pub extended_master_secret: bool,
    pub encrypt_then_mac: bool,
    /// Verify data of the handshake before: empty in a first one.
    pub renegotiation_info: Option<&'a [u8]>,
    /// The id that the other side is to put on what it sends to the sender of this hello; empty
    /// when it wants none but understands them.
    pub connection_id: Option<&'a [u8]>,
    pub return_routability: bool,
}

impl<'a> Extensions<'a> {
    /// Reads what is left of a hello: a block of extensions, or nothing.
    pub(super) fn parse(rest: &'a [u8]) -> Result<Self, HandshakeError> {
        let mut found = Self::default();
        let mut reader = Reader::new(rest);
        if reader.is_empty() {
            return Ok(found);
        }
        let field = "extensions";
        let block = need(reader.vector16(), field)?;
        if !reader.is_empty() {
            let extra = reader.rest().len();
            return Err(HandshakeError::Trailing { extra });
        }
        let mut block = Reader::new(block);
        while !block.is_empty() {
            let number = need(block.u16(), field)?;
            let data = need(block.vector16(), field)?;
            found.take(number, data)?;
        }
        Ok(found)
    }

    fn take(&mut self, number: u16, data: &'a [u8]) -> Result<(), HandshakeError> {
        match number {
            ENCRYPT_THEN_MAC => take_flag(&mut self.encrypt_then_mac, number, data),
            EXTENDED_MASTER_SECRET => take_flag(&mut self.extended_master_secret, number, data),
            RETURN_ROUTABILITY => take_flag(&mut self.return_routability, number, data),
            CONNECTION_ID => take_bytes(&mut self.connection_id, number, data),
            RENEGOTIATION_INFO => take_bytes(&mut self.renegotiation_info, number, data),
            _ => Ok(()),
        }
    }

    /// Appends the extensions that are set and `others`, without the length before them all.
    pub(super) fn write(&self, others: &[(u16, &[u8])], out: &mut Vec<u8>) {
        let flags = [
            (self.encrypt_then_mac, ENCRYPT_THEN_MAC),
            (self.extended_master_secret, EXTENDED_MASTER_SECRET),
            (self.return_routability, RETURN_ROUTABILITY),
        ];
        for (_, number) in flags.into_iter().filter(|(set, _)| *set) {
            out.extend(number.to_be_bytes());
            write_vector16(out, &[]);
        }
        let vectors = [
            (self.renegotiation_info, RENEGOTIATION_INFO),
            (self.connection_id, CONNECTION_ID),
        ];
        for (data, number) in vectors {
            let Some(data) = data else { continue };
            let mut vector = Vec::with_capacity(data.len() + 1);
            write_vector8(&mut vector, data);
            out.extend(number.to_be_bytes());
            write_vector16(out, &vector);
        }
        for (number, data) in others {
            out.extend(number.to_be_bytes());
            write_vector16(out, data);
        }
    }
}

fn take_flag(place: &mut bool, number: u16, data: &[u8]) -> Result<(), HandshakeError> {
    if !data.is_empty() {
        return Err(HandshakeError::Extension { number });
    }
    if std::mem::replace(place, true) {
        return Err(HandshakeError::ExtensionTwice { number });
    }
    Ok(())
}

fn take_bytes<'a>(
    place: &mut Option<&'a [u8]>,
    number: u16,
    data: &'a [u8],
) -> Result<(), HandshakeError> {
    let mut reader = Reader::new(data);
    let bytes = reader
        .vector8()
        .filter(|_| reader.is_empty())
        .ok_or(HandshakeError::Extension { number })?;
    if place.replace(bytes).is_some() {
        return Err(HandshakeError::ExtensionTwice { number });
    }
    Ok(())
}
