//! How many messages of one device are taken, so that one that runs wild costs the others nothing.
//!
//! Two measures of each device, both off at 0:
//!
//! - a rate with a burst, by the generic cell rate algorithm (ITU-T I.371): messages beyond it are refused,
//!   with the time until there is room again. A device that wakes up with a backlog lives off the burst;
//! - a count in each minute, begun by its first message: one that goes beyond it is told of, and taken.
//!
//! The first message over a limit is an alarm; the next alarm of the same kind comes only after [`QUIET`] without
//! one. Refused messages count for the minute. Devices that are quiet are forgotten: nothing is kept of one for
//! longer than two turns of the table, and after a restart each begins anew.

use std::time::{Duration, Instant};

use hashbrown::HashMap;
use serde::Deserialize;

use crate::base::ids::DeviceId;

/// What an operator sets under `[limits]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Messages of a device in a second, on the long run. 0: any number.
    pub device_per_s: u32,
    /// Messages that a device may send at once after a pause; at least 1.
    pub device_burst: u32,
    /// Messages of a device in a minute before it is told of. 0: it never is.
    pub device_alarm_per_min: u32,
}

impl Settings {
    pub const OFF: Self = Self {
        device_per_s: 0,
        device_burst: 1,
        device_alarm_per_min: 0,
    };

    /// Errors: the setting's name, its value, and what it takes.
    pub fn check(&self) -> Result<(), (&'static str, String, &'static str)> {
        let bounds = [
            ("limits.device_per_s", self.device_per_s, 0, "0 to 1000000"),
            ("limits.device_burst", self.device_burst, 1, "1 to 1000000"),
            (
                "limits.device_alarm_per_min",
                self.device_alarm_per_min,
                0,
                "0 to 1000000",
            ),
        ];
        for (field, value, min, takes) in bounds {
            if !(min..=1_000_000).contains(&value) {
                return Err((field, value.to_string(), takes));
            }
        }
        Ok(())
    }
}

/// The rates of the operator's guide of a large network. The burst is a device's day of hourly values.
impl Default for Settings {
    fn default() -> Self {
        Self {
            device_per_s: 5,
            device_burst: 24,
            device_alarm_per_min: 300,
        }
    }
}

/// A limit that was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    PerSecond,
    PerMinute,
}

impl Limit {
    /// Stable word for events and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PerSecond => "per_second",
            Self::PerMinute => "per_minute",
        }
    }
}

/// Alarms of a device and limit are this far apart, at the least.
pub const QUIET: Duration = Duration::from_secs(60);

const MINUTE: Duration = Duration::from_secs(60);
/// Devices in one half of the table; fuller, the older half is forgotten early.
const HALF_MAX: usize = 500_000;

/// What a message comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Charged {
    /// It is refused; there is room again after so long.
    pub refused: Option<Duration>,
    /// Who watches is told, now.
    pub alarm: Option<Limit>,
}

/// What is remembered of a device.
#[derive(Debug, Clone, Copy)]
struct Account {
    /// When its messages so far would have come at the rate ("theoretical arrival time").
    due: Instant,
    minute_at: Instant,
    in_minute: u32,
    /// By limit.
    alarmed_at: [Option<Instant>; 2],
}

/// The accounts of some devices.
#[derive(Debug)]
pub struct Meter {
    settings: Settings,
    young: HashMap<DeviceId, Account>,
    old: HashMap<DeviceId, Account>,
    turned_at: Option<Instant>,
}

impl Meter {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            young: HashMap::new(),
            old: HashMap::new(),
            turned_at: None,
        }
    }

    /// Takes one message of a device.
    pub fn charge(&mut self, device_id: &DeviceId, now: Instant) -> Charged {
        let Settings {
            device_per_s: rate,
            device_burst: burst,
            device_alarm_per_min: per_minute,
        } = self.settings;
        if rate == 0 && per_minute == 0 {
            return Charged::default();
        }
        self.turn(now);
        let account = self.account(device_id, now);
        let mut charged = Charged::default();
        if now.saturating_duration_since(account.minute_at) >= MINUTE {
            (account.minute_at, account.in_minute) = (now, 0);
        }
        account.in_minute = account.in_minute.saturating_add(1);
        if per_minute > 0 && account.in_minute > per_minute && account.tells(Limit::PerMinute, now)
        {
            charged.alarm = Some(Limit::PerMinute);
        }
        if rate == 0 {
            return charged;
        }
        let each = Duration::from_secs(1) / rate;
        let due = account.due.max(now);
        let ahead = due.saturating_duration_since(now);
        let room = each * burst.saturating_sub(1);
        if ahead > room {
            charged.refused = Some(ahead.saturating_sub(room));
            if account.tells(Limit::PerSecond, now) {
                charged.alarm = Some(Limit::PerSecond);
            }
        } else {
            account.due = due + each;
        }
        charged
    }

    /// Devices of which anything is remembered.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn account(&mut self, device_id: &DeviceId, now: Instant) -> &mut Account {
        let old = &mut self.old;
        self.young.entry_ref(device_id).or_insert_with(|| {
            old.remove(device_id).unwrap_or(Account {
                due: now,
                minute_at: now,
                in_minute: 0,
                alarmed_at: [None; 2],
            })
        })
    }

    /// Forgets who was quiet: all that lasts is over after a minute, but for a debt beyond that, which only
    /// settings with a burst of minutes make.
    fn turn(&mut self, now: Instant) {
        let turned_at = *self.turned_at.get_or_insert(now);
        let is_time = now.saturating_duration_since(turned_at) >= MINUTE.max(QUIET);
        if is_time || self.young.len() >= HALF_MAX {
            self.old = std::mem::take(&mut self.young);
            self.turned_at = Some(now);
        }
    }
}

impl Account {
    /// Whether it is time to tell of the limit again; then it is told.
    fn tells(&mut self, limit: Limit, now: Instant) -> bool {
        let [second, minute] = &mut self.alarmed_at;
        let at = match limit {
            Limit::PerSecond => second,
            Limit::PerMinute => minute,
        };
        let is_quiet = at.is_none_or(|at| now.saturating_duration_since(at) >= QUIET);
        // One that goes on and on is one episode.
        *at = Some(now);
        is_quiet
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::time::Clock;

    fn id(name: &str) -> DeviceId {
        DeviceId::parse(name).unwrap()
    }

    fn meter(device_per_s: u32, device_burst: u32, device_alarm_per_min: u32) -> Meter {
        Meter::new(Settings {
            device_per_s,
            device_burst,
            device_alarm_per_min,
        })
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_backlog_passes_and_a_flood_does_not() {
        let (mut meter, start) = (meter(5, 24, 0), Clock::System.instant());
        for n in 0..24 {
            assert_eq!(meter.charge(&id("a"), start), Charged::default(), "{n}");
        }
        let over = meter.charge(&id("a"), start);
        assert_eq!(over.refused, Some(ms(200)));
        assert_eq!(over.alarm, Some(Limit::PerSecond));
        // Another device has nothing to do with it.
        assert_eq!(meter.charge(&id("b"), start), Charged::default());
        // There is room for one each 200 ms.
        assert_eq!(meter.charge(&id("a"), start + ms(199)).refused, Some(ms(1)));
        assert_eq!(meter.charge(&id("a"), start + ms(200)).refused, None);
        assert_eq!(
            meter.charge(&id("a"), start + ms(200)).refused,
            Some(ms(200))
        );
    }

    #[test]
    fn an_episode_is_told_once() {
        let (mut meter, start) = (meter(1, 1, 0), Clock::System.instant());
        let mut alarms = 0;
        for n in 0..1000 {
            let charged = meter.charge(&id("a"), start + ms(n * 500));
            alarms += u32::from(charged.alarm.is_some());
        }
        assert_eq!(alarms, 1);
        let later = start + ms(500_000) + QUIET;
        assert_eq!(meter.charge(&id("a"), later).alarm, None);
        let charged = meter.charge(&id("a"), later);
        assert_eq!(charged.alarm, Some(Limit::PerSecond));
    }

    #[test]
    fn a_minute_with_too_many_is_told_and_taken() {
        let (mut meter, start) = (meter(0, 1, 300), Clock::System.instant());
        let mut told = Vec::new();
        for n in 0..=600 {
            let charged = meter.charge(&id("a"), start + ms(n * 100));
            assert_eq!(charged.refused, None);
            if let Some(limit) = charged.alarm {
                told.push((n, limit));
            }
        }
        assert_eq!(told, [(300, Limit::PerMinute)]);
        // As many as are allowed, minute for minute, are never told of.
        for n in 0..3000 {
            let at = start + Duration::from_secs(3600) + ms(n * 200);
            assert_eq!(meter.charge(&id("a"), at).alarm, None, "{n}");
        }
    }

    #[test]
    fn who_is_quiet_is_forgotten() {
        let (mut meter, start) = (meter(5, 24, 300), Clock::System.instant());
        for n in 0..1000 {
            meter.charge(&id(&format!("d{n}")), start);
        }
        assert_eq!(meter.len(), 1000);
        for minute in 1..=3 {
            meter.charge(&id("a"), start + MINUTE * minute);
        }
        assert_eq!(meter.len(), 1);
    }

    #[test]
    fn off_is_off() {
        let (mut meter, start) = (Meter::new(Settings::OFF), Clock::System.instant());
        for _ in 0..100_000 {
            assert_eq!(meter.charge(&id("a"), start), Charged::default());
        }
        assert!(meter.is_empty());
    }

    proptest! {
        /// In any span, a device gets through what the rate gives it and the burst, and no more; and who keeps
        /// to the rate is never refused.
        #[test]
        fn the_rate_holds(
            rate in 1u32..50,
            burst in 1u32..50,
            gaps in prop::collection::vec(0u64..2000, 1..300),
        ) {
            let (mut meter, start) = (meter(rate, burst, 0), Clock::System.instant());
            let mut at = start;
            let mut passed: Vec<Instant> = Vec::new();
            for gap in gaps {
                at += ms(gap);
                if meter.charge(&id("a"), at).refused.is_none() {
                    passed.push(at);
                }
            }
            for (n, from) in passed.iter().enumerate() {
                for (m, to) in passed.iter().enumerate().skip(n) {
                    let span = to.saturating_duration_since(*from).as_secs_f64();
                    let most = span * f64::from(rate) + f64::from(burst) + 1e-6;
                    prop_assert!(((m - n + 1) as f64) <= most + 1.0, "{} in {span} s", m - n + 1);
                }
            }
        }

        #[test]
        fn who_keeps_to_the_rate_is_not_refused(rate in 1u32..50, burst in 1u32..50, count in 1u32..300) {
            let (mut meter, start) = (meter(rate, burst, 0), Clock::System.instant());
            for n in 0..count {
                let at = start + (Duration::from_secs(1) / rate) * n;
                prop_assert_eq!(meter.charge(&id("a"), at).refused, None);
            }
        }
    }
}
