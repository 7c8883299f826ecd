//! Pages of devices, newest first, found by the store's index. A node id is unique and looked up at once; other
//! searches may walk what the index holds of the whole fleet, so they run on a thread that may block.

use std::sync::Arc;

use super::{DeviceDetail, DeviceError, Devices};
use crate::base::ids::{AppId, DeviceId, NodeId, ProductId};
use crate::base::time::Timestamp;
use crate::store::StoreError;
use crate::store::find::{Filter, Find, FindOrder};

/// Which devices, and which page of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeviceQuery {
    pub product_id: Option<ProductId>,
    pub node_id: Option<NodeId>,
    pub app_id: Option<AppId>,
    /// The whole name.
    pub device_name: Option<String>,
    pub gateway_id: Option<DeviceId>,
    /// With `gateway_id`: also devices below devices below it.
    pub cascade: bool,
    /// Created in these seconds, both inclusive.
    pub created_from: Option<Timestamp>,
    pub created_to: Option<Timestamp>,
    /// Only those with a smaller `seq`.
    pub before: Option<u64>,
    pub offset: usize,
    pub limit: usize,
}

/// One page.
#[derive(Debug)]
pub struct DevicePage {
    pub devices: Vec<DeviceDetail>,
    /// All that match, on whatever page.
    pub count: u64,
}

impl DeviceQuery {
    fn filter(&self) -> Filter {
        let gateway = |id: &DeviceId| match self.cascade {
            true => Filter::Below(id.clone()),
            false => Filter::Gateway(id.clone()),
        };
        let created = (self.created_from.is_some() || self.created_to.is_some()).then_some({
            Filter::Created {
                from: self.created_from,
                to: self.created_to,
            }
        });
        let asked = [
            self.product_id.clone().map(Filter::Product),
            self.node_id.clone().map(Filter::Node),
            self.app_id.clone().map(Filter::App),
            self.device_name.clone().map(Filter::Name),
            self.gateway_id.as_ref().map(gateway),
            created,
        ];
        let mut asked: Vec<Filter> = asked.into_iter().flatten().collect();
        match asked.len() {
            0 => Filter::All,
            1 => asked.remove(0),
            _ => Filter::And(asked),
        }
    }
}

impl Devices {
    /// One page of the devices that match, newest first.
    pub async fn list(self: &Arc<Self>, query: DeviceQuery) -> Result<DevicePage, DeviceError> {
        if query.node_id.is_some() {
            return self.list_now(&query);
        }
        let this = Arc::clone(self);
        tokio::task::spawn_blocking(move || this.list_now(&query))
            .await
            .map_err(|_| StoreError::Closed)?
    }

    fn list_now(&self, query: &DeviceQuery) -> Result<DevicePage, DeviceError> {
        let found = self.parts.store.find(&Find {
            filter: &query.filter(),
            now: self.parts.clock.now(),
            order: FindOrder::NewestFirst,
            offset: query.offset,
            limit: query.limit,
            beyond: query.before,
        })?;
        let devices = found.devices.into_iter();
        Ok(DevicePage {
            devices: devices
                .map(|device| self.detail(device))
                .collect::<Result<_, _>>()?,
            count: found.count,
        })
    }
}
