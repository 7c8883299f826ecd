//! Plain text values (content format 0; OMA LwM2M TS Core 1.1 §7.4.1, annex C).
//!
//! ```text
//!  integer  -?digits            float    -?digits[.digits][e-?digits]      boolean  0 | 1
//!  link     object:instance     opaque   base64 with padding
//! ```
//!
//! Modules write more than that: a plus sign, spaces, a line end or a zero byte after a number,
//! `true` and `false`, `.5`, base64 without padding. All of it is taken; what is written here is
//! the form above. Numbers neither overflow nor become infinite: that is an error.

use nom::branch::alt;
use nom::bytes::complete::{tag, tag_no_case, take_while, take_while_m_n};
use nom::character::complete::{char, digit1, one_of};
use nom::combinator::{all_consuming, map_res, opt, recognize, value};
use nom::sequence::{preceded, separated_pair};
use nom::{IResult, Parser};

/// Why text is not the expected value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not {wanted}")]
pub struct TextError {
    /// The first characters of what came.
    pub found: String,
    pub wanted: &'static str,
}

impl TextError {
    fn new(bytes: &[u8], wanted: &'static str) -> Self {
        let found = String::from_utf8_lossy(bytes.get(..32).unwrap_or(bytes)).into_owned();
        Self { found, wanted }
    }

    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(&self) -> &'static str {
        "text"
    }
}

/// All of `bytes`, but for what surrounds it, as `parser` reads it.
fn whole<'a, T>(
    bytes: &'a [u8],
    wanted: &'static str,
    parser: impl Parser<&'a str, Output = T, Error = nom::error::Error<&'a str>>,
) -> Result<T, TextError> {
    let error = || TextError::new(bytes, wanted);
    let text = std::str::from_utf8(bytes).map_err(|_| error())?;
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\0');
    let (_, value) = all_consuming(parser).parse(text).map_err(|_| error())?;
    Ok(value)
}

fn signed(input: &str) -> IResult<&str, &str> {
    preceded(opt(char('+')), recognize((opt(char('-')), digit1))).parse(input)
}

/// An integer of 64 bits.
pub fn integer(bytes: &[u8]) -> Result<i64, TextError> {
    whole(bytes, "an integer of 64 bits", map_res(signed, str::parse))
}

/// An unsigned integer of 64 bits.
pub fn unsigned(bytes: &[u8]) -> Result<u64, TextError> {
    let digits = preceded(opt(char('+')), digit1);
    whole(
        bytes,
        "an unsigned integer of 64 bits",
        map_res(digits, str::parse),
    )
}

fn decimal(input: &str) -> IResult<&str, &str> {
    // Not `digit0`: at the end of the input its rest lies at the front, and `recognize` loses it.
    let fraction = (char('.'), opt(digit1));
    let mantissa = alt((
        recognize((digit1, opt(fraction))),
        recognize((char('.'), digit1)),
    ));
    let exponent = (one_of("eE"), opt(one_of("+-")), digit1);
    recognize((opt(one_of("+-")), mantissa, opt(exponent))).parse(input)
}

/// A finite number.
pub fn float(bytes: &[u8]) -> Result<f64, TextError> {
    let finite = map_res(decimal, |text| {
        text.parse::<f64>()
            .ok()
            .filter(|number| number.is_finite())
            .ok_or(())
    });
    whole(bytes, "a finite decimal number", finite)
}

/// `0`, `1`, `true` or `false`.
pub fn boolean(bytes: &[u8]) -> Result<bool, TextError> {
    let parser = alt((
        value(true, alt((tag("1"), tag_no_case("true")))),
        value(false, alt((tag("0"), tag_no_case("false")))),
    ));
    whole(bytes, "0 or 1", parser)
}

/// `object:instance`.
pub fn object_link(bytes: &[u8]) -> Result<(u16, u16), TextError> {
    let id = || map_res(digit1, str::parse::<u16>);
    whole(
        bytes,
        "object:instance",
        separated_pair(id(), char(':'), id()),
    )
}

/// Base64 of either alphabet (RFC 4648 §4, §5), with padding or without.
pub fn opaque(bytes: &[u8]) -> Result<Vec<u8>, TextError> {
    let wanted = "base64";
    let digits = take_while(|c: char| sextet(c).is_some());
    let padding = take_while_m_n(0, 2, |c| c == '=');
    let (digits, padding) = whole(bytes, wanted, (digits, padding))?;
    let complete = padding.is_empty() || (digits.len() + padding.len()) % 4 == 0;
    complete
        .then(|| unpack(digits))
        .flatten()
        .ok_or_else(|| TextError::new(bytes, wanted))
}

/// The six bits that a base64 digit stands for.
fn sextet(digit: char) -> Option<u32> {
    Some(match digit {
        'A'..='Z' => u32::from(digit) - u32::from('A'),
        'a'..='z' => u32::from(digit) - u32::from('a') + 26,
        '0'..='9' => u32::from(digit) - u32::from('0') + 52,
        '+' | '-' => 62,
        '/' | '_' => 63,
        _ => return None,
    })
}

/// The bytes of base64 digits. `None` for a number of digits that holds no whole bytes.
fn unpack(digits: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for group in digits.as_bytes().chunks(4) {
        let bits = group
            .iter()
            .filter_map(|digit| sextet(char::from(*digit)))
            .fold(0, |bits, sextet| (bits << 6) | sextet);
        let [_, a, b, c] = (bits << (6 * (4 - group.len()))).to_be_bytes();
        let bytes = [a, b, c];
        let len = match group.len() {
            2 => 1,
            3 => 2,
            4 => 3,
            _ => return None,
        };
        out.extend(bytes.iter().take(len));
    }
    Some(out)
}

/// `bytes` as base64 with padding.
pub fn write_opaque(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group
            .iter()
            .fold(0, |bits, byte| (bits << 8) | usize::from(*byte));
        let bits = bits << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = DIGITS
                .get((bits >> (18 - 6 * place)) & 0x3f)
                .copied()
                .unwrap_or(b'=');
            out.push(if place > group.len() {
                '='
            } else {
                char::from(digit)
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_as_modules_write_them() {
        let integers: [(&[u8], Option<i64>); 13] = [
            (b"0", Some(0)),
            (b"-97", Some(-97)),
            (b"+5", Some(5)),
            (b"007", Some(7)),
            (b" 12\r\n", Some(12)),
            (b"3\0", Some(3)),
            (b"9223372036854775807", Some(i64::MAX)),
            (b"-9223372036854775808", Some(i64::MIN)),
            (b"9223372036854775808", None),
            (b"", None),
            (b"-", None),
            (b"1.5", None),
            (b"\xff", None),
        ];
        for (bytes, want) in integers {
            assert_eq!(integer(bytes).ok(), want, "{bytes:?}");
        }
        assert_eq!(unsigned(b"18446744073709551615"), Ok(u64::MAX));
        assert!(unsigned(b"-1").is_err());
        let floats: [(&[u8], Option<f64>); 11] = [
            (b"3.5", Some(3.5)),
            (b"-0.25", Some(-0.25)),
            (b".5", Some(0.5)),
            (b"5.", Some(5.0)),
            (b"1e3", Some(1000.0)),
            (b"+1.5E-2", Some(0.015)),
            (b"1e999", None),
            (b"inf", None),
            (b"NaN", None),
            (b"1.2.3", None),
            (b".", None),
        ];
        for (bytes, want) in floats {
            assert_eq!(float(bytes).ok(), want, "{bytes:?}");
        }
    }

    #[test]
    fn booleans_and_links() {
        let booleans: [(&[u8], Option<bool>); 7] = [
            (b"0", Some(false)),
            (b"1", Some(true)),
            (b"True", Some(true)),
            (b"false\n", Some(false)),
            (b"2", None),
            (b"10", None),
            (b"", None),
        ];
        for (bytes, want) in booleans {
            assert_eq!(boolean(bytes).ok(), want, "{bytes:?}");
        }
        assert_eq!(object_link(b"19:65535"), Ok((19, 65535)));
        for bytes in [&b"19"[..], b"19:", b":0", b"1:65536", b"1:2:3"] {
            assert!(object_link(bytes).is_err(), "{bytes:?}");
        }
    }

    /// RFC 4648 §10, and the same without padding.
    #[test]
    fn base64_vectors() {
        let vectors = [
            "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy",
        ];
        for (len, text) in vectors.into_iter().enumerate() {
            let bytes = &b"foobar"[..len];
            assert_eq!(write_opaque(bytes), text);
            assert_eq!(opaque(text.as_bytes()).unwrap(), bytes);
            assert_eq!(
                opaque(text.trim_end_matches('=').as_bytes()).unwrap(),
                bytes
            );
        }
        assert_eq!(opaque(b"-_-_"), opaque(b"+/+/"));
        for text in ["Z", "Zg=", "Zg===", "Z*==", "=", "Zm9v=", "Zg==Zg=="] {
            assert_eq!(
                opaque(text.as_bytes()).unwrap_err().kind(),
                "text",
                "{text}"
            );
        }
    }

    #[test]
    fn an_error_shows_the_beginning_of_what_came() {
        let error = integer(&[b'x'; 100]).unwrap_err();
        let shown = "x".repeat(32);
        assert_eq!(
            error.to_string(),
            format!("{shown:?} is not an integer of 64 bits")
        );
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert!(integer(&bytes).is_err() || !bytes.is_empty());
            prop_assert!(float(&bytes).is_err() || !bytes.is_empty());
            prop_assert!(boolean(&bytes).is_err() || !bytes.is_empty());
            prop_assert!(object_link(&bytes).is_err() || bytes.contains(&b':'));
            if let Ok(decoded) = opaque(&bytes) {
                prop_assert!(decoded.len() <= bytes.len());
            }
        }

        #[test]
        fn reads_the_base64_it_wrote(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(opaque(write_opaque(&bytes).as_bytes()).unwrap(), bytes);
        }
    }
}
