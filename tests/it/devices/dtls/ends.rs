//! What the API does to a session, and who comes in afterwards.

use super::*;
use crate::client::Stage;

const RESET: &str = "/action?action_id=resetSecret";

/// A call, whether it ends the session, and how handshakes with the old key and the other one end.
struct Row {
    name: &'static str,
    method: &'static str,
    action: &'static str,
    body: Value,
    ends: bool,
    old_key: &'static str,
    other_key: &'static str,
}

fn rows() -> Vec<Row> {
    let row = |name, method, action, body, ends, old_key, other_key| Row {
        name,
        method,
        action,
        body,
        ends,
        old_key,
        other_key,
    };
    let reset = json!({"secret": OTHER_SECRET});
    let cut = json!({"secret": OTHER_SECRET, "force_disconnect": true});
    let unknown = "unknown_identity";
    vec![
        row(
            "freeze",
            "POST",
            "/freeze",
            json!({}),
            true,
            "frozen",
            "frozen",
        ),
        row("delete", "DELETE", "", json!({}), true, unknown, unknown),
        row("reset", "POST", RESET, reset, false, "wrong_key", "ok"),
        row("reset, cut", "POST", RESET, cut, true, "wrong_key", "ok"),
    ]
}

#[tokio::test(start_paused = true)]
async fn the_api_ends_a_session_at_once() {
    for cid in [None, Some(Vec::new())] {
        for row in rows() {
            let mut world = Secured::start().await;
            let name = (row.name, &cid);
            let offer = Offer {
                cid: cid.clone(),
                ..offer()
            };
            let mut device = world.connect("secured", offer.clone(), at(1)).await;
            world.report(&mut device, 1).await;
            world.api(row.method, row.action, &row.body).await;
            let out = world.sent().await;
            world.take(&mut device, out);
            // It is told in a way that only it can read.
            let told = device.client.alerts.len();
            assert_eq!(told, usize::from(row.ends), "{name:?}");
            if row.ends {
                let (post, _) = world.post(2);
                let heard = world.say(&mut device, &post).await;
                assert!(heard.is_empty(), "{name:?}");
            } else {
                world.report(&mut device, 2).await;
            }
            for (port, key, want) in [(2, &KEY[..], row.old_key), (3, OTHER_KEY, row.other_key)] {
                let came = world.try_handshake("secured", key, offer.clone(), at(port));
                let came = came.await;
                let stage = if want == "ok" {
                    Stage::Connected
                } else {
                    Stage::Finished
                };
                assert_eq!(came.client.stage, stage, "{name:?}");
                assert!(world.ended()[want] > 0, "{name:?}: {:?}", world.ended());
            }
            if row.name != "delete" {
                let kept = if row.ends { vec![1] } else { vec![1, 2] };
                assert_eq!(world.volumes(), kept, "{name:?}");
            }
        }
    }
}

/// Not even another process goes on with it.
#[tokio::test(start_paused = true)]
async fn an_ended_session_stays_ended_after_a_crash() {
    let mut world = Secured::start().await;
    let with_cid = offer().with_cid(b"");
    let mut device = world.connect("secured", with_cid.clone(), at(1)).await;
    world.report(&mut device, 1).await;
    world.api("POST", "/freeze", &json!({})).await;
    world.crash();
    assert!(world.is_cut_off(&mut device).await);
    world.api("POST", "/unfreeze", &json!({})).await;
    assert!(world.is_cut_off(&mut device).await);
    world.crash();
    assert!(world.is_cut_off(&mut device).await);
    let mut device = world.connect("secured", with_cid, at(1)).await;
    world.report(&mut device, 2).await;
    assert_eq!(world.volumes(), [1, 2]);
}

/// A handshake that is under way when the device is frozen comes to nothing.
#[tokio::test(start_paused = true)]
async fn freezing_ends_a_handshake_that_is_under_way() {
    let mut world = Secured::start().await;
    let (client, flight) = world.last_flight().await;
    // Key exchange now, Finished when the device is frozen.
    let out = world.deliver(at(1), &flight[0]).await;
    assert!(out.is_empty());
    world.api("POST", "/freeze", &json!({})).await;
    for datagram in &flight[1..] {
        assert!(world.deliver(at(1), datagram).await.is_empty());
    }
    assert_eq!(client.stage, Stage::Finished);
    assert_eq!(world.figures.read().sessions, 0);
}
