//! What is under `/v1` refuses what it does not take: codecs, settings, history, trace, events,
//! packages and the audit log.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::json;
use strait::app::trace::KINDS;

use super::Takes::{Bool, Hex, Name, Number, Object, Range, Struct, Word};
use super::query::{APP, BOOL, ID_36, LONG_MARKER, name, text, time, word};
use super::{Call, INVALID, QueryField, call, check, holds, needed, optional};
use crate::api::Server;

const LIMIT: QueryField = super::PAGE[0];

#[tokio::test]
async fn codecs_and_settings_refuse_what_they_do_not_take() {
    let server = Server::start().with_product().await;
    let decode = Call {
        body_fields: vec![
            needed("/hex", Hex(2 * 64 * 1024)),
            optional("/fPort", Range(0, 255)),
        ],
        ..call(
            Method::POST,
            "/v1/products/p1/codec/decode",
            Some(json!({"hex": "00"})),
        )
    };
    let encode = Call {
        body_fields: vec![
            needed("/service_id", Name(1, 64)),
            needed("/command_name", Name(1, 64)),
            optional("/paras", Object),
            optional("/mid", Range(1, 65_535)),
        ],
        ..call(
            Method::POST,
            "/v1/products/p1/codec/encode",
            Some(json!({"service_id": "Flow", "command_name": "SET_VALVE"})),
        )
    };
    let set = Call {
        body_fields: vec![
            needed("/service_id", Name(1, 64)),
            optional("/properties", Object),
            optional("/known", Object),
            optional("/mid", Range(1, 65_535)),
        ],
        ..call(
            Method::POST,
            "/v1/products/p1/codec/encode",
            Some(json!({"service_id": "Flow", "properties": {"interval": 60}})),
        )
    };
    let settings = Call {
        body_fields: vec![
            optional("/downlink", Word(&["write", "execute"])),
            optional("/ts013_service", Name(1, 64)),
            optional("/psk", Word(&["hex", "text"])),
            optional("/coap", Struct),
            optional("/coap/ack_timeout_s", Number(1.0, 120.0)),
            optional("/coap/max_retransmit", Range(0, 10)),
            optional("/coap/exchange_lifetime_s", Number(1.0, 3600.0)),
            optional("/codec", Struct),
            optional("/codec/trusted", Bool),
            optional("/command", Struct),
            optional("/command/response_timeout_s", Range(1, 172_800)),
            optional("/upgrade", Struct),
            optional("/upgrade/software", Word(&["PCP"])),
            optional("/upgrade/firmware", Word(&["LWM2M"])),
        ],
        ..call(Method::PUT, "/v1/products/p1/settings", Some(json!({})))
    };
    check(&server, &[decode, encode, set, settings]).await;
    let before = holds(&server);
    for inner in ["coap", "codec", "command", "upgrade"] {
        let body = json!({inner: {"nonsense": 1}});
        let answer = server.put("/v1/products/p1/settings", &body).await;
        let (status, code, message) = answer.error();
        assert_eq!((status, code), (400, INVALID), "{inner}");
        let want = format!("{inner}.nonsense: is not a field here");
        assert!(message.starts_with(&want), "{message}");
    }
    assert_eq!(holds(&server), before);
}

#[tokio::test]
async fn data_traces_and_the_audit_log_refuse_what_they_do_not_take() {
    let server = Server::start().with_product().await;
    let device = server.device("n0").await;
    let number =
        |name, bad: &'static [(&'static str, &'static str)], good| QueryField { name, bad, good };
    let calls = [
        Call {
            query_fields: vec![
                LIMIT,
                LONG_MARKER,
                name("service_id"),
                time("from"),
                time("to"),
            ],
            ..call(Method::GET, &format!("/v1/devices/{device}/history"), None)
        },
        Call {
            query_fields: vec![
                number(
                    "limit",
                    &[
                        ("IOTDA.000017", "0"),
                        ("IOTDA.000017", "1001"),
                        ("IOTDA.000017", "-1"),
                        ("IOTDA.000017", "x"),
                        ("IOTDA.000017", ""),
                    ],
                    &["1", "1000"],
                ),
                word("kind", &KINDS),
                word("errors", BOOL),
                time("from"),
                time("to"),
            ],
            ..call(Method::GET, &format!("/v1/devices/{device}/trace"), None)
        },
        Call {
            body_fields: vec![
                needed("/enabled", Bool),
                optional("/duration_s", Range(1, 86_400)),
            ],
            ..call(
                Method::PUT,
                &format!("/v1/devices/{device}/trace"),
                Some(json!({"enabled": true})),
            )
        },
        Call {
            // A stream that is taken has no end.
            query_fields: vec![number(
                "from",
                &[
                    (INVALID, ""),
                    (INVALID, "-1"),
                    (INVALID, "+1"),
                    (INVALID, "x"),
                    (INVALID, "99999999999999999999"),
                ],
                &[],
            )],
            ..call(Method::GET, "/v1/events", None)
        },
        Call {
            query_fields: vec![
                LIMIT,
                LONG_MARKER,
                text("access_key", 128),
                text("operation", 128),
                text("target", 256),
                time("from"),
                time("to"),
                number(
                    "status",
                    &[
                        (INVALID, "99"),
                        (INVALID, "600"),
                        (INVALID, "-1"),
                        (INVALID, "ok"),
                        (INVALID, ""),
                    ],
                    &["100", "599"],
                ),
            ],
            ..call(Method::GET, "/v1/audit", None)
        },
        Call {
            query_fields: vec![
                QueryField {
                    name: "product_id",
                    bad: APP.bad,
                    good: &[ID_36],
                },
                APP,
                name("name"),
            ],
            ..call(Method::POST, "/v1/products/import", None)
        },
    ];
    check(&server, &calls).await;
    for path in ["/v1/audit", &format!("/v1/devices/{device}/history")] {
        let order = "from=20260102T000000Z&to=20260101T000000Z";
        let answer = server.get(&format!("{path}?{order}")).await;
        assert_eq!(
            answer.error(),
            (
                400,
                "IOTDA.000010",
                "from: is later than to, takes the same time or an earlier one"
            ),
            "{path}"
        );
    }
    let mut requests = Vec::new();
    for last in ["x", "-1", "1 2", "99999999999999999999"] {
        requests.push(Request::get("/v1/events").header("last-event-id", last));
    }
    for request in requests {
        let answer = server.send(request.body(Body::empty()).unwrap()).await;
        let (status, code, message) = answer.error();
        assert_eq!((status, code), (400, INVALID), "{message}");
        assert!(message.starts_with("Last-Event-ID: got "), "{message}");
    }
}

#[tokio::test]
async fn codec_bundles_and_packages_refuse_what_they_are_not() {
    const MALFORMED: &str = "IOTDA.000008";
    const TOML: &str = "application/toml";
    const ZIP: &str = "application/zip";
    let server = Server::start().with_product().await;
    let big = vec![b'#'; 1024 * 1024 + 1];
    let form = b"--edge\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\nx\r\n--edge--\r\n";
    let import = (Method::POST, "/v1/products/import");
    let put = (Method::PUT, "/v1/products/p1/codec");
    type Case<'a> = (
        &'a (Method, &'a str),
        &'a str,
        &'a [u8],
        u16,
        &'a str,
        &'a str,
    );
    let cases: Vec<Case<'_>> = vec![
        (
            &put,
            "application/json",
            b"{}",
            415,
            MALFORMED,
            "Content-Type: got ",
        ),
        (&put, "nonsense", b"", 415, MALFORMED, "Content-Type: got "),
        (
            &put,
            "application/toml; charset=utf-16",
            b"",
            415,
            MALFORMED,
            "Content-Type: got ",
        ),
        (&put, TOML, &big, 413, MALFORMED, "the body is too large"),
        (&put, TOML, b"", 422, INVALID, "the codec has "),
        (&put, TOML, b"\xff\xfe", 422, INVALID, "the codec has "),
        (&put, TOML, b"a = \0", 422, INVALID, "the codec has "),
        (
            &import,
            "application/json",
            b"{}",
            415,
            MALFORMED,
            "Content-Type: got ",
        ),
        (&import, "nonsense", b"", 400, MALFORMED, "Content-Type: "),
        (&import, ZIP, b"", 400, INVALID, "body: "),
        (&import, ZIP, b"PK\x03\x04nothing", 400, INVALID, "body: "),
        (&import, ZIP, &big, 413, MALFORMED, "the body is too large"),
        (
            &import,
            "multipart/form-data",
            b"",
            400,
            MALFORMED,
            "the form can't be read",
        ),
        (
            &import,
            "multipart/form-data; boundary=edge",
            form,
            400,
            INVALID,
            "body: got a form",
        ),
    ];
    let before = holds(&server);
    let mut failures = Vec::new();
    for ((method, path), media, body, status, code, message) in cases {
        let request = Request::builder().method(method.clone()).uri(*path);
        let request = request.header("content-type", media);
        let answer = server
            .send(request.body(Body::from(body.to_vec())).unwrap())
            .await;
        let got = answer.error();
        if (got.0, got.1) != (status, code) || !got.2.contains(message) {
            failures.push(format!(
                "{path} {media}: {got:?}\n  want {status} {code} {message}"
            ));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert_eq!(holds(&server), before);
}
