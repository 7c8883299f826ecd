//! Serves the router on a listener, plain or over TLS, until told to stop.
//!
//! One task accepts and never waits for a client: handshakes and requests run in a task per
//! connection. Connections are bounded, in all and of one address; the newest over a bound hears 503. A connection that sends
//! no whole request head for a while is closed, be it slow or idle, and so is one that takes nothing
//! of its answer for as long. What comes of a body in time, its reader judges (`api/request.rs`).

mod patient;
mod places;
pub mod tls;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::buffer::{Buffer, UNVERIFIED_MAX};
use super::request::BODY_TIME;
use super::router_within;
use crate::app::App;
use patient::Patient;
use places::{Full, Place, Places};
use tls::Tls;

/// How long a stop waits for requests under way.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Longest request head.
const HEAD_MAX: usize = 64 * 1024;

/// Connections over the bound that are told so at the same time; more are dropped.
const REFUSALS_MAX: usize = 64;

/// How long a refused connection may take to read its answer.
const FAREWELL: Duration = Duration::from_secs(1);

/// The wait after the system refused a connection, as when files are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/json\r\ncontent-length: 84\r\n\
    retry-after: 5\r\nconnection: close\r\n\r\n\
    {\"error_code\":\"IOTDA.000001\",\"error_msg\":\"too many connections are open, try later\"}";

/// What an operator sets of it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Connections at the same time.
    pub connections_max: usize,
    /// Of these, from one address (IPv6: one /64); 0: all.
    pub connections_per_address: usize,
    /// A connection that sends no whole request head, or takes nothing of an answer, for this long is
    /// closed.
    pub idle: Duration,
    /// How long a body may take; one that is stored as it comes must bring a part in each such span.
    pub body: Duration,
    /// Bytes of bodies in memory whose senders are not known yet.
    pub unverified_max: usize,
    /// `None`: plain HTTP.
    pub tls: Option<Arc<Tls>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            connections_per_address: 2000,
            idle: Duration::from_secs(15),
            body: BODY_TIME,
            unverified_max: UNVERIFIED_MAX,
            tls: None,
        }
    }
}

/// A running HTTP server.
#[derive(Debug)]
pub struct Server {
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Server {
    /// Must be called inside a tokio runtime.
    pub fn start(app: App, listener: TcpListener, settings: Settings) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        if let Some(tls) = &settings.tls {
            let watching = tls::watch(Arc::clone(tls), tls::EVERY, app.tasks.stop());
            app.tasks.spawn("certificate", watching);
        }
        let acceptor = Acceptor {
            router: router_within(app, Buffer::new(settings.unverified_max, settings.body)),
            places: Places::new(settings.connections_max, settings.connections_per_address),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            graceful: GracefulShutdown::new(),
            stopping: CancellationToken::new(),
            connections: JoinSet::new(),
            settings,
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "joined or aborted by Server::stop"
        )]
        let serving = tokio::spawn(acceptor.run(listener, stopped));
        Self { stop, serving }
    }

    /// Takes no new connection, finishes requests under way, drops those that take too long.
    pub async fn stop(mut self) {
        if self.stop.send(()).is_err() {
            tracing::debug!("the HTTP server had ended by itself");
        }
        if tokio::time::timeout(PATIENCE, &mut self.serving)
            .await
            .is_err()
        {
            // Its connections end with it.
            self.serving.abort();
        }
    }
}

struct Acceptor {
    router: Router,
    settings: Settings,
    places: Places,
    refusals: Arc<Semaphore>,
    graceful: GracefulShutdown,
    /// Ends handshakes, which would hold up a stop.
    stopping: CancellationToken,
    connections: JoinSet<()>,
}

impl Acceptor {
    async fn run(mut self, listener: TcpListener, mut stopped: oneshot::Receiver<()>) {
        loop {
            tokio::select! {
                // A dropped sender stops as well.
                _ = &mut stopped => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.take(stream, peer),
                    Err(error) => {
                        if !is_of_one_connection(&error) {
                            tracing::warn!(%error, "a connection could not be accepted");
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                        }
                    }
                },
                Some(_) = self.connections.join_next() => {}
            }
        }
        drop(listener);
        self.stopping.cancel();
        self.graceful.shutdown().await;
        // Farewells are no requests: they end here.
        self.connections.shutdown().await;
    }

    fn take(&mut self, stream: TcpStream, peer: SocketAddr) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "a connection answers with delay");
        }
        if places::is_of_reserve(&stream) {
            // At once: a farewell would keep the descriptor.
            count_refused(Full::Descriptors);
            return;
        }
        let place = match self.places.take(peer.ip()) {
            Ok(place) => place,
            Err(full) => return self.refuse(stream, peer, full),
        };
        let connection = Connection {
            peer,
            router: self.router.clone(),
            idle: self.settings.idle,
            watcher: self.graceful.watcher(),
            _place: place,
        };
        match &self.settings.tls {
            None => drop(self.connections.spawn(connection.serve(stream))),
            Some(tls) => {
                let tls = tokio_rustls::TlsAcceptor::from(tls.current());
                let stopping = self.stopping.clone();
                let shaking = async move {
                    let shaken = tokio::select! {
                        shaken = tokio::time::timeout(HANDSHAKE, tls.accept(stream)) => shaken,
                        () = stopping.cancelled() => return,
                    };
                    match shaken {
                        Ok(Ok(stream)) => connection.serve(stream).await,
                        Ok(Err(error)) => {
                            count_handshake("failed");
                            tracing::debug!(%peer, %error, "a TLS handshake failed");
                        }
                        Err(_) => {
                            count_handshake("timeout");
                            tracing::debug!(%peer, "a TLS handshake took too long");
                        }
                    }
                };
                self.connections.spawn(shaking);
            }
        }
    }

    fn refuse(&mut self, stream: TcpStream, peer: SocketAddr, full: Full) {
        count_refused(full);
        tracing::debug!(%peer, "too many connections are open");
        let is_plain = self.settings.tls.is_none();
        if let Ok(turn) = Arc::clone(&self.refusals).try_acquire_owned()
            && is_plain
        {
            self.connections.spawn(refuse(stream, turn));
        }
    }
}

fn count_refused(full: Full) {
    metrics::counter!("strait_http_refused_total", "reason" => full.as_str()).increment(1);
}

fn count_handshake(result: &'static str) {
    metrics::counter!("strait_https_handshakes_failed_total", "result" => result).increment(1);
}

/// Errors of a connection that went away before it was accepted, not of the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

/// Tells a client that there is no room. Its request is read a little, so that the answer is not
/// lost to a reset.
async fn refuse(mut stream: TcpStream, _turn: OwnedSemaphorePermit) {
    let farewell = async {
        stream.write_all(FULL).await?;
        stream.shutdown().await?;
        let mut rest = [0; 1024];
        for _ in 0..64 {
            if stream.read(&mut rest).await? == 0 {
                break;
            }
        }
        Ok::<_, io::Error>(())
    };
    drop(tokio::time::timeout(FAREWELL, farewell).await);
}

struct Connection {
    peer: SocketAddr,
    router: Router,
    idle: Duration,
    watcher: Watcher,
    /// One of those that may be open.
    _place: Place,
}

impl Connection {
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let peer = self.peer;
        let router = self.router;
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(axum::body::Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            router.clone().call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.idle)
            .max_header_size(HEAD_MAX)
            .max_buf_size(HEAD_MAX)
            .serve_connection(TokioIo::new(Patient::new(stream, self.idle)), service);
        if let Err(error) = self.watcher.watch(connection).await {
            tracing::debug!(%peer, %error, "a connection broke off");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_farewell_is_whole() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let len = format!("content-length: {}\r\n", body.len());
        assert!(head.contains(&len), "{}", body.len());
        serde_json::from_str::<serde_json::Value>(body).unwrap();
    }
}
