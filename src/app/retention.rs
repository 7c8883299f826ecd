//! What is old goes: history, raw uplinks and events are swept by age, in small steps, so that
//! a sweep never holds the store for long.

use std::sync::Arc;
use std::time::Duration;

use crate::app::tasks::Stop;
use crate::base::time::Clock;
use crate::store::{Expiry, Store, StoreError, StoreSettings};

/// How often old rows are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Rows deleted in one call to the store.
const STEP: usize = 1000;

/// Steps of one sweep: what is left waits for the next, so a sweep ends.
const STEPS: usize = 1000;

/// Sweeps until `stop`.
pub async fn run(store: Arc<dyn Store>, clock: Clock, settings: StoreSettings, mut stop: Stop) {
    loop {
        tokio::select! {
            () = stop.requested() => return,
            () = tokio::time::sleep(SWEEP_EVERY) => {}
        }
        match sweep(&store, &settings.expiry(clock.now()), &stop).await {
            Ok(0) => {}
            Ok(rows) => {
                metrics::counter!("strait_expired_rows_total").increment(rows as u64);
                tracing::debug!(rows, "old rows swept");
            }
            Err(error) => tracing::warn!(%error, "old rows could not be swept, trying again"),
        }
    }
}

/// One sweep: returns how many rows went.
pub async fn sweep(
    store: &Arc<dyn Store>,
    expiry: &Expiry,
    stop: &Stop,
) -> Result<usize, StoreError> {
    let mut total = 0;
    for _ in 0..STEPS {
        let (store, expiry) = (Arc::clone(store), *expiry);
        let step = tokio::task::spawn_blocking(move || store.expire(&expiry, STEP)).await;
        let gone = step.map_err(|_| StoreError::Closed)??;
        total += gone;
        if gone < STEP || stop.is_requested() {
            break;
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Timestamp;
    use crate::store::memory::MemoryStore;
    use crate::store::records::EventRecord;
    use crate::store::{Change, Commit};

    #[tokio::test]
    async fn a_sweep_takes_what_is_old_alone() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let event = |ms| {
            Change::Emit(Box::new(EventRecord {
                at: Timestamp::from_ms(ms),
                envelopes: Vec::new(),
            }))
        };
        let changes = vec![event(1000), event(2000), event(3000)];
        let guards = Vec::new();
        store.commit(Commit { guards, changes }).await.unwrap();
        let expiry = Expiry {
            history_before: Timestamp::from_ms(0),
            raw_before: Timestamp::from_ms(0),
            events_before: Timestamp::from_ms(2500),
            audit_before: Timestamp::from_ms(0),
            commands_before: Timestamp::from_ms(0),
        };
        let stop = crate::app::tasks::Tasks::new().stop();
        assert_eq!(sweep(&store, &expiry, &stop).await.unwrap(), 2);
        let left = store.events(0, 10).unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].1.at, Timestamp::from_ms(3000));
    }
}
