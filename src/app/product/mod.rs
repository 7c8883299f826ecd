//! Products: their model, settings and codec, and what the uplink path needs of them in memory.
//!
//! The store is the truth; [`ProductRuntime`] is read from it at the start and after each commit.
//! A runtime is replaced whole, so a reader sees one product as it was at one time.

pub mod codec;
mod error;
mod leaving;
pub mod precondition;
pub mod rates;
mod status;
pub mod trial;
pub mod versions;
mod view;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use sha2::{Digest, Sha256};

use crate::app::codec_runner::CodecRunner;
use crate::app::envelope;
use crate::app::outbox::Outbox;
pub(in crate::app) use crate::app::random::random_hex;
use crate::app::space::Spaces;
use crate::app::tasks::Tasks;
use crate::base::ids::{AppId, ProductId};
use crate::base::time::{Clock, Timestamp};
use crate::bug;
use crate::product::codec::Codec;
use crate::product::profile::Profile;
use crate::product::settings::Settings;
use crate::store::records::{EventRecord, ProductRecord, SettingsRecord};
use crate::store::{Change, Commit, CommitError, Guard, Store, StoreError};

use precondition::Precondition;
use rates::{Labels, Rates};

pub use error::ProductError;
pub use status::CodecStatus;
pub use view::{ProductSummary, ProductView};

/// Tries of a change that others overtake.
const TRIES: usize = 5;

/// One product as the uplink path uses it.
#[derive(Debug)]
pub struct ProductRuntime {
    pub record: ProductRecord,
    pub settings: Settings,
    /// The one of JSON for `data_format` `json`, else the uploaded one. `None`: none was uploaded,
    /// or it does not compile any more.
    pub codec: Option<Arc<dyn Codec>>,
    /// ETag of the uploaded codec, also of one that does not compile.
    pub codec_tag: Option<String>,
    /// How the codec does since it began to run.
    pub rates: Arc<Rates>,
}

/// What [`Products`] works with.
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub outbox: Arc<Outbox>,
    pub tasks: Tasks,
    pub spaces: Arc<Spaces>,
    pub codecs: Arc<dyn CodecRunner>,
}

/// The products of one server.
pub struct Products {
    parts: Parts,
    held: RwLock<Held>,
    /// Held while a runtime is read from the store and put in place, so that an older reading never
    /// replaces a newer one. Never across an await.
    reloading: Mutex<()>,
    labels: Labels,
}

/// Every product in memory.
#[derive(Default)]
struct Held {
    there: HashMap<ProductId, Arc<ProductRuntime>>,
    /// Being deleted: nobody sees them.
    leaving: HashMap<ProductId, Arc<ProductRuntime>>,
}

/// A product to create. Formats and lengths were checked by the caller.
#[derive(Debug, Clone, PartialEq)]
pub struct NewProduct {
    /// Made up when absent.
    pub product_id: Option<ProductId>,
    /// The default space when absent.
    pub app_id: Option<AppId>,
    pub name: String,
    pub device_type: String,
    pub protocol_type: String,
    pub data_format: String,
    pub manufacturer_name: Option<String>,
    pub industry: Option<String>,
    pub description: Option<String>,
    pub profile: Profile,
}

/// What to change of a product: what is absent stays.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ProductPatch {
    pub name: Option<String>,
    pub device_type: Option<String>,
    pub protocol_type: Option<String>,
    pub data_format: Option<String>,
    pub manufacturer_name: Option<String>,
    pub industry: Option<String>,
    pub description: Option<String>,
    pub profile: Option<Profile>,
}

impl Products {
    /// Reads every product and compiles every codec.
    pub fn load(parts: Parts) -> Result<Self, StoreError> {
        let products = Self {
            held: RwLock::default(),
            reloading: Mutex::default(),
            labels: Labels::default(),
            parts,
        };
        for record in products.parts.store.products()? {
            products.reload(&record.product_id, None)?;
        }
        Ok(products)
    }

    /// The product as it is now; `None` from the moment when its deletion begins. Called for every
    /// uplink: one short read lock, no copy.
    pub fn runtime(&self, id: &ProductId) -> Option<Arc<ProductRuntime>> {
        let found = self.held().there.get(id).map(Arc::clone)?;
        let leaving = self.parts.store.leaving();
        (!leaving.hides(id, &found.record.app_id)).then_some(found)
    }

    /// As [`Products::runtime`], with the error that a caller understands.
    pub fn show(&self, id: &ProductId) -> Result<Arc<ProductRuntime>, ProductError> {
        self.runtime(id)
            .ok_or_else(|| ProductError::NotFound(id.clone()))
    }

    /// Every product, newest first.
    pub fn list(&self) -> Vec<Arc<ProductRuntime>> {
        let mut all: Vec<_> = self.held().there.values().map(Arc::clone).collect();
        let leaving = self.parts.store.leaving();
        all.retain(|one| !leaving.hides(&one.record.product_id, &one.record.app_id));
        all.sort_by_key(|r| std::cmp::Reverse(r.record.seq));
        all
    }

    /// Creates a product and emits `product:create`.
    pub async fn create(
        self: &Arc<Self>,
        new: NewProduct,
    ) -> Result<Arc<ProductRuntime>, ProductError> {
        let this = Arc::clone(self);
        self.finish("product create", async move { this.create_now(new).await })
            .await
    }

    async fn create_now(&self, new: NewProduct) -> Result<Arc<ProductRuntime>, ProductError> {
        let id = match new.product_id {
            Some(id) => id,
            None => fresh_id()?,
        };
        let space = new.app_id.unwrap_or_else(AppId::default_space);
        self.parts.spaces.check(&space)?;
        let record = ProductRecord {
            product_id: id.clone(),
            seq: self.parts.store.allocate_seq()?,
            version: 1,
            app_id: space.clone(),
            name: new.name,
            device_type: new.device_type,
            protocol_type: new.protocol_type,
            data_format: new.data_format,
            manufacturer_name: new.manufacturer_name,
            industry: new.industry,
            description: new.description,
            profile: new.profile,
            created_at: self.parts.clock.now(),
            deleting: false,
        };
        let guards = vec![Guard::ProductAbsent(id.clone()), Guard::AppExists(space)];
        self.put(guards, record, "create")
            .await
            .map_err(error::of_commit)?;
        self.reload(&id, None)?;
        self.show(&id)
    }

    /// Changes what `patch` names and emits `product:update`; nothing happens when all is as it
    /// was. A model that the running codec does not fit is refused.
    pub async fn update(
        self: &Arc<Self>,
        id: ProductId,
        patch: ProductPatch,
    ) -> Result<Arc<ProductRuntime>, ProductError> {
        let this = Arc::clone(self);
        self.finish("product update", async move {
            this.update_now(&id, &patch).await
        })
        .await
    }

    async fn update_now(
        &self,
        id: &ProductId,
        patch: &ProductPatch,
    ) -> Result<Arc<ProductRuntime>, ProductError> {
        for _ in 0..TRIES {
            let found = self.parts.store.product(id)?.filter(|p| !p.deleting);
            let Some(old) = found else {
                return Err(ProductError::NotFound(id.clone()));
            };
            let new = patch.applied_to(&old);
            if new == old {
                return self.show(id);
            }
            let mut guards = vec![Guard::ProductVersion(id.clone(), old.version)];
            let mut compiled = None;
            if new.profile != old.profile {
                let stored = self.parts.store.codec(id)?;
                guards.push(Guard::CodecTag(
                    id.clone(),
                    stored.as_ref().map(|c| c.etag.clone()),
                ));
                compiled = codec::still_fits(
                    stored.as_ref(),
                    &old.profile,
                    &new.profile,
                    &self.settings_of(id)?,
                )?;
            }
            let record = ProductRecord {
                version: old.version.saturating_add(1),
                ..new
            };
            match self.put(guards, record, "update").await {
                Ok(()) => {
                    self.reload(id, compiled)?;
                    return self.show(id);
                }
                Err(CommitError::Conflict(_)) => {}
                Err(CommitError::Store(error)) => return Err(error.into()),
            }
        }
        Err(ProductError::Contended)
    }

    /// Replaces all settings. Errors: `Precondition` when the ETag is another one.
    pub async fn put_settings(
        self: &Arc<Self>,
        id: ProductId,
        settings: Settings,
        precondition: Precondition,
    ) -> Result<Arc<ProductRuntime>, ProductError> {
        let this = Arc::clone(self);
        self.finish("settings", async move {
            for _ in 0..TRIES {
                let old = this.parts.store.settings(&id)?;
                let version = old.as_ref().map_or(0, |old| old.version);
                let running = old.map(|old| old.settings).unwrap_or_default();
                precondition.check("settings", Some(&settings_tag(&running)))?;
                let record = SettingsRecord {
                    settings: settings.clone(),
                    updated_at: this.parts.clock.now(),
                    version: version.saturating_add(1),
                };
                let commit = Commit {
                    guards: vec![
                        Guard::ProductExists(id.clone()),
                        Guard::SettingsVersion(id.clone(), version),
                    ],
                    changes: vec![Change::PutSettings(id.clone(), Box::new(record))],
                };
                match this.commit(commit).await {
                    Ok(()) => {
                        this.reload(&id, None)?;
                        return this.show(&id);
                    }
                    Err(CommitError::Conflict(Guard::SettingsVersion(..))) => {}
                    Err(error) => return Err(error::of_commit(error)),
                }
            }
            Err(ProductError::Contended)
        })
        .await
    }

    async fn put(
        &self,
        guards: Vec<Guard>,
        record: ProductRecord,
        event: &'static str,
    ) -> Result<(), CommitError> {
        let changes = vec![
            self.event(event, &record),
            Change::PutProduct(Box::new(record)),
        ];
        self.commit(Commit { guards, changes }).await
    }

    fn event(&self, event: &'static str, record: &ProductRecord) -> Change {
        let at: Timestamp = self.parts.clock.now();
        let view = self.view(record);
        let envelopes = match envelope::product_change(event, &record.app_id, &view, at) {
            Ok(envelope) => vec![envelope],
            Err(error) => {
                bug!("product event can't be written: {error}");
                Vec::new()
            }
        };
        Change::Emit(Box::new(EventRecord { at, envelopes }))
    }

    async fn commit(&self, commit: Commit) -> Result<(), CommitError> {
        self.parts.store.commit(commit).await?;
        self.parts.outbox.notify();
        Ok(())
    }

    /// Reads one product from the store and puts it in place. `compiled` is a codec that the caller
    /// has just compiled, with its ETag, so that it is not compiled twice.
    fn reload(&self, id: &ProductId, compiled: Option<codec::Compiled>) -> Result<(), StoreError> {
        let one = self
            .reloading
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let store = &self.parts.store;
        let runtime = match store.product(id)? {
            None => None,
            Some(record) => {
                let stored = store.codec(id)?;
                let settings = self.settings_of(id)?;
                let running = self.runtime(id).or_else(|| self.leaving(id));
                let codec = codec::of(
                    &record,
                    &settings,
                    stored.as_ref(),
                    running.as_deref(),
                    compiled,
                );
                let rates = self.rates_of(id, running.as_deref(), codec.as_deref());
                Some(Arc::new(ProductRuntime {
                    record,
                    settings,
                    codec,
                    codec_tag: stored.map(|c| c.etag),
                    rates,
                }))
            }
        };
        let is_leaving = |runtime: &ProductRuntime| {
            runtime.record.deleting || self.parts.spaces.is_leaving(&runtime.record.app_id)
        };
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.there.remove(id);
        held.leaving.remove(id);
        match runtime {
            Some(runtime) if is_leaving(&runtime) => held.leaving.insert(id.clone(), runtime),
            Some(runtime) => held.there.insert(id.clone(), runtime),
            None => None,
        };
        drop(held);
        drop(one);
        Ok(())
    }

    fn held(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a change to its end, also when the caller hangs up.
    async fn finish<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, ProductError>> + Send + 'static,
    ) -> Result<T, ProductError> {
        match self.parts.tasks.finish(name, work).await {
            Some(result) => result,
            None => Err(StoreError::Closed.into()),
        }
    }
}

/// The ETag of settings: SHA-256 of their JSON.
pub fn settings_tag(settings: &Settings) -> String {
    let json = serde_json::to_vec(settings).unwrap_or_default();
    let digest = Sha256::digest(&json);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl ProductPatch {
    fn applied_to(&self, old: &ProductRecord) -> ProductRecord {
        let text = |new: &Option<String>, old: &String| new.as_ref().unwrap_or(old).clone();
        let maybe =
            |new: &Option<String>, old: &Option<String>| new.clone().or_else(|| old.clone());
        ProductRecord {
            product_id: old.product_id.clone(),
            seq: old.seq,
            version: old.version,
            app_id: old.app_id.clone(),
            name: text(&self.name, &old.name),
            device_type: text(&self.device_type, &old.device_type),
            protocol_type: text(&self.protocol_type, &old.protocol_type),
            data_format: text(&self.data_format, &old.data_format),
            manufacturer_name: maybe(&self.manufacturer_name, &old.manufacturer_name),
            industry: maybe(&self.industry, &old.industry),
            description: maybe(&self.description, &old.description),
            profile: self.profile.as_ref().unwrap_or(&old.profile).clone(),
            created_at: old.created_at,
            deleting: old.deleting,
        }
    }
}

fn fresh_id() -> Result<ProductId, ProductError> {
    let id = random_hex::<12>().map_err(ProductError::Store)?;
    ProductId::parse(&id).map_err(|e| invalid("product_id", e))
}

fn invalid(field: &str, problem: impl ToString) -> ProductError {
    ProductError::Invalid {
        field: field.to_owned(),
        problem: problem.to_string(),
    }
}
