//! Key layout: one tree, one prefix byte per table, numbers big-endian, so that byte order is the
//! order of reading.
//!
//! | prefix | table | key after the prefix | value |
//! |---|---|---|---|
//! | 00 | meta | name | as [`Meta`] says |
//! | 01 | devices | device id | row with a sealed part: `DeviceRecord` |
//! | 02 | states | device id | row: `StateRecord` |
//! | 03 | nodes | node id | seq `u64`, device id |
//! | 04 | order | seq `u64` | device id |
//! | 05 | members | product id, 00, seq `u64` | device id |
//! | 06 | products | product id | row: `ProductRecord` |
//! | 07 | codecs | product id | row: `CodecRecord` |
//! | 08 | settings | product id | row: `SettingsRecord` |
//! | 09 | history | device seq `u64`, received ms `u64`, serial `u32` | row: `HistoryRecord` |
//! | 0a | raw | device seq `u64`, received ms `u64`, serial `u32` | row: `RawRecord` |
//! | 0b | events | position `u64` | row: `EventRecord` |
//! | 0c | parts | split id `u64`, index `u16` | bytes of a split row |
//! | 0d | sessions | device seq `u64` | row with a sealed part: `SessionRecord` |
//! | 0e | apps | app id | row: `AppRecord` |
//! | 0f | groups | group id | row: `GroupRecord` |
//! | 10 | tasks | seq `u64` | row: `TaskRecord` |
//! | 11 | subtasks | task seq `u64`, index `u32` | row: `SubtaskRecord` |
//! | 12 | files | file id | row: `FileRecord` |
//! | 13 | contents | file id | row: `FileContent` |
//! | 14 | certificates | certificate id | row: `CertificateRecord` |
//! | 15 | audit | ms `u64`, seq `u64` | row: `AuditRecord` |
//! | 16 | names | device name with each 00 as 00 ff, 00 01, seq `u64` | device id |
//! | 17 | forwarding | kind as a letter, `:`, id | row, sealed: `ForwardingRecord` |
//! | 18 | queue | device seq `u64`, created ms `u64`, command seq `u64` | row: `CommandRecord` |
//! | 19 | ended | device seq `u64`, created ms `u64`, command seq `u64` | row: `CommandRecord` |
//! | 1a | submissions | device seq `u64`, hash of the caller's name for it, 16 bytes | row: `SubmissionRecord` |
//! | 1c | deliveries | action seq `u64` | row: `DeliveryRecord` |
//! | 1d | set_aside | action seq `u64`, position `u64`, index `u32` | row: `SetAsideRecord` |
//! | 1e | codec_versions | product id, 00, seq `u64` | row: `CodecRecord` |
//! | 1f | replays | product id | row: `ReplaysRecord` |
//! | 20 | packages | package id | row: `PackageRecord` |
//! | 21 | package_names | product id, 00, type as a letter, version text | row: `PackageNameRecord` |
//!
//! 03, 04, 05 and 16 are indexes of 01: text as it is, without a row header (`rows.rs`). Ids hold
//! no 00 byte, so 05 is unambiguous; names may, so 16 escapes it. Prefixes are never used anew.

mod codecs;
mod commands;
mod names;
mod packages;

use crate::base::ids::{AppId, CertificateId, DeviceId, FileId, GroupId, ProductId};
use crate::base::peer::DeviceSeq;
use crate::base::time::Timestamp;
use crate::store::HistoryKey;
use crate::store::forwarding::{ForwardingKey, SetAsideKey};

pub use codecs::{codec, codec_version, codec_versions, split_codec_version};
pub use commands::{command, command_at, of_device, split_command, submission};

pub use names::{
    indexed_seq, name, names_of, names_with, node, node_value, nodes_with, split_node_value,
};
pub use packages::{package, package_name, split_package_name};

/// A table: the first byte of its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Table {
    Meta = 0x00,
    Devices = 0x01,
    States = 0x02,
    Nodes = 0x03,
    Order = 0x04,
    Members = 0x05,
    Products = 0x06,
    Codecs = 0x07,
    Settings = 0x08,
    History = 0x09,
    Raw = 0x0a,
    Events = 0x0b,
    Parts = 0x0c,
    Sessions = 0x0d,
    Apps = 0x0e,
    Groups = 0x0f,
    Tasks = 0x10,
    Subtasks = 0x11,
    Files = 0x12,
    Contents = 0x13,
    Certificates = 0x14,
    Audit = 0x15,
    Names = 0x16,
    Forwarding = 0x17,
    Queue = 0x18,
    Ended = 0x19,
    Submissions = 0x1a,
    Deliveries = 0x1c,
    SetAside = 0x1d,
    CodecVersions = 0x1e,
    Replays = 0x1f,
    Packages = 0x20,
    PackageNames = 0x21,
}

impl Table {
    /// Every table, ascending.
    pub const ALL: [Self; 33] = [
        Self::Meta,
        Self::Devices,
        Self::States,
        Self::Nodes,
        Self::Order,
        Self::Members,
        Self::Products,
        Self::Codecs,
        Self::Settings,
        Self::History,
        Self::Raw,
        Self::Events,
        Self::Parts,
        Self::Sessions,
        Self::Apps,
        Self::Groups,
        Self::Tasks,
        Self::Subtasks,
        Self::Files,
        Self::Contents,
        Self::Certificates,
        Self::Audit,
        Self::Names,
        Self::Forwarding,
        Self::Queue,
        Self::Ended,
        Self::Submissions,
        Self::Deliveries,
        Self::SetAside,
        Self::CodecVersions,
        Self::Replays,
        Self::Packages,
        Self::PackageNames,
    ];

    /// The first byte of this table's keys.
    pub const fn prefix(self) -> u8 {
        self as u8
    }

    /// The table of a key.
    pub fn of(key: &[u8]) -> Option<Self> {
        let first = *key.first()?;
        Self::ALL.into_iter().find(|t| t.prefix() == first)
    }

    /// Stable word for messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Devices => "devices",
            Self::States => "states",
            Self::Nodes => "nodes",
            Self::Order => "order",
            Self::Members => "members",
            Self::Products => "products",
            Self::Codecs => "codecs",
            Self::Settings => "settings",
            Self::History => "history",
            Self::Raw => "raw",
            Self::Events => "events",
            Self::Parts => "parts",
            Self::Sessions => "sessions",
            Self::Apps => "apps",
            Self::Groups => "groups",
            Self::Tasks => "tasks",
            Self::Subtasks => "subtasks",
            Self::Files => "files",
            Self::Contents => "contents",
            Self::Certificates => "certificates",
            Self::Audit => "audit",
            Self::Names => "names",
            Self::Forwarding => "forwarding",
            Self::Queue => "queue",
            Self::Ended => "ended",
            Self::Submissions => "submissions",
            Self::Deliveries => "deliveries",
            Self::SetAside => "set_aside",
            Self::CodecVersions => "codec_versions",
            Self::Replays => "replays",
            Self::Packages => "packages",
            Self::PackageNames => "package_names",
        }
    }

    /// The smallest key of the table, and the smallest above it.
    pub fn span(self) -> (Vec<u8>, Vec<u8>) {
        let prefix = self.prefix();
        (vec![prefix], vec![prefix.saturating_add(1)])
    }

    fn key(self, rest: &[&[u8]]) -> Vec<u8> {
        let len = rest.iter().map(|part| part.len()).sum::<usize>();
        let mut key = Vec::with_capacity(len.saturating_add(1));
        key.push(self.prefix());
        for part in rest {
            key.extend_from_slice(part);
        }
        key
    }
}

/// Rows of the meta table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meta {
    /// `u32`: format of the whole database (`migrate.rs`).
    Format,
    /// `u64`: sequence numbers below this one may have been given.
    Seq,
    /// `u64`: serials below this one may have been used.
    Serial,
    /// `u64`: number of the newest batch.
    Batch,
    /// 32 bytes: tells which sealing key is the right one (`seal.rs`).
    Seal,
    /// Which copy of the database may go on with its sessions (`generation.rs`).
    Generation,
}

pub fn meta(row: Meta) -> Vec<u8> {
    let name: &[u8] = match row {
        Meta::Format => b"format",
        Meta::Seq => b"seq",
        Meta::Serial => b"serial",
        Meta::Batch => b"batch",
        Meta::Seal => b"seal",
        Meta::Generation => b"generation",
    };
    Table::Meta.key(&[name])
}

pub fn device(id: &DeviceId) -> Vec<u8> {
    Table::Devices.key(&[id.as_str().as_bytes()])
}

pub fn state(id: &DeviceId) -> Vec<u8> {
    Table::States.key(&[id.as_str().as_bytes()])
}

pub fn order(seq: u64) -> Vec<u8> {
    Table::Order.key(&[&seq.to_be_bytes()])
}

pub fn session(device: DeviceSeq) -> Vec<u8> {
    Table::Sessions.key(&[&device.0.to_be_bytes()])
}

pub fn member(product: &ProductId, seq: u64) -> Vec<u8> {
    Table::Members.key(&[product.as_str().as_bytes(), &[0], &seq.to_be_bytes()])
}

/// The smallest key of a product's members, and the smallest above them.
pub fn members(product: &ProductId) -> (Vec<u8>, Vec<u8>) {
    let id = product.as_str().as_bytes();
    (
        Table::Members.key(&[id, &[0]]),
        Table::Members.key(&[id, &[1]]),
    )
}

pub fn product(id: &ProductId) -> Vec<u8> {
    Table::Products.key(&[id.as_str().as_bytes()])
}

pub fn replays(id: &ProductId) -> Vec<u8> {
    Table::Replays.key(&[id.as_str().as_bytes()])
}

pub fn settings(id: &ProductId) -> Vec<u8> {
    Table::Settings.key(&[id.as_str().as_bytes()])
}

pub fn app(id: &AppId) -> Vec<u8> {
    Table::Apps.key(&[id.as_str().as_bytes()])
}

pub fn group(id: &GroupId) -> Vec<u8> {
    Table::Groups.key(&[id.as_str().as_bytes()])
}

pub fn task(seq: u64) -> Vec<u8> {
    Table::Tasks.key(&[&seq.to_be_bytes()])
}

pub fn subtask(task_seq: u64, index: u32) -> Vec<u8> {
    Table::Subtasks.key(&[&task_seq.to_be_bytes(), &index.to_be_bytes()])
}

/// Task seq and index of a subtask's row; `None` when the key has another shape.
pub fn split_subtask(key: &[u8]) -> Option<(u64, u32)> {
    let (_, rest) = key.split_first()?;
    let (seq, rest) = rest.split_first_chunk::<8>()?;
    let index: [u8; 4] = rest.try_into().ok()?;
    Some((u64::from_be_bytes(*seq), u32::from_be_bytes(index)))
}

pub fn file(id: &FileId) -> Vec<u8> {
    Table::Files.key(&[id.as_str().as_bytes()])
}

pub fn content(id: &FileId) -> Vec<u8> {
    Table::Contents.key(&[id.as_str().as_bytes()])
}

pub fn certificate(id: &CertificateId) -> Vec<u8> {
    Table::Certificates.key(&[id.as_str().as_bytes()])
}

/// The kind is a letter, so that messages can name the row.
pub fn forwarding(key: &ForwardingKey) -> Vec<u8> {
    let (kind, id) = match key {
        ForwardingKey::Rule(id) => (b'r', id.as_str()),
        ForwardingKey::Action(id) => (b'a', id.as_str()),
        ForwardingKey::Backlog(id) => (b'b', id.as_str()),
        ForwardingKey::Flow(id) => (b'f', id.as_str()),
        ForwardingKey::Queue(id) => (b'q', id.as_str()),
        ForwardingKey::Access(id) => (b'k', id.as_str()),
        ForwardingKey::Certificate(id) => (b'c', id.as_str()),
    };
    Table::Forwarding.key(&[&[kind, b':'], id.as_bytes()])
}

pub fn audit(at: Timestamp, seq: u64) -> Vec<u8> {
    Table::Audit.key(&[&at.as_ms().to_be_bytes(), &seq.to_be_bytes()])
}

pub fn history(device_seq: u64, at: HistoryKey) -> Vec<u8> {
    timed(Table::History, device_seq, at)
}

/// A row of `history` or `raw`.
pub fn timed(table: Table, device_seq: u64, at: HistoryKey) -> Vec<u8> {
    table.key(&[
        &device_seq.to_be_bytes(),
        &at.received_at.as_ms().to_be_bytes(),
        &at.serial.to_be_bytes(),
    ])
}

/// The smallest key of a device in `history` or `raw`.
pub fn timed_start(table: Table, device_seq: u64) -> Vec<u8> {
    table.key(&[&device_seq.to_be_bytes()])
}

/// Device seq and place of a row of `history` or `raw`; `None` when the key has another shape.
pub fn split_timed(key: &[u8]) -> Option<(u64, HistoryKey)> {
    let (_, rest) = key.split_first()?;
    let (seq, rest) = rest.split_first_chunk::<8>()?;
    let (ms, rest) = rest.split_first_chunk::<8>()?;
    let serial: [u8; 4] = rest.try_into().ok()?;
    let at = HistoryKey {
        received_at: Timestamp::from_ms(u64::from_be_bytes(*ms)),
        serial: u32::from_be_bytes(serial),
    };
    Some((u64::from_be_bytes(*seq), at))
}

pub fn event(position: u64) -> Vec<u8> {
    Table::Events.key(&[&position.to_be_bytes()])
}

pub fn delivery(action_seq: u64) -> Vec<u8> {
    Table::Deliveries.key(&[&action_seq.to_be_bytes()])
}

pub fn set_aside(action_seq: u64, at: SetAsideKey) -> Vec<u8> {
    Table::SetAside.key(&[
        &action_seq.to_be_bytes(),
        &at.position.to_be_bytes(),
        &at.index.to_be_bytes(),
    ])
}

/// The smallest key of what an action set aside, and the smallest above it.
pub fn all_set_aside(action_seq: u64) -> (Vec<u8>, Vec<u8>) {
    let from = Table::SetAside.key(&[&action_seq.to_be_bytes()]);
    let to = match action_seq.checked_add(1) {
        Some(next) => Table::SetAside.key(&[&next.to_be_bytes()]),
        None => Table::SetAside.span().1,
    };
    (from, to)
}

pub fn part(split_id: u64, index: u16) -> Vec<u8> {
    Table::Parts.key(&[&split_id.to_be_bytes(), &index.to_be_bytes()])
}

/// The number right behind the prefix, in `order`, `events`, `history`, `raw`, `parts` and
/// `deliveries`.
pub fn leading_number(key: &[u8]) -> Option<u64> {
    let (number, _) = key.get(1..)?.split_first_chunk::<8>()?;
    Some(u64::from_be_bytes(*number))
}

/// The text behind the prefix, in tables keyed by an id.
pub fn text(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.get(1..)?).ok()
}

/// A key for messages: table, then text or hex.
pub fn show(key: &[u8]) -> String {
    let table = Table::of(key).map_or("unknown", Table::name);
    match text(key) {
        Some(text) if text.chars().all(|c| c.is_ascii_graphic()) => format!("{table} {text}"),
        _ => {
            let hex = key.iter().skip(1).map(|byte| format!("{byte:02x}"));
            format!("{table} {}", hex.collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests;
