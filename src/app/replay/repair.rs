//! What a late report may change of a shadow: the newest value of a property stays, whichever came to
//! be read first.
//!
//! A shadow has one time for each service. Where a late report is older than that, history tells when
//! each property was reported last. Values are compared by the device's own time, then by time of receipt.
//! Where history does not reach back so far, what the shadow has stays.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Map;

use crate::app::order::Repair;
use crate::base::time::Timestamp;
use crate::product::codec::ServiceReport;
use crate::store::HistoryRow;
use crate::store::records::ShadowRecord;

/// Time of a value, and of its receipt.
type Age = (Timestamp, Timestamp);

/// What is known of a device's reported values.
#[derive(Debug, Default)]
pub(super) struct Known {
    services: HashMap<String, Service>,
}

#[derive(Debug, Default)]
struct Service {
    reported_at: Option<Timestamp>,
    /// Of each reported property; `None`: history does not tell.
    properties: HashMap<String, Option<Age>>,
    /// History has the report that the shadow's time is of, and so whatever is newer than a late one.
    is_told: bool,
}

/// A service as history holds it.
#[derive(Deserialize)]
struct Stored {
    service_id: String,
    #[serde(default)]
    properties: HashMap<String, IgnoredAny>,
    #[serde(default)]
    event_time: Option<String>,
}

impl Known {
    /// From a shadow, and from history since the first late uplink was received. `is_whole`: all of it.
    pub(super) fn of(shadow: &[ShadowRecord], history: &[HistoryRow], is_whole: bool) -> Self {
        let mut known = Self::default();
        for record in shadow {
            let properties = record.reported.keys().map(|name| (name.clone(), None));
            let service = Service {
                reported_at: record.reported_at,
                properties: properties.collect(),
                is_told: false,
            };
            known.services.insert(record.service_id.clone(), service);
        }
        for row in history {
            let received_at = row.record.received_at;
            let stored: Vec<Stored> = match serde_json::from_str(&row.record.services) {
                Ok(stored) => stored,
                Err(error) => {
                    crate::bug!("a history row can't be read: {error}");
                    continue;
                }
            };
            for one in stored {
                let at = one.event_time.as_deref().and_then(Timestamp::parse);
                known.note(&one, time_of(at, received_at), received_at, is_whole);
            }
        }
        known
    }

    fn note(&mut self, stored: &Stored, at: Timestamp, received_at: Timestamp, is_whole: bool) {
        // What the shadow has not, it was cleared of.
        let Some(service) = self.services.get_mut(&stored.service_id) else {
            return;
        };
        // History keeps a device's own times in seconds.
        let same = |other: Timestamp| other.as_ms() / 1000 == at.as_ms() / 1000;
        service.is_told |= is_whole && service.reported_at.is_some_and(same);
        for name in stored.properties.keys() {
            if let Some(age) = service.properties.get_mut(name) {
                *age = (*age).max(Some((at, received_at)));
            }
        }
    }

    /// What a late report repairs, if anything. The next one is judged by what this leaves.
    pub(super) fn repair(
        &mut self,
        report: &ServiceReport,
        received_at: Timestamp,
    ) -> Option<Repair> {
        let at = time_of(report.event_time, received_at);
        let age = (at, received_at);
        let service = self.services.entry(report.service_id.clone()).or_default();
        let is_newest = service.reported_at.is_none_or(|known| at > known);
        let may_take = |name: &String| match service.properties.get(name) {
            None => true,
            Some(Some(known)) => age >= *known,
            Some(None) => is_newest || service.is_told,
        };
        let lacking = report.properties.iter().filter(|(name, _)| may_take(name));
        let properties: Map<_, _> = lacking.map(|(n, v)| (n.clone(), v.clone())).collect();
        if properties.is_empty() {
            return None;
        }
        for name in properties.keys() {
            service.properties.insert(name.clone(), Some(age));
        }
        let reported_at = is_newest.then(|| report.event_time.unwrap_or(received_at));
        if is_newest {
            service.reported_at = reported_at;
            service.is_told = true;
        }
        Some(Repair {
            service_id: report.service_id.clone(),
            properties,
            reported_at,
        })
    }
}

/// The time of values: the device's own, or that of their receipt, which history has in seconds where the
/// device sent none.
fn time_of(event_time: Option<Timestamp>, received_at: Timestamp) -> Timestamp {
    match event_time {
        Some(at) if at.as_ms() / 1000 != received_at.as_ms() / 1000 => at,
        Some(_) | None => received_at,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::store::HistoryKey;
    use crate::store::records::HistoryRecord;

    fn at(s: u64) -> Timestamp {
        Timestamp::from_ms(1_700_000_000_250).plus_s(s)
    }

    fn map(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    fn shadow(reported: &Value, reported_at: u64) -> Vec<ShadowRecord> {
        vec![ShadowRecord {
            service_id: "S".into(),
            version: 0,
            reported: map(reported),
            reported_at: Some(at(reported_at)),
            desired: Map::new(),
            desired_at: None,
        }]
    }

    fn history(rows: &[(u64, Value)]) -> Vec<HistoryRow> {
        let row = |(s, properties): &(u64, Value)| HistoryRow {
            key: HistoryKey {
                received_at: at(*s),
                serial: 0,
            },
            record: HistoryRecord {
                received_at: at(*s),
                services: json!([{"service_id": "S", "properties": properties,
                    "event_time": at(*s).compact()}])
                .to_string(),
            },
        };
        rows.iter().map(row).collect()
    }

    /// Late reports, each with its time, and what each changes.
    type Case = (
        &'static str,
        Vec<ShadowRecord>,
        Vec<HistoryRow>,
        bool,
        Vec<(u64, Value, Value)>,
    );

    #[test]
    fn the_newest_value_of_a_property_stays() {
        let cases: Vec<Case> = vec![
            (
                "nothing was reported",
                vec![],
                vec![],
                true,
                vec![
                    (1, json!({"p": 1}), json!({"p": 1})),
                    (2, json!({"p": 2}), json!({"p": 2})),
                ],
            ),
            (
                "a newer value of the same property",
                shadow(&json!({"p": 9}), 9),
                history(&[(9, json!({"p": 9}))]),
                true,
                vec![
                    (1, json!({"p": 1}), json!(null)),
                    (10, json!({"p": 10}), json!({"p": 10})),
                ],
            ),
            (
                "a newer value of another property",
                shadow(&json!({"p": 0, "q": 9}), 9),
                history(&[(9, json!({"q": 9}))]),
                true,
                vec![
                    (1, json!({"p": 1, "q": 1}), json!({"p": 1})),
                    (2, json!({"p": 2}), json!({"p": 2})),
                ],
            ),
            (
                "a property that the shadow has not",
                shadow(&json!({"q": 9}), 9),
                vec![],
                false,
                vec![
                    (1, json!({"p": 1}), json!({"p": 1})),
                    (2, json!({"p": 2}), json!({"p": 2})),
                ],
            ),
            (
                "history does not reach back",
                shadow(&json!({"p": 0, "q": 9}), 9),
                history(&[(9, json!({"q": 9}))]),
                false,
                vec![(1, json!({"p": 1}), json!(null))],
            ),
            (
                "history lacks what the shadow has",
                shadow(&json!({"p": 0}), 9),
                history(&[(5, json!({"q": 5}))]),
                true,
                vec![(1, json!({"p": 1}), json!(null))],
            ),
        ];
        for (name, shadow, history, is_whole, late) in cases {
            let mut known = Known::of(&shadow, &history, is_whole);
            for (s, properties, want) in late {
                let report = ServiceReport {
                    service_id: "S".into(),
                    properties: map(&properties),
                    event_time: None,
                };
                let repair = known.repair(&report, at(s));
                let got = repair.map_or(Value::Null, |r| Value::Object(r.properties));
                assert_eq!(got, want, "{name}, at {s}");
            }
        }
    }

    #[test]
    fn the_time_of_a_service_never_goes_back() {
        let mut known = Known::of(&shadow(&json!({"q": 9}), 9), &[], true);
        let mut report = ServiceReport {
            service_id: "S".into(),
            properties: map(&json!({"p": 1})),
            event_time: Some(at(3)),
        };
        assert_eq!(known.repair(&report, at(1)).unwrap().reported_at, None);
        report.event_time = Some(at(20));
        assert_eq!(
            known.repair(&report, at(2)).unwrap().reported_at,
            Some(at(20))
        );
        report.event_time = None;
        assert_eq!(known.repair(&report, at(4)), None);
    }
}
