//! `…/tags`: bound, unbound, and found by.

use serde_json::{Value, json};

use crate::api::Server;

const TAGS: &str = "/v5/iot/x/tags";

fn bind(device: &str, tags: &[(&str, &str)]) -> Value {
    let tag = |(key, value): &(&str, &str)| json!({"tag_key": key, "tag_value": value});
    let tags: Vec<Value> = tags.iter().map(tag).collect();
    json!({"resource_type": "device", "resource_id": device, "tags": tags})
}

fn unbind(device: &str, keys: &[&str]) -> Value {
    json!({"resource_type": "device", "resource_id": device, "tag_keys": keys})
}

#[tokio::test]
async fn tags_are_bound_replaced_and_taken_away() {
    let server = Server::start().with_product().await;
    let device = server.device("n1").await;
    let one = format!("/v5/iot/x/devices/{device}");
    assert_eq!(server.get(&one).await.body["tags"], json!([]));
    let bind_url = format!("{TAGS}/bind-resource");
    let done = server
        .post(
            &bind_url,
            &bind(&device, &[("city", "北京"), ("floor", "1")]),
        )
        .await;
    assert_eq!((done.status.as_u16(), &done.body), (200, &Value::Null));
    server
        .post(&bind_url, &bind(&device, &[("floor", "2"), ("room", "")]))
        .await;
    let want = json!([{"tag_key": "city", "tag_value": "北京"}, {"tag_key": "floor", "tag_value": "2"},
                      {"tag_key": "room", "tag_value": ""}]);
    assert_eq!(server.get(&one).await.body["tags"], want);
    let list = server.get("/v5/iot/x/devices").await.body;
    assert_eq!(list["devices"][0]["tags"], want);
    let (name, event) = server.events().pop().unwrap();
    assert_eq!(name, "device.update");
    assert_eq!(
        event.pointer("/notify_data/body/tags"),
        Some(&want),
        "{event}"
    );

    let before = server.events().len();
    server
        .post(&bind_url, &bind(&device, &[("floor", "2")]))
        .await;
    let url = format!("{TAGS}/unbind-resource");
    assert_eq!(
        server
            .post(&url, &unbind(&device, &["nothing"]))
            .await
            .status,
        200
    );
    assert_eq!(server.events().len(), before, "the same again is no news");
    assert_eq!(
        server
            .post(&url, &unbind(&device, &["city", "room"]))
            .await
            .status,
        200
    );
    let left = json!([{"tag_key": "floor", "tag_value": "2"}]);
    assert_eq!(server.get(&one).await.body["tags"], left);
}

#[tokio::test]
async fn a_device_has_ten_tags_and_each_key_once() {
    let server = Server::start().with_product().await;
    let device = server.device("n1").await;
    let url = format!("{TAGS}/bind-resource");
    let keys: Vec<String> = (0..10).map(|i| format!("k{i}")).collect();
    let ten: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "v")).collect();
    assert_eq!(server.post(&url, &bind(&device, &ten)).await.status, 200);
    // Replacing is no eleventh.
    assert_eq!(
        server
            .post(&url, &bind(&device, &[("k3", "w")]))
            .await
            .status,
        200
    );
    let cases = [
        (
            bind(&device, &[("k10", "v")]),
            400,
            "tags: the device would have 11 tags, takes up to 10",
        ),
        (
            bind(&device, &[("k1", "a"), ("k2", "b"), ("k1", "c")]),
            400,
            "tags[2].tag_key: is given twice",
        ),
        (
            bind("nobody", &[("k1", "a")]),
            404,
            "device_id: there is no device nobody",
        ),
    ];
    let before = server
        .get(&format!("/v5/iot/x/devices/{device}"))
        .await
        .body;
    for (body, want_status, want) in cases {
        let answer = server.post(&url, &body).await;
        let (status, _, message) = answer.error();
        assert_eq!(status, want_status, "{message}");
        assert!(message.contains(want), "{message}");
    }
    let after = server
        .get(&format!("/v5/iot/x/devices/{device}"))
        .await
        .body;
    assert_eq!(after, before);
}

#[tokio::test]
async fn devices_are_found_by_one_of_their_tags() {
    let server = Server::start().with_product().await;
    for (node, tags) in [
        ("n1", vec![("city", "a")]),
        ("n2", vec![("city", "b"), ("floor", "1")]),
        ("n3", vec![("floor", "2")]),
        ("n4", vec![]),
    ] {
        let device = server.device(node).await;
        if !tags.is_empty() {
            let url = format!("{TAGS}/bind-resource");
            assert_eq!(server.post(&url, &bind(&device, &tags)).await.status, 200);
        }
    }
    let cases = [
        (
            "",
            json!([{"tag_key": "city", "tag_value": "a"}]),
            vec!["p1_n1"],
            1,
        ),
        ("", json!([{"tag_key": "city"}]), vec!["p1_n2", "p1_n1"], 2),
        (
            "",
            json!([{"tag_key": "city", "tag_value": "a"}, {"tag_key": "floor", "tag_value": "2"}]),
            vec!["p1_n3", "p1_n1"],
            2,
        ),
        (
            "?limit=1&offset=1",
            json!([{"tag_key": "city"}, {"tag_key": "floor"}]),
            vec!["p1_n2"],
            3,
        ),
        ("", json!([{"tag_key": "none"}]), vec![], 0),
    ];
    for (query, tags, want, count) in cases {
        let body = json!({"resource_type": "device", "tags": tags});
        let got = server
            .post(&format!("{TAGS}/query-resources{query}"), &body)
            .await
            .body;
        let ids: Vec<&str> = got["resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r["resource_id"].as_str().unwrap())
            .collect();
        assert_eq!(ids, want, "{query} {body}");
        assert_eq!(got["page"]["count"], count, "{query} {body}");
    }
    let body =
        json!({"resource_type": "device", "tags": [{"tag_key": "city"}, {"tag_key": "floor"}]});
    let url = format!("{TAGS}/query-resources?limit=2");
    let page = server.post(&url, &body).await.body;
    let marker = page["page"]["marker"].as_str().unwrap();
    let rest = server
        .post(&format!("{url}&marker={marker}"), &body)
        .await
        .body;
    assert_eq!(rest["resources"], json!([{"resource_id": "p1_n1"}]));
}
