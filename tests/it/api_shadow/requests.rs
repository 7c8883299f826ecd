//! What requests change of a shadow, and what they are refused for.

use serde_json::{Value, json};

use super::{Bench, json_product, product, property, service};

async fn shadow(device: &Bench) -> Value {
    let body = device.server.get("/v5/iot/x/devices/p_n/shadow").await.body;
    body["shadow"].clone()
}

/// `[service, desired, version]` of each.
fn brief(shadow: &Value) -> Value {
    let services = shadow.as_array().unwrap().iter();
    let brief =
        services.map(|s| json!([s["service_id"], s["desired"]["properties"], s["version"]]));
    brief.collect()
}

#[tokio::test]
async fn wishes_are_merged_and_counted() {
    let device = Bench::new(&json_product()).await;
    let rows = [
        (json!([]), json!([])),
        (
            json!([{"service_id": "Flow", "desired": {"interval": 60}, "version": 0}]),
            json!([["Flow", {"interval": 60}, 1]]),
        ),
        (
            json!([{"service_id": "Flow", "desired": {"mode": "eco"}, "version": 1}]),
            json!([["Flow", {"interval": 60, "mode": "eco"}, 2]]),
        ),
        (
            json!([{"service_id": "Flow", "desired": {"interval": null}},
                   {"service_id": "Light", "desired": {"dim": 1}, "more": 1}]),
            json!([["Flow", {"mode": "eco"}, 3], ["Light", {"dim": 1}, 1]]),
        ),
        (
            json!([{"service_id": "Flow", "desired": {}, "version": null}]),
            json!([["Flow", {}, 4], ["Light", {"dim": 1}, 1]]),
        ),
    ];
    for (services, want) in rows {
        let answer = device.put(&json!({ "shadow": services })).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        assert_eq!(brief(&answer.body["shadow"]), want, "{services}");
        // What was answered is durable.
        assert_eq!(shadow(&device).await, answer.body["shadow"]);
    }
    assert_eq!(device.put(&json!({})).await.status, 200);
    let light = &shadow(&device).await[1];
    assert_eq!(light["desired"]["event_time"], crate::api::NOW);
    let nothing = json!({"properties": {}, "event_time": null});
    assert_eq!(light["reported"], nothing);
    let path = "/v5/iot/x/devices/p_n/shadow";
    assert_eq!(device.server.delete(path).await.status, 204);
    assert_eq!(shadow(&device).await, json!([]));
    assert_eq!(device.server.delete(path).await.status, 204);
}

#[tokio::test]
async fn all_of_it_or_nothing() {
    let device = Bench::new(&json_product()).await;
    device.desire("Flow", json!({"interval": 60})).await;
    let before = shadow(&device).await;
    let flow = |desired: Value| json!({"service_id": "Flow", "desired": desired});
    let rows = [
        (
            409,
            json!({"service_id": "Flow", "desired": {}, "version": 0}),
            "shadow[1].version: the shadow has version 1, got 0",
        ),
        (
            409,
            json!({"service_id": "Flow", "desired": {}, "version": 2}),
            "has version 1",
        ),
        (400, flow(json!({"speed": 1})), "shadow[1].desired.speed: "),
        (
            400,
            flow(json!({"interval": "x"})),
            "shadow[1].desired.interval: got the string",
        ),
        (
            400,
            json!({"service_id": "Nosuch", "desired": {}}),
            "shadow[1].service_id: got service",
        ),
        (
            400,
            json!({"service_id": "Light", "desired": {}}),
            "shadow[1].service_id: names Light again",
        ),
        (
            400,
            flow(json!({"a.b": 1})),
            "shadow[1].desired: got the name \"a.b\"",
        ),
        (
            400,
            flow(json!({"$a": null})),
            "shadow[1].desired: got the name \"$a\"",
        ),
        (
            400,
            flow(json!({"a\0": 1})),
            "shadow[1].desired: got the name \"a\\0\"",
        ),
        (
            400,
            flow(json!({"mode": [{"x": {"y.z": 1}}]})),
            "got the name \"mode[0].x.y.z\"",
        ),
    ];
    for (status, second, message) in rows {
        let first = json!({"service_id": "Light", "desired": {"dim": 1}});
        let answer = device.put(&json!({"shadow": [first, second]})).await;
        let (got, code, told) = answer.error();
        assert_eq!((got, code), (status, "IOTDA.000006"), "{second}: {told}");
        assert!(told.contains(message), "{second}: {told}");
        assert_eq!(shadow(&device).await, before, "{second}");
    }
    let gone = device
        .server
        .put("/v5/iot/x/devices/gone/shadow", &json!({}))
        .await;
    assert_eq!((gone.error().0, gone.error().1), (404, "IOTDA.014000"));
    let gone = device.server.delete("/v5/iot/x/devices/gone/shadow").await;
    assert_eq!((gone.error().0, gone.error().1), (404, "IOTDA.014000"));
}

#[tokio::test]
async fn what_is_desired_of_a_device_is_bounded() {
    let names: Vec<String> = (0..501).map(|n| format!("p{n}")).collect();
    let many: Value = names.iter().map(|n| property(n, "int", "RW")).collect();
    // A property's name comes from the model, where a point is fine.
    let text = json!([
        property("text", "string", "RW"),
        property("a.b", "int", "RW")
    ]);
    let services = json!([
        service("S", &text),
        service("T", &text),
        service("Many", &many)
    ]);
    let mut body = product("json", &services);
    body["service_capabilities"][0]["properties"][1]["default_value"] = json!(1);
    // Models have up to 500 properties each.
    body["service_capabilities"][2]["properties"]
        .as_array_mut()
        .unwrap()
        .pop();
    let device = Bench::new(&body).await;
    // So it could not be taken back.
    assert_eq!(shadow(&device).await, json!([]));
    let text = |id: &str, len: usize| json!({"shadow": [{"service_id": id, "desired": {"text": "a".repeat(len)}}]});
    let too_long = device.put(&text("S", 32 * 1024 - 10)).await;
    let (status, _, told) = too_long.error();
    assert_eq!(status, 400);
    assert!(
        told.contains("got 32769 bytes of JSON, takes up to 32768"),
        "{told}"
    );
    assert_eq!(device.put(&text("S", 32 * 1024 - 11)).await.status, 200);
    let too_much = device.put(&text("T", 100)).await;
    let (status, _, told) = too_much.error();
    assert_eq!(status, 400);
    assert!(
        told.contains("bytes of JSON desired, takes up to 32768"),
        "{told}"
    );
    assert_eq!(device.put(&text("S", 20_000)).await.status, 200);
    assert_eq!(device.put(&text("T", 100)).await.status, 200);
    let clear = json!({"shadow": [{"service_id": "T", "desired": {}}]});
    assert_eq!(device.put(&clear).await.status, 200);
    let all: Value = names[..499].iter().map(|n| (n.clone(), json!(1))).collect();
    let many = |desired: &Value| json!({"shadow": [{"service_id": "Many", "desired": desired}]});
    assert_eq!(device.put(&many(&all)).await.status, 200);
    let one_more = device.put(&many(&json!({"p499": 1}))).await;
    let (status, _, told) = one_more.error();
    assert_eq!(status, 400);
    assert!(
        told.contains("501 desired properties, takes up to 500"),
        "{told}"
    );
}

#[tokio::test]
async fn a_new_device_takes_no_such_names_and_no_more_than_that() {
    let device = Bench::new(&json_product()).await;
    let rows = [
        (
            json!([{"service_id": "Flow", "desired": {"mode": {"a.b": 1}}}]),
            "got the name \"mode.a.b\"",
        ),
        (
            json!([{"service_id": "Flow", "desired": {"mode": "a".repeat(20_000)}},
                   {"service_id": "Flow", "desired": {"since": "20260301T120000Z"}},
                   {"service_id": "Light", "desired": {"dim": "9".repeat(20_000)}}]),
            "shadow",
        ),
    ];
    for (shadow, message) in rows {
        let body = json!({"node_id": "m", "product_id": "p", "shadow": shadow});
        let made = device.server.post("/v5/iot/x/devices", &body).await;
        let (status, code, told) = made.error();
        assert_eq!((status, code), (400, "IOTDA.000006"));
        assert!(told.contains(message), "{told}");
    }
}

/// What the model has lost can still be taken back.
#[tokio::test]
async fn wishes_outlive_the_model_only_to_be_taken_back() {
    let mut device = Bench::registered().await;
    device
        .desire("Flow", json!({"interval": 60, "mode": "a"}))
        .await;
    device.taken().await;
    let light = json_product()["service_capabilities"][1].clone();
    let body = json!({"service_capabilities": [light]});
    let changed = device.server.put("/v5/iot/x/products/p", &body).await;
    assert_eq!(changed.status, 200, "{:?}", changed.body);
    device.pass(super::ASLEEP * 4).await;
    device.report("Light", json!({"dim": 1})).await;
    assert_eq!(device.sent().await, Vec::<Value>::new());
    let set = json!({"shadow": [{"service_id": "Flow", "desired": {"mode": "b"}}]});
    assert_eq!(device.put(&set).await.status, 400);
    device.desire("Flow", json!({"mode": null})).await;
    device.desire("Flow", json!({})).await;
    assert_eq!(brief(&shadow(&device).await)[0], json!(["Flow", {}, 3]));
}
