//! Keys of what goes down to devices.

use super::Table;
use crate::base::ids::CommandId;
use crate::base::time::Timestamp;

/// A row of `queue` or `ended`.
pub fn command(table: Table, device_seq: u64, id: CommandId) -> Vec<u8> {
    command_at(table, device_seq, id.created_at, id.seq)
}

/// The smallest key of commands that a device got from `at` on, with a number from `seq` on.
pub fn command_at(table: Table, device_seq: u64, at: Timestamp, seq: u64) -> Vec<u8> {
    table.key(&[
        &device_seq.to_be_bytes(),
        &at.as_ms().to_be_bytes(),
        &seq.to_be_bytes(),
    ])
}

/// Device seq and id of a row of `queue` or `ended`; `None` when the key has another shape.
pub fn split_command(key: &[u8]) -> Option<(u64, CommandId)> {
    let (_, rest) = key.split_first()?;
    let (device_seq, rest) = rest.split_first_chunk::<8>()?;
    let (ms, rest) = rest.split_first_chunk::<8>()?;
    let seq: [u8; 8] = rest.try_into().ok()?;
    let id = CommandId {
        created_at: Timestamp::from_ms(u64::from_be_bytes(*ms)),
        seq: u64::from_be_bytes(seq),
    };
    Some((u64::from_be_bytes(*device_seq), id))
}

/// From the smallest key of a device's rows in `queue`, `ended` or `submissions` to the smallest above them.
pub fn of_device(table: Table, device_seq: u64) -> (Vec<u8>, Vec<u8>) {
    let from = table.key(&[&device_seq.to_be_bytes()]);
    let to = match device_seq.checked_add(1) {
        Some(next) => table.key(&[&next.to_be_bytes()]),
        None => table.span().1,
    };
    (from, to)
}

pub fn submission(device_seq: u64, name: &[u8; 16]) -> Vec<u8> {
    Table::Submissions.key(&[&device_seq.to_be_bytes(), name])
}
