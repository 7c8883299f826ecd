//! What idle sessions cost: memory of 50,000 after their handshakes, after a restart that takes
//! them up from what was stored, and with their keys in the store alone; and how long the taking
//! up lasts. Each in a process of its own, whose growth (VmRSS) is divided by the sessions.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement fails by panicking, prints, and reads the real clock"
)]

#[allow(dead_code, reason = "what the engine's tests need of it")]
#[path = "../src/engine/dtls/tests/client.rs"]
mod client;
#[path = "dtls/server.rs"]
mod server;

use std::process::Command;
use std::time::{Duration, Instant};

use strait::base::peer::DeviceSeq;
use strait::engine::dtls::crypto::Suite;
use strait::engine::dtls::{Outputs, Settings, Stored};
use strait::net::dtls::OsRandom;
// Where the client looks for them.
use strait::{engine, wire};

use client::Offer;
use server::{Server, rss_bytes, settings};

const SESSIONS: u64 = 50_000;

const SCENES: [&str; 5] = [
    "handshakes",
    "handshakes-cid",
    "keys-away",
    "restored",
    "restored-cid",
];

fn main() {
    let named = std::env::args().find(|arg| SCENES.contains(&arg.as_str()));
    match named.as_deref() {
        Some(scene) => play(scene),
        None => {
            for scene in SCENES {
                let own = std::env::current_exe().unwrap();
                let status = Command::new(own).arg(scene).status().unwrap();
                assert!(status.success(), "{scene}: {status}");
            }
        }
    }
}

fn play(scene: &str) {
    let mut offer = Offer::of(Suite::Ccm8);
    if scene.ends_with("-cid") {
        offer = offer.with_cid(&[]);
    }
    if scene.starts_with("restored") {
        restored(scene, offer);
    } else {
        handshakes(scene, &offer);
    }
}

/// Real handshakes, and then silence for longer than any of their timers.
fn handshakes(scene: &str, offer: &Offer) {
    let now = Instant::now();
    let keys = if scene == "keys-away" { 1 } else { 250_000 };
    let settings = Settings {
        sessions_in_memory: keys,
        ..settings()
    };
    let mut server = Server::new(settings, now, Box::new(OsRandom));
    server.connect(now, 0, offer.clone());
    let before = rss_bytes("self");
    for device in 1..SESSIONS {
        server.connect(now, device, offer.clone());
    }
    server
        .dtls
        .tick(now + Duration::from_secs(3600), &mut Outputs::default());
    tell(scene, before, &server);
}

/// As at a start: all stored sessions are taken up.
fn restored(scene: &str, offer: Offer) {
    let now = Instant::now();
    let mut first = Server::keeping(settings(), now, Box::new(OsRandom));
    first.connect(now, 0, offer);
    let one = *first.stored.take().unwrap();
    let all: Vec<Stored> = (0..SESSIONS)
        .map(|device| Stored {
            device: DeviceSeq(device),
            number: device + 1,
            own_cid: one.own_cid.map(|_| cid_of(device + 1)),
            address: server::address(device),
            ..one.clone()
        })
        .collect();
    let mut server = Server::new(settings(), now, Box::new(OsRandom));
    let before = rss_bytes("self");
    let begun = Instant::now();
    for stored in &all {
        assert!(server.dtls.restore(stored));
    }
    let took = begun.elapsed();
    tell(scene, before, &server);
    println!("{scene}: taken up in {took:?}");
}

/// As the engine makes them: the number in 5 bytes and 3 random ones.
fn cid_of(number: u64) -> [u8; 8] {
    let mut cid = [7; 8];
    cid[..5].copy_from_slice(&number.to_be_bytes()[3..]);
    cid
}

fn tell(scene: &str, before: u64, server: &Server) {
    let (handshakes, sessions, keys) = server.dtls.counts();
    assert_eq!((handshakes, sessions as u64), (0, SESSIONS));
    let each = (rss_bytes("self") - before) / SESSIONS;
    println!("{scene}: {sessions} sessions, {keys} with keys: {each} bytes of RSS each");
}
