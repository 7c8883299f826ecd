//! The file of a package over HTTP: whole, by range, with a token.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::json;
use strait::app::credentials::Role;

use super::{firmware, sample, upload};
use crate::api::{Answer, Server};
use crate::api_auth::credential;

/// Status, bytes, and the headers that go with ranges.
async fn fetch(
    server: &Server,
    path: &str,
    headers: &[(&str, &str)],
) -> (u16, Vec<u8>, String, String) {
    use tower::ServiceExt;
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    let response = server.router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let text = |name: &str| {
        parts
            .headers
            .get(name)
            .map_or("", |v| v.to_str().unwrap())
            .to_owned()
    };
    let (length, range) = (text("content-length"), text("content-range"));
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    if parts.status.is_success() {
        assert_eq!(length, bytes.len().to_string());
    }
    (parts.status.as_u16(), bytes.to_vec(), range, text("etag"))
}

#[tokio::test]
async fn ranges_are_cut_out_of_the_file() {
    let server = Server::start().with_product().await;
    let bytes = sample(200_000);
    let made = firmware(&server, "V1", &bytes).await;
    let (id, hash) = (
        made.body["package_id"].as_str().unwrap(),
        made.body["sha256"].as_str().unwrap(),
    );
    let path = format!("/v1/packages/{id}/file");
    let tag = format!("\"{hash}\"");
    let whole = fetch(&server, &path, &[]).await;
    assert_eq!((whole.0, whole.2.as_str(), &whole.3), (200, "", &tag));
    assert!(whole.1 == bytes);
    let table = [
        ("bytes=0-499", 206, 0..500, "bytes 0-499/200000"),
        (
            "bytes=65000-66999",
            206,
            65_000..67_000,
            "bytes 65000-66999/200000",
        ),
        (
            "bytes=199999-",
            206,
            199_999..200_000,
            "bytes 199999-199999/200000",
        ),
        (
            "bytes=-1000",
            206,
            199_000..200_000,
            "bytes 199000-199999/200000",
        ),
        (
            "bytes=131072-900000",
            206,
            131_072..200_000,
            "bytes 131072-199999/200000",
        ),
        ("pages=1-2", 200, 0..200_000, ""),
    ];
    for (range, status, span, content_range) in table {
        let got = fetch(&server, &path, &[("range", range)]).await;
        assert_eq!(
            (got.0, got.2.as_str(), &got.3),
            (status, content_range, &tag),
            "{range}"
        );
        assert!(got.1 == bytes[span], "{range}");
    }
    for (range, want) in [
        (
            "bytes=200000-",
            "Range: begins behind the end of the file; the file has 200000 bytes",
        ),
        (
            "bytes=0-1,5-6",
            "Range: names several ranges, takes one; the file has 200000 bytes",
        ),
        (
            "bytes=x",
            "Range: takes bytes=first-last, bytes=first- or bytes=-length; the file has",
        ),
    ] {
        let got = fetch(&server, &path, &[("range", range)]).await;
        assert_eq!((got.0, got.2.as_str()), (416, "bytes */200000"), "{range}");
        let text = String::from_utf8(got.1).unwrap();
        assert!(text.contains(want), "{text}");
    }
    // A range of another file is none: all of this one comes.
    let conditions = [
        (tag.as_str(), 206),
        ("\"other\"", 200),
        ("Sun, 01 Mar 2026 12:00:00 GMT", 200),
    ];
    for (condition, status) in conditions {
        let got = fetch(
            &server,
            &path,
            &[("range", "bytes=1-2"), ("if-range", condition)],
        )
        .await;
        assert_eq!(got.0, status, "{condition}");
    }
    let known = fetch(&server, &path, &[("if-none-match", &tag)]).await;
    assert_eq!((known.0, known.1.len()), (304, 0));
    let head = server.call(Method::HEAD, &path, None).await;
    assert_eq!(
        (head.status.as_u16(), head.header("content-length")),
        (200, "200000")
    );
    assert_eq!(head.header("accept-ranges"), "bytes");
    assert_eq!(
        head.header("content-disposition"),
        "attachment; filename=\"V1\""
    );
}

/// A file is saved under its name, and a name makes no other headers or parameters of one.
#[tokio::test]
async fn a_name_stays_within_its_header() {
    let server = Server::start().with_product().await;
    let names = [
        (
            "V1",
            "a.bin%22;%20filename=%22b.exe",
            "a.bin__ filename__b.exe",
        ),
        ("V2", "%C3%A9%27%25.bin", "___.bin"),
    ];
    for (version, name, want) in names {
        let more = format!("&file_name={name}");
        let made = upload(&server, "firmwarePackage", version, &more, b"x").await;
        let id = made.body["package_id"].as_str().unwrap();
        let got = server.get(&format!("/v1/packages/{id}/file")).await;
        let said = got.header("content-disposition");
        assert_eq!(said, format!("attachment; filename=\"{want}\""));
        assert_eq!(got.header("content-type"), "application/octet-stream");
    }
    // Nothing that ends a line comes as far as that.
    let more = "&file_name=a%0D%0AX-Other:%201";
    let refused = upload(&server, "firmwarePackage", "V3", more, b"x").await;
    assert_eq!(refused.status, 400);
}

#[tokio::test]
async fn a_token_stands_for_credentials_until_its_time() {
    let server = Server::with_auth(vec![
        credential("op", Role::Operator, None),
        credential("see", Role::ReadOnly, None),
    ]);
    let ask = |token: &'static str, method: Method, path: String, body: Option<String>| {
        let server = &server;
        async move {
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header("content-type", "application/json")
                .header("x-auth-token", token);
            let body = body.map_or_else(Body::empty, Body::from);
            server.send(request.body(body).unwrap()).await
        }
    };
    let product = crate::api::meter_product().to_string();
    let made = ask(
        "token-of-op",
        Method::POST,
        "/v5/iot/x/products".to_owned(),
        Some(product),
    )
    .await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    let query = "package_type=firmwarePackage&product_id=p1&version=";
    let path = |version: &str| format!("/v1/packages?{query}{version}");
    let refused = ask(
        "token-of-see",
        Method::PUT,
        path("V1"),
        Some("x".to_owned()),
    )
    .await;
    assert_eq!(refused.error().0, 403);
    let one = ask(
        "token-of-op",
        Method::PUT,
        path("V1"),
        Some("one".to_owned()),
    )
    .await;
    let two = ask(
        "token-of-op",
        Method::PUT,
        path("V2"),
        Some("two".to_owned()),
    )
    .await;
    let id = |answer: &Answer| answer.body["package_id"].as_str().unwrap().to_owned();
    let (one, two) = (id(&one), id(&two));
    let body = json!({"expires_s": 60}).to_string();
    let link = ask(
        "token-of-see",
        Method::POST,
        format!("/v1/packages/{one}/token"),
        Some(body),
    )
    .await;
    assert_eq!(link.status, 200, "{:?}", link.body);
    assert_eq!(link.body["expires_time"], "20260301T120100Z");
    let (link, token) = (
        link.body["path"].as_str().unwrap(),
        link.body["token"].as_str().unwrap(),
    );
    assert_eq!(fetch(&server, link, &[]).await.1, b"one");
    let ranged = fetch(&server, link, &[("range", "bytes=1-1")]).await;
    assert_eq!((ranged.0, ranged.1.as_slice()), (206, &b"n"[..]));
    assert_eq!(
        fetch(&server, &format!("/v1/packages/{one}/file"), &[])
            .await
            .0,
        401
    );
    let signed_in = ask(
        "token-of-see",
        Method::GET,
        format!("/v1/packages/{one}/file"),
        None,
    )
    .await;
    assert_eq!(signed_in.status, 200);
    // Of another package, changed, and too late. Of what is not there, nothing is told.
    for (package, token) in [
        (&two, token),
        (&one, "1.00"),
        (&one, ""),
        (&"none".to_owned(), token),
    ] {
        let got = server
            .get(&format!("/v1/packages/{package}/file?token={token}"))
            .await;
        assert_eq!(
            got.error(),
            (403, "IOTDA.000004", "token: is none of this package's"),
            "{token}"
        );
    }
    // A token opens nothing else.
    assert_eq!(
        server
            .get(&format!("/v1/packages/{one}?token={token}"))
            .await
            .status,
        401
    );
    server.clock.advance(std::time::Duration::from_secs(60));
    let late = server.get(link).await;
    assert_eq!(late.error(), (403, "IOTDA.000004", "token: has expired"));
}
