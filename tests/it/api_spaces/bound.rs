//! Callers bound to a resource space.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use strait::app::credentials::{Credential, Role};
use strait::base::ids::AppId;
use strait::base::secret::Secret;
use tower::ServiceExt;

use super::{APPS, DEVICES, PRODUCTS, ids, product};
use crate::api::{Answer, Server};

pub(crate) fn credential(token: &str, role: Role, space: Option<&str>) -> Credential {
    Credential {
        access_key: token.to_uppercase(),
        secret_key: Secret::new("0123456789abcdef0123456789abcdef".into()),
        token: Secret::new(token.into()),
        role,
        space: space.map(|id| AppId::parse(id).unwrap()),
        created: None,
    }
}

pub(crate) fn request(
    token: &str,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Request<Body> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .header("x-auth-token", token);
    let body = body.map_or_else(Body::empty, |b| Body::from(b.to_string()));
    request.body(body).unwrap()
}

pub(crate) const ROOT: &str = "rootrootrootroot";
pub(crate) const BOUND: &str = "boundboundbound1";
pub(crate) const OTHER_BOUND: &str = "boundboundbound2";
const OPERATOR: &str = "operatoroperator";

/// The spaces `a` and `b`, a caller bound to each, and one for all spaces.
pub(crate) async fn two_spaces() -> Server {
    let server = Server::with_auth(vec![
        credential(ROOT, Role::Admin, None),
        credential(BOUND, Role::Admin, Some("a")),
        credential(OTHER_BOUND, Role::Operator, Some("b")),
    ]);
    server.with_spaces(&["a", "b"]).await
}

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

#[tokio::test]
async fn a_bound_caller_does_not_hear_who_is_traced_elsewhere() {
    let server = guarded().await;
    let switch = async |token: &str, id: &str| {
        let (path, body) = (format!("/v1/devices/{id}/trace"), json!({"enabled": true}));
        server
            .send(request(token, Method::PUT, &path, Some(&body)))
            .await
    };
    for n in 0..10 {
        let id = format!("hidden{n}");
        let body = json!({"node_id": id, "product_id": "pb", "device_id": id});
        let made = request(ROOT, Method::POST, DEVICES, Some(&body));
        assert_eq!(server.send(made).await.status, 201);
        assert_eq!(switch(ROOT, &id).await.status, 200);
    }
    let refused = switch(BOUND, "dpa").await;
    assert_eq!(refused.error().0, 400);
    assert!(!refused.error().2.contains("hidden"), "{:?}", refused.body);
    assert!(switch(ROOT, "dpa").await.error().2.contains("hidden0"));
}

/// They are of all spaces together.
#[tokio::test]
async fn a_bound_caller_sees_no_metrics() {
    let server = guarded().await;
    for (token, want) in [(BOUND, 403), (ROOT, 200)] {
        let asked = request(token, Method::GET, "/metrics", None);
        let answer = server.router.clone().oneshot(asked).await.unwrap();
        assert_eq!(answer.status(), want, "{token}");
    }
}
