//! A whole server on a disk in memory, fed through its channels, in the virtual time of a paused
//! runtime. Shared by the simulation and the tests of single datagrams.

#[path = "disk.rs"]
pub(crate) mod disk;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use strait::api;
use strait::app::credentials::Credentials;
use strait::app::platform::{Network, Platform, Settings};
use strait::base::ids::DeviceId;
use strait::base::peer::DeviceSeq;
use strait::base::time::{Clock, Timestamp};
use strait::engine::exchange::Settings as ExchangeSettings;
use strait::net::endpoint::DATAGRAM_QUEUE;
use strait::net::{Arrival, Datagram, Downward};
use strait::store::memory::Memory;
use strait::store::package_files::PackageFiles;
use strait::store::records::{DeviceRecord, StateRecord};
use strait::store::{HistoryQuery, Store, StoreSettings};
use strait::telemetry;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tower::ServiceExt;

pub(crate) use disk::Disk;

/// Devices send `01` and a number of four bytes: the property `volume` of the service `Flow`.
const CODEC: &str = include_str!("../../fixtures/api/flow.toml");

/// A running server. Dropped, it is gone as after `kill -9`.
pub(crate) struct Server {
    pub(crate) platform: Platform,
    /// Holds the files of packages.
    pub(crate) data: Option<Arc<TempDir>>,
    pub(crate) disk: Arc<Disk>,
    pub(crate) uplinks: mpsc::Sender<Vec<Arrival>>,
    pub(crate) downlinks: mpsc::Receiver<Vec<Datagram>>,
    /// What goes down to the DTLS sessions, which are the tests'.
    pub(crate) sessions: mpsc::Receiver<Vec<Downward>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.disk.die();
        // What is left of it does nothing any more, and need not look at clocks for that.
        self.platform.app.tasks.request_stop();
    }
}

/// A clock that goes with the paused runtime.
pub(crate) fn virtual_clock() -> Clock {
    let start = Timestamp::parse("20260301T120000Z").unwrap();
    Clock::following(start, || tokio::time::Instant::now().into_std())
}

impl Server {
    pub(crate) fn start(memory: &Memory, clock: &Clock, seed: u64) -> Self {
        let data = Arc::new(tempfile::tempdir().unwrap());
        Self::start_in(&data, memory, clock, seed)
    }

    /// The same over a data directory, which outlives it.
    pub(crate) fn start_in(data: &Arc<TempDir>, memory: &Memory, clock: &Clock, seed: u64) -> Self {
        let files = PackageFiles::of(data.path());
        let mut server = Self::start_beside(files, memory, clock, seed);
        server.data = Some(Arc::clone(data));
        server
    }

    /// The same, with the files of packages.
    pub(crate) fn start_beside(
        package_files: PackageFiles,
        memory: &Memory,
        clock: &Clock,
        seed: u64,
    ) -> Self {
        let disk = Arc::new(Disk::over(memory));
        let (uplinks, arrivals_in) = mpsc::channel(DATAGRAM_QUEUE);
        let (plain_out, downlinks) = mpsc::channel(DATAGRAM_QUEUE);
        let (secured_out, sessions) = mpsc::channel(DATAGRAM_QUEUE);
        let settings = Settings {
            shards: 2,
            exchange: ExchangeSettings::default(),
            store: StoreSettings::default(),
            traced_devices_max: 10,
            upgrade: strait::app::upgrade::Settings::default(),
            batch: strait::app::batch::Settings::default(),
            replay: strait::app::replay::Settings::default(),
            limits: strait::engine::limit::Settings::default(),
            push: strait::app::push::Settings::default(),
            packages: strait::app::package::Settings::default(),
            package_files,
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
            data: None,
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
