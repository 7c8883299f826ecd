//! What reads of the store ask for, and rows with their place.

use super::commands::CommandStatus;
use super::records::HistoryRecord;
use crate::base::ids::{CommandId, ProductId};
use crate::base::time::Timestamp;

/// A page of devices.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// Only this product's.
    pub product_id: Option<&'a ProductId>,
    /// Only those with a smaller `seq`.
    pub before: Option<u64>,
    pub limit: usize,
}

/// Which part of a device's history.
#[derive(Debug, Clone)]
pub struct HistoryQuery {
    pub device_seq: u64,
    /// By time of receipt: `from` inclusive, `to` exclusive.
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// Continues below the row with this key.
    pub before: Option<HistoryKey>,
    pub limit: usize,
}

/// Which commands of a device.
#[derive(Debug, Clone)]
pub struct CommandQuery<'a> {
    pub device_seq: u64,
    /// Those that ended or rest; else those that are open.
    pub ended: bool,
    /// By time of creation: `from` inclusive, `to` exclusive.
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// Only those before this one.
    pub before: Option<CommandId>,
    pub status: Option<CommandStatus>,
    pub command_name: Option<&'a str>,
    pub limit: usize,
}

/// Which part of the audit log.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// By time: `from` inclusive, `to` exclusive.
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// Continues below the row with this time and `seq`.
    pub before: Option<(Timestamp, u64)>,
    pub limit: usize,
}

/// Place of a row in a device's history: ascending with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HistoryKey {
    pub received_at: Timestamp,
    /// Tells rows of the same millisecond apart.
    pub serial: u32,
}

/// One history row with its place.
#[derive(Debug, Clone)]
pub struct HistoryRow {
    pub key: HistoryKey,
    pub record: HistoryRecord,
}

/// Rows received or emitted before these times may go.
#[derive(Debug, Clone, Copy)]
pub struct Expiry {
    pub history_before: Timestamp,
    pub raw_before: Timestamp,
    pub events_before: Timestamp,
    pub audit_before: Timestamp,
    pub commands_before: Timestamp,
}
