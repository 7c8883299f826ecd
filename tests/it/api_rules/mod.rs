//! `…/routing-rule/rules` and `…/routing-rule/actions`: what is pushed, and where.

mod actions;

use std::sync::Arc;

use axum::http::Method;
use serde_json::{Value, json};
use strait::store::Store;

use crate::api::Server;
use crate::api_spaces::{BOUND, OTHER_BOUND, ROOT, request, two_spaces};

const RULES: &str = "/v5/iot/x/routing-rule/rules";
const ACTIONS: &str = "/v5/iot/x/routing-rule/actions";

fn ids<'a>(body: &'a Value, list: &str, id: &str) -> Vec<&'a str> {
    let list = body[list].as_array().unwrap();
    list.iter().map(|one| one[id].as_str().unwrap()).collect()
}

fn new_rule() -> Value {
    json!({"rule_name": "Meters", "subject": {"resource": "device.property", "event": "report"}})
}

pub(crate) fn new_action(rule: &str, url: &str) -> Value {
    json!({"rule_id": rule, "channel": "HTTP_FORWARDING",
        "channel_detail": {"http_forwarding": {"url": url}}})
}

/// Creates what the body says; its id.
pub(crate) async fn made(server: &Server, path: &str, body: &Value, id: &str) -> String {
    let answer = server.post(path, body).await;
    assert_eq!(answer.status, 201, "{:?}", answer.body);
    answer.body[id].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_rule_is_made_shown_changed_and_deleted() {
    let server = Server::start();
    let body = json!({"rule_name": "水?Meters", "description": "any <text>", "x": 1,
        "subject": {"resource": "device.property", "event": "report"}, "app_type": "GLOBAL",
        "select": "notify_data.header.device_id AS id", "where": "1 = 1"});
    let answer = server.post(RULES, &body).await;
    assert_eq!(answer.status, 201, "{:?}", answer.body);
    let id = answer.body["rule_id"].as_str().unwrap().to_owned();
    assert_eq!(id.len(), 24);
    let mut want = json!({"rule_id": id, "rule_name": "水?Meters", "description": "any <text>",
        "subject": {"resource": "device.property", "event": "report"}, "app_type": "GLOBAL",
        "app_id": null, "select": "notify_data.header.device_id AS id", "where": "1 = 1",
        "active": false});
    assert_eq!(answer.body, want);
    let one = format!("{RULES}/{id}");
    assert_eq!(server.get(&one).await.body, want);

    // One field at a time; the others stay.
    let steps = [
        ("active", json!(true), json!(true)),
        ("rule_name", json!("Other"), json!("Other")),
        ("description", json!(""), json!("")),
        ("where", json!("2 = 2"), json!("2 = 2")),
        ("select", json!(" "), Value::Null),
        ("where", json!(""), Value::Null),
        ("active", json!(false), json!(false)),
        ("rule_name", Value::Null, json!("Other")),
    ];
    for (name, value, shown) in steps {
        let answer = server.put(&one, &json!({name: value})).await;
        want[name] = shown;
        assert_eq!(
            (answer.status.as_u16(), &answer.body),
            (200, &want),
            "{name}"
        );
    }
    assert_eq!(server.put(&one, &json!({})).await.body, want);

    let server = Server::over(Arc::clone(&server.store));
    assert_eq!(server.get(&one).await.body, want);
    assert_eq!(server.delete(&one).await.status, 204);
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let gone = server.call(method, &one, Some(&json!({}))).await;
        let want = format!("rule_id: there is no rule {id}");
        assert_eq!(gone.error(), (404, "IOTDA.010002", want.as_str()));
    }
    assert_eq!(server.store.forwarding().unwrap(), []);
}

/// Every event of every resource, and the resource's own name for all of them; nothing else.
#[tokio::test]
async fn rules_take_what_there_is() {
    let table: [(&str, &[&str]); 11] = [
        ("device", &["create", "update", "delete"]),
        ("device.property", &["report"]),
        ("device.message", &["report"]),
        ("device.message.status", &["update"]),
        ("device.status", &["update"]),
        ("batchtask", &["update"]),
        ("product", &["create", "update", "delete"]),
        ("device.command.status", &["update"]),
        ("device.commmad.status", &["update"]),
        ("device.upgrade", &["update"]),
        ("device.limit", &["report"]),
    ];
    let names = table.map(|(resource, _)| resource);
    let events = ["create", "update", "delete", "report"]
        .into_iter()
        .chain(names);
    let server = Server::start();
    for event in events {
        for (resource, own) in table {
            let body = json!({"subject": {"resource": resource, "event": event}});
            let answer = server.post(RULES, &body).await;
            if event == resource || own.contains(&event) {
                assert_eq!(answer.status, 201, "{body}");
                assert_eq!(answer.body["subject"], body["subject"]);
                continue;
            }
            let takes = own.join(", ");
            let want = format!(
                "subject.event: got {event:?}, the resource {resource} takes {takes}, or its own \
                 name for all"
            );
            assert_eq!(answer.error(), (400, "IOTDA.000006", want.as_str()));
        }
    }
}

#[tokio::test]
async fn rules_belong_to_a_space_or_to_all() {
    let server = Server::start().with_spaces(&["a"]).await;
    let with = |more: Value| {
        let mut body = new_rule();
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    let cases = [
        (json!({}), Ok(("GLOBAL", Value::Null))),
        (json!({"app_type": "APP"}), Ok(("APP", json!("default")))),
        (
            json!({"app_type": "APP", "app_id": "a"}),
            Ok(("APP", json!("a"))),
        ),
        (
            json!({"app_type": "APP", "app_id": "none"}),
            Err((
                403,
                "IOTDA.001000",
                "app_id: there is no resource space none",
            )),
        ),
        (
            json!({"app_type": "GLOBAL", "app_id": "a"}),
            Err((
                400,
                "IOTDA.000006",
                "app_id: a rule of app_type GLOBAL takes none",
            )),
        ),
        (
            json!({"app_id": "a"}),
            Err((
                400,
                "IOTDA.000006",
                "app_id: a rule of app_type GLOBAL takes none",
            )),
        ),
    ];
    for (more, want) in cases {
        let answer = server.post(RULES, &with(more.clone())).await;
        match want {
            Ok((app_type, app_id)) => {
                assert_eq!(answer.status, 201, "{more}: {:?}", answer.body);
                assert_eq!(answer.body["app_type"], app_type, "{more}");
                assert_eq!(answer.body["app_id"], app_id, "{more}");
            }
            Err((status, code, words)) => {
                let got = answer.error();
                assert_eq!((got.0, got.1), (status, code), "{more}");
                assert!(got.2.starts_with(words), "{more}: {}", got.2);
            }
        }
    }
}

#[tokio::test]
async fn rules_are_listed_by_what_is_asked() {
    let server = Server::start().with_spaces(&["a"]).await;
    let rule = |name: &str, resource: &str, event: &str, app_id: Option<&str>| {
        json!({"rule_name": name, "subject": {"resource": resource, "event": event},
            "app_type": app_id.map_or("GLOBAL", |_| "APP"), "app_id": app_id})
    };
    let bodies = [
        rule("one", "device", "create", None),
        rule("two", "device", "device", Some("a")),
        rule("two", "product", "update", Some("default")),
        rule("four", "batchtask", "update", None),
    ];
    let mut all = Vec::new();
    for body in &bodies {
        all.push(made(&server, RULES, body, "rule_id").await);
    }
    let on = json!({"active": true});
    assert_eq!(
        server.put(&format!("{RULES}/{}", all[1]), &on).await.status,
        200
    );
    let cases: [(&str, &[usize], u64); 15] = [
        ("", &[3, 2, 1, 0], 4),
        ("resource=device", &[1, 0], 2),
        ("event=update", &[3, 2], 2),
        ("event=device", &[1], 1),
        ("resource=device&event=create", &[0], 1),
        ("app_type=APP", &[2, 1], 2),
        ("app_type=GLOBAL", &[3, 0], 2),
        ("app_id=a", &[1], 1),
        ("app_id=nosuch", &[], 0),
        ("rule_name=two", &[2, 1], 2),
        ("rule_name=tw", &[], 0),
        ("active=true", &[1], 1),
        ("active=false", &[3, 2, 0], 3),
        ("limit=2", &[3, 2], 4),
        ("limit=2&offset=1", &[2, 1], 4),
    ];
    for (query, want, count) in cases {
        let list = server.get(&format!("{RULES}?{query}")).await.body;
        let want: Vec<&str> = want.iter().map(|at| all[*at].as_str()).collect();
        assert_eq!(ids(&list, "rules", "rule_id"), want, "{query}");
        assert_eq!(list["count"], count, "{query}");
    }
    let first = server.get(&format!("{RULES}?limit=3")).await.body;
    let marker = first["marker"].as_str().unwrap();
    let rest = server
        .get(&format!("{RULES}?limit=3&marker={marker}"))
        .await
        .body;
    assert_eq!(ids(&rest, "rules", "rule_id"), [&all[0]]);
    assert_eq!(rest["count"], 4);
    assert_eq!(
        server.get(&format!("{RULES}?app_id=nosuch")).await.body["marker"],
        json!(null)
    );
}

#[tokio::test]
async fn a_rule_goes_with_its_actions_and_has_ten_at_most() {
    let server = Server::start().with_spaces(&["a"]).await;
    let mut own = new_rule();
    (own["app_type"], own["app_id"]) = (json!("APP"), json!("a"));
    let (first, second) = (
        made(&server, RULES, &new_rule(), "rule_id").await,
        made(&server, RULES, &own, "rule_id").await,
    );
    let mut of_first = Vec::new();
    for at in 0..10 {
        let body = new_action(&first, &format!("http://h/{at}"));
        of_first.insert(0, made(&server, ACTIONS, &body, "action_id").await);
    }
    let full = server.post(ACTIONS, &new_action(&first, "http://h/")).await;
    let want = (
        400,
        "IOTDA.000006",
        "rule_id: has 10 actions, delete one first",
    );
    assert_eq!(full.error(), want);
    let other = made(
        &server,
        ACTIONS,
        &new_action(&second, "http://h/"),
        "action_id",
    )
    .await;
    let of_first: Vec<&str> = of_first.iter().map(String::as_str).collect();
    let cases = [
        (format!("rule_id={first}"), of_first.clone(), 10),
        (format!("rule_id={second}"), vec![other.as_str()], 1),
        ("app_type=APP".into(), vec![other.as_str()], 1),
        ("app_id=a".into(), vec![other.as_str()], 1),
        ("app_type=GLOBAL&limit=1".into(), vec![of_first[0]], 10),
        (
            "channel=HTTP_FORWARDING&limit=2".into(),
            vec![&other, of_first[0]],
            11,
        ),
        ("channel=AMQP_FORWARDING".into(), vec![], 0),
    ];
    for (query, want, count) in cases {
        let list = server.get(&format!("{ACTIONS}?{query}")).await.body;
        assert_eq!(ids(&list, "actions", "action_id"), want, "{query}");
        assert_eq!(list["count"], count, "{query}");
    }
    assert_eq!(server.delete(&format!("{RULES}/{first}")).await.status, 204);
    let left = server.get(ACTIONS).await.body;
    assert_eq!(ids(&left, "actions", "action_id"), [&other]);
    assert_eq!(server.store.forwarding().unwrap().len(), 2);
}

#[tokio::test]
async fn there_are_a_thousand_rules_at_most() {
    let server = Server::start();
    for _ in 0..1000 {
        made(&server, RULES, &new_rule(), "rule_id").await;
    }
    let full = server.post(RULES, &new_rule()).await;
    let want = (
        400,
        "IOTDA.000006",
        "server: has 1000 rules, delete one first",
    );
    assert_eq!(full.error(), want);
    assert_eq!(server.get(RULES).await.body["count"], 1000);
}

/// What a change is answered with is on disk, and in the snapshot that pushes are made by; what could not
/// be written is in neither.
#[tokio::test]
async fn snapshots_follow_commits() {
    let server = Server::start();
    let mut snapshots = server.app.forwarding.subscribe();
    assert!(snapshots.borrow_and_update().rules.is_empty());
    let rule = made(&server, RULES, &new_rule(), "rule_id").await;
    assert!(snapshots.has_changed().unwrap());
    assert_eq!(
        snapshots.borrow_and_update().rules[0].rule_id.as_str(),
        rule
    );
    let full = strait::store::StoreError::Full { free: 0, need: 1 };
    server.store.faults().fail_next(1, &full);
    let body = json!({"active": true});
    let failed = server.put(&format!("{RULES}/{rule}"), &body).await;
    assert_eq!(failed.status, 503);
    assert!(!snapshots.has_changed().unwrap());
    assert_eq!(
        server.get(&format!("{RULES}/{rule}")).await.body["active"],
        false
    );
    // As it is already: nothing is written.
    let same = json!({"active": false, "rule_name": "Meters"});
    assert_eq!(
        server.put(&format!("{RULES}/{rule}"), &same).await.status,
        200
    );
    assert!(!snapshots.has_changed().unwrap());
}

#[tokio::test]
async fn a_bound_caller_has_rules_of_his_space_alone() {
    let server = two_spaces().await;
    let ask = async |token: &str, method: Method, path: &str, body: Option<Value>| {
        server
            .send(request(token, method, path, body.as_ref()))
            .await
    };
    let post = async |token: &str, path: &str, body: Value| {
        ask(token, Method::POST, path, Some(body)).await
    };
    let typed = |app_type: Value, app_id: Value| {
        let mut body = new_rule();
        (body["app_type"], body["app_id"]) = (app_type, app_id);
        body
    };
    let id = |answer: crate::api::Answer, name: &str| {
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        answer.body[name].as_str().unwrap().to_owned()
    };
    let global = id(post(ROOT, RULES, new_rule()).await, "rule_id");
    let others = post(OTHER_BOUND, RULES, new_rule()).await;
    assert_eq!(others.body["app_id"], "b");
    let others = id(others, "rule_id");
    let own = post(BOUND, RULES, typed(json!(null), json!("a"))).await;
    assert_eq!(
        (&own.body["app_type"], &own.body["app_id"]),
        (&json!("APP"), &json!("a"))
    );
    let own = id(own, "rule_id");
    let refused = [
        (
            typed(json!("GLOBAL"), json!(null)),
            "app_type: got GLOBAL, the caller is bound to",
        ),
        (
            typed(json!("APP"), json!("b")),
            "app_id: got b, the caller is bound to",
        ),
    ];
    for (body, want) in refused {
        let answer = post(BOUND, RULES, body).await;
        let (status, code, message) = answer.error();
        assert_eq!((status, code), (403, "IOTDA.001002"));
        assert!(message.starts_with(want), "{message}");
    }
    let mut actions = Vec::new();
    for rule in [&global, &others, &own] {
        let answer = post(ROOT, ACTIONS, new_action(rule, "http://h/")).await;
        actions.push(id(answer, "action_id"));
    }
    for rule in [&global, &others] {
        let answer = post(BOUND, ACTIONS, new_action(rule, "http://h/")).await;
        assert_eq!((answer.error().0, answer.error().1), (404, "IOTDA.010002"));
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let path = format!("{RULES}/{rule}");
            let answer = ask(BOUND, method, &path, Some(json!({"active": true}))).await;
            assert_eq!((answer.error().0, answer.error().1), (404, "IOTDA.010002"));
        }
    }
    for action in &actions[..2] {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let path = format!("{ACTIONS}/{action}");
            let answer = ask(BOUND, method, &path, Some(json!({}))).await;
            assert_eq!(answer.error().0, 404);
        }
    }
    let list = async |path: &str| ask(BOUND, Method::GET, path, None).await.body;
    assert_eq!(ids(&list(RULES).await, "rules", "rule_id"), [&own]);
    assert_eq!(list(&format!("{RULES}?app_type=GLOBAL")).await["count"], 0);
    assert_eq!(
        ids(&list(ACTIONS).await, "actions", "action_id"),
        [&actions[2]]
    );
    assert_eq!(
        list(&format!("{ACTIONS}?rule_id={global}")).await["count"],
        0
    );
    let foreign = ask(BOUND, Method::GET, &format!("{RULES}?app_id=b"), None).await;
    assert_eq!(foreign.error().0, 403);
    let path = format!("{RULES}/{own}");
    let changed = ask(BOUND, Method::PUT, &path, Some(json!({"active": true}))).await;
    assert_eq!(changed.body["active"], true);
}
