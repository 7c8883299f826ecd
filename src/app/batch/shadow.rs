//! The subtask of `updateDeviceShadows`: what one change of a shadow does, with the subtask's row in the same
//! commit.

use serde_json::Value;

use super::Batches;
use super::attempt::read;
use crate::app::device::{Beside, DeviceError};
use crate::app::order::{self, DesiredService, OrderError};
use crate::base::ids::DeviceId;

impl Batches {
    /// Changes what is desired of one device. `work`: the services of the task's document.
    pub(super) async fn desire(
        &self,
        id: DeviceId,
        work: Option<&Value>,
        beside: Beside,
    ) -> Result<(), DeviceError> {
        let services: Vec<DesiredService> = read(work)?;
        let detail = self.parts.devices.show(&id)?;
        let beside = order::Beside {
            guards: Vec::new(),
            changes: beside(&detail),
        };
        let done = self.parts.shadows.set_beside(&id, services, beside).await;
        done.map(drop).map_err(|error| of_order(id, error))
    }
}

/// The error of a subtask, with places in the task's document.
fn of_order(id: DeviceId, error: OrderError) -> DeviceError {
    match error {
        OrderError::NotFound => DeviceError::NotFound(id),
        OrderError::Model(found) => {
            let told = found
                .iter()
                .map(|v| format!("document.{}: {}", v.path, v.message));
            DeviceError::Mistakes(told.collect())
        }
        OrderError::Store(error) => error.into(),
        // Waiting helps, and the runner waits.
        OrderError::Busy | OrderError::Overtaken => DeviceError::Contended,
        OrderError::Version { .. } | OrderError::Full { .. } | OrderError::NameTaken => {
            DeviceError::Mistakes(vec![format!("document.{error}")])
        }
    }
}
