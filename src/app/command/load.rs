//! Which rows of commands a step needs: read before it, since a step itself reads nothing.

use crate::app::input::Input;
use crate::app::order::Order;
use crate::base::ids::CommandId;
use crate::base::time::Timestamp;
use crate::store::commands::{CommandRecord, QueueRecord, SubmissionRecord};
use crate::store::{Store, StoreError};

/// The open commands, the first that waits and has not expired, those that have; and those that rest, when an
/// answer may be for one of them.
pub fn rows(
    store: &dyn Store,
    device_seq: u64,
    queue: &QueueRecord,
    input: &Input,
    now: Timestamp,
) -> Result<Vec<CommandRecord>, StoreError> {
    let mut ids: Vec<CommandId> = queue.open.iter().map(|o| o.id).collect();
    let expired = queue.pending.iter().filter(|p| p.expires_at <= now);
    ids.extend(expired.map(|p| p.id));
    let next = queue.pending.iter().find(|p| p.expires_at > now);
    ids.extend(next.map(|p| p.id));
    let may_answer = match input {
        Input::Report { .. } | Input::Answered { .. } => true,
        Input::Order { order, .. } => matches!(order, Order::Replay(_)),
        _ => false,
    };
    if may_answer {
        ids.extend(queue.recent.iter().filter(|r| r.rests).map(|r| r.id));
    }
    let mut rows = Vec::with_capacity(ids.len());
    for id in ids {
        rows.extend(store.command(device_seq, id)?);
    }
    Ok(rows)
}

/// What the order's name has made before.
pub fn submitted(
    store: &dyn Store,
    device_seq: u64,
    input: &Input,
) -> Result<Option<(SubmissionRecord, Option<CommandRecord>)>, StoreError> {
    let Input::Order {
        order: Order::Submit(submit),
        ..
    } = input
    else {
        return Ok(None);
    };
    let Some(name) = &submit.name else {
        return Ok(None);
    };
    let Some(before) = store.submission(device_seq, name)? else {
        return Ok(None);
    };
    let command = store.command(device_seq, before.id)?;
    Ok(Some((before, command)))
}
