//! `POST /v1/routing-rule/sql/test`: clauses tried on an event.

use axum::http::Method;
use serde_json::{Value, json};
use strait::store::Store;

use crate::api::Server;
use crate::bad_input::Takes::{Object, Text};
use crate::bad_input::{Call, call, check, needed, optional};

const PATH: &str = "/v1/routing-rule/sql/test";

fn event() -> Value {
    json!({
        "resource": "device.message",
        "event": "report",
        "notify_data": {
            "header": {"device_id": "p_n", "tags": [{"tag_key": "hall", "tag_value": "3"}]},
            "body": {"content": {"temperature": 40}}
        }
    })
}

#[tokio::test]
async fn clauses_are_tried_on_an_event() {
    const HOT: &str = "notify_data.body.content.temperature > 38";
    let server = Server::start();
    let id = json!({"id": "p_n"});
    let cases = [
        (json!({}), json!({"matches": true, "result": event()})),
        (
            json!({"select": null, "where": " "}),
            json!({"matches": true, "result": event()}),
        ),
        (
            json!({"select": "SELECT notify_data.header.device_id AS id", "where": HOT}),
            json!({"matches": true, "result": id}),
        ),
        (
            json!({"select": "*", "where": "CONTAINS_TAG('floor')"}),
            json!({"matches": false, "result": null}),
        ),
    ];
    for (clauses, want) in cases {
        let mut body = clauses.clone();
        body["data"] = event();
        let answer = server.post(PATH, &body).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body),
            (200, &want),
            "{clauses}"
        );
    }
    assert_eq!(server.store.last_event(), 0);
}

#[tokio::test]
async fn mistakes_tell_clause_and_column() {
    let server = Server::start();
    let cases = [
        (
            json!({"select": "a,", "where": "a = 1"}),
            "select: column 3: found the end, takes ",
        ),
        (
            json!({"where": "a = 1 AND"}),
            "where: column 10: found the end, takes ",
        ),
        (
            json!({"select": "a b", "where": "a"}),
            "select: column 3: found \"b\", takes ",
        ),
        (
            json!({"select": "a b", "where": "a"}),
            "; where: column 2: found the end, takes ",
        ),
    ];
    for (clauses, want) in cases {
        let mut body = clauses.clone();
        body["data"] = event();
        let answer = server.post(PATH, &body).await;
        let (status, code, message) = answer.error();
        assert_eq!((status, code), (400, "IOTDA.000006"), "{clauses}");
        assert!(message.contains(want), "{clauses}: {message}");
    }
    let trial = Call {
        body_fields: vec![
            optional("/select", Text(0, 2500)),
            optional("/where", Text(0, 2500)),
            needed("/data", Object),
        ],
        ..call(Method::POST, PATH, Some(json!({"data": {}})))
    };
    check(&server, &[trial]).await;
}
