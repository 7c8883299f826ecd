//! Drives the DTLS engine between its socket and the endpoint: datagrams on one side, messages of
//! devices on the other, and what must become durable through [`Durable`], which the app implements.
//!
//! One task owns all sessions. It never waits for the endpoint: while that has no room for messages, they are kept
//! and no datagram is taken, so that the next ones wait in the kernel's buffer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, FuturesUnordered};
use hashbrown::HashMap;
use tokio::sync::mpsc;

use super::endpoint::sleep_until;
use super::{Arrival, Datagram, Downward};
use crate::base::peer::{DeviceSeq, Peer};
use crate::base::time::Clock;
pub use crate::engine::dtls::{
    Counters, Dtls, Ended, HandshakeId, Known, Lookup, NUMBER_MAX, Outputs, Random, Report,
    Settings, Stored, Unavailable, Unknown, Unstored, Want,
};

/// What sessions need of the app: keys, and a durable place.
pub trait Durable: Send + Sync + 'static {
    /// The device that a PSK identity names, and its key. Answers at once.
    fn device(&self, identity: &[u8]) -> Result<Known, Unknown>;
    /// The stored session of a device. Answers at once.
    fn session(&self, device: DeviceSeq) -> Result<Option<Stored>, Unavailable>;
    /// Stores the session of a device, if the device still has the key that was looked up and may
    /// connect; it replaces the device's former one.
    fn establish(&self, session: &Stored, known: Known)
    -> BoxFuture<'static, Result<(), Unstored>>;
    /// Stores the session's counters unless the device has another session; whether it did.
    fn reserve(&self, session: &Stored) -> BoxFuture<'static, bool>;
    /// Deletes the session unless the device has another one.
    fn forget(&self, device: DeviceSeq, number: u64) -> BoxFuture<'static, ()>;
    /// So many session numbers that were never given; fewer when the store can't.
    fn numbers(&self, count: usize) -> BoxFuture<'static, Vec<u64>>;
    /// A handshake or session ended so.
    fn report(&self, report: &Report);
}

/// Session numbers asked for at a time.
const NUMBERS: usize = 1024;

/// Commits under way for sessions that end at the start; all at once, the store would refuse them.
const FORGOTTEN_AT_A_TIME: usize = 64;

/// When numbers are asked for again after the store gave none.
const NUMBERS_AGAIN: Duration = Duration::from_secs(1);

/// The channels of the task.
#[derive(Debug)]
pub struct Channels {
    /// From the socket.
    pub datagrams: mpsc::Receiver<Vec<Arrival>>,
    /// To the socket.
    pub datagrams_out: mpsc::Sender<Vec<Datagram>>,
    /// To the endpoint.
    pub arrivals: mpsc::Sender<Vec<Arrival>>,
    /// From the endpoint and the app.
    pub downward: mpsc::Receiver<Vec<Downward>>,
}

/// Figures of the running task, for the metrics page.
#[derive(Debug, Clone, Default)]
pub struct Figures(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    read: Mutex<Numbers>,
}

/// What [`Figures::read`] gives.
#[derive(Debug, Clone, Default)]
pub struct Numbers {
    pub counters: Counters,
    pub handshakes_open: usize,
    pub sessions: usize,
    pub sessions_in_memory: usize,
    /// Ended handshakes and sessions, by [`Ended::kind`].
    pub ended: HashMap<&'static str, u64>,
}

impl Figures {
    pub fn read(&self) -> Numbers {
        let numbers = self.0.read.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.clone()
    }
}

/// Bytes from the operating system.
pub struct OsRandom;

impl Random for OsRandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        if let Err(error) = getrandom::fill(bytes) {
            // Going on with predictable bytes would give keys away.
            crate::bug!("no randomness: {error}");
            std::process::abort();
        }
    }
}

/// A commit of the sessions that has ended.
enum Committed {
    Established(HandshakeId, Box<Stored>, Result<(), Unstored>),
    Reserved(Box<Stored>, bool),
    Forgotten,
    Numbers(Vec<u64>),
}

/// One task's state.
struct Driver {
    dtls: Dtls,
    durable: Arc<dyn Durable>,
    clock: Clock,
    commits: FuturesUnordered<BoxFuture<'static, Committed>>,
    out: Outputs,
    asked_for_numbers: bool,
    figures: Figures,
    ended: HashMap<&'static str, u64>,
}

/// Runs until `downward` is closed: until then what the app still sends goes out. `stored`: the
/// sessions of before, the newest first.
pub async fn run(
    settings: Settings,
    clock: Clock,
    random: Box<dyn Random>,
    durable: Arc<dyn Durable>,
    stored: Vec<Stored>,
    channels: Channels,
    figures: Figures,
) {
    let Channels {
        mut datagrams,
        datagrams_out,
        arrivals,
        mut downward,
    } = channels;
    let mut dtls = Dtls::new(settings, clock.instant(), random);
    let homeless: Vec<&Stored> = stored.iter().filter(|s| !dtls.restore(s)).collect();
    if !homeless.is_empty() {
        let sessions = homeless.len();
        tracing::warn!(
            sessions,
            "stored sessions end: dtls.sessions_max, or their address is taken"
        );
    }
    let ended: Vec<_> = homeless
        .into_iter()
        .map(|session| (session.device, session.number))
        .collect();
    drop(stored);
    let mut driver = Driver {
        dtls,
        durable,
        clock,
        commits: FuturesUnordered::new(),
        out: Outputs::default(),
        asked_for_numbers: false,
        figures,
        ended: HashMap::new(),
    };
    if !ended.is_empty() {
        let durable = Arc::clone(&driver.durable);
        driver.commits.push(Box::pin(async move {
            let forget = |(device, number)| durable.forget(device, number);
            stream::iter(ended)
                .for_each_concurrent(FORGOTTEN_AT_A_TIME, forget)
                .await;
            Committed::Forgotten
        }));
    }
    let mut listens = true;
    loop {
        driver.ask_for_numbers();
        let timer = sleep_until(driver.dtls.next_timeout(), driver.clock.instant());
        let takes_more = listens && driver.out.received.is_empty();
        tokio::select! {
            // Messages that the endpoint has no room for are kept, and nothing new is taken meanwhile.
            room = arrivals.reserve(), if !driver.out.received.is_empty() => match room {
                Ok(room) => room.send(driver.received()),
                Err(_) => driver.out.received.clear(),
            },
            batch = datagrams.recv(), if takes_more => match batch {
                Some(batch) => driver.take(&batch),
                None => listens = false,
            },
            batch = downward.recv() => match batch {
                Some(batch) => driver.send(batch),
                None => return,
            },
            Some(committed) = driver.commits.next() => driver.committed(committed),
            () = timer => {}
        }
        driver.tick();
        if !driver.out.datagrams.is_empty() {
            // A closed socket: the server is stopping.
            drop(
                datagrams_out
                    .send(std::mem::take(&mut driver.out.datagrams))
                    .await,
            );
        }
        driver.hand_up(&arrivals);
    }
}

impl Driver {
    fn take(&mut self, batch: &[Arrival]) {
        let now = self.clock.instant();
        let mut lookup = Through(self.durable.as_ref());
        for arrival in batch {
            if let Peer::Plain(address) = arrival.peer {
                let bytes = &arrival.bytes;
                self.dtls
                    .receive(now, address, bytes, &mut lookup, &mut self.out);
            }
        }
        self.see_to();
    }

    fn send(&mut self, batch: Vec<Downward>) {
        let mut lookup = Through(self.durable.as_ref());
        for message in batch {
            match message {
                Downward::Send(device, bytes) => {
                    self.dtls.send(device, bytes, &mut lookup, &mut self.out);
                }
                Downward::Proven(device, address) => self.dtls.prove(device, address),
                Downward::End(device) => self.dtls.end(device, &mut self.out),
            }
        }
        self.see_to();
    }

    fn committed(&mut self, committed: Committed) {
        match committed {
            Committed::Established(handshake, stored, result) => {
                self.dtls
                    .established(handshake, &stored, result, &mut self.out);
            }
            Committed::Reserved(stored, is_durable) => {
                self.dtls.reserved(&stored, is_durable, &mut self.out);
            }
            Committed::Forgotten => {}
            Committed::Numbers(numbers) => {
                self.asked_for_numbers = false;
                let fitting = numbers.into_iter().filter(|number| *number <= NUMBER_MAX);
                self.dtls.add_numbers(fitting);
            }
        }
        self.see_to();
    }

    fn tick(&mut self) {
        self.dtls.tick(self.clock.instant(), &mut self.out);
        self.see_to();
    }

    /// Begins the commits that the engine wants, and tells what ended.
    fn see_to(&mut self) {
        for want in std::mem::take(&mut self.out.wants) {
            let commit: BoxFuture<'static, Committed> = match want {
                Want::Establish {
                    handshake,
                    session,
                    known,
                } => {
                    let done = self.durable.establish(&session, known);
                    Box::pin(async move { Committed::Established(handshake, session, done.await) })
                }
                Want::Reserve(session) => {
                    let done = self.durable.reserve(&session);
                    Box::pin(async move { Committed::Reserved(session, done.await) })
                }
                Want::Forget { device, number } => {
                    let done = self.durable.forget(device, number);
                    Box::pin(async move {
                        done.await;
                        Committed::Forgotten
                    })
                }
            };
            self.commits.push(commit);
        }
        for report in self.out.reports.drain(..) {
            *self.ended.entry(report.what.kind()).or_default() += 1;
            self.durable.report(&report);
        }
    }

    fn ask_for_numbers(&mut self) {
        if self.asked_for_numbers || !self.dtls.needs_numbers() {
            return;
        }
        self.asked_for_numbers = true;
        let asked = self.durable.numbers(NUMBERS);
        self.commits.push(Box::pin(async move {
            let numbers = asked.await;
            if numbers.is_empty() {
                tokio::time::sleep(NUMBERS_AGAIN).await;
            }
            Committed::Numbers(numbers)
        }));
    }

    /// What is to go to the endpoint.
    fn received(&mut self) -> Vec<Arrival> {
        let received = self.out.received.drain(..);
        let arrivals = received.map(|received| Arrival {
            peer: Peer::Secured(received.device),
            bytes: received.payload,
            mark: Some(received.mark),
            route: received.route,
        });
        arrivals.collect()
    }

    /// Messages to the endpoint, and the figures of this round.
    fn hand_up(&mut self, arrivals: &mpsc::Sender<Vec<Arrival>>) {
        if !self.out.received.is_empty()
            && let Ok(room) = arrivals.try_reserve()
        {
            room.send(self.received());
        }
        let (handshakes_open, sessions, sessions_in_memory) = self.dtls.counts();
        let mut read = self
            .figures
            .0
            .read
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        read.counters = self.dtls.counters();
        read.handshakes_open = handshakes_open;
        read.sessions = sessions;
        read.sessions_in_memory = sessions_in_memory;
        for (kind, count) in &self.ended {
            read.ended.insert(kind, *count);
        }
    }
}

/// The engine's look-ups, through the app.
struct Through<'a>(&'a dyn Durable);

impl Lookup for Through<'_> {
    fn device(&mut self, identity: &[u8]) -> Result<Known, Unknown> {
        self.0.device(identity)
    }

    fn session(&mut self, device: DeviceSeq) -> Result<Option<Stored>, Unavailable> {
        self.0.session(device)
    }
}
