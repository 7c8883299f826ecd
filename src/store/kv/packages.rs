//! Reads of packages and of their names.

use super::Kv;
use super::reader::Reader;
use crate::base::ids::PackageId;
use crate::store::StoreError;
use crate::store::keys::{self, Table};
use crate::store::packages::{PackageName, PackageNameRecord, PackageRecord};

impl<E: Kv> Reader<'_, E> {
    pub(super) fn packages(&self) -> Result<Vec<PackageRecord>, StoreError> {
        self.table(Table::Packages, |package: &PackageRecord| package.seq)
    }

    pub(super) fn package(&self, id: &PackageId) -> Result<Option<PackageRecord>, StoreError> {
        self.record(&keys::package(id))
    }

    pub(super) fn package_name(
        &self,
        name: &PackageName,
    ) -> Result<Option<PackageNameRecord>, StoreError> {
        self.record(&keys::package_name(name))
    }
}
