//! Reads, straight from the engine. Two gets may straddle a commit: indexes that point nowhere
//! any more are skipped, and a split row whose parts were replaced in between is read again. What
//! is sealed is opened on the way.
//! Errors: `StoreError::Corrupt` names the row.

use std::ops::ControlFlow;

use serde::de::DeserializeOwned;

use super::{Kv, Order};
use crate::base::ids::{DeviceId, NodeId, ProductId};
use crate::base::peer::DeviceSeq;
use crate::store::catalog::{FileContent, SubtaskRecord};
use crate::store::forwarding::ForwardingRecord;
use crate::store::keys::{self, Table};
use crate::store::records::{
    CodecRecord, DeviceRecord, EventRecord, HistoryRecord, ProductRecord, RawRecord, SessionRecord,
    SettingsRecord, StateRecord,
};
use crate::store::rows::{self, RowError, Split};
use crate::store::seal::Sealer;
use crate::store::{HistoryKey, HistoryQuery, HistoryRow, Page, StoreError, sealed};

/// How often a split row is read again before its parts count as lost. Each new try means that a
/// commit came in between.
const TRIES: usize = 8;

/// Devices read in one go when all are read.
pub(super) const CHUNK: usize = 1024;

/// A key and its row as they lie in the engine.
pub(super) type RawRow = (Vec<u8>, Vec<u8>);

pub(super) struct Reader<'a, E> {
    engine: &'a E,
    sealer: &'a Sealer,
}

impl<'a, E: Kv> Reader<'a, E> {
    pub(super) const fn new(engine: &'a E, sealer: &'a Sealer) -> Self {
        Self { engine, sealer }
    }

    pub(super) const fn engine(&self) -> &'a E {
        self.engine
    }

    pub(super) fn device(&self, id: &DeviceId) -> Result<Option<DeviceRecord>, StoreError> {
        let key = keys::device(id);
        match self.engine.get(&key)? {
            None => Ok(None),
            Some(row) => self.open_device(&key, row),
        }
    }

    pub(super) fn device_by_node(&self, node: &NodeId) -> Result<Option<DeviceId>, StoreError> {
        let key = keys::node(node);
        match self.engine.get(&key)? {
            None => Ok(None),
            Some(row) => self.node_owner(&key, &row).map(|(_, id)| Some(id)),
        }
    }

    /// Seq and device id of a row of `nodes`.
    pub(super) fn node_owner(&self, key: &[u8], row: &[u8]) -> Result<(u64, DeviceId), StoreError> {
        let (seq, id) = keys::split_node_value(row)
            .ok_or_else(|| corrupt(self.engine, key, "the index holds no seq and device id"))?;
        Ok((seq, self.device_id(key, id)?))
    }

    pub(super) fn devices(&self, page: &Page<'_>) -> Result<Vec<DeviceRecord>, StoreError> {
        let (from, mut to) = match page.product_id {
            Some(product) => keys::members(product),
            None => Table::Order.span(),
        };
        if let Some(before) = page.before {
            to = match page.product_id {
                Some(product) => keys::member(product, before),
                None => keys::order(before),
            };
        }
        let mut found = Vec::new();
        // A device deleted meanwhile leaves a gap, which the next rows fill.
        while found.len() < page.limit {
            let want = page.limit.saturating_sub(found.len());
            let rows = self.rows(&from, &to, Order::Descending, want)?;
            let Some((last, _)) = rows.last() else {
                break;
            };
            to.clone_from(last);
            for (key, row) in &rows {
                let id = self.device_id(key, row)?;
                found.extend(self.device(&id)?);
            }
            if rows.len() < want {
                break;
            }
        }
        Ok(found)
    }

    pub(super) fn state(&self, id: &DeviceId) -> Result<Option<StateRecord>, StoreError> {
        self.record(&keys::state(id))
    }

    /// Visits every device with its state, in no order.
    pub(super) fn each_device(
        &self,
        visit: &mut dyn FnMut(DeviceRecord, Option<StateRecord>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.each_device_row(&mut |(key, row), state| {
            let Some(device) = self.open_device(&key, row)? else {
                return Ok(ControlFlow::Continue(()));
            };
            let state = match state {
                Some((key, row)) => self.decode::<StateRecord>(&key, row)?,
                None => None,
            };
            Ok(visit(device, state))
        })
    }

    /// Reads rows of devices in chunks, each with the rows of states of the same span of ids.
    pub(super) fn each_device_row(
        &self,
        visit: &mut dyn FnMut(RawRow, Option<RawRow>) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<(), StoreError> {
        let (mut from, to) = Table::Devices.span();
        loop {
            let devices = self.rows(&from, &to, Order::Ascending, CHUNK)?;
            let (Some((first, _)), Some((last, _))) = (devices.first(), devices.last()) else {
                return Ok(());
            };
            let mut states = self.states_between(first, last)?.into_iter().peekable();
            from = above(last);
            let full = devices.len() == CHUNK;
            for (key, row) in devices {
                while states
                    .next_if(|(other, _)| other.get(1..) < key.get(1..))
                    .is_some()
                {}
                let state = states.next_if(|(other, _)| other.get(1..) == key.get(1..));
                if visit((key, row), state)?.is_break() {
                    return Ok(());
                }
            }
            if !full {
                return Ok(());
            }
        }
    }

    /// The state rows of devices from the row `first` to the row `last`.
    fn states_between(&self, first: &[u8], last: &[u8]) -> Result<Vec<RawRow>, StoreError> {
        let state_key = |device: &[u8]| {
            let mut key = vec![Table::States.prefix()];
            key.extend_from_slice(device.get(1..).unwrap_or_default());
            key
        };
        let to = above(&state_key(last));
        self.rows(&state_key(first), &to, Order::Ascending, usize::MAX)
    }

    pub(super) fn device_by_seq(&self, seq: DeviceSeq) -> Result<Option<DeviceId>, StoreError> {
        let key = keys::order(seq.0);
        match self.engine.get(&key)? {
            None => Ok(None),
            Some(row) => self.device_id(&key, &row).map(Some),
        }
    }

    pub(super) fn session(&self, device: DeviceSeq) -> Result<Option<SessionRecord>, StoreError> {
        let key = keys::session(device);
        match self.engine.get(&key)? {
            None => Ok(None),
            Some(row) => self.open_session(&key, row),
        }
    }

    /// Reads sessions in chunks.
    pub(super) fn each_session(
        &self,
        visit: &mut dyn FnMut(SessionRecord) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let (mut from, to) = Table::Sessions.span();
        loop {
            let rows = self.rows(&from, &to, Order::Ascending, CHUNK)?;
            let Some((last, _)) = rows.last() else {
                return Ok(());
            };
            from = above(last);
            for (key, row) in rows {
                let session = self.open_session(&key, row)?;
                if session.is_some_and(|session| visit(session).is_break()) {
                    return Ok(());
                }
            }
        }
    }

    pub(super) fn product(&self, id: &ProductId) -> Result<Option<ProductRecord>, StoreError> {
        self.record(&keys::product(id))
    }

    pub(super) fn products(&self) -> Result<Vec<ProductRecord>, StoreError> {
        self.table(Table::Products, |product: &ProductRecord| product.seq)
    }

    pub(super) fn codec(&self, id: &ProductId) -> Result<Option<CodecRecord>, StoreError> {
        self.record(&keys::codec(id))
    }

    pub(super) fn codec_versions(
        &self,
        id: &ProductId,
    ) -> Result<Vec<(u64, CodecRecord)>, StoreError> {
        let (from, to) = keys::codec_versions(id);
        let mut found = Vec::new();
        for (key, row) in self.rows(&from, &to, Order::Descending, usize::MAX)? {
            let Some((_, seq)) = keys::split_codec_version(&key) else {
                return Err(corrupt(self.engine, &key, "the key has another shape"));
            };
            let record = self.decode::<CodecRecord>(&key, row)?;
            found.extend(record.map(|record| (seq, record)));
        }
        Ok(found)
    }

    pub(super) fn settings(&self, id: &ProductId) -> Result<Option<SettingsRecord>, StoreError> {
        self.record(&keys::settings(id))
    }

    pub(super) fn history(&self, query: &HistoryQuery) -> Result<Vec<HistoryRow>, StoreError> {
        let at = |received_at| HistoryKey {
            received_at,
            serial: 0,
        };
        let seq = query.device_seq;
        let from = match query.from {
            Some(from) => keys::history(seq, at(from)),
            None => keys::timed_start(Table::History, seq),
        };
        let ends = [query.to.map(at), query.before];
        let to = match ends.into_iter().flatten().min() {
            Some(end) => keys::history(seq, end),
            None => after_device(Table::History, seq),
        };
        let mut found = Vec::new();
        for (key, row) in self.rows(&from, &to, Order::Descending, query.limit)? {
            let Some((_, at)) = keys::split_timed(&key) else {
                return Err(corrupt(self.engine, &key, "the key has another shape"));
            };
            let record = self.decode::<HistoryRecord>(&key, row)?;
            found.extend(record.map(|record| HistoryRow { key: at, record }));
        }
        Ok(found)
    }

    pub(super) fn raw_uplinks(
        &self,
        device_seq: u64,
        limit: usize,
    ) -> Result<Vec<RawRecord>, StoreError> {
        let from = keys::timed_start(Table::Raw, device_seq);
        let to = after_device(Table::Raw, device_seq);
        let mut found = Vec::new();
        for (key, row) in self.rows(&from, &to, Order::Descending, limit)? {
            found.extend(self.decode::<RawRecord>(&key, row)?);
        }
        Ok(found)
    }

    /// Events above `after`, up to `newest`.
    pub(super) fn events(
        &self,
        after: u64,
        newest: u64,
        limit: usize,
    ) -> Result<Vec<(u64, EventRecord)>, StoreError> {
        if after >= newest {
            return Ok(Vec::new());
        }
        let from = keys::event(after.saturating_add(1));
        let to = above(&keys::event(newest));
        let mut found = Vec::new();
        for (key, row) in self.rows(&from, &to, Order::Ascending, limit)? {
            let Some(position) = keys::leading_number(&key) else {
                return Err(corrupt(self.engine, &key, "the key has another shape"));
            };
            let record = self.decode::<EventRecord>(&key, row)?;
            found.extend(record.map(|record| (position, record)));
        }
        Ok(found)
    }

    /// At most `limit` rows as they lie in the engine.
    pub(super) fn rows(
        &self,
        from: &[u8],
        to: &[u8],
        order: Order,
        limit: usize,
    ) -> Result<Vec<RawRow>, StoreError> {
        let mut rows = Vec::new();
        if limit == 0 || from >= to {
            return Ok(rows);
        }
        self.engine.range(from, to, order, &mut |key, row| {
            rows.push((key.to_vec(), row.to_vec()));
            if rows.len() < limit {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        Ok(rows)
    }

    pub(super) fn record<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        match self.engine.get(key)? {
            None => Ok(None),
            Some(row) => self.decode(key, row),
        }
    }

    fn open_device(&self, key: &[u8], row: Vec<u8>) -> Result<Option<DeviceRecord>, StoreError> {
        self.decode_with(key, row, &|row| {
            sealed::decode_device(key, row, self.sealer)
        })
    }

    fn open_session(&self, key: &[u8], row: Vec<u8>) -> Result<Option<SessionRecord>, StoreError> {
        self.decode_with(key, row, &|row| {
            sealed::decode_session(key, row, self.sealer)
        })
    }

    pub(super) fn open_subtask(
        &self,
        key: &[u8],
        row: Vec<u8>,
    ) -> Result<Option<SubtaskRecord>, StoreError> {
        self.decode_with(key, row, &|row| {
            sealed::decode_subtask(key, row, self.sealer)
        })
    }

    pub(super) fn open_content(
        &self,
        key: &[u8],
        row: Vec<u8>,
    ) -> Result<Option<FileContent>, StoreError> {
        self.decode_with(key, row, &|row| {
            sealed::decode_content(key, row, self.sealer)
        })
    }

    pub(super) fn open_forwarding(
        &self,
        key: &[u8],
        row: Vec<u8>,
    ) -> Result<Option<ForwardingRecord>, StoreError> {
        self.decode_with(key, row, &|row| {
            sealed::decode_forwarding(key, row, self.sealer)
        })
    }

    /// The record of a row that was just read; `None` when it was removed meanwhile.
    pub(super) fn decode<T: DeserializeOwned>(
        &self,
        key: &[u8],
        row: Vec<u8>,
    ) -> Result<Option<T>, StoreError> {
        self.decode_with(key, row, &|row| rows::decode(row))
    }

    pub(super) fn decode_with<T>(
        &self,
        key: &[u8],
        row: Vec<u8>,
        decode: &dyn Fn(&[u8]) -> Result<T, RowError>,
    ) -> Result<Option<T>, StoreError> {
        let mut row = row;
        for _ in 0..TRIES {
            let before =
                Split::decode(&row).map_err(|e| corrupt(self.engine, key, &e.to_string()))?;
            if let Some(whole) = rows::join(row, |part| self.engine.get(part))? {
                return decode(&whole)
                    .map(Some)
                    .map_err(|e| corrupt(self.engine, key, &e.to_string()));
            }
            row = match self.engine.get(key)? {
                None => return Ok(None),
                Some(row) => row,
            };
            if Split::decode(&row).ok() == Some(before) {
                break; // nobody replaced it: the part is lost
            }
        }
        Err(corrupt(self.engine, key, "a part of it is missing"))
    }

    fn device_id(&self, key: &[u8], row: &[u8]) -> Result<DeviceId, StoreError> {
        std::str::from_utf8(row)
            .ok()
            .and_then(|text| DeviceId::parse(text).ok())
            .ok_or_else(|| corrupt(self.engine, key, "the index holds no device id"))
    }
}

/// The smallest key above this one.
pub(super) fn above(key: &[u8]) -> Vec<u8> {
    let mut above = Vec::with_capacity(key.len().saturating_add(1));
    above.extend_from_slice(key);
    above.push(0);
    above
}

/// The smallest key above all of this device in `history` or `raw`.
pub(super) fn after_device(table: Table, device_seq: u64) -> Vec<u8> {
    match device_seq.checked_add(1) {
        Some(next) => keys::timed_start(table, next),
        None => table.span().1,
    }
}

/// A damaged row, by table and key.
pub(super) fn corrupt<E: Kv>(engine: &E, key: &[u8], reason: &str) -> StoreError {
    StoreError::Corrupt {
        path: engine.place(),
        reason: format!("{}: {reason}", keys::show(key)),
    }
}
