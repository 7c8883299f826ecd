//! What a step reads, and numbers that no device uses.

use std::sync::Arc;

use super::Shard;
use crate::app::command;
use crate::app::order::Order;
use crate::app::random::os_random;
use crate::app::registration::Fresh;
use crate::app::step::{Input, Loaded};
use crate::app::upgrade::{Package, UpgradeOrder};
use crate::base::ids::DeviceId;
use crate::base::time::Timestamp;
use crate::store::StoreError;
use crate::store::records::StateRecord;

impl Shard {
    pub(super) fn load(
        &self,
        device_id: &DeviceId,
        input: &Input,
        now: Timestamp,
    ) -> Result<Option<Loaded>, StoreError> {
        let Some(device) = self.parts.store.device(device_id)? else {
            return Ok(None);
        };
        // With its product, a device is gone from the moment when the deletion of that begins.
        let Some(product) = self.parts.products.runtime(&device.product_id) else {
            return Ok(None);
        };
        let mut state = self.parts.store.state(device_id)?.unwrap_or_default();
        if state.activated_at.is_none() && state.next_msg_id == 0 {
            // Message ids begin anywhere (RFC 7252 §4.4).
            let [low, high, ..] = os_random().to_be_bytes();
            state.next_msg_id = u16::from_be_bytes([low, high]);
        }
        let is_others = |address| {
            let owner = self.parts.directory.by_address(address);
            owner.is_some_and(|owner| owner != *device_id)
        };
        let registration = state.registration.as_ref().filter(|r| !r.secured);
        let is_displaced = registration.is_some_and(|r| is_others(r.peer));
        let mut ids_reserved = 0;
        match self.live.get(device_id) {
            Some(live) if live.state.version == state.version => {
                state = live.state.clone();
                ids_reserved = live.ids;
            }
            Some(_) | None => recover(&mut state, self.started_at),
        }
        let store = self.parts.store.as_ref();
        let package = self.package(&state, input);
        Ok(Some(Loaded {
            ids_reserved,
            is_displaced,
            commands: command::load::rows(store, device.seq, &state.queue, input, now)?,
            submitted: command::load::submitted(store, device.seq, input)?,
            pending_max: self.parts.pending_max,
            device,
            state,
            product: Some(product),
            levels: self.parts.levels,
            package,
            memo: None,
            origin: None,
            is_traced: self.parts.tracer.is_on(device_id),
            started_at: self.started_at,
            random: os_random,
        }))
    }

    /// The package of the device's upgrade, or of the one that begins.
    fn package(&self, state: &StateRecord, input: &Input) -> Option<Arc<Package>> {
        if let Input::Order {
            order: Order::Upgrade(UpgradeOrder::Begin(begin)),
            ..
        } = input
        {
            return Some(Arc::clone(&begin.package));
        }
        let upgrade = state.upgrade.as_ref()?;
        self.parts.upgrades.find(&upgrade.package_id)
    }

    /// Numbers from the operating system that no device uses.
    pub(super) fn fresh(&self) -> Fresh {
        let directory = &self.parts.directory;
        let pick = |is_taken: &dyn Fn(u64) -> bool| loop {
            let number = os_random();
            if !is_taken(number) {
                return number;
            }
        };
        Fresh {
            location: pick(&|number| directory.is_location_taken(number)),
            token: pick(&|number| directory.is_token_taken(number)),
        }
    }
}

/// A state of a former process: what it has told the device of its upgrade may never have arrived.
fn recover(state: &mut StateRecord, started_at: Timestamp) {
    if let Some(record) = state.upgrade.as_mut().filter(|u| u.at < started_at) {
        let mut upgrade = record.engine();
        upgrade.recover();
        record.note(&upgrade);
        record.answering = None;
    }
}
