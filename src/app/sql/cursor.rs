//! A place in a clause, and the words that can stand there. White space between them is dropped.

use nom::bytes::complete::{tag, tag_no_case, take_while, take_while1};
use nom::character::complete::{char, digit1, one_of};
use nom::combinator::{not, opt, recognize};
use nom::sequence::{preceded, terminated};
use nom::{IResult, Parser};
use serde_json::Number;

use super::ast::is_of_word;
use super::{CLAUSE_MAX, Clause, SqlError};

/// Characters of what was found that an error shows.
const SHOWN: usize = 40;

/// What is left of a clause. It begins with no white space.
pub(super) struct Cursor<'a> {
    clause: Clause,
    text: &'a str,
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(clause: Clause, text: &'a str) -> Result<Self, SqlError> {
        let len = text.chars().count();
        if len > CLAUSE_MAX {
            let max = CLAUSE_MAX;
            return Err(SqlError::TooLong { clause, len, max });
        }
        let rest = text.trim_start();
        Ok(Self { clause, text, rest })
    }

    pub(super) const fn clause(&self) -> Clause {
        self.clause
    }

    /// The column of what comes next.
    pub(super) fn at(&self) -> usize {
        let left = self.rest.chars().count();
        self.text.chars().count().saturating_sub(left) + 1
    }

    pub(super) const fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// What comes next is not what could stand here.
    pub(super) fn unexpected(&self, takes: impl Into<String>) -> SqlError {
        SqlError::Unexpected {
            clause: self.clause,
            at: self.at(),
            found: self.found(),
            takes: takes.into(),
        }
    }

    fn found(&self) -> String {
        let Some(first) = self.rest.chars().next() else {
            return "the end".to_owned();
        };
        let ends_at: fn(char) -> bool = match first {
            '\'' => |c| c == '\'',
            '"' => |c| c == '"',
            c if is_of_word(c) => |c| !is_of_word(c),
            _ => return format!("{:?}", first.to_string()),
        };
        let behind = self.rest.get(first.len_utf8()..).unwrap_or_default();
        let quote = matches!(first, '\'' | '"');
        let len = behind.find(ends_at).map_or(behind.len(), |at| {
            // The closing quote is shown.
            at + usize::from(quote)
        });
        let whole = self.rest.get(..first.len_utf8() + len).unwrap_or_default();
        let shown: String = whole.chars().take(SHOWN).collect();
        let more = if shown.len() < whole.len() { "…" } else { "" };
        match quote {
            true => format!("{shown}{more}"),
            false => format!("{:?}", format!("{shown}{more}")),
        }
    }

    fn take<T>(&mut self, parser: impl Fn(&'a str) -> IResult<&'a str, T>) -> Option<T> {
        let (rest, taken) = parser(self.rest).ok()?;
        // Unicode's white space as well: texts are pasted from anywhere.
        self.rest = rest.trim_start();
        Some(taken)
    }

    pub(super) fn symbol(&mut self, symbol: &str) -> bool {
        self.take(|input| tag(symbol).parse(input)).is_some()
    }

    /// A whole word, in any case.
    pub(super) fn keyword(&mut self, word: &str) -> bool {
        let whole = |input| terminated(tag_no_case(word), word_end).parse(input);
        self.take(whole).is_some()
    }

    /// Letters, digits and `_`.
    pub(super) fn word(&mut self) -> Option<&'a str> {
        self.take(whole_word)
    }

    /// The word that comes next, and whether a bracket opens behind it.
    pub(super) fn peek_word(&self) -> Option<(&'a str, bool)> {
        let (rest, word) = whole_word(self.rest).ok()?;
        Some((word, opening(rest).is_ok()))
    }

    /// What stands between two marks, doubled ones inside made one.
    pub(super) fn quoted(&mut self, mark: char) -> Result<Option<String>, SqlError> {
        let Some(mut rest) = self.rest.strip_prefix(mark) else {
            return Ok(None);
        };
        let mut text = String::new();
        loop {
            let Some((piece, behind)) = rest.split_once(mark) else {
                return Err(SqlError::Unclosed {
                    clause: self.clause,
                    at: self.at(),
                    mark,
                });
            };
            text.push_str(piece);
            match behind.strip_prefix(mark) {
                Some(more) => {
                    text.push(mark);
                    rest = more;
                }
                None => {
                    self.rest = behind.trim_start();
                    return Ok(Some(text));
                }
            }
        }
    }

    pub(super) fn begins_quoted(&self) -> bool {
        self.rest.starts_with('"')
    }

    /// Whether what comes next can only be a number.
    pub(super) fn begins_number(&self) -> bool {
        self.rest
            .starts_with(|c: char| c.is_ascii_digit() || c == '-')
    }

    /// Whole numbers of 64 bits stay exact, others are doubles.
    pub(super) fn number(&mut self) -> Option<Number> {
        let (rest, text) = number_text(self.rest).ok()?;
        let number = text.parse::<i64>().map(Number::from);
        let number = number.or_else(|_| text.parse::<u64>().map(Number::from));
        let number = number
            .ok()
            .or_else(|| Number::from_f64(text.parse::<f64>().ok()?))?;
        self.rest = rest.trim_start();
        Some(number)
    }

    /// A place in a list.
    pub(super) fn index(&mut self) -> Option<usize> {
        let (rest, text) = terminated(digits, word_end).parse(self.rest).ok()?;
        let index = text.parse().ok()?;
        self.rest = rest.trim_start();
        Some(index)
    }
}

fn digits(input: &str) -> IResult<&str, &str> {
    digit1.parse(input)
}

fn number_text(input: &str) -> IResult<&str, &str> {
    let fraction = (char('.'), digit1);
    let exponent = (one_of("eE"), opt(one_of("+-")), digit1);
    let parts = (opt(char('-')), digit1, opt(fraction), opt(exponent));
    terminated(recognize(parts), word_end).parse(input)
}

fn whole_word(input: &str) -> IResult<&str, &str> {
    take_while1(is_of_word).parse(input)
}

fn opening(input: &str) -> IResult<&str, char> {
    preceded(take_while(char::is_whitespace), char('(')).parse(input)
}

/// Nothing of a word follows.
fn word_end(input: &str) -> IResult<&str, ()> {
    not(whole_word).parse(input)
}
