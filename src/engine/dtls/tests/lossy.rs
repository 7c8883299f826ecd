//! Handshakes over a network that loses, repeats, delays and reorders, from a seed: each ends
//! connected or given up, never stuck, and a connected one talks. `STRAIT_SEEDS` sets how many.

use std::time::Duration;

use super::client::{Offer, Stage};
use super::world::{World, at, client};
use crate::engine::dtls::Settings;
use crate::engine::dtls::crypto::Suite;

/// Network, clock and client timers of one handshake.
fn run(seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut world = World::with(Settings::default(), seed);
    let loss = rng.u32(0..50);
    let offer = Offer {
        extended_master_secret: rng.bool(),
        encrypt_then_mac: rng.bool(),
        cid: rng.bool().then(|| vec![1; rng.usize(0..4)]),
        fragment: if rng.bool() { 1200 } else { rng.usize(8..60) },
        ..Offer::of(Suite::ALL[rng.usize(..4)])
    };
    let whole = offer.fragment;
    let mut client = client(1, offer, seed);
    client.offer.fragment = 1200;
    let wrong_key = rng.u32(..10) == 0;
    if wrong_key {
        client = super::client::Client::new(client.offer, "nobody", b"k", [1; 32]);
    }
    let mut deliver_at: Vec<(u64, bool, Vec<u8>)> = Vec::new();
    let mut send = |queue: &mut Vec<(u64, bool, Vec<u8>)>, now: u64, up: bool, bytes: Vec<u8>| {
        for _ in 0..1 + u32::from(rng.u32(..100) < 10) {
            if rng.u32(..100) >= loss {
                queue.push((now + rng.u64(1..6000), up, bytes.clone()));
            }
        }
    };
    let mut now = 0;
    let mut client_timer = 2000;
    let mut wait = 2000;
    for datagram in client.start() {
        send(&mut deliver_at, now, true, datagram);
    }
    let crash_at = seed.is_multiple_of(3).then_some(5000 + seed % 20_000);
    let mut crashed = false;
    while now < 7_200_000 && !client.is_connected() {
        now += 100;
        for (_, datagram) in world.pass(Duration::from_millis(100)) {
            send(&mut deliver_at, now, false, datagram);
        }
        if crash_at.is_some_and(|at| now >= at) && !crashed {
            crashed = true;
            world.restart();
        }
        let due: Vec<_> = deliver_at.extract_if(.., |(at, ..)| *at <= now).collect();
        for (_, up, datagram) in due {
            if up {
                for (_, answer) in world.deliver(at(1), &datagram) {
                    send(&mut deliver_at, now, false, answer);
                }
            } else {
                let before = client.stage;
                for datagram in client.receive(&datagram) {
                    send(&mut deliver_at, now, true, datagram);
                }
                if client.stage != before {
                    client.offer.fragment = whole;
                    (client_timer, wait) = (now + 2000, 2000);
                }
            }
        }
        if now >= client_timer && !client.is_connected() {
            if wait > 60_000 {
                // It gives up and begins anew, as a device does.
                let offer = Offer {
                    fragment: 1200,
                    ..client.offer.clone()
                };
                let fresh = super::world::client(1, offer, seed ^ now);
                if !wrong_key {
                    client = fresh;
                }
                wait = 2000;
                for datagram in client.start() {
                    send(&mut deliver_at, now, true, datagram);
                }
            } else {
                wait *= 2;
                for datagram in client.repeat() {
                    send(&mut deliver_at, now, true, datagram);
                }
            }
            client_timer = now + wait;
        }
    }
    if wrong_key {
        assert!(
            !client.is_connected() && world.dtls.counts().1 == 0,
            "seed {seed}"
        );
    } else {
        assert!(
            client.is_connected(),
            "seed {seed}: {:?} {:?}",
            client.stage,
            world.reports
        );
        assert_ne!(client.stage, Stage::Hello);
        world.talk(1, &mut client, at(1));
    }
    // Whatever was left over ends by itself.
    for _ in 0..200 {
        world.pass(Duration::from_secs(2));
    }
    assert_eq!(
        world.dtls.counts().0,
        0,
        "seed {seed}: a handshake is stuck"
    );
}

#[test]
fn every_handshake_ends() {
    let seeds = std::env::var("STRAIT_SEEDS")
        .ok()
        .and_then(|s| s.parse().ok());
    for seed in 0..seeds.unwrap_or(60_u64).max(60) * 4 {
        run(seed);
    }
}
