//! `…/routing-rule/actions`: where pushes go.

use std::sync::Arc;

use axum::http::Method;
use serde_json::{Value, json};

use super::{ACTIONS, RULES, made, new_action, new_rule};
use crate::api::Server;

#[tokio::test]
async fn an_action_is_made_shown_changed_and_deleted() {
    let server = Server::start().with_spaces(&["a"]).await;
    let mut rule = new_rule();
    (rule["app_type"], rule["app_id"]) = (json!("APP"), json!("a"));
    let rule = made(&server, RULES, &rule, "rule_id").await;
    let mut body = new_action(&rule, "http://127.0.0.1:9/a?b=c");
    body["channel_detail"]["amqp_forwarding"] = json!({"queue_name": "ignored"});
    let answer = server.post(ACTIONS, &body).await;
    assert_eq!(answer.status, 201, "{:?}", answer.body);
    let id = answer.body["action_id"].as_str().unwrap().to_owned();
    let mut want = json!({"action_id": id, "rule_id": rule, "app_id": "a",
        "channel": "HTTP_FORWARDING", "channel_detail": {"http_forwarding": {
            "url": "http://127.0.0.1:9/a?b=c", "cert_id": null, "cn_name": null,
            "sni_enable": false, "signature_enable": false, "token": null, "tls_verify": true}}});
    assert_eq!(answer.body, want);
    let one = format!("{ACTIONS}/{id}");
    assert_eq!(server.get(&one).await.body, want);

    let steps = [
        json!({"url": "https://push.example.org/"}),
        json!({"cn_name": "push.internal", "sni_enable": true}),
        json!({"signature_enable": true, "token": "abc123"}),
        // The key that was given stays.
        json!({"url": "https://push.example.org:8443/x"}),
        json!({"signature_enable": false}),
        json!({"signature_enable": true}),
        json!({"tls_verify": false}),
        // As the v5 API's own example has it.
        json!({"cn_name": "push.other:8443"}),
        json!({"url": null, "sni_enable": false, "cn_name": ""}),
    ];
    for step in steps {
        let http = json!({"http_forwarding": step});
        let body = json!({"channel": "HTTP_FORWARDING", "channel_detail": http});
        let answer = server.put(&one, &body).await;
        let shown = &mut want["channel_detail"]["http_forwarding"];
        for (name, value) in step.as_object().unwrap() {
            match (name.as_str(), value) {
                ("token", _) | (_, Value::Null) => {}
                ("cn_name", empty) if empty == "" => shown[name] = Value::Null,
                ("cn_name", value) => {
                    let host = value.as_str().unwrap().split(':').next();
                    shown[name] = json!(host);
                }
                (_, value) => shown[name] = value.clone(),
            }
        }
        assert_eq!(
            (answer.status.as_u16(), &answer.body),
            (200, &want),
            "{step}"
        );
        assert!(!answer.body.to_string().contains("abc123"));
    }
    assert_eq!(server.put(&one, &json!({})).await.body, want);

    let server = Server::over(Arc::clone(&server.store));
    assert_eq!(server.get(&one).await.body, want);
    assert_eq!(server.get(ACTIONS).await.body["actions"], json!([want]));
    assert_eq!(server.delete(&one).await.status, 204);
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let gone = server.call(method, &one, Some(&json!({}))).await;
        let want = format!("action_id: there is no action {id}");
        assert_eq!(gone.error(), (404, "IOTDA.000006", want.as_str()));
    }
    assert_eq!(server.get(&format!("{RULES}/{rule}")).await.status, 200);
}

#[tokio::test]
async fn actions_go_over_http_to_where_they_can() {
    let server = Server::start();
    let rule = made(&server, RULES, &new_rule(), "rule_id").await;
    let good = new_action(&rule, "https://h/");
    let id = made(&server, ACTIONS, &good, "action_id").await;
    let channel = |name: &str| json!({"channel": name});
    let http = |more: Value| json!({"channel_detail": {"http_forwarding": more}});
    let place = "channel_detail.http_forwarding";
    let rows = [
        (
            channel("AMQP_FORWARDING"),
            "channel: AMQP_FORWARDING is not available on this server, takes HTTP_FORWARDING"
                .into(),
        ),
        (
            channel("MQTT_DEVICE_FORWARDING"),
            "channel: MQTT_DEVICE_FORWARDING is not available on this server".into(),
        ),
        (
            channel("PIGEON"),
            "channel: got \"PIGEON\", takes one of HTTP_FORWARDING".into(),
        ),
        (
            http(json!({"url": "ftp://h/"})),
            format!("{place}.url: is no URL of http or https"),
        ),
        (
            http(json!({"url": "http://u:p@h/"})),
            format!("{place}.url: has a user or a password"),
        ),
        (
            http(json!({"url": "http://h/", "cert_id": "nosuch"})),
            format!("{place}.cert_id: there is no certificate nosuch"),
        ),
        (
            http(json!({"url": "http://h/", "cn_name": "a b"})),
            format!("{place}.cn_name: is no host name"),
        ),
        (
            http(json!({"url": "http://h/", "signature_enable": true})),
            format!("{place}.token: is missing, takes 3 to 32 letters and digits"),
        ),
        (
            http(json!({"url": "http://h/", "token": "ab"})),
            format!("{place}.token: got 2 characters, takes 3 to 32"),
        ),
    ];
    let one = format!("{ACTIONS}/{id}");
    for (change, want) in rows {
        let mut body = good.clone();
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        for answer in [
            server.post(ACTIONS, &body).await,
            server.put(&one, &change).await,
        ] {
            let (status, code, message) = answer.error();
            assert_eq!((status, code), (400, "IOTDA.000006"), "{change}: {message}");
            assert!(message.starts_with(&want), "{change}: {message}\n{want}");
        }
    }
    let nowhere = server
        .post(ACTIONS, &new_action("nosuch", "http://h/"))
        .await;
    let want = (404, "IOTDA.010002", "rule_id: there is no rule nosuch");
    assert_eq!(nowhere.error(), want);
    assert_eq!(server.get(ACTIONS).await.body["count"], 1);
}
