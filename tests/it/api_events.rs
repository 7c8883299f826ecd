//! `GET /v1/events`: streams, resumed by position.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use serde_json::Value;
use strait::app::credentials::Role;
use strait::base::time::Timestamp;
use strait::store::Change;
use strait::store::records::{EnvelopeRecord, EventRecord};
use tower::ServiceExt;

use crate::api::{NOW, Server};
use crate::api_auth::credential;

/// Reads a stream of events until `count` of them came.
async fn read_events(server: &Server, path: &str, last_id: Option<&str>, count: usize) -> String {
    let mut request = Request::get(path);
    if let Some(id) = last_id {
        request = request.header("last-event-id", id);
    }
    let request = request.body(Body::empty()).unwrap();
    let response = server.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let mut text = String::new();
    while text.matches("data: ").count() < count {
        let frame = tokio::time::timeout(Duration::from_secs(10), body.frame());
        let frame = frame.await.expect("events come").unwrap().unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    text
}

#[tokio::test]
async fn events_are_streamed_and_resumed_by_position() {
    let server = Server::start().with_product().await;
    for node in ["n1", "n2"] {
        server.device(node).await;
    }
    let all = read_events(&server, "/v1/events?from=0", None, 3).await;
    let lines: Vec<&str> = all.lines().filter(|l| l.starts_with("event:")).collect();
    assert_eq!(
        lines,
        [
            "event: product.create",
            "event: device.create",
            "event: device.create"
        ]
    );
    let ids: Vec<&str> = all.lines().filter_map(|l| l.strip_prefix("id: ")).collect();
    assert_eq!(ids.len(), 3);
    let data = all.lines().find_map(|l| l.strip_prefix("data: ")).unwrap();
    let envelope: Value = serde_json::from_str(data).unwrap();
    assert_eq!(envelope["resource"], "product");

    let rest = read_events(&server, "/v1/events?from=0", Some(ids[1]), 1).await;
    assert!(rest.contains("p1_n2") && !rest.contains("p1_n1"), "{rest}");
    let cases = [
        ("/v1/events?from=x", None, "from"),
        ("/v1/events", Some("-1"), "Last-Event-ID"),
    ];
    for (path, id, name) in cases {
        let mut request = Request::get(path);
        if let Some(id) = id {
            request = request.header("last-event-id", id);
        }
        let answer = server.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, 400);
        assert!(answer.error().2.starts_with(name), "{}", answer.error().2);
    }
}

#[tokio::test]
async fn a_stream_without_a_position_waits_for_what_comes() {
    let server = Server::start().with_product().await;
    let request = Request::get("/v1/events").body(Body::empty()).unwrap();
    let response = server.router.clone().oneshot(request).await.unwrap();
    let mut body = response.into_body();
    let opening = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(opening.starts_with(b": from "), "{opening:?}");
    // Two envelopes of one commit: only the last carries the position.
    let envelope = |event: &str| EnvelopeRecord {
        resource: "device.property".into(),
        event: event.into(),
        device_id: None,
        json: format!("{{\"event\":\"{event}\"}}"),
        app_id: None,
    };
    let record = EventRecord {
        at: Timestamp::parse(NOW).unwrap(),
        envelopes: vec![envelope("first"), envelope("last")],
    };
    server.write(vec![Change::Emit(Box::new(record))]).await;
    let mut text = String::new();
    while text.matches("data: ").count() < 2 {
        let frame = tokio::time::timeout(Duration::from_secs(10), body.frame());
        let frame = frame.await.expect("events come").unwrap().unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    assert!(!text.contains("product.create"), "{text}");
    assert_eq!(text.matches("id: ").count(), 1, "{text}");
    assert!(text.find("id: ") > text.find("last"), "{text}");
    // A stream ends with the server.
    server.app.tasks.shut_down(Duration::from_secs(10)).await;
    let end = tokio::time::timeout(Duration::from_secs(10), body.frame()).await;
    assert!(end.expect("the stream ends").is_none());
}

#[tokio::test]
async fn a_revoked_reader_hears_no_more() {
    let credential = |space| credential("reader", Role::ReadOnly, space);
    let left: [Vec<_>; 2] = [vec![], vec![credential(Some("a"))]];
    for left in left {
        let server = Server::with_auth(vec![credential(None)]);
        let request = Request::get("/v1/events").header("x-auth-token", "token-of-reader");
        let request = request.body(Body::empty()).unwrap();
        let mut body = server
            .router
            .clone()
            .oneshot(request)
            .await
            .unwrap()
            .into_body();
        let opening = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(opening.starts_with(b": from "), "{opening:?}");
        server.app.credentials.replace(left.into_iter().collect());
        let envelope = EnvelopeRecord {
            resource: "device".into(),
            event: "create".into(),
            device_id: None,
            json: "{}".into(),
            app_id: None,
        };
        let record = EventRecord {
            at: Timestamp::parse(NOW).unwrap(),
            envelopes: vec![envelope],
        };
        server.write(vec![Change::Emit(Box::new(record))]).await;
        let end = tokio::time::timeout(Duration::from_secs(10), body.frame()).await;
        assert!(end.expect("the stream ends").is_none());
    }
}
