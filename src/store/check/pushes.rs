//! How far pushes have come, and those that were set aside. Their action may be gone already: then
//! they are on their way out.

use super::Walk;
use crate::store::StoreError;
use crate::store::forwarding::{DeliveryRecord, SetAsideRecord};
use crate::store::keys::{self, Table};
use crate::store::kv::Kv;

impl<E: Kv> Walk<'_, E> {
    pub(super) fn pushes(
        &mut self,
        table: Table,
        key: &[u8],
        row: &[u8],
    ) -> Result<(), StoreError> {
        let Some(action_seq) = keys::leading_number(key) else {
            self.mistake(key, "the key has no action's seq");
            return Ok(());
        };
        let own = if table == Table::Deliveries {
            self.record::<DeliveryRecord>(key, row)?;
            Some(keys::delivery(action_seq))
        } else {
            let record = self.record::<SetAsideRecord>(key, row)?;
            record.map(|record| keys::set_aside(action_seq, record.key()))
        };
        if let Some(own) = own.filter(|own| own != key) {
            self.mistake(key, format!("holds {}", keys::show(&own)));
        }
        Ok(())
    }
}
