//! `/v1/routing-rule/actions/{action_id}/…`: status, trying out, and what was set aside, with rules
//! made through the API and a subscriber on loopback.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use strait::app::credentials::{Credential, Role};
use strait::base::ids::AppId;
use strait::base::secret::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::api::{Answer, Server};

/// A server, with answers that must have a status.
struct Api(Server);

struct Got(Answer);

impl Got {
    fn json(self, status: u16) -> Value {
        assert_eq!(self.0.status, status, "{:?}", self.0.body);
        self.0.body
    }
}

impl Api {
    fn start() -> Self {
        Self(Server::start())
    }

    async fn get(&self, path: &str) -> Got {
        Got(self.0.get(path).await)
    }

    async fn post(&self, path: &str, body: Value) -> Got {
        Got(self.0.post(path, &body).await)
    }

    async fn put(&self, path: &str, body: Value) -> Got {
        Got(self.0.put(path, &body).await)
    }

    async fn delete(&self, path: &str) -> Got {
        Got(self.0.delete(path).await)
    }
}

/// Answers each push with the status of the moment, and passes it on: head and body.
#[expect(
    clippy::disallowed_methods,
    reason = "ends with the runtime of its test"
)]
async fn subscriber() -> (String, Arc<AtomicU16>, mpsc::Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/events", listener.local_addr().unwrap());
    let status = Arc::new(AtomicU16::new(200));
    let (sender, pushes) = mpsc::channel(1000);
    let answered = Arc::clone(&status);
    tokio::task::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (sender, status) = (sender.clone(), Arc::clone(&answered));
            tokio::task::spawn(async move {
                let mut heard = Vec::new();
                while stream.read_buf(&mut heard).await.is_ok_and(|n| n > 0) {
                    let text = String::from_utf8(heard.clone()).unwrap();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else {
                        continue;
                    };
                    let head = head.to_ascii_lowercase();
                    let length = head
                        .lines()
                        .find_map(|l| l.strip_prefix("content-length: "));
                    if body.len() < length.unwrap().parse().unwrap() {
                        continue;
                    }
                    drop(sender.send((head, body.to_owned())).await);
                    let status = status.load(Ordering::SeqCst);
                    let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    heard.clear();
                }
            });
        }
    });
    (url, status, pushes)
}

const ROUTING: &str = "/v5/iot/x/routing-rule";

/// A rule for products with an action that pushes there: its id.
async fn subscribe(api: &Api, url: &str, detail: Value) -> String {
    let rule = json!({"subject": {"resource": "product", "event": "product"}});
    let rule = api.post(&format!("{ROUTING}/rules"), rule).await.json(201);
    let rule_id = rule["rule_id"].as_str().unwrap().to_owned();
    let mut http = json!({"url": url});
    for (name, value) in detail.as_object().unwrap() {
        http[name] = value.clone();
    }
    let action = json!({"rule_id": rule_id, "channel": "HTTP_FORWARDING",
        "channel_detail": {"http_forwarding": http}});
    let action = api
        .post(&format!("{ROUTING}/actions"), action)
        .await
        .json(201);
    let path = format!("{ROUTING}/rules/{rule_id}");
    api.put(&path, json!({"active": true})).await.json(200);
    action["action_id"].as_str().unwrap().to_owned()
}

async fn product(api: &Api, name: &str) {
    let product = json!({"name": name, "device_type": "T", "protocol_type": "CoAP",
        "data_format": "binary", "service_capabilities": []});
    api.post("/v5/iot/x/products", product).await.json(201);
}

async fn next(pushes: &mut mpsc::Receiver<(String, String)>) -> (String, Value) {
    let waited = tokio::time::timeout(Duration::from_secs(20), pushes.recv());
    let (head, body) = waited.await.unwrap().unwrap();
    (head, serde_json::from_str(&body).unwrap())
}

#[tokio::test]
async fn what_the_api_changes_is_pushed_and_told() {
    let api = Api::start();
    let (url, _, mut pushes) = subscriber().await;
    let signed = json!({"signature_enable": true, "token": "abc123"});
    let action = subscribe(&api, &url, signed).await;
    let of_action = |rest: &str| format!("/v1/routing-rule/actions/{action}/{rest}");
    product(&api, "first").await;
    let (head, body) = next(&mut pushes).await;
    assert_eq!(body["event"], "create");
    assert_eq!(body["notify_data"]["body"]["name"], "first");
    for header in [
        "x-strait-timestamp: ",
        "x-strait-nonce: ",
        "x-strait-signature: ",
    ] {
        assert!(head.contains(header), "{head}");
    }
    let mut status = Value::Null;
    for _ in 0..1000 {
        status = api.get(&of_action("delivery")).await.json(200);
        if status["delivered"] == 1 {
            break;
        }
        tokio::task::yield_now().await;
    }
    let want = json!({"state": "active",
        "backlog": {"events": 0, "bytes": 0, "oldest_time": null},
        "delivered": 1, "failed": 0, "set_aside": 0, "dropped": 0,
        "last_error": null, "paused_until": null});
    assert_eq!(status, want);

    let trial = api
        .post(&of_action("test"), json!({"data": {"a": 1}}))
        .await
        .json(200);
    assert_eq!(
        (&trial["delivered"], &trial["status"]),
        (&json!(true), &json!(200))
    );
    assert_eq!(next(&mut pushes).await.1, json!({"a": 1}));
    let trial = api.post(&of_action("test"), json!({})).await.json(200);
    assert_eq!(trial["sent"]["resource"], "product");
    assert_eq!(next(&mut pushes).await.1, trial["sent"]);
}

#[tokio::test]
async fn a_trial_says_what_is_wrong() {
    let api = Api::start();
    let (url, answer, mut pushes) = subscriber().await;
    let action = subscribe(&api, &url, json!({})).await;
    let path = format!("/v1/routing-rule/actions/{action}/test");
    answer.store(302, Ordering::SeqCst);
    let trial = api.post(&path, json!({})).await.json(200);
    assert_eq!(trial["delivered"], false);
    assert_eq!(trial["status"], 302);
    assert_eq!(trial["error"], "the subscriber answered 302");
    assert!(trial["hint"].as_str().unwrap().contains("redirects"));
    next(&mut pushes).await;
    // Nobody listens on the port of a listener that was dropped.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nowhere = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let nowhere = subscribe(&api, &nowhere, json!({})).await;
    let path = format!("/v1/routing-rule/actions/{nowhere}/test");
    let trial = api.post(&path, json!({})).await.json(200);
    assert_eq!(
        (&trial["delivered"], &trial["status"]),
        (&json!(false), &Value::Null)
    );
    assert!(
        trial["error"]
            .as_str()
            .unwrap()
            .starts_with("no connection to 127.0.0.1:")
    );
}

#[tokio::test]
async fn what_is_set_aside_is_listed_and_bad_input_told() {
    let api = Api::start();
    let (url, _, _pushes) = subscriber().await;
    let action = subscribe(&api, &url, json!({})).await;
    let of_action = |rest: &str| format!("/v1/routing-rule/actions/{action}/{rest}");
    let list = api.get(&of_action("set-aside")).await.json(200);
    assert_eq!(
        list,
        json!({"set_aside": [], "page": {"count": 0, "marker": null}})
    );
    let retried = api
        .post(&of_action("set-aside/retry"), json!({}))
        .await
        .json(200);
    assert_eq!(retried, json!({"retrying": 0}));
    let cleared = api.delete(&of_action("set-aside")).await.json(200);
    assert_eq!(cleared, json!({"deleted": 0}));
    let cases = [
        (
            of_action("set-aside?limit=51"),
            Value::Null,
            "limit: got \"51\"",
        ),
        (
            of_action("set-aside?marker=x"),
            Value::Null,
            "marker: got \"x\", takes 24",
        ),
        (
            of_action("test"),
            json!({"data": 1}),
            "data: got the number 1, takes an object",
        ),
        (
            of_action("test"),
            json!({"dat": {}}),
            "dat: is not a field here",
        ),
        (
            of_action("set-aside/retry"),
            json!({"positions": []}),
            "positions: got 0 entries",
        ),
        (
            of_action("set-aside/retry"),
            json!({"positions": [1, -1]}),
            "positions[1]: got the number -1, takes a whole number",
        ),
        (
            of_action("set-aside/retry"),
            json!({"positions": [7]}),
            "positions: no push of the event at position 7 is set aside",
        ),
    ];
    for (path, body, want) in cases {
        let got = match body {
            Value::Null => api.get(&path).await,
            body => api.post(&path, body).await,
        };
        let message = got.json(400)["error_msg"].as_str().unwrap().to_owned();
        assert!(message.contains(want), "{path}: {message}");
    }
    let unknown = "/v1/routing-rule/actions/nobody";
    api.get(&format!("{unknown}/delivery")).await.json(404);
    api.get(&format!("{unknown}/set-aside")).await.json(404);
    api.post(&format!("{unknown}/test"), json!({}))
        .await
        .json(404);
    api.post(&format!("{unknown}/set-aside/retry"), json!({}))
        .await
        .json(404);
    api.delete(&format!("{unknown}/set-aside")).await.json(404);
}

/// A caller who is bound to a space sees the actions of its rules alone.
#[tokio::test]
async fn actions_of_other_spaces_are_not_there() {
    let credential = |token: &str, space: Option<&str>| Credential {
        access_key: token.to_uppercase(),
        secret_key: Secret::new("0123456789abcdef0123456789abcdef".into()),
        token: Secret::new(token.into()),
        role: Role::Admin,
        space: space.map(|id| AppId::parse(id).unwrap()),
        created: None,
    };
    let (root, bound) = ("rootrootrootroot", "boundboundbound1");
    let server = Server::with_auth(vec![credential(root, None), credential(bound, Some("a"))]);
    let server = server.with_spaces(&["a", "b"]).await;
    let send = async |token: &str, method: &str, path: &str, body: Value| {
        let request = axum::http::Request::builder().method(method).uri(path);
        let request = request
            .header("content-type", "application/json")
            .header("x-auth-token", token);
        let body = axum::body::Body::from(body.to_string());
        server.send(request.body(body).unwrap()).await
    };
    for (space, want) in [("a", 200), ("b", 404)] {
        let rule = json!({"subject": {"resource": "product", "event": "product"},
            "app_type": "APP", "app_id": space});
        let rule = send(root, "POST", &format!("{ROUTING}/rules"), rule).await;
        assert_eq!(rule.status, 201, "{:?}", rule.body);
        let action = json!({"rule_id": rule.body["rule_id"], "channel": "HTTP_FORWARDING",
            "channel_detail": {"http_forwarding": {"url": "http://127.0.0.1:9/"}}});
        let action = send(root, "POST", &format!("{ROUTING}/actions"), action).await;
        let id = action.body["action_id"].as_str().unwrap().to_owned();
        for (method, rest) in [
            ("GET", "delivery"),
            ("POST", "test"),
            ("GET", "set-aside"),
            ("POST", "set-aside/retry"),
            ("DELETE", "set-aside"),
        ] {
            let path = format!("/v1/routing-rule/actions/{id}/{rest}");
            let got = send(bound, method, &path, json!({})).await;
            assert_eq!(got.status, want, "{method} {rest} {:?}", got.body);
        }
    }
}
