//! `strait credentials` and `strait serve` as an operator meets them.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Exit code, stdout, stderr.
fn credentials(words: &[&str], data: &Path) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strait"));
    command
        .arg("credentials")
        .args(words)
        .arg("--data")
        .arg(data);
    let done = command.output().unwrap();
    (
        done.status.code().unwrap(),
        String::from_utf8(done.stdout).unwrap(),
        String::from_utf8(done.stderr).unwrap(),
    )
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn credentials_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    let (code, out, err) = credentials(&["list"], data);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("credentials.toml is missing"), "{err}");
    let add = ["add", "--role", "operator", "--app-id", "s1", "--json"];
    let (code, out, err) = credentials(&add, data);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("with a first admin as well"), "{err}");
    let made = parsed(&out);
    let key = made["access_key"].as_str().unwrap();
    let secrets = ["secret_key", "token"].map(|name| made[name].as_str().unwrap().to_owned());
    assert_eq!(
        (&made["role"], &made["app_id"]),
        (&"operator".into(), &"s1".into())
    );
    let (_, plain, err) = credentials(&["add", "--role", "read-only"], data);
    assert!(
        plain.contains("\ntoken = \"") && plain.contains("role = \"read-only\""),
        "{plain}"
    );
    assert_eq!(err, "");
    let listed = [&["list"] as &[&str], &["list", "--json"]].map(|words| {
        let (code, out, _) = credentials(words, data);
        assert_eq!(code, 0);
        assert!(
            out.contains(key) && !secrets.iter().any(|s| out.contains(s)),
            "{out}"
        );
        out
    });
    let rows = parsed(&listed[1]);
    let rows = rows["credentials"].as_array().unwrap();
    let roles: Vec<_> = rows.iter().map(|r| r["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["admin", "operator", "read-only"]);
    assert_eq!(rows[1]["created"], made["created"]);
    let (code, out, _) = credentials(&["revoke", key], data);
    assert_eq!((code, out), (0, format!("revoked {key} (operator)\n")));
    let (code, _, err) = credentials(&["revoke", key], data);
    assert!(code == 1 && err.contains(key), "{err}");
    let admin = rows[0]["access_key"].as_str().unwrap();
    let (code, _, err) = credentials(&["revoke", admin], data);
    assert!(
        code == 1 && err.contains("is the last admin") && err.contains("--force"),
        "{err}"
    );
    assert_eq!(credentials(&["revoke", admin, "--force"], data).0, 0);
    for words in [
        &["add"] as &[&str],
        &["add", "--role", "boss"],
        &["revoke"],
        &["grant"],
    ] {
        assert_eq!(credentials(words, data).0, 2, "{words:?}");
    }
    let (code, _, err) = credentials(&["add", "--role", "admin", "--app-id", "a b"], data);
    assert!(code == 2 && err.contains("has the character ' '"), "{err}");
}

/// A server in a process of its own.
struct Serving {
    child: Child,
    http: String,
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn serve(data: &Path) -> Serving {
    let mut child = command(data).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    let http = line
        .split_whitespace()
        .find_map(|w| w.strip_prefix("http="));
    let http = http.unwrap_or_default().to_owned();
    assert!(line.starts_with("ready "), "{line}");
    Serving { child, http }
}

fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strait"));
    let args = [
        "serve",
        "--coap",
        "off",
        "--coaps",
        "off",
        "--http",
        "127.0.0.1:0",
        "--data",
    ];
    command.args(args).arg(data).stderr(Stdio::piped());
    command
}

impl Serving {
    async fn status(&self, token: &str) -> u16 {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let request = hyper::Request::get(format!("http://{}/v5/iot/p/devices", self.http))
            .header("x-auth-token", token)
            .body(axum::body::Body::empty());
        let answer = client.request(request.unwrap()).await.unwrap();
        answer.status().as_u16()
    }

    /// Waits for the server to follow the file.
    async fn follows(&self, token: &str, want: u16) {
        let followed = async {
            while self.status(token).await != want {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let followed = tokio::time::timeout(Duration::from_secs(20), followed).await;
        assert!(followed.is_ok(), "{want} does not come");
    }
}

#[tokio::test]
async fn a_running_server_follows_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut serving = serve(&data);
    let path = data.join("credentials.toml");
    let text = fs::read_to_string(&path).unwrap();
    let admin: toml::Table = text.parse().unwrap();
    assert_eq!(serving.status(admin["token"].as_str().unwrap()).await, 200);
    assert_eq!(serving.status("another-token-that-is-wrong").await, 403);
    let (_, out, _) = credentials(&["add", "--role", "read-only", "--json"], &data);
    let made = parsed(&out);
    let [key, token] = ["access_key", "token"].map(|n| made[n].as_str().unwrap());
    serving.follows(token, 200).await;
    assert_eq!(credentials(&["revoke", key], &data).0, 0);
    serving.follows(token, 403).await;
    drop(serving.child.kill());
    let mut err = String::new();
    serving
        .child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut err)
        .unwrap();
    // Named once, and nothing of it shown.
    assert_eq!(
        err.matches("credentials of the first admin are in").count(),
        1,
        "{err}"
    );
    for name in ["secret_key", "token"] {
        assert!(!err.contains(admin[name].as_str().unwrap()), "{err}");
    }
    drop(serving);
    // Others may read it: the next start is refused.
    fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    let done = command(&data).output().unwrap();
    let err = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1), "{err}");
    assert!(
        err.contains("chmod 600") && err.contains("credentials.toml"),
        "{err}"
    );
    let wrong = command(&data)
        .env("STRAIT_HTTP__TLS_CERT", "/no/cert")
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    let err = String::from_utf8(wrong.stderr).unwrap();
    assert!(err.contains("http.tls_key is empty"), "{err}");
}
