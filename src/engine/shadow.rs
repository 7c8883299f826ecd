//! A device shadow, one service of it: what the device reported, and what is desired of it.
//!
//! Both halves are changed property by property, each property as a whole. What goes down is their
//! [`difference`]. Values are compared as what they mean: `1` and `1.0` are the same, and so are an
//! integer beyond 2^53 and the text of its digits, in which codecs report it.

use serde_json::{Map, Number, Value};

/// Integers up to this are numbers in JSON; what is beyond may come as text.
const INTEGER_MAX: u64 = 1 << 53;

/// Merges what a device reports into what it reported before, property by property. True when
/// anything changed. `null` is a value like any other.
pub fn merge_reported(reported: &mut Map<String, Value>, update: &Map<String, Value>) -> bool {
    let mut changed = false;
    for (name, value) in update {
        match reported.get_mut(name) {
            Some(old) if old == value => {}
            Some(old) => {
                *old = value.clone();
                changed = true;
            }
            None => {
                reported.insert(name.clone(), value.clone());
                changed = true;
            }
        }
    }
    changed
}

/// Merges a wish into what is desired: `null` takes a property out, an empty wish all of them. Gives
/// the names of those with another value than before.
pub fn merge_desired(desired: &mut Map<String, Value>, wish: &Map<String, Value>) -> Vec<String> {
    if wish.is_empty() {
        let all = std::mem::take(desired);
        return all.into_iter().map(|(name, _)| name).collect();
    }
    let mut changed = Vec::new();
    for (name, value) in wish {
        let before = match value.is_null() {
            true => desired.shift_remove(name),
            false => desired.insert(name.clone(), value.clone()),
        };
        let same = match &before {
            Some(before) => is_same(before, value),
            None => value.is_null(),
        };
        if !same {
            changed.push(name.clone());
        }
    }
    changed
}

/// What is desired and was not reported so.
pub fn difference(
    desired: &Map<String, Value>,
    reported: &Map<String, Value>,
) -> Map<String, Value> {
    let differs = |name: &String, value: &Value| {
        let known = reported.get(name);
        !known.is_some_and(|known| is_same(known, value))
    };
    let differing = desired.iter().filter(|(name, value)| differs(name, value));
    differing
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// The place of the first name with a `.`, a `$` or a NUL in it, at any depth: no shadow takes it.
pub fn misnamed(properties: &Map<String, Value>) -> Option<String> {
    properties.iter().find_map(|(name, value)| {
        if name.contains(['.', '$', '\0']) {
            return Some(name.clone());
        }
        misnamed_in(value).map(|inner| format!("{name}{inner}"))
    })
}

fn misnamed_in(value: &Value) -> Option<String> {
    match value {
        Value::Object(map) => misnamed(map).map(|inner| format!(".{inner}")),
        Value::Array(items) => items.iter().enumerate().find_map(|(at, item)| {
            let inner = misnamed_in(item)?;
            Some(format!("[{at}]{inner}"))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// Whether two values mean the same.
pub fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => is_same_number(one, other),
        (Value::Number(number), Value::String(text))
        | (Value::String(text), Value::Number(number)) => {
            let large = number
                .as_i64()
                .map_or(number.as_u64(), |n| Some(n.unsigned_abs()));
            large.is_some_and(|n| n > INTEGER_MAX) && number.to_string() == *text
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| is_same(a, b))
        }
        (Value::Object(one), Value::Object(other)) => {
            let has = |(name, a): (&String, &Value)| other.get(name).is_some_and(|b| is_same(a, b));
            one.len() == other.len() && one.iter().all(has)
        }
        (one, other) => one == other,
    }
}

fn is_same_number(one: &Number, other: &Number) -> bool {
    match (integer(one), integer(other)) {
        (Some(one), Some(other)) => one == other,
        (None, None) => one.as_f64() == other.as_f64(),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// The integer that a number is, also when it is written as `1.0` or `1e3`.
fn integer(number: &Number) -> Option<i128> {
    if let Some(n) = number.as_i64() {
        return Some(n.into());
    }
    if let Some(n) = number.as_u64() {
        return Some(n.into());
    }
    let float = number.as_f64()?;
    // Beyond it, no integer of JSON compares with it.
    let is_whole = float.trunc() == float && float.abs() <= 2f64.powi(64);
    #[expect(clippy::cast_possible_truncation, reason = "whole and in range")]
    is_whole.then_some(float as i128)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn map(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn a_report_replaces_what_it_names_and_keeps_the_rest() {
        let mut reported = map(&json!({"level": 1, "open": true}));
        let update = map(&json!({"level": 2, "text": null}));
        assert!(merge_reported(&mut reported, &update));
        assert_eq!(
            Value::Object(reported.clone()),
            json!({"level": 2, "open": true, "text": null})
        );
        assert!(!merge_reported(&mut reported, &map(&json!({"level": 2}))));
    }

    #[test]
    fn a_wish_is_merged_property_by_property() {
        let rows = [
            (
                json!({"a": 1}),
                json!({"b": 2}),
                json!({"a": 1, "b": 2}),
                vec!["b"],
            ),
            (
                json!({"a": 1}),
                json!({"a": 1.0}),
                json!({"a": 1.0}),
                vec![],
            ),
            (
                json!({"a": 1, "b": 2}),
                json!({"a": null}),
                json!({"b": 2}),
                vec!["a"],
            ),
            (json!({"a": 1}), json!({"x": null}), json!({"a": 1}), vec![]),
            (
                json!({"a": 1, "b": 2}),
                json!({}),
                json!({}),
                vec!["a", "b"],
            ),
            // A property is taken as a whole: nulls within are values.
            (
                json!({"a": {"x": 1, "y": 2}}),
                json!({"a": {"x": null}}),
                json!({"a": {"x": null}}),
                vec!["a"],
            ),
        ];
        for (before, wish, after, changed) in rows {
            let mut desired = map(&before);
            assert_eq!(
                merge_desired(&mut desired, &map(&wish)),
                changed,
                "{before} {wish}"
            );
            assert_eq!(Value::Object(desired), after, "{before} {wish}");
        }
    }

    #[test]
    fn values_are_compared_as_what_they_mean() {
        let rows = [
            (json!(1), json!(1.0), true),
            (json!(1), json!(1.5), false),
            (json!(0), json!(-0.0), true),
            (json!(u64::MAX), json!(u64::MAX), true),
            (json!(u64::MAX), json!(-1), false),
            (
                json!((1u64 << 53) + 1),
                json!(9_007_199_254_740_992.0),
                false,
            ),
            (json!((1u64 << 53) + 1), json!("9007199254740993"), true),
            (json!(7), json!("7"), false),
            (json!(1), json!(true), false),
            (json!(null), json!(0), false),
            (json!([1, 2]), json!([1.0, 2]), true),
            (json!([1, 2]), json!([2, 1]), false),
            (json!({"a": 1, "b": [2]}), json!({"b": [2.0], "a": 1}), true),
            (json!({"a": 1}), json!({"a": 1, "b": null}), false),
        ];
        for (one, other, same) in rows {
            assert_eq!(is_same(&one, &other), same, "{one} {other}");
            assert_eq!(is_same(&other, &one), same, "{other} {one}");
        }
        let desired = map(&json!({"a": 1, "b": 2, "c": 3, "d": false}));
        let reported = map(&json!({"a": 1.0, "b": null, "c": 4, "e": 5}));
        let lacking = json!({"b": 2, "c": 3, "d": false});
        assert_eq!(Value::Object(difference(&desired, &reported)), lacking);
    }

    #[test]
    fn names_that_no_shadow_takes_are_found_at_any_depth() {
        let rows = [
            (json!({"a": {"b-c": [1, {"d_e": 2}]}, "\u{6c34}": 1}), None),
            (json!({"a.b": 1}), Some("a.b")),
            (json!({"a": 1, "$b": null}), Some("$b")),
            (json!({"a\0": 1}), Some("a\0")),
            (json!({"a": {"b": {"c.d": 1}}}), Some("a.b.c.d")),
            (json!({"a": [0, {"$set": 1}]}), Some("a[0].$set")),
        ];
        for (properties, want) in rows {
            let found = misnamed(&map(&properties));
            let want = want.map(|w| w.replace("a[0]", "a[1]"));
            assert_eq!(found, want, "{properties}");
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-3i64..3).prop_map(Value::from),
            (-3i32..3).prop_map(|n| Value::from(f64::from(n) / 2.0)),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(2, 8, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::btree_map("[a-c]", inner, 0..3)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    fn any_map() -> impl Strategy<Value = Map<String, Value>> {
        proptest::collection::btree_map("[a-e]", any_value(), 0..5)
            .prop_map(|m| m.into_iter().collect())
    }

    proptest! {
        /// A device that takes over the difference has nothing left to take over; and one that lacks
        /// nothing is told nothing.
        #[test]
        fn taking_over_the_difference_ends_it(desired in any_map(), mut reported in any_map()) {
            let lacking = difference(&desired, &reported);
            merge_reported(&mut reported, &lacking);
            prop_assert_eq!(difference(&desired, &reported), Map::new());
            prop_assert_eq!(difference(&desired, &desired), Map::new());
        }

        /// What is wished is desired, what is not named stays, and the same again changes nothing.
        #[test]
        fn a_wish_comes_true(before in any_map(), wish in any_map()) {
            let mut desired = before.clone();
            desired.retain(|_, value| !value.is_null());
            let before = desired.clone();
            let changed = merge_desired(&mut desired, &wish);
            for (name, value) in &wish {
                prop_assert_eq!(desired.get(name), Some(value).filter(|v| !v.is_null()));
            }
            let kept = before.iter().filter(|(name, _)| !wish.contains_key(*name));
            for (name, value) in kept {
                let stays = Some(value).filter(|_| !wish.is_empty());
                prop_assert_eq!(desired.get(name), stays);
            }
            let differing = difference(&desired, &before);
            prop_assert!(differing.keys().all(|name| changed.contains(name)));
            prop_assert_eq!(merge_desired(&mut desired, &wish), Vec::<String>::new());
        }
    }
}
