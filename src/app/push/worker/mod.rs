//! The worker of one action: follows the events while its rule is active, and is told to push what
//! was set aside again, or to forget it.
//!
//! ```text
//! events --read--> window --dispatch--> pushes under way --ended--> window, progress --> store
//!                  ledger (what the window has no room for)
//! ```
//!
//! One task, which waits for whatever comes first; it holds no lock and nothing waits for it. What
//! is durable is the progress: after a crash, what ended since its last write goes once more.

mod again;
mod delivery;
mod progress;
mod reading;
mod start;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot, watch};

use super::error::PushError;
use super::flow::Flows;
use super::host::Hosts;
use super::plan::Plan;
use super::status::{Backlog, Board, Figures};
use super::subscriber::Wiring;
use crate::app::outbox::Outbox;
use crate::app::tasks::Stop;
use crate::app::trace::Tracer;
use crate::base::time::Clock;
use crate::store::forwarding::{DeliveryRecord, SetAsideQuery};
use crate::store::{Change, Commit, CommitError, Store, StoreError};
use delivery::{Blocked, Delivery, Ended};
use progress::{OUTSTANDING_MAX, Progress};

/// How long pushes under way may take when the server stops.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// After a start that failed.
const START_AGAIN: Duration = Duration::from_secs(5);

/// Rows deleted in one commit.
const CLEAR_STEP: usize = 500;

/// What all workers share.
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub outbox: Arc<Outbox>,
    pub tracer: Arc<Tracer>,
    pub wiring: Wiring,
    pub hosts: Hosts,
    pub flows: Flows,
    pub figures: Figures,
    pub clock: Clock,
}

/// What a worker is told to do.
pub enum Order {
    /// Push what was set aside again: all, or that of these events. Answers how many pushes.
    Again(Option<Vec<u64>>, oneshot::Sender<Result<u64, PushError>>),
    /// Forget all that was set aside. Answers how many pushes that were.
    Clear(oneshot::Sender<Result<u64, PushError>>),
}

/// What a worker works with.
pub struct Channels {
    pub plan: watch::Receiver<Arc<Plan>>,
    pub orders: mpsc::Receiver<Order>,
    pub board: Arc<Board>,
    pub stop: Stop,
}

/// One action's.
pub struct Worker {
    parts: Arc<Parts>,
    plan: watch::Receiver<Arc<Plan>>,
    orders: mpsc::Receiver<Order>,
    board: Arc<Board>,
    stop: Stop,
    newest: watch::Receiver<u64>,
    progress: Progress,
    /// `None`: the rule is not active.
    delivery: Option<Delivery>,
    start_again_at: Option<Instant>,
    told: Backlog,
}

/// What woke a worker.
enum Happened {
    Stopped,
    Replanned {
        is_there: bool,
    },
    Told(Order),
    Ended(Box<Ended>),
    Written(Result<(), CommitError>),
    /// There may be something to do.
    Woken,
}

impl Worker {
    /// With what the store knows of the action, if anything.
    pub fn new(
        parts: Arc<Parts>,
        channels: Channels,
        record: Option<DeliveryRecord>,
    ) -> Result<Self, StoreError> {
        let action_seq = channels.plan.borrow().action.seq;
        let mut record = record.unwrap_or_default();
        record.set_aside = start::count_set_aside(parts.store.as_ref(), action_seq)?;
        Ok(Self {
            newest: parts.outbox.watch(),
            parts,
            plan: channels.plan,
            orders: channels.orders,
            board: channels.board,
            stop: channels.stop,
            progress: Progress::new(action_seq, record),
            delivery: None,
            start_again_at: None,
            told: Backlog::default(),
        })
    }

    /// Works until the server stops or the action is gone.
    pub async fn run(mut self) {
        self.replan();
        loop {
            let (more, blocked) = self.work();
            self.write_if_due();
            self.tell();
            match self.wait(more, blocked).await {
                Happened::Stopped => break,
                Happened::Replanned { is_there: false } => {
                    self.parts
                        .figures
                        .move_backlog(self.told, Backlog::default());
                    return;
                }
                Happened::Replanned { is_there: true } => self.replan(),
                Happened::Told(order) => self.obey(order).await,
                Happened::Ended(ended) => self.ended(*ended),
                Happened::Written(result) => self.settle(result),
                Happened::Woken => {}
            }
        }
        self.finish().await;
        self.parts
            .figures
            .move_backlog(self.told, Backlog::default());
    }

    /// Reads, pushes, drops. Whether there is more to do at once, and why not.
    fn work(&mut self) -> (bool, Blocked) {
        if self
            .start_again_at
            .is_some_and(|at| at <= self.parts.clock.instant())
        {
            self.replan();
        }
        let Some(delivery) = &mut self.delivery else {
            return (false, Blocked::No);
        };
        let more = delivery.read(&mut self.progress);
        let blocked = delivery.dispatch(&mut self.progress);
        let trimmed = delivery.trim(&mut self.progress);
        (more || trimmed, blocked)
    }

    async fn wait(&mut self, more: bool, blocked: Blocked) -> Happened {
        let delivery_alarm = self.delivery.as_ref().and_then(|d| d.alarm(blocked));
        let alarms = [delivery_alarm, self.progress.due_at(), self.start_again_at];
        let now = self.parts.clock.instant();
        let alarm = alarms.into_iter().flatten().min();
        let alarm = alarm.map(|at| at.saturating_duration_since(now));
        let sleep = async {
            match alarm {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        let is_active = self.delivery.is_some();
        let (mut in_flight, mut host_changes) = match &mut self.delivery {
            Some(d) => (Some(&mut d.in_flight), Some(&mut d.host_changes)),
            None => (None, None),
        };
        let ended = async {
            match in_flight.as_mut().filter(|pushes| !pushes.is_empty()) {
                Some(pushes) => pushes.next().await,
                None => std::future::pending().await,
            }
        };
        let host_changed = async {
            match host_changes
                .as_mut()
                .filter(|_| matches!(blocked, Blocked::Host(_)))
            {
                Some(changes) => drop(changes.changed().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.stop.requested() => Happened::Stopped,
            changed = self.plan.changed() => Happened::Replanned { is_there: changed.is_ok() },
            // Before what ends, of which there is always something under load.
            result = self.progress.written() => Happened::Written(result),
            Some(order) = self.orders.recv() => Happened::Told(order),
            Some(ended) = ended => Happened::Ended(Box::new(ended)),
            () = host_changed => Happened::Woken,
            () = sleep => Happened::Woken,
            Ok(()) = self.newest.changed(), if is_active => Happened::Woken,
            () = tokio::task::yield_now(), if more => Happened::Woken,
        }
    }

    /// Takes the plan as it is now.
    fn replan(&mut self) {
        self.start_again_at = None;
        let plan = Arc::clone(&self.plan.borrow_and_update());
        let action_id = plan.action.action_id.clone();
        let Some(rule) = plan.active_rule().cloned() else {
            self.halt();
            return;
        };
        let problem = match &mut self.delivery {
            Some(delivery) => delivery.follow(plan, rule).err().map(|e| e.to_string()),
            None => {
                let started = Delivery::start(&self.parts, plan, rule, &mut self.progress);
                match started {
                    Ok(delivery) => {
                        self.delivery = Some(delivery);
                        None
                    }
                    Err(error) => {
                        let now = self.parts.clock.instant();
                        self.start_again_at = now.checked_add(START_AGAIN);
                        Some(error.to_string())
                    }
                }
            }
        };
        if let Some(error) = problem {
            tracing::warn!(%action_id, error, "pushes can't go");
            self.board.told().last_error = Some(error);
        }
    }

    /// The rule is not active: what was not pushed will not be.
    fn halt(&mut self) {
        self.progress.forget_lanes();
        self.delivery = None;
        if self.progress.record.active {
            self.progress.record.active = false;
            self.progress.touch(&self.parts.clock);
        }
    }

    fn ended(&mut self, ended: Ended) {
        let Some(delivery) = &mut self.delivery else {
            return;
        };
        delivery.ended(ended, &mut self.progress);
        // Those that ended meanwhile.
        while let Some(Some(ended)) = delivery.in_flight.next().now_or_never() {
            delivery.ended(ended, &mut self.progress);
        }
    }

    fn write_if_due(&mut self) {
        let now = self.parts.clock.instant();
        if self.progress.due_at().is_some_and(|at| at <= now) {
            self.write();
        }
    }

    fn write(&mut self) {
        let record = &self.progress.record;
        let positions = match &self.delivery {
            Some(delivery) => {
                let but = self.progress.being_set_aside();
                let window = &delivery.window;
                window.progress(delivery.read_to, OUTSTANDING_MAX, &but)
            }
            // It could not begin yet: it has come as far as before.
            None if record.active => (record.position, record.outstanding.clone()),
            None => (0, Vec::new()),
        };
        self.progress.begin(&self.parts, positions);
    }

    fn settle(&mut self, result: Result<(), CommitError>) {
        let settled = self.progress.settle(result, &self.parts);
        let Some(delivery) = &mut self.delivery else {
            return;
        };
        for (lane, key) in settled.aside {
            if settled.is_durable {
                delivery.was_set_aside(lane, key);
            } else {
                delivery.was_not_set_aside(lane);
            }
        }
    }

    async fn obey(&mut self, order: Order) {
        // A caller that went away does not want to know.
        match order {
            Order::Again(positions, answer) => drop(answer.send(self.again(positions).await)),
            Order::Clear(answer) => drop(answer.send(self.clear().await)),
        }
    }

    async fn again(&mut self, positions: Option<Vec<u64>>) -> Result<u64, PushError> {
        // A push that was taken a moment ago has a row until that is written.
        self.settle_writing().await;
        if !self.progress.gone.is_empty() {
            self.write();
            self.settle_writing().await;
        }
        let action_id = self.plan.borrow().action.action_id.clone();
        if positions.is_none() && self.progress.record.set_aside == 0 {
            return Ok(0);
        }
        let Some(delivery) = &mut self.delivery else {
            return Err(PushError::Idle(action_id));
        };
        let Some(positions) = positions else {
            delivery.all_again()?;
            return Ok(self.progress.record.set_aside);
        };
        let mut positions = positions;
        positions.sort_unstable();
        positions.dedup();
        for position in &positions {
            if delivery.rows_of(*position)?.is_empty() {
                return Err(PushError::NotSetAside(*position));
            }
        }
        let mut found = 0;
        for position in positions {
            found += delivery.event_again(position)?;
        }
        Ok(found)
    }

    /// Deletes what is set aside, in steps.
    async fn clear(&mut self) -> Result<u64, PushError> {
        self.settle_writing().await;
        if let Some(delivery) = &mut self.delivery {
            delivery.forget_again();
        }
        let action_seq = self.plan.borrow().action.seq;
        let cleared = delete_set_aside(self.parts.store.as_ref(), action_seq).await;
        self.progress.gone.clear();
        let left = start::count_set_aside(self.parts.store.as_ref(), action_seq)?;
        self.progress.record.set_aside = left;
        self.progress.touch(&self.parts.clock);
        Ok(cleared?)
    }

    /// Lets pushes under way end, and writes how far they have come.
    async fn finish(&mut self) {
        if let Some(mut delivery) = self.delivery.take() {
            let progress = &mut self.progress;
            let drained = async {
                while let Some(ended) = delivery.in_flight.next().await {
                    delivery.ended(ended, progress);
                }
            };
            drop(tokio::time::timeout(STOP_PATIENCE, drained).await);
            self.delivery = Some(delivery);
        }
        self.settle_writing().await;
        if self.progress.due_at().is_some() {
            self.write();
            self.settle_writing().await;
        }
    }

    async fn settle_writing(&mut self) {
        if self.progress.is_writing() {
            let result = self.progress.written().await;
            self.settle(result);
        }
    }

    fn tell(&mut self) {
        let mut told = self.board.told();
        let record = &self.progress.record;
        (told.delivered, told.failed) = (record.delivered, record.failed);
        (told.set_aside, told.dropped) = (record.set_aside, record.dropped);
        told.is_active = self.delivery.is_some();
        match &mut self.delivery {
            None => {
                told.backlog = Backlog::default();
                told.host = None;
            }
            Some(delivery) => {
                told.backlog = delivery.backlog();
                if let Some(error) = delivery.last_error.take() {
                    told.last_error = Some(error);
                }
                let is_same = told
                    .host
                    .as_ref()
                    .is_some_and(|h| Arc::ptr_eq(h, &delivery.host));
                if !is_same {
                    told.host = Some(Arc::clone(&delivery.host));
                }
            }
        }
        let backlog = told.backlog;
        drop(told);
        self.parts.figures.move_backlog(self.told, backlog);
        self.told = backlog;
    }
}

/// Deletes what an action set aside, in steps; how many pushes that were.
pub async fn delete_set_aside(store: &dyn Store, action_seq: u64) -> Result<u64, StoreError> {
    let mut deleted = 0_u64;
    loop {
        let rows = store.set_aside(&SetAsideQuery {
            action_seq,
            after: None,
            before: None,
            oldest_first: true,
            limit: CLEAR_STEP,
        })?;
        if rows.is_empty() {
            return Ok(deleted);
        }
        deleted = deleted.saturating_add(u64::try_from(rows.len()).unwrap_or(u64::MAX));
        let keys = rows.iter().map(|row| row.key());
        let changes = keys.map(|key| Change::DeleteSetAside { action_seq, key });
        let (guards, changes) = (Vec::new(), changes.collect());
        match store.commit(Commit { guards, changes }).await {
            Ok(()) => {}
            Err(CommitError::Store(error)) => return Err(error),
            Err(CommitError::Conflict(_)) => return Err(StoreError::Busy),
        }
    }
}
