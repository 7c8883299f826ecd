//! Flow control: how many pushes leave in a second, by policy. A push needs room in each policy that
//! it falls under; policies are shared by all actions.
//!
//! A policy of `n` per second lets a tenth of `n` through at once, at least one, and then one each
//! `1/n` s. Without a policy there is no limit.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::base::ids::{ActionId, PolicyId, RuleId};
use crate::store::forwarding::{FlowRecord, FlowScope};

/// The one channel there is.
const CHANNEL: &str = "HTTP_FORWARDING";

/// All policies.
#[derive(Debug, Default)]
pub struct Flows {
    policies: Mutex<Vec<Policy>>,
}

#[derive(Debug)]
struct Policy {
    policy_id: PolicyId,
    scope: FlowScope,
    value: Option<String>,
    /// Between two pushes.
    every: Duration,
    /// How far ahead of its time a push may be.
    ahead: Duration,
    /// When the next push is in time; `None`: always.
    due: Option<Instant>,
}

impl Policy {
    fn of(record: &FlowRecord) -> Self {
        let limit = record.limit_per_s.max(1);
        let every = Duration::from_secs(1).checked_div(limit);
        let every = every.unwrap_or(Duration::from_secs(1));
        let burst = (limit / 10).max(1);
        Self {
            policy_id: record.policy_id.clone(),
            scope: record.scope,
            value: record.scope_value.clone(),
            every,
            ahead: every.saturating_mul(burst.saturating_sub(1)),
            due: None,
        }
    }

    fn applies_to(&self, rule: &RuleId, action: &ActionId) -> bool {
        match (self.scope, self.value.as_deref()) {
            (FlowScope::User, _) => true,
            (FlowScope::Channel, value) => value == Some(CHANNEL),
            (FlowScope::Rule, value) => value == Some(rule.as_str()),
            (FlowScope::Action, value) => value == Some(action.as_str()),
        }
    }

    /// When a push has room.
    fn room_at(&self, now: Instant) -> Instant {
        let due = self.due.unwrap_or(now);
        due.checked_sub(self.ahead).unwrap_or(now).max(now)
    }
}

impl Flows {
    /// Takes the policies as they are now. One that stays keeps its count.
    pub fn replace(&self, records: &[FlowRecord]) {
        let mut policies = self.policies();
        let fresh = records.iter().map(|record| {
            let old = policies.iter().find(|p| p.policy_id == record.policy_id);
            Policy {
                due: old.and_then(|old| old.due),
                ..Policy::of(record)
            }
        });
        *policies = fresh.collect();
    }

    /// Takes room for one push in every policy, or in none: then it says when to try again.
    pub fn take(&self, rule: &RuleId, action: &ActionId, now: Instant) -> Result<(), Instant> {
        let mut policies = self.policies();
        let mine = |policy: &&mut Policy| policy.applies_to(rule, action);
        let room = policies.iter_mut().filter(mine).map(|p| p.room_at(now));
        if let Some(at) = room.max().filter(|at| *at > now) {
            return Err(at);
        }
        for policy in policies.iter_mut().filter(mine) {
            let due = policy.due.map_or(now, |due| due.max(now));
            policy.due = due.checked_add(policy.every);
        }
        Ok(())
    }

    fn policies(&self) -> MutexGuard<'_, Vec<Policy>> {
        self.policies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::{Clock, Timestamp};

    fn policy(id: &str, scope: FlowScope, value: Option<&str>, limit_per_s: u32) -> FlowRecord {
        FlowRecord {
            version: 1,
            policy_id: PolicyId::parse(id).unwrap(),
            seq: 1,
            policy_name: None,
            description: None,
            scope,
            scope_value: value.map(str::to_owned),
            limit_per_s,
        }
    }

    /// Pushes that leave within `ms`, one try each millisecond.
    fn leave(flows: &Flows, action: &str, clock: &Clock, ms: u64) -> u32 {
        let (rule, action) = (
            RuleId::parse("r").unwrap(),
            ActionId::parse(action).unwrap(),
        );
        let mut left = 0;
        for _ in 0..ms {
            while flows.take(&rule, &action, clock.instant()).is_ok() {
                left += 1;
                assert!(left < 10_000, "no bound");
            }
            clock.advance(Duration::from_millis(1));
        }
        left
    }

    #[test]
    fn the_tightest_policy_that_applies_decides() {
        let clock = Clock::manual(Timestamp::from_ms(0));
        let flows = Flows::default();
        let all = policy("u", FlowScope::User, None, 100);
        let channel = policy("c", FlowScope::Channel, Some(CHANNEL), 50);
        let rule = policy("r", FlowScope::Rule, Some("r"), 20);
        let other = policy("o", FlowScope::Rule, Some("o"), 1);
        let mine = policy("a", FlowScope::Action, Some("a"), 5);
        let mut records = Vec::new();
        // Each second a tenth may come on top, at its start.
        for (record, least) in [
            (all, 100),
            (other, 100),
            (channel, 50),
            (rule, 20),
            (mine, 5),
        ] {
            records.push(record);
            flows.replace(&records);
            leave(&flows, "a", &clock, 10_000);
            let left = leave(&flows, "a", &clock, 2_000);
            let most = 2 * least + least / 10 + 1;
            assert!(
                (2 * least - 1..=most).contains(&left),
                "{left} of {least}/s"
            );
        }
        assert!(leave(&flows, "b", &clock, 1_000) >= 20, "of another action");
    }

    #[test]
    fn it_says_when_to_try_again() {
        let clock = Clock::manual(Timestamp::from_ms(0));
        let flows = Flows::default();
        flows.replace(&[policy("u", FlowScope::User, None, 2)]);
        let (rule, action) = (RuleId::parse("r").unwrap(), ActionId::parse("a").unwrap());
        let now = clock.instant();
        assert_eq!(flows.take(&rule, &action, now), Ok(()));
        let again = flows.take(&rule, &action, now).unwrap_err();
        assert_eq!(again - now, Duration::from_millis(500));
        assert_eq!(flows.take(&rule, &action, again), Ok(()));
        // A policy that is written anew does not forget what left.
        flows.replace(&[policy("u", FlowScope::User, None, 2)]);
        assert!(flows.take(&rule, &action, again).is_err());
    }
}
