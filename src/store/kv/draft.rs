//! One batch in the making: commits are judged one after the other against the engine and what
//! the batch has written so far. A commit whose guard fails leaves no trace; a read of the engine
//! that fails among the changes spoils the whole batch ([`StepError::Engine`]).

use std::ops::ControlFlow;

use super::heads::{DeviceMark, Heads, StateMark};
use super::plan::{Plan, Step};
use super::reader;
use super::{Kv, Order, Writes};
use crate::base::ids::{DeviceId, ProductId};
use crate::base::peer::DeviceSeq;
use crate::store::catalog::VersionHead;
use crate::store::facts::{DeviceFacts, StateFacts};
use crate::store::index::{Keys, Life, Owner, Touch, Versions};
use crate::store::keys;
use crate::store::rows::{self, ROW_WHOLE_MAX, RowError, Split};
use crate::store::{Guard, HistoryKey, StoreError};

/// Numbers that the committer gives out. Those of a failed batch are given again, but for
/// serials and split ids, which need not be dense.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counters {
    /// Newest event position given.
    pub(super) position: u64,
    /// The next serial and the durable bound it stays below.
    pub(super) serial: u64,
    pub(super) serial_end: u64,
    pub(super) split: u64,
}

/// Serials are reserved by so many: one meta row in a million commits.
pub(super) const SERIAL_BLOCK: u64 = 1_000_000;

/// Why a commit is not in the batch.
#[derive(Debug)]
pub(super) enum StepError {
    Conflict(Guard),
    /// A row that a guard asks for is damaged; the rest of the batch is fine.
    Damaged(StoreError),
    Engine(StoreError),
}

impl From<StoreError> for StepError {
    fn from(e: StoreError) -> Self {
        Self::Engine(e)
    }
}

pub(super) struct Draft<'a, E> {
    engine: &'a E,
    heads: &'a mut Heads,
    pub(super) counters: &'a mut Counters,
    keys: &'a Keys,
    pub(super) writes: Writes,
    /// What the writes change of the index, in order.
    pub(super) touches: Vec<Touch>,
}

impl<'a, E: Kv> Draft<'a, E> {
    pub(super) fn new(
        engine: &'a E,
        heads: &'a mut Heads,
        counters: &'a mut Counters,
        keys: &'a Keys,
    ) -> Self {
        Self {
            engine,
            heads,
            counters,
            keys,
            writes: Writes::new(),
            touches: Vec::new(),
        }
    }

    /// Checks every guard, then takes every change.
    pub(super) fn add(&mut self, plan: Plan) -> Result<(), StepError> {
        for guard in plan.guards {
            match self.holds(&guard) {
                Ok(true) => {}
                Ok(false) => return Err(StepError::Conflict(guard)),
                Err(e @ StoreError::Corrupt { .. }) => return Err(StepError::Damaged(e)),
                Err(e) => return Err(StepError::Engine(e)),
            }
        }
        for step in plan.steps {
            self.take(step)?;
        }
        Ok(())
    }

    fn take(&mut self, step: Step) -> Result<(), StoreError> {
        match step {
            Step::Device { facts, row } => self.put_device(&facts, row)?,
            Step::DeleteDevice(id) => self.delete_device(&id)?,
            Step::State { id, facts, row } => self.put_state(&id, &facts, row)?,
            Step::Owner {
                key,
                row,
                more,
                deleting,
                owner,
            } => {
                let there = row.is_some() && !deleting;
                self.heads.owners.remember(&key, there);
                if let (None, Owner::Product(id)) = (&row, &owner) {
                    let (from, to) = keys::codec_versions(id);
                    self.remove_span(&from, &to)?;
                }
                self.touches.push(Touch::Owner {
                    key: self.keys.owner(&owner),
                    owner,
                    leaving: deleting,
                });
                match row {
                    Some(row) => self.replace(key, row)?,
                    None => self.remove(key)?,
                }
                for key in more {
                    self.remove(key)?;
                }
            }
            Step::Put { key, row } => self.replace(key, row)?,
            Step::PutTwo(rows) => {
                for (key, row) in rows {
                    self.replace(key, row)?;
                }
            }
            Step::Remove(keys) => {
                for key in keys {
                    self.remove(key)?;
                }
            }
            Step::Move { from, to } => {
                self.remove(from)?;
                if let Some((key, row)) = to {
                    self.replace(key, row)?;
                }
            }
            Step::Timed {
                table,
                device_seq,
                received_at,
                row,
            } => {
                let serial = self.next_serial();
                let at = HistoryKey {
                    received_at,
                    serial,
                };
                self.put(keys::timed(table, device_seq, at), row)?;
            }
            Step::Event { row } => {
                self.counters.position = self.counters.position.saturating_add(1);
                self.put(keys::event(self.counters.position), row)?;
            }
        }
        Ok(())
    }

    fn put_device(&mut self, facts: &DeviceFacts, row: Vec<u8>) -> Result<(), StoreError> {
        let id = &facts.device_id;
        let old = self.drop_indexes(id)?;
        let entry = self.keys.entry(facts);
        match old {
            Some(old) if old.seq == facts.seq => self.touches.push(Touch::Change {
                old: self.keys.entry(&old),
                new: entry,
            }),
            old => {
                if let Some(old) = old {
                    self.remove(keys::session(DeviceSeq(old.seq)))?;
                    self.forget_device(&old)?;
                }
                // A state may be there before its device, or have been another's with this id.
                let state = self.record::<StateFacts>(&keys::state(id))?;
                let life = state.map_or_else(Life::default, |state| Life {
                    heard: state.last_heard(),
                    versions: self.keys.versions(&state),
                });
                self.touches.push(Touch::Add(entry, life));
            }
        }
        let value = id.as_str().as_bytes();
        let (seq, version) = (facts.seq, facts.version);
        self.write(keys::node(&facts.node_id), keys::node_value(seq, id));
        self.write(keys::order(seq), value.to_vec());
        self.write(keys::member(&facts.product_id, seq), value.to_vec());
        if let Some(name) = &facts.device_name {
            self.write(keys::name(name, seq), value.to_vec());
        }
        self.replace(keys::device(id), row)?;
        let mark = DeviceMark { seq, version };
        self.heads.devices.remember(id, Some(mark));
        Ok(())
    }

    fn delete_device(&mut self, id: &DeviceId) -> Result<(), StoreError> {
        if let Some(old) = self.drop_indexes(id)? {
            self.remove(keys::session(DeviceSeq(old.seq)))?;
            self.forget_device(&old)?;
            self.remove_queue(old.seq)?;
        }
        self.remove(keys::device(id))?;
        self.remove(keys::state(id))?;
        self.heads.devices.remember(id, None);
        self.heads.states.remember(id, None);
        Ok(())
    }

    fn put_state(
        &mut self,
        id: &DeviceId,
        facts: &StateFacts,
        row: Vec<u8>,
    ) -> Result<(), StoreError> {
        let old = self.state_mark(id)?;
        if let Some(split) = old.and_then(|mark| mark.split) {
            self.remove_parts(split);
        }
        let versions = self.keys.versions(facts);
        if let Some(device) = self.device_mark(id)? {
            self.touches.push(Touch::State {
                seq: device.seq,
                heard: facts.last_heard(),
                old: old.map_or_else(Versions::default, |mark| mark.versions),
                new: versions,
            });
        }
        let split = self.put(keys::state(id), row)?;
        let mark = StateMark {
            version: facts.version,
            split,
            versions,
        };
        self.heads.states.remember(id, Some(mark));
        Ok(())
    }

    /// Removes the queued commands of a device.
    fn remove_queue(&mut self, device_seq: u64) -> Result<(), StoreError> {
        let (from, to) = keys::of_device(keys::Table::Queue, device_seq);
        self.remove_span(&from, &to)
    }

    /// Removes the rows of a span of keys: in the engine, then in the batch.
    fn remove_span(&mut self, from: &[u8], to: &[u8]) -> Result<(), StoreError> {
        let mut found = Vec::new();
        let visit = &mut |key: &[u8], _: &[u8]| {
            found.push(key.to_vec());
            ControlFlow::Continue(())
        };
        self.engine.range(from, to, Order::Ascending, visit)?;
        let written = self.writes.keys();
        found.extend(
            written
                .filter(|key| (from..to).contains(&key.as_slice()))
                .cloned(),
        );
        for key in found {
            self.remove(key)?;
        }
        Ok(())
    }

    /// Takes the device out of the index.
    fn forget_device(&mut self, old: &DeviceFacts) -> Result<(), StoreError> {
        let state = self.state_mark(&old.device_id)?;
        let versions = state.map_or_else(Versions::default, |mark| mark.versions);
        let entry = self.keys.entry(old);
        self.touches.push(Touch::Remove(entry, versions));
        Ok(())
    }

    /// Removes the indexes of the device as it is now, where they point to it. Returns what it was.
    fn drop_indexes(&mut self, id: &DeviceId) -> Result<Option<DeviceFacts>, StoreError> {
        let Some(old) = self.record::<DeviceFacts>(&keys::device(id))? else {
            return Ok(None);
        };
        let node = keys::node(&old.node_id);
        let owner = self.read(&node)?;
        let owner = owner.as_deref().and_then(keys::split_node_value);
        if owner.is_some_and(|(_, owner)| owner == id.as_str().as_bytes()) {
            self.writes.insert(node, None);
        }
        let name = old.device_name.as_ref();
        let indexes = [
            Some(keys::order(old.seq)),
            Some(keys::member(&old.product_id, old.seq)),
            name.map(|name| keys::name(name, old.seq)),
        ];
        for key in indexes.into_iter().flatten() {
            if self.read(&key)?.as_deref() == Some(id.as_str().as_bytes()) {
                self.writes.insert(key, None);
            }
        }
        Ok(Some(old))
    }

    /// Serials repeat after four thousand million rows, long after the millisecond they part.
    fn next_serial(&mut self) -> u32 {
        if self.counters.serial >= self.counters.serial_end {
            let end = self.counters.serial.saturating_add(SERIAL_BLOCK);
            self.counters.serial_end = end;
            self.write(keys::meta(keys::Meta::Serial), end.to_be_bytes().to_vec());
        }
        let serial = self.counters.serial;
        self.counters.serial = serial.saturating_add(1);
        let [_, _, _, _, low @ ..] = serial.to_be_bytes();
        u32::from_be_bytes(low)
    }

    pub(super) fn device_mark(&mut self, id: &DeviceId) -> Result<Option<DeviceMark>, StoreError> {
        if let Some(known) = self.heads.devices.recall(id) {
            return Ok(known);
        }
        let head = self.record::<rows::DeviceHead>(&keys::device(id))?;
        let mark = head.map(|head| DeviceMark {
            seq: head.seq,
            version: head.version,
        });
        self.heads.devices.remember(id, mark);
        Ok(mark)
    }

    pub(super) fn state_mark(&mut self, id: &DeviceId) -> Result<Option<StateMark>, StoreError> {
        if let Some(known) = self.heads.states.recall(id) {
            return Ok(known);
        }
        let key = keys::state(id);
        let mark = match self.read(&key)? {
            None => None,
            Some(row) => {
                let split = Split::decode(&row).map_err(|e| self.corrupt(&key, &e))?;
                let facts = self.record::<StateFacts>(&key)?;
                facts.map(|facts| StateMark {
                    version: facts.version,
                    split,
                    versions: self.keys.versions(&facts),
                })
            }
        };
        self.heads.states.remember(id, mark);
        Ok(mark)
    }

    /// Whether there is such a product or space, and it is not being deleted.
    pub(super) fn is_there<T: serde::de::DeserializeOwned>(
        &mut self,
        key: Vec<u8>,
        deleting: fn(&T) -> bool,
    ) -> Result<bool, StoreError> {
        if let Some(known) = self.heads.owners.recall(&key) {
            return Ok(known);
        }
        let record = self.record::<T>(&key)?;
        let there = record.is_some_and(|record| !deleting(&record));
        self.heads.owners.remember(&key, there);
        Ok(there)
    }

    /// The version of a catalog row; 0 when there is none.
    pub(super) fn version(&self, key: &[u8]) -> Result<u64, StoreError> {
        let head = self.record::<VersionHead>(key)?;
        Ok(head.map_or(0, |head| head.version))
    }

    /// Whether no device belongs to the product: in the batch, then in the engine.
    pub(super) fn is_unused(&self, id: &ProductId) -> Result<bool, StoreError> {
        let (from, to) = keys::members(id);
        let joined = self
            .writes
            .iter()
            .any(|(key, value)| value.is_some() && (&from..&to).contains(&key));
        if joined {
            return Ok(false);
        }
        let mut unused = true;
        self.engine
            .range(&from, &to, Order::Ascending, &mut |key, _| {
                if self.writes.contains_key(key) {
                    return ControlFlow::Continue(()); // removed by this batch
                }
                unused = false;
                ControlFlow::Break(())
            })?;
        Ok(unused)
    }

    /// A row as the batch leaves it.
    pub(super) fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.writes.get(key) {
            Some(written) => Ok(written.clone()),
            None => self.engine.get(key),
        }
    }

    /// A record, but for what is sealed in it, as the batch leaves it; split rows are joined.
    pub(super) fn record<T: serde::de::DeserializeOwned>(
        &self,
        key: &[u8],
    ) -> Result<Option<T>, StoreError> {
        let Some(row) = self.read(key)? else {
            return Ok(None);
        };
        let whole = rows::join(row, |part| self.read(part))
            .and_then(|whole| whole.ok_or_else(|| self.missing_part(key)))?;
        rows::decode_beside(&whole)
            .map(Some)
            .map_err(|e| self.corrupt(key, &e))
    }

    fn missing_part(&self, key: &[u8]) -> StoreError {
        reader::corrupt(self.engine, key, "a part of it is missing")
    }

    fn corrupt(&self, key: &[u8], e: &RowError) -> StoreError {
        reader::corrupt(self.engine, key, &e.to_string())
    }

    fn write(&mut self, key: Vec<u8>, row: Vec<u8>) {
        self.writes.insert(key, Some(row));
    }

    /// Writes a row where none is, split when it is long.
    fn put(&mut self, key: Vec<u8>, row: Vec<u8>) -> Result<Option<Split>, StoreError> {
        if row.len() <= ROW_WHOLE_MAX {
            self.write(key, row);
            return Ok(None);
        }
        let split = Split::plan(self.counters.split, &row)
            .map_err(|e| StoreError::Io(format!("{}: {e}", keys::show(&key))))?;
        self.counters.split = self.counters.split.saturating_add(1);
        for (index, part) in (0..split.parts).zip(row.chunks(ROW_WHOLE_MAX)) {
            self.write(keys::part(split.id, index), part.to_vec());
        }
        self.write(key, split.encode());
        Ok(Some(split))
    }

    /// Writes a row and removes the parts of the one before.
    fn replace(&mut self, key: Vec<u8>, row: Vec<u8>) -> Result<(), StoreError> {
        self.remove_old_parts(&key)?;
        self.put(key, row).map(drop)
    }

    /// Removes a row with its parts; nothing when there is none.
    pub(super) fn remove(&mut self, key: Vec<u8>) -> Result<(), StoreError> {
        if self.remove_old_parts(&key)? {
            self.writes.insert(key, None);
        }
        Ok(())
    }

    /// Whether there was a row.
    fn remove_old_parts(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        let Some(old) = self.read(key)? else {
            return Ok(false);
        };
        if let Some(split) = Split::decode(&old).map_err(|e| self.corrupt(key, &e))? {
            self.remove_parts(split);
        }
        Ok(true)
    }

    fn remove_parts(&mut self, split: Split) {
        for index in 0..split.parts {
            self.writes.insert(keys::part(split.id, index), None);
        }
    }
}
