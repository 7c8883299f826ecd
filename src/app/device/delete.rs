//! The end of a device: deleted by its owner, or because it never came.

use std::sync::{Arc, PoisonError};

use super::{
    Beside, DeviceChangeKind, DeviceDetail, DeviceError, Devices, LostUpgrades, TRIES, alone,
};
use crate::app::timers;
use crate::base::ids::DeviceId;
use crate::base::peer::DeviceSeq;
use crate::base::time::Timestamp;
use crate::store::catalog::{SubtaskRecord, SubtaskState};
use crate::store::upgrades::{StepRecord, UpgradeRecord};
use crate::store::{Change, Commit, CommitError, Guard, StoreError};

impl DeviceDetail {
    /// When the device is deleted unless it is activated before; `None` when it never is.
    pub fn activation_deadline(&self) -> Option<Timestamp> {
        let state = self.state.clone().unwrap_or_default();
        timers::activation_deadline(&self.device, &state)
    }
}

impl Devices {
    /// Deletes the device and emits `device:delete`.
    pub async fn delete(self: &Arc<Self>, id: DeviceId) -> Result<(), DeviceError> {
        self.delete_beside(id, alone()).await
    }

    /// As [`Devices::delete`].
    pub async fn delete_beside(
        self: &Arc<Self>,
        id: DeviceId,
        beside: Beside,
    ) -> Result<(), DeviceError> {
        let deleted = self.delete_if(id, Self::show, |_, _| true, beside).await;
        deleted.map(drop)
    }

    /// Deletes a device of a product that is being deleted; nothing happens when it is gone.
    pub async fn delete_with_product(self: &Arc<Self>, id: DeviceId) -> Result<(), DeviceError> {
        let any = |_: &DeviceDetail, _| true;
        match self.delete_if(id, Self::show_leaving, any, alone()).await {
            Ok(_) | Err(DeviceError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A device that nobody else sees any more.
    fn show_leaving(&self, id: &DeviceId) -> Result<DeviceDetail, DeviceError> {
        let found = self.parts.store.device(id)?;
        let device = found.ok_or_else(|| DeviceError::NotFound(id.clone()))?;
        let product = self.parts.products.leaving(&device.product_id);
        let detail = self.detail(device)?;
        Ok(DeviceDetail { product, ..detail })
    }

    /// Deletes the device when it was never activated within its `timeout`; says whether it did.
    /// A device that activates meanwhile stays.
    pub async fn delete_overdue(self: &Arc<Self>, id: DeviceId) -> Result<bool, DeviceError> {
        let overdue = |detail: &DeviceDetail, now| {
            let deadline = detail.activation_deadline();
            deadline.is_some_and(|deadline| now >= deadline)
        };
        self.delete_if(id, Self::show, overdue, alone()).await
    }

    async fn delete_if(
        self: &Arc<Self>,
        id: DeviceId,
        look: fn(&Self, &DeviceId) -> Result<DeviceDetail, DeviceError>,
        applies: fn(&DeviceDetail, Timestamp) -> bool,
        beside: Beside,
    ) -> Result<bool, DeviceError> {
        let this = Arc::clone(self);
        self.finish("device delete", async move {
            for left in (0..TRIES).rev() {
                let detail = look(&this, &id)?;
                if !applies(&detail, this.parts.clock.now()) {
                    return Ok(false);
                }
                // A device that goes on with its upgrade while it is deleted must not be in the way: who
                // counts upgrades finds that later.
                let upgrade = upgrade_of(&detail).filter(|_| left > 0);
                let mut commit = this.deletion(&detail);
                if let Some(upgrade) = upgrade {
                    this.end_upgrade(&detail, upgrade, &mut commit)?;
                }
                commit.changes.extend(beside(&detail));
                match this.commit(commit).await {
                    Ok(()) => {
                        if let Some(upgrade) = upgrade {
                            for who in this.told_of_upgrades() {
                                who.lost(&detail.device, upgrade);
                            }
                        }
                        let session = Some(DeviceSeq(detail.device.seq));
                        this.tell(&id, DeviceChangeKind::Deleted, session).await;
                        return Ok(true);
                    }
                    Err(CommitError::Conflict(_)) => {}
                    Err(CommitError::Store(error)) => return Err(error.into()),
                }
            }
            Err(DeviceError::Contended)
        })
        .await
    }

    /// Hears of upgrades that end with their devices, from now on.
    pub fn tell_lost_upgrades(&self, who: Arc<dyn LostUpgrades>) {
        let mut told = self
            .upgrades
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        told.push(who);
    }

    fn told_of_upgrades(&self) -> Vec<Arc<dyn LostUpgrades>> {
        let told = self.upgrades.read().unwrap_or_else(PoisonError::into_inner);
        told.clone()
    }

    /// The device's upgrade ends with it: its subtask says so in the same commit.
    fn end_upgrade(
        &self,
        detail: &DeviceDetail,
        upgrade: &UpgradeRecord,
        commit: &mut Commit,
    ) -> Result<(), StoreError> {
        let rows = self
            .parts
            .store
            .subtasks(upgrade.task_seq, upgrade.index, 1)?;
        let row = rows.into_iter().find(|(index, _)| *index == upgrade.index);
        let Some((index, row)) = row.filter(|(_, row)| row.state == SubtaskState::Processing)
        else {
            return Ok(());
        };
        let id = detail.device.device_id.clone();
        let version = detail.state.as_ref().map_or(0, |state| state.version);
        commit.guards.push(Guard::StateVersion(id, version));
        commit.changes.push(Change::PutSubtask {
            task_seq: upgrade.task_seq,
            index,
            record: Box::new(SubtaskRecord {
                state: SubtaskState::Removed,
                ..row
            }),
        });
        Ok(())
    }

    fn deletion(&self, detail: &DeviceDetail) -> Commit {
        let id = &detail.device.device_id;
        let mut guards = vec![
            Guard::DeviceVersion(id.clone(), detail.device.version),
            Guard::DeviceSeq(id.clone(), detail.device.seq),
        ];
        // Whether it was activated is in its state; an active device reports on while it is
        // deleted, which must not be in the way.
        if detail.activation_deadline().is_some() {
            let version = detail.state.as_ref().map_or(0, |s| s.version);
            guards.push(Guard::StateVersion(id.clone(), version));
        }
        let changes = vec![
            Change::DeleteDevice(id.clone()),
            Change::DeleteSession(DeviceSeq(detail.device.seq)),
            self.event("delete", detail),
        ];
        Commit { guards, changes }
    }
}

/// What of an upgrade is under way.
fn upgrade_of(detail: &DeviceDetail) -> Option<&UpgradeRecord> {
    let upgrade = detail.state.as_ref()?.upgrade.as_deref()?;
    (upgrade.step != StepRecord::Ended).then_some(upgrade)
}
