//! Secured records: a record of 100 bytes opened and another sealed, for each suite. And a full
//! handshake of the engine, the server's side alone.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a benchmark that can't go on has failed, and it reads the real clock"
)]

#[allow(dead_code, reason = "what the engine's tests need of it")]
#[path = "../src/engine/dtls/tests/client.rs"]
mod client;
#[path = "dtls/server.rs"]
mod server;

use std::time::Instant;

use divan::{AllocProfiler, Bencher, black_box};
use strait::engine::dtls::Random;
use strait::engine::dtls::crypto::{Head, Keys, Protection, Suite};
use strait::wire::dtls::{ContentType, record};
// Where the client looks for them.
use strait::{engine, wire};

use client::Offer;
use server::{Server, address, settings};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const CONTENT: [u8; 100] = [0x64; 100];
const IV: [u8; 16] = [0x69; 16];
/// What the server gives out, and so what stands on the records that come.
const CID: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

/// Suite and whether the MAC is outside.
const PROTECTIONS: [(Suite, bool); 5] = [
    (Suite::Ccm8, false),
    (Suite::Ccm, false),
    (Suite::Gcm, false),
    (Suite::CbcSha256, true),
    (Suite::CbcSha256, false),
];

/// One record comes with a connection id, and one goes back without.
#[divan::bench(args = PROTECTIONS)]
fn open_and_seal_100_bytes(bencher: Bencher<'_, '_>, (suite, encrypt_then_mac): (Suite, bool)) {
    let protection = Protection {
        suite,
        encrypt_then_mac,
    };
    let keys = Keys::from_key_block(suite, &vec![0x6b; suite.key_block_len()]).unwrap();
    let data = ContentType::APPLICATION_DATA;
    let mut head = Head {
        epoch: 1,
        seq: 1,
        cid: &CID,
    };
    let mut came = Vec::new();
    protection
        .seal(&keys.client, head, data, &CONTENT, IV, &mut came)
        .unwrap();
    head.cid = &[];
    let mut content = Vec::with_capacity(2048);
    let mut goes = Vec::with_capacity(2048);
    bencher.bench_local(|| {
        let (record, _) = record::parse(black_box(&came), CID.len()).unwrap();
        protection
            .open(&keys.client, &record, &mut content)
            .unwrap();
        head.seq += 1;
        goes.clear();
        protection
            .seal(&keys.server, head, data, &content, IV, &mut goes)
            .unwrap();
        goes.len()
    });
}

/// The same bytes always: two engines with it answer the same flights alike.
struct Constant;

impl Random for Constant {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0x5a);
    }
}

/// What a client offers.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Plain,
    ConnectionId,
    NoExtendedMasterSecret,
}

/// The server's side of full handshakes, each of another device at another address: three flights
/// in, three out, cookie and all. Each client has shaken hands before with a twin of the engine,
/// outside the measured time; what is measured takes the flights of then, and must come to a
/// session with each, too.
#[divan::bench(
    args = [Kind::Plain, Kind::ConnectionId, Kind::NoExtendedMasterSecret],
    sample_count = 200,
    sample_size = 20,
)]
fn handshake(bencher: Bencher<'_, '_>, kind: Kind) {
    let mut offer = Offer::of(Suite::Ccm8);
    match kind {
        Kind::Plain => {}
        Kind::ConnectionId => offer = offer.with_cid(&[]),
        Kind::NoExtendedMasterSecret => offer.extended_master_secret = false,
    }
    let now = Instant::now();
    let mut twin = Server::new(settings(), now, Box::new(Constant));
    let mut server = Server::new(settings(), now, Box::new(Constant));
    let mut device = 0;
    let mut handshakes = 0;
    bencher
        .with_inputs(|| {
            device += 1;
            let (_, flights) = twin.connect(now, device, offer.clone());
            (address(device), flights)
        })
        .bench_local_refs(|(from, flights)| {
            for flight in flights {
                server.receive(now, *from, black_box(flight));
                black_box(server.out.datagrams.drain(..));
            }
            handshakes += 1;
        });
    let (open, sessions, _) = server.dtls.counts();
    assert_eq!((open, sessions), (0, handshakes));
}
