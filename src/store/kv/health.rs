//! Whether commits can succeed now.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use super::{Kv, KvStore};
use crate::base::time::Clock;
use crate::store::{Health, StoreError};

/// A batch takes milliseconds, on a bad disk a second; then the disk does not answer.
const BATCH_STUCK_MS: u64 = 10_000;

impl<E: Kv> KvStore<E> {
    pub(super) fn health_now(&self) -> Health {
        let trouble = self
            .shared
            .trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let closed = self
            .queue
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_none();
        if closed {
            return Health::Unavailable(StoreError::Closed.to_string());
        }
        let committer = self
            .committer
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if committer.as_ref().is_none_or(JoinHandle::is_finished) {
            return Health::Unavailable("the committer ended: restart the server".to_owned());
        }
        drop(committer);
        if let Some(reason) = trouble {
            return Health::Unavailable(reason);
        }
        let since_ms = self.shared.batch_since_ms.load(Ordering::SeqCst);
        let stuck_ms = Clock::System.now().as_ms().saturating_sub(since_ms);
        if since_ms > 0 && stuck_ms > BATCH_STUCK_MS {
            return Health::Unavailable(format!("the disk has not answered for {stuck_ms} ms"));
        }
        match self.shared.engine.ready() {
            Ok(()) => Health::Ready,
            Err(e) => Health::Unavailable(e.to_string()),
        }
    }
}
