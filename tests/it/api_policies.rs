//! Policies of pushes, queues and access codes: what belongs to all resource spaces.

use std::sync::Arc;

use axum::http::Method;
use serde_json::{Value, json};
use strait::store::Store;
use strait::store::forwarding::ForwardingRecord;

use crate::api::Server;
use crate::api_rules::{made, new_action};
use crate::api_spaces::{BOUND, request, two_spaces};

const BACKLOG: &str = "/v5/iot/x/routing-rule/backlog-policy";
const FLOW: &str = "/v5/iot/x/routing-rule/flowcontrol-policy";
const QUEUES: &str = "/v5/iot/x/amqp-queues";
const ACCESS: &str = "/v5/iot/x/auth/accesscode";

/// Every field in turn, then a restart, then the end.
async fn life(path: &str, body: Value, mut want: Value, steps: Vec<Value>, list: &str) {
    let server = Server::start();
    let answer = server.post(path, &body).await;
    assert_eq!(answer.status, 201, "{:?}", answer.body);
    let id = answer.body["policy_id"].as_str().unwrap().to_owned();
    want["policy_id"] = json!(id);
    assert_eq!(answer.body, want);
    let one = format!("{path}/{id}");
    for step in steps {
        let answer = server.put(&one, &step).await;
        for (name, value) in step.as_object().unwrap() {
            if !value.is_null() && want.get(name).is_some() {
                want[name] = value.clone();
            }
        }
        assert_eq!(
            (answer.status.as_u16(), &answer.body),
            (200, &want),
            "{step}"
        );
    }
    let server = Server::over(Arc::clone(&server.store));
    assert_eq!(server.get(&one).await.body, want);
    let all = server.get(path).await.body;
    let marker = &all["marker"];
    assert_eq!(all, json!({list: [want], "count": 1, "marker": marker}));
    assert_eq!(marker.as_str().unwrap().len(), 24);
    assert_eq!(server.delete(&one).await.status, 204);
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let gone = server.call(method, &one, Some(&json!({}))).await;
        let want = format!("policy_id: there is no policy {id}");
        assert_eq!(gone.error(), (404, "IOTDA.000006", want.as_str()));
    }
    assert_eq!(server.store.forwarding().unwrap(), []);
}

#[tokio::test]
async fn policies_are_made_shown_changed_and_deleted() {
    life(
        BACKLOG,
        json!({}),
        json!({"policy_name": null, "description": null, "backlog_size": 1_073_741_823,
            "backlog_time": 86_399}),
        vec![
            json!({"policy_name": "Small", "description": "Few."}),
            json!({"backlog_size": 0, "policy_name": null}),
            json!({"backlog_time": 0}),
            json!({}),
        ],
        "backlog_policies",
    )
    .await;
    life(
        FLOW,
        json!({"limit": 1, "scope": "CHANNEL", "scope_value": "HTTP_FORWARDING"}),
        json!({"policy_name": null, "description": null, "scope": "CHANNEL",
            "scope_value": "HTTP_FORWARDING", "limit": 1}),
        vec![
            json!({"policy_name": "Slow", "description": ""}),
            json!({"limit": 1000}),
            json!({"limit": null}),
        ],
        "flowcontrol_policies",
    )
    .await;
}

#[tokio::test]
async fn a_policy_bounds_what_is_there() {
    let server = Server::start();
    let rule = json!({"subject": {"resource": "device", "event": "device"}});
    let rule = made(&server, "/v5/iot/x/routing-rule/rules", &rule, "rule_id").await;
    let action = new_action(&rule, "http://h/");
    let action = made(
        &server,
        "/v5/iot/x/routing-rule/actions",
        &action,
        "action_id",
    )
    .await;
    let of = |scope: &str, value: Option<&str>| json!({"scope": scope, "scope_value": value});
    let channels = "HTTP_FORWARDING, DIS_FORWARDING, OBS_FORWARDING";
    let cases = [
        (json!({}), None),
        (of("USER", None), None),
        (of("CHANNEL", Some("HTTP_FORWARDING")), None),
        (of("CHANNEL", Some("DMS_KAFKA_FORWARDING")), None),
        (of("RULE", Some(&rule)), None),
        (of("ACTION", Some(&action)), None),
        (
            of("USER", Some("x")),
            Some("the scope USER takes none".to_owned()),
        ),
        (
            json!({"scope_value": "x"}),
            Some("the scope USER takes none".into()),
        ),
        (
            of("CHANNEL", None),
            Some(format!("is missing, takes one of {channels}")),
        ),
        (
            of("CHANNEL", Some("x")),
            Some(format!("got \"x\", takes one of {channels}")),
        ),
        (
            of("RULE", None),
            Some("is missing, the scope RULE takes an id".into()),
        ),
        (
            of("ACTION", None),
            Some("is missing, the scope ACTION takes an id".into()),
        ),
        (
            of("RULE", Some(&action)),
            Some(format!("there is no rule \"{action}\"")),
        ),
        (
            of("ACTION", Some(&rule)),
            Some(format!("there is no action \"{rule}\"")),
        ),
    ];
    let mut made = Vec::new();
    for (body, refused) in cases {
        let answer = server.post(FLOW, &body).await;
        match refused {
            None => {
                assert_eq!(answer.status, 201, "{body}: {:?}", answer.body);
                assert_eq!(answer.body["limit"], 1000);
                made.insert(0, answer.body);
            }
            Some(want) => {
                let (status, code, message) = answer.error();
                assert_eq!((status, code), (400, "IOTDA.000006"), "{body}");
                let want = format!("scope_value: {want}");
                assert!(message.starts_with(&want), "{body}: {message}");
            }
        }
    }
    assert_eq!(made[5]["scope"], "USER");
    let cases = [
        ("", vec![0, 1, 2, 3, 4, 5], 6),
        ("scope=USER", vec![4, 5], 2),
        ("scope=CHANNEL&scope_value=HTTP_FORWARDING", vec![3], 1),
        ("scope_value=nosuch", vec![], 0),
        ("policy_name=none", vec![], 0),
        ("limit=2&offset=1", vec![1, 2], 6),
    ];
    for (query, want, count) in cases {
        let list = server.get(&format!("{FLOW}?{query}")).await.body;
        let want: Vec<&Value> = want.iter().map(|at| &made[*at]).collect();
        assert_eq!(list["flowcontrol_policies"], json!(want), "{query}");
        assert_eq!(list["count"], count, "{query}");
    }
}

#[tokio::test]
async fn a_queue_is_made_found_and_deleted() {
    let server = Server::start();
    let names = ["Water.meters", "a_B-9:|..", &"q".repeat(128), "eight___"];
    let mut all = Vec::new();
    for name in names {
        let answer = server.post(QUEUES, &json!({"queue_name": name})).await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        let id = &answer.body["queue_id"];
        let want = json!({"queue_id": id, "queue_name": name,
            "create_time": "20260301T120000Z", "last_modify_time": "20260301T120000Z"});
        assert_eq!(answer.body, want);
        all.insert(0, want);
    }
    let again = server
        .post(QUEUES, &json!({"queue_name": "Water.meters"}))
        .await;
    let want = "queue_name: there is a queue \"Water.meters\" already, takes a name that none has";
    assert_eq!(again.error(), (400, "IOTDA.000006", want));

    let server = Server::over(Arc::clone(&server.store));
    let cases = [
        ("", vec![0, 1, 2, 3], 4),
        ("queue_name=", vec![0, 1, 2, 3], 4),
        ("queue_name=meter", vec![3], 1),
        ("queue_name=%7C", vec![2], 1),
        ("queue_name=nosuch", vec![], 0),
        ("limit=1&offset=2", vec![2], 4),
    ];
    for (query, want, count) in cases {
        let list = server.get(&format!("{QUEUES}?{query}")).await.body;
        let want: Vec<&Value> = want.iter().map(|at| &all[*at]).collect();
        assert_eq!(list["queues"], json!(want), "{query}");
        assert_eq!(list["page"]["count"], count, "{query}");
    }
    let one = format!("{QUEUES}/{}", all[0]["queue_id"].as_str().unwrap());
    assert_eq!(server.get(&one).await.body, all[0]);
    assert_eq!(server.delete(&one).await.status, 204);
    for method in [Method::GET, Method::DELETE] {
        let gone = server.call(method, &one, None).await;
        assert_eq!(gone.error().0, 404);
        assert!(gone.error().2.starts_with("queue_id: there is no queue"));
    }
    let freed = json!({"queue_name": "eight___"});
    assert_eq!(server.post(QUEUES, &freed).await.status, 201);
}

#[tokio::test]
async fn the_newest_access_code_of_a_kind_is_the_only_one() {
    let server = Server::start();
    let held = |server: &Server| -> Vec<(String, String)> {
        let all = server.store.forwarding().unwrap().into_iter();
        let pairs = all.filter_map(|one| match one {
            ForwardingRecord::Access(one) => {
                Some((one.access_key.to_string(), one.access_code.expose().clone()))
            }
            _ => None,
        });
        pairs.collect()
    };
    let bodies = [
        None,
        Some(json!({})),
        Some(json!({"type": "MQTT", "force_disconnect": true})),
        Some(json!({"type": "AMQP", "force_disconnect": false})),
    ];
    let mut made = Vec::new();
    for body in bodies {
        let answer = server.call(Method::POST, ACCESS, body.as_ref()).await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        let text = |name: &str| answer.body[name].as_str().unwrap().to_owned();
        let (key, code) = (text("access_key"), text("access_code"));
        assert_eq!((key.len(), code.len()), (8, 32));
        assert!(
            key.bytes()
                .chain(code.bytes())
                .all(|b| b.is_ascii_alphanumeric())
        );
        assert!(!made.contains(&(key.clone(), code.clone())));
        made.push((key, code));
    }
    let mut want = vec![made[2].clone(), made[3].clone()];
    want.sort();
    let server = Server::over(Arc::clone(&server.store));
    let mut got = held(&server);
    got.sort();
    assert_eq!(got, want);
    assert_eq!(server.app.forwarding.snapshot().accesses.len(), 2);
}

#[tokio::test]
async fn there_are_a_hundred_of_each_at_most() {
    let server = Server::start();
    let kinds = [
        (BACKLOG, "server: has 100 backlog policies"),
        (FLOW, "server: has 100 flow-control policies"),
        (QUEUES, "server: has 100 queues"),
    ];
    // Policies take no queue_name, and ignore it.
    let body = |at: usize| json!({"queue_name": format!("queue-{at:03}")});
    for (path, full) in kinds {
        for at in 0..100 {
            assert_eq!(server.post(path, &body(at)).await.status, 201);
        }
        let refused = server.post(path, &body(100)).await;
        let want = format!("{full}, delete one first");
        assert_eq!(refused.error(), (400, "IOTDA.000006", want.as_str()));
    }
}

#[tokio::test]
async fn a_bound_caller_has_nothing_to_do_with_what_belongs_to_all() {
    let server = two_spaces().await;
    let id = "f".repeat(24);
    let rows = [
        (Method::POST, BACKLOG.to_owned()),
        (Method::GET, BACKLOG.into()),
        (Method::GET, format!("{BACKLOG}/{id}")),
        (Method::PUT, format!("{BACKLOG}/{id}")),
        (Method::DELETE, format!("{BACKLOG}/{id}")),
        (Method::POST, FLOW.into()),
        (Method::GET, FLOW.into()),
        (Method::GET, format!("{FLOW}/{id}")),
        (Method::PUT, format!("{FLOW}/{id}")),
        (Method::DELETE, format!("{FLOW}/{id}")),
        (Method::POST, QUEUES.into()),
        (Method::GET, QUEUES.into()),
        (Method::GET, format!("{QUEUES}/{id}")),
        (Method::DELETE, format!("{QUEUES}/{id}")),
        (Method::POST, ACCESS.into()),
        (Method::PUT, "/v1/push-certificates".into()),
        (Method::GET, "/v1/push-certificates".into()),
        (Method::GET, format!("/v1/push-certificates/{id}")),
        (Method::DELETE, format!("/v1/push-certificates/{id}")),
    ];
    for (method, path) in rows {
        let body = json!({"queue_name": "eight___"});
        let answer = server
            .send(request(BOUND, method.clone(), &path, Some(&body)))
            .await;
        let want = "this belongs to all resource spaces, the caller is bound to a";
        assert_eq!(
            answer.error(),
            (403, "IOTDA.001002", want),
            "{method} {path}"
        );
    }
    assert_eq!(server.store.forwarding().unwrap(), []);
}
