//! The desired half of a device's shadow, and how the device gets there.

use super::order::{Desire, OrderError};
use super::step::{Draft, Loaded, Step};
use crate::base::time::Timestamp;

/// Changes what is desired. Its answer follows the commit.
pub fn desire(_loaded: &Loaded, _desire: &Desire, _now: Timestamp) -> Step {
    Step {
        told: Some(Err(OrderError::Busy)),
        ..Step::default()
    }
}

/// Sends the difference between what is desired and what was reported, if there is one. True when anything
/// changed.
pub const fn converge(_draft: &mut Draft<'_>) -> bool {
    false
}
