//! Reads raw uplinks in order, and the replays of products.

use super::reader::{Reader, above, after_device, corrupt};
use super::{Kv, Order};
use crate::base::ids::ProductId;
use crate::store::keys::{self, Table};
use crate::store::records::RawRecord;
use crate::store::replays::{RawQuery, RawRow, ReplaysRecord};
use crate::store::{HistoryKey, StoreError};

impl<E: Kv> Reader<'_, E> {
    pub(super) fn raw_rows(&self, query: &RawQuery) -> Result<Vec<RawRow>, StoreError> {
        let seq = query.device_seq;
        let at = |received_at| {
            let serial = 0;
            let at = HistoryKey {
                received_at,
                serial,
            };
            keys::timed(Table::Raw, seq, at)
        };
        let behind = |key| above(&keys::timed(Table::Raw, seq, key));
        let starts = [query.from.map(at), query.after.map(behind)];
        let from = match starts.into_iter().flatten().max() {
            Some(from) => from,
            None => keys::timed_start(Table::Raw, seq),
        };
        let to = query.to.map_or_else(|| after_device(Table::Raw, seq), at);
        let mut found = Vec::new();
        for (key, row) in self.rows(&from, &to, Order::Ascending, query.limit)? {
            let Some((_, at)) = keys::split_timed(&key) else {
                return Err(corrupt(self.engine(), &key, "the key has another shape"));
            };
            let record = self.decode::<RawRecord>(&key, row)?;
            found.extend(record.map(|record| RawRow { key: at, record }));
        }
        Ok(found)
    }

    pub(super) fn replays(&self, id: &ProductId) -> Result<Option<ReplaysRecord>, StoreError> {
        self.record(&keys::replays(id))
    }
}
