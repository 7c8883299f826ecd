//! What one input does to one device: a plain value, computed before anything happens.
//!
//! A step reads [`Loaded`] and gives a [`Step`]: what to commit, and what leaves the process once
//! that is durable. A failed commit throws the step away.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::directory::{Placement, peer_of};
use super::envelope::{self, DeviceHeader};
pub use super::input::{Answer, From, Input, Origin, Reply, Unobserved, Via};
pub use super::note::{Note, Refusal};
use super::order::{OrderError, Told};
use super::product::ProductRuntime;
use super::timers;
use super::trace::TraceEntry;
use crate::base::ids::DeviceId;
use crate::base::peer::{DeviceSeq, Mark, Peer};
use crate::base::time::Timestamp;
use crate::engine::exchange::{MsgIds, Outgoing, Response, Settle, Timing};
use crate::engine::presence::Presence;
use crate::product::codec::call::Memo;
use crate::product::settings::CoapTiming;
use crate::store::commands::{CommandRecord, SubmissionRecord};
use crate::store::records::{
    DeviceRecord, EnvelopeRecord, EventRecord, ObservationStatus, PresenceRecord, RecentRecord,
    RegistrationRecord, StateRecord,
};
use crate::store::{Change, Commit, Guard};
use crate::wire::coap::{Code, Token};

/// Messages of a device that are remembered durably as possible duplicates. A device has one
/// confirmable in flight; the rest is for those that don't keep to it.
const RECENT_MAX: usize = 8;

/// What a step reads.
#[derive(Debug)]
pub struct Loaded {
    pub device: DeviceRecord,
    pub state: StateRecord,
    pub product: Option<Arc<ProductRuntime>>,
    /// What is known of the product's codec when that runs elsewhere: it stands for it.
    pub memo: Option<Memo>,
    /// Rows of the commands that the step may change: the open ones, the next that waits, those that are
    /// overdue, and the one that a late answer may be for.
    pub commands: Vec<CommandRecord>,
    /// What the order's name has made before, if it has one.
    pub submitted: Option<(SubmissionRecord, Option<CommandRecord>)>,
    /// Commands that may wait for one device.
    pub pending_max: usize,
    /// Another device was heard later from the address where this one registered.
    pub is_displaced: bool,
    /// Who caused the input; `None` for what the device has no part in.
    pub origin: Option<Origin>,
    /// Somebody reads what happens with the device: entries for its trace are worth their making.
    pub is_traced: bool,
    /// When this process started.
    pub started_at: Timestamp,
    /// Numbers that nobody can guess.
    pub random: fn() -> u64,
}

impl Loaded {
    /// The product's transmission parameters.
    pub fn timing(&self) -> Timing {
        let coap = self
            .product
            .as_ref()
            .map(|p| p.settings.coap)
            .unwrap_or_default();
        let CoapTiming {
            ack_timeout_s,
            max_retransmit,
            exchange_lifetime_s,
        } = coap;
        let seconds = |s: f64| Duration::try_from_secs_f64(s).unwrap_or_default();
        Timing {
            ack_timeout: seconds(ack_timeout_s),
            max_retransmit,
            exchange_lifetime: seconds(exchange_lifetime_s),
        }
    }

    /// Why `peer` may not speak for the device, if so: the one place where that is judged.
    pub fn refusal(&self, peer: Peer) -> Option<Refusal> {
        match peer {
            Peer::Secured(seq) if seq != DeviceSeq(self.device.seq) => Some(Refusal::Foreign),
            Peer::Plain(_) | Peer::Secured(_) if self.device.frozen => Some(Refusal::Frozen),
            Peer::Plain(_) if self.device.auth.is_secured() => Some(Refusal::Unsecured),
            Peer::Plain(_) | Peer::Secured(_) => None,
        }
    }

    /// The record that the input came in.
    fn mark(&self) -> Option<Mark> {
        self.origin.and_then(|origin| origin.mark)
    }

    /// Where the device is reached according to `state`.
    pub fn peer_in(&self, state: &StateRecord) -> Option<Peer> {
        let registration = state.registration.as_ref();
        registration.map(|r| peer_of(&self.device, r))
    }

    /// Whether this datagram had its effect before.
    pub fn is_duplicate(&self, from: From, now: Timestamp) -> bool {
        let timing = self.timing();
        let lifetime_ms = as_ms(timing.exchange_lifetime);
        // A body that is sent anew from the address where this process would know its transfer
        // repeats only what a former process took, and only while the device waits for an answer.
        let here = self
            .state
            .registration
            .as_ref()
            .is_some_and(|r| peer_of(&self.device, r) == from.origin.peer);
        let (before, within_ms) = match (from.is_new_transfer, here) {
            (true, true) => (self.started_at, as_ms(timing.max_transmit_wait())),
            (true, false) => (now.plus_ms(1), as_ms(timing.max_transmit_wait())),
            (false, _) => (now.plus_ms(1), lifetime_ms),
        };
        let is_it = |r: &RecentRecord| {
            r.key == from.key && r.at < before && now.since_ms(r.at) < within_ms.min(lifetime_ms)
        };
        self.state.recent.iter().any(is_it)
    }

    /// Something that a former process sent is not acknowledged, and nobody carries it.
    pub fn is_anything_forgotten(&self) -> bool {
        let mut open = self.state.queue.open.iter();
        open.any(|o| !o.waits && o.delivered_at.is_none() && o.carried_at < self.started_at)
    }

    /// The device may have ended its observations: they are to be asked for again.
    pub fn doubt_observations(&mut self) {
        for observation in &mut self.state.observations {
            if observation.status == ObservationStatus::Established {
                observation.status = ObservationStatus::Asked;
                observation.asked_at = Timestamp::from_ms(0);
            }
        }
    }
}

/// From now on the device is reached where this came from.
pub fn place(registration: &mut RegistrationRecord, origin: Origin) {
    registration.peer = origin.address();
    registration.secured = origin.is_secured();
}

fn as_ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// What an input leads to.
#[derive(Debug, Default)]
pub struct Step {
    /// `None`: nothing durable changes.
    pub commit: Option<Commit>,
    /// After the commit:
    pub placement: Option<Placement>,
    pub deadline: Option<Timestamp>,
    /// The device was not activated in time: to be deleted.
    pub is_overdue: bool,
    pub effects: Vec<Outgoing>,
    /// One word for metrics.
    pub outcome: Outcome,
    /// For the device's trace.
    pub note: Option<Note>,
    /// What else the trace tells, in order.
    pub entries: Vec<TraceEntry>,
    /// For who gave the order.
    pub told: Option<Result<Told, OrderError>>,
    /// The device is looked at again at once: what may follow is a durable step of its own.
    pub follow: bool,
}

/// How an input ended, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Outcome {
    /// Nothing worth counting.
    #[default]
    Done,
    Reported,
    Undecodable,
    Empty,
    Duplicate,
    Refused,
    Registered,
    Updated,
    Deregistered,
}

impl Step {
    /// Nothing durable: just an answer.
    pub fn answer(effects: Vec<Outgoing>, outcome: Outcome) -> Self {
        Self {
            effects,
            outcome,
            ..Self::default()
        }
    }

    /// A refusal that costs nothing: no state, no memory.
    pub fn refuse(reply: Reply, code: Code, why: &str, hint: &str) -> Self {
        Self {
            effects: refusal(reply, code).into_iter().collect(),
            outcome: Outcome::Refused,
            note: Some(Note::failed(format!("refused with {code}"), why, hint)),
            ..Self::default()
        }
    }
}

/// The message that refuses.
pub fn refusal(reply: Reply, code: Code) -> Option<Outgoing> {
    match reply {
        Reply::Request(id) => Some(Outgoing::Respond {
            id,
            response: Response::refusal(code),
        }),
        Reply::Notification(id) => Some(Outgoing::Settle {
            id,
            how: Settle::Reset,
            timing: None,
        }),
        Reply::None => None,
    }
}

/// A device's next state, its commit and effects, while they are put together.
#[derive(Debug)]
pub struct Draft<'a> {
    pub loaded: &'a Loaded,
    pub state: StateRecord,
    pub now: Timestamp,
    /// How long the answer is kept for repetitions, the exchange lifetime at most.
    pub remember_for: Duration,
    /// Where the message that caused this came from.
    pub heard_from: Option<Peer>,
    /// As they are now.
    pub commands: Vec<CommandRecord>,
    /// What else must hold.
    pub guards: Vec<Guard>,
    pub entries: Vec<TraceEntry>,
    /// See [`Step::follow`].
    pub follow: bool,
    changes: Vec<Change>,
    envelopes: Vec<EnvelopeRecord>,
    effects: Vec<Outgoing>,
}

impl<'a> Draft<'a> {
    pub fn new(loaded: &'a Loaded, now: Timestamp) -> Self {
        Self {
            loaded,
            state: loaded.state.clone(),
            now,
            remember_for: Duration::MAX,
            heard_from: None,
            commands: loaded.commands.clone(),
            guards: Vec::new(),
            entries: Vec::new(),
            follow: false,
            changes: Vec::new(),
            envelopes: Vec::new(),
            effects: Vec::new(),
        }
    }

    /// Message ids for what leaves after the commit; the commit moves the device past them.
    pub fn msg_ids(&mut self, count: u16) -> MsgIds {
        let first = self.state.next_msg_id;
        self.state.next_msg_id = first.wrapping_add(count);
        MsgIds { first, count }
    }

    /// Remembers the datagram, so that its repetition is recognised after a crash as well.
    pub fn remember(&mut self, key: u64) {
        let lifetime_ms = as_ms(self.loaded.timing().exchange_lifetime);
        let now = self.now;
        let recent = &mut self.state.recent;
        recent.retain(|r| now.since_ms(r.at) < lifetime_ms);
        if recent.len() >= RECENT_MAX {
            recent.remove(0);
        }
        recent.push(RecentRecord { key, at: now });
    }

    /// The device was heard: it is online, and active from the first time on.
    pub fn hear(&mut self, from: From) {
        self.hear_from(from.origin);
    }

    /// The same for what needs no answer.
    pub fn hear_from(&mut self, origin: Origin) {
        self.heard_from = Some(origin.peer);
        self.state.activated_at.get_or_insert(self.now);
        self.state.last_seen_at = Some(self.now);
        self.judge_presence();
    }

    /// Brings the stored presence up to date; tells subscribers when it changed.
    pub fn judge_presence(&mut self) -> bool {
        let presence = Presence::at(self.now, self.state.last_seen_at);
        let record = match presence {
            Presence::Inactive => PresenceRecord::Inactive,
            Presence::Online => PresenceRecord::Online,
            Presence::Abnormal => PresenceRecord::Abnormal,
            Presence::Offline => PresenceRecord::Offline,
        };
        if record == self.state.presence {
            return false;
        }
        self.state.presence = record;
        self.state.presence_since = Some(self.now);
        let header = DeviceHeader::from(&self.loaded.device);
        let (status, seen) = (presence.as_str(), self.state.last_seen_at);
        self.tell(envelope::device_status(&header, status, seen, self.now));
        true
    }

    pub fn change(&mut self, change: Change) {
        self.changes.push(change);
    }

    pub fn tell(&mut self, envelope: EnvelopeRecord) {
        self.envelopes.push(envelope);
    }

    /// For the device's trace; made only when somebody reads it.
    pub fn trace(&mut self, entry: impl FnOnce(Timestamp) -> TraceEntry) {
        if self.loaded.is_traced {
            self.entries.push(entry(self.now));
        }
    }

    pub fn effect(&mut self, outgoing: Outgoing) {
        self.effects.push(outgoing);
    }

    /// Answers the device after the commit. `code`, `options`: of the response to a request; a
    /// notification is acknowledged.
    pub fn reply(&mut self, reply: Reply, code: Code, options: Vec<(u16, Vec<u8>)>) {
        self.reply_with(reply, code, options, Bytes::new());
    }

    /// The same with a payload for the response to a request.
    pub fn reply_with(
        &mut self,
        reply: Reply,
        code: Code,
        options: Vec<(u16, Vec<u8>)>,
        payload: Bytes,
    ) {
        let timing = Some(self.loaded.timing());
        match reply {
            Reply::Request(id) => {
                let msg_id = self.msg_ids(1).take();
                let remember = Some(self.remember_for);
                let response = Response {
                    code,
                    options,
                    payload,
                    msg_id,
                    remember,
                    timing,
                };
                self.effect(Outgoing::Respond { id, response });
            }
            Reply::Notification(id) => {
                self.effect(Outgoing::Settle {
                    id,
                    how: Settle::Acknowledge,
                    timing,
                });
            }
            Reply::None => {}
        }
    }

    /// The step of a repeated datagram: the first answer again. Nothing else becomes durable, but
    /// for the record that it came in: whoever recorded it could send it to a server that starts
    /// anew, long after the datagram is forgotten, and it would count once more.
    pub fn repeat(self) -> Step {
        let heard = newer(self.state.received, self.loaded.mark());
        if heard == self.state.received {
            return self.answer(Outcome::Duplicate);
        }
        let mut again = Draft::new(self.loaded, self.now);
        again.effects = self.answer(Outcome::Duplicate).effects;
        again.finish(Outcome::Duplicate)
    }

    /// The effects, and nothing durable. Message ids are not taken, since nothing would be kept of
    /// it: the answer rides on the acknowledgement.
    pub fn answer(mut self, outcome: Outcome) -> Step {
        for effect in &mut self.effects {
            if let Outgoing::Respond { response, .. } = effect {
                response.msg_id = None;
            }
        }
        Step::answer(self.effects, outcome)
    }

    /// The effects and what the trace tells, and nothing durable.
    pub fn entries_only(mut self) -> Step {
        let (entries, follow) = (std::mem::take(&mut self.entries), self.follow);
        let now = self.now;
        let deadline = timers::deadline(&self.loaded.device, &self.loaded.state, now);
        let mut step = self.answer(Outcome::Done);
        step.entries = entries;
        step.follow = follow;
        step.deadline = deadline;
        step
    }

    /// The finished step: one commit, guarded by what was read.
    pub fn finish(self, outcome: Outcome) -> Step {
        let Self {
            loaded,
            mut state,
            now,
            remember_for: _,
            heard_from,
            commands: _,
            guards: beside,
            entries,
            follow,
            mut changes,
            envelopes,
            mut effects,
        } = self;
        let device_id = loaded.device.device_id.clone();
        let mut placement = Placement::of(&loaded.device, &state, now);
        placement.is_heard = placement.peer.is_some() && placement.peer == heard_from;
        let placement = Some(placement);
        let deadline = timers::deadline(&loaded.device, &state, now);
        // Requests on their way to a former address must not reach whoever has it now.
        if let Some(peer) = left_peer(loaded, &state) {
            let observed = state.observations.iter().map(|o| o.token);
            let open = loaded.state.queue.open.iter().map(|o| o.token);
            let tokens = observed.chain(open).map(Token::from_u64).collect();
            effects.insert(0, Outgoing::Cancel { peer, tokens });
        }
        // Only here, so that no durable step goes without the record that it came in.
        state.received = newer(state.received, loaded.mark());
        state.version = loaded.state.version + 1;
        changes.push(Change::PutState(device_id, Box::new(state)));
        if !envelopes.is_empty() {
            changes.push(Change::Emit(Box::new(EventRecord { at: now, envelopes })));
        }
        let commit = Some(Commit {
            guards: guards(loaded).into_iter().chain(beside).collect(),
            changes,
        });
        Step {
            commit,
            placement,
            deadline,
            effects,
            outcome,
            entries,
            follow,
            ..Step::default()
        }
    }
}

/// Nothing that the step read has changed since.
pub fn guards(loaded: &Loaded) -> Vec<Guard> {
    let id: &DeviceId = &loaded.device.device_id;
    vec![
        // Deleted and created anew, a device may have the versions of the former one.
        Guard::DeviceSeq(id.clone(), loaded.device.seq),
        Guard::DeviceVersion(id.clone(), loaded.device.version),
        Guard::StateVersion(id.clone(), loaded.state.version),
    ]
}

/// Where the device was, when it is not there any more. A secured device stays the same peer
/// wherever it goes.
pub fn left_peer(loaded: &Loaded, after: &StateRecord) -> Option<Peer> {
    let before = loaded.peer_in(&loaded.state);
    before.filter(|_| before != loaded.peer_in(after))
}

/// The newer of two records: sessions are numbered in ascending order.
fn newer(known: Option<Mark>, heard: Option<Mark>) -> Option<Mark> {
    [known, heard]
        .into_iter()
        .flatten()
        .max_by_key(|mark| (mark.session, mark.seq))
}
