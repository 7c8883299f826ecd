//! Who may ask for what: what signatures lack, tokens, roles, resource spaces.

use axum::body::Body;
use axum::http::{Method, Request};
use strait::app::credentials::{Credential, Role};
use strait::base::ids::AppId;
use strait::base::secret::Secret;
use strait::store::Store;

use crate::api::{Answer, NOW, Server, meter_product};
use crate::signer::{Draft, HOST, Signer};

const DEVICES: &str = "/v5/iot/p/devices";

pub(crate) fn credential(name: &str, role: Role, space: Option<&str>) -> Credential {
    Credential {
        access_key: name.to_uppercase(),
        secret_key: Secret::new(format!("secret-key-of-{name}")),
        token: Secret::new(format!("token-of-{name}")),
        role,
        space: space.map(|space| AppId::parse(space).unwrap()),
        created: None,
    }
}

fn signer() -> Signer {
    Signer {
        access_key: "BOSS".into(),
        secret_key: "secret-key-of-boss".into(),
        info: None,
    }
}

fn server() -> Server {
    Server::with_auth(vec![
        credential("boss", Role::Admin, None),
        credential("worker", Role::Operator, None),
        credential("guest", Role::ReadOnly, None),
        credential("tenant", Role::Admin, Some("s1")),
    ])
}

/// Sends a draft as it was signed, but for the headers that `sent` has otherwise.
async fn send(
    server: &Server,
    signer: &Signer,
    signed: &Draft,
    sent: &Draft,
    body: &str,
) -> Answer {
    let target = match sent.query.is_empty() {
        true => sent.path.clone(),
        false => format!("{}?{}", sent.path, sent.query),
    };
    let mut request = Request::builder()
        .method(sent.method)
        .uri(target)
        .header("authorization", signer.sign(signed));
    for (name, value) in &sent.headers {
        request = request.header(*name, value);
    }
    server
        .send(request.body(Body::from(body.to_owned())).unwrap())
        .await
}

#[tokio::test]
async fn signatures_say_what_they_lack() {
    let server = server();
    let get = || Draft::new("GET", DEVICES, b"", NOW);
    let late = "20260301T121500Z";
    let (signer, derived) = (signer, |info: &str| Signer {
        info: Some(info.into()),
        ..signer()
    });
    let day = "20260301/r/iotdm";
    let cases = [
        (signer(), get(), 200, ""),
        (derived(day), get(), 200, ""),
        (signer(), get().with("x-sdk-date", late), 200, ""),
        (
            signer(),
            get().with("x-sdk-date", "20260301T114500Z"),
            200,
            "",
        ),
        (
            signer(),
            get().with("x-sdk-date", "20260301T121501Z"),
            401,
            "X-Sdk-Date: got 20260301T121501Z, the server has 20260301T120000Z: takes at most 900 s",
        ),
        (
            signer(),
            get().with("x-sdk-date", "20260301T114459Z"),
            401,
            "X-Sdk-Date: got 20260301T114459Z, the server has 20260301T120000Z",
        ),
        (
            signer(),
            get().with("x-sdk-date", "now"),
            401,
            "X-Sdk-Date: takes a time such as",
        ),
        (
            signer(),
            get().with("x-sdk-date", "2026-03-01T12:00:00Z"),
            401,
            "X-Sdk-Date: takes a time such as",
        ),
        (
            signer(),
            get().without("x-sdk-date"),
            401,
            "X-Sdk-Date is missing",
        ),
        (signer(), get().without("host"), 401, "Host is missing"),
        (
            derived("20260228/r/iotdm"),
            get(),
            401,
            "Credential is of the day 20260228",
        ),
        (
            derived("20260301/r/obs"),
            get(),
            401,
            "Credential takes access key/yyyyMMdd/region/",
        ),
        (derived("20260301//iotdm"), get(), 401, "Credential takes"),
        (derived("2026031/r/iotdm"), get(), 401, "Credential takes"),
        (
            derived("20260301/r/iotdm/x"),
            get(),
            401,
            "Credential takes",
        ),
        (
            signer(),
            get().with("x-sdk-content-sha256", "UNSIGNED-PAYLOAD"),
            401,
            "X-Sdk-Content-Sha256: takes the SHA-256",
        ),
        (
            signer(),
            get()
                .with("x-sdk-content-sha256", "UNSIGNED-PAYLOAD")
                .without("content-type"),
            401,
            "X-Sdk-Content-Sha256: takes the SHA-256",
        ),
        (
            signer(),
            get().with("x-sdk-content-sha256", &"0".repeat(64)),
            401,
            "the access key or the signature is wrong",
        ),
        (
            Signer {
                secret_key: "other".into(),
                ..signer()
            },
            get(),
            401,
            "the access key or the signature is wrong",
        ),
        (
            Signer {
                access_key: "NOBODY".into(),
                ..signer()
            },
            get(),
            401,
            "the access key or the signature is wrong",
        ),
    ];
    for (signer, draft, want, message) in cases {
        let answer = send(&server, &signer, &draft, &draft, "").await;
        let (status, code, text) = answer.error();
        assert!(
            answer.status == want && text.contains(message),
            "{status} {text}: {message}"
        );
        if want == 401 {
            assert_eq!(code, "IOTDA.000004");
            let schemes = answer.header("www-authenticate");
            assert!(schemes.contains("SDK-HMAC-SHA256") && schemes.contains("Bearer"));
        }
    }
    for name in ["x-sdk-date", "host"] {
        let signed = get().without(name);
        let answer = send(&server, &signer(), &signed, &get(), "").await;
        let text = answer.error().2;
        assert!(
            text.to_ascii_lowercase()
                .contains(&format!("{name} must be signed")),
            "{text}"
        );
    }
    let signed = get().with("x-note", "a");
    let answer = send(&server, &signer(), &signed, &get(), "").await;
    assert!(
        answer
            .error()
            .2
            .contains("SignedHeaders names x-note, which"),
        "{:?}",
        answer.body
    );
    // The server's own setting of what is late.
    server.clock.advance(std::time::Duration::from_secs(901));
    assert_eq!(
        send(&server, &signer(), &get(), &get(), "").await.status,
        401
    );
}

#[tokio::test]
async fn bodies_are_covered() {
    let server = server();
    let good = meter_product().to_string();
    let post = |body: &str| Draft::new("POST", "/v5/iot/p/products", body.as_bytes(), NOW);
    let other = good.replace("Meter", "Maker");
    let answer = send(&server, &signer(), &post(&good), &post(&good), &other).await;
    assert_eq!(answer.status, 401);
    assert!(server.store.products().unwrap().is_empty());
    let answer = send(&server, &signer(), &post(&good), &post(&good), &good).await;
    assert_eq!(answer.status, 201, "{:?}", answer.body);
    let big = " ".repeat(1024 * 1024 + 1);
    let answer = send(&server, &signer(), &post(&big), &post(&big), &big).await;
    assert_eq!(answer.status, 413);
    // What is no JSON may be left out of the signature, and then comes through as it is.
    let put = |hash: &str| Draft {
        body_hash: "UNSIGNED-PAYLOAD".into(),
        ..Draft::new("PUT", "/v1/products/p1/codec", b"", NOW)
            .with("content-type", "application/toml")
            .with("x-sdk-content-sha256", hash)
    };
    let codec = include_str!("../../fixtures/api/flow.toml");
    let draft = put("UNSIGNED-PAYLOAD");
    let answer = send(&server, &signer(), &draft, &draft, codec).await;
    assert_eq!(answer.status, 201, "{:?}", answer.body);
    let sent = draft.clone().with("content-type", "application/json");
    let answer = send(&server, &signer(), &draft, &sent, codec).await;
    assert_eq!(answer.status, 401);
    // Said, but not signed: then the body must be.
    let signed = draft.clone().without("x-sdk-content-sha256");
    let answer = send(&server, &signer(), &signed, &draft, codec).await;
    assert_eq!(answer.status, 401);
}

/// Headers that name a caller.
async fn ask(server: &Server, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn tokens_and_other_headers() {
    let server = server();
    let token = ("x-auth-token", "token-of-guest");
    let signature = signer().sign(&Draft::new("GET", DEVICES, b"", NOW));
    let signed = ("authorization", signature.as_str());
    let date = ("x-sdk-date", NOW);
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Headers<'_>, u16, &str); 21] = [
        (&[token], 200, ""),
        (&[token, ("authorization", "none")], 200, ""),
        (&[token, ("authorization", "Basic x")], 200, ""),
        (&[token, signed], 200, ""),
        (&[("authorization", "Bearer token-of-guest")], 200, ""),
        (&[("authorization", "bearer  token-of-guest ")], 200, ""),
        (
            &[
                signed,
                date,
                ("host", HOST),
                ("content-type", "application/json"),
            ],
            200,
            "",
        ),
        (
            &[],
            401,
            "the request names no caller: takes X-Auth-Token, Authorization: Bearer",
        ),
        (
            &[("authorization", "none")],
            401,
            "the request names no caller",
        ),
        (
            &[("authorization", "")],
            401,
            "Authorization: got the scheme ",
        ),
        (
            &[("authorization", "Basic eDp5")],
            401,
            "got the scheme Basic, takes SDK-HMAC-SHA256",
        ),
        (
            &[("authorization", "SDK-HMAC-SM3 Access=a")],
            401,
            "got the scheme SDK-HMAC-SM3",
        ),
        (
            &[("authorization", "SDK-HMAC-SHA256")],
            401,
            "Authorization: Access is missing",
        ),
        (
            &[("authorization", "SDK-HMAC-SHA256 Access=")],
            401,
            "Access is missing",
        ),
        (
            &[("authorization", "SDK-HMAC-SHA256 Access=a,Access=b")],
            401,
            "Access is given twice",
        ),
        (
            &[("authorization", "SDK-HMAC-SHA256 Who=b")],
            401,
            "Who is not known here",
        ),
        (
            &[token, ("x-auth-token", "token-of-boss")],
            401,
            "x-auth-token is given twice",
        ),
        (
            &[("authorization", "none"), signed],
            401,
            "authorization is given twice",
        ),
        (
            &[("x-auth-token", "token-of-gues")],
            403,
            "the token is wrong",
        ),
        (&[("x-auth-token", ""), signed], 403, "the token is wrong"),
        (
            &[("authorization", "Bearer GUEST")],
            403,
            "the token is wrong",
        ),
    ];
    for (headers, want, message) in cases {
        let answer = ask(&server, Method::GET, DEVICES, headers).await;
        let (_, code, text) = answer.error();
        assert!(
            answer.status == want,
            "{headers:?}: {} {text}",
            answer.status
        );
        assert!(text.contains(message), "{headers:?}: {text}");
        assert_eq!(code, if want == 200 { "" } else { "IOTDA.000004" });
        assert_eq!(answer.header("www-authenticate").is_empty(), want != 401);
    }
}

#[tokio::test]
async fn roles_allow_what_they_say() {
    let server = server();
    let product = meter_product().to_string();
    let paths = [
        (Method::GET, DEVICES, [200, 200, 200]),
        (Method::HEAD, DEVICES, [200, 200, 200]),
        (Method::GET, "/metrics", [200, 200, 200]),
        (Method::POST, "/v5/iot/p/products", [201, 400, 403]),
        (Method::DELETE, "/v5/iot/p/devices/none", [404, 404, 403]),
        (
            Method::POST,
            "/v1/products/p1/codec/decode",
            [400, 400, 400],
        ),
        (Method::GET, "/v1/audit", [200, 403, 403]),
        (Method::GET, "/nothing", [404, 404, 404]),
        (Method::PATCH, DEVICES, [405, 405, 405]),
    ];
    for (method, path, wants) in paths {
        for (who, want) in ["boss", "worker", "guest"].into_iter().zip(wants) {
            let request = Request::builder()
                .method(method.clone())
                .uri(path)
                .header("x-auth-token", format!("token-of-{who}"));
            let body = if path.ends_with("products") {
                product.clone()
            } else {
                String::new()
            };
            let answer = server.send(request.body(Body::from(body)).unwrap()).await;
            assert_eq!(
                answer.status, want,
                "{who}: {method} {path}: {:?}",
                answer.body
            );
            if want == 403 {
                let (_, code, text) = answer.error();
                assert_eq!(code, "IOTDA.001002");
                let takes = if path == "/v1/audit" {
                    "takes admin"
                } else {
                    "takes operator"
                };
                assert!(text.contains("the role ") && text.contains(takes), "{text}");
            }
        }
        // Strangers learn nothing of what is there.
        assert_eq!(ask(&server, method, path, &[]).await.status, 401, "{path}");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(ask(&server, Method::GET, path, &[]).await.status, 200);
        assert_eq!(ask(&server, Method::POST, path, &[]).await.status, 401);
    }
}

#[tokio::test]
async fn another_space_is_not_there() {
    let server = server();
    let token = |who: &str| format!("token-of-{who}");
    let made = Request::post("/v5/iot/p/products")
        .header("x-auth-token", token("boss"))
        .body(Body::from(meter_product().to_string()));
    assert_eq!(server.send(made.unwrap()).await.status, 201);
    for (who, want) in [("boss", 200), ("guest", 200), ("tenant", 404)] {
        let token = token(who);
        let headers = [("x-auth-token", token.as_str())];
        let answer = ask(&server, Method::GET, "/v5/iot/p/products/p1", &headers).await;
        assert_eq!(answer.status, want, "{who}");
    }
    let headers = [("x-auth-token", "token-of-tenant")];
    let answer = ask(&server, Method::GET, "/v1/audit", &headers).await;
    let (status, code, text) = answer.error();
    assert_eq!((status, code), (403, "IOTDA.001002"));
    assert!(text.contains("this one has s1"), "{text}");
}

#[tokio::test]
async fn a_revoked_credential_is_a_wrong_one() {
    let server = server();
    let draft = Draft::new("GET", DEVICES, b"", NOW);
    assert_eq!(
        send(&server, &signer(), &draft, &draft, "").await.status,
        200
    );
    let left = [credential("guest", Role::ReadOnly, None)];
    server.app.credentials.replace(left.into_iter().collect());
    assert_eq!(
        send(&server, &signer(), &draft, &draft, "").await.status,
        401
    );
    let headers = [("x-auth-token", "token-of-boss")];
    assert_eq!(
        ask(&server, Method::GET, DEVICES, &headers).await.status,
        403
    );
}

#[tokio::test]
async fn secrets_are_not_shown() {
    let server = server();
    let answer = ask(
        &server,
        Method::GET,
        DEVICES,
        &[("x-auth-token", "hunter2-hunter2")],
    )
    .await;
    assert!(!answer.body.to_string().contains("hunter2"));
    let shown = format!("{:?}", credential("boss", Role::Admin, None));
    assert!(
        !shown.contains("secret-key-of") && !shown.contains("token-of"),
        "{shown}"
    );
    assert_eq!(answer.error().2, "the token is wrong");
}
