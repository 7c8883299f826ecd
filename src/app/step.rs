//! What one input does to one device: a plain value, computed before anything happens.
//!
//! A step reads [`Loaded`] and gives a [`Step`]: what to commit, and what leaves the process once
//! that is durable. A failed commit throws the step away.

use std::time::Duration;

use bytes::Bytes;

use super::directory::Placement;
use super::envelope::{self, DeviceHeader};
pub use super::input::{Answer, From, Input, Origin, Reply, Unobserved, Via};
use super::loaded::as_ms;
pub use super::loaded::{Loaded, place};
pub use super::note::{Note, Refusal};
use super::order::{OrderError, Told};
use super::timers;
use super::trace::TraceEntry;
use super::upgrading::News;
use crate::base::ids::DeviceId;
use crate::base::peer::{Mark, Peer};
use crate::base::time::Timestamp;
use crate::engine::exchange::{MsgIds, Outgoing, Response, Settle};
use crate::engine::presence::Presence;
use crate::store::commands::{CommandRecord, CommandStatus};
use crate::store::records::{
    EnvelopeRecord, EventRecord, PresenceRecord, RecentRecord, StateRecord,
};
use crate::store::upgrades::{StepRecord, UpgradeRecord};
use crate::store::{Change, Commit, Guard};
use crate::wire::coap::{Code, Token};

/// Messages of a device that are remembered durably as possible duplicates. A device has one
/// confirmable in flight; the rest is for those that don't keep to it.
const RECENT_MAX: usize = 8;
/// Message ids that are reserved for fragments at a time.
const IDS_RESERVED: u16 = 256;

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
    /// For those who look over all devices.
    pub news: Vec<News>,
    /// For metrics, beside the outcome.
    pub counts: Vec<Count>,
    /// What the device's state is from now on, ahead of the stored one.
    pub live: Option<Box<Live>>,
    /// For who gave the order.
    pub told: Option<Result<Told, OrderError>>,
    /// The device is looked at again at once: what may follow is a durable step of its own.
    pub follow: bool,
}

/// A state that is ahead of the stored one of the same version: while a device fetches fragments, what
/// changes with each need not be durable.
#[derive(Debug, Clone)]
pub struct Live {
    pub state: StateRecord,
    /// Message ids from the state's next one on that no later process uses.
    pub ids: u16,
}

/// What a step did that is counted when it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// A command came to this status.
    Command(CommandStatus),
    /// A fragment of a package was given to a device.
    Fragment,
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
    /// See [`Step::news`].
    pub news: Vec<News>,
    /// See [`Step::counts`].
    pub counts: Vec<Count>,
    /// What changed of the upgrade need not be durable.
    pub is_passing: bool,
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
            news: Vec::new(),
            counts: Vec::new(),
            is_passing: false,
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

    /// What an observation is of.
    pub fn path_observed(&self, token: u64) -> Option<String> {
        let mut observations = self.state.observations.iter();
        let found = observations.find(|o| o.token == token)?;
        Some(found.path.clone())
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
                    part: None,
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

    /// The finished step, without a commit when nothing changed that a restart must know.
    pub fn finish_passing(self, outcome: Outcome) -> Step {
        if !self.is_passing || !self.is_only_heard() {
            return self.finish(outcome);
        }
        let used = self
            .state
            .next_msg_id
            .wrapping_sub(self.loaded.state.next_msg_id);
        let Some(ids) = self.loaded.ids_reserved.checked_sub(used) else {
            return self.finish(outcome);
        };
        let deadline = timers::deadline(&self.loaded.device, &self.state, self.now);
        let mut state = self.state;
        state.received = newer(state.received, self.loaded.mark());
        Step {
            deadline,
            effects: self.effects,
            outcome,
            entries: self.entries,
            news: self.news,
            counts: self.counts,
            live: Some(Box::new(Live { state, ids })),
            ..Step::default()
        }
    }

    /// Nothing changed but that the device was heard, and its upgrade.
    fn is_only_heard(&self) -> bool {
        let (before, after) = (&self.loaded.state, &self.state);
        let mut same = StateRecord {
            last_seen_at: before.last_seen_at,
            recent: before.recent.clone(),
            next_msg_id: before.next_msg_id,
            upgrade: before.upgrade.clone(),
            ..after.clone()
        };
        if let (Some(same), Some(before)) = (&mut same.registration, &before.registration) {
            same.updated_at = before.updated_at;
        }
        !self.follow
            && self.changes.is_empty()
            && self.envelopes.is_empty()
            && self.guards.is_empty()
            && same == *before
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
            news,
            counts,
            is_passing: _,
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
        let live = reserve(&mut state);
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
            news,
            counts,
            live,
            ..Step::default()
        }
    }
}

/// While a device fetches fragments, message ids for many of them are reserved at once: each commit
/// moves the stored state past those, and what is in memory uses them up.
fn reserve(state: &mut StateRecord) -> Option<Box<Live>> {
    let fetches = |u: &UpgradeRecord| matches!(u.step, StepRecord::Sota { .. });
    if !state.upgrade.as_deref().is_some_and(fetches) {
        return None;
    }
    let live = Live {
        state: state.clone(),
        ids: IDS_RESERVED,
    };
    state.next_msg_id = state.next_msg_id.wrapping_add(IDS_RESERVED);
    Some(Box::new(live))
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
