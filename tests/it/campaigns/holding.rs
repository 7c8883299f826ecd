//! What holds campaigns back: pause, a canary share, a window of the day.

use serde_json::{Value, json};
use strait::app::batch::Why;

use super::{Bench, campaign};
use crate::api::with;
use crate::api_batch::until_status;

fn path(id: &str, what: &str) -> String {
    format!("/v1/campaigns/{id}/{what}")
}

fn unconfirmed(nodes: &[usize]) -> Value {
    with(&campaign(nodes), "/need_confirm", Some(json!(true)))
}

fn seq_of(id: &str) -> u64 {
    u64::from_str_radix(id, 16).unwrap()
}

#[tokio::test]
async fn a_paused_campaign_begins_nothing() {
    let mut bench = Bench::start(2).await;
    let id = bench.create(&unconfirmed(&[0, 1])).await;
    assert_eq!(bench.order(&id, "confirm", &[0]).await.status, 200);
    bench.begun(&id, 1).await;
    let paused = bench.server.post(&path(&id, "pause"), &json!({})).await;
    assert_eq!(
        paused.body,
        json!({"task_id": id, "status": "Processing", "paused": true})
    );
    let batches = &bench.server.app.batches;
    assert_eq!(batches.may_admit(seq_of(&id)), Err(Why::Paused));
    assert_eq!(bench.order(&id, "confirm", &[1]).await.status, 200);
    bench = bench.restart().await;
    // What was under way goes on, and nothing else.
    bench.succeed(0).await;
    bench.until(&id, "success", 1).await;
    assert_eq!(bench.target(&id, 1).await.0, "Waitting");
    assert!(bench.upgrade(1).is_none());
    let resumed = bench.server.post(&path(&id, "resume"), &json!({})).await;
    assert_eq!(resumed.body["paused"], false);
    bench.begun(&id, 1).await;
    bench.succeed(1).await;
    until_status(&bench.server, &id, "Success").await;
    let over = bench.server.post(&path(&id, "pause"), &json!({})).await;
    assert!(
        over.error().2.starts_with("the task is Success"),
        "{over:?}"
    );
}

#[tokio::test]
async fn a_canary_goes_first_and_stops_what_fails() {
    let mut bench = Bench::start(20).await;
    let all: Vec<usize> = (0..20).collect();
    let id = bench.create(&unconfirmed(&all)).await;
    let policy = json!({"canary":
        {"share_percent": 20, "max_failure_percent": 25, "min_results": 2}});
    let put = bench.server.put(&path(&id, "policy"), &policy).await;
    let want = json!({"canary": policy["canary"], "window": null});
    assert_eq!((put.status.as_u16(), &put.body), (200, &want));
    assert_eq!(bench.order(&id, "confirm", &[]).await.status, 200);
    bench.begun(&id, 4).await;
    bench.succeed(0).await;
    bench.succeed(1).await;
    bench.until(&id, "success", 2).await;
    assert_eq!(bench.target(&id, 19).await.0, "Waitting");
    // The policy outlives the process, as what it has seen does.
    bench = bench.restart().await;
    assert_eq!(bench.server.get(&path(&id, "policy")).await.body, want);
    bench.succeed(2).await;
    bench.begun(&id, 1).await;
    bench.succeed(3).await;
    bench.begun(&id, 16).await;
    bench.fail(4).await;
    bench.until(&id, "fail", 1).await;
    bench.fail(5).await;
    let stopped = until_status(&bench.server, &id, "Stopped").await;
    let task = &stopped["batchtask"];
    assert_eq!(
        task["status_desc"],
        "stopped by its canary: 2 of 6 devices failed, at most 25 % may"
    );
    assert_eq!(task["task_progress"]["stopped"], 14);
    let told = bench.server.events();
    let last = told.iter().rfind(|(name, _)| name == "batchtask.update");
    let body = &last.unwrap().1["notify_data"]["body"];
    assert_eq!(body["status_desc"], task["status_desc"]);
}

#[tokio::test]
async fn a_window_opens_each_day() {
    let bench = Bench::start(1).await;
    let id = bench.create(&campaign(&[0])).await;
    let seq = seq_of(&id);
    let batches = &bench.server.app.batches;
    assert_eq!(batches.may_admit(seq), Ok(()));
    // It is 12:00 UTC, 14:00 there.
    let window = json!({"from": "15:30", "to": "03:00", "utc_offset_min": 120});
    let put = bench
        .server
        .put(&path(&id, "policy"), &json!({"window": window}))
        .await;
    assert_eq!(put.body, json!({"canary": null, "window": window}));
    let opens_at = bench.server.clock.now().plus_s(5400);
    assert_eq!(batches.may_admit(seq), Err(Why::Window { opens_at }));
    let put = bench.server.post(&path(&id, "resume"), &json!({})).await;
    assert_eq!(put.status, 200);
    bench.wait(5400);
    assert_eq!(batches.may_admit(seq), Ok(()));
    assert_eq!(batches.may_admit(seq + 1), Err(Why::Over));
}

#[tokio::test]
async fn policies_are_checked() {
    let bench = Bench::start(3).await;
    let id = bench.create(&campaign(&[0, 1, 2])).await;
    bench.begun(&id, 3).await;
    let canary = json!({"share_percent": 5, "max_failure_percent": 10, "min_results": 1});
    let window = json!({"from": "22:00", "to": "05:00"});
    let cases = [
        (
            json!({"canary": canary}),
            "canary.share_percent: 3 of 3 devices have begun",
        ),
        (
            json!({"canary": with(&canary, "/share_percent", Some(json!(0)))}),
            "canary.share_percent: got 0, takes a whole number from 1 to 100",
        ),
        (
            json!({"canary": with(&canary, "/max_failure_percent", None)}),
            "canary.max_failure_percent: is missing",
        ),
        (
            json!({"canary": with(&canary, "/share", Some(json!(1)))}),
            "canary.share: ",
        ),
        (
            json!({"window": with(&window, "/from", Some(json!("25:00")))}),
            "window.from: got \"25:00\", takes a time of the day like 22:30",
        ),
        (
            json!({"window": with(&window, "/to", Some(json!("22:00")))}),
            "window.to: is the time of from",
        ),
        (
            json!({"window": with(&window, "/utc_offset_min", Some(json!(900)))}),
            "window.utc_offset_min: got 900",
        ),
        (
            json!({"window": with(&window, "/utc_offset_min", Some(json!(1.5)))}),
            "window.utc_offset_min: takes whole",
        ),
        (json!({"windows": window}), "windows: "),
    ];
    for (body, want) in cases {
        let answer = bench.server.put(&path(&id, "policy"), &body).await;
        let (status, _, message) = answer.error();
        assert_eq!(status, 400, "{body}: {message}");
        assert!(message.starts_with(want), "{body}: {message}");
    }
    let frozen = json!({"task_name": "ice", "task_type": "freezeDevices", "targets": ["p1_n0"]});
    let other = bench.create(&frozen).await;
    for (what, body) in [("pause", json!({})), ("policy", json!({}))] {
        let answer = match what {
            "policy" => bench.server.put(&path(&other, what), &body).await,
            _ => bench.server.post(&path(&other, what), &body).await,
        };
        let message = answer.error().2.to_owned();
        assert!(
            message.starts_with("task_id: a task of type freezeDevices is no campaign"),
            "{message}"
        );
    }
    let missing = bench.server.get(&path(&"f".repeat(24), "policy")).await;
    assert_eq!(missing.status, 404);
}
