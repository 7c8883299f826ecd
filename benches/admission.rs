//! A step of admission with 100,000 devices waiting in 10,000 cells, and what each of them costs in memory.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench that cannot start has failed"
)]

use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use strait::base::time::Timestamp;
use strait::engine::admission::coverage::{CellId, Level, Place, Pool};
use strait::engine::admission::{Admission, Row, Settings};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

const WAITING: u64 = 100_000;
const CELLS: u64 = 10_000;

const fn at(ms: u64) -> Timestamp {
    Timestamp::from_ms(ms)
}

fn place(device: u64) -> Place {
    Place {
        cell: CellId(device % CELLS),
        pool: Pool::Level(Level::Two),
    }
}

fn row(device: u64) -> Row {
    Row {
        device,
        place: place(device),
        holds: device < CELLS,
        measured_at: at(device),
        attempt: 0,
    }
}

/// One slot taken in each cell, and ten devices behind it.
fn full() -> Admission {
    let rows = (0..WAITING + CELLS).map(row);
    let mut admission = Admission::rebuild(Settings::default(), at(0), rows);
    for device in CELLS..WAITING + CELLS {
        admission.awake(device);
        assert_eq!(admission.next(at(0)), None);
    }
    admission
}

/// A slot is freed, its next device gets it, and another joins the line.
#[divan::bench(sample_size = 1000)]
fn slot_handed_on(bencher: Bencher<'_, '_>) {
    let mut admission = full();
    let (mut held, mut new) = ((0..CELLS).collect::<Vec<_>>(), WAITING + CELLS);
    bencher.bench_local(|| {
        let cell = usize::try_from(new % CELLS).unwrap();
        admission.leave(held[cell]);
        let next = admission.next(at(new)).unwrap();
        admission.confirm(next);
        held[cell] = next;
        admission.measured(at(new), new, place(new), 0);
        assert_eq!(admission.next(at(new)), None);
        new += 1;
    });
}

/// What most steps are: a device has another fragment.
#[divan::bench(sample_size = 1000)]
fn fragment_acknowledged(bencher: Bencher<'_, '_>) {
    let mut admission = full();
    let mut n = 0;
    bencher.bench_local(|| {
        let done = u32::try_from(n / CELLS).unwrap();
        admission.acknowledged(at(n), n % CELLS, done, 100_000);
        n += 1;
        admission.next(at(n))
    });
}

/// A restart: all rows. Its allocations by device are what admission costs.
#[divan::bench(sample_count = 10)]
fn rebuilt_100_000(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(WAITING + CELLS))
        .bench_local(full);
}

fn main() {
    divan::main();
}
