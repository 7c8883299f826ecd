//! Bytes to values, by the program. One pass, every byte read at most twice (checksum and
//! value), output bounded: the work is linear in the payload whatever its bytes are.

mod role;
mod tlv;
mod value;

use serde_json::{Map, Value};

use crate::base::limits::CODEC_OUTPUT_MAX;
use crate::base::time::Timestamp;
use crate::product::codec::table::program::{
    Checksum, Field, Kind, Message, Program, REFERENCES_MAX, Role, Size, Word,
};
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
    /// Of an answer that is read back.
    pub(super) errcode: Option<u64>,
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
    pub(super) fn message(self, message: &Message, sum: Option<&Checksum>) -> Outcome<Found> {
        self.watched(message, sum, |_, _| ())
    }

    /// As [`Decoder::message`], and shows each field of the message with its bytes.
    pub(super) fn watched(
        mut self,
        message: &Message,
        sum: Option<&Checksum>,
        mut watch: impl FnMut(&Field, &'a [u8]),
    ) -> Outcome<Found> {
        self.found.maps = message.services.iter().map(|_| Map::new()).collect();
        if let [only] = self.found.maps.as_mut_slice() {
            *only = Map::with_capacity(message.body.len());
        }
        if self.found.maps.is_empty() {
            self.found.maps.push(Map::new());
        }
        self.found.has_more = message.has_more;
        let mut maps = std::mem::take(&mut self.found.maps);
        self.watched_list(&message.body, &mut maps, &mut watch)?;
        self.finish_region()?;
        if let Some(sum) = sum {
            let word = sum.word;
            self.end = self.at + word.bytes;
            let bytes = self.take(word.bytes, "crc")?;
            let digits = word.bytes * 2;
            let value = format!("0x{:0digits$x}", word.read(bytes));
            self.note(self.at - word.bytes, "crc", || Value::String(value));
            self.end = self.bytes.len();
            self.watched_list(&message.tail, &mut maps, &mut watch)?;
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
                let dot = if entry.field.starts_with('[') {
                    ""
                } else {
                    "."
                };
                entry.field = format!("{outer}{dot}{}", entry.field);
            }
        }
    }

    fn list(&mut self, fields: &[Field], maps: &mut [Map<String, Value>]) -> Outcome<()> {
        self.watched_list(fields, maps, &mut |_, _| ())
    }

    fn watched_list(
        &mut self,
        fields: &[Field],
        maps: &mut [Map<String, Value>],
        watch: &mut impl FnMut(&Field, &'a [u8]),
    ) -> Outcome<()> {
        for field in fields {
            if field.optional && self.at >= self.end {
                break;
            }
            let from = self.at;
            self.field(field, maps)?;
            watch(field, self.bytes.get(from..self.at).unwrap_or_default());
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
            Role::Padding | Role::Echo => self.padding(field, from),
            Role::Result
            | Role::Length
            | Role::EventTime
            | Role::HasMore
            | Role::Mid
            | Role::Errcode => self.special(field, from, maps),
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

    /// Bytes or elements to come; more than there are bytes is refused before any is read.
    fn len(&mut self, size: Size, of: usize, field: &str) -> Outcome<usize> {
        let number = match size {
            Size::Fixed(n) => return Ok(n),
            Size::Rest => return Ok(self.left()),
            Size::Prefixed(word) => self.word(word, field)?,
            Size::Stored(slot) => self.kept.get(slot).copied().unwrap_or_default(),
        };
        let need = usize::try_from(number)
            .unwrap_or(usize::MAX)
            .saturating_mul(of);
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
}

/// Whether the trace shows the field itself rather than its members.
const fn is_leaf(kind: &Kind) -> bool {
    !matches!(
        kind,
        Kind::Array { .. } | Kind::Group(_) | Kind::Tlv { .. } | Kind::Bits { .. }
    )
}
