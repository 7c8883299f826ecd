//! Codecs in WebAssembly meet a program that was built without them: it says so wherever one turns up,
//! and how to build one that runs them.

use std::fs;

use axum::body::Body;
use axum::http::Request;
use serde_json::Value;

use crate::api::Server;
use crate::codecs::{codec, samples};

const SKIPPED: &str = "skipped: this build has no wasm, build with --features wasm";
const HOW: &str = "--features wasm";

/// Whoever asks for all codecs gets all that run, and is told of the others.
#[test]
fn among_others_it_is_skipped_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let junit = dir.path().join("junit.xml");
    let args = ["test", ".", "--junit", junit.to_str().unwrap()];
    let (code, out, err) = codec(&samples(), &args);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let line = format!("water-meter-wasm\n  {SKIPPED}\n");
    assert!(out.contains(&line), "{out}");
    let last = out.lines().last().unwrap();
    assert!(
        last.contains(" passed, 0 failed, 1 codecs skipped in "),
        "{last}"
    );
    let junit = fs::read_to_string(junit).unwrap();
    let suite = "<testsuite name=\"water-meter-wasm\" tests=\"1\" skipped=\"1\">";
    assert!(junit.contains(suite), "{junit}");
    assert!(
        junit.contains("<skipped message=\"this build has no wasm"),
        "{junit}"
    );

    let (code, out, _) = codec(&samples(), &["test", ".", "--json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["failed"]), (0, &0.into()));
    assert_eq!(json["skipped"][0]["codec"], "water-meter-wasm");
    assert_eq!(json["skipped"].as_array().unwrap().len(), 1);

    let (code, out, err) = codec(&samples(), &["check", "."]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(
        out.contains(&format!("water-meter-wasm: {SKIPPED}\n")),
        "{out}"
    );
}

/// Whoever asks for it alone gets an error, not a run of nothing.
#[test]
fn by_itself_it_is_an_error() {
    for args in [
        &["check", "water-meter-wasm"][..],
        &["test", "water-meter-wasm"],
        &["decode", "water-meter-wasm", "--hex", "00"],
        &["bench", "water-meter-wasm"],
        &["fuzz", "water-meter-wasm"],
    ] {
        let (code, out, err) = codec(&samples(), args);
        let said = out + &err;
        assert_eq!(code, 2, "{args:?}: {said}");
        assert!(
            said.contains("without WebAssembly") && said.contains(HOW),
            "{args:?}: {said}"
        );
    }
    let dir = tempfile::tempdir().unwrap();
    let (code, out, err) = codec(dir.path(), &["new", "own", "--kind", "wasm"]);
    assert_eq!((code, out.as_str()), (64, ""));
    assert!(err.contains(HOW), "{err}");
    assert!(!dir.path().join("own").exists());
}

#[tokio::test]
async fn an_upload_of_one_is_refused_with_what_to_do() {
    let server = Server::start().with_product().await;
    let source = fs::read(samples().join("water-meter-wasm/codec.wasm")).unwrap();
    let upload = || {
        Request::put("/v1/products/p1/codec")
            .header("content-type", "application/wasm")
            .body(Body::from(source.clone()))
            .unwrap()
    };
    let refused = server.send(upload()).await;
    assert_eq!(refused.status, 422, "{:?}", refused.body);
    let mistake = &refused.body["errors"][0];
    let said = mistake.to_string();
    assert!(
        said.contains("without WebAssembly") && said.contains(HOW),
        "{said}"
    );
    assert_eq!(server.get("/v1/products/p1/codec").await.status, 404);
}
