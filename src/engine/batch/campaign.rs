//! What holds a campaign back: a canary share that goes first, and a window of the day.
//!
//! A canary judges ends: devices that have the package, and those that failed and are not tried
//! again by themselves. What was refused from the start, was stopped or is gone counts for neither. The
//! failure rate is judged for as long as the campaign runs, from [`Canary::min_results`] ends on.
//! Everything is derived from the counts, so a restart forgets nothing.

use crate::base::time::Timestamp;

const DAY_MIN: i64 = 24 * 60;
const MINUTE_MS: u64 = 60_000;

/// So many devices go first, and how many of them may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Canary {
    /// 1 to 100.
    pub share_percent: u32,
    /// 0 to 100.
    pub max_failure_percent: u32,
    /// Ends before the failure rate means anything; the share is at least as many.
    pub min_results: u32,
}

/// How far a campaign is, in devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Without those that were refused from the start, stopped or are gone.
    pub total: u32,
    /// Begun and not ended, also those that wait to be tried again.
    pub under_way: u32,
    pub success: u32,
    pub fail: u32,
}

/// What a canary says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The share has not ended: so many more may begin.
    Holds { room: u32 },
    /// Everyone may begin.
    Passed,
    /// Too many failed.
    Broken,
}

impl Tally {
    const fn results(&self) -> u32 {
        self.success.saturating_add(self.fail)
    }
}

impl Canary {
    /// Devices that go first, of so many.
    pub fn share_of(&self, total: u32) -> u32 {
        let share = u64::from(total) * u64::from(self.share_percent);
        let share = u32::try_from(share.div_ceil(100)).unwrap_or(u32::MAX);
        share.max(self.min_results).max(1).min(total)
    }

    pub fn judge(&self, tally: &Tally) -> Verdict {
        let results = tally.results();
        let failed = u64::from(tally.fail) * 100;
        let too_many = failed > u64::from(results) * u64::from(self.max_failure_percent);
        if too_many && results >= self.min_results.max(1).min(tally.total) {
            return Verdict::Broken;
        }
        let share = self.share_of(tally.total);
        if results >= share {
            return Verdict::Passed;
        }
        let begun = results.saturating_add(tally.under_way);
        Verdict::Holds {
            room: share.saturating_sub(begun),
        }
    }
}

/// Downloads begin in these minutes of each day alone. `to` before `from`: over midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Minutes since midnight there, 0 to 1439; the first one inside.
    pub from_min: u32,
    /// The first one outside.
    pub to_min: u32,
    /// How far the time there is ahead of UTC, -840 to 840 minutes.
    pub utc_offset_min: i32,
}

impl Window {
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.opens_in_min(now) == 0
    }

    /// When it is open next: now, if it is.
    pub fn opens_at(&self, now: Timestamp) -> Timestamp {
        match self.opens_in_min(now) {
            0 => now,
            minutes => {
                let minute = now.as_ms() / MINUTE_MS;
                Timestamp::from_ms(minute.saturating_add(minutes).saturating_mul(MINUTE_MS))
            }
        }
    }

    /// Whole minutes from the one that it is until the window is open.
    fn opens_in_min(&self, now: Timestamp) -> u64 {
        let utc = i64::try_from(now.as_ms() / MINUTE_MS).unwrap_or(i64::MAX / 2);
        let there = (utc + i64::from(self.utc_offset_min)).rem_euclid(DAY_MIN);
        let since = (there - i64::from(self.from_min)).rem_euclid(DAY_MIN);
        let length = (i64::from(self.to_min) - i64::from(self.from_min)).rem_euclid(DAY_MIN);
        match since < length {
            true => 0,
            false => u64::try_from(DAY_MIN - since).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CANARY: Canary = Canary {
        share_percent: 10,
        max_failure_percent: 20,
        min_results: 5,
    };

    const fn tally(total: u32, under_way: u32, success: u32, fail: u32) -> Tally {
        Tally {
            total,
            under_way,
            success,
            fail,
        }
    }

    #[test]
    fn a_canary_goes_first() {
        let holds = |room| Verdict::Holds { room };
        let cases = [
            // Nothing has begun: a tenth of 95 may, rounded up.
            (tally(95, 0, 0, 0), holds(10)),
            (tally(95, 10, 0, 0), holds(0)),
            (tally(95, 7, 3, 0), holds(0)),
            (tally(95, 1, 9, 0), holds(0)),
            (tally(95, 0, 10, 0), Verdict::Passed),
            (tally(95, 50, 10, 0), Verdict::Passed),
            // More have begun than the share.
            (tally(95, 50, 9, 0), holds(0)),
            // Four ends say nothing yet, whatever they are.
            (tally(95, 6, 0, 4), holds(0)),
            (tally(95, 5, 0, 5), Verdict::Broken),
            // A fifth may fail, not more; also long after the share has ended.
            (tally(95, 0, 8, 2), Verdict::Passed),
            (tally(95, 0, 7, 3), Verdict::Broken),
            (tally(1000, 1, 799, 200), Verdict::Broken),
            (tally(1000, 1, 800, 199), Verdict::Passed),
            // Fewer devices than results are asked for.
            (tally(3, 0, 0, 0), holds(3)),
            (tally(3, 0, 3, 0), Verdict::Passed),
            (tally(3, 0, 2, 1), Verdict::Broken),
            (tally(0, 0, 0, 0), Verdict::Passed),
        ];
        for (tally, want) in cases {
            assert_eq!(CANARY.judge(&tally), want, "{tally:?}");
        }
        let none_may = Canary {
            max_failure_percent: 0,
            min_results: 1,
            ..CANARY
        };
        assert_eq!(none_may.judge(&tally(100, 3, 6, 1)), Verdict::Broken);
        let all_may = Canary {
            max_failure_percent: 100,
            ..CANARY
        };
        assert_eq!(all_may.judge(&tally(95, 0, 0, 10)), Verdict::Passed);
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn a_window_opens_and_closes() {
        let night = Window {
            from_min: 22 * 60,
            to_min: 4 * 60 + 30,
            utc_offset_min: 120,
        };
        let day = Window {
            from_min: 9 * 60,
            to_min: 17 * 60,
            utc_offset_min: -300,
        };
        let cases = [
            (night, "20260301T195959Z", "20260301T200000Z"),
            (night, "20260301T200000Z", "20260301T200000Z"),
            (night, "20260302T022959Z", "20260302T022959Z"),
            (night, "20260302T023000Z", "20260302T200000Z"),
            (day, "20260301T135930Z", "20260301T140000Z"),
            (day, "20260301T140007Z", "20260301T140007Z"),
            (day, "20260301T215959Z", "20260301T215959Z"),
            (day, "20260301T220000Z", "20260302T140000Z"),
            (day, "20260302T030000Z", "20260302T140000Z"),
        ];
        for (window, now, opens) in cases {
            let (now, opens) = (at(now), at(opens));
            assert_eq!(window.opens_at(now), opens, "{window:?} {now:?}");
            assert_eq!(window.is_open(now), now == opens, "{window:?} {now:?}");
        }
    }

    proptest! {
        /// It opens within a day, and what is named as its opening is the first moment inside.
        #[test]
        fn a_window_opens_when_it_says(
            from_min in 0..1440_u32,
            to_min in 0..1440_u32,
            utc_offset_min in -840..=840_i32,
            now in 0..4_000_000_000_000_u64,
        ) {
            prop_assume!(from_min != to_min);
            let window = Window { from_min, to_min, utc_offset_min };
            let now = Timestamp::from_ms(now);
            let opens = window.opens_at(now);
            prop_assert!(window.is_open(opens));
            prop_assert!(opens.since_ms(now) <= 24 * 60 * MINUTE_MS);
            if opens != now {
                prop_assert!(!window.is_open(now));
                prop_assert!(!window.is_open(Timestamp::from_ms(opens.as_ms() - 1)));
            }
        }
    }
}
