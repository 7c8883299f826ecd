//! The format of the whole database: one number in the meta table, one step per version.
//!
//! | format | since | rows |
//! |---|---|---|
//! | 1 | 0.1.0 | as in `keys.rs` and `rows.rs` |
//!
//! A step reads format N and writes N + 1, in batches that may be repeated after a crash; the
//! number is written last. Errors: `StoreError::Format` for a newer database.

use super::StoreError;
use super::engine::{Kv, Order, Writes};
use super::keys::{self, Meta};

/// The format that this version writes.
pub const NEWEST: u32 = 1;

/// Brings the database to [`NEWEST`]; an empty one gets that number.
pub fn migrate<E: Kv>(engine: &E) -> Result<(), StoreError> {
    let key = keys::meta(Meta::Format);
    let found = match engine.get(&key)? {
        None if is_empty(engine)? => return write_format(engine, NEWEST),
        None => {
            return Err(StoreError::Corrupt {
                path: engine.place(),
                reason: "it has rows, but no format number".to_owned(),
            });
        }
        Some(value) => <[u8; 4]>::try_from(value.as_slice())
            .map(u32::from_be_bytes)
            .map_err(|_| StoreError::Corrupt {
                path: engine.place(),
                reason: "its format is no number of 4 bytes".to_owned(),
            })?,
    };
    match found {
        NEWEST => Ok(()),
        _ => Err(StoreError::Format {
            path: engine.place(),
            found,
            newest: NEWEST,
        }),
    }
}

/// Whether the engine holds no row at all.
pub(super) fn is_empty<E: Kv>(engine: &E) -> Result<bool, StoreError> {
    let mut empty = true;
    engine.range(&[], &[0xff], Order::Ascending, &mut |_, _| {
        empty = false;
        std::ops::ControlFlow::Break(())
    })?;
    Ok(empty)
}

fn write_format<E: Kv>(engine: &E, format: u32) -> Result<(), StoreError> {
    let mut writes = Writes::new();
    writes.insert(
        keys::meta(Meta::Format),
        Some(format.to_be_bytes().to_vec()),
    );
    engine.apply(&writes)?;
    engine.sync()
}
