//! What a replay does not take.

use axum::http::Method;
use serde_json::{Value, json};

use super::{Bench, CODEC};

#[tokio::test(start_paused = true)]
async fn what_a_replay_does_not_take() {
    let bench = Bench::start().await;
    bench.server.create_product("q", "binary").await;
    bench.server.create_device("q", "n9", json!({})).await;
    let rows = [
        (
            json!({"device_id": "q_n9"}),
            "device_ids[0]: product p has no device q_n9",
        ),
        (
            json!({"device_ids": ["p_n1", "p_x"]}),
            "device_ids[1]: product p has no device p_x",
        ),
        (
            json!({"device_id": "p_n1", "device_ids": ["p_n1"]}),
            "device_id: stands beside",
        ),
        (json!({"device_ids": []}), "device_ids: got 0 entries"),
        (
            json!({"from": "yesterday"}),
            "from: got \"yesterday\", takes a time like",
        ),
        (
            json!({"from": "20260102T000000Z", "to": "20260101T000000Z"}),
            "from: is later than to",
        ),
        (
            json!({"kinds": ["no_codec", "x"]}),
            "kinds[1]: got \"x\", takes one of no_product",
        ),
        (json!({"dry_run": 1}), "dry_run: got the number 1"),
        (json!({"since": 1}), "since: is not a field here"),
    ];
    let path = format!("{CODEC}/replay");
    for (body, message) in rows {
        let (status, answer) = bench.send(Method::POST, &path, &body).await;
        let told = answer["error_msg"].as_str().unwrap();
        assert_eq!(status, 400, "{body}: {told}");
        assert!(told.contains(message), "{body}: {told}");
    }
    let paths = [
        ("replays/1", 404, "the product has no replay 1"),
        (
            "replays/0",
            400,
            "replay_id: got \"0\", takes a number of 1 or more",
        ),
        ("replays/x", 400, "replay_id: got \"x\""),
    ];
    for (path, want, message) in paths {
        let (status, answer) = bench
            .send(Method::GET, &format!("{CODEC}/{path}"), &Value::Null)
            .await;
        let told = answer["error_msg"].as_str().unwrap();
        assert_eq!(status, want, "{path}");
        assert!(told.contains(message), "{path}: {told}");
    }
}
