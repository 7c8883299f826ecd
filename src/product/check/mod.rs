//! A JSON value against the product model, with a path in each error.
//!
//! [`report`] judges what a device sent, [`command`] the parameters of a command, [`writable`] the
//! properties that a device shall take over, [`model()`] a product model itself. Nothing here is fatal: each takes everything it is given and lists all
//! that does not fit. Types, limits and alphabets are those of the v5 API, "Products".

mod model;
mod value;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use crate::product::profile::{Command, Profile};
use crate::product::report::Report;

pub use model::{is_chinese, judge_name, model};
use value::{Limits, one_of};

/// One value that does not fit the model.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Violation {
    /// `services[0].properties.level`
    pub path: String,
    /// What it got and what the model takes.
    pub message: String,
    /// Stable word: `unknown_service`, `unknown_property`, `unknown_command`, `unknown_para`,
    /// `read_only`, `type`, `range`, `length`, `enum`, `missing`, `character`, `duplicate`, `count`.
    pub kind: &'static str,
}

impl Violation {
    fn new(kind: &'static str, path: String, message: String) -> Self {
        Self {
            path,
            message,
            kind,
        }
    }
}

/// Takes what does not fit the model out of `report`; what is left still counts. A service
/// without a property left is taken out too. Paths count services as they were reported.
pub fn report(profile: &Profile, report: &mut Report) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut at = 0;
    report.services.retain_mut(|reported| {
        let place = at;
        at += 1;
        let Some(service) = profile.service(&reported.service_id) else {
            let known = profile.services.iter().map(|s| s.service_id.as_str());
            found.push(Violation::new(
                "unknown_service",
                format!("services[{place}]"),
                format!(
                    "got service {:?}, the model has {}",
                    reported.service_id,
                    one_of(known)
                ),
            ));
            return false;
        };
        reported.properties.retain(|name, value| {
            let verdict = match service.property(name) {
                Some(property) => Limits::of(property).judge(value),
                None => Err((
                    "unknown_property",
                    format!(
                        "service {} has no such property, it has {}",
                        service.service_id,
                        one_of(service.properties.iter().map(|p| p.property_name.as_str()))
                    ),
                )),
            };
            let Err((kind, message)) = verdict else {
                return true;
            };
            let path = format!("services[{place}].properties.{name}");
            found.push(Violation::new(kind, path, message));
            false
        });
        !reported.properties.is_empty()
    });
    found
}

/// What does not fit of a command's parameters: an unknown service or command, and each
/// parameter that is missing, unknown or outside its type and limits.
pub fn command(
    profile: &Profile,
    service_id: &str,
    command_name: &str,
    paras: &Map<String, Value>,
) -> Vec<Violation> {
    let Some(service) = profile.service(service_id) else {
        let known = profile.services.iter().map(|s| s.service_id.as_str());
        return vec![Violation::new(
            "unknown_service",
            "service_id".to_owned(),
            format!("got {service_id:?}, the model has {}", one_of(known)),
        )];
    };
    let Some(model) = service.command(command_name) else {
        let known = service.commands.iter().map(|c| c.command_name.as_str());
        return vec![Violation::new(
            "unknown_command",
            "command_name".to_owned(),
            format!(
                "got {command_name:?}, service {service_id} has {}",
                one_of(known)
            ),
        )];
    };
    paras_of(model, paras)
}

/// What does not fit of properties that the platform shall write: an unknown service, and each
/// property that is unknown, read-only or outside its type and limits.
pub fn writable(
    profile: &Profile,
    service_id: &str,
    properties: &Map<String, Value>,
) -> Vec<Violation> {
    let Some(service) = profile.service(service_id) else {
        let known = profile.services.iter().map(|s| s.service_id.as_str());
        return vec![Violation::new(
            "unknown_service",
            "service_id".to_owned(),
            format!("got {service_id:?}, the model has {}", one_of(known)),
        )];
    };
    let mut found = Vec::new();
    for (name, value) in properties {
        let verdict = match service.property(name) {
            Some(property) if !property.is_writable() => Err((
                "read_only",
                format!("has method {}, takes properties with W", property.method),
            )),
            Some(property) => Limits::of(property).judge(value),
            None => Err((
                "unknown_property",
                format!(
                    "service {service_id} has no such property, it has {}",
                    one_of(service.properties.iter().map(|p| p.property_name.as_str()))
                ),
            )),
        };
        if let Err((kind, message)) = verdict {
            found.push(Violation::new(kind, format!("properties.{name}"), message));
        }
    }
    found
}

fn paras_of(model: &Command, paras: &Map<String, Value>) -> Vec<Violation> {
    let mut found = Vec::new();
    for para in &model.paras {
        if para.required && !paras.contains_key(&para.para_name) {
            found.push(Violation::new(
                "missing",
                format!("paras.{}", para.para_name),
                format!("is required by command {}", model.command_name),
            ));
        }
    }
    for (name, value) in paras {
        let verdict = match model.paras.iter().find(|p| p.para_name == *name) {
            Some(para) => Limits::from(para).judge(value),
            None => Err((
                "unknown_para",
                format!(
                    "command {} has no such parameter, it has {}",
                    model.command_name,
                    one_of(model.paras.iter().map(|p| p.para_name.as_str()))
                ),
            )),
        };
        if let Err((kind, message)) = verdict {
            found.push(Violation::new(kind, format!("paras.{name}"), message));
        }
    }
    found
}
