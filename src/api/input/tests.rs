//! Whatever a caller sends is read without a panic, and every answer names a path.

use axum::http::Uri;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::page::PageQuery;
use crate::api::{device_body, product_body};

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
