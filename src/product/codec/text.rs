//! Bytes as text: hex and base64 (RFC 4648 §4, with padding), both ways.

const HEX: &[u8; 16] = b"0123456789abcdef";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn digit(table: &[u8], at: u32) -> char {
    let at = usize::try_from(at).unwrap_or(usize::MAX);
    char::from(table.get(at).copied().unwrap_or(b'?'))
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(digit(HEX, u32::from(byte >> 4)));
        text.push(digit(HEX, u32::from(byte & 15)));
    }
    text
}

/// Hex of either case; blanks between the digits are skipped. `None` for anything else.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut high = None;
    for c in text.chars().filter(|c| !c.is_ascii_whitespace()) {
        let value = u8::try_from(c.to_digit(16)?).ok()?;
        match high.take() {
            None => high = Some(value << 4),
            Some(high) => bytes.push(high | value),
        }
    }
    high.is_none().then_some(bytes)
}

pub fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let joined = (0..3).fold(0_u32, |sum, at| {
            sum << 8 | u32::from(chunk.get(at).copied().unwrap_or(0))
        });
        for place in 0..4_usize {
            if place <= chunk.len() {
                text.push(digit(BASE64, joined >> (18 - 6 * place) & 63));
            } else {
                text.push('=');
            }
        }
    }
    text
}

pub fn unbase64(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let digits = text.trim_end_matches('=');
    if text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut joined, mut bits) = (0_u32, 0_u32);
    for c in digits.bytes() {
        let value = BASE64.iter().position(|b| *b == c)?;
        joined = (joined << 6 | u32::try_from(value).ok()?) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            let [_, _, _, low] = (joined >> bits).to_be_bytes();
            bytes.push(low);
        }
    }
    // Bits that no byte took must be zero, or two texts would mean the same bytes.
    (joined & ((1 << bits) - 1) == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_and_base64_know_the_rfc_4648_vectors() {
        let cases = [
            ("", "", ""),
            ("f", "66", "Zg=="),
            ("fo", "666f", "Zm8="),
            ("foo", "666f6f", "Zm9v"),
            ("foob", "666f6f62", "Zm9vYg=="),
            ("fooba", "666f6f6261", "Zm9vYmE="),
            ("foobar", "666f6f626172", "Zm9vYmFy"),
        ];
        for (plain, hexed, based) in cases {
            assert_eq!(hex(plain.as_bytes()), hexed);
            assert_eq!(base64(plain.as_bytes()), based);
            assert_eq!(unhex(hexed).unwrap(), plain.as_bytes());
            assert_eq!(unbase64(based).unwrap(), plain.as_bytes());
        }
        assert_eq!(unhex("0A b1"), Some(vec![10, 0xb1]));
        for bad in ["0", "0g", "0x01"] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
        for bad in ["Z", "Zh==", "Zg=", "Z===", "Zg-_", "===="] {
            assert_eq!(unbase64(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn both_come_back(bytes: Vec<u8>) {
            proptest::prop_assert_eq!(unhex(&hex(&bytes)).unwrap(), &bytes[..]);
            proptest::prop_assert_eq!(unbase64(&base64(&bytes)).unwrap(), &bytes[..]);
        }
    }
}
