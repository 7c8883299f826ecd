//! Commands: each lies under its own key, an open one belongs to a device whose state names it, and
//! every one that a state names is there.

use super::Walk;
use crate::base::ids::DeviceId;
use crate::store::StoreError;
use crate::store::commands::{CommandRecord, SubmissionRecord};
use crate::store::facts::DeviceFacts;
use crate::store::keys::{self, Table};
use crate::store::kv::Kv;
use crate::store::records::StateRecord;
use crate::store::rows;

impl<E: Kv> Walk<'_, E> {
    pub(super) fn command(
        &mut self,
        table: Table,
        key: &[u8],
        row: &[u8],
    ) -> Result<(), StoreError> {
        if table == Table::Submissions {
            self.record::<SubmissionRecord>(key, row)?;
            return Ok(());
        }
        let Some(command) = self.record::<CommandRecord>(key, row)? else {
            return Ok(());
        };
        match keys::split_command(key) {
            None => self.mistake(key, "the key is not device seq, time and number"),
            Some((_, id)) if id != command.id => {
                self.mistake(key, format!("holds command {}", command.id));
            }
            Some((seq, _)) if table == Table::Queue => {
                if self.engine.get(&keys::order(seq))?.is_none() {
                    self.mistake(key, format!("there is no device with seq {seq}"));
                }
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// What the state names is in the queue.
    pub(super) fn queued(&mut self, key: &[u8], state: &StateRecord) -> Result<(), StoreError> {
        let queue = &state.queue;
        if queue.pending.is_empty() && queue.open.is_empty() {
            return Ok(());
        }
        let id = key.get(1..).and_then(|id| std::str::from_utf8(id).ok());
        let Some(id) = id.and_then(|id| DeviceId::parse(id).ok()) else {
            return Ok(());
        };
        let row = self.engine.get(&keys::device(&id))?;
        let whole = match row {
            Some(row) => rows::join(row, |part| self.engine.get(part))?,
            None => None,
        };
        // A mistake in the device's own row is told there.
        let device = whole.and_then(|whole| rows::decode_beside::<DeviceFacts>(&whole).ok());
        let Some(device) = device else {
            return Ok(());
        };
        let named = queue.pending.iter().map(|p| p.id);
        for id in named.chain(queue.open.iter().map(|o| o.id)) {
            if self
                .engine
                .get(&keys::command(Table::Queue, device.seq, id))?
                .is_none()
            {
                self.mistake(key, format!("command {id} is not in the queue"));
            }
        }
        Ok(())
    }
}
