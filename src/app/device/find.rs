//! Devices that fit a condition, on a thread that may block; few such searches run at a time.

use std::sync::Arc;

use super::list::DevicePage;
use super::{DeviceError, Devices};
use crate::store::StoreError;
use crate::store::find::{Filter, Find, FindOrder};

/// Which devices, in which order, and which page of them.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceFind {
    pub filter: Filter,
    pub order: FindOrder,
    /// Only beyond this `seq` in the order.
    pub beyond: Option<u64>,
    pub offset: usize,
    pub limit: usize,
}

impl Devices {
    /// One page of the devices that fit, and the number of all that do.
    pub async fn find(self: &Arc<Self>, find: DeviceFind) -> Result<DevicePage, DeviceError> {
        // Closed never happens: the semaphore lives as long as the service.
        let turn = Arc::clone(&self.scans).acquire_owned().await.ok();
        let this = Arc::clone(self);
        let page = tokio::task::spawn_blocking(move || {
            // Kept until the search is over, also when nobody waits for it any more.
            let _turn = turn;
            let found = this.parts.store.find(&Find {
                filter: &find.filter,
                now: this.parts.clock.now(),
                order: find.order,
                offset: find.offset,
                limit: find.limit,
                beyond: find.beyond,
            })?;
            let details = found.devices.into_iter().map(|device| this.detail(device));
            Ok(DevicePage {
                devices: details.collect::<Result<_, DeviceError>>()?,
                count: found.count,
            })
        });
        page.await.map_err(|_| StoreError::Closed)?
    }
}
