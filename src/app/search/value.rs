//! Fields, the tests that each takes, and what each is compared with.

use super::{Edge, Named, NodeKind, Status, Value};
use crate::base::ids::{AppId, DeviceId, GroupId, IdError, NodeId, ProductId};
use crate::base::time::Timestamp;
use crate::engine::presence::Presence;

/// Longest name of a device, in characters.
const NAME_MAX: usize = 256;
/// Longest key and value of a tag.
const TAG_KEY_MAX: usize = 64;
const TAG_VALUE_MAX: usize = 128;
/// Longest version that a device reports.
const VERSION_MAX: usize = 256;
/// Digits of a marker.
const MARKER_LEN: usize = 24;

pub(super) const STATUSES: [(&str, Status); 5] = [
    ("ONLINE", Status::Present(Presence::Online)),
    ("OFFLINE", Status::Present(Presence::Offline)),
    ("ABNORMAL", Status::Present(Presence::Abnormal)),
    ("INACTIVE", Status::Present(Presence::Inactive)),
    ("FROZEN", Status::Frozen),
];

pub(super) const NODE_KINDS: [(&str, NodeKind); 3] = [
    ("GATEWAY", NodeKind::Gateway),
    ("ENDPOINT", NodeKind::Endpoint),
    ("UNKNOWN", NodeKind::Unknown),
];

/// What a condition asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    App,
    Device,
    Gateway,
    Product,
    Name,
    Node,
    Status,
    NodeType,
    TagKey,
    TagValue,
    SwVersion,
    FwVersion,
    Group,
    CreateTime,
    Marker,
}

const FIELDS: [(&str, Field); 15] = [
    ("app_id", Field::App),
    ("device_id", Field::Device),
    ("gateway_id", Field::Gateway),
    ("product_id", Field::Product),
    ("device_name", Field::Name),
    ("node_id", Field::Node),
    ("status", Field::Status),
    ("node_type", Field::NodeType),
    ("tag_key", Field::TagKey),
    ("tag_value", Field::TagValue),
    ("sw_version", Field::SwVersion),
    ("fw_version", Field::FwVersion),
    ("group_id", Field::Group),
    ("create_time", Field::CreateTime),
    ("marker", Field::Marker),
];

impl Field {
    pub(super) fn named(word: &str) -> Option<Self> {
        let found = FIELDS.iter().find(|(name, _)| *name == word);
        found.map(|(_, field)| *field)
    }

    pub(super) fn name(self) -> &'static str {
        let found = FIELDS.iter().find(|(_, field)| *field == self);
        found.map_or("", |(name, _)| name)
    }

    pub(super) fn names() -> String {
        let names: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
        names.join(", ")
    }

    /// Takes `>` and `<`.
    pub(super) const fn has_order(self) -> bool {
        matches!(self, Self::CreateTime | Self::Marker)
    }

    /// Takes `in`: all but the two parts of a tag.
    pub(super) const fn has_list(self) -> bool {
        !matches!(self, Self::TagKey | Self::TagValue)
    }

    /// Takes `like`.
    pub(super) const fn like(self) -> Option<Named> {
        match self {
            Self::Name => Some(Named::DeviceName),
            Self::Node => Some(Named::NodeId),
            Self::TagKey => Some(Named::TagKey),
            Self::TagValue => Some(Named::TagValue),
            _ => None,
        }
    }

    /// The tests that it takes, in words.
    pub(super) const fn tests(self) -> &'static str {
        match self {
            Self::CreateTime | Self::Marker => "=, !=, >, <, in or not in",
            Self::Name | Self::Node => "=, !=, like, in or not in",
            Self::TagKey | Self::TagValue => "=, != or like",
            _ => "=, !=, in or not in",
        }
    }

    /// What the field is compared with; else what is wrong with it.
    pub(super) fn value(self, text: &str) -> Result<Value, String> {
        match self {
            Self::App => id(text, AppId::parse).map(Value::App),
            Self::Device => id(text, DeviceId::parse).map(Value::Device),
            Self::Gateway => id(text, DeviceId::parse).map(Value::Gateway),
            Self::Product => id(text, ProductId::parse).map(Value::Product),
            Self::Node => id(text, NodeId::parse).map(Value::Node),
            Self::Group => id(text, GroupId::parse).map(Value::Group),
            Self::Name => short(text, NAME_MAX).map(Value::Name),
            Self::TagKey => short(text, TAG_KEY_MAX).map(Value::TagKey),
            Self::TagValue => short(text, TAG_VALUE_MAX).map(Value::TagValue),
            Self::SwVersion => short(text, VERSION_MAX).map(Value::SwVersion),
            Self::FwVersion => short(text, VERSION_MAX).map(Value::FwVersion),
            Self::Status => word(text, &STATUSES).map(Value::Status),
            Self::NodeType => word(text, &NODE_KINDS).map(Value::NodeType),
            Self::CreateTime | Self::Marker => self.edge(text).map(Value::Edge),
        }
    }

    /// Of a field with an order.
    pub(super) fn edge(self, text: &str) -> Result<Edge, String> {
        if self == Self::CreateTime {
            let time = Timestamp::parse(text).map(Edge::CreateTime);
            return time.ok_or_else(|| {
                format!(
                    "got {}, takes a time like 2026-01-31T23:59:59.000Z or 20260131T235959Z",
                    quoted(text)
                )
            });
        }
        let digits = text.bytes().all(|b| b.is_ascii_hexdigit());
        let marker = u128::from_str_radix(text, 16).ok();
        let marker = marker.filter(|_| digits && text.len() == MARKER_LEN);
        marker.map(Edge::Marker).ok_or_else(|| {
            let got = quoted(text);
            format!("got {got}, takes {MARKER_LEN} hexadecimal digits")
        })
    }
}

/// The beginning that `like` asks for.
pub(super) fn prefix(field: Field, text: &str) -> Result<String, String> {
    let takes = "takes the beginning of a text and then one %, like 'abc%'";
    let Some(prefix) = text.strip_suffix('%') else {
        return Err(format!("got {}, {takes}", quoted(text)));
    };
    // Names may hold a %, but a pattern with more of them asks for what can't be looked up.
    if prefix.is_empty() || prefix.contains('%') {
        return Err(format!("got {}, {takes}", quoted(text)));
    }
    let max = match field {
        Field::Node => NodeId::MAX_LEN,
        Field::TagKey => TAG_KEY_MAX,
        Field::TagValue => TAG_VALUE_MAX,
        _ => NAME_MAX,
    };
    short(prefix, max)
}

fn id<T>(text: &str, parse: fn(&str) -> Result<T, IdError>) -> Result<T, String> {
    parse(text).map_err(|e| e.to_string())
}

fn short(text: &str, max: usize) -> Result<String, String> {
    match text.chars().count() {
        len if len > max => Err(format!("has {len} characters, takes at most {max}")),
        _ => Ok(text.to_owned()),
    }
}

fn word<T: Copy>(text: &str, table: &[(&'static str, T)]) -> Result<T, String> {
    let found = table.iter().find(|(word, _)| *word == text);
    found.map(|(_, t)| *t).ok_or_else(|| {
        let words: Vec<&str> = table.iter().map(|(word, _)| *word).collect();
        format!("got {}, takes one of {}", quoted(text), words.join(", "))
    })
}

fn quoted(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    format!("{short:?}")
}
