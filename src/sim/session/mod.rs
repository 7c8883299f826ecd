//! The secured session of one simulated device: DTLS 1.2 with a pre-shared key (RFC 6347, RFC 4279),
//! through webrtc-dtls, an implementation that has nothing in common with the server's.
//!
//! ```text
//! plain in  --send-->    task (webrtc-dtls)   --Output::Datagram-->  radio, socket
//! plain out <-Received-- task                 <--arrived----------   radio, socket
//! ```
//!
//! It owns no socket: its owner carries the datagrams, so the same lossy radio lies under it as
//! under a plain device. One session is one handshake: after a failure or an end its owner opens a
//! new one. Every queue is bounded, and what does not fit is lost as on a radio.
//!
//! What webrtc-dtls does not do well, and what is done about it: it repeats a flight for ever and
//! hangs when the server's last flight is lost for good, so a handshake has a time limit here; a
//! record that fails to decrypt ends its session, which shows as [`Output::Ended`]; it has no
//! connection id, so a new address needs a new handshake; a session costs about 33 kB and two
//! tasks. Its errors do not name the server's alert, so unprotected ones are read here.

mod pipe;
#[cfg(test)]
pub(crate) mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use webrtc_dtls::cipher_suite::CipherSuiteId;
use webrtc_dtls::config::{Config, ExtendedMasterSecretType};
use webrtc_dtls::conn::DTLSConn;

use crate::base::limits;
use crate::base::secret::Secret;
use pipe::{Pipe, Signs};

/// Datagrams or messages in a queue at most.
const QUEUE_MAX: usize = 64;
/// How long a clean stop may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Who a device is and the key that it shares with the server.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The PSK identity: the node id.
    pub identity: String,
    pub secret: Secret<Vec<u8>>,
}

/// Where and how sessions are made.
#[derive(Debug, Clone, Copy)]
pub struct SessionPlan {
    pub server: SocketAddr,
    /// Between two repetitions of a flight; webrtc-dtls does not double it.
    pub flight_interval: Duration,
    /// A handshake that takes longer has failed.
    pub timeout: Duration,
}

/// Why a handshake came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeFailure {
    #[error("nothing came back within {waited:?}; is the address right, and does it speak DTLS?")]
    Silent { waited: Duration },
    /// Servers pass over in silence what does not verify.
    #[error("the server answered, but no session stood within {waited:?}; is the secret right?")]
    Unfinished { waited: Duration },
    #[error("the server refused with alert {0} ({name})", name = alert_name(*.0))]
    Refused(u8),
    #[error("the server's answer did not verify, the secret may be wrong ({reason})")]
    Unverified { reason: String },
}

impl HandshakeFailure {
    /// Stable word for tallies; never reworded. A refusal says its alert: `alert_115`.
    pub fn kind(&self) -> String {
        match self {
            Self::Silent { .. } => "silent".to_owned(),
            Self::Unfinished { .. } => "unfinished".to_owned(),
            Self::Refused(alert) => format!("alert_{alert}"),
            Self::Unverified { .. } => "unverified".to_owned(),
        }
    }
}

/// Alerts that a PSK server has reason to send (RFC 5246 §7.2, RFC 4279 §2).
pub const fn alert_name(alert: u8) -> &'static str {
    match alert {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        40 => "handshake_failure",
        47 => "illegal_parameter",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        110 => "unsupported_extension",
        115 => "unknown_psk_identity",
        _ => "other",
    }
}

/// What comes out of a session, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// For the server.
    Datagram(Vec<u8>),
    Connected,
    /// The handshake failed; nothing follows but datagrams.
    Failed(HandshakeFailure),
    /// A decrypted message.
    Received(Vec<u8>),
    /// The server closed the session, or broke it.
    Ended,
}

/// A session or its handshake. Dropping it ends it without a word; [`Session::close`] says
/// goodbye.
#[derive(Debug)]
pub struct Session {
    /// `None` once it is closing.
    plain: Option<mpsc::Sender<Vec<u8>>>,
    arrived: mpsc::Sender<Vec<u8>>,
    outputs: mpsc::Receiver<Output>,
    /// The task, ended with the session.
    _task: JoinSet<()>,
}

impl Session {
    /// Begins a handshake.
    pub fn open(credentials: &Credentials, plan: &SessionPlan) -> Self {
        let (plain, messages) = mpsc::channel(QUEUE_MAX);
        let (arrived, datagrams) = mpsc::channel(QUEUE_MAX);
        let (sender, outputs) = mpsc::channel(QUEUE_MAX);
        let signs = Signs::default();
        let driver = Driver {
            pipe: Pipe::new(datagrams, sender.clone(), plan.server, signs.clone()),
            config: config(credentials, plan.flight_interval),
            timeout: plan.timeout,
            signs,
            messages,
            outputs: sender,
        };
        let mut task = JoinSet::new();
        task.spawn(driver.run());
        Self {
            plain: Some(plain),
            arrived,
            outputs,
            _task: task,
        }
    }

    /// Encrypts and sends a message; before the session stands it waits. Lost when too much waits.
    pub fn send(&self, message: Vec<u8>) {
        if let Some(plain) = &self.plain {
            plain.try_send(message).ok();
        }
    }

    /// Takes a datagram from the server. Lost when too much waits.
    pub fn arrived(&self, datagram: Vec<u8>) {
        self.arrived.try_send(datagram).ok();
    }

    /// The next output; never returns after the last one. May be cancelled.
    pub async fn next(&mut self) -> Output {
        match self.outputs.recv().await {
            Some(output) => output,
            None => std::future::pending().await,
        }
    }

    /// Ends the session with a close_notify: gives the datagrams that are still to be sent.
    pub async fn close(mut self) -> Vec<Vec<u8>> {
        self.plain = None;
        let mut last = Vec::new();
        let drain = async {
            while let Some(output) = self.outputs.recv().await {
                if let Output::Datagram(datagram) = output {
                    last.push(datagram);
                }
            }
        };
        tokio::time::timeout(FAREWELL, drain).await.ok();
        last
    }
}

fn config(credentials: &Credentials, flight_interval: Duration) -> Config {
    let secret = credentials.secret.clone();
    Config {
        psk: Some(Arc::new(move |_hint: &[u8]| Ok(secret.expose().clone()))),
        psk_identity_hint: Some(credentials.identity.as_bytes().to_vec()),
        cipher_suites: vec![
            CipherSuiteId::Tls_Psk_With_Aes_128_Ccm_8,
            CipherSuiteId::Tls_Psk_With_Aes_128_Ccm,
            CipherSuiteId::Tls_Psk_With_Aes_128_Gcm_Sha256,
        ],
        extended_master_secret: ExtendedMasterSecretType::Request,
        flight_interval,
        // Without a name webrtc-dtls would send the server's address as one, which RFC 6066 forbids.
        server_name: "localhost".to_owned(),
        ..Config::default()
    }
}

/// The task of one session.
struct Driver {
    pipe: Pipe,
    config: Config,
    timeout: Duration,
    signs: Signs,
    messages: mpsc::Receiver<Vec<u8>>,
    outputs: mpsc::Sender<Output>,
}

impl Driver {
    /// A reader that is gone has ended the session: then there is nobody to tell.
    async fn run(self) {
        let connect = DTLSConn::new(Arc::new(self.pipe), self.config, true, None);
        let connected = tokio::time::timeout(self.timeout, Box::pin(connect)).await;
        let conn = match connected {
            Ok(Ok(conn)) => conn,
            failed => {
                let waited = self.timeout;
                let failure = match (failed, self.signs.alert()) {
                    (_, Some(alert)) => HandshakeFailure::Refused(alert),
                    (Ok(Err(e)), None) => HandshakeFailure::Unverified {
                        reason: e.to_string(),
                    },
                    (_, None) if self.signs.any() => HandshakeFailure::Unfinished { waited },
                    (_, None) => HandshakeFailure::Silent { waited },
                };
                self.outputs.send(Output::Failed(failure)).await.ok();
                return;
            }
        };
        if self.outputs.send(Output::Connected).await.is_ok() {
            serve(&conn, self.messages, &self.outputs).await;
        }
    }
}

/// Carries messages until the owner closes the session or the server ends it.
async fn serve(
    conn: &DTLSConn,
    mut messages: mpsc::Receiver<Vec<u8>>,
    outputs: &mpsc::Sender<Output>,
) {
    let mut buffer = vec![0; limits::DATAGRAM_MAX];
    loop {
        tokio::select! {
            message = messages.recv() => {
                let Some(message) = message else {
                    // What cannot be said any more need not be.
                    conn.close().await.ok();
                    return;
                };
                if conn.write(&message, None).await.is_err() {
                    break;
                }
            }
            read = conn.read(&mut buffer, None) => {
                let Ok(len) = read else { break };
                let message = buffer.get(..len).unwrap_or_default().to_vec();
                if outputs.send(Output::Received(message)).await.is_err() {
                    return;
                }
            }
        }
    }
    outputs.send(Output::Ended).await.ok();
}
