//! Bytes to values, by the program. One pass, every byte read at most twice (checksum and
//! value), output bounded: the work is linear in the payload whatever its bytes are.

mod value;

use serde_json::{Map, Value};

use crate::base::limits::CODEC_OUTPUT_MAX;
use crate::base::time::Timestamp;
use crate::product::codec::table::layout::entry_size;
use crate::product::codec::table::program::{
    Bit, Case, Checksum, Field, Kind, Meaning, Message, Program, REFERENCES_MAX, Role, Size, Word,
};
use crate::product::codec::text::hex;
use crate::product::codec::{CodecError, TraceEntry};

pub(super) type Outcome<T> = Result<T, CodecError>;

/// Bytes that a value costs in JSON besides its name and itself: quotes, colon, comma.
const VALUE_COST: usize = 5;

/// What a message gave.
#[derive(Default)]
pub(super) struct Found {
    /// Values by slot.
    pub(super) maps: Vec<Map<String, Value>>,
    pub(super) event_time: Option<Timestamp>,
    pub(super) has_more: bool,
    pub(super) mid: Option<u16>,
    pub(super) succeeded: Option<bool>,
}

/// The bytes of one message, and how far they are read.
pub(super) struct Decoder<'a, 't> {
    bytes: &'a [u8],
    at: usize,
    /// End of the current region: the message, or a TLV entry.
    end: usize,
    kept: [u64; REFERENCES_MAX],
    /// JSON bytes that may still come.
    budget: usize,
    trace: Option<&'t mut Vec<TraceEntry>>,
    found: Found,
}

pub(super) fn field_error(field: &str, reason: impl Into<String>) -> CodecError {
    CodecError::Field {
        field: field.to_owned(),
        reason: reason.into(),
    }
}

/// Puts `outer` in front of the field that an error names.
pub(super) fn within(outer: &str, error: CodecError) -> CodecError {
    let join = |inner: String| match inner == outer {
        true => inner,
        false => format!("{outer}.{inner}"),
    };
    match error {
        CodecError::Field { field, reason } => CodecError::Field {
            field: join(field),
            reason,
        },
        CodecError::Truncated {
            field,
            at,
            need,
            have,
        } => CodecError::Truncated {
            field: join(field),
            at,
            need,
            have,
        },
        other => other,
    }
}

impl<'a, 't> Decoder<'a, 't> {
    pub(super) fn new(bytes: &'a [u8], trace: Option<&'t mut Vec<TraceEntry>>) -> Self {
        Self {
            bytes,
            at: 0,
            end: bytes.len(),
            kept: [0; REFERENCES_MAX],
            budget: CODEC_OUTPUT_MAX,
            trace,
            found: Found::default(),
        }
    }

    /// The id, when the codec has one.
    pub(super) fn peek_id(&self, program: &Program) -> Outcome<Option<u64>> {
        let Some(id) = program.id else {
            return Ok(None);
        };
        let end = id.at + id.word.bytes;
        match self.bytes.get(id.at..end) {
            Some(bytes) => Ok(Some(id.word.read(bytes))),
            None => Err(CodecError::Truncated {
                field: "id".to_owned(),
                at: id.at,
                need: id.word.bytes,
                have: self.bytes.len().saturating_sub(id.at),
            }),
        }
    }

    /// Compares the checksum before anything is believed.
    pub(super) fn verify(&mut self, checksum: &Checksum) -> Outcome<()> {
        let truncated = || CodecError::Truncated {
            field: "crc".to_owned(),
            at: 0,
            need: checksum.from_end,
            have: self.bytes.len(),
        };
        let at = self.bytes.len().checked_sub(checksum.from_end);
        let at = at.ok_or_else(truncated)?;
        let own = self.bytes.get(at..at + checksum.word.bytes);
        let got = checksum.word.read(own.ok_or_else(truncated)?);
        let covered = self.bytes.get(checksum.start..at).unwrap_or_default();
        let want = checksum.sum.of(covered);
        if got != want {
            let digits = checksum.word.bytes * 2;
            return Err(CodecError::Checksum {
                got: format!("0x{got:0digits$x}"),
                want: format!("0x{want:0digits$x}"),
            });
        }
        self.end = at;
        Ok(())
    }

    /// Reads a whole message; every byte must be taken.
    pub(super) fn message(mut self, message: &Message, sum: Option<&Checksum>) -> Outcome<Found> {
        self.found.maps = message.services.iter().map(|_| Map::new()).collect();
        if let [only] = self.found.maps.as_mut_slice() {
            *only = Map::with_capacity(message.body.len());
        }
        if self.found.maps.is_empty() {
            self.found.maps.push(Map::new());
        }
        self.found.has_more = message.has_more;
        let mut maps = std::mem::take(&mut self.found.maps);
        self.list(&message.body, &mut maps)?;
        self.finish_region()?;
        if let Some(sum) = sum {
            let word = sum.word;
            self.end = self.at + word.bytes;
            let bytes = self.take(word.bytes, "crc")?;
            let digits = word.bytes * 2;
            let value = format!("0x{:0digits$x}", word.read(bytes));
            self.note(self.at - word.bytes, "crc", || Value::String(value));
            self.end = self.bytes.len();
            self.list(&message.tail, &mut maps)?;
            self.finish_region()?;
        }
        self.found.maps = maps;
        Ok(self.found)
    }

    fn finish_region(&self) -> Outcome<()> {
        if self.at == self.end {
            return Ok(());
        }
        Err(CodecError::Trailing {
            at: self.at,
            left: self.end - self.at,
        })
    }

    fn left(&self) -> usize {
        self.end.saturating_sub(self.at)
    }

    fn take(&mut self, len: usize, field: &str) -> Outcome<&'a [u8]> {
        let to = self.at.checked_add(len).filter(|to| *to <= self.end);
        match to.and_then(|to| self.bytes.get(self.at..to)) {
            Some(bytes) => {
                self.at += len;
                Ok(bytes)
            }
            None => Err(CodecError::Truncated {
                field: field.to_owned(),
                at: self.at,
                need: len,
                have: self.left(),
            }),
        }
    }

    fn word(&mut self, word: Word, field: &str) -> Outcome<u64> {
        Ok(word.read(self.take(word.bytes, field)?))
    }

    /// Takes the value's share of the output that may still come.
    fn spend(&mut self, name: &str, value: &Value) -> Outcome<()> {
        let size = match value {
            Value::String(text) => text.len(),
            Value::Number(_) => 1,
            Value::Null | Value::Bool(_) => 4,
            // Their members have been paid for.
            Value::Array(_) | Value::Object(_) => 0,
        };
        let cost = name.len() + size + VALUE_COST;
        match self.budget.checked_sub(cost) {
            Some(rest) => {
                self.budget = rest;
                Ok(())
            }
            None => Err(CodecError::Output {
                max: CODEC_OUTPUT_MAX,
            }),
        }
    }

    fn note(&mut self, from: usize, field: &str, value: impl FnOnce() -> Value) {
        let len = self.at.saturating_sub(from);
        if let Some(trace) = self.trace.as_deref_mut() {
            trace.push(TraceEntry {
                at: from,
                len,
                field: field.to_owned(),
                value: value(),
            });
        }
    }

    fn traced(&self) -> usize {
        self.trace.as_ref().map_or(0, |t| t.len())
    }

    /// Puts `outer` in front of the trace entries since `from`.
    fn retrace(&mut self, from: usize, outer: &str) {
        if let Some(trace) = self.trace.as_deref_mut() {
            for entry in trace.iter_mut().skip(from) {
                entry.field = match entry.field.is_empty() {
                    true => outer.to_owned(),
                    false => format!("{outer}.{}", entry.field),
                };
            }
        }
    }

    fn list(&mut self, fields: &[Field], maps: &mut [Map<String, Value>]) -> Outcome<()> {
        for field in fields {
            if field.optional && self.at >= self.end {
                break;
            }
            self.field(field, maps)?;
        }
        Ok(())
    }

    fn field(&mut self, field: &Field, maps: &mut [Map<String, Value>]) -> Outcome<()> {
        let from = self.at;
        match &field.kind {
            Kind::Bits { word, bits } => {
                let raw = self.word(*word, &field.label)?;
                for bit in bits {
                    self.bit(bit, raw, from, maps)?;
                }
                return Ok(());
            }
            Kind::Tlv { .. } if !field.named => return self.tlv(field, maps),
            Kind::Id(word) => {
                let id = self.word(*word, "id")?;
                self.note(from, "id", || Value::from(id));
                return Ok(());
            }
            _ => {}
        }
        match field.role {
            Role::Value => {
                let start = self.traced();
                let value = self.value(field)?;
                if is_leaf(&field.kind) {
                    self.note(from, &field.label, || value.clone());
                } else {
                    self.retrace(start, &field.label);
                }
                self.put(maps, field.slot, &field.label, value)
            }
            Role::Padding => self.padding(field, from),
            Role::Result | Role::Length | Role::EventTime | Role::HasMore | Role::Mid => {
                self.special(field, from, maps)
            }
        }
    }

    fn put(
        &mut self,
        maps: &mut [Map<String, Value>],
        slot: usize,
        name: &str,
        value: Value,
    ) -> Outcome<()> {
        self.spend(name, &value)?;
        if let Some(map) = maps.get_mut(slot) {
            map.insert(name.to_owned(), value);
        }
        Ok(())
    }

    /// A constant is compared, filler is passed over.
    fn padding(&mut self, field: &Field, from: usize) -> Outcome<()> {
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

    fn special(
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
            Role::Value | Role::Result | Role::Padding | Role::EventTime => {
                self.found.succeeded = Some(is_success(meaning, raw));
                let number = value::signed(raw, word.bytes * 8, *signed);
                let value = value::meant(&field.label, meaning, number, raw)?;
                self.note(from, &field.label, || value.clone());
                self.put(maps, field.slot, &field.label, value)
            }
        }
    }

    fn bit(
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
            Role::Padding | Role::EventTime | Role::Mid => Ok(()),
        }
    }

    fn keep(&mut self, store: Option<usize>, raw: u64) {
        if let Some(place) = store.and_then(|s| self.kept.get_mut(s)) {
            *place = raw;
        }
    }

    /// Bytes or elements to come; more than there are bytes is refused before any is read.
    fn len(&mut self, size: Size, of: usize, field: &str) -> Outcome<usize> {
        let number = match size {
            Size::Fixed(n) => return Ok(n),
            Size::Rest => return Ok(self.left()),
            Size::Prefixed(word) => self.word(word, field)?,
            Size::Stored(slot) => self.kept.get(slot).copied().unwrap_or_default(),
        };
        let need = usize::try_from(number).unwrap_or(usize::MAX).saturating_mul(of);
        if need > self.left() {
            return Err(CodecError::Truncated {
                field: field.to_owned(),
                at: self.at,
                need,
                have: self.left(),
            });
        }
        Ok(need / of.max(1))
    }

    fn tlv(&mut self, field: &Field, maps: &mut [Map<String, Value>]) -> Outcome<()> {
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

/// The result is 0, true or the first name of the enum.
fn is_success(meaning: &Meaning, raw: u64) -> bool {
    match meaning {
        Meaning::Bool => raw != 0,
        Meaning::Enum(table) => raw == table.first,
        Meaning::Number | Meaning::Text | Meaning::Scaled(_) => raw == 0,
    }
}

/// Whether the trace shows the field itself rather than its members.
const fn is_leaf(kind: &Kind) -> bool {
    !matches!(
        kind,
        Kind::Array { .. } | Kind::Group(_) | Kind::Tlv { .. } | Kind::Bits { .. }
    )
}
