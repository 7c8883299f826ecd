//! `…/devices`: every field, and the device's life.

use serde_json::{Value, json};
use strait::app::device::DeviceChangeKind;

use crate::api::{Row, Server, bad, check_bodies, good, missing, with};

const PATH: &str = "/v5/iot/x/devices";

fn device() -> Value {
    json!({
        "node_id": "861234567890123",
        "product_id": "p1",
        "device_id": "d1",
        "device_name": "House7",
        "description": "cellar",
        "auth_info": {"auth_type": "SECRET", "secret": "00112233445566778899aabbccddeeff",
                      "secure_access": true, "timeout": 60},
        "extension_info": {"floor": -1},
        "shadow": [{"service_id": "Flow", "desired": {"interval": 60}}]
    })
}

#[tokio::test]
async fn every_field_is_checked_with_its_path() {
    let text = |n: usize| json!("a".repeat(n));
    let hex = |n: usize| json!("0".repeat(n));
    let rows: Vec<Row> = vec![
        good("/device_id", text(128)),
        bad(
            "/device_id",
            text(129),
            "device_id: has 129 characters, takes at most 128",
        ),
        bad(
            "/device_id",
            json!("a/b"),
            "device_id: has the character '/'",
        ),
        good("/node_id", text(64)),
        missing("/node_id", "node_id: is missing"),
        bad(
            "/node_id",
            text(65),
            "node_id: has 65 characters, takes at most 64",
        ),
        bad(
            "/node_id",
            json!(861),
            "node_id: got the number 861, takes text",
        ),
        good("/device_name", text(256)),
        bad("/device_name", text(257), "device_name: got 257 characters"),
        bad(
            "/device_name",
            json!("a<b"),
            "device_name: has the character '<'",
        ),
        missing("/product_id", "product_id: is missing"),
        bad(
            "/product_id",
            text(37),
            "product_id: has 37 characters, takes at most 36",
        ),
        good("/description", text(2048)),
        bad(
            "/description",
            text(2049),
            "description: got 2049 characters",
        ),
        bad("/gateway_id", text(129), "gateway_id: has 129 characters"),
        bad(
            "/gateway_id",
            json!("nobody"),
            "gateway_id: there is no device nobody",
        ),
        bad("/app_id", text(37), "app_id: has 37 characters"),
        bad(
            "/extension_info",
            json!([]),
            "extension_info: got a list, takes an object",
        ),
        bad(
            "/extension_info",
            json!({"a": "a".repeat(16384)}),
            "extension_info: got 16392 bytes",
        ),
        bad(
            "/auth_info",
            json!("x"),
            "auth_info: got text, takes an object",
        ),
        bad(
            "/auth_info/auth_type",
            json!("NONE"),
            "auth_info.auth_type: got \"NONE\", takes one of SECRET, CERTIFICATES",
        ),
        good("/auth_info/secret", hex(8)),
        good("/auth_info/secret", hex(32)),
        bad(
            "/auth_info/secret",
            hex(7),
            "auth_info.secret: got 7 characters, takes 8 to 32",
        ),
        bad(
            "/auth_info/secret",
            hex(33),
            "auth_info.secret: got 33 characters",
        ),
        bad(
            "/auth_info/secret",
            hex(9),
            "auth_info.secret: a CoAP device takes a secret of 8 to 32 hexadecimal characters, an even number",
        ),
        bad(
            "/auth_info/secret",
            json!("notahexx"),
            "auth_info.secret: a CoAP device takes",
        ),
        bad(
            "/auth_info/secret",
            json!("has space"),
            "auth_info.secret: has the character ' '",
        ),
        bad(
            "/auth_info/fingerprint",
            json!("zz"),
            "auth_info.fingerprint: got 2 characters",
        ),
        good("/auth_info/fingerprint", hex(40)),
        bad(
            "/auth_info/secure_access",
            json!("true"),
            "auth_info.secure_access: got text, takes true or false",
        ),
        bad(
            "/auth_info/timeout",
            json!(-1),
            "auth_info.timeout: got -1, takes a whole number from 0 to 2147483647",
        ),
        good("/auth_info/timeout", json!(2_147_483_647)),
        bad(
            "/auth_info/timeout",
            json!(2_147_483_648_u64),
            "auth_info.timeout: got 2147483648",
        ),
        bad("/shadow", json!({}), "shadow: got an object, takes a list"),
        missing("/shadow/0/service_id", "shadow[0].service_id: is missing"),
        bad(
            "/shadow/0/service_id",
            text(33),
            "shadow[0].service_id: got 33 characters",
        ),
        bad(
            "/shadow/0/service_id",
            json!("Nope"),
            "shadow[0].service_id: ",
        ),
        missing("/shadow/0/desired", "shadow[0].desired: is missing"),
        bad(
            "/shadow/0/desired",
            json!(1),
            "shadow[0].desired: got the number 1, takes an object",
        ),
        bad(
            "/shadow/0/desired",
            json!({"colour": 1}),
            "shadow[0].desired.colour: ",
        ),
        bad(
            "/shadow/0/desired",
            json!({"interval": 0}),
            "shadow[0].desired.interval: ",
        ),
        good("/unheard_of", json!(1)),
    ];
    check_bodies(PATH, &device(), true, &rows).await;
}

#[tokio::test]
async fn a_device_is_made_with_all_it_was_given() {
    let server = Server::start().with_product().await;
    let made = server.post(PATH, &device()).await;
    assert_eq!(made.status, 201);
    insta::assert_json_snapshot!("device", made.body);
    let shown = server.get("/v5/iot/x/devices/d1").await;
    assert_eq!((shown.status.as_u16(), &shown.body), (200, &made.body));
    let (name, event) = server.events().pop().unwrap();
    assert_eq!(name, "device.create");
    assert!(
        !event.to_string().contains("00112233"),
        "a secret was pushed"
    );
    insta::assert_json_snapshot!("device_create_event", event);
}

#[tokio::test]
async fn what_is_absent_has_its_default() {
    let server = Server::start().with_product().await;
    let body = json!({"node_id": "n1", "product_id": "p1"});
    let made = server.post(PATH, &body).await.body;
    assert_eq!(made["device_id"], "p1_n1");
    assert_eq!(made["gateway_id"], "p1_n1");
    assert_eq!(made["node_type"], "GATEWAY");
    assert_eq!(made["status"], "INACTIVE");
    assert_eq!(made["auth_info"]["auth_type"], "SECRET");
    assert_eq!(made["auth_info"]["secure_access"], false);
    assert_eq!(made["auth_info"]["timeout"], 0);
    let secret = made["auth_info"]["secret"].as_str().unwrap();
    assert!(secret.len() == 32 && secret.bytes().all(|b| b.is_ascii_hexdigit()));
    // The model's default value is desired from the start.
    let shadow = server.get("/v5/iot/x/devices/p1_n1/shadow").await.body;
    insta::assert_json_snapshot!("first_shadow", shadow);
}

#[tokio::test]
async fn who_gave_a_secret_is_secured_unless_told_otherwise() {
    let server = Server::start().with_product().await;
    let cases = [
        (json!({"secret": "0011223344"}), true),
        (
            json!({"secret": "0011223344", "secure_access": false}),
            false,
        ),
        (json!({"secure_access": true}), true),
        (json!({}), false),
    ];
    for (i, (auth, want)) in cases.into_iter().enumerate() {
        let body = json!({"node_id": format!("n{i}"), "product_id": "p1", "auth_info": auth});
        let made = server.post(PATH, &body).await.body;
        assert_eq!(made["auth_info"]["secure_access"], want, "{body}");
    }
}

#[tokio::test]
async fn ids_are_taken_once() {
    let server = Server::start().with_product().await;
    assert_eq!(server.post(PATH, &device()).await.status, 201);
    let same_node = with(&device(), "/device_id", Some(json!("d2")));
    let same_id = with(&device(), "/node_id", Some(json!("n2")));
    let cases = [
        (
            same_node,
            "node_id: there is a device with 861234567890123 already",
        ),
        (same_id, "device_id: there is a device with d1 already"),
    ];
    for (body, want) in cases {
        let answer = server.post(PATH, &body).await;
        let (status, code, message) = answer.error();
        assert_eq!((status, code), (400, "IOTDA.014031"));
        assert!(message.contains(want), "{message}");
    }
    let unknown = with(&device(), "/product_id", Some(json!("p9")));
    let answer = server.post(PATH, &unknown).await;
    let (status, code, message) = answer.error();
    assert_eq!((status, code), (400, "IOTDA.009002"));
    assert!(
        message.starts_with("product_id: there is no product p9"),
        "{message}"
    );
}

#[tokio::test]
async fn a_hex_secret_is_asked_of_those_whose_key_is_hex() {
    let server = Server::start().with_product().await;
    let body = with(
        &device(),
        "/auth_info/secret",
        Some(json!("plain-text-key")),
    );
    assert_eq!(server.post(PATH, &body).await.status, 400);
    let settings = json!({"psk": "text"});
    let put = server.put("/v1/products/p1/settings", &settings).await;
    assert_eq!(put.status, 200);
    assert_eq!(server.post(PATH, &body).await.status, 201);
}

#[tokio::test]
async fn a_device_lives() {
    let mut server = Server::start().with_product().await;
    server.post(PATH, &device()).await;
    let one = "/v5/iot/x/devices/d1";
    let changed = server
        .put(
            one,
            &json!({"device_name": "House8", "auth_info": {"timeout": 5}, "node_id": "x"}),
        )
        .await;
    assert_eq!(changed.status, 200);
    assert_eq!(changed.body["device_name"], "House8");
    assert_eq!(changed.body["description"], "cellar");
    assert_eq!(changed.body["node_id"], "861234567890123");
    assert_eq!(changed.body["auth_info"]["timeout"], 5);
    assert_eq!(changed.body["auth_info"]["secure_access"], true);
    // The same again changes nothing and tells nobody.
    server.put(one, &json!({"device_name": "House8"})).await;

    for (action, status) in [("freeze", "FROZEN"), ("unfreeze", "INACTIVE")] {
        for _ in 0..2 {
            let done = server.post(&format!("{one}/{action}"), &json!({})).await;
            assert_eq!((done.status.as_u16(), &done.body), (204, &Value::Null));
        }
        assert_eq!(server.get(one).await.body["status"], status);
    }

    let reset = server
        .post(
            &format!("{one}/action?action_id=resetSecret"),
            &json!({"secret": "aabbccdd"}),
        )
        .await;
    assert_eq!(
        reset.body,
        json!({"device_id": "d1", "secret": "aabbccdd", "secret_type": "PRIMARY"})
    );
    let body = json!({"secret_type": "SECONDARY", "force_disconnect": true});
    let second = server
        .post(&format!("{one}/action?action_id=resetSecret"), &body)
        .await;
    assert_eq!(second.body["secret_type"], "SECONDARY");
    let auth = server.get(one).await.body["auth_info"].clone();
    assert_eq!(auth["secret"], "aabbccdd");
    assert_eq!(auth["secondary_secret"], second.body["secret"]);

    assert_eq!(server.delete(one).await.status, 204);
    assert_eq!(
        server.get(one).await.error(),
        (404, "IOTDA.014000", "device_id: there is no device d1")
    );
    let names: Vec<String> = server.events().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "product.create",
            "device.create",
            "device.update",
            "device.status.update",
            "device.status.update",
            "device.update",
            "device.update",
            "device.delete"
        ]
    );
    let mut told = Vec::new();
    while let Ok(change) = server.changes.try_recv() {
        assert_eq!(change.device_id.as_str(), "d1");
        told.push(change.what);
    }
    use DeviceChangeKind as Kind;
    assert_eq!(
        told,
        [
            Kind::Created,
            Kind::Updated,
            Kind::Frozen,
            Kind::Unfrozen,
            Kind::SecretReset,
            Kind::SecretReset,
            Kind::Deleted
        ]
    );
}

#[tokio::test]
async fn changes_are_checked_too() {
    let server = Server::start().with_product().await;
    server.post(PATH, &device()).await;
    let one = "/v5/iot/x/devices/d1";
    let long = "a".repeat(257);
    let bad = server
        .put(
            one,
            &json!({"device_name": long, "auth_info": {"secure_access": 1}}),
        )
        .await;
    let (status, _, message) = bad.error();
    assert_eq!(status, 400);
    assert!(message.contains("device_name: got 257"), "{message}");
    assert!(
        message.contains("auth_info.secure_access: got the number 1"),
        "{message}"
    );
    let cases = [
        (
            "action",
            json!({}),
            "action_id: is missing, takes resetSecret",
        ),
        (
            "action?action_id=reboot",
            json!({}),
            "action_id: got \"reboot\", takes resetSecret",
        ),
        (
            "action?action_id=resetSecret",
            json!({"secret": "short"}),
            "secret: got 5 characters",
        ),
        (
            "action?action_id=resetSecret",
            json!({"secret": "notahexx"}),
            "secret: a CoAP device takes",
        ),
        (
            "action?action_id=resetSecret",
            json!({"secret_type": "BOTH"}),
            "secret_type: got \"BOTH\"",
        ),
        (
            "action?action_id=resetSecret",
            json!({"force_disconnect": 1}),
            "force_disconnect: got the number 1",
        ),
    ];
    for (path, body, want) in cases {
        let answer = server.post(&format!("{one}/{path}"), &body).await;
        let (status, code, message) = answer.error();
        assert_eq!((status, code), (400, "IOTDA.000006"), "{path}");
        assert!(message.contains(want), "{path}: {message}");
    }
    for path in [
        "",
        "/shadow",
        "/freeze",
        "/unfreeze",
        "/action?action_id=resetSecret",
    ] {
        let url = format!("/v5/iot/x/devices/nobody{path}");
        let answer = match path {
            "" | "/shadow" => server.get(&url).await,
            _ => server.post(&url, &json!({})).await,
        };
        assert_eq!(answer.error().1, "IOTDA.014000", "{path}");
    }
}

#[tokio::test]
async fn of_two_who_want_the_same_node_one_gets_it() {
    let server = Server::start().with_product().await;
    let body = json!({"node_id": "n1", "product_id": "p1"});
    let calls = (0..8).map(|_| server.post(PATH, &body));
    let answers = futures_util::future::join_all(calls).await;
    let codes: Vec<&str> = answers.iter().map(|a| a.error().1).collect();
    let made = answers.iter().filter(|a| a.status == 201).count();
    let refused = codes.iter().filter(|c| **c == "IOTDA.014031").count();
    assert_eq!((made, refused), (1, 7), "{codes:?}");
    assert_eq!(server.get(PATH).await.body["page"]["count"], 1);
}

#[tokio::test]
async fn changes_at_the_same_time_all_count() {
    let server = Server::start().with_product().await;
    server.post(PATH, &device()).await;
    let one = "/v5/iot/x/devices/d1";
    let patches = [
        json!({"device_name": "A"}),
        json!({"description": "B"}),
        json!({"extension_info": {"c": 1}}),
    ];
    let calls = patches.iter().map(|patch| server.put(one, patch));
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(|a| a.status == 200), "{answers:?}");
    let shown = server.get(one).await.body;
    assert_eq!(shown["device_name"], "A");
    assert_eq!(shown["description"], "B");
    assert_eq!(shown["extension_info"], json!({"c": 1}));
}
