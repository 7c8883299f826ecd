//! A whole server on a disk in memory, fed through its channels, in the virtual time of a paused
//! runtime. Shared by the simulation and the tests of single datagrams.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use strait::api;
use strait::app::credentials::Credentials;
use strait::app::platform::{Network, Platform, Settings};
use strait::base::ids::{CommandId, DeviceId, FileId, NodeId, ProductId};
use strait::base::peer::DeviceSeq;
use strait::base::time::{Clock, Timestamp};
use strait::engine::exchange::Settings as ExchangeSettings;
use strait::net::endpoint::DATAGRAM_QUEUE;
use strait::net::{Arrival, Datagram, Downward};
use strait::store::catalog::{
    AppRecord, AuditRecord, CertificateRecord, FileContent, FileRecord, GroupRecord, SubtaskRecord,
    TaskRecord,
};
use strait::store::commands::{CommandRecord, SubmissionRecord};
use strait::store::find::{Find, Found, Leaving};
use strait::store::forwarding::{DeliveryRecord, ForwardingRecord, SetAsideQuery, SetAsideRecord};
use strait::store::memory::{Memory, MemoryStore};
use strait::store::records::{
    CodecRecord, DeviceRecord, EventRecord, ProductRecord, RawRecord, SessionRecord,
    SettingsRecord, StateRecord,
};
use strait::store::replays::{RawQuery, RawRow, ReplaysRecord};
use strait::store::{
    AuditQuery, CommandQuery, Commit, CommitError, Completion, Expiry, Health, HistoryQuery,
    HistoryRow, Page, Store, StoreError, StoreSettings,
};
use strait::telemetry;
use tokio::sync::{mpsc, oneshot};
use tower::ServiceExt;

/// Devices send `01` and a number of four bytes: the property `volume` of the service `Flow`.
const CODEC: &str = include_str!("../../fixtures/api/flow.toml");

/// A store whose commits end before the call returns, so that virtual time never runs ahead of
/// the committer's thread.
pub(crate) struct Disk {
    inner: MemoryStore,
    mute: AtomicBool,
    dead: AtomicBool,
    /// How many commits there are until the process dies at one, and whether that is durable.
    doom: Mutex<Option<(usize, bool)>>,
    lies: AtomicUsize,
    failed_at: Mutex<Option<Instant>>,
    unanswered: Mutex<Vec<oneshot::Sender<Result<(), CommitError>>>>,
}

impl Disk {
    /// What is on `memory` is found again.
    pub(crate) fn over(memory: &Memory) -> Self {
        Self {
            inner: MemoryStore::over(memory.clone()),
            mute: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            doom: Mutex::default(),
            lies: AtomicUsize::new(0),
            failed_at: Mutex::default(),
            unanswered: Mutex::default(),
        }
    }

    /// From now on commits are made durable, and nobody hears of it: the process is about to die.
    pub(crate) fn fall_mute(&self) {
        self.mute.store(true, Ordering::SeqCst);
    }

    /// The process dies at the commit after so many: just before it, or when it is durable and nobody
    /// has heard of it.
    pub(crate) fn die_at(&self, commits: usize, durable: bool) {
        *self.doom.lock().unwrap() = Some((commits, durable));
    }

    /// It has died: whoever runs the server must drop it.
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// The next `count` commits are said to have failed, and are durable.
    pub(crate) fn lie_next(&self, count: usize) {
        self.lies.store(count, Ordering::SeqCst);
    }

    /// When a commit failed last.
    pub(crate) fn failed_at(&self) -> Option<Instant> {
        *self.failed_at.lock().unwrap()
    }

    /// Whether this commit is the last one; `Some(true)`: a durable one.
    fn judge(&self) -> Option<bool> {
        let mut doom = self.doom.lock().unwrap();
        match &mut *doom {
            None => None,
            Some((0, durable)) => Some(*durable),
            Some((left, _)) => {
                *left -= 1;
                None
            }
        }
    }

    /// The next `count` commits fail.
    pub(crate) fn fail_next(&self, count: usize) {
        let error = StoreError::Full { free: 0, need: 1 };
        self.inner.faults().fail_next(count, &error);
    }
}

impl Store for Disk {
    fn commit(&self, commit: Commit) -> Completion {
        let (sender, completion) = Completion::new();
        let last = if self.is_dead() {
            Some(false)
        } else {
            self.judge()
        };
        if let Some(durable) = last {
            self.dead.store(true, Ordering::SeqCst);
            self.unanswered.lock().unwrap().push(sender);
            if !durable {
                return completion;
            }
            // Nobody waits for it.
            let wait = || self.inner.commit(commit).wait();
            drop(std::thread::scope(|scope| {
                scope.spawn(wait).join().unwrap()
            }));
            return completion;
        }
        // A thread of its own may block, a task may not.
        let wait = || self.inner.commit(commit).wait();
        let result = std::thread::scope(|scope| scope.spawn(wait).join().unwrap());
        let lies = |n: usize| n.checked_sub(1);
        let (set, seen) = (Ordering::SeqCst, Ordering::SeqCst);
        let result = match self.lies.fetch_update(set, seen, lies) {
            Ok(_) => Err(StoreError::Io("the disk lies".to_owned()).into()),
            Err(_) => result,
        };
        if matches!(result, Err(CommitError::Store(_))) {
            let now = tokio::time::Instant::now().into_std();
            *self.failed_at.lock().unwrap() = Some(now);
        }
        if self.mute.load(Ordering::SeqCst) {
            self.unanswered.lock().unwrap().push(sender);
        } else {
            sender.send(result).unwrap();
        }
        completion
    }

    fn allocate_seq(&self) -> Result<u64, StoreError> {
        self.inner.allocate_seq()
    }

    fn device(&self, id: &DeviceId) -> Result<Option<DeviceRecord>, StoreError> {
        self.inner.device(id)
    }

    fn device_by_node(&self, node: &NodeId) -> Result<Option<DeviceId>, StoreError> {
        self.inner.device_by_node(node)
    }

    fn devices(&self, page: &Page<'_>) -> Result<Vec<DeviceRecord>, StoreError> {
        self.inner.devices(page)
    }

    fn state(&self, id: &DeviceId) -> Result<Option<StateRecord>, StoreError> {
        self.inner.state(id)
    }

    fn each_device(
        &self,
        visit: &mut dyn FnMut(DeviceRecord, Option<StateRecord>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.inner.each_device(visit)
    }

    fn device_by_seq(&self, seq: DeviceSeq) -> Result<Option<DeviceId>, StoreError> {
        self.inner.device_by_seq(seq)
    }

    fn session(&self, device: DeviceSeq) -> Result<Option<SessionRecord>, StoreError> {
        self.inner.session(device)
    }

    fn each_session(
        &self,
        visit: &mut dyn FnMut(SessionRecord) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.inner.each_session(visit)
    }

    fn product(&self, id: &ProductId) -> Result<Option<ProductRecord>, StoreError> {
        self.inner.product(id)
    }

    fn products(&self) -> Result<Vec<ProductRecord>, StoreError> {
        self.inner.products()
    }

    fn codec(&self, id: &ProductId) -> Result<Option<CodecRecord>, StoreError> {
        self.inner.codec(id)
    }

    fn codec_versions(&self, id: &ProductId) -> Result<Vec<(u64, CodecRecord)>, StoreError> {
        self.inner.codec_versions(id)
    }

    fn settings(&self, id: &ProductId) -> Result<Option<SettingsRecord>, StoreError> {
        self.inner.settings(id)
    }

    fn find(&self, find: &Find<'_>) -> Result<Found, StoreError> {
        self.inner.find(find)
    }

    fn leaving(&self) -> Arc<Leaving> {
        self.inner.leaving()
    }

    fn apps(&self) -> Result<Vec<AppRecord>, StoreError> {
        self.inner.apps()
    }

    fn groups(&self) -> Result<Vec<GroupRecord>, StoreError> {
        self.inner.groups()
    }

    fn tasks(&self) -> Result<Vec<TaskRecord>, StoreError> {
        self.inner.tasks()
    }

    fn subtasks(
        &self,
        task_seq: u64,
        from: u32,
        limit: usize,
    ) -> Result<Vec<(u32, SubtaskRecord)>, StoreError> {
        self.inner.subtasks(task_seq, from, limit)
    }

    fn subtask_owners(&self) -> Result<Vec<u64>, StoreError> {
        self.inner.subtask_owners()
    }

    fn files(&self) -> Result<Vec<FileRecord>, StoreError> {
        self.inner.files()
    }

    fn file_content(&self, id: &FileId) -> Result<Option<FileContent>, StoreError> {
        self.inner.file_content(id)
    }

    fn certificates(&self) -> Result<Vec<CertificateRecord>, StoreError> {
        self.inner.certificates()
    }

    fn forwarding(&self) -> Result<Vec<ForwardingRecord>, StoreError> {
        self.inner.forwarding()
    }

    fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, StoreError> {
        self.inner.audit(query)
    }

    fn command(&self, device_seq: u64, id: CommandId) -> Result<Option<CommandRecord>, StoreError> {
        self.inner.command(device_seq, id)
    }

    fn commands(&self, query: &CommandQuery<'_>) -> Result<Vec<CommandRecord>, StoreError> {
        self.inner.commands(query)
    }

    fn submission(
        &self,
        device_seq: u64,
        name: &[u8; 16],
    ) -> Result<Option<SubmissionRecord>, StoreError> {
        self.inner.submission(device_seq, name)
    }

    fn history(&self, query: &HistoryQuery) -> Result<Vec<HistoryRow>, StoreError> {
        self.inner.history(query)
    }

    fn raw_uplinks(&self, device_seq: u64, limit: usize) -> Result<Vec<RawRecord>, StoreError> {
        self.inner.raw_uplinks(device_seq, limit)
    }

    fn raw_rows(&self, query: &RawQuery) -> Result<Vec<RawRow>, StoreError> {
        self.inner.raw_rows(query)
    }

    fn replays(&self, id: &ProductId) -> Result<Option<ReplaysRecord>, StoreError> {
        self.inner.replays(id)
    }

    fn events(&self, after: u64, limit: usize) -> Result<Vec<(u64, EventRecord)>, StoreError> {
        self.inner.events(after, limit)
    }

    fn deliveries(&self) -> Result<Vec<(u64, DeliveryRecord)>, StoreError> {
        self.inner.deliveries()
    }

    fn set_aside(&self, query: &SetAsideQuery) -> Result<Vec<SetAsideRecord>, StoreError> {
        self.inner.set_aside(query)
    }

    fn last_event(&self) -> u64 {
        self.inner.last_event()
    }

    fn expire(&self, expiry: &Expiry, limit: usize) -> Result<usize, StoreError> {
        self.inner.expire(expiry, limit)
    }

    fn health(&self) -> Health {
        self.inner.health()
    }
}

/// A running server. Dropped, it is gone as after `kill -9`.
pub(crate) struct Server {
    pub(crate) platform: Platform,
    pub(crate) disk: Arc<Disk>,
    pub(crate) uplinks: mpsc::Sender<Vec<Arrival>>,
    pub(crate) downlinks: mpsc::Receiver<Vec<Datagram>>,
    /// What goes down to the DTLS sessions, which are the tests'.
    pub(crate) sessions: mpsc::Receiver<Vec<Downward>>,
}

/// A clock that goes with the paused runtime.
pub(crate) fn virtual_clock() -> Clock {
    let start = Timestamp::parse("20260301T120000Z").unwrap();
    Clock::following(start, || tokio::time::Instant::now().into_std())
}

impl Server {
    pub(crate) fn start(memory: &Memory, clock: &Clock, seed: u64) -> Self {
        let disk = Arc::new(Disk::over(memory));
        let (uplinks, arrivals_in) = mpsc::channel(DATAGRAM_QUEUE);
        let (plain_out, downlinks) = mpsc::channel(DATAGRAM_QUEUE);
        let (secured_out, sessions) = mpsc::channel(DATAGRAM_QUEUE);
        let settings = Settings {
            shards: 2,
            exchange: ExchangeSettings::default(),
            store: StoreSettings::default(),
            traced_devices_max: 10,
            batch: strait::app::batch::Settings::default(),
            replay: strait::app::replay::Settings::default(),
            push: strait::app::push::Settings::default(),
            codecs: strait::app::codec_pool::Settings::default(),
            codec_worker: Some(env!("CARGO_BIN_EXE_strait").into()),
            dialer: strait::net::webhook::Dialer::Network,
            commands: strait::app::command::Settings::default(),
            credentials: Arc::new(Credentials::nobody_asked()),
        };
        let store: Arc<dyn Store> = Arc::clone(&disk) as _;
        let metrics = telemetry::detached_metrics();
        let network = Network {
            arrivals_in,
            plain_out,
            secured_out,
        };
        let platform =
            Platform::start(&settings, store, clock.clone(), metrics, network, seed).unwrap();
        Self {
            platform,
            disk,
            uplinks,
            downlinks,
            sessions,
        }
    }

    /// Sends one datagram to the server.
    pub(crate) async fn hear(&self, from: SocketAddr, datagram: Vec<u8>) {
        self.arrive(Arrival::plain(from, datagram.into())).await;
    }

    /// The same for what came in a DTLS record, or not.
    pub(crate) async fn arrive(&self, arrival: Arrival) {
        self.uplinks.send(vec![arrival]).await.unwrap();
    }

    /// Calls the API; the answer's body, which must be of a success.
    pub(crate) async fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        self.request(method, path, "application/json", body.to_string())
            .await
    }

    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        media: &str,
        body: String,
    ) -> Value {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("content-type", media).body(Body::from(body));
        let router = api::router(self.platform.app.clone());
        let answer = router.oneshot(request.unwrap()).await.unwrap();
        let status = answer.status();
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await;
        let body = body.unwrap();
        let text = String::from_utf8_lossy(&body);
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        serde_json::from_slice(&body).unwrap_or(Value::Null)
    }

    /// A product whose devices report the property `volume` of the service `Flow`, 0 to 65535, and
    /// `text`. With `data_format` "binary" it has the codec above.
    pub(crate) async fn create_product(&self, product_id: &str, data_format: &str) {
        let product = json!({
            "product_id": product_id, "name": product_id, "device_type": "Meter",
            "protocol_type": "CoAP", "data_format": data_format,
            "service_capabilities": [{"service_id": "Flow", "service_type": "Flow", "properties": [
                {"property_name": "volume", "data_type": "int", "method": "R",
                 "min": "0", "max": "65535"},
                {"property_name": "text", "data_type": "string", "method": "R",
                 "max_length": 10000},
            ], "commands": [{"command_name": "SET_VALVE", "paras": [
                {"para_name": "open", "data_type": "int", "required": true,
                 "min": "0", "max": "1"}], "responses": []}]}]
        });
        self.call("POST", "/v5/iot/x/products", &product).await;
        if data_format == "binary" {
            let path = format!("/v1/products/{product_id}/codec");
            self.request("PUT", &path, "application/toml", CODEC.to_owned())
                .await;
        }
    }

    /// A device named `<product_id>_<node_id>`; `auth` is its `auth_info`.
    pub(crate) async fn create_device(&self, product_id: &str, node_id: &str, auth: Value) {
        let body = json!({"product_id": product_id, "node_id": node_id, "auth_info": auth});
        self.call("POST", "/v5/iot/x/devices", &body).await;
    }

    pub(crate) fn device(&self, device_id: &str) -> Option<DeviceRecord> {
        let id = DeviceId::parse(device_id).unwrap();
        self.disk.device(&id).unwrap()
    }

    pub(crate) fn state(&self, device_id: &str) -> StateRecord {
        let id = DeviceId::parse(device_id).unwrap();
        self.disk.state(&id).unwrap().unwrap_or_default()
    }

    /// As its DTLS identity names it.
    pub(crate) fn seq(&self, device_id: &str) -> DeviceSeq {
        DeviceSeq(self.device(device_id).unwrap().seq)
    }

    /// The reported `Flow` of each history row, oldest first.
    pub(crate) fn history(&self, device_id: &str) -> Vec<Value> {
        let query = HistoryQuery {
            device_seq: self.device(device_id).unwrap().seq,
            from: None,
            to: None,
            before: None,
            limit: usize::MAX,
        };
        let rows = self.disk.history(&query).unwrap().into_iter().rev();
        rows.flat_map(|row| properties(&serde_json::from_str(&row.record.services).unwrap()))
            .collect()
    }

    /// The body of each event of `resource` about the device, in order.
    pub(crate) fn events(&self, device_id: &str, resource: &str) -> Vec<Value> {
        let id = DeviceId::parse(device_id).unwrap();
        let events = self.disk.events(0, usize::MAX).unwrap();
        let envelopes = events.into_iter().flat_map(|(_, event)| event.envelopes);
        envelopes
            .filter(|e| e.resource == resource && e.device_id.as_ref() == Some(&id))
            .map(|e| serde_json::from_str::<Value>(&e.json).unwrap())
            .map(|e| e["notify_data"]["body"].clone())
            .collect()
    }

    /// The reported properties of each event, in order.
    pub(crate) fn reported_events(&self, device_id: &str) -> Vec<Value> {
        let bodies = self.events(device_id, "device.property");
        bodies
            .iter()
            .flat_map(|body| properties(&body["services"]))
            .collect()
    }
}

/// `[{"service_id", "properties", …}]`: the properties of each.
fn properties(services: &Value) -> Vec<Value> {
    let services = services.as_array().unwrap().iter();
    services.map(|s| s["properties"].clone()).collect()
}
