//! The query string of a request. Keys that nobody asks for are ignored, as in the v5 API; a key
//! given twice is a problem, for nobody knows which one was meant.

use std::ops::RangeInclusive;
use std::rc::Rc;

use axum::http::Uri;
use serde_json::json;

use super::sketch::{self, Sketch};
use super::{Problems, TextRule, quoted};
use crate::api::error::{ApiError, code};
use crate::base::ids::IdError;
use crate::base::time::Timestamp;

/// A parsed query string.
pub struct Query<'a> {
    pairs: Vec<(String, String)>,
    problems: &'a Problems,
    /// Recording mode.
    sketch: Option<Rc<Sketch>>,
}

impl<'a> Query<'a> {
    pub fn of(uri: &Uri, problems: &'a Problems) -> Result<Self, ApiError> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| ApiError::malformed("the query string can't be read, takes key=value&…"))?
            .0;
        Ok(Self {
            pairs,
            problems,
            sketch: None,
        })
    }

    /// Recording mode.
    pub(super) const fn recording(sketch: Rc<Sketch>, problems: &'a Problems) -> Self {
        Self {
            pairs: Vec::new(),
            problems,
            sketch: Some(sketch),
        }
    }

    fn value(&self, name: &str) -> Option<&str> {
        if let Some(sketch) = &self.sketch {
            sketch.plain(name, json!({"type": "string"}));
        }
        let mut found = self.pairs.iter().filter(|(key, _)| key == name);
        let value = found.next()?;
        if found.next().is_some() {
            self.problems.add(name, "is given twice, takes one value");
        }
        Some(&value.1)
    }

    pub fn text(&self, name: &str, rule: TextRule) -> Option<String> {
        if let Some(sketch) = &self.sketch {
            sketch.plain(name, rule.schema());
            return Some(rule.example());
        }
        let text = self.value(name)?;
        match rule.problem(text) {
            Some(problem) => {
                self.problems.add(name, problem);
                None
            }
            None => Some(text.to_owned()),
        }
    }

    /// A text that must be there; empty when it is not, which is a problem by then.
    pub fn needed_text(&self, name: &str, rule: TextRule) -> String {
        self.check_there(name, &rule.takes());
        self.text(name, rule).unwrap_or_default()
    }

    pub fn id<T>(&self, name: &str, parse: fn(&str) -> Result<T, IdError>) -> Option<T> {
        if let Some(sketch) = &self.sketch {
            let (schema, id) = sketch::id(parse);
            sketch.plain(name, schema);
            return id;
        }
        parse(self.value(name)?)
            .inspect_err(|e| self.problems.add(name, e.to_string()))
            .ok()
    }

    pub fn boolean(&self, name: &str) -> Option<bool> {
        if let Some(sketch) = &self.sketch {
            sketch.plain(name, json!({"type": "boolean"}));
            return Some(false);
        }
        match self.value(name)? {
            "true" => Some(true),
            "false" => Some(false),
            other => {
                let problem = format!("got {}, takes true or false", quoted(other));
                self.problems.add(name, problem);
                None
            }
        }
    }

    /// A whole number in a range; out of it, a problem with this code.
    pub fn integer(
        &self,
        name: &str,
        range: RangeInclusive<u64>,
        code: &'static str,
    ) -> Option<u64> {
        if let Some(sketch) = &self.sketch {
            let (min, max) = (range.start(), range.end());
            let schema = json!({"type": "integer", "minimum": min, "maximum": max});
            sketch.plain(name, schema);
            return Some(*min);
        }
        let text = self.value(name)?;
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let found = text.parse().ok().filter(|n| digits && range.contains(n));
        if found.is_none() {
            let problem = format!(
                "got {}, takes a whole number from {} to {}",
                quoted(text),
                range.start(),
                range.end()
            );
            self.problems.add_as(code, name, problem);
        }
        found
    }

    pub fn time(&self, name: &str) -> Option<Timestamp> {
        if let Some(sketch) = &self.sketch {
            sketch.plain(name, sketch::time());
            return Some(Timestamp::from_ms(0));
        }
        let text = self.value(name)?;
        let time = Timestamp::parse(text);
        if time.is_none() {
            let problem = format!("got {}, takes a time like 20260131T235959Z", quoted(text));
            self.problems.add_as(code::TIME_FORMAT, name, problem);
        }
        time
    }

    /// Both ends of a range of times, in order.
    pub fn times(&self, from: &str, to: &str) -> (Option<Timestamp>, Option<Timestamp>) {
        let ends = (self.time(from), self.time(to));
        if let (Some(first), Some(last)) = ends
            && first > last
        {
            let problem = format!("is later than {to}, takes the same time or an earlier one");
            self.problems.add_as(code::TIME_ORDER, from, problem);
        }
        ends
    }

    /// A word that must be there and be this one.
    pub fn needed_word(&self, name: &str, word: &str) {
        if let Some(sketch) = &self.sketch {
            sketch.plain(name, sketch::words(&[word]));
            sketch.require(name);
        }
        match self.value(name) {
            Some(text) if text == word => {}
            Some(text) => {
                let problem = format!("got {}, takes {word}", quoted(text));
                self.problems.add(name, problem);
            }
            None => self.problems.add(name, format!("is missing, takes {word}")),
        }
    }

    /// One of a few words, as what it stands for.
    pub fn one_of<T: Copy>(&self, name: &str, table: &[(&'static str, T)]) -> Option<T> {
        let words: Vec<&'static str> = table.iter().map(|(word, _)| *word).collect();
        if let Some(sketch) = &self.sketch {
            sketch.plain(name, sketch::words(&words));
            return table.first().map(|(_, t)| *t);
        }
        let text = self.value(name)?;
        let found = table.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let words = words.join(", ");
            let problem = format!("got {}, takes one of {words}", quoted(text));
            self.problems.add(name, problem);
        }
        found.map(|(_, t)| *t)
    }

    /// One of a few words that must be there.
    pub fn needed_one_of<T: Copy>(&self, name: &str, table: &[(&'static str, T)]) -> Option<T> {
        let words: Vec<&str> = table.iter().map(|(word, _)| *word).collect();
        self.check_there(name, &format!("one of {}", words.join(", ")));
        self.one_of(name, table)
    }

    /// An identifier that must be there.
    pub fn needed_id<T>(&self, name: &str, parse: fn(&str) -> Result<T, IdError>) -> Option<T> {
        self.check_there(name, "letters, digits, _ and -");
        self.id(name, parse)
    }

    fn check_there(&self, name: &str, takes: &str) {
        if let Some(sketch) = &self.sketch {
            sketch.require(name);
        } else if self.pairs.iter().all(|(key, _)| key != name) {
            self.problems
                .add(name, format!("is missing, takes {takes}"));
        }
    }

    /// The raw value of what has a form of its own, which this pattern describes.
    pub fn raw_like(&self, name: &str, pattern: &str) -> Option<&str> {
        if let Some(sketch) = &self.sketch {
            sketch.plain(name, json!({"type": "string", "pattern": pattern}));
        }
        self.value(name)
    }

    /// The raw value, for what has a form of its own.
    pub fn raw(&self, name: &str) -> Option<&str> {
        self.value(name)
    }

    pub fn problem(&self, code: &'static str, name: &str, problem: impl AsRef<str>) {
        self.problems.add_as(code, name, problem);
    }
}
