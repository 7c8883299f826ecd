//! What status a device has: derived from when it was heard, so that it is right at every moment,
//! whether or not a timer has fired.
//!
//! INACTIVE never connected; ONLINE heard within 25 h; ABNORMAL silent for more; OFFLINE silent for
//! more than 49 h; FROZEN by the operator, whatever the device does.

use schemars::JsonSchema;
use serde::Serialize;

use crate::base::time::Timestamp;
use crate::store::records::{DeviceRecord, PresenceRecord, StateRecord};

const HOUR_MS: u64 = 3_600_000;
/// Silent for more than this: ABNORMAL.
pub const ABNORMAL_AFTER_MS: u64 = 25 * HOUR_MS;
/// Silent for more than this: OFFLINE.
pub const OFFLINE_AFTER_MS: u64 = 49 * HOUR_MS;

/// A device's status, in the words of the v5 API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum DeviceStatus {
    Inactive,
    Online,
    Abnormal,
    Offline,
    Frozen,
}

impl DeviceStatus {
    pub fn of(device: &DeviceRecord, state: Option<&StateRecord>, now: Timestamp) -> Self {
        if device.frozen {
            return Self::Frozen;
        }
        match state.and_then(last_heard) {
            None => Self::Inactive,
            Some(heard) => match now.since_ms(heard) {
                ms if ms > OFFLINE_AFTER_MS => Self::Offline,
                ms if ms > ABNORMAL_AFTER_MS => Self::Abnormal,
                _ => Self::Online,
            },
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "INACTIVE",
            Self::Online => "ONLINE",
            Self::Abnormal => "ABNORMAL",
            Self::Offline => "OFFLINE",
            Self::Frozen => "FROZEN",
        }
    }
}

/// When the device was last heard.
pub fn last_heard(state: &StateRecord) -> Option<Timestamp> {
    state.last_seen_at.or(state.activated_at)
}

/// Since when the device's presence is what it is now; `None` when it never connected.
pub fn presence_since(state: &StateRecord, now: Timestamp) -> Option<Timestamp> {
    let heard = last_heard(state)?;
    let silent_ms = now.since_ms(heard);
    Some(if silent_ms > OFFLINE_AFTER_MS {
        heard.plus_ms(OFFLINE_AFTER_MS)
    } else if silent_ms > ABNORMAL_AFTER_MS {
        heard.plus_ms(ABNORMAL_AFTER_MS)
    } else {
        match (state.presence, state.presence_since) {
            (PresenceRecord::Online, Some(since)) => since,
            _ => heard,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_decides() {
        let heard = Timestamp::from_ms(1_000_000);
        let state = StateRecord {
            last_seen_at: Some(heard),
            presence: PresenceRecord::Online,
            presence_since: Some(Timestamp::from_ms(10)),
            ..StateRecord::default()
        };
        let cases = [
            (0, DeviceStatus::Online, 10),
            (25 * HOUR_MS, DeviceStatus::Online, 10),
            (
                25 * HOUR_MS + 1,
                DeviceStatus::Abnormal,
                1_000_000 + 25 * HOUR_MS,
            ),
            (
                49 * HOUR_MS,
                DeviceStatus::Abnormal,
                1_000_000 + 25 * HOUR_MS,
            ),
            (
                49 * HOUR_MS + 1,
                DeviceStatus::Offline,
                1_000_000 + 49 * HOUR_MS,
            ),
        ];
        let mut device = crate::app::device::tests::record("n");
        for (silent_ms, status, since) in cases {
            let now = heard.plus_ms(silent_ms);
            assert_eq!(DeviceStatus::of(&device, Some(&state), now), status);
            let since = Timestamp::from_ms(since);
            assert_eq!(presence_since(&state, now), Some(since), "{silent_ms}");
        }
        let fresh = StateRecord::default();
        assert_eq!(
            DeviceStatus::of(&device, None, heard),
            DeviceStatus::Inactive
        );
        assert_eq!(
            DeviceStatus::of(&device, Some(&fresh), heard),
            DeviceStatus::Inactive
        );
        device.frozen = true;
        assert_eq!(
            DeviceStatus::of(&device, Some(&state), heard),
            DeviceStatus::Frozen
        );
    }
}
