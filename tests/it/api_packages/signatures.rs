//! Signed packages.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use rcgen::SigningKey;
use sha2::{Digest, Sha256};
use strait::app::package::Settings;
use strait::product::codec::text::{base64, hex};
use strait::store::memory::MemoryStore;

use super::{OTA, reference};
use crate::api::{Answer, Server};

/// What an operator signs with his own tools.
fn sign(key: &rcgen::KeyPair, file: &[u8]) -> String {
    let message = format!("strait package v1\n{}", hex(&Sha256::digest(file)));
    base64(&key.sign(message.as_bytes()).unwrap())
}

async fn put(
    server: &Server,
    version: &str,
    file: &'static [u8],
    signature: Option<&str>,
) -> Answer {
    let path = format!("/v1/packages?package_type=firmwarePackage&product_id=p1&version={version}");
    let mut request = Request::put(path);
    if let Some(signature) = signature {
        request = request.header("x-package-signature", signature);
    }
    server.send(request.body(Body::from(file)).unwrap()).await
}

fn server(keys: &[&rcgen::KeyPair], require_signature: bool) -> Server {
    let keys = keys
        .iter()
        .map(|key| base64(key.public_key_raw()))
        .collect();
    let settings = Settings {
        keys,
        require_signature,
        ..Settings::default()
    };
    settings.check().unwrap();
    let data = Arc::new(tempfile::tempdir().unwrap());
    Server::with_packages(Arc::new(MemoryStore::new()), data, settings)
}

#[tokio::test]
async fn a_signature_is_checked_and_its_key_is_named() {
    let key = || rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let (one, two, stranger) = (key(), key(), key());
    let server = server(&[&one, &two], true).with_product().await;
    let missing = put(&server, "V1", b"file", None).await;
    let want = "signature: is missing, takes an Ed25519 signature of the file \
                (packages.require_signature)";
    assert_eq!(missing.error(), (400, "IOTDA.000006", want));
    for wrong in [
        sign(&stranger, b"file"),
        sign(&one, b"other"),
        base64(&[0; 64]),
    ] {
        let answer = put(&server, "V1", b"file", Some(&wrong)).await;
        let (status, _, text) = answer.error();
        let want = "signature: none of the keys in packages.keys signed the file with SHA-256 ";
        assert!(status == 400 && text.starts_with(want), "{text}");
    }
    let made = put(&server, "V1", b"file", Some(&sign(&two, b"file"))).await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    let name = hex(&Sha256::digest(two.public_key_raw()));
    assert_eq!(made.body["signed_by"], name[..16]);
    // A link to the signed file is signed as well.
    let hash = made.body["sha256"].as_str().unwrap();
    let linked = reference("firmwarePackage", "V2", &format!("sha256:{hash}"));
    let linked = server.post(OTA, &linked).await;
    assert_eq!(linked.status, 201, "{:?}", linked.body);
    // In the query a plus may have become a blank.
    let path = format!(
        "/v1/packages?package_type=firmwarePackage&product_id=p1&version=V3&signature={}",
        sign(&one, b"third").replace('/', "%2F").replace('=', "%3D")
    );
    let request = Request::put(path).body(Body::from("third")).unwrap();
    assert_eq!(server.send(request).await.status, 201);
}

#[tokio::test]
async fn without_keys_a_signature_can_not_be_checked() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let server = server(&[], false).with_product().await;
    let answer = put(&server, "V1", b"file", Some(&sign(&key, b"file"))).await;
    let want = "signature: can't be checked: no keys are configured (packages.keys); leave it out";
    assert_eq!(answer.error(), (400, "IOTDA.000006", want));
    let made = put(&server, "V1", b"file", None).await;
    assert_eq!(made.body["signed_by"], serde_json::Value::Null);
}
