//! What goes down, and when: the next of a device's commands while the device listens.
//!
//! | device | request |
//! |---|---|
//! | LwM2M | PUT (write) or, by the product's settings, POST (execute) to `/19/1/0` |
//! | raw CoAP | POST to `/t/d` |
//!
//! Confirmable, Content-Format 42. A message is encoded once: what the device may not have got is sent
//! again as it was.

use bytes::Bytes;
use std::time::Duration;

use super::converge::converge;
use super::transit::{advance, failure, forget};
use crate::app::step::{Draft, left_peer};
use crate::app::trace::{Direction, TraceEntry};
use crate::base::ids::CommandId;
use crate::base::time::Timestamp;
use crate::engine::command::{Input, TURN_WAIT_S};
use crate::engine::exchange::{MsgIds, Outgoing, Request};
use crate::engine::presence::is_awake;
use crate::engine::queue::{self, Open};
use crate::engine::registration::expires_at;
use crate::product::codec::Encode;
use crate::product::settings::Downlink;
use crate::store::commands::{
    CommandRecord, CommandStatus, DownlinkKind, MessageRecord, OpenRecord, PendingRecord, Strategy,
};
use crate::store::records::RegistrationKind;
use crate::wire::coap::{Code, ContentFormat, Token, option};

/// Bytes of a message that goes in one datagram.
const WHOLE_MAX: usize = 1024;
/// Answers to reports that may be under way to one device.
const ANSWERS_MAX: usize = 4;
/// Bytes of the smallest block (RFC 7959 §2.2).
const BLOCK_MIN: usize = 16;

/// How long what is sent immediately waits for its turn.
const TURN_WAIT: Duration = Duration::from_secs(TURN_WAIT_S);
/// When that was last carried which nobody carries: it goes at the next opportunity.
const NOBODY_CARRIES: Timestamp = Timestamp::from_ms(0);

/// Whether the device listens now. A sleeping one does for a while after each of its messages.
pub fn is_reachable(draft: &Draft<'_>) -> bool {
    if draft.loaded.device.frozen {
        return false;
    }
    let Some(registration) = &draft.state.registration else {
        return false;
    };
    // Nobody else's device must run what is for this one; unless it was heard from there just now.
    if draft.loaded.is_displaced && draft.heard_from != draft.loaded.peer_in(&draft.state) {
        return false;
    }
    let now = draft.now;
    let ends = expires_at(registration.updated_at, registration.lifetime_s);
    let alive = ends.is_none_or(|at| now < at);
    let awake = !registration.queue_mode || is_awake(now, draft.state.last_seen_at, awake_s(draft));
    alive && awake
}

/// Whether the device was heard so shortly before that time that it listened then, or since.
pub fn was_awake(draft: &Draft<'_>, at: Timestamp) -> bool {
    is_awake(at, draft.state.last_seen_at, awake_s(draft))
}

fn awake_s(draft: &Draft<'_>) -> u32 {
    let settings = draft.loaded.product.as_ref().map(|p| p.settings.command);
    settings.unwrap_or_default().awake_s
}

/// How long the device listens yet; `None`: always.
pub fn listens_for(draft: &Draft<'_>) -> Option<Duration> {
    let registration = draft.state.registration.as_ref()?;
    let heard_at = draft
        .state
        .last_seen_at
        .filter(|_| registration.queue_mode)?;
    let heard = Duration::from_millis(draft.now.since_ms(heard_at));
    Some(Duration::from_secs(awake_s(draft).into()).saturating_sub(heard))
}

/// The device listens, as far as is known: what waits for it goes down. True when anything changed.
pub fn wake(draft: &mut Draft<'_>) -> bool {
    if !is_reachable(draft) {
        return false;
    }
    let mut changed = carry_again(draft, &[]);
    changed |= take_turns(draft);
    while is_free(draft) && !draft.state.queue.more_follows {
        let Some(next) = draft.state.queue.pending.first().copied() else {
            break;
        };
        let is_missing = draft.commands.iter().all(|c| c.id != next.id);
        if is_missing && !was_asked_for(draft, next) {
            // Only what may go was loaded: the one before it has just ended, the rest follows.
            draft.follow = true;
            break;
        }
        changed = true;
        if is_missing {
            forget(draft, next.id);
        } else if next.expires_at <= draft.now {
            advance(draft, next.id, Input::Tick, None);
        } else {
            send(draft, next.id, false);
        }
    }
    let queue = &draft.state.queue;
    if is_free(draft) && queue.pending.is_empty() && !queue.more_follows {
        changed |= converge(draft);
    }
    changed
}

/// Whether `load` looked for the row.
fn was_asked_for(draft: &Draft<'_>, waiting: PendingRecord) -> bool {
    let mut loaded = draft.loaded.state.queue.pending.iter();
    let next = loaded.find(|p| p.expires_at > draft.now);
    waiting.expires_at <= draft.now || next.is_some_and(|next| next.id == waiting.id)
}

/// Whether a queued command may go. What is not a command holds nobody up.
fn is_free(draft: &Draft<'_>) -> bool {
    queue::may_go(&open_commands(draft))
}

/// The open commands, as answers see them.
pub fn open_commands(draft: &Draft<'_>) -> Vec<Open> {
    let open = draft.state.queue.open.iter();
    open.filter(|o| o.kind == DownlinkKind::Command)
        .map(|o| Open {
            mid: o.mid,
            by_mid: o.by_mid,
            on_air: !o.waits,
        })
        .collect()
}

/// Whether a command that is sent immediately may go at once.
pub fn may_overtake(draft: &Draft<'_>) -> bool {
    queue::may_overtake(&open_commands(draft))
}

/// Those that wait for their turn have it when what was before them has ended.
fn take_turns(draft: &mut Draft<'_>) -> bool {
    let mut changed = false;
    while let Some(at) = draft.state.queue.open.iter().position(|o| o.waits) {
        let before: Vec<Open> = open_commands(draft)
            .into_iter()
            .filter(|o| o.on_air)
            .collect();
        let Some(id) = draft.state.queue.open.get(at).map(|o| o.id) else {
            break;
        };
        if !queue::may_overtake(&before) || !advance(draft, id, Input::Turn, None) {
            break;
        }
        changed = true;
        // Or its time was over.
        let open = draft.state.queue.open.iter().find(|o| o.id == id);
        if let Some(waited_ms) = open.map(|o| draft.now.since_ms(o.sent_at)) {
            let waited = Duration::from_millis(waited_ms);
            carry(draft, id, Some(TURN_WAIT.saturating_sub(waited)));
        }
    }
    changed
}

/// What was sent, is not acknowledged and not on its way any more is sent again as it was: when the
/// device has moved, or speaks after the last repetition; and when a former process carried it. `doubtful`:
/// tokens of which nobody knows whether they were carried. It waits as long as it must for its turn: the device may have it already, so that to be
/// too late for that would be no failure.
pub fn carry_again(draft: &mut Draft<'_>, doubtful: &[u64]) -> bool {
    let moved = left_peer(draft.loaded, &draft.state).is_some();
    let span = draft.loaded.timing().max_transmit_span();
    let span_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let (now, started_at) = (draft.now, draft.loaded.started_at);
    let open = draft.state.queue.open.iter();
    let lost: Vec<CommandId> = open
        .filter(|o| !o.waits && o.delivered_at.is_none())
        .filter(|o| {
            let is_forgotten = o.carried_at < started_at || doubtful.contains(&o.token);
            moved || is_forgotten || now.since_ms(o.carried_at) > span_ms
        })
        .map(|o| o.id)
        .collect();
    // All of them first: else the next would have its turn in between.
    if let Some(peer) = draft.loaded.peer_in(&draft.state) {
        let open = draft.state.queue.open.iter();
        let tokens = open.filter(|o| lost.contains(&o.id));
        let tokens: Vec<Token> = tokens.map(|o| Token::from_u64(o.token)).collect();
        if !tokens.is_empty() {
            draft.effect(Outgoing::Cancel { peer, tokens });
        }
    }
    for id in &lost {
        if let Some(open) = draft.state.queue.open.iter_mut().find(|o| o.id == *id) {
            open.carried_at = now;
            open.again = true;
        }
        renew_msg_ids(draft, *id);
        carry(draft, *id, None);
    }
    // A commit in any case: with it, what it builds on is durable too.
    !lost.is_empty()
}

/// Nobody carries what has these tokens, and the device does not listen: it goes when the device speaks.
pub fn set_down(draft: &mut Draft<'_>, tokens: &[u64]) -> bool {
    let mut changed = false;
    let open = draft.state.queue.open.iter_mut();
    for open in open.filter(|o| !o.waits && tokens.contains(&o.token)) {
        changed |= open.carried_at != NOBODY_CARRIES;
        open.carried_at = NOBODY_CARRIES;
    }
    changed
}

/// A body in blocks starts over, and a block of it must not be taken for the one before: it gets
/// message ids of its own. A message of one datagram keeps its id, so that it is recognised.
fn renew_msg_ids(draft: &mut Draft<'_>, id: CommandId) {
    let Some(at) = draft.commands.iter().position(|c| c.id == id) else {
        return;
    };
    let message = draft.commands.get(at).and_then(|c| c.message.as_ref());
    let Some(count) = message
        .filter(|m| m.payload.len() > WHOLE_MAX)
        .map(|m| m.msg_ids)
    else {
        return;
    };
    let first = draft.msg_ids(count).first;
    if let Some(open) = draft.state.queue.open.iter_mut().find(|o| o.id == id) {
        open.transfers = open.transfers.saturating_add(1);
    }
    if let Some(message) = draft.commands.get_mut(at).and_then(|c| c.message.as_mut()) {
        message.first_msg_id = first;
    }
    let Some(record) = draft.commands.get(at).cloned() else {
        return;
    };
    let device_seq = draft.loaded.device.seq;
    let record = Box::new(record);
    draft.change(crate::store::Change::PutCommand { device_seq, record });
}

/// Encodes a command that waits, and sends it. `waits`: not before its turn has come.
pub fn send(draft: &mut Draft<'_>, id: CommandId, waits: bool) {
    let mid = next_mid(draft);
    let Some(record) = draft.commands.iter().find(|c| c.id == id) else {
        return;
    };
    let encoded = match draft.loaded.codec() {
        None => Err("the product has no codec".to_owned()),
        Some(codec) => {
            let command = Encode {
                service_id: &record.service_id,
                command_name: &record.command_name,
                paras: &record.paras,
                mid,
            };
            // What is never answered can't be mistaken either.
            let by_mid = !record.expects_answer || codec.answers_by_mid(&command);
            let bytes = codec.encode(&command);
            bytes.map(|b| (b, by_mid)).map_err(|e| e.to_string())
        }
    };
    match encoded {
        Ok((payload, by_mid)) => put_on_air(
            draft,
            id,
            Message {
                payload,
                mid,
                by_mid,
            },
            waits,
        ),
        Err(why) => {
            let result = failure("IOTDA.014013", format!("the codec can't encode it: {why}"));
            advance(draft, id, Input::Refused, Some(&result));
        }
    }
}

/// Sends what the codec answers to a report. It holds nobody up. A device that leaves some of them
/// unacknowledged gets no further ones: each costs memory until its time is over.
pub fn answer(draft: &mut Draft<'_>, payload: Vec<u8>) {
    let open = draft.state.queue.open.iter();
    if open.filter(|o| o.kind == DownlinkKind::Answer).count() >= ANSWERS_MAX {
        draft.trace(|now| {
            let entry = TraceEntry::new(now, "answer", Direction::Down, "a report is not answered");
            entry.failed(
                format!("{ANSWERS_MAX} answers are not acknowledged yet"),
                "does the device take confirmable requests on its downlink path?",
            )
        });
        return;
    }
    let record = CommandRecord {
        kind: DownlinkKind::Answer,
        service_id: String::new(),
        paras: serde_json::Map::new(),
        ..unasked(draft)
    };
    let message = Message {
        payload,
        mid: 0,
        by_mid: true,
    };
    send_unasked(draft, record, message);
}

/// What no application asked for, and what is filled in.
pub fn unasked(draft: &Draft<'_>) -> CommandRecord {
    CommandRecord {
        id: CommandId {
            created_at: draft.now,
            // Beside those that are given out: random, and of this device alone.
            seq: (draft.loaded.random)() >> 2,
        },
        kind: DownlinkKind::Properties,
        service_id: String::new(),
        command_name: String::new(),
        paras: serde_json::Map::new(),
        strategy: Strategy::Delay,
        expire_time_s: 0,
        expects_answer: false,
        status: CommandStatus::Pending,
        sent_at: None,
        delivered_at: None,
        answered_at: None,
        message: None,
        result: None,
    }
}

/// Puts such a thing on the air at once.
pub fn send_unasked(draft: &mut Draft<'_>, record: CommandRecord, message: Message) {
    let id = record.id;
    draft.commands.push(record);
    draft.state.queue.pending.push(PendingRecord {
        id,
        expires_at: draft.now.plus_s(1),
    });
    put_on_air(draft, id, message, false);
}

/// The correlation id of the next message.
pub fn next_mid(draft: &Draft<'_>) -> u16 {
    let queue = &draft.state.queue;
    let open = queue.open.iter().map(|o| o.mid);
    let used: Vec<u16> = open.chain(queue.recent.iter().map(|r| r.mid)).collect();
    queue::next_mid(queue.last_mid, &used)
}

/// An encoded message.
pub struct Message {
    pub payload: Vec<u8>,
    pub mid: u16,
    /// Its answer carries the mid.
    pub by_mid: bool,
}

/// From now on there is this one message for the command: it goes out once that is durable.
pub fn put_on_air(draft: &mut Draft<'_>, id: CommandId, message: Message, waits: bool) {
    let Message {
        payload,
        mid,
        by_mid,
    } = message;
    let token = (draft.loaded.random)();
    // One for each datagram: a device may ask for blocks of any size.
    let count = u16::try_from(2 + payload.len() / BLOCK_MIN).unwrap_or(u16::MAX);
    let msg_ids = draft.msg_ids(count);
    let settings = draft.loaded.product.as_ref().map(|p| p.settings.command);
    let now = draft.now;
    let Some(record) = draft.commands.iter_mut().find(|c| c.id == id) else {
        return;
    };
    let at_once = record.kind == DownlinkKind::Command && record.strategy == Strategy::Immediately;
    record.message = Some(MessageRecord {
        payload,
        mid,
        token,
        first_msg_id: msg_ids.first,
        msg_ids: msg_ids.count,
    });
    let open = OpenRecord {
        id,
        kind: record.kind,
        token,
        mid,
        by_mid,
        sent_at: now,
        carried_at: now,
        waits,
        again: false,
        transfers: 1,
        delivered_at: None,
        response_timeout_s: settings.unwrap_or_default().response_timeout_s,
    };
    advance(draft, id, Input::Sent { waits }, None);
    let is_sent = |c: &CommandRecord| c.id == id && c.status == CommandStatus::Sent;
    if !draft.commands.iter().any(is_sent) {
        // Its time was over.
        return;
    }
    let queue = &mut draft.state.queue;
    if mid != 0 {
        queue.last_mid = mid;
    }
    queue.pending.retain(|p| p.id != id);
    queue.open.push(open);
    if !waits {
        carry(draft, id, at_once.then_some(TURN_WAIT));
    }
}

/// Gives a sent message to the network. `turn_within`: it fails when its turn has not come by then. While
/// something else is under way to a device that sleeps meanwhile, it is to be given back.
fn carry(draft: &mut Draft<'_>, id: CommandId, turn_within: Option<Duration>) {
    let Some(record) = draft.commands.iter().find(|c| c.id == id) else {
        return;
    };
    let limits = [turn_within, listens_for(draft)];
    let turn_within = limits.into_iter().flatten().min();
    let Some(request) = request(draft, record, turn_within) else {
        return;
    };
    draft.effect(Outgoing::Request(Box::new(request)));
}

/// Code and options of what goes down to a device of this kind.
pub fn downlink_to(draft: &Draft<'_>, kind: RegistrationKind) -> (Code, Vec<(u16, Vec<u8>)>) {
    let downlink = draft.loaded.product.as_ref().map(|p| p.settings.downlink);
    let (code, path): (Code, &[&[u8]]) = match kind {
        RegistrationKind::Raw => (Code::POST, &[b"t", b"d"]),
        RegistrationKind::Lwm2m => match downlink.unwrap_or_default() {
            Downlink::Write => (Code::PUT, &[b"19", b"1", b"0"]),
            Downlink::Execute => (Code::POST, &[b"19", b"1", b"0"]),
        },
    };
    let opaque = option::Uint::new(u64::from(ContentFormat::OPAQUE.0));
    let mut options: Vec<(u16, Vec<u8>)> = path
        .iter()
        .map(|segment| (option::URI_PATH, segment.to_vec()))
        .collect();
    options.push((option::CONTENT_FORMAT, opaque.as_bytes().to_vec()));
    (code, options)
}

fn request(
    draft: &Draft<'_>,
    record: &CommandRecord,
    turn_within: Option<Duration>,
) -> Option<Request> {
    let message = record.message.as_ref()?;
    let registration = draft.state.registration.as_ref()?;
    let peer = draft.loaded.peer_in(&draft.state)?;
    let (code, options) = downlink_to(draft, registration.kind);
    Some(Request {
        peer,
        token: Token::from_u64(message.token),
        body_token: Token::from_u64((draft.loaded.random)()),
        code,
        options,
        payload: Bytes::from(message.payload.clone()),
        msg_ids: MsgIds {
            first: message.first_msg_id,
            count: message.msg_ids,
        },
        timing: draft.loaded.timing(),
        turn_within,
        resume: None,
        push: None,
    })
}
