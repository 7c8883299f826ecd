mod secure;

use std::collections::HashSet;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use coap_lite::{CoapOption, MessageType};

use super::*;
use crate::sim::message::{self, Draft};

/// A server on a thread that does what it must; drops every `lose`-th datagram (0: none).
struct Fake {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    reports: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    fn start(lose: u64, refuse: bool) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let address = socket.local_addr().unwrap();
        let (stop, reports) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (stopping, counting) = (Arc::clone(&stop), Arc::clone(&reports));
        let thread = std::thread::spawn(move || {
            serve(&socket, lose, refuse, &stopping, &counting);
        });
        Self {
            address,
            stop,
            reports,
            thread: Some(thread),
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn serve(socket: &UdpSocket, lose: u64, refuse: bool, stop: &AtomicBool, reports: &AtomicU64) {
    let mut buffer = [0; 2000];
    let mut seen = HashSet::new();
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let Ok((len, peer)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        count += 1;
        if lose != 0 && count % lose == 0 {
            continue;
        }
        let Ok(packet) = message::read(&buffer[..len]) else {
            continue;
        };
        let id = packet.header.message_id;
        if packet.header.get_type() == MessageType::Acknowledgement {
            continue;
        }
        let ack =
            |code| Draft::new(MessageType::Acknowledgement, code, id).token(packet.get_token());
        let path = message::joined(&packet, CoapOption::UriPath);
        let report = path == "t/d" || message::code(&packet) == message::CONTENT;
        if report && seen.insert((peer, id)) {
            reports.fetch_add(1, Ordering::Relaxed);
        }
        let answers = match (path.as_str(), message::code(&packet)) {
            ("rd" | "t/r", _) if refuse => vec![ack(0x83)],
            ("rd", _) => vec![
                ack(message::CREATED).location("rd").location("7"),
                Draft::new(MessageType::Confirmable, message::GET, id)
                    .token(&peer.ip().to_string().into_bytes()[5..])
                    .path("19/0/0")
                    .uint(CoapOption::Observe, 0),
            ],
            ("t/r", _) => vec![ack(message::CREATED)],
            ("t/d" | "rd/7", message::POST) => vec![ack(message::CHANGED)],
            (_, message::CONTENT) => vec![Draft::new(MessageType::Acknowledgement, 0, id)],
            (_, 0) => vec![Draft::new(MessageType::Reset, 0, id)],
            _ => vec![ack(message::NOT_FOUND)],
        };
        for answer in answers {
            socket.send_to(&answer.bytes().unwrap(), peer).unwrap();
        }
    }
}

fn job(server: SocketAddr, workload: Workload) -> Job {
    Job {
        server,
        clock: Clock::System,
        workload,
        pace: Pace::Closed { in_flight: 16 },
        devices: 50,
        prefix: "load".to_owned(),
        lifetime_s: 600,
        duration: Duration::from_millis(150),
        ack_timeout: Duration::from_millis(60),
        max_retransmit: 6,
        body: Body::Fixed(vec![1; 12]),
        seed: 1,
        secure: None,
    }
}

#[test]
fn every_workload_gets_its_answers() {
    let cases = [
        (Workload::Register, "2.01"),
        (Workload::Update, "2.04"),
        (Workload::Uplink { raw: false }, "ACK"),
        (Workload::Uplink { raw: true }, "2.04"),
        (Workload::Echo { path: None }, "RST"),
    ];
    for (workload, code) in cases {
        let fake = Fake::start(0, false);
        let uplink = matches!(workload, Workload::Uplink { .. });
        let report = run(&job(fake.address, workload), &mut |_| {}).unwrap();
        assert!(report.started >= 50, "{report:?}");
        assert_eq!(
            report.answers.get(code),
            Some(&report.started),
            "{report:?}"
        );
        assert_eq!(report.succeeded, report.started);
        assert!(report.rate > 100.0 && report.latency.p50_ms > 0.0);
        if uplink {
            assert_eq!(fake.reports.load(Ordering::Relaxed), report.started);
        }
    }
}

#[test]
fn losses_are_repeated_and_no_report_counts_twice() {
    let fake = Fake::start(7, false);
    let report = run(
        &job(fake.address, Workload::Uplink { raw: true }),
        &mut |_| {},
    )
    .unwrap();
    assert!(report.retransmitted > 0, "{report:?}");
    assert_eq!((report.timeouts, report.succeeded), (0, report.started));
    assert_eq!(fake.reports.load(Ordering::Relaxed), report.started);
}

#[test]
fn a_refusing_server_is_named_and_a_silent_one_times_out() {
    let fake = Fake::start(0, true);
    let error = run(&job(fake.address, Workload::Update), &mut |_| {}).unwrap_err();
    assert_eq!(error.kind(), "not_registered");
    assert!(error.to_string().contains("4.03 50"), "{error}");

    let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
    let job = Job {
        ack_timeout: Duration::from_millis(5),
        max_retransmit: 1,
        ..job(deaf.local_addr().unwrap(), Workload::Echo { path: None })
    };
    let report = run(&job, &mut |_| {}).unwrap();
    assert_eq!((report.answered, report.timeouts), (0, report.started));
    assert_eq!(report.retransmitted, report.started);
}

/// An open loop must not slow down with the server: with answers that never come in time the
/// latency grows with the backlog instead.
#[test]
fn an_open_loop_counts_from_the_intended_start() {
    let fake = Fake::start(0, false);
    let open = |per_second| Job {
        pace: Pace::Open { per_second },
        ..job(fake.address, Workload::Echo { path: None })
    };
    let calm = run(&open(200.0), &mut |_| {}).unwrap();
    assert!((25..=31).contains(&calm.started), "{calm:?}");
    let one_device = Job {
        devices: 1,
        ..open(1_000_000.0)
    };
    let flooded = run(&one_device, &mut |_| {}).unwrap();
    assert!(flooded.late > 0, "{flooded:?}");
    assert!(flooded.latency.max_ms > 50.0, "{flooded:?}");
}

/// Whoever measures beside a run, such as the server's CPU, needs both ends of the measured phase, however short.
#[test]
fn both_ends_of_the_measured_phase_are_told() {
    let fake = Fake::start(0, false);
    let job = job(fake.address, Workload::Uplink { raw: true });
    let mut told = Vec::new();
    let report = run(&job, &mut |p| told.push(p)).unwrap();
    told.retain(|p| p.phase == Phase::Measuring);
    let (first, last) = (told.first().unwrap(), told.last().unwrap());
    assert_eq!((first.done, first.elapsed), (0, Duration::ZERO));
    assert!(last.elapsed >= job.duration);
    assert!(last.done > 0 && last.done <= report.answered, "{last:?}");
}

#[test]
fn the_bare_echo_measures_the_machine() {
    let job = job(([127, 0, 0, 1], 1).into(), Workload::Uplink { raw: false });
    let report = baseline(&job, &mut |_| {}).unwrap();
    assert_eq!(report.timeouts, 0);
    assert_eq!(report.answers.get("echo"), Some(&report.started));
}

#[test]
fn an_attack_is_survived_or_said_to_have_killed() {
    let fake = Fake::start(0, false);
    let hostile = |server| Hostile {
        server,
        clock: Clock::System,
        datagrams: 2000,
        seed: 3,
        prefix: "n".to_owned(),
    };
    let report = attack(&hostile(fake.address), &mut |_| {}).unwrap();
    assert_eq!(report.datagrams, 2000);
    assert!(report.pongs > 31 && report.answers > 0, "{report:?}");
}

#[test]
fn devices_of_a_pool_with_their_own_sockets_hear_their_own_answers() {
    let socket = UdpSocket::bind("[::1]:0").unwrap();
    let mut pool = Pool::open(socket.local_addr().unwrap(), 3).unwrap();
    for device in 0..3u8 {
        pool.send(u32::from(device), &[device]).unwrap();
        let mut byte = [0];
        let (_, peer) = socket.recv_from(&mut byte).unwrap();
        socket.send_to(&byte, peer).unwrap();
    }
    let mut heard = Vec::new();
    while heard.len() < 3 {
        pool.receive(Duration::from_secs(5), &mut |device, bytes| {
            heard.push((device, bytes.to_vec()));
        })
        .unwrap();
    }
    heard.sort();
    assert_eq!(heard, [(0, vec![0]), (1, vec![1]), (2, vec![2])]);
}
