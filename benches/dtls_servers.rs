//! Processor time of DTLS servers side by side: the engine on a plain socket, webrtc-dtls, and
//! OpenSSL, each a process of its own on a loopback socket, each with the same client, key, suite
//! (CCM_8), cookies and extended master secret.
//!
//! A round starts each server once: 2,000 full handshakes, each from a new address and ended with
//! close_notify, then echoes of 100 bytes over 20 sessions, 250 over each. One datagram is under way
//! at a time. What counts is the time that the server's threads ran (`/proc/<pid>/task/*/schedstat`);
//! the table has the medians of the rounds. A session of the engine is not stored here: that is
//! a commit of the store, whichever engine asks for it.
//!
//! Pin it to one core (`taskset -c 1 cargo bench --bench dtls_servers`): else the cost of waking
//! another core, which differs from run to run, is most of what is measured.
//!
//! OpenSSL's server is `dtls/openssl_server.c`, compiled here; without its headers it is left out.
//! `STRAIT_BENCH_ROUNDS`: so many rounds instead of 7.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement fails by panicking, prints, and reads the real clock"
)]

#[allow(dead_code, reason = "what the engine's tests need of it")]
#[path = "../src/engine/dtls/tests/client.rs"]
mod client;
#[path = "dtls/server.rs"]
mod server;

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use strait::engine::dtls::crypto::Suite;
use strait::net::dtls::OsRandom;
use strait::wire::dtls::ContentType;
// Where the client looks for them.
use strait::{engine, wire};
use webrtc_dtls::cipher_suite::CipherSuiteId;
use webrtc_dtls::config::Config;
use webrtc_dtls::listener::listen;
use webrtc_util::conn::Listener;

use client::{Client, Offer};
use server::{PSK, Server, settings};

const HANDSHAKES: usize = 2000;
const SESSIONS: usize = 20;
const ECHOES: usize = 250;
/// A server of one client at a time is ready for the next.
const SETTLES: Duration = Duration::from_micros(50);

fn main() {
    let mut arguments = std::env::args().skip_while(|arg| arg != "serve").skip(1);
    match arguments.next().as_deref() {
        Some("ours") => serve_ours(),
        Some("webrtc") => serve_webrtc(),
        _ => compare(),
    }
}

/// The servers, and the table.
fn compare() {
    let rounds = std::env::var("STRAIT_BENCH_ROUNDS").map_or(7, |text| text.parse().unwrap());
    let own = std::env::current_exe().unwrap();
    let mut servers = vec![
        ("the engine", own.clone(), vec!["serve", "ours"]),
        ("webrtc-dtls", own, vec!["serve", "webrtc"]),
    ];
    let dir = tempfile::tempdir().unwrap();
    match compile_openssl(dir.path()) {
        Some(program) => servers.push(("OpenSSL", program, Vec::new())),
        None => println!("OpenSSL is left out: no cc with its headers (Debian: libssl-dev)"),
    }
    let mut costs = vec![Vec::new(); servers.len()];
    for round in 0..rounds {
        // Another one first each time.
        for turn in 0..servers.len() {
            let index = (round + turn) % servers.len();
            let (name, program, arguments) = &servers[index];
            println!("round {round}: {name}");
            costs[index].push(measure(program, arguments));
        }
    }
    println!("{rounds} rounds, medians    CPU per handshake           CPU per echo");
    let base = costs[0].clone();
    for ((name, ..), costs) in servers.iter().zip(&costs) {
        let column = |of: fn(&Cost) -> f64| {
            let own = median(costs, of);
            format!("{own:6.1} µs {:5.2} ×", own / median(&base, of))
        };
        println!(
            "{name:20} {:>18} {:>22}",
            column(|cost| cost.handshake_us),
            column(|cost| cost.echo_us)
        );
    }
}

fn compile_openssl(dir: &Path) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/dtls/openssl_server.c");
    let program = dir.join("openssl_server");
    let made = Command::new("cc")
        .args(["-O2", "-o"])
        .args([&program, &source])
        .args(["-lssl", "-lcrypto"])
        .stderr(Stdio::null())
        .status();
    made.is_ok_and(|status| status.success()).then_some(program)
}

/// Processor time of a server.
#[derive(Debug, Clone, Copy)]
struct Cost {
    handshake_us: f64,
    echo_us: f64,
}

fn median(costs: &[Cost], of: fn(&Cost) -> f64) -> f64 {
    let mut sorted: Vec<f64> = costs.iter().map(of).collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Ended when dropped.
struct Serving {
    child: Child,
    address: SocketAddr,
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Serving {
    fn start(program: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let port: u16 = line.trim().parse().unwrap();
        let address = (Ipv4Addr::LOCALHOST, port).into();
        Self { child, address }
    }

    /// How long its threads ran so far, in µs, once it waits again.
    fn ran_us(&self) -> f64 {
        std::thread::sleep(Duration::from_millis(5));
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let ran_ns = tasks.map(|task| {
            let file = task.unwrap().path().join("schedstat");
            let text = std::fs::read_to_string(file).unwrap();
            text.split(' ').next().unwrap().parse::<f64>().unwrap()
        });
        ran_ns.sum::<f64>() / 1000.0
    }
}

fn measure(program: &Path, arguments: &[&str]) -> Cost {
    let serving = Serving::start(program, arguments);
    let mut devices = 0..;
    for device in devices.by_ref().take(100) {
        Talk::begin(serving.address, device).end();
    }
    let before = serving.ran_us();
    for device in devices.by_ref().take(HANDSHAKES) {
        Talk::begin(serving.address, device).end();
    }
    let handshakes_us = serving.ran_us() - before;
    let mut echoes_us = 0.0;
    for device in devices.take(SESSIONS) {
        let mut talk = Talk::begin(serving.address, device);
        let before = serving.ran_us();
        for _ in 0..ECHOES {
            talk.echo();
        }
        echoes_us += serving.ran_us() - before;
        talk.end();
    }
    Cost {
        handshake_us: handshakes_us / HANDSHAKES as f64,
        echo_us: echoes_us / (SESSIONS * ECHOES) as f64,
    }
}

/// One client.
struct Talk {
    socket: UdpSocket,
    client: Client,
}

impl Talk {
    fn begin(server: SocketAddr, device: u64) -> Self {
        // An address of its own: webrtc-dtls would take the same one for the same session.
        let [.., high, low] = device.to_be_bytes();
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 1, high, low), 0)).unwrap();
        socket.connect(server).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let client = server::client(device, Offer::of(Suite::Ccm8));
        let mut talk = Self { socket, client };
        let hello = talk.client.start().concat();
        talk.socket.send(&hello).unwrap();
        // A server of one client at a time may not be done with the one before: its system
        // refuses the datagram.
        while let Err(error) = talk.socket.peek(&mut [0]) {
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            std::thread::sleep(SETTLES);
            talk.socket.send(&hello).unwrap();
        }
        while !talk.client.is_connected() {
            let flight = talk.take();
            if !flight.is_empty() {
                talk.socket.send(&flight).unwrap();
            }
        }
        talk
    }

    /// One datagram; gives the flight that answers it.
    fn take(&mut self) -> Vec<u8> {
        let mut buffer = [0; 2048];
        let got = self.socket.recv(&mut buffer);
        let len = got.unwrap_or_else(|error| panic!("{:?}: {error}", self.client.stage));
        self.client.receive(&buffer[..len]).concat()
    }

    fn echo(&mut self) {
        let record = self.client.send(&[0x65; 100]);
        self.socket.send(&record).unwrap();
        while self.client.received.is_empty() {
            self.take();
        }
        assert_eq!(self.client.received.pop().unwrap(), [0x65; 100]);
    }

    /// Each server answers with a close_notify of its own.
    fn end(mut self) {
        let close_notify = self.client.protect(ContentType::ALERT, &[1, 0]);
        self.socket.send(&close_notify).unwrap();
        while self.client.alerts.is_empty() {
            self.take();
        }
    }
}

fn tell_port(address: SocketAddr) {
    println!("{}", address.port());
    std::io::stdout().flush().unwrap();
}

fn serve_ours() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    tell_port(socket.local_addr().unwrap());
    let mut server = Server::new(settings(), Instant::now(), Box::new(OsRandom));
    let mut buffer = [0; 2048];
    loop {
        let (len, from) = socket.recv_from(&mut buffer).unwrap();
        let now = Instant::now();
        server.receive(now, from, &buffer[..len]);
        server.echo();
        server.dtls.tick(now, &mut server.out);
        for (to, datagram) in server.out.datagrams.drain(..) {
            socket.send_to(&datagram, to).unwrap();
        }
    }
}

fn serve_webrtc() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let config = Config {
            psk: Some(Arc::new(|_| Ok(PSK.to_vec()))),
            cipher_suites: vec![CipherSuiteId::Tls_Psk_With_Aes_128_Ccm_8],
            server_name: "localhost".to_owned(),
            ..Config::default()
        };
        let listener = listen("127.0.0.1:0", config).await.unwrap();
        tell_port(listener.addr().await.unwrap());
        loop {
            let Ok((session, _)) = listener.accept().await else {
                continue;
            };
            tokio::task::spawn(async move {
                let mut buffer = [0; 2048];
                while let Ok(len) = session.recv(&mut buffer).await {
                    if len == 0 || session.send(&buffer[..len]).await.is_err() {
                        break;
                    }
                }
                drop(session.close().await);
            });
        }
    });
}
