//! The reported half of a device shadow.

use serde_json::{Map, Value};

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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_replaces_what_it_names_and_keeps_the_rest() {
        let map = |v: Value| v.as_object().cloned().unwrap();
        let mut reported = map(json!({"level": 1, "open": true}));
        assert!(merge_reported(
            &mut reported,
            &map(json!({"level": 2, "text": null}))
        ));
        assert_eq!(
            Value::Object(reported.clone()),
            json!({"level": 2, "open": true, "text": null})
        );
        assert!(!merge_reported(&mut reported, &map(json!({"level": 2}))));
    }
}
