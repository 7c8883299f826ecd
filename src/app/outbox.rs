//! Committed events on their way out. An event is written in the commit that caused it; readers
//! follow the store from a position and are woken after commits.
//!
//! Nothing is kept in memory: a slow reader costs a position. Retention is [`super::retention`].

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::store::records::EventRecord;
use crate::store::{Store, StoreError};

/// Callers that may follow events over HTTP at the same time.
pub const READERS_MAX: usize = 64;

/// Wakes those who follow events.
pub struct Outbox {
    store: Arc<dyn Store>,
    newest: watch::Sender<u64>,
    readers: Arc<Semaphore>,
}

impl Outbox {
    pub fn new(store: Arc<dyn Store>) -> Self {
        let newest = watch::Sender::new(store.last_event());
        Self {
            store,
            newest,
            readers: Arc::new(Semaphore::new(READERS_MAX)),
        }
    }

    /// Call after a commit that emitted. Cheap when nobody follows.
    pub fn notify(&self) {
        let last = self.store.last_event();
        self.newest.send_if_modified(|seen| {
            let moved = last > *seen;
            *seen = last.max(*seen);
            moved
        });
    }

    /// Position of the newest event.
    pub fn position(&self) -> u64 {
        self.store.last_event()
    }

    /// Tells the position of the newest event, whenever it moves. After a read that came to an end,
    /// whoever waits for it misses nothing.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Admits one caller from outside, until the permit is dropped; `None` when there are too many.
    pub fn admit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.readers).try_acquire_owned().ok()
    }

    /// Follows events above position `after`.
    pub fn follow(&self, after: u64) -> Follower {
        Follower {
            store: Arc::clone(&self.store),
            newest: self.newest.subscribe(),
            after,
        }
    }
}

/// One reader's place in the stream of events.
pub struct Follower {
    store: Arc<dyn Store>,
    newest: watch::Receiver<u64>,
    after: u64,
}

impl Follower {
    /// The next events in order, at most `limit`; waits until there is one. An empty answer means
    /// that the server ends.
    pub async fn next(&mut self, limit: usize) -> Result<Vec<(u64, EventRecord)>, StoreError> {
        loop {
            // Marked as seen before the read: what commits during the read wakes us again.
            self.newest.borrow_and_update();
            let events = self.store.events(self.after, limit)?;
            if let Some((position, _)) = events.last() {
                self.after = *position;
                return Ok(events);
            }
            if self.newest.changed().await.is_err() {
                return Ok(Vec::new());
            }
        }
    }
}
