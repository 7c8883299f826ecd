//! Keys of the indexes by node id and by name.

use super::Table;
use crate::base::ids::{DeviceId, NodeId};

pub fn node(id: &NodeId) -> Vec<u8> {
    Table::Nodes.key(&[id.as_str().as_bytes()])
}

/// The value of a row of `nodes`.
pub fn node_value(seq: u64, id: &DeviceId) -> Vec<u8> {
    [&seq.to_be_bytes(), id.as_str().as_bytes()].concat()
}

/// Seq and device id of a row of `nodes`; `None` when the value has another shape.
pub fn split_node_value(value: &[u8]) -> Option<(u64, &[u8])> {
    let (seq, id) = value.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*seq), id))
}

/// From the smallest key of node ids that begin so to the smallest above them.
pub fn nodes_with(prefix: &str) -> (Vec<u8>, Vec<u8>) {
    beginning(Table::Nodes.key(&[prefix.as_bytes()]))
}

pub fn name(name: &str, seq: u64) -> Vec<u8> {
    Table::Names.key(&[&escaped(name), &[0, 1], &seq.to_be_bytes()])
}

/// From the smallest key of this name to the smallest above it.
pub fn names_of(name: &str) -> (Vec<u8>, Vec<u8>) {
    let name = escaped(name);
    (
        Table::Names.key(&[&name, &[0, 1]]),
        Table::Names.key(&[&name, &[0, 2]]),
    )
}

/// From the smallest key of names that begin so to the smallest above them.
pub fn names_with(prefix: &str) -> (Vec<u8>, Vec<u8>) {
    beginning(Table::Names.key(&[&escaped(prefix)]))
}

fn escaped(name: &str) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(name.len());
    for byte in name.bytes() {
        escaped.push(byte);
        if byte == 0 {
            escaped.push(0xff);
        }
    }
    escaped
}

/// No byte of a text is ff, nor the one behind it.
fn beginning(from: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let to = [&from[..], &[0xff]].concat();
    (from, to)
}

/// The device of a row of `nodes` or `names`.
pub fn indexed_seq(key: &[u8], value: &[u8]) -> Option<u64> {
    match Table::of(key)? {
        Table::Nodes => split_node_value(value).map(|(seq, _)| seq),
        Table::Names => key.last_chunk::<8>().copied().map(u64::from_be_bytes),
        _ => None,
    }
}
