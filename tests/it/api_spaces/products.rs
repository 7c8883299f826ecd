//! A product is deleted with its devices: all at once for everyone, in the end for good.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::json;
use strait::base::ids::{DeviceId, ProductId};
use strait::store::memory::MemoryStore;
use strait::store::{Page, Store, StoreError};
use tower::ServiceExt;

use super::{DEVICES, PRODUCTS, ids, product};
use crate::api::Server;

/// A product of its own with so many devices.
pub(super) async fn fleet(server: &Server, product_id: &str, space: &str, count: usize) {
    let body = product(product_id, Some(space));
    assert_eq!(server.post(PRODUCTS, &body).await.status, 201);
    for i in 0..count {
        let body = json!({"node_id": format!("{product_id}-{i}"), "product_id": product_id});
        assert_eq!(server.post(DEVICES, &body).await.status, 201);
    }
}

/// Waits for the event that ends a deletion.
pub(super) async fn until_deleted(server: &Server, product_id: &str) {
    let mut follower = server.app.outbox.follow(0);
    let deadline = Duration::from_secs(60);
    let wait = async {
        loop {
            for (_, event) in follower.next(1000).await.unwrap() {
                let is_it = |name: &str, json: &str| {
                    name == "product" && json.contains(&format!("\"product_id\":\"{product_id}\""))
                };
                let mut told = event.envelopes.iter();
                if told.any(|e| e.event == "delete" && is_it(&e.resource, &e.json)) {
                    return;
                }
            }
        }
    };
    tokio::time::timeout(deadline, wait)
        .await
        .expect("it is deleted");
}

#[tokio::test]
async fn a_product_goes_with_its_devices_all_at_once() {
    let mut server = Server::start();
    server.drop_changes();
    fleet(&server, "p1", "default", 500).await;
    fleet(&server, "p2", "default", 3).await;
    let (begin, begun) = tokio::sync::oneshot::channel();
    let watch = async {
        let (mut begin, mut after) = (Some(begin), 0);
        while after < 5 {
            let path = format!("{DEVICES}?product_id=p1&limit=50");
            let own = server.get(&path).await.body;
            let all = server.get(&format!("{DEVICES}?limit=50")).await.body;
            let shown = own["devices"].as_array().unwrap().len();
            match (own["page"]["count"].as_u64(), shown) {
                (Some(500), 50) => begin.take().into_iter().for_each(|b| b.send(()).unwrap()),
                (Some(0), 0) => {
                    after += 1;
                    assert_eq!(all["page"]["count"], 3);
                    let mut left = ids(&all, "devices", "product_id");
                    left.dedup();
                    assert_eq!(left, ["p2"]);
                    let product = server.get(&format!("{PRODUCTS}/p1")).await;
                    assert_eq!(product.status, 404);
                }
                partly => panic!("{partly:?}"),
            }
            assert!([3, 503].contains(&all["page"]["count"].as_u64().unwrap()));
        }
    };
    let delete = async {
        begun.await.unwrap();
        server.delete(&format!("{PRODUCTS}/p1")).await
    };
    let ((), deleted) = tokio::join!(watch, delete);
    assert_eq!(deleted.status, 204);
    // Gone for good when it is answered: nothing is left, and node ids are free.
    assert_eq!(
        server
            .store
            .device(&DeviceId::parse("p1_p1-0").unwrap())
            .unwrap(),
        None
    );
    let events = server.events();
    let deletions: Vec<&str> = events
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| name.ends_with(".delete"))
        .collect();
    assert_eq!(deletions.len(), 501);
    assert_eq!(deletions.last(), Some(&"product.delete"));
    let device = &events
        .iter()
        .find(|(name, _)| name == "device.delete")
        .unwrap()
        .1;
    assert_eq!(device["notify_data"]["body"]["product_name"], "Meter");
    let again = json!({"node_id": "p1-499", "product_id": "p2"});
    assert_eq!(server.post(DEVICES, &again).await.status, 201);
    fleet(&server, "p1", "default", 1).await;
}

/// The change channel of the test server holds 64: unheard, a deletion stops in the middle.
#[tokio::test]
async fn a_deletion_that_was_begun_goes_on_after_a_restart() {
    let mut server = Server::start();
    let store = Arc::clone(&server.store);
    server.drop_changes();
    fleet(&server, "p1", "default", 300).await;
    fleet(&server, "p2", "default", 0).await;
    drop(server);
    let server = Server::over(Arc::clone(&store));
    let delete = server.delete("/v5/iot/x/products/p1");
    // The caller hangs up in the middle.
    let hung_up = tokio::time::timeout(Duration::from_millis(300), delete).await;
    assert!(hung_up.is_err());
    let left = left_of(&store, "p1");
    assert!((1..300).contains(&left), "{left}");

    let node = "p1-0";
    let taken = json!({"node_id": node, "product_id": "p2"});
    let into = json!({"node_id": "new", "product_id": "p1"});
    let rows = [
        (
            Method::GET,
            "/v5/iot/x/products/p1",
            None,
            404,
            "IOTDA.013001",
        ),
        (
            Method::DELETE,
            "/v5/iot/x/products/p1",
            None,
            404,
            "IOTDA.013001",
        ),
        (
            Method::PUT,
            "/v5/iot/x/products/p1",
            Some(json!({"name": "x"})),
            404,
            "IOTDA.013001",
        ),
        (
            Method::GET,
            "/v1/products/p1/codec",
            None,
            404,
            "IOTDA.013001",
        ),
        (
            Method::PUT,
            "/v1/products/p1/settings",
            Some(json!({})),
            404,
            "IOTDA.013001",
        ),
        (
            Method::GET,
            "/v5/iot/x/devices/p1_p1-0",
            None,
            404,
            "IOTDA.014000",
        ),
        (
            Method::DELETE,
            "/v5/iot/x/devices/p1_p1-0",
            None,
            404,
            "IOTDA.014000",
        ),
        (
            Method::POST,
            "/v5/iot/x/devices/p1_p1-0/freeze",
            None,
            404,
            "IOTDA.014000",
        ),
        (
            Method::GET,
            "/v5/iot/x/devices/p1_p1-0/shadow",
            None,
            404,
            "IOTDA.014000",
        ),
        (
            Method::POST,
            "/v5/iot/x/devices",
            Some(into),
            400,
            "IOTDA.009002",
        ),
        // The oldest go last: its node id is not free yet.
        (
            Method::POST,
            "/v5/iot/x/devices",
            Some(taken.clone()),
            400,
            "IOTDA.014031",
        ),
    ];
    for (method, path, body, status, code) in rows {
        let got = server.call(method.clone(), path, body.as_ref()).await;
        let got = got.error();
        assert_eq!((got.0, got.1), (status, code), "{method} {path}: {}", got.2);
    }
    let listed = server.get("/v5/iot/x/devices?node_id=p1-0").await.body;
    assert_eq!(listed["page"]["count"], 0);

    // Killed, and started anew.
    server.app.tasks.shut_down(Duration::ZERO).await;
    drop(server);
    assert!(left_of(&store, "p1") > 0);
    let mut server = Server::over(Arc::clone(&store));
    assert_eq!(server.get("/v5/iot/x/products/p1").await.status, 404);
    assert_eq!(server.get(DEVICES).await.body["page"]["count"], 0);
    server.drop_changes();
    until_deleted(&server, "p1").await;
    assert_eq!(left_of(&store, "p1"), 0);
    assert_eq!(server.post(DEVICES, &taken).await.status, 201);
    fleet(&server, "p1", "default", 0).await;
}

pub(super) fn left_of(store: &MemoryStore, product_id: &str) -> usize {
    let id = ProductId::parse(product_id).unwrap();
    let page = Page {
        product_id: Some(&id),
        before: None,
        limit: usize::MAX,
    };
    store.devices(&page).unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn a_deletion_waits_while_the_store_is_in_trouble() {
    let server = Server::start().with_product().await;
    for i in 0..60 {
        server.device(&format!("n{i}")).await;
    }
    let mut server = Server::over(Arc::clone(&server.store));
    let router = server.router.clone();
    let full = StoreError::Full { free: 0, need: 1 };
    let mark = async {
        // Only the mark goes through.
        while server
            .app
            .products
            .runtime(&ProductId::parse("p1").unwrap())
            .is_some()
        {
            tokio::task::yield_now().await;
        }
        server.store.faults().fail_next(10, &full);
    };
    let delete = router.oneshot(
        Request::delete("/v5/iot/x/products/p1")
            .body(Body::empty())
            .unwrap(),
    );
    let ((), answer) = tokio::join!(mark, delete);
    let status = answer.unwrap().status();
    assert!([204, 503].contains(&status.as_u16()), "{status}");
    assert_eq!(server.get("/v5/iot/x/products/p1").await.status, 404);
    server.drop_changes();
    // Virtual time passes whenever all tasks wait, the committer's thread among them: so tries are
    // counted, not seconds.
    for _ in 0..1_000_000 {
        if left_of(&server.store, "p1") == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("devices are left");
}
