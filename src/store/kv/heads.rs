//! What the committer remembers of rows it lately read or wrote: versions for guards, so that an
//! uplink of an active device reads nothing, and whether products and spaces are there. Bounded: two
//! generations; when the younger is full it becomes the older, and what was older is forgotten.

use std::hash::Hash;

use hashbrown::HashMap;

use crate::base::ids::DeviceId;
use crate::store::index::Versions;
use crate::store::rows::Split;

/// Entries of one generation: 10,000 active devices stay inside, at some 3 MB.
const GENERATION: usize = 16_384;

/// The part of a device row that guards ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DeviceMark {
    pub(super) seq: u64,
    pub(super) version: u64,
}

/// The part of a state row that guards and replacing ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StateMark {
    pub(super) version: u64,
    pub(super) split: Option<Split>,
    pub(super) versions: Versions,
}

/// Devices and states by device id; `None` inside: there is no such row.
#[derive(Debug, Default)]
pub(super) struct Heads {
    pub(super) devices: Generations<DeviceId, Option<DeviceMark>>,
    pub(super) states: Generations<DeviceId, Option<StateMark>>,
    /// Products and spaces by the keys of their rows: whether there is one that is not being deleted.
    pub(super) owners: Generations<Vec<u8>, bool>,
}

impl Heads {
    pub(super) fn clear(&mut self) {
        self.devices.clear();
        self.states.clear();
        self.owners.clear();
    }
}

#[derive(Debug)]
pub(super) struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K, V> Default for Generations<K, V> {
    fn default() -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }
}

impl<K: Clone + Eq + Hash, V: Copy> Generations<K, V> {
    /// The entry, which counts as used.
    pub(super) fn recall(&mut self, id: &K) -> Option<V> {
        if let Some(found) = self.young.get(id) {
            return Some(*found);
        }
        let (id, value) = self.old.remove_entry(id)?;
        self.put(id, value);
        Some(value)
    }

    pub(super) fn remember(&mut self, id: &K, value: V) {
        if let Some(known) = self.young.get_mut(id) {
            *known = value;
            return;
        }
        self.old.remove(id);
        self.put(id.clone(), value);
    }

    fn put(&mut self, id: K, value: V) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, value);
    }

    fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> DeviceId {
        DeviceId::parse(&format!("d{n}")).unwrap()
    }

    #[test]
    fn forgets_the_unused_and_keeps_the_used() {
        let mut known = Generations::default();
        known.remember(&id(0), 1);
        known.remember(&id(1), 1);
        known.remember(&id(1), 2);
        for n in 10..10 + GENERATION * 2 {
            known.remember(&id(n), n);
            if n % 1000 == 0 {
                assert_eq!(known.recall(&id(1)), Some(2));
            }
        }
        assert_eq!(known.recall(&id(0)), None);
        assert_eq!(known.recall(&id(1)), Some(2));
        assert!(known.young.len() + known.old.len() <= 2 * GENERATION);
    }
}
