//! Everything that pushes depend on, in memory, as it was after some commit.

use crate::base::ids::{ActionId, AppId, PolicyId, PushCertificateId, QueueId, RuleId};
use crate::store::Change;
use crate::store::forwarding::{
    AccessRecord, ActionRecord, BacklogRecord, FlowRecord, ForwardingKey, ForwardingRecord,
    PushCertificateRecord, QueueRecord, RuleRecord,
};

use super::ForwardingError;

/// What the store holds of forwarding, each kind newest first.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub rules: Vec<RuleRecord>,
    pub actions: Vec<ActionRecord>,
    pub backlogs: Vec<BacklogRecord>,
    pub flows: Vec<FlowRecord>,
    pub certificates: Vec<PushCertificateRecord>,
    pub queues: Vec<QueueRecord>,
    pub accesses: Vec<AccessRecord>,
}

impl Snapshot {
    /// Of records as the store lists them.
    pub fn of(records: Vec<ForwardingRecord>) -> Self {
        let mut snapshot = Self::default();
        for record in records {
            match record {
                ForwardingRecord::Rule(one) => snapshot.rules.push(one),
                ForwardingRecord::Action(one) => snapshot.actions.push(one),
                ForwardingRecord::Backlog(one) => snapshot.backlogs.push(one),
                ForwardingRecord::Flow(one) => snapshot.flows.push(one),
                ForwardingRecord::Queue(one) => snapshot.queues.push(one),
                ForwardingRecord::Access(one) => snapshot.accesses.push(one),
                ForwardingRecord::Certificate(one) => snapshot.certificates.push(one),
            }
        }
        snapshot
    }

    pub fn rule(&self, id: &RuleId) -> Result<&RuleRecord, ForwardingError> {
        let found = self.rules.iter().find(|rule| rule.rule_id == *id);
        found.ok_or_else(|| ForwardingError::NoRule(id.clone()))
    }

    pub fn action(&self, id: &ActionId) -> Result<&ActionRecord, ForwardingError> {
        let found = self.actions.iter().find(|action| action.action_id == *id);
        found.ok_or_else(|| ForwardingError::NoAction(id.clone()))
    }

    pub fn backlog(&self, id: &PolicyId) -> Result<&BacklogRecord, ForwardingError> {
        let found = self.backlogs.iter().find(|policy| policy.policy_id == *id);
        found.ok_or_else(|| ForwardingError::NoPolicy(id.clone()))
    }

    pub fn flow(&self, id: &PolicyId) -> Result<&FlowRecord, ForwardingError> {
        let found = self.flows.iter().find(|policy| policy.policy_id == *id);
        found.ok_or_else(|| ForwardingError::NoPolicy(id.clone()))
    }

    pub fn queue(&self, id: &QueueId) -> Result<&QueueRecord, ForwardingError> {
        let found = self.queues.iter().find(|queue| queue.queue_id == *id);
        found.ok_or_else(|| ForwardingError::NoQueue(id.clone()))
    }

    pub fn certificate(
        &self,
        id: &PushCertificateId,
    ) -> Result<&PushCertificateRecord, ForwardingError> {
        let found = self.certificates.iter().find(|one| one.cert_id == *id);
        found.ok_or_else(|| ForwardingError::NoCertificate(id.clone()))
    }

    /// The actions of a rule.
    pub fn actions_of<'a>(&'a self, rule: &'a RuleId) -> impl Iterator<Item = &'a ActionRecord> {
        let all = self.actions.iter();
        all.filter(move |action| action.rule_id == *rule)
    }

    /// Leaves out the rules for which `is_gone` answers true for their space, with their actions.
    pub(super) fn forget_spaces(&mut self, is_gone: impl Fn(&AppId) -> bool) {
        self.rules
            .retain(|rule| !rule.app_id.as_ref().is_some_and(&is_gone));
        let rules = &self.rules;
        self.actions
            .retain(|action| rules.iter().any(|rule| rule.rule_id == action.rule_id));
    }

    /// Follows a change that was committed.
    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::PutForwarding(record) => self.put(*record),
            Change::DeleteForwarding(key) => self.remove(&key),
            _ => {}
        }
    }

    fn put(&mut self, record: ForwardingRecord) {
        match record {
            ForwardingRecord::Rule(one) => put(&mut self.rules, one, |o| &o.rule_id),
            ForwardingRecord::Action(one) => put(&mut self.actions, one, |o| &o.action_id),
            ForwardingRecord::Backlog(one) => put(&mut self.backlogs, one, |o| &o.policy_id),
            ForwardingRecord::Flow(one) => put(&mut self.flows, one, |o| &o.policy_id),
            ForwardingRecord::Queue(one) => put(&mut self.queues, one, |o| &o.queue_id),
            ForwardingRecord::Access(one) => put(&mut self.accesses, one, |o| &o.access_key),
            ForwardingRecord::Certificate(one) => put(&mut self.certificates, one, |o| &o.cert_id),
        }
    }

    fn remove(&mut self, key: &ForwardingKey) {
        match key {
            ForwardingKey::Rule(id) => self.rules.retain(|one| one.rule_id != *id),
            ForwardingKey::Action(id) => self.actions.retain(|one| one.action_id != *id),
            ForwardingKey::Backlog(id) => self.backlogs.retain(|one| one.policy_id != *id),
            ForwardingKey::Flow(id) => self.flows.retain(|one| one.policy_id != *id),
            ForwardingKey::Queue(id) => self.queues.retain(|one| one.queue_id != *id),
            ForwardingKey::Access(id) => self.accesses.retain(|one| one.access_key != *id),
            ForwardingKey::Certificate(id) => self.certificates.retain(|one| one.cert_id != *id),
        }
    }
}

/// In the place of the one with this id, else first: it is the newest.
fn put<T, I: PartialEq>(list: &mut Vec<T>, one: T, id: fn(&T) -> &I) {
    match list.iter_mut().find(|known| id(known) == id(&one)) {
        Some(known) => *known = one,
        None => list.insert(0, one),
    }
}
