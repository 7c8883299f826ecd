//! Uplinks that were kept raw, and the replays that decode them later.
//!
//! A product's row holds its newest replays, the newest last. What a replay has done so far is
//! committed together with what it did, so that after a crash it goes on where it was.

use serde::{Deserialize, Serialize};

use super::query::HistoryKey;
use super::records::RawRecord;
use crate::base::ids::DeviceId;
use crate::base::time::Timestamp;

/// Which raw uplinks of one device, oldest first.
#[derive(Debug, Clone)]
pub struct RawQuery {
    pub device_seq: u64,
    /// By time of receipt: `from` inclusive, `to` exclusive.
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// Continues behind the row with this key.
    pub after: Option<HistoryKey>,
    pub limit: usize,
}

/// A raw uplink with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct RawRow {
    pub key: HistoryKey,
    pub record: RawRecord,
}

/// The newest replays of a product.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplaysRecord {
    /// Of the product: one that was deleted and created anew has no replays.
    pub product_seq: u64,
    pub newest: Vec<ReplayRecord>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplayRecord {
    /// Counts the replays of a product, from 1.
    pub number: u32,
    pub wanted: ReplayWanted,
    pub started_at: Timestamp,
    /// `None`: it goes on.
    pub ended: Option<ReplayEnd>,
    pub counts: ReplayCounts,
    /// What stayed unread, by kind.
    pub unread: Vec<UnreadRecord>,
    /// How far it has come; `None`: it has not begun.
    pub place: Option<ReplayPlace>,
}

/// Which uplinks a replay is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplayWanted {
    /// Empty: every device of the product.
    pub device_ids: Vec<DeviceId>,
    /// By time of receipt: `from` inclusive, `to` exclusive.
    pub from: Option<Timestamp>,
    pub to: Timestamp,
    /// Reasons for which they were kept; empty: every one.
    pub kinds: Vec<String>,
    /// Nothing is changed.
    pub dry_run: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplayEnd {
    pub at: Timestamp,
    pub how: ReplayOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplayOutcome {
    Done,
    /// Somebody asked for it.
    Stopped,
    /// With the reason.
    Failed(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReplayCounts {
    /// Devices that it has done with.
    pub devices: u64,
    /// Uplinks that it was for, so far.
    pub found: u64,
    /// Reports, all of which the model takes.
    pub decoded: u64,
    /// Reports of which the model takes a part.
    pub partly: u64,
    /// Responses to commands.
    pub responses: u64,
    /// Uplinks in which the codec finds nothing to report.
    pub empty: u64,
}

/// Uplinks that stayed unread for one reason, with the first of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnreadRecord {
    pub kind: String,
    pub count: u64,
    pub device_id: DeviceId,
    pub received_at: Timestamp,
    /// Its first bytes.
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
    pub reason: String,
}

/// A place among devices by descending `seq`, and in the raw uplinks of that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayPlace {
    pub device_seq: u64,
    /// The last uplink that it has done with, as time of receipt and serial; `None`: with all of them.
    pub after: Option<(Timestamp, u32)>,
}

impl ReplayPlace {
    pub fn key(&self) -> Option<HistoryKey> {
        self.after.map(|(received_at, serial)| HistoryKey {
            received_at,
            serial,
        })
    }
}
