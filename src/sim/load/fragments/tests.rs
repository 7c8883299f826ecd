use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::Uri;
use axum::routing::{post, put};
use axum::{Json, Router};
use coap_lite::{CoapOption, MessageType, Packet};
use serde_json::json;
use tokio::net::UdpSocket;

use super::*;
use crate::base::time::Clock;
use crate::sim::load::{Body, Pace};
use crate::sim::message::{self, Draft};
use crate::sim::upgrade::pcp::frame;

/// What the platform does with who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Served,
    /// A fragment with a wrong byte, then the right one.
    WrongFirst,
    Wrong,
    /// Every second device is offered nothing.
    HalfOffered,
}

/// A platform of a few lines.
struct Platform {
    fate: Fate,
    socket: UdpSocket,
    /// By node id.
    devices: Mutex<HashMap<String, SocketAddr>>,
    package: Mutex<(String, Bytes)>,
    /// Downlinks so far, for their message ids.
    sent: Mutex<u16>,
    given_up: Mutex<usize>,
}

impl Platform {
    async fn hear(self: Arc<Self>) {
        let mut buffer = [0; 1500];
        loop {
            let (len, peer) = self.socket.recv_from(&mut buffer).await.unwrap();
            let packet = message::read(&buffer[..len]).unwrap();
            if packet.header.get_type() != MessageType::Confirmable {
                continue;
            }
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
        if message::joined(packet, CoapOption::UriPath) == "t/r" {
            let query = message::joined(packet, CoapOption::UriQuery);
            let node = query.split('/').find_map(|q| q.strip_prefix("ep="));
            let mut devices = self.devices.lock().unwrap();
            devices.insert(node.unwrap().to_owned(), peer);
            return vec![ack(message::CREATED)];
        }
        let mut answers = vec![ack(message::CHANGED)];
        match packet.payload[3] {
            frame::FRAGMENT => {
                let [.., high, low] = packet.payload[..] else {
                    panic!("{:02x?}", packet.payload);
                };
                let right = self.fragment(u16::from_be_bytes([high, low]));
                let mut wrong = right.clone();
                *wrong.last_mut().unwrap() ^= 1;
                answers.extend(match self.fate {
                    Fate::Served | Fate::HalfOffered => vec![self.downlink(&right)],
                    Fate::WrongFirst => vec![self.downlink(&wrong), self.downlink(&right)],
                    Fate::Wrong => vec![self.downlink(&wrong)],
                });
            }
            frame::DOWNLOADED => {
                assert_eq!(packet.payload[8], 6);
                *self.given_up.lock().unwrap() += 1;
            }
            frame::OFFER => assert_eq!(packet.payload[8..], [0]),
            _ => panic!("{:02x?}", packet.payload),
        }
        answers
    }

    fn fragment(&self, index: u16) -> Vec<u8> {
        let package = self.package.lock().unwrap();
        let piece = package.1.chunks(500).nth(usize::from(index)).unwrap();
        let data = [&[0][..], &index.to_be_bytes(), piece].concat();
        frame::write(frame::FRAGMENT, &data)
    }

    fn downlink(&self, payload: &[u8]) -> Draft {
        let mut sent = self.sent.lock().unwrap();
        *sent += 1;
        Draft::new(MessageType::Confirmable, message::POST, *sent)
            .token(b"down")
            .path("t/d")
            .payload(payload)
    }
}

async fn upload(State(platform): State<Arc<Platform>>, uri: Uri, body: Bytes) -> Json<Value> {
    let version = uri.query().unwrap().split("version=").nth(1).unwrap();
    *platform.package.lock().unwrap() = (version.to_owned(), body);
    Json(json!({"package_id": "p1"}))
}

/// Offers the package to everybody, after a look at where they are.
async fn begin(State(platform): State<Arc<Platform>>, Json(body): Json<Value>) -> Json<Value> {
    assert_eq!(body["document"]["package_ids"], json!(["p1"]));
    let (version, count) = {
        let package = platform.package.lock().unwrap();
        let count = package.1.len().div_ceil(500);
        (package.0.clone(), u16::try_from(count).unwrap())
    };
    let offer = [
        &frame::version(&version)[..],
        &500_u16.to_be_bytes(),
        &count.to_be_bytes(),
        &[0, 0],
    ];
    let offer = frame::write(frame::OFFER, &offer.concat());
    let step = match platform.fate {
        Fate::HalfOffered => 2,
        Fate::Served | Fate::WrongFirst | Fate::Wrong => 1,
    };
    for target in body["targets"].as_array().unwrap().iter().step_by(step) {
        let node = target.as_str().unwrap().strip_prefix("product_").unwrap();
        let peer = platform.devices.lock().unwrap()[node];
        let bytes = platform.downlink(&offer).bytes().unwrap();
        platform.socket.send_to(&bytes, peer).await.unwrap();
    }
    Json(json!({"task_id": "t1"}))
}

/// The outcome, and how many devices gave up at the end.
fn run(fate: Fate) -> Result<(Report, usize), LoadError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let (platform, http) = runtime.block_on(async {
        let platform = Arc::new(Platform {
            fate,
            socket: UdpSocket::bind("127.0.0.1:0").await?,
            devices: Mutex::default(),
            package: Mutex::default(),
            sent: Mutex::default(),
            given_up: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let http = listener.local_addr()?;
        let app = Router::new()
            .route("/v1/packages", put(upload))
            .route("/v5/iot/p/batchtasks", post(begin))
            .with_state(Arc::clone(&platform));
        let handle = tokio::runtime::Handle::current();
        handle.spawn(Arc::clone(&platform).hear());
        handle.spawn(async { axum::serve(listener, app).await });
        Ok::<_, std::io::Error>((platform, http))
    })?;
    let job = Job {
        server: platform.socket.local_addr()?,
        clock: Clock::System,
        workload: Workload::Fragments { raw: true },
        pace: Pace::Closed { in_flight: 10 },
        devices: 20,
        prefix: "load".to_owned(),
        lifetime_s: 600,
        duration: Duration::from_millis(300),
        ack_timeout: Duration::from_millis(100),
        max_retransmit: 1,
        body: Body::Fixed(Vec::new()),
        seed: 1,
        secure: None,
    };
    let what = Fragments {
        rest: Rest::new(&format!("http://{http}"), None)?,
        product_id: "product".to_owned(),
        // Devices come to the end of it, which is a short one, and begin anew.
        size: 1100,
        patience: Duration::from_millis(500),
    };
    let report = fragments(&job, &what, &mut |_| {})?;
    let given_up = *platform.given_up.lock().unwrap();
    Ok((report, given_up))
}

#[test]
fn fragments_count_when_they_are_right() {
    for fate in [Fate::Served, Fate::WrongFirst] {
        let (report, given_up) = run(fate).unwrap();
        assert!(report.started > 20 * 3, "{report:?}");
        assert_eq!(report.succeeded, report.started, "{fate:?}");
        assert_eq!((report.timeouts, given_up), (0, 20));
        assert!(report.text().starts_with("fragments-raw: "));
    }
    let (report, given_up) = run(Fate::Wrong).unwrap();
    assert_eq!((report.succeeded, report.answered), (0, 0));
    assert_eq!((report.timeouts, given_up), (report.started, 20));
}

#[test]
fn devices_that_are_offered_nothing_are_told_of() {
    let error = run(Fate::HalfOffered).unwrap_err();
    assert_eq!(error.kind(), "not_offered");
    let text = error.to_string();
    assert!(text.contains("10 of 20 devices"), "{text}");
    assert!(text.ends_with("GET /v1/campaigns/t1/cells"), "{text}");
}
