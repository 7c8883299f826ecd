//! One event as it is printed: `time  resource.event  device_id  what`, or its JSON.
//!
//! Bytes of devices end up in events, and lines on terminals: control characters are shown by their
//! numbers.

use serde_json::{Map, Value};

use super::feed::ServerEvent;

/// Characters of what an event says.
const WHAT_MAX: usize = 200;

/// Which events are printed.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    devices: Vec<String>,
    resources: Vec<String>,
}

impl Filter {
    /// None of either: all.
    pub const fn new(devices: Vec<String>, resources: Vec<String>) -> Self {
        Self { devices, resources }
    }

    pub fn takes(&self, line: &Line<'_>) -> bool {
        let is_device = |id: &String| line.device() == Some(id.as_str());
        let is_resource = |wanted: &String| {
            let resource = line
                .name
                .rsplit_once('.')
                .map_or("", |(resource, _)| resource);
            *wanted == line.name || *wanted == resource
        };
        (self.devices.is_empty() || self.devices.iter().any(is_device))
            && (self.resources.is_empty() || self.resources.iter().any(is_resource))
    }
}

/// An event, looked into.
#[derive(Debug)]
pub struct Line<'a> {
    /// `resource.event`
    name: &'a str,
    data: &'a str,
    /// Null when the data is no JSON.
    envelope: Value,
}

impl<'a> Line<'a> {
    pub fn of(event: &'a ServerEvent) -> Self {
        Self {
            name: &event.name,
            data: &event.data,
            envelope: serde_json::from_str(&event.data).unwrap_or_default(),
        }
    }

    /// Whose event it is.
    fn device(&self) -> Option<&str> {
        let data = self.envelope.get("notify_data")?;
        let id = |part| data.get(part)?.get("device_id")?.as_str();
        id("header").or_else(|| id("body"))
    }

    /// The event itself, on one line: line ends in JSON stand between its words alone.
    pub fn json(&self) -> String {
        self.data.replace(['\r', '\n'], " ")
    }

    /// For people.
    pub fn text(&self) -> String {
        let time = |name| self.envelope.get(name).and_then(Value::as_str);
        let time = time("event_time_ms").or_else(|| time("event_time"));
        let what = match self.envelope.get("notify_data").and_then(|d| d.get("body")) {
            Some(body) => told(body),
            None => self.data.to_owned(),
        };
        let what = shortened(&what);
        let parts = [
            time.unwrap_or("-"),
            self.name,
            self.device().unwrap_or("-"),
            &what,
        ];
        visible(&parts.join("  "))
    }
}

/// What the body of an event says, as short as its kind allows.
fn told(body: &Value) -> String {
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    if let Some(services) = body.get("services").and_then(Value::as_array) {
        let services: Vec<String> = services.iter().map(service).collect();
        return services.join("; ");
    }
    if let Some(topic) = text("topic") {
        let content = body.get("content").map(Value::to_string);
        return format!("{topic} {}", content.unwrap_or_default());
    }
    let Some(status) = text("status") else {
        let product = text("product_id").zip(text("name"));
        return product.map_or_else(|| body.to_string(), |(id, name)| format!("{id} {name}"));
    };
    // A device has both; its id stands in a column of its own.
    let ids = ["command_id", "message_id", "task_id", "node_id"];
    let id = ids.into_iter().find_map(text);
    let result = ["result", "error_info", "status_desc"];
    let result = result.into_iter().filter_map(|name| body.get(name));
    let mut result = result.filter(|v| !v.is_null() && v.as_str() != Some(""));
    let result = result.next().map(Value::to_string);
    let parts = [id, Some(status), result.as_deref()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// `Flow {"volume":314}`
fn service(service: &Value) -> String {
    let id = service.get("service_id").and_then(Value::as_str);
    let none = Value::Object(Map::new());
    let properties = service.get("properties").unwrap_or(&none);
    format!("{} {properties}", id.unwrap_or("-"))
}

fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(WHAT_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// Without what a terminal would obey.
fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            true => shown.extend(c.escape_unicode()),
            false => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(name: &str, data: &Value) -> ServerEvent {
        ServerEvent {
            name: name.to_owned(),
            data: data.to_string(),
            id: None,
        }
    }

    #[test]
    fn lines_say_what_happened() {
        let of_device = |body: Value| {
            json!({"event_time": "20260101T000000Z", "event_time_ms": "2026-01-01T00:00:00.250Z",
                   "notify_data": {"header": {"device_id": "p_n"}, "body": body}})
        };
        let long = "x".repeat(300);
        let cases = [
            (
                "device.property.report",
                of_device(json!({"services": [
                    {"service_id": "Flow", "properties": {"volume": 314}, "event_time": "t"},
                    {"service_id": "Battery", "properties": {"level": 80}}]})),
                "p_n  Flow {\"volume\":314}; Battery {\"level\":80}",
            ),
            (
                "device.status.update",
                of_device(json!({"status": "ONLINE", "last_online_time": ""})),
                "p_n  ONLINE",
            ),
            (
                "device.command.status.update",
                of_device(json!({"command_id": "c1", "status": "SUCCESSFUL",
                                 "result": {"resultCode": "SUCCESSFUL"}})),
                "p_n  c1 SUCCESSFUL {\"resultCode\":\"SUCCESSFUL\"}",
            ),
            (
                "device.command.status.update",
                of_device(json!({"command_id": "c1", "status": "SENT", "result": null})),
                "p_n  c1 SENT",
            ),
            (
                "device.message.report",
                of_device(json!({"topic": "t", "content": "hi"})),
                "p_n  t \"hi\"",
            ),
            (
                "device.create",
                json!({"event_time": "20260101T000000Z", "notify_data": {"body": {
                    "device_id": "p_n", "node_id": "n", "status": "INACTIVE"}}}),
                "p_n  n INACTIVE",
            ),
            (
                "batchtask.update",
                json!({"notify_data": {"body": {"task_id": "t1", "status": "Fail",
                       "status_desc": "why"}}}),
                "-  t1 Fail \"why\"",
            ),
            (
                "product.create",
                json!({"notify_data": {"body": {"product_id": "p"}}}),
                "-  {\"product_id\":\"p\"}",
            ),
            (
                "product.create",
                json!({"notify_data": {"body": {"product_id": "p", "name": "Meter"}}}),
                "-  p Meter",
            ),
            (
                "device.status.update",
                of_device(json!({"status": "a\u{1b}[2J\u{9b}\u{202e}"})),
                "p_n  a\\u{1b}[2J\\u{9b}\\u{202e}",
            ),
            ("other", json!(long), &format!("-  \"{}…", "x".repeat(199))),
        ];
        for (name, data, want) in cases {
            let event = event(name, &data);
            let text = Line::of(&event).text();
            let time = match (&data["event_time_ms"], &data["event_time"]) {
                (Value::String(time), _) | (_, Value::String(time)) => time.as_str(),
                _ => "-",
            };
            assert_eq!(text, format!("{time}  {name}  {want}"));
        }
        let torn = ServerEvent {
            name: "x".into(),
            data: "{\n1".into(),
            id: None,
        };
        assert_eq!(Line::of(&torn).text(), "-  x  -  {\\u{a}1");
        assert_eq!(Line::of(&torn).json(), "{ 1");
    }

    #[test]
    fn a_resource_is_not_its_namesakes() {
        let data = json!({"notify_data": {"header": {"device_id": "d1"}}});
        let event = event("device.status.update", &data);
        let line = Line::of(&event);
        let takes = |devices: &[&str], resources: &[&str]| {
            let own = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
            Filter::new(own(devices), own(resources)).takes(&line)
        };
        assert!(takes(&[], &[]));
        assert!(takes(&["d0", "d1"], &[]) && !takes(&["d"], &[]));
        assert!(takes(&[], &["device", "device.status"]));
        assert!(takes(&["d1"], &["device.status.update"]));
        assert!(!takes(&[], &["device"]) && !takes(&[], &["device.status.create"]));
        assert!(!takes(&["d0"], &["device.status"]));
    }
}
