//! Values to bytes, by the program: the way back of `decode`. A value that the bytes could not
//! give back is refused with its name, never rounded or cut.

mod value;

use serde_json::{Map, Value};

use crate::base::limits::CODEC_OUTPUT_MAX;
use crate::product::codec::CodecError;
use crate::product::codec::table::answer::{Echo, Says};
use crate::product::codec::table::decode::{field_error, within};
use crate::product::codec::table::program::{
    Case, Checksum, Element, Field, Kind, Message, REFERENCES_MAX, Role, Size, Word,
};

use value::{float_bits, raw_of, text_bytes};

pub(super) type Outcome<T> = Result<T, CodecError>;

/// A length that was written before it was known.
#[derive(Clone, Copy)]
struct Mark {
    at: usize,
    word: Word,
    /// Position and mask in the word; the whole word for an integer.
    shift: usize,
    mask: u64,
    /// Set once what it measures is written.
    filled: Option<u64>,
}

struct Encoder<'s> {
    out: Vec<u8>,
    marks: [Option<Mark>; REFERENCES_MAX],
    says: Auto<'s>,
}

/// What the platform fills in by itself.
#[derive(Clone, Copy)]
pub(super) enum Auto<'s> {
    Mid(u16),
    Answer(&'s Says),
}

/// A message as bytes.
pub(super) fn message(
    message: &Message,
    checksum: Option<&Checksum>,
    paras: &Map<String, Value>,
    says: Auto<'_>,
) -> Outcome<Vec<u8>> {
    let mut encoder = Encoder {
        out: Vec::with_capacity(64),
        marks: [None; REFERENCES_MAX],
        says,
    };
    check_names(message.fields(), paras)?;
    encoder.list(&message.body, paras, message.id.unwrap_or(0))?;
    if let Some(sum) = checksum {
        let covered = encoder.out.get(sum.start..).unwrap_or_default();
        let value = sum.sum.of(covered);
        encoder.word(sum.word, value)?;
        encoder.list(&message.tail, paras, 0)?;
    }
    Ok(encoder.out)
}

/// Every parameter must have a field: what no field takes would be lost without a word.
fn check_names<'f>(
    fields: impl Iterator<Item = &'f Field>,
    paras: &Map<String, Value>,
) -> Outcome<()> {
    let known = names(fields);
    match paras.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) if known.is_empty() => Err(field_error(name, "is unknown, there are no fields")),
        Some(name) => {
            let reason = format!("is unknown, the fields are {}", known.join(", "));
            Err(field_error(name, reason))
        }
        None => Ok(()),
    }
}

/// Names of the values that the fields take.
pub(super) fn names<'f>(fields: impl Iterator<Item = &'f Field>) -> Vec<&'f str> {
    let mut known = Vec::new();
    fields.for_each(|field| collect(field, &mut known));
    known
}

fn collect<'f>(field: &'f Field, known: &mut Vec<&'f str>) {
    match &field.kind {
        Kind::Bits { bits, .. } => {
            let values = bits.iter().filter(|b| b.role == Role::Value);
            known.extend(values.map(|b| b.label.as_str()));
        }
        Kind::Tlv { cases, .. } if !field.named => {
            let inner = cases.iter().flat_map(|case| &case.fields);
            inner.for_each(|field| collect(field, known));
        }
        _ if field.role == Role::Value => known.push(&field.label),
        _ => {}
    }
}

/// Whether the parameters give the field anything to write.
fn is_given(field: &Field, paras: &Map<String, Value>) -> bool {
    names(std::iter::once(field))
        .iter()
        .any(|name| paras.get(*name).is_some_and(|v| !v.is_null()))
}

impl Encoder<'_> {
    /// The number that a field or bit field of this role holds by itself.
    fn auto(&self, role: Role, label: &str) -> Outcome<u64> {
        match (role, self.says) {
            (Role::Mid, Auto::Mid(mid)) => Ok(u64::from(mid)),
            (Role::Errcode, Auto::Answer(says)) => Ok(u64::from(says.errcode)),
            (Role::HasMore, Auto::Answer(says)) => Ok(u64::from(says.has_more)),
            (Role::Echo, Auto::Answer(says)) => Ok(echo(says, label)?.raw()),
            _ => Ok(0),
        }
    }

    fn list(&mut self, fields: &[Field], paras: &Map<String, Value>, id: u64) -> Outcome<()> {
        let mut absent: Option<&Field> = None;
        for field in fields {
            if field.optional && !is_given(field, paras) {
                absent = absent.or(Some(field));
                continue;
            }
            if let Some(missing) = absent {
                let reason = format!("is missing, and {} comes after it", field.label);
                return Err(field_error(&missing.label, reason));
            }
            self.field(field, paras, id)?;
            if self.out.len() > CODEC_OUTPUT_MAX {
                return Err(CodecError::Output {
                    max: CODEC_OUTPUT_MAX,
                });
            }
        }
        Ok(())
    }

    fn field(&mut self, field: &Field, paras: &Map<String, Value>, id: u64) -> Outcome<()> {
        match (&field.kind, field.role) {
            (Kind::Id(word), _) => self.word(*word, id),
            (Kind::Bits { word, bits }, _) => {
                let at = self.out.len();
                let mut raw = 0;
                for bit in bits {
                    let code = match (bit.role, bit.constant) {
                        (_, Some(constant)) => constant,
                        (Role::Value, None) => {
                            let value = needed(&bit.label, paras)?;
                            raw_of(&bit.label, value, &bit.meaning, bit.width, bit.signed)?
                        }
                        (role, None) => self.auto(role, &bit.label)?,
                    };
                    raw |= (code & bit.mask()) << bit.at;
                    self.mark(bit.store, at, *word, (bit.at, bit.mask()));
                }
                self.word(*word, raw)
            }
            (Kind::Tlv { .. }, _) if !field.named => self.tlv(field, paras),
            (Kind::Int { word, .. }, Role::Mid | Role::Errcode | Role::HasMore | Role::Echo) => {
                let raw = self.auto(field.role, &field.label)?;
                self.word(*word, raw)
            }
            (Kind::Bytes { .. }, Role::Echo) => {
                if let Auto::Answer(says) = self.says {
                    let bytes = echo(says, &field.label)?.bytes();
                    self.out.extend_from_slice(bytes);
                }
                Ok(())
            }
            (Kind::Int { word, .. }, Role::Length) => {
                self.mark(field.store, self.out.len(), *word, (0, word.max()));
                self.word(*word, 0)
            }
            (_, Role::Value) => {
                let value = needed(&field.label, paras)?;
                self.value(field, value)
            }
            _ => self.padding(field),
        }
    }

    /// Constants as they are, filler as zeros.
    fn padding(&mut self, field: &Field) -> Outcome<()> {
        match &field.kind {
            Kind::Int { word, constant, .. } => self.word(*word, constant.unwrap_or(0)),
            Kind::Text { size, constant, .. } | Kind::Bytes { size, constant, .. } => {
                match (constant, size) {
                    (Some(bytes), _) => self.out.extend_from_slice(bytes),
                    (None, Size::Fixed(len)) => self.out.resize(self.out.len() + len, 0),
                    (None, Size::Prefixed(word)) => return self.word(*word, 0),
                    (None, Size::Stored(slot)) => return self.fill(*slot, 0, &field.label),
                    (None, Size::Rest) => {}
                }
                Ok(())
            }
            _ => {
                let size = field.fixed_size().unwrap_or(0);
                self.out.resize(self.out.len() + size, 0);
                Ok(())
            }
        }
    }

    fn word(&mut self, word: Word, raw: u64) -> Outcome<()> {
        let at = self.out.len();
        self.out.resize(at + word.bytes, 0);
        if let Some(place) = self.out.get_mut(at..) {
            word.write(raw, place);
        }
        Ok(())
    }

    fn mark(&mut self, store: Option<usize>, at: usize, word: Word, (shift, mask): (usize, u64)) {
        if let Some(place) = store.and_then(|s| self.marks.get_mut(s)) {
            *place = Some(Mark {
                at,
                word,
                shift,
                mask,
                filled: None,
            });
        }
    }

    /// Writes a length where it belongs, now that it is known.
    fn fill(&mut self, slot: usize, len: usize, label: &str) -> Outcome<()> {
        let Some(Some(mark)) = self.marks.get_mut(slot) else {
            return Ok(());
        };
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        if len > mark.mask {
            let reason = format!("has length {len}, takes at most {}", mark.mask);
            return Err(field_error(label, reason));
        }
        if mark.filled.is_some_and(|filled| filled != len) {
            let reason = format!(
                "has length {len}, the field that shares its length has {}",
                mark.filled.unwrap_or(0)
            );
            return Err(field_error(label, reason));
        }
        mark.filled = Some(len);
        let mark = *mark;
        if let Some(place) = self.out.get_mut(mark.at..mark.at + mark.word.bytes) {
            let raw = mark.word.read(place) | len << mark.shift;
            mark.word.write(raw, place);
        }
        Ok(())
    }

    /// Bytes with their length as the field has it.
    fn sized(&mut self, size: Size, bytes: &[u8], label: &str) -> Outcome<()> {
        match size {
            Size::Fixed(len) if bytes.len() != len => {
                let reason = format!("has {} bytes, takes {len}", bytes.len());
                return Err(field_error(label, reason));
            }
            Size::Fixed(_) | Size::Rest => {}
            Size::Prefixed(word) => self.prefix(word, bytes.len(), label)?,
            Size::Stored(slot) => self.fill(slot, bytes.len(), label)?,
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn prefix(&mut self, word: Word, len: usize, label: &str) -> Outcome<()> {
        match u64::try_from(len) {
            Ok(len) if len <= word.max() => self.word(word, len),
            _ => {
                let reason = format!("has length {len}, takes at most {}", word.max());
                Err(field_error(label, reason))
            }
        }
    }

    fn value(&mut self, field: &Field, value: &Value) -> Outcome<()> {
        let label = field.label.as_str();
        match &field.kind {
            Kind::Int {
                word,
                signed,
                meaning,
                ..
            } => {
                let raw = raw_of(label, value, meaning, word.bytes * 8, *signed)?;
                self.word(*word, raw)
            }
            Kind::Float { word, .. } => self.word(*word, float_bits(label, value, *word)?),
            Kind::Unix { word, ms } => self.word(*word, value::time_raw(label, value, *word, *ms)?),
            Kind::Bcd { size, .. } | Kind::Text { size, .. } | Kind::Bytes { size, .. } => {
                let bytes = text_bytes(label, value, &field.kind)?;
                self.sized(*size, &bytes, label)
            }
            Kind::Array { count, max, of } => self.array(label, value, (*count, *max), of),
            Kind::Group(fields) => {
                let Value::Object(map) = value else {
                    return Err(field_error(label, "takes an object"));
                };
                check_names(fields.iter(), map)
                    .and_then(|()| self.list(fields, map, 0))
                    .map_err(|e| match field.named {
                        true => within(label, e),
                        false => e,
                    })
            }
            Kind::Tlv { .. } => {
                let Value::Object(map) = value else {
                    return Err(field_error(label, "takes an object"));
                };
                let Kind::Tlv { cases, .. } = &field.kind else {
                    return Ok(());
                };
                let members = cases.iter().flat_map(|case| &case.fields);
                check_names(members, map)
                    .and_then(|()| self.tlv(field, map))
                    .map_err(|e| within(label, e))
            }
            Kind::Id(_) | Kind::Bits { .. } => Ok(()),
        }
    }

    fn array(
        &mut self,
        label: &str,
        value: &Value,
        (count, max): (Size, Option<usize>),
        of: &Element,
    ) -> Outcome<()> {
        let Value::Array(items) = value else {
            return Err(field_error(label, "takes a list"));
        };
        if max.is_some_and(|max| items.len() > max) {
            let reason = format!(
                "has {} entries, takes at most {}",
                items.len(),
                max.unwrap_or(0)
            );
            return Err(field_error(label, reason));
        }
        match count {
            Size::Fixed(n) if n != items.len() => {
                let reason = format!("has {} entries, takes {n}", items.len());
                return Err(field_error(label, reason));
            }
            Size::Fixed(_) | Size::Rest => {}
            Size::Prefixed(word) => self.prefix(word, items.len(), label)?,
            Size::Stored(slot) => self.fill(slot, items.len(), label)?,
        }
        for (at, item) in items.iter().enumerate() {
            self.value(&of.field, item)
                .map_err(|e| within(&format!("{label}[{at}]"), e))?;
            if self.out.len() > CODEC_OUTPUT_MAX {
                return Err(CodecError::Output {
                    max: CODEC_OUTPUT_MAX,
                });
            }
        }
        Ok(())
    }

    /// The cases that are given, in the order of the table.
    fn tlv(&mut self, field: &Field, paras: &Map<String, Value>) -> Outcome<()> {
        let Kind::Tlv {
            tag, len, cases, ..
        } = &field.kind
        else {
            return Ok(());
        };
        for case in cases {
            if !case.fields.iter().any(|f| is_given(f, paras)) {
                continue;
            }
            let [member] = case.fields.as_slice() else {
                self.entry((*tag, *len), case, field, |e| {
                    e.list(&case.fields, paras, 0)
                })?;
                continue;
            };
            if !case.many {
                self.entry((*tag, *len), case, field, |e| e.field(member, paras, 0))?;
                continue;
            }
            let Value::Array(items) = needed(&member.label, paras)? else {
                return Err(field_error(&member.label, "takes a list"));
            };
            for (at, item) in items.iter().enumerate() {
                self.entry((*tag, *len), case, field, |e| e.value(member, item))
                    .map_err(|e| within(&format!("{}[{at}]", member.label), e))?;
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        (tag, len): (Word, Option<Word>),
        case: &Case,
        field: &Field,
        write: impl FnOnce(&mut Self) -> Outcome<()>,
    ) -> Outcome<()> {
        self.word(tag, case.tag)?;
        let Some(len) = len else {
            return write(self);
        };
        let at = self.out.len();
        self.word(len, 0)?;
        write(self)?;
        let size = self.out.len() - at - len.bytes;
        let raw = u64::try_from(size).unwrap_or(u64::MAX);
        if raw > len.max() {
            let reason = format!(
                "tag {:#x} has {size} bytes, takes at most {}",
                case.tag,
                len.max()
            );
            return Err(field_error(&field.label, reason));
        }
        if let Some(place) = self.out.get_mut(at..at + len.bytes) {
            len.write(raw, place);
        }
        Ok(())
    }
}

fn echo<'s>(says: &'s Says, label: &str) -> Outcome<&'s Echo> {
    let found = says.echo(label);
    found.ok_or_else(|| field_error(label, "is missing: the report ends before it"))
}

fn needed<'v>(label: &str, paras: &'v Map<String, Value>) -> Outcome<&'v Value> {
    match paras.get(label) {
        Some(value) if !value.is_null() => Ok(value),
        _ => Err(field_error(label, "is missing")),
    }
}
