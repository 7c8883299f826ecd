//! Exact decimal numbers: the text of a JSON or TOML number without a detour through binary
//! floats. A value is `mantissa / 10^places`.
//!
//! JSON carries doubles. A decimal of at most 15 digits survives the way through a double and
//! back, an integer up to 2^53 does too; what is longer is written as a string of its digits.

use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;

/// Digits of a mantissa. `10^30` leaves room in an `i128` for a multiplication by `10^8`.
const DIGITS_MAX: u32 = 30;

/// Largest integer up to which every integer is a double.
pub const INTEGER_MAX: i128 = 1 << 53;

/// Every decimal with a mantissa up to this prints from its nearest double as it was written.
pub const MANTISSA_MAX: i128 = 1_000_000_000_000_000;

/// `mantissa / 10^places`, with the fewest places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal {
    mantissa: i128,
    places: u32,
}

impl Decimal {
    pub const ZERO: Self = Self::new(0, 0);
    pub const ONE: Self = Self::new(1, 0);

    pub const fn new(mantissa: i128, places: u32) -> Self {
        let (mut mantissa, mut places) = (mantissa, places);
        while places > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            places -= 1;
        }
        Self { mantissa, places }
    }

    pub const fn mantissa(self) -> i128 {
        self.mantissa
    }

    pub const fn places(self) -> u32 {
        self.places
    }

    /// Reads `-12.50`, `1e-3`, `+1_000`. `None` for what is no number or has over 30 digits.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, text.get(1..)?),
            b'+' => (false, text.get(1..)?),
            _ => (false, text),
        };
        let (number, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (rest.get(..at)?, rest.get(at + 1..)?.parse::<i32>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if whole.is_empty() || fraction.is_empty() {
            return None;
        }
        let mut mantissa = 0_i128;
        for digit in whole.bytes().chain(fraction.bytes()) {
            match digit {
                b'0'..=b'9' => mantissa = mantissa * 10 + i128::from(digit - b'0'),
                b'_' => {}
                _ => return None,
            }
            if mantissa > 10_i128.pow(DIGITS_MAX) {
                return None;
            }
        }
        let written = fraction.bytes().filter(u8::is_ascii_digit).count();
        let places = i32::try_from(written).ok()?.checked_sub(exponent)?;
        let signed = if negative { -mantissa } else { mantissa };
        if places >= 0 {
            let trimmed = Self::new(signed, places.unsigned_abs());
            return (trimmed.places <= DIGITS_MAX).then_some(trimmed);
        }
        let shift = 10_i128.checked_pow(places.unsigned_abs())?;
        let shifted = signed.checked_mul(shift)?;
        (shifted.abs() <= 10_i128.pow(DIGITS_MAX)).then_some(Self::new(shifted, 0))
    }

    /// The number in a JSON number, or in a string of digits that no JSON number would hold.
    pub fn from_json(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(small), _) => Some(Self::new(i128::from(small), 0)),
                (None, Some(large)) => Some(Self::new(i128::from(large), 0)),
                (None, None) => Self::parse(&number.to_string()),
            },
            Value::String(text) => Self::parse(text).filter(|d| !d.is_json_safe()),
            _ => None,
        }
    }

    /// Whether a JSON number holds it exactly.
    pub const fn is_json_safe(self) -> bool {
        if self.places == 0 {
            self.mantissa.abs() <= INTEGER_MAX
        } else {
            self.mantissa.abs() <= MANTISSA_MAX
        }
    }

    pub const fn is_integer(self) -> bool {
        self.places == 0
    }

    /// The exact sum and quotient that undo a scale: `(self - offset) / scale * 10^dec`, when
    /// that is an integer.
    pub fn unscale(self, scale: Self, offset: Self, dec: u32) -> Option<i128> {
        let places = self.places.max(offset.places);
        let raise = |d: Self| d.mantissa.checked_mul(10_i128.checked_pow(places - d.places)?);
        let difference = raise(self)?.checked_sub(raise(offset)?)?;
        let top = difference.checked_mul(10_i128.checked_pow(scale.places.checked_add(dec)?)?)?;
        let bottom = scale.mantissa.checked_mul(10_i128.checked_pow(places)?)?;
        (bottom != 0 && top % bottom == 0).then(|| top / bottom)
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let places = self.places.max(other.places);
        let raise = |d: &Self| d.mantissa.checked_mul(10_i128.checked_pow(places - d.places)?);
        match (raise(self), raise(other)) {
            (Some(a), Some(b)) => a.cmp(&b),
            // So far apart that the raised one is beyond the other: the whole parts decide.
            _ => (self.mantissa / 10_i128.pow(self.places))
                .cmp(&(other.mantissa / 10_i128.pow(other.places))),
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&digits(self.mantissa, self.places))
    }
}

const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// `mantissa / 10^places` as JSON: a number where a number holds it exactly, else its digits in
/// a string. With places it is a JSON float, without an integer, whatever the digits.
#[expect(
    clippy::cast_precision_loss,
    reason = "guarded: the mantissa is below 2^53"
)]
pub fn json(mantissa: i128, places: u32) -> Value {
    if places == 0 {
        return match i64::try_from(mantissa) {
            Ok(small) if mantissa.abs() <= INTEGER_MAX => Value::from(small),
            _ => Value::String(mantissa.to_string()),
        };
    }
    // One division of two exact doubles rounds once, so the result is the nearest double.
    match (i64::try_from(mantissa), usize::try_from(places)) {
        (Ok(small), Ok(at)) if mantissa.abs() <= MANTISSA_MAX => match POWERS.get(at) {
            Some(power) => Value::from(small as f64 / power),
            None => Value::String(digits(mantissa, places)),
        },
        _ => Value::String(digits(mantissa, places)),
    }
}

fn digits(mantissa: i128, places: u32) -> String {
    if places == 0 {
        return mantissa.to_string();
    }
    let sign = if mantissa < 0 { "-" } else { "" };
    let width = usize::try_from(places).unwrap_or(usize::MAX);
    let padded = format!("{:0>1$}", mantissa.unsigned_abs(), width.saturating_add(1));
    let (whole, fraction) = padded.split_at(padded.len() - width);
    format!("{sign}{whole}.{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        let cases = [
            ("0", "0"),
            ("-12.50", "-12.5"),
            ("+1_000", "1000"),
            ("1e-3", "0.001"),
            ("2.5E2", "250"),
            ("0.1", "0.1"),
            ("-0.05", "-0.05"),
        ];
        for (text, want) in cases {
            assert_eq!(Decimal::parse(text).unwrap().to_string(), want, "{text}");
        }
        for text in ["", "-", ".5", "5.", "1e", "0x10", "nan", "1e99", &"9".repeat(31)] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn json_numbers_print_as_they_were_written() {
        let cases = [
            (123_456, 3, "123.456"),
            (3, 1, "0.3"),
            (-5, 2, "-0.05"),
            (999_999_999_999_999, 15, "0.999999999999999"),
            (9_007_199_254_740_992, 0, "9007199254740992"),
            (9_007_199_254_740_993, 0, "\"9007199254740993\""),
            (9_007_199_254_740_993, 4, "\"900719925474.0993\""),
            (1_000_000_000_000_001, 3, "\"1000000000000.001\""),
        ];
        for (mantissa, places, want) in cases {
            assert_eq!(json(mantissa, places).to_string(), want);
        }
    }

    #[test]
    fn order_holds_over_scales() {
        let sorted = ["-1e29", "-2", "-1.5", "0", "1e-29", "0.1", "0.11", "99", "1e29"];
        for pair in sorted.windows(2) {
            let [a, b] = [pair[0], pair[1]].map(|t| Decimal::parse(t).unwrap());
            assert!(a < b, "{a} < {b}");
        }
    }

    proptest::proptest! {
        #[test]
        fn fifteen_digits_survive_a_double(m in -999_999_999_999_999_i64..=999_999_999_999_999,
                                           places in 1_u32..16) {
            let text = json(i128::from(m), places).to_string();
            let back = Decimal::parse(&text).unwrap();
            proptest::prop_assert_eq!(back, Decimal::new(i128::from(m), places));
        }
    }
}
