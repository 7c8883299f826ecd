//! Index rows of devices, both ways.

use super::Walk;
use crate::store::StoreError;
use crate::store::facts::DeviceFacts;
use crate::store::keys::{self, Table};
use crate::store::kv::Kv;
use crate::store::rows;

/// The first format whose rows of `nodes` hold a seq, and which has names.
const FORMAT_WITH_NAMES: u32 = 3;

/// Key and row.
type Row = (Vec<u8>, Vec<u8>);

impl<E: Kv> Walk<'_, E> {
    /// The index rows that a device must have.
    pub(super) fn indexes_of(&self, device: &DeviceFacts) -> Vec<Row> {
        let id = device.device_id.as_str().as_bytes().to_vec();
        let seq = device.seq;
        let has_names = self.format >= FORMAT_WITH_NAMES;
        let node = match has_names {
            true => keys::node_value(seq, &device.device_id),
            false => id.clone(),
        };
        let mut rows = vec![
            (keys::node(&device.node_id), node),
            (keys::order(seq), id.clone()),
            (keys::member(&device.product_id, seq), id.clone()),
        ];
        let name = device.device_name.as_ref().filter(|_| has_names);
        rows.extend(name.map(|name| (keys::name(name, seq), id)));
        rows
    }

    /// An index row points to a device that has the indexed value.
    pub(super) fn index(&mut self, key: &[u8], row: &[u8]) -> Result<(), StoreError> {
        let mut device_key = vec![Table::Devices.prefix()];
        if Table::of(key) == Some(Table::Nodes) && self.format >= FORMAT_WITH_NAMES {
            let Some((_, id)) = keys::split_node_value(row) else {
                self.mistake(key, "is no seq and device id");
                return Ok(());
            };
            device_key.extend_from_slice(id);
        } else {
            device_key.extend_from_slice(row);
        }
        let Some(device_row) = self.engine.get(&device_key)? else {
            let device = keys::show(&device_key);
            self.mistake(key, format!("points to {device}, which is missing"));
            return Ok(());
        };
        let device = self.join(&device_row)?;
        let Some(device) = device.and_then(|row| rows::decode_beside::<DeviceFacts>(&row).ok())
        else {
            return Ok(()); // told with the device
        };
        let own = self.indexes_of(&device);
        if !own
            .iter()
            .any(|(index, value)| index == key && value == row)
        {
            let device = keys::show(&device_key);
            self.mistake(key, format!("points to {device}, which differs"));
        }
        Ok(())
    }
}
