//! Parameters of commands, and properties, that fit the product model, at its edges and between them.

use fastrand::Rng;
use serde_json::{Map, Value, json};

use super::mutation::pick;
use crate::product::profile::{Command, DataType, Para, Property};

/// Longest text where the model sets no limit.
const TEXT_MAX: usize = 32;
const DEFAULT_MIN: f64 = -2_147_483_648.0;
const DEFAULT_MAX: f64 = 2_147_483_647.0;

/// Parameters for one command; optional ones are left out now and then.
pub(super) fn paras(rng: &mut Rng, command: &Command) -> Map<String, Value> {
    let mut values = Map::new();
    for para in &command.paras {
        if para.required || rng.u8(..4) > 0 {
            values.insert(para.para_name.clone(), value(rng, para));
        }
    }
    values
}

/// Values for some of these properties.
pub(super) fn properties(rng: &mut Rng, all: &[&Property]) -> Map<String, Value> {
    let mut values = Map::new();
    for property in all {
        if rng.u8(..3) > 0 {
            let name = property.property_name.clone();
            values.insert(name, value(rng, &as_para(property)));
        }
    }
    values
}

fn as_para(property: &Property) -> Para {
    Para {
        para_name: property.property_name.clone(),
        data_type: property.data_type,
        required: property.required,
        enum_list: property.enum_list.clone(),
        min: property.min.clone(),
        max: property.max.clone(),
        max_length: property.max_length,
        step: property.step,
        unit: None,
        description: None,
    }
}

fn value(rng: &mut Rng, para: &Para) -> Value {
    match para.data_type {
        DataType::Int | DataType::Long => whole(number(rng, para).round()),
        DataType::Decimal => decimal(rng, para),
        DataType::Boolean => json!(rng.bool()),
        DataType::String | DataType::Enum => text(rng, para),
        DataType::DateTime => json!(format!("202{}0101T000000Z", rng.u8(..10))),
        DataType::JsonObject => json!({ "a": rng.u8(..) }),
        DataType::StringList => {
            let count = rng.usize(0..3);
            Value::Array((0..count).map(|_| text(rng, para)).collect())
        }
    }
}

fn bounds(para: &Para) -> (f64, f64) {
    let read = |text: &Option<String>| text.as_ref().and_then(|t| t.parse::<f64>().ok());
    let min = read(&para.min).unwrap_or(DEFAULT_MIN);
    let max = read(&para.max).unwrap_or(DEFAULT_MAX);
    (min, max.max(min))
}

/// An edge, or anything between.
fn number(rng: &mut Rng, para: &Para) -> f64 {
    let (min, max) = bounds(para);
    match rng.u8(..4) {
        0 => min,
        1 => max,
        2 if min <= 0.0 && max >= 0.0 => 0.0,
        _ => min + rng.f64() * (max - min),
    }
}

/// Within the model's step, which is what a device can say.
fn decimal(rng: &mut Rng, para: &Para) -> Value {
    let (min, _) = bounds(para);
    let number = number(rng, para);
    match para.step.filter(|step| *step > 0.0) {
        // Through text, so that 0.30000000000000004 is 0.3.
        Some(step) => {
            let steps = ((number - min) / step).floor();
            let places = format!("{step}")
                .split_once('.')
                .map_or(0, |(_, p)| p.len());
            let text = format!("{:.places$}", min + steps * step);
            serde_json::from_str(&text).unwrap_or_else(|_| whole(number.round()))
        }
        None => whole(number.round()),
    }
}

fn whole(number: f64) -> Value {
    serde_json::from_str(&format!("{number:.0}")).unwrap_or_default()
}

fn text(rng: &mut Rng, para: &Para) -> Value {
    if let Some(list) = para.enum_list.as_ref().filter(|list| !list.is_empty()) {
        return json!(pick(rng, list));
    }
    let max = para.max_length.and_then(|max| usize::try_from(max).ok());
    let len = rng.usize(0..=max.unwrap_or(TEXT_MAX).min(TEXT_MAX));
    let text: String = (0..len).map(|_| rng.alphanumeric()).collect();
    json!(text)
}
