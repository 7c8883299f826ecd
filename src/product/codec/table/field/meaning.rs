//! What a raw integer stands for: a number, a scaled number, a label, a boolean.

use crate::product::codec::table::field::Reader;
use crate::product::codec::table::program::{EnumTable, Meaning, Scale};
use crate::product::codec::table::source::{Place, Section, integer_key, integer_of, wrong};
use crate::product::decimal::Decimal;
use toml::de::DeValue;

/// Decimal places of a value; with the digits of a `u64` and a scale it stays within an `i128`.
const PLACES_MAX: u32 = 18;
/// Digits of `scale` and `offset`.
const SCALE_MAX: i128 = 1_000_000_000_000_000;
const LABELS_MAX: usize = 1024;

impl Reader<'_, '_> {
    /// Reads `enum`, `dec`, `scale`, `offset` and `as = "string"` of an integer of `bits` bits.
    pub(super) fn meaning(
        &mut self,
        section: &Section<'_, '_>,
        bits: usize,
        signed: bool,
        plain: Meaning,
    ) -> Meaning {
        let as_text = self.is_text(section);
        let scale = self.scale(section);
        let labels = self.labels(section, bits, signed);
        let given = [as_text, scale.is_some(), section.has("enum")];
        if given.iter().filter(|g| **g).count() > 1 {
            self.errors.add(
                &section.place,
                "a value is an enum, a scaled number or a string: give one of `enum`, \
                 `dec`/`scale`/`offset`, `as = \"string\"`",
            );
        }
        match (labels, scale) {
            (Some(table), _) => Meaning::Enum(table),
            (None, Some(scale)) => Meaning::Scaled(scale),
            (None, None) if as_text => Meaning::Text,
            (None, None) => plain,
        }
    }

    fn is_text(&self, section: &Section<'_, '_>) -> bool {
        let value = section.raw("as").map(|v| v.get_ref());
        matches!(value, Some(DeValue::String(text)) if text == "string")
    }

    pub(super) fn scale(&mut self, section: &Section<'_, '_>) -> Option<Scale> {
        if !["dec", "scale", "offset"].iter().any(|k| section.has(k)) {
            return None;
        }
        let dec = section
            .bounded(self.errors, "dec", 0..=i128::from(PLACES_MAX))
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(0);
        let scale = self.factor(section, "scale").unwrap_or(Decimal::ONE);
        let offset = self.factor(section, "offset").unwrap_or(Decimal::ZERO);
        if scale == Decimal::ZERO {
            let place = section.place_of("scale");
            self.errors
                .add(&place, "`scale` is 0: every value would be the same");
            return None;
        }
        let places = (dec + scale.places()).max(offset.places());
        if places > PLACES_MAX {
            let message =
                format!("the value has {places} decimal places, takes at most {PLACES_MAX}");
            self.errors.add(&section.place, message);
            return None;
        }
        Some(Scale {
            mul: scale.mantissa() * 10_i128.pow(places - dec - scale.places()),
            add: offset.mantissa() * 10_i128.pow(places - offset.places()),
            places,
            scale,
            offset,
            dec,
        })
    }

    fn factor(&mut self, section: &Section<'_, '_>, key: &str) -> Option<Decimal> {
        let (number, place) = section.decimal(self.errors, key)?;
        if number.mantissa().abs() > SCALE_MAX || number.places() > PLACES_MAX {
            let message = format!("`{key}` has too many digits, takes at most 15");
            self.errors.add(&place, message);
            return None;
        }
        Some(number)
    }

    /// `enum = ["a", "b"]` counts from 0, `enum = { 0 = "a", 5 = "b" }` names its codes.
    fn labels(
        &mut self,
        section: &Section<'_, '_>,
        bits: usize,
        signed: bool,
    ) -> Option<EnumTable> {
        let Some(value) = section.raw("enum") else {
            if section.has("other") {
                let place = section.place_of("other");
                self.errors.add(
                    &place,
                    "`other` names the other codes of an `enum`: there is none",
                );
            }
            return None;
        };
        if signed {
            let place = value.span();
            self.errors
                .add(&place, "`enum` needs an unsigned type: codes count from 0");
            return None;
        }
        let is_empty = match value.get_ref() {
            DeValue::Array(items) => items.is_empty(),
            DeValue::Table(table) => table.is_empty(),
            _ => false,
        };
        if is_empty {
            let message = "`enum` is empty, takes at least one name";
            self.errors.add(&value.span(), message);
        }
        let entries = self.entries(value)?;
        let other = section
            .name(self.errors, "other")
            .map(|(name, place)| (name.to_owned(), place));
        let max = if bits >= 64 {
            u64::MAX
        } else {
            (1 << bits) - 1
        };
        self.check_entries(&entries, max);
        if let (true, Some((_, place))) = (self.direction.is_sent(), &other) {
            let message =
                "`other` names codes that are not listed, and has none that could be sent";
            self.errors.add(place, message);
        }
        let first = entries.first().map(|(code, ..)| *code)?;
        let mut labels: Vec<(u64, String)> = entries
            .into_iter()
            .map(|(code, label, _)| (code, label))
            .collect();
        labels.sort();
        Some(EnumTable {
            labels,
            first,
            other: other.map(|(name, _)| name),
        })
    }

    fn entries(&mut self, value: &toml::Spanned<DeValue<'_>>) -> Option<Vec<(u64, String, Place)>> {
        let mut entries = Vec::new();
        match value.get_ref() {
            DeValue::Array(items) => {
                for (code, item) in (0_u64..).zip(items.iter()) {
                    match item.get_ref() {
                        DeValue::String(text) => {
                            entries.push((code, text.to_string(), item.span()));
                        }
                        _ => wrong(self.errors, item, "a name of `enum`", "a string"),
                    }
                }
            }
            DeValue::Table(_) => {
                let section = Section::of(value, self.errors, "`enum`")?;
                for (key, place, item) in section.entries() {
                    let Some(code) = integer_key(key) else {
                        let message =
                            format!("{key:?} is no code, takes numbers such as 5 or 0x05");
                        self.errors.add(&place, message);
                        continue;
                    };
                    match item.get_ref() {
                        DeValue::String(text) => entries.push((code, text.to_string(), place)),
                        _ => wrong(self.errors, item, "a name of `enum`", "a string"),
                    }
                }
            }
            _ => {
                let takes = "names: [\"off\", \"on\"] or { 1 = \"on\", 0x10 = \"off\" }";
                wrong(self.errors, value, "`enum`", takes);
                return None;
            }
        }
        Some(entries)
    }

    fn check_entries(&mut self, entries: &[(u64, String, Place)], max: u64) {
        if let Some((_, _, place)) = entries.get(LABELS_MAX) {
            let message = format!("an enum takes at most {LABELS_MAX} names");
            self.errors.add(place, message);
            return;
        }
        for (at, (code, label, place)) in entries.iter().enumerate() {
            let earlier = entries.get(..at).unwrap_or_default();
            if *code > max {
                let message = format!("{label:?} has code {code}, takes 0 to {max}");
                self.errors.add(place, message);
            }
            if label.is_empty() {
                self.errors.add(place, "the name is empty");
            }
            if earlier.iter().any(|(c, ..)| c == code) {
                self.errors
                    .add(place, format!("code {code} is there already"));
            }
            if self.direction.is_sent() && earlier.iter().any(|(_, l, _)| l == label) {
                let message = format!("{label:?} is there already: either code could be sent");
                self.errors.add(place, message);
            }
        }
    }

    /// `const` of an integer of `max`.
    pub(super) fn constant(&mut self, section: &Section<'_, '_>, max: u64) -> Option<u64> {
        let value = section.raw("const")?;
        let (number, place) = integer_of(value, self.errors, "const")?;
        match u64::try_from(number) {
            Ok(number) if number <= max => Some(number),
            _ => {
                let message = format!("`const` is {number}, takes 0 to {max}");
                self.errors.add(&place, message);
                None
            }
        }
    }
}
