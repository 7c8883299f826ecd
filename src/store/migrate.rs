//! The format of the whole database: one number in the meta table, one step per version.
//!
//! | format | since | rows |
//! |---|---|---|
//! | 1 | 0.1.0 | as in `keys.rs` and `rows.rs`, secrets of devices in the open |
//! | 2 | unreleased | secrets of devices sealed (`sealed.rs`), check value of the sealing key |
//!
//! A step reads format N and writes N + 1, in batches that may be repeated after a crash; the
//! number is written last. Errors: `StoreError::Format` for a newer database, `StoreError::Key`
//! for another sealing key than the database's.

use std::ops::ControlFlow;

use super::engine::{Kv, Order, Writes};
use super::keys::{self, Meta, Table};
use super::records::DeviceRecord;
use super::rows::{self, ROW_FORMAT, ROW_WHOLE_MAX, RowError, Split};
use super::seal::{CHECK_LEN, Sealer};
use super::{StoreError, sealed};

/// The format that this version writes.
pub const NEWEST: u32 = 2;

/// Rows rewritten in one batch.
const STEP: usize = 256;

/// Brings the database to [`NEWEST`]; an empty one gets that number.
pub fn migrate<E: Kv>(engine: &E, sealer: &Sealer) -> Result<(), StoreError> {
    match format(engine)? {
        None => write_format(engine, sealer),
        Some(NEWEST) => must_fit(engine, sealer),
        Some(1) => {
            seal_secrets(engine, sealer)?;
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
    let (mut from, to) = Table::Devices.span();
    let mut split = next_split(engine)?;
    let mut count = 0_usize;
    loop {
        engine.apply(&writes)?;
        engine.sync()?;
        writes.clear();
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
            break;
        };
        from.clone_from(last);
        from.push(0);
        for (key, row) in chunk {
            let sealed = seal_device(engine, sealer, &key, row, &mut split, &mut writes);
            count = count.saturating_add(usize::from(sealed?));
        }
    }
    if count > 0 {
        tracing::info!(
            devices = count,
            "their secrets are sealed now; `strait store export` and `import` into a new directory \
             also rid the disk of old copies in the open"
        );
    }
    Ok(())
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
    let wrong = |e: RowError| corrupt(engine, &format!("{}: {e}", keys::show(key)));
    let old = Split::decode(&row).map_err(wrong)?;
    let whole = rows::join(row, |part| engine.get(part))?.ok_or_else(|| {
        let row = keys::show(key);
        corrupt(engine, &format!("{row}: a part of it is missing"))
    })?;
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
