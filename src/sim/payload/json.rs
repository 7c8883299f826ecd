//! A device that speaks JSON itself: takes commands and property sets, and reports its properties.
//!
//! ```text
//! down {"msg_type": "commands", "mid", "service_id", "command_name", "paras"}
//! up   {"msg_type": "command_response", "mid", "result_code", "response_name", "paras"}
//! down {"msg_type": "properties_set", "mid", "services": [{"service_id", "properties"}]}
//! up   {"msg_type": "properties_report", "services": [{"service_id", "properties"}]}
//! ```
//!
//! A property that was set is reported at once or with the next report. A command is answered with
//! its own `paras`. What is not JSON of these forms is dropped.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Verdict;
use crate::sim::device::Reaction;

/// Services kept of one device.
const SERVICES_MAX: usize = 32;

/// See the module.
#[derive(Debug, Default)]
pub struct JsonDevice {
    /// Properties by service.
    services: BTreeMap<String, Map<String, Value>>,
    /// Answers name the command they answer.
    omits_mid: bool,
    /// A property that was set is reported with the next report.
    reports_later: bool,
}

impl JsonDevice {
    /// Its answers carry no mid.
    #[must_use]
    pub const fn without_mid(mut self) -> Self {
        self.omits_mid = true;
        self
    }

    /// What was set shows in the next report only.
    #[must_use]
    pub const fn reporting_later(mut self) -> Self {
        self.reports_later = true;
        self
    }

    /// Changes a property by itself, as a sensor does.
    pub fn set(&mut self, service: &str, property: &str, value: Value) {
        if self.services.len() < SERVICES_MAX || self.services.contains_key(service) {
            let properties = self.services.entry(service.to_owned()).or_default();
            properties.insert(property.to_owned(), value);
        }
    }

    pub fn property(&self, service: &str, property: &str) -> Option<&Value> {
        self.services.get(service)?.get(property)
    }

    /// All properties.
    pub fn report(&self) -> Vec<u8> {
        let service = |(id, properties): (&String, &Map<String, Value>)| json!({"service_id": id, "properties": properties});
        let services: Vec<_> = self.services.iter().map(service).collect();
        let report = json!({"msg_type": "properties_report", "services": services});
        report.to_string().into_bytes()
    }

    /// The firmware's reaction to a downlink.
    pub fn take(&mut self, bytes: &[u8], verdict: Verdict) -> Reaction {
        let Ok(message) = serde_json::from_slice::<Value>(bytes) else {
            return Reaction::Nothing;
        };
        match message.get("msg_type").and_then(Value::as_str) {
            Some("commands") => self.answer(&message, verdict),
            Some("properties_set") if verdict == Verdict::Failed => Reaction::Nothing,
            Some("properties_set") => {
                self.apply(&message);
                if self.reports_later {
                    Reaction::Nothing
                } else {
                    Reaction::Report(self.report())
                }
            }
            _ => Reaction::Nothing,
        }
    }

    fn answer(&self, command: &Value, verdict: Verdict) -> Reaction {
        let mid = mid(command).filter(|_| !self.omits_mid);
        let mid = mid.map(|mid| match verdict {
            Verdict::WrongMid => mid.checked_add(1).unwrap_or(1),
            Verdict::Done | Verdict::Failed => mid,
        });
        let mut response = Map::new();
        response.insert("msg_type".to_owned(), json!("command_response"));
        if let Some(mid) = mid {
            response.insert("mid".to_owned(), json!(mid));
        }
        let code = u8::from(verdict == Verdict::Failed);
        response.insert("result_code".to_owned(), json!(code));
        let name = command.get("command_name").and_then(Value::as_str);
        let name = format!("{}_RSP", name.unwrap_or_default());
        response.insert("response_name".to_owned(), json!(name));
        let paras = command.get("paras").cloned();
        response.insert("paras".to_owned(), paras.unwrap_or_else(|| json!({})));
        Reaction::Answer(Value::Object(response).to_string().into_bytes())
    }

    fn apply(&mut self, message: &Value) {
        let services = message.get("services").and_then(Value::as_array);
        for service in services.into_iter().flatten() {
            let id = service.get("service_id").and_then(Value::as_str);
            let properties = service.get("properties").and_then(Value::as_object);
            if let (Some(id), Some(properties)) = (id, properties) {
                for (name, value) in properties {
                    self.set(id, name, value.clone());
                }
            }
        }
    }
}

/// The mid of a command in JSON.
fn mid(message: &Value) -> Option<u16> {
    message
        .get("mid")
        .and_then(Value::as_u64)
        .and_then(|mid| u16::try_from(mid).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(reaction: &Reaction) -> Value {
        match reaction {
            Reaction::Nothing => Value::Null,
            Reaction::Answer(bytes) | Reaction::Report(bytes) => {
                serde_json::from_slice(bytes).unwrap()
            }
        }
    }

    const COMMAND: &[u8] = br#"{"msg_type":"commands","mid":7,"service_id":"Valve",
        "command_name":"OPEN","paras":{"by":3}}"#;
    const SET: &[u8] = br#"{"msg_type":"properties_set","mid":8,
        "services":[{"service_id":"Valve","properties":{"state":"open"}}]}"#;

    #[test]
    fn commands_are_answered_with_or_without_their_mid() {
        let answer = |verdict, mut device: JsonDevice| read(&device.take(COMMAND, verdict));
        let done = answer(Verdict::Done, JsonDevice::default());
        let want = json!({"msg_type": "command_response", "mid": 7, "result_code": 0,
            "response_name": "OPEN_RSP", "paras": {"by": 3}});
        assert_eq!(done, want);
        let failed = answer(Verdict::Failed, JsonDevice::default().without_mid());
        assert_eq!(
            (&failed["result_code"], &failed["mid"]),
            (&json!(1), &Value::Null)
        );
        assert_eq!(answer(Verdict::WrongMid, JsonDevice::default())["mid"], 8);
    }

    #[test]
    fn a_property_set_shows_at_once_or_later_or_not_at_all() {
        let mut now = JsonDevice::default();
        let report = read(&now.take(SET, Verdict::Done));
        assert_eq!(
            report["services"][0]["properties"],
            json!({"state": "open"})
        );
        let mut later = JsonDevice::default().reporting_later();
        assert_eq!(later.take(SET, Verdict::Done), Reaction::Nothing);
        assert_eq!(later.property("Valve", "state"), Some(&json!("open")));
        let mut broken = JsonDevice::default();
        assert_eq!(broken.take(SET, Verdict::Failed), Reaction::Nothing);
        assert_eq!(broken.property("Valve", "state"), None);
        for junk in [&b"{"[..], b"[]", b"{\"msg_type\":\"messages\"}"] {
            assert_eq!(now.take(junk, Verdict::Done), Reaction::Nothing);
        }
    }
}
