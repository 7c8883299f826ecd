//! How long the upgrades of one cell take, before they begin: what the model of a cell's edge says, played
//! through with the slots of the table and, if it is on, the budget of airtime.
//!
//! ```text
//! fragment of s bytes: ceil((s + 180) / 85) transport blocks of 680 bits (the headers are 180 bytes)
//! time of one = request and acknowledgement + 150 ms + blocks * block
//! ```
//!
//! | level | request, acknowledgement | block | of that on the carrier |
//! |---|---|---|---|
//! | 0 | 250 ms | 27.5 ms | 6.6 ms |
//! | 1 | 750 ms | 91 ms | 64 ms |
//! | 2 | 3500 ms | 681 ms | 600 ms |
//!
//! Devices are taken as awake, without losses; those whose coverage is not known as of level 1. The
//! *lower bound* is what no order can beat: the longest single download, each pool's work divided by its slots,
//! the airtime of all. Real cells differ: their own pace is learnt while it runs ([`super::airtime`]).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Settings;
use super::coverage::{Level, Pool};

/// From the download's end to the result: reboots take about that.
const INSTALL_MS: f64 = 60_000.0;
/// The answer of the server and its way.
const SERVER_MS: f64 = 150.0;
/// Headers of a fragment, in bytes.
const HEADERS: f64 = 180.0;
/// Of a transport block of 680 bits, in bytes.
const BLOCK: f64 = 85.0;

/// What is to be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    pub bytes: u64,
    /// Bytes of one fragment or block.
    pub part: u16,
}

/// What is expected of one cell. Times in ms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forecast {
    pub expected_ms: f64,
    pub bound_ms: f64,
    /// Attempts that don't end in time, by pool (as [`Pool::WEAKEST_FIRST`]).
    pub late: [u32; 4],
}

/// One device that has a cell for itself, in ms: the whole download, and what of it occupies the carrier.
pub fn alone(pool: Pool, load: Load) -> (f64, f64) {
    let (link_ms, block_ms, carrier_ms) = match pool {
        Pool::Level(Level::Zero) => (250.0, 27.5, 6.625),
        Pool::Level(Level::One) | Pool::Unmeasured => (750.0, 91.25, 63.75),
        Pool::Level(Level::Two) => (3500.0, 681.25, 600.0),
    };
    let part = f64::from(load.part.max(1));
    let blocks = ((part + HEADERS) / BLOCK).ceil();
    let parts = (load.bytes as f64 / part).ceil();
    let time = parts * (link_ms + SERVER_MS + blocks * block_ms);
    (time, parts * blocks * carrier_ms)
}

/// Plays `devices` through, by pool as [`Pool::WEAKEST_FIRST`]. Costs the logarithm of those that run for each.
pub fn forecast(settings: &Settings, devices: [u32; 4], load: Load) -> Forecast {
    let jobs = Pool::WEAKEST_FIRST.map(|pool| alone(pool, load));
    let slots = Pool::WEAKEST_FIRST.map(|pool| settings.table.slots(pool));
    let mut cell = Play {
        settings,
        jobs,
        slots,
        waiting: devices,
        taken: [0; 4],
        active: [0; 4],
        now_ms: 0.0,
        work_ms: 0.0,
        downloads: BinaryHeap::new(),
        installs: BinaryHeap::new(),
        late: [0; 4],
    };
    cell.run();
    Forecast {
        expected_ms: cell.now_ms,
        bound_ms: bound(&jobs, &slots, &devices),
        late: cell.late,
    }
}

fn bound(jobs: &[(f64, f64); 4], slots: &[u32; 4], devices: &[u32; 4]) -> f64 {
    let (mut longest, mut airtime): (f64, f64) = (0.0, 0.0);
    for ((job, slots), count) in jobs.iter().zip(slots).zip(devices) {
        let (time, carrier) = job;
        let count = f64::from(*count);
        if count > 0.0 {
            let work = count * (time + INSTALL_MS) / f64::from((*slots).max(1));
            longest = longest.max(time + INSTALL_MS).max(work);
        }
        airtime += count * carrier;
    }
    longest.max(airtime)
}

/// When something ends, in microseconds so that it can be ordered; its pool, and when it began.
type End = Reverse<(u64, usize, u64)>;

/// All running downloads get on at the same pace: `work_ms` is how far one has come that ran all the time.
struct Play<'a> {
    settings: &'a Settings,
    jobs: [(f64, f64); 4],
    slots: [u32; 4],
    waiting: [u32; 4],
    taken: [u32; 4],
    active: [u32; 4],
    now_ms: f64,
    work_ms: f64,
    downloads: BinaryHeap<End>,
    installs: BinaryHeap<End>,
    late: [u32; 4],
}

impl Play<'_> {
    fn run(&mut self) {
        loop {
            while self.begin() {}
            let pace = self.pace();
            let download = self.downloads.peek().map(|Reverse((at, ..))| {
                let left = (ms(*at) - self.work_ms).max(0.0);
                self.now_ms + left / pace
            });
            let install = self.installs.peek().map(|Reverse((at, ..))| ms(*at));
            let next = match (download, install) {
                (None, None) => return,
                (Some(download), Some(install)) => download.min(install),
                (Some(at), None) | (None, Some(at)) => at,
            };
            self.work_ms += (next - self.now_ms).max(0.0) * pace;
            let is_download = download.is_some_and(|at| at <= next);
            self.now_ms = self.now_ms.max(next);
            if is_download {
                self.end_download();
            } else if let Some(Reverse((_, pool, _))) = self.installs.pop() {
                change(&mut self.taken, pool, u32::saturating_sub);
            }
        }
    }

    /// Of the time that one alone gets on.
    fn pace(&self) -> f64 {
        (1.0 / self.load()).min(1.0)
    }

    /// Share of the carrier that those who download would fill.
    fn load(&self) -> f64 {
        let shares = self.jobs.iter().zip(&self.active);
        let shares = shares.map(|((time, carrier), n)| f64::from(*n) * carrier / time.max(1.0));
        shares.sum()
    }

    /// The weakest that fits goes first.
    fn begin(&mut self) -> bool {
        let load = self.load();
        let is_idle = self.active.iter().all(|n| *n == 0);
        for pool in 0..self.jobs.len() {
            let of = |counts: &[u32; 4]| counts.get(pool).copied().unwrap_or(0);
            let Some((time, carrier)) = self.jobs.get(pool).copied() else {
                continue;
            };
            let has_slot = of(&self.waiting) > 0 && of(&self.taken) < of(&self.slots);
            let fits =
                !self.settings.airtime.on || is_idle || load + carrier / time.max(1.0) <= 1.0;
            if has_slot && fits {
                change(&mut self.waiting, pool, u32::saturating_sub);
                change(&mut self.taken, pool, u32::saturating_add);
                change(&mut self.active, pool, u32::saturating_add);
                let end = (us(self.work_ms + time), pool, us(self.now_ms));
                self.downloads.push(Reverse(end));
                return true;
            }
        }
        false
    }

    fn end_download(&mut self) {
        let Some(Reverse((_, pool, since))) = self.downloads.pop() else {
            return;
        };
        change(&mut self.active, pool, u32::saturating_sub);
        let attempt_ms = self.settings.airtime.attempt_ms as f64;
        if self.now_ms - ms(since) > attempt_ms {
            change(&mut self.late, pool, u32::saturating_add);
        }
        let end = (us(self.now_ms + INSTALL_MS), pool, us(self.now_ms));
        self.installs.push(Reverse(end));
    }
}

fn change(counts: &mut [u32; 4], pool: usize, by: fn(u32, u32) -> u32) {
    if let Some(count) = counts.get_mut(pool) {
        *count = by(*count, 1);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates: times are positive, and not beyond 500,000 years"
)]
const fn us(ms: f64) -> u64 {
    (ms * 1000.0) as u64
}

const fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::admission::airtime;

    const KB: u64 = 1024;

    fn hours(ms: f64) -> f64 {
        ms / 3_600_000.0
    }

    fn of(devices: [u32; 4], bytes: u64, airtime: bool) -> Forecast {
        let settings = Settings {
            airtime: airtime::Settings {
                on: airtime,
                ..airtime::Settings::default()
            },
            ..Settings::default()
        };
        forecast(&settings, devices, Load { bytes, part: 500 })
    }

    #[test]
    fn one_device_alone_takes_what_its_level_does() {
        let cases = [
            (Pool::Level(Level::Zero), 64, 1.4),
            (Pool::Level(Level::One), 256, 14.3),
            (Pool::Level(Level::Two), 64, 19.9),
            (Pool::Level(Level::Two), 1024, 318.0),
        ];
        for (pool, kb, minutes) in cases {
            let load = Load {
                bytes: kb * KB,
                part: 500,
            };
            let (time, _) = alone(pool, load);
            let got = time / 60_000.0;
            assert!((got / minutes - 1.0).abs() < 0.03, "{pool} {kb} KB: {got}");
        }
    }

    #[test]
    fn slots_alone_run_into_the_limit_and_airtime_does_not() {
        // 500 of level 0, 1 MB: fifty at once need more than an hour each.
        let slots = of([0, 0, 0, 500], 1024 * KB, false);
        let budget = of([0, 0, 0, 500], 1024 * KB, true);
        assert_eq!(slots.late.iter().sum::<u32>(), 500);
        assert_eq!(budget.late, [0; 4]);
        assert!(budget.expected_ms / budget.bound_ms < 1.1, "{budget:?}");
        assert!((hours(budget.bound_ms) - 15.4).abs() < 0.5, "{budget:?}");
    }

    #[test]
    fn those_that_need_more_than_an_attempt_are_counted() {
        let mixed = of([5, 0, 45, 450], 256 * KB, true);
        assert_eq!(mixed.late, [5, 0, 0, 0]);
        assert!(mixed.expected_ms >= mixed.bound_ms, "{mixed:?}");
        assert!(mixed.expected_ms / mixed.bound_ms < 1.5, "{mixed:?}");
    }

    #[test]
    fn nobody_takes_no_time() {
        let none = of([0; 4], 256 * KB, true);
        assert_eq!((none.expected_ms, none.bound_ms), (0.0, 0.0));
    }
}
