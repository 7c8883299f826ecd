//! Packages made by reference, as the v5 API makes them, and what every new package is judged by.

use std::sync::Arc;

use serde_json::Value;

use super::error::invalid;
use super::{PackageError, Packages, fresh_id, rules};
use crate::app::product::{ProductError, ProductRuntime};
use crate::base::ids::{AppId, PackageId, ProductId};
use crate::store::packages::{FileHash, PackageNameRecord, PackageRecord, PackageType};

/// A package without a file of its own, as the v5 API makes them. Formats were checked by the caller.
#[derive(Debug, Clone, PartialEq)]
pub struct NewPackage {
    /// The product's, when absent.
    pub app_id: Option<AppId>,
    pub package_type: PackageType,
    pub product_id: ProductId,
    pub module_name: Option<String>,
    pub package_version: String,
    pub support_source_versions: Vec<String>,
    pub description: Option<String>,
    pub custom_info: Option<String>,
    pub file_location: Option<Value>,
    /// Of a file that was uploaded before, for this package or another.
    pub source: Source,
}

/// Where a package takes its file from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It is uploaded later.
    Later,
    /// The file with this hash, which must be there.
    Hash(FileHash),
    /// The same, if it is there; else it is uploaded later, and must have this hash.
    Announced(FileHash),
    /// The file of that package, if there is one.
    Package(PackageId),
}

impl Packages {
    /// Makes a package of a file that is there, or that comes later.
    pub async fn create(
        self: &Arc<Self>,
        new: NewPackage,
    ) -> Result<Arc<PackageRecord>, PackageError> {
        let this = Arc::clone(self);
        self.finish("package create", async move { this.create_now(new).await })
            .await
    }

    async fn create_now(&self, new: NewPackage) -> Result<Arc<PackageRecord>, PackageError> {
        let product = self.product_in(&new.product_id, new.app_id.as_ref())?;
        let mut record = PackageRecord {
            version: 1,
            package_id: fresh_id()?,
            seq: self.parts.store.allocate_seq()?,
            app_id: product.record.app_id.clone(),
            package_type: new.package_type,
            product_id: new.product_id,
            module_name: new.module_name,
            package_version: new.package_version,
            support_source_versions: new.support_source_versions,
            description: new.description,
            custom_info: new.custom_info,
            file_location: new.file_location,
            file: None,
            file_name: None,
            signed_by: None,
            fragment_size: rules::fragment_size(new.package_type, None)?,
            created_at: self.parts.clock.now(),
        };
        rules::check(&record)?;
        let _turn = self.changing.lock().await;
        self.check_room()?;
        let name = self.name_of(&record)?;
        check_free(&name, &record)?;
        if let Some(source) = self.source_of(&new.source, &record.app_id)? {
            record.file = source.file;
            record.file_name.clone_from(&source.file_name);
            record.signed_by.clone_from(&source.signed_by);
            self.check_file(&record, &name)?;
        }
        self.put(record, name).await
    }

    /// The product that a package is for, in the space that was named.
    pub(super) fn product_in(
        &self,
        id: &ProductId,
        space: Option<&AppId>,
    ) -> Result<Arc<ProductRuntime>, PackageError> {
        let product = self.parts.products.show(id)?;
        match space {
            Some(space) if *space != product.record.app_id => {
                Err(ProductError::NotFound(id.clone()).into())
            }
            Some(_) | None => Ok(product),
        }
    }

    /// The package that has the file that another one is made of.
    fn source_of(
        &self,
        source: &Source,
        space: &AppId,
    ) -> Result<Option<Arc<PackageRecord>>, PackageError> {
        let held = self.held();
        match source {
            Source::Later => Ok(None),
            Source::Package(id) => {
                let found = held.by_id.get(id).filter(|p| p.app_id == *space);
                Ok(found.filter(|p| p.file.is_some()).map(Arc::clone))
            }
            Source::Hash(hash) | Source::Announced(hash) => {
                let mut all = held.by_id.values().filter(|p| p.app_id == *space);
                let found = all.find(|p| p.file.is_some_and(|file| file.sha256 == *hash));
                if found.is_none() && matches!(source, Source::Hash(_)) {
                    let problem = format!(
                        "no package of the resource space {space} has a file with SHA-256 {hash}; \
                         upload it with PUT /v1/packages"
                    );
                    return Err(invalid("file_location.obs_location.object_key", problem));
                }
                Ok(found.map(Arc::clone))
            }
        }
    }

    /// Whether a record may have its file, under its name.
    pub(super) fn check_file(
        &self,
        record: &PackageRecord,
        name: &PackageNameRecord,
    ) -> Result<(), PackageError> {
        let Some(file) = record.file else {
            return Ok(());
        };
        if self.parts.settings.require_signature && record.signed_by.is_none() {
            let problem = "is missing, takes an Ed25519 signature of the file \
                           (packages.require_signature)";
            return Err(invalid("signature", problem));
        }
        if let Some(bound) = name.sha256.filter(|bound| *bound != file.sha256) {
            return Err(PackageError::Bound {
                version: record.package_version.clone(),
                bound,
                got: file.sha256,
            });
        }
        rules::check_fragments(record.package_type, record.fragment_size, file.size)
    }

    /// Room for one more package.
    pub(super) fn check_room(&self) -> Result<(), PackageError> {
        let (count, max) = (self.held().by_id.len(), self.parts.settings.count_max);
        if count < max {
            return Ok(());
        }
        Err(PackageError::Full {
            what: "packages",
            problem: format!(
                "there are {count}, takes up to {max} (packages.count_max); delete some"
            ),
        })
    }

    /// The row of a record's name; of version 0 where there is none.
    pub(super) fn name_of(
        &self,
        record: &PackageRecord,
    ) -> Result<PackageNameRecord, PackageError> {
        let known = self.parts.store.package_name(&record.name())?;
        Ok(known.unwrap_or(PackageNameRecord {
            version: 0,
            package_id: None,
            sha256: None,
        }))
    }
}

/// Whether a name has no package.
fn check_free(name: &PackageNameRecord, record: &PackageRecord) -> Result<(), PackageError> {
    match &name.package_id {
        None => Ok(()),
        Some(package_id) => Err(PackageError::Taken {
            package_id: package_id.clone(),
            version: record.package_version.clone(),
        }),
    }
}
