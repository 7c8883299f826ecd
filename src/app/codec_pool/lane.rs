//! A lane: one worker that serves the codecs whose place it is, in batches.
//!
//! While a batch is under way calls gather; the next batch takes them all, in one write. No worker
//! can be started: after a few tries what waits is answered `unavailable`, and the next calls are
//! too, but for one try from time to time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::dispatch::{Dispatch, SLOW, SLOW_COMPILE, SLOW_LOAD, watch};
use super::process::{Event, Process};
use super::request::{Request, unavailable};
use crate::product::codec::CodecError;

/// Requests in one write: when one of them goes wrong, so many are done twice at most.
const BATCH: usize = 32;
/// The wait after a worker that could not be started; doubles each time, up to the second.
const START_AGAIN: Duration = Duration::from_millis(100);
const START_AGAIN_MAX: Duration = Duration::from_secs(5);
/// Tries after which nobody waits any more.
const TRIES: u32 = 3;

/// Serves a lane until the server stops and nothing waits.
pub(super) async fn run(dispatch: Arc<Dispatch>, index: usize, wake: Arc<Notify>) {
    let mut stop = dispatch.tasks.stop();
    let mut process: Option<Process> = None;
    let mut outage = Outage::default();
    loop {
        let stops = stop.is_requested();
        if stops {
            dispatch.close();
        }
        let batch = dispatch.take(index, BATCH);
        if batch.is_empty() {
            if stops {
                return;
            }
            tokio::select! {
                () = wake.notified() => {}
                () = stop.requested() => {}
            }
            continue;
        }
        let here = process.take();
        let here = here.and_then(|mut process| process.is_alive().then_some(process));
        let worker = match here {
            Some(worker) => worker,
            None => match outage.worker(&dispatch).await {
                Ok(worker) => worker,
                Err(Some(reason)) => {
                    for request in batch {
                        request.answer(unavailable(reason.clone()));
                    }
                    continue;
                }
                Err(None) => {
                    dispatch.put_back(batch);
                    continue;
                }
            },
        };
        process = work(&dispatch, worker, batch).await;
    }
}

/// Does a batch; gives the process back if it is of use still.
async fn work(
    dispatch: &Arc<Dispatch>,
    mut process: Process,
    batch: Vec<Request>,
) -> Option<Process> {
    for request in batch {
        hand(&mut process, request);
    }
    while let Some(first) = process.first() {
        let is_call = first.request.as_ref().is_some_and(|r| r.call.is_some());
        let patience = match (first.loads, first.compiles && is_call) {
            (_, true) => SLOW_COMPILE,
            (true, false) => SLOW_LOAD,
            (false, false) => SLOW,
        };
        let mut event = process.next(patience).await;
        if matches!(event, Event::Late) {
            process = dispatch.move_out(process)?;
            event = watch(&mut process).await;
        }
        match event {
            Event::Done(item, done) => dispatch.settle(*item, *done),
            Event::Late => {
                dispatch.overrun(process);
                return None;
            }
            Event::Died(death) => {
                dispatch.bury(process, &death);
                return None;
            }
        }
    }
    Some(process)
}

/// Gives a process one more request. What fits in no frame is answered.
pub(super) fn hand(process: &mut Process, request: Request) {
    if let Err(unsent) = process.send(request) {
        let (request, error) = *unsent;
        let field = "the call".to_owned();
        let reason = error.to_string();
        request.answer(CodecError::Field { field, reason });
    }
}

/// How starting workers went of late.
#[derive(Debug, Default)]
pub(super) struct Outage {
    failures: u32,
    /// Why the last one failed, and when the next is tried.
    last: Option<(String, Instant)>,
}

impl Outage {
    /// A worker. Errors: why nobody should wait for one any more, or `None`: another try is worth it.
    pub(super) async fn worker(
        &mut self,
        dispatch: &Arc<Dispatch>,
    ) -> Result<Process, Option<String>> {
        if let Some((reason, again_at)) = &self.last
            && self.failures >= TRIES
            && Instant::now() < *again_at
        {
            return Err(Some(reason.clone()));
        }
        match dispatch.worker().await {
            Ok(worker) => {
                *self = Self::default();
                Ok(worker)
            }
            Err(error) => {
                let doubled = START_AGAIN.saturating_mul(1 << self.failures.min(10));
                let wait = doubled.min(START_AGAIN_MAX);
                self.failures = self.failures.saturating_add(1);
                tracing::warn!(%error, failures = self.failures, "no codec worker");
                let reason = format!("no worker: {error}");
                self.last = Some((reason.clone(), Instant::now() + wait));
                if self.failures >= TRIES {
                    return Err(Some(reason));
                }
                sleep(wait).await;
                Err(None)
            }
        }
    }
}
