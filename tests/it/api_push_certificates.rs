//! `/v1/push-certificates`: CA certificates of subscribers, made for each test.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use rcgen::date_time_ymd;
use serde_json::{Value, json};

use crate::api::{Answer, Server};
use crate::api_certificates::{Ca, params};
use crate::api_rules::{made, new_action};

const PATH: &str = "/v1/push-certificates";
const PEM: &str = "application/x-pem-file";

async fn put(server: &Server, media: &str, body: impl Into<Body>) -> Answer {
    let request = Request::put(PATH).header("content-type", media);
    server.send(request.body(body.into()).unwrap()).await
}

#[tokio::test]
async fn certificates_are_taken_once_shown_and_deleted() {
    let server = Server::start();
    let ca = Ca::named("Subscribers CA");
    let first = put(&server, PEM, ca.pem.clone()).await;
    assert_eq!(first.status, 201, "{:?}", first.body);
    let id = first.body["cert_id"].as_str().unwrap().to_owned();
    let want = json!({"cert_id": id, "cn_name": "Subscribers CA",
        "effective_date": "20260101T000000Z", "expiry_date": "20270101T000000Z"});
    assert_eq!(first.body, want);

    // The same certificate, written otherwise: what is kept is what came first.
    let server = Server::over(Arc::clone(&server.store));
    let again = put(
        &server,
        "text/plain; charset=utf-8",
        format!("A CA:\n{}\n", ca.pem),
    )
    .await;
    assert_eq!((again.status.as_u16(), &again.body), (200, &want));
    let mut whole = want.clone();
    whole["content"] = json!(ca.pem);
    let one = format!("{PATH}/{id}");
    assert_eq!(server.get(&one).await.body, whole);

    // Together they are something else, valid while all of them are.
    let mut later = params("Next CA", true);
    (later.not_before, later.not_after) = (date_time_ymd(2026, 6, 1), date_time_ymd(2030, 1, 1));
    let both = format!("{}{}", ca.pem, Ca::new(later).pem);
    let both = put(&server, "application/pem-certificate-chain", both).await;
    assert_eq!(both.status, 201, "{:?}", both.body);
    assert_eq!(both.body["effective_date"], "20260601T000000Z");
    assert_eq!(both.body["expiry_date"], "20270101T000000Z");
    let list = server.get(PATH).await.body;
    assert_eq!(list["certificates"], json!([both.body, want]));
    assert_eq!(list["page"]["count"], 2);
    let marker = server.get(&format!("{PATH}?limit=1")).await.body;
    let marker = marker["page"]["marker"].as_str().unwrap().to_owned();
    let next = server
        .get(&format!("{PATH}?limit=1&marker={marker}"))
        .await
        .body;
    assert_eq!(next["certificates"], json!([want]));

    assert_eq!(server.delete(&one).await.status, 204);
    for gone in [server.get(&one).await, server.delete(&one).await] {
        let want = format!("cert_id: there is no certificate {id}");
        assert_eq!(gone.error(), (404, "IOTDA.000006", want.as_str()));
    }
    assert_eq!(put(&server, PEM, ca.pem).await.status, 201);
}

#[tokio::test]
async fn a_certificate_stays_while_an_action_names_it() {
    let server = Server::start();
    let answer = put(&server, PEM, Ca::named("CA").pem).await;
    let id = answer.body["cert_id"].as_str().unwrap().to_owned();
    let rule = json!({"subject": {"resource": "device", "event": "create"}});
    let rule = made(&server, "/v5/iot/x/routing-rule/rules", &rule, "rule_id").await;
    let mut body = new_action(&rule, "https://h/");
    body["channel_detail"]["http_forwarding"]["cert_id"] = json!(id);
    let path = "/v5/iot/x/routing-rule/actions";
    let action = made(&server, path, &body, "action_id").await;
    let one = format!("{PATH}/{id}");
    let used = server.delete(&one).await;
    let want = format!("cert_id: {id} is in use, first take it out of the actions {action}");
    assert_eq!(used.error(), (400, "IOTDA.000006", want.as_str()));

    // Only with https is it of use.
    let http = |more: Value| json!({"channel_detail": {"http_forwarding": more}});
    let action = format!("{path}/{action}");
    let plain = server
        .put(&action, &http(json!({"url": "http://h/"})))
        .await;
    let want = "channel_detail.http_forwarding.cert_id: is of no use with an http URL";
    assert!(plain.error().2.starts_with(want), "{:?}", plain.body);
    let away = http(json!({"url": "http://h/", "cert_id": ""}));
    let away = server.put(&action, &away).await;
    assert_eq!(away.status, 200, "{:?}", away.body);
    assert_eq!(
        away.body["channel_detail"]["http_forwarding"]["cert_id"],
        json!(null)
    );
    assert_eq!(server.delete(&one).await.status, 204);
}

#[tokio::test]
async fn what_is_no_ca_certificate_is_refused() {
    let server = Server::start();
    let ca = Ca::named("CA");
    let mut old = params("old", true);
    old.not_after = date_time_ymd(2026, 2, 1);
    let old = Ca::new(old).pem;
    let leaf = ca.sign(params("leaf", false));
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let many = ca.pem.repeat(11);
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        (
            PEM,
            Vec::new(),
            400,
            "body: got 0 PEM certificates, takes 1 to 10",
        ),
        (
            PEM,
            "hello".into(),
            400,
            "body: got 0 PEM certificates, takes 1 to 10",
        ),
        (
            PEM,
            many.into(),
            400,
            "body: got 11 PEM certificates, takes 1 to 10",
        ),
        (
            PEM,
            key.clone().into(),
            400,
            "body: got a PEM block \"PRIVATE KEY\"",
        ),
        (
            PEM,
            format!("{}{key}", ca.pem).into(),
            400,
            "body: got a PEM block \"PRIVATE KEY\"",
        ),
        (
            PEM,
            leaf.clone().into(),
            400,
            "body: is no CA's certificate",
        ),
        (
            PEM,
            format!("{}{leaf}", ca.pem).into(),
            400,
            "body: is no CA's certificate",
        ),
        (PEM, old.into(), 400, "body: expired at 20260201T000000Z"),
        (
            PEM,
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec(),
            400,
            "body: is no X.509 certificate",
        ),
        (
            PEM,
            b"-----BEGIN CERTIFICATE-----\nAAAA\n".to_vec(),
            400,
            "body: is no PEM",
        ),
        (
            PEM,
            vec![0xff, 0xfe],
            400,
            "the body is not UTF-8, takes PEM",
        ),
        (
            PEM,
            vec![b'a'; 160 * 1024 + 1],
            413,
            "the body is too large, takes up to 163840",
        ),
        (
            "application/json",
            ca.pem.clone().into(),
            415,
            "Content-Type: got \"application/json\"",
        ),
        (
            "nonsense",
            ca.pem.clone().into(),
            415,
            "Content-Type: got what can't be read",
        ),
        (
            "text/plain; charset=utf-16",
            ca.pem.clone().into(),
            415,
            "Content-Type: got another charset than UTF-8",
        ),
    ];
    for (media, body, status, want) in cases {
        let got = put(&server, media, body).await;
        assert_eq!(got.error().0, status, "{}\nwant {want}", got.error().2);
        assert!(
            got.error().2.starts_with(want),
            "{}\nwant {want}",
            got.error().2
        );
    }
    let request = Request::put(PATH).body(Body::from(ca.pem)).unwrap();
    let untyped = server.send(request).await;
    assert_eq!(untyped.error().0, 415);
    assert_eq!(server.get(PATH).await.body["page"]["count"], 0);
}

#[tokio::test]
async fn there_are_a_hundred_at_most() {
    let server = Server::start();
    for at in 0..100 {
        let pem = Ca::named(&format!("CA {at}")).pem;
        assert_eq!(put(&server, PEM, pem).await.status, 201);
    }
    let full = put(&server, PEM, Ca::named("one more").pem).await;
    let want = "server: has 100 push certificates, delete one first";
    assert_eq!(full.error(), (400, "IOTDA.000006", want));
}
