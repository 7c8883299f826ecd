//! One value against one data type and its limits.
//!
//! `int` takes integers a double holds exactly, `long` and `decimal` also a string of digits
//! that is too long for a double. `DateTime` takes the two forms of the v5 API, `jsonObject` an
//! object or an array. `min` and `max` are decimal numbers in text, both inclusive.

use serde_json::Value;

use crate::base::time::Timestamp;
use crate::product::decimal::Decimal;
use crate::product::profile::{DataType, Para, Property};

/// Stable word and message.
pub(super) type Verdict = Result<(), (&'static str, String)>;

/// What a property or parameter takes.
pub(super) struct Limits<'a> {
    data_type: DataType,
    enum_list: Option<&'a [String]>,
    min: Option<&'a str>,
    max: Option<&'a str>,
    max_length: Option<u32>,
}

impl<'a> Limits<'a> {
    pub(super) fn of(property: &'a Property) -> Self {
        Self {
            data_type: property.data_type,
            enum_list: property.enum_list.as_deref(),
            min: property.min.as_deref(),
            max: property.max.as_deref(),
            max_length: property.max_length,
        }
    }

    pub(super) fn judge(&self, value: &Value) -> Verdict {
        match self.data_type {
            DataType::Int => match value.is_number().then(|| Decimal::from_json(value)) {
                Some(Some(number)) if number.is_integer() => self.judge_range(number),
                _ => Err(self.wrong_type(value)),
            },
            DataType::Long => match Decimal::from_json(value) {
                Some(number) if number.is_integer() => self.judge_range(number),
                _ => Err(self.wrong_type(value)),
            },
            DataType::Decimal => match Decimal::from_json(value) {
                Some(number) => self.judge_range(number),
                // Beyond 30 digits there is no exact form, and no limit this long either.
                None if value.is_f64() => self.judge_float(value),
                None => Err(self.wrong_type(value)),
            },
            DataType::String => match value {
                Value::String(text) => {
                    self.judge_length(text)?;
                    self.judge_enum(text)
                }
                _ => Err(self.wrong_type(value)),
            },
            DataType::Enum => match value {
                Value::String(text) => self.judge_enum(text),
                _ => Err(self.wrong_type(value)),
            },
            DataType::DateTime => match value {
                Value::String(text) if Timestamp::parse(text).is_some() => Ok(()),
                _ => Err(self.wrong_type(value)),
            },
            DataType::JsonObject => match value {
                Value::Object(_) | Value::Array(_) => Ok(()),
                _ => Err(self.wrong_type(value)),
            },
            DataType::Boolean => match value {
                Value::Bool(_) => Ok(()),
                _ => Err(self.wrong_type(value)),
            },
            DataType::StringList => self.judge_list(value),
        }
    }

    fn judge_list(&self, value: &Value) -> Verdict {
        let Value::Array(items) = value else {
            return Err(self.wrong_type(value));
        };
        for (at, item) in items.iter().enumerate() {
            let Value::String(text) = item else {
                let message = format!("entry {at} is {}, takes strings", shown(item));
                return Err(("type", message));
            };
            self.judge_length(text)
                .and_then(|()| self.judge_enum(text))
                .map_err(|(kind, message)| (kind, format!("entry {at}: {message}")))?;
        }
        Ok(())
    }

    fn judge_range(&self, number: Decimal) -> Verdict {
        // A bound that is no number is refused with the model; it cannot be judged here.
        let bound = |text: Option<&str>| text.and_then(Decimal::parse);
        let low = bound(self.min).is_some_and(|min| number < min);
        let high = bound(self.max).is_some_and(|max| number > max);
        if low || high {
            return Err(("range", format!("got {number}, takes {}", self.range())));
        }
        Ok(())
    }

    fn judge_float(&self, value: &Value) -> Verdict {
        let number = value.as_f64().unwrap_or_default();
        let bound = |text: Option<&str>| text.and_then(|t| t.parse::<f64>().ok());
        let low = bound(self.min).is_some_and(|min| number < min);
        let high = bound(self.max).is_some_and(|max| number > max);
        if low || high {
            return Err(("range", format!("got {number}, takes {}", self.range())));
        }
        Ok(())
    }

    fn judge_length(&self, text: &str) -> Verdict {
        let len = text.chars().count();
        match self.max_length {
            Some(max) if u32::try_from(len).unwrap_or(u32::MAX) > max => Err((
                "length",
                format!("got {len} characters, takes at most {max}"),
            )),
            _ => Ok(()),
        }
    }

    /// An empty list limits nothing: models of the v5 API carry it on every property.
    fn judge_enum(&self, text: &str) -> Verdict {
        match self.enum_list {
            Some(list) if !list.is_empty() && !list.iter().any(|entry| entry == text) => Err((
                "enum",
                format!(
                    "got {text:?}, takes {}",
                    one_of(list.iter().map(String::as_str))
                ),
            )),
            _ => Ok(()),
        }
    }

    fn range(&self) -> String {
        match (self.min, self.max) {
            (Some(min), Some(max)) => format!("{min} to {max}"),
            (Some(min), None) => format!("{min} or more"),
            (None, Some(max)) => format!("at most {max}"),
            (None, None) => "any number".to_owned(),
        }
    }

    fn wrong_type(&self, value: &Value) -> (&'static str, String) {
        let takes = match self.data_type {
            DataType::Int => "an int",
            DataType::Long => "a long",
            DataType::Decimal => "a decimal",
            DataType::String => "a string",
            DataType::DateTime => "a DateTime such as \"20200811T080745Z\"",
            DataType::JsonObject => "a jsonObject: an object or an array",
            DataType::Enum => "an enum: one of its names as a string",
            DataType::Boolean => "a boolean",
            DataType::StringList => "a string list",
        };
        ("type", format!("got {}, takes {takes}", shown(value)))
    }
}

impl<'a> From<&'a Para> for Limits<'a> {
    fn from(para: &'a Para) -> Self {
        Self {
            data_type: para.data_type,
            enum_list: para.enum_list.as_deref(),
            min: para.min.as_deref(),
            max: para.max.as_deref(),
            max_length: para.max_length,
        }
    }
}

/// A value in a message: its kind and, when short, itself.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => format!("the boolean {value}"),
        Value::Number(_) => format!("the number {value}"),
        Value::String(text) if text.chars().count() > 40 => {
            let start: String = text.chars().take(40).collect();
            format!("the string {start:?}…")
        }
        Value::String(_) => format!("the string {value}"),
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// `a, b, c`, at most eight of them; `none` when there are none.
pub(super) fn one_of<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let listed: Vec<&str> = names.iter().copied().take(8).collect();
    match (names.is_empty(), names.len() > listed.len()) {
        (true, _) => "none".to_owned(),
        (false, true) => format!("{}, … ({} in all)", listed.join(", "), names.len()),
        (false, false) => listed.join(", "),
    }
}
