use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post};
use axum::{Json, Router};
use coap_lite::{CoapOption, MessageType, Packet};
use futures_util::stream::{StreamExt, once};
use serde_json::{Value, json};
use tokio::net::UdpSocket;
use tokio::sync::broadcast;

use super::*;
use crate::base::time::Clock;
use crate::sim::load::Pace;
use crate::sim::message::{self, Draft};

/// What the platform does with a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Delivered,
    /// Sent twice, as when an acknowledgement was lost.
    Repeated,
    /// Ended as FAILED before the post is answered.
    Failed,
    Refused,
}

/// A platform of a few lines: posts become CoAP requests, answers become SUCCESSFUL.
struct Platform {
    fate: Fate,
    socket: UdpSocket,
    /// Address and last message id of each device.
    devices: Mutex<HashMap<String, (SocketAddr, u16)>>,
    states: broadcast::Sender<String>,
}

impl Platform {
    fn tell(&self, command_id: &str, status: &str) {
        let body = json!({"command_id": command_id, "status": status, "result": null});
        let envelope = json!({"notify_data": {"header": {}, "body": body}});
        // Nobody follows before the run begins.
        self.states.send(envelope.to_string()).ok();
    }

    async fn hear(self: Arc<Self>) {
        let mut buffer = [0; 1500];
        loop {
            let (len, peer) = self.socket.recv_from(&mut buffer).await.unwrap();
            let packet = message::read(&buffer[..len]).unwrap();
            for answer in self.answer(&packet, peer) {
                let bytes = answer.bytes().unwrap();
                self.socket.send_to(&bytes, peer).await.unwrap();
            }
        }
    }

    fn answer(&self, packet: &Packet, peer: SocketAddr) -> Vec<Draft> {
        let id = packet.header.message_id;
        let ack =
            |code| Draft::new(MessageType::Acknowledgement, code, id).token(packet.get_token());
        let path = message::joined(packet, CoapOption::UriPath);
        let code = message::code(packet);
        if path == "rd" {
            let query = message::joined(packet, CoapOption::UriQuery);
            let node = query.split('/').find_map(|q| q.strip_prefix("ep="));
            let mut devices = self.devices.lock().unwrap();
            devices.insert(node.unwrap().to_owned(), (peer, 100));
            return vec![
                ack(message::CREATED).location("rd").location("7"),
                Draft::new(MessageType::Confirmable, message::GET, 99)
                    .token(b"obs")
                    .path("19/0/0")
                    .uint(CoapOption::Observe, 0),
            ];
        }
        if code != message::CONTENT || packet.header.get_type() != MessageType::Confirmable {
            return vec![];
        }
        // A smoke detector's answer: 02, mid, errcode, value. Its mid is the command's number.
        let [2, high, low, 0, 1] = packet.payload[..] else {
            panic!("{:02x?}", packet.payload);
        };
        let mid = u16::from_be_bytes([high, low]);
        self.tell(&format!("{peer} {mid}"), "SUCCESSFUL");
        vec![Draft::new(MessageType::Acknowledgement, 0, id)]
    }
}

async fn create(
    State(platform): State<Arc<Platform>>,
    Path(device): Path<String>,
    Json(body): Json<Value>,
) -> axum::response::Response {
    assert_eq!(body["command_name"], "SET_ALARM");
    assert_eq!(body["send_strategy"], "delay");
    if platform.fate == Fate::Refused {
        return (
            StatusCode::FORBIDDEN,
            Json(json!({"error_code": "IOTDA.014000"})),
        )
            .into_response();
    }
    let node = device.strip_prefix("product_").unwrap();
    let (peer, mid) = {
        let mut devices = platform.devices.lock().unwrap();
        let device = devices.get_mut(node).unwrap();
        device.1 += 1;
        *device
    };
    let id = format!("{peer} {mid}");
    let [high, low] = mid.to_be_bytes();
    let command = Draft::new(MessageType::Confirmable, message::PUT, mid)
        .token(b"cmd")
        .path("19/1/0")
        .payload(&[3, high, low, 1]);
    let times = match platform.fate {
        Fate::Delivered => 1,
        Fate::Repeated => 2,
        Fate::Failed | Fate::Refused => 0,
    };
    for _ in 0..times {
        let bytes = command.bytes().unwrap();
        platform.socket.send_to(&bytes, peer).await.unwrap();
    }
    platform.tell(&id, if times == 0 { "FAILED" } else { "SENT" });
    Json(json!({"command_id": id, "status": "PENDING"})).into_response()
}

async fn events(State(platform): State<Arc<Platform>>) -> impl IntoResponse {
    let states = platform.states.subscribe();
    let opened = once(async { Ok::<_, Infallible>(Event::default().comment("open")) });
    let states = futures_util::stream::unfold(states, |mut states| async {
        let data = states.recv().await.ok()?;
        let event = Event::default()
            .event("device.command.status.update")
            .data(data);
        Some((Ok(event), states))
    });
    Sse::new(opened.chain(states))
}

fn run(fate: Fate, pace: Pace, product: Product) -> Result<CommandReport, LoadError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let (http, server) = runtime.block_on(async {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let server = socket.local_addr()?;
        let platform = Arc::new(Platform {
            fate,
            socket,
            devices: Mutex::default(),
            states: broadcast::channel(10_000).0,
        });
        let hearing = Arc::clone(&platform);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let http = listener.local_addr()?;
        let app = Router::new()
            .route("/v5/iot/p/devices/{device}/async-commands", post(create))
            .route("/v1/events", get(events))
            .with_state(platform);
        let handle = tokio::runtime::Handle::current();
        handle.spawn(hearing.hear());
        handle.spawn(async { axum::serve(listener, app).await });
        Ok::<_, std::io::Error>((http, server))
    })?;
    let job = Job {
        server,
        clock: Clock::System,
        workload: Workload::Command { raw: false },
        pace,
        devices: 20,
        prefix: "load".to_owned(),
        lifetime_s: 600,
        duration: Duration::from_millis(400),
        ack_timeout: Duration::from_millis(500),
        max_retransmit: 3,
        body: Body::Product(product),
        seed: 1,
        secure: None,
    };
    let commands = Commands {
        rest: Rest::new(&format!("http://{http}"), None)?,
        product_id: "product".to_owned(),
        product,
        strategy: Strategy::Delay,
        concurrency: 8,
        patience: Duration::from_secs(10),
    };
    command(&job, &commands, &mut |_| {})
}

const CLOSED: Pace = Pace::Closed { in_flight: 10 };

#[test]
fn commands_are_followed_to_their_end() {
    for (fate, repeated) in [(Fate::Delivered, false), (Fate::Repeated, true)] {
        let report = run(fate, CLOSED, Product::SmokeDetector).unwrap();
        assert!(report.started > 20, "{report:?}");
        assert_eq!(report.accepted, report.started);
        assert_eq!(report.succeeded, report.started);
        assert_eq!((report.unended, report.executed), (0, report.started));
        assert_eq!(report.repeated > 0, repeated, "{report:?}");
        assert_eq!(
            report.answers,
            BTreeMap::from([("200".to_owned(), report.started)])
        );
        assert_eq!(
            report.ended,
            BTreeMap::from([("SUCCESSFUL".to_owned(), report.started)])
        );
        assert!(report.latency.p50_ms > 0.0 && report.post.p50_ms > 0.0);
        let text = report.text();
        assert!(text.starts_with("command delay: "), "{text}");
    }
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let pace = Pace::Open { per_second: 100.0 };
    let report = run(Fate::Delivered, pace, Product::SmokeDetector).unwrap();
    assert!((35..=42).contains(&report.started), "{report:?}");
    assert_eq!(report.succeeded, report.started);
}

#[test]
fn failures_and_refusals_are_counted_and_their_devices_rest() {
    let report = run(Fate::Failed, CLOSED, Product::SmokeDetector).unwrap();
    assert_eq!(
        report.ended,
        BTreeMap::from([("FAILED".to_owned(), report.started)])
    );
    assert_eq!(
        (report.succeeded, report.executed, report.unended),
        (0, 0, 0)
    );
    let report = run(Fate::Refused, CLOSED, Product::SmokeDetector).unwrap();
    assert_eq!(
        report.answers,
        BTreeMap::from([("403".to_owned(), report.started)])
    );
    assert_eq!(report.accepted, 0);
    assert!(
        report.text().ends_with("IOTDA.014000\"}"),
        "{}",
        report.text()
    );
    // 20 devices, each of which rests for 50 ms of the 400 ms.
    assert!(report.started <= 20 * 9, "{report:?}");
}

#[test]
fn a_product_without_commands_is_said() {
    let error = run(Fate::Delivered, CLOSED, Product::ParkingSensor).unwrap_err();
    assert_eq!(error.kind(), "no_command");
    assert!(error.to_string().contains("parking-sensor"), "{error}");
}
