//! Records and handshake messages of DTLS 1.2 as a client reads and writes them.
//!
//! ```text
//! record     type(1) version(2) epoch(2) sequence(6) length(2) body       (RFC 6347 §4.1)
//! handshake  type(1) length(3) message_seq(2) fragment_offset(3) fragment_length(3) body (§4.2.2)
//! ```
//!
//! Fragments are not put together: what a server has to say with a pre-shared key fits a datagram.

pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;

pub(super) const CLIENT_HELLO: u8 = 1;
pub(super) const SERVER_HELLO: u8 = 2;
pub(super) const HELLO_VERIFY_REQUEST: u8 = 3;
pub(super) const SERVER_KEY_EXCHANGE: u8 = 12;
pub(super) const SERVER_HELLO_DONE: u8 = 14;
pub(super) const CLIENT_KEY_EXCHANGE: u8 = 16;
pub(super) const FINISHED: u8 = 20;

const HEADER_LEN: usize = 13;
const VERSION: [u8; 2] = [0xfe, 0xfd];
const MESSAGE_HEADER_LEN: usize = 12;

/// One record of a datagram.
pub(super) struct Record<'a> {
    pub(super) kind: u8,
    pub(super) epoch: u16,
    /// Epoch and sequence number.
    pub(super) number: [u8; 8],
    pub(super) body: &'a [u8],
}

/// Takes the first record off a datagram; `None` at its end or at what is none.
pub(super) fn take_record<'a>(rest: &mut &'a [u8]) -> Option<Record<'a>> {
    let (header, tail) = rest.split_at_checked(HEADER_LEN)?;
    let &[kind, _, _, ref number @ .., high, low] = header else {
        return None;
    };
    let &number @ [epoch_high, epoch_low, ..] = number.first_chunk::<8>()?;
    let len = usize::from(u16::from_be_bytes([high, low]));
    let (body, tail) = tail.split_at_checked(len)?;
    *rest = tail;
    Some(Record {
        kind,
        epoch: u16::from_be_bytes([epoch_high, epoch_low]),
        number,
        body,
    })
}

/// Epoch and sequence number as the eight bytes of the header.
pub(super) fn explicit(epoch: u16, sequence: u64) -> [u8; 8] {
    let [epoch_high, epoch_low] = epoch.to_be_bytes();
    let [_, _, sequence @ ..] = sequence.to_be_bytes();
    let [a, b, c, d, e, f] = sequence;
    [epoch_high, epoch_low, a, b, c, d, e, f]
}

/// Appends a record's header; the body of `len` bytes follows.
pub(super) fn put_header(out: &mut Vec<u8>, kind: u8, explicit: [u8; 8], len: usize) {
    let [.., high, low] = len.to_be_bytes();
    out.push(kind);
    out.extend(VERSION);
    out.extend(explicit);
    out.extend([high, low]);
}

/// One whole handshake message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) kind: u8,
    pub(super) seq: u16,
    pub(super) body: &'a [u8],
    /// With its header, as it goes into the hash.
    pub(super) whole: &'a [u8],
}

/// Takes the first handshake message off a record's body; `None` at its end, and at a fragment.
pub(super) fn take_message<'a>(rest: &mut &'a [u8]) -> Option<Message<'a>> {
    let all = *rest;
    let (header, tail) = all.split_first_chunk::<MESSAGE_HEADER_LEN>()?;
    let &[kind, l0, l1, l2, s0, s1, o0, o1, o2, f0, f1, f2] = header;
    if [o0, o1, o2] != [0; 3] || [f0, f1, f2] != [l0, l1, l2] {
        return None;
    }
    let len = u32::from_be_bytes([0, l0, l1, l2]) as usize;
    let (body, tail) = tail.split_at_checked(len)?;
    let (whole, _) = all.split_at_checked(MESSAGE_HEADER_LEN + len)?;
    *rest = tail;
    Some(Message {
        kind,
        seq: u16::from_be_bytes([s0, s1]),
        body,
        whole,
    })
}

/// A handshake message in one fragment.
pub(super) fn message(kind: u8, seq: u16, body: &[u8]) -> Vec<u8> {
    let [.., l0, l1, l2] = body.len().to_be_bytes();
    let [s0, s1] = seq.to_be_bytes();
    let mut out = vec![kind, l0, l1, l2, s0, s1, 0, 0, 0, l0, l1, l2];
    out.extend(body);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut rest = bytes.as_slice();
            while take_record(&mut rest).is_some() {}
            let mut rest = bytes.as_slice();
            while take_message(&mut rest).is_some() {}
        }

        #[test]
        fn what_is_written_reads_back(
            kind: u8,
            epoch: u16,
            sequence in 0u64..1 << 48,
            seq: u16,
            body in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let whole = message(kind, seq, &body);
            let mut datagram = Vec::new();
            put_header(&mut datagram, kind, explicit(epoch, sequence), whole.len());
            datagram.extend(&whole);
            let mut rest = datagram.as_slice();
            let record = take_record(&mut rest).unwrap();
            prop_assert_eq!((record.kind, record.epoch, rest.len()), (kind, epoch, 0));
            let mut rest = record.body;
            let message = take_message(&mut rest).unwrap();
            prop_assert_eq!(message, Message { kind, seq, body: &body, whole: &whole });
        }
    }
}
