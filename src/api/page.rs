//! Paging of the v5 API: `limit`, `marker`, `offset` in, `page: {count, marker}` out.
//!
//! A marker is 24 hexadecimal digits: the ascending number of a product or device, padded with
//! zeros. A page holds what comes before its marker, newest first.

use schemars::JsonSchema;
use serde::Serialize;

use super::error::code;
use super::input::{Query, quoted};

/// Which page a caller asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageQuery {
    /// Only what has a smaller number.
    pub before: Option<u64>,
    pub offset: usize,
    pub limit: usize,
}

/// `page` of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Page")]
pub struct PageInfo {
    pub count: u64,
    pub marker: Option<String>,
}

impl PageQuery {
    pub fn of(query: &Query<'_>) -> Self {
        let number = |name, range, default: usize, code| {
            let found = query.integer(name, range, code);
            found.map_or(default, |n| usize::try_from(n).unwrap_or(default))
        };
        Self {
            limit: number("limit", 1..=50, 10, code::LIMIT),
            offset: number("offset", 0..=500, 0, code::INVALID),
            before: query
                .raw_like("marker", "^[0-9A-Fa-f]{24}$")
                .and_then(|text| {
                    parse_marker(text).unwrap_or_else(|| {
                        let problem = format!("got {}, takes 24 hexadecimal digits", quoted(text));
                        query.problem(code::MARKER, "marker", problem);
                        None
                    })
                }),
        }
    }
}

/// The page of a list that was asked for, of a list in memory.
#[derive(Debug)]
pub struct Cut<'a, T> {
    pub shown: Vec<&'a T>,
    /// Of the whole list.
    pub count: u64,
    /// Of the last one shown.
    pub marker: Option<String>,
}

impl PageQuery {
    /// Cuts the page out of a list that is newest first.
    pub fn cut<'a, T>(&self, all: Vec<&'a T>, seq: fn(&T) -> u64) -> Cut<'a, T> {
        let count = all.len() as u64;
        let shown: Vec<&T> = all
            .into_iter()
            .filter(|one| self.before.is_none_or(|before| seq(one) < before))
            .skip(self.offset)
            .take(self.limit)
            .collect();
        Cut {
            count,
            marker: shown.last().map(|one| marker_of(seq(one))),
            shown,
        }
    }
}

/// `None`: no marker. `Some(None)`: a marker above every number, as the default `fff…` is.
fn parse_marker(text: &str) -> Option<Option<u64>> {
    let legal = text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let number = u128::from_str_radix(text, 16).ok().filter(|_| legal)?;
    Some(u64::try_from(number).ok())
}

/// The marker of a product or device.
pub fn marker_of(seq: u64) -> String {
    format!("{seq:024x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_come_back_as_they_went() {
        for seq in [0, 1, 255, u64::MAX] {
            assert_eq!(parse_marker(&marker_of(seq)), Some(Some(seq)));
        }
        assert_eq!(parse_marker(&"f".repeat(24)), Some(None));
        assert_eq!(parse_marker("00000000000000000000000A"), Some(Some(10)));
        for bad in [
            "",
            "1",
            &"g".repeat(24),
            &"0".repeat(25),
            "+0000000000000000000000a",
        ] {
            assert_eq!(parse_marker(bad), None, "{bad}");
        }
    }
}
