//! Workers beside the hostile: checks of sources, too much to do, and more codecs than there is room for.

use std::path::Path;

use strait::app::codec_pool::{CodecPool, Parts, Settings};
use strait::app::tasks::Tasks;
use strait::base::time::Clock;
use strait::product::codec::call::Outside;

use super::{PATIENCE, call, decode, script, uplink, value, world};

#[tokio::test(flavor = "multi_thread")]
async fn checks_tell_every_mistake_and_never_strike() {
    let world = world(Settings {
        strikes: 1,
        ..Settings::default()
    });
    let fine = uplink("return {data: {v: 1}};");
    assert_eq!(world.pool.check(&fine).await, Ok(()));
    assert_eq!(world.pool.check(&fine).await, Ok(()), "again");
    let cases = [
        "function decodeUplink(input) {",
        "for (;;) {}",
        "new Array(4294967295).join('');",
        "throw 1;",
        "var nothing = 1;",
    ];
    for source in cases {
        let codec = script(source);
        for _ in 0..2 {
            let mistakes = world.pool.check(&codec).await.unwrap_err();
            assert!(!mistakes.is_empty(), "{source}");
        }
        assert_eq!(world.pool.quarantined(&codec), None, "{source}");
    }
    let hangs = world
        .pool
        .check(&script("new Array(4294967295).join('');"))
        .await;
    let message = hangs.unwrap_err()[0].message.clone();
    assert!(
        message.contains("limit") && message.contains("250 ms"),
        "{message}"
    );
    let broken = call(&world, &script("function decodeUplink(input) {"), b"x").await;
    assert_eq!(broken.unwrap_err().kind(), "unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_calls_and_no_workers_are_told() {
    let crowded = world(Settings {
        workers: 1,
        waiting_max: 2,
        ..Settings::default()
    });
    let slow = uplink("new Array(4294967295).join('');");
    let calls = [1, 2].map(|_| crowded.pool.call(&slow, decode(b"x")));
    let mut calls = calls.map(Box::pin);
    for call in &mut calls {
        assert!(futures_util::poll!(call).is_pending());
    }
    let refused = call(&crowded, &slow, b"x").await.unwrap_err();
    assert!(
        refused.to_string().contains("2 calls wait already"),
        "{refused}"
    );

    let tasks = Tasks::new();
    let without = CodecPool::new(Parts {
        settings: Settings::default(),
        clock: Clock::System,
        tasks: tasks.clone(),
        program: Some(Path::new("/nonexistent/strait").into()),
    });
    for _ in 0..3 {
        let error = without.call(&slow, decode(b"x")).await.unwrap_err();
        assert!(
            error.to_string().contains("no worker: starting the worker"),
            "{error}"
        );
    }
    assert_eq!(tasks.shut_down(PATIENCE).await, Vec::<&str>::new());
    let error = without.call(&slow, decode(b"x")).await.unwrap_err();
    assert!(error.to_string().contains("the server stops"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_codecs_than_a_worker_holds_all_work() {
    let world = world(Settings {
        workers: 1,
        ..Settings::default()
    });
    let codecs: Vec<Outside> = (0..100)
        .map(|n| uplink(&format!("return {{data: {{v: {n}}}}};")))
        .collect();
    for _ in 0..2 {
        for (n, codec) in codecs.iter().enumerate() {
            assert_eq!(value(call(&world, codec, b"x").await), Ok(n.into()));
        }
    }
}
