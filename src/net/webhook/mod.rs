//! The push client: POSTs bodies to one subscriber over HTTP/1.1, with or without TLS. Moves bytes,
//! decides nothing: what an answer means is the caller's business.
//!
//! Connections are kept and used again, but for those whose answer was not read to its end. Nothing
//! of an answer is followed: a redirect is an answer like any other. Bounds: one time for a whole
//! push from dialling to the end of the answer, and bytes that are read of an answer.
//!
//! No task runs beside a push: a connection is driven by the push that uses it, and rests between
//! two of them. One that its subscriber closed meanwhile is found out at its next use, and another
//! one dialled: that is no failure.
//! Errors: [`Failure`], for what never became an answer.

mod reach;
pub mod target;
pub mod tls;

#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::mpsc;
use tokio::time::{Instant as Deadline, timeout_at};
use tokio_rustls::TlsConnector;

use crate::base::time::Clock;
use reach::is_public;
pub use target::Target;

/// What every push says of its body.
const MEDIA: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const AGENT: HeaderValue = HeaderValue::from_static("strait");

/// A connection that rested for longer is not used again: middleboxes forget such ones.
const REST_MAX: Duration = Duration::from_secs(55);

/// Bytes of an answer that are shown to people.
const SAID_MAX: usize = 200;

/// Bytes buffered of one connection, so that of an endless answer's head, too.
const BUFFER_MAX: usize = 64 * 1024;

/// Why there was no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("no connection to {place}: {reason}")]
    Connect { place: String, reason: String },
    #[error("no TLS with {place}: {reason}")]
    Tls { place: String, reason: String },
    #[error("no answer within {after_ms} ms")]
    TimedOut { after_ms: u64 },
    #[error("the connection was closed before an answer came")]
    Closed,
    #[error("what came is no HTTP answer: {0}")]
    Malformed(String),
}

impl Failure {
    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::Tls { .. } => "tls",
            Self::TimedOut { .. } => "timed_out",
            Self::Closed => "closed",
            Self::Malformed(_) => "malformed",
        }
    }
}

/// What a subscriber answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// How its body begins, on one line.
    pub said: String,
}

/// Bounds of one client.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For a whole push.
    pub timeout: Duration,
    /// Bytes that are read of an answer's body; the connection of a longer one is dropped.
    pub answer_max: usize,
    /// Connections kept for later.
    pub idle_max: usize,
}

/// Where connections come from.
#[derive(Debug, Clone)]
pub enum Dialer {
    Network,
    /// The Internet alone: no address of this host or of a private network, whatever a name leads to.
    Public,
    /// A subscriber in this process takes the other end.
    Within(mpsc::Sender<Dialed>),
}

/// The other end of a connection that was dialled.
#[derive(Debug)]
pub struct Dialed {
    pub host: String,
    pub port: u16,
    pub stream: DuplexStream,
}

/// Bytes either way.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// A subscriber's address with its connections.
pub struct Client {
    target: Target,
    host: HeaderValue,
    tls: Option<Arc<ClientConfig>>,
    dialer: Dialer,
    clock: Clock,
    limits: Limits,
    idle: Mutex<Vec<Connection>>,
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// `None`: the connection has ended.
    driver: Option<BoxFuture<'static, ()>>,
    rests_since: Instant,
}

/// The head of an answer, on the connection that its body comes on.
type Head = (Connection, Response<Incoming>);

/// How a try over one connection ended without an answer.
enum Broken {
    /// Before the subscriber said anything.
    Silently,
    With(Failure),
}

impl Client {
    /// `tls`: for targets of `https` alone.
    pub fn new(
        target: Target,
        tls: Option<Arc<ClientConfig>>,
        dialer: Dialer,
        clock: Clock,
        limits: Limits,
    ) -> Self {
        // A host of the URL's alphabet always fits into a header.
        let host = HeaderValue::try_from(target.authority());
        Self {
            host: host.unwrap_or(HeaderValue::from_static("")),
            target,
            tls,
            dialer,
            clock,
            limits,
            idle: Mutex::default(),
        }
    }

    /// POSTs `body` with these headers beside the usual ones. An answer of any status is an answer.
    pub async fn push(&self, headers: HeaderMap, body: Bytes) -> Result<Answer, Failure> {
        let deadline = Deadline::now() + self.limits.timeout;
        match timeout_at(deadline, self.try_twice(headers, body)).await {
            Ok(Ok((connection, response))) => Ok(self.read(connection, response, deadline).await),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::TimedOut {
                after_ms: u64::try_from(self.limits.timeout.as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }

    /// Over a connection that rested, and when that one turns out to be closed, over a new one.
    async fn try_twice(&self, headers: HeaderMap, body: Bytes) -> Result<Head, Failure> {
        if let Some(rested) = self.rested() {
            match exchange(rested, self.request(&headers, &body)?).await {
                Ok(head) => return Ok(head),
                Err(Broken::With(failure)) => return Err(failure),
                Err(Broken::Silently) => {}
            }
        }
        let fresh = self.connect().await?;
        match exchange(fresh, self.request(&headers, &body)?).await {
            Ok(head) => Ok(head),
            Err(Broken::With(failure)) => Err(failure),
            Err(Broken::Silently) => Err(Failure::Closed),
        }
    }

    fn request(&self, headers: &HeaderMap, body: &Bytes) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::post(self.target.path())
            .body(Full::new(body.clone()))
            .map_err(|e| Failure::Malformed(e.to_string()))?;
        let all = request.headers_mut();
        all.insert(HOST, self.host.clone());
        all.insert(USER_AGENT, AGENT);
        all.insert(CONTENT_TYPE, MEDIA);
        all.extend(headers.clone());
        Ok(request)
    }

    /// Reads an answer to its end, and then keeps the connection. What a body is like, even that it
    /// does not come, changes nothing of the status that came before it.
    async fn read(
        &self,
        mut connection: Connection,
        response: Response<Incoming>,
        deadline: Deadline,
    ) -> Answer {
        let status = response.status().as_u16();
        let mut body = response.into_body();
        let (mut said, mut len) = (Vec::new(), 0_usize);
        let is_whole = loop {
            let frame = drive(&mut connection.driver, body.frame());
            match timeout_at(deadline, frame).await {
                Ok(None) => break true,
                Err(_) | Ok(Some(Err(_))) => break false,
                Ok(Some(Ok(frame))) => {
                    let data = frame.data_ref().map_or(&[][..], |data| data);
                    len = len.saturating_add(data.len());
                    let room = SAID_MAX.saturating_sub(said.len());
                    said.extend(data.iter().take(room));
                }
            }
            if len > self.limits.answer_max {
                break false;
            }
        };
        if is_whole && connection.driver.is_some() && !connection.sender.is_closed() {
            connection.rests_since = self.clock.instant();
            let mut idle = self.idle();
            if idle.len() < self.limits.idle_max {
                idle.push(connection);
            }
        }
        Answer {
            status,
            said: one_line(&said),
        }
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let stream = self.dial().await?;
        let stream: Box<dyn Wire> = match &self.tls {
            None => stream,
            Some(config) => {
                let wrong = |reason: String| Failure::Tls {
                    place: self.target.authority(),
                    reason,
                };
                let name = self.target.server_name().map_err(wrong)?;
                let connector = TlsConnector::from(Arc::clone(config));
                let secured = connector.connect(name, stream).await;
                Box::new(secured.map_err(|e| wrong(e.to_string()))?)
            }
        };
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER_MAX);
        let shaken = builder.handshake(TokioIo::new(stream)).await;
        let (sender, driver) = shaken.map_err(|e| Failure::Malformed(e.to_string()))?;
        Ok(Connection {
            sender,
            // How it ends shows in the exchange.
            driver: Some(driver.map(drop).boxed()),
            rests_since: self.clock.instant(),
        })
    }

    async fn dial(&self) -> Result<Box<dyn Wire>, Failure> {
        let (host, port) = (self.target.host(), self.target.port());
        let wrong = |reason: String| Failure::Connect {
            place: self.target.authority(),
            reason,
        };
        match &self.dialer {
            Dialer::Network => {
                let stream = TcpStream::connect((host, port)).await;
                ready(stream).map_err(wrong)
            }
            Dialer::Public => {
                let found = lookup_host((host, port)).await;
                let found = found.map_err(|e| wrong(e.to_string()))?;
                let public: Vec<_> = found.filter(|a| is_public(a.ip())).collect();
                if public.is_empty() {
                    return Err(wrong("no public address (push.public_only)".to_owned()));
                }
                // Those that were judged: asked again, a name may lead elsewhere.
                ready(TcpStream::connect(&public[..]).await).map_err(wrong)
            }
            Dialer::Within(subscribers) => {
                let (ours, theirs) = tokio::io::duplex(BUFFER_MAX);
                let dialed = Dialed {
                    host: host.to_owned(),
                    port,
                    stream: theirs,
                };
                let sent = subscribers.send(dialed).await;
                sent.map_err(|_| wrong("nobody is there".to_owned()))?;
                Ok(Box::new(ours))
            }
        }
    }

    /// The connection that was used last: of few pushes, few connections stay alive.
    fn rested(&self) -> Option<Connection> {
        let now = self.clock.instant();
        let mut idle = self.idle();
        idle.retain(|one| now.saturating_duration_since(one.rests_since) < REST_MAX);
        idle.pop()
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was dialled, without delays of its own.
fn ready(stream: io::Result<TcpStream>) -> Result<Box<dyn Wire>, String> {
    let stream = stream.map_err(|e| e.to_string())?;
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    Ok(Box::new(stream))
}

/// Sends, and reads the head of the answer.
async fn exchange(
    mut connection: Connection,
    request: Request<Full<Bytes>>,
) -> Result<Head, Broken> {
    let Connection { sender, driver, .. } = &mut connection;
    if drive(driver, sender.ready()).await.is_err() {
        return Err(Broken::Silently);
    }
    match drive(driver, sender.send_request(request)).await {
        Ok(response) => Ok((connection, response)),
        Err(error) if error.is_parse() => Err(Broken::With(Failure::Malformed(error.to_string()))),
        Err(_) => Err(Broken::Silently),
    }
}

/// Runs `work` together with the connection that it needs.
async fn drive<T>(driver: &mut Option<BoxFuture<'static, ()>>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(done);
        }
        if let Some(running) = driver
            && running.as_mut().poll(context).is_ready()
        {
            *driver = None;
        }
        // What the connection has just read, or that it has ended.
        work.as_mut().poll(context)
    })
    .await
}

/// Bytes of a stranger for people: on one line, without anything that moves a cursor.
fn one_line(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars()
        .map(plain)
        .collect::<String>()
        .trim()
        .to_owned()
}
