//! Lists, their filters and pages, and counts.

use std::time::Duration;

use serde_json::{Value, json};
use strait::app::credentials::Role;

use super::{Bench, DEVICE, DEVICES, reboot, valve};
use crate::api::Server;
use crate::api_auth::credential;

/// Eight that wait and eight that failed, one a second, `REBOOT` each third; ids from the first on.
async fn filled() -> (Bench, Vec<String>, Vec<String>) {
    let bench = Bench::start().await;
    let (mut open, mut ended) = (Vec::new(), Vec::new());
    for at in 0..8 {
        let make = if at % 3 == 0 { reboot } else { valve };
        open.push(bench.submitted(&make("delay")).await);
        ended.push(bench.submitted(&make("immediately")).await);
        bench.server.clock.advance(Duration::from_secs(1));
    }
    (bench, open, ended)
}

async fn count(server: &Server, query: &str) -> Value {
    let path = format!("{DEVICES}/{DEVICE}/async-commands-history/count{query}");
    let answer = server.post(&path, &Value::Null).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    answer.body["count"].clone()
}

#[tokio::test]
async fn filters_choose() {
    let (bench, open, ended) = filled().await;
    let cases: [(&str, Vec<usize>); 10] = [
        ("", vec![7, 6, 5, 4, 3, 2, 1, 0]),
        ("?command_name=REBOOT", vec![6, 3, 0]),
        ("?command_name=reboot", vec![]),
        ("?start_time=20260301T120006Z", vec![7, 6]),
        ("?end_time=20260301T120001Z", vec![1, 0]),
        (
            "?start_time=20260301T120002Z&end_time=20260301T120004Z",
            vec![4, 3, 2],
        ),
        (
            "?start_time=20260301T120002Z&command_name=REBOOT",
            vec![6, 3],
        ),
        ("?status=SUCCESSFUL", vec![]),
        ("?limit=2&offset=3", vec![4, 3]),
        ("?offset=7", vec![0]),
    ];
    for (query, want) in cases {
        for (list, ids) in [
            ("async-commands", &open),
            ("async-commands-history", &ended),
        ] {
            let want: Vec<&String> = want.iter().map(|at| &ids[*at]).collect();
            let got = bench.listed(&format!("{list}{query}")).await;
            assert_eq!(got.iter().collect::<Vec<_>>(), want, "{list}{query}");
        }
    }
    for (query, of_open, of_ended) in [("?status=PENDING", 8, 0), ("?status=FAILED", 0, 8)] {
        for (list, want) in [
            ("async-commands", of_open),
            ("async-commands-history", of_ended),
        ] {
            let got = bench.listed(&format!("{list}{query}")).await;
            assert_eq!(got.len(), want, "{list}{query}");
        }
        assert_eq!(count(&bench.server, query).await, of_ended, "{query}");
    }
    assert_eq!(count(&bench.server, "").await, 8);
    let some = "?end_time=20260301T120003Z&command_name=REBOOT";
    assert_eq!(count(&bench.server, some).await, 2);
}

#[tokio::test]
async fn pages_follow_their_markers() {
    let (bench, open, ended) = filled().await;
    for (list, ids) in [("async-commands", open), ("async-commands-history", ended)] {
        let (mut marker, mut seen) = ("ffffffffffffffffffffffff".to_owned(), Vec::new());
        loop {
            let path = format!("{DEVICES}/{DEVICE}/{list}?limit=3&marker={marker}");
            let page = bench.server.get(&path).await.body;
            match list {
                "async-commands" => assert_eq!(page["page"]["count"], 8),
                _ => assert!(page["page"].get("count").is_none(), "{page}"),
            }
            let here = page["commands"].as_array().unwrap();
            seen.extend(here.iter().map(super::id_of));
            match page["page"]["marker"].as_str() {
                Some(next) => marker = next.to_owned(),
                None => break,
            }
        }
        let newest_first: Vec<String> = ids.into_iter().rev().collect();
        assert_eq!(seen, newest_first, "{list}");
    }
    // What a list tells of a command.
    let list = bench.server.get(&Bench::path("?limit=1")).await.body;
    let one = &list["commands"][0];
    let id = super::id_of(one);
    let want = json!({"device_id": DEVICE, "command_id": id, "service_id": "Flow",
        "command_name": "SET_VALVE", "expire_time": 86_400, "status": "PENDING",
        "created_time": "20260301T120007Z", "sent_time": null, "delivered_time": null,
        "send_strategy": "delay", "response_time": null});
    assert_eq!(*one, want);
}

/// Who may only read lists and counts, and sends nothing.
#[tokio::test]
async fn counting_is_reading() {
    const READER: &str = "reader";
    const WRITER: &str = "writer";
    let server = Server::with_auth(vec![
        credential(READER, Role::ReadOnly, None),
        credential(WRITER, Role::Admin, None),
    ]);
    let ask = |token: &str, method: &str, path: &str, body: Value| {
        let request = axum::http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .header("x-auth-token", format!("token-of-{token}"))
            .body(axum::body::Body::from(body.to_string()));
        request.unwrap()
    };
    let product = super::valve_product();
    let made = server.send(ask(WRITER, "POST", "/v5/iot/x/products", product));
    assert_eq!(made.await.status, 201);
    let device = json!({"node_id": "n1", "product_id": "p1"});
    let made = server.send(ask(WRITER, "POST", DEVICES, device));
    assert_eq!(made.await.status, 201);
    let path = Bench::path("");
    let cases = [
        (READER, "POST", path.clone(), 403),
        (WRITER, "POST", path.clone(), 200),
        (READER, "GET", path.clone(), 200),
        (READER, "GET", format!("{path}-history"), 200),
        (READER, "POST", format!("{path}-history/count"), 200),
    ];
    for (token, method, path, want) in cases {
        let request = ask(token, method, &path, valve("delay"));
        let answer = server.send(request).await;
        assert_eq!(answer.status, want, "{method} {path}: {:?}", answer.body);
    }
}
