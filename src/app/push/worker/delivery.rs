//! The pushes of an action whose rule is active: reads events into the window, lets pushes go, and
//! takes their ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use hashbrown::HashSet;
use tokio::sync::watch;

use super::Parts;
use super::progress::Progress;
use super::reading::{Missing, READ_AGAIN, wide};
use super::start;
use crate::app::push::host::{Admission, Host, Pass};
use crate::app::push::ledger::Ledger;
use crate::app::push::matching::Matcher;
use crate::app::push::plan::Plan;
use crate::app::push::status::Backlog;
use crate::app::push::subscriber::{Outcome, Subscriber, server_of};
use crate::app::push::window::{Item, Lane, Subject, Window};
use crate::app::sql::SqlError;
use crate::base::time::Timestamp;
use crate::store::StoreError;
use crate::store::forwarding::{RuleRecord, SetAsideKey, SetAsideRecord};

/// One active action.
pub(super) struct Delivery {
    pub(super) plan: Arc<Plan>,
    rule: RuleRecord,
    pub(super) matcher: Matcher,
    /// What is wrong with the action, when nothing can be pushed.
    subscriber: Result<Arc<Subscriber>, String>,
    pub(super) host: Arc<Host>,
    pub(super) host_changes: watch::Receiver<u64>,
    pub(super) window: Window,
    pub(super) ledger: Ledger,
    /// Events up to here are in the window, or dealt with.
    pub(super) read_to: u64,
    pub(super) read_again_at: Option<Instant>,
    pub(super) again: HashSet<SetAsideKey>,
    /// What of all that is set aside goes again: behind the first, up to the second.
    pub(super) again_range: Option<(Option<SetAsideKey>, SetAsideKey)>,
    pub(super) in_flight: FuturesUnordered<BoxFuture<'static, Ended>>,
    pub(super) last_error: Option<String>,
    pub(super) parts: Arc<Parts>,
}

/// A push that ended.
pub(super) struct Ended {
    lane: Lane,
    item: Item,
    pass: Pass,
    outcome: Outcome,
    took: Duration,
}

/// Why nothing more leaves now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blocked {
    /// Nothing is due, or every connection is in use.
    No,
    Until(Instant),
    /// Until the host changes, or this.
    Host(Option<Instant>),
}

impl Delivery {
    /// Begins where `progress` says. Errors: of the store, or a rule that can't be read.
    pub(super) fn start(
        parts: &Arc<Parts>,
        plan: Arc<Plan>,
        rule: RuleRecord,
        progress: &mut Progress,
    ) -> Result<Self, StartError> {
        let matcher = Matcher::of(&rule)?;
        let store = parts.store.as_ref();
        let was = progress.record.clone();
        let read_to = match was.active {
            true => was.position,
            false => {
                let since = plan.action.created_at.max(rule.modified_at);
                start::position_at(store, since)?
            }
        };
        let host = parts.hosts.of(&server_of(&plan.action.http.url));
        let mut delivery = Self {
            host_changes: host.follow(),
            host,
            subscriber: Subscriber::of(&plan, &parts.wiring).map(Arc::new),
            plan,
            rule,
            matcher,
            window: Window::default(),
            ledger: Ledger::default(),
            read_to,
            read_again_at: None,
            again: HashSet::new(),
            again_range: None,
            in_flight: FuturesUnordered::new(),
            last_error: None,
            parts: Arc::clone(parts),
        };
        delivery.last_error = delivery.subscriber.as_ref().err().cloned();
        if was.active {
            for position in was.outstanding {
                let found = store.events(position.saturating_sub(1), 1)?;
                match found.first().filter(|(at, _)| *at == position) {
                    Some((_, event)) => {
                        delivery.add(position, event);
                    }
                    None => progress.dropped(1, parts),
                }
            }
        }
        progress.record.active = true;
        progress.touch(&parts.clock);
        Ok(delivery)
    }

    /// Goes on by another plan of the same action. `Err`: the rule can't be read.
    pub(super) fn follow(&mut self, plan: Arc<Plan>, rule: RuleRecord) -> Result<(), SqlError> {
        let (old, new) = (&self.rule, &rule);
        let is_same_rule = old.resource == new.resource
            && old.event == new.event
            && old.app_id == new.app_id
            && old.select == new.select
            && old.condition == new.condition;
        if !is_same_rule {
            self.matcher = Matcher::of(&rule)?;
            self.window.forget_bodies();
            self.ledger = Ledger::default();
        }
        if self.plan.action.http != plan.action.http || self.plan.ca != plan.ca {
            self.subscriber = Subscriber::of(&plan, &self.parts.wiring).map(Arc::new);
            self.last_error = self.subscriber.as_ref().err().cloned();
            self.host = self.parts.hosts.of(&server_of(&plan.action.http.url));
            self.host_changes = self.host.follow();
            self.window.wake_all();
        }
        self.plan = plan;
        self.rule = rule;
        Ok(())
    }

    /// Lets pushes go while they may. Those whose turn it was and that are gone are counted.
    pub(super) fn dispatch(&mut self, progress: &mut Progress) -> Blocked {
        let Ok(subscriber) = &self.subscriber else {
            return Blocked::No;
        };
        let subscriber = Arc::clone(subscriber);
        let now = self.parts.clock.instant();
        self.window.wake(now);
        while self.in_flight.len() < self.parts.wiring.settings.connections_max {
            let Some((lane, item)) = self.window.take() else {
                return Blocked::No;
            };
            let pass = match self.host.admit() {
                Admission::Go(pass) => pass,
                Admission::Wait(until) => {
                    self.window.put_back(lane);
                    return Blocked::Host(until);
                }
            };
            let body = match self.body(&lane, &item) {
                Ok(Ok(body)) => body,
                Ok(Err(missing)) => {
                    if missing == Missing::Expired {
                        progress.dropped(1, &self.parts);
                    }
                    self.finish(lane, &item, progress);
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, "a push can't be read");
                    self.window.put_back(lane);
                    return match now.checked_add(READ_AGAIN) {
                        Some(at) => Blocked::Until(at),
                        None => Blocked::No,
                    };
                }
            };
            let (rule, action) = (&self.rule.rule_id, &self.plan.action.action_id);
            if let Err(at) = self.parts.flows.take(rule, action, now) {
                self.window.put_back(lane);
                return Blocked::Until(at);
            }
            self.launch(&subscriber, lane, item, body, pass);
        }
        Blocked::No
    }

    fn launch(
        &self,
        subscriber: &Arc<Subscriber>,
        lane: Lane,
        item: Item,
        body: Bytes,
        pass: Pass,
    ) {
        let (subscriber, clock) = (Arc::clone(subscriber), self.parts.clock.clone());
        let push = async move {
            let began = clock.instant();
            let outcome = subscriber.push(body).await;
            let took = clock.instant().saturating_duration_since(began);
            Ended {
                lane,
                item,
                pass,
                outcome,
                took,
            }
        };
        self.in_flight.push(push.boxed());
    }

    /// Takes the end of a push.
    pub(super) fn ended(&mut self, ended: Ended, progress: &mut Progress) {
        self.trace(&ended);
        let Ended {
            lane,
            mut item,
            pass,
            outcome,
            ..
        } = ended;
        let Some(error) = outcome.error() else {
            pass.succeeded();
            progress.delivered(&self.parts);
            self.finish(lane, &item, progress);
            return;
        };
        pass.failed();
        tracing::debug!(
            action_id = %self.plan.action.action_id, position = item.key.position, error,
            "a push failed"
        );
        let refused = matches!(outcome, Outcome::Refused(_));
        progress.failed(&self.parts, &outcome);
        item.failures = item.failures.saturating_add(1);
        item.refusals = item.refusals.saturating_add(u32::from(refused));
        self.last_error = Some(error.clone());
        if refused && item.refusals >= self.parts.wiring.settings.refusals_max {
            self.set_aside(lane, &item, error, progress);
        } else {
            let until = self.retry_at(item.failures);
            self.window.wait(lane, until, refused);
        }
    }

    /// A push that is dealt with, in whatever way.
    fn finish(&mut self, lane: Lane, item: &Item, progress: &mut Progress) {
        if lane.is_again && self.again.remove(&item.key) {
            progress.gone.push(item.key);
        }
        self.window.done(lane);
        progress.finished(&self.parts.clock);
    }

    /// Its lane stays busy until that is durable.
    fn set_aside(&mut self, lane: Lane, item: &Item, reason: String, progress: &mut Progress) {
        match self.load(&lane, item.key) {
            Ok(Ok(envelope)) => {
                let record = SetAsideRecord {
                    at: self.parts.clock.now(),
                    position: item.key.position,
                    index: item.key.index,
                    tries: item.failures,
                    reason,
                    envelope,
                };
                progress.put_aside(lane, record, &self.parts.clock);
            }
            // Its event is too old for the store.
            Ok(Err(_)) => {
                progress.dropped(1, &self.parts);
                self.finish(lane, item, progress);
            }
            // Nothing is durable now: it is refused once more, and comes here again.
            Err(_) => {
                let until = self.retry_at(item.failures);
                self.window.wait(lane, until, true);
            }
        }
    }

    /// A push is durably set aside: its lane goes on.
    pub(super) fn was_set_aside(&mut self, lane: Lane, key: SetAsideKey) {
        self.again.remove(&key);
        self.window.done(lane);
    }

    /// It could not be set aside: later.
    pub(super) fn was_not_set_aside(&mut self, lane: Lane) {
        let until = self.retry_at(u32::MAX);
        self.window.wait(lane, until, true);
    }

    /// Doubles with each failure; a quarter of it is chance, so that not all come back at once.
    fn retry_at(&self, failures: u32) -> Instant {
        let settings = &self.parts.wiring.settings;
        let (first, most) = (settings.retry_first_s, settings.retry_max_s);
        let factor = 1_u64
            .checked_shl(failures.saturating_sub(1))
            .unwrap_or(u64::MAX);
        let wait_ms = first.saturating_mul(factor).min(most).saturating_mul(1000);
        let wait_ms = wait_ms - fastrand::u64(0..=wait_ms / 4);
        let now = self.parts.clock.instant();
        now.checked_add(Duration::from_millis(wait_ms))
            .unwrap_or(now)
    }

    /// Drops the oldest of what waits, while it is too much or too old; whether there was such.
    pub(super) fn trim(&mut self, progress: &mut Progress) -> bool {
        let bounds = self.plan.bounds;
        let now = self.parts.clock.now();
        let is_old = |at: Timestamp| now.since_ms(at) > bounds.age_ms;
        let mut dropped = 0_u64;
        loop {
            let waiting = self
                .window
                .waiting_bytes()
                .saturating_add(self.ledger.bytes());
            let is_much = waiting > bounds.bytes;
            if self
                .window
                .drop_oldest(|item| is_much || is_old(item.at))
                .is_some()
            {
                dropped = dropped.saturating_add(1);
                continue;
            }
            // Only what the window has none older than.
            let is_old = self.ledger.oldest_ends_at().is_some_and(is_old);
            if !(is_old || is_much && self.ledger.bytes() > 0) {
                break;
            }
            let Some(bucket) = self.ledger.pop_oldest() else {
                break;
            };
            self.read_to = self.read_to.max(bucket.end);
            dropped = dropped.saturating_add(bucket.pushes);
        }
        if dropped > 0 {
            progress.dropped(dropped, &self.parts);
        }
        dropped > 0
    }

    /// When something is due that no event announces; `None`: never.
    pub(super) fn alarm(&self, blocked: Blocked) -> Option<Instant> {
        let now = self.parts.clock.instant();
        let blocked = match blocked {
            Blocked::No => None,
            Blocked::Until(at) => Some(at),
            Blocked::Host(until) => until,
        };
        // The oldest that waits goes when it is too old.
        let ages = [self.window.oldest_at(), self.ledger.oldest_ends_at()];
        let age = ages.into_iter().flatten().min().and_then(|at| {
            let age_ms = self.parts.clock.now().since_ms(at);
            let left_ms = self.plan.bounds.age_ms.saturating_sub(age_ms).max(1000);
            now.checked_add(Duration::from_millis(left_ms))
        });
        // A wait that is over changes nothing while pushes can't go.
        let wake = self.window.next_wake().filter(|_| blocked.is_none());
        let wake = wake.filter(|_| self.subscriber.is_ok());
        let times = [blocked, age, wake, self.read_again_at];
        times.into_iter().flatten().min()
    }

    /// What is not delivered yet.
    pub(super) fn backlog(&self) -> Backlog {
        Backlog {
            events: wide(self.window.open()).saturating_add(self.ledger.pushes()),
            bytes: self.window.bytes().saturating_add(self.ledger.bytes()),
            oldest_time: self.window.oldest_at().or_else(|| self.ledger.oldest_at()),
        }
    }

    /// The event of a push, for people who look at its device.
    fn trace(&self, ended: &Ended) {
        let Subject::Device(device_id) = &ended.lane.subject else {
            return;
        };
        if !self.parts.tracer.is_on(device_id) {
            return;
        }
        let (rule, action) = (&self.rule, &self.plan.action);
        let entry = crate::app::trace::TraceEntry {
            time: self.parts.clock.now(),
            kind: "push",
            direction: crate::app::trace::Direction::Platform,
            summary: format!(
                "{} to {}: {} after {} ms",
                rule.resource,
                self.host.name(),
                ended.outcome,
                ended.took.as_millis()
            ),
            hex: None,
            detail: Some(serde_json::json!({
                "rule_id": rule.rule_id.as_str(),
                "action_id": action.action_id.as_str(),
                "position": ended.item.key.position,
                "failures_before": ended.item.failures,
            })),
            error: ended.outcome.error(),
            hint: ended.outcome.hint().map(str::to_owned),
            unbound_only: rule.app_id.is_none(),
        };
        self.parts.tracer.record(device_id, entry);
    }
}

/// Why an action can't begin.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("the rule can't be read: {0}")]
    Rule(#[from] SqlError),
    #[error(transparent)]
    Store(#[from] StoreError),
}
