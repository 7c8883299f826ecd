//! `If-Match` and `If-None-Match` of changes (RFC 9110 §13.1), so that nobody overwrites what he has
//! not seen.

use super::ProductError;

/// What must hold of what is stored for a change to be made (RFC 9110 §13.1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Precondition {
    pub if_match: Option<TagList>,
    pub if_none_match: Option<TagList>,
}

/// The value of `If-Match` or `If-None-Match`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagList {
    /// `*`
    Any,
    /// Strong tags, without their quotes.
    Tags(Vec<String>),
}

impl TagList {
    /// Whether the current tag is one of these.
    pub fn matches(&self, current: Option<&str>) -> bool {
        match (self, current) {
            (_, None) => false,
            (Self::Any, Some(_)) => true,
            (Self::Tags(tags), Some(current)) => tags.iter().any(|t| t == current),
        }
    }
}

impl Precondition {
    /// `what` names the thing in the error.
    pub(super) fn check(&self, what: &str, current: Option<&str>) -> Result<(), ProductError> {
        let is = current.map_or_else(
            || format!("there is no {what}"),
            |tag| format!("the {what} has ETag \"{tag}\""),
        );
        let refuse = |header| ProductError::Precondition {
            header,
            problem: format!("does not hold, {is}"),
        };
        if self.if_match.as_ref().is_some_and(|l| !l.matches(current)) {
            return Err(refuse("If-Match"));
        }
        if self
            .if_none_match
            .as_ref()
            .is_some_and(|l| l.matches(current))
        {
            return Err(refuse("If-None-Match"));
        }
        Ok(())
    }
}
