//! PCP in the channel of business data: frames of devices are told from reports, heard by the
//! engine, and answered.
//!
//! ```text
//! report -> recognise -> engine::upgrade::hear -> answer: a framed fragment, or a few bytes
//!                                              -> wishes: PCP 20, 23, the end
//! ```
//! Answers are downlinks, as requests are: not every module hands the payload of a response to its
//! application. Answers to one device have one token, as at most one of them is under way. What a fragment changes need not be durable ([`Draft::is_passing`]).

use bytes::Bytes;

use super::What;
use super::drive::{follow, news, note};
use crate::app::command::send::{downlink_to, listens_for, wake};
use crate::app::report::Taken;
use crate::app::step::{Count, Draft, Loaded, Note, Origin, Outcome, Step};
use crate::base::time::Timestamp;
use crate::engine::exchange::{Outgoing, Request};
use crate::engine::sota::{self, Answer};
use crate::engine::upgrade::{Ask, Input, Saying};
use crate::product::settings::SoftwareProtocol;
use crate::store::upgrades::{KindRecord, StepRecord, UpgradeRecord};
use crate::wire::coap::Token;
use crate::wire::pcp::{Frame, FromDevice, ResultCode, ToDevice, Verdict, Version, recognise};

/// Message ids of a downlink: its own, and one to spare.
const MSG_IDS: u16 = 2;
/// How often it is told how far a download is, in ms.
const PACE_MS: u64 = 10_000;

/// Whether a question of the upgrade is a message of PCP.
pub(super) fn is_message(draft: &Draft<'_>, ask: Ask) -> bool {
    let kind = draft.state.upgrade.as_ref().map(|u| u.kind);
    kind == Some(KindRecord::Software) && sota::Request::try_from(ask).is_ok()
}

/// Whether the token is of answers.
pub(super) fn is_answer(draft: &Draft<'_>, token: u64) -> bool {
    draft
        .state
        .upgrade
        .as_ref()
        .is_some_and(|u| u.answers == token)
}

/// Takes a report that is a frame of PCP; `None`: it is business data.
pub fn heard(draft: &mut Draft<'_>, payload: &[u8]) -> Option<Taken> {
    let product = draft.loaded.product.as_ref()?;
    let supports = product.settings.upgrade.software == Some(SoftwareProtocol::Pcp);
    let frame = recognise(supports, payload)?;
    Some(take(draft, &frame))
}

/// Whether a report is a frame of PCP of an upgrade that is under way.
pub fn is_of_upgrade(loaded: &Loaded, payload: &[u8]) -> bool {
    let runs =
        |u: &UpgradeRecord| u.kind == KindRecord::Software && !matches!(u.step, StepRecord::Ended);
    loaded.state.upgrade.as_deref().is_some_and(runs) && recognise(true, payload).is_some()
}

fn take(draft: &mut Draft<'_>, frame: &Frame<'_>) -> Taken {
    let message = match FromDevice::read(frame) {
        Ok(message) => message,
        Err(error) => {
            let hint = "none is needed: it is dropped, and the device repeats itself if it waits";
            let note = Note::failed("sent a message of PCP", error.to_string(), hint);
            return Taken::new(Outcome::Undecodable, note);
        }
    };
    hear(draft, message);
    Taken::new(Outcome::Done, Note::new(told(&message)))
}

/// Does what the engine says to it. The answer goes first: a device that is still busy with it is not
/// ready for what follows.
fn hear(draft: &mut Draft<'_>, message: FromDevice) {
    let package = draft.loaded.package.clone();
    let software = package.as_deref().and_then(|p| p.software.as_ref());
    let upgrade = draft.state.upgrade.as_deref();
    let (Some(upgrade), Some(package), Some(software)) = (upgrade, package.as_deref(), software)
    else {
        // A device without a task, or whose package is gone: it must not wait for an answer for ever.
        answer(draft, stranger(message));
        return;
    };
    let mut engine = upgrade.engine();
    let heard = engine.hear(draft.now, message, &software.plan, &package.target());
    if let Some(version) = version_told(message) {
        draft.state.sw_version = Some(version.to_string());
    }
    note(draft, &engine);
    draft.is_passing = !heard.commit;
    answer(draft, heard.answer);
    follow(draft, &engine, heard.wishes);
}

fn answer(draft: &mut Draft<'_>, answer: Option<Answer>) {
    if let Some(bytes) = answer.and_then(|answer| bytes_of(draft, answer)) {
        send_answer(draft, answer, bytes);
    }
}

/// The version that the device says it runs.
const fn version_told(message: FromDevice) -> Option<Version> {
    match message {
        FromDevice::Version { version, .. } => version,
        FromDevice::Upgraded {
            result: ResultCode::Ok,
            version,
        } => version,
        FromDevice::Upgraded { .. }
        | FromDevice::Notified(_)
        | FromDevice::Fragment { .. }
        | FromDevice::Downloaded(_)
        | FromDevice::Executed(_) => None,
    }
}

fn stranger(message: FromDevice) -> Option<Answer> {
    match message {
        FromDevice::Fragment { index, .. } => Some(Answer::Refused {
            index,
            verdict: Verdict::NoTask,
        }),
        FromDevice::Downloaded(_) => Some(Answer::Downloaded(Verdict::NoTask)),
        FromDevice::Upgraded { .. } => Some(Answer::Upgraded(Verdict::NoTask)),
        FromDevice::Version { .. } | FromDevice::Notified(_) | FromDevice::Executed(_) => None,
    }
}

fn bytes_of(draft: &Draft<'_>, answer: Answer) -> Option<Bytes> {
    if let Some(message) = answer.message() {
        return Some(Bytes::from(message.encode()));
    }
    let Answer::Fragment(index) = answer else {
        return None;
    };
    let software = draft.loaded.package.as_ref()?.software.as_ref()?;
    software.frames.frame_bytes(index)
}

fn send_answer(draft: &mut Draft<'_>, answer: Option<Answer>, bytes: Bytes) {
    let index = match answer {
        Some(Answer::Fragment(index)) => Some(index),
        _ => None,
    };
    if index.is_some() {
        draft.counts.push(Count::Fragment);
    }
    let token = match &mut draft.state.upgrade {
        Some(upgrade) => {
            let before = upgrade.answering.replace(index);
            let token = upgrade.answers;
            if before.is_some()
                && let Some(peer) = draft.loaded.peer_in(&draft.state)
            {
                let tokens = vec![Token::from_u64(token)];
                draft.effect(Outgoing::Cancel { peer, tokens });
            }
            token
        }
        // Nobody waits for what becomes of it.
        None => (draft.loaded.random)(),
    };
    send(draft, token, bytes);
}

/// Puts PCP 19, 20 or 23 on its way.
pub(super) fn send_request(draft: &mut Draft<'_>, token: u64, ask: Ask) {
    let Ok(request) = sota::Request::try_from(ask) else {
        return;
    };
    let package = draft.loaded.package.as_ref();
    let software = package.and_then(|p| p.software.as_ref());
    let message = match (request, software) {
        (sota::Request::Version, _) => ToDevice::QueryVersion,
        (_, Some(software)) => request.message(&software.plan),
        (_, None) => return,
    };
    let bytes = Bytes::from(message.encode());
    send(draft, token, bytes);
}

fn send(draft: &mut Draft<'_>, token: u64, payload: Bytes) {
    let Some(kind) = draft.state.registration.as_ref().map(|r| r.kind) else {
        return;
    };
    let Some(peer) = draft.loaded.peer_in(&draft.state) else {
        return;
    };
    let (code, options) = downlink_to(draft, kind);
    let request = Request {
        peer,
        token: Token::from_u64(token),
        body_token: Token::from_u64((draft.loaded.random)()),
        code,
        options,
        payload,
        msg_ids: draft.msg_ids(MSG_IDS),
        timing: draft.loaded.timing(),
        turn_within: listens_for(draft),
        resume: None,
        push: None,
    };
    draft.effect(Outgoing::Request(Box::new(request)));
}

/// An answer has reached the device, or came to nothing.
pub(super) fn arrived(mut draft: Draft<'_>, has_arrived: bool) -> Step {
    let package = draft.loaded.package.clone();
    let total = package.and_then(|p| p.software.as_ref().map(|s| s.plan.count));
    let now = draft.now;
    let mut moved = None;
    if let Some(record) = &mut draft.state.upgrade
        && let Some(Some(index)) = record.answering.take()
    {
        let mut engine = record.engine();
        engine.settle_fragment(index);
        record.note(&engine);
        let (done, total) = (u32::from(index).saturating_add(1), total.map(u32::from));
        if let Some(total) = total.filter(|_| has_arrived)
            && (done >= total || now.since_ms(record.moved_since) >= PACE_MS)
        {
            (record.moved, record.moved_since) = (done, now);
            moved = Some(What::Moved { done, total });
        }
    }
    if let Some(moved) = moved {
        news(&mut draft, moved);
    }
    draft.is_passing = true;
    wake(&mut draft);
    draft.finish_passing(Outcome::Done)
}

/// An empty acknowledgement: the device has it.
pub fn acknowledged(loaded: &Loaded, origin: Origin, token: u64, now: Timestamp) -> Step {
    let mut draft = Draft::new(loaded, now);
    draft.hear_from(origin);
    if is_answer(&draft, token) {
        return arrived(draft, true);
    }
    let open = draft.state.upgrade.as_ref().and_then(|u| u.open);
    let ask = open
        .filter(|open| open.token == token)
        .map(|open| Ask::from(open.ask));
    // Of other requests, the answer follows.
    let Some(ask) = ask.filter(|ask| is_message(&draft, *ask)) else {
        return Step::default();
    };
    if let Some(upgrade) = &mut draft.state.upgrade {
        upgrade.open = None;
    }
    super::drive::take(&mut draft, Input::Said(Saying::Done(ask)));
    draft.finish(Outcome::Done)
}

fn told(message: &FromDevice) -> String {
    match message {
        FromDevice::Version { version, .. } => match version {
            Some(version) => format!("tells its software version: {version}"),
            None => "does not tell its software version".to_owned(),
        },
        FromDevice::Notified(result) => {
            format!("answers the new version: {}", result.meaning())
        }
        FromDevice::Fragment { index, .. } => format!("asks for fragment {index}"),
        FromDevice::Downloaded(result) => format!("ends its download: {}", result.meaning()),
        FromDevice::Executed(result) => {
            format!("answers the order to upgrade: {}", result.meaning())
        }
        FromDevice::Upgraded { result, .. } => format!("ends its upgrade: {}", result.meaning()),
    }
}
