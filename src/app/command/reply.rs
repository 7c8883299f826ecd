//! What devices say to what was sent to them: acknowledgements, answers by token, by correlation id
//! (`mid`) or, where codecs have none, by order; refusals; and silence.
//!
//! Nothing late, repeated or foreign changes anything: it is traced.

use bytes::Bytes;
use serde_json::Value;

use super::send::{carry_again, is_reachable, open_commands, set_down, wake};
use super::story::tell_stray;
use super::transit::{advance, debts, failure, pay_debt, state_of};
use crate::app::report;
use crate::app::step::{Draft, From, Loaded, Note, Origin, Outcome, Step};
use crate::base::ids::CommandId;
use crate::base::time::Timestamp;
use crate::engine::command::{Input, State, TURN_WAIT_S};
use crate::engine::exchange::Failure;
use crate::engine::queue::{Owner, owner};
use crate::product::codec::{Decoded, Response};
use crate::store::commands::{CommandRecord, ResultRecord, Strategy};
use crate::wire::coap::Code;

/// An empty acknowledgement.
pub fn acknowledged(loaded: &Loaded, origin: Origin, token: u64, now: Timestamp) -> Step {
    let mut draft = Draft::new(loaded, now);
    let Some(id) = open_by_token(&draft, token) else {
        return Step::default();
    };
    draft.hear_from(origin);
    let mut changed = deliver(&mut draft, id);
    changed |= wake(&mut draft);
    finish(draft, changed)
}

/// A response with the token of something that went down: piggybacked on the acknowledgement, or
/// separate.
pub fn answered(loaded: &Loaded, from: From, answer: &TokenAnswer<'_>, now: Timestamp) -> Step {
    let TokenAnswer {
        token,
        code,
        payload,
        content_format,
    } = *answer;
    let mut draft = Draft::new(loaded, now);
    let recent = draft.state.queue.recent.iter().find(|r| r.token == token);
    let resting = recent.filter(|r| r.rests).map(|r| r.id);
    let Some(id) = open_by_token(&draft, token).or(resting) else {
        draft.reply(from.reply, Code::CHANGED, Vec::new());
        tell_stray(
            &mut draft,
            format!("answered {code} to something that has ended"),
            "too late, or once more: nothing changes",
            "none is needed. If it often comes too late, give the product's setting \
             command.response_timeout_s more",
        );
        let mut step = draft.entries_only();
        step.outcome = Outcome::Duplicate;
        return step;
    };
    draft.hear_from(from.origin);
    let mut note = None;
    if code.is_success() && payload.is_empty() {
        deliver(&mut draft, id);
    } else if code.is_success() {
        note = take_body(&mut draft, id, payload, content_format);
    } else {
        let why = failure("IOTDA.014016", format!("the device answered {code}"));
        let input = match state_of(&draft, id) {
            Some(State::Delivered { .. } | State::Rested) => Input::Answered { succeeded: false },
            _ => Input::Refused,
        };
        advance(&mut draft, id, input, Some(&why));
    }
    draft.reply(from.reply, Code::CHANGED, Vec::new());
    wake(&mut draft);
    let mut step = draft.finish(Outcome::Done);
    step.note = note;
    step
}

/// A response by token, without how it came.
#[derive(Debug, Clone, Copy)]
pub struct TokenAnswer<'a> {
    pub token: u64,
    pub code: Code,
    pub payload: &'a Bytes,
    pub content_format: Option<u16>,
}

/// The body of a response by token: the command's result, whatever correlation id it carries. Gives what the
/// trace tells of it.
fn take_body(
    draft: &mut Draft<'_>,
    id: CommandId,
    payload: &Bytes,
    format: Option<u16>,
) -> Option<Note> {
    let data = crate::engine::observe::data(false, format, payload);
    let decoded = data.map(|data| report::decode_payload(draft.loaded, data, draft.now));
    match decoded {
        None | Some(Ok(Decoded::Nothing)) => {
            deliver(draft, id);
            None
        }
        Some(Ok(Decoded::Response(response))) => {
            end(draft, id, &response);
            Some(answer_note(id, &response))
        }
        // It has the command, and says something else.
        Some(Ok(Decoded::Report(report))) => {
            deliver(draft, id);
            Some(report::take_report(draft, report, payload).into_note())
        }
        Some(Err(unread)) => {
            deliver(draft, id);
            Some(report::keep_unread(draft, payload, &unread).into_note())
        }
    }
}

/// A command response that came as a report. Says what became of it.
pub fn take_response(draft: &mut Draft<'_>, response: &Response) -> Note {
    let Ok(found) = whose(draft, response.mid) else {
        pay_debt(draft);
        return stray(
            response,
            "an earlier command may be meant: nothing changes",
            "let the codec carry the mid in commands and responses, or the device answer within \
             command.response_timeout_s of the product's settings",
        );
    };
    match found {
        Some(id) => {
            end(draft, id, response);
            answer_note(id, response)
        }
        None => stray(
            response,
            "no command of this device waits for it: nothing changes",
            "none is needed when it came late or twice. Else compare the mid with that of the command, in \
             the entry of kind command that sent it",
        ),
    }
}

/// A response that was read long after it came. It ends its command only by the mid, since others wait for
/// answers by now, and only one that had been sent when it came. Gives that command.
pub fn take_late_response(
    draft: &mut Draft<'_>,
    response: &Response,
    received_at: Timestamp,
) -> Option<CommandId> {
    response.mid?;
    let id = whose(draft, response.mid).ok().flatten()?;
    let record = draft.commands.iter().find(|c| c.id == id)?;
    if record.sent_at.is_none_or(|sent_at| sent_at > received_at) {
        return None;
    }
    end(draft, id, response);
    Some(id)
}

/// More than one command may be meant.
struct Ambiguous;

/// Whose an answer with this `mid`, or none, is.
fn whose(draft: &Draft<'_>, mid: Option<u16>) -> Result<Option<CommandId>, Ambiguous> {
    let queue = &draft.state.queue;
    let open = open_commands(draft);
    let resting = |r: &&crate::store::commands::RecentCommand| r.rests && r.by_mid;
    let rested: Vec<u16> = queue.recent.iter().filter(resting).map(|r| r.mid).collect();
    Ok(match owner(mid, &open, &rested, debts(draft)) {
        Owner::Open(at) => {
            let commands = queue.open.iter().filter(|o| is_command(o));
            commands.map(|o| o.id).nth(at)
        }
        Owner::Rested(at) => queue.recent.iter().filter(resting).map(|r| r.id).nth(at),
        Owner::Ambiguous => return Err(Ambiguous),
        Owner::Nobody => None,
    })
}

fn is_command(open: &crate::store::commands::OpenRecord) -> bool {
    open.kind == crate::store::commands::DownlinkKind::Command
}

fn answer_note(id: CommandId, response: &Response) -> Note {
    let mut note = Note::new(format!("answered command {id}"));
    note.detail = Some(Value::Object(response.paras.clone()));
    note
}

fn stray(response: &Response, error: &str, hint: &str) -> Note {
    let whose = match response.mid {
        Some(mid) => format!("the command with mid {mid}"),
        None => "a command".to_owned(),
    };
    let mut note = Note::failed(format!("answered {whose}"), error, hint);
    note.detail = Some(Value::Object(response.paras.clone()));
    note
}

/// The device's answer ends the command.
fn end(draft: &mut Draft<'_>, id: CommandId, response: &Response) {
    let succeeded = response.succeeded;
    let result = ResultRecord {
        succeeded,
        detail: response.paras.clone(),
    };
    advance(draft, id, Input::Answered { succeeded }, Some(&result));
}

/// The device has the message.
fn deliver(draft: &mut Draft<'_>, id: CommandId) -> bool {
    let waits_for_answer = |c: &&CommandRecord| c.id == id && c.expects_answer;
    let open = draft.state.queue.open.iter().find(|o| o.id == id);
    let answer_within_s = match draft.commands.iter().find(waits_for_answer) {
        Some(_) => open.map(|o| o.response_timeout_s),
        None => None,
    };
    advance(draft, id, Input::Acknowledged { answer_within_s }, None)
}

/// A request came to nothing. After silence its time-out decides, since the device may still answer.
pub fn failed(loaded: &Loaded, token: u64, reason: Failure, now: Timestamp) -> Step {
    let mut draft = Draft::new(loaded, now);
    let why = match reason {
        Failure::Timeout => return unheard(&draft, token),
        Failure::Reset => "the device answered with a reset",
        Failure::Busy => "another exchange with the device did not end in time",
        Failure::Blockwise => "the message could not be transferred in blocks",
    };
    let Some(id) = open_by_token(&draft, token) else {
        return Step::default();
    };
    if reason == Failure::Busy && !is_first_turn(&draft, id) {
        // It goes when the device speaks, if its time is not over then.
        let changed = set_down(&mut draft, &[token]);
        return finish(draft, changed);
    }
    let result = failure("IOTDA.014016", why);
    let mut changed = advance(&mut draft, id, Input::Refused, Some(&result));
    changed |= wake(&mut draft);
    finish(draft, changed)
}

/// It was to be sent immediately, and was never sent: being too late for that is its end.
fn is_first_turn(draft: &Draft<'_>, id: CommandId) -> bool {
    let is_it = |c: &&CommandRecord| c.id == id && c.strategy == Strategy::Immediately;
    let open = draft.state.queue.open.iter().find(|o| o.id == id);
    let is_first = |o: &crate::store::commands::OpenRecord| {
        !o.again && o.carried_at.since_ms(o.sent_at) <= TURN_WAIT_S * 1000
    };
    open.is_some_and(is_first) && draft.commands.iter().any(|c| is_it(&c))
}

/// Nothing answered a request and all its repetitions.
fn unheard(draft: &Draft<'_>, token: u64) -> Step {
    let note = open_by_token(draft, token).map(|id| {
        Note::failed(
            format!("{id} was sent with all its repetitions"),
            "nothing acknowledged it",
            "none is needed yet: it goes again when the device next speaks, until its time-out",
        )
    });
    Step {
        note,
        ..Step::default()
    }
}

/// What was under way goes on, as it was: at once, or when the device listens again.
pub fn resume(loaded: &Loaded, tokens: &[u64], now: Timestamp) -> Step {
    let mut draft = Draft::new(loaded, now);
    let mut changed = overdue(&mut draft);
    changed |= match is_reachable(&draft) {
        true => carry_again(&mut draft, tokens),
        false => set_down(&mut draft, tokens),
    };
    changed |= wake(&mut draft);
    finish(draft, changed)
}

/// Ends what its time has come for.
pub fn overdue(draft: &mut Draft<'_>) -> bool {
    let now = draft.now;
    let queue = &draft.state.queue;
    let expired = queue.pending.iter().filter(|p| p.expires_at <= now);
    let mut due: Vec<CommandId> = expired.map(|p| p.id).collect();
    let is_due = |o: &&crate::store::commands::OpenRecord| {
        let state = crate::app::timers::open_state(o);
        crate::engine::command::deadline(state).is_some_and(|at| at <= now)
    };
    due.extend(queue.open.iter().filter(is_due).map(|o| o.id));
    let mut changed = false;
    for id in due {
        changed |= advance(draft, id, Input::Tick, None);
    }
    changed
}

fn open_by_token(draft: &Draft<'_>, token: u64) -> Option<CommandId> {
    let open = draft.state.queue.open.iter().find(|o| o.token == token);
    open.map(|o| o.id)
}

/// A step with what changed, or with the effects alone.
pub fn finish(draft: Draft<'_>, changed: bool) -> Step {
    if changed {
        return draft.finish(Outcome::Done);
    }
    draft.entries_only()
}
