//! Datagrams as bytes, written straight into a reused buffer: the load generator shares the
//! machine with the server it measures, so it builds no message trees.
//!
//! Layout (RFC 7252 §3): `01 type(2) tkl(4) | code | message id | token | options | ff payload`,
//! options in ascending order, each as a delta to the one before.

use crate::sim::message::{CHANGED, CONTENT, FORMAT_LINK, FORMAT_OPAQUE, GET, NOT_FOUND, POST};

const CONFIRMABLE: u8 = 0x40;
const ACKNOWLEDGEMENT: u8 = 0x60;

const OBSERVE: u16 = 6;
const URI_PATH: u16 = 11;
const CONTENT_FORMAT: u16 = 12;
const URI_QUERY: u16 = 15;

/// Writes one message into a buffer that it clears first.
struct Writer<'a> {
    out: &'a mut Vec<u8>,
    last: u16,
}

impl<'a> Writer<'a> {
    /// Tokens are at most eight bytes; what is longer is cut.
    fn new(out: &'a mut Vec<u8>, kind: u8, code: u8, msg_id: u16, token: &[u8]) -> Self {
        let token = token.get(..8).unwrap_or(token);
        let [id_high, id_low] = msg_id.to_be_bytes();
        let [.., len] = token.len().to_be_bytes();
        out.clear();
        out.extend([kind | len, code, id_high, id_low]);
        out.extend(token);
        Self { out, last: 0 }
    }

    /// Numbers come in ascending order.
    fn option(mut self, number: u16, value: &[u8]) -> Self {
        let delta = usize::from(number.saturating_sub(self.last));
        self.out.push(nibble(delta) << 4 | nibble(value.len()));
        self.extend_nibble(delta);
        self.extend_nibble(value.len());
        self.out.extend(value);
        self.last = number;
        self
    }

    fn extend_nibble(&mut self, value: usize) {
        if value >= 269 {
            let [.., high, low] = (value - 269).to_be_bytes();
            self.out.extend([high, low]);
        } else if value >= 13 {
            let [.., low] = (value - 13).to_be_bytes();
            self.out.push(low);
        }
    }

    fn path(mut self, path: &str) -> Self {
        for segment in path.split('/').filter(|s| !s.is_empty()) {
            self = self.option(URI_PATH, segment.as_bytes());
        }
        self
    }

    fn format(self, format: u16) -> Self {
        match format.to_be_bytes() {
            [0, low] => self.option(CONTENT_FORMAT, &[low]),
            both => self.option(CONTENT_FORMAT, &both),
        }
    }

    fn payload(self, payload: &[u8]) {
        if !payload.is_empty() {
            self.out.push(0xff);
            self.out.extend(payload);
        }
    }
}

/// The four bits of an option's delta or length.
const fn nibble(value: usize) -> u8 {
    let [.., low] = value.to_be_bytes();
    match value {
        0..=12 => low,
        13..=268 => 13,
        _ => 14,
    }
}

/// `POST /rd?ep&lt&lwm2m&b` with a link list, 1.0.
pub(super) fn register(out: &mut Vec<u8>, msg_id: u16, node: &str, lifetime_s: u32) {
    Writer::new(out, CONFIRMABLE, POST, msg_id, &msg_id.to_be_bytes())
        .path("rd")
        .format(FORMAT_LINK)
        .option(URI_QUERY, format!("ep={node}").as_bytes())
        .option(URI_QUERY, format!("lt={lifetime_s}").as_bytes())
        .option(URI_QUERY, b"lwm2m=1.0")
        .option(URI_QUERY, b"b=U")
        .payload(b"</1/0>,</3/0>,</4/0>,</5/0>,</19/0>,</19/1>");
}

/// `POST /t/r?ep&lt`.
pub(super) fn register_raw(out: &mut Vec<u8>, msg_id: u16, node: &str, lifetime_s: u32) {
    Writer::new(out, CONFIRMABLE, POST, msg_id, &msg_id.to_be_bytes())
        .path("t/r")
        .option(URI_QUERY, format!("ep={node}").as_bytes())
        .option(URI_QUERY, format!("lt={lifetime_s}").as_bytes())
        .payload(&[]);
}

/// `POST /{location}` without anything.
pub(super) fn update(out: &mut Vec<u8>, msg_id: u16, location: &str) {
    Writer::new(out, CONFIRMABLE, POST, msg_id, &msg_id.to_be_bytes())
        .path(location)
        .payload(&[]);
}

/// A confirmable notification of 19/0/0; `sequence` counts to 2^24.
pub(super) fn notify(out: &mut Vec<u8>, msg_id: u16, token: &[u8], sequence: u32, payload: &[u8]) {
    let [_, sequence @ ..] = sequence.to_be_bytes();
    Writer::new(out, CONFIRMABLE, CONTENT, msg_id, token)
        .option(OBSERVE, &sequence)
        .format(FORMAT_OPAQUE)
        .payload(payload);
}

/// `POST /t/d`.
pub(super) fn post_data(out: &mut Vec<u8>, msg_id: u16, payload: &[u8]) {
    Writer::new(out, CONFIRMABLE, POST, msg_id, &msg_id.to_be_bytes())
        .path("t/d")
        .format(FORMAT_OPAQUE)
        .payload(payload);
}

/// An empty confirmable, which a server answers with a reset.
pub(super) fn ping(out: &mut Vec<u8>, msg_id: u16) {
    Writer::new(out, CONFIRMABLE, 0, msg_id, &[]).payload(&[]);
}

pub(super) fn read(out: &mut Vec<u8>, msg_id: u16, path: &str) {
    Writer::new(out, CONFIRMABLE, GET, msg_id, &msg_id.to_be_bytes())
        .path(path)
        .payload(&[]);
}

/// Answers the server's observation: 2.05, no payload yet.
pub(super) fn observed(out: &mut Vec<u8>, msg_id: u16, token: &[u8]) {
    Writer::new(out, ACKNOWLEDGEMENT, CONTENT, msg_id, token)
        .option(OBSERVE, &[1])
        .format(FORMAT_OPAQUE)
        .payload(&[]);
}

/// Answers a read: 2.05 with a payload of this format.
pub(super) fn content(out: &mut Vec<u8>, msg_id: u16, token: &[u8], format: u16, payload: &[u8]) {
    Writer::new(out, ACKNOWLEDGEMENT, CONTENT, msg_id, token)
        .format(format)
        .payload(payload);
}

/// Answers a request for something that the device has not.
pub(super) fn not_found(out: &mut Vec<u8>, msg_id: u16, token: &[u8]) {
    Writer::new(out, ACKNOWLEDGEMENT, NOT_FOUND, msg_id, token).payload(&[]);
}

/// 2.04 in the acknowledgement of the server's request.
pub(super) fn changed(out: &mut Vec<u8>, msg_id: u16, token: &[u8]) {
    Writer::new(out, ACKNOWLEDGEMENT, CHANGED, msg_id, token).payload(&[]);
}

pub(super) fn acknowledge(out: &mut Vec<u8>, msg_id: u16) {
    Writer::new(out, ACKNOWLEDGEMENT, 0, msg_id, &[]).payload(&[]);
}

#[cfg(test)]
mod tests {
    use coap_lite::{CoapOption, MessageType};
    use proptest::prelude::*;

    use super::*;
    use crate::sim::message;

    #[test]
    fn a_library_reads_every_template() {
        let mut out = Vec::new();
        register(&mut out, 7, "867725038317248", 86400);
        let packet = message::read(&out).unwrap();
        assert_eq!(message::joined(&packet, CoapOption::UriPath), "rd");
        let query = message::joined(&packet, CoapOption::UriQuery);
        assert_eq!(query, "ep=867725038317248/lt=86400/lwm2m=1.0/b=U");
        assert_eq!(message::uint(&packet, CoapOption::ContentFormat), Some(40));

        notify(&mut out, 8, b"tokentok", 0x01_02_03, &[1, 2, 3]);
        let packet = message::read(&out).unwrap();
        assert_eq!(packet.get_token(), b"tokentok");
        assert_eq!(
            message::uint(&packet, CoapOption::Observe),
            Some(0x01_02_03)
        );
        assert_eq!(packet.payload, [1, 2, 3]);

        post_data(&mut out, 9, &[4; 400]);
        let packet = message::read(&out).unwrap();
        assert_eq!(message::joined(&packet, CoapOption::UriPath), "t/d");
        assert_eq!(packet.payload, [4; 400]);

        ping(&mut out, 10);
        assert_eq!(out, [0x40, 0, 0, 10]);
        observed(&mut out, 11, b"t");
        let packet = message::read(&out).unwrap();
        assert_eq!(packet.header.get_type(), MessageType::Acknowledgement);
        assert_eq!(message::uint(&packet, CoapOption::Observe), Some(1));
        content(&mut out, 12, b"t", message::FORMAT_TLV, &[5]);
        let packet = message::read(&out).unwrap();
        let format = message::uint(&packet, CoapOption::ContentFormat);
        assert_eq!(format, Some(u32::from(message::FORMAT_TLV)));
        assert_eq!(packet.payload, [5]);
    }

    proptest! {
        /// Long names need the extended length, which must still read back.
        #[test]
        fn names_of_any_length_read_back(node in "[a-z0-9]{1,500}", location in "[a-z]{1,9}/[a-z]{1,40}") {
            let mut out = Vec::new();
            register_raw(&mut out, 1, &node, 60);
            let packet = message::read(&out).unwrap();
            let query = message::joined(&packet, CoapOption::UriQuery);
            prop_assert_eq!(query, format!("ep={node}/lt=60"));
            update(&mut out, 2, &location);
            let packet = message::read(&out).unwrap();
            prop_assert_eq!(message::joined(&packet, CoapOption::UriPath), location);
        }
    }
}
