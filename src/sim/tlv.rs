//! TLV as a device writes it (LwM2M 1.0 §6.4.3): a type byte, an id of one byte, a length of none, one
//! or two bytes, the value.
//!
//! ```text
//! type: 11 resource, 10 multiple resource, 01 resource instance | id of 8 bits | form of the length
//! ```
//!
//! Integers are signed, big-endian, in the shortest of 1, 2, 4 or 8 bytes. Nothing here fails.

const RESOURCE: u8 = 0b1100_0000;
const MULTIPLE: u8 = 0b1000_0000;
const INSTANCE: u8 = 0b0100_0000;

/// One resource.
pub fn resource(id: u8, value: &[u8]) -> Vec<u8> {
    entry(RESOURCE, id, value)
}

/// One resource with instances, numbered from 0.
pub fn multiple(id: u8, values: &[&[u8]]) -> Vec<u8> {
    let instances = (0..).zip(values);
    let body: Vec<_> = instances.flat_map(|(n, v)| entry(INSTANCE, n, v)).collect();
    entry(MULTIPLE, id, &body)
}

/// The value of an integer.
pub fn integer(value: i64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let width = match value {
        -0x80..=0x7f => 1,
        -0x8000..=0x7fff => 2,
        -0x8000_0000..=0x7fff_ffff => 4,
        _ => 8,
    };
    bytes.get(8 - width..).unwrap_or_default().to_vec()
}

fn entry(kind: u8, id: u8, value: &[u8]) -> Vec<u8> {
    let [.., high, low] = value.len().to_be_bytes();
    let mut out = Vec::with_capacity(value.len() + 4);
    match value.len() {
        0..=7 => out.extend([kind | low, id]),
        8..=255 => out.extend([kind | 0b0000_1000, id, low]),
        _ => out.extend([kind | 0b0001_0000, id, high, low]),
    }
    out.extend(value);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_shortest_form() {
        assert_eq!(resource(0, &[7]), [0xc1, 0, 7]);
        assert_eq!(resource(0, &[9; 8]).get(..3), Some(&[0xc8, 0, 8][..]));
        assert_eq!(resource(0, &[9; 300]).get(..4), Some(&[0xd0, 0, 1, 44][..]));
    }

    /// The available power sources of the device object in OMA's example.
    #[test]
    fn instances_are_nested() {
        assert_eq!(
            multiple(6, &[&[1], &[5]]),
            [0x86, 6, 0x41, 0, 1, 0x41, 1, 5]
        );
    }

    #[test]
    fn integers_are_short_and_signed() {
        assert_eq!(integer(7), [7]);
        assert_eq!(integer(-105), [0x97]);
        assert_eq!(integer(-130), [0xff, 0x7e]);
        assert_eq!(integer(0x0abc_def1), [0x0a, 0xbc, 0xde, 0xf1]);
        assert_eq!(integer(1 << 40).len(), 8);
    }
}
