//! The targets of a campaign, judged before it begins: the package is there, and each target is a device
//! of the package's product that takes such upgrades. One that is not is a subtask that failed from
//! the start, and says why.

use std::sync::Arc;

use super::create::NewTask;
use super::{BatchError, Batches};
use crate::app::upgrade::Package;
use crate::base::ids::{AppId, DeviceId};
use crate::engine::upgrade::Kind;
use crate::product::settings::UpgradeSettings;
use crate::store::StoreError;
use crate::store::catalog::{SubtaskError, SubtaskRecord, SubtaskState};

impl Batches {
    /// Refuses rows whose target can't have the package; the others wait to be confirmed, if so wished.
    pub(super) async fn judge_targets(
        self: &Arc<Self>,
        new: &NewTask,
        package_id: &str,
        mut rows: Vec<SubtaskRecord>,
    ) -> Result<Vec<SubtaskRecord>, BatchError> {
        let package = self.package_for(new, package_id)?;
        let (this, space) = (Arc::clone(self), new.space.clone());
        let needs_confirmation = new.need_confirm == Some(true);
        // Many take long to look at, so elsewhere than where others wait.
        let judge = move || {
            for row in rows.iter_mut().filter(|row| !row.refused) {
                match this.refusal(&package, space.as_ref(), &row.target)? {
                    Some(error) => {
                        row.refused = true;
                        row.state = SubtaskState::Fail;
                        row.error = Some(error);
                    }
                    None => row.unconfirmed = needs_confirmation,
                }
            }
            Ok(rows)
        };
        let judged = tokio::task::spawn_blocking(judge).await;
        judged.map_err(|_| StoreError::Closed)?
    }

    /// A package that campaigns know.
    pub fn package(&self, package_id: &str) -> Option<Arc<Package>> {
        self.parts.packages.find(package_id)
    }

    /// The task's package: of the task's type, with its bytes, and of the caller's space.
    pub(super) fn package_for(
        &self,
        new: &NewTask,
        package_id: &str,
    ) -> Result<Arc<Package>, BatchError> {
        let refuse = |problem| BatchError::invalid("document.package_ids[0]", problem);
        let found = self.parts.packages.find(package_id);
        let is_seen = |package: &Arc<Package>| {
            let space = new.space.as_ref();
            space.is_none_or(|space| *space == package.app_id)
        };
        let Some(package) = found.filter(is_seen) else {
            return Err(refuse(format!(
                "there is no package {package_id} with a file, takes one that was uploaded"
            )));
        };
        if new.task_type.upgrades() == Some(package.kind) {
            return Ok(package);
        }
        let (is, task) = match package.kind {
            Kind::Firmware => ("firmware", "firmwareUpgrade"),
            Kind::Software => ("software", "softwareUpgrade"),
        };
        Err(refuse(format!(
            "package {package_id} is {is}, which takes a task of type {task}"
        )))
    }

    /// Why a target can't have the package.
    fn refusal(
        &self,
        package: &Package,
        space: Option<&AppId>,
        target: &str,
    ) -> Result<Option<SubtaskError>, StoreError> {
        let refused = |error_code: &str, error_msg: String| {
            Ok(Some(SubtaskError {
                error_code: error_code.to_owned(),
                error_msg,
            }))
        };
        let device = match DeviceId::parse(target) {
            Ok(id) => self.parts.store.device(&id)?,
            Err(_) => None,
        };
        let seen = device.filter(|device| space.is_none_or(|space| device.app_id == *space));
        let product = seen
            .as_ref()
            .and_then(|device| self.parts.products.runtime(&device.product_id));
        let (Some(device), Some(product)) = (seen, product) else {
            let problem = format!("device_id: there is no device {target}");
            return refused("not_found", problem);
        };
        if device.product_id != package.product_id {
            let problem = format!(
                "the device is of product {}, the package is for {}",
                device.product_id, package.product_id
            );
            return refused("other_product", problem);
        }
        match is_off(package.kind, &product.settings.upgrade) {
            None => Ok(None),
            Some(setting) => refused(
                "upgrade_off",
                format!("the product's settings allow no such upgrade: {setting} is null"),
            ),
        }
    }
}

/// The setting that forbids such upgrades.
const fn is_off(kind: Kind, settings: &UpgradeSettings) -> Option<&'static str> {
    match kind {
        Kind::Firmware if settings.firmware.is_none() => Some("upgrade.firmware"),
        Kind::Software if settings.software.is_none() => Some("upgrade.software"),
        Kind::Firmware | Kind::Software => None,
    }
}
