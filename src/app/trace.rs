//! What happened with one device, message by message, for whoever asks why it is silent.
//!
//! A few devices at a time are traced in depth, each in a bounded ring: the oldest entry goes when
//! it is full. Uplinks that no codec could read are in the store anyway and show without that.
//! While no device is traced, asking costs one atomic load.

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

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct TraceEntry {
    #[serde(serialize_with = "as_rfc3339")]
    #[schemars(with = "String")]
    pub time: Timestamp,
    /// Stable word: `register`, `uplink`, `downlink`, `undecoded`, …
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
    /// Devices traced, so that the common case takes no lock.
    traced: AtomicUsize,
    rings: Mutex<HashMap<DeviceId, VecDeque<TraceEntry>>>,
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

    /// Whether this device is traced in depth: ask before building an entry.
    pub fn is_on(&self, device_id: &DeviceId) -> bool {
        self.traced.load(Ordering::Relaxed) > 0 && self.rings().contains_key(device_id)
    }

    /// Starts tracing; going on when it already runs.
    pub fn start(&self, device_id: &DeviceId) -> Result<(), TraceError> {
        let mut rings = self.rings();
        if !rings.contains_key(device_id) && rings.len() >= self.max_devices {
            let mut names: Vec<&str> = rings.keys().map(DeviceId::as_str).collect();
            names.sort_unstable();
            return Err(TraceError::TooMany {
                max: self.max_devices,
                devices: names.join(", "),
            });
        }
        rings.entry(device_id.clone()).or_default();
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
        if self.traced.load(Ordering::Relaxed) == 0 {
            return;
        }
        if let Some(ring) = self.rings().get_mut(device_id) {
            if ring.len() >= RING_MAX {
                ring.pop_front();
            }
            ring.push_back(entry);
        }
    }

    /// What was traced, newest first, merged with the uplinks that no codec could read.
    pub fn entries(
        &self,
        device_id: &DeviceId,
        undecoded: &[RawRecord],
        limit: usize,
    ) -> Vec<TraceEntry> {
        let mut entries: Vec<TraceEntry> = self
            .rings()
            .get(device_id)
            .map(|ring| ring.iter().rev().cloned().collect())
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
        // Stable: entries of one millisecond keep their order.
        entries.sort_by_key(|e| std::cmp::Reverse(e.time));
        entries.truncate(limit);
        entries
    }

    fn rings(&self) -> MutexGuard<'_, HashMap<DeviceId, VecDeque<TraceEntry>>> {
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
        "output" => "the codec makes too much of these bytes: bound its repeats",
        _ => "try the bytes with POST /v1/products/{product_id}/codec/decode",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> DeviceId {
        DeviceId::parse(text).unwrap()
    }

    fn entry(ms: u64) -> TraceEntry {
        TraceEntry {
            time: Timestamp::from_ms(ms),
            kind: "uplink",
            direction: Direction::Up,
            summary: format!("at {ms}"),
            hex: None,
            detail: None,
            error: None,
            hint: None,
        }
    }

    #[test]
    fn keeps_the_newest_of_the_traced_alone() {
        let tracer = Tracer::new(2);
        tracer.record(&id("a"), entry(0));
        tracer.start(&id("a")).unwrap();
        tracer.start(&id("b")).unwrap();
        assert!(tracer.is_on(&id("a")) && !tracer.is_on(&id("c")));
        let error = tracer.start(&id("c")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "2 devices are traced already, stop one first: a, b"
        );
        for ms in 1..=RING_MAX as u64 + 5 {
            tracer.record(&id("a"), entry(ms));
        }
        let kept = tracer.entries(&id("a"), &[], usize::MAX);
        assert_eq!(kept.len(), RING_MAX);
        assert_eq!(kept[0].time.as_ms(), RING_MAX as u64 + 5);
        assert_eq!(kept[RING_MAX - 1].time.as_ms(), 6);
        tracer.stop(&id("a"));
        tracer.start(&id("c")).unwrap();
        assert_eq!(tracer.entries(&id("a"), &[], 10), vec![]);
    }

    #[test]
    fn undecodable_uplinks_show_without_tracing_and_once() {
        let tracer = Tracer::default();
        let raw = RawRecord {
            received_at: Timestamp::from_ms(5),
            payload: vec![1, 0xff],
            kind: "truncated".into(),
            reason: "level needs 2 bytes at offset 1, 1 are left".into(),
        };
        let shown = tracer.entries(&id("a"), std::slice::from_ref(&raw), 10);
        assert_eq!(shown.len(), 1);
        assert_eq!(shown[0].hex.as_deref(), Some("01ff"));
        assert!(shown[0].hint.as_deref().unwrap().contains("shorter"));

        tracer.start(&id("a")).unwrap();
        tracer.record(&id("a"), entry(6));
        let traced = TraceEntry {
            hex: Some("01ff".into()),
            error: Some("truncated".into()),
            ..entry(5)
        };
        tracer.record(&id("a"), traced);
        let shown = tracer.entries(&id("a"), &[raw], 10);
        assert_eq!(
            shown.iter().map(|e| e.kind).collect::<Vec<_>>(),
            ["uplink", "uplink"]
        );
        assert_eq!(shown[0].time.as_ms(), 6);
    }
}
