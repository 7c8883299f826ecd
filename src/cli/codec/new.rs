//! `strait codec new`: a codec that works, to start from.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde_json::json;

use crate::base::ids::ProductId;
use crate::cli::codec::{Kind, MISMATCH, PASS, USAGE, bundle, complain};

const CODEC: &str = r#"# What each key means: docs/codecs.md.
# Try: strait codec decode . --hex 0124f100ea --trace
codec = { name = "@NAME@", endian = "be", id = { at = 0, type = "u8" } }

[[message]]
id = 0x01
name = "report"
dir = "up"
service = "Sensor"
fields = [
  { n = "battery_v", t = "u8", dec = 1 },
  { t = "bits8", bits = [
    { n = "alarm", at = 0 },
    { n = "mode", at = 4, w = 4, enum = { 0 = "idle", 15 = "active" } },
  ] },
  { n = "temperature_c", t = "i16", dec = 1 },
]

[[message]]
id = 0x81
name = "SET_PERIOD"
dir = "down"
service = "Sensor"
reply = 0x82
fields = [
  { n = "mid", t = "u16", auto = "mid" },
  { n = "period_min", t = "u16" },
]

[[message]]
id = 0x82
name = "SET_PERIOD_RSP"
dir = "response"
fields = [
  { n = "mid", t = "u16", match = "mid" },
  { n = "code", t = "u8", enum = ["ok", "refused"], result = true },
]

# Written when the desired limit is another one than the reported.
[[message]]
id = 0x83
name = "set_limit"
dir = "set"
service = "Sensor"
fields = [{ n = "limit_c", t = "i16", dec = 1 }]

[[message]]
id = 0x02
name = "limit"
dir = "up"
service = "Sensor"
fields = [{ n = "limit_c", t = "i16", dec = 1 }]
"#;

const FIXTURES: &str = r#"[
  {
    "name": "report",
    "kind": "decode",
    "hex": "0124f100ea",
    "expect": {
      "services": [
        {
          "service_id": "Sensor",
          "properties": {
            "battery_v": 3.6,
            "alarm": true,
            "mode": "active",
            "temperature_c": 23.4
          }
        }
      ]
    }
  },
  {
    "name": "report is cut",
    "kind": "decode",
    "hex": "0124f1",
    "expect": { "error": "truncated" }
  },
  {
    "name": "every ten minutes",
    "kind": "encode",
    "command": {
      "service_id": "Sensor",
      "command_name": "SET_PERIOD",
      "paras": { "period_min": 10 },
      "mid": 7
    },
    "expect": { "hex": "810007000a" }
  },
  {
    "name": "accepted",
    "kind": "response",
    "hex": "82000700",
    "expect": {
      "mid": 7,
      "result_code": 0,
      "response_name": "SET_PERIOD_RSP",
      "paras": { "code": "ok" }
    }
  },
  {
    "name": "limit to 40 degrees",
    "kind": "set",
    "set": { "service_id": "Sensor", "properties": { "limit_c": 40 } },
    "expect": { "hex": "830190" }
  },
  {
    "name": "limit is taken over",
    "kind": "decode",
    "hex": "020190",
    "expect": {
      "services": [{ "service_id": "Sensor", "properties": { "limit_c": 40.0 } }]
    }
  }
]
"#;

pub(super) fn run(out: &mut impl Write, dir: &Path, kind: Kind) -> io::Result<u8> {
    let word = match kind {
        Kind::Table => None,
        Kind::Script => Some("script"),
        Kind::Wasm => Some("wasm"),
    };
    if let Some(word) = word {
        complain(&format!(
            "--kind {word}: not in this version, which has table codecs only"
        ));
        return Ok(USAGE);
    }
    let name = bundle::name_of(dir);
    if let Err(error) = ProductId::parse(&name) {
        complain(&format!(
            "{name:?} {error}: the folder's name becomes the product id"
        ));
        return Ok(USAGE);
    }
    let taken = fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
    if taken || dir.is_file() {
        complain(&format!("{}: is there already", dir.display()));
        return Ok(MISMATCH);
    }
    fs::create_dir_all(dir.join("fixtures"))?;
    let profile = format!("{:#}\n", profile(&name));
    let files = [
        ("profile.json", profile),
        ("codec.toml", CODEC.replace("@NAME@", &name)),
        ("fixtures/all.json", FIXTURES.to_owned()),
    ];
    for (file, text) in files {
        let path = dir.join(file);
        fs::write(&path, text)?;
        writeln!(out, "{}", path.display())?;
    }
    writeln!(out, "now: strait codec test {}", dir.display())?;
    Ok(PASS)
}

/// The product model of the sample, as the body that creates the product.
fn profile(name: &str) -> serde_json::Value {
    let mut mode = property("mode", "enum", "R");
    if let Some(map) = mode.as_object_mut() {
        map.insert("enum_list".to_owned(), json!(["idle", "active"]));
    }
    let period = json!({
        "para_name": "period_min", "data_type": "int", "required": true,
        "min": "1", "max": "1440", "unit": "min",
    });
    let code = json!({
        "para_name": "code", "data_type": "enum", "enum_list": ["ok", "refused"],
    });
    json!({
        "product_id": name,
        "name": name,
        "device_type": "Sensor",
        "protocol_type": "CoAP",
        "data_format": "binary",
        "manufacturer_name": "Unknown",
        "industry": "Unknown",
        "service_capabilities": [{
            "service_id": "Sensor",
            "service_type": "Sensor",
            "properties": [
                property("battery_v", "decimal", "R"),
                property("alarm", "boolean", "R"),
                mode,
                property("temperature_c", "decimal", "R"),
                property("limit_c", "decimal", "RW"),
            ],
            "commands": [{
                "command_name": "SET_PERIOD",
                "paras": [period],
                "responses": [{ "response_name": "SET_PERIOD_RSP", "paras": [code] }],
            }],
        }],
    })
}

fn property(name: &str, data_type: &str, method: &str) -> serde_json::Value {
    json!({ "property_name": name, "data_type": data_type, "method": method })
}
