//! The end of an attempt: the device's row, the campaign's subtask and the event are one commit.

use super::What;
use super::drive::{news, tell};
use crate::app::envelope::{self, DeviceHeader};
use crate::app::step::Draft;
use crate::engine::batch::{Input, RetryPolicy, State, Subtask};
use crate::engine::exchange::Outgoing;
use crate::engine::upgrade::{Outcome, Reason};
use crate::store::Change;
use crate::store::catalog::{SubtaskError, SubtaskRecord, SubtaskState};
use crate::store::records::ObservationStatus;
use crate::store::upgrades::StepRecord;
use crate::wire::coap::Token;

/// Attempts that fail one after the other, without the device having got further, before it is left alone.
const FRUITLESS_MAX: u8 = 6;

/// Ends the attempt.
pub(super) fn end(draft: &mut Draft<'_>, outcome: &Outcome) {
    forget_requests(draft);
    let now = draft.now;
    let Some(record) = draft.state.upgrade.as_deref_mut() else {
        return;
    };
    record.step = StepRecord::Ended;
    let mut subtask = Subtask {
        state: State::Processing,
        tries: record.tries,
        policy: RetryPolicy {
            count: record.retry.count,
            interval_ms: record.retry.interval_ms,
        },
    };
    let mut reason = match outcome {
        Outcome::Failed(reason) => Some(reason.clone()),
        Outcome::Success { .. } | Outcome::Stopped => None,
    };
    record.fruitless = match &reason {
        Some(_) => record.fruitless.saturating_add(1),
        None => 0,
    };
    if record.fruitless >= FRUITLESS_MAX {
        let times = record.fruitless;
        reason = reason.map(|_| Reason::Quarantined { times });
    }
    let state = match (outcome, &reason) {
        (Outcome::Stopped, _) => State::Stopped,
        (_, Some(reason)) => {
            let retriable = reason.may_pass();
            subtask.step(now, Input::Fail { retriable });
            subtask.state
        }
        (_, None) => State::Success,
    };
    let (task_seq, index, tries) = (record.task_seq, record.index, record.tries);
    let package_id = record.package_id.clone();
    let row = SubtaskRecord {
        target: draft.loaded.device.device_id.as_str().to_owned(),
        input: None,
        refused: false,
        state: match state {
            State::Waiting | State::Processing | State::Success => SubtaskState::Success,
            State::Fail => SubtaskState::Fail,
            State::FailWaitRetry { at } => SubtaskState::FailWaitRetry { at },
            State::Stopped => SubtaskState::Stopped,
            State::Removed => SubtaskState::Removed,
        },
        tries,
        unconfirmed: false,
        output: None,
        error: reason.as_ref().map(|reason| SubtaskError {
            error_code: format!("upgrade_{}", reason.kind()),
            error_msg: reason.text(),
        }),
    };
    draft.change(Change::PutSubtask {
        task_seq,
        index,
        record: Box::new(row),
    });
    let text = reason.as_ref().map(Reason::text);
    let header = DeviceHeader::from(&draft.loaded.device);
    let result = envelope::UpgradeResult {
        task_seq,
        package_id: &package_id,
        version: draft.loaded.package.as_ref().map(|p| p.version.as_str()),
        status: state.word(),
        tries,
        reason: text.as_deref(),
    };
    draft.tell(envelope::upgrade_result(&header, &result, now));
    tell(
        draft,
        &match &text {
            Some(text) => format!("the upgrade ended: {text}"),
            None => format!("the upgrade ended: {}", state.word()),
        },
    );
    news(draft, What::Left);
    news(
        draft,
        What::Ended {
            task_seq,
            index,
            state,
        },
    );
}

/// Nothing of it is asked any more, and what the device still notifies of is answered with a reset,
/// which ends the observation there (RFC 7641 §3.6) without a round trip.
fn forget_requests(draft: &mut Draft<'_>) {
    for observation in &mut draft.state.observations {
        if super::drive::is_observed(&observation.path) {
            observation.status = ObservationStatus::Refused;
        }
    }
    let open = draft.state.upgrade.as_mut().and_then(|u| u.open.take());
    if let (Some(open), Some(peer)) = (open, draft.loaded.peer_in(&draft.state)) {
        let tokens = vec![Token::from_u64(open.token)];
        draft.effect(Outgoing::Cancel { peer, tokens });
    }
}
