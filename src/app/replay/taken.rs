//! What was taken of an uplink before: of a report that the model refused in part, history has what
//! fitted when it came, and what earlier replays added.
//!
//! Only the rest is new. A value that the codec gives another way now is not: what subscribers were told
//! stays as it was. Where history does not reach back so far, all of a report counts as new.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::base::time::Timestamp;
use crate::product::codec::ServiceReport;
use crate::store::HistoryRow;

/// A property by its service, the time that history gives its value, and its name.
type Place = (String, String, String);

/// The values that were taken. A report may have a place several times.
#[derive(Debug, Default)]
pub(super) struct Taken {
    values: HashMap<Place, Vec<Value>>,
}

/// A service as history holds it.
#[derive(Deserialize)]
struct Stored {
    service_id: String,
    #[serde(default)]
    properties: Map<String, Value>,
    #[serde(default)]
    event_time: Option<String>,
}

impl Taken {
    /// From the rows of history with the uplink's time of receipt.
    pub(super) fn of(history: &[HistoryRow]) -> Self {
        let mut taken = Self::default();
        for row in history {
            let stored: Vec<Stored> = match serde_json::from_str(&row.record.services) {
                Ok(stored) => stored,
                Err(error) => {
                    crate::bug!("a history row can't be read: {error}");
                    continue;
                }
            };
            for one in stored {
                let at = one.event_time;
                let at = at.unwrap_or_else(|| row.record.received_at.compact());
                for (name, value) in one.properties {
                    let place = (one.service_id.clone(), at.clone(), name);
                    taken.values.entry(place).or_default().push(value);
                }
            }
        }
        taken
    }

    /// Leaves what is new. First what was taken as it is now goes, then what was taken otherwise.
    pub(super) fn take_from(&mut self, services: &mut [ServiceReport], received_at: Timestamp) {
        if self.values.is_empty() {
            return;
        }
        let same = |values: &mut Vec<Value>, value: &Value| {
            let at = values.iter().position(|taken| taken == value);
            at.map(|at| values.swap_remove(at))
        };
        self.strip(services, received_at, same);
        self.strip(services, received_at, |values, _| values.pop());
    }

    fn strip(
        &mut self,
        services: &mut [ServiceReport],
        received_at: Timestamp,
        find: impl Fn(&mut Vec<Value>, &Value) -> Option<Value>,
    ) {
        for service in services {
            let at = service.event_time.unwrap_or(received_at).compact();
            let service_id = &service.service_id;
            service.properties.retain(|name, value| {
                let place = (service_id.clone(), at.clone(), name.clone());
                let values = self.values.get_mut(&place);
                values.is_none_or(|values| find(values, value).is_none())
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::HistoryKey;
    use crate::store::records::HistoryRecord;

    const RECEIVED: Timestamp = Timestamp::from_ms(1_700_000_000_250);

    fn service(at: Option<u64>, properties: &Value) -> ServiceReport {
        ServiceReport {
            service_id: "S".into(),
            properties: properties.as_object().cloned().unwrap(),
            event_time: at.map(|s| RECEIVED.plus_s(s)),
        }
    }

    /// What each row of history holds, the services that are read now, and what is new of each.
    #[test]
    fn only_the_rest_is_new() {
        let cases = [
            (vec![], json!({"a": 1}), json!({"a": 1})),
            (
                vec![(None, json!({"a": 1}))],
                json!({"a": 1, "b": 2}),
                json!({"b": 2}),
            ),
            // Read otherwise now: it was taken all the same.
            (
                vec![(None, json!({"a": 1}))],
                json!({"a": 3, "b": 2}),
                json!({"b": 2}),
            ),
            (
                vec![(None, json!({"a": 1})), (None, json!({"b": 2}))],
                json!({"a": 1, "b": 2}),
                json!({}),
            ),
            // Of another time.
            (
                vec![(Some(9), json!({"a": 1}))],
                json!({"a": 1}),
                json!({"a": 1}),
            ),
        ];
        for (taken, now, want) in cases {
            let row = |(at, properties): &(Option<u64>, Value)| HistoryRow {
                key: HistoryKey {
                    received_at: RECEIVED,
                    serial: 0,
                },
                record: HistoryRecord {
                    received_at: RECEIVED,
                    services: json!([{"service_id": "S", "properties": properties,
                        "event_time": RECEIVED.plus_s(at.unwrap_or(0)).compact()}])
                    .to_string(),
                },
            };
            let rows: Vec<HistoryRow> = taken.iter().map(row).collect();
            let mut services = [service(None, &now)];
            Taken::of(&rows).take_from(&mut services, RECEIVED);
            assert_eq!(
                Value::Object(services[0].properties.clone()),
                want,
                "{taken:?}"
            );
        }
    }

    #[test]
    fn one_place_may_have_several_values() {
        let stored = json!([
            {"service_id": "S", "properties": {"a": 2}, "event_time": RECEIVED.compact()},
        ]);
        let row = HistoryRow {
            key: HistoryKey {
                received_at: RECEIVED,
                serial: 0,
            },
            record: HistoryRecord {
                received_at: RECEIVED,
                services: stored.to_string(),
            },
        };
        let mut services = [1, 2, 3].map(|n| service(None, &json!({"a": n})));
        Taken::of(&[row]).take_from(&mut services, RECEIVED);
        let left = services.map(|s| s.properties.get("a").cloned());
        assert_eq!(left, [Some(json!(1)), None, Some(json!(3))]);
    }
}
