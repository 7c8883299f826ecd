//! Answers [`Find`] by looking at every device.

use super::Kv;
use super::reader::Reader;
use crate::base::ids::DeviceId;
use crate::store::find::{Find, FindOrder, Found};
use crate::store::{Page, StoreError};

/// Devices read at once.
const STEP: usize = 500;

impl<E: Kv> Reader<'_, E> {
    pub(super) fn find(&self, find: &Find<'_>) -> Result<Found, StoreError> {
        let mut fitting = Vec::new();
        let mut before = None;
        let hidden: Vec<_> = self
            .products()?
            .into_iter()
            .filter(|p| p.deleting)
            .collect();
        let gateway_of = |id: &DeviceId| self.device(id).ok().flatten().map(|d| d.gateway_id);
        loop {
            let step = self.devices(&Page {
                product_id: None,
                before,
                limit: STEP,
            })?;
            let Some(last) = step.last() else {
                break;
            };
            before = Some(last.seq);
            for device in step {
                let state = self.state(&device.device_id)?;
                let is_hidden = hidden.iter().any(|p| p.product_id == device.product_id);
                if !is_hidden
                    && find
                        .filter
                        .fits(&device, state.as_ref(), find.now, &gateway_of)
                {
                    fitting.push(device);
                }
            }
        }
        let count = u64::try_from(fitting.len()).unwrap_or(u64::MAX);
        if find.order == FindOrder::OldestFirst {
            fitting.reverse();
        }
        let beyond = |seq: u64| match (find.beyond, find.order) {
            (None, _) => true,
            (Some(edge), FindOrder::NewestFirst) => seq < edge,
            (Some(edge), FindOrder::OldestFirst) => seq > edge,
        };
        let devices = fitting.into_iter().filter(|d| beyond(d.seq));
        Ok(Found {
            devices: devices.skip(find.offset).take(find.limit).collect(),
            count,
        })
    }
}
