//! Tables of values and models, each with the violations that it must give.

use serde_json::{Value, json};

use super::{command, model, report};
use crate::product::codec::{Report, ServiceReport};
use crate::product::profile::Profile;

fn profile() -> Profile {
    serde_json::from_value(json!([{
        "service_id": "S", "service_type": "S",
        "properties": [
            { "property_name": "i", "data_type": "int", "method": "R", "min": "-5", "max": "10" },
            { "property_name": "l", "data_type": "long", "method": "R" },
            { "property_name": "d", "data_type": "decimal", "method": "R", "max": "0.3" },
            { "property_name": "s", "data_type": "string", "method": "R", "max_length": 3 },
            { "property_name": "e", "data_type": "enum", "method": "R", "enum_list": ["a", "b"] },
            { "property_name": "b", "data_type": "boolean", "method": "R" },
            { "property_name": "t", "data_type": "DateTime", "method": "R" },
            { "property_name": "o", "data_type": "jsonObject", "method": "R" },
            { "property_name": "z", "data_type": "string list", "method": "R", "max_length": 2 },
        ],
        "commands": [{
            "command_name": "GO",
            "paras": [
                { "para_name": "n", "data_type": "int", "required": true, "max": "3" },
                { "para_name": "m", "data_type": "string" },
            ],
        }],
    }]))
    .unwrap()
}

fn reported(services: &Value) -> Report {
    let one = |s: &Value| ServiceReport {
        service_id: s["id"].as_str().unwrap().to_owned(),
        properties: s["of"].as_object().unwrap().clone(),
        event_time: None,
    };
    Report {
        services: services.as_array().unwrap().iter().map(one).collect(),
        has_more: false,
    }
}

#[test]
fn values_against_their_types() {
    let fits = [
        ("i", json!([-5, 10, 0, 3.0])),
        ("l", json!([9_007_199_254_740_992_i64, "9007199254740993", -1])),
        ("d", json!([0.3, 0.1, -1e300, -5])),
        ("s", json!(["", "abc", "中文字"])),
        ("e", json!(["a", "b"])),
        ("b", json!([true, false])),
        ("t", json!(["20200811T080745Z", "2020-08-11T08:07:45.000Z", "2020-08-11T08:07:45Z"])),
        ("o", json!([{}, [], [1]])),
        ("z", json!([[], ["a", "bc"]])),
    ];
    let misfits = [
        ("i", json!([-6, 11, 0.5, "1", null, true]), ["range", "range", "type", "type", "type", "type"].as_slice()),
        ("l", json!(["12", 1.5]), &["type", "type"]),
        ("d", json!([0.300_000_000_000_000_04, "0.1", {}]), &["range", "type", "type"]),
        ("s", json!(["abcd", 1]), &["length", "type"]),
        ("e", json!(["c", 0]), &["enum", "type"]),
        ("b", json!([1, "true"]), &["type", "type"]),
        ("t", json!(["20201311T080745Z", "today", 0]), &["type", "type", "type"]),
        ("o", json!(["{}", 1]), &["type", "type"]),
        ("z", json!([["abc"], [1], "a"]), &["length", "type", "type"]),
        ("nope", json!([1]), &["unknown_property"]),
    ];
    for (name, values) in fits {
        for value in values.as_array().unwrap() {
            let mut report_of = reported(&json!([{ "id": "S", "of": { name: value } }]));
            let found = report(&profile(), &mut report_of);
            assert!(found.is_empty(), "{name} {value}: {found:?}");
            assert_eq!(report_of.services[0].properties.len(), 1);
        }
    }
    for (name, values, kinds) in misfits {
        for (value, kind) in values.as_array().unwrap().iter().zip(kinds) {
            let mut report_of = reported(&json!([{ "id": "S", "of": { name: value, "b": true } }]));
            if name == "b" {
                report_of = reported(&json!([{ "id": "S", "of": { name: value, "i": 1 } }]));
            }
            let found = report(&profile(), &mut report_of);
            assert_eq!(found.len(), 1, "{name} {value}: {found:?}");
            assert_eq!(found[0].kind, *kind, "{name} {value}: {found:?}");
            assert_eq!(found[0].path, format!("services[0].properties.{name}"));
            assert_eq!(report_of.services[0].properties.len(), 1, "the rest counts");
        }
    }
}

#[test]
fn what_does_not_fit_is_taken_out_and_the_rest_counts() {
    let mut got = reported(&json!([
        { "id": "T", "of": { "i": 1 } },
        { "id": "S", "of": { "i": 99, "b": true } },
        { "id": "S", "of": { "x": 1 } },
    ]));
    let found = report(&profile(), &mut got);
    let shown: Vec<String> = found.iter().map(|v| format!("{}: {}", v.path, v.message)).collect();
    assert_eq!(
        shown,
        [
            "services[0]: got service \"T\", the model has S",
            "services[1].properties.i: got 99, takes -5 to 10",
            "services[2].properties.x: service S has no such property, it has i, l, d, s, e, b, t, \
             o, … (9 in all)",
        ]
    );
    assert_eq!(got, reported(&json!([{ "id": "S", "of": { "b": true } }])));
}

#[test]
fn command_parameters() {
    let cases = [
        ("S", "GO", json!({ "n": 3 }), vec![]),
        ("S", "GO", json!({ "n": 1, "m": "x" }), vec![]),
        ("S", "GO", json!({}), vec![("paras.n", "missing")]),
        (
            "S",
            "GO",
            json!({ "n": 4, "m": 1, "k": 0 }),
            vec![("paras.n", "range"), ("paras.m", "type"), ("paras.k", "unknown_para")],
        ),
        ("S", "STOP", json!({}), vec![("command_name", "unknown_command")]),
        ("T", "GO", json!({}), vec![("service_id", "unknown_service")]),
    ];
    for (service, name, paras, want) in cases {
        let found = command(&profile(), service, name, paras.as_object().unwrap());
        let got: Vec<_> = found.iter().map(|v| (v.path.as_str(), v.kind)).collect();
        assert_eq!(got, want, "{service} {name} {paras}");
    }
}

#[test]
fn models_against_the_rules() {
    assert_eq!(model(&profile()), []);
    let long = "x".repeat(65);
    let of = |service: Value| -> Profile {
        let mut base = json!({ "service_id": "S", "service_type": "T" });
        base.as_object_mut().unwrap().extend(service.as_object().unwrap().clone());
        serde_json::from_value(json!([base])).unwrap()
    };
    let property = |more: Value| -> Profile {
        let mut base = json!({ "property_name": "p", "data_type": "int", "method": "RW" });
        base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        of(json!({ "properties": [base] }))
    };
    let many: Vec<Value> = (0..501)
        .map(|n| json!({ "command_name": format!("c{n}") }))
        .collect();
    let cases = [
        (of(json!({ "service_id": "水表?'#().,&%@!-_" })), vec![]),
        (of(json!({ "service_id": "a b" })), vec![(".service_id", "character")]),
        (of(json!({ "service_id": "" })), vec![(".service_id", "length")]),
        (of(json!({ "service_type": long })), vec![(".service_type", "length")]),
        (of(json!({ "description": "x".repeat(129) })), vec![(".description", "length")]),
        (of(json!({ "commands": many })), vec![(".commands", "count")]),
        (property(json!({ "method": "RX" })), vec![(".properties[0].method", "enum")]),
        (property(json!({ "min": "5", "max": "4.9" })), vec![(".properties[0].min", "range")]),
        (property(json!({ "min": "" })), vec![(".properties[0].min", "length")]),
        (property(json!({ "max": "12345678901234567" })), vec![(".properties[0].max", "length")]),
        (property(json!({ "max": "ten" })), vec![(".properties[0].max", "type")]),
        (property(json!({ "step": -1.0 })), vec![(".properties[0].step", "range")]),
        (property(json!({ "unit": "x".repeat(17) })), vec![(".properties[0].unit", "length")]),
        (property(json!({ "data_type": "enum" })), vec![(".properties[0].enum_list", "missing")]),
        (
            property(json!({ "data_type": "enum", "enum_list": ["a", "a"] })),
            vec![(".properties[0].enum_list[1]", "duplicate")],
        ),
        (
            property(json!({ "max": "4", "default_value": 5 })),
            vec![(".properties[0].default_value", "range")],
        ),
        (
            of(json!({ "commands": [{ "command_name": "c", "paras": [
                { "para_name": "x".repeat(33), "data_type": "int" },
                { "para_name": "a", "data_type": "int", "min": "x" },
                { "para_name": "a", "data_type": "int" },
            ], "responses": [{ "response_name": "r" }, { "response_name": "r" }] }] })),
            vec![
                (".commands[0].paras[2].para_name", "duplicate"),
                (".commands[0].paras[0].para_name", "length"),
                (".commands[0].paras[1].min", "type"),
                (".commands[0].responses[1].response_name", "duplicate"),
            ],
        ),
        (
            of(json!({ "events": [{ "event_type": "x".repeat(33) }] })),
            vec![(".events[0].event_type", "length")],
        ),
    ];
    for (profile, want) in cases {
        let found = model(&profile);
        let got: Vec<_> = found
            .iter()
            .map(|v| (v.path.replace("service_capabilities[0]", ""), v.kind))
            .collect();
        let want: Vec<_> = want.iter().map(|(p, k)| ((*p).to_owned(), *k)).collect();
        assert_eq!(got, want, "{found:?}");
    }
    let twice = [profile().services, profile().services].concat();
    let found = model(&Profile { services: twice });
    assert_eq!(found[0].path, "service_capabilities[1].service_id");
}
