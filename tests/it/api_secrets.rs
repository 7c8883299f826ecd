//! Who sees the secrets of devices.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use strait::app::credentials::Role;

use crate::api::{Server, meter_product};
use crate::api_auth::credential;

const DEVICES: &str = "/v5/iot/p/devices";

/// With it, who may only read could send data as the device.
#[tokio::test]
async fn the_secrets_of_devices_are_for_who_may_write() {
    let server = Server::with_auth(vec![
        credential("boss", Role::Admin, None),
        credential("worker", Role::Operator, None),
        credential("guest", Role::ReadOnly, None),
    ]);
    let secret = "00112233445566778899aabbccddeeff";
    let device = json!({"node_id": "n1", "product_id": "p1", "auth_info": {"secret": secret}});
    for (path, body) in [("/v5/iot/p/products", meter_product()), (DEVICES, device)] {
        let made = Request::post(path)
            .header("x-auth-token", "token-of-boss")
            .body(Body::from(body.to_string()));
        assert_eq!(server.send(made.unwrap()).await.status, 201);
    }
    let reset = Request::post("/v5/iot/p/devices/p1_n1/action?action_id=resetSecret")
        .header("x-auth-token", "token-of-worker")
        .body(Body::from(
            json!({"secret": secret, "secret_type": "SECONDARY"}).to_string(),
        ));
    assert_eq!(server.send(reset.unwrap()).await.status, 200);
    for (who, sees) in [("boss", true), ("worker", true), ("guest", false)] {
        let token = format!("token-of-{who}");
        let path = format!("{DEVICES}/p1_n1");
        let asked = Request::get(path).header("x-auth-token", token);
        let shown = server.send(asked.body(Body::empty()).unwrap()).await.body;
        assert_eq!(shown["auth_info"]["secret"] == secret, sees, "{who}");
        assert_eq!(
            shown["auth_info"]["secondary_secret"] == secret,
            sees,
            "{who}"
        );
        assert_eq!(shown.to_string().contains(secret), sees, "{who}");
    }
}
