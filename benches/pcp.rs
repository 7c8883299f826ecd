//! PCP: from the bytes of a request for a fragment to the slice that answers it, through
//! recognition, reading and the state machine of the upgrade. No bench that answers may allocate.
#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that can't go on has failed"
)]

use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher, black_box};
use strait::base::time::Timestamp;
use strait::engine::sota::{Answer, Memory, Plan, State};
use strait::engine::upgrade::{Input, Kind, Measured, Saying, Target, Upgrade};
use strait::wire::pcp::{
    FragmentSize, FramedPackage, FromDevice, Version, checksum, frame_package, recognise,
};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const PACKAGE: usize = 256 * 1024;

fn package() -> FramedPackage {
    FramedPackage::new(&vec![0x5a; PACKAGE], FragmentSize::default()).unwrap()
}

fn plan(package: &FramedPackage) -> Plan {
    Plan {
        version: Version::parse("V2.0").unwrap(),
        size: package.layout().size(),
        count: package.layout().count(),
    }
}

/// The requests for every fragment of the package, in order.
fn requests(plan: &Plan) -> Vec<Vec<u8>> {
    let version = plan.version;
    let request = |index| FromDevice::Fragment { version, index }.encode();
    (0..plan.count).map(request).collect()
}

/// Request bytes to response slice with the machine of PCP alone.
#[divan::bench]
fn answer_fragment(bencher: Bencher<'_, '_>) {
    let package = package();
    let plan = plan(&package);
    let requests = requests(&plan);
    let mut memory = Memory::NEW;
    let (mut state, _) = State::begin(Timestamp::from_ms(0), &mut memory);
    let (mut next, mut ms) = (requests.iter().cycle(), 0);
    bencher.bench_local(|| {
        ms = (ms + 1) % 3_000_000;
        let request = next.next()?;
        let frame = recognise(true, black_box(request))?;
        let message = FromDevice::read(&frame).ok()?;
        let effects = state.hear(&mut memory, Timestamp::from_ms(ms), message, &plan);
        match effects.answer? {
            Answer::Fragment(index) => package.frame(index).map(<[u8]>::len),
            _ => None,
        }
    });
}

/// The same through the whole attempt, as the shard calls it, with bytes that can be sent.
#[divan::bench]
fn answer_fragment_of_upgrade(bencher: Bencher<'_, '_>) {
    let package = package();
    let plan = plan(&package);
    let requests = requests(&plan);
    let target = Target {
        version: "V2.0",
        sources: &[],
    };
    let start = Timestamp::from_ms(0);
    let mut upgrade = Upgrade::new(Kind::Software, start);
    for input in [
        Input::Reachable,
        Input::Said(Saying::Version("V1.0")),
        Input::Measured(Measured::Cell),
        Input::Admitted,
    ] {
        upgrade.step(start, input, &target);
    }
    let (mut next, mut ms) = (requests.iter().cycle(), 0);
    bencher.bench_local(|| {
        ms = (ms + 1) % 3_000_000;
        let request = next.next()?;
        let frame = recognise(true, black_box(request))?;
        let message = FromDevice::read(&frame).ok()?;
        let heard = upgrade.hear(Timestamp::from_ms(ms), message, &plan, &target);
        match heard.answer? {
            Answer::Fragment(index) => package.frame_bytes(index),
            _ => None,
        }
    });
}

/// What every uplink of a product with PCP costs besides.
#[divan::bench]
fn recognise_business_data(bencher: Bencher<'_, '_>) {
    let uplink = [0x5a; 64];
    bencher.bench_local(|| recognise(true, black_box(&uplink)).is_some());
}

#[divan::bench]
fn checksum_of_fragment(bencher: Bencher<'_, '_>) {
    let package = package();
    let frame = package.frame(0).unwrap();
    bencher
        .counter(BytesCount::of_slice(frame))
        .bench_local(|| checksum(black_box(frame)));
}

/// What an upload costs besides its hash.
#[divan::bench]
fn frame_package_of_256_kb(bencher: Bencher<'_, '_>) {
    let package = vec![0x5a; PACKAGE];
    let mut framed = Vec::with_capacity(2 * PACKAGE);
    bencher
        .counter(BytesCount::of_slice(&package))
        .bench_local(|| {
            framed.clear();
            let size = FragmentSize::default();
            frame_package(PACKAGE as u64, size, black_box(&package[..]), &mut framed).unwrap()
        });
}
