//! What rules take: events by resource and name.
//!
//! A rule names one event, or with the resource's own name all of them, as programs for the v5 API write
//! it. `device.commmad.status` is `device.command.status` as an older version of that API spelled it: such a
//! rule takes the same events.

use crate::store::forwarding::RuleRecord;

/// The older spelling of [`COMMAND_STATUS`].
pub const OLD_COMMAND_STATUS: &str = "device.commmad.status";

/// Events of commands.
pub const COMMAND_STATUS: &str = "device.command.status";

const CHANGES: &[&str] = &["create", "update", "delete"];
const REPORT: &[&str] = &["report"];
const UPDATE: &[&str] = &["update"];

/// Every resource with its events.
pub const SUBJECTS: [(&str, &[&str]); 9] = [
    ("device", CHANGES),
    ("device.property", REPORT),
    ("device.message", REPORT),
    ("device.message.status", UPDATE),
    ("device.status", UPDATE),
    ("batchtask", UPDATE),
    ("product", CHANGES),
    (COMMAND_STATUS, UPDATE),
    (OLD_COMMAND_STATUS, UPDATE),
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

/// Whether the rule takes this event, as far as its subject goes.
pub fn takes(rule: &RuleRecord, resource: &str, event: &str) -> bool {
    let own = match rule.resource.as_str() {
        OLD_COMMAND_STATUS => COMMAND_STATUS,
        other => other,
    };
    own == resource && (rule.event == event || rule.event == rule.resource)
}
