//! The downlink journey: a request goes to a device.
//!
//! ```text
//! step: message ids reserved -> store.commit -> Outgoing::Request -> net (NSTART, retransmission)
//!       -> device; its answer, or the failure, comes back as an input of the device
//! ```
//!
//! The requests of this page are the observations that make a device report.

use bytes::Bytes;

use super::command::send::listens_for;
use super::step::{Draft, Loaded, left_peer};
use super::trace::{Direction, TraceEntry};
use crate::engine::exchange::{Outgoing, Request, Resume};
use crate::engine::observe::UPLINK_PATH;
use crate::store::records::{ObservationRecord, ObservationStatus};
use crate::wire::coap::{Code, ContentFormat, Token, option};

/// Message ids reserved for an observe request: one, and those of an answer in blocks.
const OBSERVE_MSG_IDS: u16 = 16;
/// The same for a body of up to 64 KB in blocks of 64 bytes.
const BODY_MSG_IDS: u16 = 1024;

/// Asks again for an observation that is not established, when the device shows that it is awake.
/// Not while an earlier request may still be answered, unless that went to where the device is
/// not any more.
pub fn observe_again(draft: &mut Draft<'_>) {
    let wait_ms = answer_wait_ms(draft.loaded);
    let now = draft.now;
    let has_moved = left_peer(draft.loaded, &draft.state).is_some();
    let is_due = |o: &&ObservationRecord| {
        o.status == ObservationStatus::Asked && (has_moved || now.since_ms(o.asked_at) >= wait_ms)
    };
    if let Some(due) = draft.state.observations.iter().find(is_due) {
        let (path, token) = (due.path.clone(), due.token);
        observe(draft, &path, token);
    }
}

/// How long an observe request may still be answered, in ms.
pub fn answer_wait_ms(loaded: &Loaded) -> u64 {
    u64::try_from(loaded.timing().max_transmit_wait().as_millis()).unwrap_or(u64::MAX)
}

/// Puts an observation of `path` on its way, after the commit. Its token is the one that the device
/// already knows, else `new_token`.
pub fn observe(draft: &mut Draft<'_>, path: &str, new_token: u64) {
    let Some(peer) = draft.loaded.peer_in(&draft.state) else {
        return;
    };
    let now = draft.now;
    let observations = &mut draft.state.observations;
    let token = match observations.iter_mut().find(|o| o.path == path) {
        Some(known) => {
            known.status = ObservationStatus::Asked;
            known.asked_at = now;
            known.token
        }
        None => {
            observations.push(ObservationRecord {
                token: new_token,
                status: ObservationStatus::Asked,
                path: path.to_owned(),
                asked_at: now,
            });
            new_token
        }
    };
    draft.trace(|now| {
        let summary = format!("asked to observe {path}");
        TraceEntry::new(now, "observe", Direction::Down, summary)
    });
    let mut options: Vec<(u16, Vec<u8>)> = vec![(option::OBSERVE, Vec::new())];
    options.extend(path_options(path));
    let msg_ids = draft.msg_ids(OBSERVE_MSG_IDS);
    let token = Token::from_u64(token);
    let request = Request {
        peer,
        token,
        body_token: Token::from_u64((draft.loaded.random)()),
        code: Code::GET,
        options,
        payload: Bytes::new(),
        msg_ids,
        timing: draft.loaded.timing(),
        turn_within: listens_for(draft),
        resume: None,
        push: None,
    };
    // A request of before the device's reboot must not compete with this one.
    let tokens = vec![token];
    draft.effect(Outgoing::Cancel { peer, tokens });
    draft.effect(Outgoing::Request(Box::new(request)));
}

/// Asks for the rest of a notification's body.
pub fn resume_observed(draft: &mut Draft<'_>, path: &str, token: u64, resume: Resume) {
    let peer = resume.settle.map(|id| id.peer);
    let known = draft.loaded.peer_in(&draft.state);
    let Some(peer) = peer.or(known) else {
        return;
    };
    let request = Request {
        peer,
        token: Token::from_u64(token),
        body_token: Token::from_u64((draft.loaded.random)()),
        code: Code::GET,
        options: path_options(path),
        payload: Bytes::new(),
        msg_ids: draft.msg_ids(BODY_MSG_IDS),
        timing: draft.loaded.timing(),
        turn_within: None,
        resume: Some(resume),
        push: None,
    };
    draft.effect(Outgoing::Request(Box::new(request)));
}

/// Uri-Path, and for the data container what it shall come as.
fn path_options(path: &str) -> Vec<(u16, Vec<u8>)> {
    let segments = path.split('/').filter(|s| !s.is_empty());
    let mut options: Vec<(u16, Vec<u8>)> = segments
        .map(|s| (option::URI_PATH, s.as_bytes().to_vec()))
        .collect();
    if path == UPLINK_PATH {
        let opaque = option::Uint::new(u64::from(ContentFormat::OPAQUE.0));
        options.push((option::ACCEPT, opaque.as_bytes().to_vec()));
    }
    options
}
