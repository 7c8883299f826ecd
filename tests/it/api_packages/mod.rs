//! Packages over HTTP: uploads, the v5 operations, what binds a version to its file, and what a crash
//! leaves.

mod downloads;
mod limits;
mod signatures;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};
use strait::app::package::{InUse, Settings};
use strait::base::ids::{PackageId, TaskId};
use strait::store::Store;
use strait::store::memory::MemoryStore;

use crate::api::{Answer, Server};

pub(crate) const OTA: &str = "/v5/iot/x/ota-upgrades/packages";

/// Bytes of a file that tests upload.
pub(crate) fn sample(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| u8::try_from(i * 31 % 251).unwrap())
        .collect()
}

/// Uploads to product `p1`; `more` is added to the query.
pub(crate) async fn upload(
    server: &Server,
    package_type: &str,
    version: &str,
    more: &str,
    bytes: &[u8],
) -> Answer {
    let path =
        format!("/v1/packages?package_type={package_type}&product_id=p1&version={version}{more}");
    let request = Request::put(path).header("content-type", "application/octet-stream");
    server
        .send(request.body(Body::from(bytes.to_vec())).unwrap())
        .await
}

pub(crate) async fn firmware(server: &Server, version: &str, bytes: &[u8]) -> Answer {
    upload(server, "firmwarePackage", version, "", bytes).await
}

fn reference(package_type: &str, version: &str, object_key: &str) -> Value {
    json!({
        "app_id": "default", "package_type": package_type, "product_id": "p1",
        "version": version, "support_source_versions": ["V0.9"], "description": "first",
        "custom_info": "c", "module_name": "mcu.1",
        "file_location": {"obs_location": {"region_name": "r", "bucket_name": "b",
            "object_key": object_key, "sign_method": "SHA256"}}
    })
}

/// The names in the directory of files.
fn files(server: &Server) -> Vec<String> {
    let dir = server.data.path().join("packages");
    let entries = std::fs::read_dir(dir).map(|entries| {
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.unwrap().file_name().into_string().unwrap()
        };
        entries.map(name).collect::<Vec<_>>()
    });
    let mut names = entries.unwrap_or_default();
    names.retain(|name| name != "token.key");
    names.sort();
    names
}

fn next(server: &Server) -> Server {
    let (store, data) = (Arc::clone(&server.store), Arc::clone(&server.data));
    Server::with_packages(store, data, Settings::default())
}

#[tokio::test]
async fn an_upload_is_a_package_of_both_interfaces() {
    let server = Server::start().with_product().await;
    let bytes = sample(1001);
    let more = "&fragment_size=100&support_source_versions=V0.9,V0.8&description=d%20d\
                &file_name=meter.bin";
    let made = upload(&server, "softwarePackage", "V1.0", more, &bytes).await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    let id = made.body["package_id"].as_str().unwrap();
    assert_eq!(files(&server), [made.body["sha256"].as_str().unwrap()]);
    let shown = server.get(&format!("/v1/packages/{id}")).await;
    assert_eq!(shown.body, made.body);
    let mut body = made.body.clone();
    for name in ["package_id", "sha256", "coap_path"] {
        body[name] = json!("…");
    }
    assert_eq!(
        body,
        json!({
            "package_id": "…", "app_id": "default", "package_type": "softwarePackage",
            "product_id": "p1", "module_name": null, "version": "V1.0",
            "support_source_versions": ["V0.9", "V0.8"], "description": "d d",
            "custom_info": null, "create_time": "20260301T120000Z", "file_name": "meter.bin",
            "size": 1001, "sha256": "…", "fragment_size": 100, "fragments": 11,
            "coap_path": "…", "signed_by": null
        })
    );
    let v5 = server.get(&format!("{OTA}/{id}")).await;
    assert_eq!(v5.status, 200);
    let fields = [
        "version",
        "product_name",
        "file_location",
        "support_source_versions",
    ];
    let told = fields.map(|name| v5.body[name].clone());
    assert_eq!(
        told,
        [
            json!("V1.0"),
            json!("Meter"),
            json!(null),
            json!(["V0.9", "V0.8"])
        ]
    );
    // After a restart, too, and by the same path.
    let server = next(&server);
    assert_eq!(
        server.get(&format!("/v1/packages/{id}")).await.body,
        made.body
    );
}

#[tokio::test]
async fn the_same_file_again_is_the_same_package() {
    let server = Server::start().with_product().await;
    let bytes = sample(3000);
    let first = upload(
        &server,
        "softwarePackage",
        "V1",
        "&fragment_size=64",
        &bytes,
    )
    .await;
    assert_eq!(first.status, 201, "{:?}", first.body);
    for more in ["", "&fragment_size=64"] {
        let again = upload(&server, "softwarePackage", "V1", more, &bytes).await;
        assert_eq!((again.status.as_u16(), &again.body), (200, &first.body));
    }
    let other = upload(
        &server,
        "softwarePackage",
        "V1",
        "&fragment_size=65",
        &bytes,
    )
    .await;
    let id = first.body["package_id"].as_str().unwrap();
    let want = format!(
        "fragment_size: package {id} of this version and file has 64, got 65; delete it first, or \
         send it without fragment_size"
    );
    assert_eq!(other.error(), (409, "IOTDA.000006", want.as_str()));
    // A file that was damaged on disk is mended by its own upload.
    let path = server
        .data
        .path()
        .join("packages")
        .join(first.body["sha256"].as_str().unwrap());
    std::fs::write(&path, b"rot").unwrap();
    let file = format!("/v1/packages/{id}/file");
    assert_eq!(server.get(&file).await.status, 503);
    assert_eq!(
        upload(&server, "softwarePackage", "V1", "", &bytes)
            .await
            .status,
        200
    );
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert_eq!(server.get(&file).await.status, 200);
}

/// Also after its package was deleted, and after a restart.
#[tokio::test]
async fn a_version_means_one_file_for_ever() {
    let mut server = Server::start().with_product().await;
    let made = firmware(&server, "V1", b"one").await;
    let (id, hash) = (made.body["package_id"].clone(), made.body["sha256"].clone());
    let (id, hash) = (id.as_str().unwrap(), hash.as_str().unwrap());
    for _ in 0..2 {
        let other = firmware(&server, "V1", b"two").await;
        let (status, code, text) = other.error();
        assert_eq!((status, code), (409, "IOTDA.000006"));
        let want = format!(
            "version: V1 of this product and type means the file with SHA-256 {hash} for ever, got "
        );
        assert!(text.starts_with(&want), "{text}");
        assert!(
            files(&server).iter().all(|name| name == hash),
            "nothing is left of it"
        );
        server.delete(&format!("{OTA}/{id}")).await;
        assert_eq!(files(&server), [""; 0]);
        server = next(&server);
    }
    // Of the other type, of another version: another name. And the same file is welcome again.
    assert_eq!(
        upload(&server, "softwarePackage", "V1", "", b"two")
            .await
            .status,
        201
    );
    assert_eq!(firmware(&server, "V2", b"two").await.status, 201);
    let again = firmware(&server, "V1", b"one").await;
    assert_eq!(again.status, 201);
    assert_ne!(again.body["package_id"], id);
    assert_eq!(
        files(&server).len(),
        2,
        "one file of two packages is kept once"
    );
    let v2 = server
        .get(&format!("{OTA}?package_type=firmwarePackage&version=V2"))
        .await;
    let v2 = v2.body["packages"][0]["package_id"].as_str().unwrap();
    assert_eq!(server.delete(&format!("{OTA}/{v2}")).await.status, 204);
    assert_eq!(files(&server).len(), 2, "the other package has it still");
}

#[tokio::test]
async fn a_reference_gets_its_file_later_or_from_another_package() {
    let server = Server::start().with_product().await;
    let body = reference("firmwarePackage", "V1", "meter/v1.bin");
    let made = server.post(OTA, &body).await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    let id = made.body["package_id"].as_str().unwrap().to_owned();
    assert_eq!(made.body["file_location"], body["file_location"]);
    for (path, want) in [
        (
            format!("/v1/packages/{id}/file"),
            "has no file yet; upload it with PUT /v1/packages",
        ),
        (format!("/v1/packages/{id}/token"), "has no file yet"),
    ] {
        let method = match path.ends_with("token") {
            true => Method::POST,
            false => Method::GET,
        };
        let refused = server.call(method, &path, None).await;
        let (status, _, text) = refused.error();
        assert!(status == 409 && text.contains(want), "{status} {text}");
    }
    let held = server
        .app
        .packages
        .hold(&PackageId::parse(&id).unwrap())
        .await;
    assert_eq!(held.err().unwrap().kind(), "no_file");
    let taken = server.post(OTA, &body).await;
    let want = format!("version: package {id} of this product and type has version V1 already");
    assert!(taken.error().2.starts_with(&want), "{:?}", taken.body);
    assert_eq!(taken.status, 409);
    let done = firmware(&server, "V1", b"bytes").await;
    assert_eq!(
        (done.status.as_u16(), &done.body["package_id"]),
        (201, &json!(id))
    );
    assert_eq!(done.body["description"], "first");
    let hash = done.body["sha256"].as_str().unwrap();

    // By hash, by package, by its announced hash.
    let linked = |version: &str, key: &str| {
        let body = reference("firmwarePackage", version, key);
        let server = &server;
        async move { server.post(OTA, &body).await }
    };
    for (version, key) in [("V2", format!("sha256:{hash}")), ("V3", id.clone())] {
        let made = linked(version, &key).await;
        assert_eq!(made.status, 201, "{:?}", made.body);
        let shown = made.body["package_id"].as_str().unwrap();
        let shown = server.get(&format!("/v1/packages/{shown}")).await;
        assert_eq!(shown.body["sha256"], hash, "{key}");
    }
    let none = linked("V4", &format!("sha256:{}", "0".repeat(64))).await;
    assert!(
        none.error().2.contains("has a file with SHA-256 000"),
        "{:?}",
        none.body
    );
    let mut body = reference("firmwarePackage", "V4", "later.bin");
    body["file_location"]["obs_location"]["sign"] = json!("0".repeat(64));
    assert_eq!(server.post(OTA, &body).await.status, 201);
    let other = firmware(&server, "V4", b"not that").await;
    let (status, _, text) = other.error();
    assert!(
        status == 400 && text.contains("was made for 0000"),
        "{text}"
    );
    assert_eq!(files(&server), [hash]);
}

#[tokio::test]
async fn lists_are_of_one_type_and_cut() {
    let server = Server::start().with_product().await;
    for n in 1..=3 {
        firmware(&server, &format!("V{n}"), &[n]).await;
    }
    upload(&server, "softwarePackage", "S1", "", b"s").await;
    let versions = |answer: &Answer| -> Vec<String> {
        let all = answer.body["packages"].as_array().unwrap().iter();
        all.map(|p| p["version"].as_str().unwrap().to_owned())
            .collect()
    };
    let path = format!("{OTA}?package_type=firmwarePackage");
    let all = server.get(&path).await;
    assert_eq!(versions(&all), ["V3", "V2", "V1"]);
    assert_eq!(all.body["page"]["count"], 3);
    let first = server.get(&format!("{path}&limit=2")).await;
    assert_eq!(versions(&first), ["V3", "V2"]);
    let marker = first.body["page"]["marker"].as_str().unwrap();
    let rest = server.get(&format!("{path}&limit=2&marker={marker}")).await;
    assert_eq!(versions(&rest), ["V1"]);
    for (query, want) in [("&version=V2", vec!["V2"]), ("&product_id=p2", vec![])] {
        let found = server.get(&format!("{path}{query}")).await;
        assert_eq!(versions(&found), want, "{query}");
    }
    let missing = server.get(OTA).await;
    assert!(
        missing.error().2.starts_with("package_type: is missing"),
        "{:?}",
        missing.body
    );
}

struct Running(PackageId);

impl InUse for Running {
    fn task_of(&self, package: &PackageId) -> Option<TaskId> {
        (*package == self.0).then(|| TaskId::parse("task-7").unwrap())
    }
}

#[tokio::test]
async fn a_package_in_use_stays_and_a_product_takes_its_packages_along() {
    let server = Server::start().with_product().await;
    let made = firmware(&server, "V1", b"one").await;
    let id = made.body["package_id"].as_str().unwrap();
    let used = Running(PackageId::parse(id).unwrap());
    server.app.packages.set_in_use(Arc::new(used));
    let refused = server.delete(&format!("{OTA}/{id}")).await;
    let want =
        format!("package_id: package {id} is used by the running task task-7; stop it first");
    assert_eq!(refused.error(), (409, "IOTDA.000006", want.as_str()));
    assert_eq!(server.delete("/v5/iot/x/products/p1").await.status, 204);
    assert_eq!(server.get(&format!("{OTA}/{id}")).await.status, 404);
    assert_eq!(files(&server), [""; 0]);
    assert_eq!(server.store.packages().unwrap(), []);
    // What the version means outlives the product.
    let server = server.with_product().await;
    assert_eq!(firmware(&server, "V1", b"two").await.status, 409);
    assert_eq!(firmware(&server, "V1", b"one").await.status, 201);
}

/// Uploads that a crash cut short, and files whose records were never written.
#[tokio::test]
async fn what_a_crash_leaves_is_gone_at_the_next_start() {
    let server = Server::start().with_product().await;
    let kept = firmware(&server, "V1", b"one").await;
    let dir = server.data.path().join("packages");
    std::fs::write(dir.join(".upload-0123456789abcdef"), b"half").unwrap();
    std::fs::write(dir.join("0".repeat(64)), b"no row names it").unwrap();
    assert_eq!(files(&server).len(), 3);
    let server = next(&server);
    assert_eq!(files(&server), [kept.body["sha256"].as_str().unwrap()]);
    // A body that breaks off leaves nothing at all.
    let pieces = futures_util::stream::iter([
        Ok(bytes::Bytes::from_static(b"a part")),
        Err(std::io::Error::other("gone")),
    ]);
    let path = "/v1/packages?package_type=firmwarePackage&product_id=p1&version=V2";
    let request = Request::put(path).body(Body::from_stream(pieces)).unwrap();
    let broken = server.send(request).await;
    assert_eq!(broken.error(), (400, "IOTDA.000008", "the body broke off"));
    assert_eq!(files(&server).len(), 1);
    // A commit that fails takes its file along.
    server
        .store
        .faults()
        .fail_next(1, &strait::store::StoreError::Full { free: 0, need: 1 });
    assert_eq!(firmware(&server, "V3", b"three").await.status, 503);
    assert_eq!(files(&server).len(), 1);
    assert_eq!(firmware(&server, "V3", b"three").await.status, 201);
}

#[tokio::test]
async fn an_unknown_package_is_404() {
    let server = Server::over(Arc::new(MemoryStore::new()));
    for path in [format!("{OTA}/none"), "/v1/packages/none".to_owned()] {
        let answer = server.get(&path).await;
        assert_eq!(answer.error().0, 404, "{path}");
        assert_eq!(answer.error().2, "package_id: there is no package none");
    }
}
