//! Processes that die in a campaign, a store in trouble, devices that are deleted at the wrong moment, and a
//! large campaign.

use serde_json::json;
use strait::base::ids::DeviceId;
use strait::store::catalog::SubtaskState;
use strait::store::{Change, Store, StoreError};

use super::{Bench, campaign, device};
use crate::api::with;
use crate::api_batch::until_status;

/// Each state of a subtask is where it was after a restart, and goes on from there.
#[tokio::test]
async fn every_state_outlives_the_process() {
    let mut bench = Bench::start(4).await;
    let policy = json!({"retry_count": 1, "retry_interval": 10});
    let body = with(&campaign(&[0, 1, 2, 3]), "/task_policy", Some(policy));
    let id = bench
        .create(&with(&body, "/need_confirm", Some(json!(true))))
        .await;
    assert_eq!(bench.order(&id, "confirm", &[0, 1, 2]).await.status, 200);
    bench.begun(&id, 3).await;
    bench.succeed(0).await;
    bench.until(&id, "success", 1).await;
    bench.fail(1).await;
    bench.until(&id, "fail_wait_retry", 1).await;
    bench = bench.restart().await;
    let words = ["Success", "FailWaitRetry", "Processing", "Waitting"];
    for (node, word) in words.into_iter().enumerate() {
        assert_eq!(bench.target(&id, node).await.0, word, "{node}");
    }
    let task = bench.begun(&id, 1).await;
    assert_eq!(task["batchtask"]["task_progress"]["fail_wait_retry"], 1);
    // The device's row is the one that the last process wrote.
    assert_eq!(bench.upgrade(2).unwrap().tries, 1);
    bench.succeed(2).await;
    bench.until(&id, "success", 2).await;
    bench.wait(600);
    bench.begun(&id, 1).await;
    bench.succeed(1).await;
    bench.order(&id, "confirm", &[]).await;
    bench.begun(&id, 1).await;
    bench.succeed(3).await;
    until_status(&bench.server, &id, "Success").await;
}

/// A stop that a crash cuts short ends in the next process.
#[tokio::test]
async fn a_stop_outlives_the_process() {
    let bench = Bench::start(50).await;
    let all: Vec<usize> = (0..50).collect();
    let id = bench.create(&campaign(&all)).await;
    bench.begun(&id, 50).await;
    assert_eq!(bench.order(&id, "stop", &[]).await.status, 200);
    let bench = bench.restart().await;
    let stopped = until_status(&bench.server, &id, "Stopped").await;
    assert_eq!(stopped["batchtask"]["task_progress"]["stopped"], 50);
    assert_eq!(bench.target(&id, 49).await.0, "Stopped");
}

#[tokio::test]
async fn trouble_of_the_store_delays_a_beginning() {
    let mut bench = Bench::start(3).await;
    let later = json!({"schedule_time": "20260301T130000Z"});
    let body = with(&campaign(&[0, 1, 2]), "/task_policy", Some(later));
    let id = bench.create(&body).await;
    let faults = bench.server.store.faults();
    faults.fail_next(6, &StoreError::Full { free: 1, need: 2 });
    bench.wait(3600);
    bench.begun(&id, 3).await;
    for node in 0..3 {
        assert_eq!(bench.upgrade(node).unwrap().tries, 1, "{node}");
        bench.succeed(node).await;
    }
    until_status(&bench.server, &id, "Success").await;
}

/// A device that was deleted unseen, created anew or not, is found: at a start, and every ten minutes.
#[tokio::test]
async fn lost_devices_are_found() {
    let mut bench = Bench::start(3).await;
    let id = bench.create(&campaign(&[0, 1, 2])).await;
    bench.begun(&id, 3).await;
    // As a deletion leaves it that was read before the device began.
    let delete = |node: usize| Change::DeleteDevice(DeviceId::parse(&device(node)).unwrap());
    bench.server.write(vec![delete(0)]).await;
    bench.server.device("n0").await;
    // The runner has taken note of what has begun before it takes an order.
    let resume = format!("/v1/campaigns/{id}/resume");
    bench.server.post(&resume, &json!({})).await;
    bench.wait(601);
    bench.until(&id, "removed", 1).await;
    bench.server.write(vec![delete(1)]).await;
    bench = bench.restart().await;
    bench.until(&id, "removed", 2).await;
    assert_eq!(bench.target(&id, 1).await.0, "Removed");
    bench.succeed(2).await;
    until_status(&bench.server, &id, "Success").await;
}

/// An end whose news nobody heard is found by its row.
#[tokio::test]
async fn lost_news_are_found() {
    let bench = Bench::start(1).await;
    let id = bench.create(&campaign(&[0])).await;
    bench.begun(&id, 1).await;
    let seq = u64::from_str_radix(&id, 16).unwrap();
    let mut row = bench.server.store.subtasks(seq, 0, 1).unwrap().remove(0).1;
    assert_eq!(row.state, SubtaskState::Processing);
    row.state = SubtaskState::Success;
    let record = Box::new(row);
    let (task_seq, index) = (seq, 0);
    let put = Change::PutSubtask {
        task_seq,
        index,
        record,
    };
    bench.server.write(vec![put]).await;
    // The runner has taken note of what has begun before it takes an order.
    let resume = format!("/v1/campaigns/{id}/resume");
    bench.server.post(&resume, &json!({})).await;
    bench.wait(601);
    until_status(&bench.server, &id, "Success").await;
}

/// A campaign as large as one may be: every device begins.
#[tokio::test]
async fn a_large_campaign_begins() {
    const COUNT: usize = 2000;
    let bench = Bench::start(COUNT).await;
    let all: Vec<usize> = (0..COUNT).collect();
    let id = bench.create(&campaign(&all)).await;
    bench.begun(&id, COUNT as u64).await;
    assert_eq!(bench.order(&id, "stop", &[]).await.status, 200);
    until_status(&bench.server, &id, "Stopped").await;
}
