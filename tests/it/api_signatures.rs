//! Signatures as the official SDK makes them, and what becomes of them when anything is changed.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request};
use serde_json::Value;
use strait::api;
use strait::api::operation::{ExampleBody, Operation, RequestBody};
use strait::app::credentials::{Credential, Role};
use strait::base::secret::Secret;

use crate::api::{Answer, NOW, Server};
use crate::api_auth::credential;
use crate::bad_input::holds;
use crate::bad_input::router::{path_of, query_of};
use crate::signer::{Draft, Signer};

/// A request as the SDK made it.
#[derive(Clone)]
struct Sent {
    method: Method,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Sent {
    fn of(row: &Value) -> Self {
        let headers = row["headers"].as_object().unwrap().iter();
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        Self {
            method: text("method").parse().unwrap(),
            target: text("target"),
            headers: headers
                .map(|(n, v)| (n.clone(), v.as_str().unwrap().into()))
                .collect(),
            body: text("body").into_bytes(),
        }
    }

    /// `None`: it can't even be sent.
    fn request(&self) -> Option<Request<Body>> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(&self.target)
            .body(Body::from(self.body.clone()))
            .ok()?;
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            let value = HeaderValue::from_bytes(value).ok()?;
            request.headers_mut().append(name, value);
        }
        Some(request)
    }

    fn header(&mut self, name: &str) -> &mut Vec<u8> {
        let found = self.headers.iter_mut().find(|(n, _)| n == name);
        &mut found.unwrap().1
    }
}

struct Vectors {
    server: Server,
    rows: Vec<(String, Sent)>,
}

fn vectors() -> Vectors {
    let file: Value =
        serde_json::from_str(include_str!("../../fixtures/api/signatures.json")).unwrap();
    let text = |name: &str| file[name].as_str().unwrap().to_owned();
    let server = Server::with_auth(vec![Credential {
        access_key: text("access_key"),
        secret_key: Secret::new(text("secret_key")),
        ..credential("sdk", Role::Admin, None)
    }]);
    let rows = file["rows"].as_array().unwrap().iter();
    let rows = rows.map(|row| (row["name"].as_str().unwrap().to_owned(), Sent::of(row)));
    let rows = rows.collect();
    Vectors { server, rows }
}

fn is_refused(answer: &Answer) -> bool {
    answer.error().1 == "IOTDA.000004"
}

#[tokio::test]
async fn what_the_sdk_signs_is_taken() {
    let vectors = vectors();
    let mut failures = Vec::new();
    for (name, sent) in &vectors.rows {
        // Twice: a repetition within the same second is as good.
        for _ in 0..2 {
            let answer = vectors.server.send(sent.request().unwrap()).await;
            if is_refused(&answer) {
                failures.push(format!("{name}: {:?}", answer.error()));
            }
        }
    }
    assert!(vectors.rows.len() >= 39);
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// Each of these differs from what was signed.
fn forgeries(sent: &Sent) -> Vec<(String, Sent)> {
    let mut all = Vec::new();
    let mut push = |what: String, change: &dyn Fn(&mut Sent)| {
        let mut forged = sent.clone();
        change(&mut forged);
        all.push((what, forged));
    };
    push("method".into(), &|s| s.method = Method::PATCH);
    push("more path".into(), &|s| {
        let (path, query) = s.target.split_once('?').unwrap_or((&s.target, ""));
        s.target = format!("{path}x?{query}");
    });
    push("more query".into(), &|s| {
        let mark = if s.target.contains('?') { '&' } else { '?' };
        s.target = format!("{}{mark}x=", s.target);
    });
    if sent.target.contains("=") {
        push("less query".into(), &|s| {
            s.target.truncate(s.target.rfind(['&', '?']).unwrap());
        });
    }
    let media = sent.headers.iter().find(|(n, _)| n == "Content-Type");
    let is_form = media.is_some_and(|(_, v)| v.starts_with(b"multipart") || v == b"text/csv");
    // The SDK leaves forms out of its signatures, and names with an underscore.
    if !is_form {
        push("more body".into(), &|s| s.body.push(b' '));
    }
    for (name, value) in &sent.headers {
        if name == "Authorization" || name.contains('_') {
            continue;
        }
        push(format!("{name} changed"), &|s| s.header(name).push(b'x'));
        push(format!("{name} gone"), &|s| {
            s.headers.retain(|(n, _)| n != name)
        });
        push(format!("{name} twice"), &|s| {
            s.headers.push((name.clone(), value.clone()))
        });
    }
    let len = sent.headers.iter().find(|(n, _)| n == "Authorization");
    for at in 0..len.unwrap().1.len() {
        push(format!("Authorization, byte {at}"), &|s| {
            s.header("Authorization")[at] ^= 1
        });
        push(format!("Authorization, cut at {at}"), &|s| {
            s.header("Authorization").truncate(at)
        });
    }
    all
}

#[tokio::test]
async fn what_was_changed_after_signing_is_not_taken() {
    let vectors = vectors();
    let mut failures = Vec::new();
    let mut tried = 0;
    // One of each kind with every byte changed, of the others what is around it.
    for (at, (name, sent)) in vectors.rows.iter().enumerate() {
        for (what, forged) in forgeries(sent) {
            if at > 9 && what.starts_with("Authorization") {
                continue;
            }
            let Some(request) = forged.request() else {
                continue;
            };
            tried += 1;
            let answer = vectors.server.send(request).await;
            if !is_refused(&answer) || answer.status != 401 {
                failures.push(format!("{name}: {what}: {:?}", answer.error()));
            }
        }
    }
    assert!(tried > 4000, "{tried}");
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// Its example, signed.
fn signed(operation: &Operation) -> Sent {
    let signer = Signer {
        access_key: "BOSS".into(),
        secret_key: "secret-key-of-boss".into(),
        info: None,
    };
    let body = match &operation.example.body {
        Some(ExampleBody::Json(body)) => body.to_string(),
        Some(ExampleBody::Text(text)) => (*text).to_owned(),
        None => String::new(),
    };
    let media = match operation.request {
        RequestBody::Bytes(media) => media[0],
        _ => "application/json",
    };
    let query = query_of(operation);
    let mut target = path_of(operation, "nobody");
    if !query.is_empty() {
        target = format!("{target}?{query}");
    }
    let method = operation.method.as_str().to_owned().leak();
    let draft = Draft::new(method, &target, body.as_bytes(), NOW);
    let draft = draft.with("content-type", media);
    let mut headers: Vec<(String, Vec<u8>)> = draft
        .headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone().into_bytes()))
        .collect();
    headers.push(("Authorization".to_owned(), signer.sign(&draft).into()));
    Sent {
        method: operation.method.clone(),
        target,
        headers,
        body: body.into_bytes(),
    }
}

/// Each write of the router, with each piece of it changed after it was signed: refused, and
/// without effect. The true ones, which are taken, come after all of these: their work goes on when they
/// are answered.
#[tokio::test]
async fn a_forged_write_changes_nothing() {
    let mut server = Server::with_auth(vec![credential("boss", Role::Admin, None)]);
    server.drop_changes();
    let (mut failures, mut tried, mut taken) = (Vec::new(), 0, 0);
    let operations = api::operations();
    let writes = || operations.all().iter().filter(|o| o.is_audited);
    for operation in writes() {
        let sent = signed(operation);
        let before = holds(&server);
        for (what, forged) in forgeries(&sent) {
            // Every byte of a signature is changed above.
            if what.starts_with("Authorization") && !what.ends_with("0") {
                continue;
            }
            let Some(request) = forged.request() else {
                continue;
            };
            tried += 1;
            let answer = server.send(request).await;
            if !is_refused(&answer) || answer.status != 401 {
                failures.push(format!("{}: {what}: {:?}", operation.id, answer.error()));
            }
        }
        if holds(&server) != before {
            failures.push(format!("{}: something changed", operation.id));
        }
    }
    for operation in writes() {
        let sent = signed(operation);
        let before = holds(&server);
        let answer = server.send(sent.request().unwrap()).await;
        if is_refused(&answer) {
            failures.push(format!("{}: {:?}", operation.id, answer.error()));
        }
        taken += usize::from(answer.status.is_success() && holds(&server) != before);
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert!(tried > 1000 && taken >= 5, "{tried} tried, {taken} taken");
}
