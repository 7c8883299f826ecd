//! A condition into a [`Filter`].

use super::{Edge, Expr, Named, NodeKind, Status, Value};
use crate::base::ids::GroupId;
use crate::store::find::Filter;

/// The filter of a condition. `group` tells whom a group holds.
pub fn filter(expr: &Expr, group: &dyn Fn(&GroupId) -> Filter) -> Filter {
    let not = |filter| Filter::Not(Box::new(filter));
    let any = |values: &[Value]| Filter::Or(values.iter().map(|v| one(v, group)).collect());
    match expr {
        Expr::Or(parts) => Filter::Or(parts.iter().map(|p| filter(p, group)).collect()),
        Expr::And(parts) => all(parts, group),
        Expr::Is(value) => one(value, group),
        Expr::IsNot(value) => not(one(value, group)),
        Expr::In(values) => any(values),
        Expr::NotIn(values) => not(any(values)),
        Expr::Above(edge) => above(*edge),
        Expr::Below(edge) => below(*edge),
        Expr::Like(Named::DeviceName, prefix) => Filter::NamePrefix(prefix.clone()),
        Expr::Like(Named::NodeId, prefix) => Filter::NodePrefix(prefix.clone()),
    }
}

/// A key and the value behind it are one tag.
fn all(parts: &[Expr], group: &dyn Fn(&GroupId) -> Filter) -> Filter {
    let mut filters = Vec::new();
    let mut rest = parts;
    while let Some((first, after)) = rest.split_first() {
        let pair = match (first, after.first()) {
            (Expr::Is(Value::TagKey(key)), Some(Expr::Is(Value::TagValue(value)))) => {
                Some(vec![tag(key, Some(value))])
            }
            // The tag is there, with another value.
            (Expr::Is(Value::TagKey(key)), Some(Expr::IsNot(Value::TagValue(value)))) => {
                let not = Filter::Not(Box::new(tag(key, Some(value))));
                Some(vec![tag(key, None), not])
            }
            _ => None,
        };
        rest = match pair {
            Some(pair) => {
                filters.extend(pair);
                after.get(1..).unwrap_or_default()
            }
            None => {
                filters.push(filter(first, group));
                after
            }
        };
    }
    Filter::And(filters)
}

fn tag(key: &str, value: Option<&str>) -> Filter {
    Filter::Tag {
        key: key.to_owned(),
        value: value.map(str::to_owned),
    }
}

fn one(value: &Value, group: &dyn Fn(&GroupId) -> Filter) -> Filter {
    match value {
        Value::App(id) => Filter::App(id.clone()),
        Value::Device(id) => Filter::Device(id.clone()),
        Value::Gateway(id) => Filter::Gateway(id.clone()),
        Value::Product(id) => Filter::Product(id.clone()),
        Value::Name(name) => Filter::Name(name.clone()),
        Value::Node(id) => Filter::Node(id.clone()),
        Value::Status(Status::Frozen) => Filter::Frozen,
        Value::Status(Status::Present(presence)) => Filter::And(vec![
            Filter::Not(Box::new(Filter::Frozen)),
            Filter::Presence(*presence),
        ]),
        Value::NodeType(NodeKind::Gateway) => Filter::IsGateway,
        Value::NodeType(NodeKind::Endpoint) => Filter::Not(Box::new(Filter::IsGateway)),
        Value::NodeType(NodeKind::Unknown) => nothing(),
        Value::TagKey(key) => tag(key, None),
        // The reader lets none stand without its key.
        Value::TagValue(_) => nothing(),
        Value::SwVersion(version) => Filter::SoftwareVersion(version.clone()),
        Value::FwVersion(version) => Filter::FirmwareVersion(version.clone()),
        Value::Group(id) => group(id),
        Value::Edge(Edge::CreateTime(at)) => Filter::Created {
            from: Some(*at),
            to: Some(*at),
        },
        // Above what is below it, and the other way round.
        Value::Edge(edge @ Edge::Marker(_)) => {
            Filter::Not(Box::new(Filter::Or(vec![above(*edge), below(*edge)])))
        }
    }
}

const fn nothing() -> Filter {
    Filter::Or(Vec::new())
}

fn above(edge: Edge) -> Filter {
    match edge {
        Edge::CreateTime(at) => Filter::Created {
            from: Some(at.plus_s(1)),
            to: None,
        },
        // No device has a number above 64 bits.
        Edge::Marker(marker) => u64::try_from(marker).map_or(nothing(), Filter::SeqAbove),
    }
}

fn below(edge: Edge) -> Filter {
    match edge {
        Edge::CreateTime(at) => Filter::Not(Box::new(Filter::Created {
            from: Some(at),
            to: None,
        })),
        Edge::Marker(marker) => u64::try_from(marker).map_or(Filter::All, Filter::SeqBelow),
    }
}
