//! `strait codec new`: a codec that works, to start from. Every kind is the same sensor; what is
//! written lies beside this file.

#[cfg(feature = "wasm")]
mod wasm;
#[cfg(not(feature = "wasm"))]
mod wasm {
    //! In a build without WebAssembly.

    use std::io::{self, Write};
    use std::path::Path;

    use crate::cli::codec::{USAGE, complain};
    use crate::product::codec::wasm::{HOW_TO_BUILD, NOT_HERE};

    pub(super) fn run(_out: &mut impl Write, _dir: &Path) -> io::Result<u8> {
        complain(&format!(
            "--kind wasm: {NOT_HERE}; {HOW_TO_BUILD}, or take table or script"
        ));
        Ok(USAGE)
    }
}

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};

use crate::base::ids::ProductId;
use crate::cli::codec::{Contract, Kind, MISMATCH, PASS, USAGE, bundle, complain};

/// What a new folder begins with.
struct Template {
    file: &'static str,
    source: &'static str,
    fixtures: &'static str,
    /// The properties of the table's message that sets one.
    sets: bool,
    /// Commands have responses.
    responses: bool,
}

const TABLE: Template = Template {
    file: "codec.toml",
    source: include_str!("table.toml"),
    fixtures: include_str!("table.json"),
    sets: true,
    responses: true,
};

impl Template {
    const fn of(contract: Contract) -> Self {
        let (source, fixtures, responses) = match contract {
            Contract::Iotda => (include_str!("iotda.js"), include_str!("iotda.json"), true),
            Contract::Offline => (
                include_str!("offline.js"),
                include_str!("offline.json"),
                true,
            ),
            Contract::Ts013 => (include_str!("ts013.js"), include_str!("ts013.json"), false),
        };
        Self {
            file: "codec.js",
            source,
            fixtures,
            sets: false,
            responses,
        }
    }
}

pub(super) fn run(
    out: &mut impl Write,
    dir: &Path,
    kind: Kind,
    contract: Option<Contract>,
) -> io::Result<u8> {
    let template = match (kind, contract) {
        (Kind::Table, None) => TABLE,
        (Kind::Script, contract) => Template::of(contract.unwrap_or(Contract::Iotda)),
        (Kind::Wasm, None) => return wasm::run(out, dir),
        (Kind::Table | Kind::Wasm, Some(_)) => {
            complain("--contract: is for --kind script");
            return Ok(USAGE);
        }
    };
    let name = match begin(dir) {
        Ok(name) => name,
        Err(code) => return Ok(code),
    };
    fs::create_dir_all(dir.join("fixtures"))?;
    let profile = format!("{:#}\n", profile(&name, &template));
    let files = [
        ("profile.json", profile),
        (template.file, template.source.replace("@NAME@", &name)),
        ("fixtures/all.json", template.fixtures.to_owned()),
    ];
    for (file, text) in files {
        let path = dir.join(file);
        fs::write(&path, text)?;
        writeln!(out, "{}", path.display())?;
    }
    writeln!(out, "now: strait codec test {}", dir.display())?;
    Ok(PASS)
}

/// The name of a folder that may be filled, or the exit code that says why it may not.
fn begin(dir: &Path) -> Result<String, u8> {
    let name = bundle::name_of(dir);
    if let Err(error) = ProductId::parse(&name) {
        complain(&format!(
            "{name:?} {error}: the folder's name becomes the product id"
        ));
        return Err(USAGE);
    }
    let taken = fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
    if taken || dir.is_file() {
        complain(&format!("{}: is there already", dir.display()));
        return Err(MISMATCH);
    }
    Ok(name)
}

/// The product model of the sample, as the body that creates the product.
fn profile(name: &str, template: &Template) -> Value {
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
    let mut properties = vec![
        property("battery_v", "decimal", "R"),
        property("alarm", "boolean", "R"),
        mode,
        property("temperature_c", "decimal", "R"),
    ];
    if template.sets {
        properties.push(property("limit_c", "decimal", "RW"));
    }
    let responses = if template.responses {
        json!([{ "response_name": "SET_PERIOD_RSP", "paras": [code] }])
    } else {
        json!([])
    };
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
            "properties": properties,
            "commands": [{
                "command_name": "SET_PERIOD",
                "paras": [period],
                "responses": responses,
            }],
        }],
    })
}

fn property(name: &str, data_type: &str, method: &str) -> Value {
    json!({ "property_name": name, "data_type": data_type, "method": method })
}
