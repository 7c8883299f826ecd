//! What one action needs to know of all that is arranged: its rule, its certificate, what may wait
//! for it.

use crate::app::forwarding::Snapshot;
use crate::store::forwarding::{ActionRecord, RuleRecord};

use super::settings::Settings;

/// One action, as a snapshot has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub action: ActionRecord,
    /// `None`: the rule is gone, or on its way.
    pub rule: Option<RuleRecord>,
    pub ca: Ca,
    pub bounds: Bounds,
}

/// Who vouches for a subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ca {
    System,
    /// PEM.
    Own(String),
    /// The action names a certificate that is not there.
    Missing,
}

/// What may wait for one action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub bytes: u64,
    pub age_ms: u64,
}

impl Plan {
    /// Every action.
    pub fn all(snapshot: &Snapshot, settings: &Settings) -> Vec<Self> {
        let bounds = bounds(snapshot, settings);
        let plan = |action: &ActionRecord| Self {
            rule: snapshot
                .rules
                .iter()
                .find(|rule| rule.rule_id == action.rule_id)
                .cloned(),
            ca: match &action.http.cert_id {
                None => Ca::System,
                Some(id) => {
                    let mut known = snapshot.certificates.iter();
                    let found = known.find(|one| one.cert_id == *id);
                    found.map_or(Ca::Missing, |one| Ca::Own(one.content.clone()))
                }
            },
            action: action.clone(),
            bounds,
        };
        snapshot.actions.iter().map(plan).collect()
    }

    /// The rule that its events come by; `None`: there are none now.
    pub fn active_rule(&self) -> Option<&RuleRecord> {
        self.rule.as_ref().filter(|rule| rule.active)
    }
}

/// The tightest of all policies, and of the settings.
fn bounds(snapshot: &Snapshot, settings: &Settings) -> Bounds {
    let own = Bounds {
        bytes: settings.backlog_mb.saturating_mul(1024 * 1024),
        age_ms: settings.backlog_s.saturating_mul(1000),
    };
    snapshot.backlogs.iter().fold(own, |bounds, policy| Bounds {
        bytes: bounds.bytes.min(policy.backlog_size_bytes),
        age_ms: bounds
            .age_ms
            .min(policy.backlog_time_s.saturating_mul(1000)),
    })
}
