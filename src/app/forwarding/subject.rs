//! What rules take: events by resource and name.
//!
//! A rule names one event, or with the resource's own name all of them, as programs for the v5 API write
//! it. `device.commmad.status` is `device.command.status` as an older version of that API spelled it: such a
//! rule takes the same events.

const CHANGES: &[&str] = &["create", "update", "delete"];
const REPORT: &[&str] = &["report"];
const UPDATE: &[&str] = &["update"];

/// Every resource with its events.
pub const SUBJECTS: [(&str, &[&str]); 11] = [
    ("device", CHANGES),
    ("device.property", REPORT),
    ("device.message", REPORT),
    ("device.message.status", UPDATE),
    ("device.status", UPDATE),
    ("batchtask", UPDATE),
    ("product", CHANGES),
    ("device.command.status", UPDATE),
    ("device.commmad.status", UPDATE),
    ("device.upgrade", UPDATE),
    ("device.limit", REPORT),
];

/// The events of a resource; none of one that is not known.
pub fn events_of(resource: &str) -> &'static [&'static str] {
    let found = SUBJECTS.iter().find(|(known, _)| *known == resource);
    found.map_or(&[], |(_, events)| events)
}

/// Whether the resource has this event, or the event stands for all of them.
pub fn is_subject(resource: &str, event: &str) -> bool {
    let events = events_of(resource);
    !events.is_empty() && (event == resource || events.contains(&event))
}
