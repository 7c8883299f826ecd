//! Where an action begins and ends, and what survives restarts.

use std::collections::HashMap;
use std::time::Duration;

use strait::app::push::Settings;
use strait::app::push::status::DeliveryState;
use strait::store::Store;

use super::subscriber::Reaction;
use super::{World, turns};

const DEVICES: [&str; 4] = ["d0", "d1", "d2", "d3"];

/// How often each event was taken.
fn times(world: &World) -> HashMap<(String, u64), u32> {
    let mut times = HashMap::new();
    for event in world.subscriber.taken("a.example") {
        *times.entry(event).or_default() += 1;
    }
    times
}

/// Killed again and again in the middle of it, nothing is lost, and little comes twice.
#[tokio::test(start_paused = true)]
async fn crashes_lose_nothing() {
    let mut world = World::start(Settings::default());
    world.subscriber.react(|push| match push.at_ms % 7 {
        0 => Reaction::Close,
        _ => Reaction::AnswerAfter(Duration::from_millis(20)),
    });
    let action = world.subscribe("a", 1);
    let mut seen = 0;
    for step in 0..8 {
        world.emit(turns(&DEVICES, step * 50, 50));
        seen += 120;
        world.subscriber.wait_for(seen).await;
        world.crash().await;
    }
    world
        .until(&action, |s| {
            s.state == DeliveryState::Active && s.backlog.events == 0
        })
        .await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    let times = times(&world);
    assert_eq!(times.len(), 1600, "each of them");
    let repeated: u32 = times.values().map(|n| n - 1).sum();
    // A second of pushes for each crash.
    assert!(repeated < 8 * 250, "{repeated} came twice");
}

/// Stopped in order, only what was under way may come twice.
#[tokio::test(start_paused = true)]
async fn an_orderly_restart_repeats_nothing() {
    let mut world = World::start(Settings::default());
    world
        .subscriber
        .react(|_| Reaction::AnswerAfter(Duration::from_millis(20)));
    let action = world.subscribe("a", 1);
    for step in 0..5 {
        world.emit(turns(&DEVICES, step * 50, 50));
        world
            .subscriber
            .wait_for(usize::try_from(step * 200 + 90).unwrap())
            .await;
        world.restart().await;
    }
    let status = world.until(&action, |s| s.delivered == 1000).await;
    assert_eq!((status.backlog.events, status.failed), (0, 0));
    assert!(times(&world).values().all(|n| *n == 1));
    // A stalled device does not bring the others back.
    world.subscriber.react(
        |push| match push.event.as_ref().is_some_and(|e| e.0 == "d0") {
            true => Reaction::Close,
            false => Reaction::Answer(200),
        },
    );
    world.emit(turns(&DEVICES, 1000, 5));
    world.until(&action, |s| s.delivered == 1015).await;
    world.restart().await;
    let record = world.record(1).unwrap();
    assert_eq!((record.position, record.outstanding.len()), (1020, 5));
    world.subscriber.react(|_| Reaction::Answer(200));
    world.until(&action, |s| s.delivered == 1020).await;
    assert!(times(&world).values().all(|n| *n == 1));
}

/// Only what is committed while the rule is active is pushed.
#[tokio::test(start_paused = true)]
async fn an_action_has_the_events_of_its_active_rule() {
    let mut world = World::start(Settings::default());
    let second = Duration::from_secs(1);
    world.emit(turns(&DEVICES, 0, 5));
    tokio::time::sleep(second).await;
    let action = world.subscribe("a", 1);
    world.emit(turns(&DEVICES, 100, 5));
    world.until(&action, |s| s.delivered == 20).await;

    let activate = |world: &World, active| {
        let now = world.clock.now();
        world.change(|all| {
            all.rules[0].active = active;
            all.rules[0].modified_at = now;
        });
    };
    activate(&world, false);
    world
        .until(&action, |s| s.state == DeliveryState::Idle)
        .await;
    world.emit(turns(&DEVICES, 200, 5));
    tokio::time::sleep(second).await;
    // Activated while the server was down, with events before and behind it.
    world.restart().await;
    activate(&world, true);
    world.emit(turns(&DEVICES, 300, 5));
    world.crash().await;
    world.until(&action, |s| s.delivered == 40).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let numbers = world.subscriber.taken("a.example").into_iter().map(|e| e.1);
    assert!(numbers.clone().all(|n| (100..105).contains(&n) || n >= 300));
    assert_eq!(numbers.count(), 40);
}

/// Another address and another rule hold for what waits, too.
#[tokio::test(start_paused = true)]
async fn a_changed_action_goes_on_with_what_waits() {
    let world = World::start(Settings::default());
    world.subscriber.react(|push| match push.host.as_str() {
        "a.example" => Reaction::Close,
        _ => Reaction::Answer(200),
    });
    let action = world.subscribe("a", 1);
    world.emit(turns(&DEVICES, 0, 10));
    world.until(&action, |s| s.paused_until.is_some()).await;
    let began = world.clock.now();
    world.change(|all| {
        all.rules[0].condition = Some("notify_data.body.n > 4".to_owned());
        all.rules[0].select = Some("notify_data.body.n AS n".to_owned());
        all.actions[0].http.url = "http://b.example/".to_owned();
    });
    let status = world
        .until(&action, |s| s.delivered == 20 && s.backlog.events == 0)
        .await;
    assert!(world.clock.now().since_ms(began) < 1_000, "at once");
    assert_eq!((status.dropped, status.state), (0, DeliveryState::Active));
    let bodies = world
        .subscriber
        .seen()
        .into_iter()
        .filter(|p| p.0.host == "b.example");
    let mut bodies: Vec<String> = bodies.map(|(push, _)| push.body).collect();
    bodies.sort();
    bodies.dedup();
    assert_eq!(
        bodies,
        (5..10)
            .map(|n| format!("{{\"n\":{n}}}"))
            .collect::<Vec<_>>()
    );
}

/// Of an action that is deleted nothing stays, also when the server dies on the way.
#[tokio::test(start_paused = true)]
async fn deleted_actions_leave_nothing() {
    let mut world = World::start(Settings {
        host_failures_max: 1000,
        refusals_max: 1,
        ..Settings::default()
    });
    world.subscriber.react(|_| Reaction::Answer(400));
    let action = world.subscribe("a", 1);
    let other = world.subscribe("b", 2);
    world.emit(turns(&DEVICES, 0, 10));
    world.until(&action, |s| s.set_aside == 40).await;
    world.until(&other, |s| s.set_aside == 40).await;
    world.change(|all| all.actions.retain(|a| a.seq != 1));
    assert!(world.pushes().status(&action).is_err());
    world.crash().await;
    let gone = |world: &World| world.record(1).is_none();
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if gone(&world) {
            break;
        }
    }
    assert!(gone(&world));
    let rows = |action_seq| {
        let query = strait::store::forwarding::SetAsideQuery {
            action_seq,
            after: None,
            before: None,
            oldest_first: true,
            limit: 100,
        };
        world.store.set_aside(&query).unwrap().len()
    };
    assert_eq!((rows(1), rows(2)), (0, 40));
    assert_eq!(world.pushes().status(&other).unwrap().set_aside, 40);
}

/// An action is tried out without an event, and it says what is wrong.
#[tokio::test(start_paused = true)]
async fn an_action_is_tried_out() {
    let world = World::start(Settings::default());
    let action = world.subscribe("a", 1);
    let trial = world.pushes().try_out(&action, None).await.unwrap();
    assert!(trial.delivered && trial.error.is_none());
    assert_eq!(
        (trial.status, &trial.sent["resource"]),
        (Some(200), &"device.property".into())
    );
    let seen = world.subscriber.seen();
    assert_eq!(seen[0].0.body, trial.sent.to_string());
    world.subscriber.react(|_| Reaction::Hang);
    let data = serde_json::json!({"x": 1});
    let trial = world
        .pushes()
        .try_out(&action, Some(data.clone()))
        .await
        .unwrap();
    assert_eq!(
        (trial.delivered, trial.status, trial.sent),
        (false, None, data)
    );
    assert_eq!(trial.took, Duration::from_secs(15));
    assert_eq!(trial.error.as_deref(), Some("no answer within 15000 ms"));
    assert!(trial.hint.is_some());
}
