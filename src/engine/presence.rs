//! Whether a device counts as online: from the time of its last message alone.
//!
//! ```text
//! Inactive --first message--> Online --25 h silent--> Abnormal --49 h silent--> Offline
//!                               ^-------------- any message -------------------------'
//! ```
//! Frozen is not a presence: an operator's freeze hides it.

use crate::base::time::Timestamp;

/// A device that reports once a day is allowed to be an hour late.
pub const ABNORMAL_AFTER_S: u64 = 25 * 3600;
/// Two missed days and an hour.
pub const OFFLINE_AFTER_S: u64 = 49 * 3600;

/// Whether a device that sleeps between its messages (queue mode, PSM) listens at `now`.
pub fn is_awake(now: Timestamp, last_heard: Option<Timestamp>, awake_s: u32) -> bool {
    last_heard.is_some_and(|heard| now.since_ms(heard) <= u64::from(awake_s) * 1000)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Created, never heard of.
    Inactive,
    Online,
    Abnormal,
    Offline,
}

impl Presence {
    /// The presence at `now` of a device last heard of at `last_seen`.
    pub fn at(now: Timestamp, last_seen: Option<Timestamp>) -> Self {
        let Some(last_seen) = last_seen else {
            return Self::Inactive;
        };
        let silent_ms = now.since_ms(last_seen);
        if silent_ms > OFFLINE_AFTER_S * 1000 {
            Self::Offline
        } else if silent_ms > ABNORMAL_AFTER_S * 1000 {
            Self::Abnormal
        } else {
            Self::Online
        }
    }

    /// When it changes next if the device stays silent.
    pub fn next_change(now: Timestamp, last_seen: Option<Timestamp>) -> Option<Timestamp> {
        let last_seen = last_seen?;
        let after = |s: u64| last_seen.plus_ms(s * 1000 + 1);
        match Self::at(now, Some(last_seen)) {
            Self::Online => Some(after(ABNORMAL_AFTER_S)),
            Self::Abnormal => Some(after(OFFLINE_AFTER_S)),
            Self::Offline | Self::Inactive => None,
        }
    }

    /// The word of the v5 API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "INACTIVE",
            Self::Online => "ONLINE",
            Self::Abnormal => "ABNORMAL",
            Self::Offline => "OFFLINE",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_makes_abnormal_then_offline() {
        let seen = Timestamp::from_ms(1_000_000);
        let hours = |h: u64| seen.plus_s(h * 3600);
        let cases = [
            (hours(0), Presence::Online, Some(hours(25).plus_ms(1))),
            (hours(25), Presence::Online, Some(hours(25).plus_ms(1))),
            (
                hours(25).plus_ms(1),
                Presence::Abnormal,
                Some(hours(49).plus_ms(1)),
            ),
            (hours(49), Presence::Abnormal, Some(hours(49).plus_ms(1))),
            (hours(49).plus_ms(1), Presence::Offline, None),
        ];
        for (now, want, next) in cases {
            assert_eq!(Presence::at(now, Some(seen)), want, "{now}");
            assert_eq!(Presence::next_change(now, Some(seen)), next, "{now}");
        }
        assert_eq!(Presence::at(seen, None), Presence::Inactive);
    }
}
