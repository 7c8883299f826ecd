//! How many downloads a cell carries at once, learnt from what its devices acknowledge.
//!
//! Nothing is known of the radio. Each acknowledgement says how long its fragments took; of these a cell
//! keeps, for each pool, the recent mean and the best mean that it ever saw. From them follow two strains,
//! each 1 at its limit:
//!
//! ```text
//! time     rest of a download at the recent pace / (attempts that it would need at the best pace · limit · margin)
//! stretch  recent pace / (best pace · stretch_max)
//! ```
//!
//! Every [`Settings::settles_ms`] the cell is judged. Its window, which is how many may download at once, grows by
//! a quarter or an eighth while all of it is used, the worst strain is under `GROWS_BELOW` and everybody was
//! measured since it last grew. It shrinks below what is running when the strain is over 1, unless nobody is
//! slower than alone. What runs is never stopped. Who has fetched all, or is silent for long, does not count: it
//! needs no airtime. Times are milliseconds.

use super::coverage::Pool;
use crate::base::time::Timestamp;

/// Strain under which a window grows.
const GROWS_BELOW: f64 = 0.9;
/// A download that seems to need a little more than one attempt may need one: the best pace may have been
/// measured among others.
const DOUBTFUL: f64 = 1.25;
/// Slower than alone by less is not slow.
const FREE: f64 = 1.1;
/// In eight hours half of what slowed a pool is forgotten, so that it is tried again.
const FORGOTTEN_MS: f64 = 28_800_000.0;
/// Fragments in a mean.
const SAMPLES: u32 = 8;
/// Weight of a new mean that is worse than those before.
const WORSE: f64 = 0.7;
/// Weight of one that is better: the weak device whose absence it may come from is soon back.
const BETTER: f64 = 0.1;
/// Strain under which a window grows by a quarter, over it by an eighth.
const FAST_BELOW: f64 = 0.5;

/// What the budget is judged by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Off: exactly the slots of the table.
    pub on: bool,
    /// Downloads at once in a cell of which nothing is known yet.
    pub window: u32,
    /// Between two judgements of a cell.
    pub settles_ms: u64,
    /// The limit of one attempt.
    pub attempt_ms: u64,
    /// Share of the limit that downloads are to need.
    pub margin: f64,
    /// How much slower than alone a download may get.
    pub stretch_max: f64,
    /// Who acknowledged nothing for so long needs no airtime.
    pub silent_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            on: true,
            window: 4,
            settles_ms: 20_000,
            attempt_ms: 3_600_000,
            margin: 0.85,
            stretch_max: 4.0,
            silent_ms: 180_000,
        }
    }
}

/// A device that holds a slot.
#[derive(Debug, Clone, Copy)]
struct Download {
    device: u64,
    pool: Pool,
    heard_at: Timestamp,
    done: u32,
    /// What was missing when the attempt began; known with the first acknowledgement.
    rest: u32,
    total: u32,
}

/// How long a pool's fragments take.
#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    sum_ms: u64,
    count: u32,
    since: Timestamp,
    /// When the newest mean was complete.
    measured_at: Timestamp,
    recent_ms: f64,
    best_ms: f64,
    /// Of the last package.
    fragments: u32,
}

impl Pace {
    fn take(&mut self, settings: &Settings, now: Timestamp, took_ms: u64, fragments: u32) {
        if self.count == 0 {
            self.since = now;
        }
        self.sum_ms += took_ms;
        self.count += fragments;
        if self.count < SAMPLES || now.since_ms(self.since) < settings.settles_ms {
            return;
        }
        let mean = self.sum_ms as f64 / f64::from(self.count);
        let is_first = self.recent_ms == 0.0;
        self.recent_ms = if is_first {
            mean
        } else {
            let weight = if mean > self.recent_ms { WORSE } else { BETTER };
            self.recent_ms + weight * (mean - self.recent_ms)
        };
        self.measured_at = now;
        self.best_ms = if is_first {
            mean
        } else {
            self.best_ms.min(mean)
        };
        (self.sum_ms, self.count) = (0, 0);
    }
}

/// The budget of one cell.
#[derive(Debug, Clone)]
pub(super) struct Airtime {
    window: u32,
    judged_at: Timestamp,
    changed_at: Timestamp,
    paces: [Pace; 4],
    downloads: Vec<Download>,
}

impl Airtime {
    pub(super) fn new(settings: &Settings, now: Timestamp) -> Self {
        Self {
            window: settings.window.max(1),
            judged_at: now,
            changed_at: now,
            paces: [Pace::default(); 4],
            downloads: Vec::new(),
        }
    }

    pub(super) fn begin(&mut self, now: Timestamp, device: u64, pool: Pool) {
        // Ten thousand cells with one download each are more usual than one with fifty.
        self.downloads.reserve_exact(1);
        self.downloads.push(Download {
            device,
            pool,
            heard_at: now,
            done: 0,
            rest: 0,
            total: 0,
        });
    }

    pub(super) fn end(&mut self, device: u64) {
        self.downloads.retain(|d| d.device != device);
    }

    pub(super) const fn window(&self) -> u32 {
        self.window
    }

    /// Downloads that need airtime.
    pub(super) fn active(&self, settings: &Settings, now: Timestamp) -> u32 {
        let active = self.downloads.iter().filter(|d| d.needs(settings, now));
        u32::try_from(active.count()).unwrap_or(u32::MAX)
    }

    /// A device has `done` of `total` fragments or blocks. Gives true when that may make room.
    pub(super) fn take(
        &mut self,
        settings: &Settings,
        now: Timestamp,
        device: u64,
        done: u32,
        total: u32,
    ) -> bool {
        let Some(download) = self.downloads.iter_mut().find(|d| d.device == device) else {
            return false;
        };
        let more = done.saturating_sub(download.done);
        let took_ms = now.since_ms(download.heard_at);
        let first = download.total == 0;
        if first {
            download.rest = total.saturating_sub(done);
        }
        (download.heard_at, download.done, download.total) = (now, done.max(download.done), total);
        let pool = download.pool.index();
        // What came before the first acknowledgement, and what a device slept through, is no pace.
        if !first
            && more > 0
            && took_ms < settings.silent_ms
            && let Some(pace) = self.paces.get_mut(pool)
        {
            pace.fragments = total;
            pace.take(settings, now, took_ms, more);
        }
        let judged = now.since_ms(self.judged_at) >= settings.settles_ms;
        if judged {
            self.judge(settings, now);
        }
        judged || done >= total
    }

    fn judge(&mut self, settings: &Settings, now: Timestamp) {
        self.judged_at = now;
        let active = self.active(settings, now);
        let strain = self.strain(settings, now);
        if strain > 1.0 && !self.is_free(settings, now) {
            let fewer = active.saturating_sub((active / 8).max(1)).max(1);
            self.window = self.window.min(fewer);
        } else if (strain < GROWS_BELOW || self.is_free(settings, now))
            && active >= self.window
            && self.is_settled(settings, now)
        {
            let share = if strain < FAST_BELOW { 4 } else { 8 };
            self.window += (self.window / share).max(1);
            self.changed_at = now;
            for pace in &mut self.paces {
                (pace.sum_ms, pace.count) = (0, 0);
            }
        }
    }

    /// Nobody is much slower than alone: what strains is not the others.
    fn is_free(&self, settings: &Settings, now: Timestamp) -> bool {
        let mut needing = self.downloads.iter().filter(|d| d.needs(settings, now));
        needing.all(|download| {
            let pace = self.paces.get(download.pool.index());
            pace.is_some_and(|pace| pace.recent_ms < FREE * pace.best_ms)
        })
    }

    /// Whether a device of a pool would be in time at the pace that its like had lately.
    pub(super) fn fits(&self, settings: &Settings, now: Timestamp, pool: Pool) -> bool {
        let Some(pace) = self.paces.get(pool.index()) else {
            return true;
        };
        let age = now.since_ms(pace.measured_at) as f64 / FORGOTTEN_MS;
        let queue_ms = (pace.recent_ms - pace.best_ms) * (-age).exp2();
        let expected = Pace {
            recent_ms: pace.best_ms + queue_ms,
            ..*pace
        };
        let limit = settings.attempt_ms as f64 * settings.margin;
        let needs_one = f64::from(pace.fragments) * pace.best_ms < DOUBTFUL * limit;
        pace.recent_ms == 0.0 || !needs_one || expected.strain(settings, pace.fragments) < 1.0
    }

    /// All pools that need airtime were measured since the window last grew.
    fn is_settled(&self, settings: &Settings, now: Timestamp) -> bool {
        let mut needing = self.downloads.iter().filter(|d| d.needs(settings, now));
        needing.all(|download| {
            let pace = self.paces.get(download.pool.index());
            pace.is_some_and(|pace| pace.measured_at > self.changed_at)
        })
    }

    /// The worst of all that need airtime; 1 is the limit.
    fn strain(&self, settings: &Settings, now: Timestamp) -> f64 {
        let needing = self.downloads.iter().filter(|d| d.needs(settings, now));
        let strains = needing.filter_map(|download| {
            let pace = self.paces.get(download.pool.index())?;
            (pace.recent_ms > 0.0).then(|| pace.strain(settings, download.rest))
        });
        strains.fold(0.0, f64::max)
    }
}

impl Download {
    const fn needs(&self, settings: &Settings, now: Timestamp) -> bool {
        let has_all = self.total > 0 && self.done >= self.total;
        !has_all && now.since_ms(self.heard_at) < settings.silent_ms
    }
}

impl Pace {
    fn strain(&self, settings: &Settings, rest: u32) -> f64 {
        let limit = settings.attempt_ms as f64 * settings.margin;
        let rest = f64::from(rest);
        let alone = rest * self.best_ms / limit;
        let attempts = if alone < DOUBTFUL { 1.0 } else { alone.ceil() };
        let time = rest * self.recent_ms / (attempts * limit);
        let stretch = self.recent_ms / (self.best_ms * settings.stretch_max);
        time.max(stretch)
    }
}
