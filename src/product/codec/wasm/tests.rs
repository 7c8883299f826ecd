//! The form of values, and what is kept of compiled code.

use proptest::prelude::*;
use serde_json::{Map, json};

use super::form;
use super::runtime::Runtime;
use crate::base::limits::{CODEC_DEPTH_MAX, CODEC_OUTPUT_MAX};
use crate::base::time::Timestamp;
use crate::product::codec::{CodecError, Decoded, EncodeProperties};

#[test]
fn forms_are_read_as_the_interface_describes_them() {
    let rows = [
        ("null", json!({"kind": "none"})),
        (
            r#"{"services":[{"service_id":"M","properties":{"v":1.5,"o":null},"event_time":1597133265000,"x":1}],"has_more":true}"#,
            json!({"kind": "report", "services": [{"service_id": "M", "properties": {"v": 1.5, "o": null},
                "event_time": "20200811T080745Z"}], "has_more": true}),
        ),
        (
            r#"{"services":[{"service_id":"M","properties":{},"event_time":"20200811T080745Z"},{"service_id":"N","properties":{},"event_time":null}]}"#,
            json!({"kind": "report", "services": [
                {"service_id": "M", "properties": {}, "event_time": "20200811T080745Z"},
                {"service_id": "N", "properties": {}}]}),
        ),
        (
            r#"{"result_code":3,"mid":7}"#,
            json!({"kind": "response", "mid": 7, "result_code": 1, "paras": {}}),
        ),
        ("{}", json!("services")),
        (r#"{"services":[],"result_code":0}"#, json!("result_code")),
        (r#"{"result_code":0,"mid":0}"#, json!("mid")),
        (
            r#"{"services":[{"service_id":"M","properties":{},"event_time":"soon"}]}"#,
            json!("services[0].event_time"),
        ),
    ];
    for (text, want) in rows {
        let got = match form::decoded(text) {
            Ok(decoded) => decoded.to_json(),
            Err(CodecError::Field { field, .. }) => json!(field),
            Err(other) => panic!("{text}: {other:?}"),
        };
        assert_eq!(got, want, "{text}");
    }
    for (text, kind) in [
        ("", "json"),
        ("{\"services\":1}", "json"),
        ("{\"result_code\":0,\"mid\":65536}", "json"),
    ] {
        assert_eq!(form::decoded(text).unwrap_err().kind(), kind, "{text}");
    }
    let nested = |n: usize| {
        let properties = format!("{}1{}", "[".repeat(n), "]".repeat(n));
        format!(r#"{{"services":[{{"service_id":"]\"","properties":{{"a":{properties}}}}}]}}"#)
    };
    assert!(form::decoded(&nested(CODEC_DEPTH_MAX - 4)).is_ok());
    assert_eq!(
        form::decoded(&nested(CODEC_DEPTH_MAX - 3))
            .unwrap_err()
            .kind(),
        "depth"
    );
    let long = format!("null{}", " ".repeat(CODEC_OUTPUT_MAX));
    assert_eq!(form::decoded(&long).unwrap_err().kind(), "output");
}

#[test]
fn a_set_covers_what_was_wanted_and_that_alone() {
    let wanted = Map::from_iter([("a".to_owned(), json!(1))]);
    let set = EncodeProperties {
        service_id: "S",
        wanted: &wanted,
        known: &wanted,
        mid: 1,
    };
    let covers = |names: &[&str]| {
        let names = names.iter().map(|n| (*n).to_owned()).collect();
        form::property_set(&set, vec![1], names).map(|set| set.covered)
    };
    assert_eq!(covers(&["a"]), Ok(vec!["a".to_owned()]));
    assert_eq!(covers(&[]).unwrap_err().kind(), "field");
    assert!(
        covers(&["a", "b"])
            .unwrap_err()
            .to_string()
            .contains("\"b\"")
    );
    let refused = form::refused("ü".repeat(1000)).to_string();
    assert!(refused.len() < 1100 && refused.ends_with('…'));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".*|[{}\\[\\]\":,a-z0-9]{0,64}") {
        let _any_end_is_fine = (form::decoded(&text).is_ok(), form::downlink(&text).is_ok());
    }

    #[test]
    fn what_a_codec_writes_reads_back(
        ms in 0..253_402_300_799_999_u64, value: i32, has_more: bool, id in "[a-zA-Z]{1,8}",
    ) {
        let text = json!({
            "services": [{"service_id": id, "properties": {"v": value}, "event_time": ms}],
            "has_more": has_more,
        });
        let Ok(Decoded::Report(report)) = form::decoded(&text.to_string()) else {
            panic!("{text}");
        };
        prop_assert_eq!(report.has_more, has_more);
        let service = &report.services[0];
        prop_assert_eq!(&service.service_id, &id);
        prop_assert_eq!(&service.properties["v"], &json!(value));
        prop_assert_eq!(service.event_time, Some(Timestamp::from_ms(ms)));
    }
}

#[test]
fn compiled_code_is_kept_within_bounds() {
    let mut kept = super::compiled::Compiled::default();
    let runtime = Runtime::new().unwrap();
    let source = include_bytes!("../../../../codecs/water-meter-wasm/codec.wasm");
    runtime.load(source).unwrap();
    let ready = runtime.known(source).expect("it was compiled");
    for n in 0..100_u8 {
        kept.keep([n; 32], 1024 * 1024, ready.clone());
    }
    assert_eq!(kept.count(), 16);
    assert!(kept.find(&[99; 32]).is_some() && kept.find(&[83; 32]).is_none());
    kept.keep([200; 32], usize::MAX / 2, ready);
    assert_eq!(kept.count(), 1, "the newest stays, however large");
}
