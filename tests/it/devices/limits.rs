//! What a device hears that sends more than it may, and who else is told.

use std::time::Duration;

use coap_lite::MessageType;
use serde_json::json;
use strait::engine::limit;
use strait::sim::message;

use super::{Bench, CONFIRMABLE, LINKS, Observed, answer, empty, peer, report, volumes};

const CHANGED: u8 = 0x44;
const TOO_MANY_REQUESTS: u8 = 0x9d;
/// Max-Age of one second.
const MAX_AGE_1: [u8; 3] = [0xd1, 0x01, 0x01];

impl Bench {
    /// Registers `p_n1`, and sends as many reports at once as there is room for after that.
    async fn use_up(&mut self) -> (Observed, u32) {
        let observed = self.register(1, "rd", "ep=n1").await;
        let established = self.establishment(&observed);
        self.exchange(1, &established).await;
        // What was used before is back.
        self.sleep(Duration::from_secs(10)).await;
        let burst = limit::Settings::default().device_burst;
        for volume in 0..burst {
            let draft = self.notification(CONFIRMABLE, &observed.token, 42, &report(volume));
            self.answered_at_once(&draft.bytes().unwrap()).await;
        }
        (observed, burst)
    }

    /// Waits for the answer, and no longer.
    async fn answered_at_once(&mut self, datagram: &[u8]) {
        self.server.hear(peer(1), datagram.to_vec()).await;
        self.server.downlinks.recv().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_too_many_is_taken_when_it_comes_again() {
    let mut bench = Bench::start().await;
    let (observed, burst) = bench.use_up().await;
    let draft = bench.notification(CONFIRMABLE, &observed.token, 42, &report(burst));
    let over = draft.bytes().unwrap();
    let answers = bench.answers(1, &over).await;
    let taken = empty(MessageType::Acknowledgement, bench.msg_id);
    assert!(answers.is_empty(), "not kept, and yet {answers:?}");
    let kept = volumes(&bench.server.history("p_n1"));
    assert_eq!(kept.len(), burst as usize);
    // As RFC 7252 has it, the device repeats what was not acknowledged.
    bench.sleep(Duration::from_secs(2)).await;
    assert_eq!(bench.answers(1, &over).await, [taken]);
    let kept = volumes(&bench.server.history("p_n1"));
    assert_eq!(kept.iter().max(), Some(&u64::from(burst)));
    assert_eq!(kept.len(), burst as usize + 1);
    // Its neighbour is not held back.
    let other = bench.register(2, "rd", "ep=n2").await;
    assert!(!other.location.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_request_too_many_hears_when_to_come_again() {
    let mut bench = Bench::start().await;
    let (observed, _) = bench.use_up().await;
    let draft = bench.draft(message::POST, &observed.location, "");
    let update = draft.bytes().unwrap();
    let refused = answer(TOO_MANY_REQUESTS, bench.msg_id, &MAX_AGE_1);
    let answers = bench.answers(1, &update).await;
    assert_eq!(answers.last(), Some(&refused), "{answers:?}");
    // A repetition of the message hears the same, even when there is room: the device will ask anew.
    bench.sleep(Duration::from_secs(2)).await;
    assert_eq!(bench.answers(1, &update).await, [refused]);
    let draft = bench.draft(message::POST, &observed.location, "");
    let changed = answer(CHANGED, bench.msg_id, &[]);
    assert_eq!(bench.answers(1, &draft.bytes().unwrap()).await, [changed]);
    // Registrations are no way around.
    bench.use_up().await;
    let draft = bench.draft(message::POST, "rd", "ep=n1").payload(LINKS);
    let refused = answer(TOO_MANY_REQUESTS, bench.msg_id, &MAX_AGE_1);
    let answers = bench.answers(1, &draft.bytes().unwrap()).await;
    assert_eq!(answers.last(), Some(&refused), "{answers:?}");
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_told_once_to_subscribers_and_in_the_trace() {
    let mut bench = Bench::start().await;
    bench.trace("p_n1").await;
    let (observed, _) = bench.use_up().await;
    for volume in 100..400 {
        let draft = bench.notification(CONFIRMABLE, &observed.token, 42, &report(volume));
        bench.exchange(1, &draft.bytes().unwrap()).await;
    }
    let events = bench.server.events("p_n1", "device.limit");
    let want = [
        json!({"limit": "per_second", "most": 5, "action": "refused"}),
        json!({"limit": "per_minute", "most": 300, "action": "taken"}),
    ];
    assert_eq!(events, want);
    let told = bench.told("p_n1", 0).await;
    let summaries: Vec<&str> = told
        .iter()
        .filter(|entry| entry.0 == "limit")
        .map(|entry| entry.2.as_str())
        .collect();
    assert!(
        summaries.contains(&"sends more than 300 messages a minute"),
        "{summaries:?}"
    );
    let refused = told.iter().filter(|entry| entry.3.is_some());
    assert!(refused.count() > 0, "{told:?}");
}
