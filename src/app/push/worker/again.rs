//! Pushes that were set aside go again, when somebody asks for it. They go beside what is new, each
//! device's in order; a row stays until its push was taken.

use bytes::Bytes;

use super::delivery::Delivery;
use super::reading::{lane_of, wide};
use crate::app::push::window::Item;
use crate::store::StoreError;
use crate::store::forwarding::{SetAsideKey, SetAsideQuery, SetAsideRecord};

/// Of pushes that go again, so many are in memory at most.
const AGAIN_MAX: usize = 256;

impl Delivery {
    /// All of them that there are now.
    pub(super) fn all_again(&mut self) -> Result<(), StoreError> {
        let newest = self.parts.store.set_aside(&SetAsideQuery {
            oldest_first: false,
            limit: 1,
            ..self.every_row()
        })?;
        self.again_range = newest.first().map(|newest| (None, newest.key()));
        Ok(())
    }

    /// Those of an event: how many.
    pub(super) fn event_again(&mut self, position: u64) -> Result<u64, StoreError> {
        let rows = self.rows_of(position)?;
        let found = wide(rows.len());
        rows.into_iter().for_each(|row| self.add_again(row));
        Ok(found)
    }

    /// What is set aside of an event.
    pub(super) fn rows_of(&self, position: u64) -> Result<Vec<SetAsideRecord>, StoreError> {
        self.parts.store.set_aside(&SetAsideQuery {
            after: position.checked_sub(1).map(last_of),
            before: position
                .checked_add(1)
                .map(|position| SetAsideKey { position, index: 0 }),
            ..self.every_row()
        })
    }

    /// Nothing that was set aside is wanted any more.
    pub(super) fn forget_again(&mut self) {
        self.again.clear();
        self.again_range = None;
        // What is in the window finds no row when its turn comes.
        self.window.forget_bodies();
    }

    /// Reads on in what goes again, while there is room.
    pub(super) fn read_again(&mut self) -> Result<(), StoreError> {
        let Some((after, last)) = self.again_range else {
            return Ok(());
        };
        let room = AGAIN_MAX.saturating_sub(self.window.again());
        if room < AGAIN_MAX / 2 {
            return Ok(());
        }
        let rows = self.parts.store.set_aside(&SetAsideQuery {
            after,
            limit: room,
            ..self.every_row()
        })?;
        let is_end = rows.len() < room;
        let end = rows.last().map(SetAsideRecord::key);
        let rows = rows.into_iter().filter(|row| row.key() <= last);
        rows.for_each(|row| self.add_again(row));
        self.again_range = match end {
            Some(end) if !is_end && end < last => Some((Some(end), last)),
            Some(_) | None => None,
        };
        Ok(())
    }

    fn add_again(&mut self, row: SetAsideRecord) {
        if !self.again.insert(row.key()) {
            return;
        }
        let lane = lane_of(&row.envelope, true);
        let item = Item {
            key: row.key(),
            at: row.at,
            len: wide(row.envelope.json.len()),
            body: Some(Bytes::from(row.envelope.json)),
            failures: 0,
            refusals: 0,
        };
        self.window.add(lane, item);
    }

    pub(super) fn set_aside_row(
        &self,
        key: SetAsideKey,
    ) -> Result<Option<SetAsideRecord>, StoreError> {
        let (position, index) = (key.position, key.index);
        let after = match index.checked_sub(1) {
            Some(index) => Some(SetAsideKey { position, index }),
            None => position.checked_sub(1).map(last_of),
        };
        let rows = self.parts.store.set_aside(&SetAsideQuery {
            after,
            limit: 1,
            ..self.every_row()
        })?;
        Ok(rows.into_iter().find(|row| row.key() == key))
    }

    fn every_row(&self) -> SetAsideQuery {
        SetAsideQuery {
            action_seq: self.plan.action.seq,
            after: None,
            before: None,
            oldest_first: true,
            limit: AGAIN_MAX,
        }
    }
}

/// Above all pushes of the event at `position`.
const fn last_of(position: u64) -> SetAsideKey {
    let index = u32::MAX;
    SetAsideKey { position, index }
}
