//! What a device's application executed, in order: the proof that nothing ran twice, or that it did.
//!
//! Holds the last [`EXECUTIONS_MAX`]; the count goes on.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// Executions kept of one device.
pub const EXECUTIONS_MAX: usize = 65_536;

/// One command that the application took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// Counts from 1.
    pub order: u64,
    pub at: Instant,
    /// Of the message that brought it, or its last block.
    pub msg_id: u16,
    pub token: Vec<u8>,
    pub payload: Vec<u8>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Ledger {
    executions: VecDeque<Execution>,
    count: u64,
}

impl Ledger {
    /// Writes one down and gives its order.
    pub(super) fn add(&mut self, at: Instant, msg_id: u16, token: &[u8], payload: &[u8]) -> u64 {
        self.count += 1;
        if self.executions.len() >= EXECUTIONS_MAX {
            self.executions.pop_front();
        }
        self.executions.push_back(Execution {
            order: self.count,
            at,
            msg_id,
            token: token.to_vec(),
            payload: payload.to_vec(),
        });
        self.count
    }

    /// Oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Execution> {
        self.executions.iter()
    }

    /// All that ever were.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// How often these bytes were executed.
    pub fn times(&self, payload: &[u8]) -> usize {
        self.iter().filter(|e| e.payload == payload).count()
    }

    /// Bytes that were executed more than once, and how often.
    pub fn repeated(&self) -> Vec<(&[u8], usize)> {
        let mut times: BTreeMap<&[u8], usize> = BTreeMap::new();
        for execution in self.iter() {
            *times.entry(&execution.payload).or_default() += 1;
        }
        times.into_iter().filter(|(_, n)| *n > 1).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::{Clock, Timestamp};

    #[test]
    fn it_keeps_the_order_and_forgets_only_the_oldest() {
        let at = Clock::manual(Timestamp::from_ms(0)).instant();
        let mut ledger = Ledger::default();
        for n in 0..=EXECUTIONS_MAX {
            let [.., a, b, c] = n.to_be_bytes();
            ledger.add(at, 7, b"t", &[a, b, c]);
        }
        assert_eq!(ledger.count(), EXECUTIONS_MAX as u64 + 1);
        assert_eq!(ledger.iter().count(), EXECUTIONS_MAX);
        assert_eq!(ledger.iter().next().unwrap().order, 2);
        assert!(ledger.repeated().is_empty());
        ledger.add(at, 8, b"t", &[0, 0, 9]);
        assert_eq!(ledger.repeated(), [(&[0, 0, 9][..], 2)]);
        assert_eq!(ledger.times(&[0, 0, 9]), 2);
    }
}
