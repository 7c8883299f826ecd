//! The HTTP server on real sockets: TLS, bounds, slow and idle clients, the end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use strait::api::server::tls::{self, Tls};
use strait::api::server::{Server as HttpServer, Settings};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::api::{Server, meter_product};

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

pub(super) struct Serving {
    pub(super) server: Server,
    pub(super) http: HttpServer,
    pub(super) address: SocketAddr,
}

pub(super) async fn serve(settings: Settings) -> Serving {
    let server = Server::start();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let http = HttpServer::start(server.app.clone(), listener, settings);
    Serving {
        server,
        http,
        address,
    }
}

impl Serving {
    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// What a test waits for comes, or the test fails.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, what).await.expect("in time")
}

/// Reads one answer; its status, and whether the connection ended before.
pub(super) async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> Option<u16> {
    let mut text = Vec::new();
    let mut part = [0; 4096];
    loop {
        let shown = String::from_utf8_lossy(&text);
        if let Some((head, body)) = shown.split_once("\r\n\r\n") {
            let len = head
                .lines()
                .find_map(|l| l.strip_prefix("content-length: "));
            if body.len() >= len.map_or(0, |len| len.parse().unwrap()) {
                return head.split(' ').nth(1)?.parse().ok();
            }
        }
        match soon(stream.read(&mut part)).await {
            Ok(0) | Err(_) => return None,
            Ok(len) => text.extend_from_slice(&part[..len]),
        }
    }
}

pub(super) async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    text: &str,
) -> Option<u16> {
    soon(stream.write_all(text.as_bytes())).await.ok()?;
    answer(stream).await
}

/// Certificate files of a server.
struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        files.renew();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes another pair; gives the certificate.
    fn renew(&self) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let pair = [
            ("cert.pem", made.cert.pem()),
            ("key.pem", made.signing_key.serialize_pem()),
        ];
        for (name, text) in pair {
            std::fs::write(self.path(name), text).unwrap();
        }
        made.cert.der().clone()
    }

    fn tls(&self) -> Arc<Tls> {
        Arc::new(Tls::load(&self.path("cert.pem"), &self.path("key.pem")).unwrap())
    }

    fn client(&self, version: &'static SupportedProtocolVersion) -> tokio_rustls::TlsConnector {
        let mut roots = RootCertStore::empty();
        let pem = std::fs::read(self.path("cert.pem")).unwrap();
        roots
            .add(CertificateDer::from_pem_slice(&pem).unwrap())
            .unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config).into()
    }
}

fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

#[tokio::test]
async fn https_in_both_versions_whoever_else_dawdles() {
    let files = Files::new();
    let tls = Some(files.tls());
    let serving = serve(Settings {
        tls,
        ..Settings::default()
    })
    .await;
    // Handshakes that are never begun hold up nobody, not even the stop.
    let _silent = [serving.connect().await, serving.connect().await];
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let connector = files.client(version);
        let stream = connector.connect(localhost(), serving.connect().await);
        let mut stream = soon(stream).await.unwrap();
        for _ in 0..2 {
            assert_eq!(ask(&mut stream, HEALTH).await, Some(200), "{version:?}");
        }
    }
    let mut plain = serving.connect().await;
    assert_eq!(ask(&mut plain, HEALTH).await, None);
    let stopped = tokio::time::timeout(Duration::from_secs(4), serving.http.stop());
    assert!(stopped.await.is_ok(), "the stop waits for handshakes");
}

#[tokio::test]
async fn a_new_certificate_serves_and_half_a_pair_does_not() {
    let files = Files::new();
    let tls = files.tls();
    let settings = Settings {
        tls: Some(Arc::clone(&tls)),
        ..Settings::default()
    };
    let serving = serve(settings).await;
    let tasks = &serving.server.app.tasks;
    let every = Duration::from_millis(5);
    tasks.spawn("watch", tls::watch(Arc::clone(&tls), every, tasks.stop()));
    let shown = || async {
        let connector = files.client(&rustls::version::TLS13);
        let stream = connector.connect(localhost(), serving.connect().await);
        let stream = soon(stream).await.ok()?;
        let chain = stream.get_ref().1.peer_certificates()?;
        Some(chain[0].clone().into_owned())
    };
    let old = shown().await;
    assert!(old.is_some());
    let fresh = files.renew();
    soon(async {
        while shown().await.as_ref() != Some(&fresh) {
            tokio::time::sleep(every).await;
        }
    })
    .await;
    // A key that does not go with it: the server stays with what it has.
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(files.path("key.pem"), other.signing_key.serialize_pem()).unwrap();
    assert!(tls.reload().is_err());
    assert_eq!(shown().await, Some(fresh));
    serving.http.stop().await;
}

#[tokio::test]
async fn connections_are_bounded() {
    let settings = Settings {
        connections_max: 2,
        ..Settings::default()
    };
    let serving = serve(settings).await;
    let mut open = [serving.connect().await, serving.connect().await];
    for stream in &mut open {
        assert_eq!(ask(stream, HEALTH).await, Some(200));
    }
    let mut third = serving.connect().await;
    assert_eq!(ask(&mut third, HEALTH).await, Some(503));
    let mut rest = Vec::new();
    assert_eq!(soon(third.read_to_end(&mut rest)).await.unwrap_or(0), 0);
    for stream in &mut open {
        assert_eq!(ask(stream, HEALTH).await, Some(200));
    }
    drop(open);
    // The server learns of the closed connections in its own time.
    soon(async {
        while ask(&mut serving.connect().await, HEALTH).await != Some(200) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    serving.http.stop().await;
}

#[tokio::test]
async fn one_address_keeps_nobody_else_out() {
    let settings = Settings {
        connections_max: 2,
        connections_per_address: 1,
        ..Settings::default()
    };
    let serving = serve(settings).await;
    let mut first = serving.connect().await;
    assert_eq!(ask(&mut first, HEALTH).await, Some(200));
    let mut second = serving.connect().await;
    assert_eq!(ask(&mut second, HEALTH).await, Some(503));
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(serving.address).await.unwrap();
    assert_eq!(ask(&mut other, HEALTH).await, Some(200));
    assert_eq!(ask(&mut first, HEALTH).await, Some(200));
    serving.http.stop().await;
}

#[tokio::test]
async fn heads_that_mean_two_things_are_refused() {
    let serving = serve(Settings::default()).await;
    for head in [
        // A folded line, a NUL, a bare CR, a name with a space: readers before us may see other fields.
        "GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: b\r\n Content-Length: 5\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: b\0c\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: b\rX-B: c\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello",
        "GET /heal thz HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        let mut stream = serving.connect().await;
        assert_eq!(ask(&mut stream, head).await, Some(400), "{head:?}");
    }
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    let mut stream = serving.connect().await;
    let head = format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{many}\r\n");
    assert_eq!(ask(&mut stream, &head).await, Some(431));
    serving.http.stop().await;
}

#[tokio::test]
async fn slow_and_idle_clients_are_let_go() {
    let idle = Duration::from_millis(50);
    let serving = serve(Settings {
        idle,
        ..Settings::default()
    })
    .await;
    let mut slow = serving.connect().await;
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHos")
        .await
        .unwrap();
    let mut used = serving.connect().await;
    assert_eq!(ask(&mut used, HEALTH).await, Some(200));
    for mut stream in [slow, used, serving.connect().await] {
        let mut rest = Vec::new();
        drop(soon(stream.read_to_end(&mut rest)).await);
        assert!(!String::from_utf8_lossy(&rest).contains("200"), "{rest:?}");
    }
    let mut large = serving.connect().await;
    let head = format!("GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(80_000));
    assert_eq!(ask(&mut large, &head).await, Some(431));
    serving.http.stop().await;
}

#[tokio::test]
async fn a_stop_finishes_what_is_under_way() {
    let serving = serve(Settings::default()).await;
    let body = meter_product().to_string();
    let head = format!(
        "POST /v5/iot/p/products HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\
         Expect: 100-continue\r\n\r\n",
        body.len()
    );
    let mut stream = serving.connect().await;
    // The server asks for the body: the request is under way.
    assert_eq!(ask(&mut stream, &head).await, Some(100));
    let from = stream.local_addr().unwrap().to_string();
    let stop = serving.http.stop();
    let client = async {
        assert_eq!(ask(&mut stream, &body).await, Some(201));
        let mut rest = Vec::new();
        assert_eq!(soon(stream.read_to_end(&mut rest)).await.unwrap(), 0);
    };
    tokio::join!(stop, client);
    assert!(TcpStream::connect(serving.address).await.is_err());
    let log = serving.server.get("/v1/audit").await;
    assert_eq!(log.body["audit"][0]["from"], from, "{:?}", log.body);
}

#[tokio::test]
async fn bodies_of_strangers_are_not_read() {
    let server = Server::with_auth(Vec::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let http = HttpServer::start(server.app.clone(), listener, Settings::default());
    let head = "PUT /v1/products/p/codec HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\
                Expect: 100-continue\r\n";
    let cases = [
        ("", 401),
        ("X-Auth-Token: wrong\r\n", 403),
        ("Authorization: SDK-HMAC-SHA256 Access=a\r\n", 401),
    ];
    for (header, want) in cases {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // Not 100: nobody asks for the body.
        let got = ask(&mut stream, &format!("{head}{header}\r\n")).await;
        assert_eq!(got, Some(want), "{header}");
    }
    http.stop().await;
}

/// Anyone may ask for the document; who does not take it gives up his place.
#[tokio::test]
async fn clients_that_read_nothing_are_let_go() {
    let serving = serve(Settings {
        idle: Duration::from_millis(50),
        connections_max: 1,
        ..Settings::default()
    })
    .await;
    let mut deaf = serving.connect().await;
    let document = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n";
    deaf.write_all(document.repeat(300).as_bytes())
        .await
        .unwrap();
    soon(async {
        loop {
            let mut other = serving.connect().await;
            if ask(&mut other, HEALTH).await == Some(200) {
                break;
            }
        }
    })
    .await;
    drop(deaf);
    serving.http.stop().await;
}

/// Two lengths of one body are how a request is smuggled past a proxy.
#[tokio::test]
async fn a_request_has_one_length() {
    let serving = serve(Settings::default()).await;
    let smuggled = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let heads = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding : chunked\r\n",
    ];
    for head in heads {
        let mut stream = serving.connect().await;
        let text =
            format!("POST /v5/iot/p/products HTTP/1.1\r\nHost: x\r\n{head}\r\n0\r\n\r\n{smuggled}");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut all = Vec::new();
        drop(soon(stream.read_to_end(&mut all)).await);
        let all = String::from_utf8_lossy(&all);
        assert!(!all.contains("\"ok\""), "{head}: {all}");
    }
    serving.http.stop().await;
}
