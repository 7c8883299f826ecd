//! The event loop of one shard: the devices that hash to it live here and nowhere else.
//!
//! One input of a device at a time: load, step, commit, act. While a commit is under way, further
//! input of *that* device waits in its line and other devices go on. When the commit fails, the
//! stepped state is thrown away: a request gets 5.03, a notification stays unacknowledged and is
//! repeated by the device.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hashbrown::{HashMap, HashSet};
use tokio::sync::mpsc;

use super::command;
use super::command::reply::{self, TokenAnswer};
use super::deadlines::{Deadlines, LOOK_AT_MOST_EVERY};
use super::device::Devices;
use super::directory::Directory;
use super::figures::Figures;
use super::order::{Order, OrderError};
use super::outbox::Outbox;
use super::product::Products;
use super::registration::{self, Fresh};
use super::shards::Addressed;
use super::step::{Input, Loaded, Outcome, Reply, Step, Via, refusal};
use super::tasks::Tasks;
use super::trace::{TraceEntry, Tracer};
use super::{due, shadow, uplink};
use crate::base::ids::DeviceId;
use crate::base::time::{Clock, Timestamp};
use crate::engine::exchange::{Outgoing, Response, Settle, Timing};
use crate::store::records::StateRecord;
use crate::store::{Commit, CommitError, Completion, Store, StoreError};
use crate::wire::coap::{Code, Token, option};

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
    pub figures: Arc<Figures>,
    /// Commands that may wait for one device.
    pub pending_max: usize,
}

/// One shard. See the module's description.
pub struct Shard {
    parts: Parts,
    /// Devices with a commit under way, and what waits behind it.
    lines: HashMap<DeviceId, VecDeque<Input>>,
    commits: FuturesUnordered<Committing>,
    started_at: Timestamp,
    /// Devices with a notification that was not acknowledged, for want of the store. One that
    /// gives up on it ends the observation (RFC 7641 §4.5), so it is asked to observe again.
    unheard: HashSet<DeviceId>,
    /// Devices with tokens of what may be under way without anybody who carries it: a commit failed, but
    /// may be there all the same, or what the device said to it is lost.
    doubtful: HashMap<DeviceId, Vec<u64>>,
    deadlines: Deadlines,
}

/// A commit under way, with what follows it.
struct Pending {
    device_id: DeviceId,
    input: Input,
    step: Step,
    tries: u8,
    /// When the step was taken.
    at: Timestamp,
}

/// Resolves with the commit.
struct Committing {
    completion: Completion,
    pending: Option<Box<Pending>>,
}

impl Future for Committing {
    type Output = (Option<Box<Pending>>, Result<(), CommitError>);

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        let result = std::task::ready!(std::pin::Pin::new(&mut self.completion).poll(context));
        std::task::Poll::Ready((self.pending.take(), result))
    }
}

impl Shard {
    pub fn new(parts: Parts) -> Self {
        let started_at = parts.clock.now();
        let deadlines = Deadlines::new(parts.clock.clone(), Arc::clone(&parts.directory));
        Self {
            parts,
            lines: HashMap::new(),
            commits: FuturesUnordered::new(),
            started_at,
            unheard: HashSet::new(),
            doubtful: HashMap::new(),
            deadlines,
        }
    }

    /// Takes up a device that the store knows, at start.
    pub fn adopt(
        &mut self,
        device_id: &DeviceId,
        deadline: Option<Timestamp>,
        state: &StateRecord,
    ) {
        let queue = &state.queue;
        let under_way = queue.open.iter().any(|o| o.delivered_at.is_none());
        // To one that always listens, what waits may have been about to go.
        let registration = state.registration.as_ref();
        let listens = registration.is_some_and(|r| !r.queue_mode);
        let deadline = match under_way || (listens && !queue.pending.is_empty()) {
            true => Some(self.started_at),
            false => deadline,
        };
        self.deadlines.arm(device_id, deadline);
    }

    /// Runs until `inputs` is closed and every commit has ended.
    pub async fn run(mut self, mut inputs: mpsc::Receiver<Addressed>) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut open = true;
        let mut look_at = self.parts.clock.instant();
        while open || !self.commits.is_empty() {
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
                () = timer, if open => {}
            }
            // Looked at here rather than on the timer, which a busy shard starts anew each time.
            let now = self.parts.clock.instant();
            if open && now >= look_at && self.deadlines.is_due() {
                self.tick().await;
                look_at = now + LOOK_AT_MOST_EVERY;
            }
        }
    }

    fn next_timer(&self) -> impl Future<Output = ()> + use<> {
        let wait = self.deadlines.wait();
        async move {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Hands an input to its device, or puts it in the device's line.
    async fn take(&mut self, device_id: DeviceId, input: Input) {
        let Some(line) = self.lines.get_mut(&device_id) else {
            self.begin(device_id, input, 0).await;
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

    /// Loads and steps; commits, or acts at once when nothing durable changes.
    async fn begin(&mut self, device_id: DeviceId, input: Input, tries: u8) {
        let now = self.parts.clock.now();
        let mut loaded = match self.load(&device_id, &input, now) {
            Ok(Some(loaded)) => loaded,
            Ok(None) => {
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
        let refusal = loaded.origin.and_then(|o| loaded.refusal(o.peer));
        let mut step = if let Some(why) = refusal {
            registration::refuse(&loaded, &input, why, now)
        } else {
            let shows_itself = matches!(
                &input,
                Input::Update { .. } | Input::Report { via: Via::Post, .. }
            );
            if shows_itself && self.unheard.remove(&device_id) {
                loaded.doubt_observations();
            }
            self.step(&loaded, &input, now)
        };
        let Some(commit) = step.commit.take() else {
            self.trace(&device_id, &input, &step, now);
            let follow = step.follow;
            self.act(&device_id, &input, step, now).await;
            if follow {
                self.deadlines.arm(&device_id, Some(now));
            }
            return;
        };
        self.lines.entry(device_id.clone()).or_default();
        let completion = self.commit(commit);
        let pending = Some(Box::new(Pending {
            device_id,
            input,
            step,
            tries,
            at: now,
        }));
        self.commits.push(Committing {
            completion,
            pending,
        });
    }

    fn commit(&self, commit: Commit) -> Completion {
        self.parts.store.commit(commit)
    }

    fn load(
        &self,
        device_id: &DeviceId,
        input: &Input,
        now: Timestamp,
    ) -> Result<Option<Loaded>, StoreError> {
        let Some(device) = self.parts.store.device(device_id)? else {
            return Ok(None);
        };
        // With its product, a device is gone from the moment when the deletion of that begins.
        let Some(product) = self.parts.products.runtime(&device.product_id) else {
            return Ok(None);
        };
        let mut state = self.parts.store.state(device_id)?.unwrap_or_default();
        if state.activated_at.is_none() && state.next_msg_id == 0 {
            // Message ids begin anywhere (RFC 7252 §4.4).
            let [low, high, ..] = os_random().to_be_bytes();
            state.next_msg_id = u16::from_be_bytes([low, high]);
        }
        let store = self.parts.store.as_ref();
        Ok(Some(Loaded {
            commands: command::load::rows(store, device.seq, &state.queue, input, now)?,
            submitted: command::load::submitted(store, device.seq, input)?,
            pending_max: self.parts.pending_max,
            device,
            state,
            product: Some(product),
            origin: None,
            is_traced: self.parts.tracer.is_on(device_id),
            started_at: self.started_at,
            random: os_random,
        }))
    }

    fn step(&self, loaded: &Loaded, input: &Input, now: Timestamp) -> Step {
        match input {
            Input::Report {
                from,
                payload,
                content_format,
                via,
            } => uplink::report(loaded, *from, payload, *content_format, *via, now),
            Input::Acknowledged { origin, token } => {
                reply::acknowledged(loaded, *origin, *token, now)
            }
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
                reply::answered(loaded, *from, &answer, now)
            }
            Input::RequestFailed { token, reason, .. } => {
                reply::failed(loaded, *token, *reason, now)
            }
            Input::Resume { tokens } => reply::resume(loaded, tokens, now),
            Input::Order { order, .. } => match order {
                Order::Submit(submit) => command::submit::submit(loaded, submit, now),
                Order::Desire(desire) => shadow::desire(loaded, desire, now),
            },
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

    /// Numbers from the operating system that no device uses.
    fn fresh(&self) -> Fresh {
        let directory = &self.parts.directory;
        let pick = |is_taken: &dyn Fn(u64) -> bool| loop {
            let number = os_random();
            if !is_taken(number) {
                return number;
            }
        };
        Fresh {
            location: pick(&|number| directory.is_location_taken(number)),
            token: pick(&|number| directory.is_token_taken(number)),
        }
    }

    /// A commit ended: its effects, then the next in line.
    async fn committed(&mut self, pending: Pending, result: Result<(), CommitError>) {
        let Pending {
            device_id,
            input,
            step,
            tries,
            at,
        } = pending;
        let mut line = self.lines.remove(&device_id).unwrap_or_default();
        match result {
            Ok(()) => {
                let now = self.parts.clock.now();
                self.parts.outbox.notify();
                // As its entries and rows have it, not when it became durable.
                self.trace(&device_id, &input, &step, at);
                if step.follow {
                    line.push_front(Input::Due);
                }
                self.act(&device_id, &input, step, now).await;
            }
            // The API changed the device meanwhile: the step is taken anew on what holds now.
            Err(CommitError::Conflict(_)) if tries < TRIES => {
                self.begin(device_id.clone(), input, tries + 1).await;
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
            self.begin(device_id.clone(), next, 0).await;
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
            ..
        } = step;
        self.parts.figures.count(outcome);
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
        if let (Input::Order { ticket, .. }, Some(told)) = (input, told) {
            ticket.answer(told);
        }
    }

    /// A commit failed, but may be there all the same: then what was to go down waits for somebody
    /// who carries it.
    fn doubt(&mut self, device_id: &DeviceId, step: &Step) {
        let sent = step.effects.iter().filter_map(|effect| match effect {
            Outgoing::Request(request) => request.token.to_u64(),
            Outgoing::Respond { .. } | Outgoing::Settle { .. } | Outgoing::Cancel { .. } => None,
        });
        let tokens: Vec<u64> = sent.collect();
        if !tokens.is_empty() || step.told.is_some() {
            self.look_again(device_id, &tokens, DOUBT_AFTER_S);
        }
    }

    /// Looks at the device then; these tokens are in doubt.
    fn look_again(&mut self, device_id: &DeviceId, tokens: &[u64], after_s: u64) {
        if !tokens.is_empty() {
            let doubtful = self.doubtful.entry(device_id.clone()).or_default();
            doubtful.retain(|token| !tokens.contains(token));
            doubtful.extend(tokens);
            let spare = doubtful.len().saturating_sub(DOUBTFUL_MAX);
            doubtful.drain(..spare);
        }
        let at = self.parts.clock.now().plus_s(after_s);
        self.deadlines.arm(device_id, Some(at));
    }

    /// Looks at devices whose timer fired: a batch, and as many as commits may be under way.
    async fn tick(&mut self) {
        self.deadlines.turn();
        for _ in 0..BATCH {
            if self.commits.len() >= COMMITS_MAX {
                return;
            }
            let Some(device_id) = self.deadlines.pop() else {
                return;
            };
            let input = match self.doubtful.remove(&device_id) {
                Some(tokens) => Input::Resume { tokens },
                None => Input::Due,
            };
            self.take(device_id, input).await;
        }
    }

    /// What nobody will ask for again is looked at again later.
    fn again(&mut self, device_id: &DeviceId, input: &Input) {
        match input {
            // What the device said of a command is not said again, unless it gets the message again.
            Input::Resume { tokens } => self.look_again(device_id, tokens, AGAIN_AFTER_S),
            Input::Acknowledged { token, .. }
            | Input::Answered { token, .. }
            | Input::RequestFailed { token, .. } => {
                self.look_again(device_id, &[*token], AGAIN_AFTER_S);
            }
            Input::Due | Input::Changed => self.look_again(device_id, &[], AGAIN_AFTER_S),
            Input::Register { .. }
            | Input::Update { .. }
            | Input::Deregister { .. }
            | Input::Report { .. }
            | Input::Partial { .. }
            | Input::ObserveFailed { .. }
            | Input::Order { .. }
            | Input::Strayed { .. }
            | Input::Repeated { .. } => {}
        }
    }

    async fn unavailable(&mut self, device_id: &DeviceId, input: &Input, error: &StoreError) {
        self.parts.figures.unavailable.increment(1);
        tracing::warn!(%device_id, %error, "not durable, so not acknowledged");
        self.again(device_id, input);
        let is_notification = matches!(input.reply(), Some(Reply::Notification(_)));
        if is_notification && self.unheard.len() < UNHEARD_MAX {
            self.unheard.insert(device_id.clone());
        }
        let error = OrderError::Store(error.clone());
        self.refuse_for_now(input, error).await;
    }

    /// 5.03 for a request; silence for a notification, which the device repeats; the error for who gave
    /// an order.
    async fn refuse_for_now(&self, input: &Input, error: OrderError) {
        input.refuse_order(error);
        let outgoing = match input.reply() {
            Some(Reply::Request(id)) => {
                let retry = option::Uint::new(RETRY_AFTER_S).as_bytes().to_vec();
                // Remembered: a repetition that is under way must not succeed, since the device
                // will send the same anew as another message.
                let response = Response {
                    options: vec![(option::MAX_AGE, retry)],
                    remember: Some(Timing::default().max_transmit_span()),
                    ..Response::refusal(Code::SERVICE_UNAVAILABLE)
                };
                Outgoing::Respond { id, response }
            }
            Some(Reply::Notification(id)) => Outgoing::Settle {
                id,
                how: Settle::Silent,
                timing: None,
            },
            Some(Reply::None) | None => return,
        };
        self.send(outgoing).await;
    }

    async fn send(&self, outgoing: Outgoing) {
        // Closed when the server stops: the device repeats what was not answered.
        drop(self.parts.net.send(outgoing).await);
    }

    fn trace(&self, device_id: &DeviceId, input: &Input, step: &Step, now: Timestamp) {
        if (step.note.is_none() && step.entries.is_empty()) || !self.parts.tracer.is_on(device_id) {
            return;
        }
        let Some(note) = &step.note else {
            self.trace_entries(device_id, step);
            return;
        };
        let entry = TraceEntry {
            time: now,
            kind: note.kind.unwrap_or_else(|| input.kind()),
            direction: input.direction(),
            summary: note.summary.clone(),
            hex: input.hex(),
            detail: note.detail.clone(),
            error: note.error.clone(),
            hint: note.hint.clone(),
        };
        self.parts.tracer.record(device_id, entry);
        self.trace_entries(device_id, step);
    }

    fn trace_entries(&self, device_id: &DeviceId, step: &Step) {
        for entry in &step.entries {
            self.parts.tracer.record(device_id, entry.clone());
        }
    }
}

/// A number from the operating system.
fn os_random() -> u64 {
    loop {
        match getrandom::u64() {
            Ok(number) => return number,
            // Only before the kernel has gathered any, early in a machine's boot.
            Err(e) => crate::bug!("no randomness from the operating system: {e}"),
        }
    }
}
