//! What operators are given agrees with the server: `docs/metrics.md` has exactly its metrics, and the
//! dashboard, the alerts and the unit use what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::http::request::Builder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

const PAGE: &str = "docs/metrics.md";
const DASHBOARD: &str = "deploy/grafana/strait.json";
const RULES: &str = "deploy/prometheus/strait.rules.yml";

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Name and kind of each row of the page's tables.
fn documented() -> BTreeMap<String, String> {
    let page = read(PAGE);
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let mut all = BTreeMap::new();
    for row in rows {
        let cells: Vec<_> = row.split(" | ").collect();
        let name = cells[0].trim_start_matches("| ").trim_matches('`');
        let before = all.insert(name.to_owned(), cells[1].trim().to_owned());
        assert_eq!(before, None, "{PAGE}: {name} stands there twice");
    }
    all
}

/// Words of a text that are names of metrics of ours.
fn names_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
    words
        .filter(|w| w.starts_with("strait_") || w.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

/// Names that stand as whole literals in code that is no test.
fn in_code(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            in_code(&path, found);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let literals = code.split('"').skip(1).step_by(2);
        found.extend(
            literals
                .filter(|literal| {
                    let is_ours = literal.starts_with("strait_") || literal.starts_with("process_");
                    is_ours && names_in(literal).contains(*literal)
                })
                .map(str::to_owned),
        );
    }
}

#[test]
fn the_page_has_every_metric_of_the_code_and_no_other() {
    let mut code = BTreeSet::new();
    in_code(Path::new("src"), &mut code);
    let page: BTreeSet<_> = documented().into_keys().collect();
    let missing: Vec<_> = code.difference(&page).collect();
    let gone: Vec<_> = page.difference(&code).collect();
    assert!(missing.is_empty(), "{PAGE} lacks {missing:?}");
    assert!(
        gone.is_empty(),
        "{PAGE} tells of {gone:?}, the code does not"
    );
    assert!(page.len() > 50, "{page:?}");
}

/// A server that does not outlive its test.
pub(super) struct Server(Child, pub(super) String);

impl Server {
    pub(super) fn start(data: &Path) -> Self {
        let words = ["serve", "--http", "127.0.0.1:0"];
        let mut child = Command::new(env!("CARGO_BIN_EXE_strait"))
            .args(words)
            .args(["--coap", "127.0.0.1:0", "--coaps", "127.0.0.1:0"])
            .arg("--data")
            .arg(data)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let mut words = line.split_whitespace();
        let http = words.find_map(|w| w.strip_prefix("http="));
        Self(child, format!("http://{}", http.expect("ready")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The token of the first admin.
pub(super) fn token(data: &Path) -> String {
    let file = fs::read_to_string(data.join("credentials.toml")).unwrap();
    let line = file.lines().find_map(|l| l.strip_prefix("token = \""));
    line.expect("a token").trim_end_matches('"').to_owned()
}

/// Status and body.
pub(super) async fn ask(request: Request<Full<Bytes>>) -> (u16, String) {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// A request of JSON by this caller.
pub(super) fn request(server: &Server, path: &str, token: &str) -> Builder {
    Request::builder()
        .uri(format!("{}{path}", server.1))
        .header("x-auth-token", token)
        .header("content-type", "application/json")
}

/// Kinds by name, and the whole text.
async fn shown(server: &Server, token: &str) -> (BTreeMap<String, String>, String) {
    let get = request(server, "/metrics", token).body(Full::default());
    let (status, text) = ask(get.unwrap()).await;
    assert_eq!(status, 200, "{text}");
    let types = text.lines().filter_map(|l| l.strip_prefix("# TYPE "));
    let kinds = types.map(|line| {
        let (name, kind) = line.split_once(' ').unwrap();
        (name.to_owned(), kind.to_owned())
    });
    (kinds.collect(), text)
}

/// All that a server shows is on the page, with its kind and a help text; and what an operator needs
/// on the first day is shown from the start.
#[tokio::test]
async fn a_running_server_shows_what_the_page_says() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let token = token(data.path());
    let page = documented();
    let first = [
        "process_resident_memory_bytes",
        "strait_devices",
        "strait_dtls_sessions",
        "strait_disk_free_bytes",
        "strait_commands_total",
        "strait_upgrades_ended_total",
        "strait_http_requests_total",
    ];
    // The gauges are read by tasks that begin with the server: answers are looked at until they are there.
    let (mut kinds, mut text) = (BTreeMap::new(), String::new());
    for _ in 0..10_000 {
        (kinds, text) = shown(&server, &token).await;
        if first.iter().all(|name| kinds.contains_key(*name)) {
            break;
        }
    }
    for name in first {
        assert!(kinds.contains_key(name), "{name} is not shown");
    }
    for (name, kind) in &kinds {
        assert_eq!(page.get(name), Some(kind), "{name}");
        assert!(text.contains(&format!("# HELP {name} ")), "{name}: no help");
    }
    let memory = text
        .lines()
        .find_map(|l| l.strip_prefix("process_resident_memory_bytes "));
    let bytes: f64 = memory.unwrap().parse().unwrap();
    assert!(bytes > 1e6, "{bytes}");
}

/// What a caller makes up, a method or a path, is no label: it could be a line of its own, and there is
/// no end of it.
#[tokio::test]
async fn callers_make_up_no_labels() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let token = token(data.path());
    for (method, path) in [
        ("MADEUP", "/healthz"),
        ("GET", "/madeup%22%7D%0Amadeup%201"),
    ] {
        let asked = request(&server, path, &token).method(method);
        let (status, told) = ask(asked.body(Full::default()).unwrap()).await;
        assert!((400..500).contains(&status), "{path}: {told}");
    }
    let (_, text) = shown(&server, &token).await;
    assert!(text.contains("method=\"other\""), "{text}");
    assert!(text.contains("path=\"none\""), "{text}");
    assert!(!text.to_lowercase().contains("madeup"), "{text}");
}

/// Of a device that never came: what is sent to it at once fails, and is counted by its end alone.
#[tokio::test]
async fn a_command_that_fails_is_counted() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let token = token(data.path());
    let folder = "codecs/smoke-detector";
    let device = r#"{"node_id": "1", "product_id": "smoke-detector"}"#;
    let command = r#"{"service_id": "smokerdector", "command_name": "SET_ALARM",
        "paras": {"value": 1}, "send_strategy": "immediately"}"#;
    let commands = "/v5/iot/p/devices/smoke-detector_1/async-commands";
    let steps = [
        (
            "POST",
            "/v5/iot/p/products",
            "application/json",
            read(&format!("{folder}/profile.json")),
        ),
        (
            "PUT",
            "/v1/products/smoke-detector/codec",
            "application/toml",
            read(&format!("{folder}/codec.toml")),
        ),
        (
            "POST",
            "/v5/iot/p/devices",
            "application/json",
            device.to_owned(),
        ),
        ("POST", commands, "application/json", command.to_owned()),
    ];
    for (method, path, kind, body) in steps {
        let asked = Request::builder()
            .method(method)
            .uri(format!("{}{path}", server.1))
            .header("x-auth-token", &token)
            .header("content-type", kind);
        let (status, told) = ask(asked.body(Full::from(body)).unwrap()).await;
        assert!(status < 300, "{path}: {told}");
    }
    let (_, text) = shown(&server, &token).await;
    for (status, want) in [("FAILED", 1), ("SENT", 0), ("SUCCESSFUL", 0)] {
        let line = format!("strait_commands_total{{status=\"{status}\"}} {want}\n");
        assert!(text.contains(&line), "{line}{text}");
    }
}

/// Names as queries have them: those of histograms with what Prometheus adds.
fn queryable() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (name, kind) in documented() {
        if kind == "histogram" {
            names.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}")));
        } else {
            names.insert(name);
        }
    }
    names
}

/// Every value under such a key, at any depth.
fn values_of<'a>(json: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match json {
        Value::Object(map) => {
            for (name, value) in map {
                if name == key {
                    found.extend(value.as_str());
                }
                values_of(value, key, found);
            }
        }
        Value::Array(list) => list.iter().for_each(|v| values_of(v, key, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_shows_every_metric_and_no_other() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let mut queries = Vec::new();
    values_of(&dashboard, "expr", &mut queries);
    let used: BTreeSet<_> = queries.iter().flat_map(|q| names_in(q)).collect();
    let known = queryable();
    let unknown: Vec<_> = used.difference(&known).collect();
    assert!(unknown.is_empty(), "{DASHBOARD}: {unknown:?}");
    let bases = documented().into_keys();
    let unused: Vec<_> = bases
        .filter(|name| !used.contains(name) && !used.contains(&format!("{name}_bucket")))
        .collect();
    assert!(unused.is_empty(), "{DASHBOARD} does not show {unused:?}");
}

#[test]
fn the_dashboard_is_well_formed() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|p| p["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "ids of panels are unique");
    let titles: BTreeSet<_> = panels
        .iter()
        .map(|p| p["title"].as_str().unwrap())
        .collect();
    assert_eq!(titles.len(), panels.len(), "titles of panels are unique");
    let mut taken = BTreeSet::new();
    for panel in panels {
        let title = &panel["title"];
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{title} reaches over the edge");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(taken.insert((x, y)), "{title} lies on another panel");
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        assert!(!panel["targets"].as_array().unwrap().is_empty(), "{title}");
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(variables.iter().any(|v| v["type"] == "datasource"));
}

/// As GitHub and others make them of headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let slug = |line: &str| -> String {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        let kept = words
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(slug).collect()
}

#[test]
fn each_alert_has_a_runbook_and_uses_metrics_that_exist() {
    let text = read(RULES);
    let used = names_in(&text);
    let known = queryable();
    let unknown: Vec<_> = used.difference(&known).collect();
    assert!(unknown.is_empty(), "{RULES}: {unknown:?}");
    let told = |key: &str| -> Vec<String> {
        let values = text.lines().filter_map(|l| l.trim().strip_prefix(key));
        values.map(|v| v.trim().to_owned()).collect()
    };
    let alerts = told("- alert:");
    let runbooks = told("runbook:");
    let want: Vec<_> = alerts
        .iter()
        .map(|alert| format!("{PAGE}#{}", alert.to_lowercase()))
        .collect();
    assert_eq!(runbooks, want, "one for each, in order");
    assert!(!alerts.is_empty());
}

/// Links of the page, of its own headings and of other pages', lead somewhere; so do the alerts'.
#[test]
fn links_of_the_page_lead_somewhere() {
    let page = read(PAGE);
    let links = page
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let runbooks = read(RULES);
    let runbooks = runbooks
        .lines()
        .filter_map(|l| l.trim().strip_prefix("runbook: docs/"));
    let mut broken = Vec::new();
    for link in links.chain(runbooks) {
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let file = if file.is_empty() { "metrics.md" } else { file };
        let target = fs::read_to_string(format!("docs/{file}")).unwrap_or_default();
        if target.is_empty() || !(anchor.is_empty() || anchors(&target).contains(anchor)) {
            broken.push(link);
        }
    }
    assert!(broken.is_empty(), "{PAGE}: {broken:?}");
}
