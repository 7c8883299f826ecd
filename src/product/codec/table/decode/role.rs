//! Fields that are no plain values: constants and filler, lengths, mids, results, what an answer
//! says, and bits of any of these.

use serde_json::{Map, Value};

use crate::product::codec::table::decode::{Decoder, Outcome, field_error, value};
use crate::product::codec::table::program::{Bit, Field, Kind, Meaning, Role};
use crate::product::codec::text::hex;

impl Decoder<'_, '_> {
    /// A constant is compared, filler is passed over.
    pub(super) fn padding(&mut self, field: &Field, from: usize) -> Outcome<()> {
        let (got, want) = match &field.kind {
            Kind::Int { word, constant, .. } => {
                let bytes = self.take(word.bytes, &field.label)?;
                let mut want = vec![0; word.bytes];
                let want = constant.map(|c| {
                    word.write(c, &mut want);
                    want
                });
                (bytes, want)
            }
            Kind::Text { size, constant, .. } | Kind::Bytes { size, constant, .. } => {
                let len = self.len(*size, 1, &field.label)?;
                (self.take(len, &field.label)?, constant.clone())
            }
            _ => {
                // Read like a value, so that its length is known, and dropped.
                self.value(field)?;
                let bytes = self.bytes.get(from..self.at).unwrap_or_default();
                (bytes, None)
            }
        };
        if let Some(want) = want.filter(|want| want != got) {
            let reason = format!("is {}, must be {}", hex(got), hex(&want));
            return Err(field_error(&field.label, reason));
        }
        self.note(from, &field.label, || Value::String(hex(got)));
        Ok(())
    }

    pub(super) fn special(
        &mut self,
        field: &Field,
        from: usize,
        maps: &mut [Map<String, Value>],
    ) -> Outcome<()> {
        if let Kind::Unix { word, ms } = field.kind {
            let raw = self.word(word, &field.label)?;
            let at = value::timestamp(&field.label, raw, ms)?;
            self.found.event_time = Some(at);
            self.note(from, &field.label, || value::time_text(at, ms));
            return Ok(());
        }
        let Kind::Int {
            word,
            signed,
            meaning,
            ..
        } = &field.kind
        else {
            let value = self.value(field)?;
            self.note(from, &field.label, || value.clone());
            return self.put(maps, field.slot, &field.label, value);
        };
        let raw = self.word(*word, &field.label)?;
        match field.role {
            Role::Length => {
                self.keep(field.store, raw);
                self.note(from, &field.label, || Value::from(raw));
                Ok(())
            }
            Role::Mid => {
                let mid = u16::try_from(raw).map_err(|_| {
                    field_error(&field.label, format!("mid is {raw}, takes 0 to 65535"))
                })?;
                self.found.mid = Some(mid);
                self.note(from, &field.label, || Value::from(raw));
                Ok(())
            }
            Role::HasMore => {
                self.found.has_more |= raw != 0;
                self.note(from, &field.label, || Value::from(raw));
                Ok(())
            }
            Role::Errcode => {
                self.found.errcode = Some(raw);
                self.note(from, &field.label, || Value::from(raw));
                Ok(())
            }
            Role::Value | Role::Result | Role::Padding | Role::EventTime | Role::Echo => {
                self.found.succeeded = Some(is_success(meaning, raw));
                let number = value::signed(raw, word.bytes * 8, *signed);
                let value = value::meant(&field.label, meaning, number, raw)?;
                self.note(from, &field.label, || value.clone());
                self.put(maps, field.slot, &field.label, value)
            }
        }
    }

    pub(super) fn bit(
        &mut self,
        bit: &Bit,
        raw: u64,
        from: usize,
        maps: &mut [Map<String, Value>],
    ) -> Outcome<()> {
        let code = raw >> bit.at & bit.mask();
        if let Some(want) = bit.constant.filter(|want| *want != code) {
            let reason = format!("is {code}, must be {want}");
            return Err(field_error(&bit.label, reason));
        }
        match bit.role {
            Role::Value | Role::Result => {
                if bit.role == Role::Result {
                    self.found.succeeded = Some(is_success(&bit.meaning, code));
                }
                let number = value::signed(code, bit.width, bit.signed);
                let value = value::meant(&bit.label, &bit.meaning, number, code)?;
                self.note(from, &bit.label, || value.clone());
                self.put(maps, bit.slot, &bit.label, value)
            }
            Role::Length => {
                self.keep(bit.store, code);
                self.note(from, &bit.label, || Value::from(code));
                Ok(())
            }
            Role::HasMore => {
                self.found.has_more |= code != 0;
                self.note(from, &bit.label, || Value::from(code));
                Ok(())
            }
            Role::Errcode => {
                self.found.errcode = Some(code);
                self.note(from, &bit.label, || Value::from(code));
                Ok(())
            }
            Role::Echo => {
                self.note(from, &bit.label, || Value::from(code));
                Ok(())
            }
            Role::Padding | Role::EventTime | Role::Mid => Ok(()),
        }
    }

    fn keep(&mut self, store: Option<usize>, raw: u64) {
        if let Some(place) = store.and_then(|s| self.kept.get_mut(s)) {
            *place = raw;
        }
    }
}

/// The result is 0, true or the first name of the enum.
fn is_success(meaning: &Meaning, raw: u64) -> bool {
    match meaning {
        Meaning::Bool => raw != 0,
        Meaning::Enum(table) => raw == table.first,
        Meaning::Number | Meaning::Text | Meaning::Scaled(_) => raw == 0,
    }
}
