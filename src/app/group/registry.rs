//! Every group in memory, with what is about to be written of them: names and places are taken
//! before the commit and given back when it fails, so that two callers never get the same.

use std::collections::HashMap;
use std::sync::Arc;

use super::{GroupError, GroupLimits};
use crate::app::search::{self, Expr};
use crate::base::ids::{AppId, GroupId};
use crate::store::catalog::GroupRecord;

/// A group with its rule read.
#[derive(Debug, Clone)]
pub struct Group {
    pub record: Arc<GroupRecord>,
    /// Of a dynamic group.
    pub rule: Option<Arc<Expr>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not there yet.
    Creating,
    Live,
    /// There, and being written.
    Busy,
    /// There, and being deleted: nothing new goes below it.
    Leaving,
}

#[derive(Debug)]
struct Entry {
    group: Group,
    phase: Phase,
}

/// Groups by id, names by space.
#[derive(Debug, Default)]
pub(super) struct Registry {
    groups: HashMap<GroupId, Entry>,
    names: HashMap<(AppId, String), GroupId>,
}

fn name_of(record: &GroupRecord) -> (AppId, String) {
    (record.app_id.clone(), record.name.clone())
}

impl Registry {
    /// A group that the store held at the start.
    pub(super) fn load(&mut self, record: GroupRecord) {
        let rule = record.dynamic_group_rule.as_deref();
        // A rule of another version of this program may not read here: it fits nobody then.
        let rule = rule.map(|text| match search::condition(text) {
            Ok(rule) => rule,
            Err(error) => {
                tracing::warn!(group_id = %record.group_id, %error, "a group's rule can't be read");
                Expr::Or(Vec::new())
            }
        });
        self.names.insert(name_of(&record), record.group_id.clone());
        let entry = Entry {
            phase: Phase::Live,
            group: Group {
                rule: rule.map(Arc::new),
                record: Arc::new(record),
            },
        };
        self.groups
            .insert(entry.group.record.group_id.clone(), entry);
    }

    /// The group, unless it is only in the making.
    pub(super) fn find(&self, id: &GroupId) -> Option<&Group> {
        let entry = self.groups.get(id)?;
        (entry.phase != Phase::Creating).then_some(&entry.group)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Group> {
        let there = self.groups.values().filter(|e| e.phase != Phase::Creating);
        there.map(|entry| &entry.group)
    }

    /// Takes the place of a new group.
    pub(super) fn begin_creation(
        &mut self,
        group: Group,
        limits: &GroupLimits,
    ) -> Result<(), GroupError> {
        let record = &group.record;
        if self.groups.len() >= limits.groups {
            return Err(GroupError::TooMany { max: limits.groups });
        }
        let dynamic = self.groups.values().filter(|e| e.group.rule.is_some());
        if group.rule.is_some() && dynamic.count() >= limits.dynamic_groups {
            let max = limits.dynamic_groups;
            return Err(GroupError::TooManyDynamic { max });
        }
        if let Some(above) = &record.super_group_id {
            self.check_super(above, record, limits)?;
        }
        self.take_name(record)?;
        let entry = Entry {
            phase: Phase::Creating,
            group,
        };
        self.groups
            .insert(entry.group.record.group_id.clone(), entry);
        Ok(())
    }

    fn check_super(
        &self,
        above: &GroupId,
        record: &GroupRecord,
        limits: &GroupLimits,
    ) -> Result<(), GroupError> {
        let invalid = |problem: String| GroupError::Invalid {
            field: "super_group_id",
            problem,
        };
        let entry = self.groups.get(above);
        let there = entry.filter(|e| !matches!(e.phase, Phase::Creating | Phase::Leaving));
        let parent = there
            .map(|e| &e.group)
            .filter(|p| p.record.app_id == record.app_id);
        let Some(parent) = parent else {
            let space = &record.app_id;
            let problem = format!("there is no group {above} in the resource space {space}");
            return Err(invalid(problem));
        };
        if parent.rule.is_some() {
            return Err(invalid(format!("{above} is dynamic, takes a static group")));
        }
        let level = self.level(above, limits.levels);
        if level >= limits.levels {
            let problem = format!("{above} is at level {level} of {level} already");
            return Err(invalid(problem));
        }
        Ok(())
    }

    /// 1 for a group without one above it; at most `max`.
    fn level(&self, id: &GroupId, max: usize) -> usize {
        let mut level = 1;
        let mut at = id;
        while level < max
            && let Some(above) = self.groups.get(at)
            && let Some(above) = &above.group.record.super_group_id
        {
            level += 1;
            at = above;
        }
        level
    }

    fn take_name(&mut self, record: &GroupRecord) -> Result<(), GroupError> {
        let name = name_of(record);
        match self.names.get(&name) {
            Some(other) if *other != record.group_id => Err(GroupError::NameTaken {
                name: record.name.clone(),
            }),
            _ => {
                self.names.insert(name, record.group_id.clone());
                Ok(())
            }
        }
    }

    fn free_name(&mut self, record: &GroupRecord) {
        self.names.remove(&name_of(record));
    }

    /// The new group is there, or is not.
    pub(super) fn end_creation(&mut self, id: &GroupId, is_durable: bool) {
        if is_durable {
            self.set_phase(id, Phase::Live);
        } else if let Some(entry) = self.groups.remove(id) {
            self.free_name(&entry.group.record);
        }
    }

    fn set_phase(&mut self, id: &GroupId, phase: Phase) {
        if let Some(entry) = self.groups.get_mut(id) {
            entry.phase = phase;
        }
    }

    /// The group for who is to write it alone; `None` while somebody else does.
    pub(super) fn begin_write(&mut self, id: &GroupId) -> Result<Option<Group>, GroupError> {
        match self.groups.get_mut(id) {
            None => Err(GroupError::NotFound(id.clone())),
            Some(entry) => match entry.phase {
                Phase::Creating => Err(GroupError::NotFound(id.clone())),
                Phase::Busy | Phase::Leaving => Ok(None),
                Phase::Live => {
                    entry.phase = Phase::Busy;
                    Ok(Some(entry.group.clone()))
                }
            },
        }
    }

    /// Takes the name that a busy group is to have.
    pub(super) fn rename(&mut self, new: &GroupRecord) -> Result<(), GroupError> {
        self.take_name(new)
    }

    /// Ends a change: `old` is what was there, `new` what was to be.
    pub(super) fn end_change(&mut self, old: &GroupRecord, new: GroupRecord, is_durable: bool) {
        let (left, kept) = match is_durable {
            true => (old.clone(), new),
            false => (new, old.clone()),
        };
        if name_of(&left) != name_of(&kept) {
            let name = name_of(&left);
            if self.names.get(&name) == Some(&left.group_id) {
                self.names.remove(&name);
            }
        }
        match self.groups.get_mut(&kept.group_id) {
            Some(entry) => {
                entry.phase = Phase::Live;
                entry.group.record = Arc::new(kept);
            }
            // Its space went meanwhile.
            None => self.free_name(&kept),
        }
    }

    /// A busy group is to be deleted: not while one, or one in the making, is below it.
    pub(super) fn begin_deletion(&mut self, id: &GroupId) -> Result<(), GroupError> {
        let mut all = self.groups.values().map(|e| &e.group.record);
        if all.any(|record| record.super_group_id.as_ref() == Some(id)) {
            return Err(GroupError::HasBelow);
        }
        self.set_phase(id, Phase::Leaving);
        Ok(())
    }

    /// Nothing was written.
    pub(super) fn release(&mut self, id: &GroupId) {
        self.set_phase(id, Phase::Live);
    }

    pub(super) fn remove(&mut self, id: &GroupId) {
        if let Some(entry) = self.groups.remove(id) {
            self.free_name(&entry.group.record);
        }
    }

    /// Forgets the groups of a space; gives their numbers.
    pub(super) fn remove_space(&mut self, space: &AppId) -> Vec<u64> {
        self.names.retain(|(other, _), _| other != space);
        let mut gone = Vec::new();
        self.groups.retain(|_, entry| {
            let record = &entry.group.record;
            let goes = record.app_id == *space;
            if goes {
                gone.push(record.seq);
            }
            !goes
        });
        gone
    }
}
