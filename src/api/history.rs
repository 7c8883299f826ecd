//! `GET /v1/devices/{device_id}/history`: what a device reported, newest first.
//!
//! One stored row is one uplink and may hold several services: each is an entry of the answer. The
//! marker is the place of the last entry: time of receipt, serial and place in the uplink, in hex.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::{ApiError, code};
use super::input::{Query, TextRule, quoted, read_query};
use super::operation::{Operation, Routes};
use super::page::PageInfo;
use super::request::DevicePath;
use super::respond::json;
use crate::app::App;
use crate::base::time::Timestamp;
use crate::bug;
use crate::store::{HistoryKey, HistoryQuery, HistoryRow, Store, StoreError};

/// What this file serves.
pub fn routes() -> Routes {
    Routes::tagged("Data").add(
        Operation::get(
            "/v1/devices/{device_id}/history",
            "show_history",
            "Shows what a device reported, newest first",
        )
        .query(|q| drop(wanted_of(q)))
        .answers::<Answer>(StatusCode::OK)
        .example_query(&[("service_id", "Flow"), ("from", "20260101T000000Z")]),
        show,
    )
}

/// Rows looked at for one answer: a rare service is found page by page.
const ROWS_MAX: usize = 10_000;

/// Rows read from the store at once.
const STEP: usize = 200;

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "HistoryEntry")]
struct Entry {
    service_id: String,
    properties: Map<String, Value>,
    event_time: Option<String>,
    received_time: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "History")]
struct Answer {
    history: Vec<Entry>,
    page: PageInfo,
}

/// A service as an uplink's row holds it.
#[derive(Deserialize)]
struct Stored {
    service_id: String,
    #[serde(default)]
    properties: Map<String, Value>,
    #[serde(default)]
    event_time: Option<String>,
}

/// Place of an entry: all before it were shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    key: HistoryKey,
    index: u32,
}

impl Place {
    fn marker(self) -> String {
        let key = self.key;
        let ms = key.received_at.as_ms();
        format!("{ms:016x}{:08x}{:08x}", key.serial, self.index)
    }

    fn parse(text: &str) -> Option<Self> {
        let legal = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let part = |range| text.get(range).filter(|_| legal);
        Some(Self {
            key: HistoryKey {
                received_at: Timestamp::from_ms(u64::from_str_radix(part(0..16)?, 16).ok()?),
                serial: u32::from_str_radix(part(16..24)?, 16).ok()?,
            },
            index: u32::from_str_radix(part(24..32)?, 16).ok()?,
        })
    }

    /// The store's bound that still gives this place's own row.
    fn bound(self) -> HistoryKey {
        match self.key.serial.checked_add(1) {
            Some(serial) => HistoryKey { serial, ..self.key },
            None => HistoryKey {
                received_at: self.key.received_at.plus_ms(1),
                serial: 0,
            },
        }
    }
}

/// What is asked for.
struct Wanted {
    device_seq: u64,
    service_id: Option<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    after: Option<Place>,
    limit: usize,
}

/// `GET …/history`. Errors: 404, 400 bad query.
pub async fn show(
    State(app): State<App>,
    DevicePath(id): DevicePath,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut wanted = read_query(&uri, wanted_of)?;
    wanted.device_seq = app.devices.show(&id)?.device.seq;
    let store = app.store;
    let answer = tokio::task::spawn_blocking(move || read(&*store, &wanted))
        .await
        .map_err(|_| StoreError::Closed)??;
    Ok(json(StatusCode::OK, &answer))
}

fn wanted_of(query: &Query<'_>) -> Wanted {
    let (from, to) = query.times("from", "to");
    let limit = query.integer("limit", 1..=50, code::LIMIT).unwrap_or(10);
    let after = query
        .raw_like("marker", "^[0-9A-Fa-f]{32}$")
        .and_then(|text| {
            let place = Place::parse(text);
            if place.is_none() {
                let problem = format!("got {}, takes the marker of an earlier page", quoted(text));
                query.problem(code::MARKER, "marker", problem);
            }
            place
        });
    Wanted {
        device_seq: 0,
        service_id: query.text("service_id", TextRule::name(64)),
        from,
        to,
        after,
        limit: usize::try_from(limit).unwrap_or(10),
    }
}

fn read(store: &dyn Store, wanted: &Wanted) -> Result<Answer, StoreError> {
    let mut page = Page::new(wanted);
    let mut before = wanted.after.map(Place::bound);
    let mut looked_at = 0;
    loop {
        let rows = store.history(&HistoryQuery {
            device_seq: wanted.device_seq,
            from: wanted.from,
            to: wanted.to,
            before,
            limit: STEP,
        })?;
        looked_at += rows.len();
        let is_end = rows.len() < STEP;
        before = rows.last().map(|row| row.key);
        for row in rows {
            if page.take(row) {
                return Ok(page.answer(true));
            }
        }
        if is_end {
            return Ok(page.answer(false));
        }
        if looked_at >= ROWS_MAX {
            return Ok(page.answer(true));
        }
    }
}

/// Entries as they are found.
struct Page<'a> {
    wanted: &'a Wanted,
    history: Vec<Entry>,
    /// The last place that was looked at.
    last: Option<Place>,
}

impl<'a> Page<'a> {
    fn new(wanted: &'a Wanted) -> Self {
        Self {
            wanted,
            history: Vec::new(),
            last: None,
        }
    }

    /// Adds a row's entries; true when one more would be over the limit.
    fn take(&mut self, row: HistoryRow) -> bool {
        let services: Vec<Stored> = match serde_json::from_str(&row.record.services) {
            Ok(services) => services,
            Err(error) => {
                bug!("a history row can't be read: {error}");
                return false;
            }
        };
        for (index, stored) in (0_u32..).zip(services) {
            let place = Place {
                key: row.key,
                index,
            };
            let shown = |after: Place| after.key == place.key && place.index <= after.index;
            if self.wanted.after.is_some_and(shown) {
                continue;
            }
            let wanted = self.wanted.service_id.as_ref();
            if wanted.is_none_or(|id| *id == stored.service_id) {
                if self.history.len() >= self.wanted.limit {
                    return true;
                }
                self.history.push(Entry {
                    service_id: stored.service_id,
                    properties: stored.properties,
                    event_time: stored.event_time,
                    received_time: row.record.received_at.compact(),
                });
            }
            self.last = Some(place);
        }
        false
    }

    /// `has_more`: the marker leads on. Without, the end was reached.
    fn answer(self, has_more: bool) -> Answer {
        let marker = self.last.filter(|_| has_more).map(Place::marker);
        Answer {
            page: PageInfo {
                count: self.history.len() as u64,
                marker,
            },
            history: self.history,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back_as_they_went() {
        let place = Place {
            key: HistoryKey {
                received_at: Timestamp::from_ms(1_700_000_000_123),
                serial: u32::MAX,
            },
            index: 3,
        };
        assert_eq!(Place::parse(&place.marker()), Some(place));
        assert_eq!(place.bound().serial, 0);
        for bad in ["", "zz", &"f".repeat(31), &"é".repeat(16)] {
            assert_eq!(Place::parse(bad), None, "{bad}");
        }
    }
}
