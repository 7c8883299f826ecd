//! The format of the whole database: one number in the meta table, one step per version.
//!
//! | format | since | rows |
//! |---|---|---|
//! | 1 | 0.1.0 | as in `keys.rs` and `rows.rs`, secrets of devices in the open |
//! | 2 | unreleased | secrets of devices sealed (`sealed.rs`), check value of the sealing key |
//! | 3 | unreleased | seq in the rows of `nodes`, the table `names`, a record for each resource space |
//!
//! A table that older versions don't know and nothing else depends on changes no format: `codec_versions` fills
//! with the uploads that follow, and the codec that runs counts as a version without a row; `packages` and
//! `package_names` begin empty.
//!
//! A step reads format N and writes N + 1, in batches that may be repeated after a crash; the
//! number is written last. Errors: `StoreError::Format` for a newer database, `StoreError::Key`
//! for another sealing key than the database's.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::catalog::AppRecord;
use super::engine::{Kv, Order, Writes};
use super::facts::DeviceFacts;
use super::keys::{self, Meta, Table};
use super::records::{DeviceRecord, ProductRecord};
use super::rows::{self, ROW_FORMAT, ROW_WHOLE_MAX, RowError, Split};
use super::seal::{CHECK_LEN, Sealer};
use super::{StoreError, sealed};
use crate::base::ids::AppId;
use crate::base::time::Timestamp;

/// The format that this version writes.
pub const NEWEST: u32 = 3;

/// The space that takes what names none.
const DEFAULT_APP: &str = "default";

/// Rows rewritten in one batch.
const STEP: usize = 256;

/// Brings the database to [`NEWEST`]; an empty one gets that number.
pub fn migrate<E: Kv>(engine: &E, sealer: &Sealer) -> Result<(), StoreError> {
    match format(engine)? {
        None => write_format(engine, sealer),
        Some(NEWEST) => must_fit(engine, sealer),
        Some(1) => {
            seal_secrets(engine, sealer)?;
            index_names(engine)?;
            write_format(engine, sealer)
        }
        Some(2) => {
            must_fit(engine, sealer)?;
            index_names(engine)?;
            write_format(engine, sealer)
        }
        Some(found) => Err(StoreError::Format {
            path: engine.place(),
            found,
            newest: NEWEST,
        }),
    }
}

/// The format of the database; `None` when it is empty.
pub fn format<E: Kv>(engine: &E) -> Result<Option<u32>, StoreError> {
    match engine.get(&keys::meta(Meta::Format))? {
        None if is_empty(engine)? => Ok(None),
        None => Err(corrupt(engine, "it has rows, but no format number")),
        Some(value) => <[u8; 4]>::try_from(value.as_slice())
            .map(|bytes| Some(u32::from_be_bytes(bytes)))
            .map_err(|_| corrupt(engine, "its format is no number of 4 bytes")),
    }
}

/// The check value of the key that the database is sealed with; `None`: nothing is sealed yet.
pub fn seal_check<E: Kv>(engine: &E) -> Result<Option<[u8; CHECK_LEN]>, StoreError> {
    let Some(value) = engine.get(&keys::meta(Meta::Seal))? else {
        return Ok(None);
    };
    <[u8; CHECK_LEN]>::try_from(value.as_slice())
        .map(Some)
        .map_err(|_| corrupt(engine, "the check value of its sealing key has no 32 bytes"))
}

fn must_fit<E: Kv>(engine: &E, sealer: &Sealer) -> Result<(), StoreError> {
    let check = seal_check(engine)?
        .ok_or_else(|| corrupt(engine, "the check value of its sealing key is missing"))?;
    Ok(sealer.must_fit(&engine.place(), check)?)
}

/// Whether the engine holds no row at all.
pub(super) fn is_empty<E: Kv>(engine: &E) -> Result<bool, StoreError> {
    let mut empty = true;
    engine.range(&[], &[0xff], Order::Ascending, &mut |_, _| {
        empty = false;
        ControlFlow::Break(())
    })?;
    Ok(empty)
}

fn write_format<E: Kv>(engine: &E, sealer: &Sealer) -> Result<(), StoreError> {
    let mut writes = Writes::new();
    writes.insert(keys::meta(Meta::Format), Some(NEWEST.to_be_bytes().into()));
    writes.insert(keys::meta(Meta::Seal), Some(sealer.check_value().into()));
    engine.apply(&writes)?;
    engine.sync()
}

/// Format 1 to 2. The check value comes first: whoever goes on after a crash needs the same key.
fn seal_secrets<E: Kv>(engine: &E, sealer: &Sealer) -> Result<(), StoreError> {
    if let Some(check) = seal_check(engine)? {
        sealer.must_fit(&engine.place(), check)?;
    }
    let mut writes = Writes::new();
    writes.insert(keys::meta(Meta::Seal), Some(sealer.check_value().into()));
    engine.apply(&writes)?;
    engine.sync()?;
    let mut split = next_split(engine)?;
    let mut count = 0_usize;
    rewrite(engine, Table::Devices, &mut |key, row, writes| {
        let sealed = seal_device(engine, sealer, key, row, &mut split, writes)?;
        count = count.saturating_add(usize::from(sealed));
        Ok(())
    })?;
    if count > 0 {
        tracing::info!(
            devices = count,
            "their secrets are sealed now; `strait store export` and `import` into a new directory \
             also rid the disk of old copies in the open"
        );
    }
    Ok(())
}

/// Adds what a row of a table becomes to the writes.
type Rewrite<'a> = &'a mut dyn FnMut(&[u8], Vec<u8>, &mut Writes) -> Result<(), StoreError>;

/// Walks a table, applying what `each` writes in batches. What a batch writes is not walked again.
fn rewrite<E: Kv>(engine: &E, table: Table, each: Rewrite<'_>) -> Result<(), StoreError> {
    let (mut from, to) = table.span();
    loop {
        let mut chunk = Vec::new();
        engine.range(&from, &to, Order::Ascending, &mut |key, row| {
            chunk.push((key.to_vec(), row.to_vec()));
            if chunk.len() < STEP {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        let Some((last, _)) = chunk.last() else {
            return Ok(());
        };
        from.clone_from(last);
        from.push(0);
        let mut writes = Writes::new();
        for (key, row) in chunk {
            each(&key, row, &mut writes)?;
        }
        if !writes.is_empty() {
            engine.apply(&writes)?;
            engine.sync()?;
        }
    }
}

/// Format 2 to 3: index rows of every device, and a record for each space that is named.
fn index_names<E: Kv>(engine: &E) -> Result<(), StoreError> {
    let mut of_devices = BTreeMap::new();
    rewrite(engine, Table::Devices, &mut |key, row, writes| {
        let row = joined(engine, key, row)?;
        let device: DeviceFacts = rows::decode_beside(&row).map_err(|e| wrong(engine, key, &e))?;
        let (id, seq) = (&device.device_id, device.seq);
        let node = keys::node_value(seq, id);
        writes.insert(keys::node(&device.node_id), Some(node));
        if let Some(name) = &device.device_name {
            let value = id.as_str().as_bytes().to_vec();
            writes.insert(keys::name(name, seq), Some(value));
        }
        keep_older(&mut of_devices, device.app_id, device.created_at);
        Ok(())
    })?;
    let mut spaces = BTreeMap::new();
    rewrite(engine, Table::Products, &mut |key, row, _| {
        let row = joined(engine, key, row)?;
        let product: ProductRecord = rows::decode(&row).map_err(|e| wrong(engine, key, &e))?;
        keep_older(&mut spaces, product.app_id, product.created_at);
        Ok(())
    })?;
    for (app_id, at) in of_devices {
        spaces.entry(app_id).or_insert(at);
    }
    create_spaces(engine, spaces)
}

fn keep_older(known: &mut BTreeMap<AppId, Timestamp>, app_id: AppId, at: Timestamp) {
    let oldest = known.entry(app_id).or_insert(at);
    *oldest = at.min(*oldest);
}

/// A record for each space that has none, as old as what is in it.
fn create_spaces<E: Kv>(engine: &E, spaces: BTreeMap<AppId, Timestamp>) -> Result<(), StoreError> {
    let seq = engine.get(&keys::meta(Meta::Seq))?.unwrap_or_default();
    let mut seq = <[u8; 8]>::try_from(seq.as_slice())
        .map_or(1, u64::from_be_bytes)
        .max(1);
    let mut spaces = spaces.into_iter().peekable();
    while spaces.peek().is_some() {
        let mut writes = Writes::new();
        for (app_id, created_at) in spaces.by_ref().take(STEP) {
            let key = keys::app(&app_id);
            if engine.get(&key)?.is_some() {
                continue;
            }
            let record = AppRecord {
                version: 1,
                app_name: app_id.as_str().to_owned(),
                is_default: app_id.as_str() == DEFAULT_APP,
                app_id,
                seq,
                deleting: false,
                created_at,
            };
            seq = seq.saturating_add(1);
            let row = rows::encode(&record).map_err(|e| wrong(engine, &key, &e))?;
            writes.insert(key, Some(row));
        }
        writes.insert(keys::meta(Meta::Seq), Some(seq.to_be_bytes().into()));
        engine.apply(&writes)?;
        engine.sync()?;
    }
    Ok(())
}

/// The row with its parts.
fn joined<E: Kv>(engine: &E, key: &[u8], row: Vec<u8>) -> Result<Vec<u8>, StoreError> {
    rows::join(row, |part| engine.get(part))?.ok_or_else(|| {
        let row = keys::show(key);
        corrupt(engine, &format!("{row}: a part of it is missing"))
    })
}

fn wrong<E: Kv>(engine: &E, key: &[u8], e: &RowError) -> StoreError {
    corrupt(engine, &format!("{}: {e}", keys::show(key)))
}

/// Adds what seals one device to `writes`. `false`: it is sealed already.
fn seal_device<E: Kv>(
    engine: &E,
    sealer: &Sealer,
    key: &[u8],
    row: Vec<u8>,
    next_split: &mut u64,
    writes: &mut Writes,
) -> Result<bool, StoreError> {
    let wrong = |e: RowError| wrong(engine, key, &e);
    let old = Split::decode(&row).map_err(wrong)?;
    let whole = joined(engine, key, row)?;
    if whole.first() != Some(&ROW_FORMAT) {
        return Ok(false);
    }
    let mut device: DeviceRecord = rows::decode(&whole).map_err(wrong)?;
    if keys::device(&device.device_id) != key {
        let (row, id) = (keys::show(key), &device.device_id);
        return Err(corrupt(engine, &format!("{row} holds device {id}")));
    }
    let row = sealed::encode_device(&mut device, sealer).map_err(wrong)?;
    if let Some(old) = old {
        for index in 0..old.parts {
            writes.insert(keys::part(old.id, index), None);
        }
    }
    if row.len() <= ROW_WHOLE_MAX {
        writes.insert(key.to_vec(), Some(row));
        return Ok(true);
    }
    let split = Split::plan(*next_split, &row).map_err(wrong)?;
    *next_split = next_split.saturating_add(1);
    for (index, part) in (0..split.parts).zip(row.chunks(ROW_WHOLE_MAX)) {
        writes.insert(keys::part(split.id, index), Some(part.to_vec()));
    }
    writes.insert(key.to_vec(), Some(split.encode()));
    Ok(true)
}

/// A split id above all that are in use.
fn next_split<E: Kv>(engine: &E) -> Result<u64, StoreError> {
    let (from, to) = Table::Parts.span();
    let mut last = None;
    engine.range(&from, &to, Order::Descending, &mut |key, _| {
        last = keys::leading_number(key);
        ControlFlow::Break(())
    })?;
    Ok(last.unwrap_or(0).saturating_add(1))
}

fn corrupt<E: Kv>(engine: &E, reason: &str) -> StoreError {
    StoreError::Corrupt {
        path: engine.place(),
        reason: reason.to_owned(),
    }
}
