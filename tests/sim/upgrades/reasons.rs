//! The texts that a failed upgrade may have: those of `docs/upgrades.md`.

const TEXTS: &[&str] = &[
    "Waiting for the device online timeout",
    "Waiting for report device firmware version timeout",
    "Waiting for report cellId timeout",
    "Waiting for device start download package timeout",
    "Waiting for device downloaded package timeout",
    "Waiting for device start to update timeout",
    "Wait for the device to report upgrade result timeout",
    "Updating timeout and query device version for check timeout",
    "Task Conflict",
    "Device Abnormal is not online",
    "Not enough storage for the new firmware package",
    "Out of memory during downloading process",
    "Connection lost during downloading process",
    "Integrity check failure for new downloaded package",
    "Unsupported package type",
    "Invalid URI",
    "Firmware update failed",
    "Unsupported protocol",
    "Firmware update cancelled",
    "Firmware update deferred",
];

/// Texts with something of the device in them: how they begin, and how they end.
const PATTERNS: &[(&str, &str)] = &[
    ("", " (PCP result 0x"),
    ("The device answered ", ""),
    ("The device reports success, and has version ", ""),
    ("The package does not support the device's version ", ""),
    ("The device failed ", " times without getting further"),
    ("Update result ", ", which Object 5 does not list"),
];

pub(crate) fn is_stated(reason: &str) -> bool {
    let fits = |(start, part): &(&str, &str)| reason.starts_with(start) && reason.contains(part);
    TEXTS.contains(&reason) || PATTERNS.iter().any(fits)
}
