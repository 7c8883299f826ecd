//! What is taken as a command, and what is not: fields, the product model, limits, names.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};

use super::{Bench, DEVICE, valve};
use crate::api::{Answer, Server, with};
use crate::bad_input::Takes::{Object, Range, Text, Word};
use crate::bad_input::{Call, INVALID, QueryField, check, needed, optional, time};
use crate::bad_input::{call, text, word};

const STATUSES: &[&str] = &[
    "PENDING",
    "EXPIRED",
    "SENT",
    "TIMEOUT",
    "DELIVERED",
    "SUCCESSFUL",
    "FAILED",
];
const OWN_MARKER: QueryField = QueryField {
    name: "marker",
    bad: &[
        ("IOTDA.000018", ""),
        ("IOTDA.000018", "000000000000000000000000"),
        ("IOTDA.000018", "01a0c4f1-9c00-4000-8000-000000001001"),
        ("IOTDA.000018", "01a0c4f1-9c00-7000-8000-00000000100"),
    ],
    good: &[
        "ffffffffffffffffffffffff",
        "01a0c4f1-9c00-7000-8000-000000001001",
    ],
};

#[tokio::test]
async fn fields_refuse_what_they_do_not_take() {
    let bench = Bench::start().await;
    let server = &bench.server;
    let path = Bench::path("");
    let body = |name: &str| {
        // Refused by the model, so that nothing is stored.
        with(&valve("delay"), "/command_name", Some(json!(name)))
    };
    let create = Call {
        body_fields: vec![
            needed("/service_id", Text(1, 64)),
            needed("/command_name", Text(1, 128)),
            needed("/paras", Object),
            optional("/expire_time", Range(0, 172_800)),
            needed("/send_strategy", Word(&["immediately", "delay"])),
        ],
        ..call(Method::POST, &path, Some(body("NONE")))
    };
    let filters = || {
        vec![
            time("start_time"),
            time("end_time"),
            word("status", STATUSES),
            text("command_name", 128),
        ]
    };
    let page = || {
        let [limit, offset, _] = crate::bad_input::PAGE;
        [vec![limit, offset, OWN_MARKER], filters()].concat()
    };
    let list = |path: &str, method, query_fields| Call {
        query_fields,
        ..call(method, path, None)
    };
    let history = format!("{path}-history");
    let calls = [
        create,
        list(&path, Method::GET, page()),
        list(&history, Method::GET, page()),
        list(&format!("{history}/count"), Method::POST, filters()),
    ];
    check(server, &calls).await;
    let later = "?start_time=20260102T000000Z&end_time=20260101T000000Z";
    let answer = server.get(&format!("{path}{later}")).await;
    assert_eq!((answer.error().0, answer.error().1), (400, "IOTDA.000010"));
}

#[tokio::test]
async fn the_model_decides_what_is_sent() {
    let bench = Bench::start().await;
    let cases: [(&str, Value, &str); 6] = [
        ("/service_id", json!("Nope"), "service_id: got \"Nope\""),
        ("/command_name", json!("Nope"), "command_name: got \"Nope\""),
        ("/paras", json!({}), "paras.open: is required"),
        ("/paras/open", json!(2), "paras.open: "),
        ("/paras/open", json!("1"), "paras.open: "),
        ("/paras/other", json!(1), "paras.other: "),
    ];
    for (place, value, want) in cases {
        let answer = bench
            .submit(&with(&valve("delay"), place, Some(value)))
            .await;
        let (status, code, message) = answer.error();
        assert_eq!((status, code), (400, INVALID), "{place}: {message}");
        assert!(message.starts_with(want), "{place}: {message}");
    }
    assert!(bench.listed("async-commands").await.is_empty());

    // Up to 32 KB of parameters are looked at.
    for (over, want) in [(0, "paras.text: "), (1, "paras: got 32769 bytes of JSON")] {
        let frame = json!({"open": 1, "text": ""}).to_string().len();
        let paras = json!({"open": 1, "text": "a".repeat(32 * 1024 - frame + over)});
        let answer = bench
            .submit(&with(&valve("delay"), "/paras", Some(paras)))
            .await;
        assert_eq!(answer.error().0, 400);
        assert!(
            answer.error().2.starts_with(want),
            "{:.100}",
            answer.error().2
        );
    }

    // A device that is not there, and one whose product has no model of it.
    for (device, want) in [("gone", 404), ("p1_n1", 200)] {
        let path = format!("{}/{device}/async-commands", super::DEVICES);
        let answer = bench.server.post(&path, &valve("delay")).await;
        assert_eq!(answer.status, want, "{:?}", answer.body);
    }
    for (id, want) in [
        ("x", 400),
        ("01a0c4f1-9c00-7000-8000-000000001001", 404),
        ("6FA459EA-EE8A-4CA4-894E-DB77E160355E", 404),
    ] {
        let answer = bench.server.get(&Bench::path(&format!("/{id}"))).await;
        assert_eq!(answer.error().0, want, "{id}");
    }
}

#[tokio::test]
async fn twenty_wait_for_a_device() {
    let mut bench = Bench::start().await;
    for _ in 0..20 {
        bench.submitted(&valve("delay")).await;
    }
    let refused = bench.submit(&valve("delay")).await;
    let (status, code, message) = refused.error();
    assert_eq!((status, code), (403, "IOTDA.021101"));
    assert!(message.starts_with("20 commands wait"), "{message}");
    // What does not wait is not among them.
    assert_eq!(bench.submit(&valve("immediately")).await.status, 200);
    // One goes out, so there is room for another.
    bench.come().await;
    bench.down().await;
    assert_eq!(bench.submit(&valve("delay")).await.status, 200);
    assert_eq!(bench.submit(&valve("delay")).await.status, 403);
}

async fn named(server: &Server, name: &[u8], body: &Value) -> Answer {
    let request = Request::post(Bench::path(""))
        .header("content-type", "application/json")
        .header("x-request-id", name)
        .body(Body::from(body.to_string()));
    server.send(request.unwrap()).await
}

/// The same name again gives the same command, as it is by then, also in another process.
#[tokio::test]
async fn a_submission_has_its_callers_name() {
    let mut bench = Bench::start().await;
    let body = valve("delay");
    let first = named(&bench.server, b"order-1", &body).await;
    assert_eq!(
        (first.status.as_u16(), first.header("x-request-id")),
        (200, "order-1")
    );
    let again = named(&bench.server, b"order-1", &body).await;
    assert_eq!((again.status.as_u16(), &again.body), (200, &first.body));
    let other = named(&bench.server, b"order-2", &body).await;
    assert_ne!(other.body["command_id"], first.body["command_id"]);
    let changed = with(&body, "/paras/open", Some(json!(0)));
    let refused = named(&bench.server, b"order-1", &changed).await;
    let (status, code, message) = refused.error();
    assert_eq!((status, code), (400, INVALID));
    assert!(message.starts_with("X-Request-Id: "), "{message}");
    assert_eq!(bench.listed("async-commands").await.len(), 2);

    bench.come().await;
    bench.down().await;
    let bench = Bench::over(std::sync::Arc::clone(&bench.server.store));
    let again = named(&bench.server, b"order-1", &body).await;
    assert_eq!(
        (&again.body["command_id"], &again.body["status"]),
        (&first.body["command_id"], &json!("SENT"))
    );

    for (name, status) in [
        (vec![b'a'; 128], 200),
        (vec![b'a'; 129], 400),
        (b"".to_vec(), 400),
        (b"a b".to_vec(), 400),
        (b"caf\xc3\xa9".to_vec(), 400),
    ] {
        let answer = named(&bench.server, &name, &body).await;
        assert_eq!(answer.status, status, "{name:?}");
        if status == 400 {
            assert!(answer.error().2.starts_with("X-Request-Id: got "));
        }
    }
    assert_eq!(
        bench
            .server
            .get(&format!("{}/{DEVICE}", super::DEVICES))
            .await
            .status,
        200
    );
}
