//! What happened with one device, message by message, for whoever asks why it is silent.
//!
//! A few devices at a time are traced in depth, each in a bounded ring: the oldest entry goes when
//! it is full. Traces are in memory alone: none survives a restart. Uplinks that no codec could read are in
//! the store anyway and show without that. While no device is traced, asking costs one atomic load.
//!
//! | kind | tells of |
//! |---|---|
//! | `register`, `update`, `deregister` | registrations, those that were refused too |
//! | `observe` | observations: asked for, established, refused |
//! | `uplink`, `undecoded` | bytes and what they say; bytes that no codec reads, or the model does not take |
//! | `command` | steps of commands, property sets and answers of the codec, with the bytes that go down |
//! | `answer` | what the codec answers in the response to a report |
//! | `downlink` | what devices say to what was sent to them |
//! | `shadow` | what is desired of the device |
//! | `change` | the API changed the device |
//! | `dtls` | handshakes and ends of sessions |
//! | `push` | what subscribers were told |
//! | `timer` | what came due |
//!
//! Every entry with an `error` has a `hint`: what its reader may do about it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::base::ids::DeviceId;
use crate::base::time::Timestamp;
use crate::store::records::RawRecord;

/// Entries kept per traced device.
pub const RING_MAX: usize = 1000;

/// Devices traced at the same time, unless set otherwise.
pub const DEVICES_MAX: usize = 10;

/// Bytes of a payload shown in one entry; longer ones are cut.
const HEX_BYTES_MAX: usize = 2048;

/// All kinds of entries.
pub const KINDS: [&str; 15] = [
    "register",
    "update",
    "deregister",
    "observe",
    "uplink",
    "undecoded",
    "command",
    "answer",
    "downlink",
    "shadow",
    "change",
    "dtls",
    "push",
    "timer",
    "limit",
];

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct TraceEntry {
    #[serde(serialize_with = "as_rfc3339")]
    #[schemars(with = "String")]
    pub time: Timestamp,
    /// Stable word, one of [`KINDS`].
    pub kind: &'static str,
    pub direction: Direction,
    /// One line for people.
    pub summary: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What the reader may do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// It tells of what belongs to all spaces: not for callers who are bound to one.
    #[serde(skip)]
    #[schemars(skip)]
    pub unbound_only: bool,
}

impl TraceEntry {
    pub fn new(
        time: Timestamp,
        kind: &'static str,
        direction: Direction,
        summary: impl Into<String>,
    ) -> Self {
        Self {
            time,
            kind,
            direction,
            summary: summary.into(),
            hex: None,
            detail: None,
            error: None,
            hint: None,
            unbound_only: false,
        }
    }

    /// The same with what went wrong, and what to do about it.
    #[must_use]
    pub fn failed(self, error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            error: Some(error.into()),
            hint: Some(hint.into()),
            ..self
        }
    }
}

/// Which way it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the device.
    Up,
    /// To the device.
    Down,
    /// Inside the platform.
    Platform,
}

fn as_rfc3339<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.rfc3339_ms())
}

/// Why tracing can't be switched on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    #[error("{max} devices are traced already, stop one first: {devices}")]
    TooMany { max: usize, devices: String },
}

impl TraceError {
    /// Stable word for logs and metrics; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::TooMany { .. } => "too_many",
        }
    }
}

/// Keeps the traces.
pub struct Tracer {
    max_devices: usize,
    /// Devices with a trace, so that the common case takes no lock.
    traced: AtomicUsize,
    rings: Mutex<HashMap<DeviceId, Ring>>,
}

/// One device's trace.
#[derive(Debug, Default)]
struct Ring {
    /// When it ends by itself. Its entries stay until it is stopped, or until its place is needed.
    until: Option<Timestamp>,
    entries: VecDeque<TraceEntry>,
}

impl Ring {
    fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|at| at <= now)
    }
}

/// Which entries are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filter {
    pub kind: Option<&'static str>,
    /// Those alone that tell of something that went wrong.
    pub errors: bool,
    /// Inclusive.
    pub from: Option<Timestamp>,
    /// Exclusive.
    pub to: Option<Timestamp>,
}

impl Filter {
    fn takes(&self, entry: &TraceEntry) -> bool {
        self.kind.is_none_or(|kind| kind == entry.kind)
            && (!self.errors || entry.error.is_some())
            && self.from.is_none_or(|from| from <= entry.time)
            && self.to.is_none_or(|to| entry.time < to)
    }
}

impl Default for Tracer {
    fn default() -> Self {
        Self::new(DEVICES_MAX)
    }
}

impl Tracer {
    pub fn new(max_devices: usize) -> Self {
        Self {
            max_devices,
            traced: AtomicUsize::new(0),
            rings: Mutex::default(),
        }
    }

    /// Whether no device is traced at all.
    pub fn is_idle(&self) -> bool {
        self.traced.load(Ordering::Relaxed) == 0
    }

    /// Whether this device has a trace: ask before building an entry.
    pub fn is_on(&self, device_id: &DeviceId) -> bool {
        !self.is_idle() && self.rings().contains_key(device_id)
    }

    /// Until when the device is traced, `None` within: until it is stopped; `None`: it is not.
    pub fn running(&self, device_id: &DeviceId, now: Timestamp) -> Option<Option<Timestamp>> {
        let rings = self.rings();
        let ring = rings.get(device_id).filter(|ring| !ring.is_over(now))?;
        Some(ring.until)
    }

    /// Starts tracing, until a time or until it is stopped; one that runs goes on till then. Traces that
    /// ended by themselves make room, the one that ended first before others.
    pub fn start(
        &self,
        device_id: &DeviceId,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), TraceError> {
        let mut rings = self.rings();
        if !rings.contains_key(device_id) && rings.len() >= self.max_devices {
            let over = rings.iter().filter(|(_, ring)| ring.is_over(now));
            let first = over.min_by_key(|(_, ring)| ring.until);
            let Some(first) = first.map(|(id, _)| id.clone()) else {
                let mut names: Vec<&str> = rings.keys().map(DeviceId::as_str).collect();
                names.sort_unstable();
                return Err(TraceError::TooMany {
                    max: self.max_devices,
                    devices: names.join(", "),
                });
            };
            rings.remove(&first);
        }
        rings.entry(device_id.clone()).or_default().until = until;
        self.traced.store(rings.len(), Ordering::Relaxed);
        Ok(())
    }

    /// Stops tracing and forgets what was kept.
    pub fn stop(&self, device_id: &DeviceId) {
        let mut rings = self.rings();
        rings.remove(device_id);
        self.traced.store(rings.len(), Ordering::Relaxed);
    }

    /// Keeps the entry when the device is traced.
    pub fn record(&self, device_id: &DeviceId, entry: TraceEntry) {
        if self.is_idle() {
            return;
        }
        let mut rings = self.rings();
        let ring = rings.get_mut(device_id);
        if let Some(ring) = ring.filter(|ring| !ring.is_over(entry.time)) {
            if ring.entries.len() >= RING_MAX {
                ring.entries.pop_front();
            }
            ring.entries.push_back(entry);
        }
    }

    /// What was traced, newest first, merged with the uplinks that no codec could read.
    pub fn entries(
        &self,
        device_id: &DeviceId,
        undecoded: &[RawRecord],
        filter: Filter,
        limit: usize,
    ) -> Vec<TraceEntry> {
        let mut entries: Vec<TraceEntry> = self
            .rings()
            .get(device_id)
            .map(|ring| ring.entries.iter().rev().cloned().collect())
            .unwrap_or_default();
        for raw in undecoded {
            let kept = from_raw(raw);
            // In depth, the same uplink was traced when it came.
            let same =
                |e: &TraceEntry| e.time == kept.time && e.hex == kept.hex && e.error.is_some();
            if !entries.iter().any(same) {
                entries.push(kept);
            }
        }
        entries.retain(|entry| filter.takes(entry));
        // Stable: entries of one millisecond keep their order.
        entries.sort_by_key(|e| std::cmp::Reverse(e.time));
        entries.truncate(limit);
        entries
    }

    fn rings(&self) -> MutexGuard<'_, HashMap<DeviceId, Ring>> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lower-case hex of a payload for an entry, cut when it is long.
pub fn hex_of(payload: &[u8]) -> String {
    let shown = payload.iter().take(HEX_BYTES_MAX);
    let mut hex: String = shown.map(|byte| format!("{byte:02x}")).collect();
    if payload.len() > HEX_BYTES_MAX {
        hex.push('…');
    }
    hex
}

fn from_raw(raw: &RawRecord) -> TraceEntry {
    let len = raw.payload.len();
    TraceEntry {
        time: raw.received_at,
        kind: "undecoded",
        direction: Direction::Up,
        summary: match raw.kind.as_str() {
            "model" => format!("{len} bytes with values outside the model: the rest counts"),
            _ => format!("{len} bytes could not be decoded, kept raw"),
        },
        hex: Some(hex_of(&raw.payload)),
        detail: None,
        error: Some(format!("{}: {}", raw.kind, raw.reason)),
        hint: Some(hint_for(&raw.kind).to_owned()),
        unbound_only: false,
    }
}

/// What to do about an uplink that could not be decoded, by the error's stable word.
pub fn hint_for(kind: &str) -> &'static str {
    match kind {
        "model" => "correct the codec, or the range and type in the product model",
        "json" => {
            "the product takes {\"services\": [{\"service_id\", \"properties\", \"event_time\"}]}"
        }
        "no_product" => "the product was deleted: create it again",
        "no_codec" => "upload a codec: PUT /v1/products/{product_id}/codec",
        "truncated" => {
            "the message is shorter than the codec says: compare the lengths, or make the last \
             fields optional"
        }
        "trailing" => "the message is longer than the codec says: are fields missing from it?",
        "unknown_message" => {
            "no message of the codec has this id: add it, or check where the id is"
        }
        "checksum" => {
            "the bytes were damaged on the way, or the codec names another checksum, place or \
             byte order"
        }
        "field" => "a value does not fit its field: try the bytes with codec/decode",
        "script" => {
            "the script threw, or gave what no contract knows: try the bytes with codec/decode"
        }
        "refused" => "the codec itself says why it takes none of these bytes",
        "trap" => "the codec's code failed, as a panic does: try the bytes with codec/decode",
        "limit" => "the codec needs too much time or memory for these bytes: make it end sooner",
        "unavailable" => {
            "see GET /v1/products/{product_id}/codec/status; the uplink is kept, and can be decoded later"
        }
        "output" => "the codec makes too much of these bytes: bound its repeats",
        _ => "try the bytes with POST /v1/products/{product_id}/codec/decode",
    }
}

#[cfg(test)]
mod tests;
