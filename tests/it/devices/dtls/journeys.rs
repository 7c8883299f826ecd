//! From the handshake to the history, and who is let in.

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusBuilder;
use strait::net::udp;
use strait::telemetry;

use super::*;
use crate::client::Stage;

/// Suite, encrypt-then-MAC, and the connection id that the device wants.
const WAYS: [(Suite, bool, Option<&[u8]>); 6] = [
    (Suite::Ccm8, false, None),
    (Suite::Ccm8, false, Some(b"")),
    (Suite::Ccm, false, Some(b"cid")),
    (Suite::Gcm, false, Some(b"longer cid")),
    (Suite::CbcSha256, true, Some(b"")),
    (Suite::CbcSha256, false, None),
];

#[tokio::test(start_paused = true)]
async fn from_the_handshake_to_the_history() {
    for (suite, encrypt_then_mac, cid) in WAYS {
        let mut world = Secured::start().await;
        let offer = Offer {
            encrypt_then_mac,
            cid: cid.map(<[u8]>::to_vec),
            ..Offer::of(suite)
        };
        let mut device = world.connect("secured", offer, at(1)).await;
        assert_eq!(device.client.server_cid().is_some(), cid.is_some());
        let observed = world.register(&mut device, "ep=secured").await;
        world.establish(&mut device, &observed).await;
        world.notify(&mut device, &observed, 1).await;
        world.report(&mut device, 2).await;
        assert_eq!(world.volumes(), [1, 2], "{suite:?} {cid:?}");
        let shown = world.api("GET", "", &Value::Null).await;
        assert_eq!(shown["status"], "ONLINE", "{suite:?}");
        let registration = world.bench.server.state(DEVICE).registration.unwrap();
        assert!(registration.secured);
        assert_eq!(registration.peer, at(1));
        assert_eq!(world.ended(), HashMap::from([("ok", 1)]));
    }
}

/// With and without an endpoint name, on both interfaces.
#[tokio::test(start_paused = true)]
async fn the_identity_and_the_endpoint_name_must_match() {
    let mut world = Secured::start().await;
    let mut device = world.connect("secured", offer(), at(1)).await;
    for (path, query, want) in [
        ("rd", "ep=n1", "6283"),
        ("t/r", "ep=n1", "6283"),
        ("rd", "ep=nobody", "6283"),
        ("t/r", "ep=secured", "6241"),
    ] {
        let draft = world.bench.draft(message::POST, path, query);
        let draft = draft.payload(LINKS).bytes().unwrap();
        let got = world.answers(&mut device, &draft).await;
        assert_eq!(&got[0][..4], want, "{path}?{query}");
    }
    assert_eq!(world.bench.server.state("p_n1").registration, None);
}

/// The server's flight is lost, then the client's Finished: both go on by themselves.
#[tokio::test(start_paused = true)]
async fn a_lossy_handshake_goes_on_by_its_timers() {
    let mut world = Secured::start().await;
    let mut client = world.client(offer(), "secured", &KEY);
    let hello = client.start();
    let verify = world.deliver(at(1), &hello[0]).await;
    let hello = client.receive(&verify[0].1);
    let lost = world.deliver(at(1), &hello[0]).await;
    assert!(!lost.is_empty());
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert!(world.sent().await.is_empty(), "NB-IoT takes its time");
    tokio::time::sleep(Duration::from_secs(9)).await;
    let mut flight = Vec::new();
    for (to, datagram) in world.sent().await {
        assert_eq!(to, at(1));
        flight.extend(client.receive(&datagram));
    }
    let finished = flight.pop();
    assert!(finished.is_some_and(|datagram| datagram[0] == 22));
    for datagram in flight {
        assert!(world.deliver(at(1), &datagram).await.is_empty());
    }
    assert!(!client.is_connected());
    let mut answers = Vec::new();
    for datagram in client.repeat() {
        answers.extend(world.deliver(at(1), &datagram).await);
    }
    for (_, datagram) in answers {
        client.receive(&datagram);
    }
    assert!(client.is_connected());
}

/// What the reader of a trace learns of handshakes, good and bad.
#[tokio::test(start_paused = true)]
async fn handshakes_show_in_the_trace() {
    let mut world = Secured::start().await;
    for device_id in [DEVICE, "p_frozen"] {
        let path = format!("/v1/devices/{device_id}/trace");
        let on = json!({"enabled": true});
        world.bench.server.call("PUT", &path, &on).await;
    }
    let refused = world.try_handshake("secured", OTHER_KEY, offer(), at(1));
    let refused = refused.await;
    assert_eq!(refused.client.stage, Stage::Finished, "in silence");
    world.connect("secured", offer(), at(2)).await;
    world.try_handshake("frozen", &KEY, offer(), at(3)).await;
    world.try_handshake("nobody", &KEY, offer(), at(4)).await;
    let unknown = Offer {
        suites: vec![0x008c],
        ..offer()
    };
    let refused = world.try_handshake("secured", &KEY, unknown, at(5)).await;
    assert_eq!(refused.client.stage, Stage::Refused(40));
    let failed = "DTLS handshake from 192.0.2.1:1 failed".to_owned();
    let with = "DTLS session with TLS_PSK_WITH_AES_128_CCM_8 from 192.0.2.1:2";
    let connected = format!("{with}, extended master secret");
    let want = [
        ("wrong_key".to_owned(), failed),
        ("ok".to_owned(), connected),
    ];
    assert_eq!(world.traced(DEVICE).await, want);
    let frozen = world.traced("p_frozen").await;
    assert_eq!((frozen.len(), frozen[0].0.as_str()), (1, "frozen"));
    // Who offers no suite of ours has not said yet who he is: a figure shows that, and no trace.
    let want = ["wrong_key", "ok", "frozen", "unknown_identity", "no_suite"];
    assert_eq!(world.ended(), want.map(|kind| (kind, 1)).into());
}

/// Names that dashboards and alerts rely on.
#[tokio::test(start_paused = true)]
async fn figures_have_their_names() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let page = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let mut world = Secured::start().await;
    let tasks = &world.bench.server.platform.app.tasks;
    let socket = Arc::new(udp::Counters::default());
    let watching = telemetry::watch_dtls(world.figures.clone(), socket, tasks.stop());
    tasks.spawn("figures", watching);
    let mut device = world.connect("secured", offer(), at(1)).await;
    world.report(&mut device, 1).await;
    let (recorded_at, record) = world.recorded[0].clone();
    world.deliver(recorded_at, &record).await;
    let mut forged = record.clone();
    forged[10] = 77;
    world.deliver(recorded_at, &forged).await;
    world.deliver(at(7), &record).await;
    let alert = b"\x15\xfe\xfd\0\0\0\0\0\0\0\0\0\x02\x02\x28";
    world.deliver(at(1), alert).await;
    world.deliver(at(1), b"noise").await;
    world
        .try_handshake("secured", OTHER_KEY, offer(), at(3))
        .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let page = page.render();
    for line in [
        r#"strait_dtls_handshakes_total{result="ok"} 1"#,
        r#"strait_dtls_handshakes_total{result="wrong_key"} 1"#,
        r#"strait_dtls_handshakes_total{result="no_version"} 0"#,
        r#"strait_dtls_handshakes_total{result="throttled"} 0"#,
        r#"strait_dtls_handshakes_total{result="crowded_out"} 0"#,
        r#"strait_dtls_records_total{fate="ok"} 1"#,
        r#"strait_dtls_records_total{fate="replay"} 1"#,
        r#"strait_dtls_records_total{fate="bad_mac"} 2"#,
        r#"strait_dtls_records_total{fate="unknown"} 1"#,
        r#"strait_dtls_records_total{fate="plaintext"} 1"#,
        r#"strait_dtls_records_total{fate="malformed"} 1"#,
        r#"strait_dtls_records_total{fate="sent"} 2"#,
        r#"strait_dtls_cookies_total{fate="sent"} 2"#,
        r#"strait_dtls_cookies_total{fate="valid"} 2"#,
        r#"strait_dtls_cookies_total{fate="refused"} 0"#,
        r#"strait_dtls_sessions_total{event="moved"} 0"#,
        r#"strait_dtls_sessions_total{event="closed"} 0"#,
        "strait_dtls_sessions 1",
        "strait_dtls_sessions_in_memory 1",
        "strait_dtls_handshakes_open 1",
    ] {
        assert!(page.contains(line), "no {line:?} in\n{page}");
    }
    // The session went on through all of that.
    world.report(&mut device, 2).await;
    assert_eq!(world.volumes(), [1, 2]);
}

/// A secret is hex digits that stand for bytes, or the key itself, as the product's settings say; a
/// device writes its node id in any of the forms of an endpoint name.
#[tokio::test(start_paused = true)]
async fn the_key_is_read_as_the_product_says_and_the_identity_in_any_form() {
    let mut world = Secured::start().await;
    for (port, identity) in (1..).zip(["secured", "urn:imei:secured", "urn:dev:ops:1-x:secured"]) {
        let device = world.connect(identity, offer(), at(port)).await;
        assert!(device.client.is_connected());
    }
    let text = SECRET.as_bytes();
    let device = world.try_handshake("secured", text, offer(), at(4)).await;
    assert_eq!(device.client.stage, Stage::Finished, "hex is the default");
    let settings = json!({"psk": "text"});
    let server = &world.bench.server;
    server
        .call("PUT", "/v1/products/p/settings", &settings)
        .await;
    let device = world.try_handshake("secured", text, offer(), at(5)).await;
    assert!(device.client.is_connected(), "the text itself");
    let device = world.try_handshake("secured", &KEY, offer(), at(6)).await;
    assert_eq!(device.client.stage, Stage::Finished);
    let secret = json!({"secret": "no-hex-at-all"});
    world
        .bench
        .server
        .create_device("p", "worded", secret)
        .await;
    let settings = json!({"psk": "hex"});
    let server = &world.bench.server;
    server
        .call("PUT", "/v1/products/p/settings", &settings)
        .await;
    let device = world
        .try_handshake("worded", b"no-hex-at-all", offer(), at(7))
        .await;
    assert_eq!(device.client.stage, Stage::Finished);
    assert_eq!(world.ended().get("bad_secret"), Some(&1));
}

/// What changes on the device while its handshake ends matters only when the key does.
#[tokio::test(start_paused = true)]
async fn a_new_name_is_no_reason_to_shake_hands_again_a_new_key_is() {
    for (action, body, connects) in [
        ("", json!({"device_name": "renamed"}), true),
        (
            "/action?action_id=resetSecret",
            json!({"secret": OTHER_SECRET}),
            false,
        ),
    ] {
        let mut world = Secured::start().await;
        let (mut client, flight) = world.last_flight().await;
        world.deliver(at(1), &flight[0]).await;
        let method = if action.is_empty() { "PUT" } else { "POST" };
        world.api(method, action, &body).await;
        for datagram in &flight[1..] {
            for (_, answer) in world.deliver(at(1), datagram).await {
                client.receive(&answer);
            }
        }
        assert_eq!(client.is_connected(), connects, "{body}");
        let want = if connects { "ok" } else { "not_stored" };
        assert_eq!(world.ended().get(want), Some(&1), "{body}");
        assert_eq!(world.figures.read().sessions, usize::from(connects));
    }
}
