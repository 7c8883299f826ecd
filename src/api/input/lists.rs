//! Lists in a JSON object of a request: of objects, texts and identifiers, so many of them.

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::sketch;
use super::{Fields, TextRule};
use crate::base::ids::IdError;

impl<'a> Fields<'a> {
    /// A list of so many objects. What is no object is a problem and left out.
    pub fn objects(&self, name: &'static str, count: RangeInclusive<usize>) -> Option<Vec<Self>> {
        if let Some(sketch) = &self.sketch {
            return Some(vec![self.recording_inside(sketch.list(name, count))]);
        }
        let items = self.list(name, &count)?.iter().enumerate();
        let at = |at: usize| format!("{}[{at}]", self.path(name));
        Some(
            items
                .filter_map(|(i, item)| Self::of(item, at(i), self.problems))
                .collect(),
        )
    }

    /// The same, where each is judged by itself: its reader is not written down.
    pub fn objects_alone(
        &self,
        name: &'static str,
        count: RangeInclusive<usize>,
        description: &str,
    ) -> Option<Vec<Self>> {
        if let Some(sketch) = &self.sketch {
            let any = json!({"type": "object", "description": description});
            sketch.plain(name, sketch::items(any, &count));
        }
        self.objects(name, count)
    }

    /// A list of so many texts, each by this rule. What breaks it is a problem and left out.
    pub fn texts(
        &self,
        name: &'static str,
        count: RangeInclusive<usize>,
        rule: TextRule,
    ) -> Option<Vec<String>> {
        if let Some(sketch) = &self.sketch {
            sketch.plain(name, sketch::items(rule.schema(), &count));
            return Some(vec![rule.example(); *count.start()]);
        }
        let takes = format!("text of {}", rule.takes());
        self.items(name, &count, &takes, |text| match rule.problem(text) {
            Some(problem) => Err(problem),
            None => Ok(text.to_owned()),
        })
    }

    /// A list of so many identifiers. What is none is a problem and left out.
    pub fn ids<T: Clone>(
        &self,
        name: &'static str,
        count: RangeInclusive<usize>,
        parse: fn(&str) -> Result<T, IdError>,
    ) -> Option<Vec<T>> {
        if let Some(sketch) = &self.sketch {
            let (schema, id) = sketch::id(parse);
            sketch.plain(name, sketch::items(schema, &count));
            return id.map(|id| vec![id; *count.start()]);
        }
        let takes = "text of letters, digits, _ and -";
        self.items(name, &count, takes, |text| {
            parse(text).map_err(|e| e.to_string())
        })
    }

    /// A list of so many whole numbers. What is none is a problem and left out.
    pub fn integers(&self, name: &'static str, count: RangeInclusive<usize>) -> Option<Vec<u64>> {
        if let Some(sketch) = &self.sketch {
            let number = json!({"type": "integer", "minimum": 0});
            sketch.plain(name, sketch::items(number, &count));
            return Some(vec![0; *count.start()]);
        }
        let mut found = Vec::new();
        for (i, item) in self.list(name, &count)?.iter().enumerate() {
            match item.as_u64() {
                Some(number) => found.push(number),
                None => self.wrong(&format!("{name}[{i}]"), item, "a whole number"),
            }
        }
        Some(found)
    }

    fn items<T>(
        &self,
        name: &'static str,
        count: &RangeInclusive<usize>,
        takes: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let mut found = Vec::new();
        for (i, item) in self.list(name, count)?.iter().enumerate() {
            let place = format!("{name}[{i}]");
            match item {
                Value::String(text) => match read(text) {
                    Ok(one) => found.push(one),
                    Err(problem) => self.problem(&place, problem),
                },
                other => self.wrong(&place, other, takes),
            }
        }
        Some(found)
    }

    fn list(&self, name: &'static str, count: &RangeInclusive<usize>) -> Option<&'a [Value]> {
        let value = self.value(name)?;
        let Value::Array(items) = value else {
            self.wrong(name, value, format!("a list of {}", counted(count)));
            return None;
        };
        if !count.contains(&items.len()) {
            let problem = format!("got {} entries, takes {}", items.len(), counted(count));
            self.problem(name, problem);
            return None;
        }
        Some(items)
    }

    /// Tells that a list is not there.
    pub fn need_list(&self, name: &'static str, count: &RangeInclusive<usize>) {
        if !self.has(name) {
            self.missing(name, format!("a list of {}", counted(count)));
        }
    }
}

/// `up to 10`, `1 to 10`
fn counted(count: &RangeInclusive<usize>) -> String {
    match count.start() {
        0 => format!("up to {}", count.end()),
        min => format!("{min} to {}", count.end()),
    }
}
