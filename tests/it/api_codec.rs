//! `/v1/products/…`: codec upload and dry runs, settings.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};

use crate::api::{Answer, Server, meter_product, with};

const CODEC: &str = "/v1/products/p1/codec";
const FLOW: &str = include_str!("../../fixtures/api/flow.toml");

async fn upload(server: &Server, source: &str, headers: &[(&str, &str)]) -> Answer {
    codec_request(server, Method::PUT, Body::from(source.to_owned()), headers).await
}

async fn codec_request(
    server: &Server,
    method: Method,
    body: Body,
    headers: &[(&str, &str)],
) -> Answer {
    let mut request = Request::builder().method(method).uri(CODEC);
    if headers.iter().all(|(name, _)| *name != "content-type") {
        request = request.header("content-type", "application/toml");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.send(request.body(body).unwrap()).await
}

#[tokio::test]
async fn a_codec_is_taken_shown_replaced_and_deleted() {
    let server = Server::start().with_product().await;
    let none = server.get(CODEC).await;
    assert_eq!(none.status, 404);
    assert!(none.error().2.contains("product p1 has no codec"));

    let first = upload(&server, FLOW, &[]).await;
    assert_eq!(first.status, 201, "{:?}", first.body);
    let etag = first.header("etag").to_owned();
    assert_eq!(etag.len(), 66);
    let shown = server.get(CODEC).await;
    assert_eq!(shown.body, Value::String(FLOW.into()));
    assert_eq!(shown.header("content-type"), "application/toml");
    assert_eq!(shown.header("etag"), etag);

    let typed = [("content-type", "Application/TOML; charset=utf-8")];
    let changed = format!("{FLOW}\n# two\n");
    let second = upload(&server, &changed, &typed).await;
    assert_eq!(second.status, 200);
    assert_ne!(second.header("etag"), etag);

    let gone = server.delete(CODEC).await;
    assert_eq!(gone.status, 204);
    assert_eq!(server.get(CODEC).await.status, 404);
    assert_eq!(server.delete(CODEC).await.status, 404);
    assert_eq!(
        server.get("/v1/products/p9/codec").await.error().1,
        "IOTDA.013001"
    );
}

#[tokio::test]
async fn preconditions_hold_or_nothing_happens() {
    let server = Server::start().with_product().await;
    let absent = upload(&server, FLOW, &[("if-match", "*")]).await;
    assert_eq!(absent.status, 412);
    assert!(
        absent
            .error()
            .2
            .contains("If-Match: does not hold, there is no codec")
    );
    let first = upload(&server, FLOW, &[("if-none-match", "*")]).await;
    assert_eq!(first.status, 201);
    let etag = first.header("etag").to_owned();
    let other = format!("{FLOW}\n# other\n");
    let cases = [
        (Method::PUT, "if-none-match", "*", 412),
        (Method::PUT, "if-match", "\"0000\"", 412),
        (Method::PUT, "if-match", "bare", 400),
        (Method::DELETE, "if-match", "\"0000\"", 412),
        (Method::GET, "if-none-match", etag.as_str(), 304),
        (Method::GET, "if-none-match", "\"0000\", \"1\"", 200),
        (Method::PUT, "if-match", etag.as_str(), 200),
    ];
    for (method, header, value, want) in cases {
        let body = Body::from(other.clone());
        let answer = codec_request(&server, method.clone(), body, &[(header, value)]).await;
        assert_eq!(answer.status, want, "{method} {header}: {value}");
    }
}

#[tokio::test]
async fn a_codec_that_is_wrong_is_refused_and_the_running_one_stays() {
    let server = Server::start().with_product().await;
    upload(&server, FLOW, &[]).await;
    let broken = FLOW.replace("n = \"volume\", t = \"u32\"", "n = \"colour\", t = \"u99\"");
    let refused = upload(&server, &broken, &[]).await;
    assert_eq!(refused.status, 422);
    let errors = refused.body["errors"].as_array().unwrap();
    assert!(!errors.is_empty());
    assert_eq!(errors[0]["line"], 8);
    assert!(errors[0]["column"].as_u64().unwrap() > 0);
    assert!(
        refused.body["error_msg"].as_str().unwrap().contains("8:"),
        "{:?}",
        refused.body
    );
    let decoded = server
        .post(&format!("{CODEC}/decode"), &json!({"hex": "010000013a"}))
        .await;
    assert_eq!(decoded.status, 200);

    let types = ["text/typescript", "application/json", "toml"];
    for media in types {
        let answer = upload(&server, FLOW, &[("content-type", media)]).await;
        assert_eq!(answer.status, 415, "{media}");
        assert!(
            answer.error().2.contains("takes application/toml"),
            "{media}"
        );
    }
    let huge = upload(&server, &"#".repeat(256 * 1024 + 1), &[]).await;
    assert_eq!(huge.status, 413);
    let no_product =
        Request::put("/v1/products/p9/codec").header("content-type", "application/toml");
    let answer = server
        .send(no_product.body(Body::from(FLOW)).unwrap())
        .await;
    assert_eq!(answer.error().1, "IOTDA.013001");
}

#[tokio::test]
async fn bytes_are_tried_without_a_device() {
    let server = Server::start().with_product().await;
    let decode = format!("{CODEC}/decode");
    let without = server.post(&decode, &json!({"hex": "00"})).await;
    assert_eq!(without.status, 404);
    upload(&server, FLOW, &[]).await;
    let report = server
        .post(&decode, &json!({"hex": "010000013A", "fPort": 2}))
        .await;
    assert_eq!(report.status, 200, "{:?}", report.body);
    insta::assert_json_snapshot!("decode_report", report.body);
    // 70000 litres are over the model's 65535.
    let over = server
        .post(&decode, &json!({"hex": "0100011170"}))
        .await
        .body;
    assert_eq!(
        over["violations"][0]["path"],
        "services[0].properties.volume"
    );
    assert_eq!(over["services"], json!([]));
    let response = server.post(&decode, &json!({"hex": "82000700"})).await.body;
    assert_eq!(
        (&response["kind"], &response["mid"], &response["succeeded"]),
        (&json!("response"), &json!(7), &json!(true))
    );
    let cases = [
        (json!({"hex": "0100"}), 422, "truncated: "),
        (json!({"hex": "77"}), 422, "unknown_message: "),
        (
            json!({"hex": "0"}),
            400,
            "hex: got 1 digits, takes an even number",
        ),
        (json!({"hex": "zz"}), 400, "hex: has the character 'z'"),
        (json!({}), 400, "hex: is missing"),
        (
            json!({"hex": "00", "fport": 1}),
            400,
            "fport: is not a field here, the fields are fPort, hex",
        ),
        (json!({"hex": "00", "fPort": 256}), 400, "fPort: got 256"),
        (json!([]), 400, "body: got a list, takes an object"),
    ];
    for (body, want, message) in cases {
        let answer = server.post(&decode, &body).await;
        assert_eq!(answer.status, want, "{body}");
        assert!(
            answer.error().2.contains(message),
            "{body}: {}",
            answer.error().2
        );
    }
}

#[tokio::test]
async fn commands_are_tried_without_a_device() {
    let server = Server::start().with_product().await;
    let encode = format!("{CODEC}/encode");
    upload(&server, FLOW, &[]).await;
    let command = json!({"service_id": "Flow", "command_name": "SET_VALVE",
        "paras": {"open": 1}, "mid": 258});
    let answer = server.post(&encode, &command).await;
    assert_eq!(
        (answer.status.as_u16(), answer.body),
        (200, json!({"hex": "81010201"}))
    );
    let cases = [
        ("/service_id", json!("Nope"), "service_id: "),
        ("/command_name", json!("Nope"), "command_name: "),
        ("/paras", json!({}), "paras.open: "),
        ("/paras", json!({"open": 2}), "paras.open: "),
        ("/paras", json!([]), "paras: got a list"),
        (
            "/mid",
            json!(0),
            "mid: got 0, takes a whole number from 1 to 65535",
        ),
        ("/extra", json!(1), "extra: is not a field here"),
    ];
    for (pointer, value, want) in cases {
        let body = with(&command, pointer, Some(value));
        let answer = server.post(&encode, &body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(
            answer.error().2.contains(want),
            "{body}: {}",
            answer.error().2
        );
    }
}

#[tokio::test]
async fn sets_are_tried_without_a_device() {
    let server = Server::start().with_product().await;
    let encode = format!("{CODEC}/encode");
    let none = json!({"service_id": "Flow", "properties": {"interval": 60}});
    upload(&server, FLOW, &[]).await;
    let answer = server.post(&encode, &none).await;
    assert_eq!(answer.status, 422, "{:?}", answer.body);
    assert!(answer.error().2.contains("no message sets interval"));
    let set = "[[message]]\nid = 0x83\ndir = \"set\"\nservice = \"Flow\"\nfields = [\
               { n = \"mid\", t = \"u16\", auto = \"mid\" }, { n = \"interval\", t = \"u32\" }]\n";
    upload(&server, &format!("{FLOW}{set}"), &[]).await;
    let answer = server.post(&encode, &none).await;
    assert_eq!(
        (answer.status.as_u16(), answer.body),
        (
            200,
            json!({"hex": "8300010000003c", "covered": ["interval"]})
        )
    );
    let known = json!({"service_id": "Flow", "mid": 258, "properties": {"interval": 60},
        "known": {"interval": 1, "volume": 7}});
    let answer = server.post(&encode, &known).await;
    assert_eq!(answer.body["hex"], "8301020000003c");
    let cases = [
        (
            "/properties",
            json!({"interval": 0}),
            "properties.interval: ",
        ),
        (
            "/properties",
            json!({"volume": 1}),
            "properties.volume: has method R, takes properties with W",
        ),
        (
            "/properties",
            json!({"x": 1}),
            "properties.x: service Flow has no such",
        ),
        ("/properties", json!([]), "properties: got a list"),
        ("/service_id", json!("Nope"), "service_id: got \"Nope\""),
        ("/known", json!(1), "known: got the number 1"),
        ("/paras", json!({}), "paras: belongs to command_name"),
        (
            "/command_name",
            json!("SET_VALVE"),
            "properties: stands beside command_name",
        ),
    ];
    for (pointer, value, want) in cases {
        let body = with(&known, pointer, Some(value));
        let answer = server.post(&encode, &body).await;
        assert_eq!(answer.status, 400, "{body}");
        let message = answer.error().2;
        assert!(message.contains(want), "{body}: {message}");
    }
    let neither = server.post(&encode, &json!({"service_id": "Flow"})).await;
    assert_eq!(neither.status, 400);
    assert!(
        neither
            .error()
            .2
            .contains("command_name: is missing, takes the name of a command")
    );
}

#[tokio::test]
async fn json_products_need_no_codec_and_switch_when_they_are_told() {
    let server = Server::start();
    let body = with(&meter_product(), "/data_format", Some(json!("json")));
    assert_eq!(server.post("/v5/iot/x/products", &body).await.status, 201);
    let command = json!({"service_id": "Flow", "command_name": "SET_VALVE", "paras": {"open": 1}});
    let text = "{\"msg_type\":\"commands\",\"mid\":1,\"service_id\":\"Flow\",\
                \"command_name\":\"SET_VALVE\",\"paras\":{\"open\":1}}";
    let as_json: String = text.bytes().map(|b| format!("{b:02x}")).collect();
    let encode = format!("{CODEC}/encode");
    assert_eq!(server.post(&encode, &command).await.body["hex"], as_json);
    // An uploaded codec rests until the devices speak bytes.
    assert_eq!(upload(&server, FLOW, &[]).await.status, 201);
    assert_eq!(server.post(&encode, &command).await.body["hex"], as_json);
    let path = "/v5/iot/x/products/p1";
    for (format, want) in [
        ("binary", "81000101"),
        ("json", &as_json),
        ("binary", "81000101"),
    ] {
        let switched = server.put(path, &json!({"data_format": format})).await;
        assert_eq!(switched.status, 200, "{:?}", switched.body);
        assert_eq!(
            server.post(&encode, &command).await.body["hex"],
            want,
            "{format}"
        );
    }
}

#[tokio::test]
async fn a_model_that_the_codec_does_not_fit_is_refused() {
    let server = Server::start().with_product().await;
    upload(&server, FLOW, &[]).await;
    let renamed = with(
        &meter_product(),
        "/service_capabilities/0/properties/0/property_name",
        Some(json!("litres")),
    );
    let refused = server.put("/v5/iot/x/products/p1", &renamed).await;
    let (status, _, message) = refused.error();
    assert_eq!(status, 400);
    assert!(
        message.starts_with("service_capabilities: the running codec does not fit"),
        "{message}"
    );
    server.delete(CODEC).await;
    assert_eq!(
        server.put("/v5/iot/x/products/p1", &renamed).await.status,
        200
    );
}

#[tokio::test]
async fn a_restart_finds_codec_and_settings() {
    let server = Server::start().with_product().await;
    upload(&server, FLOW, &[]).await;
    server
        .put("/v1/products/p1/settings", &json!({"downlink": "execute"}))
        .await;
    let again = Server::over(std::sync::Arc::clone(&server.store));
    let decoded = again
        .post(&format!("{CODEC}/decode"), &json!({"hex": "010000013a"}))
        .await;
    assert_eq!(decoded.status, 200);
    let settings = again.get("/v1/products/p1/settings").await.body;
    assert_eq!(settings["downlink"], "execute");
}

#[tokio::test]
async fn nobody_overwrites_settings_that_he_has_not_seen() {
    let server = Server::start().with_product().await;
    let path = "/v1/products/p1/settings";
    let send = |method: Method, header: &'static str, tag: String, body: &'static str| {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("content-type", "application/json");
        server.send(request.header(header, tag).body(body.into()).unwrap())
    };
    let first = server.get(path).await.header("etag").to_owned();
    let execute = r#"{"downlink": "execute"}"#;
    let changed = send(Method::PUT, "if-match", first.clone(), execute).await;
    assert_eq!(changed.status, 200, "{:?}", changed.body);
    let second = changed.header("etag").to_owned();
    assert_ne!(first, second);
    let late = send(Method::PUT, "if-match", first, "{}").await;
    assert_eq!(late.status, 412, "{:?}", late.body);
    assert_eq!(server.get(path).await.body["downlink"], "execute");
    let known = send(Method::GET, "if-none-match", second, "").await;
    assert_eq!(known.status, 304);
}

#[tokio::test]
async fn settings_are_replaced_whole() {
    let server = Server::start().with_product().await;
    let path = "/v1/products/p1/settings";
    let defaults = server.get(path).await.body;
    insta::assert_json_snapshot!("settings", defaults);
    let some = json!({"downlink": "execute", "ts013_service": "Flow", "psk": "text",
        "coap": {"ack_timeout_s": 2.5, "max_retransmit": 4}, "codec": {"trusted": true},
        "command": {"response_timeout_s": 60}, "upgrade": {"software": null}});
    let put = server.put(path, &some).await;
    assert_eq!(put.status, 200);
    assert_eq!(
        put.body["coap"],
        json!({"ack_timeout_s": 2.5, "max_retransmit": 4, "exchange_lifetime_s": 282.5})
    );
    assert_eq!(
        put.body["upgrade"],
        json!({"software": null, "firmware": "LWM2M"})
    );
    assert_eq!(server.get(path).await.body, put.body);
    assert_eq!(server.put(path, &json!({})).await.body, defaults);
    let cases = [
        (
            json!({"downlink": "push"}),
            "downlink: got \"push\", takes one of write, execute",
        ),
        (json!({"psk": 1}), "psk: got the number 1"),
        (
            json!({"coap": {"ack_timeout_s": 0.5}}),
            "coap.ack_timeout_s: got 0.5, takes a number from 1 to 120",
        ),
        (
            json!({"coap": {"ack_timeout_s": "2"}}),
            "coap.ack_timeout_s: got text",
        ),
        (
            json!({"coap": {"max_retransmit": 11}}),
            "coap.max_retransmit: got 11, takes a whole number from 0 to 10",
        ),
        (
            json!({"coap": {"exchange_lifetime_s": 3601}}),
            "coap.exchange_lifetime_s: got 3601",
        ),
        (
            json!({"coap": {"retries": 3}}),
            "coap.retries: is not a field here",
        ),
        (
            json!({"codec": {"trusted": "yes"}}),
            "codec.trusted: got text",
        ),
        (
            json!({"command": {"response_timeout_s": 0}}),
            "command.response_timeout_s: got 0",
        ),
        (
            json!({"upgrade": {"software": "FOTA"}}),
            "upgrade.software: got \"FOTA\", takes one of PCP",
        ),
        (
            json!({"upgrade": {"both": 1}}),
            "upgrade.both: is not a field here",
        ),
        (json!({"colour": 1}), "colour: is not a field here"),
    ];
    for (body, want) in cases {
        let answer = server.put(path, &body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(
            answer.error().2.contains(want),
            "{body}: {}",
            answer.error().2
        );
    }
    assert_eq!(
        server.get("/v1/products/p9/settings").await.error().1,
        "IOTDA.013001"
    );
}
