//! Whatever a caller sends is read without a panic, and every answer names a path.

use axum::http::Uri;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::page::PageQuery;
use crate::api::{device_body, product_body};
use crate::base::ids::DeviceId;

fn any_json() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "name",
        "node_id",
        "product_id",
        "auth_info",
        "secret",
        "timeout",
        "shadow",
        "desired",
        "service_id",
        "service_type",
        "service_capabilities",
        "properties",
        "commands",
        "paras",
        "data_type",
        "method",
        "min",
        "default_value",
        "extension_info",
        "device_type",
        "protocol_type",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        prop::sample::select(vec!["int", "RW", "CoAP", "a1", "00112233"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..10).prop_map(|fields| {
                let named = fields.into_iter().map(|(k, v)| (k.to_owned(), v));
                Value::Object(named.collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_body_is_read(body in any_json()) {
        let refused = [
            read_body(&body, product_body::new_product).err(),
            read_body(&body, product_body::product_patch).err(),
            read_body(&body, device_body::new_device).err(),
            read_body(&body, device_body::device_patch).err(),
        ];
        for error in refused.into_iter().flatten() {
            prop_assert!(error.message.contains(": "), "{}", error.message);
        }
    }

    #[test]
    fn any_query_is_read(text in "[ -~]{0,60}") {
        let Ok(uri) = format!("/?{}", text.replace(' ', "+")).parse::<Uri>() else {
            return Ok(());
        };
        let problems = Problems::default();
        if let Ok(query) = Query::of(&uri, &problems) {
            PageQuery::of(&query);
            query.times("from", "to");
        }
    }

    #[test]
    fn a_rule_takes_what_it_says(len in 0_usize..70) {
        let text = "a".repeat(len);
        for rule in [TextRule::name(64), TextRule::new(Alphabet::Hex, 1, 64)] {
            prop_assert_eq!(rule.problem(&text).is_none(), (1..=64).contains(&len));
        }
    }
}

fn everything(fields: &Fields<'_>) -> Option<()> {
    let name = fields.needed_text("name", TextRule::new(Alphabet::Id, 2, 8));
    let id = fields.id("id", DeviceId::parse);
    fields.needed_choice("word", &["a", "b"]);
    fields.integer("count", 1..=9);
    fields.number("share", 0.5..=1.0);
    fields.map("extra", 100);
    fields.any("whatever");
    fields.texts("words", 1..=3, TextRule::digest());
    fields.ids("ids", 0..=2, DeviceId::parse);
    fields.text("low", TextRule::new(Alphabet::Decimal, 1, 16));
    let inner = fields.object("inner").map(|inner| {
        inner.boolean("on");
        inner.refuse_others();
    });
    for item in fields.objects("items", 2..=5).unwrap_or_default() {
        item.needed_text("of", TextRule::any(4));
    }
    // What is given is what would be taken: a reader goes all its way.
    assert_eq!((name.len(), id.is_some(), inner), (2, true, Some(())));
    Some(())
}

#[test]
fn a_reader_describes_what_it_reads() {
    let schema = sketch::body_schema(|f| {
        everything(f);
    });
    let id = "^[A-Za-z0-9_-]+$";
    let want = json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 2, "maxLength": 8, "pattern": id},
            "id": {
                "type": ["string", "null"], "minLength": 1, "pattern": id, "maxLength": 128
            },
            "word": {"type": "string", "enum": ["a", "b"]},
            "count": {"type": ["integer", "null"], "minimum": 1, "maximum": 9},
            "share": {"type": ["number", "null"], "minimum": 0.5, "maximum": 1.0},
            "extra": {"type": ["object", "null"], "description": "Up to 100 bytes of JSON."},
            "whatever": {},
            "words": {
                "type": ["array", "null"],
                "items": {
                    "type": "string", "minLength": 40, "maxLength": 64,
                    "pattern": "^([0-9A-Fa-f]{40}|[0-9A-Fa-f]{64})$"
                },
                "minItems": 1,
                "maxItems": 3
            },
            "ids": {
                "type": ["array", "null"],
                "items": {"type": "string", "minLength": 1, "pattern": id, "maxLength": 128},
                "maxItems": 2
            },
            "low": {
                "type": ["string", "null"], "minLength": 1, "maxLength": 16,
                "pattern": "^[+-]?[0-9]+(\\.[0-9]+)?([Ee][+-]?[0-9])?$"
            },
            "inner": {
                "type": ["object", "null"],
                "properties": {"on": {"type": ["boolean", "null"]}},
                "additionalProperties": false
            },
            "items": {
                "type": ["array", "null"],
                "items": {
                    "type": "object",
                    "properties": {"of": {"type": "string", "maxLength": 4}},
                    "required": ["of"]
                },
                "minItems": 2,
                "maxItems": 5
            }
        },
        "required": ["name", "word"]
    });
    assert_eq!(schema, want, "{schema:#}");
}

#[test]
fn a_query_describes_what_it_reads() {
    let parameters = sketch::query_parameters(|query| {
        PageQuery::of(query);
        query.needed_word("action_id", "resetSecret");
        query.boolean("deep");
    });
    let told = |p: &sketch::Parameter| (p.name.clone(), p.is_required, p.schema["type"].clone());
    let told: Vec<_> = parameters.iter().map(told).collect();
    let want = [
        ("limit", false, "integer"),
        ("offset", false, "integer"),
        ("marker", false, "string"),
        ("action_id", true, "string"),
        ("deep", false, "boolean"),
    ];
    let want: Vec<_> = want
        .into_iter()
        .map(|(name, needed, kind)| (name.to_owned(), needed, json!(kind)))
        .collect();
    assert_eq!(told, want);
    assert_eq!(parameters[0].schema["maximum"], 50);
}

#[test]
fn whole_numbers_may_be_written_with_a_point() {
    for (value, want) in [
        (json!(7), Some(7)),
        (json!(7.0), Some(7)),
        (json!(7.5), None),
        (json!(-1.0), None),
        (json!(1e300), None),
    ] {
        let read = |f: &Fields<'_>| f.integer("n", 0..=u32::MAX);
        let got = read_body(&json!({"n": value}), read).ok();
        assert_eq!(got, want, "{value}");
    }
}

#[test]
fn problems_beyond_the_bound_are_counted() {
    let problems = Problems::default();
    for i in 0..25 {
        problems.add(&format!("f{i}"), "is wrong");
    }
    let message = problems.check().unwrap_err().message;
    assert!(message.ends_with("f19: is wrong; and 5 more"), "{message}");
}

#[test]
fn fields_nobody_asked_for_are_named_where_they_are_refused() {
    let body = json!({"known": true, "other": 1, "nothing": null});
    let problems = Problems::default();
    let fields = Fields::of_body(&body, &problems).unwrap();
    assert_eq!(fields.boolean("known"), Some(true));
    fields.refuse_others();
    let message = problems.check().unwrap_err().message;
    assert_eq!(
        message,
        "other: is not a field here, the fields are known; \
         nothing: is not a field here, the fields are known"
    );
}
