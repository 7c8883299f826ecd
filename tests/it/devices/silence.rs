//! What the server does about devices by itself.

use std::time::Duration;

use coap_lite::MessageType;
use serde_json::json;
use strait::sim::message;

use super::{Bench, CONFIRMABLE, empty, peer, report};

/// Others report every few milliseconds: the one that fell silent is looked at all the same.
#[tokio::test(start_paused = true)]
async fn a_busy_shard_notices_who_fell_silent() {
    let mut bench = Bench::start().await;
    bench.register(1, "rd", "ep=n1").await;
    // Enough of them that its shard hears one every few milliseconds.
    let others: Vec<String> = (10..18).map(|n| format!("n{n}")).collect();
    for node in &others {
        bench.server.create_device("p", node, json!({})).await;
    }
    let nearly = Duration::from_hours(25) - Duration::from_secs(1);
    bench.sleep(nearly).await;
    for number in 0..3000 {
        let node = &others[number % others.len()];
        let volume = report(u32::try_from(number).unwrap());
        let query = format!("ep={node}");
        let post = bench.draft(message::POST, "t/d", &query).payload(&volume);
        bench.server.hear(peer(2), post.bytes().unwrap()).await;
        bench.sleep(Duration::from_millis(1)).await;
    }
    let told = bench.server.events("p_n1", "device.status");
    assert_eq!(told.last().unwrap()["status"], "ABNORMAL", "{told:?}");
}

/// A device that gave up on a notification ended the observation, and has to be asked again.
#[tokio::test(start_paused = true)]
async fn an_unacknowledged_notification_is_followed_by_an_observation() {
    let mut bench = Bench::start().await;
    let observed = bench.register(1, "rd", "ep=n1").await;
    let (ack, own) = (MessageType::Acknowledgement, bench.msg_id);
    bench.msg_id = observed.msg_id.wrapping_sub(1);
    let answer = bench
        .notification(ack, &observed.token, 42, b"")
        .bytes()
        .unwrap();
    assert!(bench.answers(1, &answer).await.is_empty());
    bench.msg_id = own;
    let path = format!("rd/{}", observed.location.rsplit('/').next().unwrap());
    let update = bench.draft(message::POST, &path, "").bytes().unwrap();
    assert_eq!(
        bench.answers(1, &update).await.len(),
        1,
        "it observes: nothing to ask for"
    );
    bench.server.disk.fail_next(1);
    let note = bench
        .notification(CONFIRMABLE, &observed.token, 42, &report(1))
        .bytes()
        .unwrap();
    let got = bench.answers(1, &note).await;
    assert!(!got.contains(&empty(ack, bench.msg_id)), "{got:?}");
    bench.sleep(Duration::from_secs(300)).await;
    let update = bench.draft(message::POST, &path, "").bytes().unwrap();
    let got = bench.answers(1, &update).await;
    assert_eq!(got.len(), 2, "{got:?}");
    assert_eq!(&got[1][..4], "4801", "a GET with the token of 8 bytes");
}
