//! What may wait, and how fast pushes leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use strait::app::push::Settings;
use strait::base::ids::PolicyId;
use strait::store::forwarding::{BacklogRecord, FlowRecord, FlowScope};

use super::subscriber::Reaction;
use super::{World, report, turns};

fn backlog(bytes: u64, age_s: u64) -> BacklogRecord {
    BacklogRecord {
        version: 1,
        policy_id: PolicyId::parse("b").unwrap(),
        seq: 1,
        policy_name: None,
        description: None,
        backlog_size_bytes: bytes,
        backlog_time_s: age_s,
    }
}

/// A subscriber that is away, and comes back when told.
fn away(world: &World) -> Arc<AtomicBool> {
    let is_back = Arc::new(AtomicBool::new(false));
    let back = Arc::clone(&is_back);
    world
        .subscriber
        .react(move |_| match back.load(Ordering::SeqCst) {
            true => Reaction::Answer(200),
            false => Reaction::Close,
        });
    is_back
}

/// Of 5000 pushes 1000 may wait: those are the newest, whether the window holds them or not.
#[tokio::test(start_paused = true)]
async fn the_oldest_go_when_too_much_waits() {
    for window in [64, 16_384] {
        let world = World::start(Settings {
            window,
            ..Settings::default()
        });
        let is_back = away(&world);
        let len = report("d0", 1000).json.len() as u64;
        world.change(|all| all.backlogs = vec![backlog(1000 * len, 86_400)]);
        let action = world.subscribe("a", 1);
        for step in 0..50 {
            let devices = ["d0", "d1", "d2", "d3"];
            world.emit(turns(&devices, 1000 + step * 25, 25));
        }
        // What is under way when the rest goes may be dropped later, or taken.
        let status = world
            .until(&action, |s| s.dropped > 0 && s.backlog.bytes <= 1000 * len)
            .await;
        assert_eq!(
            status.backlog.events + status.dropped,
            5000,
            "window {window}"
        );
        assert!(status.backlog.events >= 600, "{status:?}");
        assert!(status.backlog.oldest_time.is_some());
        is_back.store(true, Ordering::SeqCst);
        let status = world.until(&action, |s| s.backlog.events == 0).await;
        assert_eq!(status.delivered + status.dropped, 5000);
        let taken = world.subscriber.taken("a.example");
        let newest = taken.iter().rev().take(600);
        assert!(
            newest.into_iter().all(|(_, n)| *n >= 1000 + 1250 - 250),
            "the newest stay"
        );
    }
}

/// What waits for longer than the policy says goes, and the rest is pushed.
#[tokio::test(start_paused = true)]
async fn what_waits_too_long_goes() {
    for window in [64, 16_384] {
        let world = World::start(Settings {
            window,
            ..Settings::default()
        });
        let is_back = away(&world);
        world.change(|all| all.backlogs = vec![backlog(u64::MAX, 3_600)]);
        let action = world.subscribe("a", 1);
        world.emit(turns(&["d0", "d1"], 0, 100));
        tokio::time::sleep(Duration::from_secs(3_000)).await;
        world.emit(turns(&["d0", "d1"], 100, 100));
        let status = world.until(&action, |s| s.dropped == 200).await;
        assert_eq!(status.backlog.events, 200);
        is_back.store(true, Ordering::SeqCst);
        let status = world.until(&action, |s| s.delivered == 200).await;
        assert_eq!(status.dropped, 200);
        let taken = world.subscriber.taken("a.example");
        assert!(taken.iter().all(|(_, n)| *n >= 100));
    }
}

/// A window smaller than the backlog loses nothing, repeats nothing, and keeps the order.
#[tokio::test(start_paused = true)]
async fn a_backlog_beyond_the_window_is_pushed_whole() {
    let world = World::start(Settings {
        window: 64,
        ..Settings::default()
    });
    let is_back = away(&world);
    let action = world.subscribe("a", 1);
    world.emit(turns(&["d0", "d1", "d2"], 0, 700));
    let len: u64 = (0..700)
        .map(|n| 3 * report("d0", n).json.len() as u64)
        .sum();
    let status = world.until(&action, |s| s.backlog.events == 2100).await;
    assert_eq!((status.backlog.bytes, status.dropped), (len, 0));
    is_back.store(true, Ordering::SeqCst);
    let status = world.until(&action, |s| s.delivered == 2100).await;
    assert_eq!((status.backlog.events, status.backlog.bytes), (0, 0));
    let taken = world.subscriber.taken("a.example");
    for device in ["d0", "d1", "d2"] {
        let numbers = taken.iter().filter(|e| e.0 == device).map(|e| e.1);
        assert_eq!(numbers.collect::<Vec<_>>(), (0..700).collect::<Vec<_>>());
    }
}

/// Ten a second, of two actions together.
#[tokio::test(start_paused = true)]
async fn flow_control_holds_pushes_back() {
    let world = World::start(Settings::default());
    world.change(|all| {
        all.flows = vec![FlowRecord {
            version: 1,
            policy_id: PolicyId::parse("f").unwrap(),
            seq: 1,
            policy_name: None,
            description: None,
            scope: FlowScope::User,
            scope_value: None,
            limit_per_s: 10,
        }];
    });
    let first = world.subscribe("a", 1);
    let second = world.subscribe("b", 2);
    world.emit(turns(&["d0", "d1", "d2", "d3", "d4"], 0, 5));
    world.until(&first, |s| s.delivered == 25).await;
    world.until(&second, |s| s.delivered == 25).await;
    let mut at: Vec<u64> = world.subscriber.seen().iter().map(|p| p.0.at_ms).collect();
    at.sort_unstable();
    let took = at.last().unwrap() - at[0];
    assert!((4_800..=6_000).contains(&took), "{took} ms");
    let most = at.iter().map(|from| {
        at.iter()
            .filter(|t| (*from..from + 1000).contains(t))
            .count()
    });
    assert!(most.max().unwrap() <= 11);
    assert_eq!(world.pushes().status(&first).unwrap().failed, 0);
}
