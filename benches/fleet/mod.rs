//! Devices as benches put them into a store.

use strait::base::ids::{AppId, DeviceId, NodeId, ProductId};
use strait::base::secret::Secret;
use strait::base::time::Timestamp;
use strait::store::records::{AuthRecord, AuthType, DeviceRecord};

/// A device with a secret and nothing that may be missing.
pub(crate) fn device(device_id: &DeviceId, product: &str, node: &str, seq: u64) -> DeviceRecord {
    DeviceRecord {
        device_id: device_id.clone(),
        seq,
        version: 1,
        node_id: NodeId::parse(node).unwrap(),
        product_id: ProductId::parse(product).unwrap(),
        app_id: AppId::parse("default").unwrap(),
        device_name: None,
        description: None,
        gateway_id: device_id.clone(),
        auth: AuthRecord {
            auth_type: AuthType::Secret,
            secret: Secret::new("00112233445566778899aabbccddeeff".to_owned()),
            secret_given: false,
            secondary_secret: None,
            secure_access: Some(false),
            fingerprint: None,
            timeout_s: 0,
        },
        extension_info: None,
        frozen: false,
        created_at: Timestamp::from_ms(1_700_000_000_000),
        tags: Vec::new(),
        groups: Vec::new(),
    }
}
