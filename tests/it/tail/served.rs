//! The real server inside the test, over TLS and with credentials.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use serde_json::Value;
use strait::api::server::tls::Tls;
use strait::api::server::{Server as HttpServer, Settings};
use strait::app::credentials::Role;
use strait::base::secret::Secret;
use strait::base::time::Timestamp;
use strait::cli::tail::{Endpoint, Start};
use strait::store::records::{EnvelopeRecord, EventRecord};
use strait::store::{Change, Expiry, Store};
use tokio::net::TcpListener;

use super::hear;
use crate::api::{NOW, Server};
use crate::api_auth::credential;

/// A commit with these events, of the default space.
async fn emit(server: &Server, names: &[&str]) {
    let envelope = |name: &&str| EnvelopeRecord {
        resource: "device.property".into(),
        event: "report".into(),
        device_id: None,
        json: format!("{{\"n\":\"{name}\"}}"),
        app_id: None,
    };
    let record = EventRecord {
        at: Timestamp::parse(NOW).unwrap(),
        envelopes: names.iter().map(envelope).collect(),
    };
    server.write(vec![Change::Emit(Box::new(record))]).await;
}

/// Emits events for as long as somebody listens: one of them comes after he began.
async fn while_emitting<T>(server: &Server, name: &str, listening: impl Future<Output = T>) -> T {
    let emitting = async {
        let mut wait = tokio::time::interval(Duration::from_millis(5));
        loop {
            wait.tick().await;
            emit(server, &[name]).await;
        }
    };
    tokio::select! {
        heard = listening => heard,
        () = emitting => unreachable!(),
    }
}

fn names(events: &[String]) -> Vec<String> {
    let parsed = events
        .iter()
        .map(|e| serde_json::from_str::<Value>(e).unwrap());
    parsed
        .map(|e| e["n"].as_str().unwrap_or("-").to_owned())
        .collect()
}

#[tokio::test]
async fn a_reader_with_a_token_and_a_ca_hears_everything() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (dir.path().join("cert"), dir.path().join("key"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let server = Server::with_auth(vec![credential("reader", Role::ReadOnly, None)]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    let settings = Settings {
        tls: Some(Arc::new(Tls::load(&cert, &key).unwrap())),
        ..Settings::default()
    };
    let http = HttpServer::start(server.app.clone(), listener, settings);
    let endpoint = |token: &str, pem: &str| {
        let token = Some(Secret::new(token.to_owned()));
        Endpoint::new(&url, Some(pem), token).ok().unwrap()
    };
    let good = endpoint("token-of-reader", &made.cert.pem());
    emit(&server, &["a"]).await;
    emit(&server, &["b", "c"]).await;
    let (told, outcome) = hear(&good, Start::After(1), 2).await;
    assert_eq!(
        (names(&told.events), outcome),
        (vec!["b".into(), "c".into()], Ok(()))
    );
    // Who begins now hears nothing of old.
    let told = while_emitting(&server, "d", hear(&good, Start::Now, 2))
        .await
        .0;
    assert_eq!(names(&told.events), ["d", "d"]);
    let cases = [
        (
            endpoint("another-token-entirely", &made.cert.pem()),
            "refused",
            "answered 40",
        ),
        (
            endpoint("token-of-reader", &other.cert.pem()),
            "unreachable",
            "TLS: ",
        ),
    ];
    for (endpoint, kind, said) in cases {
        let (_, outcome) = hear(&endpoint, Start::Now, 1).await;
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
    http.stop().await;
}

#[tokio::test]
async fn a_reader_who_was_away_for_too_long_is_told() {
    let server = Server::start();
    for name in ["a", "b", "c", "d"] {
        emit(&server, &[name]).await;
    }
    let all = Timestamp::parse(NOW).unwrap().plus_s(1);
    let expiry = Expiry {
        history_before: all,
        raw_before: all,
        events_before: all,
        audit_before: all,
        commands_before: all,
    };
    server.store.expire(&expiry, 2).unwrap();
    assert_eq!(
        server.store.events(0, 9).unwrap().len(),
        2,
        "two are thrown away"
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let http = HttpServer::start(server.app.clone(), listener, Settings::default());
    let endpoint = Endpoint::new(&url, None, None).ok().unwrap();
    let cases: [(u64, &[&str], &[&str]); 3] = [
        (1, &["c", "d"], &["events 2 to 2 are no longer kept"]),
        (2, &["c", "d"], &[]),
        (0, &["c", "d"], &[]),
    ];
    for (after, want, notes) in cases {
        let (told, outcome) = hear(&endpoint, Start::After(after), 2).await;
        assert_eq!(outcome, Ok(()));
        assert_eq!(names(&told.events), want, "{after}");
        assert_eq!(told.notes, notes, "{after}");
    }
    // Ahead of all there is.
    let told = while_emitting(&server, "e", hear(&endpoint, Start::After(99), 1))
        .await
        .0;
    assert_eq!(names(&told.events), ["e"]);
    assert!(told.notes[0].contains("not yet 99"), "{:?}", told.notes);
    let answer = server.call(Method::GET, "/v1/events?from=x", None).await;
    assert_eq!(answer.status, 400);
    http.stop().await;
}
