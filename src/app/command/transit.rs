//! A command's steps on the state of its device: rows, events and trace follow from them.

use serde_json::Map;

use super::{converge, story};
use crate::app::envelope::{self, DeviceHeader};
use crate::app::step::{Count, Draft};
use crate::app::timers::open_state;
use crate::base::ids::CommandId;
use crate::engine::command::{self, Input, Outcome, State};
use crate::engine::exchange::Outgoing;
use crate::store::Change;
use crate::store::commands::{
    CommandRecord, CommandStatus, DownlinkKind, OpenRecord, RecentCommand, ResultRecord,
};
use crate::wire::coap::Token;

/// Ended and resting commands of a device that are still recognised.
const RECENT_MAX: usize = 4;
/// An answer that did not come for so long after its command's time does not come any more.
const DEBTS_LAST_S: u64 = 3600;

/// The word of the v5 API.
pub const fn status_word(status: CommandStatus) -> &'static str {
    match status {
        CommandStatus::Pending => "PENDING",
        CommandStatus::Expired => "EXPIRED",
        CommandStatus::Sent => "SENT",
        CommandStatus::Timeout => "TIMEOUT",
        CommandStatus::Delivered => "DELIVERED",
        CommandStatus::Successful => "SUCCESSFUL",
        CommandStatus::Failed => "FAILED",
    }
}

/// A result that tells why a command failed before the device could answer it.
pub fn failure(code: &str, why: impl Into<String>) -> ResultRecord {
    let mut detail = Map::new();
    detail.insert("error_code".to_owned(), code.into());
    detail.insert("error_msg".to_owned(), why.into().into());
    ResultRecord {
        succeeded: false,
        detail,
    }
}

/// Takes a command one step further. `result`: what it ends with, if this ends it. True when anything
/// changed.
pub fn advance(
    draft: &mut Draft<'_>,
    id: CommandId,
    input: Input,
    result: Option<&ResultRecord>,
) -> bool {
    let Some(at) = draft.commands.iter().position(|c| c.id == id) else {
        return forget(draft, id);
    };
    let Some(state) = state_of(draft, id) else {
        return false;
    };
    let states = command::step(state, draft.now, input);
    let Some(last) = states.last().copied() else {
        return false;
    };
    for next in states {
        enter(draft, at, next, input, result);
    }
    let Some(record) = draft.commands.get(at).cloned() else {
        return false;
    };
    let device_seq = draft.loaded.device.seq;
    let record = Box::new(record);
    draft.change(match last {
        State::Pending { .. } | State::Sent { .. } | State::Delivered { .. } => {
            Change::PutCommand { device_seq, record }
        }
        State::Rested | State::Ended(_) => Change::EndCommand { device_seq, record },
    });
    true
}

/// A row that is not there, although the state names it: of one that rests the history has ended, of
/// others it is damage. The queue goes on without it.
pub fn forget(draft: &mut Draft<'_>, id: CommandId) -> bool {
    let queue = &mut draft.state.queue;
    if queue.pending.iter().any(|p| p.id == id) || queue.open.iter().any(|o| o.id == id) {
        crate::bug!("command {id} is named by its device's state, and not in the queue");
    }
    queue.pending.retain(|p| p.id != id);
    queue.open.retain(|o| o.id != id);
    queue.recent.retain(|r| r.id != id);
    true
}

/// How many answers may still come that nobody waits for, and that name no command.
pub fn debts(draft: &Draft<'_>) -> u32 {
    let queue = &draft.state.queue;
    let last = queue.debts_at.map(|at| at.plus_s(DEBTS_LAST_S));
    match last {
        Some(last) if last <= draft.now => 0,
        Some(_) | None => queue.debts,
    }
}

/// One of them came, or has no need to.
pub fn pay_debt(draft: &mut Draft<'_>) {
    draft.state.queue.debts = debts(draft).saturating_sub(1);
}

/// How many such debts a command leaves: answers that nobody waits for any more, and that may still come.
fn owed(draft: &Draft<'_>, record: &CommandRecord, next: State, has_come: bool) -> u32 {
    let unanswered = matches!(next, State::Rested | State::Ended(Outcome::Timeout));
    let is_asked = record.kind == DownlinkKind::Command && record.expects_answer;
    if !is_asked || !(unanswered || has_come) {
        return 0;
    }
    let open = draft.state.queue.open.iter().find(|o| o.id == record.id);
    let transfers = open.map_or(0, |o| u32::from(o.transfers));
    transfers.saturating_sub(u32::from(has_come))
}

/// Where the command stands; `None`: it has ended.
pub fn state_of(draft: &Draft<'_>, id: CommandId) -> Option<State> {
    let queue = &draft.state.queue;
    if let Some(waiting) = queue.pending.iter().find(|p| p.id == id) {
        let expires_at = waiting.expires_at;
        return Some(State::Pending { expires_at });
    }
    if let Some(open) = queue.open.iter().find(|o| o.id == id) {
        return Some(open_state(open));
    }
    let recent = queue.recent.iter().find(|r| r.id == id)?;
    recent.rests.then_some(State::Rested)
}

/// What entering a state does to the record and to the device's state.
fn enter(
    draft: &mut Draft<'_>,
    at: usize,
    next: State,
    input: Input,
    result: Option<&ResultRecord>,
) {
    let now = draft.now;
    let Some(record) = draft.commands.get_mut(at) else {
        return;
    };
    let (id, before) = (record.id, record.status);
    let open = draft.state.queue.open.iter_mut().find(|o| o.id == id);
    match next {
        State::Pending { .. } | State::Rested => {}
        State::Sent { at, waits } => {
            record.status = CommandStatus::Sent;
            record.sent_at = Some(at);
            if let Some(open) = open {
                open.waits = waits;
                open.carried_at = now;
            }
        }
        State::Delivered { at, .. } => {
            record.status = CommandStatus::Delivered;
            record.delivered_at = Some(at);
            if let Some(open) = open {
                open.delivered_at = Some(at);
            }
        }
        State::Ended(outcome) => {
            record.status = match outcome {
                Outcome::Expired => CommandStatus::Expired,
                Outcome::Timeout => CommandStatus::Timeout,
                Outcome::Successful => CommandStatus::Successful,
                Outcome::Failed => CommandStatus::Failed,
            };
            if matches!(input, Input::Answered { .. }) {
                record.answered_at = Some(now);
            }
            record.result = outcome_result(outcome, result);
        }
    }
    let record = record.clone();
    if record.status != before {
        draft.counts.push(Count::Command(record.status));
    }
    if matches!(next, State::Rested | State::Ended(_)) {
        // What comes too late to count has come, too.
        let has_come = matches!(input, Input::Answered { .. });
        let owed = owed(draft, &record, next, has_come);
        close(draft, id, next == State::Rested, owed);
        if record.kind == DownlinkKind::Properties {
            converge::ended(draft, &record);
        }
    }
    story::tell(draft, &record, next);
    if record.kind == DownlinkKind::Command && record.status != before {
        let header = DeviceHeader::from(&draft.loaded.device);
        let word = status_word(record.status);
        draft.tell(envelope::command_status(&header, &record, word, now));
    }
}

fn outcome_result(outcome: Outcome, result: Option<&ResultRecord>) -> Option<ResultRecord> {
    match (outcome, result) {
        (Outcome::Successful | Outcome::Failed, Some(result)) => Some(result.clone()),
        (Outcome::Failed, None) => Some(failure(
            "IOTDA.014016",
            "another exchange with the device did not end in time",
        )),
        (Outcome::Successful, None) => Some(ResultRecord {
            succeeded: true,
            detail: Map::new(),
        }),
        (Outcome::Expired | Outcome::Timeout, _) => None,
    }
}

/// It is not open any more. What still comes for it is recognised for a while.
fn close(draft: &mut Draft<'_>, id: CommandId, rests: bool, owed: u32) {
    let is_it = |r: &&RecentCommand| r.id == id && r.rests && !r.by_mid;
    if draft.state.queue.recent.iter().any(|r| is_it(&r)) {
        pay_debt(draft);
    }
    let (debts, now) = (debts(draft), draft.now);
    let queue = &mut draft.state.queue;
    queue.pending.retain(|p| p.id != id);
    if let Some(known) = queue.recent.iter_mut().find(|r| r.id == id) {
        known.rests = rests;
    }
    let Some(at) = queue.open.iter().position(|o| o.id == id) else {
        return;
    };
    let OpenRecord {
        token, mid, by_mid, ..
    } = queue.open.remove(at);
    if owed > 0 && !by_mid {
        queue.debts = debts.saturating_add(owed);
        queue.debts_at = Some(now);
    }
    if queue.recent.len() >= RECENT_MAX {
        // One that has ended needs its place the least.
        let spare = queue.recent.iter().position(|r| !r.rests).unwrap_or(0);
        queue.recent.remove(spare);
    }
    queue.recent.push(RecentCommand {
        id,
        token,
        mid,
        by_mid,
        rests,
    });
    if let Some(peer) = draft.loaded.peer_in(&draft.state) {
        let tokens = vec![Token::from_u64(token)];
        draft.effect(Outgoing::Cancel { peer, tokens });
    }
}
