//! Shadows: what applications desire, and how devices get there.

mod batch;
mod converging;
mod hardship;
mod requests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use strait::app::input::{From, Input, Origin, Reply, Via};
use strait::base::ids::{DeviceId, NodeId};
use strait::base::peer::Peer;
use strait::engine::exchange::{Failure, Outgoing, Request};
use strait::engine::registration::{Register, Version};
use strait::store::Store;
use strait::store::memory::MemoryStore;
use strait::store::records::RegistrationKind;
use strait::wire::coap::Code;

use crate::api::{Answer, Server};

const PRODUCTS: &str = "/v5/iot/x/products";
/// How long a sleeping device listens, by default, and a bit.
const ASLEEP: Duration = Duration::from_secs(31);
const MINUTE: Duration = Duration::from_mins(1);

/// A device at a server, which may start anew.
struct Bench {
    store: Arc<MemoryStore>,
    server: Server,
    id: DeviceId,
    began: strait::base::time::Timestamp,
    inputs: u64,
}

fn property(name: &str, data_type: &str, method: &str) -> Value {
    json!({"property_name": name, "data_type": data_type, "method": method})
}

fn service(id: &str, properties: &Value) -> Value {
    json!({"service_id": id, "service_type": id, "properties": properties})
}

/// A product `p` whose devices speak so.
fn product(data_format: &str, services: &Value) -> Value {
    json!({"product_id": "p", "name": "Pump", "device_type": "Pump", "protocol_type": "CoAP",
           "data_format": data_format, "service_capabilities": services})
}

/// `Flow` and `Light`, spoken in JSON.
fn json_product() -> Value {
    let flow = json!([
        property("interval", "int", "RW"),
        property("mode", "string", "RWE"),
        property("level", "int", "R"),
        property("since", "DateTime", "RW"),
    ]);
    let light = json!([property("dim", "decimal", "W")]);
    product(
        "json",
        &json!([service("Flow", &flow), service("Light", &light)]),
    )
}

impl Bench {
    /// The product, and a device of it that never came.
    async fn new(product: &Value) -> Self {
        let store = Arc::new(MemoryStore::new());
        let mut server = Server::over(Arc::clone(&store));
        server.drop_changes();
        let made = server.post(PRODUCTS, product).await;
        assert_eq!(made.status, 201, "{:?}", made.body);
        let body = json!({"node_id": "n", "product_id": "p"});
        let made = server.post("/v5/iot/x/devices", &body).await;
        assert_eq!(made.status, 201, "{:?}", made.body);
        let began = server.clock.now();
        let id = DeviceId::parse("p_n").unwrap();
        let body = json!({"enabled": true});
        let trace = server.put("/v1/devices/p_n/trace", &body).await;
        assert!(trace.status.is_success(), "{:?}", trace.body);
        Self {
            store,
            server,
            id,
            began,
            inputs: 0,
        }
    }

    /// One that speaks JSON, sleeps, and has registered.
    async fn registered() -> Self {
        let mut bench = Self::new(&json_product()).await;
        bench.register(true).await;
        assert_eq!(bench.sent().await, Vec::<Value>::new());
        bench
    }

    /// The server ends, and another goes on with its store.
    async fn restart(&mut self) {
        let now = self.server.clock.now();
        let passed = now.since_ms(self.began);
        // What was sent before the server started is what nobody carries any more.
        self.server = Server::later(Arc::clone(&self.store), passed + 1);
        self.hand(Input::Due).await;
    }

    /// Time passes, after all that was handed over has had its effect.
    async fn pass(&self, span: Duration) {
        self.settle().await;
        self.server.clock.advance(span);
    }

    /// What changes nothing waits behind what was handed over before it.
    async fn settle(&self) {
        let all = self.put(&json!({"shadow": []})).await;
        assert_eq!(all.status, 200, "{:?}", all.body);
    }

    async fn hand(&self, input: Input) {
        self.server.shards.hand(self.id.clone(), input).await;
    }

    fn origin() -> Origin {
        Origin {
            peer: Peer::Plain(SocketAddr::from(([10, 0, 0, 1], 5683))),
            mark: None,
        }
    }

    fn from(&mut self) -> From {
        self.inputs += 1;
        From {
            reply: Reply::None,
            origin: Self::origin(),
            key: self.inputs,
            is_new_transfer: false,
        }
    }

    async fn register(&mut self, sleeps: bool) {
        let register = Register {
            node_id: NodeId::parse("n").unwrap(),
            endpoint: "n".to_owned(),
            lifetime_s: 30 * 86_400,
            version: Version::V1_0,
            binding: "U".to_owned(),
            queue_mode: sleeps,
        };
        let input = Input::Register {
            from: self.from(),
            register,
            kind: RegistrationKind::Raw,
            links: String::new(),
        };
        self.hand(input).await;
    }

    async fn say(&mut self, payload: Vec<u8>) {
        let input = Input::Report {
            from: self.from(),
            payload: Bytes::from(payload),
            content_format: None,
            via: Via::Post,
        };
        self.hand(input).await;
    }

    /// The device reports these of a service, in JSON.
    async fn report(&mut self, service_id: &str, properties: Value) {
        let services = json!([{"service_id": service_id, "properties": properties}]);
        self.say(json!({ "services": services }).to_string().into())
            .await;
    }

    async fn acknowledge(&self, request: &Request) {
        let origin = Self::origin();
        let token = request.token.to_u64().unwrap();
        self.hand(Input::Acknowledged { origin, token }).await;
    }

    async fn reset(&self, request: &Request) {
        let input = Input::RequestFailed {
            origin: Self::origin(),
            token: request.token.to_u64().unwrap(),
            reason: Failure::Reset,
        };
        self.hand(input).await;
    }

    /// What has gone down since this was asked last, observations apart.
    async fn requests(&mut self) -> Vec<Request> {
        self.settle().await;
        let mut sent = Vec::new();
        while let Ok(outgoing) = self.server.downlinks.try_recv() {
            if let Outgoing::Request(request) = outgoing
                && request.code != Code::GET
            {
                sent.push(*request);
            }
        }
        sent
    }

    /// The same as properties by service.
    async fn sent(&mut self) -> Vec<Value> {
        let requests = self.requests().await;
        requests.iter().map(shown).collect()
    }

    /// The one set that has gone down, which the device then acknowledges.
    async fn taken(&mut self) -> Value {
        let requests = self.requests().await;
        let [request] = &requests[..] else {
            panic!("{} requests went down, not one", requests.len());
        };
        self.acknowledge(request).await;
        shown(request)
    }

    async fn put(&self, body: &Value) -> Answer {
        let path = format!("/v5/iot/x/devices/{}/shadow", self.id);
        self.server.put(&path, body).await
    }

    async fn desire(&self, service_id: &str, desired: Value) {
        let shadow = json!([{"service_id": service_id, "desired": desired}]);
        let answer = self.put(&json!({ "shadow": shadow })).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
    }

    /// The traces of the device that hold this.
    async fn traced(&self, word: &str) -> Vec<Value> {
        let trace = self.server.get("/v1/devices/p_n/trace").await.body;
        let entries = trace["trace"].as_array().cloned().unwrap_or_default();
        let found = entries.into_iter().filter(|e| e.to_string().contains(word));
        found.collect()
    }

    fn attempts(&self) -> usize {
        let state = self.store.state(&self.id).unwrap().unwrap();
        state.queue.attempts.len()
    }
}

/// `{"Flow": {…}}` of a set in JSON, else the bytes in hex.
fn shown(request: &Request) -> Value {
    let Ok(body) = serde_json::from_slice::<Value>(&request.payload) else {
        let hex = request.payload.iter().map(|b| format!("{b:02x}"));
        return hex.collect::<String>().into();
    };
    if body["msg_type"] != "properties_set" {
        return body["command_name"].clone();
    }
    let one = &body["services"][0];
    json!({ one["service_id"].as_str().unwrap(): one["properties"] })
}
