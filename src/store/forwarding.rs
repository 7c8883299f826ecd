//! On-disk forms of what applications subscribe to: routing rules, their actions, policies, CA
//! certificates of subscribers, queues and access codes; and how far each action's pushes have come.
//! Rules of `records.rs`.

use serde::{Deserialize, Serialize};

use crate::base::ids::{AccessKey, ActionId, AppId, PolicyId, PushCertificateId, QueueId, RuleId};
use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::store::records::EnvelopeRecord;

/// One thing of forwarding: few, small, all in memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ForwardingRecord {
    Rule(RuleRecord),
    Action(ActionRecord),
    Backlog(BacklogRecord),
    Flow(FlowRecord),
    Queue(QueueRecord),
    Access(AccessRecord),
    Certificate(PushCertificateRecord),
}

/// Names a [`ForwardingRecord`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ForwardingKey {
    Rule(RuleId),
    Action(ActionId),
    Backlog(PolicyId),
    Flow(PolicyId),
    Queue(QueueId),
    Access(AccessKey),
    Certificate(PushCertificateId),
}

impl ForwardingRecord {
    /// What names it.
    pub fn key(&self) -> ForwardingKey {
        match self {
            Self::Rule(one) => ForwardingKey::Rule(one.rule_id.clone()),
            Self::Action(one) => ForwardingKey::Action(one.action_id.clone()),
            Self::Backlog(one) => ForwardingKey::Backlog(one.policy_id.clone()),
            Self::Flow(one) => ForwardingKey::Flow(one.policy_id.clone()),
            Self::Queue(one) => ForwardingKey::Queue(one.queue_id.clone()),
            Self::Access(one) => ForwardingKey::Access(one.access_key.clone()),
            Self::Certificate(one) => ForwardingKey::Certificate(one.cert_id.clone()),
        }
    }

    /// Counts its writes, from 1.
    pub const fn version(&self) -> u64 {
        match self {
            Self::Rule(one) => one.version,
            Self::Action(one) => one.version,
            Self::Backlog(one) => one.version,
            Self::Flow(one) => one.version,
            Self::Queue(one) => one.version,
            Self::Access(one) => one.version,
            Self::Certificate(one) => one.version,
        }
    }

    /// Its place in lists. Access codes have none: they are in none.
    pub const fn seq(&self) -> u64 {
        match self {
            Self::Rule(one) => one.seq,
            Self::Action(one) => one.seq,
            Self::Backlog(one) => one.seq,
            Self::Flow(one) => one.seq,
            Self::Queue(one) => one.seq,
            Self::Access(_) => 0,
            Self::Certificate(one) => one.seq,
        }
    }

    /// The place of its kind among the kinds.
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Rule(_) => 0,
            Self::Action(_) => 1,
            Self::Backlog(_) => 2,
            Self::Flow(_) => 3,
            Self::Queue(_) => 4,
            Self::Access(_) => 5,
            Self::Certificate(_) => 6,
        }
    }
}

/// A routing rule: which events it takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleRecord {
    /// Counts the writes of this record, from 1.
    pub version: u64,
    pub rule_id: RuleId,
    pub seq: u64,
    pub rule_name: Option<String>,
    pub description: Option<String>,
    /// `device.property`
    pub resource: String,
    /// `report`
    pub event: String,
    /// Only events of this space; `None`: of all (`GLOBAL`).
    pub app_id: Option<AppId>,
    /// The clauses as the caller wrote them.
    pub select: Option<String>,
    pub condition: Option<String>,
    pub active: bool,
    pub created_at: Timestamp,
    pub modified_at: Timestamp,
}

/// What an active rule does with an event: it is pushed over HTTP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionRecord {
    /// Counts the writes of this record, from 1.
    pub version: u64,
    pub action_id: ActionId,
    pub seq: u64,
    pub rule_id: RuleId,
    pub http: HttpRecord,
    pub created_at: Timestamp,
    pub modified_at: Timestamp,
}

/// Where and how an action pushes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpRecord {
    pub url: String,
    /// The CA that signed the subscriber's certificate; `None`: those that the system trusts.
    pub cert_id: Option<PushCertificateId>,
    /// The name in the subscriber's certificate, when it is not the URL's host.
    pub cn_name: Option<String>,
    pub sni_enable: bool,
    pub signature_enable: bool,
    /// Key of the signature.
    pub token: Option<Secret<String>>,
    /// `false`: whoever answers is believed to be the subscriber.
    pub tls_verify: bool,
}

/// How much may wait for a subscriber.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BacklogRecord {
    /// Counts the writes of this record, from 1.
    pub version: u64,
    pub policy_id: PolicyId,
    pub seq: u64,
    pub policy_name: Option<String>,
    pub description: Option<String>,
    pub backlog_size_bytes: u64,
    pub backlog_time_s: u64,
}

/// How many pushes leave in a second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowRecord {
    /// Counts the writes of this record, from 1.
    pub version: u64,
    pub policy_id: PolicyId,
    pub seq: u64,
    pub policy_name: Option<String>,
    pub description: Option<String>,
    pub scope: FlowScope,
    /// The channel, the rule's or the action's id; `None` for `USER`.
    pub scope_value: Option<String>,
    pub limit_per_s: u32,
}

/// What a flow-control policy bounds the sum of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FlowScope {
    /// All pushes.
    User,
    Channel,
    Rule,
    Action,
}

/// A queue of the AMQP face.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueRecord {
    /// Counts the writes of this record, from 1.
    pub version: u64,
    pub queue_id: QueueId,
    pub seq: u64,
    pub queue_name: String,
    pub created_at: Timestamp,
    pub modified_at: Timestamp,
}

/// The pair of key and code for clients of one kind: there is one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccessRecord {
    /// Counts the writes of this record, from 1.
    pub version: u64,
    pub kind: AccessKind,
    pub access_key: AccessKey,
    pub access_code: Secret<String>,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccessKind {
    Amqp,
    Mqtt,
}

/// A CA certificate that subscribers' certificates are checked with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PushCertificateRecord {
    /// Counts the writes of this record, from 1.
    pub version: u64,
    pub cert_id: PushCertificateId,
    pub seq: u64,
    pub cn_name: Option<String>,
    /// PEM, one or more certificates.
    pub content: String,
    pub created_at: Timestamp,
    pub effective_at: Timestamp,
    pub expires_at: Timestamp,
}

/// How far the pushes of an action have come.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeliveryRecord {
    /// Every event up to here is dealt with, but for those in `outstanding`.
    pub position: u64,
    /// Events at or below `position` that are not dealt with, ascending.
    pub outstanding: Vec<u64>,
    /// Pushes that were dropped, by size or age of the backlog.
    pub dropped: u64,
    pub delivered: u64,
    /// Tries that did not succeed.
    pub failed: u64,
    /// How many are set aside now.
    pub set_aside: u64,
    /// Whether its rule was active: else the next activation begins anew.
    pub active: bool,
}

/// A push that its subscriber refused again and again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetAsideRecord {
    pub at: Timestamp,
    /// Position of the event.
    pub position: u64,
    /// Which of the event's envelopes.
    pub index: u32,
    pub tries: u32,
    /// What the subscriber said last.
    pub reason: String,
    /// As it was pushed.
    pub envelope: EnvelopeRecord,
}

impl SetAsideRecord {
    pub const fn key(&self) -> SetAsideKey {
        SetAsideKey {
            position: self.position,
            index: self.index,
        }
    }
}

/// Names a push of an action that was set aside; ascending in order of the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetAsideKey {
    pub position: u64,
    pub index: u32,
}

/// Which of an action's pushes that were set aside.
#[derive(Debug, Clone, Copy)]
pub struct SetAsideQuery {
    pub action_seq: u64,
    /// Only those above this one.
    pub after: Option<SetAsideKey>,
    /// Only those below this one.
    pub before: Option<SetAsideKey>,
    /// Else the newest come first.
    pub oldest_first: bool,
    pub limit: usize,
}
