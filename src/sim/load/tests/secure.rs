//! The secured workloads against webrtc-dtls as a server, on loopback.

use std::sync::Mutex;

use super::*;
use crate::sim::session::tests::{Clients, KEY};

/// Answers pings and registrations, and counts the sessions that were closed.
struct Secured {
    address: SocketAddr,
    goodbyes: Arc<AtomicU64>,
    hellos: Arc<Mutex<HashSet<SocketAddr>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Secured {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let socket = runtime.block_on(tokio::net::UdpSocket::bind("127.0.0.1:0"));
        let socket = socket.unwrap();
        let address = socket.local_addr().unwrap();
        let goodbyes = Arc::new(AtomicU64::new(0));
        let hellos = Arc::new(Mutex::new(HashSet::new()));
        let (counted, seen) = (Arc::clone(&goodbyes), Arc::clone(&hellos));
        let mut clients = Clients::new(socket);
        let serve = async move {
            loop {
                let (datagram, peer) = clients.receive().await;
                seen.lock().unwrap().insert(peer);
                let is_goodbye = datagram[0] == 21 && datagram[4] == 1;
                counted.fetch_add(u64::from(is_goodbye), Ordering::Relaxed);
                clients.serve(datagram, peer, || answer);
            }
        };
        runtime.spawn(serve);
        Self {
            address,
            goodbyes,
            hellos,
            _runtime: runtime,
        }
    }
}

fn answer(message: &[u8]) -> Vec<Vec<u8>> {
    let packet = message::read(message).unwrap();
    let id = packet.header.message_id;
    let draft = match message::code(&packet) {
        0 => Draft::new(MessageType::Reset, 0, id),
        _ => Draft::new(MessageType::Acknowledgement, message::CREATED, id)
            .token(packet.get_token())
            .location("rd"),
    };
    vec![draft.bytes().unwrap()]
}

fn secure_job(server: SocketAddr, workload: Workload, key: &[u8]) -> Job {
    Job {
        devices: 8,
        pace: Pace::Closed { in_flight: 4 },
        ack_timeout: Duration::from_millis(500),
        secure: Some(Secure {
            key: Secret::new(key.to_vec()),
            identity: None,
        }),
        ..job(server, workload)
    }
}

#[test]
fn handshakes_are_counted_each_from_a_fresh_address_and_closed() {
    let server = Secured::start();
    let job = secure_job(server.address, Workload::Handshake, KEY);
    let report = run(&job, &mut |_| {}).unwrap();
    assert!(report.succeeded > 8, "{report:?}");
    assert_eq!(report.answers.get("connected"), Some(&report.succeeded));
    assert_eq!(report.succeeded + report.timeouts, report.started);
    assert!(report.rate > 1.0 && report.latency.p50_ms > 0.0);
    let addresses = server.hellos.lock().unwrap().len() as u64;
    assert_eq!(addresses, report.started, "{report:?}");
}

#[test]
fn requests_go_over_sessions_that_are_closed_in_the_end() {
    let cases = [
        (Workload::Echo { path: None }, "RST"),
        (Workload::Register, "2.01"),
    ];
    for (workload, code) in cases {
        let server = Secured::start();
        let job = secure_job(server.address, workload, KEY);
        let report = run(&job, &mut |_| {}).unwrap();
        assert!(report.started > 8, "{report:?}");
        assert_eq!(report.answers.get(code), Some(&report.started));
        let mut waited = 0;
        while server.goodbyes.load(Ordering::Relaxed) < 8 && waited < 1_000_000 {
            std::thread::yield_now();
            waited += 1;
        }
        assert_eq!(server.goodbyes.load(Ordering::Relaxed), 8);
    }
}

#[test]
fn a_wrong_key_ends_with_counts_and_not_with_a_hang() {
    let server = Secured::start();
    let quick = |workload| Job {
        ack_timeout: Duration::from_millis(20),
        max_retransmit: 2,
        ..secure_job(server.address, workload, b"another secret..")
    };
    let report = run(&quick(Workload::Handshake), &mut |_| {}).unwrap();
    assert_eq!(report.succeeded, 0, "{report:?}");
    assert_eq!(report.answered + report.timeouts, report.started);
    let echo = Workload::Echo { path: None };
    let error = run(&quick(echo), &mut |_| {}).unwrap_err();
    assert_eq!(error.kind(), "not_connected");
    assert!(error.to_string().starts_with("0 of 8 devices"), "{error}");
}

#[test]
fn handshakes_without_a_key_are_an_error() {
    let job = job(([127, 0, 0, 1], 1).into(), Workload::Handshake);
    assert_eq!(run(&job, &mut |_| {}).unwrap_err().kind(), "no_key");
}
