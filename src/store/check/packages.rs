//! Packages and their names, each against the other, and the files beside the database against their
//! hashes.

use super::Walk;
use crate::store::packages::{PackageNameRecord, PackageRecord};
use crate::store::{StoreError, keys, kv::Kv, rows};

impl<E: Kv> Walk<'_, E> {
    pub(super) fn package(&mut self, key: &[u8], row: &[u8]) -> Result<(), StoreError> {
        let Some(package) = self.record::<PackageRecord>(key, row)? else {
            return Ok(());
        };
        self.lies_under(key, &keys::package(&package.package_id));
        self.in_app(key, &package.app_id)?;
        let product = &package.product_id;
        if self.engine.get(&keys::product(product))?.is_none() {
            self.mistake(key, format!("there is no product {product}"));
        }
        let name = keys::package_name(&package.name());
        let named = match self.engine.get(&name)? {
            // A damaged row is told when its turn comes.
            Some(row) => rows::decode::<PackageNameRecord>(&row).ok(),
            None => None,
        };
        let fits = named.is_some_and(|named| {
            named.package_id.as_ref() == Some(&package.package_id)
                && package
                    .file
                    .is_none_or(|file| named.sha256 == Some(file.sha256))
        });
        if let Some(file) = package.file {
            self.files.insert(file.sha256, (file, key.to_vec()));
        }
        if !fits {
            let name = keys::show(&name);
            self.mistake(
                key,
                format!("no row {name} binds its name to it and its file"),
            );
        }
        Ok(())
    }

    /// Reads every file that a package names, once.
    pub(super) fn files(&mut self) {
        for (file, key) in std::mem::take(&mut self.files).into_values() {
            if let Err(e) = self.package_files.check(file) {
                self.mistake(&key, e.to_string());
            }
        }
    }

    pub(super) fn package_name(&mut self, key: &[u8], row: &[u8]) -> Result<(), StoreError> {
        let Some(named) = self.record::<PackageNameRecord>(key, row)? else {
            return Ok(());
        };
        if keys::split_package_name(key).is_none() {
            self.mistake(key, "the key is not product id, type and version");
        }
        if let Some(package) = named.package_id
            && self.engine.get(&keys::package(&package))?.is_none()
        {
            self.mistake(key, format!("there is no package {package}"));
        }
        Ok(())
    }
}
