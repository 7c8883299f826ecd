//! Policies: how much may wait for subscribers, and how many pushes leave in a second.

use std::sync::Arc;

use super::error::invalid;
use super::{Edit, Forwarding, ForwardingError, POLICIES_MAX, Snapshot, check_room, fresh_id};
use crate::base::ids::{ActionId, PolicyId, RuleId};
use crate::store::forwarding::{BacklogRecord, FlowRecord, FlowScope, ForwardingRecord};

/// A backlog policy to create. Formats and ranges were checked by the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBacklog {
    pub policy_name: Option<String>,
    pub description: Option<String>,
    pub backlog_size_bytes: u64,
    pub backlog_time_s: u64,
}

/// What to change of a backlog policy: what is absent stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BacklogPatch {
    pub policy_name: Option<String>,
    pub description: Option<String>,
    pub backlog_size_bytes: Option<u64>,
    pub backlog_time_s: Option<u64>,
}

/// A flow-control policy to create. Formats and ranges were checked by the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFlow {
    pub policy_name: Option<String>,
    pub description: Option<String>,
    pub scope: FlowScope,
    pub scope_value: Option<String>,
    pub limit_per_s: u32,
}

/// What to change of a flow-control policy: what is absent stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FlowPatch {
    pub policy_name: Option<String>,
    pub description: Option<String>,
    pub limit_per_s: Option<u32>,
}

impl Forwarding {
    pub async fn create_backlog(
        self: &Arc<Self>,
        new: NewBacklog,
    ) -> Result<BacklogRecord, ForwardingError> {
        self.change("backlog policy create", move |this, now| {
            check_room(
                now.backlogs.len(),
                POLICIES_MAX,
                "server",
                "backlog policies",
            )?;
            let policy = BacklogRecord {
                version: 1,
                policy_id: fresh_id(PolicyId::parse)?,
                seq: this.next_seq()?,
                policy_name: new.policy_name,
                description: new.description,
                backlog_size_bytes: new.backlog_size_bytes,
                backlog_time_s: new.backlog_time_s,
            };
            Ok(Edit::put(policy.clone(), ForwardingRecord::Backlog(policy)))
        })
        .await
    }

    /// Changes what `patch` names; nothing happens when all is as it was.
    pub async fn update_backlog(
        self: &Arc<Self>,
        id: PolicyId,
        patch: BacklogPatch,
    ) -> Result<BacklogRecord, ForwardingError> {
        self.change("backlog policy update", move |_, now| {
            let old = now.backlog(&id)?;
            let mut policy = old.clone();
            policy.policy_name = patch.policy_name.or(policy.policy_name);
            policy.description = patch.description.or(policy.description);
            policy.backlog_size_bytes = patch
                .backlog_size_bytes
                .unwrap_or(policy.backlog_size_bytes);
            policy.backlog_time_s = patch.backlog_time_s.unwrap_or(policy.backlog_time_s);
            if policy == *old {
                return Ok(Edit::none(policy));
            }
            policy.version = old.version.saturating_add(1);
            Ok(Edit::put(policy.clone(), ForwardingRecord::Backlog(policy)))
        })
        .await
    }

    pub async fn delete_backlog(self: &Arc<Self>, id: PolicyId) -> Result<(), ForwardingError> {
        self.change("backlog policy delete", move |_, now| {
            let old = now.backlog(&id)?.clone();
            Ok(Edit::delete(&ForwardingRecord::Backlog(old)))
        })
        .await
    }

    pub async fn create_flow(
        self: &Arc<Self>,
        new: NewFlow,
    ) -> Result<FlowRecord, ForwardingError> {
        self.change("flow-control policy create", move |this, now| {
            check_scope(now, new.scope, new.scope_value.as_deref())?;
            check_room(
                now.flows.len(),
                POLICIES_MAX,
                "server",
                "flow-control policies",
            )?;
            let policy = FlowRecord {
                version: 1,
                policy_id: fresh_id(PolicyId::parse)?,
                seq: this.next_seq()?,
                policy_name: new.policy_name,
                description: new.description,
                scope: new.scope,
                scope_value: new.scope_value,
                limit_per_s: new.limit_per_s,
            };
            Ok(Edit::put(policy.clone(), ForwardingRecord::Flow(policy)))
        })
        .await
    }

    /// Changes what `patch` names; nothing happens when all is as it was.
    pub async fn update_flow(
        self: &Arc<Self>,
        id: PolicyId,
        patch: FlowPatch,
    ) -> Result<FlowRecord, ForwardingError> {
        self.change("flow-control policy update", move |_, now| {
            let old = now.flow(&id)?;
            let mut policy = old.clone();
            policy.policy_name = patch.policy_name.or(policy.policy_name);
            policy.description = patch.description.or(policy.description);
            policy.limit_per_s = patch.limit_per_s.unwrap_or(policy.limit_per_s);
            if policy == *old {
                return Ok(Edit::none(policy));
            }
            policy.version = old.version.saturating_add(1);
            Ok(Edit::put(policy.clone(), ForwardingRecord::Flow(policy)))
        })
        .await
    }

    pub async fn delete_flow(self: &Arc<Self>, id: PolicyId) -> Result<(), ForwardingError> {
        self.change("flow-control policy delete", move |_, now| {
            let old = now.flow(&id)?.clone();
            Ok(Edit::delete(&ForwardingRecord::Flow(old)))
        })
        .await
    }
}

/// What a policy bounds must be there. A channel's name was checked by the caller.
fn check_scope(
    now: &Snapshot,
    scope: FlowScope,
    value: Option<&str>,
) -> Result<(), ForwardingError> {
    let value = value.unwrap_or_default();
    let is_there = match scope {
        FlowScope::User | FlowScope::Channel => true,
        FlowScope::Rule => RuleId::parse(value).is_ok_and(|id| now.rule(&id).is_ok()),
        FlowScope::Action => ActionId::parse(value).is_ok_and(|id| now.action(&id).is_ok()),
    };
    let what = match scope {
        FlowScope::Action => "action",
        FlowScope::User | FlowScope::Channel | FlowScope::Rule => "rule",
    };
    match is_there {
        true => Ok(()),
        false => {
            let shown: String = value.chars().take(36).collect();
            let problem = format!("there is no {what} {shown:?}, takes the id of one");
            Err(invalid("scope_value", problem))
        }
    }
}
