//! JSON as people write it for ChirpStack's tests: with comments, commas after the last entry and hex
//! numbers. [`to_json`] makes plain JSON of it; line breaks stay, so that places in errors are right.

/// Plain JSON text. What is wrong in it stays wrong: the parser says so.
pub(super) fn to_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '"' => string(rest, &mut out),
            '/' => comment(rest, &mut out),
            ',' => comma(rest, &mut out),
            '0' => hex_number(rest, &mut out),
            _ => None,
        };
        let taken = taken.unwrap_or_else(|| {
            out.push(c);
            c.len_utf8()
        });
        rest = rest.get(taken..).unwrap_or_default();
    }
    out
}

/// A string up to its closing quote, or to the end.
fn string(rest: &str, out: &mut String) -> Option<usize> {
    let mut escaped = false;
    let closing = rest.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    let len = closing.map_or(rest.len(), |(at, _)| at + 1);
    out.push_str(rest.get(..len)?);
    Some(len)
}

fn comment(rest: &str, out: &mut String) -> Option<usize> {
    let len = comment_len(rest)?;
    let skipped = rest.get(..len)?;
    out.extend(skipped.chars().filter(|c| *c == '\n'));
    Some(len)
}

fn comment_len(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    let inner = rest.strip_prefix("/*")?;
    Some(inner.find("*/").map_or(rest.len(), |at| at + 4))
}

/// A comma is dropped when nothing but blanks and comments stands before the closing bracket.
fn comma(rest: &str, out: &mut String) -> Option<usize> {
    let mut after = rest.get(1..)?;
    loop {
        after = after.trim_start();
        match comment_len(after) {
            Some(len) => after = after.get(len..)?,
            None => break,
        }
    }
    if !after.starts_with([']', '}']) {
        out.push(',');
    }
    Some(1)
}

fn hex_number(rest: &str, out: &mut String) -> Option<usize> {
    // The 0 of 10x is no beginning of a number.
    if out.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '.') {
        return None;
    }
    let digits = rest
        .strip_prefix("0x")
        .or_else(|| rest.strip_prefix("0X"))?;
    let end = digits.find(|c: char| !c.is_ascii_hexdigit());
    let digits = digits.get(..end.unwrap_or(digits.len()))?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    out.push_str(&number.to_string());
    Some(digits.len() + 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn relaxed_text_is_read() {
        let text = "[ // all\n {\"a // b\": 0x7F, /* x\n */ \"c\\\"/*\": [0x00, 10, 0.5,], },\n]";
        let plain = to_json(text);
        assert_eq!(plain.lines().count(), text.lines().count());
        let value: Value = serde_json::from_str(&plain).unwrap();
        assert_eq!(value, json!([{ "a // b": 127, "c\"/*": [0, 10, 0.5] }]));
        for broken in ["[0xg]", "[1,,]", "/* open", "\"open"] {
            assert!(
                serde_json::from_str::<Value>(&to_json(broken)).is_err(),
                "{broken}"
            );
        }
    }

    proptest! {
        #[test]
        fn plain_json_stays_as_it_is(texts in prop::collection::vec(".*", 0..8), n in 0u64..) {
            let text = json!({ "n": n, "texts": texts }).to_string();
            prop_assert_eq!(to_json(&text), text);
        }

        #[test]
        fn any_text_ends(text in ".*") {
            prop_assert!(to_json(&text).len() <= text.len() * 2);
        }
    }
}
