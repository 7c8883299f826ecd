//! A device as the v5 API and its events show it.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::DeviceDetail;
use super::status::{self, DeviceStatus};
use crate::base::ids::{AppId, DeviceId, NodeId, ProductId};
use crate::base::time::Timestamp;
use crate::store::records::{AuthRecord, AuthType, TagRecord};

/// `node_type`: a direct device is its own gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum NodeType {
    Endpoint,
    Gateway,
}

/// A device in a list.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DeviceSummary<'a> {
    pub app_id: &'a AppId,
    pub app_name: &'a str,
    pub device_id: &'a DeviceId,
    pub node_id: &'a NodeId,
    pub gateway_id: &'a DeviceId,
    pub device_name: Option<&'a str>,
    pub node_type: NodeType,
    pub description: Option<&'a str>,
    pub fw_version: Option<&'a str>,
    pub sw_version: Option<&'a str>,
    /// Only devices with a vendor's SDK report one: no LwM2M resource carries it.
    pub device_sdk_version: Option<&'a str>,
    pub product_id: &'a ProductId,
    pub product_name: Option<&'a str>,
    pub status: DeviceStatus,
    pub tags: &'a [TagRecord],
}

/// A part of a device with a version of its own.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "Module")]
pub struct ModuleView {
    pub module_name: String,
    pub module_version: String,
}

/// A device by itself, with its secret.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Device")]
pub struct DeviceView<'a> {
    #[serde(flatten)]
    pub summary: DeviceSummary<'a>,
    pub auth_info: AuthView<'a>,
    pub create_time: String,
    pub connection_status_update_time: Option<String>,
    pub active_time: Option<String>,
    /// Only devices with a vendor's SDK report any.
    pub modules: [ModuleView; 0],
    pub extension_info: Option<&'a Value>,
}

/// `auth_info` with its secrets.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AuthInfo")]
pub struct AuthView<'a> {
    pub auth_type: AuthType,
    pub secret: Option<&'a str>,
    pub secondary_secret: Option<&'a str>,
    pub fingerprint: Option<&'a str>,
    /// No device has a second certificate yet; the field is of the v5 API.
    pub secondary_fingerprint: Option<&'a str>,
    pub secure_access: bool,
    pub timeout: u32,
}

/// A device in an event: without secrets.
#[derive(Debug, Serialize)]
pub struct DeviceEvent<'a> {
    #[serde(flatten)]
    pub summary: DeviceSummary<'a>,
    pub create_time: String,
    pub auth_info: AuthEvent,
    pub extension_info: Option<&'a Value>,
}

/// `auth_info` in an event.
#[derive(Debug, Serialize)]
pub struct AuthEvent {
    pub auth_type: AuthType,
    pub secure_access: bool,
    pub timeout: u32,
}

impl<'a> DeviceSummary<'a> {
    pub fn of(detail: &'a DeviceDetail, now: Timestamp) -> Self {
        let DeviceDetail {
            device,
            state,
            product,
            app_name,
        } = detail;
        let state = state.as_ref();
        Self {
            app_id: &device.app_id,
            app_name,
            device_id: &device.device_id,
            node_id: &device.node_id,
            gateway_id: &device.gateway_id,
            device_name: device.device_name.as_deref(),
            node_type: if device.gateway_id == device.device_id {
                NodeType::Gateway
            } else {
                NodeType::Endpoint
            },
            description: device.description.as_deref(),
            fw_version: state.and_then(|s| s.fw_version.as_deref()),
            sw_version: state.and_then(|s| s.sw_version.as_deref()),
            device_sdk_version: None,
            product_id: &device.product_id,
            product_name: product.as_ref().map(|p| p.record.name.as_str()),
            status: DeviceStatus::of(device, state, now),
            tags: &device.tags,
        }
    }
}

impl<'a> DeviceView<'a> {
    pub fn of(detail: &'a DeviceDetail, now: Timestamp) -> Self {
        let state = detail.state.as_ref();
        let since = state.and_then(|s| status::presence_since(s, now));
        Self {
            summary: DeviceSummary::of(detail, now),
            auth_info: AuthView::from(&detail.device.auth),
            create_time: detail.device.created_at.compact(),
            connection_status_update_time: since.map(Timestamp::rfc3339_ms),
            active_time: state
                .and_then(|s| s.activated_at)
                .map(Timestamp::rfc3339_ms),
            modules: [],
            extension_info: detail.device.extension_info.as_ref(),
        }
    }
}

impl<'a> DeviceEvent<'a> {
    pub fn of(detail: &'a DeviceDetail, now: Timestamp) -> Self {
        let auth = &detail.device.auth;
        Self {
            summary: DeviceSummary::of(detail, now),
            create_time: detail.device.created_at.compact(),
            auth_info: AuthEvent {
                auth_type: auth.auth_type,
                secure_access: auth.is_secured(),
                timeout: auth.timeout_s,
            },
            extension_info: detail.device.extension_info.as_ref(),
        }
    }
}

impl<'a> From<&'a AuthRecord> for AuthView<'a> {
    fn from(auth: &'a AuthRecord) -> Self {
        let secret = auth.secret.expose().as_str();
        Self {
            auth_type: auth.auth_type,
            secret: (!secret.is_empty()).then_some(secret),
            secondary_secret: auth.secondary_secret.as_ref().map(|s| s.expose().as_str()),
            fingerprint: auth.fingerprint.as_deref(),
            secondary_fingerprint: None,
            secure_access: auth.is_secured(),
            timeout: auth.timeout_s,
        }
    }
}
