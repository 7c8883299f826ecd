//! Freezing of devices, and what may be committed beside a change.

use std::sync::Arc;

use super::{DeviceChangeKind, DeviceDetail, DeviceError, Devices};
use crate::base::ids::DeviceId;
use crate::store::Change;

/// What goes into the same commit as a change of a device, made from the device as the change
/// leaves it: all of it becomes durable, or nothing.
pub type Beside = Arc<dyn Fn(&DeviceDetail) -> Vec<Change> + Send + Sync>;

/// Nothing beside the change itself.
pub(super) fn alone() -> Beside {
    Arc::new(|_| Vec::new())
}

impl Devices {
    /// Freezes the device: it may not connect. Emits `device.status:update` when that is news.
    pub async fn freeze(self: &Arc<Self>, id: DeviceId) -> Result<(), DeviceError> {
        self.set_frozen(id, true, alone()).await
    }

    /// Lets a frozen device connect again.
    pub async fn unfreeze(self: &Arc<Self>, id: DeviceId) -> Result<(), DeviceError> {
        self.set_frozen(id, false, alone()).await
    }

    /// [`Devices::freeze`] or [`Devices::unfreeze`]. What is beside it is committed in any case.
    pub async fn set_frozen(
        self: &Arc<Self>,
        id: DeviceId,
        frozen: bool,
        beside: Beside,
    ) -> Result<(), DeviceError> {
        let what = match frozen {
            true => DeviceChangeKind::Frozen,
            false => DeviceChangeKind::Unfrozen,
        };
        // A frozen device may not go on with a session of before.
        self.change(id, (what, frozen, beside), move |device, _| {
            device.frozen = frozen;
            Ok(())
        })
        .await
        .map(drop)
    }
}
