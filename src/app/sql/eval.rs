//! What clauses say of an event. Nothing here fails: what an event does not have is NULL.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use super::ast::{Comparison, Condition, Function, Item, Operand, Path, Select, Step};

impl Select {
    /// What is pushed of the event.
    pub(super) fn of(&self, event: &Value) -> Value {
        if self.is_all() {
            return event.clone();
        }
        let mut pushed = Map::with_capacity(self.0.len());
        for item in &self.0 {
            match item {
                Item::All => {
                    let fields = event.as_object().into_iter().flatten();
                    pushed.extend(fields.map(|(key, value)| (key.clone(), value.clone())));
                }
                Item::Value { operand, key, .. } => {
                    let value = operand.of(event).map(Cow::into_owned);
                    pushed.insert(key.clone(), value.unwrap_or_default());
                }
            }
        }
        Value::Object(pushed)
    }
}

impl Condition {
    /// Whether the event fits.
    pub(super) fn holds(&self, event: &Value) -> bool {
        match self {
            Self::Any(parts) => parts.iter().any(|part| part.holds(event)),
            Self::All(parts) => parts.iter().all(|part| part.holds(event)),
            Self::Not(inner) => !inner.holds(event),
            Self::IsNull(operand) => operand.present(event).is_none(),
            Self::IsNotNull(operand) => operand.present(event).is_some(),
            Self::Compare(left, comparison, right) => {
                match (left.present(event), right.present(event)) {
                    (Some(left), Some(right)) => comparison.holds(&left, &right),
                    _ => false,
                }
            }
            Self::Holds(operand) => operand.of(event).as_deref() == Some(&Value::Bool(true)),
        }
    }
}

impl Comparison {
    fn holds(self, left: &Value, right: &Value) -> bool {
        let order = match (left, right) {
            (Value::Number(left), Value::Number(right)) => order_of(left, right),
            _ => None,
        };
        match self {
            Self::Above => order == Some(Ordering::Greater),
            Self::Below => order == Some(Ordering::Less),
            Self::AtLeast => order.is_some_and(Ordering::is_ge),
            Self::AtMost => order.is_some_and(Ordering::is_le),
            Self::Equal => order.map_or_else(|| left == right, Ordering::is_eq),
            Self::Unequal => order.map_or_else(|| left != right, Ordering::is_ne),
        }
    }
}

/// By value: 5 and 5.0 are the same. Whole numbers are compared exactly.
fn order_of(left: &Number, right: &Number) -> Option<Ordering> {
    let whole = |n: &Number| {
        n.as_i64()
            .map(i128::from)
            .or_else(|| n.as_u64().map(i128::from))
    };
    match (whole(left), whole(right)) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

impl Operand {
    /// Its value, which may be null; `None`: the event has none.
    fn of<'a>(&'a self, event: &'a Value) -> Option<Cow<'a, Value>> {
        match self {
            Self::Path(path) => path.of(event).map(Cow::Borrowed),
            Self::Constant(value) => Some(Cow::Borrowed(value)),
            Self::Call(function, texts) => {
                let mut texts = texts.iter().map(String::as_str);
                let first = texts.next().unwrap_or_default();
                function.of(event, first, texts.next().unwrap_or_default())
            }
        }
    }

    /// Its value unless that IS NULL.
    fn present<'a>(&'a self, event: &'a Value) -> Option<Cow<'a, Value>> {
        self.of(event).filter(|value| match value.as_ref() {
            Value::Null => false,
            Value::Array(items) => !items.is_empty(),
            _ => true,
        })
    }
}

impl Path {
    fn of<'a>(&self, event: &'a Value) -> Option<&'a Value> {
        let mut at = event;
        for step in &self.0 {
            at = match step {
                Step::Key(key) => at.get(key.as_str())?,
                Step::Index(index) => at.get(*index)?,
            };
        }
        Some(at)
    }
}

impl Function {
    fn of<'a>(self, event: &'a Value, first: &str, second: &str) -> Option<Cow<'a, Value>> {
        let truth = |found: bool| Some(Cow::Owned(Value::Bool(found)));
        let mut tags = named(event, "header", "tags", "tag_key", first);
        let mut services = named(event, "body", "services", "service_id", first);
        match self {
            Self::Tag => tags.next()?.get("tag_value").map(Cow::Borrowed),
            Self::ContainsTag => truth(tags.next().is_some()),
            Self::Service => services.next().map(Cow::Borrowed),
            Self::Services => Some(Cow::Owned(services.cloned().collect())),
            Self::ContainsServices => truth(services.next().is_some()),
            Self::ServiceProperties => services.next()?.get("properties").map(Cow::Borrowed),
            Self::ServiceProperty => services
                .find_map(|service| service.get("properties")?.get(second))
                .map(Cow::Borrowed),
        }
    }
}

/// Things of a list in `notify_data` whose `key` is `name`.
fn named<'a>(
    event: &'a Value,
    part: &str,
    list: &str,
    key: &'static str,
    name: &str,
) -> impl Iterator<Item = &'a Value> {
    let found = event
        .get("notify_data")
        .and_then(|d| d.get(part)?.get(list));
    let things = found.and_then(Value::as_array).into_iter().flatten();
    things.filter(move |thing| thing.get(key).and_then(Value::as_str) == Some(name))
}
