//! What an operator sets per product under `/v1/products/{product_id}/settings`. Every field is
//! optional in the body; an absent one takes its default.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A product's settings.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "ProductSettings")]
pub struct Settings {
    /// How encoded commands reach `/19/1/0`.
    pub downlink: Downlink,
    /// The service that a TS013 script's data becomes.
    pub ts013_service: Option<String>,
    pub coap: CoapTiming,
    /// How a device's secret is read as a DTLS pre-shared key.
    pub psk: Psk,
    pub codec: CodecSettings,
    pub command: CommandSettings,
    pub upgrade: UpgradeSettings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Downlink {
    #[default]
    Write,
    Execute,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Psk {
    #[default]
    Hex,
    Text,
}

/// CoAP transmission parameters (RFC 7252 §4.8) towards this product's devices.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CoapTiming {
    /// Seconds until the first retransmission, before the random factor of 1.5. 1 to 120.
    pub ack_timeout_s: f64,
    /// Retransmissions after the first datagram. 0 to 10.
    pub max_retransmit: u32,
    /// Seconds in which a message id is recognised as a duplicate. 1 to 3600.
    pub exchange_lifetime_s: f64,
}

/// NB-IoT round trips take many seconds: 15 s and two retransmissions end within a command's 180 s.
impl Default for CoapTiming {
    fn default() -> Self {
        Self {
            ack_timeout_s: 15.0,
            max_retransmit: 2,
            exchange_lifetime_s: 282.5,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CodecSettings {
    /// The operator vouches for the script: it may run inside the server's process.
    pub trusted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CommandSettings {
    /// Seconds to wait for the answer of a delivered command.
    pub response_timeout_s: u32,
    /// Seconds for which a sleeping device (queue mode, PSM) listens after its last message. 1 to 86400.
    #[serde(default = "awake_s")]
    pub awake_s: u32,
}

/// Shorter than the 93 s of LwM2M 1.0 §8.3: with PSM it is the network's active timer that counts, and
/// what is sent to a device that sleeps already is lost. One that listens for longer only gets the
/// next command later.
const fn awake_s() -> u32 {
    30
}

impl Default for CommandSettings {
    fn default() -> Self {
        Self {
            response_timeout_s: 180,
            awake_s: awake_s(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpgradeSettings {
    pub software: Option<SoftwareProtocol>,
    pub firmware: Option<FirmwareProtocol>,
}

impl Default for UpgradeSettings {
    fn default() -> Self {
        Self {
            software: Some(SoftwareProtocol::Pcp),
            firmware: Some(FirmwareProtocol::Lwm2m),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SoftwareProtocol {
    #[serde(rename = "PCP")]
    Pcp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FirmwareProtocol {
    #[serde(rename = "LWM2M")]
    Lwm2m,
}
