//! The backup guide of `docs/operations.md`, run block by block as it stands there.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use http_body_util::Full;

use super::ops_files::{Server, ask, request, token};

/// The block of the page that is called so.
fn block(name: &str) -> String {
    let page = fs::read_to_string("docs/operations.md").unwrap();
    let (_, rest) = page
        .split_once(&format!("\n```sh {name}\n"))
        .unwrap_or_else(|| panic!("the guide has no block {name}"));
    rest.split("\n```").next().unwrap().to_owned()
}

/// What the machine of a test has not: a service manager and a user of the service. The rest is the
/// system's own, and `strait` the one that was built.
fn stand_ins(folder: &Path) {
    fs::create_dir(folder).unwrap();
    symlink(env!("CARGO_BIN_EXE_strait"), folder.join("strait")).unwrap();
    let scripts = [
        ("systemctl", "#!/bin/sh\nexit 0\n"),
        ("chown", "#!/bin/sh\nexit 0\n"),
        ("runuser", "#!/bin/sh\nshift 3\nexec \"$@\"\n"),
    ];
    for (name, text) in scripts {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Runs a block with these folders below `home`; each command must succeed.
fn run(name: &str, home: &Path, file: &Path) {
    let path = std::env::var("PATH").unwrap();
    let done = Command::new("sh")
        .args(["-euc", &block(name)])
        .env("PATH", format!("{}:{path}", home.join("bin").display()))
        .env("DATA", home.join("data"))
        .env("KEYS", home.join("keys"))
        .env("BACKUP", home.join("backup"))
        .env("FILE", file)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{name}: {told}");
    assert!(!told.contains("no backup"), "{name}: {told}");
}

#[tokio::test]
async fn what_was_backed_up_comes_back() {
    let home = tempfile::tempdir().unwrap();
    let (home, data) = (home.path(), home.path().join("data"));
    stand_ins(&home.join("bin"));
    fs::create_dir(home.join("backup")).unwrap();
    let server = Server::start(&data);
    let admin = token(&data);
    let profile = fs::read("codecs/smoke-detector/profile.json").unwrap();
    let post = request(&server, "/v5/iot/p/products", &admin).method("POST");
    let (status, told) = ask(post.body(Full::from(profile)).unwrap()).await;
    assert_eq!(status, 201, "{told}");
    let device = r#"{"node_id": "867725038317248", "product_id": "smoke-detector",
        "auth_info": {"secret": "00112233445566778899aabbccddeeff"}}"#;
    let post = request(&server, "/v5/iot/p/devices", &admin).method("POST");
    let (status, told) = ask(post.body(Full::from(device)).unwrap()).await;
    assert_eq!(status, 201, "{told}");
    drop(server);

    run("backup-key", home, Path::new(""));
    run("backup", home, Path::new(""));
    let mut files = fs::read_dir(home.join("backup")).unwrap();
    let file = files.next().expect("an archive").unwrap().path();
    assert!(files.next().is_none(), "one archive");
    // The disk is lost: what comes back comes from the archive and the keys.
    fs::remove_dir_all(&data).unwrap();
    fs::create_dir(&data).unwrap();
    run("restore", home, &file);

    let server = Server::start(&data);
    let path = "/v5/iot/p/devices/smoke-detector_867725038317248";
    let get = request(&server, path, &admin).body(Full::<Bytes>::default());
    let (status, told) = ask(get.unwrap()).await;
    assert_eq!(status, 200, "{told}");
    // Its secret was sealed, so the key came back, too.
    assert!(told.contains("00112233445566778899aabbccddeeff"), "{told}");
}
