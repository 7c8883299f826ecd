//! A device listens: what waits for it goes down, commands first, then what its upgrade asks.

use super::step::Draft;
use super::{command, upgrade};

/// True when anything changed.
pub fn wake(draft: &mut Draft<'_>) -> bool {
    let changed = command::send::wake(draft);
    upgrade::drive::reachable(draft) | changed
}
