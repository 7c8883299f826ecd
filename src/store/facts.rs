//! What the indexes hold of a device and of its state: the rows of `DeviceRecord` and `StateRecord`, read
//! without what is sealed and what is long. Packed CBOR names fields by place, so a field that nobody
//! asks for still has its place here.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::records::{DeviceRecord, StateRecord, TagRecord};
use crate::base::ids::{AppId, DeviceId, NodeId, ProductId};
use crate::base::time::Timestamp;

/// Of a `DeviceRecord`.
#[derive(Debug, Deserialize)]
pub struct DeviceFacts {
    pub device_id: DeviceId,
    pub seq: u64,
    pub version: u64,
    pub node_id: NodeId,
    pub product_id: ProductId,
    pub app_id: AppId,
    pub device_name: Option<String>,
    #[expect(dead_code, reason = "holds the place of the field")]
    description: IgnoredAny,
    pub gateway_id: DeviceId,
    #[expect(dead_code, reason = "holds the place of the field")]
    auth: IgnoredAny,
    #[expect(dead_code, reason = "holds the place of the field")]
    extension_info: IgnoredAny,
    pub frozen: bool,
    pub created_at: Timestamp,
    #[serde(default)]
    pub tags: Vec<TagRecord>,
    #[serde(default)]
    pub groups: Vec<u64>,
}

impl From<DeviceRecord> for DeviceFacts {
    fn from(record: DeviceRecord) -> Self {
        Self {
            device_id: record.device_id,
            seq: record.seq,
            version: record.version,
            node_id: record.node_id,
            product_id: record.product_id,
            app_id: record.app_id,
            device_name: record.device_name,
            description: IgnoredAny,
            gateway_id: record.gateway_id,
            auth: IgnoredAny,
            extension_info: IgnoredAny,
            frozen: record.frozen,
            created_at: record.created_at,
            tags: record.tags,
            groups: record.groups,
        }
    }
}

/// Of a `StateRecord`.
#[derive(Debug, Deserialize)]
pub struct StateFacts {
    pub version: u64,
    pub activated_at: Option<Timestamp>,
    pub last_seen_at: Option<Timestamp>,
    #[expect(dead_code, reason = "holds the place of the field")]
    presence: IgnoredAny,
    #[expect(dead_code, reason = "holds the place of the field")]
    presence_since: IgnoredAny,
    #[expect(dead_code, reason = "holds the place of the field")]
    registration: IgnoredAny,
    #[expect(dead_code, reason = "holds the place of the field")]
    location: IgnoredAny,
    #[expect(dead_code, reason = "holds the place of the field")]
    observations: IgnoredAny,
    #[expect(dead_code, reason = "holds the place of the field")]
    recent: IgnoredAny,
    #[expect(dead_code, reason = "holds the place of the field")]
    next_msg_id: IgnoredAny,
    #[expect(dead_code, reason = "holds the place of the field")]
    shadow: IgnoredAny,
    pub fw_version: Option<String>,
    pub sw_version: Option<String>,
}

impl StateFacts {
    /// When the device was last heard.
    pub fn last_heard(&self) -> Option<Timestamp> {
        self.last_seen_at.or(self.activated_at)
    }
}

impl From<&StateRecord> for StateFacts {
    fn from(record: &StateRecord) -> Self {
        Self {
            version: record.version,
            activated_at: record.activated_at,
            last_seen_at: record.last_seen_at,
            presence: IgnoredAny,
            presence_since: IgnoredAny,
            registration: IgnoredAny,
            location: IgnoredAny,
            observations: IgnoredAny,
            recent: IgnoredAny,
            next_msg_id: IgnoredAny,
            shadow: IgnoredAny,
            fw_version: record.fw_version.clone(),
            sw_version: record.sw_version.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::records::{PresenceRecord, RecentRecord, ShadowRecord};
    use crate::store::rows;

    /// A field that moved in the record must move here.
    #[test]
    fn facts_are_the_records() {
        let state = StateRecord {
            version: 7,
            activated_at: Some(Timestamp::from_ms(1)),
            presence: PresenceRecord::Online,
            presence_since: Some(Timestamp::from_ms(2)),
            location: Some(3),
            recent: vec![RecentRecord {
                key: 4,
                at: Timestamp::from_ms(5),
            }],
            shadow: vec![ShadowRecord {
                service_id: "S".to_owned(),
                version: 6,
                reported: json!({"a": [1, null]}).as_object().unwrap().clone(),
                reported_at: None,
                desired: serde_json::Map::new(),
                desired_at: None,
            }],
            fw_version: Some("f1".to_owned()),
            sw_version: Some("s2".to_owned()),
            ..StateRecord::default()
        };
        let row = rows::encode(&state).unwrap();
        let read: StateFacts = rows::decode(&row).unwrap();
        assert_eq!(
            format!("{read:?}"),
            format!("{:?}", StateFacts::from(&state))
        );
        assert_eq!(read.last_heard(), state.last_heard());
        assert_eq!(read.sw_version.as_deref(), Some("s2"));
    }
}
