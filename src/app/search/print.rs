//! A search as text that reads back as the same.

use std::fmt::{self, Display, Formatter};

use super::value::{NODE_KINDS, STATUSES};
use super::{COLUMNS, Edge, Expr, Named, Select, Statement, Value};
use crate::store::find::FindOrder;

impl Display for Statement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "select {} from device", self.select)?;
        if let Some(condition) = &self.condition {
            write!(f, " where {condition}")?;
        }
        let order = match self.order {
            FindOrder::NewestFirst => "desc",
            FindOrder::OldestFirst => "asc",
        };
        let (offset, rows) = (self.offset, self.rows);
        write!(f, " order by marker {order} limit {offset}, {rows}")
    }
}

impl Display for Select {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Count => f.write_str("count(*)"),
            Self::Columns(columns) => {
                let name = |column| COLUMNS.iter().find(|(_, c)| *c == column);
                let names = columns.iter().filter_map(|c| name(*c));
                separated(f, ", ", names.map(|(name, _)| name))
            }
        }
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Or(parts) => separated(f, " or ", parts.iter().map(|part| Part(part, true))),
            Self::And(parts) => separated(f, " and ", parts.iter().map(|part| Part(part, false))),
            Self::Is(value) => write!(f, "{} = {}", value.field(), Quoted(&value.text())),
            Self::IsNot(value) => write!(f, "{} != {}", value.field(), Quoted(&value.text())),
            Self::In(values) => list(f, "in", values),
            Self::NotIn(values) => list(f, "not in", values),
            Self::Above(edge) => write!(f, "{} > '{}'", edge.field(), edge.text()),
            Self::Below(edge) => write!(f, "{} < '{}'", edge.field(), edge.text()),
            Self::Like(named, prefix) => {
                let field = match named {
                    Named::DeviceName => "device_name",
                    Named::NodeId => "node_id",
                    Named::TagKey => "tag_key",
                    Named::TagValue => "tag_value",
                };
                write!(f, "{field} like {}", Quoted(&format!("{prefix}%")))
            }
        }
    }
}

/// Part of an `or` (true) or an `and`, in brackets where they are needed to read it back.
struct Part<'a>(&'a Expr, bool);

impl Display for Part<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (Expr::Or(_), _) | (Expr::And(_), false) => write!(f, "({})", self.0),
            (expr, _) => write!(f, "{expr}"),
        }
    }
}

struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.0.replace('\'', "''"))
    }
}

fn separated<T: Display>(
    f: &mut Formatter<'_>,
    separator: &str,
    parts: impl Iterator<Item = T>,
) -> fmt::Result {
    for (i, part) in parts.enumerate() {
        if i > 0 {
            f.write_str(separator)?;
        }
        write!(f, "{part}")?;
    }
    Ok(())
}

fn list(f: &mut Formatter<'_>, test: &str, values: &[Value]) -> fmt::Result {
    let field = values.first().map_or("", Value::field);
    write!(f, "{field} {test} (")?;
    let texts: Vec<String> = values.iter().map(Value::text).collect();
    separated(f, ", ", texts.iter().map(|text| Quoted(text)))?;
    f.write_str(")")
}

impl Value {
    const fn field(&self) -> &'static str {
        match self {
            Self::App(_) => "app_id",
            Self::Device(_) => "device_id",
            Self::Gateway(_) => "gateway_id",
            Self::Product(_) => "product_id",
            Self::Name(_) => "device_name",
            Self::Node(_) => "node_id",
            Self::Status(_) => "status",
            Self::NodeType(_) => "node_type",
            Self::TagKey(_) => "tag_key",
            Self::TagValue(_) => "tag_value",
            Self::SwVersion(_) => "sw_version",
            Self::FwVersion(_) => "fw_version",
            Self::Group(_) => "group_id",
            Self::Edge(edge) => edge.field(),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::App(id) => id.to_string(),
            Self::Device(id) | Self::Gateway(id) => id.to_string(),
            Self::Product(id) => id.to_string(),
            Self::Node(id) => id.to_string(),
            Self::Group(id) => id.to_string(),
            Self::Name(text)
            | Self::TagKey(text)
            | Self::TagValue(text)
            | Self::SwVersion(text)
            | Self::FwVersion(text) => text.clone(),
            Self::Status(status) => word(&STATUSES, *status),
            Self::NodeType(kind) => word(&NODE_KINDS, *kind),
            Self::Edge(edge) => edge.text(),
        }
    }
}

impl Edge {
    const fn field(self) -> &'static str {
        match self {
            Self::CreateTime(_) => "create_time",
            Self::Marker(_) => "marker",
        }
    }

    fn text(self) -> String {
        match self {
            Self::CreateTime(at) => at.rfc3339_ms(),
            Self::Marker(marker) => format!("{marker:024x}"),
        }
    }
}

fn word<T: PartialEq>(table: &[(&'static str, T)], value: T) -> String {
    let found = table.iter().find(|(_, t)| *t == value);
    found.map_or_else(String::new, |(word, _)| (*word).to_owned())
}
