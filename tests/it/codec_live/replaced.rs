//! A codec replaced again and again under load.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use strait::product::codec::call::Call;
use tokio::sync::mpsc;

use super::{Bench, replace};

const DEVICES: usize = 20;
const REPORTS: u8 = 50;
const VERSIONS: u8 = 100;

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
    bench.server.app.tasks.spawn("codec", async move {
        while let Some(asked) = asks.recv().await {
            let (place, payload) = match &asked.call {
                Call::Decode { payload, .. } => (0, payload),
                Call::Answer { request, .. } => (1, request),
                other => panic!("nobody asks for {}", other.name()),
            };
            let version = asked.version();
            seen.lock().unwrap().entry(payload.clone()).or_default()[place] = version;
            // Others have their turn: uploads come between any two calls.
            tokio::task::yield_now().await;
            asked.serve();
        }
    });
    let products = Arc::clone(&bench.server.app.products);
    let (replaced, mut progress) = mpsc::channel(1);
    bench.server.app.tasks.spawn("uploads", async move {
        for version in 2..=VERSIONS {
            replace(&products, format!("v{version}")).await;
            replaced.send(version).await.unwrap();
        }
    });
    for n in 0..REPORTS {
        for device in 0..DEVICES {
            let own = u8::try_from(device).unwrap();
            bench.report(&format!("p1_load{device}"), &[n, own]).await;
        }
        // Two versions for each round, so that load and uploads go side by side.
        for _ in 0..2 {
            progress.recv().await;
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
