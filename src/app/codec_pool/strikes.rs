//! Which codecs hit limits, how often, and which of them must not run any more.
//!
//! ```text
//!            limit                 strikes within strike_window_s
//! clean  ------------> struck  ------------------------------------> quarantined
//!   ^                    | window over                                    |
//!   +--------------------+-------------------------- released ------------+
//! ```
//!
//! A codec is known by its tag, so one that is replaced begins anew. Kept in memory: a restart forgets
//! it all, since the next program may well run what this one could not; a bad codec costs a few more
//! strikes then, each of which ends as these did.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::request::unavailable;
use crate::base::time::Timestamp;
use crate::product::codec::CodecError;

/// Codecs of which something is remembered: the one whose last strike is oldest goes.
const KNOWN_MAX: usize = 4096;

/// What one codec did.
#[derive(Debug, Default)]
struct Standing {
    strikes: VecDeque<Timestamp>,
    quarantined: Option<Quarantine>,
}

/// Why a codec does not run any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantine {
    pub since: Timestamp,
    pub why: String,
}

impl Quarantine {
    /// What a call of the codec fails with.
    pub(super) fn refusal(&self) -> CodecError {
        unavailable(format!("quarantined: {}", self.why))
    }
}

/// The standing of every codec that was struck.
#[derive(Debug)]
pub(super) struct Strikes {
    most: usize,
    window_s: u64,
    codecs: HashMap<Arc<str>, Standing>,
}

impl Strikes {
    pub(super) fn new(most: u32, window_s: u64) -> Self {
        Self {
            most: usize::try_from(most).unwrap_or(usize::MAX).max(1),
            window_s,
            codecs: HashMap::new(),
        }
    }

    /// Notes that a codec hit a limit. `true`: it is quarantined by that.
    pub(super) fn strike(&mut self, tag: &Arc<str>, now: Timestamp, what: &str) -> bool {
        if !self.codecs.contains_key(tag) && self.codecs.len() >= KNOWN_MAX {
            let last = |standing: &Standing| standing.strikes.back().copied();
            let oldest = self.codecs.iter().min_by_key(|(_, s)| last(s));
            if let Some(oldest) = oldest.map(|(tag, _)| Arc::clone(tag)) {
                self.codecs.remove(&oldest);
            }
        }
        let standing = self.codecs.entry(Arc::clone(tag)).or_default();
        let window_ms = self.window_s.saturating_mul(1000);
        standing.strikes.retain(|at| now.since_ms(*at) < window_ms);
        standing.strikes.push_back(now);
        if standing.quarantined.is_some() || standing.strikes.len() < self.most {
            return false;
        }
        let (count, window_s) = (standing.strikes.len(), self.window_s);
        let why = format!("it hit a limit {count} times within {window_s} s, at last: {what}");
        standing.quarantined = Some(Quarantine { since: now, why });
        true
    }

    /// Why a codec must not run.
    pub(super) fn quarantined(&self, tag: &str) -> Option<&Quarantine> {
        self.codecs.get(tag)?.quarantined.as_ref()
    }

    /// Forgets what a codec did.
    pub(super) fn release(&mut self, tag: &str) {
        self.codecs.remove(tag);
    }

    /// Number of codecs that must not run.
    pub(super) fn count(&self) -> usize {
        let codecs = self.codecs.values();
        codecs.filter(|s| s.quarantined.is_some()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strikes_within_the_window_quarantine_until_release() {
        let mut strikes = Strikes::new(3, 10);
        let (bad, other): (Arc<str>, Arc<str>) = ("bad".into(), "other".into());
        let at = |s: u64| Timestamp::from_ms(s * 1000);
        assert!(!strikes.strike(&bad, at(0), "x"));
        assert!(!strikes.strike(&bad, at(5), "x"));
        // The first one is out of the window.
        assert!(!strikes.strike(&bad, at(10), "x"));
        assert!(!strikes.strike(&other, at(11), "x"));
        assert_eq!(strikes.quarantined("bad"), None);
        assert!(strikes.strike(&bad, at(11), "the heap"));
        let quarantine = strikes.quarantined("bad").cloned().unwrap();
        let why = &quarantine.why;
        assert!(
            why.contains("3 times within 10 s") && why.contains("the heap"),
            "{why}"
        );
        assert_eq!(quarantine.since, at(11));
        assert!(!strikes.strike(&bad, at(12), "x"), "it already is");
        assert_eq!(strikes.quarantined("bad"), Some(&quarantine));
        assert_eq!((strikes.quarantined("other"), strikes.count()), (None, 1));
        strikes.release("bad");
        assert_eq!((strikes.quarantined("bad"), strikes.count()), (None, 0));
        assert!(!strikes.strike(&bad, at(12), "x"), "it begins anew");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut strikes = Strikes::new(1, 10);
        for n in 0..=KNOWN_MAX {
            let at = Timestamp::from_ms(u64::try_from(n).unwrap());
            strikes.strike(&n.to_string().into(), at, "x");
        }
        assert_eq!(strikes.count(), KNOWN_MAX);
        assert!(strikes.quarantined("0").is_none() && strikes.quarantined("1").is_some());
    }
}
