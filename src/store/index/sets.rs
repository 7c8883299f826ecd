//! Sets by their keys, in shards. A clone costs as much as there are shards and stays as it is: a change copies
//! the shard that it is in when a clone is about.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{Set, SetKey};

/// So many that a shard of a fleet with 200,000 gateways has a thousand sets.
const SHARDS: u64 = 256;

/// No set is empty.
#[derive(Debug, Clone, Default)]
pub struct Sets(Vec<Arc<HashMap<SetKey, Set>>>);

impl Sets {
    pub(super) fn get(&self, key: SetKey) -> Option<&Set> {
        self.0.get(shard(key))?.get(&key)
    }

    pub(super) fn insert(&mut self, key: SetKey, seq: u64) {
        let at = shard(key);
        if self.0.len() <= at {
            self.0.resize_with(at.saturating_add(1), Arc::default);
        }
        if let Some(sets) = self.0.get_mut(at) {
            Arc::make_mut(sets)
                .entry(key)
                .and_modify(|set| set.insert(seq))
                .or_insert(Set::One(seq));
        }
    }

    pub(super) fn remove(&mut self, key: SetKey, seq: u64) {
        let Some(sets) = self.0.get_mut(shard(key)).map(Arc::make_mut) else {
            return;
        };
        if let Some(set) = sets.remove(&key)
            && let Some(rest) = set.without(seq)
        {
            sets.insert(key, rest);
        }
    }
}

fn shard(key: SetKey) -> usize {
    usize::try_from(key.get() % SHARDS).unwrap_or(0)
}
