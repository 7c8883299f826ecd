//! Reads of how far pushes have come, and of those that were set aside.

use super::Kv;
use super::Order;
use super::reader::{Reader, above, corrupt};
use crate::store::StoreError;
use crate::store::forwarding::{DeliveryRecord, SetAsideQuery, SetAsideRecord};
use crate::store::keys::{self, Table};

impl<E: Kv> Reader<'_, E> {
    pub(super) fn deliveries(&self) -> Result<Vec<(u64, DeliveryRecord)>, StoreError> {
        let (from, to) = Table::Deliveries.span();
        let mut found = Vec::new();
        for (key, row) in self.rows(&from, &to, Order::Ascending, usize::MAX)? {
            let Some(action_seq) = keys::leading_number(&key) else {
                return Err(corrupt(self.engine(), &key, "the key has another shape"));
            };
            let record = self.decode::<DeliveryRecord>(&key, row)?;
            found.extend(record.map(|record| (action_seq, record)));
        }
        Ok(found)
    }

    pub(super) fn set_aside(
        &self,
        query: &SetAsideQuery,
    ) -> Result<Vec<SetAsideRecord>, StoreError> {
        let (start, end) = keys::all_set_aside(query.action_seq);
        let row = |key| keys::set_aside(query.action_seq, key);
        let from = query.after.map_or(start, |key| above(&row(key)));
        let to = query.before.map_or(end, row);
        let order = match query.oldest_first {
            true => Order::Ascending,
            false => Order::Descending,
        };
        let mut found = Vec::new();
        for (key, row) in self.rows(&from, &to, order, query.limit)? {
            found.extend(self.decode::<SetAsideRecord>(&key, row)?);
        }
        Ok(found)
    }
}
