//! `…/certificates`: CA certificates of devices, with certificates made for each test.

use axum::http::Method;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use serde_json::{Value, json};

use crate::api::Server;

const PATH: &str = "/v5/iot/x/certificates";

pub(crate) fn params(name: &str, is_ca: bool) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params
}

/// A CA with its key.
pub(crate) struct Ca {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    pub(crate) fn new(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn named(name: &str) -> Self {
        Self::new(params(name, true))
    }

    /// A device's certificate.
    pub(crate) fn sign(&self, params: CertificateParams) -> String {
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &self.issuer).unwrap().pem()
    }
}

#[tokio::test]
async fn a_certificate_is_taken_verified_changed_and_deleted() {
    let server = Server::start();
    let mut made = params("Devices CA", true);
    made.distinguished_name
        .push(DnType::OrganizationName, "Acme");
    let ca = Ca::new(made);
    let made = server.post(PATH, &json!({"content": ca.pem, "x": 1})).await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    let (id, code) = (
        made.body["certificate_id"].as_str(),
        made.body["verify_code"].as_str(),
    );
    let (id, code) = (id.unwrap(), code.unwrap());
    assert_eq!((id.len(), code.len()), (24, 32));
    let want = json!({"certificate_id": id, "cn_name": "Devices CA", "owner": "Acme",
        "status": false, "verify_code": code, "provision_enable": false, "template_id": null,
        "ocsp_enable": false, "ocsp_server_ca_id": null, "ocsp_ssl_enable": false,
        "create_date": "20260301T120000Z", "effective_date": "20260101T000000Z",
        "expiry_date": "20270101T000000Z"});
    assert_eq!(made.body, want);

    let one = format!("{PATH}/{id}");
    let action = format!("{one}/action?action_id=verify");
    let other = Ca::named("Devices CA");
    let mut late = params(code, false);
    late.not_after = date_time_ymd(2026, 2, 1);
    let proofs: Vec<(String, &str)> = vec![
        (
            ca.sign(params("another", false)),
            "verify_content: got the common name \"another\"",
        ),
        (
            Ca::named("Other").sign(params(code, false)),
            "verify_content: is issued by another CA",
        ),
        (
            ca.sign(late),
            "verify_content: is valid from 20260101T000000Z to 20260201T000000Z",
        ),
        ("junk".into(), "verify_content: got 0 PEM certificates"),
        (
            format!("{}{}", ca.pem, ca.pem),
            "verify_content: got 2 PEM certificates",
        ),
    ];
    for (proof, want) in proofs {
        let got = server
            .post(&action, &json!({"verify_content": proof}))
            .await;
        let (status, code, message) = got.error();
        assert_eq!((status, code), (400, "IOTDA.000006"), "{message}");
        assert!(message.contains(want), "{message}\nwant {want}");
    }
    // The same names, another key: only the signature tells.
    let mut same = params("Devices CA", true);
    same.distinguished_name
        .push(DnType::OrganizationName, "Acme");
    let forged = Ca::new(same).sign(params(code, false));
    let got = server
        .post(&action, &json!({"verify_content": forged}))
        .await;
    assert!(
        got.error()
            .2
            .contains("is not signed with the key of this CA"),
        "{:?}",
        got.body
    );
    assert_eq!(server.get(&one).await.body["status"], false);

    let proof = ca.sign(params(code, false));
    let no_action = server
        .post(&format!("{one}/action"), &json!({"verify_content": proof}))
        .await;
    assert_eq!(no_action.error().0, 400);
    assert!(
        no_action
            .error()
            .2
            .contains("action_id: is missing, takes verify")
    );
    let done = server
        .post(&action, &json!({"verify_content": proof}))
        .await;
    assert_eq!((done.status.as_u16(), done.body), (200, Value::Null));
    assert_eq!(
        server
            .post(&action, &json!({"verify_content": proof}))
            .await
            .status,
        200
    );

    let patch = json!({"provision_enable": true, "template_id": "t1", "ocsp_enable": true,
        "ocsp_ssl_enable": true, "ocsp_server_ca_id": "o1"});
    let changed = server.put(&one, &patch).await;
    assert_eq!(changed.status, 200);
    let mut want = want;
    want["status"] = json!(true);
    for (name, value) in patch.as_object().unwrap() {
        want[name] = value.clone();
    }
    assert_eq!(changed.body, want);
    assert_eq!(server.put(&one, &json!({})).await.body, want);
    let listed = server.get(PATH).await.body;
    assert_eq!(listed["certificates"], json!([want]));
    want["name"] = json!(null);
    want["content"] = json!(ca.pem);
    assert_eq!(server.get(&one).await.body, want);

    let again = server
        .post(PATH, &json!({"content": format!("\n{}\n", ca.pem)}))
        .await;
    assert!(
        again
            .error()
            .2
            .contains("content: the resource space default has this certificate")
    );
    assert_eq!(
        server
            .post(PATH, &json!({"content": other.pem}))
            .await
            .status,
        201
    );
    assert_eq!(server.delete(&one).await.status, 204);
    for (method, path) in [
        (Method::GET, &one),
        (Method::DELETE, &one),
        (Method::PUT, &one),
    ] {
        let gone = server.call(method, path, Some(&json!({}))).await;
        assert_eq!(gone.status, 404);
        assert!(
            gone.error()
                .2
                .starts_with("certificate_id: there is no certificate")
        );
    }
    assert_eq!(
        server.post(PATH, &json!({"content": ca.pem})).await.status,
        201
    );
}

#[tokio::test]
async fn what_is_no_ca_certificate_is_refused() {
    let server = Server::start();
    let ca = Ca::named("CA");
    let mut old = params("old", true);
    old.not_after = date_time_ymd(2026, 2, 1);
    let key = KeyPair::generate().unwrap().serialize_pem();
    let mut bent = ca.pem.clone();
    let at = bent.rfind("-----END").unwrap() - 12;
    let letter = if bent.as_bytes()[at] == b'A' {
        "B"
    } else {
        "A"
    };
    bent.replace_range(at..=at, letter);
    let long = format!("{}{}", ca.pem, " ".repeat(16 * 1024));
    let cases: Vec<(Value, &str)> = vec![
        (
            json!({}),
            "content: is missing, takes text of 1 to 16384 characters",
        ),
        (json!({"content": null}), "content: is missing"),
        (json!({"content": 1}), "content: got the number 1"),
        (json!({"content": ""}), "content: got 0 characters"),
        (json!({"content": long}), "content: got"),
        (
            json!({"content": "hello"}),
            "content: got 0 PEM certificates, takes one",
        ),
        (
            json!({"content": key}),
            "content: got a PEM block \"PRIVATE KEY\"",
        ),
        (
            json!({"content": format!("{0}{0}", ca.pem)}),
            "content: got 2 PEM certificates",
        ),
        (
            json!({"content": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}),
            "content: is no X.509 certificate",
        ),
        (
            json!({"content": ca.sign(params("leaf", false))}),
            "content: is no CA's certificate",
        ),
        (
            json!({"content": Ca::new(old).pem}),
            "content: expired at 20260201T000000Z",
        ),
        (json!({"content": bent}), "content: is"),
        (
            json!({"content": ca.pem, "app_id": "a b"}),
            "app_id: has the character ' '",
        ),
    ];
    for (body, want) in cases {
        let got = server.post(PATH, &body).await;
        let (status, code, message) = got.error();
        assert_eq!((status, code), (400, "IOTDA.000006"), "{message}");
        assert!(message.contains(want), "{message}\nwant {want}");
    }
    let unknown = server
        .post(PATH, &json!({"content": ca.pem, "app_id": "none"}))
        .await;
    assert_eq!(
        (unknown.error().0, unknown.error().1),
        (403, "IOTDA.001000")
    );
    assert_eq!(server.get(PATH).await.body["page"]["count"], 0);
}

#[tokio::test]
async fn a_space_holds_a_hundred() {
    let server = Server::start().with_spaces(&["a"]).await;
    for i in 0..100 {
        let body = json!({"content": Ca::named(&format!("CA {i}")).pem});
        assert_eq!(server.post(PATH, &body).await.status, 201);
    }
    let pem = Ca::named("one more").pem;
    let full = server.post(PATH, &json!({"content": pem})).await;
    assert!(
        full.error()
            .2
            .contains("app_id: the resource space default has 100 certificates")
    );
    assert_eq!(
        server
            .post(PATH, &json!({"content": pem, "app_id": "a"}))
            .await
            .status,
        201
    );
    let cases = [
        ("?app_id=a", vec!["one more"], 1),
        ("?app_id=default&limit=2", vec!["CA 99", "CA 98"], 100),
        ("?limit=2&offset=2", vec!["CA 98", "CA 97"], 101),
    ];
    for (query, want, count) in cases {
        let got = server.get(&format!("{PATH}{query}")).await.body;
        let list = got["certificates"].as_array().unwrap();
        let names: Vec<&str> = list
            .iter()
            .map(|c| c["cn_name"].as_str().unwrap())
            .collect();
        assert_eq!(names, want, "{query}");
        assert_eq!(got["page"]["count"], count, "{query}");
    }
    let page = server
        .get(&format!("{PATH}?app_id=default&limit=1"))
        .await
        .body;
    let marker = page["page"]["marker"].as_str().unwrap();
    let next = server
        .get(&format!("{PATH}?app_id=default&limit=1&marker={marker}"))
        .await
        .body;
    assert_eq!(next["certificates"][0]["cn_name"], "CA 98");
    assert_eq!(
        server.get(&format!("{PATH}?limit=51")).await.error().1,
        "IOTDA.000017"
    );
}
