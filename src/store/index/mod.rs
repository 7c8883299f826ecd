//! The index of devices, in memory: sets of `seq`s by attribute value, times by `seq`, and segments of what lies
//! on disk in order. Built when the store opens (`kv/load.rs`); changed by the committer alone, with the
//! [`Touch`]es of a batch, after the batch is durable and before its commits are answered. A search takes a
//! [`View`] under the lock, in microseconds, and works on that without it.
//!
//! | what | form | for each device |
//! |---|---|---|
//! | product, space, gateway, its own gateway, frozen, versions, groups | [`Set`]s by [`SetKey`] | a bit to two bytes for each value that many have; 40 bytes for one that it has alone |
//! | creation and last message, key of the devices behind it | [`Column`] | 24 bytes |
//! | tags | [`Tags`] | as for a set; each distinct tag 75 to 150 bytes |
//! | node ids, names | [`Ordered`] | 8 bytes each |
//!
//! A [`SetKey`] is a hash of kind and value under a random key, so nobody can make two values meet; by chance,
//! one pair in a fleet with a million values does once in 37 million starts.

mod column;
mod dictionary;
mod ordered;
mod set;
mod sets;
mod tags;
mod view;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::num::NonZeroU64;
use std::sync::Arc;

use hashbrown::HashSet;
use roaring::RoaringTreemap;

use super::facts::{DeviceFacts, StateFacts};
use super::keys;
use crate::base::ids::{AppId, DeviceId, ProductId};
use crate::base::time::Timestamp;
use crate::store::find::Leaving;
pub use column::{Column, Row, Test};
pub use ordered::{Ordered, Span};
pub use set::Set;
pub use sets::Sets;
pub use tags::Tags;
pub use view::{Term, View};

/// Names the set of one value of one attribute.
pub type SetKey = NonZeroU64;

/// What a set is about.
#[derive(Debug, Clone, Copy)]
enum Kind {
    App = 1,
    Product,
    /// Devices behind a gateway, but for the gateway.
    Behind,
    OwnGateway,
    Frozen,
    Firmware,
    Software,
    Group,
}

/// Makes set keys; clones make the same.
#[derive(Debug, Clone, Default)]
pub struct Keys(RandomState);

impl Keys {
    fn key(&self, kind: Kind, parts: &[&[u8]]) -> SetKey {
        let hash = self.0.hash_one((kind as u8, parts));
        NonZeroU64::new(hash).unwrap_or(NonZeroU64::MAX)
    }

    pub fn owner(&self, owner: &Owner) -> SetKey {
        match owner {
            Owner::Product(id) => self.product(id),
            Owner::App(id) => self.key(Kind::App, &[id.as_str().as_bytes()]),
        }
    }

    pub fn product(&self, id: &ProductId) -> SetKey {
        self.key(Kind::Product, &[id.as_str().as_bytes()])
    }

    fn behind(&self, id: &DeviceId) -> SetKey {
        self.key(Kind::Behind, &[id.as_str().as_bytes()])
    }

    /// Firmware and software version.
    pub fn versions(&self, state: &StateFacts) -> Versions {
        let key = |kind, version: &Option<String>| {
            let version = version.as_ref()?;
            Some(self.key(kind, &[version.as_bytes()]))
        };
        Versions([
            key(Kind::Firmware, &state.fw_version),
            key(Kind::Software, &state.sw_version),
        ])
    }

    pub fn entry(&self, device: &DeviceFacts) -> Entry {
        let mut sets = vec![
            self.key(Kind::App, &[device.app_id.as_str().as_bytes()]),
            self.product(&device.product_id),
            match device.gateway_id == device.device_id {
                true => self.key(Kind::OwnGateway, &[]),
                false => self.behind(&device.gateway_id),
            },
        ];
        if device.frozen {
            sets.push(self.key(Kind::Frozen, &[]));
        }
        for seq in &device.groups {
            sets.push(self.key(Kind::Group, &[&seq.to_be_bytes()]));
        }
        let name = device.device_name.as_ref();
        Entry {
            seq: device.seq,
            behind: self.behind(&device.device_id),
            created_at: device.created_at,
            sets,
            tags: device.tags.iter().map(tags::pair).collect(),
            node: keys::node(&device.node_id),
            name: name.map(|name| keys::name(name, device.seq)),
        }
    }
}

/// The sets of a device's firmware and software version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Versions([Option<SetKey>; 2]);

/// What the index holds of a device.
#[derive(Debug)]
pub struct Entry {
    pub seq: u64,
    behind: SetKey,
    created_at: Timestamp,
    sets: Vec<SetKey>,
    tags: Vec<tags::Pair>,
    /// Keys of its rows in the ordered tables.
    node: Vec<u8>,
    name: Option<Vec<u8>>,
}

/// What its state adds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Life {
    pub heard: Option<Timestamp>,
    pub versions: Versions,
}

/// One change of the index.
#[derive(Debug)]
pub enum Touch {
    /// There is a device that was not.
    Add(Entry, Life),
    /// It is the same device, as its `seq` says.
    Change {
        old: Entry,
        new: Entry,
    },
    Remove(Entry, Versions),
    State {
        seq: u64,
        heard: Option<Timestamp>,
        old: Versions,
        new: Versions,
    },
    /// Whether it is being deleted: its devices fit nothing then.
    Owner {
        key: SetKey,
        owner: Owner,
        leaving: bool,
    },
}

/// What devices belong to.
#[derive(Debug)]
pub enum Owner {
    Product(ProductId),
    App(AppId),
}

/// All that is indexed.
#[derive(Debug, Default)]
pub struct Index {
    keys: Keys,
    all: Arc<RoaringTreemap>,
    sets: Sets,
    tags: Tags,
    hidden: HashSet<SetKey>,
    /// The same as `hidden`, by name.
    leaving: Arc<Leaving>,
    column: Column,
    pub nodes: Ordered,
    pub names: Ordered,
}

impl Index {
    pub fn keys(&self) -> Keys {
        self.keys.clone()
    }

    /// Adds a device without its rows in the ordered tables: for loading, which ends with [`Self::loaded`].
    pub fn load(&mut self, entry: &Entry, life: Life) {
        self.add(entry, life);
        self.tags.load(entry.seq, &entry.tags);
    }

    /// No more is loaded.
    pub fn loaded(&mut self) {
        self.tags.loaded();
    }

    fn add(&mut self, entry: &Entry, life: Life) {
        let seq = entry.seq;
        Arc::make_mut(&mut self.all).insert(seq);
        for key in &entry.sets {
            self.sets.insert(*key, seq);
        }
        for key in life.versions.0.into_iter().flatten() {
            self.sets.insert(key, seq);
        }
        let row = Row::new(entry.behind, entry.created_at, life.heard);
        self.column.put(seq, row);
    }

    pub fn apply(&mut self, touch: Touch) {
        match touch {
            Touch::Add(entry, life) => {
                self.add(&entry, life);
                self.tags.change(entry.seq, &[], &entry.tags);
                self.nodes.insert(&entry.node, entry.seq);
                if let Some(name) = &entry.name {
                    self.names.insert(name, entry.seq);
                }
            }
            Touch::Change { old, new } => self.change(&old, &new),
            Touch::Remove(entry, versions) => {
                let seq = entry.seq;
                Arc::make_mut(&mut self.all).remove(seq);
                for key in entry.sets {
                    self.sets.remove(key, seq);
                }
                for key in versions.0.into_iter().flatten() {
                    self.sets.remove(key, seq);
                }
                self.tags.change(seq, &entry.tags, &[]);
                self.column.remove(seq);
                self.nodes.remove(&entry.node, seq);
                if let Some(name) = &entry.name {
                    self.names.remove(name, seq);
                }
            }
            Touch::State {
                seq,
                heard,
                old,
                new,
            } => {
                self.column.hear(seq, heard);
                for (old, new) in old.0.into_iter().zip(new.0) {
                    if old == new {
                        continue;
                    }
                    if let Some(key) = old {
                        self.sets.remove(key, seq);
                    }
                    if let Some(key) = new {
                        self.sets.insert(key, seq);
                    }
                }
            }
            Touch::Owner {
                key,
                owner,
                leaving,
            } => self.hide(key, owner, leaving),
        }
    }

    /// What is being deleted.
    pub fn leaving(&self) -> Arc<Leaving> {
        Arc::clone(&self.leaving)
    }

    fn hide(&mut self, key: SetKey, owner: Owner, leaving: bool) {
        let changed = match leaving {
            true => self.hidden.insert(key),
            false => self.hidden.remove(&key),
        };
        if !changed {
            return;
        }
        let named = Arc::make_mut(&mut self.leaving);
        match (owner, leaving) {
            (Owner::Product(id), true) => named.products.insert(id),
            (Owner::Product(id), false) => named.products.remove(&id),
            (Owner::App(id), true) => named.apps.insert(id),
            (Owner::App(id), false) => named.apps.remove(&id),
        };
    }

    fn change(&mut self, old: &Entry, new: &Entry) {
        let seq = new.seq;
        for key in old.sets.iter().filter(|key| !new.sets.contains(key)) {
            self.sets.remove(*key, seq);
        }
        for key in new.sets.iter().filter(|key| !old.sets.contains(key)) {
            self.sets.insert(*key, seq);
        }
        self.tags.change(seq, &old.tags, &new.tags);
        if old.created_at != new.created_at {
            let heard = self.column.row(seq).and_then(Row::heard);
            let row = Row::new(new.behind, new.created_at, heard);
            self.column.put(seq, row);
        }
        if old.node != new.node {
            self.nodes.remove(&old.node, seq);
            self.nodes.insert(&new.node, seq);
        }
        if old.name != new.name {
            if let Some(name) = &old.name {
                self.names.remove(name, seq);
            }
            if let Some(name) = &new.name {
                self.names.insert(name, seq);
            }
        }
    }
}

impl Touch {
    /// Keys of rows in the ordered tables (node ids, names) that the change adds.
    pub fn new_keys(&self) -> (Option<&[u8]>, Option<&[u8]>) {
        match self {
            Self::Add(entry, _) | Self::Change { new: entry, .. } => {
                (Some(&entry.node), entry.name.as_deref())
            }
            Self::Remove(..) | Self::State { .. } | Self::Owner { .. } => (None, None),
        }
    }
}
