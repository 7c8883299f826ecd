//! One connection to a server's `GET /v1/events`, plain or over TLS (1.2 and 1.3).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::HeaderValue;
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::base::secret::Secret;

/// Until a connection stands.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// Until the head of an answer has come.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);
/// A server shows that it lives every 15 seconds: who says nothing for four of those is gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Of a refusal.
const BODY_MAX: usize = 64 * 1024;
/// Characters of a refusal that is no JSON of ours.
const REFUSAL_SHOWN: usize = 200;

/// Why a server address can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error("{url:?} is no server address, takes http://HOST:PORT or https://HOST:PORT")]
    Url { url: String },
    #[error("{url} needs --ca FILE with the CA that signed the server's certificate")]
    NoCa { url: String },
    #[error("{url}: the CA file {reason}")]
    Ca { url: String, reason: String },
    #[error("{url}: the token holds characters that no header takes")]
    Token { url: String },
}

impl EndpointError {
    /// Stable word; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Url { .. } => "url",
            Self::NoCa { .. } => "no_ca",
            Self::Ca { .. } => "ca",
            Self::Token { .. } => "token",
        }
    }
}

/// Why there is no stream, or no more of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lost {
    /// The server answers something else; asking again changes nothing.
    Refused { status: u16, message: String },
    /// A later attempt may succeed.
    Broken(String),
}

impl Lost {
    pub(super) const fn message(&self) -> &String {
        match self {
            Self::Refused { message, .. } | Self::Broken(message) => message,
        }
    }
}

/// Where events come from.
#[derive(Clone)]
pub struct Endpoint {
    url: String,
    host: String,
    port: u16,
    /// `HOST:PORT`
    authority: HeaderValue,
    path: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    token: Option<HeaderValue>,
}

impl Endpoint {
    /// `url` is `http://` or `https://` with host, port and maybe a path in front of `/v1`. `ca` is
    /// PEM, and needed for https.
    pub fn new(
        url: &str,
        ca: Option<&str>,
        token: Option<Secret<String>>,
    ) -> Result<Self, EndpointError> {
        let url = url.trim_end_matches('/').to_owned();
        let wrong = || EndpointError::Url { url: url.clone() };
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(wrong());
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let tls = match (is_tls, ca) {
            (false, _) => None,
            (true, None) => return Err(EndpointError::NoCa { url }),
            (true, Some(pem)) => {
                let connector = connector(pem).map_err(|reason| EndpointError::Ca {
                    url: url.clone(),
                    reason,
                })?;
                let name = ServerName::try_from(host.clone()).map_err(|_| wrong())?;
                Some((connector, name))
            }
        };
        let token = match &token {
            Some(token) => {
                let mut value = HeaderValue::from_str(token.expose())
                    .map_err(|_| EndpointError::Token { url: url.clone() })?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        Ok(Self {
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| wrong())?,
            path: format!("{}/v1/events", uri.path().trim_end_matches('/')),
            url,
            host,
            port,
            tls,
            token,
        })
    }

    /// As the user named it.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Opens the stream after the event `last`, else with what comes from now on.
    pub(super) async fn open(&self, last: Option<u64>) -> Result<Stream, Lost> {
        let connecting = tokio::time::timeout(CONNECT_PATIENCE, self.connect());
        let late = |limit: Duration| Lost::Broken(format!("no answer in {} s", limit.as_secs()));
        let (mut sender, mut work) = connecting
            .await
            .map_err(|_| late(CONNECT_PATIENCE))?
            .map_err(Lost::Broken)?;
        let request = self.request(last).map_err(Lost::Broken)?;
        let asking = async {
            let sent = sender.send_request(request);
            let response = beside(&mut work, sent).await.map_err(broken)?;
            match is_stream(&response) {
                true => Ok(response.into_body()),
                false => Err(refusal(&mut work, response).await),
            }
        };
        let body = tokio::time::timeout(ANSWER_PATIENCE, asking)
            .await
            .map_err(|_| late(ANSWER_PATIENCE))??;
        Ok(Stream {
            _sender: sender,
            work,
            body,
        })
    }

    async fn connect(&self) -> Result<(SendRequest<Empty<Bytes>>, Work), String> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await;
        let tcp = tcp.map_err(|e| e.to_string())?;
        match &self.tls {
            None => greet(tcp).await,
            Some((connector, name)) => {
                let tls = connector.connect(name.clone(), tcp).await;
                greet(tls.map_err(|e| format!("TLS: {e}"))?).await
            }
        }
    }

    fn request(&self, last: Option<u64>) -> Result<Request<Empty<Bytes>>, String> {
        let mut request = Request::get(&self.path)
            .header("host", &self.authority)
            .header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        if let Some(token) = &self.token {
            request = request.header("x-auth-token", token);
        }
        request.body(Empty::new()).map_err(|e| e.to_string())
    }
}

/// What a connection does by itself.
type Work = Pin<Box<dyn Future<Output = ()>>>;

async fn greet<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    stream: S,
) -> Result<(SendRequest<Empty<Bytes>>, Work), String> {
    let hands = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = hands.map_err(|e| e.to_string())?;
    // How it ends, whoever waits for an answer learns from that.
    let work = async move { drop(connection.await) };
    Ok((sender, Box::pin(work)))
}

/// Waits for something that the connection brings.
async fn beside<T>(work: &mut Work, wanted: impl Future<Output = T>) -> T {
    let mut wanted = std::pin::pin!(wanted);
    tokio::select! {
        biased;
        found = &mut wanted => return found,
        () = &mut *work => {}
    }
    // It has ended: what it has left behind comes at once. It is not asked again.
    *work = Box::pin(std::future::pending());
    wanted.await
}

fn is_stream(response: &Response<Incoming>) -> bool {
    let media = response.headers().get("content-type");
    let media = media.and_then(|value| value.to_str().ok()).unwrap_or("");
    response.status() == 200 && media.starts_with("text/event-stream")
}

/// What the server says instead.
async fn refusal(work: &mut Work, response: Response<Incoming>) -> Lost {
    let status = response.status();
    let body = Limited::new(response.into_body(), BODY_MAX).collect();
    let text = match beside(work, body).await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Err(_) => String::new(),
    };
    let told = serde_json::from_str::<Value>(&text).ok();
    let told = told.and_then(|v| Some(v.get("error_msg")?.as_str()?.to_owned()));
    let told = told.unwrap_or_else(|| {
        let short: String = text.chars().take(REFUSAL_SHOWN).collect();
        short.escape_debug().to_string()
    });
    let status = status.as_u16();
    let message = match status {
        200 => "answers no events; is this a Strait server?".to_owned(),
        _ => format!("answered {status}: {told}"),
    };
    match status {
        408 | 425 | 429 | 500..=599 => Lost::Broken(message),
        _ => Lost::Refused { status, message },
    }
}

fn broken(error: hyper::Error) -> Lost {
    // hyper's own text hides the cause.
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        reason = format!("{reason}: {cause}");
        source = cause.source();
    }
    Lost::Broken(reason)
}

fn connector(pem: &str) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|e| format!("is no PEM: {e}"))?;
        let added = roots.add(certificate);
        added.map_err(|e| format!("has a certificate that can't be used: {e}"))?;
    }
    if roots.is_empty() {
        return Err("has no certificate (BEGIN CERTIFICATE)".to_owned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config).into())
}

/// An open stream.
pub(super) struct Stream {
    /// Without it the connection would end.
    _sender: SendRequest<Empty<Bytes>>,
    work: Work,
    body: Incoming,
}

impl Stream {
    /// The next bytes.
    pub(super) async fn next_bytes(&mut self) -> Result<Bytes, Lost> {
        loop {
            let frame = beside(&mut self.work, self.body.frame());
            let frame = tokio::time::timeout(SILENCE_MAX, frame).await;
            let silent = |_| Lost::Broken(format!("silent for {} s", SILENCE_MAX.as_secs()));
            match frame.map_err(silent)? {
                None => return Err(Lost::Broken("the server ended the stream".to_owned())),
                Some(Err(error)) => return Err(broken(error)),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(bytes);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_can_not_be_used_say_why() {
        let kind = |url: &str, ca: Option<&str>| {
            let made = Endpoint::new(url, ca, None);
            made.err().map(|error| error.kind())
        };
        let fine = [
            "http://127.0.0.1:8080/",
            "http://h",
            "http://[::1]:1",
            "http://h:1/base",
        ];
        for url in fine {
            assert_eq!(kind(url, None), None, "{url}");
        }
        for url in [
            "127.0.0.1:8080",
            "ftp://h:1",
            "http://",
            "",
            "http://u:p@h",
            "http://h?x=1",
        ] {
            assert_eq!(kind(url, None), Some("url"), "{url}");
        }
        assert_eq!(kind("https://h:1", None), Some("no_ca"));
        assert_eq!(kind("https://h:1", Some("")), Some("ca"));
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(kind("https://h:1", Some(pem)), Some("ca"));
        let token = Some(Secret::new("a\nb".to_owned()));
        let made = Endpoint::new("http://h", None, token);
        assert_eq!(made.err().map(|e| e.kind()), Some("token"));
        let based = Endpoint::new("http://h:1/base/", None, None).ok();
        assert_eq!(based.unwrap().path, "/base/v1/events");
    }
}
