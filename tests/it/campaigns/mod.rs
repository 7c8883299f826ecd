//! Campaigns from the API to the devices' shard: the devices are this test, what goes down is taken from the
//! shard, what comes up is handed to it.

mod cells;
mod holding;
mod life;
mod restarts;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use strait::app::input::{From, Input, Origin, Reply};
use strait::base::ids::{DeviceId, NodeId};
use strait::base::peer::Peer;
use strait::engine::exchange::Outgoing;
use strait::engine::registration::{Register, Version};
use strait::store::Store;
use strait::store::catalog::SubtaskState;
use strait::store::records::RegistrationKind;
use strait::store::upgrades::UpgradeRecord;
use strait::wire::coap::{Code, option};

use crate::api::Server;
use crate::api_batch::{PATH, create, heard, until};

const PATIENCE: Duration = Duration::from_secs(30);

/// A server with the product `p1`, and devices `p1_n0`, `p1_n1`, … that have not come yet.
struct Bench {
    server: Server,
    /// Tells each message of the devices from the others.
    key: u64,
    /// Devices that have registered.
    here: HashSet<usize>,
}

impl Bench {
    async fn start(devices: usize) -> Self {
        let server = heard(Server::start()).with_product().await;
        for node in 0..devices {
            server.device(&format!("n{node}")).await;
        }
        Self {
            server,
            key: 0,
            here: HashSet::new(),
        }
    }

    /// The next process over the store: everything that the last one did not write is gone.
    async fn restart(self) -> Self {
        self.server.app.tasks.shut_down(Duration::ZERO).await;
        let server = heard(Server::later(Arc::clone(&self.server.store), 1));
        let key = self.key + 1000;
        let here = self.here;
        Self { server, key, here }
    }

    fn origin(node: usize) -> Origin {
        let last = u8::try_from(node % 250).unwrap();
        Origin {
            peer: Peer::Plain(SocketAddr::from(([10, 0, 0, last], 5683))),
            mark: None,
        }
    }

    fn from(&mut self, node: usize) -> From {
        self.key += 1;
        From {
            reply: Reply::None,
            origin: Self::origin(node),
            key: self.key,
            is_new_transfer: false,
        }
    }

    async fn hand(&self, node: usize, input: Input) {
        let id = DeviceId::parse(&device(node)).unwrap();
        self.server.shards.hand(id, input).await;
    }

    /// The device registers, and listens from then on; one that does already is asked by itself.
    async fn come(&mut self, node: usize) {
        if !self.here.insert(node) {
            return;
        }
        let register = Register {
            node_id: NodeId::parse(&format!("n{node}")).unwrap(),
            endpoint: format!("n{node}"),
            lifetime_s: 86_400,
            version: Version::V1_0,
            binding: "U".into(),
            queue_mode: false,
        };
        let input = Input::Register {
            from: self.from(node),
            register,
            kind: RegistrationKind::Raw,
            links: String::new(),
        };
        self.hand(node, input).await;
    }

    /// The token of the next question for the device's version.
    async fn asked(&mut self) -> u64 {
        self.asked_for(&[b"3", b"0", b"3"]).await
    }

    async fn asked_for(&mut self, wanted: &[&[u8]]) -> u64 {
        let next = async {
            loop {
                if let Outgoing::Request(request) = self.server.downlinks.recv().await.unwrap() {
                    let path = request.options.iter();
                    let path: Vec<&[u8]> = path
                        .filter(|(number, _)| *number == option::URI_PATH)
                        .map(|(_, value)| value.as_slice())
                        .collect();
                    if path == wanted {
                        return request.token.to_u64().unwrap();
                    }
                }
            }
        };
        let waited = tokio::time::timeout(PATIENCE, next).await;
        waited.expect("nobody asks")
    }

    async fn answer(&mut self, node: usize, token: u64, code: Code, payload: &[u8]) {
        self.answer_in(0, node, token, code, payload).await;
    }

    /// In a content format.
    async fn answer_in(
        &mut self,
        format: u16,
        node: usize,
        token: u64,
        code: Code,
        payload: &[u8],
    ) {
        let input = Input::Answered {
            from: self.from(node),
            token,
            code,
            payload: Bytes::copy_from_slice(payload),
            content_format: Some(format),
        };
        self.hand(node, input).await;
    }

    /// The device comes and has the version already.
    async fn succeed(&mut self, node: usize) {
        self.come(node).await;
        let token = self.asked().await;
        self.answer(node, token, Code::CONTENT, b"2.0").await;
    }

    /// The device comes and refuses to tell its version.
    async fn fail(&mut self, node: usize) {
        self.come(node).await;
        let token = self.asked().await;
        self.answer(node, token, Code::NOT_FOUND, b"").await;
    }

    fn upgrade(&self, node: usize) -> Option<UpgradeRecord> {
        let id = DeviceId::parse(&device(node)).unwrap();
        let state = self.server.store.state(&id).unwrap();
        state
            .and_then(|state| state.upgrade)
            .map(|upgrade| *upgrade)
    }

    async fn create(&self, body: &Value) -> String {
        create(&self.server, body).await
    }

    /// Waits until so many are under way, which is durable then.
    async fn begun(&self, id: &str, count: u64) -> Value {
        let seq = u64::from_str_radix(id, 16).unwrap();
        let durable = || {
            let rows = self.server.store.subtasks(seq, 0, usize::MAX).unwrap();
            let begun = rows
                .iter()
                .filter(|(_, row)| row.state == SubtaskState::Processing);
            begun.count() as u64
        };
        let fits =
            |task: &Value| task["task_progress"]["processing"] == count && durable() == count;
        until(&self.server, id, fits).await
    }

    async fn until(&self, id: &str, what: &str, count: u64) -> Value {
        let fits = |task: &Value| task["task_progress"][what] == count;
        until(&self.server, id, fits).await
    }

    async fn order(&self, id: &str, order: &str, targets: &[usize]) -> crate::api::Answer {
        let body = match targets {
            [] => json!({}),
            targets => json!({"targets": targets.iter().map(|n| device(*n)).collect::<Vec<_>>()}),
        };
        self.server
            .post(&format!("{PATH}/{id}/{order}"), &body)
            .await
    }

    /// The status of a target and the text of its error.
    async fn target(&self, id: &str, node: usize) -> (String, String) {
        let path = format!("{PATH}/{id}?target={}", device(node));
        let body = self.server.get(&path).await.body;
        let detail = &body["task_details"][0];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&detail["status"]), text(&detail["error"]["error_msg"]))
    }

    /// Time passes, and the runner looks.
    fn wait(&self, seconds: u64) {
        self.server.clock.advance(Duration::from_secs(seconds));
        self.server.app.batches.wake();
    }
}

fn device(node: usize) -> String {
    format!("p1_n{node}")
}

/// A campaign of `fw2` for these devices.
fn campaign(nodes: &[usize]) -> Value {
    let targets: Vec<String> = nodes.iter().map(|node| device(*node)).collect();
    json!({"task_name": "winter", "task_type": "firmwareUpgrade", "targets": targets,
        "document": {"package_ids": ["fw2"]}})
}
