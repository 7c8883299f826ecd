//! What a device reports: properties of services, as codecs give them and the check takes them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::base::time::Timestamp;

/// Properties that the device reports.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Report {
    pub services: Vec<ServiceReport>,
    /// More uplink follows at once: queued commands wait.
    pub has_more: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceReport {
    pub service_id: String,
    pub properties: Map<String, Value>,
    /// The device's own time of the values, when it sent one.
    pub event_time: Option<Timestamp>,
}
