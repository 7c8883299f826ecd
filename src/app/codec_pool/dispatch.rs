//! Where each request waits, and what becomes of it when its worker answers, hangs or dies.
//!
//! Requests wait in *lanes*, one for each worker; a codec's lane follows from its tag. A codec whose call
//! takes longer than [`SLOW`] leaves its lane for a *ward*, together with the process that is busy with
//! it: the lane goes on with the spare process, which is kept warm, and with whatever else was sent
//! already, so nobody waits for the slow one. A ward belongs to one codec, one call at a time, until the codec is
//! quick again or silent. All wards taken: the lane waits for its slow call, up to the watchdog.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{counter, gauge};
use tokio::sync::Notify;

use super::process::{Death, Event, Item, Process, StartError};
use super::request::{Request, unavailable};
use super::strikes::{Quarantine, Strikes};
use super::{lane, ward};
use crate::app::tasks::Tasks;
use crate::base::time::Clock;
use crate::product::codec::CodecError;
use crate::product::codec::frames::{Done, Outcome};

/// A call that takes longer leaves its lane.
pub(super) const SLOW: Duration = Duration::from_millis(10);
/// One that has its codec loaded first: that takes a while once, for everyone.
pub(super) const SLOW_LOAD: Duration = Duration::from_millis(40);
/// One that has a component compiled that was checked before: the lane waits so long, or the codec would
/// be compiled again each time that it comes back from a ward. One that takes longer keeps its ward.
pub(super) const SLOW_COMPILE: Duration = Duration::from_secs(1);
/// A call that takes longer is ended, and its worker with it.
pub(super) const WATCHDOG: Duration = Duration::from_millis(250);
/// The same while a component is compiled: a large one takes a second or two, whoever wrote it.
const COMPILING: Duration = Duration::from_secs(10);
/// Time without a processor that is not counted, at most, as a multiple of what the work may take.
const STARVED_MAX: u32 = 3;
/// Workers that somebody outside may end while they do one call: then it is given up.
const DEATHS_MAX: u8 = 5;
/// Codecs that have a process of their own at the same time.
const WARDS_MAX: usize = 8;

/// What waits, where, and for whom.
#[derive(Debug)]
struct State {
    lanes: Vec<Lane>,
    /// By the codec's tag.
    wards: HashMap<Arc<str>, Ward>,
    strikes: Strikes,
    spare: Option<Process>,
    is_warming: bool,
    is_closed: bool,
}

#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<Request>,
    wake: Arc<Notify>,
    runs: bool,
}

#[derive(Debug, Default)]
struct Ward {
    queue: VecDeque<Request>,
    wake: Arc<Notify>,
}

/// Shared by the callers and the tasks that drive workers.
pub(super) struct Dispatch {
    pub(super) tasks: Tasks,
    clock: Clock,
    program: PathBuf,
    /// What may wait for one ward: a slow codec must not take the places of all.
    ward_max: usize,
    state: Mutex<State>,
}

impl Dispatch {
    pub(super) fn new(
        settings: super::Settings,
        clock: Clock,
        tasks: Tasks,
        program: PathBuf,
    ) -> Self {
        let lanes = (0..settings.workers.max(1)).map(|_| Lane::default());
        let state = State {
            lanes: lanes.collect(),
            wards: HashMap::new(),
            strikes: Strikes::new(settings.strikes, settings.strike_window_s),
            spare: None,
            is_warming: false,
            is_closed: false,
        };
        Self {
            tasks,
            clock,
            program,
            ward_max: settings.waiting_max / 4 + 1,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a request wait where its codec runs, or says at once that it can't be.
    pub(super) fn submit(self: &Arc<Self>, request: Request) {
        let mut state = self.state();
        if state.is_closed {
            drop(state);
            return request.answer(unavailable("the server stops"));
        }
        let tag = &request.codec.tag;
        if let (Some(held), Some(_)) = (state.strikes.quarantined(tag), &request.call) {
            let error = held.refusal();
            drop(state);
            return request.answer(error);
        }
        if let Some(ward) = state.wards.get_mut(tag) {
            if ward.queue.len() >= self.ward_max {
                drop(state);
                return request.answer(unavailable("too much waits for this slow codec"));
            }
            ward.queue.push_back(request);
            ward.wake.notify_one();
            return;
        }
        let index = state.lane_of(tag);
        let Some(lane) = state.lanes.get_mut(index) else {
            return;
        };
        lane.queue.push_back(request);
        lane.wake.notify_one();
        if !std::mem::replace(&mut lane.runs, true) {
            let wake = Arc::clone(&lane.wake);
            drop(state);
            let work = lane::run(Arc::clone(self), index, wake);
            self.tasks.spawn("codec lane", work);
        }
    }

    /// The next requests of a lane, up to `most`.
    pub(super) fn take(&self, index: usize, most: usize) -> Vec<Request> {
        let mut state = self.state();
        let State { lanes, strikes, .. } = &mut *state;
        let mut taken = Vec::new();
        let Some(lane) = lanes.get_mut(index) else {
            return taken;
        };
        while taken.len() < most {
            let Some(request) = lane.queue.pop_front() else {
                break;
            };
            taken.extend(still_due(request, strikes));
        }
        taken
    }

    /// The next request of a ward.
    pub(super) fn take_slow(&self, tag: &str) -> Option<Request> {
        let mut state = self.state();
        let State { wards, strikes, .. } = &mut *state;
        let ward = wards.get_mut(tag)?;
        while let Some(request) = ward.queue.pop_front() {
            if let Some(request) = still_due(request, strikes) {
                return Some(request);
            }
        }
        None
    }

    /// Puts requests back to where they came from, before all others, in their order.
    pub(super) fn put_back(&self, requests: Vec<Request>) {
        let mut state = self.state();
        for request in requests.into_iter().rev() {
            state.put_first(request);
        }
    }

    /// Makes room for a codec that holds up its lane. `None`: there is none.
    pub(super) fn open_ward(&self, tag: &Arc<str>) -> Option<Arc<Notify>> {
        let mut state = self.state();
        if state.wards.len() >= WARDS_MAX || state.wards.contains_key(tag) {
            return None;
        }
        let index = state.lane_of(tag);
        let mut ward = Ward::default();
        if let Some(lane) = state.lanes.get_mut(index) {
            let queue = std::mem::take(&mut lane.queue).into_iter();
            let (its, others): (VecDeque<_>, VecDeque<_>) =
                queue.partition(|request| request.codec.tag == *tag);
            ward.queue = its;
            lane.queue = others;
        }
        let wake = Arc::clone(&ward.wake);
        state.wards.insert(Arc::clone(tag), ward);
        Some(wake)
    }

    /// Sends a codec back to its lane. With `only_empty`: `false` when it has work still.
    pub(super) fn close_ward(self: &Arc<Self>, tag: &str, only_empty: bool) -> bool {
        let mut state = self.state();
        let waits = state.wards.get(tag).is_some_and(|w| !w.queue.is_empty());
        if waits && only_empty {
            return false;
        }
        if let Some(ward) = state.wards.remove(tag) {
            for request in ward.queue.into_iter().rev() {
                state.put_first(request);
            }
        }
        true
    }

    /// No more requests are taken.
    pub(super) fn close(&self) {
        let spare = {
            let mut state = self.state();
            state.is_closed = true;
            state.spare.take()
        };
        drop(spare);
    }

    /// A worker without work: the spare one, or a new one.
    pub(super) async fn worker(self: &Arc<Self>) -> Result<Process, StartError> {
        let spare = self.state().spare.take();
        let spare = spare.and_then(|mut spare| spare.is_alive().then_some(spare));
        let worker = match spare {
            Some(worker) => worker,
            None => Process::start(&self.program).await?,
        };
        self.warm();
        Ok(worker)
    }

    /// Starts a spare process unless there is one.
    fn warm(self: &Arc<Self>) {
        {
            let mut state = self.state();
            if state.is_closed || state.is_warming || state.spare.is_some() {
                return;
            }
            state.is_warming = true;
        }
        let dispatch = Arc::clone(self);
        self.tasks.spawn("codec spare", async move {
            let started = Process::start(&dispatch.program).await;
            if let Err(error) = &started {
                tracing::warn!(%error, "no spare codec worker");
            }
            dispatch.state().is_warming = false;
            if let Ok(process) = started {
                dispatch.retire(process);
            }
        });
    }

    /// Keeps a process that has no work as the spare one, or ends it.
    pub(super) fn retire(&self, mut process: Process) {
        if process.is_busy() || !process.is_alive() {
            return;
        }
        let mut state = self.state();
        if !state.is_closed && state.spare.is_none() {
            state.spare = Some(process);
            return;
        }
        // Ended without holding up the others.
        drop(state);
        drop(process);
    }

    /// Hands an answer on. A limit is a strike.
    pub(super) fn settle(&self, item: Item, done: Done) {
        let Some(request) = item.request else {
            return;
        };
        if let (Outcome::Reply(Err(CodecError::Limit { what })), Some(_)) =
            (&done.outcome, &request.call)
        {
            self.strike(&request.codec.tag, what);
        }
        request.answer(done);
    }

    /// Ends a process whose first piece of work takes too long; the others are done elsewhere.
    pub(super) fn overrun(&self, mut process: Process) {
        counter!("strait_codec_worker_restarts_total", "reason" => "watchdog").increment(1);
        let patience = patience(&process);
        let offender = process.take_first();
        let others = process.take_requests();
        drop(process);
        if let Some(offender) = offender {
            let limit = format!("it ran for over {} ms and was ended", patience.as_millis());
            self.blame(offender, limit);
        }
        self.put_back(others);
    }

    /// A process died. What it did first did it, unless somebody outside ended it: then that is tried
    /// again, and nobody is struck.
    pub(super) fn bury(&self, mut process: Process, death: &Death) {
        counter!("strait_codec_worker_restarts_total", "reason" => "died").increment(1);
        let first = process.take_first();
        let mut others = process.take_requests();
        drop(process);
        match first {
            Some(offender) if death.by_itself => {
                self.blame(offender, format!("its worker died: {}", death.how));
            }
            Some(first) if first.deaths >= DEATHS_MAX => {
                let reason = format!("{DEATHS_MAX} workers that did it were ended from outside");
                first.answer(unavailable(reason));
            }
            Some(mut first) => {
                tracing::warn!(how = death.how, "a codec worker was ended from outside");
                first.deaths += 1;
                others.insert(0, first);
            }
            None => {}
        }
        self.put_back(others);
    }

    /// Tells a request that it hit a limit; a call is struck for it, a mere check is not.
    fn blame(&self, request: Request, what: String) {
        if request.call.is_some() {
            self.strike(&request.codec.tag, &what);
        }
        request.answer(CodecError::Limit { what });
    }

    /// Counts a limit that a codec hit.
    pub(super) fn strike(&self, tag: &Arc<str>, what: &str) {
        counter!("strait_codec_strikes_total").increment(1);
        let now = self.clock.now();
        let (is_new, count) = {
            let mut state = self.state();
            let is_new = state.strikes.strike(tag, now, what);
            (is_new, state.strikes.count())
        };
        tracing::info!(codec = &**tag, what, "a codec hit a limit");
        if is_new {
            tracing::warn!(codec = &**tag, what, "a codec is quarantined");
            show_quarantined(count);
        }
    }

    /// Why a codec must not run.
    pub(super) fn quarantined(&self, tag: &str) -> Option<Quarantine> {
        self.state().strikes.quarantined(tag).cloned()
    }

    pub(super) fn release(&self, tag: &str) {
        let count = {
            let mut state = self.state();
            state.strikes.release(tag);
            state.strikes.count()
        };
        show_quarantined(count);
    }

    /// Moves a codec and the process that is busy with it out of their lane. Gives the process back when
    /// there is no room.
    pub(super) fn move_out(self: &Arc<Self>, mut process: Process) -> Option<Process> {
        let Some(tag) = process.first().map(|item| Arc::clone(&item.tag)) else {
            return Some(process);
        };
        let Some(wake) = self.open_ward(&tag) else {
            return Some(process);
        };
        let (others, is_whole) = process.take_others();
        self.put_back(others);
        let work = ward::run(Arc::clone(self), tag, wake, process, is_whole);
        self.tasks.spawn("codec ward", work);
        None
    }
}

impl State {
    fn lane_of(&self, tag: &str) -> usize {
        // A tag is a digest in hex: any part of it is spread evenly.
        let start = tag.get(..8).unwrap_or_default();
        let number = u32::from_str_radix(start, 16).unwrap_or_default();
        usize::try_from(number).unwrap_or_default() % self.lanes.len().max(1)
    }

    fn put_first(&mut self, request: Request) {
        if let Some(ward) = self.wards.get_mut(&request.codec.tag) {
            ward.queue.push_front(request);
            ward.wake.notify_one();
            return;
        }
        let index = self.lane_of(&request.codec.tag);
        if let Some(lane) = self.lanes.get_mut(index) {
            lane.queue.push_front(request);
            lane.wake.notify_one();
        }
    }
}

/// A request that somebody waits for and whose codec may run; another one is answered.
fn still_due(request: Request, strikes: &Strikes) -> Option<Request> {
    if request.reply.is_closed() {
        return None;
    }
    match (strikes.quarantined(&request.codec.tag), &request.call) {
        (Some(held), Some(_)) => {
            let error = held.refusal();
            request.answer(error);
            None
        }
        _ => Some(request),
    }
}

fn show_quarantined(count: usize) {
    gauge!("strait_codec_quarantined").set(u32::try_from(count).unwrap_or(u32::MAX));
}

/// What the first unanswered piece of work may take.
fn patience(process: &Process) -> Duration {
    match process.compiles() {
        true => COMPILING,
        false => WATCHDOG,
    }
}

/// Waits for the first unanswered piece of work, to the end of the watchdog's patience. What the process
/// waited for a processor meanwhile is not the codec's time, as far as the kernel tells of it.
pub(super) async fn watch(process: &mut Process) -> Event {
    let before = process.starved();
    let patience = patience(process);
    match process.next(patience).await {
        Event::Late => {
            let waited = process.starved().zip(before);
            let waited = waited.map_or(Duration::ZERO, |(now, then)| now.saturating_sub(then));
            let most = patience.saturating_add(waited.min(patience * STARVED_MAX));
            process.next(most).await
        }
        event => event,
    }
}
