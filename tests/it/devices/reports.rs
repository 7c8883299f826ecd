//! Reports: what becomes of notifications and posts, read or not, whole or in blocks.

use std::time::Duration;

use coap_lite::{CoapOption, MessageType};
use serde_json::{Value, json};
use strait::sim::message;

use super::{Bench, CONFIRMABLE, answer, empty, hex, report, volumes};

#[tokio::test(start_paused = true)]
async fn notifications_become_reports() {
    let data = report(7);
    let wrapped = [&[0xc5, 0x00], &data[..]].concat();
    let ack = MessageType::Acknowledgement;
    let non = MessageType::NonConfirmable;
    // Name, type, content format, payload; volumes in history.
    type Row<'a> = (&'a str, MessageType, u16, &'a [u8], &'a [u64]);
    let rows: [Row<'_>; 9] = [
        ("empty first answer", ack, 42, b"", &[]),
        ("first answer of one zero byte", ack, 42, b"\0", &[]),
        ("first answer with data", ack, 42, &data, &[7]),
        ("confirmable", CONFIRMABLE, 42, &data, &[7]),
        ("non-confirmable", non, 42, &data, &[7]),
        ("wrapped", CONFIRMABLE, 11542, &wrapped, &[7]),
        ("wrapped, legacy number", non, 1542, &wrapped, &[7]),
        ("wrapped first answer", ack, 11542, &wrapped, &[7]),
        ("empty", CONFIRMABLE, 42, b"", &[]),
    ];
    for (name, kind, format, payload, want) in rows {
        let mut bench = Bench::start().await;
        let observed = bench.register(1, "rd", "ep=n1").await;
        if kind == ack {
            bench.msg_id = observed.msg_id.wrapping_sub(1);
        }
        let draft = bench.notification(kind, &observed.token, format, payload);
        let got = bench.answers(1, &draft.bytes().unwrap()).await;
        let acknowledged = (kind == CONFIRMABLE).then(|| empty(ack, bench.msg_id));
        assert_eq!(got, Vec::from_iter(acknowledged), "{name}");
        assert_eq!(volumes(&bench.server.history("p_n1")), want, "{name}");
        assert!(bench.raw("p_n1").is_empty(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_token_is_reset_and_observed_again() {
    let mut bench = Bench::start().await;
    let observed = bench.register(1, "rd", "ep=n1").await;
    let foreign = [1, 2, 3, 4, 5, 6, 7, 8];
    for token in [&foreign[..], &[9]] {
        // Not while the request of before may still be answered: nobody shall make a device busy.
        bench.sleep(Duration::from_secs(300)).await;
        for is_observed in [true, false] {
            let draft = bench.notification(CONFIRMABLE, token, 42, &report(1));
            let stray = draft.bytes().unwrap();
            let reset = empty(MessageType::Reset, bench.msg_id);
            let got = bench.answers(1, &stray).await;
            assert_eq!((&got[0], got.len() == 2), (&reset, is_observed), "{got:?}");
            if let Some(observe) = got.get(1) {
                assert_eq!(observe[8..24], hex(&observed.token), "the token stays");
            }
            // A stranger is reset and learns nothing.
            assert_eq!(bench.answers(77, &stray).await, [reset]);
        }
    }
    let draft = bench.notification(CONFIRMABLE, &observed.token, 42, &report(2));
    let taken = empty(MessageType::Acknowledgement, bench.msg_id);
    assert_eq!(bench.answers(1, &draft.bytes().unwrap()).await, [taken]);
    assert_eq!(volumes(&bench.server.history("p_n1")), [2]);
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_read_is_acknowledged_and_kept() {
    let mut bench = Bench::start().await;
    let flow = |properties: &Value| {
        let service = json!({"service_id": "Flow", "properties": properties});
        json!({"services": [service]}).to_string().into_bytes()
    };
    let both = flow(&json!({"volume": 70000, "text": "kept"}));
    // Name, device, payload; what history shows of it, kind and words of what was kept raw.
    type Row<'a> = (&'a str, &'a str, &'a [u8], Value, &'a str, &'a str);
    let rows: [Row<'_>; 7] = [
        (
            "unknown message",
            "p_n1",
            b"\x77\x01",
            Value::Null,
            "unknown_message",
            "0x77",
        ),
        (
            "truncated",
            "p_n1",
            b"\x01\x00",
            Value::Null,
            "truncated",
            "volume",
        ),
        (
            "beyond the model",
            "p_n1",
            b"\x01\0\x01\0\0",
            Value::Null,
            "model",
            "65535",
        ),
        (
            "JSON",
            "j_n2",
            &flow(&json!({"volume": 8})),
            json!({"volume": 8}),
            "",
            "",
        ),
        (
            "no JSON",
            "j_n2",
            b"{\"services\":",
            Value::Null,
            "json",
            "not JSON: EOF",
        ),
        (
            "the rest stays",
            "j_n2",
            &both,
            json!({"text": "kept"}),
            "model",
            "properties.volume",
        ),
        (
            "all is wrong",
            "j_n2",
            &flow(&json!({"x": 1})),
            Value::Null,
            "model",
            "x",
        ),
    ];
    for (name, device_id, payload, want, kind, words) in rows {
        let (before, kept) = (bench.server.history(device_id), bench.raw(device_id).len());
        let query = format!("ep={}", &device_id[2..]);
        let draft = bench.draft(message::POST, "t/d", &query).payload(payload);
        let changed = answer(message::CHANGED, bench.msg_id, b"");
        let got = bench.answers(1, &draft.bytes().unwrap()).await;
        assert_eq!(got, [changed], "{name}");
        let history = bench.server.history(device_id);
        assert_eq!(
            history[before.len()..],
            Vec::from_iter((!want.is_null()).then_some(want))
        );
        assert_eq!(bench.server.reported_events(device_id), history, "{name}");
        let raw = bench.raw(device_id);
        if kind.is_empty() {
            assert_eq!(raw.len(), kept, "{name}");
            continue;
        }
        let (got_kind, bytes, reason) = &raw[0];
        assert_eq!((raw.len(), &bytes[..]), (kept + 1, payload), "{name}");
        assert_eq!(got_kind, kind, "{name}: {reason}");
        assert!(reason.contains(words), "{name}: {reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_report_comes_in_blocks() {
    let mut bench = Bench::start().await;
    let long = "x".repeat(1500);
    let service = json!({"service_id": "Flow", "properties": {"text": long}});
    let body = json!({"services": [service]}).to_string().into_bytes();
    let parts: Vec<_> = body.chunks(512).collect();
    assert_eq!(parts.len(), 4);
    // Sent anew after the server died: the same report.
    for _ in 0..2 {
        for (number, part) in (0u32..).zip(&parts) {
            let more = number < 3;
            let block = number << 4 | u32::from(more) << 3 | 5;
            let draft = bench.draft(message::POST, "t/d", "ep=n2");
            let draft = draft.uint(CoapOption::Block1, block).payload(part);
            let code = if more { 0x5f } else { message::CHANGED };
            let [.., value] = block.to_be_bytes();
            let want = answer(code, bench.msg_id, &[0xd1, 0x0e, value]);
            let got = bench.answers(1, &draft.bytes().unwrap()).await;
            assert_eq!(got, [want], "block {number}");
        }
        assert_eq!(bench.server.history("j_n2"), [json!({"text": long})]);
        bench.restart();
    }
    // A block that does not follow.
    let draft = bench.draft(message::POST, "t/d", "ep=n2");
    let draft = draft
        .uint(CoapOption::Block1, 2 << 4 | 8 | 5)
        .payload(parts[2]);
    let got = bench.answers(1, &draft.bytes().unwrap()).await;
    assert_eq!(&got[0][..4], "6288", "{got:?}");
}
