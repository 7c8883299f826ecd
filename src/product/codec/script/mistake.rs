//! What is said to the author of a script that does not load: the mistake, its place, and what would
//! be right.

use super::fault::Fault;
use super::{FUNCTIONS, Limits};
use crate::product::codec::LoadError;
use crate::product::codec::table::closest;

/// Names of the script's own that are told.
const NAMES_TOLD: usize = 5;

/// What a script defines at its top level, or exports: its name and its type.
pub(super) type Defined = (String, String);

/// Of a script whose top level did not come to its end.
pub(super) fn of_fault(fault: Fault, source: &str, limits: Limits) -> LoadError {
    let (line, column) = fault.place.unwrap_or((1, 1));
    let time_ms = limits.time.as_millis();
    let (message, hint) = match fault.limit {
        Some("time") => (
            format!("the script's top level ran for over {time_ms} ms"),
            Some("define functions only, and let them do the work".to_owned()),
        ),
        Some("stack") => (
            "the script's top level used all its stack".to_owned(),
            Some("it nests too deeply, or a function calls itself without end".to_owned()),
        ),
        Some(what) => (
            format!("the script's top level used all its {what}"),
            Some("define functions only, and make large tables where they are used".to_owned()),
        ),
        None => thrown(&fault, line_of(source, line)),
    };
    LoadError {
        line,
        column,
        message,
        hint,
    }
}

fn line_of(source: &str, line: u32) -> &str {
    let at = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
    source.lines().nth(at).unwrap_or_default()
}

fn thrown(fault: &Fault, line: &str) -> (String, Option<String>) {
    let text = fault.text.as_str();
    let hint = hint_of(text, line.trim_start()).map(str::to_owned);
    if fault.ran {
        return (format!("the script's top level threw {text}"), hint);
    }
    // The token that was found is the end of the text.
    let is_end = text.ends_with(": ''") || text.ends_with("Unexpected end of input");
    if text.starts_with("SyntaxError") && is_end {
        let message = "SyntaxError: the script ends in the middle of something".to_owned();
        let hint = "a brace, bracket or parenthesis is not closed".to_owned();
        return (message, Some(hint));
    }
    (text.to_owned(), hint)
}

fn hint_of(text: &str, line: &str) -> Option<&'static str> {
    let is_type = |name: &&str| {
        let typed = |(_, rest): (_, &str)| rest.trim_start().starts_with(name);
        line.split_once(':').is_some_and(typed)
    };
    let is_module = ["import ", "import{", "export "]
        .iter()
        .any(|word| line.starts_with(word));
    if text.starts_with("SyntaxError") && is_module {
        Some("scripts are no modules: define functions at the top level, without import and export")
    } else if text.contains("require(") {
        Some("put everything into the one file")
    } else if text.contains("is not defined") {
        Some(
            "scripts have the language, Buffer, atob, btoa, TextEncoder, TextDecoder and console, \
             nothing else",
        )
    } else if text.starts_with("SyntaxError") && TYPES.iter().any(is_type) {
        Some("scripts are JavaScript: TypeScript has to be compiled to it first")
    } else {
        None
    }
}

/// What stands behind a colon in TypeScript, and never in JavaScript's declarations.
const TYPES: [&str; 6] = ["number", "string", "boolean", "any", "Uint8Array", "Buffer"];

/// Of a script that has none of the functions.
pub(super) fn no_function(source: &str, defined: &[Defined]) -> LoadError {
    if source.trim().is_empty() {
        return LoadError {
            line: 1,
            column: 1,
            message: "the script is empty".to_owned(),
            hint: Some(format!("it takes one of {}", FUNCTIONS.join(", "))),
        };
    }
    let misfit = defined
        .iter()
        .find(|(name, kind)| kind != "function" && FUNCTIONS.contains(&name.as_str()));
    if let Some((name, kind)) = misfit {
        let (line, column) = place_of(source, name);
        let article = if kind.starts_with('o') { "an" } else { "a" };
        return LoadError {
            line,
            column,
            message: format!("{name} is {article} {kind}, takes a function"),
            hint: None,
        };
    }
    let functions = defined.iter().filter(|(_, kind)| kind == "function");
    let names: Vec<&str> = functions.map(|(name, _)| name.as_str()).collect();
    let near = names
        .iter()
        .find_map(|name| Some((*name, closest(name, FUNCTIONS.into_iter())?)));
    let told = names.iter().take(NAMES_TOLD).copied().collect::<Vec<_>>();
    let hidden = FUNCTIONS
        .iter()
        .find(|name| found_at(source, name).is_some());
    if let (Some(name), None) = (hidden, near) {
        let (line, column) = place_of(source, name);
        return LoadError {
            line,
            column,
            message: format!("{name} is no function at the top level of the script"),
            hint: Some("define it there, or put it into module.exports".to_owned()),
        };
    }
    let first = near.map(|(name, _)| name).or_else(|| told.first().copied());
    let (line, column) = first.map_or((1, 1), |name| place_of(source, name));
    let but = match told.is_empty() {
        true => String::new(),
        false => format!(", but {}", told.join(", ")),
    };
    LoadError {
        line,
        column,
        message: format!("the script defines no function of a codec{but}"),
        hint: Some(match near {
            Some((_, right)) => format!("did you mean {right}?"),
            None => format!("it takes one of {}", FUNCTIONS.join(", ")),
        }),
    }
}

/// Where a name stands first, as a word of its own: the offset in bytes.
fn found_at(source: &str, name: &str) -> Option<usize> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let mut places = source.match_indices(name).map(|(at, _)| at);
    places.find(|at| {
        let before = source.get(..*at).and_then(|text| text.chars().next_back());
        let after = source.get(at + name.len()..);
        let after = after.and_then(|text| text.chars().next());
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// Line and column of that, both from 1; of the beginning when it stands nowhere.
fn place_of(source: &str, name: &str) -> (u32, u32) {
    let found = found_at(source, name);
    let before = found.and_then(|at| source.get(..at)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .map_or(0, |text| text.chars().count())
        + 1;
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    (number(line), number(column))
}
