//! The HTTP interface as applications meet it: signed requests over loopback to `strait serve` in a
//! process of its own, on a data directory that was filled through the store. Client and server share
//! the machine.
//!
//! ```text
//! cargo bench --bench api                 all of it
//! cargo bench --bench api -- rates        GET and POST of a device, closed loop
//! cargo bench --bench api -- lists        pages of the list, over so many devices
//! cargo bench --bench api -- search       query-devices, over so many devices
//! ```
//!
//! `STRAIT_BENCH_DEVICES`: devices of `lists` and `search` instead of 1,000,000 and 200,000;
//! `STRAIT_BENCH_DIR`: parent of the data directories instead of the system's temporary one.
//! Rates are medians of five rounds of 3 s; latencies are of one connection, each request sent 40 times.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement fails by panicking, prints, and reads the real clock"
)]

#[path = "fleet/mod.rs"]
mod fleet;

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use strait::base::ids::{AppId, DeviceId, ProductId};
use strait::base::time::{Clock, Timestamp};
use strait::product::profile::Profile;
use strait::store::disk::DiskStore;
use strait::store::generation::Generation;
use strait::store::records::{DeviceRecord, ProductRecord, StateRecord, TagRecord};
use strait::store::{Change, Commit, Completion, Store, StoreSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(3);
const REPEATS: usize = 40;
const PRODUCTS: u64 = 20;

fn main() {
    let chosen = std::env::args().nth(1).filter(|arg| !arg.starts_with('-'));
    let wanted = |name: &str| chosen.as_deref().is_none_or(|c| c == name);
    let devices = std::env::var("STRAIT_BENCH_DEVICES").ok();
    let devices = devices.map(|text| text.parse::<u64>().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    if wanted("rates") {
        let serving = Serving::over(10_000);
        runtime.block_on(rates(&serving));
    }
    if wanted("lists") {
        let devices = devices.unwrap_or(1_000_000);
        let serving = Serving::over(devices);
        runtime.block_on(lists(&serving, devices));
    }
    if wanted("search") {
        let devices = devices.unwrap_or(200_000);
        let serving = Serving::over(devices);
        runtime.block_on(search(&serving, devices));
    }
}

async fn rates(serving: &Serving) {
    let path = format!("/v5/iot/p/devices/{}", device_id(5_000));
    let get = Arc::new(serving.signed("GET", &path, "", b""));
    for connections in [16, 64] {
        let next = Arc::clone(&get);
        let rate = rate(serving, connections, move |_| next.as_ref().clone(), 200).await;
        println!("GET device, {connections} connections: {rate}");
    }
    let signer = Arc::new(serving.signer());
    let serial = Arc::new(AtomicU64::new(1));
    for connections in [64, 256] {
        let (signer, serial) = (Arc::clone(&signer), Arc::clone(&serial));
        let next = move |_| {
            let n = serial.fetch_add(1, Ordering::Relaxed);
            let body = format!(r#"{{"node_id": "new{n}", "product_id": "product1"}}"#);
            signer.sign("POST", "/v5/iot/p/devices", "", body.as_bytes())
        };
        let rate = rate(serving, connections, next, 201).await;
        println!("POST device, durable, {connections} connections: {rate}");
    }
}

/// Closed loop over so many connections: each sends when it has its answer.
async fn rate(
    serving: &Serving,
    connections: usize,
    next: impl Fn(usize) -> Vec<u8> + Clone + 'static,
    status: u16,
) -> String {
    let mut rates = Vec::new();
    let mut latency = hdrhistogram::Histogram::<u64>::new(3).unwrap();
    for _ in 0..ROUNDS {
        let local = tokio::task::LocalSet::new();
        let end = Instant::now() + ROUND;
        let mut running = Vec::new();
        for n in 0..connections {
            let mut connection = Connection::to(serving.http).await;
            let next = next.clone();
            running.push(local.spawn_local(async move {
                let mut took = Vec::new();
                while Instant::now() < end {
                    let request = next(n);
                    let begun = Instant::now();
                    let (got, body) = connection.send(&request).await;
                    assert_eq!(got, status, "{}", String::from_utf8_lossy(&body));
                    took.push(u64::try_from(begun.elapsed().as_micros()).unwrap());
                }
                took
            }));
        }
        let begun = Instant::now();
        let mut done = 0_u64;
        local
            .run_until(async {
                for one in running {
                    let took = one.await.unwrap();
                    done += took.len() as u64;
                    took.into_iter().for_each(|us| latency += us);
                }
            })
            .await;
        rates.push(u128::from(done) * 1000 / begun.elapsed().as_millis());
    }
    rates.sort_unstable();
    format!(
        "{} /s (rounds {rates:?}), p50 {} us, p99 {} us",
        rates[ROUNDS / 2],
        latency.value_at_quantile(0.5),
        latency.value_at_quantile(0.99)
    )
}

async fn lists(serving: &Serving, devices: u64) {
    let marker = |part: u64| format!("{:024x}", devices * part / 10);
    let mut queries = vec![
        ("first page".to_owned(), "limit=50".to_owned()),
        ("offset 500".to_owned(), "limit=50&offset=500".to_owned()),
        (
            "of a product".to_owned(),
            "limit=50&product_id=product3".to_owned(),
        ),
        (
            "by name".to_owned(),
            format!("device_name=Meter-{}", devices / 2),
        ),
        (
            "by node id".to_owned(),
            format!("node_id={}", node_id(devices / 3)),
        ),
        (
            "of the space".to_owned(),
            "app_id=default&limit=50".to_owned(),
        ),
    ];
    for part in [1, 5, 9] {
        let what = format!("from {part}/10 of the list");
        queries.push((what, format!("limit=50&marker={}", marker(part))));
        let what = format!("of a product, from {part}/10");
        queries.push((
            what,
            format!("limit=50&marker={}&product_id=product3", marker(part)),
        ));
    }
    println!("GET devices, {devices} devices:");
    for (what, query) in queries {
        let request = serving.signed("GET", "/v5/iot/p/devices", &query, b"");
        tell(serving, &what, &request).await;
    }
}

async fn search(serving: &Serving, devices: u64) {
    println!("POST search/query-devices, {devices} devices:");
    let conditions = [
        format!("node_id = '{}'", node_id(devices / 2)),
        format!("node_id like '{}%'", &node_id(devices / 2)[..11]),
        "node_id like '8677%'".to_owned(),
        "device_name like 'Meter-1234%'".to_owned(),
        "device_name like 'Meter%'".to_owned(),
        "product_id = 'product3'".to_owned(),
        "status = 'ONLINE'".to_owned(),
        "status = 'INACTIVE' and product_id = 'product3'".to_owned(),
        "tag_key = 'street' and tag_value = 'street7'".to_owned(),
        "tag_key = 'street' and tag_value = 'street7' and status != 'ONLINE'".to_owned(),
        "product_id in ('product1', 'product2') and device_name like 'Meter-1%'".to_owned(),
    ];
    for condition in conditions {
        let sql = format!("select * from device where {condition} limit 50");
        let body = serde_json::json!({"sql": sql}).to_string();
        let path = "/v5/iot/p/search/query-devices";
        let request = serving.signed("POST", path, "", body.as_bytes());
        tell(serving, &condition, &request).await;
    }
}

/// Sends one request again and again, and tells how long its answers took.
async fn tell(serving: &Serving, what: &str, request: &[u8]) {
    let mut connection = Connection::to(serving.http).await;
    let mut took = Vec::new();
    let mut count = String::new();
    for _ in 0..REPEATS {
        let begun = Instant::now();
        let (status, body) = connection.send(request).await;
        took.push(begun.elapsed());
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let found = answer.get("count").or_else(|| answer["page"].get("count"));
        count = found.unwrap_or(&serde_json::Value::Null).to_string();
    }
    took.sort_unstable();
    println!(
        "  {what}: median {:.2?}, longest {:.2?} (count {count})",
        took[REPEATS / 2],
        took[REPEATS - 1]
    );
}

/// `strait serve` with authentication on a filled directory, killed when dropped.
struct Serving {
    child: Child,
    http: SocketAddr,
    keys: HashMap<String, String>,
    _dir: tempfile::TempDir,
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Serving {
    fn over(devices: u64) -> Self {
        let parent = std::env::var_os("STRAIT_BENCH_DIR");
        let parent = parent.map_or_else(std::env::temp_dir, Into::into);
        let dir = tempfile::tempdir_in(parent).unwrap();
        let begun = Instant::now();
        fill(dir.path(), devices);
        println!("{devices} devices filled in {:.1?}", begun.elapsed());
        let begun = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_strait"))
            .args(["serve", "--coap", "off", "--coaps", "off"])
            .args(["--http", "127.0.0.1:0", "--data"])
            .arg(dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        lines.read_line(&mut line).unwrap();
        let http = line.split("http=").nth(1).unwrap();
        let http = http.split_whitespace().next().unwrap().parse().unwrap();
        println!("ready after {:.2?}", begun.elapsed());
        let keys = std::fs::read_to_string(dir.path().join("credentials.toml")).unwrap();
        let keys = keys.lines().filter_map(|line| {
            let (name, value) = line.split_once(" = ")?;
            Some((name.to_owned(), value.trim_matches('"').to_owned()))
        });
        Self {
            child,
            http,
            keys: keys.collect(),
            _dir: dir,
        }
    }

    fn signer(&self) -> Signer {
        Signer {
            host: self.http.to_string(),
            access_key: self.keys["access_key"].clone(),
            secret_key: self.keys["secret_key"].clone(),
        }
    }

    fn signed(&self, method: &str, path: &str, query: &str, body: &[u8]) -> Vec<u8> {
        self.signer().sign(method, path, query, body)
    }
}

/// SDK-HMAC-SHA256, written from its description: none of the server's code.
struct Signer {
    host: String,
    access_key: String,
    secret_key: String,
}

impl Signer {
    /// The bytes of a request. Path and query must need no escaping.
    fn sign(&self, method: &str, path: &str, query: &str, body: &[u8]) -> Vec<u8> {
        let date = Clock::System.now().compact();
        let mut pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
        pairs.sort_unstable();
        let host = &self.host;
        let signed = "content-type;host;x-sdk-date";
        let canonical = format!(
            "{method}\n{path}/\n{}\ncontent-type:application/json\nhost:{host}\n\
             x-sdk-date:{date}\n\n{signed}\n{}",
            pairs.join("&"),
            hex(&Sha256::digest(body))
        );
        let digest = hex(&Sha256::digest(canonical.as_bytes()));
        let to_sign = format!("SDK-HMAC-SHA256\n{date}\n{digest}");
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret_key.as_bytes()).unwrap();
        mac.update(to_sign.as_bytes());
        let signature = hex(&mac.finalize().into_bytes());
        let target = match query {
            "" => path.to_owned(),
            query => format!("{path}?{query}"),
        };
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             X-Sdk-Date: {date}\r\nContent-Length: {}\r\nAuthorization: SDK-HMAC-SHA256 \
             Access={}, SignedHeaders={signed}, Signature={signature}\r\n\r\n",
            body.len(),
            self.access_key
        );
        [head.as_bytes(), body].concat()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One kept connection.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn to(http: SocketAddr) -> Self {
        let stream = TcpStream::connect(http).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Status and body of the answer.
    async fn send(&mut self, request: &[u8]) -> (u16, Vec<u8>) {
        self.stream.write_all(request).await.unwrap();
        let head = loop {
            let end = self.buffer.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                break self.buffer.drain(..end + 4).collect::<Vec<u8>>();
            }
            self.fill().await;
        };
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let status = head[9..12].parse().unwrap();
        let len = head.split("content-length: ").nth(1).unwrap();
        let len: usize = len.split("\r\n").next().unwrap().parse().unwrap();
        while self.buffer.len() < len {
            self.fill().await;
        }
        (status, self.buffer.drain(..len).collect())
    }

    async fn fill(&mut self) {
        let read = self.stream.read_buf(&mut self.buffer).await.unwrap();
        assert!(read > 0, "the server hung up");
    }
}

/// Devices 1 to `devices` in 20 products: every second one was heard, each is in one of 100 streets.
fn fill(data: &Path, devices: u64) {
    let key = data.join("sealing.key");
    let settings = StoreSettings {
        cache_mb: 256,
        ..StoreSettings::default()
    };
    let store = DiskStore::open_with_key(&data.join("store"), &settings, &key).unwrap();
    let (generation, _) = Generation::check(&store, &data.join("sealing.generation")).unwrap();
    let now = Clock::System.now();
    let mut waiting: VecDeque<Completion> = VecDeque::new();
    let mut changes = Vec::new();
    // Before the devices, whose numbers are those of the list.
    for n in 0..PRODUCTS {
        let record = product(n, store.allocate_seq().unwrap(), now);
        changes.push(Change::PutProduct(Box::new(record)));
    }
    for n in 1..=devices {
        let seq = store.allocate_seq().unwrap();
        let record = device(n, seq, now);
        if n % 2 == 0 {
            let state = StateRecord {
                version: 1,
                activated_at: Some(now),
                last_seen_at: Some(now),
                ..StateRecord::default()
            };
            changes.push(Change::PutState(record.device_id.clone(), Box::new(state)));
        }
        changes.push(Change::PutDevice(Box::new(record)));
        if changes.len() < 64 && n < devices {
            continue;
        }
        waiting.push_back(store.commit(Commit {
            guards: Vec::new(),
            changes: std::mem::take(&mut changes),
        }));
        if waiting.len() >= 64 {
            waiting.pop_front().unwrap().wait().unwrap();
        }
    }
    for completion in waiting {
        completion.wait().unwrap();
    }
    generation.bump(&store).unwrap();
    store.close();
}

fn product(n: u64, seq: u64, now: Timestamp) -> ProductRecord {
    ProductRecord {
        product_id: ProductId::parse(&format!("product{n}")).unwrap(),
        seq,
        version: 1,
        app_id: AppId::parse("default").unwrap(),
        name: format!("Product{n}"),
        device_type: "meter".to_owned(),
        protocol_type: "CoAP".to_owned(),
        data_format: "binary".to_owned(),
        manufacturer_name: None,
        industry: None,
        description: None,
        profile: Profile::default(),
        created_at: now,
        deleting: false,
    }
}

fn node_id(n: u64) -> String {
    format!("8677250{n:08}")
}

fn device_id(n: u64) -> DeviceId {
    DeviceId::parse(&format!("product{}_{}", n % PRODUCTS, node_id(n))).unwrap()
}

fn device(n: u64, seq: u64, now: Timestamp) -> DeviceRecord {
    let product = format!("product{}", n % PRODUCTS);
    DeviceRecord {
        device_name: Some(format!("Meter-{n}")),
        created_at: now,
        tags: vec![TagRecord {
            tag_key: "street".to_owned(),
            tag_value: format!("street{}", n % 100),
        }],
        ..fleet::device(&device_id(n), &product, &node_id(n), seq)
    }
}
