//! The language of routing rules: which events a rule takes (`where`), and what of them is pushed
//! (`select`). The platform guide's "SQL statements" (5.4), with a few tolerated additions.
//!
//! ```text
//! select   = ["SELECT"] item {"," item}
//! item     = "*" | path ["AS" name] | (number | text | truth | function) "AS" name
//! where    = ["WHERE"] any
//! any      = all {"OR" all}
//! all      = term {"AND" term}
//! term     = "NOT" term | "(" any ")" | operand test | a function that answers true or false
//! test     = "IS" ["NOT"] "NULL" | (">" | "<" | "=" | ">=" | "<=" | "<>" | "!=") operand
//! operand  = path | number | text | truth | function
//! path     = part {"." part | "[" index "]"}
//! part     = letters, digits and _ | '"' characters, a quote doubled '"'
//! name     = part
//! text     = "'" characters, a quote doubled "'"
//! number   = ["-"] digits ["." digits] ["e" ["+" | "-"] digits]
//! truth    = "TRUE" | "FALSE"
//! function = "GET_TAG" "(" text ")" and the others of `ast::Function`
//! ```
//!
//! Keywords and names of functions may be in any case, all else is compared as it is. A quoted
//! *first* part is split at its dots, so that a whole path may stand in quotes: no event has such a
//! key at the top. A path without `AS` is pushed under its parts joined by dots; what an event does
//! not have is pushed as null; of two values under one key (`*` and a name) the later counts.
//!
//! Tests are true or false, there is no third value:
//!
//! - What is missing, null or an empty list IS NULL.
//! - `>` `<` `>=` `<=` hold between numbers alone.
//! - `=` and `<>` hold only when neither side IS NULL; numbers are compared by value, values of
//!   different kinds are unequal.
//!
//! A clause that is absent or blank takes everything. What can't be read is a [`SqlError`] with the
//! clause and the column, in characters from 1. Length, depth and numbers are bounded, so reading
//! and applying are short for any text and any event.
//!
//! `cursor` knows the words, `parse` the grammar, `ast` what comes of it and how it is printed,
//! `eval` what it says of an event. What is printed reads back as the same.

mod ast;
mod cursor;
mod eval;
mod parse;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

use ast::{Condition, Select};

/// Longest clause, in characters (v5 API, "Create Routing Rule").
pub const CLAUSE_MAX: usize = 2500;
/// Things selected. A pushed event is at most this many times as large as the event.
pub const ITEMS_MAX: usize = 50;
/// Tests in one `where`; each walks the event once.
pub const TESTS_MAX: usize = 100;
/// Brackets and NOTs within one another.
pub const DEPTH_MAX: usize = 16;
/// Parts of a path: events are no deeper.
pub const PARTS_MAX: usize = 40;
/// Longest name behind AS, in characters (the guide's).
pub const NAME_MAX: usize = 32;

/// What a rule makes of an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    select: Select,
    condition: Option<Condition>,
}

impl Filter {
    /// Takes every event as it is.
    pub fn all() -> Self {
        Self {
            select: Select::all(),
            condition: None,
        }
    }

    /// Reads both clauses, with or without their leading keywords. Absent and blank ones take
    /// everything.
    pub fn parse(select: Option<&str>, condition: Option<&str>) -> Result<Self, SqlError> {
        let is_said = |text: &&str| !text.trim().is_empty();
        let select = select.filter(is_said).map(parse::select).transpose()?;
        let condition = condition.filter(is_said).map(parse::condition);
        Ok(Self {
            select: select.unwrap_or_else(Select::all),
            condition: condition.transpose()?,
        })
    }

    /// Whether every event passes unchanged, so that its text need not be read.
    pub fn is_identity(&self) -> bool {
        self.condition.is_none() && self.select.is_all()
    }

    /// Whether what passes is pushed whole, so that its text can be pushed as it is.
    pub fn selects_all(&self) -> bool {
        self.select.is_all()
    }

    /// Whether `where` takes this event.
    pub fn takes(&self, event: &Value) -> bool {
        self.condition.as_ref().is_none_or(|c| c.holds(event))
    }

    /// What is pushed of this event; `None`: `where` does not take it.
    pub fn apply(&self, event: &Value) -> Option<Value> {
        self.takes(event).then(|| self.select.of(event))
    }

    /// The same of an event's JSON text, which is read only as far as need be: text that is pushed
    /// whole is given back as it is. Errors: what has to be read is no JSON.
    pub fn apply_text<'a>(&self, json: &'a str) -> serde_json::Result<Option<Cow<'a, str>>> {
        if self.is_identity() {
            return Ok(Some(Cow::Borrowed(json)));
        }
        let event: Value = serde_json::from_str(json)?;
        if self.selects_all() {
            return Ok(self.takes(&event).then_some(Cow::Borrowed(json)));
        }
        let pushed = self.apply(&event);
        Ok(pushed.map(|value| Cow::Owned(value.to_string())))
    }

    /// `select`, printed.
    pub fn select_text(&self) -> String {
        self.select.to_string()
    }

    /// `where`, printed; `None`: there is none.
    pub fn condition_text(&self) -> Option<String> {
        self.condition.as_ref().map(Condition::to_string)
    }
}

/// Which of the two a mistake is in. Printed as the API's fields are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clause {
    Select,
    Where,
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Select => "select",
            Self::Where => "where",
        })
    }
}

/// Why a clause can't be read. `at` is a column: characters of the clause, from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SqlError {
    #[error("{clause}: got {len} characters, takes up to {max}")]
    TooLong {
        clause: Clause,
        len: usize,
        max: usize,
    },
    #[error("{clause}: column {at}: found {found}, takes {takes}")]
    Unexpected {
        clause: Clause,
        at: usize,
        found: String,
        takes: String,
    },
    /// A text or a quoted name without its end.
    #[error("{clause}: column {at}: what begins here has no closing {mark}")]
    Unclosed {
        clause: Clause,
        at: usize,
        mark: char,
    },
    #[error("{clause}: column {at}: {key:?} is selected twice, takes each name once (AS renames)")]
    Twice {
        clause: Clause,
        at: usize,
        key: String,
    },
    #[error("{clause}: column {at}: more than {max} {what}")]
    TooMany {
        clause: Clause,
        at: usize,
        max: usize,
        what: &'static str,
    },
}

impl SqlError {
    /// Stable word for logs and fixtures; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "too_long",
            Self::Unexpected { .. } => "unexpected",
            Self::Unclosed { .. } => "unclosed",
            Self::Twice { .. } => "twice",
            Self::TooMany { .. } => "too_many",
        }
    }

    pub const fn clause(&self) -> Clause {
        match self {
            Self::TooLong { clause, .. }
            | Self::Unexpected { clause, .. }
            | Self::Unclosed { clause, .. }
            | Self::Twice { clause, .. }
            | Self::TooMany { clause, .. } => *clause,
        }
    }

    /// Where it is, in characters from 1; of what is too long, the first character too many.
    pub const fn column(&self) -> usize {
        match self {
            Self::TooLong { max, .. } => max.saturating_add(1),
            Self::Unexpected { at, .. }
            | Self::Unclosed { at, .. }
            | Self::Twice { at, .. }
            | Self::TooMany { at, .. } => *at,
        }
    }
}
