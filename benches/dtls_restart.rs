//! The server with 50,000 stored DTLS sessions: how long from the start of the process, after
//! `kill -9`, until a device's record in its old session is answered, and what the sessions cost in
//! memory.
//!
//! The data directory is filled through the store: devices with their registrations and, for one
//! of two directories, with sessions as handshakes with the engine left them. Then `strait serve`
//! runs on it three times. The device that is kept registers again in its session, which is a
//! durable step. `STRAIT_BENCH_DIR` names the parent of the directories (default: the system's
//! temporary one), `STRAIT_BENCH_DEVICES` the number of devices.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement fails by panicking, prints, and reads the real clock"
)]

#[allow(dead_code, reason = "what the engine's tests need of it")]
#[path = "../src/engine/dtls/tests/client.rs"]
mod client;
#[path = "dtls/server.rs"]
mod server;

#[path = "fleet/mod.rs"]
mod fleet;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use strait::base::ids::{AppId, DeviceId, ProductId};
use strait::base::secret::Secret;
use strait::base::time::{Clock, Timestamp};
use strait::engine::dtls::Stored;
use strait::engine::dtls::crypto::Suite;
use strait::net::dtls::OsRandom;
use strait::product::profile::Profile;
use strait::store::disk::DiskStore;
use strait::store::generation::Generation;
use strait::store::lock::DataLock;
use strait::store::records::{
    AuthRecord, DeviceRecord, PresenceRecord, ProductRecord, RegistrationKind, RegistrationRecord,
    SessionRecord, StateRecord,
};
use strait::store::{Change, Commit, Completion, Store, StoreSettings};
// Where the client looks for them.
use strait::{engine, wire};

use client::{Client, Offer};
use server::{PSK, Server, identity, rss_bytes, settings};

const STARTS: usize = 3;
const LINKS: &str = "</>;rt=\"oma.lwm2m\",</1/0>,</3/0>,</4/0>,</5/0>,</19/0>,</19/1>";

fn main() {
    let devices = std::env::var("STRAIT_BENCH_DEVICES");
    let devices: u64 = devices.map_or(50_000, |text| text.parse().unwrap());
    let parent = std::env::var_os("STRAIT_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let mut rss = Vec::new();
    for with_sessions in [false, true] {
        let dir = tempfile::tempdir_in(&parent).unwrap();
        let begun = Instant::now();
        let mut kept = fill(dir.path(), devices, with_sessions);
        let what = if with_sessions { "with" } else { "without" };
        let took = begun.elapsed();
        println!("{devices} devices {what} sessions, filled in {took:.1?}");
        for _ in 0..STARTS {
            let begun = Instant::now();
            let serving = Serving::start(dir.path());
            let ready = begun.elapsed();
            if let Some((device, client)) = &mut kept {
                register(client, *device, serving.address);
                let answered = begun.elapsed();
                println!("  ready after {ready:.2?}, first record answered after {answered:.2?}");
            } else {
                println!("  ready after {ready:.2?}");
            }
            std::thread::sleep(Duration::from_secs(2));
            let bytes = rss_bytes(&serving.child.id().to_string());
            println!("  RSS {:.1} MB", bytes as f64 / 1e6);
            rss.push(bytes);
        }
    }
    let (without, with) = rss.split_at_mut(STARTS);
    without.sort_unstable();
    with.sort_unstable();
    let more = with[STARTS / 2].saturating_sub(without[STARTS / 2]);
    println!("median RSS for each session: {} bytes", more / devices);
}

/// `strait serve`, killed without a warning when dropped.
struct Serving {
    child: Child,
    address: SocketAddr,
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Serving {
    /// Until it says that it is ready.
    fn start(data: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_strait"))
            .args(["serve", "--no-auth", "--coap", "off"])
            .args(["--http", "127.0.0.1:0", "--coaps", "127.0.0.1:0", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let address = line.trim().rsplit_once("coaps=").unwrap().1;
        let address = address.parse().unwrap();
        Self { child, address }
    }
}

/// A registration in the old session, and its answer, which is 2.01.
fn register(client: &mut Client, device: u64, server: SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let msg_id = u16::try_from(client.send_seq).unwrap().to_be_bytes();
    let endpoint = format!("ep={}", identity(device));
    // Confirmable POST with a token of 2 bytes; Uri-Path, Content-Format, two Uri-Query.
    let mut message = vec![0x42, 0x02, msg_id[0], msg_id[1], 0xab, 0xcd];
    message.extend([0xb2, b'r', b'd', 0x11, 40]);
    message.extend([0x3d, u8::try_from(endpoint.len() - 13).unwrap()]);
    message.extend_from_slice(endpoint.as_bytes());
    message.push(0x08);
    message.extend_from_slice(b"lt=86400");
    message.push(0xff);
    message.extend_from_slice(LINKS.as_bytes());
    socket.send(&client.send(&message)).unwrap();
    let mut buffer = [0; 2048];
    while client.received.is_empty() {
        let len = socket.recv(&mut buffer).unwrap();
        client.receive(&buffer[..len]);
    }
    let answer = std::mem::take(&mut client.received).remove(0);
    assert_eq!(answer[1], 0x41, "2.01, not {answer:02x?}");
}

/// Devices, registrations and sessions; the last device's client is given back.
fn fill(data: &Path, devices: u64, with_sessions: bool) -> Option<(u64, Client)> {
    let _lock = DataLock::hold(data).unwrap();
    let config = StoreSettings::default();
    let key = config.key_path(data);
    let store = DiskStore::open_with_key(&data.join("store"), &config, &key).unwrap();
    let (generation, _) = Generation::check(&store, &config.generation_path(data)).unwrap();
    let clock = Clock::System;
    let mut engine = Server::keeping(settings(), clock.instant(), Box::new(OsRandom));
    let mut waiting: VecDeque<Completion> = VecDeque::new();
    let mut kept = None;
    let product = Change::PutProduct(Box::new(product(store.allocate_seq().unwrap())));
    let mut changes = vec![product];
    for _ in 0..devices {
        let seq = store.allocate_seq().unwrap();
        let record = device(seq, clock.now());
        let device_id = record.device_id.clone();
        changes.push(Change::PutState(
            device_id.clone(),
            Box::new(state(seq, clock.now())),
        ));
        changes.push(Change::PutDevice(Box::new(record)));
        if with_sessions {
            let offer = Offer::of(Suite::Ccm8).with_cid(&[]);
            let (client, _) = engine.connect(clock.instant(), seq, offer);
            let stored = engine.stored.take().unwrap();
            let record = session(*stored, device_id, clock.now());
            changes.push(Change::PutSession(Box::new(record)));
            kept = Some((seq, client));
        }
        waiting.push_back(store.commit(Commit {
            guards: Vec::new(),
            changes: std::mem::take(&mut changes),
        }));
        if waiting.len() >= 1024 {
            waiting.pop_front().unwrap().wait().unwrap();
        }
    }
    for completion in waiting {
        completion.wait().unwrap();
    }
    generation.bump(&store).unwrap();
    store.close();
    kept
}

fn session(stored: Stored, device_id: DeviceId, now: Timestamp) -> SessionRecord {
    SessionRecord {
        device_seq: stored.device,
        device_id,
        number: stored.number,
        own_cid: stored.own_cid,
        peer_cid: stored.peer_cid.to_vec(),
        address: stored.address,
        suite: stored.suite.code(),
        encrypt_then_mac: stored.encrypt_then_mac,
        return_routability: stored.return_routability,
        key_block: stored.key_block,
        verify_data: stored.verify_data.to_vec(),
        finished_seq: stored.finished_seq,
        send_reserved: stored.send_reserved,
        received: stored.received,
        address_proven: stored.is_proven,
        established_at: now,
    }
}

fn product(seq: u64) -> ProductRecord {
    ProductRecord {
        product_id: ProductId::parse("meter").unwrap(),
        seq,
        version: 1,
        app_id: AppId::parse("default").unwrap(),
        name: "meter".to_owned(),
        device_type: "meter".to_owned(),
        protocol_type: "LwM2M".to_owned(),
        data_format: "binary".to_owned(),
        manufacturer_name: None,
        industry: None,
        description: None,
        profile: Profile::default(),
        created_at: Timestamp::from_ms(1_700_000_000_000),
        deleting: false,
    }
}

fn device(seq: u64, now: Timestamp) -> DeviceRecord {
    let device_id = DeviceId::parse(&format!("meter_{}", identity(seq))).unwrap();
    let secret: String = PSK.iter().map(|byte| format!("{byte:02x}")).collect();
    let plain = fleet::device(&device_id, "meter", &identity(seq), seq);
    DeviceRecord {
        device_name: Some(format!("Meter {seq}")),
        auth: AuthRecord {
            secret: Secret::new(secret),
            secret_given: true,
            secure_access: Some(true),
            ..plain.auth
        },
        created_at: now,
        ..plain
    }
}

fn state(seq: u64, now: Timestamp) -> StateRecord {
    StateRecord {
        version: 1,
        activated_at: Some(now),
        last_seen_at: Some(now),
        presence: PresenceRecord::Online,
        presence_since: Some(now),
        registration: Some(RegistrationRecord {
            kind: RegistrationKind::Lwm2m,
            peer: server::address(seq),
            registered_at: now,
            updated_at: now,
            lifetime_s: 86_400,
            lwm2m: "1.0".to_owned(),
            binding: "U".to_owned(),
            queue_mode: false,
            links: LINKS.to_owned(),
            endpoint: identity(seq),
            secured: true,
        }),
        location: Some(seq * 0x9e37_79b9),
        ..StateRecord::default()
    }
}
