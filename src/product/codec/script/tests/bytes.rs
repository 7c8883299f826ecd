//! How a message's bytes come to a script.

use serde_json::json;

use super::{decode, script};

/// Whatever a function's form, its bytes are a list of its own, whole and in their order.
#[test]
fn bytes_of_any_length_come_as_a_list() {
    let forms = [
        "function decodeUplink(i) { return { data: told(i.bytes) }; }",
        "function Decode(port, bytes) { return told(bytes); }",
        "function Decoder(bytes, port) { return told(bytes); }",
        "function decode(bytes, topic) {
            return { msg_type: 'properties_report',
                services: [{ service_id: 'data', properties: told(bytes) }] };
        }",
    ];
    let told = "function told(bytes) {
        const sum = bytes.reduce((sum, byte, at) => (sum + byte * (at % 7 + 1)) % 1000003, 0);
        const got = { list: Array.isArray(bytes), len: bytes.length, sum };
        bytes.push(1);
        return got;
    }";
    for form in forms {
        let script = script(&format!("{told}\n{form}"));
        for len in [0, 1, 7, 9, 65_536] {
            let payload: Vec<u8> = (0..=u8::MAX).rev().cycle().take(len).collect();
            let weighed = |sum: u64, (at, byte): (u64, &u8)| {
                (sum + u64::from(*byte) * (at % 7 + 1)) % 1_000_003
            };
            let sum = (0..).zip(&payload).fold(0, weighed);
            let got = decode(&script, &payload).unwrap();
            assert_eq!(
                got["services"][0]["properties"],
                json!({"list": true, "len": len, "sum": sum}),
                "{form}"
            );
        }
    }
}
