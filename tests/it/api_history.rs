//! `/v1/devices/…`: history and trace.

use serde_json::json;
use strait::base::ids::DeviceId;
use strait::base::time::Timestamp;
use strait::store::records::{HistoryRecord, RawRecord};
use strait::store::{Change, Store};

use crate::api::{NOW, Server};

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn seq_of(server: &Server, id: &str) -> u64 {
    let id = DeviceId::parse(id).unwrap();
    server.store.device(&id).unwrap().unwrap().seq
}

/// Five uplinks a minute apart, each with two services.
async fn with_history() -> Server {
    let server = Server::start().with_product().await;
    let id = server.device("n1").await;
    let device_seq = seq_of(&server, &id);
    let changes = (0..5_u64).map(|i| {
        let received_at = at(NOW).plus_s(60 * i);
        let services = json!([
            {"service_id": "Flow", "properties": {"volume": i}, "event_time": received_at.compact()},
            {"service_id": "Battery", "properties": {"level": 90 - i}},
        ]);
        let record = HistoryRecord {
            received_at,
            services: services.to_string(),
        };
        Change::AppendHistory {
            device_seq,
            record: Box::new(record),
        }
    });
    server.write(changes.collect()).await;
    server
}

#[tokio::test]
async fn history_is_newest_first_and_pages() {
    let server = with_history().await;
    let path = "/v1/devices/p1_n1/history";
    let short = server.get(&format!("{path}?limit=3")).await;
    insta::assert_json_snapshot!("history", short.body);
    let whole = server.get(&format!("{path}?limit=50")).await.body;
    assert_eq!(whole["page"], json!({"count": 10, "marker": null}));
    for limit in [1, 3, 4, 10] {
        let mut seen = Vec::new();
        let mut url = format!("{path}?limit={limit}");
        // Bounded: a marker that leads nowhere must fail, not hang.
        for _ in 0..20 {
            let page = server.get(&url).await.body;
            let entries = page["history"].as_array().unwrap();
            assert_eq!(page["page"]["count"], entries.len());
            seen.extend(entries.clone());
            let Some(marker) = page["page"]["marker"].as_str() else {
                break;
            };
            url = format!("{path}?limit={limit}&marker={marker}");
        }
        assert_eq!(&seen, whole["history"].as_array().unwrap(), "limit {limit}");
    }
    let cases = [
        ("service_id=Battery", 5),
        ("service_id=None", 0),
        ("from=20260301T120300Z", 4),
        ("to=20260301T120100Z", 2),
        (
            "from=20260301T120100Z&to=20260301T120200Z&service_id=Flow",
            1,
        ),
        ("from=20260301T120100Z&to=20260301T120100Z", 0),
    ];
    for (query, count) in cases {
        let got = server.get(&format!("{path}?{query}&limit=50")).await;
        assert_eq!(got.body["page"]["count"], count, "{query}: {:?}", got.body);
    }
}

#[tokio::test]
async fn history_says_what_it_takes() {
    let server = Server::start().with_product().await;
    server.device("n1").await;
    let cases = [
        ("limit=0", "IOTDA.000017", "limit: got \"0\""),
        (
            "limit=51",
            "IOTDA.000017",
            "limit: got \"51\", takes a whole number from 1 to 50",
        ),
        ("from=x", "IOTDA.000009", "from: got \"x\""),
        (
            "from=20260302T000000Z&to=20260301T000000Z",
            "IOTDA.000010",
            "from: is later than to",
        ),
        (
            "marker=zz",
            "IOTDA.000018",
            "marker: got \"zz\", takes the marker of an earlier page",
        ),
        (
            "service_id=a%3Cb",
            "IOTDA.000006",
            "service_id: has the character '<'",
        ),
    ];
    for (query, want_code, want) in cases {
        let answer = server
            .get(&format!("/v1/devices/p1_n1/history?{query}"))
            .await;
        let (status, code, message) = answer.error();
        assert_eq!((status, code), (400, want_code), "{query}");
        assert!(message.contains(want), "{query}: {message}");
    }
    let nobody = server.get("/v1/devices/nobody/history").await;
    assert_eq!(nobody.error().1, "IOTDA.014000");
}

#[tokio::test]
async fn a_trace_shows_what_could_not_be_decoded() {
    let server = Server::start().with_product().await;
    let id = server.device("n1").await;
    let path = format!("/v1/devices/{id}/trace");
    let record = RawRecord {
        received_at: at(NOW),
        payload: vec![0x01, 0x00],
        kind: "truncated".into(),
        reason: "Flow.volume needs 4 bytes at offset 1, 1 are left".into(),
    };
    let device_seq = seq_of(&server, &id);
    server
        .write(vec![Change::KeepRaw {
            device_seq,
            record: Box::new(record),
        }])
        .await;
    insta::assert_json_snapshot!("trace", server.get(&path).await.body);

    let on = server.put(&path, &json!({"enabled": true})).await;
    assert_eq!(
        (on.status.as_u16(), on.body),
        (200, json!({"enabled": true, "end_time": null}))
    );
    assert_eq!(server.get(&path).await.body["enabled"], true);
    server.put(&path, &json!({"enabled": false})).await;
    assert_eq!(server.get(&path).await.body["enabled"], false);
    let cases = [
        (json!({}), "enabled: is missing, takes true or false"),
        (json!({"enabled": "on"}), "enabled: got text"),
        (
            json!({"enabled": true, "duration_s": 86_401}),
            "duration_s: got 86401, takes a whole number from 1 to 86400",
        ),
        (
            json!({"enabled": false, "duration_s": 60}),
            "duration_s: goes with \"enabled\": true alone",
        ),
        (
            json!({"enabled": true, "depth": 1}),
            "depth: is not a field here",
        ),
    ];
    for (body, want) in cases {
        let answer = server.put(&path, &body).await;
        assert_eq!(answer.status, 400);
        assert!(answer.error().2.contains(want), "{}", answer.error().2);
    }
    assert_eq!(server.get(&format!("{path}?limit=0")).await.status, 400);
    let nobody = server
        .put("/v1/devices/nobody/trace", &json!({"enabled": true}))
        .await;
    assert_eq!(nobody.status, 404);
}

#[tokio::test]
async fn ten_devices_are_traced_and_no_more() {
    let server = Server::start().with_product().await;
    for i in 0..11 {
        let id = server.device(&format!("n{i}")).await;
        let path = format!("/v1/devices/{id}/trace");
        let answer = server.put(&path, &json!({"enabled": true})).await;
        assert_eq!(answer.status, if i < 10 { 200 } else { 400 }, "{i}");
    }
    server.delete("/v5/iot/x/devices/p1_n0").await;
    let last = server
        .put("/v1/devices/p1_n10/trace", &json!({"enabled": true}))
        .await;
    assert_eq!(last.status, 200);
}
