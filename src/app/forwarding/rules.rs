//! Routing rules: made inactive, so that nothing is pushed before their actions are there.

use std::sync::Arc;

use super::{Edit, Forwarding, ForwardingError, RULES_MAX, Snapshot, check_room, fresh_id};
use crate::app::sql::Filter;
use crate::base::ids::{AppId, RuleId};
use crate::store::forwarding::{ForwardingKey, ForwardingRecord, RuleRecord};
use crate::store::{Change, Guard};

/// A rule to create. Formats, lengths and its subject were checked by the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRule {
    pub rule_name: Option<String>,
    pub description: Option<String>,
    pub resource: String,
    pub event: String,
    /// `None`: of all spaces.
    pub app_id: Option<AppId>,
    pub select: Option<String>,
    pub condition: Option<String>,
}

/// What to change of a rule: what is absent stays, a clause that is empty goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RulePatch {
    pub rule_name: Option<String>,
    pub description: Option<String>,
    pub select: Option<String>,
    pub condition: Option<String>,
    pub active: Option<bool>,
}

impl Forwarding {
    /// Creates a rule that is not active yet.
    pub async fn create_rule(
        self: &Arc<Self>,
        new: NewRule,
    ) -> Result<RuleRecord, ForwardingError> {
        self.change("rule create", move |this, now| this.new_rule(now, new))
            .await
    }

    fn new_rule(&self, now: &Snapshot, new: NewRule) -> Result<Edit<RuleRecord>, ForwardingError> {
        let (select, condition) = (said(new.select), said(new.condition));
        judge_sql(select.as_deref(), condition.as_deref())?;
        check_room(now.rules.len(), RULES_MAX, "server", "rules")?;
        let at = self.parts.clock.now();
        let rule = RuleRecord {
            version: 1,
            rule_id: fresh_id(RuleId::parse)?,
            seq: self.next_seq()?,
            rule_name: new.rule_name,
            description: new.description,
            resource: new.resource,
            event: new.event,
            app_id: new.app_id,
            select,
            condition,
            active: false,
            created_at: at,
            modified_at: at,
        };
        Ok(written(rule))
    }

    /// Changes what `patch` names; nothing happens when all is as it was.
    pub async fn update_rule(
        self: &Arc<Self>,
        id: RuleId,
        patch: RulePatch,
    ) -> Result<RuleRecord, ForwardingError> {
        self.change("rule update", move |this, now| {
            let old = now.rule(&id)?;
            let mut rule = old.clone();
            rule.rule_name = patch.rule_name.or(rule.rule_name);
            rule.description = patch.description.or(rule.description);
            if patch.select.is_some() {
                rule.select = said(patch.select);
            }
            if patch.condition.is_some() {
                rule.condition = said(patch.condition);
            }
            rule.active = patch.active.unwrap_or(rule.active);
            judge_sql(rule.select.as_deref(), rule.condition.as_deref())?;
            if rule == *old {
                return Ok(Edit::none(rule));
            }
            rule.version = old.version.saturating_add(1);
            if rule.active && !old.active {
                // Where its actions begin.
                rule.modified_at = this.parts.clock.now();
            }
            Ok(written(rule))
        })
        .await
    }

    /// Deletes a rule with its actions.
    pub async fn delete_rule(self: &Arc<Self>, id: RuleId) -> Result<(), ForwardingError> {
        self.change("rule delete", move |_, now| {
            let version = now.rule(&id)?.version;
            let key = ForwardingKey::Rule(id.clone());
            Ok(Edit {
                answer: (),
                guards: vec![Guard::ForwardingVersion(key, version)],
                changes: deletion(now, &id),
            })
        })
        .await
    }
}

/// A rule with its actions goes in one commit.
pub(super) fn deletion(all: &Snapshot, id: &RuleId) -> Vec<Change> {
    let actions = all.actions_of(id);
    let actions = actions.map(|action| ForwardingKey::Action(action.action_id.clone()));
    let keys = actions.chain([ForwardingKey::Rule(id.clone())]);
    keys.map(Change::DeleteForwarding).collect()
}

/// A rule of a space is written only while the space is there.
fn written(rule: RuleRecord) -> Edit<RuleRecord> {
    let space = rule.app_id.clone();
    let mut edit = Edit::put(rule.clone(), ForwardingRecord::Rule(rule));
    edit.guards.extend(space.map(Guard::AppExists));
    edit
}

/// A clause without a word in it is none.
fn said(clause: Option<String>) -> Option<String> {
    clause.filter(|text| !text.trim().is_empty())
}

/// Both clauses are of the language of `app::sql`.
fn judge_sql(select: Option<&str>, condition: Option<&str>) -> Result<(), ForwardingError> {
    Filter::parse(select, condition)?;
    Ok(())
}
