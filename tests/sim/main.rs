//! The whole platform against simulated devices on a simulated NB-IoT network: loss, delays of
//! seconds, repeated and overtaking datagrams, sleep, ports that change behind a NAT, a disk that
//! fails and a server that dies. All in virtual time and by chance from a seed.
//!
//! `STRAIT_SEEDS=N` runs each scene with the seeds 1 to N; `STRAIT_SEED=S` runs one seed. A
//! failure names its seed. Tokens, locations and the order of a `select!` are not of the seed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on has failed"
)]

mod commands;
mod flight;
mod node;
mod scenes;
mod server;
mod session;
mod storm;
mod upgrades;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use world::World;

/// Seeds of a run that names none.
const SEEDS: u64 = 3;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|n| n.parse().unwrap())
}

/// Tells the seed of a scene that fails.
struct Note(u64);

impl Drop for Note {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!("failed with seed {seed}: again with STRAIT_SEED={seed}");
        }
    }
}

/// Plays a scene once for each seed, each in a world and a time of its own.
fn each_seed(scene: impl AsyncFn(&mut World)) {
    let seeds = match number("STRAIT_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=number("STRAIT_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        let _note = Note(seed);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.unwrap().block_on(async {
            let mut world = World::start(seed).await;
            scene(&mut world).await;
            world.check();
        });
    }
}

/// Runs a scene for every seed, on two threads. The seed of one that fails is told.
fn each_seed_on_two_threads(scene: impl AsyncFn(&mut World) + Sync) {
    let (first, last) = match number("STRAIT_SEED") {
        Some(seed) => (seed, seed),
        None => (1, number("STRAIT_SEEDS").unwrap_or(SEEDS)),
    };
    let next = AtomicU64::new(first);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed > last {
                return;
            }
            let _note = Note(seed);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build();
            runtime.unwrap().block_on(async {
                let mut world = World::start(seed).await;
                scene(&mut world).await;
            });
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
}
