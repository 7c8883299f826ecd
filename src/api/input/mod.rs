//! Reads what callers send. Every problem is collected with its path
//! (`service_capabilities[0].properties[2].min`), what it got and what it takes, so that one answer
//! tells them all, up to a bound.
//!
//! [`Fields`] reads a JSON object, [`Query`] a query string. `null` counts as absent. In recording
//! mode ([`sketch`]) they describe what a reader asks for.

mod fields;
mod lists;
mod query;
mod rule;
pub mod sketch;

#[cfg(test)]
mod tests;

use std::cell::RefCell;

use axum::http::{StatusCode, Uri};
use serde_json::Value;

use super::error::{ApiError, code};

pub use fields::Fields;
pub use query::Query;
pub use rule::{Alphabet, TextRule};

/// Problems told in one answer.
const TOLD_MAX: usize = 20;

/// What is wrong with one request.
#[derive(Debug, Default)]
pub struct Problems {
    found: RefCell<Found>,
}

#[derive(Debug, Default)]
struct Found {
    first_code: Option<&'static str>,
    told: Vec<String>,
    untold: usize,
}

impl Problems {
    /// `path: problem`, as invalid input.
    pub fn add(&self, path: &str, problem: impl AsRef<str>) {
        self.add_as(code::INVALID, path, problem);
    }

    /// The same with an error code of its own, which counts when it is the first problem.
    pub fn add_as(&self, code: &'static str, path: &str, problem: impl AsRef<str>) {
        let mut found = self.found.borrow_mut();
        found.first_code.get_or_insert(code);
        if found.told.len() < TOLD_MAX {
            found.told.push(format!("{path}: {}", problem.as_ref()));
        } else {
            found.untold += 1;
        }
    }

    /// Takes over the problems of another reading.
    pub fn append(&self, other: Self) {
        let other = other.found.into_inner();
        let mut found = self.found.borrow_mut();
        found.first_code = found.first_code.or(other.first_code);
        found.untold += other.untold;
        for told in other.told {
            if found.told.len() < TOLD_MAX {
                found.told.push(told);
            } else {
                found.untold += 1;
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.found.borrow().first_code.is_none()
    }

    /// 400 with all problems, when there are any.
    pub fn check(&self) -> Result<(), ApiError> {
        let found = self.found.borrow();
        let Some(code) = found.first_code else {
            return Ok(());
        };
        let mut message = found.told.join("; ");
        if found.untold > 0 {
            message.push_str(&format!("; and {} more", found.untold));
        }
        Err(ApiError::new(StatusCode::BAD_REQUEST, code, message))
    }
}

/// Reads a whole body: all problems in one error.
pub fn read_body<T>(
    body: &Value,
    reader: impl FnOnce(&Fields<'_>) -> Option<T>,
) -> Result<T, ApiError> {
    let problems = Problems::default();
    let read = Fields::of_body(body, &problems).and_then(|fields| reader(&fields));
    problems.check()?;
    // A reader that gives nothing has told why.
    read.ok_or_else(|| ApiError::invalid("body: takes an object"))
}

/// Reads a query string: all problems in one error.
pub fn read_query<T>(uri: &Uri, reader: impl FnOnce(&Query<'_>) -> T) -> Result<T, ApiError> {
    let problems = Problems::default();
    let read = reader(&Query::of(uri, &problems)?);
    problems.check()?;
    Ok(read)
}

/// Text for an error: short, and on one line.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 40;
    let mut short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}
