//! `updateDeviceShadows`: the same desired of many devices.

use serde_json::{Value, json};

use crate::api::Server;
use crate::api_batch::{PATH, create, start, until_status};

fn task(targets: &Value, shadow: &Value) -> Value {
    json!({"task_name": "night", "task_type": "updateDeviceShadows", "targets": targets,
           "document": {"shadow": shadow}})
}

async fn desired(server: &Server, device: &str) -> Value {
    let path = format!("/v5/iot/x/devices/{device}/shadow");
    let shadow = server.get(&path).await.body["shadow"][0].clone();
    json!([
        shadow["desired"]["properties"]["interval"],
        shadow["version"]
    ])
}

#[tokio::test]
async fn many_devices_are_desired_the_same() {
    let server = start().await;
    for node in ["a", "b", "c"] {
        server.device(node).await;
    }
    let shadow = json!([{"service_id": "Flow", "desired": {"interval": 60}, "version": 0}]);
    let targets = json!(["p1_a", "p1_b", "gone"]);
    let id = create(&server, &task(&targets, &shadow)).await;
    let done = until_status(&server, &id, "PartialSuccess").await;
    assert_eq!(done["batchtask"]["document"], json!({ "shadow": shadow }));
    assert_eq!(
        done["task_details"][0]["error"]["error_code"],
        "IOTDA.014000"
    );
    assert_eq!(desired(&server, "p1_a").await, json!([60, 1]));
    assert_eq!(desired(&server, "p1_b").await, json!([60, 1]));
    assert_eq!(desired(&server, "p1_c").await, json!([3600, 0]));

    // Once more: what is refused says where, and changes nothing.
    let id = create(&server, &task(&json!(["p1_a", "p1_c"]), &shadow)).await;
    let done = until_status(&server, &id, "PartialSuccess").await;
    let failed = done["task_details"].as_array().unwrap().iter();
    let failed: Vec<&Value> = failed.filter(|d| d["status"] == "Fail").collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["target"], "p1_a");
    let told = failed[0]["error"]["error_msg"].as_str().unwrap();
    assert!(
        told.starts_with("document.shadow[0].version: the shadow has"),
        "{told}"
    );
    let wrong = json!([{"service_id": "Flow", "desired": {"colour": 1}}]);
    let id = create(&server, &task(&json!(["p1_a"]), &wrong)).await;
    let done = until_status(&server, &id, "Fail").await;
    let told = done["task_details"][0]["error"]["error_msg"]
        .as_str()
        .unwrap();
    assert!(
        told.starts_with("document.shadow[0].desired.colour: "),
        "{told}"
    );
    assert_eq!(desired(&server, "p1_a").await, json!([60, 1]));
}

#[tokio::test]
async fn a_document_without_wishes_or_with_impossible_ones_is_refused() {
    let server = start().await;
    let rows = [
        (json!(null), "document.shadow: is missing"),
        (json!([]), "document.shadow: is missing"),
        (json!({}), "document.shadow: got an object"),
        (
            json!([{"desired": {}}]),
            "document.shadow[0].service_id: is missing",
        ),
        (
            json!([{"service_id": "Flow"}]),
            "document.shadow[0].desired: is missing",
        ),
        (
            json!([{"service_id": "Flow", "desired": {"a.b": 1}}]),
            "document.shadow[0].desired: got the name",
        ),
        (
            json!([{"service_id": "Flow", "desired": {}, "version": -1}]),
            "document.shadow[0].version: got -1",
        ),
    ];
    for (shadow, message) in rows {
        let answer = server.post(PATH, &task(&json!(["p1_a"]), &shadow)).await;
        let (status, code, told) = answer.error();
        assert_eq!((status, code), (400, "IOTDA.000006"), "{shadow}");
        assert!(told.contains(message), "{shadow}: {told}");
    }
}
