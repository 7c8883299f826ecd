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
use crate::store::catalog::{AppRecord, VersionHead};
use crate::store::keys;
use crate::store::records::{CodecRecord, ProductRecord, SettingsRecord};
use crate::store::rows::{self, ROW_WHOLE_MAX, RowError, Split};
use crate::store::sealed::SessionHead;
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
    pub(super) writes: Writes,
}

impl<'a, E: Kv> Draft<'a, E> {
    pub(super) fn new(engine: &'a E, heads: &'a mut Heads, counters: &'a mut Counters) -> Self {
        Self {
            engine,
            heads,
            counters,
            writes: Writes::new(),
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

    fn holds(&mut self, guard: &Guard) -> Result<bool, StoreError> {
        Ok(match guard {
            Guard::DeviceAbsent(id) => self.device_mark(id)?.is_none(),
            Guard::DeviceVersion(id, version) => self
                .device_mark(id)?
                .is_some_and(|mark| mark.version == *version),
            Guard::DeviceSeq(id, seq) => self.device_mark(id)?.is_some_and(|mark| mark.seq == *seq),
            Guard::NodeFree(node) => self.read(&keys::node(node))?.is_none(),
            Guard::StateVersion(id, version) => {
                self.state_mark(id)?.map_or(0, |mark| mark.version) == *version
            }
            Guard::SessionNumber(device, number) => {
                let session = self.record::<SessionHead>(&keys::session(*device))?;
                session.map(|session| session.number) == *number
            }
            Guard::SessionUpTo(device, number) => {
                let session = self.record::<SessionHead>(&keys::session(*device))?;
                session.is_none_or(|session| session.number <= *number)
            }
            Guard::ProductAbsent(id) => self.read(&keys::product(id))?.is_none(),
            Guard::ProductExists(id) => self
                .record::<ProductRecord>(&keys::product(id))?
                .is_some_and(|record| !record.deleting),
            Guard::AppVersion(id, version) => self.version(&keys::app(id))? == *version,
            Guard::AppExists(id) => self
                .record::<AppRecord>(&keys::app(id))?
                .is_some_and(|record| !record.deleting),
            Guard::GroupVersion(id, version) => self.version(&keys::group(id))? == *version,
            Guard::TaskVersion(seq, version) => self.version(&keys::task(*seq))? == *version,
            Guard::CertificateVersion(id, version) => {
                self.version(&keys::certificate(id))? == *version
            }
            Guard::ProductVersion(id, version) => self
                .record::<ProductRecord>(&keys::product(id))?
                .is_some_and(|record| record.version == *version),
            Guard::ProductUnused(id) => self.is_unused(id)?,
            Guard::SettingsVersion(id, version) => {
                let settings = self.record::<SettingsRecord>(&keys::settings(id))?;
                settings.map_or(0, |settings| settings.version) == *version
            }
            Guard::CodecTag(id, tag) => {
                let codec = self.record::<CodecRecord>(&keys::codec(id))?;
                codec.map(|codec| codec.etag) == *tag
            }
        })
    }

    fn take(&mut self, step: Step) -> Result<(), StoreError> {
        match step {
            Step::Device {
                id,
                seq,
                version,
                node,
                product,
                row,
            } => {
                let old = self.drop_indexes(&id)?;
                if let Some(old) = old.filter(|old| *old != seq) {
                    self.remove(keys::session(DeviceSeq(old)))?;
                }
                self.write(keys::node(&node), id.as_str().as_bytes().to_vec());
                self.write(keys::order(seq), id.as_str().as_bytes().to_vec());
                self.write(keys::member(&product, seq), id.as_str().as_bytes().to_vec());
                self.replace(keys::device(&id), row)?;
                self.heads
                    .devices
                    .remember(&id, Some(DeviceMark { seq, version }));
            }
            Step::DeleteDevice(id) => {
                if let Some(old) = self.drop_indexes(&id)? {
                    self.remove(keys::session(DeviceSeq(old)))?;
                }
                self.remove(keys::device(&id))?;
                self.remove(keys::state(&id))?;
                self.heads.devices.remember(&id, None);
                self.heads.states.remember(&id, None);
            }
            Step::State { id, version, row } => {
                if let Some(split) = self.state_mark(&id)?.and_then(|mark| mark.split) {
                    self.remove_parts(split);
                }
                let split = self.put(keys::state(&id), row)?;
                self.heads
                    .states
                    .remember(&id, Some(StateMark { version, split }));
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

    /// Removes the indexes of the device as it is now, where they point to it. Returns its seq.
    fn drop_indexes(&mut self, id: &DeviceId) -> Result<Option<u64>, StoreError> {
        let Some(old) = self.record::<rows::DeviceHead>(&keys::device(id))? else {
            return Ok(None);
        };
        let indexes = [
            keys::node(&old.node_id),
            keys::order(old.seq),
            keys::member(&old.product_id, old.seq),
        ];
        for key in indexes {
            if self.read(&key)?.as_deref() == Some(id.as_str().as_bytes()) {
                self.writes.insert(key, None);
            }
        }
        Ok(Some(old.seq))
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

    fn device_mark(&mut self, id: &DeviceId) -> Result<Option<DeviceMark>, StoreError> {
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

    fn state_mark(&mut self, id: &DeviceId) -> Result<Option<StateMark>, StoreError> {
        if let Some(known) = self.heads.states.recall(id) {
            return Ok(known);
        }
        let key = keys::state(id);
        let mark = match self.read(&key)? {
            None => None,
            Some(row) => {
                let split = Split::decode(&row).map_err(|e| self.corrupt(&key, &e))?;
                let head = self.record::<rows::StateHead>(&key)?;
                head.map(|head| StateMark {
                    version: head.version,
                    split,
                })
            }
        };
        self.heads.states.remember(id, mark);
        Ok(mark)
    }

    /// The version of a catalog row; 0 when there is none.
    fn version(&self, key: &[u8]) -> Result<u64, StoreError> {
        let head = self.record::<VersionHead>(key)?;
        Ok(head.map_or(0, |head| head.version))
    }

    /// Whether no device belongs to the product: in the batch, then in the engine.
    fn is_unused(&self, id: &ProductId) -> Result<bool, StoreError> {
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
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.writes.get(key) {
            Some(written) => Ok(written.clone()),
            None => self.engine.get(key),
        }
    }

    /// A record, but for what is sealed in it, as the batch leaves it; split rows are joined.
    fn record<T: serde::de::DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
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
