//! A replay through worker processes.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::codec_live::{Bench, CODEC, PATIENCE};

const HOSTILE: &str = "function decodeUplink(input) { for (;;) {} }";
const GOOD: &str = "function decodeUplink(input) {
    if (input.bytes[0] === 2) throw new Error('no such meter');
    return { data: { volume: input.bytes[0], interval: 7 } };
}";

/// A busy machine may not load a script within its time.
async fn upload(bench: &Bench, source: &str) {
    let wait = async { while !bench.put(source, &[]).await.status.is_success() {} };
    let taken = timeout(PATIENCE, wait).await;
    taken.expect("the script is taken");
}

async fn replay(bench: &Bench) -> Value {
    // It takes what came before it began.
    bench.server.clock.advance(Duration::from_secs(1));
    let begun = bench
        .server
        .post(&format!("{CODEC}/replay"), &json!({}))
        .await;
    assert_eq!(begun.status, 202, "{:?}", begun.body);
    let path = format!("{CODEC}/replays/{}", begun.body["replay_id"]);
    let end = async {
        loop {
            let shown = bench.server.get(&path).await.body;
            if shown["state"] != "running" {
                return shown;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, end).await.expect("it ends")
}

/// Each at a time of its own.
async fn say(bench: &mut Bench, volume: u8) {
    bench.report("p1_n1", &[volume]).await;
    bench.server.clock.advance(Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_quarantined_script_left_raw_is_read_by_the_next() {
    let mut bench = Bench::with_workers().await;
    upload(&bench, HOSTILE).await;
    bench.server.device("n1").await;
    let status = format!("{CODEC}/status");
    let mut said = 0_u8;
    let mut held = Value::Null;
    while held["quarantined"].is_null() {
        assert!(said < 50, "it is never quarantined");
        say(&mut bench, said).await;
        said += 1;
        bench.until_raw("p1_n1", said.into()).await;
        held = bench.server.get(&status).await.body;
    }
    assert!(said >= 5, "{held}");
    assert!(held["quarantined_since"].is_string(), "{held}");
    for _ in 0..20 {
        say(&mut bench, said).await;
        said += 1;
    }
    let raw = bench.until_raw("p1_n1", said.into()).await;
    let newest = raw.iter().map(|row| row.kind.as_str()).take(20);
    assert!(newest.clone().all(|kind| kind == "unavailable"), "{raw:?}");
    let refused = bench
        .server
        .post(&format!("{CODEC}/replay"), &json!({}))
        .await;
    assert_eq!(refused.status, 409, "{:?}", refused.body);

    upload(&bench, GOOD).await;
    let done = replay(&bench).await;
    assert_eq!(done["state"], "done", "{done}");
    assert_eq!(
        (&done["found"], &done["decoded"]),
        (&json!(said), &json!(said - 1))
    );
    assert_eq!(done["unread"][0]["kind"], "script", "{done}");
    let all = (0..u64::from(said)).filter(|n| *n != 2);
    let want: Vec<(u64, u64)> = all.map(|volume| (volume, 7)).collect();
    assert_eq!(bench.read("p1_n1"), want, "in the order in which they came");
    let raw = bench.raw("p1_n1");
    assert_eq!((raw.len(), raw[0].kind.as_str()), (1, "script"));
    let after = bench.server.get(&status).await.body;
    assert_eq!(after["quarantined"], Value::Null);
    // The script is right now for the last one, too.
    upload(&bench, &GOOD.replace("=== 2", "=== 200")).await;
    assert_eq!(replay(&bench).await["decoded"], 1);
    assert!(bench.raw("p1_n1").is_empty());
}
