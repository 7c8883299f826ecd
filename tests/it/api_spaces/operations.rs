//! Every operation against what belongs to another resource space, and by who may only read.

use axum::body::Body;
use axum::http::{Method, Request, header};
use serde_json::{Value, json};
use strait::api;
use strait::api::operation::{Access, AnswerBody, ExampleBody, Operation, RequestBody};
use strait::app::credentials::Role;

use super::bound::{BOUND, ROOT, credential, request};
use super::{DEVICES, PRODUCTS, product};
use crate::api::{Answer, Server};

const READER: &str = "readerreaderread";
/// Bound to the other space.
const OTHER: &str = "otherotherother1";

/// In the names, tags and shadows of what is hidden.
const MARK: &str = "Hidden";

const ROUTING: &str = "/v5/iot/x/routing-rule";

/// What is in space `b`, by the names of ids in paths.
struct World {
    server: Server,
    ids: Vec<(&'static str, String)>,
}

fn example_of(id: &str) -> ExampleBody {
    let operations = api::operations();
    let found = operations.all().iter().find(|o| o.id == id);
    found.unwrap().example.body.clone().unwrap()
}

fn form(token: &str, name: &str) -> Request<Body> {
    let head = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{name}.csv\"");
    let body = format!("--edge\r\n{head}\r\n\r\ndevice_id\ndpb\r\n--edge--\r\n");
    Request::post("/v5/iot/x/batchtask-files")
        .header("content-type", "multipart/form-data; boundary=edge")
        .header("x-auth-token", token)
        .body(Body::from(body))
        .unwrap()
}

impl World {
    async fn new() -> Self {
        let server = Server::with_auth(vec![
            credential(ROOT, Role::Admin, None),
            credential(BOUND, Role::Admin, Some("a")),
            credential(OTHER, Role::Operator, Some("b")),
            credential(READER, Role::ReadOnly, None),
        ]);
        let server = server.with_spaces(&["a", "b"]).await;
        let mut world = Self {
            server,
            ids: Vec::new(),
        };
        world.fill().await;
        world
    }

    async fn must(&self, method: Method, path: &str, body: Value) -> Value {
        let answer = self.ask(ROOT, method, path, &body).await;
        assert!(answer.status.is_success(), "{path}: {:?}", answer.body);
        answer.body
    }

    async fn ask(&self, token: &str, method: Method, path: &str, body: &Value) -> Answer {
        let body = (!body.is_null()).then_some(body);
        self.server.send(request(token, method, path, body)).await
    }

    async fn fill(&mut self) {
        let mut hidden = product("pb", Some("b"));
        hidden["name"] = json!(MARK);
        self.must(Method::POST, PRODUCTS, hidden).await;
        let ExampleBody::Text(codec) = example_of("put_codec") else {
            panic!("a codec is text");
        };
        let put = Request::put("/v1/products/pb/codec")
            .header("content-type", "application/toml")
            .header("x-auth-token", ROOT)
            .body(Body::from(codec));
        assert_eq!(self.server.send(put.unwrap()).await.status, 201);
        let device = json!({"node_id": "nb", "product_id": "pb", "device_id": "dpb",
            "device_name": MARK, "description": MARK});
        self.must(Method::POST, DEVICES, device).await;
        self.must(
            Method::PUT,
            "/v1/devices/dpb/trace",
            json!({"enabled": true}),
        )
        .await;
        let command = json!({"service_id": "Flow", "command_name": "SET_VALVE",
            "paras": {"open": 1}, "send_strategy": "delay"});
        let path = format!("{DEVICES}/dpb/async-commands");
        let command = self.must(Method::POST, &path, command).await;
        let tag = json!({"resource_type": "device", "resource_id": "dpb",
            "tags": [{"tag_key": "city", "tag_value": MARK}]});
        self.must(Method::POST, "/v5/iot/x/tags/bind-resource", tag)
            .await;
        let group = json!({"name": MARK, "app_id": "b"});
        let group = self
            .must(Method::POST, "/v5/iot/x/device-group", group)
            .await;
        let ExampleBody::Json(mut certificate) = example_of("add_certificate") else {
            panic!("a certificate is in JSON");
        };
        certificate["app_id"] = json!("b");
        let path = "/v5/iot/x/certificates";
        let certificate = self.must(Method::POST, path, certificate).await;
        // It waits for its time, so it stays as it is.
        let task = json!({"task_name": MARK, "task_type": "freezeDevices", "app_id": "b",
            "targets": ["dpb"], "task_policy": {"schedule_time": "20260302T120000Z"}});
        let task = self.must(Method::POST, "/v5/iot/x/batchtasks", task).await;
        let file = self.server.send(form(OTHER, MARK)).await;
        assert_eq!(file.status, 201, "{:?}", file.body);
        let put = "/v1/packages?package_type=firmwarePackage&product_id=pb&version=V9";
        let put = Request::put(put).header("x-auth-token", ROOT);
        let package = self.server.send(put.body(Body::from(MARK)).unwrap()).await;
        assert_eq!(package.status, 201, "{:?}", package.body);
        let id = |answer: &Value, name: &str| answer[name].as_str().unwrap().to_owned();
        let pushed = self.fill_forwarding().await;
        self.ids = vec![
            ("device_id", "dpb".into()),
            ("product_id", "pb".into()),
            ("app_id", "b".into()),
            ("command_id", id(&command, "command_id")),
            ("group_id", id(&group, "group_id")),
            ("certificate_id", id(&certificate, "certificate_id")),
            ("task_id", id(&task, "task_id")),
            ("file_id", id(&file.body, "file_id")),
            ("package_id", id(&package.body, "package_id")),
        ];
        let ExampleBody::Json(rollback) = example_of("roll_back_codec") else {
            panic!("it takes JSON");
        };
        self.ids.push(("etag", id(&rollback, "etag")));
        self.ids.extend(pushed);
        let action = format!(
            "/v5/iot/x/device-group/{}/action?action_id=addDevice&device_id=dpb",
            self.id("group_id")
        );
        self.must(Method::POST, &action, Value::Null).await;
    }

    /// A rule of space `b` with its action, and what belongs to all spaces.
    async fn fill_forwarding(&self) -> Vec<(&'static str, String)> {
        let rule = json!({"rule_name": MARK, "app_type": "APP", "app_id": "b",
            "subject": {"resource": "device", "event": "device"}});
        let rule = self
            .must(Method::POST, &format!("{ROUTING}/rules"), rule)
            .await;
        let action = json!({"rule_id": rule["rule_id"], "channel": "HTTP_FORWARDING",
            "channel_detail": {"http_forwarding": {"url": format!("http://h/{MARK}")}}});
        let action = self
            .must(Method::POST, &format!("{ROUTING}/actions"), action)
            .await;
        let policy = json!({"policy_name": MARK});
        let path = format!("{ROUTING}/backlog-policy");
        let policy = self.must(Method::POST, &path, policy).await;
        let queue = json!({"queue_name": format!("{MARK}.queue")});
        let queue = self
            .must(Method::POST, "/v5/iot/x/amqp-queues", queue)
            .await;
        let ExampleBody::Text(pem) = example_of("put_push_certificate") else {
            panic!("a certificate is text");
        };
        let put = Request::put("/v1/push-certificates")
            .header("content-type", "application/x-pem-file")
            .header("x-auth-token", ROOT)
            .body(Body::from(pem));
        let certificate = self.server.send(put.unwrap()).await;
        assert_eq!(certificate.status, 201, "{:?}", certificate.body);
        let id = |answer: &Value, name: &str| answer[name].as_str().unwrap().to_owned();
        vec![
            ("rule_id", id(&rule, "rule_id")),
            ("action_id", id(&action, "action_id")),
            ("policy_id", id(&policy, "policy_id")),
            ("queue_id", id(&queue, "queue_id")),
            ("cert_id", id(&certificate.body, "cert_id")),
            ("replay_id", "1".to_owned()),
        ]
    }

    fn id(&self, name: &str) -> &str {
        let found = self.ids.iter().find(|(known, _)| *known == name);
        &found.unwrap_or_else(|| panic!("no {name} in space b")).1
    }

    /// All there is of space `b`.
    async fn snapshot(&self) -> Vec<Value> {
        let (group, task) = (self.id("group_id"), self.id("task_id"));
        let package = self.id("package_id");
        let paths = [
            "apps/b".to_owned(),
            "products/pb".into(),
            "devices/dpb".into(),
            "devices/dpb/shadow".into(),
            "devices/dpb/async-commands".into(),
            "devices/dpb/async-commands-history".into(),
            "devices?app_id=b".into(),
            "products?app_id=b".into(),
            "device-group?app_id=b".into(),
            format!("device-group/{group}"),
            format!("device-group/{group}/devices"),
            format!("certificates/{}", self.id("certificate_id")),
            format!("batchtasks/{task}"),
            format!("ota-upgrades/packages/{package}"),
            "ota-upgrades/packages?package_type=firmwarePackage".into(),
            "routing-rule/rules?app_id=b".into(),
            "routing-rule/actions?app_id=b".into(),
            "routing-rule/backlog-policy".into(),
            "routing-rule/flowcontrol-policy".into(),
            "amqp-queues".into(),
        ];
        let mut shown = Vec::new();
        for path in paths {
            let path = format!("/v5/iot/x/{path}");
            shown.push(self.must(Method::GET, &path, Value::Null).await);
        }
        for path in [
            "products/pb/codec",
            "products/pb/settings",
            "devices/dpb/trace",
            "push-certificates",
        ] {
            shown.push(
                self.must(Method::GET, &format!("/v1/{path}"), Value::Null)
                    .await,
            );
        }
        let files = self.ask(
            OTHER,
            Method::GET,
            "/v5/iot/x/batchtask-files",
            &Value::Null,
        );
        shown.push(files.await.body);
        let events = self.server.events().into_iter();
        let events = events.filter(|(_, event)| event.to_string().contains(MARK));
        shown.push(events.count().into());
        shown
    }

    /// The operation's example, about what is in space `b`.
    fn request(&self, operation: &Operation, token: &str) -> Request<Body> {
        let mut path = operation.path.replace("{project_id}", "x");
        for (name, id) in &self.ids {
            path = path.replace(&format!("{{{name}}}"), id);
        }
        assert!(!path.contains('{'), "{path}");
        let query = operation.example.query.iter();
        let query: Vec<String> = query
            .filter(|(name, _)| *name != "product_id")
            .map(|(name, value)| format!("{name}={}", self.text(value)))
            .collect();
        if !query.is_empty() {
            path = format!("{path}?{}", query.join("&"));
        }
        if let RequestBody::File(_) = operation.request {
            return form(token, "own");
        }
        let media = match operation.request {
            RequestBody::Bytes(media) => media[0],
            _ => "application/json",
        };
        let body = match &operation.example.body {
            None => Body::empty(),
            Some(ExampleBody::Json(body)) => Body::from(self.json(body).to_string()),
            Some(ExampleBody::Text(text)) => Body::from(*text),
        };
        Request::builder()
            .method(operation.method.clone())
            .uri(path)
            .header(header::CONTENT_TYPE, media)
            .header("x-auth-token", token)
            .body(body)
            .unwrap()
    }

    fn text(&self, text: &str) -> String {
        match text {
            "watermeter_867725038317248" | "watermeter_867725038317249" => "dpb".into(),
            "watermeter" => "pb".into(),
            "example-group" => self.id("group_id").into(),
            "example-rule" => self.id("rule_id").into(),
            "Berlin" => MARK.into(),
            other => other.replace("'watermeter'", "'pb'"),
        }
    }

    fn json(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.text(text).into(),
            Value::Array(items) => items.iter().map(|item| self.json(item)).collect(),
            Value::Object(fields) => {
                let fields = fields.iter().map(|(k, v)| (k.clone(), self.json(v)));
                Value::Object(fields.collect())
            }
            other => other.clone(),
        }
    }

    /// What is asked for besides the examples: bodies and queries that name hidden things.
    fn more(&self) -> Vec<(&'static str, Value)> {
        let task = |rest: Value| {
            let mut body = json!({"task_name": "t", "task_type": "deleteDevices"});
            for (name, value) in rest.as_object().unwrap() {
                body[name] = value.clone();
            }
            ("batchtasks", body)
        };
        let groups = json!({"group_ids": [self.id("group_id")]});
        let new = json!({"node_id": "n8", "product_id": "pb"});
        let mut creation = task(json!({"document": {"devices": [new]}}));
        creation.1["task_type"] = json!("createDevices");
        vec![
            task(json!({"targets": ["dpb"]})),
            task(json!({"targets": ["dpb"], "app_id": "b"})),
            task(json!({"targets_filter": groups})),
            task(json!({"document_source": self.id("file_id")})),
            creation,
            ("devices", json!({"node_id": "n8", "product_id": "pb"})),
            ("devices", json!({"node_id": "nb", "product_id": "pa"})),
            (
                "device-group",
                json!({"name": "n", "super_group_id": self.id("group_id")}),
            ),
            ("device-group", json!({"name": "n", "app_id": "b"})),
            (
                "device-group",
                json!({"name": "dynamic", "group_type": "DYNAMIC",
                    "dynamic_group_rule": "device_id like 'dpb%'"}),
            ),
            (
                "search/query-devices",
                json!({"sql": "select * from device"}),
            ),
            (
                "search/query-devices",
                json!({"sql": format!(
                    "select device_name from device where group_id = '{}'", self.id("group_id")
                )}),
            ),
            (
                "search/query-devices",
                json!({"sql": "select count(*) from device"}),
            ),
        ]
    }
}

fn is_stream(operation: &Operation) -> bool {
    let endless = |body: &AnswerBody| matches!(body, AnswerBody::Bytes("text/event-stream"));
    operation.answers.iter().any(|(_, body)| endless(body))
}

#[tokio::test]
async fn no_operation_reaches_into_another_space() {
    let world = World::new().await;
    let before = world.snapshot().await;
    let mut failures = Vec::new();
    let operations = api::operations();
    let guarded = operations.all().iter().filter(|o| o.access != Access::Open);
    for operation in guarded.filter(|o| !is_stream(o)) {
        let answer = world.server.send(world.request(operation, BOUND)).await;
        let (status, text) = (answer.status.as_u16(), answer.body.to_string());
        let names_one = operation.path.replace("{project_id}", "x").contains('{');
        let refused = [403, 404].contains(&status);
        if (names_one && !refused) || status >= 500 {
            failures.push(format!("{}: {status} {text}", operation.id));
        }
        // What was sent comes back at most in an error or in what was made of it.
        // His own task shows the target that he named.
        let reads =
            operation.access == Access::Read && !names_one && operation.id != "list_batch_tasks";
        let hidden = world.ids.iter().filter(|(name, _)| *name != "app_id");
        let shows = hidden
            .into_iter()
            .any(|(_, id)| text.contains(&format!("\"{id}\"")));
        if text.contains(MARK) || (reads && shows) {
            failures.push(format!("{} shows {text}", operation.id));
        }
    }
    for (path, body) in world.more() {
        let path = format!("/v5/iot/x/{path}");
        let answer = world.ask(BOUND, Method::POST, &path, &body).await;
        let text = answer.body.to_string();
        if answer.status.is_server_error() || text.contains(MARK) || text.contains("\"nb\"") {
            failures.push(format!("{body}: {} {text}", answer.status));
        }
        if path.ends_with("query-devices") {
            assert_eq!(answer.body["count"], 0, "{body}");
        }
        // A group of his own has none of the others in it.
        if let Some(group) = answer.body["group_id"].as_str() {
            let path = format!("{path}/{group}/devices");
            let devices = world.ask(BOUND, Method::GET, &path, &Value::Null).await;
            assert_eq!(devices.body["page"]["count"], 0, "{body}");
        }
    }
    settle(&world).await;
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert_eq!(world.snapshot().await, before);
}

/// Waits until the bound caller's tasks are over: none did anything.
async fn settle(world: &World) {
    let wait = async {
        for kind in ["updateDevices", "deleteDevices", "createDevices"] {
            let path = format!("/v5/iot/x/batchtasks?task_type={kind}&limit=50");
            loop {
                let list = world
                    .ask(BOUND, Method::GET, &path, &Value::Null)
                    .await
                    .body;
                let tasks = list["batchtasks"].as_array().unwrap();
                assert!(
                    tasks
                        .iter()
                        .all(|task| task["task_progress"]["success"] == 0)
                );
                if tasks
                    .iter()
                    .all(|task| task["status"] == "Fail" || task["task_policy"]["retry_count"] != 0)
                {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
    };
    let patience = std::time::Duration::from_secs(20);
    tokio::time::timeout(patience, wait)
        .await
        .expect("tasks end");
}

#[tokio::test]
async fn who_may_read_writes_nothing() {
    let world = World::new().await;
    let before = world.snapshot().await;
    let operations = api::operations();
    let writes = operations.all().iter();
    for operation in writes.filter(|o| o.access >= Access::Write) {
        let answer = world.server.send(world.request(operation, READER)).await;
        let got = (answer.error().0, answer.error().1);
        assert_eq!(got, (403, "IOTDA.001002"), "{}", operation.id);
    }
    assert_eq!(world.snapshot().await, before);
}
