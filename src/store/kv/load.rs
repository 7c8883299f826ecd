//! The index between disk and memory: built in one pass when the store opens, and kept up by the committer.
//!
//! Only heads of rows are decoded, nothing is unsealed. Errors: `StoreError::Corrupt` names the row.

use std::ops::ControlFlow;

use super::reader::{CHUNK, Reader, above, corrupt};
use super::{Kv, Order, Shared};
use crate::store::StoreError;
use crate::store::facts::{DeviceFacts, StateFacts};
use crate::store::index::{Index, Life, Ordered, Owner, Touch};
use crate::store::keys::{self, Table};
use crate::store::rows;

impl<E: Kv> Reader<'_, E> {
    /// The index of what lies on disk.
    pub(super) fn index(&self) -> Result<Index, StoreError> {
        let mut index = Index::default();
        let keys = index.keys();
        for product in self.products()? {
            let owner = Owner::Product(product.product_id);
            index.apply(Touch::Owner {
                key: keys.owner(&owner),
                owner,
                leaving: product.deleting,
            });
        }
        for app in self.apps()? {
            let owner = Owner::App(app.app_id);
            index.apply(Touch::Owner {
                key: keys.owner(&owner),
                owner,
                leaving: app.deleting,
            });
        }
        self.each_device_row(&mut |(key, row), state| {
            let device =
                self.decode_with(&key, row, &|row| rows::decode_beside::<DeviceFacts>(row))?;
            let state = match state {
                Some((key, row)) => self.decode::<StateFacts>(&key, row)?,
                None => None,
            };
            let life = state.map_or_else(Life::default, |state| Life {
                heard: state.last_heard(),
                versions: keys.versions(&state),
            });
            if let Some(device) = device {
                index.load(&keys.entry(&device), life);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        index.loaded();
        let (from, to) = Table::Nodes.span();
        self.each_indexed(&from, &to, &mut |key, seq| index.nodes.push(&key, seq))?;
        let (from, to) = Table::Names.span();
        self.each_indexed(&from, &to, &mut |key, seq| index.names.push(&key, seq))?;
        Ok(index)
    }

    /// Visits rows of `nodes` or `names` in order: key and device.
    pub(super) fn each_indexed(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(Vec<u8>, u64),
    ) -> Result<(), StoreError> {
        let mut from = from.to_vec();
        loop {
            let rows = self.rows(&from, to, Order::Ascending, CHUNK)?;
            let Some((last, _)) = rows.last() else {
                return Ok(());
            };
            from = above(last);
            let full = rows.len() == CHUNK;
            for (key, value) in rows {
                let seq = keys::indexed_seq(&key, &value)
                    .ok_or_else(|| corrupt(self.engine(), &key, "the index names no device"))?;
                visit(key, seq);
            }
            if !full {
                return Ok(());
            }
        }
    }
}

/// Takes a durable batch into the index, and cuts segments that have grown.
pub(super) fn apply<E: Kv>(shared: &Shared<E>, touches: Vec<Touch>) {
    let mut grown = Vec::new();
    let mut index = shared.index_changing();
    for touch in touches {
        let (node, name) = touch.new_keys();
        let (node, name) = (node.map(<[u8]>::to_vec), name.map(<[u8]>::to_vec));
        index.apply(touch);
        for key in [node, name].into_iter().flatten() {
            if let Some((fence, next)) = ordered(&mut index, &key).and_then(|all| all.grown(&key)) {
                grown.push((key, fence, next));
            }
        }
    }
    drop(index);
    grown.sort();
    grown.dedup_by(|a, b| a.1 == b.1 && a.0.first() == b.0.first());
    for (key, fence, next) in grown {
        cut(shared, &key, &fence, next);
    }
}

/// Cuts the segment from `fence` to `next` in the table of `key`. Without it searches are slower, so a disk that
/// fails here may fail: the next batch tries again.
fn cut<E: Kv>(shared: &Shared<E>, key: &[u8], fence: &[u8], next: Option<Vec<u8>>) {
    let Some((start, end)) = Table::of(key).map(Table::span) else {
        return;
    };
    let mut rows = Vec::new();
    let read = Reader::new(&shared.engine, &shared.sealer).each_indexed(
        fence.max(&start),
        &next.unwrap_or(end),
        &mut |key, seq| rows.push((key, seq)),
    );
    match read {
        Ok(()) => {
            let mut index = shared.index_changing();
            if let Some(all) = ordered(&mut index, key) {
                all.cut(fence, &rows);
            }
        }
        Err(e) => tracing::warn!(error = %e, "a segment of the index could not be cut"),
    }
}

fn ordered<'a>(index: &'a mut Index, key: &[u8]) -> Option<&'a mut Ordered> {
    match Table::of(key)? {
        Table::Nodes => Some(&mut index.nodes),
        Table::Names => Some(&mut index.names),
        _ => None,
    }
}
