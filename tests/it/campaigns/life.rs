//! A campaign from its creation to its end: targets, conflicts, orders.

use serde_json::json;
use strait::base::ids::TaskId;

use super::{Bench, campaign, device};
use crate::api::with;
use crate::api_batch::{PATH, until_status};

#[tokio::test]
async fn devices_begin_and_end() {
    let mut bench = Bench::start(3).await;
    let id = bench.create(&campaign(&[0, 1, 2])).await;
    let task_id = TaskId::parse(&id).unwrap();
    assert_eq!(bench.server.app.batches.uses_package("fw2"), Some(task_id));
    assert_eq!(bench.server.app.batches.uses_package("fw3"), None);
    let begun = bench.begun(&id, 3).await;
    let task = &begun["batchtask"];
    assert_eq!(
        (&task["status"], &task["document"]),
        (
            &json!("Processing"),
            &json!({"package_ids": ["fw2"], "package_id": "fw2"})
        )
    );
    let refused = bench.server.delete(&format!("{PATH}/{id}")).await;
    assert!(refused.error().2.contains("stop it first"), "{refused:?}");
    bench.succeed(0).await;
    bench.fail(1).await;
    bench.until(&id, "fail", 1).await;
    assert_eq!(
        bench.target(&id, 1).await,
        (
            "Fail".to_owned(),
            "The device answered 4.04 to the question for its version".to_owned()
        )
    );
    assert_eq!(bench.target(&id, 2).await.0, "Processing");
    bench.succeed(2).await;
    until_status(&bench.server, &id, "PartialSuccess").await;
    assert_eq!(bench.server.app.batches.uses_package("fw2"), None);
    let events = bench.server.events();
    let ended = events
        .iter()
        .filter(|(name, _)| name == "device.upgrade.update");
    let mut told: Vec<_> = ended
        .map(|(_, e)| &e["notify_data"]["body"]["status"])
        .collect();
    told.sort_by_key(|status| status.to_string());
    assert_eq!(told, ["Fail", "Success", "Success"]);
    assert_eq!(
        bench.server.delete(&format!("{PATH}/{id}")).await.status,
        204
    );
}

/// What can't be upgraded is refused from the start, and says why; the rest goes on.
#[tokio::test]
async fn targets_are_judged_at_creation() {
    let mut bench = Bench::start(1).await;
    let mut body = campaign(&[0, 8]);
    let second = with(
        &crate::api::meter_product(),
        "/product_id",
        Some(json!("p2")),
    );
    let made = bench.server.post("/v5/iot/x/products", &second).await;
    assert_eq!(made.status, 201);
    let other = json!({"node_id": "x", "product_id": "p2"});
    assert_eq!(
        bench.server.post("/v5/iot/x/devices", &other).await.status,
        201
    );
    body["targets"].as_array_mut().unwrap().push(json!("p2_x"));
    let id = bench.create(&body).await;
    bench.begun(&id, 1).await;
    let missing = bench.target(&id, 8).await;
    assert_eq!(
        missing,
        (
            "Fail".to_owned(),
            "device_id: there is no device p1_n8".to_owned()
        )
    );
    let path = format!("{PATH}/{id}?target=p2_x");
    let error = bench.server.get(&path).await.body["task_details"][0]["error"].clone();
    assert_eq!(
        error["error_msg"],
        "the device is of product p2, the package is for p1"
    );
    bench.succeed(0).await;
    until_status(&bench.server, &id, "PartialSuccess").await;

    let off = json!({"upgrade": {"firmware": null}});
    let put = bench.server.put("/v1/products/p1/settings", &off).await;
    assert_eq!(put.status, 200, "{put:?}");
    let id = bench.create(&campaign(&[0])).await;
    until_status(&bench.server, &id, "Fail").await;
    let (_, text) = bench.target(&id, 0).await;
    assert!(text.contains("upgrade.firmware is null"), "{text}");
}

#[tokio::test]
async fn documents_name_a_package_of_their_type() {
    let bench = Bench::start(1).await;
    let base = campaign(&[0]);
    let cases = [
        ("/document", None, "document: is missing"),
        (
            "/document/package_ids",
            None,
            "document.package_ids: is missing",
        ),
        (
            "/document/package_ids",
            Some(json!([])),
            "document.package_ids: ",
        ),
        (
            "/document/package_ids",
            Some(json!(["fw2", "fw3"])),
            "document.package_ids: ",
        ),
        (
            "/document/package_ids",
            Some(json!(["gone"])),
            "document.package_ids[0]: there is no package",
        ),
        (
            "/document/package_ids",
            Some(json!(["sw2"])),
            "document.package_ids[0]: package sw2 is software",
        ),
        (
            "/task_type",
            Some(json!("softwareUpgrade")),
            "document.package_ids[0]: package fw2 is firmware",
        ),
        (
            "/task_policy",
            Some(json!({"retry_count": 6, "retry_interval": 1})),
            "task_policy.retry_count: ",
        ),
        (
            "/task_policy",
            Some(json!({"retry_count": 1})),
            "task_policy.retry_interval: is missing",
        ),
        (
            "/task_policy",
            Some(json!({"schedule_time": "20270301T120000Z"})),
            "task_policy.schedule_time: ",
        ),
    ];
    for (pointer, value, want) in cases {
        let answer = bench.server.post(PATH, &with(&base, pointer, value)).await;
        let (status, _, message) = answer.error();
        assert_eq!(status, 400, "{pointer}: {message}");
        assert!(message.starts_with(want), "{pointer}: {message}");
    }
    let single = with(&base, "/document", Some(json!({"package_id": "fw2"})));
    bench.create(&single).await;
}

/// A device has one upgrade at a time; the second campaign's waits its turn and then has it.
#[tokio::test]
async fn a_second_campaign_meets_a_conflict() {
    let mut bench = Bench::start(1).await;
    let first = bench.create(&campaign(&[0])).await;
    bench.begun(&first, 1).await;
    let hasty = bench.create(&campaign(&[0])).await;
    until_status(&bench.server, &hasty, "Fail").await;
    assert_eq!(
        bench.target(&hasty, 0).await,
        ("Fail".to_owned(), "Task Conflict".to_owned())
    );
    let policy = json!({"retry_count": 1, "retry_interval": 1});
    let body = with(&campaign(&[0]), "/task_policy", Some(policy));
    let patient = bench.create(&body).await;
    bench.until(&patient, "fail_wait_retry", 1).await;
    assert_eq!(
        bench.target(&patient, 0).await,
        ("FailWaitRetry".to_owned(), "Task Conflict".to_owned())
    );
    bench.succeed(0).await;
    until_status(&bench.server, &first, "Success").await;
    bench.wait(60);
    bench.begun(&patient, 1).await;
    assert_eq!(bench.upgrade(0).unwrap().tries, 2);
    bench.succeed(0).await;
    until_status(&bench.server, &patient, "Success").await;
}

#[tokio::test]
async fn a_failed_attempt_is_followed_by_another() {
    let mut bench = Bench::start(1).await;
    let policy = json!({"retry_count": 1, "retry_interval": 5});
    let body = with(&campaign(&[0]), "/task_policy", Some(policy));
    let id = bench.create(&body).await;
    bench.begun(&id, 1).await;
    bench.fail(0).await;
    bench.until(&id, "fail_wait_retry", 1).await;
    bench.wait(299);
    bench.until(&id, "fail_wait_retry", 1).await;
    bench.wait(1);
    bench.begun(&id, 1).await;
    bench.fail(0).await;
    until_status(&bench.server, &id, "Fail").await;
    // By hand it begins anew.
    assert_eq!(bench.order(&id, "retry", &[]).await.status, 200);
    bench.begun(&id, 1).await;
    assert_eq!(bench.upgrade(0).unwrap().tries, 1);
    bench.succeed(0).await;
    until_status(&bench.server, &id, "Success").await;
}

#[tokio::test]
async fn a_campaign_is_stopped_and_retried() {
    let mut bench = Bench::start(4).await;
    let id = bench.create(&campaign(&[0, 1, 2, 3])).await;
    bench.begun(&id, 4).await;
    bench.succeed(0).await;
    bench.until(&id, "success", 1).await;
    let answer = bench.order(&id, "stop", &[0, 1, 9]).await;
    let of = |at: usize| {
        let target = &answer.body["targets"][at];
        (target["status"].clone(), target["error_msg"].clone())
    };
    assert_eq!(of(0).0, "failure");
    assert!(
        of(0).1.as_str().unwrap().starts_with("it is Success"),
        "{answer:?}"
    );
    assert_eq!(of(1), (json!("success"), json!(null)));
    assert_eq!(of(2).1, "the task has no such target");
    assert_eq!(bench.target(&id, 1).await.0, "Stopped");
    assert_eq!(bench.order(&id, "stop", &[]).await.status, 200);
    let stopped = until_status(&bench.server, &id, "Stopped").await;
    assert_eq!(stopped["batchtask"]["task_progress"]["stopped"], 3);
    let again = bench.order(&id, "stop", &[]).await;
    assert!(
        again.error().2.starts_with("the task is Stopped"),
        "{again:?}"
    );
    // They are free for others, and for another try.
    assert_eq!(
        bench.order(&id, "retry", &[1]).await.body["targets"][0]["status"],
        "success"
    );
    bench.begun(&id, 1).await;
    bench.succeed(1).await;
    bench.until(&id, "success", 2).await;
}

#[tokio::test]
async fn what_is_not_confirmed_does_not_begin() {
    let mut bench = Bench::start(3).await;
    let body = with(&campaign(&[0, 1, 2]), "/need_confirm", Some(json!(true)));
    let id = bench.create(&body).await;
    let task = until_status(&bench.server, &id, "Waitting").await;
    assert_eq!(task["batchtask"]["task_progress"]["waitting"], 3);
    let answer = bench.order(&id, "confirm", &[1, 7]).await;
    assert_eq!(answer.body["targets"][0]["status"], "success");
    assert_eq!(answer.body["targets"][1]["status"], "failure");
    bench.begun(&id, 1).await;
    assert_eq!(bench.target(&id, 0).await.0, "Waitting");
    // It is remembered what was confirmed.
    bench = bench.restart().await;
    bench.begun(&id, 1).await;
    let twice = bench.order(&id, "confirm", &[1]).await;
    let problem = twice.body["targets"][0]["error_msg"].as_str().unwrap();
    assert!(problem.starts_with("it is Processing"), "{problem}");
    assert_eq!(bench.order(&id, "confirm", &[]).await.status, 200);
    bench.begun(&id, 3).await;
    let none = bench.order(&id, "confirm", &[]).await;
    assert!(none.error().2.contains("no target of it waits"), "{none:?}");
    let plain = bench.create(&campaign(&[0])).await;
    let refused = bench.order(&plain, "confirm", &[]).await;
    assert!(
        refused.error().2.contains("without need_confirm"),
        "{refused:?}"
    );
    // One that waits for it can be stopped with the rest.
    let stopped = bench.order(&id, "stop", &[]).await;
    assert_eq!(stopped.status, 200);
    until_status(&bench.server, &id, "Stopped").await;
}

#[tokio::test]
async fn a_device_that_is_deleted_leaves_its_campaign() {
    let mut bench = Bench::start(2).await;
    let id = bench.create(&campaign(&[0, 1])).await;
    bench.begun(&id, 2).await;
    bench.come(0).await;
    bench.asked().await;
    let path = format!("/v5/iot/x/devices/{}", device(0));
    assert_eq!(bench.server.delete(&path).await.status, 204);
    bench.until(&id, "removed", 1).await;
    assert_eq!(bench.target(&id, 0).await.0, "Removed");
    bench.succeed(1).await;
    until_status(&bench.server, &id, "Success").await;
}
