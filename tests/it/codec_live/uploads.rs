//! Uploads, versions and rollback; dry runs, status and quarantine.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};
use strait::base::ids::ProductId;
use strait::product::codec::CodecError;
use strait::product::codec::call::Call;
use strait::store::Store;

use super::{Bench, CODEC};
use crate::api::Answer;

const FLOW: &str = include_str!("../../../fixtures/api/flow.toml");

impl Bench {
    async fn versions(&self) -> Vec<Value> {
        let listed = self.server.get(&format!("{CODEC}/versions")).await;
        assert_eq!(listed.status, 200, "{:?}", listed.body);
        listed.body["versions"].as_array().unwrap().clone()
    }

    /// Sources newest first, the running one marked.
    async fn sources(&self) -> Vec<String> {
        let mut sources = Vec::new();
        for version in self.versions().await {
            let path = format!("{CODEC}/versions/{}", version["etag"].as_str().unwrap());
            let shown = self.server.get(&path).await;
            assert_eq!(shown.status, 200);
            let mark = if version["is_running"] == true {
                "*"
            } else {
                ""
            };
            sources.push(format!("{}{mark}", shown.body.as_str().unwrap()));
        }
        sources
    }

    async fn roll_back(&self, body: &Value, headers: &[(&str, &str)]) -> Answer {
        let uri = format!("{CODEC}/rollback");
        let mut request = Request::builder().method(Method::POST).uri(uri);
        request = request.header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Value::Null => Body::empty(),
            body => Body::from(body.to_string()),
        };
        self.server.send(request.body(body).unwrap()).await
    }
}

#[tokio::test]
async fn the_last_ten_are_kept_and_can_run_again() {
    let bench = Bench::empty().await;
    assert_eq!(bench.roll_back(&Value::Null, &[]).await.status, 404);
    let mut tags = Vec::new();
    for n in 1..=12 {
        tags.push(bench.upload(&format!("v{n}")).await);
    }
    let newest = [
        "v12*", "v11", "v10", "v9", "v8", "v7", "v6", "v5", "v4", "v3",
    ];
    assert_eq!(bench.sources().await, newest);
    let first = &bench.versions().await[0];
    let shown = json!({"etag": tags[11], "kind": "script", "bytes": 3, "is_running": true,
        "uploaded_at": "2026-03-01T12:00:00.000Z"});
    assert_eq!(first, &shown);
    let gone = bench
        .server
        .get(&format!("{CODEC}/versions/{}", tags[0]))
        .await;
    assert_eq!(gone.status, 404);

    // The same again is no version.
    bench.upload("v12").await;
    assert_eq!(bench.sources().await, newest);

    let back = bench.roll_back(&Value::Null, &[]).await;
    assert_eq!(
        (back.status.as_u16(), &back.body["etag"]),
        (200, &json!(tags[10]))
    );
    assert_eq!(back.header("etag"), format!("\"{}\"", tags[10]));
    // Twice goes back by two.
    bench.roll_back(&json!({}), &[]).await;
    assert_eq!(bench.sources().await[..3], ["v12", "v11", "v10*"]);
    let running = bench.server.get(CODEC).await;
    assert_eq!(running.body, "v10");
    // What is kept moves to the newest place when it comes again, and makes no eleventh.
    bench.upload("v5").await;
    assert_eq!(bench.sources().await[..3], ["v5*", "v12", "v11"]);
    assert_eq!(bench.versions().await.len(), 10);
    let named = bench.roll_back(&json!({"etag": tags[11]}), &[]).await;
    assert_eq!(named.status, 200);
    assert_eq!(bench.sources().await[..2], ["v5", "v12*"]);

    // Nothing runs, but the versions stay; the newest is the one to go on with.
    assert_eq!(bench.server.delete(CODEC).await.status, 204);
    assert_eq!(bench.versions().await.len(), 10);
    let again = bench.roll_back(&Value::Null, &[]).await;
    assert_eq!(
        (again.status.as_u16(), &again.body["etag"]),
        (201, &json!(tags[4]))
    );

    let deleted = bench.server.delete("/v5/iot/x/products/p1").await;
    assert_eq!(deleted.status, 204);
    let id = ProductId::parse("p1").unwrap();
    let wait = async {
        while !bench.server.store.codec_versions(&id).unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(super::PATIENCE, wait).await.unwrap();
}

#[tokio::test]
async fn a_rollback_holds_to_what_an_upload_holds_to() {
    let bench = Bench::empty().await;
    let table = bench.server.send(
        Request::put(CODEC)
            .header("content-type", "application/toml")
            .body(Body::from(FLOW))
            .unwrap(),
    );
    let table = table.await.body["etag"].as_str().unwrap().to_owned();
    let script = bench.upload("v1").await;
    let cases = [
        (json!({"etag": table}), "if-match", "\"0000\"", 412),
        (json!({"etag": table}), "if-none-match", "*", 412),
        (json!({"etag": "00"}), "if-match", "*", 400),
        (json!({"etag": "0".repeat(64)}), "if-match", "*", 404),
        (json!({"tag": table}), "if-match", "*", 400),
        (json!({"etag": script}), "if-match", "*", 200),
    ];
    for (body, header, value, want) in cases {
        let answer = bench.roll_back(&body, &[(header, value)]).await;
        assert_eq!(
            answer.status, want,
            "{body} {header}: {value}: {:?}",
            answer.body
        );
        assert_eq!(bench.server.get(CODEC).await.body, "v1");
    }
    // The table does not fit the model any more.
    let model = json!({"service_capabilities": [{"service_id": "Other", "service_type": "Other",
        "properties": [{"property_name": "a", "data_type": "int", "method": "R"}]}]});
    let changed = bench.server.put("/v5/iot/x/products/p1", &model).await;
    assert_eq!(changed.status, 200, "{:?}", changed.body);
    let refused = bench.roll_back(&json!({"etag": table}), &[]).await;
    assert_eq!(refused.status, 422, "{:?}", refused.body);
    assert!(!refused.body["errors"].as_array().unwrap().is_empty());
    assert_eq!(bench.server.get(CODEC).await.body, "v1");
}

#[tokio::test]
async fn every_mistake_of_a_script_is_told_and_the_running_one_stays() {
    let bench = Bench::start().await;
    let refused = bench.put("a!b!", &[]).await;
    assert_eq!(refused.status, 422);
    let columns = refused.body["errors"].as_array().unwrap().iter();
    let columns: Vec<&Value> = columns.map(|error| &error["column"]).collect();
    assert_eq!(columns, [&json!(2), &json!(4)]);
    let no_text = Request::put(CODEC).header("content-type", "application/javascript");
    let no_text = no_text.body(Body::from(&b"\xff"[..])).unwrap();
    assert_eq!(bench.server.send(no_text).await.status, 422);
    assert_eq!(bench.server.get(CODEC).await.body, "v1");
    assert_eq!(bench.versions().await.len(), 1);
    let shown = bench.server.get(CODEC).await;
    assert_eq!(shown.header("content-type"), "text/javascript");
}

#[tokio::test]
async fn dry_runs_go_where_the_codec_is() {
    let mut bench = Bench::start().await;
    bench.serve();
    let decoded = bench
        .server
        .post(&format!("{CODEC}/decode"), &json!({"hex": "07"}))
        .await;
    assert_eq!(decoded.status, 200, "{:?}", decoded.body);
    let properties = &decoded.body["services"][0]["properties"];
    assert_eq!(properties, &json!({"volume": 7, "interval": 1}));
    let command = json!({"service_id": "Flow", "command_name": "SET_VALVE", "paras": {"open": 1},
        "mid": 9});
    let encoded = bench
        .server
        .post(&format!("{CODEC}/encode"), &command)
        .await;
    assert_eq!(encoded.body["hex"], "0109", "{:?}", encoded.body);
    // They don't count.
    let status = bench.server.get(&format!("{CODEC}/status")).await;
    assert_eq!(status.body["decoded"], 0);
}

#[tokio::test]
async fn the_status_tells_what_runs_and_how() {
    let mut bench = Bench::empty().await;
    let path = format!("{CODEC}/status");
    assert_eq!(bench.server.get(&path).await.status, 404);
    bench.server.device("n1").await;
    let etag = bench.upload("v1").await;
    for n in 0..3 {
        bench.report("p1_n1", &[n]).await;
        for _ in 0..2 {
            bench.asked().await.serve();
        }
    }
    bench.report("p1_n1", &[9]).await;
    let asked = bench.asked().await;
    assert!(matches!(asked.call, Call::Decode { .. }));
    asked.give(Err(CodecError::Limit {
        what: "50 ms".into(),
    }));
    bench.until_raw("p1_n1", 1).await;
    let status = bench.server.get(&path).await.body;
    assert_eq!(status["kind"], "script");
    assert_eq!(status["etag"], etag);
    assert_eq!(
        (&status["is_running"], &status["quarantined"]),
        (&json!(true), &Value::Null)
    );
    assert_eq!(status["quarantined_since"], Value::Null);
    assert_eq!(
        (&status["decoded"], &status["encoded"]),
        (&json!(3), &json!(0))
    );
    assert_eq!(status["failed"], json!({"limit": 1}));
    assert!(
        status["decode_us"]["p99"].as_f64().unwrap() > 0.0,
        "{status}"
    );
    // Another name changes nothing of that, another codec begins anew.
    let renamed = bench
        .server
        .put("/v5/iot/x/products/p1", &json!({"name": "Other"}))
        .await;
    assert_eq!(renamed.status, 200);
    assert_eq!(bench.server.get(&path).await.body["decoded"], 3);

    bench.upload("v99").await;
    let status = bench.server.get(&path).await.body;
    assert_eq!(
        (&status["decoded"], &status["decode_us"]),
        (&json!(0), &Value::Null)
    );
    assert_eq!(status["quarantined"], "5 strikes");
    assert_eq!(status["quarantined_since"], "2023-11-14T22:13:20.250Z");
    assert_eq!(status["is_running"], false);
    let release = format!("{CODEC}/release");
    assert_eq!(
        bench.server.call(Method::POST, &release, None).await.status,
        204
    );
    assert_eq!(
        bench.server.get(&path).await.body["quarantined"],
        Value::Null
    );
}

#[tokio::test]
async fn settings_and_model_reach_the_script() {
    let mut bench = Bench::start().await;
    bench.report("p1_n1", &[1]).await;
    let old = bench.asked().await;
    let settings = json!({"ts013_service": "Flow"});
    let put = bench
        .server
        .put("/v1/products/p1/settings", &settings)
        .await;
    assert_eq!(put.status, 200, "{:?}", put.body);
    // With other options it is another codec: it is asked anew.
    old.serve();
    let asked = bench.asked().await;
    assert!(matches!(asked.call, Call::Decode { .. }));
    asked.serve();
    bench.asked().await.serve();
    bench.until_read("p1_n1", 1).await;
}
