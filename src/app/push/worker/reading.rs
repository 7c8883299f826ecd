//! From the store into the window, and what a push is made of when its turn comes.

use std::time::Duration;

use bytes::Bytes;

use super::delivery::Delivery;
use super::progress::Progress;
use crate::app::push::window::{Item, Lane, Subject};
use crate::store::StoreError;
use crate::store::forwarding::SetAsideKey;
use crate::store::records::{EnvelopeRecord, EventRecord};

/// Events read in one go: a few milliseconds of one core at most.
const CHUNK: usize = 128;

/// After a read that failed.
pub(super) const READ_AGAIN: Duration = Duration::from_secs(1);

/// Why there is nothing to push, when a push's turn comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// The rule does not take it any more, or somebody deleted it.
    Unwanted,
    /// It was too old for the store.
    Expired,
}

impl Delivery {
    /// Reads one chunk of events, into the window or, when that is full, into the ledger. Whether
    /// there is more to read at once.
    pub(super) fn read(&mut self, progress: &mut Progress) -> bool {
        let now = self.parts.clock.instant();
        if self.read_again_at.is_some_and(|at| now < at) {
            return false;
        }
        self.read_again_at = None;
        let read = self.read_events(progress).and_then(|more| {
            self.read_again()?;
            Ok(more)
        });
        read.unwrap_or_else(|error| {
            tracing::warn!(action_id = %self.plan.action.action_id, %error, "events can't be read");
            self.read_again_at = now.checked_add(READ_AGAIN);
            false
        })
    }

    fn read_events(&mut self, progress: &mut Progress) -> Result<bool, StoreError> {
        let last = self.parts.store.last_event();
        let has_room = self.window.open() < self.parts.wiring.settings.window;
        let from = match has_room {
            true => self.read_to,
            false => self.read_to.max(self.ledger.scanned_to()),
        };
        if from >= last {
            return Ok(false);
        }
        let events = match self.parts.store.events(from, CHUNK) {
            Err(StoreError::Corrupt { .. }) => match self.parts.store.events(from, 1) {
                // The next one is it: it is lost, and the others go on.
                Err(StoreError::Corrupt { .. }) if has_room => {
                    self.read_to = from.saturating_add(1);
                    progress.dropped(1, &self.parts);
                    return Ok(self.read_to < last);
                }
                one => one?,
            },
            all => all?,
        };
        // All up to the newest are too old for the store.
        let end = events.last().map_or(last, |(position, _)| *position);
        for (position, event) in &events {
            if has_room {
                let (pushes, bytes) = self.add(*position, event);
                self.ledger.passed(*position, pushes, bytes);
            } else {
                let bodies = event.envelopes.iter().filter_map(|e| self.matcher.body(e));
                let (mut pushes, mut bytes) = (0_u64, 0_u64);
                for body in bodies {
                    pushes += 1;
                    bytes = bytes.saturating_add(wide(body.len()));
                }
                let most = self.plan.bounds.bytes;
                self.ledger.note(*position, event.at, (pushes, bytes), most);
            }
        }
        if has_room {
            self.read_to = end;
            progress.touch(&self.parts.clock);
        }
        Ok(end < last)
    }

    /// Puts what an event makes into the window: how many pushes, of how many bytes.
    pub(super) fn add(&mut self, position: u64, event: &EventRecord) -> (u64, u64) {
        let (mut pushes, mut bytes) = (0_u64, 0_u64);
        for (index, envelope) in (0_u32..).zip(&event.envelopes) {
            let Some(body) = self.matcher.body(envelope) else {
                continue;
            };
            let item = Item {
                key: SetAsideKey { position, index },
                at: event.at,
                len: wide(body.len()),
                body: Some(Bytes::from(body.into_owned())),
                failures: 0,
                refusals: 0,
            };
            pushes += 1;
            bytes = bytes.saturating_add(item.len);
            self.window.add(lane_of(envelope, false), item);
        }
        (pushes, bytes)
    }

    /// Its body from memory, else from the store.
    pub(super) fn body(
        &self,
        lane: &Lane,
        item: &Item,
    ) -> Result<Result<Bytes, Missing>, StoreError> {
        match &item.body {
            Some(body) => Ok(Ok(body.clone())),
            None => {
                let loaded = self.load(lane, item.key)?;
                Ok(loaded.map(|envelope| Bytes::from(envelope.json)))
            }
        }
    }

    /// The envelope as it is pushed, from the store.
    pub(super) fn load(
        &self,
        lane: &Lane,
        key: SetAsideKey,
    ) -> Result<Result<EnvelopeRecord, Missing>, StoreError> {
        let SetAsideKey { position, index } = key;
        if lane.is_again {
            let row = self.set_aside_row(key)?;
            return Ok(row.map(|row| row.envelope).ok_or(Missing::Unwanted));
        }
        let events = self.parts.store.events(position.saturating_sub(1), 1)?;
        let Some((_, event)) = events.into_iter().find(|(at, _)| *at == position) else {
            return Ok(Err(Missing::Expired));
        };
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(mut envelope) = event.envelopes.into_iter().nth(at) else {
            return Ok(Err(Missing::Unwanted));
        };
        let body = self.matcher.body(&envelope).map(|body| body.into_owned());
        Ok(body.ok_or(Missing::Unwanted).map(|json| {
            envelope.json = json;
            envelope
        }))
    }
}

pub(super) fn lane_of(envelope: &EnvelopeRecord, is_again: bool) -> Lane {
    let subject = match &envelope.device_id {
        Some(device_id) => Subject::Device(device_id.clone()),
        None => Subject::Resource(envelope.resource.as_str().into()),
    };
    Lane { is_again, subject }
}

pub(super) fn wide(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
