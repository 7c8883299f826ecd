//! Device shadows: what applications desire of devices. What devices report gets there with their reports
//! (`uplink`), and how they get from the one to the other is `command::converge`.
//!
//! A shadow is part of the device's state, so its shard alone changes it: [`Shadows`] gives it the
//! order, [`desire()`] is the step.

mod check;
mod desire;

use super::order::{Beside, Desire, DesiredService, Order, OrderError, Told, Wish};
use super::shards::ShardsLink;
use crate::base::ids::DeviceId;
use crate::store::records::ShadowRecord;

pub use check::{DESIRED_MAX, misfits, oversize};
pub use desire::desire;

/// The shadows of one server.
#[derive(Debug)]
pub struct Shadows {
    shards: ShardsLink,
}

impl Shadows {
    pub const fn new(shards: ShardsLink) -> Self {
        Self { shards }
    }

    /// Merges what is desired into each service's wishes, and gives the whole shadow as it is then.
    /// Names and sizes were checked by the caller. Errors: [`OrderError`], and nothing is changed.
    pub async fn set(
        &self,
        device_id: &DeviceId,
        services: Vec<DesiredService>,
    ) -> Result<Vec<ShadowRecord>, OrderError> {
        self.change(device_id, Wish::Set(services), Beside::default())
            .await
    }

    /// As [`Shadows::set`], committed together with other changes or not at all.
    pub async fn set_beside(
        &self,
        device_id: &DeviceId,
        services: Vec<DesiredService>,
        beside: Beside,
    ) -> Result<Vec<ShadowRecord>, OrderError> {
        self.change(device_id, Wish::Set(services), beside).await
    }

    /// Empties the shadow, what was reported too.
    pub async fn clear(&self, device_id: &DeviceId) -> Result<(), OrderError> {
        let change = self.change(device_id, Wish::Clear, Beside::default());
        change.await.map(drop)
    }

    async fn change(
        &self,
        device_id: &DeviceId,
        what: Wish,
        beside: Beside,
    ) -> Result<Vec<ShadowRecord>, OrderError> {
        let order = Order::Desire(Box::new(Desire { what, beside }));
        match self.shards.order(device_id, order).await? {
            Told::Shadow(shadow) => Ok(shadow),
            Told::Command(_) | Told::Replayed => Err(OrderError::Busy),
        }
    }
}
