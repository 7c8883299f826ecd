//! Wall-clock time as the product prints and stores it, and the one place that reads a clock.
//!
//! `Timestamp` is milliseconds since 1970 in UTC. Durable deadlines use it; retransmission timers
//! use `std::time::Instant`. Both come from a [`Clock`], which tests turn by hand.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    pub const fn as_ms(self) -> u64 {
        self.0
    }

    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    pub const fn plus_s(self, s: u64) -> Self {
        self.plus_ms(s.saturating_mul(1000))
    }

    /// Milliseconds since `earlier`, 0 when `earlier` is later.
    pub const fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// `yyyyMMdd'T'HHmmss'Z'`, as the v5 API writes most times.
    pub fn compact(self) -> String {
        let c = Civil::from_ms(self.0);
        format!(
            "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
            c.year, c.month, c.day, c.hour, c.minute, c.second
        )
    }

    /// `yyyy-MM-dd'T'HH:mm:ss.SSS'Z'`, as the v5 API writes the others.
    pub fn rfc3339_ms(self) -> String {
        let c = Civil::from_ms(self.0);
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            c.year, c.month, c.day, c.hour, c.minute, c.second, c.ms
        )
    }

    /// Reads either of the two forms above; the second one also without its milliseconds.
    /// `None` for anything else, and for dates that don't exist.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = |from: usize, to: usize| -> Option<u64> {
            let part = text.get(from..to)?;
            part.bytes()
                .all(|b| b.is_ascii_digit())
                .then(|| part.parse().ok())?
        };
        let mark = |at: usize, want: &str| text.get(at..at + want.len()) == Some(want);
        let (year, month, day, hour, minute, second, ms) = if text.len() == 16 {
            if !(mark(8, "T") && mark(15, "Z")) {
                return None;
            }
            (
                digits(0, 4)?,
                digits(4, 6)?,
                digits(6, 8)?,
                digits(9, 11)?,
                digits(11, 13)?,
                digits(13, 15)?,
                0,
            )
        } else {
            let marks = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")];
            if !marks.iter().all(|(at, want)| mark(*at, want)) {
                return None;
            }
            let ms = match text.get(19..)? {
                "Z" => 0,
                rest if rest.len() == 5 && rest.starts_with('.') && rest.ends_with('Z') => {
                    digits(20, 23)?
                }
                _ => return None,
            };
            (
                digits(0, 4)?,
                digits(5, 7)?,
                digits(8, 10)?,
                digits(11, 13)?,
                digits(14, 16)?,
                digits(17, 19)?,
                ms,
            )
        };
        Civil {
            year,
            month,
            day,
            hour,
            minute,
            second,
            ms,
        }
        .to_ms()
        .map(Self)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339_ms())
    }
}

/// A date and time of day in UTC (proleptic Gregorian calendar).
struct Civil {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    ms: u64,
}

/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: u64 = 719_468;

impl Civil {
    /// Years are counted from March, so that the leap day is the last of its year.
    fn from_ms(total_ms: u64) -> Self {
        let (total_s, ms) = (total_ms / 1000, total_ms % 1000);
        let days = total_s / 86_400 + EPOCH_DAYS;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 {
            shifted + 3
        } else {
            shifted - 9
        };
        Self {
            year: year_of_era + era * 400 + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted + 2) / 5 + 1,
            hour: total_s / 3600 % 24,
            minute: total_s / 60 % 60,
            second: total_s % 60,
            ms,
        }
    }

    /// `None` when the date does not exist or lies before 1970.
    fn to_ms(&self) -> Option<u64> {
        let in_range = (1970..=9999).contains(&self.year)
            && (1..=12).contains(&self.month)
            && (1..=31).contains(&self.day)
            && self.hour < 24
            && self.minute < 60
            && self.second < 60;
        if !in_range {
            return None;
        }
        let year = self.year - u64::from(self.month <= 2);
        let shifted = if self.month > 2 {
            self.month - 3
        } else {
            self.month + 9
        };
        let (era, year_of_era) = (year / 400, year % 400);
        let day_of_year = (153 * shifted + 2) / 5 + self.day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = (era * 146_097 + day_of_era).checked_sub(EPOCH_DAYS)?;
        let total_s = days * 86_400 + self.hour * 3600 + self.minute * 60 + self.second;
        let ms = total_s * 1000 + self.ms;
        // A 31st of June comes back as the 1st of July.
        let back = Self::from_ms(ms);
        (back.month == self.month && back.day == self.day).then_some(ms)
    }
}

/// Reads the time. Clones of a manual clock share its hands.
#[derive(Clone, Debug)]
pub enum Clock {
    System,
    Manual(Arc<ManualClock>),
    Following(FollowingClock),
}

/// Goes as another clock does, such as the virtual one of a runtime.
#[derive(Clone, Debug)]
pub struct FollowingClock {
    read: fn() -> Instant,
    start: Instant,
    start_at: Timestamp,
    /// How far it was set, in ms.
    set_ms: Arc<AtomicI64>,
}

/// A clock that only moves when told to.
#[derive(Debug)]
pub struct ManualClock {
    start: Instant,
    now_ms: AtomicU64,
    start_ms: u64,
}

impl Clock {
    /// A clock that stands at `at` until [`Clock::advance`] moves it.
    pub fn manual(at: Timestamp) -> Self {
        Self::Manual(Arc::new(ManualClock {
            start: system_instant(),
            now_ms: AtomicU64::new(at.as_ms()),
            start_ms: at.as_ms(),
        }))
    }

    /// A clock that shows `at` now and then moves as `read` does.
    pub fn following(at: Timestamp, read: fn() -> Instant) -> Self {
        Self::Following(FollowingClock {
            read,
            start: read(),
            start_at: at,
            set_ms: Arc::default(),
        })
    }

    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => system_now(),
            Self::Following(clock) => {
                let passed = (clock.read)().saturating_duration_since(clock.start);
                let ms = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
                let at = clock.start_at.plus_ms(ms).as_ms();
                Timestamp(at.saturating_add_signed(clock.set_ms.load(Ordering::SeqCst)))
            }
            Self::Manual(clock) => Timestamp(clock.now_ms.load(Ordering::SeqCst)),
        }
    }

    /// Monotonic time for retransmission timers.
    pub fn instant(&self) -> Instant {
        match self {
            Self::System => system_instant(),
            Self::Following(clock) => (clock.read)(),
            Self::Manual(clock) => {
                let passed = clock
                    .now_ms
                    .load(Ordering::SeqCst)
                    .saturating_sub(clock.start_ms);
                clock.start + Duration::from_millis(passed)
            }
        }
    }

    /// Moves a manual clock forward; the others move by themselves.
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(clock) = self {
            let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
            clock.now_ms.fetch_add(ms, Ordering::SeqCst);
        }
    }

    /// Sets a following clock forward or back, as an administrator would: its instants go on as if
    /// nothing had happened. The others are not set.
    pub fn set_by(&self, ms: i64) {
        if let Self::Following(clock) = self {
            clock.set_ms.fetch_add(ms, Ordering::SeqCst);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one reader of the wall clock"
)]
fn system_now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one reader of the monotonic clock"
)]
fn system_instant() -> Instant {
    Instant::now()
}

/// Microseconds that a processor worked for this thread. Only differences mean anything.
pub fn thread_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(time.tv_nsec).unwrap_or_default();
    seconds
        .saturating_mul(1_000_000)
        .saturating_add(nanos / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_reads_both_forms() {
        let cases = [
            (0, "19700101T000000Z", "1970-01-01T00:00:00.000Z"),
            (
                951_782_400_000,
                "20000229T000000Z",
                "2000-02-29T00:00:00.000Z",
            ),
            (
                1_597_133_265_123,
                "20200811T080745Z",
                "2020-08-11T08:07:45.123Z",
            ),
            (
                4_107_542_399_999,
                "21000228T235959Z",
                "2100-02-28T23:59:59.999Z",
            ),
        ];
        for (ms, compact, long) in cases {
            let at = Timestamp::from_ms(ms);
            assert_eq!(
                (at.compact().as_str(), at.rfc3339_ms().as_str()),
                (compact, long)
            );
            assert_eq!(Timestamp::parse(long), Some(at));
            assert_eq!(
                Timestamp::parse(compact),
                Some(Timestamp::from_ms(ms / 1000 * 1000))
            );
        }
        assert_eq!(
            Timestamp::parse("2020-08-11T08:07:45Z"),
            Timestamp::parse("20200811T080745Z")
        );
    }

    #[test]
    fn refuses_what_is_no_time() {
        let bad = [
            "",
            "20210229T000000Z",
            "20201331T000000Z",
            "2020-08-11 08:07:45Z",
            "20200811T240000Z",
            "19691231T235959Z",
            "20200811T08074xZ",
            "2020-08-11T08:07:45.1Z",
        ];
        for text in bad {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }
}
