//! One subscriber: where its pushes go, how they are signed, and what its answers mean.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use hyper::header::HeaderMap;
use rustls::RootCertStore;

use super::plan::{Ca, Plan};
use super::settings::Settings;
use super::signature;
use crate::base::secret::Secret;
use crate::base::time::Clock;
use crate::net::webhook::tls::{self, Trust};
use crate::net::webhook::{Answer, Client, Dialer, Failure, Target};

/// What connections to all subscribers share.
pub struct Wiring {
    pub dialer: Dialer,
    pub clock: Clock,
    pub settings: Settings,
    /// The CA certificates of the system, read when first asked for.
    pub system_roots: OnceLock<Arc<RootCertStore>>,
}

/// One subscriber.
pub struct Subscriber {
    client: Client,
    /// Key of the signature; `None`: pushes are not signed.
    token: Option<Secret<String>>,
    clock: Clock,
}

/// How a push ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Taken,
    /// An answer that is not 200.
    Refused(Answer),
    Failed(Failure),
}

impl Subscriber {
    /// Errors: what is wrong with the action, for people.
    pub fn of(plan: &Plan, wiring: &Wiring) -> Result<Self, String> {
        let http = &plan.action.http;
        let target = Target::parse(&http.url).map_err(|e| format!("url: {e}"))?;
        let config = match target.is_https() {
            false => None,
            true => {
                let trust = trust_of(plan, wiring)?;
                let config = tls::config(trust, http.sni_enable).map_err(|e| e.to_string())?;
                Some(Arc::new(config))
            }
        };
        let (clock, limits) = (wiring.clock.clone(), wiring.settings.limits());
        let token = http.token.clone().filter(|_| http.signature_enable);
        Ok(Self {
            client: Client::new(target, config, wiring.dialer.clone(), clock.clone(), limits),
            token,
            clock,
        })
    }

    /// One try.
    pub async fn push(&self, body: Bytes) -> Outcome {
        let headers = match &self.token {
            None => HeaderMap::new(),
            Some(token) => {
                let nonce = fastrand::u128(..);
                signature::headers(token.expose(), self.clock.now(), nonce, &body)
            }
        };
        match self.client.push(headers, body).await {
            Ok(Answer { status: 200, .. }) => Outcome::Taken,
            Ok(answer) => Outcome::Refused(answer),
            Err(failure) => Outcome::Failed(failure),
        }
    }
}

/// The name of the server that an URL leads to; of an URL that is none, the URL.
pub fn server_of(url: &str) -> String {
    Target::parse(url).map_or_else(|_| url.to_owned(), |target| target.server())
}

fn trust_of(plan: &Plan, wiring: &Wiring) -> Result<Trust, String> {
    let http = &plan.action.http;
    if !http.tls_verify {
        return Ok(Trust::Anyone);
    }
    let roots = match &plan.ca {
        Ca::System => {
            let read = || Arc::new(tls::system_roots());
            Arc::clone(wiring.system_roots.get_or_init(read))
        }
        Ca::Own(pem) => Arc::new(tls::roots_of(pem).map_err(|e| format!("cert_id: {e}"))?),
        Ca::Missing => return Err("cert_id: there is no such certificate".to_owned()),
    };
    let name = http.cn_name.clone().filter(|name| !name.is_empty());
    Ok(Trust::Roots { roots, name })
}

impl Outcome {
    /// Stable word for logs and metrics; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Refused(_) => "refused",
            Self::Failed(failure) => failure.kind(),
        }
    }

    /// The HTTP status, when one came.
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Taken => Some(200),
            Self::Refused(answer) => Some(answer.status),
            Self::Failed(_) => None,
        }
    }

    /// What went wrong.
    pub fn error(&self) -> Option<String> {
        match self {
            Self::Taken => None,
            Self::Refused(answer) if answer.said.is_empty() => {
                Some(format!("the subscriber answered {}", answer.status))
            }
            Self::Refused(Answer { status, said }) => {
                Some(format!("the subscriber answered {status}: {said}"))
            }
            Self::Failed(failure) => Some(failure.to_string()),
        }
    }

    /// What the reader may do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Taken => return None,
            Self::Refused(answer) => match answer.status {
                201..=299 => "only 200 says that a push was taken: answer 200",
                300..=399 => "redirects are not followed: give the action the URL they lead to",
                401 | 403 => {
                    "the subscriber does not know the sender: let it check X-Strait-Signature, or \
                     put what it asks for into the URL"
                }
                404 | 405 | 410 => "nothing takes a POST there: correct the action's url",
                413 => "the subscriber's limit for bodies is too small",
                429 => "the subscriber is overrun: create a flow-control policy",
                400..=499 => "the subscriber does not like the push: its log should say why",
                _ => "the subscriber failed: its log should say why",
            },
            Self::Failed(failure) => match failure {
                Failure::Connect { .. } => {
                    "check the url, that the subscriber is up, and that no firewall is in between"
                }
                Failure::Tls { .. } => {
                    "cert_id names the CA of the subscriber's certificate, cn_name the name in it \
                     (subjectAltName) when that is not the URL's host; some servers need \
                     sni_enable"
                }
                Failure::TimedOut { .. } => "answer 200 first, and work on the push afterwards",
                Failure::Closed => "the subscriber or something before it hung up: see its log",
                Failure::Malformed(_) => "is the port that of an HTTP server, and http or https?",
            },
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken => f.write_str("taken"),
            Self::Refused(answer) => write!(f, "refused with {}", answer.status),
            Self::Failed(failure) => write!(f, "failed: {failure}"),
        }
    }
}
