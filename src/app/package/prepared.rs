//! Packages as the steps of upgrades need them: with their URIs and, of software, with their fragments
//! framed. Kept in memory for as long as they are used.

use std::io::Read;
use std::sync::Arc;

use super::Packages;
use crate::app::upgrading::{self, Image, Package, Software};
use crate::base::ids::PackageId;
use crate::engine::upgrade::Kind;
use crate::store::packages::{PackageFile, PackageRecord, PackageType};

/// Packages that are kept ready; more are used by turns.
pub(super) const READY_MAX: usize = 32;

impl upgrading::Packages for Packages {
    fn find(&self, package_id: &str) -> Option<Arc<Package>> {
        let id = PackageId::parse(package_id).ok()?;
        let (record, _) = self.show(&id).ok()?;
        let file = record.file?;
        let mut ready = self.ready();
        if let Some((hash, package)) = ready.get(&id)
            && *hash == file.sha256
        {
            return Some(Arc::clone(package));
        }
        let package = Arc::new(self.prepare(&record, file)?);
        if ready.len() >= READY_MAX {
            ready.clear();
        }
        ready.insert(id, (file.sha256, Arc::clone(&package)));
        Some(package)
    }
}

impl Packages {
    fn prepare(&self, record: &PackageRecord, file: PackageFile) -> Option<Package> {
        let path = Self::path_of(record)?;
        let host = &self.settings().coap_host;
        let kind = match record.package_type {
            PackageType::Firmware => Kind::Firmware,
            PackageType::Software => Kind::Software,
        };
        let mut image: Option<Arc<dyn Image>> = None;
        let software = match kind {
            Kind::Firmware => {
                let opened = self.shelf().open(file).inspect_err(|error| {
                    tracing::warn!(package_id = %record.package_id, %error, "a package can't be opened");
                });
                image = Some(opened.ok()?);
                None
            }
            Kind::Software => {
                let made = self.frame(record, file);
                let told = made.inspect_err(|error| {
                    tracing::warn!(package_id = %record.package_id, %error, "a package can't be framed");
                });
                Some(told.ok()?)
            }
        };
        Some(Package {
            package_id: record.package_id.as_str().to_owned(),
            product_id: record.product_id.clone(),
            app_id: record.app_id.clone(),
            kind,
            version: record.package_version.clone(),
            sources: record.support_source_versions.clone(),
            coap_uri: format!("coap://{host}/fw/{path}"),
            coaps_uri: format!("coaps://{host}/fw/{path}"),
            size: file.size,
            image,
            software,
        })
    }

    fn frame(&self, record: &PackageRecord, file: PackageFile) -> Result<Software, String> {
        let volume = self.shelf().open(file).map_err(|e| e.to_string())?;
        let mut bytes = Vec::new();
        let mut reader = volume.reader();
        reader.read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        let made = Software::new(&record.package_version, record.fragment_size, &bytes);
        made.map_err(|e| e.to_string())
    }
}
