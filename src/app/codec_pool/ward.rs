//! A ward: the process that a slow codec has for itself, so that it holds up nobody.
//!
//! It begins with the call that took long. One call at a time; the codec goes back to its lane when
//! it was quick for a while, has no more calls for a while, or is quarantined. One that takes too long
//! to compile for its lane does not go back for being quick: it would be compiled again there.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::dispatch::{Dispatch, SLOW, SLOW_COMPILE, watch};
use super::lane::{Outage, hand};
use super::process::{Event, Process};
use super::request::unavailable;

/// Without a call for so long, its process is given up.
const IDLE: Duration = Duration::from_secs(5);
/// Calls in a row that show that it is quick again.
const QUICK: u32 = 32;

/// Serves one codec. `is_whole`: all that the process was sent is written.
pub(super) async fn run(
    dispatch: Arc<Dispatch>,
    tag: Arc<str>,
    wake: Arc<Notify>,
    process: Process,
    is_whole: bool,
) {
    let mut stop = dispatch.tasks.stop();
    let (mut process, micros) = first(&dispatch, process, is_whole).await;
    let mut compiles_slowly = takes_long(micros);
    let mut outage = Outage::default();
    let mut quick = 0;
    loop {
        if quick >= QUICK && !compiles_slowly || dispatch.quarantined(&tag).is_some() {
            // What waits is answered by its lane.
            dispatch.close_ward(&tag, false);
            break;
        }
        let Some(request) = dispatch.take_slow(&tag) else {
            let idle = tokio::select! {
                woken = timeout(IDLE, wake.notified()) => woken.is_err(),
                () = stop.requested() => true,
            };
            if idle && dispatch.close_ward(&tag, true) {
                break;
            }
            continue;
        };
        let here = process.take();
        let here = here.and_then(|mut process| process.is_alive().then_some(process));
        let mut worker = match here {
            Some(worker) => worker,
            None => match outage.worker(&dispatch).await {
                Ok(worker) => worker,
                Err(Some(reason)) => {
                    request.answer(unavailable(reason));
                    continue;
                }
                Err(None) => {
                    dispatch.put_back(vec![request]);
                    continue;
                }
            },
        };
        hand(&mut worker, request);
        let micros;
        (process, micros) = one(&dispatch, worker).await;
        compiles_slowly |= takes_long(micros);
        quick = match micros {
            Some(micros) if Duration::from_micros(micros) < SLOW => quick + 1,
            _ => 0,
        };
    }
    if let Some(process) = process {
        dispatch.retire(process);
    }
}

/// Waits for the call that took long, and for what nobody waits for any more behind it. Gives what the
/// call took, too.
async fn first(
    dispatch: &Arc<Dispatch>,
    process: Process,
    is_whole: bool,
) -> (Option<Process>, Option<u64>) {
    let (mut here, micros) = one(dispatch, process).await;
    if !is_whole {
        // It waits for the rest of an order that won't come.
        return (None, micros);
    }
    while let Some(process) = here.take_if(|process| process.is_busy()) {
        (here, _) = one(dispatch, process).await;
    }
    (here, micros)
}

/// Only compiling takes so long: other work is ended earlier.
fn takes_long(micros: Option<u64>) -> bool {
    micros.is_some_and(|micros| Duration::from_micros(micros) >= SLOW_COMPILE)
}

/// Waits for one answer. Gives the process, if it lives, and what the call took.
async fn one(dispatch: &Arc<Dispatch>, mut process: Process) -> (Option<Process>, Option<u64>) {
    if !process.is_busy() {
        return (Some(process), None);
    }
    match watch(&mut process).await {
        Event::Done(item, done) => {
            let micros = done.micros;
            dispatch.settle(*item, *done);
            (Some(process), Some(micros))
        }
        Event::Late => {
            dispatch.overrun(process);
            (None, None)
        }
        Event::Died(death) => {
            dispatch.bury(process, &death);
            (None, None)
        }
    }
}
