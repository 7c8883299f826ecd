//! Groups as devices know them: which there are, and how many devices are in each.
//!
//! A device's record names its groups; the counts here are derived from all records, and hold
//! what is about to be written as well, so that two devices can't both take the last place.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{DeviceChangeKind, DeviceDetail, DeviceError, Devices};
use crate::base::ids::DeviceId;
use crate::store::catalog::GroupRecord;

/// Members of every group that there is, by the `seq` of the group.
#[derive(Debug, Default)]
pub struct Members(Mutex<HashMap<u64, u32>>);

/// How full groups may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberLimits {
    pub devices_per_group: u32,
    pub groups_per_device: usize,
}

impl Members {
    fn counts(&self) -> MutexGuard<'_, HashMap<u64, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on devices may be in this group.
    pub fn open(&self, seq: u64) {
        self.counts().entry(seq).or_default();
    }

    /// The group is gone, and whoever still names it is in no group by that.
    pub fn close(&self, seq: u64) {
        self.counts().remove(&seq);
    }

    pub fn is_open(&self, seq: u64) -> bool {
        self.counts().contains_key(&seq)
    }

    /// Devices in the group; `None` when there is no such group.
    pub fn count_of(&self, seq: u64) -> Option<u32> {
        self.counts().get(&seq).copied()
    }

    pub(super) fn count_in(&self, groups: &[u64]) {
        let mut counts = self.counts();
        for seq in groups {
            if let Some(count) = counts.get_mut(seq) {
                *count = count.saturating_add(1);
            }
        }
    }

    pub(super) fn count_out(&self, groups: &[u64]) {
        let mut counts = self.counts();
        for seq in groups {
            if let Some(count) = counts.get_mut(seq) {
                *count = count.saturating_sub(1);
            }
        }
    }

    /// Takes a place, given back with `count_out`.
    fn reserve(&self, seq: u64, max: u32) -> Result<(), DeviceError> {
        match self.counts().get_mut(&seq) {
            Some(count) if *count >= max => Err(DeviceError::invalid(
                "group_id",
                format!("the group has {count} devices already, takes up to {max}"),
            )),
            Some(count) => {
                *count += 1;
                Ok(())
            }
            None => Err(DeviceError::invalid("group_id", "the group is gone")),
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
            this.members.reserve(group.seq, limits.devices_per_group)?;
            let joined = this.write_joined(id, &group, limits).await;
            if !matches!(joined, Ok(true)) {
                this.members.count_out(&[group.seq]);
            }
            joined.map(drop)
        })
        .await
    }

    /// Whether it was not in it before.
    async fn write_joined(
        self: &Arc<Self>,
        id: DeviceId,
        group: &Arc<GroupRecord>,
        limits: MemberLimits,
    ) -> Result<bool, DeviceError> {
        let news = Arc::new(AtomicBool::new(false));
        let (told, this) = (Arc::clone(&news), Arc::clone(self));
        let group = Arc::clone(group);
        self.change(id, (DeviceChangeKind::Updated, false), move |device, _| {
            if device.app_id != group.app_id {
                return Err(DeviceError::invalid(
                    "device_id",
                    format!(
                        "{} belongs to the resource space {}, takes a device of the group's, {}",
                        device.device_id, device.app_id, group.app_id
                    ),
                ));
            }
            let is_in = device.groups.contains(&group.seq);
            told.store(!is_in, Ordering::Relaxed);
            if is_in {
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
        .await?;
        Ok(news.load(Ordering::Relaxed))
    }

    /// Takes a device out of a group; nothing happens when it is not in it. Emits `device:update`.
    pub async fn leave_group(self: &Arc<Self>, id: DeviceId, seq: u64) -> Result<(), DeviceError> {
        let this = Arc::clone(self);
        self.finish("group leave", async move {
            let news = Arc::new(AtomicBool::new(false));
            let told = Arc::clone(&news);
            let change = (DeviceChangeKind::Updated, false);
            this.change(id, change, move |device, _| {
                let before = device.groups.len();
                device.groups.retain(|other| *other != seq);
                told.store(device.groups.len() < before, Ordering::Relaxed);
                Ok(())
            })
            .await?;
            if news.load(Ordering::Relaxed) {
                this.members.count_out(&[seq]);
            }
            Ok(())
        })
        .await
    }
}

impl DeviceDetail {
    /// Whether the device names this group.
    pub fn is_in(&self, group: &GroupRecord) -> bool {
        self.device.groups.contains(&group.seq)
    }
}
