//! Tags of a device: one value for each key, a bounded number of them.

use std::sync::Arc;

use super::{DeviceChangeKind, DeviceError, Devices};
use crate::base::ids::DeviceId;
use crate::store::records::TagRecord;

/// Tags of one device (v5 API, "Tag Management").
pub const TAGS_MAX: usize = 10;

impl Devices {
    /// Gives a device these tags; those with a key that it has replace it. Emits `device:update`
    /// when that is news. The keys are different, as the caller checked.
    pub async fn tag(
        self: &Arc<Self>,
        id: DeviceId,
        tags: Vec<TagRecord>,
    ) -> Result<(), DeviceError> {
        self.change(id, (DeviceChangeKind::Updated, false), move |device, _| {
            for tag in &tags {
                let same = |other: &&mut TagRecord| other.tag_key == tag.tag_key;
                match device.tags.iter_mut().find(same) {
                    Some(known) => known.tag_value.clone_from(&tag.tag_value),
                    None => device.tags.push(tag.clone()),
                }
            }
            match device.tags.len() {
                len if len > TAGS_MAX => Err(DeviceError::invalid(
                    "tags",
                    format!("the device would have {len} tags, takes up to {TAGS_MAX}"),
                )),
                _ => Ok(()),
            }
        })
        .await
        .map(drop)
    }

    /// Takes tags with these keys away; those that it has not are no matter. Emits
    /// `device:update` when that is news.
    pub async fn untag(
        self: &Arc<Self>,
        id: DeviceId,
        keys: Vec<String>,
    ) -> Result<(), DeviceError> {
        self.change(id, (DeviceChangeKind::Updated, false), move |device, _| {
            device.tags.retain(|tag| !keys.contains(&tag.tag_key));
            Ok(())
        })
        .await
        .map(drop)
    }
}
