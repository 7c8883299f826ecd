//! The language in which applications search for devices: a small subset of SQL (v5 API, "Query
//! Device List Flexibly"), read here and turned into a [`Filter`] of the store.
//!
//! ```text
//! statement = "select" columns "from" "device" ["where" condition]
//!             ["order" "by" "marker" ["asc" | "desc"]] ["limit" [offset ","] rows]
//! columns   = "*" | "count" "(" ("*" | "1") ")" | column {"," column}
//! condition = chain {"or" chain}
//! chain     = term {"and" term}
//! term      = "(" condition ")" | field test
//! test      = ("=" | "!=" | "<>" | ">" | "<") text | "like" text
//!           | ["not"] "in" "(" text {"," text} ")"
//! text      = "'" characters, a quote doubled "'"
//! ```
//!
//! Keywords may be in any case, all else is compared as it is. A `tag_value` and the last `tag_key`
//! before it that `and` joins it to (else the first one behind it, else one outside the brackets)
//! are one tag; without a key it is the value of any tag. `like` takes the beginning of a text,
//! `'abc%'`. What can't be read is a [`SearchError`] with the position in characters, from 1.
//!
//! `lex` makes tokens, `parse` a [`Statement`], `value` judges what a field is compared with,
//! `compile` makes the filter. What is printed reads back as the same.
//!
//! [`Filter`]: crate::store::find::Filter

mod compile;
mod lex;
mod parse;
mod print;
mod value;

#[cfg(test)]
mod tests;

use crate::base::ids::{AppId, DeviceId, GroupId, NodeId, ProductId};
use crate::base::time::Timestamp;
use crate::engine::presence::Presence;
use crate::store::find::FindOrder;

pub use compile::filter;
pub use parse::{condition, statement};

/// Longest statement, in characters: enough for a hundred device ids in one list.
pub const SQL_MAX: usize = 16_384;
/// Longest condition that a group keeps, in characters.
pub const RULE_MAX: usize = 4096;
/// Comparisons in one condition; each costs the store one look-up.
pub const CONDITIONS_MAX: usize = 50;
/// Values in one list.
pub const VALUES_MAX: usize = 100;
/// Brackets within brackets.
pub const DEPTH_MAX: usize = 8;
/// As in every list of the v5 API.
pub const ROWS_MAX: usize = 50;
pub const OFFSET_MAX: usize = 500;
/// Rows when there is no `limit`.
pub const ROWS: usize = 10;

/// A whole search.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    pub select: Select,
    pub condition: Option<Expr>,
    pub order: FindOrder,
    pub offset: usize,
    pub rows: usize,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Select {
    All,
    Columns(Vec<Column>),
    /// How many there are, and none of them.
    Count,
}

impl Select {
    /// Whether an answer shows this column.
    pub fn shows(&self, column: Column) -> bool {
        match self {
            Self::All => true,
            Self::Columns(columns) => columns.contains(&column),
            Self::Count => false,
        }
    }
}

/// A field of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    AppId,
    AppName,
    DeviceId,
    NodeId,
    GatewayId,
    DeviceName,
    NodeType,
    FwVersion,
    SwVersion,
    DeviceSdkVersion,
    ProductId,
    ProductName,
    Groups,
    Status,
    Tags,
    Modules,
    Marker,
}

/// Every column with its name.
const COLUMNS: [(&str, Column); 17] = [
    ("app_id", Column::AppId),
    ("app_name", Column::AppName),
    ("device_id", Column::DeviceId),
    ("node_id", Column::NodeId),
    ("gateway_id", Column::GatewayId),
    ("device_name", Column::DeviceName),
    ("node_type", Column::NodeType),
    ("fw_version", Column::FwVersion),
    ("sw_version", Column::SwVersion),
    ("device_sdk_version", Column::DeviceSdkVersion),
    ("product_id", Column::ProductId),
    ("product_name", Column::ProductName),
    ("groups", Column::Groups),
    ("status", Column::Status),
    ("tags", Column::Tags),
    ("modules", Column::Modules),
    ("marker", Column::Marker),
];

/// A condition. `And` and `Or` have two parts at least; one directly inside its like was written in
/// brackets.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    Or(Vec<Self>),
    And(Vec<Self>),
    Is(Value),
    IsNot(Value),
    /// Values of one field, one at least.
    In(Vec<Value>),
    NotIn(Vec<Value>),
    /// `>`
    Above(Edge),
    /// `<`
    Below(Edge),
    /// Begins so.
    Like(Named, String),
}

/// A field with what it is compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    App(AppId),
    Device(DeviceId),
    Gateway(DeviceId),
    Product(ProductId),
    Name(String),
    Node(NodeId),
    Status(Status),
    NodeType(NodeKind),
    TagKey(String),
    /// Of the tag whose key stands with it, or of any.
    TagValue(String),
    SwVersion(String),
    FwVersion(String),
    Group(GroupId),
    Edge(Edge),
}

/// What has an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// In whole seconds.
    CreateTime(Timestamp),
    /// Of 24 hexadecimal digits.
    Marker(u128),
}

/// What `like` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    DeviceName,
    NodeId,
    TagKey,
    /// As [`Value::TagValue`].
    TagValue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Frozen,
    /// And not frozen.
    Present(Presence),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    Gateway,
    Endpoint,
    /// No device is that.
    Unknown,
}

/// Why text is not a search. Positions count characters from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    #[error("got {len} characters, takes up to {max}")]
    TooLong { len: usize, max: usize },
    #[error("at character {at}: found {found}, takes {takes}")]
    Unexpected {
        at: usize,
        found: String,
        takes: String,
    },
    /// A text without its closing quote.
    #[error("at character {at}: the text that begins here has no closing quote")]
    Unclosed { at: usize },
    /// Well-formed, and not what the field can be.
    #[error("at character {at}: {field} {problem}")]
    Value {
        at: usize,
        field: &'static str,
        problem: String,
    },
    #[error("at character {at}: more than {max} {what}")]
    TooMany {
        at: usize,
        max: usize,
        what: &'static str,
    },
}

impl SearchError {
    /// Stable word for logs and metrics; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "too_long",
            Self::Unexpected { .. } => "unexpected",
            Self::Unclosed { .. } => "unclosed",
            Self::Value { .. } => "value",
            Self::TooMany { .. } => "too_many",
        }
    }
}
