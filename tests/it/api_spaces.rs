//! `…/apps`: resource spaces, who sees what of them, and deletion with all that belongs.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use strait::app::credentials::{Credential, Role};
use strait::base::ids::{AppId, CertificateId, DeviceId, FileId, GroupId, ProductId, TaskId};
use strait::base::secret::Secret;
use strait::base::time::Timestamp;
use strait::store::catalog::{
    CertificateRecord, CountsRecord, FileContent, FileRecord, GroupRecord, SubtaskRecord,
    SubtaskState, TaskPhase, TaskRecord, TaskType,
};
use strait::store::memory::MemoryStore;
use strait::store::{Change, Store, StoreError};
use tower::ServiceExt;

use crate::api::{Answer, Server, meter_product, with};

const APPS: &str = "/v5/iot/x/apps";
const PRODUCTS: &str = "/v5/iot/x/products";
const DEVICES: &str = "/v5/iot/x/devices";

fn ids<'a>(body: &'a Value, list: &str, id: &str) -> Vec<&'a str> {
    let list = body[list].as_array().unwrap();
    list.iter().map(|one| one[id].as_str().unwrap()).collect()
}

fn product(id: &str, space: Option<&str>) -> Value {
    let body = with(&meter_product(), "/product_id", Some(json!(id)));
    with(&body, "/app_id", Some(json!(space)))
}

#[tokio::test]
async fn a_space_is_made_shown_renamed_and_deleted() {
    let server = Server::start();
    let all = server.get(APPS).await.body;
    let default = json!({"app_id": "default", "app_name": "default",
        "create_time": "20260301T120000Z", "default_app": true});
    assert_eq!(all, json!({"applications": [default]}));

    let made = server
        .post(APPS, &json!({"app_name": "水_Water", "x": 1}))
        .await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    let id = made.body["app_id"].as_str().unwrap().to_owned();
    assert_eq!(id.len(), 24);
    let want = json!({"app_id": id, "app_name": "水_Water",
        "create_time": "20260301T120000Z", "default_app": false});
    assert_eq!(made.body, want);
    let one = format!("{APPS}/{id}");
    assert_eq!(server.get(&one).await.body, want);
    let cases = [
        ("", vec![id.as_str(), "default"]),
        ("?default_app=true", vec!["default"]),
        ("?default_app=false", vec![&id]),
    ];
    for (query, want) in cases {
        let list = server.get(&format!("{APPS}{query}")).await.body;
        assert_eq!(ids(&list, "applications", "app_id"), want, "{query}");
    }

    // What is in it tells its name, also after it changed.
    server.post(PRODUCTS, &product("p1", Some(&id))).await;
    let device = server.device("n1").await;
    let renamed = server.put(&one, &json!({"app_name": "Hot"})).await;
    assert_eq!(
        (renamed.status.as_u16(), &renamed.body["app_name"]),
        (200, &json!("Hot"))
    );
    for path in [format!("{PRODUCTS}/p1"), format!("{DEVICES}/{device}")] {
        let shown = server.get(&path).await.body;
        assert_eq!(
            (&shown["app_id"], &shown["app_name"]),
            (&json!(id), &json!("Hot"))
        );
    }
    assert_eq!(server.put(&one, &json!({})).await.body["app_name"], "Hot");
    assert_eq!(
        server.put(&one, &json!({"app_name": "Hot"})).await.status,
        200
    );

    let server = Server::over(Arc::clone(&server.store));
    assert_eq!(server.get(&one).await.body["app_name"], "Hot");
    assert_eq!(server.delete(&one).await.status, 204);
    let gone = server.get(&one).await;
    let want = format!("app_id: there is no resource space {id}");
    assert_eq!(gone.error(), (404, "IOTDA.001000", want.as_str()));
    assert_eq!(server.delete(&one).await.status, 404);
    assert_eq!(server.get(&format!("{PRODUCTS}/p1")).await.status, 404);
    // Its name is free again.
    assert_eq!(
        server.post(APPS, &json!({"app_name": "Hot"})).await.status,
        201
    );
}

#[tokio::test]
async fn bad_requests_are_told() {
    let server = Server::start()
        .with_spaces(&["a", "b"])
        .await
        .with_product()
        .await;
    let long = "n".repeat(65);
    let bodies = [
        (json!({}), "app_name: is missing, takes text of 1 to 64"),
        (json!({"app_name": null}), "app_name: is missing"),
        (json!({"app_name": ""}), "app_name: got 0 characters"),
        (json!({"app_name": long}), "app_name: got 65 characters"),
        (
            json!({"app_name": "a<b"}),
            "app_name: has the character '<'",
        ),
        (json!({"app_name": 7}), "app_name: got the number 7"),
        (
            json!({"app_name": "a"}),
            "app_name: there is a resource space \"a\" already",
        ),
        (json!([]), "body: got a list"),
    ];
    for (body, want) in bodies {
        let (status, code, message) = (server.post(APPS, &body).await, "IOTDA.000006", want);
        let got = status.error();
        assert_eq!((got.0, got.1), (400, code), "{body}: {}", got.2);
        assert!(got.2.contains(message), "{body}: {}", got.2);
    }
    assert_eq!(
        server
            .post(APPS, &json!({"app_name": "n".repeat(64)}))
            .await
            .status,
        201
    );

    let p = |id: &str, space: &str| product(id, Some(space));
    let device = |space: &str| json!({"node_id": "n", "product_id": "p1", "app_id": space});
    let no_product = "there is no product p1";
    let rows: Vec<(Method, String, Option<Value>, u16, &str, &str)> = vec![
        (
            Method::PUT,
            format!("{APPS}/a"),
            Some(json!({"app_name": "b"})),
            400,
            "IOTDA.000006",
            "app_name: there is a resource space \"b\" already",
        ),
        (
            Method::DELETE,
            format!("{APPS}/default"),
            None,
            400,
            "IOTDA.000006",
            "app_id: default is the default resource space",
        ),
        (
            Method::GET,
            format!("{APPS}/none"),
            None,
            404,
            "IOTDA.001000",
            "no resource space none",
        ),
        (
            Method::PUT,
            format!("{APPS}/none"),
            Some(json!({})),
            404,
            "IOTDA.001000",
            "none",
        ),
        (
            Method::GET,
            format!("{APPS}?default_app=1"),
            None,
            400,
            "IOTDA.000006",
            "default_app",
        ),
        (
            Method::POST,
            PRODUCTS.into(),
            Some(p("p2", "none")),
            403,
            "IOTDA.001000",
            "app_id: there is no resource space none",
        ),
        (
            Method::POST,
            DEVICES.into(),
            Some(device("none")),
            403,
            "IOTDA.001000",
            "app_id",
        ),
        (
            Method::POST,
            DEVICES.into(),
            Some(device("a")),
            400,
            "IOTDA.000006",
            "app_id: got a, the product is in default",
        ),
        (
            Method::GET,
            format!("{PRODUCTS}/p1?app_id=a"),
            None,
            404,
            "IOTDA.013001",
            no_product,
        ),
        (
            Method::DELETE,
            format!("{PRODUCTS}/p1?app_id=a"),
            None,
            404,
            "IOTDA.013001",
            no_product,
        ),
        (
            Method::PUT,
            format!("{PRODUCTS}/p1"),
            Some(json!({"app_id": "a", "name": "x"})),
            404,
            "IOTDA.013001",
            no_product,
        ),
    ];
    for (method, path, body, status, code, message) in rows {
        let answer = server.call(method.clone(), &path, body.as_ref()).await;
        let got = answer.error();
        assert_eq!((got.0, got.1), (status, code), "{method} {path}: {}", got.2);
        assert!(got.2.contains(message), "{method} {path}: {}", got.2);
    }
    let stays = json!({"app_id": "default", "name": "Named"});
    let changed = server.put(&format!("{PRODUCTS}/p1"), &stays).await.body;
    assert_eq!(
        (&changed["app_id"], &changed["name"]),
        (&json!("default"), &json!("Named"))
    );
}

/// Many at the same time: one of them has the name.
#[tokio::test]
async fn a_name_is_given_once() {
    let server = Server::start();
    let body = json!({"app_name": "one"});
    let tries = (0..20).map(|_| server.post(APPS, &body));
    let answers = futures_util::future::join_all(tries).await;
    let made = answers.iter().filter(|a| a.status == 201).count();
    assert_eq!(made, 1);
}

fn credential(token: &str, role: Role, space: Option<&str>) -> Credential {
    Credential {
        access_key: token.to_uppercase(),
        secret_key: Secret::new("0123456789abcdef0123456789abcdef".into()),
        token: Secret::new(token.into()),
        role,
        space: space.map(|id| AppId::parse(id).unwrap()),
        created: None,
    }
}

fn request(token: &str, method: Method, path: &str, body: Option<&Value>) -> Request<Body> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .header("x-auth-token", token);
    let body = body.map_or_else(Body::empty, |b| Body::from(b.to_string()));
    request.body(body).unwrap()
}

const ROOT: &str = "rootrootrootroot";
const BOUND: &str = "boundboundbound1";
const OPERATOR: &str = "operatoroperator";

async fn guarded() -> Server {
    let server = Server::with_auth(vec![
        credential(ROOT, Role::Admin, None),
        credential(BOUND, Role::Admin, Some("a")),
        credential(OPERATOR, Role::Operator, None),
    ]);
    let server = server.with_spaces(&["a", "b"]).await;
    for (id, space) in [("pa", "a"), ("pb", "b")] {
        let body = product(id, Some(space));
        let made = server
            .send(request(ROOT, Method::POST, PRODUCTS, Some(&body)))
            .await;
        assert_eq!(made.status, 201, "{:?}", made.body);
        let body =
            json!({"node_id": format!("n{id}"), "product_id": id, "device_id": format!("d{id}")});
        let made = server
            .send(request(ROOT, Method::POST, DEVICES, Some(&body)))
            .await;
        assert_eq!(made.status, 201, "{:?}", made.body);
    }
    server
}

#[tokio::test]
async fn a_bound_caller_sees_and_changes_his_space_alone() {
    let server = guarded().await;
    let ask = async |method: Method, path: &str, body: Option<Value>| -> Answer {
        server
            .send(request(BOUND, method, path, body.as_ref()))
            .await
    };
    let lists = [
        (APPS, "applications", "app_id", vec!["a"]),
        (PRODUCTS, "products", "product_id", vec!["pa"]),
        (DEVICES, "devices", "device_id", vec!["dpa"]),
        (
            "/v5/iot/x/products?app_id=a",
            "products",
            "product_id",
            vec!["pa"],
        ),
    ];
    for (path, list, id, want) in lists {
        let got = ask(Method::GET, path, None).await.body;
        assert_eq!(ids(&got, list, id), want, "{path}");
    }
    let device = |product: &str| json!({"node_id": "n9", "product_id": product});
    let rows = [
        (
            Method::GET,
            "/v5/iot/x/products?app_id=b",
            None,
            403,
            "IOTDA.001002",
        ),
        (
            Method::GET,
            "/v5/iot/x/devices?app_id=b",
            None,
            403,
            "IOTDA.001002",
        ),
        (
            Method::GET,
            "/v5/iot/x/products/pb",
            None,
            404,
            "IOTDA.013001",
        ),
        (
            Method::DELETE,
            "/v5/iot/x/products/pb",
            None,
            404,
            "IOTDA.013001",
        ),
        (
            Method::GET,
            "/v1/products/pb/export",
            None,
            404,
            "IOTDA.013001",
        ),
        (
            Method::GET,
            "/v5/iot/x/products/pa?app_id=b",
            None,
            403,
            "IOTDA.001002",
        ),
        (
            Method::GET,
            "/v5/iot/x/devices/dpb",
            None,
            404,
            "IOTDA.014000",
        ),
        (
            Method::POST,
            PRODUCTS,
            Some(product("p9", Some("b"))),
            403,
            "IOTDA.001002",
        ),
        (
            Method::POST,
            DEVICES,
            Some(device("pb")),
            400,
            "IOTDA.009002",
        ),
        (Method::GET, "/v5/iot/x/apps/b", None, 404, "IOTDA.001000"),
        (
            Method::DELETE,
            "/v5/iot/x/apps/b",
            None,
            404,
            "IOTDA.001000",
        ),
        (
            Method::DELETE,
            "/v5/iot/x/apps/a",
            None,
            403,
            "IOTDA.001002",
        ),
        (
            Method::POST,
            APPS,
            Some(json!({"app_name": "c"})),
            403,
            "IOTDA.001002",
        ),
    ];
    for (method, path, body, status, code) in rows {
        let got = ask(method.clone(), path, body).await;
        assert_eq!(
            (got.error().0, got.error().1),
            (status, code),
            "{method} {path}"
        );
    }
    // Without a space named, things are made in his own.
    let made = ask(Method::POST, PRODUCTS, Some(product("p9", None))).await;
    assert_eq!(
        (made.status.as_u16(), &made.body["app_id"]),
        (201, &json!("a"))
    );
    let made = ask(Method::POST, DEVICES, Some(device("pa"))).await;
    assert_eq!(
        (made.status.as_u16(), &made.body["app_id"]),
        (201, &json!("a"))
    );
    // Spaces themselves are for administrators.
    let body = json!({"app_name": "c"});
    let refused = server
        .send(request(OPERATOR, Method::POST, APPS, Some(&body)))
        .await;
    assert_eq!(refused.status, 403);
}

#[tokio::test]
async fn a_bound_caller_hears_of_his_space_alone() {
    let server = guarded().await;
    let stream = async |token: &str, count: usize| -> String {
        let request = request(token, Method::GET, "/v1/events?from=0", None);
        let response = server.router.clone().oneshot(request).await.unwrap();
        let (mut body, mut text) = (response.into_body(), String::new());
        while text.matches("data: ").count() < count {
            let frame = tokio::time::timeout(Duration::from_secs(10), body.frame());
            let frame = frame.await.expect("events come").unwrap().unwrap();
            text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
        text
    };
    let own = stream(BOUND, 2).await;
    assert!(own.contains("\"dpa\"") && !own.contains("pb"), "{own}");
    // Position 3 and 4 are of the other space.
    assert_eq!(own.matches("id: ").count(), 2, "{own}");
    let all = stream(ROOT, 4).await;
    assert!(all.contains("\"dpa\"") && all.contains("\"dpb\""), "{all}");
}

/// A product of its own with so many devices.
async fn fleet(server: &Server, product_id: &str, space: &str, count: usize) {
    let body = product(product_id, Some(space));
    assert_eq!(server.post(PRODUCTS, &body).await.status, 201);
    for i in 0..count {
        let body = json!({"node_id": format!("{product_id}-{i}"), "product_id": product_id});
        assert_eq!(server.post(DEVICES, &body).await.status, 201);
    }
}

/// Waits for the event that ends a deletion.
async fn until_deleted(server: &Server, product_id: &str) {
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

fn left_of(store: &MemoryStore, product_id: &str) -> usize {
    let id = ProductId::parse(product_id).unwrap();
    let page = strait::store::Page {
        product_id: Some(&id),
        before: None,
        limit: usize::MAX,
    };
    store.devices(&page).unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn a_deletion_waits_while_the_store_is_in_trouble() {
    let server = Server::start().with_product().await;
    for i in 0..100 {
        let body = json!({"node_id": format!("n{i}"), "product_id": "p1"});
        // Heard of by nobody from the 64th on; made all the same.
        if i < 60 {
            assert_eq!(server.post(DEVICES, &body).await.status, 201);
        }
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
    until_deleted(&server, "p1").await;
    assert_eq!(left_of(&server.store, "p1"), 0);
}

fn group(space: &str, seq: u64) -> Change {
    let at = Timestamp::from_ms(0);
    Change::PutGroup(Box::new(GroupRecord {
        version: 1,
        group_id: GroupId::parse(&format!("g{seq}")).unwrap(),
        seq,
        app_id: AppId::parse(space).unwrap(),
        name: "g".into(),
        description: None,
        super_group_id: None,
        dynamic_group_rule: None,
        created_at: at,
        modified_at: at,
    }))
}

fn certificate(space: &str, seq: u64) -> Change {
    let at = Timestamp::from_ms(0);
    Change::PutCertificate(Box::new(CertificateRecord {
        version: 1,
        certificate_id: CertificateId::parse(&format!("c{seq}")).unwrap(),
        seq,
        app_id: AppId::parse(space).unwrap(),
        cn_name: None,
        owner: None,
        verified: false,
        verify_code: "v".into(),
        provision_enable: false,
        template_id: None,
        ocsp_enable: false,
        ocsp_ssl_enable: false,
        ocsp_server_ca_id: None,
        content: String::new(),
        created_at: at,
        effective_at: at,
        expires_at: at,
    }))
}

/// A task with 1200 subtasks, and a file.
fn task(space: &str, seq: u64) -> Vec<Change> {
    let app_id = AppId::parse(space).unwrap();
    let mut changes: Vec<Change> = (0..1200)
        .map(|index| Change::PutSubtask {
            task_seq: seq,
            index,
            record: Box::new(SubtaskRecord {
                target: index.to_string(),
                input: None,
                state: SubtaskState::Waiting,
                tries: 0,
                output: None,
                error: None,
            }),
        })
        .collect();
    changes.push(Change::PutTask(Box::new(TaskRecord {
        version: 1,
        task_id: TaskId::parse(&format!("t{seq}")).unwrap(),
        seq,
        app_id: app_id.clone(),
        task_name: "t".into(),
        task_type: TaskType::FreezeDevices,
        task_mode: None,
        need_confirm: None,
        task_ext_info: None,
        has_targets: true,
        targets_filter: None,
        document: None,
        document_source: None,
        policy: None,
        total: 1200,
        phase: TaskPhase::Ended,
        counts: CountsRecord::default(),
        status_desc: None,
        created_at: Timestamp::from_ms(0),
        ended_at: None,
    })));
    let file = FileRecord {
        file_id: FileId::parse(&format!("f{seq}")).unwrap(),
        seq,
        app_id: Some(app_id),
        file_name: "f.csv".into(),
        uploaded_at: Timestamp::from_ms(0),
    };
    let content = FileContent { bytes: vec![1] };
    changes.push(Change::PutFile(Box::new(file), Box::new(content)));
    changes
}

#[tokio::test]
async fn a_space_goes_with_all_that_belongs_to_it() {
    let server = Server::start().with_spaces(&["a", "b"]).await;
    let store = Arc::clone(&server.store);
    let mut server = server;
    server.drop_changes();
    for (id, space, count) in [("p1", "a", 150), ("p2", "a", 100), ("p3", "b", 2)] {
        fleet(&server, id, space, count).await;
    }
    for (space, seq) in [("a", 9001), ("b", 9002)] {
        let mut changes = task(space, seq);
        changes.extend([group(space, seq), certificate(space, seq)]);
        server.write(changes).await;
    }
    drop(server);
    // Stops in the middle, is killed there, and goes on.
    let server = Server::over(Arc::clone(&store));
    let delete = server.delete("/v5/iot/x/apps/a");
    let hung_up = tokio::time::timeout(Duration::from_millis(300), delete).await;
    assert!(hung_up.is_err());
    assert!(left_of(&store, "p1") + left_of(&store, "p2") > 0);
    let in_space = product("p9", Some("a"));
    let rows = [
        (Method::GET, "/v5/iot/x/apps/a", None, 404),
        (
            Method::PUT,
            "/v5/iot/x/apps/a",
            Some(json!({"app_name": "x"})),
            404,
        ),
        (Method::DELETE, "/v5/iot/x/apps/a", None, 404),
        (Method::GET, "/v5/iot/x/products/p1", None, 404),
        (Method::GET, "/v5/iot/x/products/p2", None, 404),
        (Method::GET, "/v5/iot/x/devices/p2_p2-0", None, 404),
        (Method::GET, "/v5/iot/x/certificates/c9001", None, 404),
        (Method::GET, "/v5/iot/x/certificates/c9002", None, 200),
        (Method::GET, "/v5/iot/x/products/p3", None, 200),
        (Method::POST, "/v5/iot/x/products", Some(in_space), 403),
    ];
    for (method, path, body, status) in rows {
        let got = server.call(method.clone(), path, body.as_ref()).await;
        assert_eq!(got.status, status, "{method} {path}: {:?}", got.body);
    }
    let listed = server.get(APPS).await.body;
    assert_eq!(ids(&listed, "applications", "app_id"), ["b", "default"]);
    let listed = server.get(PRODUCTS).await.body;
    assert_eq!(ids(&listed, "products", "product_id"), ["p3"]);
    assert_eq!(server.get(DEVICES).await.body["page"]["count"], 2);
    server.app.tasks.shut_down(Duration::ZERO).await;
    drop(server);

    let mut server = Server::over(Arc::clone(&store));
    server.drop_changes();
    for id in ["p1", "p2"] {
        until_deleted(&server, id).await;
    }
    // The space goes last.
    while store
        .apps()
        .unwrap()
        .iter()
        .any(|app| app.app_id.as_str() == "a")
    {
        tokio::task::yield_now().await;
    }
    let own = |id: &AppId| id.as_str() == "b";
    assert!(store.groups().unwrap().iter().all(|g| own(&g.app_id)));
    assert!(store.certificates().unwrap().iter().all(|c| own(&c.app_id)));
    assert!(store.tasks().unwrap().iter().all(|t| own(&t.app_id)));
    assert!(
        store
            .files()
            .unwrap()
            .iter()
            .all(|f| f.app_id.as_ref().is_some_and(own))
    );
    assert_eq!(store.subtasks(9001, 0, 10).unwrap(), vec![]);
    assert_eq!(store.subtasks(9002, 0, 5000).unwrap().len(), 1200);
    assert_eq!(
        (
            left_of(&store, "p1"),
            left_of(&store, "p2"),
            left_of(&store, "p3")
        ),
        (0, 0, 2)
    );
}
