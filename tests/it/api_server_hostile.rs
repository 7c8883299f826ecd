//! The HTTP server on real sockets against clients that mean harm: bodies that trickle,
//! heads without end, requests that two readers would cut differently.

use std::time::Duration;

use strait::api::server::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::api_server::{Serving, answer, ask, serve, soon};

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

/// All that comes until the server closes.
async fn all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    drop(soon(stream.read_to_end(&mut bytes)).await);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What comes of this text, with the connection left open by the client.
async fn said(serving: &Serving, text: &[u8]) -> String {
    let mut stream = serving.connect().await;
    // The server may have closed before it read everything.
    drop(soon(stream.write_all(text)).await);
    all(&mut stream).await
}

#[tokio::test]
async fn bodies_that_trickle_are_refused() {
    let serving = serve(Settings {
        body: Duration::from_millis(200),
        ..Settings::default()
    })
    .await;
    let serving = Serving {
        server: serving.server.with_product().await,
        ..serving
    };
    let upload = "/v1/packages?package_type=firmwarePackage&product_id=p1&version=1";
    for (method, path) in [("POST", "/v5/iot/p/products"), ("PUT", upload)] {
        let mut stream = serving.connect().await;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\
             Expect: 100-continue\r\n\r\n"
        );
        // The server asks for the body.
        assert_eq!(ask(&mut stream, &head).await, Some(100), "{path}");
        let (mut reading, mut writing) = stream.split();
        let trickle = async {
            let mut pace = tokio::time::interval(Duration::from_millis(5));
            loop {
                pace.tick().await;
                if writing.write_all(b" ").await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let heard = tokio::select! {
            heard = answer(&mut reading) => heard,
            () = trickle => None,
        };
        assert_eq!(heard, Some(408), "{path}");
        // Nobody waits for the rest.
        assert_eq!(all(&mut stream).await, "", "{path}");
    }
    serving.http.stop().await;
}

#[tokio::test]
async fn heads_are_bounded() {
    let serving = serve(Settings::default()).await;
    let long = "x".repeat(70_000);
    let line = |n: usize| -> String { (0..n).map(|i| format!("X{i}: y\r\n")).collect() };
    let get = |target: &str, lines: &str| format!("GET {target} HTTP/1.1\r\n{lines}\r\n");
    let cases = [
        (
            "many bytes",
            get("/healthz", &format!("X: {long}\r\n")),
            431,
        ),
        (
            "a long name",
            get("/healthz", &format!("{long}: x\r\n")),
            431,
        ),
        ("a long target", get(&format!("/{long}"), ""), 431),
        ("a long query", get(&format!("/healthz?{long}"), ""), 431),
        ("a long method", format!("{long} / HTTP/1.1\r\n\r\n"), 431),
        (
            "no end",
            format!("GET /healthz HTTP/1.1\r\n{}", line(20_000)),
            431,
        ),
        ("101 headers", get("/healthz", &line(101)), 431),
        ("100 headers", get("/healthz", &line(100)), 200),
        (
            "a target of 60,000",
            get(&format!("/healthz?{}", &long[..60_000]), ""),
            200,
        ),
    ];
    for (what, text, want) in cases {
        let mut stream = serving.connect().await;
        drop(soon(stream.write_all(text.as_bytes())).await);
        assert_eq!(answer(&mut stream).await, Some(want), "{what}");
        if want == 431 {
            assert_eq!(all(&mut stream).await, "", "{what}: closed");
        }
    }
    serving.http.stop().await;
}

/// What one reader takes as the end of a request and another does not hides a second one. Beside what
/// `api_server` tries of it.
#[tokio::test]
async fn requests_that_can_be_cut_in_two_ways_are_refused() {
    let serving = serve(Settings::default()).await;
    let heads: [&[u8]; 20] = [
        // Two lengths.
        b"Content-Length: 5, 6\r\n\r\n",
        // Lengths that are none.
        b"Content-Length: -5\r\n\r\n",
        b"Content-Length: 0x5\r\n\r\n",
        b"Content-Length: 5 5\r\n\r\n",
        b"Content-Length: 99999999999999999999\r\n\r\n",
        b"Content-Length:\r\n\r\n",
        // Encodings that are not, or not at the end, chunked.
        b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
        // Names that are none, folded lines, bytes that others read as the end of a line.
        b" Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"X: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"X: a\r\n\tb\r\n\r\n",
        b"X: a\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"X\0: a\r\n\r\n",
        b"X\r: a\r\n\r\n",
        b"X y: a\r\n\r\n",
        b": a\r\n\r\n",
        b"X\r\n\r\n",
        // A line break of one byte is one, so what is hidden behind it is seen.
        b"X: a\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ];
    for head in heads {
        let mut text = b"POST /v5/iot/p/products HTTP/1.1\r\nHost: x\r\n".to_vec();
        text.extend_from_slice(head);
        text.extend_from_slice(HEALTH.as_bytes());
        let heard = said(&serving, &text).await;
        let head = head.escape_ascii();
        assert!(heard.starts_with("HTTP/1.1 400 "), "{head}: {heard}");
        assert_eq!(heard.matches("HTTP/1.1 ").count(), 1, "{head}: {heard}");
    }
    serving.http.stop().await;
}

/// Chunks are read as they are written, or not at all: what follows a broken one is no request.
#[tokio::test]
async fn broken_chunks_end_the_connection() {
    let serving = serve(Settings::default()).await;
    let bodies: [&[u8]; 9] = [
        b"x\r\n\r\n",
        b"-1\r\n{\r\n0\r\n\r\n",
        b"1 2\r\n{\r\n0\r\n\r\n",
        b"1\r{\r\n0\r\n\r\n",
        b"1\n{\r\n0\r\n\r\n",
        b"1;a\nb\r\n{\r\n0\r\n\r\n",
        b"1\r\n{}\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\n{\r\n0\r\n\r\n",
        b"0\r\nX: a\nb\r\n\r\n",
    ];
    for body in bodies {
        let mut text =
            b"POST /v5/iot/p/products HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                .to_vec();
        text.extend_from_slice(body);
        text.extend_from_slice(HEALTH.as_bytes());
        let heard = said(&serving, &text).await;
        let body = body.escape_ascii();
        assert!(!heard.contains("\"ok\""), "{body}: {heard}");
    }
    serving.http.stop().await;
}

#[tokio::test]
async fn requests_of_other_protocols_are_refused() {
    let serving = serve(Settings::default()).await;
    let cases: [(&[u8], &str); 6] = [
        // Closed without a word.
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""),
        (b"GET /healthz HTTP/3.0\r\nHost: x\r\n\r\n", "400"),
        (b"GET /healthz\r\n\r\n", "400"),
        (b"GET  /healthz HTTP/1.1\r\n\r\n", "400"),
        (b"GET /health\0z HTTP/1.1\r\n\r\n", "400"),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", "400"),
    ];
    for (text, want) in cases {
        let heard = said(&serving, text).await;
        let status = heard.split(' ').nth(1).unwrap_or_default();
        assert_eq!(status, want, "{}: {heard}", text.escape_ascii());
    }
    serving.http.stop().await;
}
