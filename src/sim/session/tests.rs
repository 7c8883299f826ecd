//! Sessions against webrtc-dtls as a server, through memory and the simulated radio. The clock of
//! the runtime is paused, so hours of repetition take no time and every run is the same.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::*;
use crate::sim::link::{Link, Quality};

pub(crate) const KEY: &[u8] = b"0123456789abcdef";

/// The server's side of a handshake with one client; `None` when it fails.
async fn accept(
    datagrams: mpsc::Receiver<Vec<u8>>,
    outputs: mpsc::Sender<Output>,
) -> Option<DTLSConn> {
    let peer = (Ipv4Addr::LOCALHOST, 1).into();
    let pipe = Pipe::new(datagrams, outputs, peer, Signs::default());
    let config = Config {
        psk: Some(Arc::new(|_| Ok(KEY.to_vec()))),
        psk_identity_hint: Some(Vec::new()),
        cipher_suites: vec![CipherSuiteId::Tls_Psk_With_Aes_128_Ccm_8],
        server_name: "localhost".to_owned(),
        ..Config::default()
    };
    DTLSConn::new(Arc::new(pipe), config, false, None)
        .await
        .ok()
}

/// A webrtc-dtls server for one client, until that says goodbye.
pub(crate) async fn answer_one(
    datagrams: mpsc::Receiver<Vec<u8>>,
    outputs: mpsc::Sender<Output>,
    mut answer: impl FnMut(&[u8]) -> Vec<Vec<u8>>,
) {
    let Some(conn) = accept(datagrams, outputs).await else {
        return;
    };
    let mut buffer = [0; 1500];
    while let Ok(len) = conn.read(&mut buffer, None).await {
        for message in answer(&buffer[..len]) {
            conn.write(&message, None).await.unwrap();
        }
    }
}

/// True for the first ClientHello of a handshake: a record of type 22, epoch 0 and sequence 0 with a
/// message of type 1.
fn is_first_hello(datagram: &[u8]) -> bool {
    datagram.len() > 13 && datagram[0] == 22 && datagram[3..11] == [0; 8] && datagram[13] == 1
}

/// Many clients at one socket, told apart by address; a first ClientHello begins a new session.
pub(crate) struct Clients {
    socket: Arc<UdpSocket>,
    tasks: JoinSet<()>,
    sessions: HashMap<SocketAddr, mpsc::Sender<Vec<u8>>>,
}

impl Clients {
    pub(crate) fn new(socket: UdpSocket) -> Self {
        Self {
            socket: Arc::new(socket),
            tasks: JoinSet::new(),
            sessions: HashMap::new(),
        }
    }

    /// Forgets all sessions without a word.
    pub(crate) fn forget(&mut self) {
        self.sessions.clear();
        self.tasks.abort_all();
    }

    /// The next datagram, before it is served.
    pub(crate) async fn receive(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = [0; 1500];
        let (len, peer) = self.socket.recv_from(&mut buffer).await.unwrap();
        (buffer[..len].to_vec(), peer)
    }

    /// Hands a datagram to its session; `answer` makes the answers of a new one.
    pub(crate) fn serve<A>(
        &mut self,
        datagram: Vec<u8>,
        peer: SocketAddr,
        answer: impl FnOnce() -> A,
    ) where
        A: FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
    {
        if is_first_hello(&datagram) {
            let (sender, datagrams) = mpsc::channel(QUEUE_MAX);
            let (outputs, mut sent) = mpsc::channel(QUEUE_MAX);
            self.sessions.insert(peer, sender);
            self.tasks.spawn(answer_one(datagrams, outputs, answer()));
            let socket = Arc::clone(&self.socket);
            self.tasks.spawn(async move {
                while let Some(Output::Datagram(datagram)) = sent.recv().await {
                    socket.send_to(&datagram, peer).await.unwrap();
                }
            });
        }
        if let Some(session) = self.sessions.get(&peer) {
            session.try_send(datagram).ok();
        }
    }
}

fn credentials(secret: &[u8]) -> Credentials {
    Credentials {
        identity: "867725038317248".to_owned(),
        secret: Secret::new(secret.to_vec()),
    }
}

struct Bench {
    session: Session,
    up: Link,
    down: Link,
    to_server: mpsc::Sender<Vec<u8>>,
    from_server: mpsc::Receiver<Output>,
    _server: JoinSet<()>,
}

impl Bench {
    fn new(secret: &[u8], quality: Quality, seed: u64) -> Self {
        let reverse = |m: &[u8]| vec![m.iter().rev().copied().collect()];
        let serve = |datagrams, outputs| answer_one(datagrams, outputs, reverse);
        Self::with_server(secret, quality, seed, serve)
    }

    fn with_server<F: Future<Output = ()> + Send + 'static>(
        secret: &[u8],
        quality: Quality,
        seed: u64,
        serve: impl FnOnce(mpsc::Receiver<Vec<u8>>, mpsc::Sender<Output>) -> F,
    ) -> Self {
        let (to_server, datagrams) = mpsc::channel(QUEUE_MAX);
        let (outputs, from_server) = mpsc::channel(QUEUE_MAX);
        let mut server = JoinSet::new();
        server.spawn(serve(datagrams, outputs));
        let plan = SessionPlan {
            server: (Ipv4Addr::LOCALHOST, 1).into(),
            flight_interval: Duration::from_secs(2),
            timeout: Duration::from_secs(60),
        };
        Self {
            session: Session::open(&credentials(secret), &plan),
            up: Link::new(quality, seed),
            down: Link::new(quality, seed + 1),
            to_server,
            from_server,
            _server: server,
        }
    }

    /// Carries datagrams until something else comes out.
    async fn next(&mut self) -> Output {
        loop {
            let now = Instant::now().into_std();
            while let Some(datagram) = self.up.pop(now) {
                self.to_server.try_send(datagram).ok();
            }
            while let Some(datagram) = self.down.pop(now) {
                self.session.arrived(datagram);
            }
            let due = self.up.deadline().into_iter().chain(self.down.deadline());
            let due = due.min().unwrap_or(now + Duration::from_secs(3600));
            tokio::select! {
                output = self.session.next() => match output {
                    Output::Datagram(datagram) => self.up.push(now, datagram),
                    other => return other,
                },
                Some(Output::Datagram(datagram)) = self.from_server.recv() => {
                    self.down.push(now, datagram);
                }
                () = tokio::time::sleep_until(due.into()) => {}
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_carries_messages_both_ways_and_says_goodbye() {
    let mut bench = Bench::new(KEY, Quality::default(), 1);
    assert_eq!(bench.next().await, Output::Connected);
    for message in [&b"first"[..], &[7; 1200]] {
        bench.session.send(message.to_vec());
        let back: Vec<u8> = message.iter().rev().copied().collect();
        assert_eq!(bench.next().await, Output::Received(back));
    }
    let last = bench.session.close().await;
    // One protected alert: type 21, epoch 1.
    assert_eq!(last.len(), 1);
    assert_eq!((last[0][0], &last[0][3..5]), (21, &[0, 1][..]));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_key_is_a_failure_and_no_hang() {
    let begun = Instant::now();
    let mut bench = Bench::new(b"another secret..", Quality::default(), 1);
    let Output::Failed(failure) = bench.next().await else {
        panic!("connected with a wrong key");
    };
    assert_ne!(failure.kind(), "silent", "{failure}");
    assert!(begun.elapsed() <= Duration::from_secs(61));
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_and_a_refusing_one_are_told_apart() {
    let begun = Instant::now();
    let deaf = Quality {
        loss: 1.0,
        ..Quality::default()
    };
    let mut bench = Bench::new(KEY, deaf, 1);
    let waited = Duration::from_secs(60);
    let silent = HandshakeFailure::Silent { waited };
    assert_eq!(bench.next().await, Output::Failed(silent));
    assert_eq!(begun.elapsed().as_secs(), 60);

    let mut bench = Bench::new(KEY, deaf, 1);
    let alert = [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 115];
    bench.session.arrived(alert.to_vec());
    let refused = HandshakeFailure::Refused(115);
    assert_eq!(refused.kind(), "alert_115");
    assert!(refused.to_string().contains("unknown_psk_identity"));
    assert_eq!(bench.next().await, Output::Failed(refused));
}

/// A lost last flight is for ever with webrtc-dtls on both sides, so some handshakes fail; each
/// ends within its time, and trying again gets through.
#[tokio::test(start_paused = true)]
async fn over_a_bad_radio_each_handshake_ends_in_time_and_repetition_gets_through() {
    let quality = Quality {
        loss: 0.25,
        duplicates: 0.2,
        delay_max: Duration::from_millis(1500),
    };
    let mut failures = 0;
    for seed in 0..20 {
        let mut connected = false;
        for attempt in 0..12 {
            let begun = Instant::now();
            let mut bench = Bench::new(KEY, quality, seed * 1000 + attempt);
            let first = bench.next().await;
            assert!(begun.elapsed() <= Duration::from_secs(61), "seed {seed}");
            connected = first == Output::Connected;
            if connected {
                break;
            }
            failures += 1;
        }
        assert!(connected, "seed {seed} never connected");
    }
    assert!(failures > 0, "the radio lost nothing that mattered");
}

#[tokio::test(start_paused = true)]
async fn an_end_by_the_server_is_told() {
    let close = |datagrams, outputs| async move {
        let conn = accept(datagrams, outputs).await.unwrap();
        conn.close().await.unwrap();
    };
    let mut bench = Bench::with_server(KEY, Quality::default(), 1, close);
    assert_eq!(bench.next().await, Output::Connected);
    assert_eq!(bench.next().await, Output::Ended);
}
