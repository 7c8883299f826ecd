//! What applications subscribe to: routing rules with their actions, policies of backlog and flow,
//! CA certificates of subscribers, queues and access codes. Few and small, so all of it is in memory.
//!
//! Changes go one at a time: each is judged against the newest [`Snapshot`], committed, and only
//! then in the next snapshot, which subscribers hear of. Rules and actions belong to a resource space
//! or to all of them (`app_id: None`, `GLOBAL`); everything else belongs to all. A rule of a space that
//! is being deleted is not there any more for anyone.

mod actions;
mod address;
mod certificates;
mod error;
mod policies;
mod queues;
mod rules;
mod snapshot;
pub mod subject;

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use crate::app::random::random_hex;
use crate::app::tasks::Tasks;
use crate::base::ids::{AppId, IdError};
use crate::base::time::Clock;
use crate::store::forwarding::ForwardingRecord;
use crate::store::{Change, Commit, Guard, Store, StoreError};

pub use actions::{HttpPatch, NewAction};
pub use certificates::BUNDLE_MAX;
pub use error::ForwardingError;
pub use policies::{BacklogPatch, FlowPatch, NewBacklog, NewFlow};
pub use rules::{NewRule, RulePatch};
pub use snapshot::Snapshot;

/// Each rule is judged for every event.
pub const RULES_MAX: usize = 1000;
/// Each action of a rule is a push of every event that the rule takes.
pub const ACTIONS_PER_RULE_MAX: usize = 10;
/// Of backlog policies, and of flow-control policies: those in force are looked up for every push.
pub const POLICIES_MAX: usize = 100;
/// The v5 API's own bound.
pub const QUEUES_MAX: usize = 100;
/// All are in memory, each with its parsed form where it is used.
pub const CERTIFICATES_MAX: usize = 100;

/// What [`Forwarding`] works with.
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub tasks: Tasks,
}

/// The rules, actions, policies, certificates, queues and access codes of one server.
pub struct Forwarding {
    parts: Parts,
    /// One change at a time, so that bounds and references hold.
    turn: Semaphore,
    newest: watch::Sender<Arc<Snapshot>>,
}

/// A change that was judged: what is committed, and what its caller is told then.
struct Edit<T> {
    answer: T,
    guards: Vec<Guard>,
    changes: Vec<Change>,
}

impl<T> Edit<T> {
    /// Nothing changes.
    const fn none(answer: T) -> Self {
        Self {
            answer,
            guards: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// Writes a record over the version before it.
    fn put(answer: T, record: ForwardingRecord) -> Self {
        let before = record.version().saturating_sub(1);
        Self {
            answer,
            guards: vec![Guard::ForwardingVersion(record.key(), before)],
            changes: vec![Change::PutForwarding(Box::new(record))],
        }
    }
}

impl Edit<()> {
    fn delete(record: &ForwardingRecord) -> Self {
        let key = record.key();
        Self {
            answer: (),
            guards: vec![Guard::ForwardingVersion(key.clone(), record.version())],
            changes: vec![Change::DeleteForwarding(key)],
        }
    }
}

impl Forwarding {
    /// Reads everything.
    pub fn load(parts: Parts) -> Result<Self, StoreError> {
        let mut snapshot = Snapshot::of(parts.store.forwarding()?);
        let leaving = parts.store.leaving();
        snapshot.forget_spaces(|space| leaving.apps.contains(space));
        Ok(Self {
            parts,
            turn: Semaphore::const_new(1),
            newest: watch::Sender::new(Arc::new(snapshot)),
        })
    }

    /// Follows the snapshots. Each is durable by the time it is seen.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.newest.subscribe()
    }

    /// Everything as it is now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        let snapshot = Arc::clone(&self.newest.borrow());
        let leaving = self.parts.store.leaving();
        if leaving.apps.is_empty() {
            return snapshot;
        }
        let mut shown = Snapshot::clone(&snapshot);
        shown.forget_spaces(|space| leaving.apps.contains(space));
        Arc::new(shown)
    }

    /// The space is being deleted: what belongs to it is not there any more.
    pub fn forget_space(&self, space: &AppId) {
        self.newest.send_if_modified(|newest| {
            let is_own = |app: &AppId| app == space;
            if !newest
                .rules
                .iter()
                .any(|r| r.app_id.as_ref() == Some(space))
            {
                return false;
            }
            let mut next = Snapshot::clone(newest);
            next.forget_spaces(is_own);
            *newest = Arc::new(next);
            true
        });
    }

    /// Deletes the rules of a space that is being deleted, with their actions.
    pub async fn remove_space(self: &Arc<Self>, space: AppId) -> Result<(), StoreError> {
        let this = Arc::clone(self);
        let work = async move {
            let turn = this.turn.acquire().await.ok();
            // From the store: the snapshot has forgotten them.
            let all = Snapshot::of(this.parts.store.forwarding()?);
            let own = all
                .rules
                .iter()
                .filter(|r| r.app_id.as_ref() == Some(&space));
            let mut changes = Vec::new();
            for rule in own {
                changes.extend(rules::deletion(&all, &rule.rule_id));
            }
            if !changes.is_empty() {
                this.write(Vec::new(), changes).await.map_err(store_error)?;
            }
            drop(turn);
            Ok(())
        };
        let done = self.parts.tasks.finish("rules of a space", work).await;
        done.unwrap_or(Err(StoreError::Closed))
    }

    /// Judges a change against what is there, commits it and makes it known. It comes to its end also
    /// when the caller hangs up.
    async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        name: &'static str,
        judge: impl FnOnce(&Self, &Snapshot) -> Result<Edit<T>, ForwardingError> + Send + 'static,
    ) -> Result<T, ForwardingError> {
        let this = Arc::clone(self);
        let work = async move {
            // Closed never happens: the semaphore lives as long as the service.
            let turn = this.turn.acquire().await.ok();
            let edit = judge(&this, &this.snapshot())?;
            if !edit.changes.is_empty() {
                this.write(edit.guards, edit.changes).await?;
            }
            drop(turn);
            Ok(edit.answer)
        };
        let done = self.parts.tasks.finish(name, work).await;
        done.unwrap_or_else(|| Err(StoreError::Closed.into()))
    }

    /// Commits first, then tells.
    async fn write(&self, guards: Vec<Guard>, changes: Vec<Change>) -> Result<(), ForwardingError> {
        let commit = Commit {
            guards,
            changes: changes.clone(),
        };
        if let Err(error) = self.parts.store.commit(commit).await {
            self.read_again();
            return Err(error.into());
        }
        self.newest.send_modify(|newest| {
            let mut next = Snapshot::clone(newest);
            for change in changes {
                next.apply(change);
            }
            *newest = Arc::new(next);
        });
        Ok(())
    }

    /// A commit that failed may be there all the same, and one that conflicts was overtaken: what counts
    /// is what the store says.
    fn read_again(&self) {
        match self.parts.store.forwarding() {
            Ok(records) => {
                let leaving = self.parts.store.leaving();
                let mut next = Snapshot::of(records);
                next.forget_spaces(|app| leaving.apps.contains(app));
                self.newest.send_replace(Arc::new(next));
            }
            Err(error) => tracing::warn!(%error, "routing rules can't be read again"),
        }
    }

    /// The next place in lists.
    fn next_seq(&self) -> Result<u64, StoreError> {
        self.parts.store.allocate_seq()
    }
}

/// Without guards nothing conflicts.
fn store_error(error: ForwardingError) -> StoreError {
    match error {
        ForwardingError::Store(error) => error,
        other => StoreError::Io(other.to_string()),
    }
}

/// An id of 24 random hexadecimal digits.
fn fresh_id<T>(parse: fn(&str) -> Result<T, IdError>) -> Result<T, ForwardingError> {
    let id = random_hex::<12>()?;
    parse(&id).map_err(|e| StoreError::Io(format!("a new id {e}")).into())
}

/// Refuses one more when there are `max`.
fn check_room(
    count: usize,
    max: usize,
    place: &'static str,
    what: &'static str,
) -> Result<(), ForwardingError> {
    match count < max {
        true => Ok(()),
        false => Err(ForwardingError::TooMany { place, what, max }),
    }
}
