//! Keeps one worker for each action: starts, tells and ends them as the snapshot of all that is
//! arranged says, and clears away what actions that are gone have left in the store.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::plan::Plan;
use super::status::Board;
use super::worker::{Channels, Order, Parts, Worker, delete_set_aside};
use crate::app::forwarding::Snapshot;
use crate::app::tasks::Stop;
use crate::base::ids::ActionId;
use crate::bug;
use crate::store::forwarding::DeliveryRecord;
use crate::store::{Change, Commit, CommitError, StoreError};

/// Orders that wait for one worker.
const ORDERS: usize = 16;

/// After something that the store failed at, or a worker that broke.
const AGAIN: Duration = Duration::from_secs(5);

/// How long a caller waits for a worker.
const SOON: Duration = Duration::from_secs(5);

/// A worker, as others reach it.
#[derive(Clone)]
pub struct Desk {
    pub board: Arc<Board>,
    pub orders: mpsc::Sender<Order>,
}

/// All of them. Clones share them.
#[derive(Clone, Default)]
pub struct Desks {
    all: Arc<watch::Sender<HashMap<ActionId, Desk>>>,
}

impl Desks {
    pub fn of(&self, action_id: &ActionId) -> Option<Desk> {
        self.all.borrow().get(action_id).cloned()
    }

    /// The same, of an action that has just been made and whose worker is about to start.
    pub async fn of_soon(&self, action_id: &ActionId) -> Option<Desk> {
        let mut all = self.all.subscribe();
        let starting = all.wait_for(|all| all.contains_key(action_id));
        let started = tokio::time::timeout(SOON, starting).await.ok()?.ok()?;
        started.get(action_id).cloned()
    }
}

struct Running {
    action_seq: u64,
    plan: watch::Sender<Arc<Plan>>,
    /// Resolves when the worker has ended.
    ended: oneshot::Receiver<()>,
}

/// The task that has all workers.
pub struct Supervisor {
    parts: Arc<Parts>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    desks: Desks,
    stop: Stop,
    running: HashMap<ActionId, Running>,
    workers: JoinSet<()>,
}

impl Supervisor {
    /// The snapshot must be whole from the start: what it does not have is cleared away.
    pub fn new(
        parts: Arc<Parts>,
        snapshot: watch::Receiver<Arc<Snapshot>>,
        desks: Desks,
        stop: Stop,
    ) -> Self {
        Self {
            parts,
            snapshot,
            desks,
            stop,
            running: HashMap::new(),
            workers: JoinSet::new(),
        }
    }

    /// Until the server stops; then every worker has ended.
    pub async fn run(mut self) {
        loop {
            let arranged = self.arrange().await;
            if let Err(error) = &arranged {
                tracing::warn!(%error, "pushes can't be arranged, trying again");
            }
            let is_over = tokio::select! {
                biased;
                () = self.stop.requested() => true,
                // Nobody changes anything any more.
                changed = self.snapshot.changed() => changed.is_err(),
                () = tokio::time::sleep(AGAIN), if arranged.is_err() => false,
                Some(ended) = self.workers.join_next() => {
                    if ended.is_err_and(|error| error.is_panic()) {
                        bug!("a worker of pushes panicked");
                        tokio::time::sleep(AGAIN).await;
                    }
                    false
                }
            };
            if is_over {
                break;
            }
        }
        self.stop.requested().await;
        while self.workers.join_next().await.is_some() {}
    }

    /// Makes the workers those of the snapshot.
    async fn arrange(&mut self) -> Result<(), StoreError> {
        let snapshot = Arc::clone(&self.snapshot.borrow_and_update());
        let plans = Plan::all(&snapshot, &self.parts.wiring.settings);
        self.parts.flows.replace(&snapshot.flows);
        let wanted: HashSet<ActionId> = plans
            .iter()
            .map(|plan| plan.action.action_id.clone())
            .collect();
        self.end_others(&wanted).await;
        let mut records: HashMap<u64, DeliveryRecord> =
            self.parts.store.deliveries()?.into_iter().collect();
        for plan in plans {
            let record = records.remove(&plan.action.seq);
            self.tell_or_start(plan, record)?;
        }
        // What is left belongs to nobody.
        for action_seq in records.into_keys() {
            self.clear_away(action_seq).await?;
        }
        Ok(())
    }

    /// Ends the workers of actions that are gone, and those that broke.
    async fn end_others(&mut self, wanted: &HashSet<ActionId>) {
        let is_over = |id: &ActionId, one: &mut Running| {
            !wanted.contains(id)
                || !matches!(
                    one.ended.try_recv(),
                    Err(oneshot::error::TryRecvError::Empty)
                )
        };
        let over: Vec<ActionId> = self
            .running
            .iter_mut()
            .filter_map(|(id, one)| is_over(id, one).then(|| id.clone()))
            .collect();
        for action_id in over {
            self.desks
                .all
                .send_modify(|all| drop(all.remove(&action_id)));
            if let Some(one) = self.running.remove(&action_id) {
                tracing::debug!(%action_id, action_seq = one.action_seq, "pushes end");
                drop(one.plan);
                // An error means that it has ended.
                drop(one.ended.await);
            }
        }
    }

    fn tell_or_start(
        &mut self,
        plan: Plan,
        record: Option<DeliveryRecord>,
    ) -> Result<(), StoreError> {
        let action_id = plan.action.action_id.clone();
        if let Some(running) = self.running.get(&action_id) {
            running.plan.send_if_modified(|known| {
                let is_new = **known != plan;
                if is_new {
                    *known = Arc::new(plan);
                }
                is_new
            });
            return Ok(());
        }
        let action_seq = plan.action.seq;
        let (plan_in, plan) = watch::channel(Arc::new(plan));
        let (orders_in, orders) = mpsc::channel(ORDERS);
        let board = Arc::new(Board::default());
        let channels = Channels {
            plan,
            orders,
            board: Arc::clone(&board),
            stop: self.stop.clone(),
        };
        let worker = Worker::new(Arc::clone(&self.parts), channels, record)?;
        let (ended_in, ended) = oneshot::channel::<()>();
        self.workers.spawn(async move {
            // Dropped when the worker ends, in whatever way.
            let _ended = ended_in;
            worker.run().await;
        });
        let desk = Desk {
            board,
            orders: orders_in,
        };
        self.desks
            .all
            .send_modify(|all| drop(all.insert(action_id.clone(), desk)));
        let running = Running {
            action_seq,
            plan: plan_in,
            ended,
        };
        self.running.insert(action_id, running);
        Ok(())
    }

    /// Deletes what an action has left, the row that names it last.
    async fn clear_away(&self, action_seq: u64) -> Result<(), StoreError> {
        delete_set_aside(self.parts.store.as_ref(), action_seq).await?;
        let commit = Commit {
            guards: Vec::new(),
            changes: vec![Change::DeleteDelivery { action_seq }],
        };
        match self.parts.store.commit(commit).await {
            Ok(()) => Ok(()),
            Err(CommitError::Store(error)) => Err(error),
            Err(CommitError::Conflict(_)) => Err(StoreError::Busy),
        }
    }
}
