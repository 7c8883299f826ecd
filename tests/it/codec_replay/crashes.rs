//! Replays whose process dies, and whose store fails.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use super::{Bench, CODEC, counts, report, volumes};
use crate::server::Server;

/// The process dies at each of the commits, before or after it is durable: what was raw gets its effects
/// once, and the replay counts it once.
#[tokio::test(start_paused = true)]
async fn a_replay_goes_on_after_a_crash() {
    const EACH: u32 = 20;
    let mut halfway = 0;
    for (commits, durable) in (0..9).flat_map(|n| [(n, false), (n, true)]) {
        let mut bench = Bench::without_codec().await;
        for volume in 0..EACH {
            for device in [1, 2] {
                bench.say(device, &report(volume)).await;
            }
        }
        bench.upload().await;
        bench.server.disk.die_at(commits, durable);
        // Who asked may wait for ever: the process is dead.
        let path = format!("{CODEC}/replay");
        let begun = bench.send(Method::POST, &path, &Value::Null);
        drop(tokio::time::timeout(Duration::from_secs(5), begun).await);
        tokio::time::sleep(Duration::from_secs(5)).await;
        bench.server = Server::start(&bench.memory, &bench.clock, 2);
        let left = bench.raw("p_n1").len() + bench.raw("p_n2").len();
        halfway += u32::from(left > 0 && left < 40);
        let case = format!("{commits} {durable}");
        let list = format!("{CODEC}/replays");
        let (_, known) = bench.send(Method::GET, &list, &Value::Null).await;
        if known["replays"] == json!([]) {
            bench.begin(&json!({})).await;
        }
        let replay = bench.end_of(1).await;
        let want = json!({"devices": 3, "found": 40, "decoded": 40});
        assert_eq!(counts(&replay), want, "{case}");
        let all: Vec<u64> = (0..u64::from(EACH)).collect();
        for device in ["p_n1", "p_n2"] {
            assert_eq!(volumes(&bench.server.history(device)), all, "{case}");
            let told = bench.server.reported_events(device);
            assert_eq!(volumes(&told), all, "{case}");
            assert!(bench.raw(device).is_empty(), "{case}");
            assert_eq!(bench.shadow(device).unwrap().0, 19, "{case}");
        }
    }
    // Two commits for each device.
    assert!(halfway >= 4, "{halfway}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_or_lies_repeats_nothing() {
    let mut bench = Bench::without_codec().await;
    for volume in 0..40 {
        bench.say(1, &report(volume)).await;
    }
    bench.upload().await;
    let number = bench.begin(&json!({})).await;
    bench.server.disk.lie_next(1);
    bench.server.disk.fail_next(2);
    let replay = bench.end_of(number).await;
    let want = json!({"devices": 3, "found": 40, "decoded": 40});
    assert_eq!(counts(&replay), want);
    let all: Vec<u64> = (0..40).collect();
    assert_eq!(volumes(&bench.server.history("p_n1")), all);
    assert_eq!(volumes(&bench.server.reported_events("p_n1")), all);
}
