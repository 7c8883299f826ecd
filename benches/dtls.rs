//! Secured records: a record of 100 bytes opened and another sealed, for each suite.
#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that can't go on has failed"
)]

use divan::{AllocProfiler, Bencher, black_box};
use strait::engine::dtls::crypto::{Head, Keys, Protection, Suite};
use strait::wire::dtls::{ContentType, record};

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
