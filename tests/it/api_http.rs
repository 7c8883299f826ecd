//! What every request has in common: errors, bodies, media types, request ids, operations, and
//! a store that fails.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};
use strait::store::StoreError;

use crate::api::{Server, meter_product};

const PRODUCTS: &str = "/v5/iot/x/products";

#[tokio::test]
async fn paths_and_methods_that_are_not_ours() {
    let server = Server::start();
    let cases = [
        (Method::GET, "/", 404, "there is nothing at /"),
        (
            Method::GET,
            "/v5/iot/x/nothing",
            404,
            "there is nothing at /v5/iot/x/nothing",
        ),
        (Method::GET, "/v1/products", 404, "there is nothing at"),
        (
            Method::PATCH,
            PRODUCTS,
            405,
            "/v5/iot/x/products does not take PATCH",
        ),
        (
            Method::POST,
            "/v1/events",
            405,
            "/v1/events does not take POST",
        ),
        (
            Method::DELETE,
            "/healthz",
            405,
            "/healthz does not take DELETE",
        ),
        (
            Method::GET,
            "/v5/iot/x/devices/a%2Fb",
            400,
            "device_id: has the character '/'",
        ),
        (
            Method::GET,
            "/v5/iot/x/devices/%ff",
            400,
            "the path is not UTF-8",
        ),
        (
            Method::GET,
            "/v1/products/a.b/settings",
            400,
            "product_id: has the character '.'",
        ),
    ];
    for (method, path, want, message) in cases {
        let answer = server.call(method.clone(), path, None).await;
        let (status, code, text) = answer.error();
        assert_eq!(status, want, "{method} {path}");
        assert!(code.starts_with("IOTDA."), "{method} {path}: {code}");
        assert!(text.contains(message), "{method} {path}: {text}");
        if want == 405 {
            assert!(
                answer.header("allow").contains("GET"),
                "{:?}",
                answer.headers
            );
        }
    }
}

#[tokio::test]
async fn bodies_that_are_no_json() {
    let server = Server::start();
    let good = meter_product().to_string();
    let cases: [(&str, Vec<u8>, u16, &str); 12] = [
        ("application/json", good.clone().into(), 201, ""),
        (
            "application/json;charset=utf-8",
            b"{}".into(),
            400,
            "name: is missing",
        ),
        (
            "Application/JSON; Charset=\"UTF-8\"",
            b"{}".into(),
            400,
            "name: is missing",
        ),
        ("", b"{}".into(), 400, "name: is missing"),
        (
            "application/json",
            b"{\"name\":".into(),
            400,
            "the body is not JSON: EOF while parsing a value at line 1 column 8",
        ),
        (
            "application/json",
            b"{} {}".into(),
            400,
            "the body is not JSON: trailing characters",
        ),
        (
            "application/json",
            vec![b'"', 0xff, b'"'],
            400,
            "the body is not UTF-8 from byte 1",
        ),
        ("application/json", b"".into(), 400, "the body is not JSON"),
        (
            "application/json",
            b"[1]".into(),
            400,
            "body: got a list, takes an object",
        ),
        (
            "text/plain",
            good.clone().into(),
            400,
            "Content-Type: got \"text/plain\", takes application/json",
        ),
        (
            "application/json; charset=gbk",
            good.clone().into(),
            400,
            "Content-Type: takes application/json in UTF-8",
        ),
        ("nonsense", good.into(), 400, "Content-Type: can't be read"),
    ];
    for (media, body, want, message) in cases {
        let mut request = Request::post(PRODUCTS);
        if !media.is_empty() {
            request = request.header("content-type", media);
        }
        let answer = server.send(request.body(Body::from(body)).unwrap()).await;
        let (status, code, text) = answer.error();
        assert_eq!(status.min(answer.status.as_u16()), want, "{media}: {text}");
        assert!(text.contains(message), "{media}: {text}");
        let is_shape = text.contains("name: ") || text.contains("body: ");
        if want == 400 {
            assert_eq!(
                code,
                if is_shape {
                    "IOTDA.000006"
                } else {
                    "IOTDA.000008"
                },
                "{text}"
            );
        }
    }
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let answer = server
        .send(Request::post(PRODUCTS).body(Body::from(deep)).unwrap())
        .await;
    assert_eq!(answer.error().1, "IOTDA.000008");
}

#[tokio::test]
async fn bodies_are_bounded() {
    let server = Server::start();
    let max = 1024 * 1024;
    for (len, declared, want) in [
        (max + 1, true, 413),
        (max + 1, false, 413),
        (max, true, 400),
    ] {
        let bytes = vec![b' '; len];
        let mut request = Request::post(PRODUCTS).header("content-type", "application/json");
        let body = match declared {
            true => {
                request = request.header("content-length", len);
                Body::from(bytes)
            }
            // Without a length, as a chunked body comes.
            false => {
                Body::from_stream(futures_util::stream::iter([Ok::<_, std::io::Error>(bytes)]))
            }
        };
        let answer = server.send(request.body(body).unwrap()).await;
        let (status, code, message) = answer.error();
        assert_eq!((status, code), (want, "IOTDA.000008"), "{len} {declared}");
        if want == 413 {
            assert_eq!(message, "the body is too large, takes up to 1048576 bytes");
        }
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id() {
    let server = Server::start();
    let ask = |path: &'static str, id: Option<&'static str>| {
        let mut request = Request::get(path);
        if let Some(id) = id {
            request = request.header("x-request-id", id);
        }
        server.send(request.body(Body::empty()).unwrap())
    };
    assert_eq!(
        ask("/healthz", Some("abc-1")).await.header("x-request-id"),
        "abc-1"
    );
    for path in ["/healthz", "/nothing", PRODUCTS] {
        for id in [None, Some("with space"), Some("")] {
            let answer = ask(path, id).await;
            let made = answer.header("x-request-id").to_owned();
            assert_eq!(made.len(), 32, "{path} {id:?}");
            assert_ne!(ask(path, id).await.header("x-request-id"), made);
        }
    }
}

#[tokio::test]
async fn operations_answer() {
    let server = Server::start();
    let health = server.get("/healthz").await;
    assert_eq!(
        (health.status.as_u16(), health.body),
        (200, json!({"status": "ok"}))
    );
    let ready = server.get("/readyz").await;
    assert_eq!(
        (ready.status.as_u16(), ready.body),
        (200, json!({"status": "ready"}))
    );
    let metrics = server.get("/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(
        metrics
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    server
        .app
        .tasks
        .shut_down(std::time::Duration::from_secs(1))
        .await;
    let stopping = server.get("/readyz").await;
    assert_eq!(stopping.status, 503);
    assert_eq!(stopping.body["reason"], "the server is stopping");
}

#[tokio::test]
async fn a_store_that_fails_is_said_kindly_and_tried_again_later() {
    let server = Server::start();
    let full = StoreError::Full { free: 0, need: 1 };
    let broken = StoreError::Io("/var/lib/secret-path: broken".into());
    for (error, want) in [
        (full, "the server's disk is full"),
        (broken, "the server's store"),
    ] {
        // The row of the audit log: without it nothing is written.
        server.store.faults().fail_next(1, &error);
        let answer = server.post(PRODUCTS, &meter_product()).await;
        let (status, code, message) = answer.error();
        assert_eq!((status, code), (503, "IOTDA.000001"));
        assert!(message.starts_with(want), "{message}");
        assert!(!message.contains("secret-path"), "{message}");
        assert_eq!(answer.header("retry-after"), "5");
        assert_eq!(server.get(&format!("{PRODUCTS}/p1")).await.status, 404);
    }
    // Recovery needs no restart.
    let mut last = Value::Null;
    for _ in 0..200 {
        let answer = server.post(PRODUCTS, &meter_product()).await;
        if answer.status == 201 {
            return;
        }
        last = answer.body;
        tokio::task::yield_now().await;
    }
    panic!("the store did not come back: {last}");
}

#[tokio::test]
async fn a_caller_that_hangs_up_leaves_no_half_told_change() {
    let mut server = Server::start().with_product().await;
    server.store.faults().hold();
    let body = json!({"node_id": "n1", "product_id": "p1"});
    {
        let mut call = std::pin::pin!(server.post("/v5/iot/x/devices", &body));
        for _ in 0..20 {
            assert!(futures_util::poll!(&mut call).is_pending());
            tokio::task::yield_now().await;
        }
    }
    server.store.faults().release();
    let told = server.changes.recv().await.unwrap();
    assert_eq!(told.device_id.as_str(), "p1_n1");
    assert_eq!(
        server.get("/v5/iot/x/devices").await.body["page"]["count"],
        1
    );
}
