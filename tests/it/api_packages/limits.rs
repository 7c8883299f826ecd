//! What a package may say of itself, and how large it may be: each refusal, word for word.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use std::sync::Arc;
use strait::app::package::Settings;
use strait::store::memory::MemoryStore;

use super::{OTA, files, firmware, reference, sample, upload};
use crate::api::{Server, with};

#[tokio::test]
async fn every_limit_says_what_it_got_and_what_fits() {
    let server = Server::start().with_product().await;
    let long = "v".repeat(257);
    let many = format!("&support_source_versions={}", "1,".repeat(101));
    let text = format!("&description={}", "d".repeat(1025));
    let table: [(&str, &str, String, &str); 14] = [
        (
            "softwarePackage",
            "V12345678901234567",
            String::new(),
            "version: got 18 characters, a software version takes up to 16: PCP carries no more",
        ),
        (
            "firmwarePackage",
            &long,
            String::new(),
            "version: got 257 characters, takes 1 to 256 characters: letters, digits and _.-",
        ),
        (
            "firmwarePackage",
            "V%201",
            String::new(),
            "version: has the character ' ', takes 1 to 256 characters: letters, digits and _.-",
        ),
        (
            "firmwarePackage",
            "",
            String::new(),
            "version: got 0 characters, takes 1 to 256 characters: letters, digits and _.-",
        ),
        (
            "module",
            "V1",
            String::new(),
            "package_type: got \"module\", takes one of firmwarePackage, softwarePackage",
        ),
        (
            "softwarePackage",
            "V1",
            "&fragment_size=31".to_owned(),
            "fragment_size: got \"31\", takes a whole number from 32 to 500",
        ),
        (
            "softwarePackage",
            "V1",
            "&fragment_size=501".to_owned(),
            "fragment_size: got \"501\", takes a whole number from 32 to 500",
        ),
        (
            "firmwarePackage",
            "V1",
            "&fragment_size=500".to_owned(),
            "fragment_size: is for softwarePackage: firmware is fetched in blocks whose size the device \
          chooses; leave it out",
        ),
        (
            "softwarePackage",
            "V1",
            "&support_source_versions=V0,V0000000000000001".to_owned(),
            "support_source_versions[1]: got 17 characters, a software version takes up to 16: PCP \
          carries no more",
        ),
        (
            "firmwarePackage",
            "V1",
            many,
            "support_source_versions: got 101 versions, takes up to 100",
        ),
        (
            "firmwarePackage",
            "V1",
            text,
            "description: got 1025 characters, takes up to 1024 characters",
        ),
        (
            "firmwarePackage",
            "V1",
            "&file_name=%E5%9B%BA%E4%BB%B6.bin".to_owned(),
            "file_name: has the character '固', takes 1 to 255 characters, no Chinese ones, no control \
          characters, no / and \\",
        ),
        (
            "firmwarePackage",
            "V1",
            "&file_name=..%2Fa".to_owned(),
            "file_name: has the character '/', takes 1 to 255 characters, no Chinese ones, no control \
          characters, no / and \\",
        ),
        (
            "firmwarePackage",
            "V1",
            "&signature=AAAA".to_owned(),
            "signature: takes 64 bytes in base64: an Ed25519 signature",
        ),
    ];
    for (package_type, version, more, want) in table {
        let answer = upload(&server, package_type, version, &more, b"x").await;
        let (status, _, text) = answer.error();
        assert_eq!((status, text), (400, want));
    }
    let empty = firmware(&server, "V1", b"").await;
    assert_eq!(
        empty.error().2,
        "body: is empty, takes the bytes of the package"
    );
    let path = "/v1/packages?package_type=firmwarePackage&product_id=none&version=V1";
    let request = Request::put(path).body(Body::from("x")).unwrap();
    let none = server.send(request).await;
    assert_eq!(
        none.error(),
        (404, "IOTDA.013001", "product_id: there is no product none")
    );
    assert_eq!(files(&server), [""; 0]);
    // At the bounds.
    let longest = "v".repeat(256);
    assert_eq!(firmware(&server, &longest, b"x").await.status, 201);
    let more = "&fragment_size=32&support_source_versions=";
    let made = upload(&server, "softwarePackage", "V123456789012345", more, b"x").await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    assert_eq!(made.body["support_source_versions"], json!([]));
}

/// Counted before the body comes, where its length is told, and after it otherwise.
#[tokio::test]
async fn fragments_and_sizes_are_bounded_early_and_late() {
    let settings = Settings {
        size_max_mb: 3,
        total_max_mb: 4,
        count_max: 2,
        ..Settings::default()
    };
    let data = Arc::new(tempfile::tempdir().unwrap());
    let server = Server::with_packages(Arc::new(MemoryStore::new()), data, settings);
    let server = server.with_product().await;
    let large = sample(2_097_121);
    let many = "fragment_size: a file of 2097121 bytes makes 65536 fragments of 32 bytes, PCP counts \
                up to 65535: up to 2097120 bytes fit; fragments of 33 bytes or more fit";
    let over = "the file has 4000000 bytes, takes up to 3145728 bytes (packages.size_max_mb)";
    let more = "the file has more, takes up to 3145728 bytes (packages.size_max_mb)";
    let path =
        "/v1/packages?package_type=softwarePackage&product_id=p1&version=V1&fragment_size=32";
    for (len, told, status, want) in [
        (large.len(), true, 400, many),
        (large.len(), false, 400, many),
        (4_000_000, true, 413, over),
        (4_000_000, false, 413, more),
    ] {
        let mut request = Request::put(path);
        let body = match told {
            // Not a byte of it is read.
            true => {
                request = request.header("content-length", len);
                Body::from_stream(futures_util::stream::pending::<
                    Result<bytes::Bytes, std::io::Error>,
                >())
            }
            false => Body::from(sample(len)),
        };
        let answer = server.send(request.body(body).unwrap()).await;
        let (code, _, text) = answer.error();
        assert_eq!((code, text), (status, want));
    }
    assert_eq!(files(&server), [""; 0]);
    let fits = &large[..2_097_120];
    let made = upload(&server, "softwarePackage", "V1", "&fragment_size=32", fits).await;
    assert_eq!(made.body["fragments"], 65_535, "{:?}", made.body);
    let full = firmware(&server, "F1", &sample(2_200_000)).await;
    let want = "the files of packages: have 2097120 bytes, with 2200000 more they would exceed \
                4194304 (packages.total_max_mb); delete some";
    assert_eq!(full.error(), (400, "IOTDA.000006", want));
    assert_eq!(firmware(&server, "F1", b"small").await.status, 201);
    let want = "packages: there are 2, takes up to 2 (packages.count_max); delete some";
    assert_eq!(firmware(&server, "F2", b"small").await.error().2, want);
    let third = server
        .post(OTA, &reference("firmwarePackage", "F2", "k"))
        .await;
    assert_eq!(third.error().2, want);
    assert_eq!(files(&server).len(), 2);
}

/// The rules of the v5 operation.
#[tokio::test]
async fn references_are_checked_field_by_field() {
    let server = Server::start().with_product().await;
    let base = reference("softwarePackage", "V1", "k");
    let table = [
        (
            "/package_type",
            None,
            "package_type: is missing, takes one of firmwarePackage, softwarePackage",
        ),
        ("/product_id", None, "product_id: is missing"),
        ("/version", None, "version: is missing"),
        (
            "/version",
            Some(json!("V12345678901234567")),
            "version: got 18 characters, a software version takes up to 16",
        ),
        (
            "/module_name",
            Some(json!("mcu/1")),
            "module_name: has the character '/'",
        ),
        (
            "/custom_info",
            Some(json!("c".repeat(4097))),
            "custom_info: got 4097 characters, takes up to 4096 characters",
        ),
        (
            "/support_source_versions",
            Some(json!(["V 1"])),
            "support_source_versions[0]: has the character ' '",
        ),
        (
            "/support_source_versions",
            Some(json!("V1")),
            "support_source_versions: got text",
        ),
        ("/file_location", None, "file_location: is missing"),
        (
            "/file_location/obs_location",
            None,
            "file_location.obs_location: is missing",
        ),
        (
            "/file_location/obs_location/object_key",
            None,
            "file_location.obs_location.object_key: is missing",
        ),
        (
            "/file_location/obs_location/bucket_name",
            None,
            "file_location.obs_location.bucket_name: is missing",
        ),
        (
            "/file_location/obs_location/object_key",
            Some(json!("sha256:12")),
            "file_location.obs_location.object_key: got \"sha256:12\", takes sha256: and 64 hexadecimal digits",
        ),
    ];
    for (pointer, value, want) in table {
        let answer = server.post(OTA, &with(&base, pointer, value)).await;
        let (status, _, text) = answer.error();
        assert!(
            status == 400 && text.contains(want),
            "{pointer}: {status} {text}"
        );
    }
    let foreign = with(&base, "/app_id", Some(json!("other")));
    let answer = server.post(OTA, &foreign).await;
    let (status, code, text) = answer.error();
    assert_eq!((status, code), (403, "IOTDA.001000"), "{text}");
    let made = server
        .post("/v5/iot/x/apps", &json!({"app_name": "North"}))
        .await;
    let elsewhere = with(&base, "/app_id", Some(made.body["app_id"].clone()));
    let answer = server.post(OTA, &elsewhere).await;
    let (status, code, text) = answer.error();
    assert_eq!((status, code), (404, "IOTDA.013001"), "{text}");
    // Unknown fields are ignored, null counts as absent.
    let mut more = with(&base, "/unknown", Some(json!(1)));
    more["module_name"] = json!(null);
    assert_eq!(server.post(OTA, &more).await.status, 201);
}
