//! A command is submitted: judged, queued or sent, in one durable step.

use super::send::{is_reachable, may_overtake, send};
use super::transit::{advance, failure};
use crate::app::order::{Beside, OrderError, Submit, Told};
use crate::app::step::{Draft, Loaded, Outcome, Step};
use crate::base::time::Timestamp;
use crate::engine::command::{Input, TURN_WAIT_S};
use crate::product::check;
use crate::store::Change;
use crate::store::commands::{
    CommandRecord, CommandStatus, DownlinkKind, PendingRecord, Strategy, SubmissionRecord,
};

/// Commands of one device that may be under way at once.
const OPEN_MAX: usize = 32;

/// Takes a submission. Its answer follows the commit.
pub fn submit(loaded: &Loaded, submit: &Submit, now: Timestamp) -> Step {
    match judge(loaded, submit) {
        Ok(None) => accept(loaded, submit, now),
        Ok(Some(known)) => told(Ok(Told::Command(Box::new(known)))),
        Err(error) => told(Err(error)),
    }
}

fn told(answer: Result<Told, OrderError>) -> Step {
    Step {
        told: Some(answer),
        ..Step::default()
    }
}

/// The command that it made before, if it is a repetition.
fn judge(loaded: &Loaded, submit: &Submit) -> Result<Option<CommandRecord>, OrderError> {
    if let Some((before, command)) = &loaded.submitted {
        if before.digest != submit.digest {
            return Err(OrderError::NameTaken);
        }
        if let Some(command) = command {
            return Ok(Some(command.clone()));
        }
    }
    let product = loaded.product.as_ref().ok_or(OrderError::NotFound)?;
    let violations = check::command(
        &product.record.profile,
        &submit.service_id,
        &submit.command_name,
        &submit.paras,
    );
    if !violations.is_empty() {
        return Err(OrderError::Model(violations));
    }
    let max = loaded.pending_max;
    let waits = submit.strategy == Strategy::Delay;
    if waits && loaded.state.queue.pending.len() >= max {
        return Err(OrderError::Full { max });
    }
    Ok(None)
}

fn accept(loaded: &Loaded, submit: &Submit, now: Timestamp) -> Step {
    let mut draft = Draft::new(loaded, now);
    let record = record_of(loaded, submit);
    draft.commands.push(record.clone());
    let within_s = match submit.strategy {
        Strategy::Delay => u64::from(submit.expire_time_s),
        // Sent in this step.
        Strategy::Immediately => TURN_WAIT_S,
    };
    draft.state.queue.pending.push(PendingRecord {
        id: submit.id,
        expires_at: now.plus_s(within_s),
    });
    let device_seq = loaded.device.seq;
    match submit.strategy {
        Strategy::Delay => {
            super::story::tell_queued(&mut draft, &record);
            let record = Box::new(record);
            draft.change(Change::PutCommand { device_seq, record });
            // Sending it is a step of its own.
            draft.follow = is_reachable(&draft);
        }
        Strategy::Immediately if draft.state.queue.open.len() >= OPEN_MAX => {
            let why = failure(
                "IOTDA.014016",
                format!("{OPEN_MAX} commands wait for the device's answers already"),
            );
            advance(&mut draft, submit.id, Input::Refused, Some(&why));
        }
        Strategy::Immediately if is_reachable(&draft) => {
            let waits = !may_overtake(&draft);
            send(&mut draft, submit.id, waits);
        }
        Strategy::Immediately => {
            let why = failure("IOTDA.014016", "the device is not online");
            advance(&mut draft, submit.id, Input::Refused, Some(&why));
        }
    }
    if let Some(name) = submit.name {
        let record = SubmissionRecord {
            id: submit.id,
            digest: submit.digest,
        };
        draft.change(Change::PutSubmission {
            device_seq,
            name,
            record,
        });
    }
    let made = draft.commands.iter().find(|c| c.id == submit.id).cloned();
    for change in made.iter().flat_map(|made| submit.beside.changes(made)) {
        draft.change(change);
    }
    let mut step = draft.finish(Outcome::Done);
    step.told = made.map(|made| Ok(Told::Command(Box::new(made))));
    step
}

/// What is committed with the order.
pub fn add(draft: &mut Draft<'_>, beside: &Beside) {
    draft.guards.extend(beside.guards.iter().cloned());
    for change in &beside.changes {
        draft.change(change.clone());
    }
}

fn record_of(loaded: &Loaded, submit: &Submit) -> CommandRecord {
    let profile = loaded.product.as_ref().map(|p| &p.record.profile);
    let service = profile.and_then(|p| p.service(&submit.service_id));
    let model = service.and_then(|s| s.command(&submit.command_name));
    CommandRecord {
        id: submit.id,
        kind: DownlinkKind::Command,
        service_id: submit.service_id.clone(),
        command_name: submit.command_name.clone(),
        paras: submit.paras.clone(),
        strategy: submit.strategy,
        expire_time_s: submit.expire_time_s,
        expects_answer: model.is_some_and(|m| !m.responses.is_empty()),
        status: CommandStatus::Pending,
        sent_at: None,
        delivered_at: None,
        answered_at: None,
        message: None,
        result: None,
    }
}
