//! Many commands that wait: 1,000,000 over 100,000 sleeping devices, on sled. How long a start takes, what it
//! costs in memory, and how fast a device that wakes up gets its next one.
//!
//! ```text
//! open       the store
//! start      every device into the directory and its shard
//! look-up    device, state and the command that is next, read for a device by chance
//! wake-up    from the update of a registration to the datagram of the command, with the durable commit
//! ```
//! `STRAIT_BENCH_DEVICES`: instead of 100,000; each has 10 commands. `STRAIT_BENCH_DIR` names the parent of the data
//! directory (default: the system's temporary one).
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement fails by panicking, prints, and reads the real clock"
)]

#[path = "fleet/mod.rs"]
mod fleet;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use hdrhistogram::Histogram;
use serde_json::{Map, json};
use strait::app::credentials::Credentials;
use strait::app::platform::{Network, Platform, Settings};
use strait::base::ids::{CommandId, DeviceId};
use strait::base::time::{Clock, Timestamp};
use strait::engine::exchange::Settings as ExchangeSettings;
use strait::engine::registration::location_text;
use strait::net::endpoint::DATAGRAM_QUEUE;
use strait::net::{Arrival, Datagram};
use strait::store::commands::{
    CommandRecord, CommandStatus, DownlinkKind, PendingRecord, QueueRecord, Strategy,
};
use strait::store::disk::DiskStore;
use strait::store::package_files::PackageFiles;
use strait::store::records::{
    DeviceRecord, PresenceRecord, RegistrationKind, RegistrationRecord, StateRecord,
};
use strait::store::seal::Sealer;
use strait::store::{Change, Commit, Completion, Store, StoreSettings};
use strait::telemetry;
use strait::wire::coap::{Builder, Code, Message, Token, Type, option};
use tokio::sync::mpsc;
use tower::ServiceExt;

/// Commands of one device.
const EACH: u64 = 10;
const LOOK_UPS: u64 = 20_000;
const WAKE_UPS: u64 = 2_000;
const CODEC: &str = include_str!("../fixtures/api/flow.toml");

fn main() {
    let devices = std::env::var("STRAIT_BENCH_DEVICES").ok();
    let devices: u64 = devices.and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.enable_all().worker_threads(2).build().unwrap();
    // The server is another process, so that its memory is its own.
    let mut arguments = std::env::args().skip_while(|a| a != "--serve");
    if let Some(dir) = arguments.nth(1) {
        runtime.block_on(serve(Path::new(&dir), devices));
        return;
    }
    let parent = std::env::var_os("STRAIT_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let dir = tempfile::tempdir_in(&parent).unwrap();
    let store = runtime.block_on(async {
        let server = Server::start(open(dir.path()));
        server.create_product().await;
        let store = Arc::clone(&server.store);
        server.platform.stop().await;
        drop(server.uplinks);
        store
    });
    let begun = Instant::now();
    fill(store.as_ref(), devices);
    println!(
        "filled with {} commands: {:?}",
        devices * EACH,
        begun.elapsed()
    );
    drop(store);
    let program = std::env::current_exe().unwrap();
    let mut server = std::process::Command::new(program);
    let status = server.arg("--serve").arg(dir.path()).status().unwrap();
    assert!(status.success());
}

async fn serve(dir: &Path, devices: u64) {
    let before = rss_mb();
    let begun = Instant::now();
    let store = open(dir);
    println!("open: {:?}", begun.elapsed());
    let begun = Instant::now();
    let mut server = Server::start(store);
    println!(
        "start: {:?}, memory {} MB, {before} MB before",
        begun.elapsed(),
        rss_mb()
    );
    println!("look-up: {}", look_up(server.store.as_ref(), devices));
    println!("wake-up: {}", wake_up(&mut server, devices).await);
    println!("memory at the end: {} MB", rss_mb());
}

fn open(path: &Path) -> Arc<DiskStore> {
    let sealer = Sealer::new([1; 32]);
    Arc::new(DiskStore::open(path, &StoreSettings::default(), sealer).unwrap())
}

/// A device side without sockets.
struct Server {
    platform: Platform,
    store: Arc<DiskStore>,
    uplinks: mpsc::Sender<Vec<Arrival>>,
    downlinks: mpsc::Receiver<Vec<Datagram>>,
}

impl Server {
    fn start(store: Arc<DiskStore>) -> Self {
        let (uplinks, arrivals_in) = mpsc::channel(DATAGRAM_QUEUE);
        let (plain_out, downlinks) = mpsc::channel(DATAGRAM_QUEUE);
        let (secured_out, _) = mpsc::channel(1);
        let settings = Settings {
            shards: 2,
            exchange: ExchangeSettings::default(),
            store: StoreSettings::default(),
            traced_devices_max: 10,
            batch: strait::app::batch::Settings::default(),
            upgrade: strait::app::upgrade::Settings::default(),
            replay: strait::app::replay::Settings::default(),
            limits: strait::engine::limit::Settings::OFF,
            commands: strait::app::command::Settings::default(),
            push: strait::app::push::Settings::default(),
            packages: strait::app::package::Settings::default(),
            package_files: PackageFiles::of(Path::new("/nonexistent")),
            codecs: strait::app::codec_pool::Settings::default(),
            codec_worker: None,
            dialer: strait::net::webhook::Dialer::Network,
            credentials: Arc::new(Credentials::nobody_asked()),
        };
        let network = Network {
            arrivals_in,
            plain_out,
            secured_out,
        };
        let shared: Arc<dyn Store> = Arc::clone(&store) as _;
        let metrics = telemetry::detached_metrics();
        let clock = Clock::System;
        let platform = Platform::start(&settings, shared, clock, metrics, network, 1).unwrap();
        Self {
            platform,
            store,
            uplinks,
            downlinks,
        }
    }

    async fn create_product(&self) {
        let product = json!({
            "product_id": "p", "name": "p", "device_type": "Meter", "protocol_type": "CoAP",
            "data_format": "binary",
            "service_capabilities": [{"service_id": "Flow", "service_type": "Flow",
                "properties": [{"property_name": "volume", "data_type": "int", "method": "R"}],
                "commands": [{"command_name": "SET_VALVE", "paras": [
                    {"para_name": "open", "data_type": "int"}], "responses": []}]}]
        });
        self.call(
            "POST",
            "/v5/iot/x/products",
            "application/json",
            product.to_string(),
        )
        .await;
        let path = "/v1/products/p/codec";
        self.call("PUT", path, "application/toml", CODEC.to_owned())
            .await;
    }

    async fn call(&self, method: &str, path: &str, media: &str, body: String) {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("content-type", media).body(Body::from(body));
        let router = strait::api::router(self.platform.app.clone());
        let answer = router.oneshot(request.unwrap()).await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
    }
}

fn fill(store: &DiskStore, devices: u64) {
    let mut waiting: VecDeque<Completion> = VecDeque::new();
    for seq in 1..=devices {
        let queue: Vec<CommandRecord> = (0..EACH).map(|n| command(seq, n)).collect();
        let record = device(seq);
        let mut changes = vec![
            Change::PutState(record.device_id.clone(), Box::new(state(seq, &queue))),
            Change::PutDevice(Box::new(record)),
        ];
        changes.extend(queue.into_iter().map(|record| Change::PutCommand {
            device_seq: seq,
            record: Box::new(record),
        }));
        let guards = Vec::new();
        waiting.push_back(store.commit(Commit { guards, changes }));
        if waiting.len() >= 1024 {
            waiting.pop_front().unwrap().wait().unwrap();
        }
    }
    for completion in waiting {
        completion.wait().unwrap();
    }
}

/// Any device, each another one.
const fn any(n: u64, devices: u64) -> u64 {
    n * 7919 % devices + 1
}

fn look_up(store: &DiskStore, devices: u64) -> String {
    let mut times = Histogram::<u64>::new(3).unwrap();
    for n in 0..LOOK_UPS {
        let seq = any(n, devices);
        let begun = Instant::now();
        let device = store.device(&device_id(seq)).unwrap().unwrap();
        let state = store.state(&device.device_id).unwrap().unwrap();
        let next = state.queue.pending[0].id;
        assert!(store.command(device.seq, next).unwrap().is_some());
        times.record(us(begun)).unwrap();
    }
    describe(&times)
}

/// One after the other: an update, the datagram that follows, and its acknowledgement.
async fn wake_up(server: &mut Server, devices: u64) -> String {
    let mut times = Histogram::<u64>::new(3).unwrap();
    for n in 0..WAKE_UPS {
        let seq = any(n + LOOK_UPS, devices);
        let msg_id = u16::try_from(n % 60_000).unwrap();
        let token = Token::from_u64(n);
        let update = Builder::new(Type::Confirmable, Code::POST, msg_id, token)
            .option(option::URI_PATH, b"rd")
            .option(option::URI_PATH, location_text(location(seq)).as_bytes());
        let begun = Instant::now();
        let arrival = Arrival::plain(address(seq), update.build().into());
        server.uplinks.send(vec![arrival]).await.unwrap();
        loop {
            let batch = server.downlinks.recv().await.unwrap();
            let is_request = |(_, bytes): &Datagram| {
                let message = Message::parse(bytes).unwrap();
                message.code.is_request()
            };
            if batch.iter().any(is_request) {
                break;
            }
        }
        times.record(us(begun)).unwrap();
    }
    describe(&times)
}

fn us(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_micros()).unwrap()
}

fn describe(times: &Histogram<u64>) -> String {
    let at = |quantile| Duration::from_micros(times.value_at_quantile(quantile));
    format!("p50 {:?}, p99 {:?}, max {:?}", at(0.5), at(0.99), at(1.0))
}

/// Resident memory of this process.
fn rss_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    let kb = line.split_whitespace().nth(1).unwrap();
    kb.parse::<u64>().unwrap() / 1024
}

fn device_id(seq: u64) -> DeviceId {
    DeviceId::parse(&format!("p_8677250{seq:08}")).unwrap()
}

const fn location(seq: u64) -> u64 {
    seq * 0x9e37_79b9
}

fn address(seq: u64) -> SocketAddr {
    let [.., a, b, c] = seq.to_be_bytes();
    SocketAddr::from(([10, a, b, c], 5683))
}

fn device(seq: u64) -> DeviceRecord {
    let node = format!("8677250{seq:08}");
    DeviceRecord {
        created_at: now(),
        ..fleet::device(&device_id(seq), "p", &node, seq)
    }
}

fn now() -> Timestamp {
    Clock::System.now()
}

fn command(seq: u64, n: u64) -> CommandRecord {
    let mut paras = Map::new();
    paras.insert("open".to_owned(), 1.into());
    CommandRecord {
        id: CommandId {
            created_at: now(),
            seq: (seq * EACH + n) << 8,
        },
        kind: DownlinkKind::Command,
        service_id: "Flow".to_owned(),
        command_name: "SET_VALVE".to_owned(),
        paras,
        strategy: Strategy::Delay,
        expire_time_s: 172_800,
        expects_answer: true,
        status: CommandStatus::Pending,
        sent_at: None,
        delivered_at: None,
        answered_at: None,
        message: None,
        result: None,
    }
}

/// Silent for ten minutes.
fn state(seq: u64, queue: &[CommandRecord]) -> StateRecord {
    let heard_at = Timestamp::from_ms(now().as_ms() - 600_000);
    let pending = queue.iter().map(|command| PendingRecord {
        id: command.id,
        expires_at: now().plus_s(172_800),
    });
    StateRecord {
        version: 1,
        activated_at: Some(heard_at),
        last_seen_at: Some(heard_at),
        presence: PresenceRecord::Online,
        presence_since: Some(heard_at),
        registration: Some(RegistrationRecord {
            kind: RegistrationKind::Lwm2m,
            peer: address(seq),
            registered_at: heard_at,
            updated_at: heard_at,
            lifetime_s: 86_400,
            lwm2m: "1.0".to_owned(),
            binding: "UQ".to_owned(),
            queue_mode: true,
            links: "</19/0>,</19/1>".to_owned(),
            endpoint: format!("8677250{seq:08}"),
            secured: false,
        }),
        location: Some(location(seq)),
        queue: QueueRecord {
            pending: pending.collect(),
            ..QueueRecord::default()
        },
        ..StateRecord::default()
    }
}
