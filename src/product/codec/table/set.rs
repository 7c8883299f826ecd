//! Sets: which message writes the wanted properties, and with what values.
//!
//! A field that must be there takes what is wanted, else what is known. An optional field is left
//! out when neither is there; a case of a TLV loop, when nothing in it is wanted: a device keeps
//! what a set does not name.

use serde_json::{Map, Value};

use crate::product::codec::EncodeProperties;
use crate::product::codec::table::encode::names;
use crate::product::codec::table::program::{Direction, Field, Kind, Message};

/// The first message that sets a wanted property.
pub(super) fn choose<'p>(
    messages: &'p [Message],
    set: &EncodeProperties<'_>,
) -> Option<&'p Message> {
    let sets = |m: &&Message| {
        m.direction == Direction::Set
            && m.service.as_deref() == Some(set.service_id)
            && names(m.fields()).iter().any(|name| is_wanted(set, name))
    };
    messages.iter().find(sets)
}

/// Names of the wanted properties that the message sets.
pub(super) fn covered(message: &Message, set: &EncodeProperties<'_>) -> Vec<String> {
    let known = names(message.fields());
    let mine = |name: &&String| known.contains(&name.as_str()) && is_wanted(set, name);
    set.wanted.keys().filter(mine).cloned().collect()
}

/// The values of the message's fields.
pub(super) fn values(message: &Message, set: &EncodeProperties<'_>) -> Map<String, Value> {
    let mut values = Map::new();
    let mut ended = false;
    for field in message.fields() {
        if let (Kind::Tlv { cases, .. }, false) = (&field.kind, field.named) {
            for case in cases {
                let inner = names(case.fields.iter());
                if inner.iter().any(|name| is_wanted(set, name)) {
                    take(&inner, set, &mut values);
                }
            }
            continue;
        }
        let own = names(std::iter::once(field));
        let must_be = !field.optional || own.iter().any(|name| is_wanted(set, name));
        if must_be || (!ended && is_complete(field, &own, set)) {
            take(&own, set, &mut values);
        } else {
            // What comes after a field that is left out is left out too.
            ended = true;
        }
    }
    values
}

fn is_complete(field: &Field, own: &[&str], set: &EncodeProperties<'_>) -> bool {
    field.is_value() && own.iter().all(|name| value_of(set, name).is_some())
}

fn take(names: &[&str], set: &EncodeProperties<'_>, values: &mut Map<String, Value>) {
    for name in names {
        if let Some(value) = value_of(set, name) {
            values.insert((*name).to_owned(), value.clone());
        }
    }
}

fn is_wanted(set: &EncodeProperties<'_>, name: &str) -> bool {
    set.wanted.get(name).is_some_and(|value| !value.is_null())
}

fn value_of<'v>(set: &EncodeProperties<'v>, name: &str) -> Option<&'v Value> {
    let there = |map: &'v Map<String, Value>| map.get(name).filter(|value| !value.is_null());
    there(set.wanted).or_else(|| there(set.known))
}
