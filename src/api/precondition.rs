//! `ETag`, `If-Match` and `If-None-Match` (RFC 9110 §8.8.3, §13.1).

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;

use super::error::ApiError;
use crate::app::product::precondition::{Precondition, TagList};

/// Those of a request. Errors: 400 for what is no list of tags.
pub fn precondition_of(headers: &HeaderMap) -> Result<Precondition, ApiError> {
    Ok(Precondition {
        if_match: tags_of(headers, &header::IF_MATCH, "If-Match")?,
        if_none_match: tags_of(headers, &header::IF_NONE_MATCH, "If-None-Match")?,
    })
}

/// `*`, or tags in quotes (RFC 9110 §13.1). A weak tag compares as its strong one: nothing here
/// has weak ones, but a cache between may have marked it.
fn tags_of(
    headers: &HeaderMap,
    name: &header::HeaderName,
    shown: &str,
) -> Result<Option<TagList>, ApiError> {
    let mut tags = Vec::new();
    for value in headers.get_all(name) {
        let refuse = || ApiError::malformed(format!("{shown}: takes * or tags in quotes"));
        let text = value.to_str().map_err(|_| refuse())?;
        if text.trim() == "*" {
            return Ok(Some(TagList::Any));
        }
        // A list without a tag was meant to hold one: no condition at all would lose an update.
        let found = tags_in(text).filter(|found| !found.is_empty());
        tags.extend(found.ok_or_else(refuse)?);
    }
    Ok((!tags.is_empty()).then_some(TagList::Tags(tags)))
}

/// Tags in quotes with commas between them. A tag itself may hold a comma. `None`: anything else.
fn tags_in(text: &str) -> Option<Vec<String>> {
    let between = |c: char| matches!(c, ',' | ' ' | '\t');
    let mut tags = Vec::new();
    let mut rest = text.trim_start_matches(between);
    while !rest.is_empty() {
        let strong = rest.strip_prefix("W/").unwrap_or(rest);
        let (tag, after) = strong.strip_prefix('"')?.split_once('"')?;
        tags.push(tag.to_owned());
        rest = after.trim_start_matches(between);
        if !rest.is_empty() && !after.trim_start().starts_with(',') {
            return None;
        }
    }
    Some(tags)
}

/// The answer with its `ETag`.
pub fn with_etag(mut response: Response, etag: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(&format!("\"{etag}\"")) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tags_are_told_apart() {
        let cases: [(&str, Option<&[&str]>); 9] = [
            ("\"a\"", Some(&["a"])),
            ("W/\"a\" , \"b\"", Some(&["a", "b"])),
            ("\"a,b\",\"\"", Some(&["a,b", ""])),
            (" , \"a\",, ", Some(&["a"])),
            ("", Some(&[])),
            ("a", None),
            ("\"a", None),
            ("\"a\" \"b\"", None),
            ("*, \"a\"", None),
        ];
        for (text, want) in cases {
            let want = want.map(|tags| tags.iter().map(ToString::to_string).collect());
            assert_eq!(tags_in(text), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(tags in prop::collection::vec("[!#-~]{0,9}", 0..5)) {
            let quoted: Vec<String> = tags.iter().map(|tag| format!("W/\"{tag}\"")).collect();
            prop_assert_eq!(tags_in(&quoted.join(", ")), Some(tags));
        }

        #[test]
        fn anything_is_read(text in "[ -~\t]{0,30}") {
            tags_in(&text);
        }
    }
}
