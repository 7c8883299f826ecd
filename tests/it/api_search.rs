//! `…/search/query-devices`: what each condition finds, in which order, and what of it is shown.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use strait::base::time::Timestamp;
use strait::store::records::StateRecord;

use crate::api::{Server, meter_product, with};

const PATH: &str = "/v5/iot/x/search/query-devices";

/// Six devices, one a minute: d0, d2, d4 of p1, the others of p2; d3 is behind d2; d4 is online,
/// d5 frozen, d1 has versions; d0 and d1 have tags; d2 is in a group, whose id comes with the server.
async fn fleet() -> (Server, String) {
    let server = Server::start().with_product().await;
    let other = with(&meter_product(), "/product_id", Some(json!("p2")));
    server.post("/v5/iot/x/products", &other).await;
    for i in 0..6 {
        let mut body = json!({
            "node_id": format!("node{i}"), "device_id": format!("d{i}"),
            "product_id": format!("p{}", i % 2 + 1), "device_name": format!("House'{}", i % 3),
        });
        if i == 3 {
            body["gateway_id"] = json!("d1");
        }
        let made = server.post("/v5/iot/x/devices", &body).await;
        assert_eq!(made.status, 201, "{:?}", made.body);
        server.clock.advance(Duration::from_secs(60));
    }
    for (id, key, value) in [
        ("d0", "city", "a"),
        ("d0", "floor", "1"),
        ("d1", "city", "b"),
    ] {
        let body = json!({"resource_type": "device", "resource_id": id,
                          "tags": [{"tag_key": key, "tag_value": value}]});
        assert_eq!(
            server
                .post("/v5/iot/x/tags/bind-resource", &body)
                .await
                .status,
            200
        );
    }
    let made = server
        .post("/v5/iot/x/device-group", &json!({"name": "g"}))
        .await
        .body;
    let group = made["group_id"].as_str().unwrap().to_owned();
    let url = format!("/v5/iot/x/device-group/{group}/action?action_id=addDevice&device_id=d2");
    assert_eq!(server.post(&url, &json!({})).await.status, 200);
    server.post("/v5/iot/x/devices/d5/freeze", &json!({})).await;
    let now = Timestamp::parse("20260301T120500Z");
    let heard = StateRecord {
        version: 1,
        last_seen_at: now,
        activated_at: now,
        ..StateRecord::default()
    };
    server.write_state("d4", heard.clone()).await;
    server.write_state("d5", heard).await;
    let versions = StateRecord {
        version: 1,
        fw_version: Some("F1".into()),
        sw_version: Some("S1".into()),
        ..StateRecord::default()
    };
    server.write_state("d1", versions).await;
    (server, group)
}

fn ids(body: &Value) -> Vec<&str> {
    let list = body["devices"].as_array().unwrap();
    list.iter()
        .map(|d| d["device_id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn every_field_and_test_finds_what_it_says() {
    let (server, group) = fleet().await;
    let marker = server
        .post(
            PATH,
            &json!({"sql": "select * from device where device_id='d2'"}),
        )
        .await;
    let marker = marker.body["devices"][0]["marker"]
        .as_str()
        .unwrap()
        .to_owned();
    let cases = [
        ("", vec!["d5", "d4", "d3", "d2", "d1", "d0"]),
        ("where device_id = 'd3'", vec!["d3"]),
        ("where device_id in ('d3','d9','d0')", vec!["d3", "d0"]),
        (
            "where device_id not in ('d3','d0','d5')",
            vec!["d4", "d2", "d1"],
        ),
        ("where product_id = 'p1'", vec!["d4", "d2", "d0"]),
        ("where product_id != 'p1'", vec!["d5", "d3", "d1"]),
        (
            "where app_id = 'default' and product_id = 'p1'",
            vec!["d4", "d2", "d0"],
        ),
        ("where app_id = 'other'", vec![]),
        ("where node_id = 'node4'", vec!["d4"]),
        (
            "where node_id like 'node%' and product_id <> 'p2'",
            vec!["d4", "d2", "d0"],
        ),
        ("where device_name = 'House''1'", vec!["d4", "d1"]),
        ("where device_name like 'House%' limit 2", vec!["d5", "d4"]),
        ("where device_name like 'ouse%'", vec![]),
        ("where gateway_id = 'd1'", vec!["d3", "d1"]),
        ("where node_type = 'ENDPOINT'", vec!["d3"]),
        (
            "where node_type = 'GATEWAY' and product_id = 'p2'",
            vec!["d5", "d1"],
        ),
        ("where node_type = 'UNKNOWN'", vec![]),
        ("where status = 'ONLINE'", vec!["d4"]),
        ("where status = 'FROZEN'", vec!["d5"]),
        ("where status = 'INACTIVE'", vec!["d3", "d2", "d1", "d0"]),
        ("where status in ('ONLINE','FROZEN')", vec!["d5", "d4"]),
        ("where status = 'OFFLINE' or status = 'ABNORMAL'", vec![]),
        ("where fw_version = 'F1'", vec!["d1"]),
        (
            "where sw_version != 'S1' and product_id = 'p2'",
            vec!["d5", "d3"],
        ),
        ("where tag_key = 'city'", vec!["d1", "d0"]),
        ("where tag_key = 'city' and tag_value = 'b'", vec!["d1"]),
        ("where tag_key = 'city' and tag_value != 'b'", vec!["d0"]),
        (
            "where tag_key='city' and tag_value='a' and tag_key='floor' and tag_value='1'",
            vec!["d0"],
        ),
        ("where tag_key='city' and tag_value='1'", vec![]),
        ("where tag_value = '1'", vec!["d0"]),
        (
            "where tag_value != '1' and product_id = 'p1'",
            vec!["d4", "d2"],
        ),
        ("where tag_value = 'b' and tag_key = 'city'", vec!["d1"]),
        ("where tag_key like 'ci%'", vec!["d1", "d0"]),
        (
            "where tag_key like 'fl%' and tag_value like '1%'",
            vec!["d0"],
        ),
        ("where tag_key like 'fl%' and tag_value = 'a'", vec![]),
        ("where tag_key = 'city' and tag_value like 'b%'", vec!["d1"]),
        (
            "where tag_key = 'city' and (tag_value = 'a' or tag_value like 'b%')",
            vec!["d1", "d0"],
        ),
        (
            "where (tag_key = 'floor' or tag_key = 'none') and tag_value = 'a'",
            vec![],
        ),
        (
            "where tag_key != 'city' and product_id = 'p2'",
            vec!["d5", "d3"],
        ),
        ("where create_time > '20260301T120400Z'", vec!["d5"]),
        ("where create_time < '2026-03-01T12:01:00.000Z'", vec!["d0"]),
        ("where create_time = '20260301T120200Z'", vec!["d2"]),
        (
            "where (device_id = 'd0' or device_id = 'd1') and tag_key = 'city'",
            vec!["d1", "d0"],
        ),
        (
            "where device_id = 'd0' or device_id = 'd1' and tag_key = 'none'",
            vec!["d0"],
        ),
        ("order by marker limit 2", vec!["d0", "d1"]),
        ("order by marker asc limit 1,2", vec!["d1", "d2"]),
        ("order by marker desc limit 4,10", vec!["d1", "d0"]),
        ("limit 0", vec![]),
    ];
    let grouped = format!("where group_id = '{group}'");
    let not_grouped = format!("where group_id != '{group}' and product_id = 'p1'");
    let (after, before) = (
        format!("where marker > '{marker}'"),
        format!("where marker < '{marker}'"),
    );
    let same = format!("where marker = '{marker}'");
    let more = [
        (grouped.as_str(), vec!["d2"]),
        (not_grouped.as_str(), vec!["d4", "d0"]),
        ("where group_id = 'nowhere'", vec![]),
        (after.as_str(), vec!["d5", "d4", "d3"]),
        (before.as_str(), vec!["d1", "d0"]),
        (same.as_str(), vec!["d2"]),
    ];
    for (rest, want) in cases.into_iter().chain(more) {
        let sql = format!("select * from device {rest}");
        let got = server.post(PATH, &json!({"sql": sql})).await;
        assert_eq!(got.status, 200, "{sql}: {:?}", got.body);
        assert_eq!(ids(&got.body), want, "{sql}");
        if !rest.contains("limit") {
            assert_eq!(got.body["count"], want.len(), "{sql}");
        }
    }
}

#[tokio::test]
async fn all_columns_or_those_asked_for_or_a_count() {
    let (server, group) = fleet().await;
    let ask = async |sql: &str| server.post(PATH, &json!({"sql": sql})).await.body;
    let all = ask("select * from device where device_id = 'd2'").await;
    let device = &all["devices"][0];
    assert_eq!(device["groups"], json!([group]));
    let tags = ask("select * from device where device_id = 'd1'").await;
    assert_eq!(
        tags["devices"][0]["tags"],
        json!([{"tag_key": "city", "tag_value": "b"}])
    );
    let names: Vec<&String> = device.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        [
            "app_id",
            "app_name",
            "device_id",
            "node_id",
            "gateway_id",
            "device_name",
            "node_type",
            "fw_version",
            "sw_version",
            "device_sdk_version",
            "product_id",
            "product_name",
            "groups",
            "status",
            "tags",
            "modules",
            "marker"
        ]
    );
    let some = ask("select device_id, status from device where device_id = 'd2'").await;
    let some = some["devices"][0].as_object().unwrap().clone();
    let shown: Vec<&String> = some
        .iter()
        .filter(|(_, v)| !v.is_null())
        .map(|(k, _)| k)
        .collect();
    assert_eq!(shown, ["device_id", "status"]);
    assert_eq!(some.len(), names.len());
    for count in ["count(*)", "COUNT( 1 )"] {
        let sql = format!("select {count} from device where product_id = 'p1'");
        let got = server.post(PATH, &json!({"sql": sql})).await.body;
        assert_eq!(got, json!({"devices": [], "count": 3}), "{sql}");
    }
}

async fn group(server: &Server, body: Value) -> String {
    let made = server.post("/v5/iot/x/device-group", &body).await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    made.body["group_id"].as_str().unwrap().to_owned()
}

/// Devices keep the number of a group that is gone; nobody is found by it, counted or shown.
#[tokio::test]
async fn searches_are_right_while_groups_go() {
    let server = Server::start().with_product().await;
    for name in ["n0", "n1", "n2"] {
        server.device(name).await;
    }
    let (all, members) = (["p1_n2", "p1_n1", "p1_n0"], ["p1_n1", "p1_n0"]);
    let (mut gone, mut ruled) = (Vec::new(), Vec::new());
    // More rounds than a device may be in groups.
    for round in 0..12 {
        let one = group(&server, json!({"name": "again"})).await;
        for (name, test) in [("in", "="), ("out", "!=")] {
            let rule = format!("group_id {test} '{one}'");
            let body = json!({"name": format!("{name}{round}"), "group_type": "DYNAMIC",
                              "dynamic_group_rule": rule});
            ruled.push(group(&server, body).await);
        }
        let (of_rule, not_of_rule) = (&ruled[ruled.len() - 2], &ruled[ruled.len() - 1]);
        let found = async |test: &str, id: &str| {
            let sql = format!("select * from device where group_id {test} '{id}'");
            let got = server.post(PATH, &json!({"sql": sql})).await;
            assert_eq!(got.status, 200, "{:?}", got.body);
            let found: Vec<String> = ids(&got.body).into_iter().map(str::to_owned).collect();
            assert_eq!(got.body["count"], found.len(), "{sql}");
            found
        };
        assert!(found("=", &one).await.is_empty(), "a new group is empty");
        for device in members {
            let url = format!("/v5/iot/x/device-group/{one}/action");
            let url = format!("{url}?action_id=addDevice&device_id={device}");
            let added = server.post(&url, &json!({})).await;
            assert_eq!(added.status, 200, "round {round}: {:?}", added.body);
        }
        assert_eq!(found("=", &one).await, members);
        assert_eq!(found("=", of_rule).await, members);
        assert_eq!(found("=", not_of_rule).await, ["p1_n2"]);

        let url = format!("/v5/iot/x/device-group/{one}");
        let search = async {
            for _ in 0..8 {
                let at_once = found("=", &one).await;
                assert!(at_once == members || at_once.is_empty(), "{at_once:?}");
                tokio::task::yield_now().await;
            }
        };
        let (deleted, ()) = tokio::join!(server.delete(&url), search);
        assert_eq!(deleted.status, 204, "{:?}", deleted.body);
        gone.push(one.clone());
        for id in [&one, of_rule] {
            assert!(found("=", id).await.is_empty());
            assert_eq!(found("!=", id).await, all);
        }
        assert_eq!(found("=", not_of_rule).await, all);
    }
    // As it was after a restart.
    let server = Server::over(Arc::clone(&server.store));
    let list = gone.join("','");
    let sql = format!("select * from device where group_id in ('{list}')");
    assert_eq!(
        server.post(PATH, &json!({"sql": sql})).await.body["count"],
        0
    );
    let sql = format!("select * from device where group_id not in ('{list}')");
    let body = server.post(PATH, &json!({"sql": sql})).await.body;
    assert_eq!(ids(&body), all);
    for device in body["devices"].as_array().unwrap() {
        let shown = device["groups"].as_array().unwrap();
        assert_eq!(shown.len(), 12, "those of the rules with !=: {shown:?}");
        assert!(gone.iter().all(|id| !shown.contains(&json!(id))));
    }
}

/// The rule of each dynamic group is part of the search, so few are named.
#[tokio::test]
async fn a_search_names_ten_dynamic_groups() {
    let server = Server::start().with_product().await;
    server.device("n0").await;
    let mut all = Vec::new();
    for n in 0..11 {
        let body = json!({"name": format!("g{n}"), "group_type": "DYNAMIC",
                          "dynamic_group_rule": "tag_value != 'x' and node_id like 'n%'"});
        all.push(group(&server, body).await);
    }
    let ask = async |ids: &[String]| {
        let sql = format!(
            "select * from device where group_id in ('{}')",
            ids.join("','")
        );
        server.post(PATH, &json!({"sql": sql})).await
    };
    assert_eq!(ask(&all[..10]).await.body["count"], 1);
    let refused = ask(&all).await;
    let (status, _, message) = refused.error();
    assert_eq!(status, 400);
    assert!(
        message.contains("sql: group_id names 11 dynamic groups, takes 10"),
        "{message}"
    );
}
