//! One field's bytes as one JSON value.

use serde_json::{Map, Value};

use crate::base::time::Timestamp;
use crate::product::codec::table::decode::{Decoder, Outcome, field_error, within};
use crate::product::codec::table::program::{Element, Field, Kind, Meaning, Scale, Size, Word};
use crate::product::codec::text::{base64, hex};
use crate::product::decimal::json;

/// The last millisecond of the year 9999, which the v5 API can still write.
pub(in crate::product::codec::table) const TIME_MAX_MS: u64 = 253_402_300_799_999;

impl Decoder<'_, '_> {
    pub(super) fn value(&mut self, field: &Field) -> Outcome<Value> {
        let label = field.label.as_str();
        match &field.kind {
            Kind::Int {
                word,
                signed: is_signed,
                meaning,
                ..
            } => {
                let raw = self.word(*word, label)?;
                let number = signed(raw, word.bytes * 8, *is_signed);
                meant(label, meaning, number, raw)
            }
            Kind::Float { word, dec } => self.float(label, *word, *dec),
            Kind::Bcd {
                size,
                little,
                scale,
            } => self.bcd(label, *size, *little, scale.as_ref()),
            Kind::Text { ascii, size, .. } => self.text(label, *size, *ascii),
            Kind::Bytes {
                base64: is_base64,
                size,
                ..
            } => {
                let len = self.len(*size, 1, label)?;
                let bytes = self.take(len, label)?;
                Ok(Value::String(match is_base64 {
                    true => base64(bytes),
                    false => hex(bytes),
                }))
            }
            Kind::Unix { word, ms } => {
                let raw = self.word(*word, label)?;
                Ok(time_text(timestamp(label, raw, *ms)?, *ms))
            }
            Kind::Array { count, max, of } => self.array(field, *count, *max, of),
            Kind::Group(fields) => {
                let mut maps = [Map::new()];
                self.list(fields, &mut maps).map_err(|e| match field.named {
                    true => within(label, e),
                    false => e,
                })?;
                let [map] = maps;
                Ok(Value::Object(map))
            }
            Kind::Tlv { .. } => {
                let mut maps = [Map::new()];
                self.tlv(field, &mut maps).map_err(|e| within(label, e))?;
                let [map] = maps;
                Ok(Value::Object(map))
            }
            Kind::Id(word) | Kind::Bits { word, .. } => {
                self.word(*word, label).map(Value::from)
            }
        }
    }

    fn array(
        &mut self,
        field: &Field,
        count: Size,
        max: Option<usize>,
        of: &Element,
    ) -> Outcome<Value> {
        let label = field.label.as_str();
        let to_the_end = count == Size::Rest;
        let count = match to_the_end {
            true => self.left() / of.min.max(1),
            false => self.len(count, of.min.max(1), label)?,
        };
        let mut items = Vec::with_capacity(count.min(self.left()));
        while match to_the_end {
            true => self.left() > 0,
            false => items.len() < count,
        } {
            if max.is_some_and(|max| items.len() >= max) {
                let reason = format!("has more than {} entries", items.len());
                return Err(field_error(label, reason));
            }
            let (from, start) = (self.at, self.traced());
            let value = self.value(&of.field).map_err(|e| {
                let place = format!("{label}[{}]", items.len());
                match &of.field.kind {
                    Kind::Group(_) => within(&place, e),
                    _ => renamed(&place, e),
                }
            })?;
            self.spend("", &value)?;
            if self.trace.is_some() {
                self.note_element(of, from, start, items.len(), &value);
            }
            items.push(value);
        }
        Ok(Value::Array(items))
    }

    /// The array's own name is put in front when the array is complete.
    fn note_element(&mut self, of: &Element, from: usize, start: usize, at: usize, value: &Value) {
        let place = format!("[{at}]");
        if super::is_leaf(&of.field.kind) {
            self.note(from, &place, || value.clone());
        } else {
            self.retrace(start, &place);
        }
    }

    fn float(&mut self, label: &str, word: Word, dec: Option<usize>) -> Outcome<Value> {
        let raw = self.word(word, label)?;
        // The shortest text of an f32 is what its author meant; widened it shows binary noise.
        let number = if word.bytes == 4 {
            let bits = u32::try_from(raw).unwrap_or(u32::MAX);
            f32::from_bits(bits).to_string().parse().unwrap_or(f64::NAN)
        } else {
            f64::from_bits(raw)
        };
        let number = match dec {
            Some(dec) => format!("{number:.dec$}").parse().unwrap_or(number),
            None => number,
        };
        if !number.is_finite() {
            return Err(field_error(label, "is no number (NaN or infinite)"));
        }
        Ok(Value::from(number))
    }

    fn text(&mut self, label: &str, size: Size, ascii: bool) -> Outcome<Value> {
        let len = self.len(size, 1, label)?;
        let mut bytes = self.take(len, label)?;
        if let Size::Fixed(_) = size {
            // Shorter text in a fixed field is filled with zero bytes.
            while let Some((0, shorter)) = bytes.split_last() {
                bytes = shorter;
            }
        }
        if ascii && !bytes.is_ascii() {
            return Err(field_error(label, format!("is not ASCII: {}", hex(bytes))));
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Value::String(text.to_owned())),
            Err(_) => Err(field_error(label, format!("is not UTF-8: {}", hex(bytes)))),
        }
    }

    fn bcd(
        &mut self,
        label: &str,
        size: Size,
        little: bool,
        scale: Option<&Scale>,
    ) -> Outcome<Value> {
        let len = self.len(size, 1, label)?;
        let bytes = self.take(len, label)?;
        let mut digits = match little {
            true => hex(&bytes.iter().rev().copied().collect::<Vec<_>>()),
            false => hex(bytes),
        };
        // An odd number of digits is filled up with 0xf.
        while digits.ends_with('f') {
            digits.pop();
        }
        if !digits.bytes().all(|d| d.is_ascii_digit()) {
            return Err(field_error(label, format!("is not BCD: {}", hex(bytes))));
        }
        let Some(scale) = scale else {
            return Ok(Value::String(digits));
        };
        let number = match digits.is_empty() {
            true => Ok(0),
            false => digits.parse::<i128>(),
        };
        let Some(number) = number.ok().filter(|n| *n <= i128::from(u64::MAX)) else {
            let reason = format!("is too large: {digits}");
            return Err(field_error(label, reason));
        };
        scaled(label, scale, number)
    }
}

/// An error of an element, under the element's own place.
fn renamed(place: &str, error: crate::product::codec::CodecError) -> crate::product::codec::CodecError {
    use crate::product::codec::CodecError as E;
    match error {
        E::Field { reason, .. } => field_error(place, reason),
        E::Truncated { at, need, have, .. } => E::Truncated {
            field: place.to_owned(),
            at,
            need,
            have,
        },
        other => other,
    }
}

/// Two's complement of `bits` bits.
pub(super) fn signed(raw: u64, bits: usize, is_signed: bool) -> i128 {
    let number = i128::from(raw);
    if is_signed && bits > 0 && raw >> (bits - 1) & 1 == 1 {
        number - (1 << bits)
    } else {
        number
    }
}

pub(super) fn meant(label: &str, meaning: &Meaning, number: i128, raw: u64) -> Outcome<Value> {
    match meaning {
        Meaning::Number => Ok(json(number, 0)),
        Meaning::Text => Ok(Value::String(number.to_string())),
        Meaning::Bool => Ok(Value::Bool(raw != 0)),
        Meaning::Scaled(scale) => scaled(label, scale, number),
        Meaning::Enum(table) => match table.label(raw) {
            Some(name) => Ok(Value::String(name.to_owned())),
            None => {
                let reason = format!("is {raw}, takes {}", table.listed());
                Err(field_error(label, reason))
            }
        },
    }
}

fn scaled(label: &str, scale: &Scale, number: i128) -> Outcome<Value> {
    let exact = number
        .checked_mul(scale.mul)
        .and_then(|n| n.checked_add(scale.add));
    match exact {
        Some(exact) => Ok(json(exact, scale.places)),
        None => Err(field_error(label, format!("is too large to scale: {number}"))),
    }
}

pub(super) fn timestamp(label: &str, raw: u64, ms: bool) -> Outcome<Timestamp> {
    let total = if ms { Some(raw) } else { raw.checked_mul(1000) };
    match total.filter(|total| *total <= TIME_MAX_MS) {
        Some(total) => Ok(Timestamp::from_ms(total)),
        None => Err(field_error(
            label,
            format!("is {raw}, which is after the year 9999"),
        )),
    }
}

/// With milliseconds in the form that has them.
pub(super) fn time_text(at: Timestamp, ms: bool) -> Value {
    Value::String(if ms { at.rfc3339_ms() } else { at.compact() })
}
