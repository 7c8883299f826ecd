//! Each contract with an example, each limit, and what no script may do.

use super::*;
use serde_json::Map;

fn script(source: &str) -> Script {
    Script::load(source, &Options::default(), Limits::default()).unwrap()
}

fn decode(script: &Script, payload: &[u8]) -> Result<Decoded, CodecError> {
    let uplink = Uplink {
        payload,
        received_at: Timestamp::from_ms(1_577_836_800_000),
        f_port: None,
    };
    script.decode(&uplink, None)
}

const SMOKE: &str = r#"
function decode(payload, topic) {
    var level = (payload[0] & 0xff) << 8 | (payload[1] & 0xff);
    var temperature = (payload[2] & 0xff) << 8 | (payload[3] & 0xff);
    return JSON.stringify({ msg_type: 'properties_report', services: [
        { service_id: 'smokerdector', properties: { level: level, temperature: temperature } } ] });
}
"#;

#[test]
fn reads_the_smoke_detector_of_the_iotda_contract() {
    let script = script(SMOKE);
    let got = decode(&script, &[0x00, 0x50, 0x00, 0x5a])
        .unwrap()
        .to_json();
    assert_eq!(
        got,
        json!({"kind": "report", "services": [
            {"service_id": "smokerdector", "properties": {"level": 80, "temperature": 90}}]})
    );
}
