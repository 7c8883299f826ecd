//! One JSON object of a package, field by field. `null` counts as absent. Every problem is kept
//! with its file and path.

use std::cell::RefCell;
use std::fmt::Display;

use serde_json::{Map, Value};

use super::{MISTAKES_MAX, Mistake, PackageError};

/// Deepest value taken as it is: stored rows are read back with a bounded depth.
const DEPTH_MAX: usize = 32;
/// Entries of one list: far above what a model holds.
const LIST_MAX: usize = 1000;

/// What is wrong with one package.
#[derive(Debug, Default)]
pub(super) struct Mistakes {
    told: RefCell<Vec<Mistake>>,
    untold: RefCell<usize>,
}

impl Mistakes {
    pub(super) fn add(&self, file: &str, path: &str, message: impl Display) {
        let mut told = self.told.borrow_mut();
        if told.len() >= MISTAKES_MAX {
            *self.untold.borrow_mut() += 1;
            return;
        }
        told.push(Mistake {
            file: file.to_owned(),
            path: path.to_owned(),
            message: message.to_string(),
        });
    }

    pub(super) fn check(&self) -> Result<(), PackageError> {
        let mistakes = self.told.borrow().clone();
        if mistakes.is_empty() {
            return Ok(());
        }
        let untold = *self.untold.borrow();
        Err(PackageError::Mistakes { mistakes, untold })
    }
}

/// An object at a path of a file.
#[derive(Clone)]
pub(super) struct Node<'a> {
    pub(super) file: &'a str,
    pub(super) path: String,
    map: &'a Map<String, Value>,
    mistakes: &'a Mistakes,
}

impl<'a> Node<'a> {
    /// `value` is what a file holds.
    pub(super) fn of_file(file: &'a str, value: &'a Value, mistakes: &'a Mistakes) -> Option<Self> {
        Self::of(file, String::new(), value, mistakes)
    }

    fn of(file: &'a str, path: String, value: &'a Value, mistakes: &'a Mistakes) -> Option<Self> {
        match value {
            Value::Object(map) => Some(Self {
                file,
                path,
                map,
                mistakes,
            }),
            other => {
                let place = if path.is_empty() { "$" } else { &path };
                mistakes.add(file, place, format!("got {}, takes an object", kind(other)));
                None
            }
        }
    }

    pub(super) fn place(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }

    pub(super) fn wrong(&self, name: &str, message: impl Display) {
        self.mistakes.add(self.file, &self.place(name), message);
    }

    fn value(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    fn wrong_kind(&self, name: &str, got: &Value, takes: &str) {
        self.wrong(name, format!("got {}, takes {takes}", kind(got)));
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.value(name)? {
            Value::String(text) => Some(text.clone()),
            other => {
                self.wrong_kind(name, other, "text");
                None
            }
        }
    }

    /// Empty when it is missing, which is a mistake by then.
    pub(super) fn needed_text(&self, name: &str) -> String {
        if self.value(name).is_none() {
            self.wrong(name, "is missing, takes text");
        }
        self.text(name).unwrap_or_default()
    }

    /// One of a few words, whatever their case, as what it stands for.
    pub(super) fn word<T: Copy>(&self, name: &str, table: &[(&str, T)]) -> Option<T> {
        let text = self.text(name)?;
        let found = table
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(text.trim()));
        if found.is_none() {
            let words: Vec<&str> = table.iter().map(|(word, _)| *word).collect();
            let short: String = text.chars().take(40).collect();
            let words = words.join(", ");
            self.wrong(name, format!("got {short:?}, takes one of {words}"));
        }
        found.map(|(_, meaning)| *meaning)
    }

    pub(super) fn boolean(&self, name: &str) -> Option<bool> {
        match self.value(name)? {
            Value::Bool(found) => Some(*found),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
            other => {
                self.wrong_kind(name, other, "true or false");
                None
            }
        }
    }

    /// A number, or a number in text; empty text is none.
    pub(super) fn number(&self, name: &str) -> Option<f64> {
        let found = match self.value(name)? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) if text.trim().is_empty() => return None,
            Value::String(text) => text.trim().parse().ok(),
            other => {
                self.wrong_kind(name, other, "a number");
                return None;
            }
        };
        let found = found.filter(|number| number.is_finite());
        if found.is_none() {
            self.wrong(name, "takes a number");
        }
        found
    }

    /// A whole number from 0 on, or one in text.
    pub(super) fn whole(&self, name: &str, max: u32) -> Option<u32> {
        let found = match self.value(name)? {
            Value::Number(number) => number.as_u64(),
            Value::String(text) if text.trim().is_empty() => return None,
            Value::String(text) => text.trim().parse().ok(),
            other => {
                self.wrong_kind(name, other, "a whole number");
                return None;
            }
        };
        let found = found.and_then(|n| u32::try_from(n).ok());
        let found = found.filter(|n| *n <= max);
        if found.is_none() {
            self.wrong(name, format!("takes a whole number from 0 to {max}"));
        }
        found
    }

    /// A number as text; empty text is none.
    pub(super) fn bound(&self, name: &str) -> Option<String> {
        match self.value(name)? {
            Value::Number(number) => Some(number.to_string()),
            Value::String(text) if text.trim().is_empty() => None,
            Value::String(text) => Some(text.clone()),
            other => {
                self.wrong_kind(name, other, "a number, or a number in text");
                None
            }
        }
    }

    pub(super) fn texts(&self, name: &str) -> Option<Vec<String>> {
        let items = self.list(name)?.iter().enumerate();
        let read = items.filter_map(|(at, item)| match item {
            Value::String(text) => Some(text.clone()),
            other => {
                self.wrong_kind(&format!("{name}[{at}]"), other, "text");
                None
            }
        });
        Some(read.collect())
    }

    /// The objects of a list with their paths; none when it is absent.
    pub(super) fn objects(&self, name: &str) -> Vec<Self> {
        let items = self.list(name).unwrap_or_default().iter().enumerate();
        let read = items.filter_map(|(at, item)| {
            let path = self.place(&format!("{name}[{at}]"));
            Self::of(self.file, path, item, self.mistakes)
        });
        read.collect()
    }

    /// As [`Node::objects`], of a list that must be there.
    pub(super) fn needed_objects(&self, name: &str) -> Vec<Self> {
        if self.value(name).is_none() {
            self.wrong(name, "is missing, takes a list of objects");
        }
        self.objects(name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    fn list(&self, name: &str) -> Option<&'a [Value]> {
        match self.value(name)? {
            Value::Array(items) if items.len() <= LIST_MAX => Some(items),
            Value::Array(items) => {
                let len = items.len();
                self.wrong(name, format!("got {len} entries, takes up to {LIST_MAX}"));
                None
            }
            other => {
                self.wrong_kind(name, other, "a list");
                None
            }
        }
    }

    /// Any value, as it is.
    pub(super) fn any(&self, name: &str) -> Option<Value> {
        let value = self.value(name)?;
        if depth(value) > DEPTH_MAX {
            self.wrong(name, format!("is nested deeper than {DEPTH_MAX} levels"));
            return None;
        }
        Some(value.clone())
    }
}

/// What a JSON value is, in words.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Levels of lists and objects. Parsed JSON has at most 128.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
