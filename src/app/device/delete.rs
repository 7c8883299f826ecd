//! The end of a device: deleted by its owner, or because it never came.

use std::sync::Arc;

use super::{DeviceChangeKind, DeviceDetail, DeviceError, Devices, TRIES};
use crate::app::timers;
use crate::base::ids::DeviceId;
use crate::base::peer::DeviceSeq;
use crate::base::time::Timestamp;
use crate::store::{Change, Commit, CommitError, Guard};

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
        self.delete_if(id, Self::show, |_, _| true).await.map(drop)
    }

    /// Deletes a device of a product that is being deleted; nothing happens when it is gone.
    pub async fn delete_with_product(self: &Arc<Self>, id: DeviceId) -> Result<(), DeviceError> {
        match self.delete_if(id, Self::show_leaving, |_, _| true).await {
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
        self.delete_if(id, Self::show, |detail, now| {
            detail
                .activation_deadline()
                .is_some_and(|deadline| now >= deadline)
        })
        .await
    }

    async fn delete_if(
        self: &Arc<Self>,
        id: DeviceId,
        look: fn(&Self, &DeviceId) -> Result<DeviceDetail, DeviceError>,
        applies: fn(&DeviceDetail, Timestamp) -> bool,
    ) -> Result<bool, DeviceError> {
        let this = Arc::clone(self);
        self.finish("device delete", async move {
            for _ in 0..TRIES {
                let detail = look(&this, &id)?;
                if !applies(&detail, this.parts.clock.now()) {
                    return Ok(false);
                }
                let commit = this.deletion(&detail);
                match this.commit(commit).await {
                    Ok(()) => {
                        this.count_out(&detail.device);
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
