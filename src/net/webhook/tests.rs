//! The client against real sockets on loopback: reuse of connections, and whom it believes to be the
//! subscriber. How it takes rude answers is shown where pushes are tested.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::LazyConfigAcceptor;

use super::tls::{TlsError, Trust, roots_of};
use super::*;

const LIMITS: Limits = Limits {
    timeout: Duration::from_secs(15),
    answer_max: 1024,
    idle_max: 4,
};

/// A CA of its own, with a certificate for each set of names.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    fn server(&self, names: &[&str]) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Arc::new(config)
    }

    fn trust(&self, name: Option<&str>) -> Trust {
        Trust::Roots {
            roots: Arc::new(roots_of(&self.pem).unwrap()),
            name: name.map(str::to_owned),
        }
    }
}

/// Answers 200 to each push on each connection, with the SNI that it heard as the body; closes after
/// so many. Ends with the set.
async fn serve(tls: Option<Arc<ServerConfig>>, answers: usize, set: &mut JoinSet<()>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    set.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let tls = tls.clone();
            connections.spawn(async move {
                let Some(config) = tls else {
                    return answer_all(stream, "plain", answers).await;
                };
                // A client that does not believe us goes away.
                let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await;
                let Ok(hello) = hello else { return };
                let name = hello.client_hello().server_name().unwrap_or("-").to_owned();
                if let Ok(stream) = hello.into_stream(config).await {
                    answer_all(stream, &name, answers).await;
                }
            });
        }
    });
    port
}

async fn answer_all(mut stream: impl Wire, said: &str, answers: usize) {
    let mut heard = Vec::new();
    for _ in 0..answers {
        // Every body here is `{}`.
        while !heard.ends_with(b"\r\n\r\n{}") {
            if !stream.read_buf(&mut heard).await.is_ok_and(|n| n > 0) {
                return;
            }
        }
        heard.clear();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{said}",
            said.len()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
    drop(stream.shutdown().await);
}

fn client(url: &str, tls: Option<(Trust, bool)>) -> Client {
    let config = tls.map(|(trust, sni)| Arc::new(tls::config(trust, sni).unwrap()));
    let target = Target::parse(url).unwrap();
    Client::new(target, config, Dialer::Network, Clock::System, LIMITS)
}

async fn push(client: &Client) -> Result<Answer, Failure> {
    let body = Bytes::from_static(b"{}");
    client.push(HeaderMap::new(), body).await
}

#[tokio::test]
async fn subscribers_are_believed_by_ca_and_name() {
    let (own, other) = (Authority::new(), Authority::new());
    let mut set = JoinSet::new();
    let local = serve(Some(own.server(&["localhost"])), 9, &mut set).await;
    let named = serve(Some(own.server(&["push.example"])), 9, &mut set).await;
    let address = serve(Some(own.server(&["127.0.0.1"])), 9, &mut set).await;
    // Host, port, whom to believe, whether SNI is sent: what the subscriber heard, or why not.
    let cases = [
        ("localhost", local, own.trust(None), true, Ok("localhost")),
        ("localhost", local, own.trust(None), false, Ok("-")),
        (
            "localhost",
            local,
            other.trust(None),
            true,
            Err("invalid peer certificate"),
        ),
        ("localhost", local, Trust::Anyone, false, Ok("-")),
        (
            "localhost",
            named,
            own.trust(None),
            true,
            Err("not valid for name"),
        ),
        (
            "localhost",
            named,
            own.trust(Some("push.example")),
            true,
            Ok("localhost"),
        ),
        (
            "localhost",
            named,
            own.trust(Some("push.example")),
            false,
            Ok("-"),
        ),
        (
            "localhost",
            named,
            own.trust(Some("other.example")),
            true,
            Err("not valid for name"),
        ),
        (
            "localhost",
            named,
            other.trust(Some("push.example")),
            true,
            Err("invalid peer certificate"),
        ),
        ("127.0.0.1", named, Trust::Anyone, true, Ok("-")),
        ("127.0.0.1", address, own.trust(None), true, Ok("-")),
        (
            "127.0.0.1",
            named,
            own.trust(None),
            true,
            Err("not valid for name"),
        ),
    ];
    for (host, port, trust, sni, want) in cases {
        let case = format!("{host} {trust:?} {sni}");
        let url = format!("https://{host}:{port}/");
        let got = push(&client(&url, Some((trust, sni)))).await;
        match (got, want) {
            (Ok(answer), Ok(heard)) => assert_eq!(answer.said, heard, "{case}"),
            (Err(Failure::Tls { reason, .. }), Err(want)) => {
                assert!(reason.contains(want), "{case}: {reason}");
            }
            (got, want) => panic!("{case}: got {got:?}, want {want:?}"),
        }
    }
    // Who speaks TLS does not answer who speaks none.
    let got = push(&client(&format!("http://127.0.0.1:{local}/"), None)).await;
    assert!(got.is_err());
}

#[test]
fn what_can_not_work_is_told_before() {
    let empty = Trust::Roots {
        roots: Arc::new(rustls::RootCertStore::empty()),
        name: None,
    };
    assert_eq!(tls::config(empty, true).unwrap_err(), TlsError::NoRoots);
    let named = Authority::new().trust(Some("no name!"));
    assert_eq!(tls::config(named, true).unwrap_err().kind(), "name");
    for (pem, want) in [
        ("", "it holds no certificate"),
        (
            "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
            "",
        ),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "",
        ),
    ] {
        let error = roots_of(pem).unwrap_err().to_string();
        assert!(error.starts_with("the CA certificate can't be used") && error.contains(want));
    }
    let bundle = format!("{}{}", Authority::new().pem, Authority::new().pem);
    assert_eq!(roots_of(&bundle).unwrap().len(), 2);
}

#[tokio::test]
async fn a_closed_connection_is_replaced() {
    let mut set = JoinSet::new();
    let port = serve(None, 2, &mut set).await;
    let client = client(&format!("http://127.0.0.1:{port}/"), None);
    for _ in 0..9 {
        assert_eq!(push(&client).await.unwrap().said, "plain");
    }
    assert!(client.idle().len() <= 1);
    set.shutdown().await;
    while let Ok(answer) = push(&client).await {
        assert_eq!(answer.status, 200, "the last connection had an answer left");
    }
    let failure = push(&client).await.unwrap_err();
    assert_eq!(failure.kind(), "connect", "{failure}");
}

/// Whatever leads there: a name, an address, one that is wrapped into another family.
#[tokio::test]
async fn a_client_for_the_internet_dials_nobody_nearby() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let dialled = async {
        for host in [
            "localhost",
            "127.0.0.1",
            "[::ffff:127.0.0.1]",
            "0.0.0.0",
            "2130706433",
        ] {
            let target = Target::parse(&format!("http://{host}:{port}/")).unwrap();
            let client = Client::new(target, None, Dialer::Public, Clock::System, LIMITS);
            let failure = push(&client).await.unwrap_err();
            assert_eq!(failure.kind(), "connect", "{host}");
            let told = failure.to_string();
            assert!(
                told.ends_with("no public address (push.public_only)"),
                "{told}"
            );
        }
    };
    tokio::select! {
        () = dialled => {}
        _ = listener.accept() => panic!("somebody was dialled"),
    }
}
