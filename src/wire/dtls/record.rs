//! The record layer of DTLS 1.2 (RFC 6347 4.1), with connection ids (RFC 9146 4).
//!
//! ```text
//!  byte 0        content type
//!  bytes 1, 2    version: 0xfefd, or 0xfeff on a first ClientHello
//!  bytes 3, 4    epoch
//!  bytes 5..11   sequence number, 48 bits
//!  then          connection id, when the content type is 25: its length is the receiver's to know
//!  then          length, 2 bytes, and that many bytes: the fragment
//! ```
//!
//! All numbers are big-endian. A datagram holds one record or several. Only the form is judged
//! here, and that the version is one of DTLS; a record that is cut short spoils the rest of its
//! datagram, for nobody can tell where the next begins.

use std::fmt;

use super::reader::{Reader, write_u48, write_vector16};

/// The highest sequence number, 48 bits.
pub const SEQ_MAX: u64 = (1 << 48) - 1;

/// What a record holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentType(pub u8);

impl ContentType {
    pub const CHANGE_CIPHER_SPEC: Self = Self(20);
    pub const ALERT: Self = Self(21);
    pub const HANDSHAKE: Self = Self(22);
    pub const APPLICATION_DATA: Self = Self(23);
    /// A record with a connection id; what it holds is said inside (RFC 9146 4).
    pub const TLS12_CID: Self = Self(25);
    /// RFC 9853.
    pub const RETURN_ROUTABILITY: Self = Self(27);
}

impl fmt::Debug for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::CHANGE_CIPHER_SPEC => f.write_str("change_cipher_spec"),
            Self::ALERT => f.write_str("alert"),
            Self::HANDSHAKE => f.write_str("handshake"),
            Self::APPLICATION_DATA => f.write_str("application_data"),
            Self::TLS12_CID => f.write_str("tls12_cid"),
            Self::RETURN_ROUTABILITY => f.write_str("return_routability_check"),
            Self(other) => write!(f, "content_type({other})"),
        }
    }
}

/// Why bytes are not a record. Never fatal: the rest of the datagram is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    #[error("{len} bytes, a record header with a connection id of {cid_len} needs {need}")]
    Header {
        len: usize,
        cid_len: usize,
        need: usize,
    },
    #[error("version is {0:#06x}, not 0xfe..")]
    Version(u16),
    #[error("{have} bytes follow the header, the record has {len}")]
    Truncated { len: u16, have: usize },
}

impl RecordError {
    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Header { .. } => "header",
            Self::Version(_) => "version",
            Self::Truncated { .. } => "truncated",
        }
    }
}

/// A record that borrows from its datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    pub content_type: ContentType,
    pub version: u16,
    pub epoch: u16,
    /// 48 bits.
    pub seq: u64,
    /// Empty unless the content type is [`ContentType::TLS12_CID`].
    pub cid: &'a [u8],
    pub fragment: &'a [u8],
}

/// The first record of a datagram, and what follows it. `cid_len` is the length of the connection
/// ids that the receiver gives out, 0 when it gives none.
pub fn parse(input: &[u8], cid_len: usize) -> Result<(Record<'_>, &[u8]), RecordError> {
    let has_cid = input.first() == Some(&ContentType::TLS12_CID.0);
    let cid_len = if has_cid { cid_len } else { 0 };
    let header = RecordError::Header {
        len: input.len(),
        cid_len,
        need: cid_len.saturating_add(HEADER_LEN),
    };
    let mut reader = Reader::new(input);
    let content_type = ContentType(reader.u8().ok_or(header)?);
    let version = reader.u16().ok_or(header)?;
    if version >> 8 != 0xfe {
        return Err(RecordError::Version(version));
    }
    let epoch = reader.u16().ok_or(header)?;
    let seq = reader.u48().ok_or(header)?;
    let cid = reader.take(cid_len).ok_or(header)?;
    let len = reader.u16().ok_or(header)?;
    let have = reader.rest().len();
    let fragment = reader
        .take(usize::from(len))
        .ok_or(RecordError::Truncated { len, have })?;
    let record = Record {
        content_type,
        version,
        epoch,
        seq,
        cid,
        fragment,
    };
    Ok((record, reader.rest()))
}

/// The length of a record's header without a connection id.
pub const HEADER_LEN: usize = 13;

/// Appends a record without a connection id. Of `seq` the low 48 bits are written, of `fragment`
/// the first 65,535 bytes.
pub fn write(
    out: &mut Vec<u8>,
    content_type: ContentType,
    version: u16,
    epoch: u16,
    seq: u64,
    fragment: &[u8],
) {
    out.push(content_type.0);
    out.extend(version.to_be_bytes());
    out.extend(epoch.to_be_bytes());
    write_u48(out, seq);
    write_vector16(out, fragment);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cuts_a_datagram_into_records() {
        let mut datagram = Vec::new();
        let version = super::super::VERSION_1_2;
        write(&mut datagram, ContentType::ALERT, version, 0, 7, &[1, 0]);
        datagram.extend([25, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 1, 2, 0xaa, 0xbb, 0, 1, 9]);
        let (first, rest) = parse(&datagram, 2).unwrap();
        assert_eq!((first.content_type, first.seq), (ContentType::ALERT, 7));
        assert_eq!((first.cid, first.fragment), (&[][..], &[1, 0][..]));
        let (second, rest) = parse(rest, 2).unwrap();
        assert_eq!((second.epoch, second.seq), (1, 0x102));
        assert_eq!((second.cid, second.fragment), (&[0xaa, 0xbb][..], &[9][..]));
        assert!(rest.is_empty());
    }

    #[test]
    fn says_what_is_wrong() {
        let mut whole = Vec::new();
        write(&mut whole, ContentType::HANDSHAKE, 0xfeff, 0, 0, b"abc");
        let kind = |bytes: &[u8], cid_len| parse(bytes, cid_len).unwrap_err().kind();
        for len in 0..HEADER_LEN {
            assert_eq!(kind(&whole[..len], 8), "header");
        }
        for len in HEADER_LEN..whole.len() {
            assert_eq!(kind(&whole[..len], 8), "truncated");
        }
        let error = parse(&whole[..14], 0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "1 bytes follow the header, the record has 3"
        );
        whole[0] = 25;
        assert_eq!(kind(&whole, 8), "header");
        assert_eq!(kind(&whole, usize::MAX), "header");
        whole[1] = 3;
        assert_eq!(kind(&whole, 0), "version");
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            cid_len in 0..20usize,
        ) {
            let mut rest = &bytes[..];
            while let Ok((record, after)) = parse(rest, cid_len) {
                prop_assert!(record.seq <= SEQ_MAX);
                prop_assert!(after.len() + HEADER_LEN <= rest.len());
                rest = after;
            }
        }

        #[test]
        fn reads_what_it_wrote(
            content_type in (0..=255u8).prop_filter("has a cid", |t| *t != 25),
            minor: u8, epoch: u16, seq in 0..=SEQ_MAX,
            fragment in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let want = Record {
                content_type: ContentType(content_type),
                version: u16::from_be_bytes([0xfe, minor]),
                epoch,
                seq,
                cid: &[],
                fragment: &fragment,
            };
            let mut out = Vec::new();
            write(&mut out, want.content_type, want.version, epoch, seq, &fragment);
            out.push(0x55);
            prop_assert_eq!(parse(&out, 3), Ok((want, &[0x55][..])));
        }
    }
}
