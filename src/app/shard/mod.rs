//! The event loop of one shard: the devices that hash to it live here and nowhere else.
//!
//! One input of a device at a time: load, step, commit, act. While a commit is under way, further
//! input of *that* device waits in its line and other devices go on. When the commit fails, the
//! stepped state is thrown away: a request gets 5.03, a notification stays unacknowledged and is
//! repeated by the device. When a step needs an answer of a codec that runs elsewhere, it is thrown away
//! as well, and taken anew when the answer is there (`calling.rs`).

mod calling;
mod committing;
mod limiting;
mod loading;
mod refuse;
mod timing;

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hashbrown::{HashMap, HashSet};
use tokio::sync::mpsc;

use self::calling::{Attempt, Calls};
use self::committing::{Committing, Pending};
use crate::app::codec_runner::CodecRunner;
use crate::app::command;
use crate::app::command::reply::{self, TokenAnswer};
use crate::app::deadlines::{Deadlines, LOOK_AT_MOST_EVERY};
use crate::app::device::Devices;
use crate::app::directory::Directory;
use crate::app::figures::Figures;
use crate::app::order::{Order, OrderError};
use crate::app::outbox::Outbox;
use crate::app::product::Products;
use crate::app::registration;
use crate::app::shards::Addressed;
use crate::app::step::{Input, Live, Loaded, Outcome, Step, Via, refusal};
use crate::app::tasks::Tasks;
use crate::app::trace::Tracer;
use crate::app::upgrade::Upgrades;
use crate::app::{due, replay, shadow, upgrade, uplink};
use crate::base::ids::DeviceId;
use crate::base::time::{Clock, Timestamp};
use crate::engine::admission::coverage::Table;
use crate::engine::exchange::Outgoing;
use crate::engine::limit::{self, Limit, Meter};
use crate::store::{CommitError, Store};
use crate::wire::coap::{Code, Token};

/// Inputs that wait for one device; more are refused as overload.
const LINE_MAX: usize = 64;
/// Commits of one shard under way; beyond it the shard takes no input.
const COMMITS_MAX: usize = 2048;
/// Inputs taken in one go.
const BATCH: usize = 256;
/// Tries of a step whose commit meets a conflict.
const TRIES: u8 = 5;
/// What a timer or a change by the API asked for could not be made durable: looked at again then.
const AGAIN_AFTER_S: u64 = 30;
/// Devices whose commit is in doubt are looked at again then: while they still listen.
const DOUBT_AFTER_S: u64 = 2;
/// Tokens of one device that are in doubt, as many as may be open and to spare.
const DOUBTFUL_MAX: usize = 64;
/// Devices remembered for a notification that was not acknowledged.
const UNHEARD_MAX: usize = 100_000;
/// Max-Age of a 5.03: when the device may try again.
const RETRY_AFTER_S: u64 = 60;

/// What a shard works with.
#[derive(Clone)]
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub products: Arc<Products>,
    pub directory: Arc<Directory>,
    pub tracer: Arc<Tracer>,
    pub outbox: Arc<Outbox>,
    pub devices: Arc<Devices>,
    pub tasks: Tasks,
    pub net: mpsc::Sender<Outgoing>,
    pub codecs: Arc<dyn CodecRunner>,
    pub figures: Arc<Figures>,
    pub upgrades: Arc<Upgrades>,
    /// Which radio is which level of coverage.
    pub levels: Table,
    /// Commands that may wait for one device.
    pub pending_max: usize,
    /// Messages of one device.
    pub limits: limit::Settings,
}

/// One shard. See the module's description.
pub struct Shard {
    parts: Parts,
    /// Devices with a commit or a call under way, and what waits behind it.
    lines: HashMap<DeviceId, VecDeque<Input>>,
    commits: FuturesUnordered<Committing>,
    calls: Calls,
    started_at: Timestamp,
    /// Devices with a notification that was not acknowledged, for want of the store. One that
    /// gives up on it ends the observation (RFC 7641 §4.5), so it is asked to observe again.
    unheard: HashSet<DeviceId>,
    /// Devices with tokens of what may be under way without anybody who carries it: a commit failed, but
    /// may be there all the same, or what the device said to it is lost.
    doubtful: HashMap<DeviceId, Vec<u64>>,
    deadlines: Deadlines,
    /// States that are ahead of the stored ones: of devices that fetch fragments.
    live: HashMap<DeviceId, Box<Live>>,
    meter: Meter,
    /// Limits that were passed and are not told of yet.
    alarms: Vec<(DeviceId, Limit)>,
}

impl Shard {
    pub fn new(parts: Parts) -> Self {
        let started_at = parts.clock.now();
        let deadlines = Deadlines::new(parts.clock.clone(), Arc::clone(&parts.directory));
        let meter = Meter::new(parts.limits);
        Self {
            parts,
            lines: HashMap::new(),
            commits: FuturesUnordered::new(),
            calls: Calls::default(),
            started_at,
            unheard: HashSet::new(),
            doubtful: HashMap::new(),
            deadlines,
            live: HashMap::new(),
            meter,
            alarms: Vec::new(),
        }
    }

    /// Runs until `inputs` is closed and every call and commit has ended.
    pub async fn run(mut self, mut inputs: mpsc::Receiver<Addressed>) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut open = true;
        let mut look_at = self.parts.clock.instant();
        while open || !self.commits.is_empty() || !self.calls.is_empty() {
            let takes_more = open && self.commits.len() < COMMITS_MAX;
            let timer = self.next_timer();
            tokio::select! {
                taken = inputs.recv_many(&mut batch, BATCH), if takes_more => {
                    open = taken > 0;
                    for Addressed { device_id, input } in batch.drain(..) {
                        self.take(device_id, input).await;
                    }
                }
                Some((pending, result)) = self.commits.next() => {
                    if let Some(pending) = pending {
                        self.committed(*pending, result).await;
                    }
                }
                Some(called) = self.calls.next() => self.called(called).await,
                () = timer, if open => {}
            }
            if !self.alarms.is_empty() {
                self.sound_alarms().await;
            }
            // Looked at here rather than on the timer, which a busy shard starts anew each time.
            let now = self.parts.clock.instant();
            if open && now >= look_at && self.deadlines.is_due() {
                self.tick().await;
                look_at = now + LOOK_AT_MOST_EVERY;
            }
        }
    }

    /// Hands an input to its device, or puts it in the device's line.
    async fn take(&mut self, device_id: DeviceId, input: Input) {
        let Some(line) = self.lines.get_mut(&device_id) else {
            self.begin(device_id, input, Attempt::default()).await;
            return;
        };
        if line.len() < LINE_MAX {
            line.push_back(input);
            return;
        }
        self.parts.figures.overloaded.increment(1);
        self.again(&device_id, &input);
        self.refuse_for_now(&input, OrderError::Busy).await;
    }

    /// Loads and steps; commits, or acts at once when nothing durable changes, or calls the codec.
    async fn begin(&mut self, device_id: DeviceId, input: Input, mut attempt: Attempt) {
        let now = attempt.time(&self.parts.clock);
        let mut loaded = match self.load(&device_id, &input, now) {
            Ok(Some(loaded)) => loaded,
            Ok(None) => {
                self.live.remove(&device_id);
                if let Some((peer, tokens)) = self.parts.directory.remove(&device_id) {
                    let tokens = tokens.iter().copied().map(Token::from_u64).collect();
                    self.send(Outgoing::Cancel { peer, tokens }).await;
                }
                if let Some(outgoing) = input.reply().and_then(|r| refusal(r, Code::FORBIDDEN)) {
                    self.send(outgoing).await;
                }
                input.refuse_order(OrderError::NotFound);
                return;
            }
            Err(error) => {
                self.unavailable(&device_id, &input, &error).await;
                return;
            }
        };
        loaded.origin = input.origin();
        loaded.memo = attempt.memo(&loaded);
        let refusal = loaded.origin.and_then(|o| loaded.refusal(o.peer));
        // Not who only says that it is the device.
        if refusal.is_none()
            && let Some(wait) = self.charge(&loaded, &input, &attempt)
        {
            return self.refuse_over(&device_id, &input, wait, now).await;
        }
        let mut step = if let Some(why) = refusal {
            registration::refuse(&loaded, &input, why, now)
        } else {
            if shows_itself(&input) && self.unheard.contains(&device_id) {
                loaded.doubt_observations();
            }
            self.step(&loaded, &input, now)
        };
        if let Some(asking) = attempt.asks(&mut loaded, now) {
            self.ask(device_id, input, attempt, asking).await;
            return;
        }
        let Some(commit) = step.commit.take() else {
            if let Some(live) = step.live.take() {
                self.live.insert(device_id.clone(), live);
            }
            self.trace(&device_id, &input, &step, now);
            let follow = step.follow;
            self.act(&device_id, &input, step, now).await;
            if follow {
                self.deadlines.arm(&device_id, Some(now));
            }
            return;
        };
        self.lines.entry(device_id.clone()).or_default();
        let completion = self.parts.store.commit(commit);
        let pending = Some(Box::new(Pending {
            device_id,
            input,
            step,
            attempt,
            at: now,
        }));
        self.commits.push(Committing {
            completion,
            pending,
        });
    }

    fn step(&self, loaded: &Loaded, input: &Input, now: Timestamp) -> Step {
        match input {
            Input::Report {
                from,
                payload,
                content_format,
                via,
            } => uplink::report(loaded, *from, payload, *content_format, *via, now),
            Input::Acknowledged { origin, token } => match upgrade::drive::owns(loaded, *token) {
                true => upgrade::pcp::acknowledged(loaded, *origin, *token, now),
                false => reply::acknowledged(loaded, *origin, *token, now),
            },
            Input::Answered {
                from,
                token,
                code,
                payload,
                content_format,
            } => {
                let answer = TokenAnswer {
                    token: *token,
                    code: *code,
                    payload,
                    content_format: *content_format,
                };
                match upgrade::drive::owns(loaded, *token) {
                    true => upgrade::drive::answered(loaded, *from, &answer, now),
                    false => reply::answered(loaded, *from, &answer, now),
                }
            }
            Input::RequestFailed { token, reason, .. } => {
                match upgrade::drive::owns(loaded, *token) {
                    true => upgrade::drive::failed(loaded, *token, *reason, now),
                    false => reply::failed(loaded, *token, *reason, now),
                }
            }
            Input::Resume { tokens } => reply::resume(loaded, tokens, now),
            Input::Order { order, .. } => match order {
                Order::Submit(submit) => command::submit::submit(loaded, submit, now),
                Order::Desire(desire) => shadow::desire(loaded, desire, now),
                Order::Replay(late) => replay::step(loaded, late, now),
                Order::Upgrade(order) => upgrade::drive::order(loaded, order, now),
            },
            Input::Over { limit } => limiting::tell(loaded, *limit, &self.parts.limits, now),
            Input::Due => due::due(loaded, now),
            Input::Changed => due::changed(loaded, now),
            Input::Register { .. }
            | Input::Update { .. }
            | Input::Deregister { .. }
            | Input::ObserveFailed { .. }
            | Input::Partial { .. }
            | Input::Strayed { .. }
            | Input::Repeated { .. } => {
                registration::step(loaded, input, now, &self.fresh()).unwrap_or_default()
            }
        }
    }

    /// A commit ended: its effects, then the next in line.
    async fn committed(&mut self, pending: Pending, result: Result<(), CommitError>) {
        let Pending {
            device_id,
            input,
            mut step,
            mut attempt,
            at,
        } = pending;
        let mut line = self.lines.remove(&device_id).unwrap_or_default();
        if result.is_err() {
            self.live.remove(&device_id);
        }
        match result {
            Ok(()) => {
                match step.live.take() {
                    Some(live) => drop(self.live.insert(device_id.clone(), live)),
                    None => drop(self.live.remove(&device_id)),
                }
                let now = self.parts.clock.now();
                self.parts.outbox.notify();
                if shows_itself(&input) {
                    self.unheard.remove(&device_id);
                }
                // As its entries and rows have it, not when it became durable.
                self.trace(&device_id, &input, &step, at);
                if step.follow {
                    line.push_front(Input::Due);
                }
                self.act(&device_id, &input, step, now).await;
            }
            // The API changed the device meanwhile: the step is taken anew on what holds now.
            Err(CommitError::Conflict(_)) if attempt.tries < TRIES => {
                attempt.tries += 1;
                self.begin(device_id.clone(), input, attempt).await;
            }
            // What it repeats is durable, and was or will be answered so: a refusal would make the
            // device send it anew.
            Err(error) if step.outcome == Outcome::Duplicate => {
                tracing::warn!(%device_id, %error, "a repetition is answered, not recorded");
                let now = self.parts.clock.now();
                let answer = Step::answer(step.effects, step.outcome);
                self.act(&device_id, &input, answer, now).await;
            }
            Err(CommitError::Conflict(guard)) => {
                // What was to be committed with an order may have changed for good.
                if !matches!(input, Input::Order { .. }) {
                    crate::bug!("{guard:?} failed {TRIES} times");
                }
                self.again(&device_id, &input);
                self.refuse_for_now(&input, OrderError::Overtaken).await;
            }
            Err(CommitError::Store(error)) => {
                self.doubt(&device_id, &step);
                self.unavailable(&device_id, &input, &error).await;
            }
        }
        self.resume(device_id, line).await;
    }

    /// Takes on what waited in line until one of it commits.
    async fn resume(&mut self, device_id: DeviceId, mut line: VecDeque<Input>) {
        loop {
            if let Some(begun) = self.lines.get_mut(&device_id) {
                begun.append(&mut line);
                return;
            }
            let Some(next) = line.pop_front() else {
                return;
            };
            self.begin(device_id.clone(), next, Attempt::default())
                .await;
        }
    }

    /// What follows a durable step.
    async fn act(&mut self, device_id: &DeviceId, input: &Input, step: Step, now: Timestamp) {
        let Step {
            told,
            placement,
            deadline,
            is_overdue,
            effects,
            outcome,
            news,
            counts,
            ..
        } = step;
        self.parts.figures.count(outcome);
        self.parts.figures.add(&counts);
        if is_overdue {
            let (devices, device_id) = (Arc::clone(&self.parts.devices), device_id.clone());
            let tracer = Arc::clone(&self.parts.tracer);
            self.parts.tasks.spawn("device not activated", async move {
                match devices.delete_overdue(device_id.clone()).await {
                    // Its trace is not for who gets the id next.
                    Ok(true) => tracer.stop(&device_id),
                    Ok(false) => {}
                    Err(error) => {
                        tracing::warn!(%device_id, %error, "not activated in time, but not deleted");
                    }
                }
            });
        }
        if let Some(placement) = &placement {
            self.parts.directory.put(device_id, placement);
        }
        // Should the deletion fail, it is tried again.
        let deadline = if is_overdue {
            Some(now.plus_s(AGAIN_AFTER_S))
        } else {
            deadline
        };
        self.deadlines
            .arm(device_id, deadline.map(|at| at.max(now)));
        for effect in effects {
            self.send(effect).await;
        }
        self.parts.upgrades.tell(news).await;
        if let (Input::Order { ticket, .. }, Some(told)) = (input, told) {
            ticket.answer(told);
        }
    }

    async fn send(&mut self, outgoing: Outgoing) {
        // Closed when the server stops: the device repeats what was not answered.
        drop(self.parts.net.send(outgoing).await);
    }
}

/// The device is awake, and would observe if it were asked to.
const fn shows_itself(input: &Input) -> bool {
    matches!(
        input,
        Input::Update { .. } | Input::Report { via: Via::Post, .. }
    )
}
