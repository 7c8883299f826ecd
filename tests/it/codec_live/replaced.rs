//! A codec replaced again and again under load.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use strait::product::codec::call::Call;
use tokio::sync::mpsc;

use super::{Bench, replace};

const DEVICES: usize = 8;
const REPORTS: u8 = 250;
/// So many of a device may wait for the first of them.
const AT_ONCE: usize = 50;
const VERSIONS: u8 = 100;
/// Calls from one upload to the next: more than can be under way, so that some are finished.
const UPLOAD_EVERY: u32 = 37;

/// What a codec was asked about one uplink, last of all: the version that decoded, and that answered.
type Last = HashMap<Vec<u8>, [u8; 2]>;

/// Every uplink is there once, in order, and who decoded it has answered it.
#[tokio::test]
async fn a_hundred_versions_under_load_lose_nothing_and_mix_nothing() {
    let mut bench = Bench::start().await;
    for n in 0..DEVICES {
        bench.server.device(&format!("load{n}")).await;
    }
    let last = Arc::new(Mutex::new(Last::new()));
    let (_, none) = mpsc::channel(1);
    let mut asks = std::mem::replace(&mut bench.asks, none);
    let seen = Arc::clone(&last);
    let products = Arc::clone(&bench.server.app.products);
    bench.server.app.tasks.spawn("codec", async move {
        let (mut calls, mut newest) = (0_u32, 1);
        while let Some(asked) = asks.recv().await {
            let (place, payload) = match &asked.call {
                Call::Decode { payload, .. } => (0, payload),
                Call::Answer { request, .. } => (1, request),
                other => panic!("nobody asks for {}", other.name()),
            };
            let version = asked.version();
            seen.lock().unwrap().entry(payload.clone()).or_default()[place] = version;
            calls += 1;
            // In the middle of a call, and of all the others that wait for theirs.
            if calls.is_multiple_of(UPLOAD_EVERY) && newest < VERSIONS {
                newest += 1;
                replace(&products, format!("v{newest}")).await;
            }
            asked.serve();
        }
    });
    for n in 0..REPORTS {
        for device in 0..DEVICES {
            let own = u8::try_from(device).unwrap();
            bench.report(&format!("p1_load{device}"), &[n, own]).await;
        }
        let sent = usize::from(n) + 1;
        for device in (0..DEVICES).filter(|_| sent.is_multiple_of(AT_ONCE)) {
            bench.until_read(&format!("p1_load{device}"), sent).await;
        }
    }
    let last_of = |device: u8, n: u8| last.lock().unwrap()[&vec![n, device]];
    let mut versions = std::collections::BTreeSet::new();
    for device in 0..u8::try_from(DEVICES).unwrap() {
        let id = format!("p1_load{device}");
        let read = bench.until_read(&id, usize::from(REPORTS)).await;
        assert_eq!(read.len(), usize::from(REPORTS));
        for (n, (volume, version)) in (0..REPORTS).zip(read) {
            assert_eq!(volume, u64::from(n), "{id}");
            let version = u8::try_from(version).unwrap();
            assert_eq!(last_of(device, n), [version; 2], "{id} {n}");
            versions.insert(version);
        }
        assert_eq!(bench.raw(&id).len(), 0);
    }
    assert!(
        versions.len() > 20,
        "the load met {} versions",
        versions.len()
    );
    // Of all these, the newest are kept.
    let kept = bench.server.get("/v1/products/p1/codec/versions").await;
    assert_eq!(kept.body["versions"].as_array().unwrap().len(), 10);
    assert_eq!(kept.body["versions"][0]["is_running"], true);
}
