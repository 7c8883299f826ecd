//! Groups as devices know them: which there are, and how many devices are in each.
//!
//! A device's record names its groups, and the store counts them. Here is only what is about to be
//! written, so that two devices can't both take the last place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{DeviceChangeKind, DeviceDetail, DeviceError, Devices, alone};
use crate::base::ids::DeviceId;
use crate::store::StoreError;
use crate::store::catalog::GroupRecord;
use crate::store::find::{Filter, Find, FindOrder};

/// Tries to take a place while others are taking theirs.
const PLACE_TRIES: usize = 100;

/// Every group that there is, by its `seq`, with the number of devices that are about to join it.
#[derive(Debug, Default)]
pub struct Members(Mutex<HashMap<u64, u64>>);

/// How full groups may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberLimits {
    pub devices_per_group: u32,
    pub groups_per_device: usize,
}

impl Members {
    fn joining(&self) -> MutexGuard<'_, HashMap<u64, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on devices may be in this group.
    pub fn open(&self, seq: u64) {
        self.joining().entry(seq).or_default();
    }

    /// The group is gone, and whoever still names it is in no group by that.
    pub fn close(&self, seq: u64) {
        self.joining().remove(&seq);
    }

    pub fn is_open(&self, seq: u64) -> bool {
        self.joining().contains_key(&seq)
    }

    /// Begins to join. Returns how many are joining now, this one included; `None`: there is no such
    /// group.
    fn begin(&self, seq: u64) -> Option<u64> {
        let mut joining = self.joining();
        let count = joining.get_mut(&seq)?;
        *count = count.saturating_add(1);
        Some(*count)
    }

    /// Joined, or not.
    fn end(&self, seq: u64) {
        if let Some(count) = self.joining().get_mut(&seq) {
            *count = count.saturating_sub(1);
        }
    }
}

impl Devices {
    /// Puts a device into a group; nothing happens when it is in it. Emits `device:update`.
    pub async fn join_group(
        self: &Arc<Self>,
        id: DeviceId,
        group: Arc<GroupRecord>,
        limits: MemberLimits,
    ) -> Result<(), DeviceError> {
        let this = Arc::clone(self);
        // The whole of it runs to its end, so that no place stays taken by nobody.
        self.finish("group join", async move {
            let detail = this.show(&id)?;
            if detail.device.groups.contains(&group.seq) {
                return Ok(());
            }
            this.take_place(group.seq, limits.devices_per_group).await?;
            let joined = this.write_joined(id, &group, limits).await;
            this.members.end(group.seq);
            joined
        })
        .await
    }

    /// Devices in the group.
    pub fn count_members(&self, seq: u64) -> Result<u64, StoreError> {
        let found = self.parts.store.find(&Find {
            filter: &Filter::Group(seq),
            now: self.parts.clock.now(),
            order: FindOrder::NewestFirst,
            offset: 0,
            limit: 0,
            beyond: None,
        })?;
        Ok(found.count)
    }

    /// Takes a place in a group, given back with [`Members::end`]. One that has just joined may be
    /// counted twice, as joining and as in it: then a full group is looked at again.
    async fn take_place(&self, seq: u64, max: u32) -> Result<(), DeviceError> {
        let mut tries = PLACE_TRIES;
        loop {
            let Some(joining) = self.members.begin(seq) else {
                return Err(DeviceError::invalid("group_id", "the group is gone"));
            };
            // Counted after this one began to join, so nobody who joins meanwhile is missed.
            let count = self
                .count_members(seq)
                .inspect_err(|_| self.members.end(seq))?;
            if count.saturating_add(joining) <= u64::from(max) {
                return Ok(());
            }
            self.members.end(seq);
            tries -= 1;
            if count >= u64::from(max) || tries == 0 {
                let problem = format!("the group has {count} devices already, takes up to {max}");
                return Err(DeviceError::invalid("group_id", problem));
            }
            tokio::task::yield_now().await;
        }
    }

    async fn write_joined(
        self: &Arc<Self>,
        id: DeviceId,
        group: &Arc<GroupRecord>,
        limits: MemberLimits,
    ) -> Result<(), DeviceError> {
        let this = Arc::clone(self);
        let group = Arc::clone(group);
        self.change(id, (DeviceChangeKind::Updated, false, alone()), move |device, _| {
            if device.app_id != group.app_id {
                return Err(DeviceError::invalid(
                    "device_id",
                    format!(
                        "{} belongs to the resource space {}, takes a device of the group's, {}",
                        device.device_id, device.app_id, group.app_id
                    ),
                ));
            }
            if device.groups.contains(&group.seq) {
                return Ok(());
            }
            let others = device.groups.iter();
            let count = others.filter(|seq| this.members.is_open(**seq)).count();
            if count >= limits.groups_per_device {
                let max = limits.groups_per_device;
                let problem = format!("is in {count} groups already, takes up to {max}");
                return Err(DeviceError::invalid("device_id", problem));
            }
            device.groups.push(group.seq);
            Ok(())
        })
        .await
        .map(drop)
    }

    /// Takes a device out of a group; nothing happens when it is not in it. Emits `device:update`.
    pub async fn leave_group(self: &Arc<Self>, id: DeviceId, seq: u64) -> Result<(), DeviceError> {
        let change = (DeviceChangeKind::Updated, false, alone());
        self.change(id, change, move |device, _| {
            device.groups.retain(|other| *other != seq);
            Ok(())
        })
        .await
        .map(drop)
    }
}

impl DeviceDetail {
    /// Whether the device names this group.
    pub fn is_in(&self, group: &GroupRecord) -> bool {
        self.device.groups.contains(&group.seq)
    }
}
