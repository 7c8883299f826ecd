//! Campaigns, for those who watch and plan them: where the devices are and what each waits for
//! ([`cells`]), and how long a campaign would take ([`plan`]). Nothing is changed here.

pub mod cells;
pub mod plan;

use std::sync::Arc;

use crate::app::batch::Batches;
use crate::app::upgrade::line::Line;
use crate::base::ids::DeviceId;
use crate::base::time::Clock;
use crate::engine::admission;
use crate::store::upgrades::{StepRecord, UpgradeRecord};
use crate::store::{Store, StoreError};

/// What [`Campaigns`] reads.
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub batches: Arc<Batches>,
    pub line: Arc<Line>,
    pub admission: admission::Settings,
}

/// The campaigns of one server, seen from outside.
pub struct Campaigns {
    parts: Parts,
}

impl Campaigns {
    pub const fn new(parts: Parts) -> Self {
        Self { parts }
    }

    /// What the upgrade of a device does now, and why it waits; `None`: it has none of this task.
    pub fn doing(&self, task_seq: u64, target: &str) -> Result<Option<String>, StoreError> {
        let Ok(device_id) = DeviceId::parse(target) else {
            return Ok(None);
        };
        let Some(upgrade) = self.upgrade_of(&device_id, task_seq)? else {
            return Ok(None);
        };
        let engine = upgrade.engine();
        let device = self.parts.store.device(&device_id)?;
        if engine.is_in_line()
            && let Some(device) = device
            && let Some(reason) = self.parts.line.waiting(device.seq)
        {
            let held_back = self.parts.batches.may_admit(task_seq).err();
            return Ok(Some(match held_back {
                Some(why) => format!("{reason}; {why}"),
                None => reason.to_string(),
            }));
        }
        Ok(Some(match self.share_of(&upgrade) {
            Some(percent) => format!("{}, {percent} % fetched", engine.words()),
            None => engine.words().to_owned(),
        }))
    }

    /// The upgrade of a device by this task, as long as it is under way.
    fn upgrade_of(
        &self,
        device_id: &DeviceId,
        task_seq: u64,
    ) -> Result<Option<Box<UpgradeRecord>>, StoreError> {
        let state = self.parts.store.state(device_id)?;
        let upgrade = state.and_then(|state| state.upgrade);
        Ok(upgrade.filter(|u| u.task_seq == task_seq && u.step != StepRecord::Ended))
    }

    /// How much of the package a device that downloads has, as far as that was told.
    fn share_of(&self, upgrade: &UpgradeRecord) -> Option<u32> {
        if !upgrade.engine().downloads() || upgrade.moved == 0 {
            return None;
        }
        let package = self.parts.batches.package(&upgrade.package_id)?;
        let parts = match &package.software {
            Some(software) => u64::from(software.plan.count),
            None => package.size.div_ceil(512),
        };
        let share = u64::from(upgrade.moved).saturating_mul(100) / parts.max(1);
        u32::try_from(share.min(100)).ok()
    }
}
