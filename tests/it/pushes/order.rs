//! Each device's pushes are in order, and nobody waits for others.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use strait::app::push::Settings;

use super::subscriber::Reaction;
use super::{World, turns};

const DEVICES: [&str; 8] = ["d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7"];

/// Every fifth push fails, in ever other ways: each device's come in order all the same, and
/// connections are as many as allowed.
#[tokio::test(start_paused = true)]
async fn devices_are_in_order_and_beside_each_other() {
    let settings = Settings {
        connections_max: 5,
        host_failures_max: 1000,
        ..Settings::default()
    };
    let world = World::start(settings);
    let count = AtomicUsize::new(0);
    world.subscriber.react(move |_| {
        let rude = [
            Reaction::Answer(500),
            Reaction::Close,
            Reaction::Redirect,
            Reaction::Hang,
            Reaction::Garbage,
            Reaction::AnswerAndClose,
        ];
        let count = count.fetch_add(1, Ordering::SeqCst);
        match count % 5 {
            4 => rude[count / 5 % rude.len()],
            3 => Reaction::AnswerAfter(Duration::from_millis(30)),
            _ => Reaction::Answer(200),
        }
    });
    let action = world.subscribe("a", 1);
    world.emit(turns(&DEVICES, 0, 25));
    world.emit(turns(&DEVICES, 25, 25));
    world.until(&action, |s| s.delivered >= 400).await;
    let mut by_device: HashMap<String, Vec<u64>> = HashMap::new();
    for (device, n) in world.subscriber.taken("a.example") {
        by_device.entry(device).or_default().push(n);
    }
    assert_eq!(by_device.len(), DEVICES.len());
    for (device, mut numbers) in by_device {
        // A push whose answer was lost comes twice.
        numbers.dedup();
        assert_eq!(numbers, (0..50).collect::<Vec<_>>(), "{device}");
    }
    let busiest = world.subscriber.busiest();
    assert!((2..=5).contains(&busiest), "{busiest} at the same time");
}

/// One subscriber takes an hour for each push, the other gets its own at once.
#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_delays_nobody() {
    let world = World::start(Settings::default());
    world.subscriber.react(|push| match push.host.as_str() {
        "slow.example" => Reaction::Hang,
        _ => Reaction::AnswerAfter(Duration::from_millis(5)),
    });
    let slow = world.subscribe("slow", 1);
    let fast = world.subscribe("fast", 2);
    world.emit(turns(&DEVICES, 0, 100));
    let began = world.clock.now();
    world.until(&fast, |s| s.delivered == 800).await;
    let took_ms = world.clock.now().since_ms(began);
    assert!(took_ms < 2_000, "{took_ms} ms");
    let status = world.pushes().status(&slow).unwrap();
    assert_eq!((status.delivered, status.backlog.events), (0, 800));
}

/// A device whose pushes are refused waits, alone.
#[tokio::test(start_paused = true)]
async fn a_refused_device_delays_no_other() {
    let world = World::start(Settings::default());
    let refused = |push: &super::subscriber::Push| push.event.as_ref().is_some_and(|e| e.0 == "d0");
    world.subscriber.react(move |push| match refused(push) {
        true => Reaction::Answer(400),
        false => Reaction::Answer(200),
    });
    let action = world.subscribe("a", 1);
    world.emit(turns(&DEVICES, 0, 10));
    let began = world.clock.now();
    world.until(&action, |s| s.delivered == 70).await;
    assert!(world.clock.now().since_ms(began) < 1_000);
    world.subscriber.react(|_| Reaction::Answer(200));
    world.until(&action, |s| s.delivered == 80).await;
    let taken = world.subscriber.taken("a.example").into_iter();
    let taken: Vec<u64> = taken.filter(|e| e.0 == "d0").map(|e| e.1).collect();
    assert_eq!(taken, (0..10).collect::<Vec<_>>());
}

/// Connections are used again; one that the subscriber closed in between is no failure.
#[tokio::test(start_paused = true)]
async fn connections_are_used_again() {
    let world = World::start(Settings::default());
    let action = world.subscribe("a", 1);
    for n in 0..20 {
        world.emit([("d0", n)]);
        world.until(&action, |s| s.delivered == n + 1).await;
    }
    assert!(
        world
            .subscriber
            .seen()
            .iter()
            .all(|(p, _)| p.connection == 1)
    );
    world.subscriber.react(|_| Reaction::AnswerAndClose);
    for n in 20..30 {
        world.emit([("d0", n)]);
        world.until(&action, |s| s.delivered == n + 1).await;
    }
    let status = world.pushes().status(&action).unwrap();
    assert_eq!((status.failed, status.last_error), (0, None));
    let head = &world.subscriber.seen()[0].0.head;
    let head = head.to_ascii_lowercase();
    for line in [
        "post /events http/1.1",
        "host: a.example",
        "content-type: application/json; charset=utf-8",
    ] {
        assert!(head.lines().any(|l| l == line), "{line} in {head}");
    }
}
