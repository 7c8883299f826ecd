//! On-disk forms, apart from the engine types, so that either can change alone.
//!
//! Written as packed CBOR (`base::cbor`) behind one byte of row format. A new field is appended
//! last, with a default. Anything else is a new row format: a step in `migrate.rs` and an
//! old-format fixture.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::base::ids::{AppId, DeviceId, NodeId, ProductId};
use crate::base::peer::{DeviceSeq, Mark};
use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::product::profile::Profile;
use crate::product::settings::Settings;
use crate::store::commands::QueueRecord;
use crate::store::upgrades::UpgradeRecord;

/// A device as the API created it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceRecord {
    pub device_id: DeviceId,
    /// Ascending order of creation; shown as the paging marker.
    pub seq: u64,
    /// Counts the writes of this record, from 1.
    pub version: u64,
    pub node_id: NodeId,
    pub product_id: ProductId,
    pub app_id: AppId,
    pub device_name: Option<String>,
    pub description: Option<String>,
    pub gateway_id: DeviceId,
    pub auth: AuthRecord,
    pub extension_info: Option<Value>,
    pub frozen: bool,
    pub created_at: Timestamp,
    #[serde(default)]
    pub tags: Vec<TagRecord>,
    /// `seq` of the groups that it is in; some may be gone.
    #[serde(default)]
    pub groups: Vec<u64>,
}

/// A label that an application gave a device: one value for each key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Tag")]
pub struct TagRecord {
    pub tag_key: String,
    pub tag_value: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuthRecord {
    pub auth_type: AuthType,
    pub secret: Secret<String>,
    /// The caller gave the secret: then the device is secured unless `secure_access` says no.
    pub secret_given: bool,
    pub secondary_secret: Option<Secret<String>>,
    pub secure_access: Option<bool>,
    pub fingerprint: Option<String>,
    /// Deleted when not activated within this many seconds of its creation; 0 = never.
    pub timeout_s: u32,
}

impl AuthRecord {
    /// Whether the device must come over DTLS.
    pub fn is_secured(&self) -> bool {
        self.secure_access.unwrap_or(self.secret_given)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AuthType {
    #[serde(rename = "SECRET")]
    Secret,
    #[serde(rename = "CERTIFICATES")]
    Certificates,
}

/// What the device does: written by its shard alone.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StateRecord {
    /// Counts the writes of this record, from 1.
    pub version: u64,
    pub activated_at: Option<Timestamp>,
    /// Newest registration, update or report.
    pub last_seen_at: Option<Timestamp>,
    pub presence: PresenceRecord,
    pub presence_since: Option<Timestamp>,
    pub registration: Option<RegistrationRecord>,
    /// Random, given at the first registration, kept as long as the device: `/rd/<location>`.
    pub location: Option<u64>,
    pub observations: Vec<ObservationRecord>,
    /// Newest confirmable and non-confirmable messages with a durable effect.
    pub recent: Vec<RecentRecord>,
    /// Message ids from here on were never used towards this device: each commit moves it past
    /// those that its effects may use.
    pub next_msg_id: u16,
    pub shadow: Vec<ShadowRecord>,
    pub fw_version: Option<String>,
    pub sw_version: Option<String>,
    /// Newest DTLS record whose effect is in this state.
    #[serde(default)]
    pub received: Option<Mark>,
    /// What goes down to the device.
    #[serde(default)]
    pub queue: QueueRecord,
    /// Its upgrade, the last one if that has ended.
    #[serde(default)]
    pub upgrade: Option<Box<UpgradeRecord>>,
}

impl StateRecord {
    /// When the device was last heard.
    pub fn last_heard(&self) -> Option<Timestamp> {
        self.last_seen_at.or(self.activated_at)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum PresenceRecord {
    #[default]
    Inactive,
    Online,
    Abnormal,
    Offline,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegistrationRecord {
    pub kind: RegistrationKind,
    pub peer: SocketAddr,
    pub registered_at: Timestamp,
    pub updated_at: Timestamp,
    pub lifetime_s: u32,
    /// LwM2M version as the device wrote it; empty for raw CoAP devices.
    pub lwm2m: String,
    pub binding: String,
    pub queue_mode: bool,
    /// The link list as the device sent it (RFC 6690).
    pub links: String,
    /// How the device itself spells its endpoint name.
    pub endpoint: String,
    /// It came over DTLS: it is reached through its session, and `peer` is where it was then.
    #[serde(default)]
    pub secured: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegistrationKind {
    Lwm2m,
    /// `POST /t/r`.
    Raw,
}

/// An observation of ours at the device. The token stays the same for the device's life, so a
/// notification with it is known whenever it comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservationRecord {
    pub token: u64,
    pub status: ObservationStatus,
    /// `/19/0/0`, `/t/d`.
    pub path: String,
    pub asked_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObservationStatus {
    /// The request went out, or could not: asked again when the device is next awake.
    Asked,
    Established,
    /// The device answered an error: asked again after its next registration.
    Refused,
}

/// A message whose effect is durable: recognised when the device repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentRecord {
    /// Hash of the datagram; of the peer's address as well when it tells where the device is.
    pub key: u64,
    pub at: Timestamp,
}

/// One service of the device shadow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShadowRecord {
    pub service_id: String,
    pub version: u64,
    pub reported: Map<String, Value>,
    pub reported_at: Option<Timestamp>,
    pub desired: Map<String, Value>,
    pub desired_at: Option<Timestamp>,
}

/// The DTLS session of a device: one for each, the newest. What a restarted server needs to go on
/// with it. Sealed as a whole (`seal.rs`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionRecord {
    pub device_seq: DeviceSeq,
    pub device_id: DeviceId,
    /// Never given twice.
    pub number: u64,
    /// The connection id that the device writes into its records; `None` when it has none.
    pub own_cid: Option<[u8; 8]>,
    /// The connection id that it wants in ours; empty for none.
    #[serde(with = "serde_bytes")]
    pub peer_cid: Vec<u8>,
    /// Where it was when this was written.
    pub address: SocketAddr,
    /// The device had shown that it was there.
    pub address_proven: bool,
    /// Code of the cipher suite.
    pub suite: u16,
    /// RFC 7366, for the CBC suite.
    pub encrypt_then_mac: bool,
    /// RFC 9853.
    pub return_routability: bool,
    /// The key block (RFC 5246 §6.3), as long as the suite needs.
    pub key_block: Secret<Vec<u8>>,
    /// Of the server's Finished, for a client that repeats its own.
    #[serde(with = "serde_bytes")]
    pub verify_data: Vec<u8>,
    /// Handshake message number of the server's Finished.
    pub finished_seq: u16,
    /// Record sequence numbers below this one may have been used.
    pub send_reserved: u64,
    /// Records at or below this one are not taken; `None`: none was received yet.
    pub received: Option<u64>,
    pub established_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProductRecord {
    pub product_id: ProductId,
    pub seq: u64,
    /// Counts the writes of this record, from 1.
    pub version: u64,
    pub app_id: AppId,
    pub name: String,
    pub device_type: String,
    pub protocol_type: String,
    pub data_format: String,
    pub manufacturer_name: Option<String>,
    pub industry: Option<String>,
    pub description: Option<String>,
    pub profile: Profile,
    pub created_at: Timestamp,
    /// Being deleted with its devices: it is not there any more for anyone.
    #[serde(default)]
    pub deleting: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CodecRecord {
    pub kind: CodecKind,
    #[serde(with = "serde_bytes")]
    pub source: Vec<u8>,
    /// Strong ETag: SHA-256 of the source, hex.
    pub etag: String,
    pub uploaded_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CodecKind {
    Table,
    Script,
    Wasm,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettingsRecord {
    pub settings: Settings,
    pub updated_at: Timestamp,
    /// Counts the writes of this record, from 1; 0 in old ones.
    #[serde(default)]
    pub version: u64,
}

/// What one uplink reported: `services` is JSON as it was pushed,
/// `[{"service_id", "properties", "event_time"}]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryRecord {
    pub received_at: Timestamp,
    pub services: String,
}

/// An uplink that could not be decoded, with the reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RawRecord {
    pub received_at: Timestamp,
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
    /// Stable word of the error.
    pub kind: String,
    pub reason: String,
}

/// What one commit tells subscribers: one or more envelopes, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventRecord {
    pub at: Timestamp,
    pub envelopes: Vec<EnvelopeRecord>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnvelopeRecord {
    /// `device.property`
    pub resource: String,
    /// `report`
    pub event: String,
    pub device_id: Option<DeviceId>,
    /// The envelope as it is pushed.
    pub json: String,
    /// Whose it is; `None`: written before events told.
    #[serde(default)]
    pub app_id: Option<AppId>,
}
