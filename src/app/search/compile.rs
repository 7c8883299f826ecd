//! A condition into a [`Filter`].

use super::{Edge, Expr, Named, NodeKind, Status, Value};
use crate::base::ids::GroupId;
use crate::store::find::{Filter, TagText};

/// The filter of a condition. `group` tells whom a group holds.
pub fn filter(expr: &Expr, group: &dyn Fn(&GroupId) -> Filter) -> Filter {
    within(expr, &[], group)
}

/// `keys`: of which tag a value is, when it stands with no key of its own.
fn within(expr: &Expr, keys: &[TagText], group: &dyn Fn(&GroupId) -> Filter) -> Filter {
    let any = |values: &[Value]| Filter::Or(values.iter().map(|v| one(v, group)).collect());
    match expr {
        Expr::Or(parts) => Filter::Or(parts.iter().map(|p| within(p, keys, group)).collect()),
        Expr::And(parts) => all(parts, keys, group),
        Expr::Is(Value::TagValue(value)) => tags(keys, &TagText::Is(value.clone())),
        Expr::IsNot(Value::TagValue(value)) => not(tags(keys, &TagText::Is(value.clone()))),
        Expr::Is(value) => one(value, group),
        Expr::IsNot(value) => not(one(value, group)),
        Expr::In(values) => any(values),
        Expr::NotIn(values) => not(any(values)),
        Expr::Above(edge) => above(*edge),
        Expr::Below(edge) => below(*edge),
        Expr::Like(Named::DeviceName, prefix) => Filter::NamePrefix(prefix.clone()),
        Expr::Like(Named::NodeId, prefix) => Filter::NodePrefix(prefix.clone()),
        Expr::Like(Named::TagKey, prefix) => key(TagText::Begins(prefix.clone())),
        Expr::Like(Named::TagValue, prefix) => tags(keys, &TagText::Begins(prefix.clone())),
    }
}

/// A value is of the last key before it, else of the first one behind it, else of those outside.
fn all(parts: &[Expr], outside: &[TagText], group: &dyn Fn(&GroupId) -> Filter) -> Filter {
    let keys: Vec<Vec<TagText>> = parts.iter().map(keys_in).collect();
    let nearest = |at: usize| {
        let (before, behind) = keys.split_at_checked(at)?;
        let before = before.iter().rev();
        before.chain(behind).find(|keys| !keys.is_empty())
    };
    let parts = parts.iter().enumerate();
    let filters = parts.map(|(at, part)| {
        let keys = nearest(at).map_or(outside, Vec::as_slice);
        within(part, keys, group)
    });
    Filter::And(filters.collect())
}

/// The keys, when the condition is that one of them is there.
fn keys_in(expr: &Expr) -> Vec<TagText> {
    match expr {
        Expr::Is(Value::TagKey(key)) => vec![TagText::Is(key.clone())],
        Expr::Like(Named::TagKey, prefix) => vec![TagText::Begins(prefix.clone())],
        Expr::Or(parts) => {
            let each: Vec<_> = parts.iter().map(keys_in).collect();
            match each.iter().any(Vec::is_empty) {
                true => Vec::new(),
                false => each.concat(),
            }
        }
        _ => Vec::new(),
    }
}

const fn key(key: TagText) -> Filter {
    let value = TagText::Any;
    Filter::Tag { key, value }
}

/// Such a value of a tag with one of these keys; without any, of whatever tag.
fn tags(keys: &[TagText], value: &TagText) -> Filter {
    let tag = |key: &TagText| Filter::Tag {
        key: key.clone(),
        value: value.clone(),
    };
    match keys {
        [] => tag(&TagText::Any),
        [key] => tag(key),
        keys => Filter::Or(keys.iter().map(tag).collect()),
    }
}

fn not(filter: Filter) -> Filter {
    Filter::Not(Box::new(filter))
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
        Value::Status(Status::Present(presence)) => {
            Filter::And(vec![not(Filter::Frozen), Filter::Presence(*presence)])
        }
        Value::NodeType(NodeKind::Gateway) => Filter::IsGateway,
        Value::NodeType(NodeKind::Endpoint) => not(Filter::IsGateway),
        Value::NodeType(NodeKind::Unknown) => nothing(),
        Value::TagKey(text) => key(TagText::Is(text.clone())),
        Value::TagValue(value) => tags(&[], &TagText::Is(value.clone())),
        Value::SwVersion(version) => Filter::SoftwareVersion(version.clone()),
        Value::FwVersion(version) => Filter::FirmwareVersion(version.clone()),
        Value::Group(id) => group(id),
        Value::Edge(Edge::CreateTime(at)) => Filter::Created {
            from: Some(*at),
            to: Some(*at),
        },
        // Above what is below it, and the other way round.
        Value::Edge(edge @ Edge::Marker(_)) => not(Filter::Or(vec![above(*edge), below(*edge)])),
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
        Edge::CreateTime(at) => not(Filter::Created {
            from: Some(at),
            to: None,
        }),
        Edge::Marker(marker) => u64::try_from(marker).map_or(Filter::All, Filter::SeqBelow),
    }
}
