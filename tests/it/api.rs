//! The HTTP face through its router, on the memory store with a clock that stands still.

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use strait::api;
use strait::app::codec_runner::CodecRunner;
use strait::app::credentials::{CLOCK_SKEW, Credential, Credentials};
use strait::app::device::DeviceChange;
use strait::app::figures::Figures;
use strait::app::shard::{self, Shard};
use strait::app::shards::Shards;
use strait::app::upgrade::fetches::Fetches;
use strait::app::upgrade::line::Line;
use strait::app::upgrade::{FixedPackages, Package, Software, Upgrades};
use strait::app::{self, App};
use strait::base::ids::{AppId, DeviceId, ProductId};
use strait::base::time::{Clock, Timestamp};
use strait::engine::admission;
use strait::engine::exchange::Outgoing;
use strait::engine::upgrade::Kind;
use strait::store::catalog::AppRecord;
use strait::store::memory::MemoryStore;
use strait::store::package_files::PackageFiles;
use strait::store::records::StateRecord;
use strait::store::{Change, Commit, Store};
use strait::telemetry;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tower::ServiceExt;

use crate::conformity;

/// 2026-03-01T12:00:00Z
pub(crate) const NOW: &str = "20260301T120000Z";

pub(crate) struct Server {
    pub(crate) app: App,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) clock: Clock,
    pub(crate) router: Router,
    pub(crate) changes: mpsc::Receiver<DeviceChange>,
    /// To its one shard.
    pub(crate) shards: Shards,
    /// What the shard sends to devices.
    pub(crate) downlinks: mpsc::Receiver<Outgoing>,
    /// Its data directory.
    pub(crate) data: Arc<TempDir>,
}

/// An answer, with its body as JSON (null when empty, text when it is no JSON).
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn error(&self) -> (u16, &str, &str) {
        let text = |name: &str| self.body[name].as_str().unwrap_or("");
        (self.status.as_u16(), text("error_code"), text("error_msg"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::over(Arc::new(MemoryStore::new()))
    }

    /// One that asks who comes: `credentials` are all it knows.
    pub(crate) fn with_auth(credentials: Vec<Credential>) -> Self {
        let set = credentials.into_iter().collect();
        let credentials = Credentials::of(set, CLOCK_SKEW);
        Self::with(Arc::new(MemoryStore::new()), credentials, 0)
    }

    pub(crate) fn over(store: Arc<MemoryStore>) -> Self {
        Self::with(store, Credentials::nobody_asked(), 0)
    }

    /// The next process over the store, started so much later.
    pub(crate) fn later(store: Arc<MemoryStore>, ms: u64) -> Self {
        Self::with(store, Credentials::nobody_asked(), ms)
    }

    fn with(store: Arc<MemoryStore>, credentials: Credentials, later_ms: u64) -> Self {
        Self::with_codecs(store, credentials, later_ms, None)
    }

    /// One over this data directory, with these settings of packages.
    pub(crate) fn with_packages(
        store: Arc<MemoryStore>,
        data: Arc<TempDir>,
        packages: app::package::Settings,
    ) -> Self {
        let nobody = Credentials::nobody_asked();
        Self::with_all(store, nobody, 0, None, (data, packages))
    }

    /// Codecs with code of their own run there.
    pub(crate) fn with_codecs(
        store: Arc<MemoryStore>,
        credentials: Credentials,
        later_ms: u64,
        codec_runner: Option<Arc<dyn CodecRunner>>,
    ) -> Self {
        let data = Arc::new(tempfile::tempdir().unwrap());
        let packages = (data, app::package::Settings::default());
        Self::with_all(store, credentials, later_ms, codec_runner, packages)
    }

    fn with_all(
        store: Arc<MemoryStore>,
        credentials: Credentials,
        later_ms: u64,
        codec_runner: Option<Arc<dyn CodecRunner>>,
        (data, packages): (Arc<TempDir>, app::package::Settings),
    ) -> Self {
        let now = Timestamp::parse(NOW).unwrap();
        let clock = Clock::manual(now.plus_ms(later_ms));
        let (sender, changes) = mpsc::channel(64);
        let shared: Arc<dyn Store> = Arc::clone(&store) as _;
        let metrics = telemetry::detached_metrics();
        let (shards, mut intakes) = Shards::new(1);
        let app = App::start(app::Parts {
            store: Arc::clone(&shared),
            clock: clock.clone(),
            metrics,
            changes: sender,
            shards: shards.link(),
            traced_devices_max: 10,
            batch: app::batch::Settings::default(),
            upgrade: app::upgrade::Settings::default(),
            replay: app::replay::Settings::default(),
            push: app::push::Settings::default(),
            packages,
            package_files: PackageFiles::of(data.path()),
            codecs: app::codec_pool::Settings::default(),
            codec_worker: Some(env!("CARGO_BIN_EXE_strait").into()),
            dialer: strait::net::webhook::Dialer::Network,
            credentials: Arc::new(credentials),
            codec_runner,
            known_packages: Some(known_packages()),
        })
        .unwrap();
        let (net, downlinks) = mpsc::channel(1024);
        let (upgrades, news) = Upgrades::new(known_packages());
        let line = line_of(&app);
        let (_, fetches) = Fetches::new(clock.clone());
        let campaigns = Arc::clone(&app.batches) as _;
        let waiting = line.run(news, fetches, shards.link(), campaigns);
        app.tasks.spawn("line", waiting);
        let shard = Shard::new(shard::Parts {
            store: shared,
            clock: clock.clone(),
            products: Arc::clone(&app.products),
            directory: Arc::default(),
            tracer: Arc::clone(&app.tracer),
            outbox: Arc::clone(&app.outbox),
            devices: Arc::clone(&app.devices),
            tasks: app.tasks.clone(),
            net,
            codecs: Arc::clone(&app.codecs),
            figures: Arc::new(Figures::new()),
            upgrades,
            levels: admission::coverage::Table::default(),
            limits: strait::engine::limit::Settings::OFF,
            pending_max: 20,
        });
        app.tasks.spawn("shard", shard.run(intakes.remove(0)));
        Self {
            shards,
            downlinks,
            router: api::router(app.clone()),
            app,
            store,
            clock,
            changes,
            data,
        }
    }

    /// The status of an answer that has no end.
    pub(crate) async fn begin(&self, request: Request<Body>) -> StatusCode {
        let response = self.router.clone().oneshot(request).await.unwrap();
        response.status()
    }

    /// The whole answer, which must be as the OpenAPI document says.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = match text.is_empty() {
            true => Value::Null,
            false => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        };
        let media = parts.headers.get("content-type");
        let media = media.map_or("", |value| value.to_str().unwrap());
        conformity::check(&method, &path, parts.status.as_u16(), media, &body);
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json");
        let body = body.map_or_else(Body::empty, |b| Body::from(b.to_string()));
        self.send(request.body(body).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::PUT, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, None).await
    }

    /// Resource spaces with these ids, which are their names.
    pub(crate) async fn with_spaces(self, ids: &[&str]) -> Self {
        let spaces = ids.iter().map(|id| {
            Change::PutApp(Box::new(AppRecord {
                version: 1,
                app_id: AppId::parse(id).unwrap(),
                seq: self.store.allocate_seq().unwrap(),
                app_name: (*id).to_owned(),
                is_default: false,
                deleting: false,
                created_at: self.clock.now(),
            }))
        });
        self.write(spaces.collect()).await;
        self.app.spaces.reload().unwrap();
        self
    }

    /// Nobody hears of changes of devices any more, so nobody is in their way.
    pub(crate) fn drop_changes(&mut self) {
        self.changes = mpsc::channel(1).1;
    }

    /// The meter product `p1`.
    pub(crate) async fn with_product(self) -> Self {
        let made = self.post("/v5/iot/x/products", &meter_product()).await;
        assert_eq!(made.status, 201, "{:?}", made.body);
        self
    }

    /// A device of `p1`; its id.
    pub(crate) async fn device(&self, node_id: &str) -> String {
        let body = json!({"node_id": node_id, "product_id": "p1"});
        let made = self.post("/v5/iot/x/devices", &body).await;
        assert_eq!(made.status, 201, "{:?}", made.body);
        made.body["device_id"].as_str().unwrap().to_owned()
    }

    /// What the device's shard would write.
    pub(crate) async fn write(&self, changes: Vec<Change>) {
        let guards = Vec::new();
        self.store.commit(Commit { guards, changes }).await.unwrap();
        self.app.outbox.notify();
    }

    pub(crate) async fn write_state(&self, device_id: &str, state: StateRecord) {
        let id = DeviceId::parse(device_id).unwrap();
        self.write(vec![Change::PutState(id, Box::new(state))])
            .await;
    }

    /// `resource.event` of everything emitted so far, with its envelope.
    pub(crate) fn events(&self) -> Vec<(String, Value)> {
        let events = self.store.events(0, usize::MAX).unwrap();
        let envelopes = events.into_iter().flat_map(|(_, e)| e.envelopes);
        envelopes
            .map(|e| {
                let name = format!("{}.{}", e.resource, e.event);
                (name, serde_json::from_str(&e.json).unwrap())
            })
            .collect()
    }
}

/// The line as it is after a start.
fn line_of(app: &App) -> Arc<Line> {
    let line = Arc::clone(&app.line);
    let adopt = &mut |device, state: Option<StateRecord>| {
        line.adopt(&device, &state.unwrap_or_default());
        ControlFlow::Continue(())
    };
    app.store.each_device(adopt).unwrap();
    line
}

/// For `p1`: firmware `fw2` and `fw3`, software `sw2`. For a product of nobody: `other`.
fn known_packages() -> Arc<FixedPackages> {
    let package = |package_id: &str, product_id: &str, kind: Kind, version: &str| {
        let software = || Software::new(version, 500, &[7; 1200]).unwrap();
        let package = Package {
            package_id: package_id.to_owned(),
            product_id: ProductId::parse(product_id).unwrap(),
            app_id: AppId::default_space(),
            kind,
            version: version.to_owned(),
            sources: Vec::new(),
            coap_uri: format!("/fw/{package_id}"),
            coaps_uri: format!("/fw/{package_id}"),
            size: 1200,
            image: None,
            software: (kind == Kind::Software).then(software),
        };
        (package_id.to_owned(), Arc::new(package))
    };
    let all = [
        package("fw2", "p1", Kind::Firmware, "2.0"),
        package("fw3", "p1", Kind::Firmware, "3.0"),
        package("sw2", "p1", Kind::Software, "2.0"),
        package("other", "nobody", Kind::Firmware, "2.0"),
    ];
    Arc::new(FixedPackages(all.into_iter().collect()))
}

pub(crate) fn meter_product() -> Value {
    json!({
        "product_id": "p1",
        "name": "Meter",
        "device_type": "WaterMeter",
        "protocol_type": "CoAP",
        "data_format": "binary",
        "manufacturer_name": "Acme",
        "industry": "water",
        "description": "cold water",
        "service_capabilities": [{
            "service_id": "Flow",
            "service_type": "Flow",
            "properties": [
                {"property_name": "volume", "data_type": "int", "method": "R",
                 "min": "0", "max": "65535", "unit": "l"},
                {"property_name": "interval", "data_type": "int", "method": "RW",
                 "min": "1", "max": "86400", "default_value": 3600}
            ],
            "commands": [{
                "command_name": "SET_VALVE",
                "paras": [{"para_name": "open", "data_type": "int", "required": true,
                           "min": "0", "max": "1"}],
                "responses": []
            }]
        }]
    })
}

/// `base` with the value at a JSON pointer replaced; `None` takes it away.
pub(crate) fn with(base: &Value, pointer: &str, value: Option<Value>) -> Value {
    let mut changed = base.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = changed.pointer_mut(parent).unwrap();
    match (parent, value) {
        (Value::Object(map), Some(value)) => drop(map.insert(name.to_owned(), value)),
        (Value::Object(map), None) => drop(map.shift_remove(name)),
        (Value::Array(list), Some(value)) => list[name.parse::<usize>().unwrap()] = value,
        (other, _) => panic!("{pointer}: nothing to change in {other}"),
    }
    changed
}

/// One row of a table of bodies: what is changed, and what the answer must say.
pub(crate) struct Row {
    pub(crate) pointer: &'static str,
    pub(crate) value: Option<Value>,
    /// `None`: accepted. Else what the message must hold.
    pub(crate) refused: Option<&'static str>,
}

pub(crate) fn bad(pointer: &'static str, value: Value, message: &'static str) -> Row {
    Row {
        pointer,
        value: Some(value),
        refused: Some(message),
    }
}

pub(crate) fn missing(pointer: &'static str, message: &'static str) -> Row {
    Row {
        pointer,
        value: None,
        refused: Some(message),
    }
}

pub(crate) fn good(pointer: &'static str, value: Value) -> Row {
    Row {
        pointer,
        value: Some(value),
        refused: None,
    }
}

/// Sends each changed body to a fresh server and compares what comes back.
pub(crate) async fn check_bodies(path: &str, base: &Value, has_product: bool, rows: &[Row]) {
    let mut failures = Vec::new();
    for row in rows {
        let server = Server::start();
        let server = server.with_spaces(&["a"]).await;
        let server = match has_product {
            true => server.with_product().await,
            false => server,
        };
        let answer = server
            .post(path, &with(base, row.pointer, row.value.clone()))
            .await;
        let (status, code, message) = answer.error();
        let fits = match row.refused {
            None => status == 201,
            Some(want) => status == 400 && code == "IOTDA.000006" && message.contains(want),
        };
        if !fits {
            let value = row.value.as_ref().map(ToString::to_string);
            let shown: String = value.unwrap_or_default().chars().take(60).collect();
            failures.push(format!(
                "{} = {shown}: {status} {code} {message}\n  want {:?}",
                row.pointer, row.refused
            ));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
