//! Scripts that mean harm, each in real workers: its call ends, costs one strike where it hit a
//! limit, and other codecs go on meanwhile.

#![allow(
    clippy::disallowed_methods,
    reason = "tests ask at the same time, and wait for all"
)]

mod order;
mod walls;

use std::sync::Arc;
use std::time::Duration;

use strait::app::codec_pool::{CodecPool, Parts, Settings};
use strait::app::tasks::Tasks;
use strait::base::time::{Clock, Timestamp};
use strait::product::codec::call::{Call, Options, Outside, Reply};
use strait::product::codec::{CodecError, Decoded, Kind};

/// What a test waits at most before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) pool: Arc<CodecPool>,
    pub(crate) tasks: Tasks,
}

pub(crate) fn world(settings: Settings) -> World {
    let (clock, tasks) = (Clock::manual(Timestamp::from_ms(1_000_000)), Tasks::new());
    let pool = CodecPool::new(Parts {
        settings,
        clock,
        tasks: tasks.clone(),
        program: Some(env!("CARGO_BIN_EXE_strait").into()),
    });
    World {
        pool: Arc::new(pool),
        tasks,
    }
}

fn script(source: &str) -> Outside {
    let options = Options {
        ts013_service: Some("S".to_owned()),
        services: vec!["S".to_owned()],
        trusted: false,
        stands_at: None,
    };
    Outside::new(Kind::Script, source.as_bytes(), options)
}

/// A script whose `decodeUplink` does this.
pub(crate) fn uplink(body: &str) -> Outside {
    script(&format!("function decodeUplink(input) {{ {body} }}"))
}

pub(crate) fn decode(payload: &[u8]) -> Call {
    Call::Decode {
        payload: payload.to_vec(),
        received_at: Timestamp::from_ms(1),
        f_port: Some(1),
        traced: false,
    }
}

/// The value `v` that the script reports.
pub(crate) fn value(result: Result<Reply, CodecError>) -> Result<serde_json::Value, CodecError> {
    match result? {
        Reply::Decoded {
            decoded: Decoded::Report(report),
            ..
        } => Ok(report.services[0].properties["v"].clone()),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn call(
    world: &World,
    codec: &Outside,
    payload: &[u8],
) -> Result<Reply, CodecError> {
    let called = world.pool.call(codec, decode(payload));
    let ended = tokio::time::timeout(PATIENCE, called).await;
    ended.expect("the call ends")
}

/// Strikes that a codec has, told from how many more quarantine it.
pub(crate) async fn strikes(world: &World, codec: &Outside, most: u32) -> u32 {
    for more in 0..=most {
        if world.pool.quarantined(codec).is_some() {
            return most - more;
        }
        let ended = call(world, codec, b"strike").await;
        assert!(matches!(ended, Err(CodecError::Limit { .. })), "{ended:?}");
    }
    panic!("it is never quarantined");
}

/// One wrong thing that a script does when its payload is not `ok`.
const LIMITS: &[(&str, &str)] = &[
    ("endless loop", "for (;;) {}"),
    (
        "endless loop with catch",
        "for (;;) { try { for (;;) {} } catch (e) {} }",
    ),
    (
        "endless loop with finally",
        "for (;;) { try { for (;;) {} } finally { continue; } }",
    ),
    (
        "memory bomb of objects",
        "var a = []; for (;;) a.push({x: [1, 2, 3]});",
    ),
    (
        "memory bomb of text",
        "var a = []; for (;;) a.push('xy'.repeat(50000) + a.length);",
    ),
    (
        "memory bomb of buffers",
        "var a = []; for (;;) a.push(new Uint8Array(1 << 20));",
    ),
    (
        "catastrophic regular expression",
        "/^(a+)+$/.test('a'.repeat(50) + 'b');",
    ),
    ("joined emptiness", "new Array(4294967295).join('');"),
    (
        "quadratic search",
        "var s = 'a'.repeat(3000000), n = 'a'.repeat(1500000) + 'b'; for (;;) s.indexOf(n);",
    ),
    (
        "big integer",
        "for (;;) try { 10n ** 10000000n; (10n ** 1000000n).toString(); } catch (e) {}",
    ),
    (
        "getter that never ends",
        "return {data: {get v() { for (;;) {} }}};",
    ),
    (
        "iterator that never ends",
        "var o = {[Symbol.iterator]: () => ({next: () => ({done: false})})}; Array.from(o);",
    ),
    (
        "proxy that never ends",
        "return {data: new Proxy({}, {ownKeys() { for (;;) {} }})};",
    ),
    (
        "sort that never ends",
        "var n = 0; [2, 1].sort(() => { for (;;) n++; });",
    ),
];

fn when_not_ok(body: &str) -> Outside {
    uplink(&format!(
        "if (input.bytes[0] !== 111) {{ {body} }} return {{data: {{v: 1}}}};"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_limit_ends_the_call_and_costs_one_strike() {
    const MOST: u32 = 3;
    let world = world(Settings {
        strikes: MOST,
        ..Settings::default()
    });
    let good = uplink("return {data: {v: input.bytes.length}};");
    for (name, body) in LIMITS {
        let codec = when_not_ok(body);
        let ended = call(&world, &codec, b"bad").await;
        assert!(
            matches!(ended, Err(CodecError::Limit { .. })),
            "{name}: {ended:?}"
        );
        // It is not broken by that, nor is anybody else.
        assert_eq!(
            value(call(&world, &codec, b"ok").await),
            Ok(1.into()),
            "{name}"
        );
        assert_eq!(
            value(call(&world, &good, b"abc").await),
            Ok(3.into()),
            "{name}"
        );
        assert_eq!(strikes(&world, &codec, MOST).await, 1, "{name}");
        let refused = call(&world, &codec, b"ok").await;
        assert!(
            matches!(&refused, Err(CodecError::Unavailable { reason }) if reason.contains("quarantined")),
            "{name}: {refused:?}"
        );
        world.pool.release(&codec);
        assert_eq!(
            value(call(&world, &codec, b"ok").await),
            Ok(1.into()),
            "{name}"
        );
    }
    assert_eq!(world.pool.quarantined(&good), None);
    assert_eq!(world.tasks.shut_down(PATIENCE).await, Vec::<&str>::new());
}

/// Wrong, and within the limits: an error of the script, and no strike.
const FAILURES: &[(&str, &str)] = &[
    ("deep recursion", "function f() { return f() + 1; } f();"),
    ("thrown text", "throw 'x';"),
    ("thrown nothing", "throw undefined;"),
    ("thrown null", "throw null;"),
    ("thrown number", "throw 7;"),
    ("thrown symbol", "throw Symbol('x');"),
    ("thrown big integer", "throw 7n;"),
    (
        "thrown object without prototype",
        "throw Object.create(null);",
    ),
    (
        "thrown object that throws",
        "throw {toString() { throw 1; }, get message() { throw 2; }};",
    ),
    ("thrown proxy", "throw new Proxy({}, {get() { throw 3; }});"),
    (
        "promise that never settles",
        "return new Promise(() => {});",
    ),
    (
        "thrown error with a huge message",
        "throw new Error('x'.repeat(1000000));",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_within_the_limits_is_an_error_and_the_next_call_works() {
    let world = world(Settings {
        strikes: 1,
        ..Settings::default()
    });
    for (name, body) in FAILURES {
        let codec = when_not_ok(body);
        let ended = call(&world, &codec, b"bad").await;
        // Too deep a recursion may count as an error or as a limit, either ends it; null is what an
        // out-of-memory error without room for itself throws.
        let limit = matches!(ended, Err(CodecError::Limit { .. }));
        assert!(
            ended.is_err() && (!limit || ["deep recursion", "thrown null"].contains(name)),
            "{name}: {ended:?}"
        );
        if let Err(error) = &ended {
            assert!(
                error.to_string().len() < 2000,
                "{name}: {} bytes",
                error.to_string().len()
            );
        }
        world.pool.release(&codec);
        assert_eq!(
            value(call(&world, &codec, b"ok").await),
            Ok(1.into()),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn enormous_output_is_refused() {
    let world = world(Settings::default());
    for body in [
        "return {data: {v: 'x'.repeat(5000000)}};",
        "var a = {}, b = a; for (var i = 0; i < 1000; i++) b = b.v = {}; return {data: a};",
        "var a = {v: 1}; a.a = a; return {data: a};",
    ] {
        let codec = when_not_ok(body);
        let ended = call(&world, &codec, b"bad").await;
        assert!(ended.is_err(), "{body}: {ended:?}");
        world.pool.release(&codec);
        assert_eq!(
            value(call(&world, &codec, b"ok").await),
            Ok(1.into()),
            "{body}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_script_does_not_tamper_with_another() {
    let world = world(Settings {
        workers: 1,
        ..Settings::default()
    });
    let bad = uplink(
        "Array.prototype.map = Object.keys = JSON.stringify = JSON.parse = () => { throw 1; };
         Object.prototype.toJSON = () => 'taken'; Array.prototype[Symbol.iterator] = null;
         Object.defineProperty(Object.prototype, 'v', {get() { return 'taken'; }});
         Function.prototype.call = Function.prototype.apply = null; globalThis.stolen = 1;
         return {data: {v: 1}};",
    );
    let good = uplink(
        "return {data: {v: [1, 2].map(x => x + 1).join() + typeof globalThis.stolen
            + JSON.stringify(Object.keys({a: 1}))}};",
    );
    for _ in 0..3 {
        drop(call(&world, &bad, b"x").await);
        let got = value(call(&world, &good, b"x").await);
        assert_eq!(got, Ok("2,3undefined[\"a\"]".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn others_in_the_same_worker_go_on_while_one_hangs() {
    let world = world(Settings {
        workers: 1,
        ..Settings::default()
    });
    let good = uplink("return {data: {v: input.bytes.length}};");
    let bad = uplink("new Array(4294967295).join('');");
    // Both are loaded, and the spare process is there when it is needed.
    assert_eq!(value(call(&world, &good, b"a").await), Ok(1.into()));
    let pool = Arc::clone(&world.pool);
    let hostile = bad.clone();
    let hanging = pool.call(&hostile, decode(b"bad"));
    let mut hanging = std::pin::pin!(hanging);
    assert!(futures_util::poll!(&mut hanging).is_pending());
    let mut before = 0;
    let ended = loop {
        tokio::select! {
            biased;
            ended = &mut hanging => break ended,
            got = call(&world, &good, b"abcd") => {
                assert_eq!(value(got), Ok(4.into()));
                before += 1;
            }
        }
    };
    assert!(matches!(ended, Err(CodecError::Limit { .. })), "{ended:?}");
    assert!(
        before >= 3,
        "{before} calls of the other codec ended before the one that hung"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_behind_a_hanging_one_are_all_answered_once() {
    let world = world(Settings {
        workers: 1,
        strikes: 2,
        ..Settings::default()
    });
    let good = uplink("return {data: {v: input.bytes[0]}};");
    let bad = uplink("new Array(4294967295).join('');");
    let mut calls = Vec::new();
    for n in 0..200_u8 {
        let (pool, codec) = (Arc::clone(&world.pool), good.clone());
        calls.push((
            n,
            tokio::task::spawn(async move { pool.call(&codec, decode(&[n])).await }),
        ));
        if n % 20 == 10 {
            let (pool, codec) = (Arc::clone(&world.pool), bad.clone());
            calls.push((
                255,
                tokio::task::spawn(async move { pool.call(&codec, decode(&[n])).await }),
            ));
        }
    }
    let (mut limits, mut refused) = (0, 0);
    for (n, call) in calls {
        match (n, call.await.unwrap()) {
            (255, Err(CodecError::Limit { .. })) => limits += 1,
            (255, Err(CodecError::Unavailable { .. })) => refused += 1,
            (n, got) => assert_eq!(value(got), Ok(n.into())),
        }
    }
    assert_eq!(
        (limits, refused),
        (2, 8),
        "after two strikes the rest is refused"
    );
    assert_eq!(world.pool.quarantined(&good), None);
}

/// Process ids of this test's workers: children whose command line says so.
fn workers_of(parent: u32) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|n| n.parse::<i32>().ok())
        else {
            continue;
        };
        let read =
            |file: &str| std::fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        let stat = read("stat");
        let of = stat
            .rsplit(')')
            .next()
            .and_then(|rest| rest.split_whitespace().nth(1));
        let is_ours = of.and_then(|of| of.parse().ok()) == Some(parent);
        if is_ours && read("cmdline").contains("codec-worker") {
            found.push(pid);
        }
    }
    found
}

/// In a process of its own, so that it ends no other test's workers.
#[test]
fn a_worker_that_is_ended_from_outside_harms_nobody() {
    let test = "codec_hostile::inner_kill";
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--ignored", "--nocapture"])
        .status()
        .unwrap();
    assert!(status.success());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by a_worker_that_is_ended_from_outside_harms_nobody"]
async fn inner_kill() {
    let world = world(Settings {
        workers: 1,
        strikes: 1,
        ..Settings::default()
    });
    let good = uplink("return {data: {v: input.bytes.length}};");
    assert!(
        workers_of(std::process::id()).is_empty(),
        "nothing starts before the first call"
    );
    assert_eq!(value(call(&world, &good, b"a").await), Ok(1.into()));
    for round in 0..20 {
        let calls: Vec<_> = (0..50)
            .map(|_| {
                let (pool, codec) = (Arc::clone(&world.pool), good.clone());
                tokio::task::spawn(async move { pool.call(&codec, decode(b"abc")).await })
            })
            .collect();
        for pid in workers_of(std::process::id()) {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        for call in calls {
            assert_eq!(value(call.await.unwrap()), Ok(3.into()), "round {round}");
        }
    }
    assert_eq!(world.pool.quarantined(&good), None);
    world.tasks.shut_down(PATIENCE).await;
    assert_eq!(
        workers_of(std::process::id()),
        Vec::<i32>::new(),
        "none outlives its server"
    );
}
