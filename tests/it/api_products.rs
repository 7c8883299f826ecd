//! `…/products`: every field good, missing, wrong, at its limit and over it; what a user sees.

use serde_json::{Value, json};

use crate::api::{Row, Server, bad, check_bodies, good, meter_product, missing};

const PATH: &str = "/v5/iot/x/products";

#[tokio::test]
async fn every_field_is_checked_with_its_path() {
    let text = |n: usize| json!("a".repeat(n));
    let rows: Vec<Row> = vec![
        good("/product_id", text(36)),
        bad(
            "/product_id",
            text(37),
            "product_id: has 37 characters, takes at most 36",
        ),
        bad(
            "/product_id",
            json!("a b"),
            "product_id: has the character ' '",
        ),
        bad("/product_id", json!(""), "product_id: is empty"),
        bad(
            "/product_id",
            json!(7),
            "product_id: got the number 7, takes text",
        ),
        good("/name", text(64)),
        good("/name", json!("水表_?'#().,&%@!-")),
        missing(
            "/name",
            "name: is missing, takes text of 1 to 64 characters",
        ),
        bad("/name", json!(null), "name: is missing"),
        bad("/name", json!(""), "name: got 0 characters"),
        bad("/name", text(65), "name: got 65 characters, takes 1 to 64"),
        bad("/name", json!("a<b"), "name: has the character '<'"),
        bad("/name", json!(["a"]), "name: got a list, takes text"),
        good("/device_type", text(32)),
        missing("/device_type", "device_type: is missing"),
        bad("/device_type", text(33), "device_type: got 33 characters"),
        missing(
            "/protocol_type",
            "protocol_type: is missing, takes one of MQTT, CoAP",
        ),
        bad(
            "/protocol_type",
            json!("LwM2M"),
            "protocol_type: got \"LwM2M\", takes one of MQTT, CoAP",
        ),
        bad(
            "/protocol_type",
            json!(true),
            "protocol_type: got true, takes one of",
        ),
        good("/protocol_type", json!("OPC-UA")),
        bad(
            "/data_format",
            json!("xml"),
            "data_format: got \"xml\", takes one of json, binary",
        ),
        good("/manufacturer_name", text(32)),
        bad(
            "/manufacturer_name",
            text(33),
            "manufacturer_name: got 33 characters",
        ),
        good("/industry", text(64)),
        bad("/industry", text(65), "industry: got 65 characters"),
        good("/description", json!("with spaces and <signs> ".repeat(5))),
        good("/description", text(128)),
        bad("/description", text(129), "description: got 129 characters"),
        good("/app_id", text(1)),
        bad("/app_id", text(37), "app_id: has 37 characters"),
        good("/service_capabilities", json!([])),
        missing("/service_capabilities", "service_capabilities: is missing"),
        bad(
            "/service_capabilities",
            json!({}),
            "service_capabilities: got an object, takes a list",
        ),
        bad(
            "/service_capabilities/0",
            json!("x"),
            "service_capabilities[0]: got text, takes an object",
        ),
    ];
    check_bodies(PATH, &meter_product(), false, &rows).await;
}

#[tokio::test]
async fn every_field_of_the_model_is_checked_with_its_path() {
    let text = |n: usize| json!("a".repeat(n));
    let rows: Vec<Row> = vec![
        missing(
            "/service_capabilities/0/service_id",
            "service_capabilities[0].service_id: is missing",
        ),
        missing(
            "/service_capabilities/0/service_type",
            "service_capabilities[0].service_type: is missing",
        ),
        bad(
            "/service_capabilities/0/service_id",
            text(65),
            "service_capabilities[0].service_id: got 65",
        ),
        bad(
            "/service_capabilities/0/option",
            json!("Some"),
            "service_capabilities[0].option: got \"Some\", takes one of Master, Mandatory, Optional",
        ),
        bad(
            "/service_capabilities/0/description",
            text(129),
            "service_capabilities[0].description",
        ),
        missing(
            "/service_capabilities/0/properties/0/property_name",
            "service_capabilities[0].properties[0].property_name: is missing",
        ),
        missing(
            "/service_capabilities/0/properties/0/data_type",
            "service_capabilities[0].properties[0].data_type: is missing",
        ),
        missing(
            "/service_capabilities/0/properties/0/method",
            "service_capabilities[0].properties[0].method: is missing",
        ),
        bad(
            "/service_capabilities/0/properties/1/data_type",
            json!("float"),
            "service_capabilities[0].properties[1].data_type: got \"float\", takes one of int, long",
        ),
        bad(
            "/service_capabilities/0/properties/1/method",
            json!("X"),
            "service_capabilities[0].properties[1].method: got \"X\"",
        ),
        bad(
            "/service_capabilities/0/properties/1/min",
            json!(1),
            "service_capabilities[0].properties[1].min: got the number 1, takes text",
        ),
        bad(
            "/service_capabilities/0/properties/1/min",
            json!("few"),
            "service_capabilities[0].properties[1].min",
        ),
        bad(
            "/service_capabilities/0/properties/1/min",
            json!("99999"),
            "service_capabilities[0].properties[1].m",
        ),
        bad(
            "/service_capabilities/0/properties/1/required",
            json!("yes"),
            "properties[1].required: got text, takes true or false",
        ),
        bad(
            "/service_capabilities/0/properties/1/max_length",
            json!(-1),
            "properties[1].max_length: got -1, takes a whole number from 0",
        ),
        bad(
            "/service_capabilities/0/properties/1/max_length",
            json!(1.5),
            "properties[1].max_length: got 1.5",
        ),
        bad(
            "/service_capabilities/0/properties/1/step",
            json!("1"),
            "properties[1].step: got text, takes a number",
        ),
        bad(
            "/service_capabilities/0/properties/1/unit",
            text(17),
            "properties[1].unit: got 17",
        ),
        bad(
            "/service_capabilities/0/properties/1/enum_list",
            json!(["a", 1]),
            "properties[1].enum_list[1]: got the number 1, takes text",
        ),
        bad(
            "/service_capabilities/0/properties/1/property_name",
            json!("volume"),
            "service_capabilities[0].properties[1].property_name",
        ),
        bad(
            "/service_capabilities/0/properties/1/default_value",
            deep(40),
            "default_value: is nested deeper than 32 levels",
        ),
        missing(
            "/service_capabilities/0/commands/0/command_name",
            "service_capabilities[0].commands[0].command_name: is missing",
        ),
        bad(
            "/service_capabilities/0/commands/0/paras/0/para_name",
            text(33),
            "service_capabilities[0].commands[0].paras[0].para_name: got 33",
        ),
        bad(
            "/service_capabilities/0/commands/0/paras",
            json!(3),
            "service_capabilities[0].commands[0].paras: got the number 3",
        ),
        bad(
            "/service_capabilities/0/commands/0/responses",
            json!([{}]),
            "service_capabilities[0].commands[0].responses[0].response_name: is missing",
        ),
        bad(
            "/service_capabilities/0/events",
            json!([{"event_type": "a".repeat(33)}]),
            "service_capabilities[0].events[0].event_type: got 33",
        ),
        bad(
            "/service_capabilities/0/properties",
            json!(vec![json!({}); 501]),
            "service_capabilities[0].properties: got 501 entries, takes up to 500",
        ),
        good("/service_capabilities/0/unheard_of", json!(1)),
    ];
    check_bodies(PATH, &meter_product(), false, &rows).await;
}

fn deep(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

#[tokio::test]
async fn one_answer_tells_every_problem() {
    let server = Server::start();
    let body = json!({"name": "", "protocol_type": "X", "service_capabilities": [{}]});
    let answer = server.post(PATH, &body).await;
    insta::assert_json_snapshot!(answer.body);
}

#[tokio::test]
async fn a_product_is_made_shown_changed_and_deleted() {
    let server = Server::start();
    let made = server.post(PATH, &meter_product()).await;
    assert_eq!(made.status, 201);
    insta::assert_json_snapshot!("product", made.body);
    let shown = server.get("/v5/iot/y/products/p1").await;
    assert_eq!((shown.status.as_u16(), &shown.body), (200, &made.body));

    let patch = json!({"name": "Meter2", "description": null, "nonsense": 1});
    let changed = server.put("/v5/iot/x/products/p1", &patch).await;
    assert_eq!(changed.status, 200);
    let mut want = made.body.clone();
    want["name"] = json!("Meter2");
    assert_eq!(changed.body, want);

    assert_eq!(server.delete("/v5/iot/x/products/p1").await.status, 204);
    let gone = server.get("/v5/iot/x/products/p1").await;
    assert_eq!(
        gone.error(),
        (404, "IOTDA.013001", "product_id: there is no product p1")
    );
    assert_eq!(server.delete("/v5/iot/x/products/p1").await.status, 404);
    assert_eq!(
        server.put("/v5/iot/x/products/p1", &patch).await.status,
        404
    );

    let events = server.events();
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["product.create", "product.update", "product.delete"]
    );
    assert_eq!(events[0].1["notify_data"]["body"], made.body);
    assert_eq!(events[1].1["notify_data"]["body"], changed.body);
}

#[tokio::test]
async fn an_id_is_made_up_and_taken_once() {
    let server = Server::start();
    let body = crate::api::with(&meter_product(), "/product_id", None);
    let made = server.post(PATH, &body).await;
    let id = made.body["product_id"].as_str().unwrap();
    assert_eq!(id.len(), 24);
    assert!(id.bytes().all(|b| b.is_ascii_hexdigit()));
    let server = server.with_product().await;
    let again = server.post(PATH, &meter_product()).await;
    let (status, code, message) = again.error();
    assert_eq!((status, code), (400, "IOTDA.000006"));
    assert!(message.starts_with("product_id: there is a product p1 already"));
}

#[tokio::test]
async fn defaults_are_those_of_the_api() {
    let server = Server::start();
    let body = json!({"name": "n", "device_type": "t", "protocol_type": "MQTT",
        "service_capabilities": [{"service_id": "s", "service_type": "s",
            "properties": [{"property_name": "p", "data_type": "int", "method": "R"}]}]});
    let made = server.post(PATH, &body).await.body;
    assert_eq!(made["data_format"], "json");
    assert_eq!(made["app_id"], "default");
    assert_eq!(made["service_capabilities"][0]["option"], "Optional");
    let property = &made["service_capabilities"][0]["properties"][0];
    assert_eq!(property["required"], false);
}

#[tokio::test]
async fn lists_page_newest_first() {
    let server = Server::start().with_spaces(&["a0", "a1", "a2"]).await;
    for i in 0..12 {
        let id = format!("p{i}");
        let body = crate::api::with(&meter_product(), "/product_id", Some(json!(id)));
        let body = crate::api::with(&body, "/name", Some(json!(format!("N{}", i % 2))));
        let body = crate::api::with(&body, "/app_id", Some(json!(format!("a{}", i % 3))));
        assert_eq!(server.post(PATH, &body).await.status, 201);
    }
    let ids = |body: &Value| -> Vec<String> {
        let list = body["products"].as_array().unwrap();
        list.iter()
            .map(|p| p["product_id"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = server.get(PATH).await.body;
    assert_eq!(ids(&first).len(), 10);
    assert_eq!(ids(&first)[0], "p11");
    assert_eq!(first["page"]["count"], 12);
    let marker = first["page"]["marker"].as_str().unwrap();
    assert_eq!(marker.len(), 24);
    let second = server.get(&format!("{PATH}?marker={marker}")).await.body;
    assert_eq!(ids(&second), ["p1", "p0"]);
    let cases = [
        ("limit=1", vec!["p11"]),
        ("limit=2&offset=3", vec!["p8", "p7"]),
        ("marker=ffffffffffffffffffffffff&limit=1", vec!["p11"]),
        ("product_name=N0&limit=2", vec!["p10", "p8"]),
        ("app_id=a0&limit=50", vec!["p9", "p6", "p3", "p0"]),
        ("product_name=none", vec![]),
    ];
    for (query, want) in cases {
        let got = server.get(&format!("{PATH}?{query}")).await.body;
        assert_eq!(ids(&got), want, "{query}");
        if want.is_empty() {
            assert_eq!(got["page"], json!({"count": 0, "marker": null}));
        }
    }
    let summary = &first["products"][0];
    assert!(summary.get("service_capabilities").is_none());
    let space = server.get("/v5/iot/x/products/p0?app_id=a1").await;
    assert_eq!(space.status, 404);
}

#[tokio::test]
async fn bad_queries_say_what_they_take() {
    let server = Server::start();
    let cases = [
        (
            "limit=0",
            "IOTDA.000017",
            "limit: got \"0\", takes a whole number from 1 to 50",
        ),
        ("limit=51", "IOTDA.000017", "limit: got \"51\""),
        ("limit=x", "IOTDA.000017", "limit: got \"x\""),
        ("limit=%2B5", "IOTDA.000017", "limit: got \"+5\""),
        (
            "offset=501",
            "IOTDA.000006",
            "offset: got \"501\", takes a whole number from 0 to 500",
        ),
        (
            "marker=12",
            "IOTDA.000018",
            "marker: got \"12\", takes 24 hexadecimal digits",
        ),
        (
            "app_id=a.b",
            "IOTDA.000006",
            "app_id: has the character '.'",
        ),
        ("limit=1&limit=2", "IOTDA.000006", "limit: is given twice"),
    ];
    for (query, want_code, want) in cases {
        let answer = server.get(&format!("{PATH}?{query}")).await;
        let (status, code, message) = answer.error();
        assert_eq!((status, code), (400, want_code), "{query}");
        assert!(message.contains(want), "{query}: {message}");
    }
}
