//! From what is desired to what is reported: once, in order, over restarts, by any codec.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use strait::app::command::NewCommand;
use strait::store::commands::Strategy;

use super::{ASLEEP, Bench, MINUTE, json_product, product, property, service};

/// `A` with two messages, of which the second needs both its fields; `B` with none for `c`.
const TABLE: &str = r#"
codec = { id = { at = 0, type = "u8" } }
[[message]]
id = 1
dir = "up"
service = "A"
fields = [{ n = "a", t = "u8" }, { n = "b", t = "u8" }, { n = "d", t = "u8" }]
[[message]]
id = 2
dir = "set"
service = "A"
fields = [{ n = "mid", t = "u16", auto = "mid" }, { n = "a", t = "u8" }]
[[message]]
id = 3
dir = "set"
service = "A"
fields = [{ n = "b", t = "u8" }, { n = "d", t = "u8" }]
[[message]]
id = 4
dir = "set"
service = "B"
fields = [{ n = "e", t = "u8" }]
[[message]]
id = 5
name = "GO"
dir = "down"
service = "A"
fields = []
"#;

#[tokio::test]
async fn what_is_desired_in_its_sleep_goes_down_when_it_wakes_and_once() {
    let mut device = Bench::new(&json_product()).await;
    device
        .desire("Flow", json!({"interval": 60, "level": 7}))
        .await;
    assert_eq!(device.sent().await, Vec::<Value>::new());
    device.register(true).await;
    // `level` is read-only.
    assert_eq!(device.taken().await, json!({"Flow": {"interval": 60}}));
    assert_eq!(device.sent().await, Vec::<Value>::new());
    device.report("Flow", json!({"interval": 60.0})).await;
    assert_eq!(device.sent().await, Vec::<Value>::new());

    device.pass(ASLEEP).await;
    device
        .desire("Flow", json!({"interval": 120, "mode": "eco"}))
        .await;
    device.desire("Light", json!({"dim": 0.5})).await;
    assert_eq!(device.sent().await, Vec::<Value>::new());
    device
        .report("Flow", json!({"interval": 60, "mode": null}))
        .await;
    let flow = json!({"Flow": {"interval": 120, "mode": "eco"}});
    assert_eq!(device.taken().await, flow);
    // The next follows in the same radio session.
    assert_eq!(device.taken().await, json!({"Light": {"dim": 0.5}}));
    device
        .report("Flow", json!({"interval": 120, "mode": "eco"}))
        .await;
    device.report("Light", json!({"dim": 0.5})).await;
    for _ in 0..5 {
        device.pass(10 * MINUTE).await;
        device.report("Flow", json!({"interval": 120})).await;
    }
    assert_eq!(device.sent().await, Vec::<Value>::new());
    assert_eq!(device.attempts(), 0);

    // It listens for a while after its report.
    device.desire("Flow", json!({"interval": 1})).await;
    assert_eq!(device.taken().await, json!({"Flow": {"interval": 1}}));
    device.report("Flow", json!({"interval": 1})).await;
    // What it changes by itself is put right.
    device.pass(10 * MINUTE).await;
    device.report("Flow", json!({"interval": 9})).await;
    assert_eq!(device.taken().await, json!({"Flow": {"interval": 1}}));
}

#[tokio::test]
async fn a_models_default_values_go_down_too() {
    let mut body = json_product();
    let interval = "/service_capabilities/0/properties/0";
    body.pointer_mut(interval).unwrap()["default_value"] = json!(3600);
    let mut device = Bench::new(&body).await;
    device.register(true).await;
    assert_eq!(device.taken().await, json!({"Flow": {"interval": 3600}}));
}

#[tokio::test]
async fn what_is_never_reported_goes_down_until_it_is_acknowledged() {
    let mut device = Bench::registered().await;
    device.desire("Light", json!({"dim": 0.5})).await;
    let requests = device.requests().await;
    device.reset(&requests[0]).await;
    device.pass(2 * MINUTE).await;
    device.report("Flow", json!({"level": 1})).await;
    assert_eq!(device.taken().await, json!({"Light": {"dim": 0.5}}));
    for _ in 0..3 {
        device.pass(100 * MINUTE).await;
        device.report("Flow", json!({"level": 1})).await;
        assert_eq!(device.sent().await, Vec::<Value>::new());
    }
    device.desire("Light", json!({"dim": 0.6})).await;
    assert_eq!(device.taken().await, json!({"Light": {"dim": 0.6}}));
}

#[tokio::test]
async fn a_time_is_the_same_in_both_forms() {
    let mut device = Bench::registered().await;
    device
        .desire("Flow", json!({"since": "20260301T120000Z"}))
        .await;
    device.taken().await;
    device.pass(10 * MINUTE).await;
    device
        .report("Flow", json!({"since": "2026-03-01T12:00:00.000Z"}))
        .await;
    assert_eq!(device.sent().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_set_under_way_is_the_same_after_a_restart() {
    let mut device = Bench::registered().await;
    device.desire("Flow", json!({"interval": 60})).await;
    let before = device.requests().await;
    device.restart().await;
    let after = device.requests().await;
    assert_eq!((before.len(), after.len()), (1, 1));
    let message = |r: &strait::engine::exchange::Request| (r.token, r.payload.clone(), r.msg_ids);
    assert_eq!(message(&before[0]), message(&after[0]));
    device.acknowledge(&after[0]).await;
    device.restart().await;
    device.pass(ASLEEP).await;
    device.report("Flow", json!({"interval": 5})).await;
    // The wait is remembered as well.
    assert_eq!(device.sent().await, Vec::<Value>::new());
    device.pass(MINUTE).await;
    device.report("Flow", json!({"interval": 5})).await;
    assert_eq!(device.taken().await, json!({"Flow": {"interval": 60}}));
}

async fn table_bench() -> Bench {
    let names = |names: &[&str]| names.iter().map(|n| property(n, "int", "RW")).collect();
    let (a, b): (Value, Value) = (names(&["a", "b", "d"]), names(&["c", "e"]));
    let mut a = service("A", &a);
    a["commands"] = json!([{"command_name": "GO", "paras": [], "responses": []}]);
    let mut device = Bench::new(&product("binary", &json!([a, service("B", &b)]))).await;
    let put = Request::put("/v1/products/p/codec").header("content-type", "application/toml");
    let answer = device
        .server
        .send(put.body(Body::from(TABLE)).unwrap())
        .await;
    assert_eq!(answer.status, 201, "{:?}", answer.body);
    device.register(true).await;
    assert_eq!(device.sent().await, Vec::<Value>::new());
    device
}

#[tokio::test]
async fn several_messages_go_one_after_the_other_and_each_once() {
    let mut device = table_bench().await;
    let wish = json!({"shadow": [
        {"service_id": "B", "desired": {"c": 1, "e": 2}},
        {"service_id": "A", "desired": {"a": 3, "b": 4}},
    ]});
    assert_eq!(device.put(&wish).await.status, 200);
    // Nothing sets `c`, and nothing is known of `d`, which goes with `b`.
    assert_eq!(device.taken().await, "0402");
    let set_a = device.taken().await;
    assert!(set_a.as_str().unwrap().starts_with("02") && set_a.as_str().unwrap().ends_with("03"));
    assert_eq!(device.sent().await, Vec::<Value>::new());
    let unsent = device.traced("are not sent").await;
    let errors: Vec<&str> = unsent.iter().filter_map(|e| e["error"].as_str()).collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(
        errors.iter().any(|e| e.contains("sets c of service B")),
        "{errors:?}"
    );
    assert!(
        errors.iter().any(|e| e.contains("d: is missing")),
        "{errors:?}"
    );
    assert!(unsent.iter().all(|e| e["hint"].is_string()));
    // Now `d` is known: the rest goes when its wait is over, what came true does not.
    device.pass(2 * MINUTE).await;
    device.say(vec![1, 3, 0, 9]).await;
    // The device never said what became of `e`.
    assert_eq!(device.taken().await, "0402");
    assert_eq!(device.taken().await, "030409");
    device.say(vec![1, 3, 4, 9]).await;
    assert_eq!(device.sent().await, Vec::<Value>::new());
}

#[tokio::test]
async fn commands_go_first() {
    let mut device = table_bench().await;
    device.pass(ASLEEP).await;
    device.desire("A", json!({"a": 3})).await;
    for _ in 0..2 {
        let go = NewCommand {
            service_id: "A".to_owned(),
            command_name: "GO".to_owned(),
            paras: serde_json::Map::new(),
            strategy: Strategy::Delay,
            expire_time_s: 86_400,
        };
        let commands = &device.server.app.commands;
        commands.submit(&device.id, go, None).await.unwrap();
    }
    device.say(vec![1, 0, 0, 0]).await;
    let mut order = Vec::new();
    for _ in 0..3 {
        let sent = device.taken().await;
        order.push(sent.as_str().unwrap()[..2].to_owned());
    }
    assert_eq!(order, ["05", "05", "02"]);
}

#[tokio::test]
async fn a_set_waits_while_the_device_has_more_to_say() {
    let mut device = Bench::registered().await;
    device.pass(ASLEEP).await;
    device.desire("Flow", json!({"interval": 60})).await;
    let part = |more: bool| {
        let services = json!([{"service_id": "Flow", "properties": {"level": 1}}]);
        json!({"services": services, "has_more": more}).to_string()
    };
    device.say(part(true).into()).await;
    assert_eq!(device.sent().await, Vec::<Value>::new());
    device.say(part(false).into()).await;
    assert_eq!(device.taken().await, json!({"Flow": {"interval": 60}}));
}
