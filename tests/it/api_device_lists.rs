//! Lists of devices: filters, paging, counts.

use std::time::Duration;

use serde_json::{Value, json};

use crate::api::{Server, with};

const PATH: &str = "/v5/iot/x/devices";

/// Twelve devices, one a minute: even ones of p1, odd ones of p2; d3 is below d2, d5 below d3.
async fn fleet() -> Server {
    let server = Server::start().with_product().await;
    let other = with(
        &crate::api::meter_product(),
        "/product_id",
        Some(json!("p2")),
    );
    server.post("/v5/iot/x/products", &other).await;
    for i in 0..12 {
        let mut body = json!({
            "node_id": format!("n{i}"), "device_id": format!("d{i}"),
            "product_id": format!("p{}", i % 2 + 1), "device_name": format!("Name{}", i % 3),
        });
        match i {
            3 => body["gateway_id"] = json!("d2"),
            5 => body["gateway_id"] = json!("d3"),
            _ => {}
        }
        let made = server.post(PATH, &body).await;
        assert_eq!(made.status, 201, "{:?}", made.body);
        server.clock.advance(Duration::from_secs(60));
    }
    server
}

fn ids(body: &Value) -> Vec<&str> {
    let list = body["devices"].as_array().unwrap();
    list.iter()
        .map(|d| d["device_id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn lists_filter_and_count() {
    let server = fleet().await;
    let cases = [
        ("limit=3", vec!["d11", "d10", "d9"], 12),
        ("limit=2&offset=9", vec!["d2", "d1"], 12),
        ("product_id=p2&limit=2", vec!["d11", "d9"], 6),
        ("product_id=p2&offset=5", vec!["d1"], 6),
        ("product_id=p9", vec![], 0),
        ("node_id=n4", vec!["d4"], 1),
        ("node_id=n4&product_id=p2", vec![], 0),
        ("node_id=n4&offset=1", vec![], 1),
        ("node_id=n99", vec![], 0),
        ("device_name=Name1", vec!["d10", "d7", "d4", "d1"], 4),
        ("device_name=Name1&limit=1&offset=1", vec!["d7"], 4),
        ("device_name=Name1&product_id=p1", vec!["d10", "d4"], 2),
        ("device_name=Name", vec![], 0),
        ("app_id=default&limit=2&offset=9", vec!["d2", "d1"], 12),
        ("app_id=a2", vec![], 0),
        ("gateway_id=d2", vec!["d3", "d2"], 2),
        (
            "gateway_id=d2&is_cascade_query=true",
            vec!["d5", "d3", "d2"],
            3,
        ),
        ("gateway_id=d2&is_cascade_query=false", vec!["d3", "d2"], 2),
        ("start_time=20260301T121000Z", vec!["d11", "d10"], 2),
        ("end_time=20260301T120100Z", vec!["d1", "d0"], 2),
        (
            "start_time=20260301T120300Z&end_time=20260301T120300Z",
            vec!["d3"],
            1,
        ),
    ];
    for (query, want, count) in cases {
        let got = server.get(&format!("{PATH}?{query}")).await;
        assert_eq!(ids(&got.body), want, "{query}: {:?}", got.body);
        assert_eq!(got.body["page"]["count"], count, "{query}");
    }
    let one = server.get(&format!("{PATH}?node_id=n3")).await.body;
    assert_eq!(one["devices"][0]["node_type"], "ENDPOINT");
    assert!(one["devices"][0].get("auth_info").is_none());
    insta::assert_json_snapshot!("device_list", one);
}

#[tokio::test]
async fn markers_lead_through_every_list() {
    let server = fleet().await;
    for filter in [
        "",
        "product_id=p1&",
        "device_name=Name2&",
        "start_time=20260301T120000Z&",
    ] {
        let whole = server.get(&format!("{PATH}?{filter}limit=50")).await.body;
        let mut seen: Vec<String> = Vec::new();
        let mut marker = "f".repeat(24);
        // Bounded: a marker that leads nowhere must fail, not hang.
        for _ in 0..20 {
            let url = format!("{PATH}?{filter}limit=5&marker={marker}");
            let page = server.get(&url).await.body;
            assert_eq!(page["page"]["count"], whole["page"]["count"]);
            seen.extend(ids(&page).into_iter().map(str::to_owned));
            match page["page"]["marker"].as_str() {
                Some(next) => marker = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(seen, ids(&whole), "{filter}");
    }
}

#[tokio::test]
async fn counts_follow_deletions() {
    let server = fleet().await;
    server.delete(&format!("{PATH}/d4")).await;
    assert_eq!(server.get(PATH).await.body["page"]["count"], 11);
    let p1 = server.get(&format!("{PATH}?product_id=p1")).await;
    assert_eq!(p1.body["page"]["count"], 5);
    // And a restart counts what is there.
    let again = Server::over(std::sync::Arc::clone(&server.store));
    assert_eq!(again.get(PATH).await.body["page"]["count"], 11);
}

#[tokio::test]
async fn bad_filters_say_what_they_take() {
    let server = Server::start();
    let cases = [
        (
            "is_cascade_query=yes",
            "IOTDA.000006",
            "is_cascade_query: got \"yes\", takes true or false",
        ),
        (
            "start_time=yesterday",
            "IOTDA.000009",
            "start_time: got \"yesterday\", takes a time like",
        ),
        (
            "start_time=20260302T000000Z&end_time=20260301T000000Z",
            "IOTDA.000010",
            "start_time: is later than end_time",
        ),
        (
            "node_id=a.b",
            "IOTDA.000006",
            "node_id: has the character '.'",
        ),
        (
            "limit=51",
            "IOTDA.000017",
            "limit: got \"51\", takes a whole number from 1 to 50",
        ),
        ("marker=xyz", "IOTDA.000018", "marker: got \"xyz\""),
    ];
    for (query, want_code, want) in cases {
        let answer = server.get(&format!("{PATH}?{query}")).await;
        let (status, code, message) = answer.error();
        assert_eq!((status, code), (400, want_code), "{query}");
        assert!(message.contains(want), "{query}: {message}");
    }
}
