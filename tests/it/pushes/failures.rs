//! Subscribers that fail: pushes go again, hosts pause, what is refused is set aside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use strait::app::push::status::DeliveryState;
use strait::app::push::{PushError, Settings};
use strait::store::Store;
use strait::store::forwarding::SetAsideQuery;

use super::subscriber::Reaction;
use super::{World, turns};

/// Each rudeness is a failure, told as what it is, and none loses a push. An answer of 1 GB is read
/// to its bound.
#[tokio::test(start_paused = true)]
async fn rude_subscribers_are_pushed_to_again() {
    let cases = [
        (Reaction::Answer(500), "answered 500: hello"),
        (Reaction::Answer(201), "answered 201"),
        (Reaction::Redirect, "answered 302"),
        (Reaction::Hang, "no answer within 15000 ms"),
        (Reaction::Close, "closed before an answer"),
        (Reaction::Garbage, "no HTTP answer"),
        (Reaction::Endless(503), "answered 503: xxxx"),
    ];
    for (rudeness, error) in cases {
        let world = World::start(Settings::default());
        let is_well = Arc::new(AtomicBool::new(false));
        let well = Arc::clone(&is_well);
        world
            .subscriber
            .react(move |_| match well.load(Ordering::SeqCst) {
                true => Reaction::Endless(200),
                false => rudeness,
            });
        let action = world.subscribe("a", 1);
        world.emit([("d0", 1)]);
        let status = world.until(&action, |s| s.failed == 3).await;
        let last = status.last_error.unwrap();
        assert!(last.contains(error), "{rudeness:?}: {last}");
        // After 0, 1 and 2 s, with a quarter of chance, beside what a hang takes.
        let at: Vec<u64> = world.subscriber.seen().iter().map(|p| p.0.at_ms).collect();
        let hang = u64::from(rudeness == Reaction::Hang) * 15_000;
        for (pair, wait) in at.windows(2).zip([1_000, 2_000]) {
            let waited = pair[1] - pair[0] - hang;
            assert!(
                (wait * 3 / 4..=wait + 100).contains(&waited),
                "{rudeness:?}: {at:?}"
            );
        }
        is_well.store(true, Ordering::SeqCst);
        world.until(&action, |s| s.delivered == 1).await;
        // The status counts, whatever becomes of the body.
        world.subscriber.react(|_| Reaction::AnswerAndHang);
        world.emit([("d0", 2)]);
        let status = world.until(&action, |s| s.delivered == 2).await;
        assert_eq!(status.failed, 3);
    }
}

/// After ten failures in a row nobody pushes to the host for five minutes, then one push alone; when
/// that is taken, all go on.
#[tokio::test(start_paused = true)]
async fn a_host_that_fails_pauses_for_all_and_is_probed() {
    let world = World::start(Settings::default());
    let is_well = Arc::new(AtomicBool::new(false));
    let well = Arc::clone(&is_well);
    world
        .subscriber
        .react(move |_| match well.load(Ordering::SeqCst) {
            true => Reaction::Answer(200),
            false => Reaction::Close,
        });
    let first = world.subscribe("a", 1);
    let second = world.subscribe("b", 2);
    world.change(|all| all.actions[1].http.url = "http://a.example:80/other".to_owned());
    let devices = ["d0", "d1", "d2"];
    world.emit(turns(&devices, 0, 20));
    let status = world.until(&first, |s| s.paused_until.is_some()).await;
    assert_eq!(status.state, DeliveryState::Paused);
    let other = world.pushes().status(&second).unwrap();
    assert_eq!(other.state, DeliveryState::Paused, "the same host");
    let failed = world.subscriber.seen();
    assert!((10..=16).contains(&failed.len()), "{}", failed.len());
    let paused_ms = failed.iter().map(|(push, _)| push.at_ms).max().unwrap();

    // The probe fails, too.
    let seen = world.subscriber.wait_for(failed.len() + 1).await;
    let probed = seen.last().unwrap().0.at_ms - paused_ms;
    assert!((299_000..=301_000).contains(&probed), "{probed}");
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(world.subscriber.seen().len(), failed.len() + 1);
    is_well.store(true, Ordering::SeqCst);
    world.until(&first, |s| s.delivered == 60).await;
    world.until(&second, |s| s.delivered == 60).await;
    let status = world.pushes().status(&first).unwrap();
    assert_eq!(
        (status.state, status.paused_until),
        (DeliveryState::Active, None)
    );
}

fn rows(world: &World) -> Vec<(u64, u32, String)> {
    let query = SetAsideQuery {
        action_seq: 1,
        after: None,
        before: None,
        oldest_first: true,
        limit: 1000,
    };
    let rows = world.store.set_aside(&query).unwrap().into_iter();
    rows.map(|row| (row.position, row.tries, row.reason))
        .collect()
}

/// What a subscriber refuses ten times is set aside, and its device goes on; it may be pushed again
/// or deleted. What it does not answer is never set aside.
#[tokio::test(start_paused = true)]
async fn what_is_refused_again_and_again_is_set_aside() {
    let world = World::start(Settings {
        host_failures_max: 1000,
        ..Settings::default()
    });
    let is_poison = |push: &super::subscriber::Push| {
        push.event
            .as_ref()
            .is_some_and(|(device, n)| device == "d0" && n % 2 == 0)
    };
    world.subscriber.react(move |push| match is_poison(push) {
        true => Reaction::Answer(422),
        false => Reaction::Answer(200),
    });
    let action = world.subscribe("a", 1);
    world.emit(turns(&["d0"], 1, 4));
    let status = world.until(&action, |s| s.set_aside == 2).await;
    assert_eq!((status.delivered, status.failed), (2, 20));
    let reason = "the subscriber answered 422: hello".to_owned();
    assert_eq!(
        rows(&world),
        [(2, 10, reason.clone()), (4, 10, reason.clone())]
    );
    let taken: Vec<u64> = world
        .subscriber
        .taken("a.example")
        .into_iter()
        .map(|e| e.1)
        .collect();
    assert_eq!(taken, [1, 3]);
    // Nothing of it is outstanding.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let record = world.record(1).unwrap();
    assert_eq!(
        (record.position, record.outstanding.len(), record.set_aside),
        (4, 0, 2)
    );

    let pushes = world.pushes();
    let unknown = pushes.push_again(&action, Some(vec![3])).await.unwrap_err();
    assert!(matches!(unknown, PushError::NotSetAside(3)));
    // It is refused once more: it stays.
    assert_eq!(pushes.push_again(&action, Some(vec![4])).await.unwrap(), 1);
    world.until(&action, |s| s.failed == 30).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(rows(&world).len(), 2);
    assert_eq!(pushes.status(&action).unwrap().set_aside, 2);
    world.subscriber.react(|_| Reaction::Answer(200));
    assert_eq!(pushes.push_again(&action, None).await.unwrap(), 2);
    world.until(&action, |s| s.set_aside == 0).await;
    assert_eq!(rows(&world), []);
    let taken: Vec<u64> = world
        .subscriber
        .taken("a.example")
        .into_iter()
        .map(|e| e.1)
        .collect();
    assert_eq!(taken, [1, 3, 2, 4]);

    world.subscriber.react(|_| Reaction::Answer(404));
    world.emit(turns(&["d1", "d2"], 0, 1));
    world.until(&action, |s| s.set_aside == 2).await;
    assert_eq!(pushes.clear_set_aside(&action).await.unwrap(), 2);
    assert_eq!(
        (
            rows(&world).len(),
            pushes.status(&action).unwrap().set_aside
        ),
        (0, 0)
    );

    world.subscriber.react(|_| Reaction::Close);
    world.emit([("d3", 0)]);
    world.until(&action, |s| s.failed >= 80).await;
    let status = pushes.status(&action).unwrap();
    assert_eq!((status.set_aside, status.backlog.events), (0, 1));
}

/// Only so many are kept: the oldest go, and are counted.
#[tokio::test(start_paused = true)]
async fn what_is_set_aside_is_bounded() {
    let world = World::start(Settings {
        host_failures_max: 1000,
        refusals_max: 1,
        set_aside_max: 5,
        ..Settings::default()
    });
    world.subscriber.react(|_| Reaction::Answer(400));
    let action = world.subscribe("a", 1);
    for n in 0..12 {
        world.emit([("d0", n)]);
        world
            .until(&action, |s| s.set_aside + s.dropped == n + 1)
            .await;
    }
    let positions: Vec<u64> = rows(&world).iter().map(|row| row.0).collect();
    assert_eq!(positions, [8, 9, 10, 11, 12]);
    assert_eq!(world.pushes().status(&action).unwrap().dropped, 7);
}

/// While the store takes nothing, nothing is set aside; then it is.
#[tokio::test(start_paused = true)]
async fn setting_aside_waits_for_the_store() {
    let world = World::start(Settings {
        host_failures_max: 1000,
        refusals_max: 2,
        ..Settings::default()
    });
    world.subscriber.react(|_| Reaction::Answer(400));
    let action = world.subscribe("a", 1);
    world
        .until(&action, |s| s.state == DeliveryState::Active)
        .await;
    world.emit(turns(&["d0"], 0, 2));
    world.subscriber.wait_for(1).await;
    world.store.fail_next(3);
    world.until(&action, |s| s.set_aside == 2).await;
    assert_eq!(rows(&world).len(), 2);
}

/// A device's pushes are in its trace, with what to do about those that fail.
#[tokio::test(start_paused = true)]
async fn pushes_of_a_traced_device_are_told() {
    let world = World::start(Settings::default());
    let device = strait::base::ids::DeviceId::parse("d0").unwrap();
    let begun = strait::base::time::Timestamp::from_ms(0);
    world.tracer.start(&device, None, begun).unwrap();
    world.subscriber.react(|push| match push.at_ms < 500 {
        true => Reaction::Redirect,
        false => Reaction::Answer(200),
    });
    let action = world.subscribe("a", 1);
    world.emit(turns(&["d0", "d1"], 0, 1));
    world.until(&action, |s| s.delivered == 2).await;
    let entries = world
        .tracer
        .entries(&device, &[], strait::app::trace::Filter::default(), 10);
    let [taken, refused] = &entries[..] else {
        panic!("{entries:?}");
    };
    assert_eq!((taken.kind, taken.error.as_deref()), ("push", None));
    assert!(
        taken
            .summary
            .starts_with("device.property to a.example:80: taken after")
    );
    assert_eq!(
        refused.error.as_deref(),
        Some("the subscriber answered 302")
    );
    assert!(
        refused
            .hint
            .as_deref()
            .unwrap()
            .contains("redirects are not followed")
    );
}
