//! What the trace of a device tells: each kind of entry, what comes over DTLS too, and a hint with each error.

use coap_lite::MessageType;
use serde_json::{Value, json};
use strait::app::trace::KINDS;
use strait::net::Route;
use strait::sim::message::{self, Draft};

use super::secured::Session;
use super::{Bench, CONFIRMABLE, LINKS, report};

const API: &str = "/v5/iot/x/devices";

/// One entry: kind, direction, summary, error.
pub(super) type Told = (String, String, String, Option<String>);
/// Kind, direction and a part of the summary.
type Want<'a> = (&'a str, &'a str, &'a str);

impl Bench {
    pub(super) async fn trace(&self, device_id: &str) {
        let path = format!("/v1/devices/{device_id}/trace");
        let on = json!({"enabled": true});
        self.server.call("PUT", &path, &on).await;
    }

    /// Oldest first.
    async fn entries(&self, device_id: &str) -> Vec<Value> {
        let path = format!("/v1/devices/{device_id}/trace");
        let answer = self.server.call("GET", &path, &Value::Null).await;
        let mut entries = answer["trace"].as_array().unwrap().clone();
        entries.reverse();
        entries
    }

    /// What was told since `from` entries; every error has a hint, every kind is one of those listed.
    pub(super) async fn told(&self, device_id: &str, from: usize) -> Vec<Told> {
        let entries = self.entries(device_id).await;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let told = entries.iter().skip(from).map(|e| {
            assert_eq!(e["error"].is_null(), e["hint"].is_null(), "{e}");
            let kind = text(&e["kind"]).unwrap();
            assert!(KINDS.contains(&kind.as_str()), "{kind}");
            let direction = text(&e["direction"]).unwrap();
            let summary = text(&e["summary"]).unwrap();
            (kind, direction, summary, text(&e["error"]))
        });
        told.collect()
    }
}

fn compare(told: &[Told], want: &[Want<'_>]) {
    let fits = told.len() == want.len()
        && told.iter().zip(want).all(|(told, want)| {
            (told.0.as_str(), told.1.as_str()) == (want.0, want.1) && told.2.contains(want.2)
        });
    assert!(fits, "told {told:#?}\nwant {want:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_devices_life_is_told_in_order() {
    let mut bench = Bench::start().await;
    bench.trace("p_n1").await;
    let observed = bench.register(1, "rd", "ep=n1").await;
    let established = bench.establishment(&observed);
    bench.exchange(1, &established).await;
    for payload in [&report(7)[..], &[9, 9], &report(70_000)] {
        let draft = bench.notification(CONFIRMABLE, &observed.token, 42, payload);
        bench.exchange(1, &draft.bytes().unwrap()).await;
    }
    compare(
        &bench.told("p_n1", 0).await,
        &[
            ("register", "up", "registered as n1"),
            ("observe", "down", "asked to observe /19/0/0"),
            ("uplink", "up", "no data"),
            ("observe", "up", "observes /19/0/0"),
            ("uplink", "up", "reported 5 bytes"),
            ("undecoded", "up", "sent 2 bytes that stay raw"),
            ("undecoded", "up", "reported 5 bytes"),
        ],
    );
    let entries = bench.entries("p_n1").await;
    assert_eq!(entries[4]["hex"], "0100000007");
    let services = json!([{"service_id": "Flow", "properties": {"volume": 7}}]);
    assert_eq!(entries[4]["detail"]["services"], services);
    assert_eq!(entries[5]["hex"], "0909");
    assert!(
        entries[5]["error"]
            .as_str()
            .unwrap()
            .starts_with("unknown_message: ")
    );
    assert!(entries[6]["error"].as_str().unwrap().contains("65535"));

    let command = json!({"service_id": "Flow", "command_name": "SET_VALVE",
        "paras": {"open": 1}, "send_strategy": "delay"});
    let path = format!("{API}/p_n1/async-commands");
    bench.server.call("POST", &path, &command).await;
    let batch = bench.server.downlinks.recv().await.unwrap();
    let request = message::read(&batch[0].1).unwrap();
    let ack = Draft::new(
        MessageType::Acknowledgement,
        message::CHANGED,
        request.header.message_id,
    );
    let ack = ack.token(request.get_token()).bytes().unwrap();
    bench.exchange(1, &ack).await;
    compare(
        &bench.told("p_n1", entries.len()).await,
        &[
            ("command", "platform", "waits for the device"),
            ("command", "down", "is sent"),
            ("command", "up", "is delivered"),
            ("command", "platform", "ended as SUCCESSFUL"),
        ],
    );
    let told = bench.entries("p_n1").await;
    let sent = &told[entries.len() + 1];
    assert!(!sent["hex"].as_str().unwrap().is_empty() && sent["detail"]["paras"]["open"] == 1);

    let location = observed.location.as_str();
    for code in [message::POST, message::DELETE, message::POST] {
        let draft = bench.draft(code, location, "");
        bench.exchange(1, &draft.bytes().unwrap()).await;
    }
    compare(
        &bench.told("p_n1", told.len()).await,
        &[
            ("update", "up", "updated its registration"),
            ("deregister", "up", "deregistered"),
            ("update", "up", "refused with 4.04"),
        ],
    );
}

/// Path, query and who is meant; kind and a part of the error.
#[tokio::test(start_paused = true)]
async fn refusals_are_told_with_what_to_do() {
    let mut bench = Bench::start().await;
    for device_id in ["p_n1", "p_frozen", "p_secured"] {
        bench.trace(device_id).await;
    }
    for (path, query, device_id, kind, error) in [
        (
            "rd",
            "ep=n1&lwm2m=2.0",
            "p_n1",
            "register",
            "1.0, 1.1 and 1.2",
        ),
        ("rd", "ep=frozen", "p_frozen", "register", "is frozen"),
        ("t/r", "ep=frozen", "p_frozen", "register", "is frozen"),
        ("t/d", "ep=frozen", "p_frozen", "uplink", "is frozen"),
        ("rd", "ep=secured", "p_secured", "register", "without DTLS"),
        ("t/d", "ep=secured", "p_secured", "uplink", "without DTLS"),
        ("a/b", "ep=n1", "p_n1", "uplink", "nothing is served"),
    ] {
        let before = bench.entries(device_id).await.len();
        let draft = bench.draft(message::POST, path, query).payload(LINKS);
        bench.exchange(1, &draft.bytes().unwrap()).await;
        let told = bench.told(device_id, before).await;
        let [(got, direction, summary, Some(why))] = &told[..] else {
            panic!("{path} {query}: {told:?}");
        };
        assert_eq!(
            (got.as_str(), direction.as_str()),
            (kind, "up"),
            "{path} {query}"
        );
        assert!(summary.contains("refused with 4."), "{summary}");
        assert!(why.contains(error), "{path} {query}: {why}");
    }
    // A refused observation, and a location of nobody.
    let observed = bench.register(1, "rd", "ep=n1").await;
    let before = bench.entries("p_n1").await.len();
    let reset = Draft::new(MessageType::Reset, 0, observed.msg_id);
    bench.exchange(1, &reset.bytes().unwrap()).await;
    let told = bench.told("p_n1", before).await;
    compare(&told, &[("observe", "up", "not established")]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_over_dtls_is_told_too() {
    let mut bench = Bench::start().await;
    for device_id in ["p_secured", "p_n1"] {
        bench.trace(device_id).await;
    }
    let mut session = Session::of(&mut bench, "p_secured").await;
    let observed = bench.register_secured(&mut session, "ep=secured").await;
    bench.establish(&mut session, &observed).await;
    let draft = bench.notification(CONFIRMABLE, &observed.token, 42, &report(3));
    bench.sealed(&mut session, &draft.bytes().unwrap()).await;
    compare(
        &bench.told("p_secured", 0).await,
        &[
            ("register", "up", "over DTLS"),
            ("observe", "down", "asked to observe"),
            ("uplink", "up", "no data"),
            ("observe", "up", "observes"),
            ("uplink", "up", "reported 5 bytes"),
        ],
    );
    let version = bench.draft(message::POST, "rd", "lwm2m=9").payload(LINKS);
    bench.sealed(&mut session, &version.bytes().unwrap()).await;
    let told = bench.told("p_secured", 5).await;
    compare(&told, &[("register", "up", "over DTLS refused with 4.12")]);
    // In the name of another device.
    let foreign = bench
        .draft(message::POST, "t/d", "ep=n1")
        .payload(&report(1));
    let foreign = foreign.bytes().unwrap();
    drop(bench.record(&mut session, Route::Proven, &foreign).await);
    let told = bench.told("p_n1", 0).await;
    compare(&told, &[("uplink", "up", "refused with 4.03")]);
    assert!(told[0].3.as_ref().unwrap().contains("another device's"));
}

#[tokio::test(start_paused = true)]
async fn changes_by_the_api_are_told() {
    let bench = Bench::start().await;
    bench.trace("p_n1").await;
    let reset = json!({"secret": "00112233445566778899aabbccddeeff", "force_disconnect": true});
    let none = json!({});
    for (method, action, body, want) in [
        ("PUT", "", &json!({"device_name": "cellar"}), "was changed"),
        ("POST", "/freeze", &none, "was frozen"),
        ("POST", "/unfreeze", &none, "was unfrozen"),
        (
            "POST",
            "/action?action_id=resetSecret",
            &reset,
            "got another secret; its DTLS session, if it has one, ends",
        ),
    ] {
        let before = bench.entries("p_n1").await.len();
        let path = format!("{API}/p_n1{action}");
        bench.server.call(method, &path, body).await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let told = bench.told("p_n1", before).await;
        compare(&told, &[("change", "platform", want)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_trace_ends_by_itself_and_keeps_what_it_has() {
    let mut bench = Bench::start().await;
    let path = "/v1/devices/p_n1/trace";
    let hour = json!({"enabled": true, "duration_s": 3600});
    let on = bench.server.call("PUT", path, &hour).await;
    let end_time = "2026-03-01T13:00:00.000Z";
    assert_eq!(on, json!({"enabled": true, "end_time": end_time}));
    bench.register(1, "rd", "ep=n1").await;
    let shown = bench.server.call("GET", path, &Value::Null).await;
    assert_eq!(
        (&shown["enabled"], &shown["end_time"]),
        (&json!(true), &json!(end_time))
    );
    bench.sleep(std::time::Duration::from_secs(3600)).await;
    bench.register(1, "rd", "ep=n1").await;
    let shown = bench.server.call("GET", path, &Value::Null).await;
    assert_eq!(
        (&shown["enabled"], &shown["end_time"]),
        (&json!(false), &Value::Null)
    );
    let registrations = format!("{path}?kind=register");
    let shown = bench.server.call("GET", &registrations, &Value::Null).await;
    assert_eq!(shown["trace"].as_array().unwrap().len(), 1, "{shown}");
    let errors = format!("{path}?errors=true&from=20260301T120000Z");
    let shown = bench.server.call("GET", &errors, &Value::Null).await;
    let wrong = |entry: &Value| entry["error"].is_string();
    assert!(
        shown["trace"].as_array().unwrap().iter().all(wrong),
        "{shown}"
    );
}
