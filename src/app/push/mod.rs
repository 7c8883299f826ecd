//! Pushes: committed events on their way to the HTTP subscribers of routing rules.
//!
//! ```text
//! snapshot of rules -> supervisor -> one worker per action -> subscriber -> net::webhook
//!                                        |  ^
//!                        events, progress v  | reads
//!                                       store
//! ```
//!
//! In order for each device, at least once, others go on meanwhile. The store holds everything; in
//! memory are positions. A push fails when its subscriber does not answer 200 in time: then it goes
//! again later ([`worker`]). A host that fails too often pauses ([`host`]); a push that was answered
//! and refused too often is set aside, and listed, until somebody sends it again or deletes it. What
//! waits too long, or is too much, is dropped and counted.
//!
//! Neither the devices nor other actions wait for any of this: the committer and the shards know
//! nothing of pushes.

pub mod error;
pub mod flow;
pub mod host;
pub mod ledger;
pub mod matching;
pub mod plan;
pub mod sample;
pub mod settings;
pub mod signature;
pub mod status;
pub mod subscriber;
pub mod supervisor;
pub mod window;
pub mod worker;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{oneshot, watch};

use crate::app::forwarding::Snapshot;
use crate::app::outbox::Outbox;
use crate::app::tasks::Tasks;
use crate::app::trace::Tracer;
use crate::base::ids::{ActionId, AppId};
use crate::base::time::Clock;
use crate::net::webhook::Dialer;
use crate::store::Store;
use crate::store::forwarding::{
    ActionRecord, RuleRecord, SetAsideKey, SetAsideQuery, SetAsideRecord,
};
pub use error::PushError;
use flow::Flows;
use host::{Hosts, Patience};
use matching::Matcher;
use plan::Plan;
pub use settings::Settings;
use status::{Board, Figures, Status};
use subscriber::{Subscriber, Wiring};
use supervisor::{Desk, Desks, Supervisor};
use worker::Order;

/// What the service takes from others.
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub outbox: Arc<Outbox>,
    pub tracer: Arc<Tracer>,
    /// Whole from the start: what an action that it does not have left in the store goes.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    pub settings: Settings,
    pub dialer: Dialer,
}

/// The service.
pub struct Pushes {
    parts: Arc<worker::Parts>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    desks: Desks,
    /// Apart from the app's own: pushes end when nothing more happens that they tell of.
    tasks: Tasks,
}

/// How trying an action out went.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    pub delivered: bool,
    pub status: Option<u16>,
    pub took: Duration,
    pub error: Option<String>,
    pub hint: Option<&'static str>,
    pub sent: Value,
}

impl Pushes {
    /// Begins to push. Must be called inside a tokio runtime.
    pub fn start(parts: Parts) -> Self {
        let patience = Patience {
            failures_max: parts.settings.host_failures_max,
            pause: Duration::from_secs(parts.settings.host_pause_s),
        };
        let wiring = Wiring {
            dialer: parts.dialer,
            clock: parts.clock.clone(),
            settings: parts.settings,
            system_roots: OnceLock::new(),
        };
        let shared = Arc::new(worker::Parts {
            store: parts.store,
            outbox: parts.outbox,
            tracer: parts.tracer,
            wiring,
            hosts: Hosts::new(patience, parts.clock.clone()),
            flows: Flows::default(),
            figures: Figures::new(),
            clock: parts.clock,
        });
        let (desks, tasks) = (Desks::default(), Tasks::new());
        let supervisor = Supervisor::new(
            Arc::clone(&shared),
            parts.snapshot.clone(),
            desks.clone(),
            tasks.stop(),
        );
        tasks.spawn("pushes", supervisor.run());
        Self {
            parts: shared,
            snapshot: parts.snapshot,
            desks,
            tasks,
        }
    }

    /// Lets pushes under way end and writes how far they have come, for at most this long. Names
    /// what had to be cancelled.
    pub async fn stop(&self, patience: Duration) -> Vec<&'static str> {
        self.tasks.shut_down(patience).await
    }

    /// The space that an action's rule is bound to; `None`: all of them.
    pub fn space_of(&self, action_id: &ActionId) -> Result<Option<AppId>, PushError> {
        let plan = self.plan(action_id)?;
        Ok(plan.rule.and_then(|rule| rule.app_id))
    }

    pub fn status(&self, action_id: &ActionId) -> Result<Status, PushError> {
        self.plan(action_id)?;
        // Its worker may be about to start.
        let desk = self.desks.of(action_id);
        Ok(desk.map_or_else(|| Board::default().status(), |desk| desk.board.status()))
    }

    /// Pushes `data` once now, or a sample of what the rule takes.
    pub async fn try_out(
        &self,
        action_id: &ActionId,
        data: Option<Value>,
    ) -> Result<Trial, PushError> {
        let plan = self.plan(action_id)?;
        let sent = data.unwrap_or_else(|| self.sample(plan.rule.as_ref()));
        let clock = &self.parts.clock;
        let began = clock.instant();
        let (status, error, hint) = match Subscriber::of(&plan, &self.parts.wiring) {
            Err(error) => (None, Some(error), Some("correct the action")),
            Ok(subscriber) => {
                let outcome = subscriber.push(Bytes::from(sent.to_string())).await;
                (outcome.status(), outcome.error(), outcome.hint())
            }
        };
        Ok(Trial {
            delivered: error.is_none(),
            status,
            took: clock.instant().saturating_duration_since(began),
            error,
            hint,
            sent,
        })
    }

    /// What the rule makes of a made-up event; the event as it is where the rule does not take it.
    fn sample(&self, rule: Option<&RuleRecord>) -> Value {
        let Some(rule) = rule else {
            return sample::envelope("device.property", self.parts.clock.now());
        };
        let event = sample::envelope(&rule.resource, self.parts.clock.now());
        let chosen = Matcher::of(rule)
            .ok()
            .and_then(|matcher| matcher.choose(&event));
        chosen.unwrap_or(event)
    }

    /// What was set aside, newest first, below `before`.
    pub fn set_aside(
        &self,
        action_id: &ActionId,
        before: Option<SetAsideKey>,
        limit: usize,
    ) -> Result<Vec<SetAsideRecord>, PushError> {
        let plan = self.plan(action_id)?;
        Ok(self.parts.store.set_aside(&SetAsideQuery {
            action_seq: plan.action.seq,
            after: None,
            before,
            oldest_first: false,
            limit,
        })?)
    }

    /// Pushes what was set aside again: all, or that of the events at these positions. How many.
    pub async fn push_again(
        &self,
        action_id: &ActionId,
        positions: Option<Vec<u64>>,
    ) -> Result<u64, PushError> {
        self.order(action_id, |answer| Order::Again(positions, answer))
            .await
    }

    /// Forgets all that was set aside. How many pushes that were.
    pub async fn clear_set_aside(&self, action_id: &ActionId) -> Result<u64, PushError> {
        self.order(action_id, Order::Clear).await
    }

    async fn order(
        &self,
        action_id: &ActionId,
        order: impl FnOnce(oneshot::Sender<Result<u64, PushError>>) -> Order,
    ) -> Result<u64, PushError> {
        self.plan(action_id)?;
        let Desk { orders, .. } = self
            .desks
            .of_soon(action_id)
            .await
            .ok_or(PushError::Stopping)?;
        let (answer, answered) = oneshot::channel();
        let sent = orders.send(order(answer)).await;
        sent.map_err(|_| PushError::Stopping)?;
        answered.await.map_err(|_| PushError::Stopping)?
    }

    fn plan(&self, action_id: &ActionId) -> Result<Plan, PushError> {
        let snapshot = Arc::clone(&self.snapshot.borrow());
        let is_it = |action: &ActionRecord| action.action_id == *action_id;
        let plans = Plan::all(&snapshot, &self.parts.wiring.settings);
        let mut found = plans.into_iter().filter(|plan| is_it(&plan.action));
        found
            .next()
            .ok_or_else(|| PushError::NotFound(action_id.clone()))
    }
}
