//! The audit log: every write that was asked for, with how it ended.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use strait::app::audit::Asked;
use strait::app::credentials::{Caller, Role};
use strait::store::StoreError;
use tower::ServiceExt;

use crate::api::{Server, meter_product};
use crate::api_auth::credential;

fn server() -> Server {
    Server::with_auth(vec![
        credential("boss", Role::Admin, None),
        credential("guest", Role::ReadOnly, None),
    ])
}

fn request(who: &str, method: &str, path: &str, body: &Value) -> Request<Body> {
    let body = match body {
        Value::Null => Body::empty(),
        body => Body::from(body.to_string()),
    };
    Request::builder()
        .method(method)
        .uri(path)
        .header("x-auth-token", format!("token-of-{who}"))
        .header("x-request-id", "r-1")
        .body(body)
        .unwrap()
}

async fn log(server: &Server, query: &str) -> Value {
    let path = format!("/v1/audit{query}");
    let answer = server
        .send(request("boss", "GET", &path, &Value::Null))
        .await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    answer.body
}

fn operations(log: &Value) -> Vec<&str> {
    let rows = log["audit"].as_array().unwrap().iter();
    rows.map(|row| row["operation"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn writes_are_noted_with_their_end() {
    let server = server();
    let products = "/v5/iot/p/products";
    let asked = [
        ("boss", "POST", products, meter_product(), 201),
        ("boss", "POST", products, json!({}), 400),
        ("guest", "DELETE", "/v5/iot/p/products/p1", Value::Null, 403),
        ("guest", "GET", "/v5/iot/p/products/p1", Value::Null, 200),
        (
            "guest",
            "POST",
            "/v1/products/p1/codec/decode",
            json!({}),
            400,
        ),
        (
            "nobody",
            "DELETE",
            "/v5/iot/p/products/p1",
            Value::Null,
            403,
        ),
        ("boss", "DELETE", "/v5/iot/p/nothing", Value::Null, 404),
        (
            "boss",
            "DELETE",
            "/v5/iot/p/devices/a%2Fb",
            Value::Null,
            400,
        ),
        ("boss", "DELETE", "/v5/iot/p/products/p1", Value::Null, 204),
    ];
    for (who, method, path, body, want) in asked {
        let answer = server.send(request(who, method, path, &body)).await;
        assert_eq!(answer.status, want, "{method} {path}: {:?}", answer.body);
        server.clock.advance(Duration::from_millis(1));
    }
    let got = log(&server, "").await;
    let row = |at: usize| {
        let row = &got["audit"][at];
        let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
        let who = format!("{} {}", text("access_key"), text("role"));
        (
            who,
            text("method"),
            text("path"),
            row["status"].clone(),
            text("error_code"),
        )
    };
    let wants = [
        ("BOSS admin", "DELETE", "/v5/iot/p/products/p1", 204, "-"),
        (
            "BOSS admin",
            "DELETE",
            "/v5/iot/p/devices/a%2Fb",
            400,
            "IOTDA.000006",
        ),
        (
            "GUEST read-only",
            "DELETE",
            "/v5/iot/p/products/p1",
            403,
            "IOTDA.001002",
        ),
        ("BOSS admin", "POST", products, 400, "IOTDA.000006"),
        ("BOSS admin", "POST", products, 201, "-"),
    ];
    assert_eq!(got["audit"].as_array().unwrap().len(), wants.len(), "{got}");
    for (at, (who, method, path, status, code)) in wants.into_iter().enumerate() {
        let want = (
            who.into(),
            method.into(),
            path.into(),
            json!(status),
            code.into(),
        );
        assert_eq!(row(at), want);
    }
    assert_eq!(got["page"], json!({"count": 5, "marker": null}));
    let first = &got["audit"][0];
    assert_eq!(first["targets"], json!({"product_id": "p1"}));
    assert_eq!(first["operation"], "delete_product");
    assert_eq!(
        (&first["request_id"], &first["from"]),
        (&json!("r-1"), &json!("-"))
    );
    assert_eq!(first["time"], "2026-03-01T12:00:00.008Z");
    assert_eq!(got["audit"][1]["targets"], json!({"device_id": "a/b"}));
}

#[tokio::test]
async fn the_log_is_filtered_and_paged() {
    let server = server();
    for n in 0..12 {
        let path = format!("/v5/iot/p/devices/d{}", n % 4);
        let who = if n % 3 == 0 { "guest" } else { "boss" };
        let freeze = format!("{path}/freeze");
        let method = if n % 2 == 0 {
            ("DELETE", &path)
        } else {
            ("POST", &freeze)
        };
        server
            .send(request(who, method.0, method.1, &Value::Null))
            .await;
        server.clock.advance(Duration::from_secs(1));
    }
    let counts = [
        ("?limit=50", 12),
        ("?access_key=GUEST&limit=50", 4),
        ("?operation=freeze_device&limit=50", 6),
        ("?status=403&limit=50", 4),
        ("?target=d1&limit=50", 3),
        ("?target=d1&access_key=BOSS&limit=50", 2),
        ("?from=20260301T120003Z&to=20260301T120005Z", 2),
        ("?access_key=nobody", 0),
    ];
    for (query, want) in counts {
        let got = log(&server, query).await;
        assert_eq!(operations(&got).len(), want, "{query}");
        assert_eq!(got["page"]["marker"], Value::Null, "{query}");
    }
    let (mut seen, mut marker) = (Vec::new(), String::new());
    for want in [5, 5, 2] {
        let got = log(&server, &format!("?limit=5{marker}")).await;
        assert_eq!(operations(&got).len(), want);
        let rows = got["audit"].as_array().unwrap().iter();
        seen.extend(rows.map(|row| row["time"].as_str().unwrap().to_owned()));
        let next = got["page"]["marker"].as_str();
        assert_eq!(next.is_some(), want == 5);
        marker = format!("&marker={}", next.unwrap_or_default());
    }
    assert_eq!(seen.len(), 12);
    assert!(seen.is_sorted_by(|a, b| a > b), "{seen:?}");
    let wrong = [
        ("?limit=51", "IOTDA.000017", "limit: got \"51\""),
        (
            "?marker=ff",
            "IOTDA.000018",
            "marker: got \"ff\", takes the marker of an earlier page",
        ),
        ("?status=ok", "IOTDA.000006", "status: got \"ok\""),
        ("?from=20260301", "IOTDA.000009", "from: got"),
        (
            "?from=20260301T120003Z&to=20260301T120002Z",
            "IOTDA.000010",
            "from: is later",
        ),
    ];
    for (query, want, message) in wrong {
        let path = format!("/v1/audit{query}");
        let answer = server
            .send(request("boss", "GET", &path, &Value::Null))
            .await;
        let (status, code, text) = answer.error();
        assert_eq!((status, code), (400, want), "{query}: {text}");
        assert!(text.starts_with(message), "{text}");
    }
}

#[tokio::test]
async fn a_caller_who_hangs_up_is_noted_as_well() {
    let server = server();
    let create = request("boss", "POST", "/v5/iot/p/products", &meter_product());
    {
        let answer = server.router.clone().oneshot(create);
        let mut answer = std::pin::pin!(answer);
        assert!(futures_util::poll!(&mut answer).is_pending());
    }
    // Waits for all that was begun.
    server.app.tasks.shut_down(Duration::from_secs(10)).await;
    let got = log(&server, "").await;
    assert_eq!(got["audit"][0]["status"], 201, "{got}");
    let product = request("boss", "GET", "/v5/iot/p/products/p1", &Value::Null);
    assert_eq!(server.send(product).await.status, 200);
}

#[tokio::test]
async fn a_write_without_an_end_is_seen_as_such() {
    let server = server();
    let asked = Asked {
        operation: "delete_device",
        ..Asked::default()
    };
    // As when the server dies in the middle.
    let begun = server.app.audit.begin(&Caller::anyone(), asked).await;
    drop(begun.unwrap());
    server.write(Vec::new()).await;
    let got = log(&server, "").await;
    let row = &got["audit"][0];
    assert_eq!(row["operation"], "delete_device");
    assert_eq!(
        (&row["status"], &row["access_key"]),
        (&Value::Null, &Value::Null)
    );
}

/// Also when the store takes the next commit.
#[tokio::test]
async fn without_its_row_nothing_is_written() {
    let server = server();
    let create = || request("boss", "POST", "/v5/iot/p/products", &meter_product());
    let product = || request("boss", "GET", "/v5/iot/p/products/p1", &Value::Null);
    for error in [StoreError::Busy, StoreError::Full { free: 0, need: 1 }] {
        server.store.faults().fail_next(1, &error);
        let refused = server.send(create()).await;
        assert_eq!(refused.error().0, 503, "{:?}", refused.body);
        assert_eq!(server.send(product()).await.status, 404);
    }
    assert_eq!(log(&server, "").await["page"]["count"], 0);
    assert_eq!(server.send(create()).await.status, 201);
    assert_eq!(log(&server, "").await["page"]["count"], 1);
}

#[tokio::test]
async fn what_was_created_is_named() {
    let server = server();
    let send = async |path: &str, body: Value| {
        let answer = server.send(request("boss", "POST", path, &body)).await;
        assert!(answer.status.is_success(), "{path}: {:?}", answer.body);
        answer.body
    };
    let at = |path: &str| format!("/v5/iot/p/{path}");
    send(&at("products"), meter_product()).await;
    send(&at("devices"), json!({"node_id": "n1", "product_id": "p1"})).await;
    let group = send(&at("device-group"), json!({"name": "g"})).await;
    let group = group["group_id"].as_str().unwrap();
    let action = at(&format!(
        "device-group/{group}/action?action_id=addDevice&device_id=p1_n1"
    ));
    send(&action, Value::Null).await;
    let tags = json!([{"tag_key": "k", "tag_value": "v"}]);
    let tag = json!({"resource_type": "device", "resource_id": "p1_n1", "tags": tags});
    send(&at("tags/bind-resource"), tag).await;
    let space = send(&at("apps"), json!({"app_name": "s"})).await;
    let task = json!({"task_name": "t", "task_type": "freezeDevices", "targets": ["p1_n1"]});
    let task = send(&at("batchtasks"), task).await;
    let got = log(&server, "").await;
    let targets: Vec<&Value> = got["audit"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["targets"])
        .collect();
    let wants = [
        json!({"task_id": task["task_id"]}),
        json!({"app_id": space["app_id"]}),
        json!({"device_id": "p1_n1"}),
        json!({"group_id": group, "device_id": "p1_n1"}),
        json!({"group_id": group}),
        json!({"device_id": "p1_n1"}),
        json!({"product_id": "p1"}),
    ];
    assert_eq!(targets, wants.iter().collect::<Vec<_>>());
    let of_device = log(&server, "?target=p1_n1").await;
    assert_eq!(of_device["page"]["count"], 3);
}
