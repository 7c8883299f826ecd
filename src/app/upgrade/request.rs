//! Requests of an upgrade to its device.
//!
//! | what | request |
//! |---|---|
//! | version | GET `/3/0/3`, Accept text |
//! | coverage | GET `/4/0`, in whatever the device speaks |
//! | cell | GET `/4/0/8`, Accept text |
//! | state, result | GET `/5/0/3`, `/5/0/5` with Observe 0 |
//! | the package's URI, or none | PUT `/5/0/1`, text: devices refuse it in TLV |
//! | how it takes packages | GET `/5/0/9`, Accept text |
//! | the package, to one that takes it no other way | PUT `/5/0/0`, opaque, in blocks of 512 bytes |
//! | result once | GET `/5/0/5` |
//! | update | POST `/5/0/2`, without a payload |

use bytes::Bytes;

use super::drive::tell;
use super::pcp;
use crate::app::command::send::{is_reachable, listens_for};
use crate::app::downlink::observe;
use crate::app::step::Draft;
use crate::engine::exchange::{MsgIds, Outgoing, Push, Request};
use crate::engine::upgrade::{Ask, DOWNLOAD_WAIT_MS};
use crate::store::upgrades::{AskRecord, OpenAskRecord};
use crate::wire::coap::{Code, ContentFormat, Token, option};

pub(super) const STATE: &str = "/5/0/3";
pub(super) const RESULT: &str = "/5/0/5";
const URI: &str = "/5/0/1";
const PACKAGE: &str = "/5/0/0";
const DELIVERY: &str = "/5/0/9";
const UPDATE: &str = "/5/0/2";
const VERSION: &str = "/3/0/3";
const COVERAGE: &str = "/4/0";
const CELL: &str = "/4/0/8";

/// Message ids of a request with an answer that may come in blocks.
const MSG_IDS: u16 = 16;
/// Of a package: those of its blocks, twice, since a device may have it begin anew. More than half of all
/// ids may not be under way at once.
const PUSH_MSG_IDS_MAX: u16 = 32_768;
/// Blocks of 512 bytes, as modules have room for.
const PUSH_SZX: u8 = 5;
const PUSH_BLOCK: u64 = 512;

/// Puts a request on its way, after the commit; not while the same is under way, and not to a device
/// that does not listen. True when anything changed.
pub(super) fn ask(draft: &mut Draft<'_>, ask: Ask) -> bool {
    let span = draft.loaded.timing().max_transmit_wait();
    let span_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let (now, started_at) = (draft.now, draft.loaded.started_at);
    let Some(upgrade) = draft.state.upgrade.as_deref() else {
        return false;
    };
    let record = AskRecord::from(ask);
    // A package takes as long as it takes: its end is told.
    let span_ms = match ask {
        Ask::Push => DOWNLOAD_WAIT_MS,
        _ => span_ms,
    };
    let is_carried = |open: &OpenAskRecord| {
        open.ask == record && open.asked_at >= started_at && now.since_ms(open.asked_at) < span_ms
    };
    if upgrade.open.as_ref().is_some_and(is_carried) || !is_reachable(draft) {
        return false;
    }
    tell(draft, &format!("sends {}", ask.words()));
    let token = (draft.loaded.random)();
    let former = draft.state.upgrade.as_mut().and_then(|upgrade| {
        let former = upgrade.open.take();
        upgrade.open = Some(OpenAskRecord {
            ask: record,
            token,
            asked_at: now,
        });
        former
    });
    if let (Some(former), Some(peer)) = (former, draft.loaded.peer_in(&draft.state)) {
        let tokens = vec![Token::from_u64(former.token)];
        draft.effect(Outgoing::Cancel { peer, tokens });
    }
    if pcp::is_message(draft, ask) {
        pcp::send_request(draft, token, ask);
        return true;
    }
    match ask {
        Ask::ObserveState => observe(draft, STATE, token),
        Ask::ObserveResult => observe(draft, RESULT, token),
        Ask::Version => send(draft, token, &Form::read(VERSION, true)),
        Ask::Coverage => send(draft, token, &Form::read(COVERAGE, false)),
        Ask::Cell => send(draft, token, &Form::read(CELL, true)),
        Ask::Result => send(draft, token, &Form::read(RESULT, true)),
        Ask::WriteUri => {
            let uri = uri(draft);
            send(draft, token, &Form::write_text(URI, uri));
        }
        Ask::Delivery => send(draft, token, &Form::read(DELIVERY, true)),
        Ask::Push => push(draft, token),
        Ask::ResetUri => send(draft, token, &Form::write_text(URI, String::new())),
        Ask::Execute => send(draft, token, &Form::execute(UPDATE)),
        // Over PCP alone.
        Ask::NewVersion | Ask::Install => {}
    }
    true
}

/// Devices take the path alone, and fetch it where they are registered; the rest is for those that
/// read a URI as what it is.
fn uri(draft: &Draft<'_>) -> String {
    let Some(package) = &draft.loaded.package else {
        return String::new();
    };
    let registration = draft.state.registration.as_ref();
    match registration.is_some_and(|r| r.secured) {
        true => package.coaps_uri.clone(),
        false => package.coap_uri.clone(),
    }
}

/// A request without what every one has.
struct Form {
    code: Code,
    path: &'static str,
    accept: Option<ContentFormat>,
    format: Option<ContentFormat>,
    payload: String,
}

impl Form {
    fn read(path: &'static str, as_text: bool) -> Self {
        Self {
            code: Code::GET,
            path,
            accept: as_text.then_some(ContentFormat::TEXT),
            format: None,
            payload: String::new(),
        }
    }

    const fn write_text(path: &'static str, payload: String) -> Self {
        Self {
            code: Code::PUT,
            path,
            accept: None,
            format: Some(ContentFormat::TEXT),
            payload,
        }
    }

    const fn execute(path: &'static str) -> Self {
        Self {
            code: Code::POST,
            path,
            accept: None,
            format: None,
            payload: String::new(),
        }
    }
}

fn send(draft: &mut Draft<'_>, token: u64, form: &Form) {
    let msg_ids = draft.msg_ids(MSG_IDS);
    let payload = Bytes::from(form.payload.clone());
    transmit(draft, token, form, (payload, msg_ids, None));
}

/// Writes the package, from where the device has it.
fn push(draft: &mut Draft<'_>, token: u64) {
    let from = draft.state.upgrade.as_ref().map_or(0, |u| u.pushed);
    let package = draft.loaded.package.as_ref();
    let image = package.and_then(|package| package.image.as_ref());
    let payload = match image.map(|image| image.whole()) {
        Some(Ok(payload)) => payload,
        // It is asked again when the device speaks, until its time is over.
        Some(Err(error)) => {
            tracing::warn!(%error, "a package can't be read");
            return;
        }
        None => return,
    };
    let blocks = (payload.len() as u64).div_ceil(PUSH_BLOCK);
    let ids = blocks.saturating_mul(2).saturating_add(u64::from(MSG_IDS));
    let ids = u16::try_from(ids).map_or(PUSH_MSG_IDS_MAX, |ids| ids.min(PUSH_MSG_IDS_MAX));
    let msg_ids = draft.msg_ids(ids);
    let push = Push {
        from: usize::try_from(from).unwrap_or(0),
        szx: PUSH_SZX,
    };
    let form = Form {
        format: Some(ContentFormat::OPAQUE),
        ..Form::write_text(PACKAGE, String::new())
    };
    transmit(draft, token, &form, (payload, msg_ids, Some(push)));
}

/// What goes down, with which ids, and how.
type Body = (Bytes, MsgIds, Option<Push>);

fn transmit(draft: &mut Draft<'_>, token: u64, form: &Form, body: Body) {
    let (payload, msg_ids, push) = body;
    let Some(peer) = draft.loaded.peer_in(&draft.state) else {
        return;
    };
    let segments = form.path.split('/').filter(|s| !s.is_empty());
    let mut options: Vec<(u16, Vec<u8>)> = segments
        .map(|s| (option::URI_PATH, s.as_bytes().to_vec()))
        .collect();
    let mut format = |number, format: Option<ContentFormat>| {
        if let Some(format) = format {
            let value = option::Uint::new(u64::from(format.0));
            options.push((number, value.as_bytes().to_vec()));
        }
    };
    format(option::CONTENT_FORMAT, form.format);
    format(option::ACCEPT, form.accept);
    let request = Request {
        peer,
        token: Token::from_u64(token),
        body_token: Token::from_u64((draft.loaded.random)()),
        code: form.code,
        options,
        payload,
        msg_ids,
        timing: draft.loaded.timing(),
        turn_within: listens_for(draft),
        resume: None,
        push,
    };
    draft.effect(Outgoing::Request(Box::new(request)));
}
