//! Batch tasks `createAsyncCommands`, and what subscribers are told of batch tasks.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use strait::store::StoreError;

use super::{Bench, DEVICE, valve};
use crate::api::with;
use crate::api_batch::{create, freezing, until, until_status};

fn task(targets: &[&str], document: Value) -> Value {
    json!({"task_name": "valves", "task_type": "createAsyncCommands", "targets": targets,
        "document": document})
}

/// Statuses that were told of a task, in order.
fn told(bench: &Bench, id: &str) -> Vec<String> {
    let events = bench.server.events().into_iter();
    let bodies = events
        .filter(|(name, _)| name == "batchtask.update")
        .map(|(_, event)| event["notify_data"]["body"].clone());
    bodies
        .filter(|body| body["task_id"] == id)
        .map(|body| body["status"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn each_target_gets_the_command() {
    let bench = Bench::start().await;
    bench.server.device("n2").await;
    let document = with(&valve("delay"), "/expire_time", Some(json!(600)));
    let body = task(&[DEVICE, "p1_n2", "gone"], document.clone());
    let id = create(&bench.server, &body).await;
    let done = until_status(&bench.server, &id, "PartialSuccess").await;
    assert_eq!(done["batchtask"]["document"], document);
    assert_eq!(done["batchtask"]["task_type"], "createAsyncCommands");
    let details = done["task_details"].as_array().unwrap();
    for detail in details {
        let target = detail["target"].as_str().unwrap();
        if target == "gone" {
            assert_eq!(detail["error"]["error_code"], "IOTDA.014000");
            continue;
        }
        let command = detail["output"].as_str().unwrap();
        let path = format!("{}/{target}/async-commands/{command}", super::DEVICES);
        let shown = bench.server.get(&path).await.body;
        assert_eq!(
            (&shown["status"], &shown["expire_time"], &shown["paras"]),
            (&json!("PENDING"), &json!(600), &json!({"open": 1}))
        );
    }
    assert_eq!(
        told(&bench, &id),
        ["Waitting", "Processing", "PartialSuccess"]
    );
    let events = bench.server.events();
    let last = events.iter().rfind(|(name, _)| name == "batchtask.update");
    assert_eq!(
        last.unwrap().1["notify_data"],
        json!({"body": {"app_id": "default", "task_id": id, "task_type": "createAsyncCommands",
            "status": "PartialSuccess", "status_desc": ""}})
    );
}

/// One that fails at once fails its subtask, with the reason; a retry makes a new command.
#[tokio::test]
async fn what_fails_at_once_is_tried_again() {
    let mut bench = Bench::start().await;
    let policy = json!({"retry_count": 1, "retry_interval": 1});
    let body = with(
        &task(&[DEVICE], valve("immediately")),
        "/task_policy",
        Some(policy),
    );
    let id = create(&bench.server, &body).await;
    let waits = |task: &Value| task["task_progress"]["fail_wait_retry"] == 1;
    let first = until(&bench.server, &id, waits).await;
    let detail = &first["task_details"][0];
    assert_eq!(
        detail["error"],
        json!({"error_code": "IOTDA.014016", "error_msg": "the device is not online"})
    );
    let failed = detail["output"].as_str().unwrap();
    assert_eq!(bench.show(failed).await["status"], "FAILED");
    bench.come().await;
    bench.server.clock.advance(Duration::from_secs(60));
    bench.server.app.batches.wake();
    let done = until_status(&bench.server, &id, "Success").await;
    let detail = &done["task_details"][0];
    assert_eq!(
        (&detail["status"], &detail["error"]),
        (&json!("Success"), &json!(null))
    );
    let sent = detail["output"].as_str().unwrap();
    assert_ne!(sent, failed);
    bench.down().await;
    assert_eq!(bench.show(sent).await["status"], "SENT");
}

/// A process that dies in the middle, and a store in trouble: every target gets one command.
#[tokio::test]
async fn a_restart_sends_nothing_twice() {
    const COUNT: usize = 300;
    let bench = Bench::start().await;
    let mut targets = Vec::new();
    for at in 0..COUNT {
        targets.push(bench.server.device(&format!("b{at}")).await);
    }
    let names: Vec<&str> = targets.iter().map(String::as_str).collect();
    let id = create(&bench.server, &task(&names, valve("delay"))).await;
    let faults = bench.server.store.faults();
    faults.fail_next(3, &StoreError::Full { free: 1, need: 2 });
    let begun = |task: &Value| task["task_progress"]["success"].as_u64() >= Some(20);
    until(&bench.server, &id, begun).await;
    bench.server.app.tasks.shut_down(Duration::ZERO).await;

    let bench = Bench::over(Arc::clone(&bench.server.store));
    let done = until_status(&bench.server, &id, "Success").await;
    assert_eq!(done["batchtask"]["task_progress"]["success"], COUNT);
    for target in &targets {
        let path = format!("{}/{target}/async-commands", super::DEVICES);
        let list = bench.server.get(&path).await.body;
        assert_eq!(list["page"]["count"], 1, "{target}");
    }
}

#[tokio::test]
async fn documents_are_checked() {
    let bench = Bench::start().await;
    let base = task(&[DEVICE], valve("delay"));
    let cases: [(&str, Option<Value>, &str); 8] = [
        ("/document", None, "document: is missing"),
        (
            "/document/service_id",
            None,
            "document.service_id: is missing",
        ),
        (
            "/document/command_name",
            Some(json!(7)),
            "document.command_name: ",
        ),
        ("/document/paras", None, "document.paras: is missing"),
        ("/document/paras", Some(json!([])), "document.paras: "),
        (
            "/document/send_strategy",
            None,
            "document.send_strategy: is missing",
        ),
        (
            "/document/send_strategy",
            Some(json!("later")),
            "document.send_strategy: ",
        ),
        (
            "/document/expire_time",
            Some(json!(172_801)),
            "document.expire_time: ",
        ),
    ];
    for (place, value, want) in cases {
        let answer = bench
            .server
            .post(crate::api_batch::PATH, &with(&base, place, value))
            .await;
        let (status, _, message) = answer.error();
        assert_eq!(status, 400, "{place}");
        assert!(message.starts_with(want), "{place}: {message}");
    }
    // What a model does not take fails each target by itself.
    let body = with(&base, "/document/paras", Some(json!({"open": 5})));
    let id = create(&bench.server, &body).await;
    let done = until_status(&bench.server, &id, "Fail").await;
    let error = &done["task_details"][0]["error"];
    assert_eq!(error["error_code"], "IOTDA.000006");
    let message = error["error_msg"].as_str().unwrap();
    assert!(message.starts_with("paras.open: "), "{message}");
}

/// Every task tells how it stands, whatever it does, also one that is stopped and retried.
#[tokio::test]
async fn tasks_of_every_type_are_told() {
    let bench = Bench::start().await;
    let later = json!({"schedule_time": "20260301T130000Z"});
    let body = with(&freezing(&[DEVICE]), "/task_policy", Some(later));
    let id = create(&bench.server, &body).await;
    assert_eq!(told(&bench, &id), ["Waitting"]);
    let path = format!("{}/{id}", crate::api_batch::PATH);
    let stopped = bench.server.post(&format!("{path}/stop"), &json!({})).await;
    assert_eq!(stopped.status, 200);
    until_status(&bench.server, &id, "Stopped").await;
    assert_eq!(told(&bench, &id), ["Waitting", "Stopped"]);
    let retried = bench
        .server
        .post(&format!("{path}/retry"), &json!({}))
        .await;
    assert_eq!(retried.status, 200, "{retried:?}");
    until_status(&bench.server, &id, "Success").await;
    assert_eq!(
        told(&bench, &id),
        ["Waitting", "Stopped", "Waitting", "Processing", "Success"]
    );
}
