//! Firmware and software packages: kept once by the SHA-256 of their files, served by fragment, by block
//! and by range.
//!
//! ```text
//! upload: body -> .upload-… (hash while writing) -> judged -> sync, rename -> commit (record, name)
//! delete: commit (record goes, its name stays bound) -> the file goes when nobody else has it
//! ```
//!
//! The store is the truth; every record is in memory, too, for those who serve. Changes are made one at a
//! time. A version of a product and type means one file for ever ([`crate::store::packages`]).
//! Errors: [`PackageError`].

mod create;
mod error;
mod hooks;
mod prepared;
pub mod rules;
pub mod settings;
pub mod shelf;
pub mod signature;
mod token;
mod upload;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hashbrown::{HashMap, HashSet};
use hmac::Mac;
use tokio::sync::{Mutex, MutexGuard, Semaphore};

use crate::app::product::{ProductRuntime, Products, random_hex};
use crate::app::tasks::Tasks;
use crate::app::upgrading::Package;
use crate::base::ids::{PackageId, ProductId, TaskId};
use crate::base::time::{Clock, Timestamp};
use crate::store::package_files::PackageFiles;
use crate::store::packages::{FileHash, PackageFile, PackageNameRecord, PackageRecord};
use crate::store::{Change, Commit, Guard, Store, StoreError};
use error::{invalid, of_commit};
use shelf::Shelf;
use signature::SigningKey;
use token::Tokens;

pub use create::{NewPackage, Source};
pub use error::PackageError;
pub use hooks::{InUse, Progress, ServedBlock};
pub use settings::Settings;
pub use upload::{Body, NewUpload, Uploaded};

/// Letters of a package's CoAP path.
const PATH_LEN: usize = 16;

/// What [`Packages`] works with.
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub tasks: Tasks,
    pub products: Arc<Products>,
    pub files: PackageFiles,
    pub settings: Settings,
}

/// The packages of one server.
pub struct Packages {
    parts: Parts,
    keys: Vec<SigningKey>,
    held: RwLock<Held>,
    shelf: Shelf,
    /// Held by each change, and by who begins to use a package.
    changing: Mutex<()>,
    uploads: Semaphore,
    tokens: Tokens,
    in_use: RwLock<Option<Arc<dyn InUse>>>,
    progress: RwLock<Option<Arc<dyn Progress>>>,
    /// What upgrades need of those in use, and of which file it was made.
    ready: std::sync::Mutex<Ready>,
}

type Ready = HashMap<PackageId, (FileHash, Arc<Package>)>;

/// Every package in memory.
#[derive(Default)]
struct Held {
    by_id: HashMap<PackageId, Arc<PackageRecord>>,
    by_path: HashMap<String, PackageId>,
}

/// While it is held, no package is deleted.
#[derive(Debug)]
pub struct Turn<'a>(#[expect(dead_code, reason = "held for its drop")] MutexGuard<'a, ()>);

impl Packages {
    /// Reads every package and sweeps what a crash left. Blocks.
    pub fn load(parts: Parts) -> Result<Self, StoreError> {
        let mut held = Held::default();
        let mut files = HashMap::new();
        for record in parts.store.packages()? {
            files.extend(record.file.map(|file| (file.sha256, file)));
            held.put(record);
        }
        let swept = parts.files.sweep(&files.keys().copied().collect());
        match swept {
            Ok(0) => {}
            Ok(swept) => tracing::info!(swept, "files of unfinished uploads were deleted"),
            Err(error) => tracing::warn!(%error, "unfinished uploads stay where they are"),
        }
        for file in files.into_values() {
            if let Err(error) = parts.files.open(file) {
                tracing::warn!(%error, "a package can't be served; upload its file again");
            }
        }
        let settings = &parts.settings;
        let keys = settings.keys.iter();
        Ok(Self {
            keys: keys.filter_map(|key| SigningKey::parse(key)).collect(),
            shelf: Shelf::new(
                parts.files.clone(),
                settings.cache_mb.saturating_mul(1024 * 1024),
            ),
            uploads: Semaphore::new(settings.uploads_max.max(1)),
            held: RwLock::new(held),
            changing: Mutex::const_new(()),
            tokens: Tokens::default(),
            in_use: RwLock::default(),
            progress: RwLock::default(),
            ready: std::sync::Mutex::default(),
            parts,
        })
    }

    /// Who knows which packages are in use; the last one that was told.
    pub fn set_in_use(&self, in_use: Arc<dyn InUse>) {
        *self.in_use.write().unwrap_or_else(PoisonError::into_inner) = Some(in_use);
    }

    /// Who hears of blocks; the last one that was told.
    pub fn set_progress(&self, progress: Arc<dyn Progress>) {
        *self
            .progress
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(progress);
    }

    pub fn progress(&self) -> Option<Arc<dyn Progress>> {
        let progress = self.progress.read().unwrap_or_else(PoisonError::into_inner);
        progress.clone()
    }

    fn task_of(&self, id: &PackageId) -> Option<TaskId> {
        let in_use = self.in_use.read().unwrap_or_else(PoisonError::into_inner);
        in_use.as_ref().and_then(|in_use| in_use.task_of(id))
    }

    fn ready(&self) -> std::sync::MutexGuard<'_, Ready> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub const fn settings(&self) -> &Settings {
        &self.parts.settings
    }

    pub const fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// The packages of products that are there, newest first, each with its product.
    pub fn list(&self) -> Vec<(Arc<PackageRecord>, Arc<ProductRuntime>)> {
        let all: Vec<_> = self.held().by_id.values().map(Arc::clone).collect();
        let with_product = |package: Arc<PackageRecord>| {
            let product = self.parts.products.runtime(&package.product_id)?;
            Some((package, product))
        };
        let mut all: Vec<_> = all.into_iter().filter_map(with_product).collect();
        all.sort_by_key(|(package, _)| std::cmp::Reverse(package.seq));
        all
    }

    /// The package with its product.
    pub fn show(
        &self,
        id: &PackageId,
    ) -> Result<(Arc<PackageRecord>, Arc<ProductRuntime>), PackageError> {
        let found = self.held().by_id.get(id).map(Arc::clone);
        let package = found.ok_or_else(|| PackageError::NotFound(id.clone()))?;
        match self.parts.products.runtime(&package.product_id) {
            Some(product) => Ok((package, product)),
            None => Err(PackageError::NotFound(id.clone())),
        }
    }

    /// The package that devices fetch under `/fw/<path>`.
    pub fn by_path(&self, path: &str) -> Option<Arc<PackageRecord>> {
        let held = self.held();
        let id = held.by_path.get(path)?;
        held.by_id.get(id).map(Arc::clone)
    }

    /// The path of a package, which stays as long as it: `/fw/<path>`.
    pub fn path_of(package: &PackageRecord) -> Option<String> {
        package.file.map(|file| path_of(&package.package_id, file))
    }

    /// A package with its file, for who begins to use it: until the turn is dropped, none is
    /// deleted. Errors: `NotFound`, `NoFile`.
    pub async fn hold(
        &self,
        id: &PackageId,
    ) -> Result<(Arc<PackageRecord>, PackageFile, Turn<'_>), PackageError> {
        let turn = Turn(self.changing.lock().await);
        let (package, _) = self.show(id)?;
        let file = package.file.ok_or_else(|| PackageError::NoFile {
            package_id: id.clone(),
        })?;
        Ok((package, file, turn))
    }

    /// A token for the download of a package over HTTP.
    pub fn token(&self, id: &PackageId, for_s: u64) -> Result<(String, Timestamp), PackageError> {
        let until = self.parts.clock.now().as_ms() / 1000;
        let until = Timestamp::from_ms(until.saturating_add(for_s).saturating_mul(1000));
        let token = self.tokens.make(self.parts.files.directory(), id, until)?;
        Ok((token, until))
    }

    /// Judges such a token.
    pub fn check_token(&self, id: &PackageId, token: &str) -> Result<(), PackageError> {
        let (dir, now) = (self.parts.files.directory(), self.parts.clock.now());
        self.tokens.check(dir, id, token, now)
    }

    /// Commits a record that is new or was changed, and binds its name. Must have the turn.
    async fn put(
        &self,
        record: PackageRecord,
        name: PackageNameRecord,
    ) -> Result<Arc<PackageRecord>, PackageError> {
        let id = record.package_id.clone();
        let named = PackageNameRecord {
            version: name.version.saturating_add(1),
            package_id: Some(id.clone()),
            sha256: name.sha256.or_else(|| record.file.map(|file| file.sha256)),
        };
        let commit = Commit {
            guards: vec![
                Guard::ProductExists(record.product_id.clone()),
                Guard::PackageVersion(id, record.version.saturating_sub(1)),
                Guard::PackageNameVersion(record.name(), name.version),
            ],
            changes: vec![
                Change::PutPackage(Box::new(record.clone())),
                Change::PutPackageName(record.name(), named),
            ],
        };
        self.parts.store.commit(commit).await.map_err(of_commit)?;
        Ok(self.held_mut().put(record))
    }

    /// Deletes a package that no running task uses. What its version means stays.
    pub async fn delete(self: &Arc<Self>, id: PackageId) -> Result<(), PackageError> {
        let this = Arc::clone(self);
        self.finish("package delete", async move {
            let _turn = this.changing.lock().await;
            let (package, _) = this.show(&id)?;
            let task = this.task_of(&id);
            if let Some(task_id) = task {
                return Err(PackageError::InUse {
                    package_id: id,
                    task_id,
                });
            }
            this.remove(&package).await
        })
        .await
    }

    /// Deletes the packages of a product that is going, used or not.
    pub async fn delete_of_product(&self, id: &ProductId) -> Result<(), StoreError> {
        let _turn = self.changing.lock().await;
        let all: Vec<_> = self.held().by_id.values().map(Arc::clone).collect();
        for package in all.into_iter().filter(|p| p.product_id == *id) {
            self.remove(&package).await.map_err(|error| match error {
                PackageError::Store(error) => error,
                _ => StoreError::Busy,
            })?;
        }
        Ok(())
    }

    /// Must have the turn.
    async fn remove(&self, package: &PackageRecord) -> Result<(), PackageError> {
        let name = self.name_of(package)?;
        let freed = PackageNameRecord {
            version: name.version.saturating_add(1),
            package_id: None,
            sha256: name.sha256,
        };
        let id = package.package_id.clone();
        let commit = Commit {
            guards: vec![
                Guard::PackageVersion(id.clone(), package.version),
                Guard::PackageNameVersion(package.name(), name.version),
            ],
            changes: vec![
                Change::DeletePackage(id.clone()),
                Change::PutPackageName(package.name(), freed),
            ],
        };
        self.parts.store.commit(commit).await.map_err(of_commit)?;
        self.held_mut().remove(&id);
        if let Some(file) = package.file {
            self.drop_file(file.sha256).await;
        }
        Ok(())
    }

    /// Deletes a file that no package has. One that stays is swept at the next start.
    async fn drop_file(&self, hash: FileHash) {
        if self.files_now().contains(&hash) {
            return;
        }
        self.shelf.forget(hash);
        let files = self.parts.files.clone();
        let removed = tokio::task::spawn_blocking(move || files.remove(hash)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(%error, "the file of a package stays until the next start");
        }
    }

    fn files_now(&self) -> HashSet<FileHash> {
        let held = self.held();
        let files = held.by_id.values().filter_map(|package| package.file);
        files.map(|file| file.sha256).collect()
    }

    fn held(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn held_mut(&self) -> RwLockWriteGuard<'_, Held> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a change to its end, also when the caller hangs up.
    async fn finish<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, PackageError>> + Send + 'static,
    ) -> Result<T, PackageError> {
        match self.parts.tasks.finish(name, work).await {
            Some(result) => result,
            None => Err(StoreError::Closed.into()),
        }
    }
}

impl Held {
    fn put(&mut self, record: PackageRecord) -> Arc<PackageRecord> {
        let record = Arc::new(record);
        let id = &record.package_id;
        if let Some(file) = record.file {
            self.by_path.insert(path_of(id, file), id.clone());
        }
        self.by_id.insert(id.clone(), Arc::clone(&record));
        record
    }

    fn remove(&mut self, id: &PackageId) {
        self.by_id.remove(id);
        self.by_path.retain(|_, other| other != id);
    }
}

fn fresh_id() -> Result<PackageId, PackageError> {
    let id = random_hex::<12>()?;
    PackageId::parse(&id).map_err(|e| invalid("package_id", e.to_string()))
}

/// Letters and digits that follow from the package and its file: 80 bits, which nobody guesses who
/// does not know the package's id.
fn path_of(id: &PackageId, file: PackageFile) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut mac = token::keyed(&file.sha256.0);
    mac.update(b"strait package path v1\n");
    mac.update(id.as_str().as_bytes());
    let bytes = mac.finalize().into_bytes();
    let (mut path, mut bits, mut have) = (String::with_capacity(PATH_LEN), 0_u32, 0_u32);
    for byte in bytes {
        bits = (bits << 8 | u32::from(byte)) & 0xffff;
        have += 8;
        while have >= 5 && path.len() < PATH_LEN {
            have -= 5;
            let at = usize::try_from(bits >> have & 31).unwrap_or_default();
            path.push(ALPHABET.get(at).copied().map_or('a', char::from));
        }
    }
    path
}
