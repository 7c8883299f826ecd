//! The OpenAPI document: its snapshot, that its examples work, and the page that shows it.

use std::collections::HashSet;

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Map, Value};
use strait::api;

use crate::api::Server;
use crate::conformity::{document, problems, resolve};

const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");

/// An operation as the document has it.
struct Described {
    method: Method,
    path: &'static str,
    entry: &'static Value,
}

/// In the order of the document.
fn described() -> Vec<Described> {
    let paths = document()["paths"].as_object().unwrap();
    let each = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(move |(method, entry)| Described {
            method: method.to_uppercase().parse().unwrap(),
            path,
            entry,
        })
    });
    each.collect()
}

#[test]
fn the_snapshot_is_what_the_code_says() {
    let now = api::openapi::text(&api::operations());
    if std::env::var_os("STRAIT_RENEW").is_some() {
        std::fs::write(SNAPSHOT, &now).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(SNAPSHOT).unwrap_or_default();
    let differs = now
        .lines()
        .zip(kept.lines())
        .find(|(now, kept)| now != kept);
    assert!(
        now == kept,
        "docs/openapi.json is not what the code says, first at {differs:?}: look at the change, \
         then renew it with `cargo run -- openapi > docs/openapi.json`"
    );
}

#[test]
fn every_operation_is_described() {
    let mut ids = HashSet::new();
    let mut failures = Vec::new();
    for Described { path, entry, .. } in described() {
        let id = entry["operationId"].as_str().unwrap();
        if !ids.insert(id) {
            failures.push(format!("{id} is there twice"));
        }
        let responses = entry["responses"].as_object().unwrap();
        if !responses.keys().any(|status| status.starts_with('2')) {
            failures.push(format!("{id} has no success: .answers::<View>(status)"));
        }
        for status in responses.values().filter(|r| !resolve(r).is_object()) {
            failures.push(format!("{id}: {status} leads nowhere"));
        }
        for (kind, content) in entry["requestBody"]["content"]
            .as_object()
            .into_iter()
            .flatten()
        {
            let example = &content["example"];
            if example.is_null() {
                failures.push(format!("{id} has no example of {kind}: .example(json!(…))"));
            }
            for problem in problems(example, &content["schema"]) {
                failures.push(format!("{id}: the example {problem}"));
            }
        }
        for parameter in entry["parameters"].as_array().into_iter().flatten() {
            let (name, place) = (&parameter["name"], &parameter["in"]);
            let example = &parameter["example"];
            if parameter["required"] == true && example.is_null() {
                failures.push(format!("{id}: {name} has no example: .example_query(…)"));
            }
            if place == "path" && parameter["description"] == "" {
                failures.push(format!("{path}: {name} is not in openapi/parameter.rs"));
            }
            if !example.is_null() {
                for problem in problems(example, &parameter["schema"]) {
                    failures.push(format!("{id}: the example of {name} {problem}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// Values of examples that stand for ids that the server makes up, and those it made up.
#[derive(Default)]
struct Made(Vec<(String, String)>);

impl Made {
    /// Remembers the id in an answer to a `POST` or `PUT` to `path`, when there is a path below for it.
    fn learn(&mut self, method: &Method, path: &str, answer: &Value) {
        let makes = [Method::POST, Method::PUT].contains(method);
        for below in described().iter().filter(|_| makes) {
            let rest = below.path.strip_prefix(path);
            let name = rest.and_then(|rest| rest.strip_prefix("/{")?.strip_suffix('}'));
            let Some(id) = name.and_then(|name| answer[name].as_str()) else {
                continue;
            };
            let parameters = below.entry["parameters"].as_array().unwrap();
            let parameter = parameters
                .iter()
                .find(|p| Some(p["name"].as_str().unwrap()) == name);
            let example = parameter.unwrap()["example"].as_str().unwrap();
            if self.0.iter().all(|(known, _)| known != example) {
                self.0.push((example.to_owned(), id.to_owned()));
            }
        }
    }

    fn text(&self, text: &str) -> String {
        let mut known = self.0.iter();
        let found = known.find(|(example, _)| example == text);
        found.map_or(text, |(_, id)| id).to_owned()
    }

    fn json(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.text(text).into(),
            Value::Array(items) => items.iter().map(|item| self.json(item)).collect(),
            Value::Object(fields) => {
                let fields = fields.iter().map(|(k, v)| (k.clone(), self.json(v)));
                Value::Object(fields.collect::<Map<_, _>>())
            }
            other => other.clone(),
        }
    }
}

/// Operations whose example is refused: what they take is no text, or is made for one server.
const REFUSED: [&str; 8] = [
    "check_certificate",
    "import_product",
    // The task of the examples upgrades nothing.
    "pause_campaign",
    "plan_campaign",
    "resume_campaign",
    "show_campaign_policy",
    "list_campaign_cells",
    "put_campaign_policy",
];

fn percent(text: &str) -> String {
    let encode = |b: u8| match b {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(b).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// The example as a request.
fn request_of(described: &Described, made: &Made) -> Request<Body> {
    let mut path = described.path.to_owned();
    let mut query = String::new();
    for parameter in described.entry["parameters"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let name = parameter["name"].as_str().unwrap();
        let value = match &parameter["example"] {
            Value::Null => continue,
            Value::String(text) => percent(&made.text(text)),
            other => other.to_string(),
        };
        match parameter["in"].as_str().unwrap() {
            "path" => path = path.replace(&format!("{{{name}}}"), &value),
            "query" => {
                query.push(if query.is_empty() { '?' } else { '&' });
                query.push_str(&format!("{name}={value}"));
            }
            other => panic!("{name} has an example in the {other}"),
        }
    }
    let request = Request::builder()
        .method(described.method.clone())
        .uri(path + &query);
    let content = described.entry["requestBody"]["content"].as_object();
    let Some((media, content)) = content.and_then(|content| content.iter().next()) else {
        return request.body(Body::empty()).unwrap();
    };
    let example = made.json(&content["example"]);
    let (media, body) = match media.as_str() {
        "application/json" => (media.clone(), example.to_string()),
        "multipart/form-data" => {
            let (part, text) = example.as_object().unwrap().iter().next().unwrap();
            let head = format!(
                "Content-Disposition: form-data; name=\"{part}\"; filename=\"example.csv\""
            );
            let text = text.as_str().unwrap();
            let body = format!("--edge\r\n{head}\r\n\r\n{text}\r\n--edge--\r\n");
            ("multipart/form-data; boundary=edge".to_owned(), body)
        }
        _ => (media.clone(), example.as_str().unwrap().to_owned()),
    };
    let request = request.header("content-type", media);
    request.body(Body::from(body)).unwrap()
}

/// Each example is carried out, in the order of the document; deletes last and in reverse, so that
/// what belongs to something goes before it. That the answer is as documented, `Server` checks.
#[tokio::test]
async fn every_example_works() {
    let server = Server::start();
    let (mut deletes, mut others): (Vec<_>, Vec<_>) = described()
        .into_iter()
        .partition(|d| d.method == Method::DELETE);
    deletes.reverse();
    others.extend(deletes);
    let (mut made, mut failures) = (Made::default(), Vec::new());
    for one in &others {
        let id = one.entry["operationId"].as_str().unwrap();
        let request = request_of(one, &made);
        let shown = format!("{} {}", request.method(), request.uri());
        let is_endless = one.entry["responses"]["200"]["content"]
            .get("text/event-stream")
            .is_some();
        let (status, body) = match is_endless {
            true => (server.begin(request).await, Value::Null),
            false => {
                let answer = server.send(request).await;
                (answer.status, answer.body)
            }
        };
        if REFUSED.contains(&id) {
            assert_eq!(status, 400, "{id}");
        } else if status.is_success() {
            made.learn(&one.method, one.path, &body);
        } else {
            failures.push(format!("{id}: {shown}: {status} {body}"));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[tokio::test]
async fn the_document_and_its_page_are_served() {
    let server = Server::start();
    let served = server.get("/openapi.json").await;
    assert_eq!(served.header("content-type"), "application/json");
    assert_eq!(served.body, *document());

    let (first, second) = (server.get("/docs").await, server.get("/docs").await);
    assert_eq!(first.header("content-type"), "text/html; charset=utf-8");
    let policy = first.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    let nonce = policy.split("'nonce-").nth(1).unwrap();
    let nonce = nonce.split('\'').next().unwrap();
    assert_eq!(nonce.len(), 32);
    assert!(!second.header("content-security-policy").contains(nonce));
    let page = first.body.as_str().unwrap();
    assert_eq!(page.matches(&format!("nonce=\"{nonce}\"")).count(), 2);
    // Nothing comes from elsewhere, and nothing was left to be filled in.
    for foreign in [
        "http://", "https://", "src=", "@import", "{style}", "{script}",
    ] {
        assert!(!page.contains(foreign), "{foreign}");
    }
}

/// A spreadsheet that opens what is exported would run the formulas in names that others gave.
#[test]
fn nothing_is_answered_as_a_table() {
    let mut seen = HashSet::new();
    for operation in described() {
        for answer in operation.entry["responses"].as_object().unwrap().values() {
            let content = resolve(answer)["content"].as_object();
            seen.extend(content.into_iter().flat_map(Map::keys).cloned());
        }
    }
    assert!(seen.contains("application/json"), "{seen:?}");
    let tables = ["csv", "tab-separated", "excel", "spreadsheet"];
    let found: Vec<_> = seen
        .iter()
        .filter(|media| tables.iter().any(|table| media.contains(table)))
        .collect();
    assert!(found.is_empty(), "{found:?}");
}
