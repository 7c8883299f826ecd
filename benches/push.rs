//! Pushes to one local subscriber: how many of them leave in a second, from the durable events of
//! 1,000 devices on sled to the subscriber's answers over loopback, all in this process.
//!
//! `STRAIT_BENCH_DIR` names the directory (default: the system's temporary one),
//! `STRAIT_BENCH_PUSHES` how many there are (default 50,000). The order of each device is checked.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement fails by panicking, prints, and reads the real clock"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use strait::app::forwarding::Snapshot;
use strait::app::outbox::Outbox;
use strait::app::push::{Parts, Pushes, Settings};
use strait::app::trace::Tracer;
use strait::base::ids::{ActionId, AppId, DeviceId, RuleId};
use strait::base::time::{Clock, Timestamp};
use strait::net::webhook::Dialer;
use strait::store::disk::DiskStore;
use strait::store::forwarding::{ActionRecord, HttpRecord, RuleRecord};
use strait::store::records::{EnvelopeRecord, EventRecord};
use strait::store::seal::Sealer;
use strait::store::{Change, Commit, Store, StoreSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

const DEVICES: usize = 1000;

/// In one commit, as shards make them under load.
const BATCH: usize = 50;

#[tokio::main]
async fn main() {
    let text = std::env::var("STRAIT_BENCH_PUSHES").ok();
    let pushes: usize = text.and_then(|text| text.parse().ok()).unwrap_or(50_000);
    let parent = std::env::var_os("STRAIT_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let dir = tempfile::tempdir_in(&parent).unwrap();
    let sealer = Sealer::new([1; 32]);
    let store = DiskStore::open(dir.path(), &StoreSettings::default(), sealer).unwrap();
    let store: Arc<dyn Store> = Arc::new(store);
    let outbox = Arc::new(Outbox::new(Arc::clone(&store)));
    let (sender, mut heard) = mpsc::channel(100_000);
    let url = subscriber(sender).await;
    let snapshot = watch::Sender::new(Arc::new(subscription(&url)));
    let start = || {
        Pushes::start(Parts {
            store: Arc::clone(&store),
            clock: Clock::System,
            outbox: Arc::clone(&outbox),
            tracer: Arc::new(Tracer::default()),
            snapshot: snapshot.subscribe(),
            settings: Settings::default(),
            dialer: Dialer::Network,
        })
    };

    let service = start();
    let begun = Instant::now();
    let writing = tokio::task::spawn(write(Arc::clone(&store), Arc::clone(&outbox), 0, pushes));
    let order = hear(&mut heard, pushes, vec![0; DEVICES]).await;
    report("while events are committed", pushes, begun);
    println!(
        "  the last event was durable after {:?}",
        writing.await.unwrap() - begun
    );
    service.stop(Duration::from_secs(10)).await;
    drop(service);

    write(Arc::clone(&store), Arc::clone(&outbox), pushes, pushes).await;
    let begun = Instant::now();
    let service = start();
    hear(&mut heard, pushes, order).await;
    report("from a backlog", pushes, begun);
    service.stop(Duration::from_secs(10)).await;
}

fn report(what: &str, pushes: usize, begun: Instant) {
    let took = begun.elapsed();
    let rate = f64::from(u32::try_from(pushes).unwrap()) / took.as_secs_f64();
    println!("{pushes} pushes {what}: {rate:.0}/s, in order for each of {DEVICES} devices");
}

/// Takes pushes as they come; each device's must be in order.
async fn hear(
    heard: &mut mpsc::Receiver<(usize, usize)>,
    pushes: usize,
    mut next: Vec<usize>,
) -> Vec<usize> {
    for _ in 0..pushes {
        let (device, n) = heard.recv().await.unwrap();
        assert_eq!(next[device], n, "device {device}");
        next[device] += 1;
    }
    next
}

async fn write(store: Arc<dyn Store>, outbox: Arc<Outbox>, from: usize, count: usize) -> Instant {
    let mut running = Vec::new();
    for first in (from..from + count).step_by(BATCH) {
        let event = |at| Change::Emit(Box::new(event(at)));
        let changes = (first..first + BATCH).map(event).collect();
        let guards = Vec::new();
        running.push(store.commit(Commit { guards, changes }));
        if running.len() == 8 {
            for one in running.drain(..) {
                one.await.unwrap();
            }
            outbox.notify();
        }
    }
    for one in running {
        one.await.unwrap();
    }
    outbox.notify();
    Instant::now()
}

/// About 450 bytes, as a report of one service has.
fn event(at: usize) -> EventRecord {
    let (device, n) = (at % DEVICES, at / DEVICES);
    let id = format!("watermeter_8677250383{device:05}");
    let json = json!({"resource": "device.property", "event": "report",
        "event_time": "20260101T000000Z", "event_time_ms": "2026-01-01T00:00:00.000Z",
        "notify_data": {"header": {"app_id": "default", "device_id": id, "node_id": id,
            "product_id": "watermeter", "gateway_id": id, "tags": []},
            "body": {"services": [{"service_id": "Meter", "event_time": "20260101T000000Z",
                "properties": {"device": device, "n": n}}]}}});
    let envelope = EnvelopeRecord {
        resource: "device.property".to_owned(),
        event: "report".to_owned(),
        device_id: Some(DeviceId::parse(&id).unwrap()),
        json: json.to_string(),
        app_id: Some(AppId::default_space()),
    };
    EventRecord {
        at: Clock::System.now(),
        envelopes: vec![envelope],
    }
}

fn subscription(url: &str) -> Snapshot {
    let none = Timestamp::from_ms(0);
    let rule_id = RuleId::parse("rule").unwrap();
    let mut snapshot = Snapshot::default();
    snapshot.rules.push(RuleRecord {
        version: 1,
        rule_id: rule_id.clone(),
        seq: 1,
        rule_name: None,
        description: None,
        resource: "device.property".to_owned(),
        event: "report".to_owned(),
        app_id: None,
        select: None,
        condition: None,
        active: true,
        created_at: none,
        modified_at: none,
    });
    snapshot.actions.push(ActionRecord {
        version: 1,
        action_id: ActionId::parse("action").unwrap(),
        seq: 2,
        rule_id,
        http: HttpRecord {
            url: url.to_owned(),
            cert_id: None,
            cn_name: None,
            sni_enable: false,
            signature_enable: false,
            token: None,
            tls_verify: true,
        },
        created_at: none,
        modified_at: none,
    });
    snapshot
}

/// Answers 200 to everything, and passes on device and number.
async fn subscriber(sender: mpsc::Sender<(usize, usize)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/events", listener.local_addr().unwrap());
    tokio::task::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::task::spawn(answer(stream, sender.clone()));
        }
    });
    url
}

async fn answer(mut stream: TcpStream, sender: mpsc::Sender<(usize, usize)>) {
    stream.set_nodelay(true).unwrap();
    let mut heard = Vec::with_capacity(4096);
    while stream.read_buf(&mut heard).await.is_ok_and(|n| n > 0) {
        // The body's last bytes, which come nowhere else.
        let Some(body) = heard.strip_suffix(b"}}]}}}") else {
            continue;
        };
        let text = std::str::from_utf8(body).unwrap();
        let number = |name: &str| -> usize {
            let at = text.rfind(name).unwrap() + name.len();
            let digits = text[at..].split(|c: char| !c.is_ascii_digit()).next();
            digits.unwrap().parse().unwrap()
        };
        let passed = (number("\"device\":"), number("\"n\":"));
        heard.clear();
        sender.send(passed).await.unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
    }
}
