//! Devices that refuse, stay silent, or make something else of what they are told: the radio is spared.

use std::time::Duration;

use serde_json::{Value, json};
use strait::app::input::Input;

use super::{ASLEEP, Bench, MINUTE};

const DAY: Duration = Duration::from_hours(24);

/// Minutes, from now on, at which a set goes down to a device that reports every 10 minutes what this
/// makes of the count of reports, and acknowledges every set.
async fn minutes(device: &mut Bench, days: u64, made: impl Fn(u64) -> Value) -> Vec<u64> {
    let mut sent = Vec::new();
    for count in 0..days * 144 {
        device.report("Flow", made(count)).await;
        let requests = device.requests().await;
        assert!(requests.len() <= 1);
        if let [request] = &requests[..] {
            sent.push(count * 10);
            device.acknowledge(request).await;
        }
        device.pass(10 * MINUTE).await;
    }
    sent
}

fn check_backoff(sent: &[u64]) {
    assert_eq!(sent[..8], [0, 10, 20, 30, 40, 60, 100, 170]);
    let waits: Vec<u64> = sent.windows(2).map(|w| w[1] - w[0]).collect();
    assert!(waits.is_sorted(), "{waits:?}");
    assert_eq!(waits.last(), Some(&1440));
}

#[tokio::test]
async fn one_that_acknowledges_and_does_nothing_gets_a_set_a_day_in_the_end() {
    let mut device = Bench::registered().await;
    device.pass(ASLEEP).await;
    device.desire("Flow", json!({"interval": 60})).await;
    let sent = minutes(&mut device, 7, |_| json!({"interval": 5})).await;
    check_backoff(&sent);
    // Something new is tried at once, and only that.
    device.report("Flow", json!({"interval": 5})).await;
    assert_eq!(device.sent().await, Vec::<Value>::new());
    device.desire("Flow", json!({"mode": "eco"})).await;
    assert_eq!(device.taken().await, json!({"Flow": {"mode": "eco"}}));
    // The same again is nothing new; another value is.
    device.desire("Flow", json!({"interval": 60})).await;
    assert_eq!(device.sent().await, Vec::<Value>::new());
    device.desire("Flow", json!({"interval": 61})).await;
    assert_eq!(device.taken().await, json!({"Flow": {"interval": 61}}));
    // What is not desired any more is over.
    device.pass(2 * DAY).await;
    device.desire("Flow", json!({})).await;
    device.report("Flow", json!({"interval": 5})).await;
    assert_eq!(device.sent().await, Vec::<Value>::new());
    assert_eq!(device.attempts(), 0);
}

#[tokio::test]
async fn one_that_makes_another_value_of_it_each_time_plays_no_ping_pong() {
    let mut device = Bench::registered().await;
    device.pass(ASLEEP).await;
    device.desire("Flow", json!({"interval": 60})).await;
    let sent = minutes(&mut device, 7, |count| json!({"interval": 100 + count})).await;
    check_backoff(&sent);
}

#[tokio::test]
async fn a_value_that_flaps_is_not_answered_each_time() {
    let mut device = Bench::registered().await;
    device.desire("Flow", json!({"interval": 60})).await;
    device.taken().await;
    let mut sets = 0;
    for count in 0..60 {
        device.pass(Duration::from_secs(5)).await;
        let value = if count % 2 == 0 { 60 } else { 5 };
        device.report("Flow", json!({"interval": value})).await;
        let requests = device.requests().await;
        sets += requests.len();
        for request in requests {
            device.acknowledge(&request).await;
        }
    }
    // 5 minutes of it.
    assert!((1..=5).contains(&sets), "{sets}");
}

#[tokio::test]
async fn a_refusal_waits_for_the_next_report_after_the_wait() {
    let mut device = Bench::registered().await;
    device.desire("Flow", json!({"interval": 60})).await;
    let requests = device.requests().await;
    device.reset(&requests[0]).await;
    device.report("Flow", json!({"level": 1})).await;
    assert_eq!(device.sent().await, Vec::<Value>::new());
    device.pass(MINUTE).await;
    // Time alone is no reason.
    device.hand(Input::Due).await;
    assert_eq!(device.sent().await, Vec::<Value>::new());
    device.report("Flow", json!({"level": 1})).await;
    assert_eq!(device.taken().await, json!({"Flow": {"interval": 60}}));
}

#[tokio::test]
async fn silence_ends_it_until_the_device_speaks_again() {
    let mut device = Bench::new(&super::json_product()).await;
    // It never sleeps, so the server has to take it for reachable.
    device.register(false).await;
    device.desire("Flow", json!({"interval": 60})).await;
    assert_eq!(device.sent().await.len(), 1);
    for _ in 0..10 {
        device.pass(3 * MINUTE).await;
        device.hand(Input::Due).await;
    }
    assert_eq!(device.sent().await, Vec::<Value>::new());
    let timeouts = device.traced("ended as TIMEOUT").await;
    assert_eq!(timeouts.len(), 1);
    // What is desired anew is tried.
    device.desire("Flow", json!({"mode": "eco"})).await;
    assert_eq!(device.taken().await, json!({"Flow": {"mode": "eco"}}));
    device.pass(MINUTE).await;
    device.report("Flow", json!({"mode": "eco"})).await;
    assert_eq!(device.taken().await, json!({"Flow": {"interval": 60}}));
}

#[tokio::test]
async fn what_is_desired_while_a_set_is_under_way_follows_it() {
    let mut device = Bench::registered().await;
    device
        .desire("Flow", json!({"interval": 60, "mode": "a"}))
        .await;
    let first = device.requests().await;
    device.desire("Flow", json!({"interval": 61})).await;
    assert_eq!(device.sent().await, Vec::<Value>::new());
    device.acknowledge(&first[0]).await;
    assert_eq!(device.taken().await, json!({"Flow": {"interval": 61}}));
    let clear = "/v5/iot/x/devices/p_n/shadow";
    assert_eq!(device.server.delete(clear).await.status, 204);
    device.report("Flow", json!({"interval": 5})).await;
    assert_eq!(device.sent().await, Vec::<Value>::new());
}
