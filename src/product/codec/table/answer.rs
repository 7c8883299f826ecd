//! Answers to reports: what they echo. An echo copies raw bits of one top-level field of the
//! report into an unsigned integer or bit field at least as wide, or its bytes into a `bytes`
//! field of the same length.

use crate::product::codec::table::program::{
    Bit, ECHO_PREFIX, Field, Kind, Message, Role, Size, Word,
};

/// What an answer says besides its constants.
#[derive(Debug, Default)]
pub(super) struct Says {
    pub(super) errcode: u8,
    pub(super) has_more: bool,
    pub(super) echoes: Vec<Echo>,
}

/// One field of the report.
#[derive(Debug)]
pub(super) struct Echo {
    name: String,
    /// Its bits as a number; 0 when it is none.
    raw: u64,
    bytes: Vec<u8>,
}

impl Says {
    /// The echo that a field with this label writes.
    pub(super) fn echo(&self, label: &str) -> Option<&Echo> {
        let name = label.strip_prefix(ECHO_PREFIX)?;
        self.echoes.iter().find(|echo| echo.name == name)
    }

    /// Keeps the bytes of a report's field, if the answer echoes it.
    pub(super) fn keep(&mut self, answer: &Message, field: &Field, bytes: &[u8]) {
        for name in wanted(answer) {
            let raw = match (&field.kind, bit_named(field, name)) {
                (Kind::Bits { word, .. }, Some(bit)) => word.read(bytes) >> bit.at & bit.mask(),
                (kind, None) if is_named(field, name) => word_of(kind).map_or(0, |w| w.read(bytes)),
                _ => continue,
            };
            self.echoes.push(Echo {
                name: name.to_owned(),
                raw,
                bytes: bytes.to_vec(),
            });
        }
    }
}

impl Echo {
    pub(super) const fn raw(&self) -> u64 {
        self.raw
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Names of the report's fields that the answer echoes.
pub(super) fn wanted(answer: &Message) -> impl Iterator<Item = &str> {
    targets(answer).map(|(name, _)| name)
}

/// Where an echo goes.
enum Target {
    /// Bits of a number.
    Bits(usize),
    Bytes(usize),
}

fn targets(answer: &Message) -> impl Iterator<Item = (&str, Target)> {
    answer.fields().flat_map(|field| {
        let own = (field.role == Role::Echo).then(|| {
            let target = match &field.kind {
                Kind::Bytes { size, .. } => Target::Bytes(fixed(*size)),
                kind => Target::Bits(word_of(kind).map_or(0, |word| word.bytes * 8)),
            };
            (field.label.as_str(), target)
        });
        let bits = match &field.kind {
            Kind::Bits { bits, .. } => bits.as_slice(),
            _ => &[],
        };
        let bits = bits.iter().filter(|bit| bit.role == Role::Echo);
        let bits = bits.map(|bit| (bit.label.as_str(), Target::Bits(bit.width)));
        own.into_iter()
            .chain(bits)
            .filter_map(|(label, target)| Some((label.strip_prefix(ECHO_PREFIX)?, target)))
    })
}

/// What the answer echoes and the report cannot give it.
pub(super) fn problems(report: &Message, answer: &Message) -> Vec<String> {
    targets(answer)
        .filter_map(|(name, target)| {
            let problem = problem(report, name, &target)?;
            Some(format!("`{name}`, which {problem}"))
        })
        .collect()
}

fn problem(report: &Message, name: &str, target: &Target) -> Option<String> {
    let holds = |f: &&Field| is_named(f, name) || bit_named(f, name).is_some();
    let Some(field) = report.fields().find(holds) else {
        return Some("this report does not have".to_owned());
    };
    if field.optional {
        return Some("may be missing in this report".to_owned());
    }
    let bits = match bit_named(field, name) {
        Some(bit) => Some(bit.width),
        None => word_of(&field.kind).map(|word| word.bytes * 8),
    };
    match (target, bits) {
        (Target::Bits(wide), Some(bits)) if bits <= *wide => None,
        (Target::Bits(wide), Some(bits)) => Some(format!(
            "has {bits} bits in this report, {wide} are there for it"
        )),
        (Target::Bits(_), None) => Some("is no number in this report: echo it as bytes".to_owned()),
        (Target::Bytes(len), _) => match field.fixed_size() {
            Some(size) if size == *len && bit_named(field, name).is_none() => None,
            _ => Some(format!("does not always have {len} bytes in this report")),
        },
    }
}

fn is_named(field: &Field, name: &str) -> bool {
    field.named && field.label == name
}

fn bit_named<'f>(field: &'f Field, name: &str) -> Option<&'f Bit> {
    match &field.kind {
        Kind::Bits { bits, .. } => bits.iter().find(|bit| bit.named && bit.label == name),
        _ => None,
    }
}

/// Fields that are one number.
const fn word_of(kind: &Kind) -> Option<Word> {
    match kind {
        Kind::Int { word, .. } | Kind::Float { word, .. } | Kind::Unix { word, .. } => Some(*word),
        _ => None,
    }
}

const fn fixed(size: Size) -> usize {
    match size {
        Size::Fixed(len) => len,
        Size::Prefixed(_) | Size::Stored(_) | Size::Rest => 0,
    }
}
