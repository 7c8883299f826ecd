//! Pages of devices, newest first.
//!
//! A product or a node id is found by index. Name, gateway, space and times are compared device by
//! device, in pages of the store, on a thread that may block; few such searches run at a time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{DeviceDetail, DeviceError, Devices, TRIES};
use crate::base::ids::{AppId, DeviceId, NodeId, ProductId};
use crate::base::time::Timestamp;
use crate::store::records::DeviceRecord;
use crate::store::{Page, Store, StoreError};

/// Devices read from the store at once.
const STEP: usize = 500;

/// Gateways above a device that a cascading search looks at.
const CASCADE_DEPTH: usize = 8;

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
    /// Whether every device must be looked at.
    fn must_scan(&self) -> bool {
        self.app_id.is_some()
            || self.device_name.is_some()
            || self.gateway_id.is_some()
            || self.created_from.is_some()
            || self.created_to.is_some()
    }

    fn matches(
        &self,
        device: &DeviceRecord,
        gateways: &mut Gateways<'_>,
    ) -> Result<bool, StoreError> {
        let second = |at: Timestamp| at.as_ms() / 1000;
        let created = second(device.created_at);
        let plain = self
            .product_id
            .as_ref()
            .is_none_or(|id| *id == device.product_id)
            && self.node_id.as_ref().is_none_or(|id| *id == device.node_id)
            && self.app_id.as_ref().is_none_or(|id| *id == device.app_id)
            && (self.device_name.is_none() || self.device_name == device.device_name)
            && self.created_from.is_none_or(|from| created >= second(from))
            && self.created_to.is_none_or(|to| created <= second(to));
        match &self.gateway_id {
            Some(gateway) if plain => {
                if device.gateway_id == *gateway {
                    return Ok(true);
                }
                Ok(self.cascade && gateways.is_below(device, gateway)?)
            }
            _ => Ok(plain),
        }
    }
}

/// Gateways of gateways, as far as they were asked for.
struct Gateways<'a> {
    store: &'a dyn Store,
    above: HashMap<DeviceId, Option<DeviceId>>,
}

impl Gateways<'_> {
    fn is_below(&mut self, device: &DeviceRecord, top: &DeviceId) -> Result<bool, StoreError> {
        let mut at = device.gateway_id.clone();
        for _ in 0..CASCADE_DEPTH {
            let above = match self.above.get(&at) {
                Some(above) => above.clone(),
                None => {
                    let above = self.store.device(&at)?.map(|d| d.gateway_id);
                    self.above.insert(at.clone(), above.clone());
                    above
                }
            };
            match above {
                Some(above) if above == *top => return Ok(true),
                Some(above) if above != at => at = above,
                _ => return Ok(false),
            }
        }
        Ok(false)
    }
}

impl Devices {
    /// One page of the devices that match, newest first. Those of a product that is being deleted
    /// match nothing: when a deletion begins meanwhile, the page is read again.
    pub async fn list(self: &Arc<Self>, query: DeviceQuery) -> Result<DevicePage, DeviceError> {
        for _ in 0..TRIES {
            let hidden = self.parts.products.hidden();
            let page = self.list_without(query.clone(), hidden.clone()).await?;
            if self.parts.products.hidden().is_subset(&hidden) {
                return Ok(page);
            }
        }
        Err(DeviceError::Contended)
    }

    async fn list_without(
        self: &Arc<Self>,
        query: DeviceQuery,
        hidden: HashSet<ProductId>,
    ) -> Result<DevicePage, DeviceError> {
        if let Some(node_id) = &query.node_id {
            return self.list_one(node_id, &query, &hidden);
        }
        let scanning = query.must_scan() || !hidden.is_empty();
        let this = Arc::clone(self);
        // Closed never happens: the semaphore lives as long as the service.
        let turn = match scanning {
            true => self.scans.acquire().await.ok(),
            false => None,
        };
        let page = tokio::task::spawn_blocking(move || match scanning {
            true => this.scan(&query, &hidden),
            false => this.list_indexed(&query),
        })
        .await
        .map_err(|_| StoreError::Closed)?;
        drop(turn);
        page
    }

    /// A node id is unique: the answer is one device or none.
    fn list_one(
        &self,
        node: &NodeId,
        query: &DeviceQuery,
        hidden: &HashSet<ProductId>,
    ) -> Result<DevicePage, DeviceError> {
        let store = &*self.parts.store;
        let device = match store.device_by_node(node)? {
            Some(id) => store.device(&id)?,
            None => None,
        };
        let mut gateways = Gateways {
            store,
            above: HashMap::new(),
        };
        let mut page = DevicePage {
            devices: Vec::new(),
            count: 0,
        };
        if let Some(device) = device
            && !hidden.contains(&device.product_id)
            && query.matches(&device, &mut gateways)?
        {
            page.count = 1;
            let on_page = query.before.is_none_or(|b| device.seq < b) && query.offset == 0;
            if on_page && query.limit > 0 {
                page.devices.push(self.detail(device)?);
            }
        }
        Ok(page)
    }

    fn list_indexed(&self, query: &DeviceQuery) -> Result<DevicePage, DeviceError> {
        let records = self.parts.store.devices(&Page {
            product_id: query.product_id.as_ref(),
            before: query.before,
            limit: query.offset.saturating_add(query.limit),
        })?;
        let devices = records
            .into_iter()
            .skip(query.offset)
            .map(|device| self.detail(device))
            .collect::<Result<_, _>>()?;
        Ok(DevicePage {
            devices,
            count: self.count_of(query.product_id.as_ref()),
        })
    }

    fn scan(
        &self,
        query: &DeviceQuery,
        hidden: &HashSet<ProductId>,
    ) -> Result<DevicePage, DeviceError> {
        let store = &*self.parts.store;
        let mut gateways = Gateways {
            store,
            above: HashMap::new(),
        };
        let (mut before, mut count, mut to_skip) = (None, 0_u64, query.offset);
        let mut devices = Vec::new();
        loop {
            let step = store.devices(&Page {
                product_id: query.product_id.as_ref(),
                before,
                limit: STEP,
            })?;
            let Some(last) = step.last() else {
                break;
            };
            before = Some(last.seq);
            for device in step {
                if hidden.contains(&device.product_id) || !query.matches(&device, &mut gateways)? {
                    continue;
                }
                count += 1;
                if query.before.is_some_and(|b| device.seq >= b) {
                    continue;
                }
                if to_skip > 0 {
                    to_skip -= 1;
                } else if devices.len() < query.limit {
                    devices.push(self.detail(device)?);
                }
            }
        }
        Ok(DevicePage { devices, count })
    }
}
