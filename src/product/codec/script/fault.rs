//! What a script's exceptions say: an error of the script with its place, or a limit that it hit.

use rquickjs::{Coerced, Ctx, Value};

use crate::product::codec::CodecError;

/// Letters of a script's own words that are kept.
const WORDS_MAX: usize = 300;

/// An exception, as far as it could be read.
#[derive(Debug)]
pub(super) struct Fault {
    /// `TypeError: x is undefined`
    pub(super) text: String,
    /// Of the innermost place in the script's own source; both count from 1.
    pub(super) place: Option<(u32, u32)>,
    /// What limit ended it.
    pub(super) limit: Option<&'static str>,
    /// Code of the script threw it, so its syntax is right.
    pub(super) ran: bool,
}

impl Fault {
    /// Takes the pending exception of a context. `is_over`: the deadline has passed.
    pub(super) fn take(ctx: &Ctx<'_>, error: &rquickjs::Error, is_over: bool) -> Self {
        if is_over {
            // Whatever it threw last, its time is over; and its words may take time to read.
            drop(ctx.catch());
            return Self::of_limit("time");
        }
        match error {
            rquickjs::Error::Exception => Self::read(ctx, &ctx.catch()),
            rquickjs::Error::Allocation => Self::of_limit("memory"),
            other => Self {
                text: bounded(&other.to_string()),
                place: None,
                limit: None,
                ran: false,
            },
        }
    }

    pub(super) fn of_limit(what: &'static str) -> Self {
        Self {
            text: what.to_owned(),
            place: None,
            limit: Some(what),
            ran: true,
        }
    }

    /// Reads what was thrown, which may be anything: also what throws again when it is read.
    pub(super) fn read(ctx: &Ctx<'_>, thrown: &Value<'_>) -> Self {
        let field = |name: &str| -> Option<String> {
            let object = thrown.as_object()?;
            let text = object.get::<_, Coerced<String>>(name);
            if text.is_err() {
                drop(ctx.catch());
            }
            text.ok().map(|t| t.0).filter(|t| t != "undefined")
        };
        // An out-of-memory error that finds no room for itself is null. So it is taken for one, though a
        // script may throw null, too.
        if thrown.is_null() {
            return Self::of_limit("memory");
        }
        let text = match (field("name"), field("message")) {
            (Some(name), Some(message)) if !message.is_empty() => format!("{name}: {message}"),
            (Some(name), _) => name,
            (None, Some(message)) => message,
            (None, None) => match thrown.get::<Coerced<String>>() {
                Ok(text) => format!("it threw {}", text.0),
                Err(_) => {
                    drop(ctx.catch());
                    "it threw what can't be read".to_owned()
                }
            },
        };
        let stack = field("stack").unwrap_or_default();
        let limit = match text.as_str() {
            "InternalError: out of memory" => Some("memory"),
            "InternalError: interrupted" => Some("time"),
            "InternalError: stack overflow" | "RangeError: Maximum call stack size exceeded" => {
                Some("stack")
            }
            _ => None,
        };
        Self {
            place: place_of(&stack),
            text: bounded(&text),
            limit,
            ran: stack.contains(RUN),
        }
    }

    pub(super) fn into_error(self, time_ms: u128) -> CodecError {
        match self.limit {
            Some("time") => CodecError::Limit {
                what: format!("it ran for over {time_ms} ms"),
            },
            Some("memory") => CodecError::Limit {
                what: "it used all its memory, or threw null".to_owned(),
            },
            Some(what) => CodecError::Limit {
                what: format!("it used all its {what}"),
            },
            None => CodecError::Script {
                reason: match self.place {
                    Some((line, column)) => format!("{} ({FILE}:{line}:{column})", self.text),
                    None => self.text,
                },
            },
        }
    }
}

/// The name of a script in its own stack.
pub(super) const FILE: &str = "codec.js";
/// The name of code at the top level in a stack.
const RUN: &str = "<eval>";

/// The first `codec.js:12:5` of a stack.
fn place_of(stack: &str) -> Option<(u32, u32)> {
    let (_, rest) = stack.split_once("codec.js:")?;
    let digits = |text: &str| -> String { text.chars().take_while(char::is_ascii_digit).collect() };
    let line = digits(rest);
    let column = rest
        .get(line.len()..)
        .and_then(|rest| rest.strip_prefix(':'))
        .map(digits);
    let column = column.and_then(|c| c.parse().ok()).unwrap_or(1);
    Some((line.parse().ok()?, column))
}

pub(super) fn bounded(text: &str) -> String {
    match text.char_indices().nth(WORDS_MAX) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}
