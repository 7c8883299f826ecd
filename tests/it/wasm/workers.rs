//! Hostile components in real workers, as production runs them: each call ends in time and costs one
//! strike where it hit a limit, the worker lives on, and nobody else notices.

#![allow(
    clippy::disallowed_methods,
    reason = "measures what a caller waits for"
)]

use std::fs;
use std::time::{Duration, Instant};

use strait::app::codec_pool::Settings;
use strait::product::codec::call::{Options, Outside, Reply};
use strait::product::codec::{CodecError, Decoded, Kind};

use super::component::{Component, SOUND};
use super::hostile::hostile;
use super::sample;
use crate::codec_hostile::{PATIENCE, World, call, decode, uplink, value, world};

/// What one call of the worst code may take, all waiting included.
const ENDS_WITHIN: Duration = Duration::from_millis(300);

fn component(source: &[u8]) -> Outside {
    Outside::new(Kind::Wasm, source, Options::default())
}

/// One bad call, and what it took.
async fn hit(world: &World, codec: &Outside) -> (CodecError, Duration) {
    let begun = Instant::now();
    let ended = call(world, codec, b"bad").await;
    (ended.expect_err("it is hostile"), begun.elapsed())
}

fn is_fine(ended: &Result<Reply, CodecError>) -> bool {
    let is_nothing = |reply: &Reply| {
        matches!(
            reply,
            Reply::Decoded {
                decoded: Decoded::Nothing,
                ..
            }
        )
    };
    ended.as_ref().is_ok_and(is_nothing)
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_code_in_a_worker_ends_in_time_and_a_limit_costs_one_strike() {
    const MOST: u32 = 3;
    let world = world(Settings {
        strikes: MOST,
        ..Settings::default()
    });
    let good = uplink("return {data: {v: input.bytes.length}};");
    let (mut failures, mut limits) = (Vec::new(), 0);
    for (name, broken, kind, part) in hostile() {
        let codec = component(&broken.binary());
        assert_eq!(world.pool.check(&codec).await, Ok(()), "{name}");
        // The best of three: a busy machine is not the codec's doing.
        let mut best = Duration::MAX;
        for nth in 1..=MOST {
            let (error, took) = hit(&world, &codec).await;
            best = best.min(took);
            if error.kind() != kind || !error.to_string().contains(part) {
                failures.push(format!("{name}: {error:?}, want {kind} with {part:?}"));
            }
            let is_struck = world.pool.quarantined(&codec).is_some();
            if is_struck != (kind == "limit" && nth == MOST) {
                failures.push(format!("{name}: quarantined {is_struck} after {nth} calls"));
            }
        }
        if best > ENDS_WITHIN {
            failures.push(format!("{name}: ends after {best:?}"));
        }
        if kind == "limit" {
            limits += 1;
            let (refused, _) = hit(&world, &codec).await;
            assert!(
                refused.to_string().contains("quarantined"),
                "{name}: {refused}"
            );
            world.pool.release(&codec);
        }
        let then = call(&world, &codec, b"ok").await;
        if broken.takes_values() && !is_fine(&then) {
            failures.push(format!("{name}: the next call gives {then:?}"));
        }
        assert_eq!(
            value(call(&world, &good, b"abc").await),
            Ok(3.into()),
            "{name}"
        );
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert!(limits >= 10, "{limits} of them hit a limit");
    assert_eq!(world.pool.quarantined(&good), None);
    assert_eq!(world.tasks.shut_down(PATIENCE).await, Vec::<&str>::new());
}

/// What is no codec at all: it is told, strikes nobody, and takes no time that others would miss.
#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_begin_is_told_to_uploads_and_refused_to_calls() {
    let world = world(Settings {
        workers: 1,
        strikes: 1,
        ..Settings::default()
    });
    let begins = |module| Component { module, ..SOUND };
    let cut = |len| SOUND.binary()[..len].to_vec();
    let rows: Vec<(Vec<u8>, &str)> = vec![
        (Vec::new(), "not WebAssembly"),
        (cut(9), "not a component"),
        (cut(200), "not a component"),
        (wat::parse_str("(module)").unwrap(), "a core module"),
        (
            Component {
                exports: "",
                ..SOUND
            }
            .binary(),
            "exports no decode",
        ),
        (
            Component {
                imports: r#"(import "wasi:cli/exit@0.2.0" (instance))"#,
                ..SOUND
            }
            .binary(),
            "takes no imports",
        ),
        (
            begins("(func $s (loop $l (br $l))) (start $s)").binary(),
            "50 ms",
        ),
        (
            begins("(func $s (call $s) (call $s)) (start $s)").binary(),
            "stack",
        ),
        (
            begins("(func $s (loop $l (drop (memory.grow (i32.const 1))) (br $l))) (start $s)")
                .binary(),
            "memory",
        ),
        (
            begins("(func $s unreachable) (start $s)").binary(),
            "unreachable",
        ),
        (Component { pages: 65, ..SOUND }.binary(), "memory"),
    ];
    for (source, part) in rows {
        let codec = component(&source);
        let mut best = Duration::MAX;
        for _ in 0..3 {
            let begun = Instant::now();
            let mistakes = world.pool.check(&codec).await.unwrap_err();
            best = best.min(begun.elapsed());
            assert!(
                mistakes[0].to_string().contains(part),
                "{part}: {mistakes:?}"
            );
        }
        assert!(best < ENDS_WITHIN, "{part}: told after {best:?}");
        let (refused, _) = hit(&world, &codec).await;
        assert_eq!(refused.kind(), "unavailable", "{part}: {refused}");
        assert!(refused.to_string().contains(part), "{part}: {refused}");
        assert_eq!(world.pool.quarantined(&codec), None, "{part}");
    }
}

/// Compiling what is uploaded takes long; who shares the worker does not wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn others_in_the_same_worker_go_on_while_one_is_compiled() {
    let world = world(Settings {
        workers: 1,
        ..Settings::default()
    });
    let good = uplink("return {data: {v: input.bytes.length}};");
    assert_eq!(value(call(&world, &good, b"a").await), Ok(1.into()));
    let meter = component(&fs::read(sample().join("codec.wasm")).unwrap());
    let compiling = world.pool.check(&meter);
    let mut compiling = std::pin::pin!(compiling);
    assert!(futures_util::poll!(&mut compiling).is_pending());
    let mut before = 0;
    let ended = loop {
        tokio::select! {
            biased;
            ended = &mut compiling => break ended,
            got = call(&world, &good, b"abcd") => {
                assert_eq!(value(got), Ok(4.into()));
                before += 1;
            }
        }
    };
    assert_eq!(ended, Ok(()));
    assert!(before >= 3, "{before} calls of the other codec meanwhile");
}

/// A codec is compiled once, or twice where its check took long: not each time that it was quick for a
/// while.
#[tokio::test(flavor = "multi_thread")]
async fn a_codec_that_compiles_slowly_is_not_compiled_again_and_again() {
    let world = world(Settings {
        workers: 1,
        ..Settings::default()
    });
    let meter = component(&fs::read(sample().join("codec.wasm")).unwrap());
    assert_eq!(world.pool.check(&meter).await, Ok(()));
    let mut compiled = 0;
    for _ in 0..300 {
        let ran = world.pool.run(&meter, decode(&[9, 9, 0xc7, 0xe6])).await;
        assert_eq!(ran.result.unwrap_err().kind(), "refused");
        // Calls alone take less than a millisecond, even in a debug build on a busy machine.
        compiled += usize::from(ran.micros > 20_000);
    }
    assert!(
        compiled <= 3,
        "{compiled} of 300 calls took as long as compiling does"
    );
}

/// An operator's own components may run inside the server, and are bounded there as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_component_is_bounded_too() {
    let world = world(Settings {
        strikes: 2,
        trust: true,
        ..Settings::default()
    });
    let options = Options {
        trusted: true,
        ..Options::default()
    };
    let spins = Component {
        decode: "(loop $l (br $l)) unreachable",
        ..SOUND
    };
    let codec = Outside::new(Kind::Wasm, &spins.binary(), options);
    assert!(is_fine(&call(&world, &codec, b"ok").await));
    for _ in 0..2 {
        let (error, _) = hit(&world, &codec).await;
        assert_eq!(error.kind(), "limit", "{error}");
    }
    assert!(world.pool.quarantined(&codec).is_some());
}

/// More than one worker holds at a time, each with an instance of its own.
#[tokio::test(flavor = "multi_thread")]
async fn more_components_than_a_worker_holds_all_work() {
    let world = world(Settings {
        workers: 1,
        ..Settings::default()
    });
    // Each is another codec by what follows it.
    let codecs: Vec<Outside> = (0..100_u8)
        .map(|n| component(&[SOUND.binary().as_slice(), &[0, 3, 1, b'n', n]].concat()))
        .collect();
    for _ in 0..2 {
        for (n, codec) in codecs.iter().enumerate() {
            let ended = call(&world, codec, b"ok").await;
            assert!(is_fine(&ended), "{n}: {ended:?}");
        }
    }
}
