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
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            if part == "*" {
                return Ok(Some(TagList::Any));
            }
            let strong = part.strip_prefix("W/").unwrap_or(part);
            let tag = strong.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
            tags.push(tag.ok_or_else(refuse)?.to_owned());
        }
    }
    Ok((!tags.is_empty()).then_some(TagList::Tags(tags)))
}

/// The answer with its `ETag`.
pub fn with_etag(mut response: Response, etag: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(&format!("\"{etag}\"")) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response
}
