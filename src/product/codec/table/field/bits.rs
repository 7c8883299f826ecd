//! Fields of single bits in a word.

use crate::product::codec::table::field::{ALL_KEYS, Reader, Scope, Stand, Type};
use crate::product::codec::table::program::{Bit, Direction, Kind, Meaning, Role, Word};
use crate::product::codec::table::source::Section;

pub(in crate::product::codec::table) const BIT_KEYS: [&str; 13] = [
    "n", "at", "w", "signed", "service", "enum", "other", "dec", "scale", "offset", "const", "as",
    "result",
];

impl Reader<'_, '_> {
    pub(super) fn bits(
        &mut self,
        section: &Section<'_, '_>,
        scope: &mut Scope,
        word: Word,
    ) -> Option<Kind> {
        if !section.has("bits") {
            self.errors.add(
                &section.place,
                "a bits field needs `bits`: a list of { n, at, w }",
            );
            return None;
        }
        let (items, _) = section.list(self.errors, "bits")?;
        let most = word.bytes * 8;
        if let Some(extra) = items.get(most) {
            let message = format!("{most} bits hold at most {most} bit fields");
            self.errors.add(&extra.span(), message);
        }
        let mut bits: Vec<Bit> = Vec::with_capacity(items.len().min(most));
        let mut taken = 0_u64;
        for item in items.iter().take(most) {
            let Some(bit) = Section::of(item, self.errors, "a bit field") else {
                continue;
            };
            let Some(bit) = self.bit(&bit, section, scope, word) else {
                continue;
            };
            let mine = bit.mask() << bit.at;
            if taken & mine != 0 {
                let clash = bits.iter().find(|b| (b.mask() << b.at) & mine != 0);
                let other = clash.map_or("another", |b| b.label.as_str());
                let message = format!("bits of `{}` overlap those of `{other}`", bit.label);
                self.errors.add(&bit.place, message);
            }
            taken |= mine;
            bits.push(bit);
        }
        if items.is_empty() {
            let place = section.place_of("bits");
            self.errors
                .add(&place, "`bits` is empty, takes at least one { n, at, w }");
        }
        Some(Kind::Bits { word, bits })
    }

    fn bit(
        &mut self,
        section: &Section<'_, '_>,
        parent: &Section<'_, '_>,
        scope: &mut Scope,
        word: Word,
    ) -> Option<Bit> {
        let mut keys = BIT_KEYS.to_vec();
        if self.direction == Direction::Answer {
            keys.push("auto");
        }
        section.allow(self.errors, "a bit field", &keys, &ALL_KEYS);
        let (at, width) = self.run_of_bits(section, word.bytes * 8)?;
        let signed = section.flag(self.errors, "signed").unwrap_or(false);
        let name = section.name(self.errors, "n");
        let named = name.as_ref().map(|(n, p)| (*n, p));
        let plain = if named.is_none() || section.has("const") {
            Role::Padding
        } else {
            Role::Value
        };
        let of_type = Type::Int {
            bytes: word.bytes,
            signed,
        };
        let mut role = self.special_role(section, of_type, plain, Stand::List)?;
        // Elsewhere the key was refused, and a bit cannot hold a mid.
        if role == Role::Mid {
            return None;
        }
        let label = self.echo_label(section, role);
        let label = label.or_else(|| named.map(|(name, _)| name.to_owned()));
        let label = label.unwrap_or_else(|| format!("bit {at}"));
        if role == Role::Value {
            self.refuse_value(&label, &section.place);
        }
        let store = self.store(section, scope, named, &mut role, of_type);
        let of = if section.has("service") {
            section
        } else {
            parent
        };
        let slot = self.slot(of, role, false);
        if let Some((name, place)) = named {
            self.claim(scope, slot, name, place);
        }
        let flag = width == 1 && role != Role::Length;
        let plain = if flag { Meaning::Bool } else { Meaning::Number };
        let max = if width >= 64 {
            u64::MAX
        } else {
            (1 << width) - 1
        };
        Some(Bit {
            label,
            named: named.is_some(),
            role,
            slot,
            store,
            at,
            width,
            signed,
            meaning: self.meaning(section, width, signed, plain),
            constant: self.constant(section, max),
            place: section.place.clone(),
        })
    }

    /// `at` and `w`, within the word.
    fn run_of_bits(&mut self, section: &Section<'_, '_>, total: usize) -> Option<(usize, usize)> {
        let last = i128::try_from(total).unwrap_or(64) - 1;
        if !section.has("at") {
            self.errors.add(
                &section.place,
                "a bit field needs `at`, counted from the lowest bit",
            );
        }
        let at = section.bounded(self.errors, "at", 0..=last);
        let width = match section.has("w") {
            true => section.bounded(self.errors, "w", 1..=last + 1)?,
            false => 1,
        };
        let at = at?;
        if at + width > total {
            let message = format!(
                "bits {at} to {} lie outside the {total} bits",
                at + width - 1
            );
            self.errors.add(&section.place, message);
            return None;
        }
        Some((at, width))
    }
}
