//! The same with real scripts in worker processes.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::{mpsc, watch};

use super::{Bench, CODEC, replace};

const DEVICES: usize = 8;
const VERSIONS: u8 = 100;

/// Reports the first byte, and which version it is.
fn script(version: u8) -> String {
    format!(
        "var VERSION = {version};\n\
         function decodeUplink(input) {{\n\
           if (input.bytes[0] === 255) {{ throw new Error(\"no such meter\"); }}\n\
           return {{ data: {{ volume: input.bytes[0], interval: VERSION }} }};\n\
         }}\n\
         function encodeDownlink(input) {{ return {{ bytes: [VERSION, 7], fPort: 1 }}; }}\n"
    )
}

async fn start() -> Bench {
    let bench = Bench::over(None, mpsc::channel(1).1).await;
    // Loading has a limit of time, which a busy machine may not keep to.
    let wait = async { while !bench.put(&script(1), &[]).await.status.is_success() {} };
    let taken = tokio::time::timeout(super::PATIENCE, wait).await;
    taken.expect("the script is taken");
    bench.server.device("n1").await;
    bench
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_is_checked_tried_and_used() {
    let mut bench = start().await;
    let broken = bench
        .put("function decodeUplink(input) {\n  return {;\n}\n", &[])
        .await;
    assert_eq!(broken.status, 422, "{:?}", broken.body);
    assert_eq!(broken.body["errors"][0]["line"], 2, "{:?}", broken.body);
    let tried = bench
        .server
        .post(&format!("{CODEC}/decode"), &json!({"hex": "07"}))
        .await;
    let properties = &tried.body["services"][0]["properties"];
    assert_eq!(
        properties,
        &json!({"volume": 7, "interval": 1}),
        "{:?}",
        tried.body
    );
    let refused = bench
        .server
        .post(&format!("{CODEC}/decode"), &json!({"hex": "ff"}))
        .await;
    assert_eq!(refused.status, 422, "{:?}", refused.body);

    bench.report("p1_n1", &[5]).await;
    bench.report("p1_n1", &[255]).await;
    bench.report("p1_n1", &[6]).await;
    assert_eq!(bench.until_read("p1_n1", 2).await, [(5, 1), (6, 1)]);
    let raw = bench.raw("p1_n1");
    assert_eq!((raw.len(), raw[0].kind.as_str()), (1, "script"));
    assert!(raw[0].reason.contains("no such meter"), "{}", raw[0].reason);
    let status = bench.server.get(&format!("{CODEC}/status")).await.body;
    assert_eq!(
        (&status["decoded"], &status["failed"]),
        (&json!(2), &json!({"script": 1}))
    );
}

/// Every uplink is read once, in order, and by no older codec than the one before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_scripts_under_load_lose_nothing() {
    let mut bench = start().await;
    for n in 0..DEVICES {
        bench.server.device(&format!("load{n}")).await;
    }
    let products = Arc::clone(&bench.server.app.products);
    let (newest, running) = watch::channel(1);
    bench.server.app.tasks.spawn("uploads", async move {
        for version in 2..=VERSIONS {
            replace(&products, script(version)).await;
            newest.send_replace(version);
        }
    });
    let mut sent = 0_usize;
    let mut is_last = false;
    while !is_last {
        // One more round when the last is there.
        is_last = *running.borrow() == VERSIONS;
        let volume = u8::try_from(sent % 250).unwrap();
        sent += 1;
        for device in 0..DEVICES {
            bench.report(&format!("p1_load{device}"), &[volume]).await;
        }
        for device in 0..DEVICES {
            bench.until_read(&format!("p1_load{device}"), sent).await;
        }
    }
    for device in 0..DEVICES {
        let id = format!("p1_load{device}");
        let read = bench.read(&id);
        let volumes: Vec<u64> = read.iter().map(|(volume, _)| *volume).collect();
        let all: Vec<u64> = (0..sent).map(|n| u64::try_from(n % 250).unwrap()).collect();
        assert_eq!(volumes, all, "{id}");
        let mut versions = read.iter().map(|(_, version)| *version);
        assert!(versions.clone().is_sorted(), "{id}: {read:?}");
        assert_eq!(versions.next_back(), Some(u64::from(VERSIONS)));
        assert_eq!(bench.raw(&id).len(), 0);
    }
}
