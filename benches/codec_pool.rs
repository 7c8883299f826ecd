//! What the way to a worker costs: a script on a water meter's report, in process and through the pool,
//! where 32 callers keep its worker busy. Prints medians in microseconds for one call.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a bench that cannot start has failed"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "a bench reads the clock and spawns"
)]
#![allow(
    clippy::indexing_slicing,
    reason = "medians of lists that are not empty"
)]

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use strait::app::codec_pool::{CodecPool, Parts, Settings};
use strait::app::tasks::Tasks;
use strait::base::time::{Clock, Timestamp};
use strait::product::codec::Kind;
use strait::product::codec::call::{Call, Options, Outside};
use strait::product::codec::here::Loader;

const SCRIPT: &str = "
function decodeUplink(input) {
  var view = new DataView(Uint8Array.from(input.bytes).buffer);
  var volumes = [];
  for (var at = 12; at + 1 < input.bytes.length; at += 2) volumes.push(view.getUint16(at) / 1000);
  return { data: { serial: view.getUint32(0), volume: view.getUint32(4) / 1000,
    battery: view.getUint8(8) / 10, leak: (view.getUint8(9) & 1) === 1, intervals: volumes } };
}";
const CALLERS: usize = 32;
const ROUNDS: usize = 300;
const EACH: usize = 50;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn call() -> Call {
    Call::Decode {
        payload: (0..68).collect(),
        received_at: Timestamp::from_ms(1_772_366_400_000),
        f_port: Some(1),
        traced: false,
    }
}

fn in_process(codec: &Outside) -> f64 {
    let loaded = Loader::default()
        .load(codec.kind, &codec.source, &codec.options)
        .unwrap();
    let (mut times, call) = (Vec::new(), call());
    for _ in 0..ROUNDS * EACH {
        let begun = Instant::now();
        call.perform(loaded.codec()).unwrap();
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    median(times)
}

/// Per call when `callers` ask at the same time, and what one caller waits for its answer.
async fn through_the_pool(pool: &Arc<CodecPool>, codec: &Outside, callers: usize) -> f64 {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let calls: Vec<_> = (0..callers)
            .map(|_| {
                let (pool, codec) = (Arc::clone(pool), codec.clone());
                tokio::spawn(async move {
                    for _ in 0..EACH {
                        pool.call(&codec, call()).await.unwrap();
                    }
                })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let count = (callers * EACH) as f64;
        times.push(begun.elapsed().as_secs_f64() * 1e6 / count);
    }
    median(times)
}

fn main() {
    let options = Options {
        ts013_service: Some("S".to_owned()),
        ..Options::default()
    };
    let codec = Outside::new(Kind::Script, SCRIPT.as_bytes(), options);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (batched, single) = runtime.block_on(async {
        let tasks = Tasks::new();
        let pool = Arc::new(CodecPool::new(Parts {
            settings: Settings::default(),
            clock: Clock::System,
            tasks: tasks.clone(),
            program: Some(env!("CARGO_BIN_EXE_strait").into()),
        }));
        pool.call(&codec, call()).await.unwrap();
        let batched = through_the_pool(&pool, &codec, CALLERS).await;
        let single = through_the_pool(&pool, &codec, 1).await;
        tasks.shut_down(std::time::Duration::from_secs(5)).await;
        (batched, single)
    });
    let here = in_process(&codec);
    let mut out = std::io::stdout();
    drop(writeln!(out, "in process          {here:8.2} µs"));
    drop(writeln!(
        out,
        "worker, {CALLERS} callers  {batched:8.2} µs (+{:.2})",
        batched - here
    ));
    drop(writeln!(
        out,
        "worker, one caller  {single:8.2} µs (+{:.2})",
        single - here
    ));
}
