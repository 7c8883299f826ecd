//! `strait codec import`, through the built program.

use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::codec_cli::steady;
use crate::codecs::codec;

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn read_json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

const WIND: &str = r#"
uplinkDecoder:
  fileName: wind.js
  examples:
    - description: from the north
      input: { fPort: 1, bytes: [0, 32], recvTime: "2020-08-02T20:00:00.000+05:00" }
      output: { data: { direction: N, speed: 32, at: "2020-08-02T15:00:00.000Z" } }
    - description: from the east
      input: { fPort: 1, bytes: [1, 0x2a] }
      output:
        data: { direction: E, speed: 42.5, "gust max": on }
        warnings: [gusts]
      normalizedOutput: { data: [ { wind: { speed: 42.5 } } ] }
    - description: another port
      input: { fPort: 42, bytes: [1, 42] }
      output: { errors: [unknown port] }
    - description: no bytes
      input: { fPort: 1, bytes: [300] }
      output: { data: {} }
downlinkEncoder:
  fileName: led.js
  examples:
    - description: green
      input: { data: { led: green } }
      output: { bytes: [1], fPort: 2 }
    - description: blue
      input: { data: { led: blue } }
      output: { errors: [no such colour] }
"#;

const WIND_JS: &str = r#"const names = ["N", "E"];
function decodeUplink(input) {
  if (input.fPort !== 1) return { errors: ["unknown port"] };
  if (input.bytes[0] === 0) {
    return { data: { direction: names[0], speed: input.bytes[1], at: input.recvTime } };
  }
  return {
    data: { direction: names[1], speed: input.bytes[1] + 0.5, "gust max": "on" },
    warnings: ["gusts"],
  };
}
"#;

/// Its names are its own: both files have `names`.
const LED_JS: &str = r#"const names = ["red", "green"];
function encodeDownlink(input) {
  var at = names.indexOf(input.data.led);
  return at < 0 ? { errors: ["no such colour"] } : { bytes: [at], fPort: 2 };
}
"#;

#[test]
fn a_codec_of_the_lorawan_device_repository() {
    let dir = tempfile::tempdir().unwrap();
    let vendor = dir.path().join("vendor/acme");
    write(&vendor.join("wind-codec.yaml"), WIND);
    write(&vendor.join("index.yaml"), "endDevices: [wind]\n");
    write(&vendor.join("wind.js"), WIND_JS);
    write(&vendor.join("led.js"), LED_JS);
    let (code, out, err) = codec(dir.path(), &["import", "ttn", "vendor/acme"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    insta::assert_snapshot!("import_ttn", steady(&out));
    let profile = read_json(&dir.path().join("wind/profile.json"));
    insta::assert_json_snapshot!("import_ttn_profile", profile);

    let (code, _, err) = codec(dir.path(), &["import", "ttn", "vendor/acme"]);
    assert_eq!(code, 1);
    assert!(err.contains("is there already, --force"), "{err}");
    let again = [
        "import",
        "ttn",
        "vendor/acme/wind-codec.yaml",
        "--to",
        "wind",
        "--force",
    ];
    assert_eq!(codec(dir.path(), &again).0, 0);

    // An example that its script contradicts is seen at once.
    write(
        &vendor.join("wind-codec.yaml"),
        &WIND.replace("speed: 32", "speed: 33"),
    );
    let (code, out, _) = codec(dir.path(), &again);
    assert_eq!(code, 1);
    assert!(out.contains("- expected 33"), "{out}");
}

#[test]
fn what_can_not_be_imported_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let bomb: String = (1..40)
        .map(|n| format!("a{n}: &a{n} [*a{m}, *a{m}, *a{m}]\n", m = n - 1))
        .collect();
    write(
        &root.join("bomb/b.yaml"),
        &format!("uplinkDecoder:\n  fileName: b.js\na0: &a0 [x]\n{bomb}"),
    );
    write(
        &root.join("out/o.yaml"),
        "uplinkDecoder:\n  fileName: ../o.js\n",
    );
    write(
        &root.join("two/a.yaml"),
        "uplinkDecoder:\n  fileName: a.js\n",
    );
    write(
        &root.join("two/b.yaml"),
        "uplinkDecoder:\n  fileName: b.js\n",
    );
    write(
        &root.join("syntax/s.yaml"),
        "uplinkDecoder:\n  fileName: [\n",
    );
    write(&root.join("cs/a.js"), "function decodeUplink() {}");
    write(&root.join("cs/test_decode_a.json"), "[{\n  \"name\": }]");
    write(&root.join("plain.zip"), "no zip");
    write(&root.join("plain.js"), "");
    let cases = [
        (["ttn", "bomb"], 2, "b.yaml"),
        (
            ["ttn", "out"],
            2,
            "fileName: got \"../o.js\", takes a file in its folder",
        ),
        (["ttn", "two"], 64, "has several, name one: a.yaml, b.yaml"),
        (["ttn", "syntax"], 2, "s.yaml"),
        (["ttn", "cs"], 2, "has no yaml with an uplinkDecoder"),
        (["ttn", "nowhere"], 2, "nowhere"),
        (
            ["chirpstack", "cs"],
            2,
            "test_decode_a.json: expected value at line 2",
        ),
        (["iotda", "plain.zip"], 2, "is no zip archive"),
    ];
    for (args, want, message) in cases {
        let (code, out, err) = codec(root, &[&["import"], &args[..]].concat());
        assert_eq!(code, want, "{args:?}: {out}{err}");
        assert!(err.contains(message), "{args:?}: {err}");
        assert_eq!(out, "", "nothing is written");
    }
}

#[test]
fn a_codec_of_chirpstack() {
    let dir = tempfile::tempdir().unwrap();
    let codecs = dir.path().join("vendors/acme/codecs");
    let script = "function decodeUplink(input) {\n  \
                  return { data: { co2: input.bytes[0] * 256 + input.bytes[1] } };\n}\n\
                  function encodeDownlink(input) {\n  \
                  return { fPort: 1, bytes: [1, input.data.period] };\n}\n";
    write(&codecs.join("co2.js"), script);
    let tests = "[ // all of them\n  {\n    \"name\": \"indoor\",\n    \"input\": { \"fPort\": 0x7f, \
                 /* two */ \"bytes\": [0x02, 0x0c] },\n    \"expected\": { \"data\": { \"co2\": 524 } }\n  },\n]";
    write(&codecs.join("test_decode_co2.json"), tests);
    let tests = json!([
        { "name": "often", "input": { "data": { "period": 5 } }, "expected": { "bytes": [1, 5] } },
        { "input": { "data": 5 }, "expected": { "bytes": [1, 5] } },
    ]);
    write(&codecs.join("test_encode_co2.json"), &tests.to_string());
    let (code, out, err) = codec(dir.path(), &["import", "chirpstack", "vendors/acme/codecs"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    insta::assert_snapshot!("import_chirpstack", steady(&out));
    let fixtures = read_json(&dir.path().join("co2/fixtures/imported.json"));
    assert_eq!(fixtures[0]["fPort"], 127);
    assert_eq!(
        read_json(&dir.path().join("co2/profile.json"))["manufacturer_name"],
        "acme"
    );
}

#[test]
fn a_model_of_iotda_with_its_script() {
    let dir = tempfile::tempdir().unwrap();
    let mut zip = zip::ZipWriter::new(fs::File::create(dir.path().join("smoke.zip")).unwrap());
    let device = json!({ "devices": [{
        "manufacturerId": "acme", "manufacturerName": "Acme", "model": "smoke-1",
        "protocolType": "CoAP", "deviceType": "SmokeDetector",
        "serviceTypeCapabilities": [{ "serviceId": "Smoke", "serviceType": "Smoke" }],
    }] });
    let service = json!({ "services": [{
        "serviceType": "Smoke", "commands": [],
        "properties": [{ "propertyName": "level", "dataType": "int", "required": true,
            "min": "0", "max": "100", "step": 1.0, "maxLength": 0, "method": "R",
            "unit": null, "enumList": null }],
    }] });
    let files = [
        ("profile/devicetype-capability.json", device),
        ("service/Smoke/profile/servicetype-capability.json", service),
    ];
    for (name, value) in files {
        zip.start_file(name, zip::write::SimpleFileOptions::default())
            .unwrap();
        zip.write_all(value.to_string().as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    let (code, _, err) = codec(dir.path(), &["import", "iotda", "smoke.zip"]);
    assert_eq!(code, 2);
    assert!(err.contains("has no js beside the zip"), "{err}");
    let script = "function decode(payload, topic) {\n  return JSON.stringify({ msg_type: \
                  'properties_report', services: [{ service_id: 'Smoke', properties: { level: \
                  payload[0] } }] });\n}\n";
    write(&dir.path().join("codec.js"), script);
    let (code, out, err) = codec(dir.path(), &["import", "iotda", "smoke.zip"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("no examples: write fixtures"), "{out}");
    let (code, out, _) = codec(dir.path(), &["decode", "smoke-1", "--hex", "50", "--json"]);
    assert_eq!(code, 0);
    assert!(out.contains("\"level\":80"), "{out}");
}
