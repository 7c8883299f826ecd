//! `…/batchtasks`: what a task, a list of tasks and a path must be like, and what the answer says.

use serde_json::{Value, json};
use strait::store::Store;

use crate::api::with;
use crate::api_batch::{PATH, freezing, start};

#[tokio::test]
async fn every_field_is_checked_with_its_path() {
    let long = |n: usize| json!("a".repeat(n));
    let many: Vec<String> = (0..30_001).map(|n| format!("d{n}")).collect();
    let base = json!({"task_name": "t", "task_type": "updateDevices", "targets": ["d"],
        "document": {"description": "x"},
        "task_policy": {"retry_count": 1, "retry_interval": 1}});
    let cases: Vec<(&str, Option<Value>, &str)> = vec![
        ("/task_name", None, "task_name: is missing"),
        (
            "/task_name",
            Some(long(129)),
            "task_name: got 129 characters",
        ),
        (
            "/task_name",
            Some(json!("a-b")),
            "task_name: has the character '-'",
        ),
        ("/task_type", None, "task_type: is missing"),
        (
            "/task_type",
            Some(json!("nothing")),
            "task_type: got \"nothing\", takes one of",
        ),
        (
            "/task_type",
            Some(json!("moduleUpgrade")),
            "this server takes createDevices, delete",
        ),
        (
            "/task_type",
            Some(json!("createDevices")),
            "targets: createDevices takes document.dev",
        ),
        ("/app_id", Some(long(37)), "app_id: has 37 characters"),
        (
            "/need_confirm",
            Some(json!("yes")),
            "need_confirm: got text, takes true or false",
        ),
        (
            "/task_ext_info",
            Some(json!([])),
            "task_ext_info: got a list, takes an object",
        ),
        ("/targets", None, "targets: is missing"),
        (
            "/targets",
            Some(json!([])),
            "targets: got 0 entries, takes 1 to 30000",
        ),
        (
            "/targets",
            Some(json!(many)),
            "targets: got 30001 entries, takes 1 to 30000",
        ),
        (
            "/targets/0",
            Some(json!("a/b")),
            "targets[0]: has the character '/'",
        ),
        (
            "/targets/0",
            Some(json!(7)),
            "targets[0]: got the number 7, takes text",
        ),
        (
            "/document",
            None,
            "document: is missing, takes one or more of device_name",
        ),
        (
            "/document/description",
            Some(long(2049)),
            "document.description: got 2049 characters",
        ),
        (
            "/task_policy/retry_count",
            Some(json!(6)),
            "task_policy.retry_count: got 6, takes",
        ),
        (
            "/task_policy/retry_count",
            None,
            "task_policy.retry_count: is missing",
        ),
        (
            "/task_policy/retry_interval",
            Some(json!(1441)),
            "retry_interval: got 1441, takes",
        ),
        (
            "/task_policy/retry_interval",
            None,
            "task_policy.retry_interval: is missing",
        ),
        (
            "/task_policy/schedule_time",
            Some(json!("soon")),
            "schedule_time: takes a time like",
        ),
        (
            "/task_policy/schedule_time",
            Some(json!("20260301T115959Z")),
            "takes a time from",
        ),
        (
            "/task_policy/schedule_time",
            Some(json!("20260308T120001Z")),
            "takes a time from",
        ),
    ];
    let server = start().await;
    let mut failures = Vec::new();
    for (pointer, value, want) in cases {
        let answer = server.post(PATH, &with(&base, pointer, value)).await;
        let (status, code, message) = answer.error();
        if (status, code) != (400, "IOTDA.000006") || !message.contains(want) {
            failures.push(format!(
                "{pointer}: {status} {code} {message}\n  want {want}"
            ));
        }
        // What is there and wrong is not also missing.
        if message.matches("targets: ").count() > 1 {
            failures.push(format!("{pointer}: told twice: {message}"));
        }
    }
    let groups = json!({"task_name": "t", "task_type": "freezeDevices",
        "targets_filter": {"group_ids": ["nobody"]}});
    let file = json!({"task_name": "t", "task_type": "createDevices", "document_source": "none"});
    let space = with(&freezing(&["d"]), "/app_id", Some(json!("nowhere")));
    for (body, status, want) in [
        (
            groups,
            400,
            "targets_filter.group_ids[0]: there is no group nobody",
        ),
        (file, 400, "document_source: file_id: there is no file none"),
        (space, 403, "app_id: there is no resource space nowhere"),
    ] {
        let answer = server.post(PATH, &body).await;
        if answer.status != status || !answer.error().2.contains(want) {
            failures.push(format!("{body}: {answer:?}\n  want {want}"));
        }
    }
    for (path, status, want) in [
        (PATH.to_owned(), 400, "task_type: is missing"),
        (
            format!("{PATH}?task_type=freezeDevices&status=Waiting"),
            400,
            "status: got \"Waiting\"",
        ),
        (
            format!("{PATH}?task_type=freezeDevices&limit=51"),
            400,
            "limit: got \"51\"",
        ),
        (format!("{PATH}/abc"), 404, "there is no batch task abc"),
        (
            format!("{PATH}/{}", "f".repeat(24)),
            404,
            "there is no batch task fff",
        ),
        (
            format!("{PATH}/a%2Fb"),
            400,
            "task_id: has the character '/'",
        ),
    ] {
        let answer = server.get(&path).await;
        if answer.status != status || !answer.error().2.contains(want) {
            failures.push(format!("{path}: {answer:?}\n  want {want}"));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert!(server.store.tasks().unwrap().is_empty());
    assert!(server.store.subtask_owners().unwrap().is_empty());
}
