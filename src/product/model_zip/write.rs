//! A product, written as a package. Fields of the format are all there, null when unset.

use serde_json::{Map, Value, json};

use super::archive::{self, File};
use super::read::{DATA_TYPES, DEVICE_FILE, OPTIONS, SERVICE_FILE};
use super::{Package, PackageError};
use crate::product::profile::{Command, DataType, Para, Property, Service, ServiceOption};

/// Writes a package, the same bytes for the same product.
pub fn write(package: &Package) -> Result<Vec<u8>, PackageError> {
    let services = &package.profile.services;
    let mut files = vec![File {
        name: format!("profile/{DEVICE_FILE}"),
        bytes: text(&device(package)),
    }];
    for (at, service) in services.iter().enumerate() {
        let folder = folder(&service.service_id, at);
        files.push(File {
            name: format!("service/{folder}/profile/{SERVICE_FILE}"),
            bytes: text(&json!({"services": [describe(service)]})),
        });
    }
    archive::pack(&files)
}

fn text(value: &Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}

/// The service's id where every file system takes it, else its number: no id begins with `#` and
/// is taken as it is.
fn folder(service_id: &str, at: usize) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    match service_id.chars().all(is_plain) {
        true => service_id.to_owned(),
        false => format!("#{at}"),
    }
}

fn device(package: &Package) -> Value {
    let services = package.profile.services.iter().map(|service| {
        json!({
            "serviceId": service.service_id,
            "serviceType": service.service_type,
            "option": option_word(service.option),
        })
    });
    let services: Vec<Value> = services.collect();
    json!({"devices": [{
        "manufacturerId": package.manufacturer_name.as_deref().unwrap_or_default(),
        "manufacturerName": package.manufacturer_name,
        "model": package.name,
        "protocolType": package.protocol_type,
        "deviceType": package.device_type,
        "dataFormat": package.data_format,
        "industry": package.industry,
        "description": package.description,
        "serviceTypeCapabilities": services,
    }]})
}

fn describe(service: &Service) -> Value {
    let commands: Vec<Value> = service.commands.iter().map(command).collect();
    let properties: Vec<Value> = service.properties.iter().map(property).collect();
    let events = service
        .events
        .iter()
        .map(|event| json!({"eventType": event.event_type, "paras": paras(&event.paras)}));
    let events: Vec<Value> = events.collect();
    json!({
        "serviceType": service.service_type,
        "serviceId": service.service_id,
        "description": service.description,
        "commands": commands,
        "properties": properties,
        "events": events,
    })
}

fn property(property: &Property) -> Value {
    let mut fields = Map::new();
    fields.insert("propertyName".into(), json!(property.property_name));
    fields.insert("dataType".into(), json!(type_word(property.data_type)));
    fields.insert("required".into(), json!(property.required));
    fields.insert("min".into(), json!(property.min));
    fields.insert("max".into(), json!(property.max));
    fields.insert("step".into(), step(property.step));
    fields.insert("maxLength".into(), json!(property.max_length));
    fields.insert("method".into(), json!(property.method));
    fields.insert("unit".into(), json!(property.unit));
    fields.insert("enumList".into(), json!(property.enum_list));
    fields.insert("description".into(), json!(property.description));
    fields.insert("defaultValue".into(), json!(property.default_value));
    Value::Object(fields)
}

fn command(command: &Command) -> Value {
    let responses = command.responses.iter().map(
        |response| json!({"responseName": response.response_name, "paras": paras(&response.paras)}),
    );
    let responses: Vec<Value> = responses.collect();
    json!({
        "commandName": command.command_name,
        "paras": paras(&command.paras),
        "responses": responses,
    })
}

fn paras(paras: &[Para]) -> Vec<Value> {
    let written = paras.iter().map(|para| {
        json!({
            "paraName": para.para_name,
            "dataType": type_word(para.data_type),
            "required": para.required,
            "min": para.min,
            "max": para.max,
            "step": step(para.step),
            "maxLength": para.max_length,
            "unit": para.unit,
            "enumList": para.enum_list,
            "description": para.description,
        })
    });
    written.collect()
}

/// A number, or in text where readers of JSON numbers may miss its last digit.
fn step(step: Option<f64>) -> Value {
    let Some(step) = step else {
        return Value::Null;
    };
    let number = json!(step);
    let read: Result<f64, _> = serde_json::from_str(&number.to_string());
    match read {
        Ok(read) if read.to_bits() == step.to_bits() => number,
        _ => Value::String(step.to_string()),
    }
}

fn type_word(data_type: DataType) -> &'static str {
    let found = DATA_TYPES.iter().find(|(_, meaning)| *meaning == data_type);
    found.map_or("string", |(word, _)| word)
}

fn option_word(option: ServiceOption) -> &'static str {
    let found = OPTIONS.iter().find(|(_, meaning)| *meaning == option);
    found.map_or("Optional", |(word, _)| word)
}
