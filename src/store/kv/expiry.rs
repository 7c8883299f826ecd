//! Finds rows that are too old. Events lie in order of time, so the search stops at the first
//! younger one. History and raw uplinks lie by device, then time: within a device the search
//! stops at the first younger one and goes on with the next device; a cursor remembers where the
//! call before stopped, so that every call is short and all devices get their turn. Rows of the audit
//! log lie in order of time, with the time in their keys.
//!
//! The newest event always stays: the next position is derived from it.

use std::sync::{Mutex, PoisonError};

use super::Kv;
use super::Order;
use super::reader::{Reader, above, after_device};
use crate::base::time::Timestamp;
use crate::store::commands::SubmissionRecord;
use crate::store::keys::{self, Table};
use crate::store::rows::EventHead;
use crate::store::{Expiry, StoreError};

/// Rows looked at in one call beyond those that are deleted: some 10 ms.
const LOOKS_MAX: usize = 4096;

/// Rows read in one go.
const CHUNK: usize = 256;

/// Where the next call goes on in the tables that lie by device.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    history: Mutex<Option<Vec<u8>>>,
    raw: Mutex<Option<Vec<u8>>>,
    ended: Mutex<Option<Vec<u8>>>,
    submissions: Mutex<Option<Vec<u8>>>,
}

/// Keys to delete.
#[derive(Debug, Default)]
pub(super) struct Expired {
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) rows: usize,
}

impl Expired {
    fn push(&mut self, key: Vec<u8>) {
        self.keys.push(key);
        self.rows = self.rows.saturating_add(1);
    }
}

impl Cursor {
    /// At most `limit` rows.
    pub(super) fn expired<E: Kv>(
        &self,
        reader: &Reader<'_, E>,
        expiry: &Expiry,
        last_event: u64,
        limit: usize,
    ) -> Result<Expired, StoreError> {
        let mut found = Expired::default();
        old_events(reader, expiry.events_before, last_event, limit, &mut found)?;
        let (from, _) = Table::Audit.span();
        let to = keys::audit(expiry.audit_before, 0);
        let room = limit.saturating_sub(found.rows);
        for (key, _) in reader.rows(&from, &to, Order::Ascending, room)? {
            found.push(key);
        }
        let tables = [
            (Table::History, expiry.history_before, &self.history),
            (Table::Raw, expiry.raw_before, &self.raw),
            (Table::Ended, expiry.commands_before, &self.ended),
        ];
        for (table, before, cursor) in tables {
            let mut cursor = cursor.lock().unwrap_or_else(PoisonError::into_inner);
            *cursor = old_timed(reader, table, before, cursor.take(), limit, &mut found)?;
        }
        let cursor = &mut *(self.submissions.lock()).unwrap_or_else(PoisonError::into_inner);
        let before = expiry.commands_before;
        *cursor = old_submissions(reader, before, cursor.take(), limit, &mut found)?;
        Ok(found)
    }
}

fn old_events<E: Kv>(
    reader: &Reader<'_, E>,
    before: Timestamp,
    last_event: u64,
    limit: usize,
    found: &mut Expired,
) -> Result<(), StoreError> {
    let mut from = keys::event(0);
    let to = keys::event(last_event);
    while found.rows < limit {
        let want = limit.saturating_sub(found.rows).min(CHUNK);
        let rows = reader.rows(&from, &to, Order::Ascending, want)?;
        let Some((last, _)) = rows.last() else {
            return Ok(());
        };
        from = above(last);
        for (key, row) in rows {
            let old = reader
                .decode::<EventHead>(&key, row)?
                .is_some_and(|head| head.at < before);
            if !old {
                return Ok(());
            }
            found.push(key);
        }
    }
    Ok(())
}

/// Returns where to go on; `None`: from the start.
fn old_timed<E: Kv>(
    reader: &Reader<'_, E>,
    table: Table,
    before: Timestamp,
    cursor: Option<Vec<u8>>,
    limit: usize,
    found: &mut Expired,
) -> Result<Option<Vec<u8>>, StoreError> {
    let (start, to) = table.span();
    let mut from = cursor.unwrap_or(start);
    let mut looks = 0_usize;
    while found.rows < limit && looks < LOOKS_MAX {
        // Few rows of a device are old as a rule, so the first look takes little.
        let rows = reader.rows(&from, &to, Order::Ascending, 4)?;
        let Some((last, _)) = rows.last() else {
            return Ok(None);
        };
        from = above(last);
        for (key, _) in rows {
            looks = looks.saturating_add(1);
            let Some((seq, at)) = split(table, &key) else {
                continue;
            };
            if found.rows >= limit {
                from = key;
                break;
            }
            if at < before {
                found.push(key);
            } else {
                from = after_device(table, seq);
                break;
            }
        }
    }
    Ok(Some(from))
}

/// Device seq and time of a row that lies by device and time.
fn split(table: Table, key: &[u8]) -> Option<(u64, Timestamp)> {
    if table == Table::Ended {
        return keys::split_command(key).map(|(seq, id)| (seq, id.created_at));
    }
    keys::split_timed(key).map(|(seq, at)| (seq, at.received_at))
}

/// Submissions lie in no order of time: all are looked at, some in each call. Returns where to go on.
fn old_submissions<E: Kv>(
    reader: &Reader<'_, E>,
    before: Timestamp,
    cursor: Option<Vec<u8>>,
    limit: usize,
    found: &mut Expired,
) -> Result<Option<Vec<u8>>, StoreError> {
    let (start, to) = Table::Submissions.span();
    if found.rows >= limit {
        return Ok(cursor);
    }
    let from = cursor.unwrap_or(start);
    let rows = reader.rows(&from, &to, Order::Ascending, LOOKS_MAX)?;
    let next = rows.last().map(|(last, _)| above(last));
    for (key, row) in rows {
        if found.rows >= limit {
            return Ok(Some(key));
        }
        let made = reader.decode::<SubmissionRecord>(&key, row)?;
        if made.is_some_and(|made| made.id.created_at < before) {
            found.push(key);
        }
    }
    Ok(next)
}
