//! `…/apps`: resource spaces, who sees what of them, and deletion with all that belongs.

mod bound;
mod operations;
mod products;
mod spaces;
mod tasks;

use std::sync::Arc;

use axum::http::Method;
use serde_json::{Value, json};

use crate::api::{Server, meter_product, with};

pub(crate) use bound::{BOUND, OTHER_BOUND, ROOT, request, two_spaces};

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
    let rows = vec![
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
