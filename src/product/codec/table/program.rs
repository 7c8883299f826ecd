//! The compiled form of a table codec: messages of fields, each with all it needs to be read
//! and written. Nothing in here refers to the source but by place.

use std::ops::Range;

use crate::product::codec::table::checksum::Sum;
use crate::product::decimal::Decimal;

/// References (`len = "name"`, `count = "name"`) of one message.
pub(super) const REFERENCES_MAX: usize = 16;

/// A whole codec.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) name: String,
    pub(super) id: Option<IdField>,
    pub(super) checksum: Option<Checksum>,
    pub(super) messages: Vec<Message>,
    /// Messages that devices send, by id: sorted.
    pub(super) inbound: Vec<(u64, usize)>,
}

/// Where a message says what it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct IdField {
    pub(super) at: usize,
    pub(super) word: Word,
}

/// A checksum `from_end` bytes before the end, over everything from `start` to itself.
#[derive(Debug)]
pub(super) struct Checksum {
    pub(super) sum: Sum,
    pub(super) start: usize,
    pub(super) from_end: usize,
    pub(super) word: Word,
}

/// An unsigned integer on the wire, 1 to 8 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) bytes: usize,
    pub(super) little: bool,
}

impl Word {
    /// The largest value it holds.
    pub(super) const fn max(self) -> u64 {
        match self.bytes {
            0 => 0,
            1..=7 => (1 << (self.bytes * 8)) - 1,
            _ => u64::MAX,
        }
    }

    pub(super) fn read(self, bytes: &[u8]) -> u64 {
        let join = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        if self.little {
            bytes.iter().rev().fold(0, join)
        } else {
            bytes.iter().fold(0, join)
        }
    }

    /// Writes the low bytes of `raw` over `at`, which is as long as the word.
    pub(super) fn write(self, raw: u64, at: &mut [u8]) {
        let bytes = raw.to_le_bytes();
        let low = bytes.iter().copied().take(self.bytes);
        if self.little {
            at.iter_mut().zip(low).for_each(|(to, from)| *to = from);
        } else {
            at.iter_mut()
                .rev()
                .zip(low)
                .for_each(|(to, from)| *to = from);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// A report.
    Up,
    /// A command.
    Down,
    /// The device's answer to a command or a set.
    Response,
    /// Writes properties.
    Set,
    /// The platform's answer to a report.
    Answer,
}

impl Direction {
    /// Whether the platform writes it and devices read it.
    pub(super) const fn is_sent(self) -> bool {
        matches!(self, Self::Down | Self::Set | Self::Answer)
    }
}

#[derive(Debug)]
pub(super) struct Message {
    pub(super) id: Option<u64>,
    pub(super) name: Option<String>,
    pub(super) direction: Direction,
    pub(super) service: Option<String>,
    pub(super) reply: Option<(u64, Range<usize>)>,
    /// The message that answers this report.
    pub(super) answer: Option<(u64, Range<usize>)>,
    pub(super) has_more: bool,
    /// Services of the report; a field's slot is its place in here.
    pub(super) services: Vec<String>,
    /// Fields up to the checksum, the id among them.
    pub(super) body: Vec<Field>,
    /// Fields after the checksum, of fixed size.
    pub(super) tail: Vec<Field>,
    pub(super) place: Range<usize>,
}

#[derive(Debug)]
pub(super) struct Field {
    /// What errors and the trace call it.
    pub(super) label: String,
    /// Whether the label is a name that the author gave.
    pub(super) named: bool,
    pub(super) role: Role,
    /// Which of the message's services takes the value.
    pub(super) slot: usize,
    pub(super) optional: bool,
    /// Where its raw value is kept for a later length or count.
    pub(super) store: Option<usize>,
    pub(super) kind: Kind,
    pub(super) place: Range<usize>,
}

/// What a field's value is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A property, parameter or element.
    Value,
    /// A value, and whether the command succeeded.
    Result,
    /// Filler or a constant.
    Padding,
    /// Counts something that follows.
    Length,
    EventTime,
    HasMore,
    /// The command's correlation id.
    Mid,
    /// Whether a report was taken: 0, else 1.
    Errcode,
    /// In a report: no value, there to be echoed. In an answer: the echo; the label is
    /// [`ECHO_PREFIX`] and the name of the report's field.
    Echo,
}

/// In front of the field that an answer echoes: `auto = "request.seq"`.
pub(super) const ECHO_PREFIX: &str = "request.";

#[derive(Debug)]
pub(super) enum Kind {
    /// The place of the message id.
    Id(Word),
    Int {
        word: Word,
        signed: bool,
        meaning: Meaning,
        constant: Option<u64>,
    },
    Float {
        word: Word,
        dec: Option<usize>,
    },
    Bits {
        word: Word,
        bits: Vec<Bit>,
    },
    Bcd {
        size: Size,
        little: bool,
        scale: Option<Scale>,
    },
    Text {
        ascii: bool,
        size: Size,
        constant: Option<Vec<u8>>,
    },
    Bytes {
        base64: bool,
        size: Size,
        constant: Option<Vec<u8>>,
    },
    /// Seconds since 1970, or milliseconds.
    Unix {
        word: Word,
        ms: bool,
    },
    Array {
        count: Size,
        max: Option<usize>,
        of: Box<Element>,
    },
    Tlv {
        tag: Word,
        len: Option<Word>,
        skip_unknown: bool,
        cases: Vec<Case>,
    },
    Group(Vec<Field>),
}

/// How many bytes or elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Fixed(usize),
    Prefixed(Word),
    /// The kept value of an earlier field.
    Stored(usize),
    /// As far as the bytes go.
    Rest,
}

/// An array's element: `One` gives its value, a group gives objects.
#[derive(Debug)]
pub(super) struct Element {
    pub(super) field: Field,
    /// Fewest bytes of an element, at least 1.
    pub(super) min: usize,
}

#[derive(Debug)]
pub(super) struct Case {
    pub(super) tag: u64,
    /// Occurs any number of times; values gather in a list.
    pub(super) many: bool,
    /// One field, or several that stand for themselves.
    pub(super) fields: Vec<Field>,
}

/// A run of bits in a word, counted from the least significant one.
#[derive(Debug)]
pub(super) struct Bit {
    pub(super) label: String,
    /// Whether the label is a name that the author gave.
    pub(super) named: bool,
    pub(super) role: Role,
    pub(super) slot: usize,
    pub(super) store: Option<usize>,
    pub(super) at: usize,
    pub(super) width: usize,
    pub(super) signed: bool,
    pub(super) meaning: Meaning,
    pub(super) constant: Option<u64>,
    pub(super) place: Range<usize>,
}

impl Bit {
    pub(super) const fn mask(&self) -> u64 {
        if self.width >= 64 {
            u64::MAX
        } else {
            (1 << self.width) - 1
        }
    }
}

/// What an integer stands for.
#[derive(Debug)]
pub(super) enum Meaning {
    Number,
    /// Always a string of digits.
    Text,
    Bool,
    Scaled(Scale),
    Enum(EnumTable),
}

/// `raw * scale / 10^dec + offset`, kept as `(raw * mul + add) / 10^places`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    pub(super) mul: i128,
    pub(super) add: i128,
    pub(super) places: u32,
    pub(super) scale: Decimal,
    pub(super) offset: Decimal,
    pub(super) dec: u32,
}

/// Labels by code.
#[derive(Debug)]
pub(super) struct EnumTable {
    /// Sorted by code.
    pub(super) labels: Vec<(u64, String)>,
    /// The entry written first: success, when the field is a result.
    pub(super) first: u64,
    /// The label of every other code.
    pub(super) other: Option<String>,
}

impl EnumTable {
    pub(super) fn label(&self, code: u64) -> Option<&str> {
        match self.labels.binary_search_by_key(&code, |(c, _)| *c) {
            Ok(at) => self.labels.get(at).map(|(_, label)| label.as_str()),
            Err(_) => self.other.as_deref(),
        }
    }

    pub(super) fn code(&self, label: &str) -> Option<u64> {
        let found = self.labels.iter().find(|(_, l)| l == label);
        found.map(|(code, _)| *code)
    }

    /// `0 (open), 1 (closed)` for messages.
    pub(super) fn listed(&self) -> String {
        let shown = self.labels.iter().take(8);
        let mut parts: Vec<String> = shown.map(|(c, l)| format!("{c} ({l})")).collect();
        if self.labels.len() > parts.len() {
            parts.push("…".to_owned());
        }
        parts.join(", ")
    }
}

impl Message {
    /// Every field, in the order of the bytes but for the checksum.
    pub(super) fn fields(&self) -> impl Iterator<Item = &Field> {
        self.body.iter().chain(&self.tail)
    }

    /// Whether a field, or a bit of one, has this role.
    pub(super) fn has(&self, role: Role) -> bool {
        self.fields().flat_map(Field::roles).any(|r| r == role)
    }
}

impl Field {
    /// Fewest bytes it takes, were it present.
    pub(super) fn min_size(&self) -> usize {
        match &self.kind {
            Kind::Id(word)
            | Kind::Int { word, .. }
            | Kind::Float { word, .. }
            | Kind::Bits { word, .. }
            | Kind::Unix { word, .. } => word.bytes,
            Kind::Bcd { size, .. } | Kind::Text { size, .. } | Kind::Bytes { size, .. } => {
                size.min(1)
            }
            Kind::Array { count, of, .. } => count.min(of.min),
            Kind::Tlv { .. } => 0,
            Kind::Group(fields) => min_size(fields),
        }
    }

    /// Its size, when that is the same for every message.
    pub(super) fn fixed_size(&self) -> Option<usize> {
        if self.optional {
            return None;
        }
        match &self.kind {
            Kind::Id(word)
            | Kind::Int { word, .. }
            | Kind::Float { word, .. }
            | Kind::Bits { word, .. }
            | Kind::Unix { word, .. } => Some(word.bytes),
            Kind::Bcd { size, .. } | Kind::Text { size, .. } | Kind::Bytes { size, .. } => {
                size.fixed()
            }
            Kind::Array { count, of, .. } => count.fixed()?.checked_mul(of.field.fixed_size()?),
            Kind::Tlv { .. } => None,
            Kind::Group(fields) => fields.iter().map(Self::fixed_size).sum(),
        }
    }

    /// Whether it takes all bytes that are left.
    pub(super) fn takes_rest(&self) -> bool {
        match &self.kind {
            Kind::Bcd { size, .. } | Kind::Text { size, .. } | Kind::Bytes { size, .. } => {
                *size == Size::Rest
            }
            Kind::Array { count, .. } => *count == Size::Rest,
            Kind::Tlv { .. } => true,
            Kind::Group(fields) => fields.last().is_some_and(Self::takes_rest),
            Kind::Id(_)
            | Kind::Int { .. }
            | Kind::Float { .. }
            | Kind::Bits { .. }
            | Kind::Unix { .. } => false,
        }
    }

    /// Its role, or those of its bits.
    pub(super) fn roles(&self) -> impl Iterator<Item = Role> {
        let bits = match &self.kind {
            Kind::Bits { bits, .. } => bits.as_slice(),
            _ => &[],
        };
        let own = bits.is_empty().then_some(self.role);
        own.into_iter().chain(bits.iter().map(|b| b.role))
    }

    /// Whether it or anything in it gives a value of this name.
    pub(super) const fn is_value(&self) -> bool {
        matches!(self.role, Role::Value | Role::Result)
    }
}

impl Size {
    const fn fixed(self) -> Option<usize> {
        match self {
            Self::Fixed(n) => Some(n),
            Self::Prefixed(_) | Self::Stored(_) | Self::Rest => None,
        }
    }

    const fn min(self, of: usize) -> usize {
        match self {
            Self::Fixed(n) => n.saturating_mul(of),
            Self::Prefixed(word) => word.bytes,
            Self::Stored(_) | Self::Rest => 0,
        }
    }
}

pub(super) fn min_size(fields: &[Field]) -> usize {
    fields
        .iter()
        .filter(|f| !f.optional)
        .fold(0, |sum, f| sum.saturating_add(f.min_size()))
}
