//! `…/async-commands`: commands from their submission to every end, on a server with one shard whose
//! device is this test: what goes down is taken from the shard, what comes up is handed to it.

mod batch;
mod fates;
mod lists;
mod submission;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use serde_json::{Value, json};
use strait::app::input::{From, Input, Origin, Reply, Via};
use strait::base::ids::{DeviceId, NodeId};
use strait::base::peer::Peer;
use strait::engine::exchange::{self, Outgoing};
use strait::engine::registration::{Register, Version};
use strait::store::memory::MemoryStore;
use strait::store::records::RegistrationKind;
use strait::wire::coap::Code;

use crate::api::{Answer, Server, meter_product, with};
use crate::api_batch::heard;

const CODEC: &str = include_str!("../../../fixtures/api/valve.toml");
const DEVICES: &str = "/v5/iot/x/devices";
const DEVICE: &str = "p1_n1";
const TRACE: &str = "/v1/devices/p1_n1/trace";
const PATIENCE: Duration = Duration::from_secs(30);

/// A server with the product `p1`, its codec and the device `p1_n1`, which has not come yet.
struct Bench {
    server: Server,
    /// Tells each of the device's messages from the others.
    key: u64,
}

/// A message that went down.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Down {
    token: u64,
    payload: Vec<u8>,
    msg_id: u16,
}

impl Bench {
    async fn start() -> Self {
        let server = heard(Server::start());
        let bench = Self { server, key: 0 };
        let server = &bench.server;
        let made = server.post("/v5/iot/x/products", &valve_product()).await;
        assert_eq!(made.status, 201, "{:?}", made.body);
        let codec = Request::put("/v1/products/p1/codec")
            .header("content-type", "application/toml")
            .body(Body::from(CODEC));
        let made = server.send(codec.unwrap()).await;
        assert_eq!(made.status, 201, "{:?}", made.body);
        server.device("n1").await;
        // For who looks why a test fails.
        server.put(TRACE, &json!({"enabled": true})).await;
        bench
    }

    /// The next process over the store.
    fn over(store: Arc<MemoryStore>) -> Self {
        let server = heard(Server::later(store, 1));
        Self { server, key: 0 }
    }

    fn origin() -> Origin {
        Origin {
            peer: Peer::Plain(SocketAddr::from(([10, 0, 0, 1], 5683))),
            mark: None,
        }
    }

    fn from(&mut self) -> From {
        self.key += 1;
        From {
            reply: Reply::None,
            origin: Self::origin(),
            key: self.key,
            is_new_transfer: false,
        }
    }

    async fn hand(&self, input: Input) {
        let id = DeviceId::parse(DEVICE).unwrap();
        self.server.shards.hand(id, input).await;
    }

    /// The device registers; it listens from then on.
    async fn come(&mut self) {
        let register = Register {
            node_id: NodeId::parse("n1").unwrap(),
            endpoint: "n1".into(),
            lifetime_s: 86_400,
            version: Version::V1_0,
            binding: "U".into(),
            queue_mode: false,
        };
        let input = Input::Register {
            from: self.from(),
            register,
            kind: RegistrationKind::Raw,
            links: String::new(),
        };
        self.hand(input).await;
    }

    async fn acknowledge(&self, token: u64) {
        let origin = Self::origin();
        self.hand(Input::Acknowledged { origin, token }).await;
    }

    async fn report(&mut self, payload: &[u8]) {
        let input = Input::Report {
            from: self.from(),
            payload: Bytes::copy_from_slice(payload),
            content_format: Some(42),
            via: Via::Post,
        };
        self.hand(input).await;
    }

    /// Time passes, and the device's timer fires.
    async fn wait(&self, seconds: u64) {
        self.server.clock.advance(Duration::from_secs(seconds));
        self.hand(Input::Due).await;
    }

    /// The next message that goes down.
    async fn down(&mut self) -> Down {
        let next = async {
            loop {
                let outgoing = self.server.downlinks.recv().await.unwrap();
                match outgoing {
                    // Else the device is asked to observe.
                    Outgoing::Request(request) if request.code != Code::GET => {
                        return down_of(&request);
                    }
                    _ => {}
                }
            }
        };
        let waited = tokio::time::timeout(PATIENCE, next).await;
        waited.expect("nothing goes down")
    }

    fn path(command: &str) -> String {
        format!("{DEVICES}/{DEVICE}/async-commands{command}")
    }

    async fn submit(&self, body: &Value) -> Answer {
        self.server.post(&Self::path(""), body).await
    }

    /// Submits what is taken; the command's id.
    async fn submitted(&self, body: &Value) -> String {
        let made = self.submit(body).await;
        assert_eq!(made.status, 200, "{:?}", made.body);
        id_of(&made.body)
    }

    async fn show(&self, id: &str) -> Value {
        let shown = self.server.get(&Self::path(&format!("/{id}"))).await;
        assert_eq!(shown.status, 200, "{:?}", shown.body);
        shown.body
    }

    /// Waits until the command has this status.
    async fn until(&self, id: &str, status: &str) -> Value {
        let wait = async {
            loop {
                let shown = self.show(id).await;
                if shown["status"] == status {
                    return shown;
                }
                tokio::task::yield_now().await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(shown) => shown,
            Err(_) => {
                let trace = self.server.get(TRACE).await.body;
                panic!("never {status}: {}\n{trace:#}", self.show(id).await);
            }
        }
    }

    /// Ids of a list's commands.
    async fn listed(&self, path: &str) -> Vec<String> {
        let list = self.server.get(&format!("{DEVICES}/{DEVICE}/{path}")).await;
        assert_eq!(list.status, 200, "{:?}", list.body);
        list.body["commands"]
            .as_array()
            .unwrap()
            .iter()
            .map(id_of)
            .collect()
    }

    /// What subscribers were told of a command, in order.
    fn pushed(&self, id: &str) -> Vec<Value> {
        let events = self.server.events().into_iter();
        let bodies = events
            .filter(|(name, _)| name == "device.command.status.update")
            .map(|(_, event)| event["notify_data"]["body"].clone());
        bodies.filter(|body| body["command_id"] == id).collect()
    }
}

fn down_of(request: &exchange::Request) -> Down {
    Down {
        token: request.token.to_u64().unwrap(),
        payload: request.payload.to_vec(),
        msg_id: request.msg_ids.first,
    }
}

fn id_of(command: &Value) -> String {
    command["command_id"].as_str().unwrap().to_owned()
}

/// `SET_VALVE` is answered, `REBOOT` is not.
fn valve_product() -> Value {
    let commands = json!([
        {"command_name": "SET_VALVE",
         "paras": [{"para_name": "open", "data_type": "int", "required": true,
                    "min": "0", "max": "1"}],
         "responses": [{"response_name": "SET_VALVE_RSP", "paras": [
            {"para_name": "code", "data_type": "string"}]}]},
        {"command_name": "REBOOT", "paras": [{"para_name": "after_s", "data_type": "int"}]}
    ]);
    with(
        &meter_product(),
        "/service_capabilities/0/commands",
        Some(commands),
    )
}

fn valve(strategy: &str) -> Value {
    json!({"service_id": "Flow", "command_name": "SET_VALVE", "paras": {"open": 1},
        "send_strategy": strategy})
}

fn reboot(strategy: &str) -> Value {
    json!({"service_id": "Flow", "command_name": "REBOOT", "paras": {"after_s": 7},
        "send_strategy": strategy})
}

/// The device's answer to a `SET_VALVE` that it got.
fn answer(down: &Down, code: u8) -> Vec<u8> {
    vec![0x82, down.payload[1], down.payload[2], code]
}
