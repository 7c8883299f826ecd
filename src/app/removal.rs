//! The end of a product or of a resource space, with all that belongs to it.
//!
//! One commit marks what goes: from then on it is not there for anyone, and nothing can be created
//! in it. Devices follow one by one, each as by its own deletion, a few at a time; then products
//! and batch tasks, and last the space. A deletion that was begun goes on when its caller
//! hangs up, when the store is in trouble for a while, and after a restart.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;

use super::batch::Batches;
use super::device::{DeviceError, Devices};
use super::forwarding::Forwarding;
use super::group::Groups;
use super::outbox::Outbox;
use super::package::Packages;
use super::product::{ProductError, Products};
use super::space::{SpaceError, Spaces};
use super::tasks::Tasks;
use super::trace::Tracer;
use crate::base::ids::{AppId, ProductId};
use crate::bug;
use crate::store::catalog::AppRecord;
use crate::store::records::{DeviceRecord, ProductRecord};
use crate::store::{Change, Commit, CommitError, Guard, Page, Store, StoreError};

/// Devices read at once.
const STEP: usize = 500;
/// Devices deleted at the same time: they share the store's next batches.
const IN_FLIGHT: usize = 64;
/// Products marked in one commit. Those of a larger space are marked in several.
const MARKED_AT_ONCE: usize = 1000;
/// Subtasks deleted in one commit.
const SUBTASKS_AT_ONCE: u32 = 500;
/// Pause after the store refused to go on.
const PAUSE: Duration = Duration::from_secs(5);
/// Tries of a mark that others overtake.
const TRIES: usize = 5;

/// What [`Removals`] works with.
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub outbox: Arc<Outbox>,
    pub tasks: Tasks,
    pub spaces: Arc<Spaces>,
    pub products: Arc<Products>,
    pub devices: Arc<Devices>,
    pub groups: Arc<Groups>,
    pub tracer: Arc<Tracer>,
    pub batches: Arc<Batches>,
    pub forwarding: Arc<Forwarding>,
    pub packages: Arc<Packages>,
}

/// Deletes products and resource spaces.
pub struct Removals {
    parts: Parts,
}

/// What is left to do after the mark.
#[derive(Debug, Clone)]
enum Marked {
    Product(ProductId),
    Space(AppId),
}

impl Removals {
    pub const fn new(parts: Parts) -> Self {
        Self { parts }
    }

    /// Goes on with what was begun before the server started. Must be called inside a tokio
    /// runtime.
    pub fn resume(self: &Arc<Self>) -> Result<(), StoreError> {
        let store = &self.parts.store;
        let spaces = store.apps()?.into_iter().filter(|space| space.deleting);
        for space in spaces {
            // Before anyone is answered.
            self.parts.groups.forget_space(&space.app_id);
            self.parts.forwarding.forget_space(&space.app_id);
            self.parts.batches.forget_space(&space.app_id);
            self.go_on(Marked::Space(space.app_id));
        }
        let products = store.products()?.into_iter().filter(|p| p.deleting);
        for product in products.filter(|p| !self.parts.spaces.is_leaving(&p.app_id)) {
            self.go_on(Marked::Product(product.product_id));
        }
        Ok(())
    }

    /// Deletes a product with its devices, packages, codec and settings, and emits `device:delete` for each
    /// device, then `product:delete`. Returns when all is gone.
    pub async fn delete_product(self: &Arc<Self>, id: ProductId) -> Result<(), ProductError> {
        let this = Arc::clone(self);
        let work = async move {
            this.parts.products.begin_removal(&id).await?;
            Ok::<_, ProductError>(this.complete(Marked::Product(id)).await?)
        };
        let done = self.parts.tasks.finish("product delete", work).await;
        done.unwrap_or_else(|| Err(StoreError::Closed.into()))
    }

    /// Deletes a space with its products, their devices, its groups, rules, certificates, batch tasks
    /// and files. Returns when all is gone. The default space stays.
    pub async fn delete_space(self: &Arc<Self>, id: AppId) -> Result<(), SpaceError> {
        let this = Arc::clone(self);
        let work = async move {
            this.begin_space(&id).await?;
            Ok::<_, SpaceError>(this.complete(Marked::Space(id)).await?)
        };
        let done = self.parts.tasks.finish("space delete", work).await;
        done.unwrap_or_else(|| Err(StoreError::Closed.into()))
    }

    /// Finishes what is marked. On an error the caller hears of it, and the work goes on without
    /// him.
    async fn complete(self: &Arc<Self>, what: Marked) -> Result<(), StoreError> {
        let done = self.finish(&what).await;
        if done.is_err() {
            self.go_on(what);
        }
        done
    }

    fn go_on(self: &Arc<Self>, what: Marked) {
        let this = Arc::clone(self);
        self.parts.tasks.spawn("removal", async move {
            let mut stop = this.parts.tasks.stop();
            while let Err(error) = this.finish(&what).await {
                if stop.is_requested() {
                    return;
                }
                tracing::warn!(?what, %error, "a deletion waits");
                tokio::select! {
                    () = stop.requested() => return,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        });
    }

    async fn finish(self: &Arc<Self>, what: &Marked) -> Result<(), StoreError> {
        match what {
            Marked::Product(id) => self.finish_product(id).await,
            Marked::Space(id) => self.finish_space(id).await,
        }
    }

    async fn finish_product(&self, id: &ProductId) -> Result<(), StoreError> {
        let stop = self.parts.tasks.stop();
        self.parts.packages.delete_of_product(id).await?;
        loop {
            let devices = self.parts.store.devices(&Page {
                product_id: Some(id),
                before: None,
                limit: STEP,
            })?;
            if devices.is_empty() && self.parts.products.finish_removal(id).await? {
                return Ok(());
            }
            if stop.is_requested() {
                return Err(StoreError::Closed);
            }
            let work = stream::iter(devices).map(|device| self.delete_device(device));
            let mut work = work.buffer_unordered(IN_FLIGHT);
            while let Some(done) = work.next().await {
                done?;
            }
        }
    }

    async fn delete_device(&self, device: DeviceRecord) -> Result<(), StoreError> {
        let id = device.device_id;
        match self.parts.devices.delete_with_product(id.clone()).await {
            Ok(()) => {
                self.parts.tracer.stop(&id);
                Ok(())
            }
            Err(DeviceError::Store(error)) => Err(error),
            // Its shard wrote it again and again: later.
            Err(DeviceError::Contended) => Err(StoreError::Busy),
            Err(error) => {
                bug!("{id} can't be deleted with its product: {error}");
                Err(StoreError::Busy)
            }
        }
    }

    /// Marks the space and its products. With the mark, all that names the space is gone for everyone
    /// (`store::find::Leaving`).
    async fn begin_space(&self, id: &AppId) -> Result<(), SpaceError> {
        for _ in 0..TRIES {
            let space = self.parts.spaces.show(id)?;
            if space.is_default {
                return Err(SpaceError::IsDefault(id.clone()));
            }
            let products = self.products_of(id)?;
            let (first, _) = products.split_at(products.len().min(MARKED_AT_ONCE));
            let mut commit = marking(first);
            commit
                .guards
                .push(Guard::AppVersion(id.clone(), space.version));
            commit.changes.push(Change::PutApp(Box::new(AppRecord {
                version: space.version.saturating_add(1),
                deleting: true,
                ..AppRecord::clone(&space)
            })));
            match self.parts.store.commit(commit).await {
                Ok(()) => {
                    // All of them at one moment, also those that later commits will mark.
                    self.parts.products.hide(&ids_of(&products));
                    self.parts.spaces.reload()?;
                    self.parts.groups.forget_space(id);
                    self.parts.forwarding.forget_space(id);
                    self.parts.batches.forget_space(id);
                    return Ok(());
                }
                // One of its products was changed meanwhile.
                Err(CommitError::Conflict(_)) => self.parts.spaces.reload()?,
                Err(CommitError::Store(error)) => return Err(error.into()),
            }
        }
        Err(SpaceError::Contended)
    }

    /// Groups, certificates and files of the space: few.
    fn appendages(&self, id: &AppId) -> Result<Vec<Change>, StoreError> {
        let store = &self.parts.store;
        let groups = store.groups()?.into_iter().filter(|g| g.app_id == *id);
        let certificates = store.certificates()?.into_iter();
        let certificates = certificates.filter(|one| one.app_id == *id);
        let files = store.files()?.into_iter();
        let files = files.filter(|file| file.app_id.as_ref() == Some(id));
        let groups = groups.map(|group| Change::DeleteGroup(group.group_id));
        let certificates = certificates.map(|one| Change::DeleteCertificate(one.certificate_id));
        let files = files.map(|file| Change::DeleteFile(file.file_id));
        Ok(groups.chain(certificates).chain(files).collect())
    }

    async fn finish_space(self: &Arc<Self>, id: &AppId) -> Result<(), StoreError> {
        self.parts.forwarding.remove_space(id.clone()).await?;
        let appendages = self.appendages(id)?;
        if !appendages.is_empty() {
            self.commit(appendages).await?;
        }
        // What was created while the space was marked, and what the first commit had no room for.
        loop {
            let mut products = self.products_of(id)?;
            self.parts.products.hide(&ids_of(&products));
            products.retain(|product| !product.deleting);
            products.truncate(MARKED_AT_ONCE);
            if products.is_empty() {
                break;
            }
            match self.parts.store.commit(marking(&products)).await {
                Ok(()) | Err(CommitError::Conflict(_)) => {}
                Err(CommitError::Store(error)) => return Err(error),
            }
        }
        for product in self.products_of(id)? {
            self.finish_product(&product.product_id).await?;
        }
        self.parts.batches.forget_space(id);
        self.delete_tasks(id).await?;
        let mut changes = self.appendages(id)?;
        changes.push(Change::DeleteApp(id.clone()));
        self.commit(changes).await?;
        self.parts.groups.forget_space(id);
        self.parts.spaces.reload()
    }

    /// Deletes the batch tasks of a space that is going, with their subtasks.
    async fn delete_tasks(&self, id: &AppId) -> Result<(), StoreError> {
        let tasks = self.parts.store.tasks()?.into_iter();
        for task in tasks.filter(|task| task.app_id == *id) {
            let mut from = 0;
            while from < task.total {
                let to = from.saturating_add(SUBTASKS_AT_ONCE).min(task.total);
                let change = Change::DeleteSubtasks {
                    task_seq: task.seq,
                    indexes: from..to,
                };
                self.commit(vec![change]).await?;
                from = to;
            }
            self.commit(vec![Change::DeleteTask(task.seq)]).await?;
        }
        Ok(())
    }

    fn products_of(&self, id: &AppId) -> Result<Vec<ProductRecord>, StoreError> {
        let mut products = self.parts.store.products()?;
        products.retain(|product| product.app_id == *id);
        Ok(products)
    }

    /// Without guards: what is gone already does not mind.
    async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let guards = Vec::new();
        match self.parts.store.commit(Commit { guards, changes }).await {
            Ok(()) | Err(CommitError::Conflict(_)) => {
                self.parts.outbox.notify();
                Ok(())
            }
            Err(CommitError::Store(error)) => Err(error),
        }
    }
}

fn ids_of(products: &[ProductRecord]) -> Vec<ProductId> {
    products.iter().map(|p| p.product_id.clone()).collect()
}

/// Marks these products, as they were read, but for those that are marked.
fn marking(products: &[ProductRecord]) -> Commit {
    let mut commit = Commit::default();
    for product in products.iter().filter(|product| !product.deleting) {
        let id = product.product_id.clone();
        commit
            .guards
            .push(Guard::ProductVersion(id, product.version));
        let marked = Box::new(Products::marked(product));
        commit.changes.push(Change::PutProduct(marked));
    }
    commit
}
