//! Who is where: device by location, observation token and address. Rebuilt from the store at
//! start, kept small: this is most of what an idle device costs in memory.
//!
//! The shards write it after their commits, ingress reads it for each datagram. The lock is held
//! for a look-up, never across an await.

use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use crate::base::ids::DeviceId;
use crate::base::peer::{DeviceSeq, Peer};
use crate::base::time::Timestamp;
use crate::engine::registration::expires_at;
use crate::store::records::{DeviceRecord, RegistrationRecord, StateRecord};

/// The index over all devices that ever connected.
#[derive(Debug, Default)]
pub struct Directory(RwLock<Tables>);

#[derive(Debug, Default)]
struct Tables {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    by_device: HashTable<u32>,
    by_location: HashMap<u64, u32>,
    /// Of observations; with [`REQUEST`] set, of commands.
    by_token: HashMap<u64, u32>,
    /// Of unsecured registrations: whose a secured peer is, is what it is.
    by_address: HashMap<SocketAddr, u32>,
    hasher: DefaultHashBuilder,
}

/// Marks the slot behind a command's token. So many devices can't be.
const REQUEST: u32 = 1 << 31;

/// What a token is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenOf {
    /// An observation of ours.
    Observation,
    /// A command, or something else that went down.
    Command,
}

#[derive(Debug)]
struct Entry {
    device_id: DeviceId,
    location: Option<u64>,
    /// Of observations, then of commands.
    tokens: Box<[u64]>,
    peer: Option<Peer>,
    /// When the earliest timer in the shard's wheel is due, in its ticks.
    timer_at: Option<u64>,
}

/// By what a device is recognised.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placement {
    pub location: Option<u64>,
    /// Of observations.
    pub tokens: Box<[u64]>,
    /// Of commands whose answers are known.
    pub requests: Box<[u64]>,
    /// Where it can be reached; `None` when its registration has ended.
    pub peer: Option<Peer>,
    /// It was heard from there just now: the address is its own, whoever had it before.
    pub is_heard: bool,
}

impl Placement {
    /// As the state says at `now`.
    pub fn of(device: &DeviceRecord, state: &StateRecord, now: Timestamp) -> Self {
        let alive = state
            .registration
            .as_ref()
            .filter(|r| expires_at(r.updated_at, r.lifetime_s).is_none_or(|at| now < at));
        Self {
            location: state.location,
            tokens: state.observations.iter().map(|o| o.token).collect(),
            requests: tokens_of(state),
            peer: alive.map(|r| peer_of(device, r)),
            is_heard: false,
        }
    }
}

fn tokens_of(state: &StateRecord) -> Box<[u64]> {
    let open = state.queue.open.iter().map(|open| open.token);
    let recent = state.queue.recent.iter().map(|recent| recent.token);
    let upgrade = state.upgrade.as_ref().and_then(|u| u.open);
    // That of an observation is with it.
    let asked = upgrade.filter(|open| !open.ask.is_observation());
    // Answers to a device that speaks after its upgrade's end go with it, too.
    let answers = state.upgrade.as_ref().map(|u| u.answers);
    open.chain(recent)
        .chain(asked.map(|open| open.token))
        .chain(answers)
        .collect()
}

/// Where a registration says that its device is reached.
pub const fn peer_of(device: &DeviceRecord, registration: &RegistrationRecord) -> Peer {
    if registration.secured {
        Peer::Secured(DeviceSeq(device.seq))
    } else {
        Peer::Plain(registration.peer)
    }
}

impl Directory {
    pub fn by_location(&self, location: u64) -> Option<DeviceId> {
        let tables = self.read();
        tables.device(*tables.by_location.get(&location)?)
    }

    pub fn by_token(&self, token: u64) -> Option<(DeviceId, TokenOf)> {
        let tables = self.read();
        let marked = *tables.by_token.get(&token)?;
        let of = match marked & REQUEST {
            0 => TokenOf::Observation,
            _ => TokenOf::Command,
        };
        Some((tables.device(marked & !REQUEST)?, of))
    }

    /// The unsecured device that was heard from there last.
    pub fn by_address(&self, address: SocketAddr) -> Option<DeviceId> {
        let tables = self.read();
        tables.device(*tables.by_address.get(&address)?)
    }

    /// Where the device's registration says it is.
    pub fn peer_of(&self, device_id: &DeviceId) -> Option<Peer> {
        let tables = self.read();
        let slot = tables.slot(device_id)?;
        tables.entries.get(slot as usize)?.as_ref()?.peer
    }

    /// Whether any device uses this token.
    pub fn is_token_taken(&self, token: u64) -> bool {
        self.read().by_token.contains_key(&token)
    }

    /// Whether any device uses this location.
    pub fn is_location_taken(&self, location: u64) -> bool {
        self.read().by_location.contains_key(&location)
    }

    /// Number of devices.
    pub fn len(&self) -> usize {
        self.read().by_device.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes over what was committed for a device.
    pub fn put(&self, device_id: &DeviceId, placement: &Placement) {
        let Placement {
            location,
            tokens,
            requests,
            peer,
            is_heard,
        } = placement;
        let (location, peer, is_heard) = (*location, *peer, *is_heard);
        let mut tables = self.write();
        let slot = tables.slot_or_insert(device_id);
        let tables = &mut *tables;
        let Some(Some(entry)) = tables.entries.get_mut(slot as usize) else {
            return;
        };
        if entry.location != location {
            if let Some(old) = entry.location.take() {
                tables.by_location.remove(&old);
            }
            if let Some(location) = location {
                tables.by_location.insert(location, slot);
            }
            entry.location = location;
        }
        if !entry.tokens.iter().eq(tokens.iter().chain(requests)) {
            for old in &entry.tokens {
                tables.by_token.remove(old);
            }
            for token in tokens {
                tables.by_token.insert(*token, slot);
            }
            for token in requests {
                tables.by_token.insert(*token, slot | REQUEST);
            }
            entry.tokens = tokens.iter().chain(requests).copied().collect();
        }
        // An address belongs to the device that was heard from it last: the old one may be
        // another's by now, and the new one another's until now.
        if peer.is_some() && !is_heard {
            return;
        }
        let before = std::mem::replace(&mut entry.peer, peer);
        if let Some(Peer::Plain(old)) = before.filter(|_| before != peer)
            && tables.by_address.get(&old) == Some(&slot)
        {
            tables.by_address.remove(&old);
        }
        let former = match peer {
            Some(Peer::Plain(address)) => tables.by_address.insert(address, slot),
            Some(Peer::Secured(_)) | None => None,
        };
        if let Some(former) = former.filter(|former| *former != slot)
            && let Some(Some(former)) = tables.entries.get_mut(former as usize)
        {
            former.peer = None;
        }
    }

    /// Forgets a deleted device. Where it was, and the tokens of what may be under way to it.
    pub fn remove(&self, device_id: &DeviceId) -> Option<(Peer, Box<[u64]>)> {
        let mut tables = self.write();
        let tables = &mut *tables;
        let hash = tables.hasher.hash_one(device_id.as_str());
        let entries = &tables.entries;
        let is_it = |slot: &u32| is_device(entries, *slot, device_id);
        let found = tables.by_device.find_entry(hash, is_it).ok()?;
        let (slot, _) = found.remove();
        let place = tables.entries.get_mut(slot as usize);
        let entry = place.and_then(Option::take)?;
        if let Some(location) = entry.location {
            tables.by_location.remove(&location);
        }
        for token in &entry.tokens {
            tables.by_token.remove(token);
        }
        if let Some(Peer::Plain(address)) = entry.peer
            && tables.by_address.get(&address) == Some(&slot)
        {
            tables.by_address.remove(&address);
        }
        tables.free.push(slot);
        Some((entry.peer?, entry.tokens))
    }

    /// Notes that a timer will fire at `at`. False when an earlier one is there already: then none
    /// must be added.
    pub fn arm(&self, device_id: &DeviceId, at: u64) -> bool {
        let mut tables = self.write();
        let slot = tables.slot_or_insert(device_id);
        let Some(Some(entry)) = tables.entries.get_mut(slot as usize) else {
            return false;
        };
        if entry.timer_at.is_some_and(|armed| armed <= at) {
            return false;
        }
        entry.timer_at = Some(at);
        true
    }

    /// A timer fired: true when it was the device's current one.
    pub fn disarm(&self, device_id: &DeviceId, at: u64) -> bool {
        let mut tables = self.write();
        let Some(slot) = tables.slot(device_id) else {
            return false;
        };
        let Some(Some(entry)) = tables.entries.get_mut(slot as usize) else {
            return false;
        };
        if entry.timer_at != Some(at) {
            return false;
        }
        entry.timer_at = None;
        true
    }

    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tables> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_device(entries: &[Option<Entry>], slot: u32, device_id: &DeviceId) -> bool {
    let entry = entries.get(slot as usize).and_then(Option::as_ref);
    entry.is_some_and(|e| e.device_id == *device_id)
}

impl Tables {
    fn device(&self, slot: u32) -> Option<DeviceId> {
        Some(self.entries.get(slot as usize)?.as_ref()?.device_id.clone())
    }

    fn slot(&self, device_id: &DeviceId) -> Option<u32> {
        let hash = self.hasher.hash_one(device_id.as_str());
        self.by_device
            .find(hash, |slot| is_device(&self.entries, *slot, device_id))
            .copied()
    }

    fn slot_or_insert(&mut self, device_id: &DeviceId) -> u32 {
        if let Some(slot) = self.slot(device_id) {
            return slot;
        }
        let entry = Entry {
            device_id: device_id.clone(),
            location: None,
            tokens: Box::default(),
            peer: None,
            timer_at: None,
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(place) = self.entries.get_mut(slot as usize) {
            *place = Some(entry);
        }
        let Self {
            entries,
            by_device,
            hasher,
            ..
        } = self;
        let hash = hasher.hash_one(device_id.as_str());
        by_device.insert_unique(hash, slot, |slot| {
            let entry = entries.get(*slot as usize).and_then(Option::as_ref);
            entry.map_or(0, |e| hasher.hash_one(e.device_id.as_str()))
        });
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placement(location: u64, token: u64, address: Option<SocketAddr>) -> Placement {
        Placement {
            location: Some(location),
            tokens: Box::new([token]),
            requests: Box::new([token + 1000]),
            peer: address.map(Peer::Plain),
            is_heard: true,
        }
    }

    fn id(text: &str) -> DeviceId {
        DeviceId::parse(text).unwrap()
    }

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn an_address_belongs_to_the_device_that_came_from_it_last() {
        let directory = Directory::default();
        directory.put(&id("a"), &placement(1, 11, Some(peer(1000))));
        directory.put(&id("b"), &placement(2, 12, Some(peer(1000))));
        assert_eq!(directory.by_address(peer(1000)), Some(id("b")));
        // a moves away: b's entry must stay.
        directory.put(&id("a"), &placement(1, 11, Some(peer(2000))));
        assert_eq!(directory.by_address(peer(1000)), Some(id("b")));
        directory.put(&id("a"), &placement(1, 11, Some(peer(1000))));
        assert_eq!(directory.by_address(peer(1000)), Some(id("a")), "a is back");
        // A timer of b must not take it back.
        let unheard = Placement {
            is_heard: false,
            ..placement(2, 12, Some(peer(1000)))
        };
        directory.put(&id("b"), &unheard);
        assert_eq!(directory.by_address(peer(1000)), Some(id("a")));
        directory.put(&id("b"), &placement(2, 12, Some(peer(1000))));
        directory.put(&id("b"), &placement(2, 12, None));
        assert_eq!(directory.by_address(peer(1000)), None);
        let of = |token| directory.by_token(token);
        assert_eq!(of(12), Some((id("b"), TokenOf::Observation)));
        assert_eq!(of(1012), Some((id("b"), TokenOf::Command)));
    }

    #[test]
    fn a_device_that_comes_over_dtls_leaves_its_address_behind() {
        let directory = Directory::default();
        directory.put(&id("a"), &placement(1, 11, Some(peer(1000))));
        let secured = Placement {
            peer: Some(Peer::Secured(DeviceSeq(7))),
            ..placement(1, 11, None)
        };
        directory.put(&id("a"), &secured);
        assert_eq!(directory.by_address(peer(1000)), None);
        assert_eq!(directory.peer_of(&id("a")), secured.peer);
        // Whoever has the address next does not take the session.
        directory.put(&id("b"), &placement(2, 12, Some(peer(1000))));
        assert_eq!(directory.peer_of(&id("a")), secured.peer);
        assert_eq!(directory.by_address(peer(1000)), Some(id("b")));
    }

    #[test]
    fn a_removed_device_leaves_nothing_behind() {
        let directory = Directory::default();
        directory.put(&id("a"), &placement(1, 11, Some(peer(1000))));
        directory.remove(&id("a"));
        assert_eq!(directory.by_location(1), None);
        assert_eq!(directory.by_token(11), None);
        assert_eq!(directory.by_address(peer(1000)), None);
        assert!(directory.is_empty());
        directory.put(&id("c"), &placement(3, 13, None));
        assert_eq!(directory.by_location(3), Some(id("c")));
    }

    #[test]
    fn only_the_earliest_timer_counts() {
        let directory = Directory::default();
        assert!(directory.arm(&id("a"), 100));
        assert!(!directory.arm(&id("a"), 200));
        assert!(directory.arm(&id("a"), 50));
        assert!(!directory.disarm(&id("a"), 100));
        assert!(directory.disarm(&id("a"), 50));
    }
}
