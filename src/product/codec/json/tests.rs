//! What devices send and get as JSON, what is refused of it, and that it reads back.

use proptest::prelude::*;

use super::*;
use crate::product::codec::json as codec;

fn decode(payload: &[u8]) -> Result<Decoded, CodecError> {
    let uplink = Uplink {
        payload,
        received_at: Timestamp::from_ms(0),
        f_port: None,
    };
    codec().decode(&uplink, None)
}

#[test]
fn what_devices_send() {
    let report = |services: Value| json!({ "kind": "report", "services": services });
    let flow = json!([{ "service_id": "Flow", "properties": { "rate": 1.5 } }]);
    let more = json!({ "kind": "report", "services": flow, "has_more": true });
    let dated = json!([{ "service_id": "F", "properties": {}, "event_time": "20200811T080745Z" }]);
    let done = json!({ "kind": "response", "mid": 7, "result_code": 0, "paras": {} });
    let refused = json!({ "kind": "response", "result_code": 1, "response_name": "R",
        "paras": { "why": "cold" } });
    let none = json!({ "kind": "none" });
    let plain = json!([{ "service_id": "F", "properties": {} }]);
    let cases = [
        (json!({ "services": flow }), report(flow.clone())),
        (json!({ "services": [] }), report(json!([]))),
        (
            json!({ "msg_type": "properties_report", "services": flow, "has_more": true }),
            more.clone(),
        ),
        (json!({ "services": flow, "has_more": 1 }), more),
        (
            json!({ "services": flow, "has_more": 0 }),
            report(flow.clone()),
        ),
        (
            json!({ "msg_type": "properties_get_response", "services": flow }),
            report(flow.clone()),
        ),
        (json!({ "services": dated, "other": 1 }), report(dated)),
        (
            json!({ "services": [{ "service_id": "F", "properties": {}, "event_time": "today" }] }),
            report(plain),
        ),
        (
            json!({ "msg_type": "command_response", "mid": 7, "result_code": 0, "paras": null }),
            done.clone(),
        ),
        (json!({ "msg_type": "command_response", "mid": 7 }), done),
        (
            json!({ "msg_type": "command_response", "result_code": 5, "response_name": "R",
                "paras": { "why": "cold" } }),
            refused,
        ),
        (
            json!({ "msg_type": "properties_set_response", "mid": 1 }),
            none,
        ),
    ];
    for (sent, want) in cases {
        let got = decode(sent.to_string().as_bytes()).unwrap().to_json();
        assert_eq!(got, want, "{sent}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let cases = [
        ("", "json", "not JSON: EOF"),
        ("[]", "json", "takes an object"),
        ("{}", "field", "services: is missing, takes a list"),
        (
            r#"{"services":{}}"#,
            "field",
            "services: is an object, takes a list",
        ),
        (
            r#"{"services":[1]}"#,
            "field",
            "services[0]: is 1, takes an object",
        ),
        (
            r#"{"services":[{"properties":{}}]}"#,
            "field",
            "services[0].service_id: is missing, takes a string",
        ),
        (
            r#"{"services":[{"service_id":"F","properties":[]}]}"#,
            "field",
            "services[0].properties: is a list, takes an object",
        ),
        (
            r#"{"services":[{"service_id":"F","properties":{},"event_time":5}]}"#,
            "field",
            "services[0].event_time: is 5, takes a time as a string",
        ),
        (
            r#"{"msg_type":"hello"}"#,
            "field",
            "msg_type: is \"hello\", takes properties_report",
        ),
        (
            r#"{"msg_type":"command_response","mid":0}"#,
            "field",
            "mid: is 0, takes 1 to 65535",
        ),
        (
            r#"{"msg_type":"command_response","mid":65536}"#,
            "field",
            "mid: is 65536, takes 1 to 65535",
        ),
        (
            r#"{"msg_type":"command_response","result_code":"x"}"#,
            "field",
            "result_code: is \"x\", takes a number",
        ),
    ];
    for (sent, kind, part) in cases {
        let error = decode(sent.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), kind, "{sent}");
        assert!(error.to_string().contains(part), "{sent}: {error}");
    }
}

#[test]
fn size_and_depth_are_bounded() {
    // The object, the list, the service and its properties are four levels.
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"services":[{{"service_id":"F","properties":{{"a":{open}{close}}}}}]}}"#)
    };
    assert!(decode(nested(CODEC_DEPTH_MAX - 4).as_bytes()).is_ok());
    let deep = decode(nested(CODEC_DEPTH_MAX - 3).as_bytes());
    assert_eq!(deep.unwrap_err().kind(), "depth");
    assert_eq!(
        decode(nested(20_000).as_bytes()).unwrap_err().kind(),
        "json"
    );
    let long = |n: &str, count: usize| {
        let numbers = vec![n; count].join(",");
        format!(r#"{{"services":[{{"service_id":"F","properties":{{"a":[{numbers}]}}}}]}}"#)
    };
    assert!(decode(long("1", 30_000).as_bytes()).is_ok());
    // Short on the air, long when it is written out.
    assert_eq!(
        decode(long("1e15", 12_000).as_bytes()).unwrap_err().kind(),
        "output"
    );
    assert_eq!(
        decode(long("1", 40_000).as_bytes()).unwrap_err().kind(),
        "output"
    );
    let paras = json!({ "a": "x".repeat(CODEC_OUTPUT_MAX) });
    let command = Encode {
        service_id: "F",
        command_name: "C",
        paras: paras.as_object().unwrap(),
        mid: 1,
    };
    assert_eq!(codec().encode(&command).unwrap_err().kind(), "output");
}

#[test]
fn a_set_takes_what_fits_and_leaves_the_rest() {
    let known = Map::new();
    let set = |wanted: &Value| {
        codec().encode_properties(&EncodeProperties {
            service_id: "F",
            wanted: wanted.as_object().unwrap(),
            known: &known,
            mid: 7,
        })
    };
    let whole = set(&json!({ "b": 1, "a": null })).unwrap();
    assert_eq!(whole.covered, ["b", "a"]);
    assert_eq!(
        String::from_utf8(whole.bytes).unwrap(),
        r#"{"msg_type":"properties_set","mid":7,"services":[{"service_id":"F","properties":{"b":1,"a":null}}]}"#
    );
    let half = "x".repeat(CODEC_OUTPUT_MAX / 2);
    let part = set(&json!({ "a": half, "b": half, "c": 1 })).unwrap();
    assert_eq!(part.covered, ["a", "c"]);
    assert_eq!(set(&json!({})).unwrap_err().kind(), "no_property_set");
    let huge = "x".repeat(CODEC_OUTPUT_MAX);
    assert_eq!(set(&json!({ "a": huge })).unwrap_err().kind(), "output");
    let command = Encode {
        service_id: "F",
        command_name: "C",
        paras: &Map::new(),
        mid: 1,
    };
    assert!(codec().answers_by_mid(&command));
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z]{0,4}", inner, 0..4)
                .prop_map(|map| map.into_iter().collect()),
        ]
    })
}

fn members() -> impl Strategy<Value = Map<String, Value>> {
    proptest::collection::btree_map("\\PC{0,8}", value(), 1..6)
        .prop_map(|map| map.into_iter().collect())
}

proptest! {
    #[test]
    fn any_bytes_are_a_value_or_an_error(bytes: Vec<u8>, body in members()) {
        let _outcome = decode(&bytes);
        let _outcome = codec().decode_downlink(&bytes);
        let text = Value::Object(body).to_string();
        let _outcome = decode(text.as_bytes());
        let _outcome = codec().decode_downlink(text.as_bytes());
    }

    #[test]
    fn what_is_written_reads_back(paras in members(), mid in 1_u16.., name in "[A-Z]{1,9}") {
        let command = Encode { service_id: "F", command_name: &name, paras: &paras, mid };
        let bytes = codec().encode(&command).unwrap();
        let back = codec().decode_downlink(&bytes).unwrap().unwrap();
                let want = Downlink::Command { command_name: name.clone(), paras: paras.clone(), mid: Some(mid) };
        prop_assert_eq!(back, want);

        let set = EncodeProperties {
            service_id: &name, wanted: &paras, known: &Map::new(), mid,
        };
        let sent = codec().encode_properties(&set).unwrap();
        prop_assert_eq!(&sent.covered, &paras.keys().cloned().collect::<Vec<_>>());
        let back = codec().decode_downlink(&sent.bytes).unwrap().unwrap();
        prop_assert_eq!(back, Downlink::Set { service_id: name, properties: paras, mid: Some(mid) });
    }

    #[test]
    fn reports_read_back(properties in members()) {
        let sent = json!({ "services": [{ "service_id": "F", "properties": properties }] });
        match decode(sent.to_string().as_bytes()).unwrap() {
            Decoded::Report(report) => {
                prop_assert_eq!(&report.services[0].properties, &properties);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
