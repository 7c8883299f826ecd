//! Bodies of `…/devices`: `AddDevice`, `UpdateDevice` and `ResetDeviceSecret` of the v5 API.

use serde_json::Value;

use super::input::{Alphabet, Fields, TextRule};
use super::shadow;
use crate::app::device::{Desired, DevicePatch, NewAuth, NewDevice, SecretKind};
use crate::base::ids::{AppId, DeviceId, NodeId, ProductId};
use crate::base::secret::Secret;
use crate::store::records::AuthType;

const SECRET: TextRule = TextRule::new(Alphabet::Id, 8, 32);
const AUTH_TYPES: [(&str, AuthType); 2] = [
    ("SECRET", AuthType::Secret),
    ("CERTIFICATES", AuthType::Certificates),
];
const SECRET_KINDS: [(&str, SecretKind); 2] = [
    ("PRIMARY", SecretKind::Primary),
    ("SECONDARY", SecretKind::Secondary),
];

/// Bytes of JSON in `extension_info`.
const OBJECT_MAX: usize = 16 * 1024;
/// Seconds in `timeout`.
const TIMEOUT_MAX: u32 = 2_147_483_647;

/// `AddDevice`.
pub fn new_device(fields: &Fields<'_>) -> Option<NewDevice> {
    let node_id = fields.needed_id("node_id", NodeId::parse);
    let product_id = fields.needed_id("product_id", ProductId::parse);
    let device_id = fields.id("device_id", DeviceId::parse);
    let device_name = fields.text("device_name", TextRule::note(256));
    let auth = fields.object("auth_info").map(|f| new_auth(&f));
    let description = fields.text("description", TextRule::note(2048));
    let gateway_id = fields.id("gateway_id", DeviceId::parse);
    let app_id = fields.id("app_id", AppId::parse);
    let extension_info = fields.map("extension_info", OBJECT_MAX);
    let services = fields.objects("shadow", 0..=shadow::SERVICES_MAX);
    let services = services.unwrap_or_default();
    Some(NewDevice {
        desired: services.iter().map(desired).collect(),
        node_id: node_id?,
        product_id: product_id?,
        auth: auth.unwrap_or_default(),
        extension_info: extension_info.map(Value::Object),
        device_id,
        device_name,
        description,
        gateway_id,
        app_id,
    })
}

fn new_auth(fields: &Fields<'_>) -> NewAuth {
    NewAuth {
        auth_type: fields.one_of("auth_type", &AUTH_TYPES),
        secret: fields.text("secret", SECRET).map(Secret::new),
        fingerprint: fields.text("fingerprint", TextRule::digest()),
        secure_access: fields.boolean("secure_access"),
        timeout_s: fields.integer("timeout", 0..=TIMEOUT_MAX).unwrap_or(0),
    }
}

fn desired(fields: &Fields<'_>) -> Desired {
    Desired {
        service_id: fields.needed_text("service_id", TextRule::name(32)),
        properties: shadow::desired(fields),
    }
}

/// `UpdateDevice`: absent and null leave a field as it is.
pub fn device_patch(fields: &Fields<'_>) -> Option<DevicePatch> {
    let auth = fields.object("auth_info");
    Some(DevicePatch {
        device_name: fields.text("device_name", TextRule::note(256)),
        description: fields.text("description", TextRule::note(2048)),
        extension_info: fields.map("extension_info", OBJECT_MAX).map(Value::Object),
        secure_access: auth.as_ref().and_then(|f| f.boolean("secure_access")),
        timeout_s: auth
            .as_ref()
            .and_then(|f| f.integer("timeout", 0..=TIMEOUT_MAX)),
    })
}

/// `ResetDeviceSecret`.
pub struct SecretReset {
    pub secret: Option<Secret<String>>,
    pub kind: SecretKind,
    /// The DTLS session ends.
    pub disconnect: bool,
}

/// Reads a `ResetDeviceSecret`.
pub fn secret_reset(fields: &Fields<'_>) -> Option<SecretReset> {
    Some(SecretReset {
        secret: fields.text("secret", SECRET).map(Secret::new),
        kind: fields
            .one_of("secret_type", &SECRET_KINDS)
            .unwrap_or_default(),
        disconnect: fields.boolean("force_disconnect").unwrap_or(false),
    })
}
