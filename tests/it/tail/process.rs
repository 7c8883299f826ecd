//! The program as a user starts it, against a server that is killed.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};

use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const STRAIT: &str = env!("CARGO_BIN_EXE_strait");

/// A program that does not outlive its test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn serve(data: &Path) -> (Program, String) {
    let off = ["--coap", "off", "--coaps", "off", "--http", "127.0.0.1:0"];
    let mut command = Command::new(STRAIT);
    command.arg("serve").args(off).arg("--data").arg(data);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    let mut words = line.split_whitespace();
    let http = words.find_map(|w| w.strip_prefix("http=")).expect("ready");
    (Program(child), http.to_owned())
}

fn tail(args: &[&str]) -> (Program, BufReader<ChildStdout>, BufReader<ChildStderr>) {
    let mut command = Command::new(STRAIT);
    command.arg("tail").args(args).env_remove("STRAIT_TOKEN");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let err = BufReader::new(child.stderr.take().unwrap());
    (Program(child), out, err)
}

/// Exit code, stdout and stderr of a run that ends.
fn run(args: &[&str]) -> (i32, String, String) {
    let (mut program, mut out, mut err) = tail(args);
    let (mut told, mut noted) = (String::new(), String::new());
    out.read_to_string(&mut told).unwrap();
    err.read_to_string(&mut noted).unwrap();
    (program.0.wait().unwrap().code().unwrap(), told, noted)
}

/// An address that stays when the server behind it moves, as long as the tasks live.
async fn front(target: Arc<Mutex<String>>) -> (String, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut reader, _) = listener.accept().await.unwrap();
            let target = target.lock().unwrap().clone();
            connections.spawn(async move {
                if let Ok(mut server) = TcpStream::connect(target).await {
                    drop(tokio::io::copy_bidirectional(&mut reader, &mut server).await);
                }
            });
        }
    });
    (address, tasks)
}

async fn create(http: &str, token: &str, path: &str, body: &Value) {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{http}/v5/iot/p/{path}"))
        .header("content-type", "application/json")
        .header("x-auth-token", token)
        .body(axum::body::Body::from(body.to_string()));
    let answer = client.request(request.unwrap()).await.unwrap();
    assert_eq!(answer.status(), 201, "{body}");
}

fn token_of(data: &Path) -> String {
    let text = std::fs::read_to_string(data.join("credentials.toml")).unwrap();
    let table: toml::Table = text.parse().unwrap();
    table["token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_costs_no_event() {
    const DEVICES: usize = 4;
    const LIVES: usize = 3;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (mut server, http) = serve(&data);
    let token = token_of(&data);
    let target = Arc::new(Mutex::new(http.clone()));
    let (address, _tasks) = front(Arc::clone(&target)).await;
    let url = format!("http://{address}");
    let total = (1 + DEVICES * LIVES).to_string();
    let shown = data.display().to_string();
    let args = [
        "--server", &url, "--data", &shown, "--from", "0", "--json", "--once", &total,
    ];
    let (mut program, mut out, mut err) = tail(&args);
    let product = json!({"product_id": "p1", "name": "Meter", "device_type": "Meter",
        "protocol_type": "CoAP", "data_format": "binary", "service_capabilities": []});
    create(&http, &token, "products", &product).await;
    let mut line = String::new();
    // Printed as it comes, not at the end.
    out.read_line(&mut line).unwrap();
    assert!(line.contains("\"resource\":\"product\""), "{line}");
    for life in 0..LIVES {
        let http = target.lock().unwrap().clone();
        for n in 0..DEVICES {
            let device = json!({"product_id": "p1", "node_id": format!("n{life}{n}")});
            create(&http, &token, "devices", &device).await;
        }
        if life + 1 == LIVES {
            break;
        }
        // As kill -9 does, right behind the last answer.
        drop(server);
        let (next, http) = serve(&data);
        server = next;
        *target.lock().unwrap() = http;
    }
    let mut nodes = Vec::new();
    for line in out.lines() {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert_eq!(
            (&event["resource"], &event["event"]),
            (&json!("device"), &json!("create"))
        );
        let node = event["notify_data"]["body"]["node_id"].as_str().unwrap();
        nodes.push(node.to_owned());
    }
    let all = (0..LIVES).flat_map(|life| (0..DEVICES).map(move |n| format!("n{life}{n}")));
    assert_eq!(nodes, all.collect::<Vec<_>>());
    assert_eq!(program.0.wait().unwrap().code(), Some(0));
    let mut noted = String::new();
    err.read_to_string(&mut noted).unwrap();
    assert!(
        noted.contains("; again in ") && noted.contains("connected again"),
        "{noted}"
    );
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_as_the_shell_expects() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (server, http) = serve(&data);
    let token = token_of(&data);
    let url = format!("http://{http}");
    let product = json!({"product_id": "p1", "name": "Meter", "device_type": "Meter",
        "protocol_type": "CoAP", "data_format": "binary", "service_capabilities": []});
    create(&http, &token, "products", &product).await;
    for node in ["n1", "n2"] {
        let device = json!({"product_id": "p1", "node_id": node});
        create(&http, &token, "devices", &device).await;
    }
    let file = dir.path().join("token");
    std::fs::write(&file, format!("{token}\n")).unwrap();
    let file = file.display().to_string();
    let old = ["--server", &url, "--from", "0", "--once"];
    let from_old = |more: &[&str]| run(&[&old[..], more].concat());
    let (code, out, err) = from_old(&["--token-file", &file, "--device", "p1_n2"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.contains("Z  device.create  p1_n2  n2 INACTIVE\n"),
        "{out}"
    );
    assert_eq!(out.lines().count(), 1, "{out}");
    let (code, out, _) = from_old(&["2", "--token", &token, "--resource", "device"]);
    assert_eq!(
        (code, out.matches("device.create").count()),
        (0, 2),
        "{out}"
    );
    let mut by_environment = Command::new(STRAIT);
    by_environment
        .arg("tail")
        .args(old)
        .env("STRAIT_TOKEN", &token);
    let done = by_environment.output().unwrap();
    let out = String::from_utf8_lossy(&done.stdout);
    assert!(
        out.contains("product.create  -  p1 Meter\n"),
        "{out} {done:?}"
    );
    // Refused, with what the server says.
    let (code, out, err) = from_old(&["--token", "another-token-entirely"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("answered 403: "), "{err}");
    assert!(!err.contains("another-token"), "{err}");
    // Ctrl-C is no mistake.
    let args = ["--server", &url, "--token", &token, "--from", "0"];
    let (mut program, mut out, _err) = tail(&args);
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let pid = Pid::from_raw(i32::try_from(program.0.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    assert_eq!(program.0.wait().unwrap().code(), Some(0));
    // Nor is it when nobody reads any more.
    let (mut program, out, mut err) = tail(&args);
    drop(out);
    assert_eq!(program.0.wait().unwrap().code(), Some(0));
    let mut noted = String::new();
    err.read_to_string(&mut noted).unwrap();
    assert_eq!(noted, "");
    drop(server);
    let (code, _, err) = from_old(&["--token", &token]);
    assert!(code == 1 && err.contains("can't be followed"), "{err}");
    let usage: [&[&str]; 8] = [
        &["--from", "later"],
        &["--from", "-1"],
        &["--once", "0"],
        &["--server", "127.0.0.1:8080"],
        &["--server", "https://127.0.0.1:1"],
        &["--token", "a", "--token-file", "b"],
        &["--token-file", "/no/file"],
        &["--data", "/no/data"],
    ];
    for args in usage {
        let (code, out, err) = run(args);
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}");
        assert!(!err.is_empty());
    }
}
