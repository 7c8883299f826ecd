//! Walks every row of a database: decodes it, compares it with its key, follows indexes both
//! ways, and finds parts that are missing or that nobody needs. With the sealing key, it also opens
//! what is sealed. Reads only. Each [`Mistake`] names the row; the walk goes on behind it.

mod catalog;
mod commands;
mod forwarding;
mod indexes;
mod packages;
mod pushes;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use hashbrown::HashMap;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::facts::DeviceFacts;
use super::keys::{self, Meta, Table};
use super::kv::{Kv, Order};
use super::package_files::PackageFiles;
use super::packages::{FileHash, PackageFile};
use super::records::{
    CodecRecord, DeviceRecord, EventRecord, HistoryRecord, ProductRecord, RawRecord, SessionRecord,
    SettingsRecord, StateRecord,
};
use super::replays::ReplaysRecord;
use super::rows::{self, ROW_FORMAT, RowError, Split};
use super::seal::{CHECK_LEN, Sealer};
use super::sealed::SessionHead;
use super::{StoreError, migrate, sealed};
use crate::base::peer::DeviceSeq;

/// Rows read in one go.
const CHUNK: usize = 1024;

/// Something wrong with one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// Table and key.
    pub row: String,
    pub what: String,
}

/// What a walk saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    pub rows: u64,
    pub bytes: u64,
    pub mistakes: u64,
}

/// Walks the database, telling every mistake as it is found, also of the files of packages. `step` is called after each chunk
/// with the totals so far. Without a sealer, or with another key's, what is sealed stays closed.
pub fn check<E: Kv>(
    engine: &E,
    sealer: Option<&Sealer>,
    package_files: &PackageFiles,
    step: &mut dyn FnMut(Totals),
    tell: &mut dyn FnMut(Mistake),
) -> Result<Totals, StoreError> {
    let seal_check = engine.get(&keys::meta(Meta::Seal))?;
    let format = engine.get(&keys::meta(Meta::Format))?;
    let mut walk = Walk {
        engine,
        package_files,
        files: BTreeMap::new(),
        sealer: sealer.filter(|sealer| seal_check.as_deref() == Some(&sealer.check_value())),
        format: format
            .and_then(|row| <[u8; 4]>::try_from(row.as_slice()).ok())
            .map_or(migrate::NEWEST, u32::from_be_bytes),
        tell,
        totals: Totals::default(),
        splits: HashMap::new(),
        last_position: None,
    };
    let (parts, behind) = Table::Parts.span();
    // Parts last: by then every row that may need them was seen.
    for (from, to) in [(&[][..], &parts[..]), (&behind, &[0xff]), (&parts, &behind)] {
        each_chunk_of(engine, from, to, &mut |rows| {
            for (key, row) in &rows {
                walk.totals.rows = walk.totals.rows.saturating_add(1);
                let bytes = key.len().saturating_add(row.len());
                let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
                walk.totals.bytes = walk.totals.bytes.saturating_add(bytes);
                walk.row(key, row)?;
            }
            step(walk.totals);
            Ok(())
        })?;
    }
    walk.files();
    walk.numbers()?;
    Ok(walk.totals)
}

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// Every row, in order of keys, in chunks: between two of them the engine may be read.
pub(super) fn each_chunk<E: Kv>(
    engine: &E,
    take: &mut dyn FnMut(Rows) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    each_chunk_of(engine, &[], &[0xff], take)
}

fn each_chunk_of<E: Kv>(
    engine: &E,
    from: &[u8],
    to: &[u8],
    take: &mut dyn FnMut(Rows) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut from = from.to_vec();
    loop {
        let mut rows = Rows::new();
        engine.range(&from, to, Order::Ascending, &mut |key, row| {
            rows.push((key.to_vec(), row.to_vec()));
            if rows.len() < CHUNK {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        let Some((last, _)) = rows.last() else {
            return Ok(());
        };
        from.clone_from(last);
        from.push(0);
        take(rows)?;
    }
}

struct Walk<'a, E> {
    engine: &'a E,
    package_files: &'a PackageFiles,
    /// Files that packages name, each with the key of one that does.
    files: BTreeMap<FileHash, (PackageFile, Vec<u8>)>,
    sealer: Option<&'a Sealer>,
    /// Of the database.
    format: u32,
    tell: &'a mut dyn FnMut(Mistake),
    totals: Totals,
    /// Split values seen so far.
    splits: HashMap<u64, Split>,
    last_position: Option<u64>,
}

impl<E: Kv> Walk<'_, E> {
    /// The first format sealed nothing.
    const fn is_in_the_open(&self) -> bool {
        self.format == 1
    }

    fn mistake(&mut self, key: &[u8], what: impl Into<String>) {
        self.totals.mistakes = self.totals.mistakes.saturating_add(1);
        (self.tell)(Mistake {
            row: keys::show(key),
            what: what.into(),
        });
    }

    fn row(&mut self, key: &[u8], row: &[u8]) -> Result<(), StoreError> {
        let Some(table) = Table::of(key) else {
            self.mistake(key, "no table has this prefix");
            return Ok(());
        };
        match table {
            Table::Meta => self.meta(key, row),
            Table::Devices => self.device(key, row)?,
            Table::States => {
                if let Some(state) = self.record::<StateRecord>(key, row)? {
                    self.queued(key, &state)?;
                }
                self.belongs(key, Table::Devices)?;
            }
            Table::Nodes | Table::Order | Table::Members | Table::Names => self.index(key, row)?,
            Table::Products => {
                if let Some(product) = self.record::<ProductRecord>(key, row)?
                    && keys::product(&product.product_id) != key
                {
                    self.mistake(key, format!("holds product {}", product.product_id));
                }
            }
            Table::Codecs => {
                self.record::<CodecRecord>(key, row)?;
                self.belongs(key, Table::Products)?;
            }
            Table::CodecVersions => {
                self.record::<CodecRecord>(key, row)?;
                self.codec_version(key)?;
            }
            Table::Settings => {
                self.record::<SettingsRecord>(key, row)?;
                self.belongs(key, Table::Products)?;
            }
            Table::Replays => {
                self.record::<ReplaysRecord>(key, row)?;
                self.belongs(key, Table::Products)?;
            }
            Table::History => {
                let record = self.record::<HistoryRecord>(key, row)?;
                self.time_of_key(key, record.map(|record| record.received_at));
            }
            Table::Raw => {
                let record = self.record::<RawRecord>(key, row)?;
                self.time_of_key(key, record.map(|record| record.received_at));
            }
            Table::Events => {
                self.record::<EventRecord>(key, row)?;
                self.position(key);
            }
            Table::Parts => self.part(key, row),
            Table::Deliveries | Table::SetAside => self.pushes(table, key, row)?,
            Table::Sessions => self.session(key, row)?,
            Table::Apps
            | Table::Groups
            | Table::Tasks
            | Table::Subtasks
            | Table::Files
            | Table::Contents
            | Table::Certificates
            | Table::Audit => self.catalog(table, key, row)?,
            Table::Packages => self.package(key, row)?,
            Table::PackageNames => self.package_name(key, row)?,
            Table::Forwarding => self.forwarding(key, row)?,
            Table::Queue | Table::Ended | Table::Submissions => self.command(table, key, row)?,
        }
        Ok(())
    }

    fn meta(&mut self, key: &[u8], row: &[u8]) {
        let numbers = [Meta::Seq, Meta::Serial, Meta::Batch];
        if key == keys::meta(Meta::Format) {
            let known = (1..=migrate::NEWEST).any(|format| row == format.to_be_bytes());
            if !known {
                self.mistake(key, format!("is no number from 1 to {}", migrate::NEWEST));
            }
        } else if key == keys::meta(Meta::Seal) {
            if row.len() != CHECK_LEN {
                self.mistake(key, format!("is no check value of {CHECK_LEN} bytes"));
            }
        } else if key == keys::meta(Meta::Generation) {
            if let Err(e) = rows::decode::<serde::de::IgnoredAny>(row) {
                self.mistake(key, e.to_string());
            }
        } else if !numbers.iter().any(|name| keys::meta(*name) == key) {
            self.mistake(key, "nothing has this name");
        } else if row.len() != 8 {
            self.mistake(key, "is no number of 8 bytes");
        }
    }

    fn device(&mut self, key: &[u8], row: &[u8]) -> Result<(), StoreError> {
        let (sealer, in_the_open) = (self.sealer, self.is_in_the_open());
        let read = |whole: &[u8]| match sealer {
            _ if in_the_open && whole.first() == Some(&ROW_FORMAT) => rows::decode(whole),
            Some(sealer) => sealed::decode_device(key, whole, sealer),
            None => rows::split_sealed(whole).and_then(|_| rows::decode_beside(whole)),
        };
        let Some(device) = self.record_with::<DeviceRecord>(key, row, &read)? else {
            return Ok(());
        };
        if keys::device(&device.device_id) != key {
            self.mistake(key, format!("holds device {}", device.device_id));
            return Ok(());
        }
        let device = DeviceFacts::from(device);
        for (index, value) in self.indexes_of(&device) {
            if self.engine.get(&index)?.as_ref() != Some(&value) {
                let index = keys::show(&index);
                self.mistake(key, format!("no index row {index} points here"));
            }
        }
        if self
            .engine
            .get(&keys::product(&device.product_id))?
            .is_none()
        {
            self.mistake(key, format!("there is no product {}", device.product_id));
        }
        if device.seq >= self.number(Meta::Seq)? {
            self.mistake(key, format!("seq {} was never reserved", device.seq));
        }
        Ok(())
    }

    /// A session belongs to a device that is there.
    fn session(&mut self, key: &[u8], row: &[u8]) -> Result<(), StoreError> {
        let Some(seq) = keys::leading_number(key).filter(|_| key.len() == 9) else {
            self.mistake(key, "the key is no device seq of 8 bytes");
            return Ok(());
        };
        let owner = self.engine.get(&keys::order(seq))?;
        if owner.is_none() {
            self.mistake(key, format!("there is no device with seq {seq}"));
        }
        let Some(sealer) = self.sealer else {
            self.record_with::<SessionHead>(key, row, &|whole| {
                rows::split_sealed(whole).and_then(|_| rows::decode_beside(whole))
            })?;
            return Ok(());
        };
        let read = |whole: &[u8]| {
            let head: SessionHead = rows::decode_beside(whole)?;
            Ok((head, sealed::decode_session(key, whole, sealer)?))
        };
        let Some((head, session)) =
            self.record_with::<(SessionHead, SessionRecord)>(key, row, &read)?
        else {
            return Ok(());
        };
        if session.device_seq != DeviceSeq(seq) || session.number != head.number {
            let what = format!(
                "holds session {} of the device with seq {}",
                session.number, session.device_seq.0
            );
            self.mistake(key, what);
        }
        if owner.is_some_and(|owner| owner != session.device_id.as_str().as_bytes()) {
            self.mistake(key, format!("belongs to device {}", session.device_id));
        }
        Ok(())
    }

    fn belongs(&mut self, key: &[u8], owners: Table) -> Result<(), StoreError> {
        let mut owner = vec![owners.prefix()];
        owner.extend_from_slice(key.get(1..).unwrap_or_default());
        if self.engine.get(&owner)?.is_none() {
            self.mistake(key, format!("there is no row {}", keys::show(&owner)));
        }
        Ok(())
    }

    fn time_of_key(&mut self, key: &[u8], received_at: Option<crate::base::time::Timestamp>) {
        match (keys::split_timed(key), received_at) {
            (None, _) => self.mistake(key, "the key is not seq, time and serial"),
            (Some((_, at)), Some(inside)) if at.received_at != inside => {
                self.mistake(key, format!("the record was received at {inside}"));
            }
            (Some(_), _) => {}
        }
    }

    /// Positions follow one another: a gap means that the engine lost rows without saying so, and
    /// not only of this table.
    fn position(&mut self, key: &[u8]) {
        let Some(position) = keys::leading_number(key).filter(|_| key.len() == 9) else {
            self.mistake(key, "the key is no position of 8 bytes");
            return;
        };
        let expected = self
            .last_position
            .map_or(position, |last| last.saturating_add(1));
        if position != expected {
            let last = position.saturating_sub(1);
            self.mistake(
                key,
                format!("events {expected} to {last} are missing before it"),
            );
        }
        self.last_position = Some(position);
    }

    fn part(&mut self, key: &[u8], row: &[u8]) {
        let index = key.get(9..).and_then(|rest| <[u8; 2]>::try_from(rest).ok());
        let (Some(id), Some(index)) = (keys::leading_number(key), index) else {
            self.mistake(key, "the key is not split id and index");
            return;
        };
        let needed = self
            .splits
            .get(&id)
            .is_some_and(|split| u16::from_be_bytes(index) < split.parts);
        if !needed {
            self.mistake(key, format!("{} bytes that no row needs", row.len()));
        }
    }

    /// The record of a row, if it is sound.
    fn record<T: DeserializeOwned>(
        &mut self,
        key: &[u8],
        row: &[u8],
    ) -> Result<Option<T>, StoreError> {
        self.record_with(key, row, &|whole| rows::decode(whole))
    }

    fn record_with<T>(
        &mut self,
        key: &[u8],
        row: &[u8],
        decode: &dyn Fn(&[u8]) -> Result<T, RowError>,
    ) -> Result<Option<T>, StoreError> {
        match Split::decode(row) {
            Ok(Some(split)) => {
                if let Some(other) = self.splits.insert(split.id, split) {
                    self.mistake(
                        key,
                        format!("shares split id {} with another row", other.id),
                    );
                }
            }
            Ok(None) => {}
            Err(e) => self.mistake(key, e.to_string()),
        }
        let Some(whole) = self.join(row)? else {
            self.mistake(key, "a part of it is missing");
            return Ok(None);
        };
        match decode(&whole) {
            Ok(record) => Ok(Some(record)),
            Err(e) => {
                self.mistake(key, e.to_string());
                Ok(None)
            }
        }
    }

    fn join(&self, row: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        rows::join(row.to_vec(), |part| self.engine.get(part))
    }

    fn number(&self, name: Meta) -> Result<u64, StoreError> {
        let value = self.engine.get(&keys::meta(name))?.unwrap_or_default();
        Ok(<[u8; 8]>::try_from(value.as_slice()).map_or(0, u64::from_be_bytes))
    }

    /// The rows that must be there, whatever else is.
    fn numbers(&mut self) -> Result<(), StoreError> {
        for name in [Meta::Format, Meta::Seal] {
            let key = keys::meta(name);
            let needed = name == Meta::Format || !self.is_in_the_open();
            if needed && self.engine.get(&key)?.is_none() {
                self.mistake(&key, "is missing");
            }
        }
        Ok(())
    }
}
