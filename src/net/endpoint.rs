//! Drives the CoAP message layer: datagrams in and out on one side, [`Event`]s and [`Outgoing`]s
//! on the other, its timers in between.
//!
//! The app is behind when the event channel is full: then requests are answered 5.03 and
//! notifications are left for their repetition.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Arrival, Datagram, Downward};
use crate::base::peer::Peer;
use crate::base::time::Clock;
use crate::engine::exchange::{Counters, Event, Exchange, Outgoing, Outputs, Settings};

/// Batches of datagrams between socket and endpoint.
pub const DATAGRAM_QUEUE: usize = 256;
/// Batches of events that wait for the app.
pub const EVENT_QUEUE: usize = 4096;
/// Messages that wait for the endpoint.
pub const OUTGOING_QUEUE: usize = 8192;
/// Messages taken from the app in one go.
const OUTGOING_BATCH: usize = 512;

/// The channels of an endpoint.
#[derive(Debug)]
pub struct Channels {
    pub arrivals: mpsc::Receiver<Vec<Arrival>>,
    pub plain: mpsc::Sender<Vec<Datagram>>,
    pub secured: mpsc::Sender<Vec<Downward>>,
    pub events: mpsc::Sender<Vec<Event>>,
    pub outgoing: mpsc::Receiver<Outgoing>,
}

/// Figures of a running endpoint, read by the metrics page.
#[derive(Debug, Clone, Default)]
pub struct Figures(Arc<Mutex<(Counters, usize)>>);

impl Figures {
    /// The counters, and the number of peers of which anything is remembered.
    pub fn read(&self) -> (Counters, usize) {
        self.0
            .lock()
            .map_or_else(|poisoned| *poisoned.into_inner(), |figures| *figures)
    }

    fn write(&self, counters: Counters, peers: usize) {
        if let Ok(mut figures) = self.0.lock() {
            *figures = (counters, peers);
        }
    }
}

/// Runs until `intake` is cancelled and the app has dropped its side of `outgoing`: what the app
/// still answers is sent.
pub async fn run(
    settings: Settings,
    clock: Clock,
    rng: fastrand::Rng,
    channels: Channels,
    figures: Figures,
    intake: CancellationToken,
) {
    let Channels {
        mut arrivals,
        plain,
        secured,
        events,
        outgoing: mut from_app,
    } = channels;
    // Dropped when the intake ends: that is how the app learns that nothing more comes.
    let mut events = Some(events);
    let mut exchange = Exchange::new(settings, clock.instant(), rng);
    let mut out = Outputs::default();
    let mut outgoing = Vec::with_capacity(OUTGOING_BATCH);
    loop {
        let takes_more = out.events.is_empty() && events.is_some();
        let timer = sleep_until(exchange.next_timeout(), clock.instant());
        tokio::select! {
            // Events that the app has no room for are kept, and nothing new is taken meanwhile:
            // waiting for the app here, while it waits for us, would stop both for ever.
            permit = reserve(events.as_ref()), if !out.events.is_empty() => match permit {
                Some(permit) => permit.send(std::mem::take(&mut out.events)),
                None => out.events.clear(),
            },
            batch = arrivals.recv(), if takes_more => {
                let Some(batch) = batch else {
                    return;
                };
                let busy = events.as_ref().is_none_or(|events| events.capacity() == 0);
                let now = clock.instant();
                for arrival in batch {
                    exchange.receive(now, arrival, busy, &mut out);
                }
            }
            taken = from_app.recv_many(&mut outgoing, OUTGOING_BATCH) => {
                if taken == 0 {
                    return;
                }
                let now = clock.instant();
                for message in outgoing.drain(..) {
                    exchange.send(now, message, &mut out);
                }
            }
            () = timer => {}
            () = intake.cancelled(), if takes_more => {}
        }
        if takes_more && intake.is_cancelled() && out.events.is_empty() {
            events = None;
        }
        exchange.tick(clock.instant(), &mut out);
        figures.write(exchange.counters(), exchange.peers());
        let (datagrams, downwards) = sort(&mut out);
        // A closed channel: the server is stopping, or has no such socket.
        if !datagrams.is_empty() {
            drop(plain.send(datagrams).await);
        }
        if !downwards.is_empty() {
            drop(secured.send(downwards).await);
        }
        if !out.events.is_empty()
            && let Some(Ok(permit)) = events.as_ref().map(mpsc::Sender::try_reserve)
        {
            permit.send(std::mem::take(&mut out.events));
        }
    }
}

/// What leaves by the unsecured socket, and what goes down to the sessions: proofs first, so that
/// what follows them is not held back.
fn sort(out: &mut Outputs) -> (Vec<Datagram>, Vec<Downward>) {
    let proven = out.proven.drain(..);
    let mut downwards: Vec<Downward> = proven
        .map(|(device, address)| Downward::Proven(device, address))
        .collect();
    let mut datagrams = Vec::with_capacity(out.datagrams.len());
    for (peer, bytes) in out.datagrams.drain(..) {
        match peer {
            Peer::Plain(address) => datagrams.push((address, bytes)),
            Peer::Secured(device) => downwards.push(Downward::Send(device, bytes)),
        }
    }
    (datagrams, downwards)
}

/// Room for one batch; `None` when the app is gone.
async fn reserve(
    events: Option<&mpsc::Sender<Vec<Event>>>,
) -> Option<mpsc::Permit<'_, Vec<Event>>> {
    events?.reserve().await.ok()
}

pub(super) async fn sleep_until(deadline: Option<Instant>, now: Instant) {
    match deadline {
        // At least a millisecond, the wheel's tick.
        Some(at) => {
            let wait = at
                .saturating_duration_since(now)
                .max(Duration::from_millis(1));
            tokio::time::sleep(wait).await;
        }
        None => std::future::pending().await,
    }
}
