//! Every state of a command, its times, what is pushed of it, and what a restart leaves of it.

use serde_json::{Value, json};
use strait::app::input::Input;
use strait::engine::exchange::Failure;

use super::{Bench, DEVICE, DEVICES, answer, reboot, valve};
use crate::api::with;

fn statuses(pushed: &[Value]) -> Vec<&str> {
    pushed
        .iter()
        .map(|body| body["status"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_command_waits_for_its_device_and_is_answered() {
    let mut bench = Bench::start().await;
    let body = with(&valve("delay"), "/expire_time", Some(json!(600)));
    let made = bench.submit(&body).await;
    let id = super::id_of(&made.body);
    let want = json!({"device_id": DEVICE, "command_id": id, "service_id": "Flow",
        "command_name": "SET_VALVE", "paras": {"open": 1}, "expire_time": 600, "status": "PENDING",
        "created_time": "20260301T120000Z", "send_strategy": "delay"});
    assert_eq!((made.status.as_u16(), &made.body), (200, &want));
    assert_eq!(id.len(), 36);

    bench.wait(10).await;
    bench.come().await;
    let down = bench.down().await;
    assert_eq!(down.payload, [0x81, 0, 1, 1]);
    bench.until(&id, "SENT").await;
    bench.wait(1).await;
    bench.acknowledge(down.token).await;
    bench.until(&id, "DELIVERED").await;
    bench.wait(1).await;
    bench.report(&answer(&down, 0)).await;
    let done = bench.until(&id, "SUCCESSFUL").await;
    let mut want = want;
    for (name, value) in [
        ("status", json!("SUCCESSFUL")),
        ("sent_time", json!("20260301T120010Z")),
        ("delivered_time", json!("20260301T120011Z")),
        ("response_time", json!("20260301T120012Z")),
        (
            "result",
            json!({"resultCode": "SUCCESSFUL", "resultDetail": {"code": "ok"}}),
        ),
    ] {
        want[name] = value;
    }
    assert_eq!(done, want);

    let pushed = bench.pushed(&id);
    assert_eq!(statuses(&pushed), ["SENT", "DELIVERED", "SUCCESSFUL"]);
    assert_eq!(
        (&pushed[0]["sent_time"], &pushed[0]["delivered_time"]),
        (&json!("20260301T120010Z"), &json!(""))
    );
    assert_eq!(pushed[2]["result"], done["result"]);
    assert_eq!(pushed[1]["result"], json!(null));
}

/// How a command that was sent may end: what happens, the status, and what the result tells.
#[tokio::test]
async fn every_end_of_what_was_sent() {
    let mut bench = Bench::start().await;
    bench.come().await;
    let refused = |reason: Failure, token| Input::RequestFailed {
        origin: Bench::origin(),
        token,
        reason,
    };
    // Answered as failed.
    let made = bench.submit(&valve("immediately")).await;
    assert_eq!(
        (&made.body["status"], &made.body["expire_time"]),
        (&json!("SENT"), &json!(0))
    );
    let (id, down) = (super::id_of(&made.body), bench.down().await);
    bench.report(&answer(&down, 1)).await;
    let done = bench.until(&id, "FAILED").await;
    assert_eq!(
        done["result"],
        json!({"resultCode": "FAILED", "resultDetail": {"code": "fail"}})
    );
    // The answer stands for the acknowledgement that it overtook.
    assert_eq!(done["delivered_time"], "20260301T120000Z");
    assert_eq!(
        statuses(&bench.pushed(&id)),
        ["SENT", "DELIVERED", "FAILED"]
    );

    // Nothing comes for 180 s.
    let id = bench.submitted(&valve("immediately")).await;
    bench.down().await;
    bench.wait(179).await;
    assert_eq!(bench.show(&id).await["status"], "SENT");
    bench.wait(1).await;
    let done = bench.until(&id, "TIMEOUT").await;
    assert_eq!(
        (&done["delivered_time"], &done["result"]),
        (&json!(null), &json!(null))
    );

    // Reset, or its turn does not come.
    for (reason, why) in [
        (Failure::Reset, "the device answered with a reset"),
        (
            Failure::Busy,
            "another exchange with the device did not end in time",
        ),
    ] {
        let id = bench.submitted(&reboot("immediately")).await;
        let down = bench.down().await;
        bench.hand(refused(reason, down.token)).await;
        let done = bench.until(&id, "FAILED").await;
        let want = json!({"resultCode": "FAILED",
            "resultDetail": {"error_code": "IOTDA.014016", "error_msg": why}});
        assert_eq!(done["result"], want);
        assert_eq!(done["response_time"], json!(null));
    }

    // The model says that nothing answers: delivered is done.
    let id = bench.submitted(&reboot("immediately")).await;
    let down = bench.down().await;
    assert_eq!(down.payload, [0x83, 7]);
    bench.acknowledge(down.token).await;
    let done = bench.until(&id, "SUCCESSFUL").await;
    assert_eq!(done["result"]["resultCode"], "SUCCESSFUL");
}

#[tokio::test]
async fn every_end_of_what_was_not_sent() {
    let mut bench = Bench::start().await;
    // Nobody is there.
    let made = bench.submit(&valve("immediately")).await;
    assert_eq!(made.body["status"], "FAILED");
    let id = super::id_of(&made.body);
    let done = bench.show(&id).await;
    assert_eq!(done["result"]["resultDetail"]["error_code"], "IOTDA.014016");
    assert_eq!(done["sent_time"], json!(null));
    assert_eq!(statuses(&bench.pushed(&id)), ["FAILED"]);

    // Time passes.
    let body = with(&valve("delay"), "/expire_time", Some(json!(60)));
    let short = bench.submitted(&body).await;
    let long = bench.submitted(&valve("delay")).await;
    bench.wait(59).await;
    assert_eq!(bench.show(&short).await["status"], "PENDING");
    bench.wait(1).await;
    bench.until(&short, "EXPIRED").await;
    assert_eq!(statuses(&bench.pushed(&short)), ["EXPIRED"]);
    bench.wait(86_400 - 61).await;
    assert_eq!(bench.show(&long).await["status"], "PENDING");
    bench.wait(1).await;
    assert_eq!(bench.until(&long, "EXPIRED").await["expire_time"], 86_400);

    // The codec can't encode it.
    bench.come().await;
    let body = with(&reboot("immediately"), "/paras/after_s", Some(json!(1000)));
    let made = bench.submit(&body).await;
    assert_eq!(made.body["status"], "FAILED", "{:?}", made.body);
    let shown = bench.show(&super::id_of(&made.body)).await;
    let why = shown["result"]["resultDetail"]["error_msg"].as_str();
    assert!(why.unwrap().contains("can't encode"), "{why:?}");
    // What comes after it is not held up.
    let id = bench.submitted(&reboot("immediately")).await;
    bench.down().await;
    assert_eq!(bench.show(&id).await["status"], "SENT");
}

#[tokio::test]
async fn a_frozen_device_gets_nothing() {
    let mut bench = Bench::start().await;
    bench.come().await;
    let freeze = format!("{DEVICES}/{DEVICE}/freeze");
    assert_eq!(bench.server.post(&freeze, &json!({})).await.status, 204);
    let status = bench.server.events().into_iter().rev();
    let status = status.map(|(name, event)| (name, event["notify_data"]["body"]["status"].clone()));
    let newest = status.into_iter().next();
    assert_eq!(
        newest,
        Some(("device.status.update".to_owned(), json!("FROZEN")))
    );
    let at_once = bench.submit(&valve("immediately")).await;
    assert_eq!(at_once.body["status"], "FAILED");
    let waits = bench.submit(&valve("delay")).await;
    assert_eq!(waits.body["status"], "PENDING");
}

/// What nothing answers rests in the history, and makes room. Its own answer still ends it.
#[tokio::test]
async fn unanswered_commands_rest() {
    let mut bench = Bench::start().await;
    bench.come().await;
    let first = bench.submitted(&valve("delay")).await;
    let second = bench.submitted(&valve("delay")).await;
    let down = bench.down().await;
    bench.acknowledge(down.token).await;
    bench.until(&first, "DELIVERED").await;
    assert_eq!(bench.listed("async-commands").await, [&*second, &*first]);
    bench.wait(180).await;
    let next = bench.down().await;
    assert_eq!(bench.show(&first).await["status"], "DELIVERED");
    assert_eq!(bench.listed("async-commands").await, [&*second]);
    assert_eq!(bench.listed("async-commands-history").await, [&*first]);
    bench.report(&answer(&down, 0)).await;
    bench.until(&first, "SUCCESSFUL").await;
    assert_eq!(bench.show(&second).await["status"], "SENT");
    bench.report(&answer(&next, 0)).await;
    bench.until(&second, "SUCCESSFUL").await;
    assert_eq!(
        bench.listed("async-commands-history").await,
        [&*second, &*first]
    );
}

/// A new process over the same store: what waits goes on waiting, what was sent goes out as it was.
#[tokio::test]
async fn a_restart_changes_nothing() {
    let mut bench = Bench::start().await;
    bench.come().await;
    let sent = bench.submitted(&valve("delay")).await;
    let pending = bench.submitted(&valve("delay")).await;
    let down = bench.down().await;
    let before = (bench.show(&sent).await, bench.show(&pending).await);

    let mut bench = Bench::over(std::sync::Arc::clone(&bench.server.store));
    bench.key = 100;
    assert_eq!(
        (bench.show(&sent).await, bench.show(&pending).await),
        before
    );
    // Later than the repetitions of before; the acknowledgement is still waited for.
    bench.wait(100).await;
    assert_eq!(bench.down().await, down);
    bench.report(&answer(&down, 0)).await;
    bench.until(&sent, "SUCCESSFUL").await;
    let next = bench.down().await;
    assert_ne!((next.token, next.msg_id), (down.token, down.msg_id));
    bench.report(&answer(&next, 0)).await;
    bench.until(&pending, "SUCCESSFUL").await;
    for id in [&sent, &pending] {
        assert_eq!(
            statuses(&bench.pushed(id)),
            ["SENT", "DELIVERED", "SUCCESSFUL"]
        );
    }
}
