//! What may be desired of a device: what its product's model has, and not more than fits beside the
//! rest of its state.

use serde_json::{Map, Value};

use crate::product::check::{self, Violation};
use crate::product::codec::{Report, ServiceReport};
use crate::product::profile::Profile;
use crate::store::records::ShadowRecord;

/// Mistakes told in one answer.
const TOLD_MAX: usize = 20;
/// Bytes of JSON that may be desired of a device in all: they are in its state, which is written
/// with each of its messages.
pub const DESIRED_MAX: usize = 32 * 1024;
/// Properties that may be desired of a device in all.
const PROPERTIES_MAX: usize = 500;

/// What of the wishes, each with its place in the request, is not in the model or does not fit it. `null`
/// takes a property out and needs no model.
pub fn misfits<'a>(
    profile: &Profile,
    wishes: impl Iterator<Item = (usize, &'a str, &'a Map<String, Value>)>,
) -> Vec<Violation> {
    let mut found = Vec::new();
    for (at, service_id, wish) in wishes {
        let mut properties = wish.clone();
        properties.retain(|_, value| !value.is_null());
        let mut report = Report {
            services: vec![ServiceReport {
                service_id: service_id.to_owned(),
                properties,
                event_time: None,
            }],
            has_more: false,
        };
        for violation in check::report(profile, &mut report) {
            let place = violation.path.strip_prefix("services[0]");
            let path = match place.unwrap_or_default().strip_prefix(".properties") {
                Some(property) => format!("shadow[{at}].desired{property}"),
                None => format!("shadow[{at}].service_id"),
            };
            found.push(Violation { path, ..violation });
        }
    }
    let untold = found.len().saturating_sub(TOLD_MAX);
    found.truncate(TOLD_MAX);
    if untold > 0 {
        found.push(Violation {
            path: "shadow".to_owned(),
            message: format!("and {untold} more"),
            kind: "count",
        });
    }
    found
}

/// Why so much may not be desired, if so. What makes it less is always taken.
pub fn oversize(before: &[ShadowRecord], after: &[ShadowRecord]) -> Option<Violation> {
    let told = |got: usize, was: usize, max: usize, what: &str| {
        (got > max && got > was).then(|| Violation {
            path: "shadow".to_owned(),
            message: format!("the device would have {got} {what}, takes up to {max}"),
            kind: "count",
        })
    };
    let count = |shadow: &[ShadowRecord]| shadow.iter().map(|s| s.desired.len()).sum();
    let bytes = |shadow: &[ShadowRecord]| shadow.iter().map(|s| bytes_of(&s.desired)).sum();
    let (got, was) = (count(after), count(before));
    told(got, was, PROPERTIES_MAX, "desired properties").or_else(|| {
        let (got, was) = (bytes(after), bytes(before));
        told(got, was, DESIRED_MAX, "bytes of JSON desired")
    })
}

fn bytes_of(properties: &Map<String, Value>) -> usize {
    let lens = properties
        .iter()
        .map(|(name, value)| name.len() + value.to_string().len() + 4);
    lens.sum()
}
