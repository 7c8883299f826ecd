//! What a device is found to be: its status, its shadow, and whether it ever came.

use std::time::Duration;

use serde_json::json;
use strait::base::ids::DeviceId;
use strait::base::time::Timestamp;
use strait::store::records::{PresenceRecord, ShadowRecord, StateRecord};

use crate::api::{NOW, Server};

const PATH: &str = "/v5/iot/x/devices";

#[tokio::test]
async fn status_follows_silence() {
    let server = Server::start().with_product().await;
    let id = server.device("n1").await;
    let state = StateRecord {
        version: 2,
        activated_at: Timestamp::parse("20260228T000000Z"),
        last_seen_at: Timestamp::parse(NOW),
        presence: PresenceRecord::Online,
        presence_since: Timestamp::parse("20260228T000000Z"),
        fw_version: Some("1.2".into()),
        ..StateRecord::default()
    };
    server.write_state(&id, state).await;
    let hour = Duration::from_secs(3600);
    let cases = [
        (25 * hour, "ONLINE", "2026-02-28T00:00:00.000Z"),
        (
            Duration::from_millis(1),
            "ABNORMAL",
            "2026-03-02T13:00:00.000Z",
        ),
        (24 * hour, "OFFLINE", "2026-03-03T13:00:00.000Z"),
    ];
    for (wait, status, since) in cases {
        server.clock.advance(wait);
        let body = server.get(&format!("{PATH}/{id}")).await.body;
        assert_eq!(body["status"], status);
        assert_eq!(body["connection_status_update_time"], since);
        assert_eq!(body["active_time"], "2026-02-28T00:00:00.000Z");
        assert_eq!(body["fw_version"], "1.2");
    }
}

#[tokio::test]
async fn the_shadow_shows_both_sides() {
    let server = Server::start().with_product().await;
    let id = server.device("n1").await;
    let reported = json!({"volume": 314});
    let state = StateRecord {
        shadow: vec![ShadowRecord {
            service_id: "Flow".into(),
            version: 7,
            reported: reported.as_object().unwrap().clone(),
            reported_at: Timestamp::parse(NOW),
            desired: serde_json::Map::new(),
            desired_at: None,
        }],
        ..StateRecord::default()
    };
    server.write_state(&id, state).await;
    let shadow = server.get(&format!("{PATH}/{id}/shadow")).await.body;
    insta::assert_json_snapshot!("reported_shadow", shadow);
}

#[tokio::test]
async fn a_device_that_never_came_goes_and_one_that_came_stays() {
    let server = Server::start().with_product().await;
    for node in ["came", "stayed-away", "forever"] {
        let timeout = if node == "forever" { 0 } else { 60 };
        let body = json!({"node_id": node, "product_id": "p1", "device_id": node,
            "auth_info": {"timeout": timeout}});
        assert_eq!(server.post(PATH, &body).await.status, 201);
    }
    let state = StateRecord {
        version: 2,
        activated_at: Timestamp::parse(NOW),
        ..StateRecord::default()
    };
    server.write_state("came", state).await;
    let overdue = async |id: &str| {
        let id = DeviceId::parse(id).unwrap();
        server.app.devices.delete_overdue(id).await.unwrap()
    };
    server.clock.advance(Duration::from_secs(59));
    assert!(!overdue("stayed-away").await);
    server.clock.advance(Duration::from_secs(1));
    for (node, gone) in [("came", false), ("stayed-away", true), ("forever", false)] {
        assert_eq!(overdue(node).await, gone, "{node}");
        let status = server.get(&format!("{PATH}/{node}")).await.status;
        assert_eq!(status, if gone { 404 } else { 200 }, "{node}");
    }
}
