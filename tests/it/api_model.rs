//! `/v1/products/import` and `/export`: model packages over HTTP.

use std::io::{Cursor, Write};
use std::path::PathBuf;

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};
use tower::ServiceExt;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::api::{Answer, Server, meter_product, with};

const IMPORT: &str = "/v1/products/import";

/// The files of a folder of `fixtures/model`, as a package.
fn package(name: &str) -> Vec<u8> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/model")).join(name);
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let inside = path.strip_prefix(&root).unwrap().to_str().unwrap();
            writer
                .start_file(inside, SimpleFileOptions::default())
                .unwrap();
            writer.write_all(&std::fs::read(&path).unwrap()).unwrap();
        }
    }
    writer.finish().unwrap().into_inner()
}

async fn import(server: &Server, query: &str, media: &str, body: Vec<u8>) -> Answer {
    let request = Request::post(format!("{IMPORT}{query}")).header("content-type", media);
    server.send(request.body(Body::from(body)).unwrap()).await
}

async fn export(server: &Server, id: &str) -> Vec<u8> {
    let path = format!("/v1/products/{id}/export");
    let request = Request::get(path).body(Body::empty()).unwrap();
    let answer = server.router.clone().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/zip");
    let want = format!("attachment; filename=\"{id}.zip\"");
    assert_eq!(answer.headers()["content-disposition"], want.as_str());
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await;
    body.unwrap().to_vec()
}

fn form(files: &[(&str, &[u8])]) -> (String, Vec<u8>) {
    let mut body =
        b"--edge\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhi\r\n".to_vec();
    for (name, bytes) in files {
        let head = format!(
            "--edge\r\nContent-Disposition: form-data; name=\"f\"; filename=\"{name}\"\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--edge--\r\n");
    ("multipart/form-data; boundary=edge".to_owned(), body)
}

#[tokio::test]
async fn packages_of_the_field_become_products() {
    let server = Server::start();
    let nested = import(
        &server,
        "?product_id=wm",
        "application/zip",
        package("nested"),
    )
    .await;
    assert_eq!(nested.status, 201, "{:?}", nested.body);
    insta::assert_json_snapshot!("imported", nested.body);
    let shown = server.get("/v5/iot/x/products/wm").await;
    assert_eq!(shown.body, nested.body);
    let flat = import(
        &server,
        "?name=Flat",
        "application/octet-stream",
        package("flat"),
    )
    .await;
    assert_eq!(flat.status, 201, "{:?}", flat.body);
    assert_eq!(flat.body["name"], "Flat");
    let services = |answer: &Answer| answer.body["service_capabilities"].clone();
    assert_eq!(services(&flat), services(&nested));
    let (media, body) = form(&[("wm.zip", &package("flat"))]);
    let posted = import(&server, "", &media, body).await;
    assert_eq!(posted.status, 201, "{:?}", posted.body);
    assert_eq!(services(&posted), services(&nested));
}

#[tokio::test]
async fn what_is_exported_can_be_imported() {
    let server = Server::start().with_spaces(&["a"]).await;
    let body = with(
        &meter_product(),
        "/service_capabilities/0/events",
        Some(json!([{"event_type": "leak", "paras": [
            {"para_name": "since", "data_type": "DateTime"}]}])),
    );
    let made = server.post("/v5/iot/x/products", &body).await.body;
    let bytes = export(&server, "p1").await;
    assert_eq!(bytes, export(&server, "p1").await);
    let again = import(&server, "?product_id=p2&app_id=a", "application/zip", bytes).await;
    assert_eq!(again.status, 201, "{:?}", again.body);
    let mut want = made;
    want["product_id"] = json!("p2");
    want["app_id"] = json!("a");
    want["app_name"] = json!("a");
    assert_eq!(again.body, want);
    let missing = server.get("/v1/products/none/export").await;
    assert_eq!(missing.status, 404);
}

#[tokio::test]
async fn what_is_no_package_is_refused_and_leaves_nothing() {
    let server = Server::start().with_product().await;
    let good = package("flat");
    let zip = "application/zip";
    let two = form(&[("a.zip", &good), ("b.zip", &good)]);
    let none = form(&[]);
    let cases: Vec<(&str, &str, Vec<u8>, u16, &str, &str)> = vec![
        (
            "",
            zip,
            b"hello".to_vec(),
            400,
            "IOTDA.000006",
            "body: is no zip archive",
        ),
        (
            "",
            zip,
            package("broken"),
            400,
            "IOTDA.000006",
            "devicetype-capability.json: devices[0].protocolType: got \"carrier pigeon\"",
        ),
        (
            "",
            zip,
            package("broken"),
            400,
            "IOTDA.000006",
            "servicetype-capability.json: services[0].properties[1].dataType: got \"tree\"",
        ),
        (
            "?product_id=p1",
            zip,
            good.clone(),
            400,
            "IOTDA.000006",
            "there is a product p1 already",
        ),
        (
            "?product_id=a.b",
            zip,
            good.clone(),
            400,
            "IOTDA.000006",
            "product_id: has the character",
        ),
        (
            "?name=a%3Cb",
            zip,
            good.clone(),
            400,
            "IOTDA.000006",
            "name: has the character '<'",
        ),
        (
            "?app_id=none",
            zip,
            good.clone(),
            403,
            "IOTDA.001000",
            "no resource space none",
        ),
        (
            "",
            "text/plain",
            good.clone(),
            415,
            "IOTDA.000008",
            "Content-Type: got \"text/plain\"",
        ),
        (
            "",
            &two.0,
            two.1,
            400,
            "IOTDA.000006",
            "body: got two files",
        ),
        (
            "",
            &none.0,
            none.1,
            400,
            "IOTDA.000006",
            "a form without a file",
        ),
        (
            "",
            "multipart/form-data",
            good.clone(),
            400,
            "IOTDA.000008",
            "the form can't be read",
        ),
        (
            "",
            zip,
            vec![0; (1 << 20) + 1],
            413,
            "IOTDA.000008",
            "too large",
        ),
    ];
    for (query, media, body, status, code, want) in cases {
        let got = import(&server, query, media, body).await;
        let (got_status, got_code, message) = got.error();
        assert_eq!(
            (got_status, got_code),
            (status, code),
            "{query} {media}: {message}"
        );
        assert!(message.contains(want), "{query} {media}: {message}");
    }
    let listed = server.get("/v5/iot/x/products").await.body;
    assert_eq!(listed["page"]["count"], Value::from(1));
    let odd = server.call(Method::GET, IMPORT, None).await;
    assert_eq!(odd.status, 405);
}
