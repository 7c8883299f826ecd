//! `…/batchtasks`: the life of a task, with crashes, orders, schedules and a store in trouble.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use strait::app::batch::{BatchError, Input, NewSubtask, NewTask};
use strait::base::ids::{AppId, TaskId};
use strait::base::time::Timestamp;
use strait::store::catalog::TaskType;
use strait::store::memory::MemoryStore;
use strait::store::{Store, StoreError};
use tokio::sync::mpsc;

use crate::api::{Server, with};

pub(crate) const PATH: &str = "/v5/iot/x/batchtasks";
const DEVICES: &str = "/v5/iot/x/devices";

/// A server whose changes of devices somebody hears of, as the shards do.
pub(crate) fn serve(store: Arc<MemoryStore>) -> Server {
    heard(Server::over(store))
}

/// The same of a server that runs.
pub(crate) fn heard(mut server: Server) -> Server {
    let (_, closed) = mpsc::channel(1);
    let mut changes = std::mem::replace(&mut server.changes, closed);
    let hear = async move { while changes.recv().await.is_some() {} };
    server.app.tasks.spawn("listener", hear);
    server
}

pub(crate) async fn start() -> Server {
    serve(Arc::new(MemoryStore::new())).with_product().await
}

/// Creates a task; its id.
pub(crate) async fn create(server: &Server, body: &Value) -> String {
    let made = server.post(PATH, body).await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    made.body["task_id"].as_str().unwrap().to_owned()
}

/// Waits until the task is as wanted; its answer.
pub(crate) async fn until(server: &Server, id: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let wait = async {
        loop {
            let answer = server.get(&format!("{PATH}/{id}?limit=50")).await.body;
            if fits(&answer["batchtask"]) {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), wait).await;
    waited.expect("the task never came so far")
}

pub(crate) async fn until_status(server: &Server, id: &str, status: &str) -> Value {
    until(server, id, |task| task["status"] == status).await
}

fn progress(answer: &Value) -> (u64, u64, u64, u64) {
    let count = |name: &str| answer["batchtask"]["task_progress"][name].as_u64().unwrap();
    (
        count("total"),
        count("success"),
        count("fail"),
        count("stopped"),
    )
}

fn creation(count: usize) -> Value {
    let device = |n: usize| json!({"node_id": format!("n{n}"), "product_id": "p1"});
    let devices: Vec<Value> = (0..count).map(device).collect();
    json!({"task_name": "many", "task_type": "createDevices", "document": {"devices": devices}})
}

pub(crate) fn freezing(targets: &[&str]) -> Value {
    json!({"task_name": "ice", "task_type": "freezeDevices", "targets": targets})
}

async fn status_of(server: &Server, device: &str) -> String {
    let body = server.get(&format!("{DEVICES}/{device}")).await.body;
    body["status"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn each_type_does_what_the_single_call_does() {
    let server = start().await;
    let id = create(&server, &creation(3)).await;
    let done = until_status(&server, &id, "Success").await;
    assert_eq!(progress(&done), (3, 3, 0, 0));
    assert_eq!(done["task_details"][0]["target"], "p1_n2");
    let output = done["task_details"][2]["output"].as_str().unwrap();
    let output: Value = serde_json::from_str(output).unwrap();
    assert_eq!(output, json!({"device_id": "p1_n0", "node_id": "n0"}));
    assert_eq!(done["page"], json!({"count": 3, "marker": "0".repeat(24)}));

    // A missing one fails, the others are done; the same target twice is one.
    let body = freezing(&["p1_n0", "gone", "p1_n1", "p1_n0"]);
    let id = create(&server, &body).await;
    let done = until_status(&server, &id, "PartialSuccess").await;
    assert_eq!(progress(&done), (3, 2, 1, 0));
    assert_eq!(
        done["batchtask"]["targets"],
        json!(["p1_n0", "gone", "p1_n1"])
    );
    assert_eq!(status_of(&server, "p1_n1").await, "FROZEN");
    let failed = server
        .get(&format!("{PATH}/{id}?task_detail_status=Fail"))
        .await
        .body;
    assert_eq!(failed["page"]["count"], 1);
    let error = &failed["task_details"][0];
    assert_eq!(
        (&error["target"], &error["error"]["error_code"]),
        (&json!("gone"), &json!("IOTDA.014000"))
    );
    let one = server.get(&format!("{PATH}/{id}?target=p1_n1")).await.body;
    assert_eq!(one["task_details"][0]["status"], "Success");
    let pages = server.get(&format!("{PATH}/{id}?limit=2")).await.body;
    let marker = pages["page"]["marker"].as_str().unwrap();
    let next = server
        .get(&format!("{PATH}/{id}?limit=2&marker={marker}"))
        .await
        .body;
    assert_eq!(next["task_details"][0]["target"], "p1_n0");

    let unfreeze = with(
        &freezing(&["p1_n0"]),
        "/task_type",
        Some(json!("unfreezeDevices")),
    );
    let id = create(&server, &unfreeze).await;
    until_status(&server, &id, "Success").await;
    assert_eq!(status_of(&server, "p1_n0").await, "INACTIVE");

    let update = json!({"task_name": "new", "task_type": "updateDevices", "targets": ["p1_n0"],
        "document": {"device_name": "cellar", "auth_info": {"timeout": 7}}});
    let id = create(&server, &update).await;
    let done = until_status(&server, &id, "Success").await;
    assert_eq!(done["batchtask"]["document"], update["document"]);
    let device = server.get(&format!("{DEVICES}/p1_n0")).await.body;
    assert_eq!(
        (&device["device_name"], &device["auth_info"]["timeout"]),
        (&json!("cellar"), &json!(7))
    );

    let delete = with(
        &freezing(&["p1_n0", "p1_n2"]),
        "/task_type",
        Some(json!("deleteDevices")),
    );
    let id = create(&server, &delete).await;
    until_status(&server, &id, "Success").await;
    assert_eq!(server.get(&format!("{DEVICES}/p1_n0")).await.status, 404);

    let listed = server
        .get(&format!(
            "{PATH}?task_type=freezeDevices&status=PartialSuccess"
        ))
        .await;
    assert_eq!(listed.body["page"]["count"], 1);
    assert_eq!(server.delete(&format!("{PATH}/{id}")).await.status, 204);
    assert_eq!(server.get(&format!("{PATH}/{id}")).await.status, 404);
}

/// A server that dies in the middle goes on with what is left, and does nothing twice.
#[tokio::test]
async fn a_restart_goes_on_where_the_last_process_ended() {
    const COUNT: usize = 600;
    let server = start().await;
    let id = create(&server, &creation(COUNT)).await;
    let begun = |task: &Value| task["task_progress"]["success"].as_u64() >= Some(20);
    until(&server, &id, begun).await;
    server.app.tasks.shut_down(Duration::ZERO).await;
    let made =
        |events: &[(String, Value)]| events.iter().filter(|e| e.0 == "device.create").count();
    let before = made(&server.events());
    assert!(
        (20..COUNT).contains(&before),
        "{before} were made before the end"
    );

    let server = serve(Arc::clone(&server.store));
    let done = until_status(&server, &id, "Success").await;
    assert_eq!(progress(&done), (COUNT as u64, COUNT as u64, 0, 0));
    assert_eq!(made(&server.events()), COUNT);
}

/// Rows whose task never came to be are gone after a start.
#[tokio::test]
async fn rows_without_a_task_are_swept() {
    let server = start().await;
    let id = create(&server, &creation(3)).await;
    until_status(&server, &id, "Success").await;
    let seq = u64::from_str_radix(&id, 16).unwrap();
    server.app.tasks.shut_down(Duration::ZERO).await;
    server
        .write(vec![strait::store::Change::DeleteTask(seq)])
        .await;
    assert_eq!(server.store.subtask_owners().unwrap(), [seq]);
    let server = serve(Arc::clone(&server.store));
    let swept = async {
        while !server.store.subtask_owners().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), swept)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_task_is_stopped_in_the_middle_and_retried() {
    const COUNT: u64 = 2000;
    let server = start().await;
    let id = create(&server, &creation(2000)).await;
    let begun = |task: &Value| task["task_progress"]["success"].as_u64() >= Some(1);
    until(&server, &id, begun).await;
    let running = server.delete(&format!("{PATH}/{id}")).await;
    assert_eq!(running.status, 400);
    assert!(running.error().2.contains("stop it first"), "{running:?}");
    let stopped = server.post(&format!("{PATH}/{id}/stop"), &json!({})).await;
    assert_eq!(
        (stopped.status.as_u16(), &stopped.body),
        (200, &json!({"targets": []}))
    );
    let answer = until_status(&server, &id, "Stopped").await;
    let (total, success, fail, rest) = progress(&answer);
    assert_eq!((total, success + rest, fail), (COUNT, COUNT, 0));
    assert!(rest > 0 && success > 0, "{success} done, {rest} stopped");
    let again = server.post(&format!("{PATH}/{id}/stop"), &json!({})).await;
    assert!(
        again.error().2.starts_with("the task is Stopped"),
        "{again:?}"
    );

    // One of them, a done one, and one that it never had.
    let found = server
        .get(&format!("{PATH}/{id}?task_detail_status=Stopped&limit=1"))
        .await
        .body;
    let target = found["task_details"][0]["target"].as_str().unwrap();
    let body = json!({"targets": [target, "p1_n0", "other"]});
    let results = server.post(&format!("{PATH}/{id}/retry"), &body).await.body;
    let words: Vec<&str> = (0..3)
        .map(|at| results["targets"][at]["status"].as_str().unwrap())
        .collect();
    assert_eq!(words, ["success", "failure", "failure"]);
    let more = until(&server, &id, |task| task["status"] == "PartialSuccess").await;
    assert_eq!(progress(&more).1, success + 1);
    let all = server.post(&format!("{PATH}/{id}/retry"), &json!({})).await;
    assert_eq!(all.status, 200, "{all:?}");
    let done = until_status(&server, &id, "Success").await;
    assert_eq!(progress(&done), (COUNT, COUNT, 0, 0));
    let none = server.post(&format!("{PATH}/{id}/retry"), &json!({})).await;
    assert!(none.error().2.contains("no subtask failed"), "{none:?}");
}

#[tokio::test]
async fn time_begins_a_task_and_tries_again() {
    let server = start().await;
    let body = with(
        &freezing(&["p1_n1"]),
        "/task_policy",
        Some(json!({
        "schedule_time": "20260301T130000Z", "retry_count": 1, "retry_interval": 2})),
    );
    let id = create(&server, &body).await;
    let answer = until_status(&server, &id, "Waitting").await;
    assert_eq!(answer["batchtask"]["task_policy"], body["task_policy"]);
    server.clock.advance(Duration::from_secs(3599));
    server.app.batches.wake();
    until_status(&server, &id, "Waitting").await;
    server.clock.advance(Duration::from_secs(1));
    server.app.batches.wake();
    let waits = |task: &Value| task["task_progress"]["fail_wait_retry"] == 1;
    let answer = until(&server, &id, waits).await;
    assert_eq!(answer["batchtask"]["status"], "Processing");
    assert_eq!(answer["task_details"][0]["status"], "FailWaitRetry");
    // It waits on over a restart, and the device has come by then.
    server.app.tasks.shut_down(Duration::ZERO).await;
    let server = serve(Arc::clone(&server.store));
    server.device("n1").await;
    server.clock.advance(Duration::from_secs(3600 + 119));
    server.app.batches.wake();
    until(&server, &id, waits).await;
    server.clock.advance(Duration::from_secs(1));
    server.app.batches.wake();
    until_status(&server, &id, "Success").await;
    assert_eq!(status_of(&server, "p1_n1").await, "FROZEN");
}

/// A store in trouble delays subtasks; it does not fail them.
#[tokio::test]
async fn trouble_of_the_store_is_waited_for() {
    let server = start().await;
    server.device("n1").await;
    let at = json!({"schedule_time": "20260301T130000Z"});
    let id = create(
        &server,
        &with(&freezing(&["p1_n1"]), "/task_policy", Some(at)),
    )
    .await;
    let faults = server.store.faults();
    faults.fail_next(3, &StoreError::Full { free: 1, need: 2 });
    server.clock.advance(Duration::from_secs(3600));
    server.app.batches.wake();
    let done = until_status(&server, &id, "Success").await;
    assert_eq!(progress(&done), (1, 1, 0, 0));
}

#[tokio::test]
async fn few_tasks_run_at_the_same_time() {
    let server = start().await;
    let later = json!({"schedule_time": "20260302T120000Z"});
    let body = with(&freezing(&["d"]), "/task_policy", Some(later));
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(create(&server, &body).await);
    }
    let refused = server.post(PATH, &body).await;
    assert_eq!(refused.status, 400);
    assert!(refused.error().2.contains("is reached: 10"), "{refused:?}");
    let stopped = server
        .post(&format!("{PATH}/{}/stop", ids[0]), &json!({}))
        .await;
    assert_eq!(stopped.status, 200);
    until_status(&server, &ids[0], "Stopped").await;
    create(&server, &body).await;
    let page = server
        .get(&format!("{PATH}?task_type=freezeDevices&limit=3"))
        .await
        .body;
    assert_eq!(page["page"]["count"], 11);
    let marker = page["page"]["marker"].as_str().unwrap();
    let next = server
        .get(&format!("{PATH}?task_type=freezeDevices&marker={marker}"))
        .await
        .body;
    assert_eq!(next["batchtasks"].as_array().unwrap().len(), 8);
}

#[tokio::test]
async fn the_devices_of_groups_are_targets() {
    const GROUPS: &str = "/v5/iot/x/device-group";
    let server = start().await;
    let mut groups = Vec::new();
    for (name, members) in [("west", ["n1", "n2"]), ("old", ["n2", "n3"])] {
        let made = server.post(GROUPS, &json!({"name": name})).await;
        let group = made.body["group_id"].as_str().unwrap().to_owned();
        for node in members {
            let device = format!("p1_{node}");
            if server.get(&format!("{DEVICES}/{device}")).await.status == 404 {
                server.device(node).await;
            }
            let path = format!("{GROUPS}/{group}/action?action_id=addDevice&device_id={device}");
            let joined = server.post(&path, &json!({})).await;
            assert!(joined.status.is_success(), "{joined:?}");
        }
        groups.push(group);
    }
    server.device("outside").await;
    let body = json!({"task_name": "ice", "task_type": "freezeDevices",
        "targets_filter": {"group_ids": groups}});
    let id = create(&server, &body).await;
    let done = until_status(&server, &id, "Success").await;
    assert_eq!(progress(&done), (3, 3, 0, 0));
    assert_eq!(done["batchtask"]["targets_filter"], body["targets_filter"]);
    assert_eq!(status_of(&server, "p1_n2").await, "FROZEN");
    assert_eq!(status_of(&server, "p1_outside").await, "INACTIVE");
}

/// Who is bound to a space has tasks there, and reaches no device of another one.
#[tokio::test]
async fn a_bound_task_stays_in_its_space() {
    let server = start().await;
    server.device("n1").await;
    let space = server.app.spaces.add("north".to_owned()).await.unwrap();
    let own: AppId = space.app_id.clone();
    let new = NewTask {
        app_id: None,
        space: Some(own.clone()),
        task_name: "ice".to_owned(),
        task_type: TaskType::FreezeDevices,
        task_mode: None,
        need_confirm: None,
        task_ext_info: None,
        has_targets: true,
        groups: Vec::new(),
        targets_filter: None,
        subtasks: vec![NewSubtask {
            target: "p1_n1".to_owned(),
            input: Input::Common,
        }],
        document: None,
        document_source: None,
        work: None,
        policy: None,
        package_id: None,
    };
    let task = server.app.batches.create(new).await.unwrap();
    let id = task.record.task_id.to_string();
    let done = until_status(&server, &id, "Fail").await;
    assert_eq!(
        done["task_details"][0]["error"]["error_code"],
        "IOTDA.014000"
    );
    assert_eq!(status_of(&server, "p1_n1").await, "INACTIVE");
    let task_id = TaskId::parse(&id).unwrap();
    assert!(server.app.batches.show(&task_id, Some(&own)).is_ok());
    let other = server
        .app
        .batches
        .show(&task_id, Some(&AppId::default_space()));
    assert!(matches!(other, Err(BatchError::NotFound(_))));
    assert!(task.record.created_at > Timestamp::from_ms(0));
}
