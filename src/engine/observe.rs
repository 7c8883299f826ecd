//! Observations that the server keeps at devices (RFC 7641, as the client): which resource after
//! which registration, and what a notification of it carries.
//!
//! A token is random, unique in the server, and stays the same for the device's life: a device
//! that rebooted, moved or slept is recognised by it. Notifications of a data container are
//! messages, not states: each counts, in whatever order they arrive, so the freshness rule of
//! RFC 7641 §3.4 is not applied to them; duplicates are told by their message id.

use crate::wire::lwm2m::tlv;

/// Object 19, instance 0, resource 0: uplink data (BinaryAppDataContainer).
pub const UPLINK_PATH: &str = "/19/0/0";
/// The same of a raw CoAP device.
pub const RAW_PATH: &str = "/t/d";

/// Content formats in which the container arrives wrapped (OMA TLV, current and legacy number).
const TLV_FORMATS: [u16; 2] = [11542, 1542];

/// The data in a notification. `first`: it answers the observe request itself. `None`: no data.
///
/// The answer to the observe request is often empty, or one zero byte: not data. A wrapped value
/// that can't be unwrapped is passed on whole, so that it is kept and seen.
pub fn data(first: bool, content_format: Option<u16>, payload: &[u8]) -> Option<&[u8]> {
    let wrapped = content_format.is_some_and(|format| TLV_FORMATS.contains(&format));
    let value = match wrapped.then(|| tlv::unwrap_opaque(payload)) {
        Some(Ok(value)) => value,
        Some(Err(_)) | None => payload,
    };
    let is_filler = first && matches!(value, [0]);
    (!value.is_empty() && !is_filler).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_told_from_filler() {
        type Case = (bool, Option<u16>, &'static [u8], Option<&'static [u8]>);
        let cases: [Case; 7] = [
            (true, Some(42), &[], None),
            (true, Some(42), &[0], None),
            (true, None, &[1, 2], Some(&[1, 2])),
            (false, Some(42), &[0], Some(&[0])),
            (false, Some(42), &[], None),
            // Resource 0 of two bytes.
            (
                false,
                Some(11542),
                &[0xc2, 0x00, 0xaa, 0xbb],
                Some(&[0xaa, 0xbb]),
            ),
            (false, Some(1542), &[0xff], Some(&[0xff])),
        ];
        for (first, format, payload, want) in cases {
            assert_eq!(data(first, format, payload), want, "{format:?} {payload:?}");
        }
    }
}
