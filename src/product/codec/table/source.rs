//! Reading TOML with places: every value knows its line and column, every mistake is kept.
//!
//! [`Errors`] gathers mistakes for the whole of a load; [`Section`] is one table of the file.
//! Columns count characters, both count from 1.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::product::codec::LoadError;
use crate::product::decimal::Decimal;

/// Where something stands in the source, in bytes.
pub(super) type Place = Range<usize>;

/// Mistakes listed of one load: who has more reads no further, and a hostile source costs no more.
const MISTAKES_MAX: usize = 200;

/// Mistakes found so far.
pub(super) struct Errors<'s> {
    source: &'s str,
    found: Vec<Found>,
    /// How many there were after [`MISTAKES_MAX`].
    more: usize,
}

/// A mistake whose line and column are not counted yet.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    at: usize,
    /// Keeps mistakes at one place in the order in which they were found.
    order: usize,
    message: String,
    hint: Option<String>,
}

impl<'s> Errors<'s> {
    pub(super) const fn new(source: &'s str) -> Self {
        Self {
            source,
            found: Vec::new(),
            more: 0,
        }
    }

    pub(super) fn add(&mut self, place: &Place, message: impl Into<String>) {
        self.push(place, message.into(), None);
    }

    pub(super) fn add_hint(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(place, message.into(), Some(hint.into()));
    }

    fn push(&mut self, place: &Place, message: String, hint: Option<String>) {
        if self.is_full() {
            self.more += 1;
            return;
        }
        self.found.push(Found {
            at: place.start,
            order: self.found.len(),
            message,
            hint,
        });
    }

    pub(super) fn count(&self) -> usize {
        self.found.len()
    }

    /// Whether further mistakes are only counted: then nobody reads their hints either.
    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= MISTAKES_MAX
    }

    /// `line 12`: where something stands that a mistake elsewhere is about.
    pub(super) fn line_of(&self, place: &Place) -> String {
        let before = self.source.get(..place.start).unwrap_or_default();
        format!("line {}", before.matches('\n').count() + 1)
    }

    /// All mistakes in the order of the file, each once. One walk over the source counts lines
    /// and columns for all of them.
    pub(super) fn finish(mut self) -> Vec<LoadError> {
        self.found.sort();
        let mut errors: Vec<LoadError> = Vec::with_capacity(self.found.len());
        let mut chars = self.source.char_indices().peekable();
        let (mut line, mut column) = (1_u32, 1_u32);
        for found in self.found {
            while let Some((_, c)) = chars.next_if(|(at, _)| *at < found.at) {
                if c == '\n' {
                    line = line.saturating_add(1);
                    column = 1;
                } else {
                    column = column.saturating_add(1);
                }
            }
            let error = LoadError {
                line,
                column,
                message: found.message,
                hint: found.hint,
            };
            if errors.last() != Some(&error) {
                errors.push(error);
            }
        }
        if self.more > 0 {
            errors.push(LoadError {
                line,
                column,
                message: format!("and {} more mistakes", self.more),
                hint: Some("those above first: some of the others may follow from them".into()),
            });
        }
        errors
    }
}

/// One table of the file.
#[derive(Clone)]
pub(super) struct Section<'t, 's> {
    table: &'t DeTable<'s>,
    /// The table itself, for what is missing in it.
    pub(super) place: Place,
}

/// An integer and where it stands.
pub(super) type Integer = (i128, Place);

impl<'t, 's> Section<'t, 's> {
    pub(super) const fn new(table: &'t DeTable<'s>, place: Place) -> Self {
        Self { table, place }
    }

    /// `what` is the value's name in a mistake: a key in backticks, or what it is one of.
    pub(super) fn of(
        value: &'t Spanned<DeValue<'s>>,
        errors: &mut Errors<'_>,
        what: &str,
    ) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(table) => Some(Self::new(table, value.span())),
            _ => {
                wrong(errors, value, what, "a table { … }");
                None
            }
        }
    }

    pub(super) fn raw(&self, key: &str) -> Option<&'t Spanned<DeValue<'s>>> {
        self.table
            .iter()
            .find(|(name, _)| name.get_ref() == key)
            .map(|(_, value)| value)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.raw(key).is_some()
    }

    /// Where the value of `key` stands, else the table.
    pub(super) fn place_of(&self, key: &str) -> Place {
        self.raw(key)
            .map_or_else(|| self.place.clone(), Spanned::span)
    }

    /// Every key with its place and value, in the order of the file.
    pub(super) fn entries(&self) -> Vec<(&'t str, Place, &'t Spanned<DeValue<'s>>)> {
        let mut all: Vec<_> = self
            .table
            .iter()
            .map(|(name, value)| (name.get_ref().as_ref(), name.span(), value))
            .collect();
        all.sort_by_key(|(_, place, _)| place.start);
        all
    }

    /// Refuses keys outside `allowed`; `elsewhere` holds keys that other tables of the same
    /// sort take, `what` names this one.
    pub(super) fn allow(
        &self,
        errors: &mut Errors<'_>,
        what: &str,
        allowed: &[&str],
        elsewhere: &[&str],
    ) {
        for (name, place, _) in self.entries() {
            if allowed.contains(&name) {
                continue;
            }
            if errors.is_full() {
                errors.add(&place, "");
                continue;
            }
            if elsewhere.contains(&name) {
                errors.add_hint(
                    &place,
                    format!("key `{name}` means nothing for {what}"),
                    format!("{what} takes {}", allowed.join(", ")),
                );
                continue;
            }
            let message = format!("unknown key `{name}` in {what}");
            match closest(name, allowed.iter().copied()) {
                Some(near) => errors.add_hint(&place, message, format!("did you mean `{near}`?")),
                None => {
                    let hint = format!("{what} takes {}", allowed.join(", "));
                    errors.add_hint(&place, message, hint);
                }
            }
        }
    }

    pub(super) fn text(&self, errors: &mut Errors<'_>, key: &str) -> Option<(&'t str, Place)> {
        let value = self.raw(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some((text.as_ref(), value.span())),
            _ => {
                wrong(errors, value, &format!("`{key}`"), "a string");
                None
            }
        }
    }

    /// A string that is not empty.
    pub(super) fn name(&self, errors: &mut Errors<'_>, key: &str) -> Option<(&'t str, Place)> {
        let (text, place) = self.text(errors, key)?;
        let count = text.chars().count();
        if !(1..=128).contains(&count) {
            let message = format!("`{key}` has {count} characters, takes 1 to 128");
            errors.add(&place, message);
            return None;
        }
        Some((text, place))
    }

    pub(super) fn flag(&self, errors: &mut Errors<'_>, key: &str) -> Option<bool> {
        let value = self.raw(key)?;
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            _ => {
                wrong(errors, value, &format!("`{key}`"), "true or false");
                None
            }
        }
    }

    pub(super) fn integer(&self, errors: &mut Errors<'_>, key: &str) -> Option<Integer> {
        integer_of(self.raw(key)?, errors, key)
    }

    /// An integer within a range.
    pub(super) fn bounded(
        &self,
        errors: &mut Errors<'_>,
        key: &str,
        range: std::ops::RangeInclusive<i128>,
    ) -> Option<usize> {
        let (number, place) = self.integer(errors, key)?;
        if !range.contains(&number) {
            let (low, high) = (range.start(), range.end());
            errors.add(
                &place,
                format!("`{key}` is {number}, takes {low} to {high}"),
            );
            return None;
        }
        usize::try_from(number).ok()
    }

    /// A number as it is written, without a detour through binary.
    pub(super) fn decimal(&self, errors: &mut Errors<'_>, key: &str) -> Option<(Decimal, Place)> {
        let value = self.raw(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(_) => Decimal::new(integer_of(value, errors, key)?.0, 0),
            DeValue::Float(float) => {
                let Some(number) = Decimal::parse(float.as_str()) else {
                    let message = format!(
                        "`{key}` is {}, takes a finite number of at most 30 digits",
                        shown(value.get_ref())
                    );
                    errors.add(&value.span(), message);
                    return None;
                };
                number
            }
            _ => {
                wrong(errors, value, &format!("`{key}`"), "a number");
                return None;
            }
        };
        Some((number, value.span()))
    }

    pub(super) fn list(
        &self,
        errors: &mut Errors<'_>,
        key: &str,
    ) -> Option<(&'t [Spanned<DeValue<'s>>], Place)> {
        let value = self.raw(key)?;
        match value.get_ref() {
            DeValue::Array(items) => Some((items.as_ref(), value.span())),
            _ => {
                wrong(errors, value, &format!("`{key}`"), "a list [ … ]");
                None
            }
        }
    }

    pub(super) fn section(&self, errors: &mut Errors<'_>, key: &str) -> Option<Self> {
        Self::of(self.raw(key)?, errors, &format!("`{key}`"))
    }
}

/// A value of the wrong sort; `what` names it.
pub(super) fn wrong(
    errors: &mut Errors<'_>,
    value: &Spanned<DeValue<'_>>,
    what: &str,
    takes: &str,
) {
    let message = format!("{what} is {}, takes {takes}", shown(value.get_ref()));
    errors.add(&value.span(), message);
}

/// A value as its author wrote it, or what it is when that is long.
fn shown(value: &DeValue<'_>) -> String {
    const SHOWN_MAX: usize = 40;
    let text = match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    };
    if text.chars().count() <= SHOWN_MAX {
        return text;
    }
    let start: String = text.chars().take(SHOWN_MAX - 1).collect();
    format!("{start}…")
}

pub(super) fn integer_of(
    value: &Spanned<DeValue<'_>>,
    errors: &mut Errors<'_>,
    key: &str,
) -> Option<Integer> {
    let DeValue::Integer(integer) = value.get_ref() else {
        wrong(errors, value, &format!("`{key}`"), "an integer");
        return None;
    };
    match i128::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()) {
        Ok(number) => Some((number, value.span())),
        Err(_) => {
            let message = format!("`{key}` is an integer of over 128 bits");
            errors.add(&value.span(), message);
            None
        }
    }
}

/// A key that stands for a number: `16`, `0x10`.
pub(super) fn integer_key(key: &str) -> Option<u64> {
    match key.strip_prefix("0x").or_else(|| key.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => key.parse().ok(),
    }
}

/// The candidate that differs least from `name`, when it differs little.
pub(in crate::product::codec) fn closest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let allowed = name.chars().count() / 3 + 1;
    candidates
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(far, _)| *far <= allowed)
        .min_by_key(|(far, _)| *far)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions and replacements that lead from `a` to `b` (Levenshtein), for short
/// words; long ones are as far apart as they are long.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, from) in a.chars().take(64).enumerate() {
        let mut next = Vec::with_capacity(row.len());
        next.push(at + 1);
        for ((to, pair), step) in b.iter().zip(row.windows(2)).zip(0..) {
            let &[diagonal, above] = pair else { continue };
            let left: usize = next.get(step).copied().unwrap_or_default();
            let swap = diagonal + usize::from(!from.eq_ignore_ascii_case(to));
            next.push(swap.min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
