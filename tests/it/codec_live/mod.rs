//! Codecs with code of their own in a running server: what waits for them and what does not, replacing them
//! while they work, their versions and how they do. Here the calls come to the test, which answers them when
//! and as it likes; `workers.rs` does the same with real scripts in worker processes.

mod replaced;
mod uploads;
mod waiting;
#[cfg(feature = "wasm")]
mod wasm;
mod workers;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use strait::app::codec_pool::Quarantine;
use strait::app::codec_runner::CodecRunner;
use strait::app::credentials::Credentials;
use strait::app::input::{From, Input, Origin, Reply as Reached, Via};
use strait::app::product::ProductError;
use strait::app::product::precondition::Precondition;
use strait::base::ids::{DeviceId, ProductId};
use strait::base::peer::Peer;
use strait::base::time::Timestamp;
use strait::product::codec::call::{Call, Outside, Reply};
use strait::product::codec::{CodecError, Decoded, LoadError, Report, ServiceReport};
use strait::store::memory::MemoryStore;
use strait::store::records::{CodecKind, RawRecord};
use strait::store::{HistoryQuery, Store};
use tokio::sync::{mpsc, oneshot};

use crate::api::{Answer, Server, meter_product, with};
use crate::api_batch::heard;

pub(crate) const CODEC: &str = "/v1/products/p1/codec";
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A call that waits for its answer.
struct Asked {
    /// The codec's source.
    source: String,
    call: Call,
    answer: oneshot::Sender<Result<Reply, CodecError>>,
}

impl Asked {
    /// The number in the source.
    fn version(&self) -> u8 {
        self.source.trim_start_matches('v').parse().unwrap()
    }

    fn give(self, reply: Result<Reply, CodecError>) {
        // The server may be gone.
        drop(self.answer.send(reply));
    }

    /// What a codec says that reports the payload's first byte and its own version; it answers with
    /// its version too, and so does a command begin.
    fn serve(self) {
        let version = self.version();
        let reply = match &self.call {
            Call::Decode { payload, .. } => Reply::Decoded {
                decoded: report(payload[0], version),
                trace: Vec::new(),
            },
            Call::Encode { mid, .. } => Reply::Encoded {
                bytes: vec![version, mid.to_be_bytes()[1]],
                by_mid: true,
            },
            Call::Answer { .. } => Reply::Answer(Some(vec![version].into())),
            other => panic!("nobody asks for {}", other.name()),
        };
        self.give(Ok(reply));
    }
}

fn report(volume: u8, version: u8) -> Decoded {
    let properties = json!({"volume": volume, "interval": version});
    Decoded::Report(Report {
        services: vec![ServiceReport {
            service_id: "Flow".into(),
            properties: properties.as_object().unwrap().clone(),
            event_time: None,
        }],
        has_more: false,
    })
}

/// Hands calls to the test.
struct Elsewhere {
    asks: mpsc::Sender<Asked>,
    released: Mutex<Vec<String>>,
}

fn text(codec: &Outside) -> String {
    String::from_utf8(codec.source.to_vec()).unwrap()
}

impl CodecRunner for Elsewhere {
    fn call<'a>(
        &'a self,
        codec: &'a Outside,
        call: Call,
    ) -> BoxFuture<'a, Result<Reply, CodecError>> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let source = text(codec);
            let asked = Asked {
                source,
                call,
                answer,
            };
            let stopped = |_| CodecError::Unavailable {
                reason: "stopped".into(),
            };
            drop(self.asks.send(asked).await);
            answered.await.map_err(stopped)?
        })
    }

    /// Each `!` in the source is a mistake.
    fn check<'a>(&'a self, codec: &'a Outside) -> BoxFuture<'a, Result<(), Vec<LoadError>>> {
        let source = text(codec);
        Box::pin(async move {
            let found = source.match_indices('!').map(|(at, _)| LoadError {
                line: 1,
                column: u32::try_from(at + 1).unwrap(),
                message: "no exclamations".into(),
                hint: None,
            });
            let found: Vec<LoadError> = found.collect();
            if found.is_empty() { Ok(()) } else { Err(found) }
        })
    }

    fn quarantined(&self, codec: &Outside) -> Option<Quarantine> {
        let source = text(codec);
        let is_released = self.released.lock().unwrap().contains(&source);
        (source == "v99" && !is_released).then(|| Quarantine {
            since: Timestamp::from_ms(1_700_000_000_250),
            why: "5 strikes".to_owned(),
        })
    }

    fn release(&self, codec: &Outside) {
        self.released.lock().unwrap().push(text(codec));
    }
}

pub(crate) struct Bench {
    pub(crate) server: Server,
    asks: mpsc::Receiver<Asked>,
    key: u64,
}

impl Bench {
    /// The product `p1` with the script `v1` and the device `p1_n1`.
    async fn start() -> Self {
        let bench = Self::empty().await;
        bench.upload("v1").await;
        bench.server.device("n1").await;
        bench
    }

    /// The product `p1` without a codec.
    async fn empty() -> Self {
        let (asks, calls) = mpsc::channel(8192);
        let codecs: Arc<dyn CodecRunner> = Arc::new(Elsewhere {
            asks,
            released: Mutex::default(),
        });
        Self::over(Some(codecs), calls).await
    }

    /// The same with worker processes.
    pub(crate) async fn with_workers() -> Self {
        Self::over(None, mpsc::channel(1).1).await
    }

    /// `None`: worker processes.
    async fn over(codecs: Option<Arc<dyn CodecRunner>>, asks: mpsc::Receiver<Asked>) -> Self {
        let store = Arc::new(MemoryStore::new());
        let nobody = Credentials::nobody_asked();
        let server = heard(Server::with_codecs(store, nobody, 0, codecs));
        // Without a default, so that nothing is desired of the devices.
        let default = "/service_capabilities/0/properties/1/default_value";
        let product = with(&meter_product(), default, None);
        let made = server.post("/v5/iot/x/products", &product).await;
        assert_eq!(made.status, 201, "{:?}", made.body);
        Self {
            server,
            asks,
            key: 0,
        }
    }

    /// What the shard asks next.
    async fn asked(&mut self) -> Asked {
        let asked = tokio::time::timeout(PATIENCE, self.asks.recv()).await;
        asked.expect("nobody asks the codec").unwrap()
    }

    /// Answers as the codec does until nobody can ask any more.
    fn serve(&mut self) {
        let (_, none) = mpsc::channel(1);
        let mut asks = std::mem::replace(&mut self.asks, none);
        let serving = async move {
            while let Some(asked) = asks.recv().await {
                asked.serve();
            }
        };
        self.server.app.tasks.spawn("codec", serving);
    }

    pub(crate) async fn put(&self, source: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(Method::PUT).uri(CODEC);
        request = request.header("content-type", "text/javascript");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Body::from(source.to_owned());
        self.server.send(request.body(body).unwrap()).await
    }

    /// The ETag of what was taken.
    async fn upload(&self, source: &str) -> String {
        let put = self.put(source, &[]).await;
        assert!(put.status.is_success(), "{source}: {:?}", put.body);
        put.body["etag"].as_str().unwrap().to_owned()
    }

    fn origin() -> Origin {
        Origin {
            peer: Peer::Plain(SocketAddr::from(([10, 0, 0, 1], 5683))),
            mark: None,
        }
    }

    pub(crate) async fn report(&mut self, device: &str, payload: &[u8]) {
        self.key += 1;
        let from = From {
            reply: Reached::None,
            origin: Self::origin(),
            key: self.key,
            is_new_transfer: false,
        };
        let input = Input::Report {
            from,
            payload: Bytes::copy_from_slice(payload),
            content_format: Some(42),
            via: Via::Post,
        };
        let id = DeviceId::parse(device).unwrap();
        self.server.shards.hand(id, input).await;
    }

    fn seq(&self, device: &str) -> u64 {
        let id = DeviceId::parse(device).unwrap();
        self.server.store.device(&id).unwrap().unwrap().seq
    }

    /// Volume and version of each report that was read, oldest first.
    pub(crate) fn read(&self, device: &str) -> Vec<(u64, u64)> {
        let query = HistoryQuery {
            device_seq: self.seq(device),
            from: None,
            to: None,
            before: None,
            limit: 10_000,
        };
        let mut rows = self.server.store.history(&query).unwrap();
        rows.reverse();
        let numbers = rows.iter().map(|row| {
            let services: Value = serde_json::from_str(&row.record.services).unwrap();
            let properties = &services[0]["properties"];
            let number = |name: &str| properties[name].as_u64().unwrap();
            (number("volume"), number("interval"))
        });
        numbers.collect()
    }

    pub(crate) fn raw(&self, device: &str) -> Vec<RawRecord> {
        self.server
            .store
            .raw_uplinks(self.seq(device), 10_000)
            .unwrap()
    }

    /// Waits until so many reports were read.
    pub(crate) async fn until_read(&self, device: &str, count: usize) -> Vec<(u64, u64)> {
        self.until(device, || self.read(device).len() >= count)
            .await;
        self.read(device)
    }

    pub(crate) async fn until_raw(&self, device: &str, count: usize) -> Vec<RawRecord> {
        self.until(device, || self.raw(device).len() >= count).await;
        self.raw(device)
    }

    /// Looks seldom: who waits works on the same thread.
    async fn until(&self, device: &str, is_so: impl Fn() -> bool) {
        let wait = async {
            while !is_so() {
                for _ in 0..64 {
                    tokio::task::yield_now().await;
                }
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        assert!(
            waited.is_ok(),
            "{:?} {:?}",
            self.read(device),
            self.raw(device)
        );
    }
}

/// Replaces the codec of `p1` while others use the server.
async fn replace(products: &Arc<strait::app::product::Products>, source: String) {
    let id = ProductId::parse("p1").unwrap();
    // A busy machine may not load a script within its time.
    loop {
        let (id, source) = (id.clone(), source.clone().into_bytes());
        let put = products.put_codec(id, CodecKind::Script, source, Precondition::default());
        match put.await {
            Ok(_) => return,
            Err(ProductError::Mistakes(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}
