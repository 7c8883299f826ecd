//! One JSON object of a request, field by field. Over a [`Sketch`] the getters write down what is
//! asked for, and give what would be taken.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::rc::Rc;

use serde_json::{Map, Value, json};

use super::sketch::{self, Sketch};
use super::{Problems, TextRule, quoted};
use crate::base::ids::IdError;

/// Deepest value taken as it is: stored rows are read back with a bounded depth.
const DEPTH_MAX: usize = 32;

/// An object at a path. Reads record problems and give `None` or an empty value; the caller looks
/// at [`Problems`] at the end.
pub struct Fields<'a> {
    pub(super) problems: &'a Problems,
    path: String,
    map: &'a Map<String, Value>,
    /// Fields that were asked for, so that the others can be named.
    known: RefCell<Vec<&'static str>>,
    /// Recording mode.
    pub(super) sketch: Option<Rc<Sketch>>,
}

impl<'a> Fields<'a> {
    /// The whole body.
    pub fn of_body(body: &'a Value, problems: &'a Problems) -> Option<Self> {
        Self::of(body, String::new(), problems)
    }

    pub(super) fn of(value: &'a Value, path: String, problems: &'a Problems) -> Option<Self> {
        match value {
            Value::Object(map) => Some(Self {
                problems,
                path,
                map,
                known: RefCell::default(),
                sketch: None,
            }),
            other => {
                let place = if path.is_empty() { "body" } else { &path };
                problems.add(place, format!("got {}, takes an object", kind(other)));
                None
            }
        }
    }

    /// The same object, with its problems told elsewhere.
    pub fn within<'b>(&self, problems: &'b Problems) -> Fields<'b>
    where
        'a: 'b,
    {
        Fields {
            problems,
            path: self.path.clone(),
            map: self.map,
            known: RefCell::default(),
            sketch: self.sketch.clone(),
        }
    }

    /// Recording mode: `nothing` is an empty object.
    pub(super) fn recording(
        sketch: Rc<Sketch>,
        problems: &'a Problems,
        nothing: &'a Map<String, Value>,
    ) -> Self {
        Self {
            problems,
            path: String::new(),
            map: nothing,
            known: RefCell::default(),
            sketch: Some(sketch),
        }
    }

    /// An object inside, in recording mode.
    pub(super) fn recording_inside(&self, sketch: Rc<Sketch>) -> Self {
        Self::recording(sketch, self.problems, self.map)
    }

    /// The path of one of its fields.
    pub fn path(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }

    pub fn problem(&self, name: &str, problem: impl AsRef<str>) {
        self.problems.add(&self.path(name), problem);
    }

    /// Whether the field is there and not null.
    pub fn has(&self, name: &'static str) -> bool {
        self.look_up(name).is_some()
    }

    pub(super) fn value(&self, name: &'static str) -> Option<&'a Value> {
        if let Some(sketch) = &self.sketch {
            sketch.plain(name, json!({}));
        }
        self.look_up(name)
    }

    fn look_up(&self, name: &'static str) -> Option<&'a Value> {
        self.known.borrow_mut().push(name);
        self.map.get(name).filter(|v| !v.is_null())
    }

    pub(super) fn wrong(&self, name: &str, got: &Value, takes: impl Display) {
        self.problem(name, format!("got {}, takes {takes}", kind(got)));
    }

    /// A text by its rule.
    pub fn text(&self, name: &'static str, rule: TextRule) -> Option<String> {
        if let Some(sketch) = &self.sketch {
            sketch.plain(name, rule.schema());
            return Some(rule.example());
        }
        let value = self.value(name)?;
        let Value::String(text) = value else {
            self.wrong(name, value, format!("text of {}", rule.takes()));
            return None;
        };
        match rule.problem(text) {
            Some(problem) => {
                self.problem(name, problem);
                None
            }
            None => Some(text.clone()),
        }
    }

    /// A text that must be there; empty when it is not, which is a problem by then.
    pub fn needed_text(&self, name: &'static str, rule: TextRule) -> String {
        if !self.has(name) {
            self.missing(name, format!("text of {}", rule.takes()));
        }
        self.text(name, rule).unwrap_or_default()
    }

    /// Takes over the problems of a reading [`Fields::within`] others.
    pub fn append(&self, problems: Problems) {
        self.problems.append(problems);
    }

    /// Whether the field is there and is null, where that is not the same as absent.
    pub fn is_null(&self, name: &str) -> bool {
        self.map.get(name).is_some_and(Value::is_null)
    }

    pub fn missing(&self, name: &str, takes: impl Display) {
        if let Some(sketch) = &self.sketch {
            sketch.require(name);
        }
        self.problem(name, format!("is missing, takes {takes}"));
    }

    /// An identifier.
    pub fn id<T>(&self, name: &'static str, parse: fn(&str) -> Result<T, IdError>) -> Option<T> {
        if let Some(sketch) = &self.sketch {
            let (schema, id) = sketch::id(parse);
            sketch.plain(name, schema);
            return id;
        }
        let value = self.value(name)?;
        let Value::String(text) = value else {
            self.wrong(name, value, "text of letters, digits, _ and -");
            return None;
        };
        parse(text)
            .inspect_err(|e| self.problem(name, e.to_string()))
            .ok()
    }

    /// An identifier that must be there.
    pub fn needed_id<T>(
        &self,
        name: &'static str,
        parse: fn(&str) -> Result<T, IdError>,
    ) -> Option<T> {
        if !self.has(name) {
            self.missing(name, "text of letters, digits, _ and -");
        }
        self.id(name, parse)
    }

    pub fn boolean(&self, name: &'static str) -> Option<bool> {
        if let Some(sketch) = &self.sketch {
            sketch.plain(name, json!({"type": "boolean"}));
            return Some(false);
        }
        let value = self.value(name)?;
        let found = value.as_bool();
        if found.is_none() {
            self.wrong(name, value, "true or false");
        }
        found
    }

    /// A whole number in a range.
    pub fn integer(&self, name: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        if let Some(sketch) = &self.sketch {
            let (min, max) = (range.start(), range.end());
            let schema = json!({"type": "integer", "minimum": min, "maximum": max});
            sketch.plain(name, schema);
            return Some(*min);
        }
        let value = self.value(name)?;
        let takes = || format!("a whole number from {} to {}", range.start(), range.end());
        let Value::Number(number) = value else {
            self.wrong(name, value, takes());
            return None;
        };
        let found = whole(number).filter(|n| range.contains(n));
        if found.is_none() {
            self.problem(name, format!("got {number}, takes {}", takes()));
        }
        found
    }

    /// Any number in a range.
    pub fn number(&self, name: &'static str, range: RangeInclusive<f64>) -> Option<f64> {
        if let Some(sketch) = &self.sketch {
            let mut schema = json!({"type": "number"});
            if *range.start() > f64::MIN {
                sketch::put(&mut schema, "minimum", json!(range.start()));
            }
            if *range.end() < f64::MAX {
                sketch::put(&mut schema, "maximum", json!(range.end()));
            }
            sketch.plain(name, schema);
            return Some(range.start().max(0.0));
        }
        let value = self.value(name)?;
        let takes = match (*range.start(), *range.end()) {
            (f64::MIN, f64::MAX) => "a number".to_owned(),
            (min, f64::MAX) => format!("a number of {min} or more"),
            (min, max) => format!("a number from {min} to {max}"),
        };
        let Value::Number(number) = value else {
            self.wrong(name, value, takes);
            return None;
        };
        let found = number.as_f64().filter(|n| range.contains(n));
        if found.is_none() {
            self.problem(name, format!("got {number}, takes {takes}"));
        }
        found
    }

    /// One of a few words.
    pub fn choice(&self, name: &'static str, words: &[&'static str]) -> Option<&'static str> {
        if let Some(sketch) = &self.sketch {
            sketch.plain(name, sketch::words(words));
            return words.first().copied();
        }
        let value = self.value(name)?;
        let takes = || format!("one of {}", words.join(", "));
        let Value::String(text) = value else {
            self.wrong(name, value, takes());
            return None;
        };
        let found = words.iter().find(|w| *w == text).copied();
        if found.is_none() {
            self.problem(name, format!("got {}, takes {}", quoted(text), takes()));
        }
        found
    }

    /// One of a few words that must be there; the first word when it is not.
    pub fn needed_choice(&self, name: &'static str, words: &[&'static str]) -> &'static str {
        if !self.has(name) {
            self.missing(name, format!("one of {}", words.join(", ")));
        }
        self.choice(name, words)
            .or_else(|| words.first().copied())
            .unwrap_or_default()
    }

    /// One of a few words, as what it stands for.
    pub fn one_of<T: Copy>(&self, name: &'static str, table: &[(&'static str, T)]) -> Option<T> {
        let words: Vec<&'static str> = table.iter().map(|(word, _)| *word).collect();
        let word = self.choice(name, &words)?;
        table.iter().find(|(w, _)| *w == word).map(|(_, t)| *t)
    }

    /// An object inside.
    pub fn object(&self, name: &'static str) -> Option<Self> {
        if let Some(sketch) = &self.sketch {
            return Some(self.recording_inside(sketch.object(name)));
        }
        Self::of(self.value(name)?, self.path(name), self.problems)
    }

    /// Any value, as it is.
    pub fn any(&self, name: &'static str) -> Option<Value> {
        let value = self.value(name)?;
        if depth(value) > DEPTH_MAX {
            let problem = format!("is nested deeper than {DEPTH_MAX} levels");
            self.problem(name, problem);
            return None;
        }
        Some(value.clone())
    }

    /// An object with any fields, as it is, up to `max` bytes of JSON.
    pub fn map(&self, name: &'static str, max: usize) -> Option<Map<String, Value>> {
        if let Some(sketch) = &self.sketch {
            let description = format!("Up to {max} bytes of JSON.");
            sketch.plain(name, json!({"type": "object", "description": description}));
            return Some(Map::new());
        }
        let got = self.value(name)?;
        match self.any(name)? {
            Value::Object(map) => {
                let len = got.to_string().len();
                if len > max {
                    self.problem(name, format!("got {len} bytes of JSON, takes up to {max}"));
                    return None;
                }
                Some(map)
            }
            other => {
                self.wrong(name, &other, "an object");
                None
            }
        }
    }

    /// Makes every field that was not asked for a problem. Under `/v1` alone: the v5 API ignores
    /// what it does not know.
    pub fn refuse_others(&self) {
        if let Some(sketch) = &self.sketch {
            sketch.close();
        }
        let known = self.known.borrow();
        for name in self.map.keys().filter(|n| !known.contains(&n.as_str())) {
            let mut names = known.clone();
            names.sort_unstable();
            names.dedup();
            let problem = format!("is not a field here, the fields are {}", names.join(", "));
            // Cut here, for the caller may have written anything.
            let shown: String = name.chars().take(64).collect();
            self.problem(&shown, problem);
        }
    }
}

/// A whole number, also when it is written as `1.0` or `1e3`: JSON knows but one kind of number.
fn whole(number: &serde_json::Number) -> Option<u32> {
    if let Some(n) = number.as_u64() {
        return u32::try_from(n).ok();
    }
    let found = number.as_f64()?;
    let is_whole = (0.0..=f64::from(u32::MAX)).contains(&found) && found.trunc() == found;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole and in range"
    )]
    is_whole.then_some(found as u32)
}

/// What a JSON value is, in words, with numbers and booleans themselves.
fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(b) => format!("{b}"),
        Value::Number(n) => format!("the number {n}"),
        Value::String(_) => "text".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
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
