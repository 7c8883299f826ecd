//! The same with components in worker processes.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::json;
use tokio::sync::mpsc;

use super::{Bench, CODEC};
use crate::api::Answer;
use crate::wasm::component::{Component, SOUND};

/// Says that volume and version are 5 and 2, and panics on a byte that is 255.
const METER: Component = Component {
    module: r#"(data (i32.const 128) "\00\00\00\00\00\01\00\00\4b\00\00\00")
        (data (i32.const 256) "{\22services\22:[{\22service_id\22:\22Flow\22,\22properties\22:{\22volume\22:5,\22interval\22:2}}]}")"#,
    decode: "(if (i32.eq (i32.load8_u (local.get $at)) (i32.const 255)) (then unreachable)) (i32.const 128)",
    ..SOUND
};

async fn put(bench: &Bench, source: Vec<u8>) -> Answer {
    let request = Request::builder().method(Method::PUT).uri(CODEC);
    let request = request.header("content-type", "application/wasm");
    bench
        .server
        .send(request.body(Body::from(source)).unwrap())
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_is_checked_tried_used_and_rolled_back() {
    let mut bench = Bench::over(None, mpsc::channel(1).1).await;
    bench.server.device("n1").await;
    let script =
        "function decodeUplink(input) { return {data: {volume: input.bytes[0], interval: 1}}; }";
    bench.upload(script).await;
    bench.report("p1_n1", &[4]).await;
    bench.until_read("p1_n1", 1).await;

    let spins = Component {
        module: "(func $s (loop $l (br $l))) (start $s)",
        ..SOUND
    };
    let large = [SOUND.binary(), vec![0; 4 * 1024 * 1024]].concat();
    for (source, status, part) in [
        (b"\0asm".to_vec(), 422, "of a version"),
        (spins.binary(), 422, "50 ms"),
        (large, 413, ""),
    ] {
        let refused = put(&bench, source).await;
        assert_eq!(refused.status, status, "{:?}", refused.body);
        assert!(
            refused.body.to_string().contains(part),
            "{:?}",
            refused.body
        );
    }
    let source = METER.binary();
    let taken = put(&bench, source.clone()).await;
    assert_eq!(taken.status, 200, "{:?}", taken.body);
    let shown = bench.server.get(CODEC).await;
    assert_eq!(shown.header("content-type"), "application/wasm");

    let decode = format!("{CODEC}/decode");
    let tried = bench.server.post(&decode, &json!({"hex": "010203"})).await;
    let properties = &tried.body["services"][0]["properties"];
    assert_eq!(
        properties,
        &json!({"volume": 5, "interval": 2}),
        "{:?}",
        tried.body
    );
    let refused = bench.server.post(&decode, &json!({"hex": "ff"})).await;
    assert_eq!(refused.status, 422, "{:?}", refused.body);
    assert!(
        refused.error().2.contains("unreachable"),
        "{:?}",
        refused.body
    );

    for byte in [9, 255, 8] {
        bench.report("p1_n1", &[byte]).await;
    }
    assert_eq!(bench.until_read("p1_n1", 3).await, [(4, 1), (5, 2), (5, 2)]);
    let raw = bench.raw("p1_n1");
    assert_eq!((raw.len(), raw[0].kind.as_str()), (1, "trap"));
    let status = bench.server.get(&format!("{CODEC}/status")).await.body;
    assert_eq!(status["failed"], json!({"trap": 1}), "{status}");

    let back = bench
        .server
        .post(&format!("{CODEC}/rollback"), &json!({}))
        .await;
    assert_eq!(back.status, 200, "{:?}", back.body);
    let replay = json!({"kinds": ["trap"]});
    let replay = bench.server.post(&format!("{CODEC}/replay"), &replay).await;
    assert_eq!(replay.status, 202, "{:?}", replay.body);
    bench.report("p1_n1", &[7]).await;
    assert_eq!(bench.until_read("p1_n1", 4).await[3], (7, 1));
}
