//! A product model that examples fit: one service, a property for each key of their data with the
//! narrowest type that takes all its values, and one command with the keys of their downlinks.

use serde_json::{Map, Value};

use crate::product::check::{self, judge_name};
use crate::product::profile::{Command, DataType, Para, Profile, Property, Service, ServiceOption};

/// The service that a script's data becomes.
pub(super) const SERVICE: &str = "Data";
/// Characters of the names of properties and parameters.
const NAME_MAX: usize = 64;
const PARA_NAME_MAX: usize = 32;

/// The model, and what it could not take.
pub(super) fn infer<'a>(
    reports: impl Iterator<Item = &'a Map<String, Value>>,
    command: Option<(&str, &[&Map<String, Value>])>,
) -> (Profile, Vec<String>) {
    let mut notes = Vec::new();
    let named = types_of(reports, NAME_MAX, &mut notes);
    let properties = named.into_iter().map(|(name, data_type)| Property {
        property_name: name,
        data_type,
        required: false,
        enum_list: None,
        min: None,
        max: None,
        max_length: None,
        step: None,
        unit: None,
        method: "R".to_owned(),
        description: None,
        default_value: None,
    });
    let commands = command.into_iter().map(|(name, examples)| {
        let named = types_of(examples.iter().copied(), PARA_NAME_MAX, &mut notes);
        let paras = named.into_iter().map(|(name, data_type)| Para {
            para_name: name,
            data_type,
            required: false,
            enum_list: None,
            min: None,
            max: None,
            max_length: None,
            step: None,
            unit: None,
            description: None,
        });
        Command {
            command_name: name.to_owned(),
            paras: paras.collect(),
            responses: Vec::new(),
        }
    });
    let commands: Vec<Command> = commands.collect();
    let service = Service {
        service_id: SERVICE.to_owned(),
        service_type: SERVICE.to_owned(),
        properties: properties.collect(),
        commands,
        events: Vec::new(),
        description: None,
        option: ServiceOption::Optional,
    };
    let profile = Profile {
        services: vec![service],
    };
    for violation in check::model(&profile) {
        notes.push(format!("{}: {}", violation.path, violation.message));
    }
    (profile, notes)
}

/// Each key with the type that takes its values, in the order of their first appearance.
fn types_of<'a>(
    examples: impl Iterator<Item = &'a Map<String, Value>>,
    max: usize,
    notes: &mut Vec<String>,
) -> Vec<(String, DataType)> {
    let mut found: Vec<(String, Option<DataType>)> = Vec::new();
    for (name, value) in examples.flatten() {
        if let Err((_, message)) = judge_name(name, max) {
            let note = format!("{name:?} is not in the product model: {message}");
            if !notes.contains(&note) {
                notes.push(note);
            }
            continue;
        }
        let place = found.iter().position(|(known, _)| known == name);
        let at = place.unwrap_or_else(|| {
            found.push((name.clone(), None));
            found.len() - 1
        });
        let (Some((_, known)), Some(new)) = (found.get_mut(at), type_of(value)) else {
            continue;
        };
        match known.map_or(Some(new), |known| both(known, new)) {
            Some(wider) => *known = Some(wider),
            None => {
                let note = format!("{name} has values of several types, the first one counts");
                if !notes.contains(&note) {
                    notes.push(note);
                }
            }
        }
    }
    // A key that is always null says nothing about its type.
    let or_text = |(name, t): (String, Option<DataType>)| (name, t.unwrap_or(DataType::String));
    found.into_iter().map(or_text).collect()
}

fn type_of(value: &Value) -> Option<DataType> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(_) => DataType::Boolean,
        Value::Number(number) => match number.as_f64() {
            Some(float) if float.fract() != 0.0 => DataType::Decimal,
            Some(float) if float.abs() <= f64::from(i32::MAX) => DataType::Int,
            _ => DataType::Long,
        },
        Value::String(_) => DataType::String,
        Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_string) => {
            DataType::StringList
        }
        Value::Array(_) | Value::Object(_) => DataType::JsonObject,
    })
}

/// The narrowest type that takes the values of both.
fn both(a: DataType, b: DataType) -> Option<DataType> {
    let rank = |t: DataType| match t {
        DataType::Int => Some(0),
        DataType::Long => Some(1),
        DataType::Decimal => Some(2),
        _ => None,
    };
    match (rank(a), rank(b)) {
        _ if a == b => Some(a),
        (Some(x), Some(y)) => Some(if x > y { a } else { b }),
        // A list of texts may be empty, or hold something else.
        _ => match (a, b) {
            (DataType::StringList, DataType::JsonObject)
            | (DataType::JsonObject, DataType::StringList) => Some(DataType::JsonObject),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn types_widen_until_they_take_all_values() {
        let cases: [(&[Value], DataType); 9] = [
            (&[json!(1), json!(2)], DataType::Int),
            (&[json!(1), json!(3_000_000_000_u64)], DataType::Long),
            (&[json!(1), json!(1.5)], DataType::Decimal),
            (&[json!(1.5), json!(3_000_000_000_u64)], DataType::Decimal),
            (&[json!(null), json!(true)], DataType::Boolean),
            (&[json!(null)], DataType::String),
            (&[json!(["a"]), json!([])], DataType::JsonObject),
            (&[json!({"a": 1})], DataType::JsonObject),
            (&[json!(["a"])], DataType::StringList),
        ];
        for (values, want) in cases {
            let maps: Vec<Map<String, Value>> = values
                .iter()
                .map(|value| Map::from_iter([("x".to_owned(), value.clone())]))
                .collect();
            let (profile, notes) = infer(maps.iter(), None);
            assert_eq!(
                profile.services[0].properties[0].data_type, want,
                "{values:?}"
            );
            assert_eq!(notes, [""; 0], "{values:?}");
        }
        let mixed = [json!({"x": 1, "a b": 2}), json!({"x": "on"})];
        let maps: Vec<_> = mixed.iter().filter_map(Value::as_object).collect();
        let (profile, notes) = infer(maps.into_iter(), None);
        assert_eq!(profile.services[0].properties.len(), 1);
        assert_eq!(notes.len(), 2, "{notes:?}");
    }
}
