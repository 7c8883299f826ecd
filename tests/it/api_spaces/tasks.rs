//! Batch tasks and who sees them.

use serde_json::{Value, json};
use strait::app::batch::TaskQuery;
use strait::base::ids::{AppId, TaskId};
use strait::store::catalog::TaskType;

use crate::api::with;
use crate::api_batch::{create, start, until_status};

fn freezing() -> Value {
    json!({"task_name": "ice", "task_type": "freezeDevices", "targets": ["p1_n1"]})
}

/// A task over all spaces is not for who sees one of them, even when it was filed there.
#[tokio::test]
async fn a_task_over_all_spaces_is_for_callers_of_all() {
    let server = start().await.with_spaces(&["a"]).await;
    server.device("n1").await;
    let over_all = create(&server, &freezing()).await;
    until_status(&server, &over_all, "Success").await;
    let in_a = with(&freezing(), "/app_id", Some(json!("a")));
    let in_a = create(&server, &in_a).await;
    let done = until_status(&server, &in_a, "Fail").await;
    let error = &done["task_details"][0]["error"]["error_code"];
    assert_eq!(error, "IOTDA.014000");
    let cases = [
        (&over_all, AppId::default_space(), false),
        (&in_a, AppId::parse("a").unwrap(), true),
    ];
    for (id, space, sees) in cases {
        let id = TaskId::parse(id).unwrap();
        let batches = &server.app.batches;
        assert_eq!(batches.show(&id, Some(&space)).is_ok(), sees);
        assert!(batches.show(&id, None).is_ok());
        let listed = batches.list(&TaskQuery {
            task_type: Some(TaskType::FreezeDevices),
            status: None,
            app_id: Some(space.clone()),
            space: Some(space),
            before: None,
            offset: 0,
            limit: 10,
        });
        assert_eq!(listed.unwrap().count, u64::from(sees));
    }
}
