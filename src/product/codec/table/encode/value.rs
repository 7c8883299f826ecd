//! One JSON value as a field's raw number or bytes.

use serde_json::Value;

use crate::base::time::Timestamp;
use crate::product::codec::table::decode::field_error;
use crate::product::codec::table::encode::Outcome;
use crate::product::codec::table::program::{Kind, Meaning, Scale, Size, Word};
use crate::product::codec::text::{unbase64, unhex};
use crate::product::decimal::Decimal;

/// The raw integer of `bits` bits that stands for a value.
pub(super) fn raw_of(
    label: &str,
    value: &Value,
    meaning: &Meaning,
    bits: usize,
    signed: bool,
) -> Outcome<u64> {
    let number = match meaning {
        Meaning::Bool => match value {
            Value::Bool(flag) => return Ok(u64::from(*flag)),
            _ => return Err(field_error(label, format!("is {value}, takes true or false"))),
        },
        Meaning::Enum(table) => {
            let code = value.as_str().and_then(|name| table.code(name));
            let takes = || format!("is {value}, takes {}", table.listed());
            return code.ok_or_else(|| field_error(label, takes()));
        }
        Meaning::Text => match value.as_str().and_then(|t| t.parse::<i128>().ok()) {
            Some(number) => number,
            None => {
                let reason = format!("is {value}, takes an integer as a string");
                return Err(field_error(label, reason));
            }
        },
        Meaning::Number => {
            let number = Decimal::from_json(value).filter(|d| d.is_integer());
            let wrong = || field_error(label, format!("is {value}, takes an integer"));
            number.ok_or_else(wrong)?.mantissa()
        }
        Meaning::Scaled(scale) => unscaled(label, value, scale)?,
    };
    fit(label, number, bits, signed)
}

fn unscaled(label: &str, value: &Value, scale: &Scale) -> Outcome<i128> {
    let Some(number) = Decimal::from_json(value) else {
        return Err(field_error(label, format!("is {value}, takes a number")));
    };
    let raw = number.unscale(scale.scale, scale.offset, scale.dec);
    let wrong = || {
        let step = format!("steps of {}", Decimal::new(scale.scale.mantissa(), scale.scale.places() + scale.dec));
        field_error(label, format!("is {number}, takes {step}"))
    };
    raw.ok_or_else(wrong)
}

fn fit(label: &str, number: i128, bits: usize, signed: bool) -> Outcome<u64> {
    let (low, high) = match signed {
        true => (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1),
        false => (0, (1_i128 << bits) - 1),
    };
    if !(low..=high).contains(&number) {
        let reason = format!("is {number} on the wire, takes {low} to {high}");
        return Err(field_error(label, reason));
    }
    // Two's complement within the field's own bits.
    let raw = if number < 0 { number + (1_i128 << bits) } else { number };
    u64::try_from(raw).map_err(|_| field_error(label, format!("is {number}, out of range")))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the nearest f32 is what the field holds; overflow is refused"
)]
pub(super) fn float_bits(label: &str, value: &Value, word: Word) -> Outcome<u64> {
    let Some(number) = value.as_f64() else {
        return Err(field_error(label, format!("is {value}, takes a number")));
    };
    if word.bytes == 8 {
        return Ok(number.to_bits());
    }
    let narrow = number as f32;
    if narrow.is_infinite() {
        let reason = format!("is {value}, takes at most {:e}", f32::MAX);
        return Err(field_error(label, reason));
    }
    Ok(u64::from(narrow.to_bits()))
}

pub(super) fn time_raw(label: &str, value: &Value, word: Word, ms: bool) -> Outcome<u64> {
    let Some(at) = value.as_str().and_then(Timestamp::parse) else {
        let reason = format!("is {value}, takes a time such as \"20200811T080745Z\"");
        return Err(field_error(label, reason));
    };
    if !ms && at.as_ms() % 1000 != 0 {
        let reason = format!("is {value}, takes whole seconds");
        return Err(field_error(label, reason));
    }
    let raw = if ms { at.as_ms() } else { at.as_ms() / 1000 };
    if raw > word.max() {
        let reason = format!("is {value}, which is too late for {} bits", word.bytes * 8);
        return Err(field_error(label, reason));
    }
    Ok(raw)
}

/// The bytes of bcd, text and byte fields.
pub(super) fn text_bytes(label: &str, value: &Value, kind: &Kind) -> Outcome<Vec<u8>> {
    match kind {
        Kind::Bcd {
            size,
            little,
            scale,
        } => bcd_bytes(label, value, *size, *little, scale.as_ref()),
        Kind::Text { ascii, size, .. } => {
            let Value::String(text) = value else {
                return Err(field_error(label, format!("is {value}, takes a string")));
            };
            if *ascii && !text.is_ascii() {
                return Err(field_error(label, format!("is {value}, takes ASCII")));
            }
            let mut bytes = text.as_bytes().to_vec();
            if let Size::Fixed(len) = size {
                if bytes.len() > *len || bytes.last() == Some(&0) {
                    let reason = format!(
                        "is {value}, takes at most {len} bytes that don't end in a zero"
                    );
                    return Err(field_error(label, reason));
                }
                bytes.resize(*len, 0);
            }
            Ok(bytes)
        }
        Kind::Bytes { base64, .. } => {
            let decode = if *base64 { unbase64 } else { unhex };
            let bytes = value.as_str().and_then(decode);
            let takes = if *base64 { "base64" } else { "hex" };
            bytes.ok_or_else(|| field_error(label, format!("is {value}, takes {takes}")))
        }
        _ => Ok(Vec::new()),
    }
}

fn bcd_bytes(
    label: &str,
    value: &Value,
    size: Size,
    little: bool,
    scale: Option<&Scale>,
) -> Outcome<Vec<u8>> {
    let mut digits = match (scale, value) {
        (Some(scale), _) => {
            let number = unscaled(label, value, scale)?;
            if number < 0 || number > i128::from(u64::MAX) {
                let reason = format!("is {value}, BCD has no sign and at most 20 digits");
                return Err(field_error(label, reason));
            }
            number.to_string()
        }
        (None, Value::String(text)) => text.clone(),
        (None, _) => {
            let reason = format!("is {value}, takes digits as a string");
            return Err(field_error(label, reason));
        }
    };
    if let Size::Fixed(len) = size {
        let wide = len * 2;
        if scale.is_some() && digits.len() < wide {
            digits = format!("{digits:0>wide$}");
        }
        if digits.len() != wide {
            let reason = format!("has {} digits, takes {wide}", digits.len());
            return Err(field_error(label, reason));
        }
    } else if scale.is_some() && digits.len() % 2 == 1 {
        digits.insert(0, '0');
    }
    let legal = digits.len() % 2 == 0 && digits.bytes().all(|d| d.is_ascii_digit());
    let Some(mut bytes) = unhex(&digits).filter(|_| legal) else {
        let reason = format!("is {value}, takes an even number of digits");
        return Err(field_error(label, reason));
    };
    if little {
        bytes.reverse();
    }
    Ok(bytes)
}
