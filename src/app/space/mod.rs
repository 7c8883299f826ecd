//! Resource spaces: what products, groups and certificates belong to, and devices through their
//! product. Names are unique. One space is the default one, for good: it takes what names none.
//!
//! The store is the truth; all spaces are in memory, read anew after each commit. One that is
//! being deleted is not there any more for anyone: `app::removal` takes it away.

mod error;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::app::random::random_hex;
use crate::app::tasks::Tasks;
use crate::base::ids::AppId;
use crate::base::time::Clock;
use crate::store::catalog::AppRecord;
use crate::store::{Change, Commit, CommitError, Guard, Store, StoreError};

pub use error::SpaceError;

/// Resource spaces of one server: all are in memory and in one answer.
pub const SPACES_MAX: usize = 1000;

/// Tries of a change that others overtake.
const TRIES: usize = 5;

/// What [`Spaces`] works with.
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub tasks: Tasks,
}

/// The resource spaces of one server.
pub struct Spaces {
    parts: Parts,
    known: RwLock<HashMap<AppId, Arc<AppRecord>>>,
    /// Held while the spaces are read from the store and put in place. Never across an await.
    reloading: Mutex<()>,
    /// Names that commits under way are about to take.
    reserved: Mutex<HashSet<String>>,
}

/// A name that is kept free for one commit.
struct Reserved<'a> {
    spaces: &'a Spaces,
    name: String,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.spaces.reserved().remove(&self.name);
    }
}

impl Spaces {
    /// Reads every space; makes the default one when none is it.
    pub fn load(parts: Parts) -> Result<Self, StoreError> {
        let spaces = Self {
            parts,
            known: RwLock::default(),
            reloading: Mutex::default(),
            reserved: Mutex::default(),
        };
        let all = spaces.parts.store.apps()?;
        if !all.iter().any(|space| space.is_default) {
            spaces.make_default(&all)?;
        }
        spaces.reload()?;
        Ok(spaces)
    }

    fn make_default(&self, all: &[AppRecord]) -> Result<(), StoreError> {
        let id = AppId::default_space();
        let record = match all.iter().find(|space| space.app_id == id) {
            Some(there) => AppRecord {
                version: there.version.saturating_add(1),
                is_default: true,
                deleting: false,
                ..there.clone()
            },
            None => AppRecord {
                version: 1,
                app_name: id.to_string(),
                app_id: id,
                seq: self.parts.store.allocate_seq()?,
                is_default: true,
                deleting: false,
                created_at: self.parts.clock.now(),
            },
        };
        let changes = vec![Change::PutApp(Box::new(record))];
        let done = self.parts.store.commit(Commit {
            guards: Vec::new(),
            changes,
        });
        // Once, at the start, before anything is served: a thread of its own may block, a task of
        // the runtime may not.
        let waited = std::thread::scope(|scope| scope.spawn(|| done.wait()).join());
        match waited {
            Ok(Err(CommitError::Store(error))) => Err(error),
            Ok(_) => Ok(()),
            Err(_) => Err(StoreError::Closed),
        }
    }

    /// The space as it is now.
    pub fn show(&self, id: &AppId) -> Result<Arc<AppRecord>, SpaceError> {
        let leaving = self.parts.store.leaving();
        self.find(id)
            .filter(|space| !space.deleting && !leaving.apps.contains(id))
            .ok_or_else(|| SpaceError::NotFound(id.clone()))
    }

    /// Refuses a space that is not there, for what would be created in it.
    pub fn check(&self, id: &AppId) -> Result<(), SpaceError> {
        match self.show(id) {
            Ok(_) => Ok(()),
            Err(_) => Err(SpaceError::Unknown(id.clone())),
        }
    }

    /// What people call it; its id when it is not there.
    pub fn name(&self, id: &AppId) -> Arc<str> {
        let found = self.find(id);
        let name = found.as_ref().map_or(id.as_str(), |s| s.app_name.as_str());
        name.into()
    }

    /// Whether it is being deleted.
    pub fn is_leaving(&self, id: &AppId) -> bool {
        self.find(id).is_some_and(|space| space.deleting)
    }

    /// Every space, newest first.
    pub fn list(&self) -> Vec<Arc<AppRecord>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let leaving = self.parts.store.leaving();
        let is_there =
            |space: &&Arc<AppRecord>| !space.deleting && !leaving.apps.contains(&space.app_id);
        let there = known.values().filter(is_there);
        let mut all: Vec<_> = there.map(Arc::clone).collect();
        drop(known);
        all.sort_by_key(|space| std::cmp::Reverse(space.seq));
        all
    }

    /// Creates a space.
    pub async fn add(self: &Arc<Self>, name: String) -> Result<Arc<AppRecord>, SpaceError> {
        let this = Arc::clone(self);
        self.finish("space create", async move { this.add_now(name).await })
            .await
    }

    async fn add_now(&self, name: String) -> Result<Arc<AppRecord>, SpaceError> {
        let reserved = self.reserve(&name, None)?;
        let id = fresh_id()?;
        let record = AppRecord {
            version: 1,
            app_id: id.clone(),
            seq: self.parts.store.allocate_seq()?,
            app_name: name,
            is_default: false,
            deleting: false,
            created_at: self.parts.clock.now(),
        };
        let commit = Commit {
            guards: vec![Guard::AppVersion(id.clone(), 0)],
            changes: vec![Change::PutApp(Box::new(record))],
        };
        let done = self.parts.store.commit(commit).await;
        done.map_err(error::of_commit)?;
        self.reload()?;
        drop(reserved);
        self.show(&id)
    }

    /// Renames a space; without a name, all stays.
    pub async fn update(
        self: &Arc<Self>,
        id: AppId,
        name: Option<String>,
    ) -> Result<Arc<AppRecord>, SpaceError> {
        let this = Arc::clone(self);
        self.finish("space update", async move {
            for _ in 0..TRIES {
                let old = this.show(&id)?;
                let Some(name) = name.clone().filter(|name| *name != old.app_name) else {
                    return Ok(old);
                };
                let reserved = this.reserve(&name, Some(&id))?;
                let record = AppRecord {
                    version: old.version.saturating_add(1),
                    app_name: name,
                    ..AppRecord::clone(&old)
                };
                let commit = Commit {
                    guards: vec![Guard::AppVersion(id.clone(), old.version)],
                    changes: vec![Change::PutApp(Box::new(record))],
                };
                let done = this.parts.store.commit(commit).await;
                this.reload()?;
                drop(reserved);
                match done {
                    Ok(()) => return this.show(&id),
                    Err(CommitError::Conflict(_)) => {}
                    Err(CommitError::Store(error)) => return Err(error.into()),
                }
            }
            Err(SpaceError::Contended)
        })
        .await
    }

    /// Keeps a name for whoever is about to commit it. `own`: the space that may have it already.
    fn reserve(&self, name: &str, own: Option<&AppId>) -> Result<Reserved<'_>, SpaceError> {
        // Before the look at the spaces: a name goes from reserved to known, never into neither.
        let mut reserved = self.reserved();
        let all = self.list();
        let is_known = |space: &Arc<AppRecord>| {
            space.app_name == name && own.is_none_or(|own| *own != space.app_id)
        };
        if reserved.contains(name) || all.iter().any(is_known) {
            return Err(SpaceError::NameTaken(name.to_owned()));
        }
        if own.is_none() && all.len().saturating_add(reserved.len()) >= SPACES_MAX {
            return Err(SpaceError::TooMany);
        }
        reserved.insert(name.to_owned());
        drop(reserved);
        Ok(Reserved {
            spaces: self,
            name: name.to_owned(),
        })
    }

    /// Reads all spaces from the store and puts them in place. Call after a commit that wrote one.
    pub fn reload(&self) -> Result<(), StoreError> {
        let one = self
            .reloading
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let all = self.parts.store.apps()?.into_iter();
        let all = all.map(|space| (space.app_id.clone(), Arc::new(space)));
        let all = all.collect();
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = all;
        drop(one);
        Ok(())
    }

    fn find(&self, id: &AppId) -> Option<Arc<AppRecord>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(id).map(Arc::clone)
    }

    fn reserved(&self) -> MutexGuard<'_, HashSet<String>> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a change to its end, also when the caller hangs up.
    async fn finish<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, SpaceError>> + Send + 'static,
    ) -> Result<T, SpaceError> {
        match self.parts.tasks.finish(name, work).await {
            Some(result) => result,
            None => Err(StoreError::Closed.into()),
        }
    }
}

fn fresh_id() -> Result<AppId, SpaceError> {
    let id = random_hex::<12>()?;
    AppId::parse(&id).map_err(|e| StoreError::Io(format!("a new app_id {e}")).into())
}
