//! Groups of devices: static ones hold the devices that were put into them, dynamic ones those that
//! fit their rule now.
//!
//! A group is a record of its own; its members are told by the devices' records, so a deleted
//! device leaves no trace here. All groups are in memory, with their members counted
//! ([`Members`]), so that no limit is passed by two callers at once.
//!
//! [`Members`]: crate::app::device::members::Members

mod error;
mod memberships;
mod registry;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::app::device::Devices;
use crate::app::device::members::MemberLimits;
use crate::app::random::random_hex;
use crate::app::search::{self, Expr, Value};
use crate::app::space::SpaceError;
use crate::app::tasks::Tasks;
use crate::base::ids::{AppId, DeviceId, GroupId};
use crate::base::time::Clock;
use crate::store::catalog::GroupRecord;
use crate::store::find::Filter;
use crate::store::{Change, Commit, CommitError, Guard, Store, StoreError};

pub use error::GroupError;
pub use memberships::Memberships;
pub use registry::Group;
use registry::Registry;

/// Dynamic groups that one condition names: each brings a rule of many comparisons with it.
pub const RULES_MAX: usize = 10;

/// Waits for others that write the same group.
const TRIES: usize = 50;

/// Bounds of groups, those of the v5 API by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupLimits {
    pub groups: usize,
    /// Of groups below groups.
    pub levels: usize,
    /// Each is judged for every device that is shown with its groups.
    pub dynamic_groups: usize,
    pub members: MemberLimits,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self {
            groups: 1000,
            levels: 5,
            dynamic_groups: 100,
            members: MemberLimits {
                devices_per_group: 20_000,
                groups_per_device: 10,
            },
        }
    }
}

/// What [`Groups`] works with.
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub tasks: Tasks,
    pub devices: Arc<Devices>,
    pub limits: GroupLimits,
}

/// The groups of one server.
pub struct Groups {
    parts: Parts,
    registry: Mutex<Registry>,
    /// Somebody has ended a change of a group.
    written: Notify,
}

/// A group to create. Formats and lengths were checked by the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGroup {
    pub app_id: AppId,
    /// The group's id when absent.
    pub name: Option<String>,
    pub description: Option<String>,
    pub super_group_id: Option<GroupId>,
    /// A dynamic group's.
    pub rule: Option<String>,
}

/// What to change of a group: what is absent stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupPatch {
    pub name: Option<String>,
    pub description: Option<String>,
}

impl Groups {
    /// Reads every group.
    pub fn load(parts: Parts) -> Result<Self, StoreError> {
        let mut registry = Registry::default();
        for record in parts.store.groups()? {
            if record.dynamic_group_rule.is_none() {
                parts.devices.members().open(record.seq);
            }
            registry.load(record);
        }
        Ok(Self {
            parts,
            registry: Mutex::new(registry),
            written: Notify::new(),
        })
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The group as it is now.
    pub fn show(&self, id: &GroupId) -> Result<Group, GroupError> {
        let leaving = self.parts.store.leaving();
        let found = self.registry().find(id).cloned();
        let found = found.filter(|group| !leaving.apps.contains(&group.record.app_id));
        found.ok_or_else(|| GroupError::NotFound(id.clone()))
    }

    /// Every group, newest first.
    pub fn list(&self) -> Vec<Group> {
        let leaving = self.parts.store.leaving();
        let mut all: Vec<Group> = self.registry().iter().cloned().collect();
        all.retain(|group| !leaving.apps.contains(&group.record.app_id));
        all.sort_by_key(|group| std::cmp::Reverse(group.record.seq));
        all
    }

    /// The groups of a resource space, newest first: those below others come before them.
    pub fn in_space(&self, space: &AppId) -> Vec<Arc<GroupRecord>> {
        let all = self.list().into_iter().map(|group| group.record);
        all.filter(|record| record.app_id == *space).collect()
    }

    /// The store's groups of this space are gone with it.
    pub fn forget_space(&self, space: &AppId) {
        let gone = self.registry().remove_space(space);
        for seq in gone {
            self.parts.devices.members().close(seq);
        }
        self.written.notify_waiters();
    }

    /// Which devices are in the group: a condition for the store.
    pub fn filter_of(&self, id: &GroupId) -> Result<Filter, GroupError> {
        self.show(id).map(|group| self.filter(&group))
    }

    fn filter(&self, group: &Group) -> Filter {
        let Some(rule) = &group.rule else {
            return Filter::Group(group.record.seq);
        };
        // A rule looks into static groups alone, so it never leads back to itself.
        let of_static = |id: &GroupId| match self.show(id) {
            Ok(Group { record, rule: None }) => Filter::Group(record.seq),
            _ => Filter::Or(Vec::new()),
        };
        let space = Filter::App(group.record.app_id.clone());
        Filter::And(vec![space, search::filter(rule, &of_static)])
    }

    /// A condition with its groups looked up; groups that are not there hold nobody. Errors:
    /// `Invalid` when it names more dynamic groups than [`RULES_MAX`].
    pub fn filter_for(&self, condition: &Expr) -> Result<Filter, GroupError> {
        let ids = groups_in(condition).into_iter();
        let is_dynamic = |id: &&GroupId| self.show(id).is_ok_and(|group| group.rule.is_some());
        let dynamic = ids.filter(is_dynamic).count();
        if dynamic > RULES_MAX {
            return Err(GroupError::Invalid {
                field: "sql",
                problem: format!("group_id names {dynamic} dynamic groups, takes {RULES_MAX}"),
            });
        }
        Ok(search::filter(condition, &|id| {
            self.filter_of(id).unwrap_or(Filter::Or(Vec::new()))
        }))
    }

    /// Creates a group.
    pub async fn create(self: &Arc<Self>, new: NewGroup) -> Result<Group, GroupError> {
        let this = Arc::clone(self);
        self.finish("group create", async move { this.create_now(new).await })
            .await
    }

    async fn create_now(&self, new: NewGroup) -> Result<Group, GroupError> {
        let rule = new.rule.as_deref().map(search::condition).transpose()?;
        if let Some(rule) = &rule {
            self.check_rule(rule)?;
            if new.super_group_id.is_some() {
                return Err(GroupError::Invalid {
                    field: "super_group_id",
                    problem: "a dynamic group takes none".to_owned(),
                });
            }
        }
        let id = random_hex::<16>()?;
        let group_id = GroupId::parse(&id).map_err(|e| GroupError::Invalid {
            field: "group_id",
            problem: e.to_string(),
        })?;
        let now = self.parts.clock.now();
        let record = GroupRecord {
            version: 1,
            seq: self.parts.store.allocate_seq()?,
            app_id: new.app_id,
            name: new.name.unwrap_or(id),
            description: new.description,
            super_group_id: new.super_group_id,
            dynamic_group_rule: new.rule,
            created_at: now,
            modified_at: now,
            group_id: group_id.clone(),
        };
        let group = Group {
            rule: rule.map(Arc::new),
            record: Arc::new(record.clone()),
        };
        self.registry()
            .begin_creation(group.clone(), &self.parts.limits)?;
        let (seq, is_static) = (record.seq, group.rule.is_none());
        let committed = self
            .commit(
                vec![
                    Guard::GroupVersion(group_id.clone(), 0),
                    Guard::AppExists(record.app_id.clone()),
                ],
                Change::PutGroup(Box::new(record)),
            )
            .await;
        if committed.is_ok() && is_static {
            self.parts.devices.members().open(seq);
        }
        self.registry().end_creation(&group_id, committed.is_ok());
        committed.map(|()| group)
    }

    /// A rule that looks into a dynamic group might lead back to itself.
    fn check_rule(&self, rule: &Expr) -> Result<(), GroupError> {
        for id in groups_in(rule) {
            if self.show(id).is_ok_and(|group| group.rule.is_some()) {
                return Err(GroupError::Invalid {
                    field: "dynamic_group_rule",
                    problem: format!("group_id {id} is dynamic, a rule takes static groups"),
                });
            }
        }
        Ok(())
    }

    /// Changes what `patch` names; nothing happens when all is as it was.
    pub async fn update(
        self: &Arc<Self>,
        id: GroupId,
        patch: GroupPatch,
    ) -> Result<Group, GroupError> {
        let this = Arc::clone(self);
        self.finish("group update", async move {
            let old = this.turn(&id).await?.record;
            let updated = this.update_now(&old, patch).await;
            this.written.notify_waiters();
            updated?;
            this.show(&id)
        })
        .await
    }

    async fn update_now(&self, old: &GroupRecord, patch: GroupPatch) -> Result<(), GroupError> {
        let new = GroupRecord {
            version: old.version.saturating_add(1),
            name: patch.name.unwrap_or_else(|| old.name.clone()),
            description: patch.description.or_else(|| old.description.clone()),
            modified_at: self.parts.clock.now(),
            ..old.clone()
        };
        let id = &old.group_id;
        if new.name == old.name && new.description == old.description {
            self.registry().release(id);
            return Ok(());
        }
        let renamed = self.registry().rename(&new);
        if renamed.is_err() {
            self.registry().release(id);
            return renamed;
        }
        let guards = vec![Guard::GroupVersion(id.clone(), old.version)];
        let change = Change::PutGroup(Box::new(new.clone()));
        let committed = self.commit(guards, change).await;
        self.registry().end_change(old, new, committed.is_ok());
        committed
    }

    /// Deletes a group that has none below it. Its devices stay, and are in it no more.
    pub async fn delete(self: &Arc<Self>, id: GroupId) -> Result<(), GroupError> {
        let this = Arc::clone(self);
        self.finish("group delete", async move {
            let old = this.turn(&id).await?.record;
            let deleted = this.delete_now(&old).await;
            this.written.notify_waiters();
            deleted
        })
        .await
    }

    async fn delete_now(&self, old: &GroupRecord) -> Result<(), GroupError> {
        let id = &old.group_id;
        let begun = self.registry().begin_deletion(id);
        if begun.is_err() {
            self.registry().release(id);
            return begun;
        }
        let guards = vec![Guard::GroupVersion(id.clone(), old.version)];
        let committed = self.commit(guards, Change::DeleteGroup(id.clone())).await;
        match committed {
            Ok(()) => {
                self.registry().remove(id);
                self.parts.devices.members().close(old.seq);
            }
            Err(_) => self.registry().release(id),
        }
        committed
    }

    /// Puts a device into a static group; nothing happens when it is in it.
    pub async fn add(self: &Arc<Self>, id: &GroupId, device: DeviceId) -> Result<(), GroupError> {
        let group = self.show(id)?;
        if group.rule.is_some() {
            return Err(GroupError::Dynamic);
        }
        let limits = self.parts.limits.members;
        let devices = &self.parts.devices;
        Ok(devices.join_group(device, group.record, limits).await?)
    }

    /// Takes a device out of a static group; nothing happens when it is not in it.
    pub async fn remove(&self, id: &GroupId, device: DeviceId) -> Result<(), GroupError> {
        let group = self.show(id)?;
        if group.rule.is_some() {
            return Err(GroupError::Dynamic);
        }
        let devices = &self.parts.devices;
        Ok(devices.leave_group(device, group.record.seq).await?)
    }

    /// The group, for this caller alone to write: others wait until it is released or gone.
    async fn turn(&self, id: &GroupId) -> Result<Group, GroupError> {
        for _ in 0..TRIES {
            let mut written = std::pin::pin!(self.written.notified());
            written.as_mut().enable();
            if let Some(group) = self.registry().begin_write(id)? {
                return Ok(group);
            }
            written.await;
        }
        Err(GroupError::Contended)
    }

    async fn commit(&self, guards: Vec<Guard>, change: Change) -> Result<(), GroupError> {
        let changes = vec![change];
        match self.parts.store.commit(Commit { guards, changes }).await {
            Ok(()) => Ok(()),
            Err(CommitError::Conflict(Guard::AppExists(id))) => Err(SpaceError::Unknown(id).into()),
            Err(CommitError::Conflict(_)) => Err(GroupError::Contended),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }

    /// Runs a change to its end, also when the caller hangs up.
    async fn finish<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, GroupError>> + Send + 'static,
    ) -> Result<T, GroupError> {
        match self.parts.tasks.finish(name, work).await {
            Some(result) => result,
            None => Err(StoreError::Closed.into()),
        }
    }
}

/// Every group that a condition names.
fn groups_in<'a>(expr: &'a Expr) -> Vec<&'a GroupId> {
    let of = |value: &'a Value| match value {
        Value::Group(id) => Some(id),
        _ => None,
    };
    match expr {
        Expr::Or(parts) | Expr::And(parts) => parts.iter().flat_map(groups_in).collect(),
        Expr::Is(value) | Expr::IsNot(value) => of(value).into_iter().collect(),
        Expr::In(values) | Expr::NotIn(values) => values.iter().filter_map(of).collect(),
        Expr::Above(_) | Expr::Below(_) | Expr::Like(..) => Vec::new(),
    }
}
