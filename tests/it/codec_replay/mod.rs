//! Uplinks that were kept raw, decoded later: `/v1/products/{product_id}/codec/replay`.

mod crashes;
mod model;
mod refusals;
mod workers;

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use coap_lite::MessageType;
use serde_json::{Value, json};
use strait::api;
use strait::base::time::{Clock, Timestamp};
use strait::sim::message::{self, Draft};
use strait::store::memory::Memory;
use strait::store::{HistoryQuery, Store};
use tower::ServiceExt;

use crate::conformity;
use crate::server::{Server, virtual_clock};

const CODEC: &str = "/v1/products/p/codec";
const FLOW: &str = include_str!("../../../fixtures/api/flow.toml");

/// A server with the product `p` and its devices `p_n1` to `p_n3`.
struct Bench {
    server: Server,
    memory: Memory,
    clock: Clock,
    msg_id: u16,
}

fn peer(device: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, device], 5683))
}

fn report(volume: u32) -> Vec<u8> {
    [&[1], &volume.to_be_bytes()[..]].concat()
}

fn volumes(rows: &[Value]) -> Vec<u64> {
    let each = rows.iter().map(|row| row["volume"].as_u64().unwrap());
    each.collect()
}

impl Bench {
    async fn start() -> Self {
        let (memory, clock) = (Memory::default(), virtual_clock());
        let server = Server::start(&memory, &clock, 1);
        server.create_product("p", "binary").await;
        for node in ["n1", "n2", "n3"] {
            server.create_device("p", node, json!({})).await;
        }
        Self {
            server,
            memory,
            clock,
            msg_id: 0,
        }
    }

    /// The same, with the codec taken away.
    async fn without_codec() -> Self {
        let bench = Self::start().await;
        bench.send(Method::DELETE, CODEC, &Value::Null).await;
        bench
    }

    /// Status and body of an answer, which must be as the OpenAPI document says.
    async fn send(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let request = Request::builder().method(method.clone()).uri(path);
        let request = request.header("content-type", "application/json");
        let body = match body {
            Value::Null => Body::empty(),
            body => Body::from(body.to_string()),
        };
        let router = api::router(self.server.platform.app.clone());
        let answer = router.oneshot(request.body(body).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let media = answer.headers().get("content-type");
        let media = media.map_or("", |m| m.to_str().unwrap()).to_owned();
        let bytes = axum::body::to_bytes(answer.into_body(), usize::MAX).await;
        let body = serde_json::from_slice(&bytes.unwrap()).unwrap_or(Value::Null);
        conformity::check(&method, path, status, &media, &body);
        (status, body)
    }

    async fn upload(&self) {
        self.server
            .request("PUT", CODEC, "application/toml", FLOW.to_owned())
            .await;
    }

    /// Begins a replay; its number.
    async fn begin(&self, body: &Value) -> u64 {
        let path = format!("{CODEC}/replay");
        let (status, begun) = self.send(Method::POST, &path, body).await;
        assert_eq!(
            (status, &begun["state"]),
            (202, &json!("running")),
            "{begun}"
        );
        begun["replay_id"].as_u64().unwrap()
    }

    async fn show(&self, number: u64) -> Value {
        let path = format!("{CODEC}/replays/{number}");
        self.send(Method::GET, &path, &Value::Null).await.1
    }

    /// Waits in virtual time for the end of a replay.
    async fn end_of(&self, number: u64) -> Value {
        for _ in 0..1000 {
            let shown = self.show(number).await;
            if shown["state"] != "running" {
                return shown;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it goes on: {}", self.show(number).await);
    }

    async fn replay(&self, body: &Value) -> Value {
        let number = self.begin(body).await;
        self.end_of(number).await
    }

    /// A device reports; what the server answers it is passed over.
    async fn say(&mut self, device: u8, payload: &[u8]) {
        self.msg_id += 1;
        let draft = Draft::new(MessageType::Confirmable, message::POST, self.msg_id)
            .path("t/d")
            .query(&format!("ep=n{device}"))
            .payload(payload);
        let datagram = draft.bytes().unwrap();
        self.server.hear(peer(device), datagram).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    /// What was sent to devices since then.
    fn sent(&mut self) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        while let Ok(batch) = self.server.downlinks.try_recv() {
            out.extend(batch.into_iter().map(|(_, datagram)| datagram.to_vec()));
        }
        out
    }

    /// Kind and payload of what is raw, oldest first.
    fn raw(&self, device_id: &str) -> Vec<(String, Vec<u8>)> {
        let seq = self.server.device(device_id).unwrap().seq;
        let rows = self.server.disk.raw_uplinks(seq, 1000).unwrap();
        let rows = rows.into_iter().rev();
        rows.map(|raw| (raw.kind, raw.payload)).collect()
    }

    fn received(&self, device_id: &str) -> Vec<Timestamp> {
        let query = HistoryQuery {
            device_seq: self.server.device(device_id).unwrap().seq,
            from: None,
            to: None,
            before: None,
            limit: 1000,
        };
        let rows = self.server.disk.history(&query).unwrap();
        let rows = rows.into_iter().rev();
        rows.map(|row| row.record.received_at).collect()
    }

    /// Reported `volume` in the shadow, and when it was.
    fn shadow(&self, device_id: &str) -> Option<(u64, Timestamp)> {
        let state = self.server.state(device_id);
        let flow = state.shadow.iter().find(|s| s.service_id == "Flow")?;
        let volume = flow.reported.get("volume")?.as_u64().unwrap();
        Some((volume, flow.reported_at.unwrap()))
    }
}

/// The counts of a replay that are not 0.
fn counts(replay: &Value) -> Value {
    let names = [
        "devices",
        "found",
        "decoded",
        "partly",
        "responses",
        "empty",
    ];
    let counted = names.iter().filter(|name| replay[**name] != 0);
    counted
        .map(|name| ((*name).to_owned(), replay[*name].clone()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn what_was_raw_is_read_in_order_and_told_as_late() {
    let mut bench = Bench::without_codec().await;
    let mut said = Vec::new();
    for volume in [1, 2, 3] {
        said.push(bench.clock.now());
        bench.say(1, &report(volume)).await;
    }
    assert_eq!(bench.raw("p_n1").len(), 3);
    let before = bench.server.state("p_n1");
    bench.sent();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    bench.upload().await;
    let replay = bench.replay(&Value::Null).await;
    assert_eq!(replay["state"], "done");
    let want = json!({"devices": 3, "found": 3, "decoded": 3});
    assert_eq!((counts(&replay), &replay["unread"]), (want, &json!([])));

    assert_eq!(volumes(&bench.server.history("p_n1")), [1, 2, 3]);
    let received = bench.received("p_n1");
    assert_eq!(received, said, "history has them at their time");
    assert_eq!(bench.shadow("p_n1"), Some((3, said[2])));
    assert!(bench.raw("p_n1").is_empty());
    let events = bench.server.events("p_n1", "device.property");
    let told: Vec<(Value, Value)> = events
        .iter()
        .map(|body| {
            (
                body["late"].clone(),
                body["services"][0]["event_time"].clone(),
            )
        })
        .collect();
    let want = said.iter().map(|at| (json!(true), json!(at.compact())));
    assert_eq!(told, want.collect::<Vec<_>>());
    assert!(events[0]["replayed_time"].as_str().unwrap() > said[2].compact().as_str());
    let after = bench.server.state("p_n1");
    assert_eq!(after.last_seen_at, before.last_seen_at, "it was not heard");
    assert_eq!(bench.sent(), Vec::<Vec<u8>>::new(), "it is told nothing");

    // Once more, nothing is left to do.
    let again = bench.replay(&Value::Null).await;
    assert_eq!(counts(&again), json!({"devices": 3}));
    assert_eq!(bench.server.state("p_n1"), after);
    assert_eq!(bench.server.reported_events("p_n1").len(), 3);
    bench.say(1, &report(4)).await;
    let live = bench
        .server
        .events("p_n1", "device.property")
        .pop()
        .unwrap();
    assert_eq!(live.get("late"), None, "live ones are as ever");
}

#[tokio::test(start_paused = true)]
async fn a_newer_value_stays() {
    let mut bench = Bench::without_codec().await;
    bench.say(1, &report(1)).await;
    bench.upload().await;
    bench.say(1, &report(5)).await;
    let live = bench.shadow("p_n1");
    bench.replay(&json!({})).await;
    assert_eq!(bench.shadow("p_n1"), live);
    assert_eq!(volumes(&bench.server.history("p_n1")), [1, 5]);
    assert_eq!(volumes(&bench.server.reported_events("p_n1")), [5, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_can_read_stays_with_the_new_reason() {
    let mut bench = Bench::without_codec().await;
    let said: [&[u8]; 5] = [
        &[0x77],
        &[1, 0],
        &report(9),
        &report(70_000),
        &[0x82, 0, 7, 0],
    ];
    for payload in said {
        bench.say(1, payload).await;
    }
    bench.upload().await;
    // First nothing but a look.
    let look = bench.replay(&json!({"dry_run": true})).await;
    assert!(bench.raw("p_n1").iter().all(|(kind, _)| kind == "no_codec"));
    assert_eq!(bench.server.history("p_n1"), Vec::<Value>::new());

    let replay = bench.replay(&json!({})).await;
    let want = json!({"devices": 3, "found": 5, "decoded": 1, "responses": 1});
    assert_eq!((counts(&look), counts(&replay)), (want.clone(), want));
    let unread = replay["unread"].as_array().unwrap();
    assert_eq!(look["unread"], replay["unread"]);
    let kinds: Vec<&Value> = unread.iter().map(|u| &u["kind"]).collect();
    assert_eq!(kinds, ["unknown_message", "truncated", "model"]);
    assert_eq!(unread[0]["first"]["hex"], "77");
    assert_eq!(unread[0]["first"]["device_id"], "p_n1");
    let raw = bench.raw("p_n1");
    let want = [
        ("unknown_message".to_owned(), vec![0x77]),
        ("truncated".to_owned(), vec![1, 0]),
        ("model".to_owned(), report(70_000)),
    ];
    assert_eq!(raw, want);
    assert_eq!(volumes(&bench.server.history("p_n1")), [9]);

    // As long as codec and model are as they were, nothing changes.
    let again = bench.replay(&json!({})).await;
    assert_eq!(counts(&again), json!({"devices": 3, "found": 3}));
    assert_eq!(bench.raw("p_n1"), raw);
    let one = bench.replay(&json!({"kinds": ["truncated"]})).await;
    assert_eq!(counts(&one), json!({"devices": 3, "found": 1}));
}

#[tokio::test(start_paused = true)]
async fn a_replay_takes_those_that_it_is_for() {
    let mut bench = Bench::without_codec().await;
    let start = bench.clock.now();
    for volume in [1, 2] {
        for device in [1, 2, 3] {
            bench.say(device, &report(volume)).await;
        }
    }
    bench.upload().await;
    let at = |s| start.plus_s(s).compact();
    let rows = [
        (json!({"device_id": "p_n2", "to": at(3)}), 1, 1),
        (
            json!({"device_ids": ["p_n1", "p_n3", "p_n1"], "from": at(3)}),
            2,
            2,
        ),
        (json!({"kinds": ["truncated"]}), 3, 0),
        (
            json!({"kinds": ["no_codec"], "from": at(3), "to": at(60)}),
            3,
            1,
        ),
        (json!({}), 3, 2),
    ];
    for (body, devices, found) in rows {
        let replay = bench.replay(&body).await;
        assert_eq!(replay["found"], found, "{body}");
        assert_eq!(replay["devices"], devices, "{body}");
    }
    for device in ["p_n1", "p_n2", "p_n3"] {
        assert_eq!(volumes(&bench.server.history(device)), [1, 2]);
        assert_eq!(bench.shadow(device).unwrap().0, 2);
    }
    let (_, list) = bench
        .send(Method::GET, &format!("{CODEC}/replays"), &Value::Null)
        .await;
    let numbers: Vec<&Value> = list["replays"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["replay_id"])
        .collect();
    assert_eq!(numbers, [5, 4, 3, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn one_replay_at_a_time_that_can_be_stopped() {
    let mut bench = Bench::without_codec().await;
    let path = format!("{CODEC}/replay");
    let (status, none) = bench.send(Method::POST, &path, &json!({})).await;
    assert_eq!(status, 404, "{none}");
    assert!(none["error_msg"].as_str().unwrap().contains("has no codec"));
    for volume in 0..40 {
        bench.say(1, &report(volume)).await;
    }
    bench.upload().await;
    let number = bench.begin(&json!({})).await;
    let (status, second) = bench.send(Method::POST, &path, &json!({})).await;
    assert_eq!(status, 409, "{second}");
    let stop = format!("{CODEC}/replays/{number}/stop");
    let (status, stopped) = bench.send(Method::POST, &stop, &Value::Null).await;
    assert_eq!((status, &stopped["state"]), (200, &json!("stopped")));
    let done = stopped["found"].as_u64().unwrap();
    assert!(done < 40, "{stopped}");
    assert_eq!(
        bench.send(Method::POST, &stop, &Value::Null).await.1,
        stopped
    );
    assert_eq!(bench.raw("p_n1").len() as u64, 40 - done);
    // The next one takes what is left.
    let rest = bench.replay(&json!({})).await;
    assert_eq!(rest["found"], 40 - done);

    // Without a codec it can't go on, and says so.
    bench.send(Method::DELETE, CODEC, &Value::Null).await;
    for volume in 0..40 {
        bench.say(1, &report(volume)).await;
    }
    bench.upload().await;
    let number = bench.begin(&json!({})).await;
    bench.send(Method::DELETE, CODEC, &Value::Null).await;
    let failed = bench.end_of(number).await;
    assert_eq!(failed["state"], "failed");
    assert!(failed["reason"].as_str().unwrap().contains("no codec"));
}

#[tokio::test(start_paused = true)]
async fn a_product_takes_its_replays_along() {
    let mut bench = Bench::without_codec().await;
    for volume in 0..40 {
        bench.say(1, &report(volume)).await;
    }
    bench.upload().await;
    bench.begin(&json!({})).await;
    let product = "/v5/iot/x/products/p";
    for node in ["p_n1", "p_n2", "p_n3"] {
        let path = format!("/v5/iot/x/devices/{node}");
        bench.send(Method::DELETE, &path, &Value::Null).await;
    }
    let (status, _) = bench.send(Method::DELETE, product, &Value::Null).await;
    assert_eq!(status, 204);
    let list = format!("{CODEC}/replays");
    assert_eq!(bench.send(Method::GET, &list, &Value::Null).await.0, 404);
    tokio::time::sleep(Duration::from_secs(5)).await;
    bench.server.create_product("p", "binary").await;
    let (_, none) = bench.send(Method::GET, &list, &Value::Null).await;
    assert_eq!(none, json!({"replays": []}));
}

/// The answer to a command came while there was no codec.
#[tokio::test(start_paused = true)]
async fn a_late_answer_ends_its_command() {
    let mut bench = Bench::start().await;
    bench.say(1, &report(1)).await;
    let commands = "/v5/iot/x/devices/p_n1/async-commands";
    let body = json!({"service_id": "Flow", "command_name": "SET_VALVE", "paras": {"open": 1},
        "send_strategy": "delay"});
    bench.sent();
    let command = bench.server.call("POST", commands, &body).await;
    bench.say(1, &report(2)).await;
    let down = bench.sent().into_iter().find_map(|datagram| {
        let packet = message::read(&datagram).unwrap();
        (packet.payload.first() == Some(&0x81)).then_some(packet)
    });
    let down = down.expect("the command goes down");
    let mid = down.payload[1..3].to_vec();
    bench.send(Method::DELETE, CODEC, &Value::Null).await;
    bench.say(1, &[&[0x82], &mid[..], &[0]].concat()).await;
    // One without a command that it could end.
    bench.say(1, &[0x82, 0xff, 0xff, 0]).await;
    bench.upload().await;
    let replay = bench.replay(&json!({})).await;
    assert_eq!(
        counts(&replay),
        json!({"devices": 3, "found": 2, "responses": 2})
    );
    let path = format!("{commands}/{}", command["command_id"].as_str().unwrap());
    let shown = bench.server.call("GET", &path, &Value::Null).await;
    assert_eq!(shown["status"], "SUCCESSFUL", "{shown}");
    assert!(bench.raw("p_n1").is_empty());
}
