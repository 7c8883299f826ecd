//! `…/device-group`: a group's life, who is in it, lists, and dynamic groups.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::Server;

const PATH: &str = "/v5/iot/x/device-group";

async fn group(server: &Server, body: Value) -> String {
    let made = server.post(PATH, &body).await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    made.body["group_id"].as_str().unwrap().to_owned()
}

async fn act(server: &Server, group: &str, action: &str, device: &str) -> (u16, String) {
    let url = format!("{PATH}/{group}/action?action_id={action}&device_id={device}");
    let answer = server.post(&url, &json!({})).await;
    let (status, _, message) = answer.error();
    assert!(status != 200 || answer.body.is_null(), "{:?}", answer.body);
    (status, message.to_owned())
}

fn texts<'a>(body: &'a Value, list: &str, field: &str) -> Vec<&'a str> {
    let items = body[list].as_array().unwrap();
    items
        .iter()
        .map(|item| item[field].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_group_lives() {
    let server = Server::start().with_product().await;
    let made = server
        .post(PATH, &json!({"name": "g", "description": "north"}))
        .await;
    assert_eq!(made.status, 201);
    let id = made.body["group_id"].as_str().unwrap().to_owned();
    assert!(
        id.len() <= 36 && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'),
        "{id}"
    );
    let want = json!({"group_id": id, "name": "g", "description": "north",
                      "super_group_id": null, "group_type": "STATIC", "dynamic_group_rule": null});
    assert_eq!(made.body, want);
    let one = format!("{PATH}/{id}");
    assert_eq!(server.get(&one).await.body, want);
    let taken = server.post(PATH, &json!({"name": "g"})).await;
    assert_eq!(taken.error().0, 400);
    assert!(
        taken.error().2.starts_with("name: there is a group \"g\""),
        "{:?}",
        taken.body
    );
    // Without a name it has its id for one.
    let unnamed = server.post(PATH, &json!({})).await.body;
    assert_eq!(unnamed["name"], unnamed["group_id"]);

    let below = group(&server, json!({"name": "below", "super_group_id": id})).await;
    assert_eq!(
        server.get(&format!("{PATH}/{below}")).await.body["super_group_id"],
        id
    );
    let refused = server.delete(&one).await;
    assert_eq!(
        refused.error().2,
        "group_id: the group has groups below it, delete them first"
    );
    let changed = server.put(&one, &json!({"description": "south"})).await;
    assert_eq!(
        (&changed.body["name"], &changed.body["description"]),
        (&json!("g"), &json!("south"))
    );
    let restarted = Server::over(Arc::clone(&server.store));
    assert_eq!(restarted.get(&one).await.body, changed.body);

    assert_eq!(server.delete(&format!("{PATH}/{below}")).await.status, 204);
    assert_eq!(server.delete(&one).await.status, 204);
    for gone in [server.get(&one).await, server.delete(&one).await] {
        assert_eq!(gone.error().0, 404, "{:?}", gone.body);
    }
    // Its name is free again.
    group(&server, json!({"name": "g"})).await;
}

#[tokio::test]
async fn levels_spaces_and_unknown_things_are_refused() {
    let server = Server::start().with_product().await;
    let mut above = group(&server, json!({"name": "l1"})).await;
    for level in 2..=5 {
        above = group(
            &server,
            json!({"name": format!("l{level}"), "super_group_id": above}),
        )
        .await;
    }
    let space = server
        .post("/v5/iot/x/apps", &json!({"app_name": "other"}))
        .await;
    let space = space.body["app_id"].as_str().unwrap().to_owned();
    let elsewhere = group(&server, json!({"name": "l1", "app_id": space})).await;
    let device = server.device("n1").await;
    let dynamic = json!({"group_type": "DYNAMIC", "dynamic_group_rule": "node_id = 'n1'"});
    let dynamic = group(&server, dynamic).await;
    let cases = [
        (
            json!({"name": "l6", "super_group_id": above}),
            400,
            "is at level 5 of 5 already",
        ),
        (
            json!({"super_group_id": elsewhere}),
            400,
            "super_group_id: there is no group",
        ),
        (
            json!({"super_group_id": "f00"}),
            400,
            "super_group_id: there is no group f00",
        ),
        (
            json!({"super_group_id": dynamic}),
            400,
            "is dynamic, takes a static group",
        ),
        (
            json!({"app_id": "nowhere"}),
            403,
            "app_id: there is no resource space nowhere",
        ),
        (
            json!({"group_type": "DYNAMIC"}),
            400,
            "dynamic_group_rule: is missing, a DYNAMIC group",
        ),
        (
            json!({"dynamic_group_rule": "node_id = 'a'"}),
            400,
            "a STATIC group takes none",
        ),
        (
            json!({"group_type": "DYNAMIC", "dynamic_group_rule": "node_id = a"}),
            400,
            "dynamic_group_rule: at character 11: found a, takes a text in single quotes",
        ),
        (
            json!({"group_type": "DYNAMIC", "dynamic_group_rule": format!("group_id = '{dynamic}'")}),
            400,
            "is dynamic, a rule takes static groups",
        ),
        (
            json!({"group_type": "DYNAMIC", "dynamic_group_rule": "node_id = 'a'",
                   "super_group_id": above}),
            400,
            "super_group_id: a dynamic group takes none",
        ),
    ];
    let count = server.app.groups.list().len();
    for (body, want_status, want) in cases {
        let answer = server.post(PATH, &body).await;
        let (status, _, message) = answer.error();
        assert_eq!(status, want_status, "{body}: {message}");
        assert!(message.contains(want), "{body}: {message}");
    }
    assert_eq!(server.app.groups.list().len(), count);
    let (status, message) = act(&server, &elsewhere, "addDevice", &device).await;
    assert_eq!(status, 400);
    assert!(
        message.contains("belongs to the resource space default"),
        "{message}"
    );
    for action in ["addDevice", "removeDevice"] {
        let (status, message) = act(&server, &dynamic, action, &device).await;
        assert_eq!(status, 400, "{message}");
        assert!(message.contains("its rule alone says"), "{message}");
        assert_eq!(act(&server, &above, action, "nobody").await.0, 404);
        assert_eq!(act(&server, "f00", action, &device).await.0, 404);
    }
    // The groups of a space go with it.
    assert_eq!(
        server
            .delete(&format!("/v5/iot/x/apps/{space}"))
            .await
            .status,
        204
    );
    assert_eq!(server.get(&format!("{PATH}/{elsewhere}")).await.status, 404);
}

#[tokio::test]
async fn members_come_and_go() {
    let server = Server::start().with_product().await;
    let mut devices = Vec::new();
    for i in 0..5 {
        devices.push(server.device(&format!("n{i}")).await);
    }
    let all = group(&server, json!({"name": "all"})).await;
    let some = group(&server, json!({"name": "some"})).await;
    for device in &devices {
        assert_eq!(act(&server, &all, "addDevice", device).await.0, 200);
    }
    let before = server.events().len();
    assert_eq!(act(&server, &some, "addDevice", &devices[1]).await.0, 200);
    assert_eq!(act(&server, &some, "addDevice", &devices[1]).await.0, 200);
    let events = server.events();
    assert_eq!(events.len(), before + 1, "the same again is no news");
    assert_eq!(events[before].0, "device.update");

    let page = server
        .get(&format!("{PATH}/{all}/devices?limit=2"))
        .await
        .body;
    assert_eq!(texts(&page, "devices", "node_id"), ["n4", "n3"]);
    assert_eq!(page["page"]["count"], 5);
    let first = &page["devices"][0];
    assert_eq!(
        *first,
        json!({"device_id": "p1_n4", "node_id": "n4", "device_name": null,
                              "product_id": "p1"})
    );
    let marker = page["page"]["marker"].as_str().unwrap();
    let url = format!("{PATH}/{all}/devices?limit=2&offset=1&marker={marker}");
    let page = server.get(&url).await.body;
    assert_eq!(texts(&page, "devices", "node_id"), ["n1", "n0"]);

    let of = |device: &str| format!("/v5/iot/x/devices/{device}/list-device-group");
    let groups = server.post(&of(&devices[1]), &json!({})).await.body;
    assert_eq!(texts(&groups, "device_groups", "name"), ["some", "all"]);
    assert_eq!(groups.as_object().unwrap().len(), 1);
    assert_eq!(act(&server, &all, "removeDevice", &devices[1]).await.0, 200);
    assert_eq!(act(&server, &all, "removeDevice", &devices[1]).await.0, 200);
    server
        .delete(&format!("/v5/iot/x/devices/{}", devices[2]))
        .await;
    let page = server.get(&format!("{PATH}/{all}/devices")).await.body;
    assert_eq!(texts(&page, "devices", "node_id"), ["n4", "n3", "n0"]);

    // A restart counts what is there, and a deleted group has no members.
    let server = Server::over(Arc::clone(&server.store));
    let page = server.get(&format!("{PATH}/{all}/devices")).await.body;
    assert_eq!(page["page"]["count"], 3);
    assert_eq!(server.delete(&format!("{PATH}/{some}")).await.status, 204);
    let groups = server.post(&of(&devices[1]), &json!({})).await.body;
    assert_eq!(groups["device_groups"], json!([]));
    // Made again, a device is in none of its former groups.
    let again = server.device("n2").await;
    let groups = server.post(&of(&again), &json!({})).await.body;
    assert_eq!(groups["device_groups"], json!([]));
}

#[tokio::test]
async fn lists_filter_and_page() {
    let server = Server::start().with_product().await;
    for i in 0..6 {
        let body = match i % 2 {
            0 => json!({"name": format!("g{i}")}),
            _ => json!({"name": format!("g{i}"), "group_type": "DYNAMIC",
                        "dynamic_group_rule": "status = 'ONLINE'"}),
        };
        group(&server, body).await;
        server.clock.advance(Duration::from_secs(60));
    }
    let first = server.get(&format!("{PATH}?name=g0")).await.body;
    let id = first["device_groups"][0]["group_id"].as_str().unwrap();
    server
        .put(&format!("{PATH}/{id}"), &json!({"description": "touched"}))
        .await;
    let cases = [
        ("limit=2", vec!["g5", "g4"], 6),
        ("limit=2&offset=4", vec!["g1", "g0"], 6),
        ("name=g3", vec!["g3"], 1),
        ("name=g", vec![], 0),
        ("group_type=STATIC", vec!["g4", "g2", "g0"], 3),
        ("group_type=DYNAMIC&limit=1", vec!["g5"], 3),
        (
            "last_modified_time=20260301T120400Z",
            vec!["g5", "g4", "g0"],
            3,
        ),
        ("app_id=nowhere", vec![], 0),
        ("app_id=default&limit=1", vec!["g5"], 6),
    ];
    for (query, want, count) in cases {
        let got = server.get(&format!("{PATH}?{query}")).await.body;
        assert_eq!(texts(&got, "device_groups", "name"), want, "{query}");
        assert_eq!(got["page"]["count"], count, "{query}");
    }
    let page = server.get(&format!("{PATH}?limit=2")).await.body;
    let marker = page["page"]["marker"].as_str().unwrap();
    let page = server
        .get(&format!("{PATH}?limit=2&marker={marker}"))
        .await
        .body;
    assert_eq!(texts(&page, "device_groups", "name"), ["g3", "g2"]);
}

#[tokio::test]
async fn a_dynamic_group_holds_who_fits_now() {
    let server = Server::start().with_product().await;
    let (one, two) = (server.device("abc1").await, server.device("xyz2").await);
    let fixed = group(&server, json!({"name": "fixed"})).await;
    act(&server, &fixed, "addDevice", &two).await;
    let rule = format!("node_id like 'abc%' or group_id = '{fixed}' or status = 'FROZEN'");
    let body = json!({"name": "dyn", "group_type": "DYNAMIC", "dynamic_group_rule": rule});
    let dynamic = group(&server, body).await;
    let url = format!("{PATH}/{dynamic}/devices");
    assert_eq!(
        texts(&server.get(&url).await.body, "devices", "device_id"),
        [&two, &one]
    );
    act(&server, &fixed, "removeDevice", &two).await;
    assert_eq!(
        texts(&server.get(&url).await.body, "devices", "device_id"),
        [&one]
    );
    server
        .post(&format!("/v5/iot/x/devices/{two}/freeze"), &json!({}))
        .await;
    assert_eq!(
        texts(&server.get(&url).await.body, "devices", "device_id"),
        [&two, &one]
    );
    let of = format!("/v5/iot/x/devices/{two}/list-device-group");
    let groups = server.post(&of, &json!({})).await.body;
    assert_eq!(texts(&groups, "device_groups", "group_type"), ["DYNAMIC"]);
    // Read anew from the store, the rule is the same.
    let again = Server::over(Arc::clone(&server.store));
    assert_eq!(
        texts(&again.get(&url).await.body, "devices", "device_id"),
        [&two, &one]
    );
    assert_eq!(
        again.get(&format!("{PATH}/{dynamic}")).await.body["dynamic_group_rule"],
        rule
    );
}
