//! The HTTP client of the simulation: creates products, codecs and devices over the v5 API and
//! `/v1`, and reads what the server says, as an application server would.
//!
//! Plain `http://host:port` with keep-alive connections; bodies are JSON. Answers are read up to
//! `BODY_MAX`. Creating what exists already is fine, so a run can be repeated.

mod events;

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::base::secret::Secret;
pub use events::{Events, ServerEvent};

/// Longest answer that is read.
const BODY_MAX: usize = 4 * 1024 * 1024;
/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why the server's HTTP face did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    #[error("{base:?} is no server address, takes http://host:port")]
    Base { base: String },
    #[error("{method} {path}: {reason}")]
    Transport {
        method: Method,
        path: String,
        reason: String,
    },
    #[error("{method} {path} answered {status}: {body}")]
    Status {
        method: Method,
        path: String,
        status: u16,
        body: String,
    },
    #[error("{method} {path}: the answer lacks {field}: {body}")]
    Field {
        method: Method,
        path: String,
        field: &'static str,
        body: String,
    },
}

impl RestError {
    /// Stable word for logs; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Base { .. } => "base",
            Self::Transport { .. } => "transport",
            Self::Status { .. } => "status",
            Self::Field { .. } => "field",
        }
    }
}

/// A device to be created.
#[derive(Debug, Clone)]
pub struct NewDevice {
    pub node_id: String,
    /// In hex; `None` for a plain device.
    pub secret: Option<Secret<String>>,
}

/// What the server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Bytes,
}

/// A client of one server. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Rest {
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
    token: Option<String>,
}

impl Rest {
    /// `base` is `http://host:port`; `token` goes along as `X-Auth-Token`.
    pub fn new(base: &str, token: Option<String>) -> Result<Self, RestError> {
        let base = base.trim_end_matches('/');
        let valid = base
            .parse::<Uri>()
            .is_ok_and(|uri| uri.scheme_str() == Some("http") && uri.host().is_some());
        if !valid {
            let base = base.to_owned();
            return Err(RestError::Base { base });
        }
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            base: base.to_owned(),
            token,
        })
    }

    fn request(
        &self,
        method: &Method,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, RestError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("content-type", content_type);
        if let Some(token) = &self.token {
            request = request.header("x-auth-token", token);
        }
        request
            .body(Full::new(body))
            .map_err(|e| transport(method, path, &e))
    }

    /// One request; any status is an answer.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> Result<Answer, RestError> {
        let request = self.request(&method, path, content_type, body.into())?;
        let exchange = async {
            let response = self.client.request(request).await;
            let response = response.map_err(|e| transport(&method, path, &e))?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), BODY_MAX).collect().await;
            let body = body.map_err(|e| transport(&method, path, &*e))?.to_bytes();
            Ok(Answer { status, body })
        };
        match tokio::time::timeout(PATIENCE, exchange).await {
            Ok(answer) => answer,
            Err(late) => Err(transport(&method, path, &late)),
        }
    }

    /// The JSON at `path`; any status but 200 is an error.
    pub async fn read(&self, path: &str) -> Result<Value, RestError> {
        let answer = self.call(Method::GET, path, "application/json", "").await?;
        if answer.status != 200 {
            return Err(refused(Method::GET, path, &answer));
        }
        serde_json::from_slice(&answer.body).map_err(|e| transport(&Method::GET, path, &e))
    }

    /// Sends JSON and gives the JSON that is answered; any status but 200 and 201 is an error.
    pub async fn send(&self, method: Method, path: &str, body: &Value) -> Result<Value, RestError> {
        let text = body.to_string();
        let answer = self
            .call(method.clone(), path, "application/json", text)
            .await?;
        match answer.status {
            200 | 201 => {
                serde_json::from_slice(&answer.body).map_err(|e| transport(&method, path, &e))
            }
            _ => Err(refused(method, path, &answer)),
        }
    }

    /// Creates a product from its model and gives its id. A model with a `product_id` that
    /// exists already is taken as created.
    pub async fn create_product(&self, model: &str) -> Result<String, RestError> {
        const PATH: &str = "/v5/iot/p/products";
        let body = model.to_owned();
        let answer = self
            .call(Method::POST, PATH, "application/json", body)
            .await?;
        if answer.status == 201 {
            return text_field(PATH, &answer, "product_id");
        }
        let known = serde_json::from_str::<Value>(model).ok();
        let known = known.and_then(|m| m.get("product_id")?.as_str().map(str::to_owned));
        if let Some(id) = known
            && self.read(&format!("{PATH}/{id}")).await.is_ok()
        {
            return Ok(id);
        }
        Err(refused(Method::POST, PATH, &answer))
    }

    /// Uploads a table codec.
    pub async fn put_codec(&self, product_id: &str, toml: &str) -> Result<(), RestError> {
        let path = format!("/v1/products/{product_id}/codec");
        let body = toml.to_owned();
        let answer = self
            .call(Method::PUT, &path, "application/toml", body)
            .await?;
        match answer.status {
            200 | 201 => Ok(()),
            _ => Err(refused(Method::PUT, &path, &answer)),
        }
    }

    /// Replaces the settings of a product; fields that are absent take their defaults.
    pub async fn put_settings(&self, product_id: &str, settings: &Value) -> Result<(), RestError> {
        let path = format!("/v1/products/{product_id}/settings");
        let body = settings.to_string();
        let answer = self
            .call(Method::PUT, &path, "application/json", body)
            .await?;
        match answer.status {
            200 => Ok(()),
            _ => Err(refused(Method::PUT, &path, &answer)),
        }
    }

    /// Uploads a package (`softwarePackage` or `firmwarePackage`) and gives its id. One that is there already, with
    /// the same bytes, is fine.
    pub async fn put_package(
        &self,
        kind: &str,
        product_id: &str,
        version: &str,
        bytes: impl Into<Bytes>,
    ) -> Result<String, RestError> {
        let path =
            format!("/v1/packages?package_type={kind}&product_id={product_id}&version={version}");
        let octets = "application/octet-stream";
        let answer = self.call(Method::PUT, &path, octets, bytes).await?;
        match answer.status {
            200 | 201 => text_field(&path, &answer, "package_id"),
            _ => Err(refused(Method::PUT, &path, &answer)),
        }
    }

    /// Creates a device and gives its id; one that exists already is fine. One with a secret (hex) is
    /// a secured one, and an existing one takes the secret as its new one.
    pub async fn create_device(
        &self,
        node: &str,
        product_id: &str,
        secret: Option<&str>,
    ) -> Result<String, RestError> {
        const PATH: &str = "/v5/iot/p/devices";
        let mut body = json!({"node_id": node, "product_id": product_id});
        if let (Some(secret), Some(fields)) = (secret, body.as_object_mut()) {
            let auth = json!({"auth_type": "SECRET", "secret": secret, "secure_access": true});
            fields.insert("auth_info".to_owned(), auth);
        }
        let answer = self
            .call(Method::POST, PATH, "application/json", body.to_string())
            .await?;
        match answer.status {
            201 => text_field(PATH, &answer, "device_id"),
            // IOTDA.014031: the device exists already.
            400 | 409 if contains(&answer.body, b"014031") => {
                let id = format!("{product_id}_{node}");
                if let Some(secret) = secret {
                    self.reset_secret(&id, secret).await?;
                }
                Ok(id)
            }
            _ => Err(refused(Method::POST, PATH, &answer)),
        }
    }

    /// Gives a device another secret and ends its session.
    async fn reset_secret(&self, device_id: &str, secret: &str) -> Result<(), RestError> {
        let path = format!("/v5/iot/p/devices/{device_id}/action?action_id=resetSecret");
        let body = json!({"secret": secret, "force_disconnect": true}).to_string();
        let answer = self
            .call(Method::POST, &path, "application/json", body)
            .await?;
        match answer.status {
            200 => Ok(()),
            _ => Err(refused(Method::POST, &path, &answer)),
        }
    }

    /// Creates many devices, `concurrency` requests at a time; `created` is called with how many
    /// stand. Gives the device ids in the order of `nodes`.
    pub async fn create_devices(
        &self,
        nodes: &[NewDevice],
        product_id: &str,
        concurrency: usize,
        mut created: impl FnMut(usize),
    ) -> Result<Vec<String>, RestError> {
        let requests = nodes.iter().map(|new| {
            let secret = new.secret.as_ref().map(|s| s.expose().as_str());
            self.create_device(&new.node_id, product_id, secret)
        });
        let mut answers = stream::iter(requests).buffered(concurrency.max(1));
        let mut ids = Vec::with_capacity(nodes.len());
        while let Some(id) = answers.next().await {
            ids.push(id?);
            created(ids.len());
        }
        Ok(ids)
    }

    /// Opens the server-sent events of `/v1/events`, from now on.
    pub async fn events(&self) -> Result<Events, RestError> {
        self.events_after(None).await
    }

    /// The same, from what follows the event with this id.
    pub async fn events_after(&self, id: Option<&str>) -> Result<Events, RestError> {
        const PATH: &str = "/v1/events";
        let mut request = self.request(&Method::GET, PATH, "text/event-stream", Bytes::new())?;
        if let Some(id) = id {
            let id = id.parse().map_err(|e| transport(&Method::GET, PATH, &e))?;
            request.headers_mut().insert("last-event-id", id);
        }
        let response = self.client.request(request).await;
        let response = response.map_err(|e| transport(&Method::GET, PATH, &e))?;
        let status = response.status().as_u16();
        if status != 200 {
            let body = Bytes::new();
            return Err(refused(Method::GET, PATH, &Answer { status, body }));
        }
        Ok(Events::new(response.into_body(), id.map(str::to_owned)))
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

fn transport(method: &Method, path: &str, error: &dyn std::error::Error) -> RestError {
    // hyper's own text hides the cause (connection refused), which is what the user must read.
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        reason = format!("{reason}: {cause}");
        source = cause.source();
    }
    RestError::Transport {
        method: method.clone(),
        path: path.to_owned(),
        reason,
    }
}

fn refused(method: Method, path: &str, answer: &Answer) -> RestError {
    RestError::Status {
        method,
        path: path.to_owned(),
        status: answer.status,
        body: String::from_utf8_lossy(&answer.body).into_owned(),
    }
}

fn text_field(path: &str, answer: &Answer, field: &'static str) -> Result<String, RestError> {
    let value = serde_json::from_slice::<Value>(&answer.body).ok();
    let text = value.and_then(|v| v.get(field)?.as_str().map(str::to_owned));
    text.ok_or_else(|| RestError::Field {
        method: Method::POST,
        path: path.to_owned(),
        field,
        body: String::from_utf8_lossy(&answer.body).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_addresses_are_taken() {
        assert!(Rest::new("http://127.0.0.1:8080/", None).is_ok());
        for base in ["127.0.0.1:8080", "https://h:1", "http://", ""] {
            assert_eq!(Rest::new(base, None).unwrap_err().kind(), "base", "{base}");
        }
    }
}
