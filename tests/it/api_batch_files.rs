//! `…/batchtask-files`, and tasks made from files.

use axum::body::Body;
use axum::http::Request;
use rust_xlsxwriter::Workbook;
use serde_json::json;

use crate::api::{Answer, Server};
use crate::api_batch::{PATH, create, start, until_status};

const FILES: &str = "/v5/iot/x/batchtask-files";

async fn upload(server: &Server, part: &str, name: &str, bytes: &[u8]) -> Answer {
    let head = format!(
        "--edge\r\nContent-Disposition: form-data; name=\"{part}\"; filename=\"{name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    let body = [head.as_bytes(), bytes, b"\r\n--edge--\r\n"].concat();
    let request = Request::post(FILES).header("content-type", "multipart/form-data; boundary=edge");
    server.send(request.body(Body::from(body)).unwrap()).await
}

async fn kept(server: &Server, name: &str, bytes: &[u8]) -> String {
    let answer = upload(server, "file", name, bytes).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.body["file_name"], name);
    answer.body["file_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_wrong_row_fails_and_says_which() {
    let server = start().await;
    let text = "\u{feff}node_id;product_id;secret;secure_access;timeout\n\
                n1;p1;0011223344556677;true;60\n\
                n2;p1;short;;\n\
                n3;nowhere;;;\n\
                ;;;;\n\
                n1;p1;;;soon\n";
    let file = kept(&server, "fleet.csv", text.as_bytes()).await;
    let id = create(
        &server,
        &json!({"task_name": "fleet", "task_type": "createDevices", "document_source": file}),
    )
    .await;
    let done = until_status(&server, &id, "PartialSuccess").await;
    assert_eq!(done["batchtask"]["document_source"], json!(null));
    let details = done["task_details"].as_array().unwrap();
    let shown: Vec<_> = details
        .iter()
        .rev()
        .map(|d| {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or("").to_owned();
            let error = &d["error"];
            (
                text(&d["target"]),
                text(&error["error_code"]),
                text(&error["error_msg"]),
            )
        })
        .collect();
    assert_eq!(shown.len(), 4);
    assert_eq!(shown[0], ("p1_n1".into(), String::new(), String::new()));
    let want = [
        (
            "row 3",
            "IOTDA.000006",
            "row 3: auth_info.secret: got 5 characters",
        ),
        (
            "nowhere_n3",
            "IOTDA.009002",
            "product_id: there is no product nowhere",
        ),
        (
            "row 6",
            "IOTDA.000006",
            "row 6: auth_info.timeout: got text, takes a whole number",
        ),
    ];
    for (got, want) in shown[1..].iter().zip(want) {
        assert_eq!(
            (got.0.as_str(), got.1.as_str()),
            (want.0, want.1),
            "{got:?}"
        );
        assert!(got.2.contains(want.2), "{got:?}");
    }
    let device = server.get("/v5/iot/x/devices/p1_n1").await.body;
    assert_eq!(device["auth_info"]["secret"], "0011223344556677");
    assert_eq!(device["auth_info"]["timeout"], 60);
    // What was wrong stays so; what may go better is tried again.
    let body = json!({"targets": ["row 3"]});
    let refused = server.post(&format!("{PATH}/{id}/retry"), &body).await;
    assert_eq!(refused.status, 400, "a row is no device id: {refused:?}");
}

#[tokio::test]
async fn a_workbook_with_the_guides_headings_is_read() {
    let server = start().await;
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    for (column, name) in (0..).zip(["nodeId*", "name", "productId", "psk", "secure"]) {
        sheet.write(0, column, name).unwrap();
    }
    sheet.write(1, 0, 867_725_038_317_248_i64).unwrap();
    sheet.write(1, 1, "Cellar").unwrap();
    sheet.write(1, 2, "p1").unwrap();
    sheet.write(1, 3, "12345678").unwrap();
    sheet.write(1, 4, "DTLS").unwrap();
    let file = kept(
        &server,
        "BatchCreateDevices.xlsx",
        &book.save_to_buffer().unwrap(),
    )
    .await;
    let body = json!({"task_name": "x", "task_type": "createDevices", "document_source": file});
    let id = create(&server, &body).await;
    // The task needs its file no more.
    assert_eq!(server.delete(&format!("{FILES}/{file}")).await.status, 204);
    until_status(&server, &id, "Success").await;
    let device = server
        .get("/v5/iot/x/devices/p1_867725038317248")
        .await
        .body;
    assert_eq!(device["device_name"], "Cellar");
    assert_eq!(device["auth_info"]["secure_access"], true);
    let gone = server.post(PATH, &body).await;
    assert!(gone.error().2.contains("there is no file"), "{gone:?}");
}

#[tokio::test]
async fn a_file_says_what_each_device_becomes() {
    let server = start().await;
    for node in ["n1", "n2"] {
        server.device(node).await;
    }
    let text = b"device_id,device_name\np1_n1,first\np1_n2,\n";
    let file = kept(&server, "names.csv", text).await;
    let body = json!({"task_name": "names", "task_type": "updateDevices",
        "document_source": file, "document": {"device_name": "other", "description": "both"}});
    let id = create(&server, &body).await;
    until_status(&server, &id, "Success").await;
    for (id, name) in [("p1_n1", "first"), ("p1_n2", "other")] {
        let device = server.get(&format!("/v5/iot/x/devices/{id}")).await.body;
        assert_eq!(
            (&device["device_name"], &device["description"]),
            (&json!(name), &json!("both"))
        );
    }
}

#[tokio::test]
async fn files_are_refused_with_the_reason() {
    let server = start().await;
    let large = vec![b'a'; 4 * 1024 * 1024 + 1];
    let huge = vec![b'a'; 5 * 1024 * 1024];
    let cases: [(&str, &str, &[u8], u16, &str); 6] = [
        ("other", "a.csv", b"x", 400, "file: is missing"),
        ("file", "", b"x", 400, "file: its name has 0 characters"),
        (
            "file",
            "a.csv",
            b"\xff\xfe",
            400,
            "is neither an xlsx workbook nor CSV",
        ),
        ("file", "a.csv", b"", 400, "file: is empty"),
        (
            "file",
            "a.csv",
            &large,
            413,
            "file: has 4194305 bytes, takes up to 4194304",
        ),
        ("file", "a.csv", &huge, 413, "the body is too large"),
    ];
    for (part, name, bytes, status, want) in cases {
        let answer = upload(&server, part, name, bytes).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.error().2.contains(want), "{answer:?}, want {want}");
    }
    let plain = server.post(FILES, &json!({})).await;
    assert!(
        plain.error().2.contains("takes multipart/form-data"),
        "{plain:?}"
    );
    assert_eq!(server.get(FILES).await.body, json!({"files": []}));
    assert_eq!(server.delete(&format!("{FILES}/none")).await.status, 404);

    let tables = [
        (
            "node_id,product_id,colour\nn,p1,red\n",
            "the file has the column \"colour\", takes node_id",
        ),
        ("node_id\nn\n", "the file has no column product_id"),
        (
            "node_id,product_id,nodeId\nn,p1,m\n",
            "the file has two columns for \"nodeId\"",
        ),
        ("node_id,product_id\n", "document_source: got 0 targets"),
    ];
    for (text, want) in tables {
        let file = kept(&server, "a.csv", text.as_bytes()).await;
        let body = json!({"task_name": "x", "task_type": "createDevices", "document_source": file});
        let answer = server.post(PATH, &body).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.error().2.contains(want), "{answer:?}, want {want}");
    }
    let listed = server.get(FILES).await.body;
    assert_eq!(listed["files"].as_array().unwrap().len(), tables.len());
}
