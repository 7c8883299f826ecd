//! Examples of TS013 scripts, as both repositories have them, and the draft they become: a product
//! model that they fit and fixtures that say what they say.

use serde_json::{Map, Value, json};

use super::model::{self, SERVICE};
use super::{Draft, Product};
use crate::base::time::Timestamp;
use crate::product::check;
use crate::product::codec::Decoded;
use crate::product::codec::text::hex;
use crate::product::profile::Profile;
use crate::product::report::{Report, ServiceReport};

/// The command whose parameters are a downlink's `data`.
const COMMAND: &str = "downlink";

/// What was read of one script.
#[derive(Debug, Default)]
pub(super) struct Examples {
    pub(super) uplinks: Vec<Uplink>,
    pub(super) downlinks: Vec<Downlink>,
    pub(super) notes: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Uplink {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    pub(super) f_port: Option<u8>,
    pub(super) received_at: Option<Timestamp>,
    /// `None`: the script gives errors.
    pub(super) data: Option<Map<String, Value>>,
}

#[derive(Debug)]
pub(super) struct Downlink {
    pub(super) name: String,
    pub(super) data: Map<String, Value>,
    /// `None`: the script gives errors.
    pub(super) bytes: Option<Vec<u8>>,
}

impl Examples {
    fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// One example of an uplink, or a note on why it is none.
    pub(super) fn add_uplink(&mut self, name: &str, input: &Value, output: &Value) {
        match uplink(name, input, output) {
            Ok(uplink) => {
                if has_text(output, "warnings") {
                    self.note("warnings are shown by decode --trace, fixtures don't hold them");
                }
                self.uplinks.push(uplink);
            }
            Err(reason) => self.note(format!("{name:?} is left out: {reason}")),
        }
    }

    pub(super) fn add_downlink(&mut self, name: &str, input: &Value, output: &Value) {
        match downlink(name, input, output) {
            Ok(downlink) => {
                if output.get("fPort").is_some_and(|port| !port.is_null()) {
                    self.note("a downlink's fPort is not sent: devices here have no ports");
                }
                self.downlinks.push(downlink);
            }
            Err(reason) => self.note(format!("{name:?} is left out: {reason}")),
        }
    }

    /// The codec folder's content.
    pub(super) fn draft(mut self, name: String, maker: Option<String>, script: String) -> Draft {
        let reports = self.uplinks.iter().filter_map(|u| u.data.as_ref());
        let commands = self.downlinks.iter().filter(|d| d.bytes.is_some());
        let commands: Vec<_> = commands.map(|d| &d.data).collect();
        let command = (!self.downlinks.is_empty()).then_some((COMMAND, commands.as_slice()));
        let (profile, notes) = model::infer(reports, command);
        notes.into_iter().for_each(|note| self.note(note));
        let mut fixtures: Vec<Value> = Vec::new();
        for uplink in &self.uplinks {
            fixtures.push(uplink.fixture(&profile));
        }
        let mut left_out = Vec::new();
        for downlink in &self.downlinks {
            let broken = check::command(&profile, SERVICE, COMMAND, &downlink.data);
            match broken.first() {
                Some(first) if downlink.bytes.is_some() => {
                    let (name, path) = (&downlink.name, &first.path);
                    left_out.push(format!("{name:?} is left out: {path}: {}", first.message));
                }
                Some(_) => {
                    let name = &downlink.name;
                    left_out.push(format!(
                        "{name:?} is left out: the product model refuses it before the script does"
                    ));
                }
                None => fixtures.push(downlink.fixture()),
            }
        }
        left_out.into_iter().for_each(|note| self.note(note));
        Draft {
            name,
            manufacturer: maker,
            script,
            product: Product {
                device_type: "Sensor".to_owned(),
                protocol_type: "CoAP".to_owned(),
                data_format: "binary".to_owned(),
                industry: None,
                description: None,
                profile,
            },
            fixtures,
            notes: self.notes,
        }
    }
}

impl Uplink {
    fn fixture(&self, profile: &Profile) -> Value {
        let mut fixture = json!({ "name": self.name, "kind": "decode", "hex": hex(&self.bytes) });
        let Some(map) = fixture.as_object_mut() else {
            return fixture;
        };
        if let Some(port) = self.f_port {
            map.insert("fPort".to_owned(), port.into());
        }
        if let Some(at) = self.received_at {
            map.insert("recvTime".to_owned(), at.rfc3339_ms().into());
        }
        let expect = match &self.data {
            None => json!({ "error": "script" }),
            Some(data) => expected(profile, data),
        };
        map.insert("expect".to_owned(), expect);
        fixture
    }
}

/// What the platform makes of a script's data: what the model can't hold is a violation.
fn expected(profile: &Profile, data: &Map<String, Value>) -> Value {
    let mut report = Report {
        services: vec![ServiceReport {
            service_id: SERVICE.to_owned(),
            properties: data.clone(),
            event_time: None,
        }],
        has_more: false,
    };
    let broken = check::report(profile, &mut report);
    let mut shown = Decoded::Report(report).to_json();
    if let Some(map) = shown.as_object_mut() {
        map.shift_remove("kind");
        if !broken.is_empty() {
            let paths: Vec<&str> = broken.iter().map(|v| v.path.as_str()).collect();
            map.insert("violations".to_owned(), json!(paths));
        }
    }
    shown
}

impl Downlink {
    fn fixture(&self) -> Value {
        let expect = match &self.bytes {
            None => json!({ "error": "script" }),
            Some(bytes) => json!({ "hex": hex(bytes) }),
        };
        json!({
            "name": self.name,
            "kind": "encode",
            "command": { "service_id": SERVICE, "command_name": COMMAND, "paras": self.data },
            "expect": expect,
        })
    }
}

fn uplink(name: &str, input: &Value, output: &Value) -> Result<Uplink, String> {
    let has_variables = |map: &Map<String, Value>| !map.is_empty();
    if input
        .get("variables")
        .and_then(Value::as_object)
        .is_some_and(has_variables)
    {
        return Err("input.variables: devices here have none".to_owned());
    }
    let f_port = match input.get("fPort") {
        None | Some(Value::Null) => None,
        Some(port) => {
            let number = port.as_u64().and_then(|n| u8::try_from(n).ok());
            Some(number.ok_or_else(|| format!("input.fPort: got {port}, takes 0 to 255"))?)
        }
    };
    let received_at = match input.get("recvTime").and_then(Value::as_str) {
        None => None,
        Some(text) => {
            let time = Timestamp::parse(text).or_else(|| foreign_time(text));
            Some(time.ok_or_else(|| {
                format!("input.recvTime: got {text:?}, takes a time like 2020-01-01T00:00:00Z")
            })?)
        }
    };
    let data = if has_text(output, "errors") {
        None
    } else {
        let data = output.get("data").and_then(Value::as_object);
        Some(data.ok_or("output.data: is no object")?.clone())
    };
    Ok(Uplink {
        name: name.to_owned(),
        bytes: bytes_of(input, "input")?,
        f_port,
        received_at,
        data,
    })
}

fn downlink(name: &str, input: &Value, output: &Value) -> Result<Downlink, String> {
    let data = input.get("data").and_then(Value::as_object);
    let bytes = if has_text(output, "errors") {
        None
    } else {
        Some(bytes_of(output, "output")?)
    };
    Ok(Downlink {
        name: name.to_owned(),
        data: data.ok_or("input.data: is no object")?.clone(),
        bytes,
    })
}

/// A time as others write it: with any number of digits behind the second, and a zone.
fn foreign_time(text: &str) -> Option<Timestamp> {
    let (second, rest) = (text.get(..19)?, text.get(19..)?);
    let at = rest.find(['Z', '+', '-'])?;
    let (fraction, zone) = rest.split_at_checked(at)?;
    let digits = fraction.strip_prefix('.').unwrap_or(fraction);
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let three = format!("{digits}000");
    let time = Timestamp::parse(&format!("{second}.{}Z", three.get(..3)?))?;
    if zone == "Z" {
        return Some(time);
    }
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let minutes = hours.parse::<u64>().ok()? * 60 + minutes.parse::<u64>().ok()?;
    let ms = minutes.checked_mul(60_000)?;
    if zone.starts_with('-') {
        return Some(time.plus_ms(ms));
    }
    time.as_ms().checked_sub(ms).map(Timestamp::from_ms)
}

fn has_text(output: &Value, key: &str) -> bool {
    let list = output.get(key).and_then(Value::as_array);
    list.is_some_and(|list| !list.is_empty())
}

/// A list of numbers, or hex.
fn bytes_of(from: &Value, place: &str) -> Result<Vec<u8>, String> {
    match from.get("bytes") {
        Some(Value::Array(items)) => {
            let byte = |item: &Value| {
                let number = item.as_u64().and_then(|n| u8::try_from(n).ok());
                number.ok_or_else(|| format!("{place}.bytes: got {item}, takes 0 to 255"))
            };
            items.iter().map(byte).collect()
        }
        Some(Value::String(text)) => crate::product::codec::text::unhex(text)
            .ok_or_else(|| format!("{place}.bytes: got {text:?}, takes numbers or hex")),
        Some(Value::Null) | None => Err(format!("{place}.bytes: is missing")),
        Some(other) => Err(format!("{place}.bytes: got {other}, takes a list")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_of_others_are_read() {
        let cases = [
            (
                "2020-08-02T20:00:00.000+05:00",
                Some("2020-08-02T15:00:00.000Z"),
            ),
            (
                "2020-08-02T20:00:00-02:30",
                Some("2020-08-02T22:30:00.000Z"),
            ),
            (
                "2020-08-02T20:00:00.123456Z",
                Some("2020-08-02T20:00:00.123Z"),
            ),
            ("2020-08-02T20:00:00.5Z", Some("2020-08-02T20:00:00.500Z")),
            ("2020-08-02 20:00:00Z", None),
            ("2020-08-02T20:00:00.000", None),
        ];
        for (text, want) in cases {
            let got = foreign_time(text).map(Timestamp::rfc3339_ms);
            assert_eq!(got.as_deref(), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_time_or_none(text in ".*") {
            let _any = foreign_time(&text);
        }
    }
}
