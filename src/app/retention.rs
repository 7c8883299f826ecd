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
