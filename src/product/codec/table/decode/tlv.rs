//! TLV loops: tag, length, value, again and again while an entry fits.

use serde_json::{Map, Value};

use crate::product::codec::table::decode::{Decoder, Outcome, field_error, is_leaf};
use crate::product::codec::table::layout::entry_size;
use crate::product::codec::table::program::{Case, Field, Kind, Size};

impl Decoder<'_, '_> {
    pub(super) fn tlv(&mut self, field: &Field, maps: &mut [Map<String, Value>]) -> Outcome<()> {
        let Kind::Tlv {
            tag,
            len,
            skip_unknown,
            cases,
        } = &field.kind
        else {
            return Ok(());
        };
        let mut seen = 0_u128;
        // Fewer bytes than an entry takes belong to what follows, or are left over.
        let least = entry_size(field).max(1);
        while self.left() >= least {
            let from = self.at;
            let code = self.word(*tag, &field.label)?;
            let outer = self.end;
            if let Some(len) = len {
                let bytes = self.len(Size::Prefixed(*len), 1, &field.label)?;
                self.end = self.at + bytes;
            }
            let place = cases.iter().position(|case| case.tag == code);
            let known = place.and_then(|at| Some((at, cases.get(at)?)));
            match known {
                Some((at, case)) => {
                    let mark = 1_u128 << at;
                    if seen & mark != 0 && !case.many {
                        let reason = format!("tag {code:#x} comes twice");
                        return Err(field_error(&field.label, reason));
                    }
                    seen |= mark;
                    self.note(from, "tag", || Value::from(code));
                    self.case(case, maps)?;
                    if len.is_some() {
                        self.finish_region()?;
                    }
                }
                None if *skip_unknown => {
                    self.at = self.end;
                    self.note(from, "skipped", || Value::from(code));
                }
                None => {
                    let reason = format!("has no case for tag {code:#x}");
                    return Err(field_error(&field.label, reason));
                }
            }
            self.end = outer;
        }
        Ok(())
    }

    fn case(&mut self, case: &Case, maps: &mut [Map<String, Value>]) -> Outcome<()> {
        let [field] = case.fields.as_slice() else {
            return self.list(&case.fields, maps);
        };
        if !case.many {
            return self.field(field, maps);
        }
        let (from, start) = (self.at, self.traced());
        let value = self.value(field)?;
        self.spend("", &value)?;
        if is_leaf(&field.kind) {
            self.note(from, &field.label, || value.clone());
        } else {
            self.retrace(start, &field.label);
        }
        let Some(map) = maps.get_mut(field.slot) else {
            return Ok(());
        };
        match map.get_mut(&field.label) {
            Some(Value::Array(values)) => values.push(value),
            _ => {
                self.put(maps, field.slot, &field.label, Value::Array(vec![value]))?;
            }
        }
        Ok(())
    }
}
