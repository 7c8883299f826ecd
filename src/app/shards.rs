//! The way to the shards: whoever has something for a device hands it over here.

use std::sync::Arc;

use crc::{CRC_64_XZ, Crc, Table};
use tokio::sync::mpsc;

use super::input::Input;
use super::order::{Order, OrderError, Ticket, Told};
use crate::base::ids::DeviceId;
use crate::store::StoreError;

/// Inputs that wait for one shard.
const QUEUE_LEN: usize = 4096;

const KEY: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

/// An input and its device.
#[derive(Debug)]
pub struct Addressed {
    pub device_id: DeviceId,
    pub input: Input,
}

/// Every shard's intake. While it is held, the shards go on.
#[derive(Debug)]
pub struct Shards(Box<[mpsc::Sender<Addressed>]>);

/// The same for those who don't keep the shards going. Clones share them.
#[derive(Debug, Clone)]
pub struct ShardsLink(Arc<[mpsc::WeakSender<Addressed>]>);

impl Shards {
    /// So many, at least one, with their receiving ends.
    pub fn new(count: usize) -> (Self, Vec<mpsc::Receiver<Addressed>>) {
        let channels = (0..count.max(1)).map(|_| mpsc::channel(QUEUE_LEN));
        let (senders, receivers): (Vec<_>, Vec<_>) = channels.unzip();
        (Self(senders.into()), receivers)
    }

    /// Hands an input to its device's shard; waits while that is behind.
    pub async fn hand(&self, device_id: DeviceId, input: Input) {
        if let Some(shard) = self.0.get(shard_of(&device_id, self.0.len())) {
            // Closed when the server stops.
            drop(shard.send(Addressed { device_id, input }).await);
        }
    }

    pub fn link(&self) -> ShardsLink {
        ShardsLink(self.0.iter().map(mpsc::Sender::downgrade).collect())
    }
}

impl ShardsLink {
    /// Gives an order to a device's shard, and waits until it is durable or refused.
    pub async fn order(&self, device_id: &DeviceId, order: Order) -> Result<Told, OrderError> {
        let (ticket, answer) = Ticket::new();
        let shard = self.0.get(shard_of(device_id, self.0.len()));
        let shard = shard.and_then(mpsc::WeakSender::upgrade);
        let shard = shard.ok_or(StoreError::Closed)?;
        let addressed = Addressed {
            device_id: device_id.clone(),
            input: Input::Order { order, ticket },
        };
        // Closed when the server stops.
        drop(shard.send(addressed).await);
        drop(shard);
        answer.await.unwrap_or(Err(StoreError::Closed.into()))
    }
}

/// The shard of a device, of so many.
pub fn shard_of(device_id: &DeviceId, shards: usize) -> usize {
    // Seeded by fixed numbers: every task must agree.
    let sum = KEY.checksum(device_id.as_str().as_bytes());
    usize::try_from(sum % shards.max(1) as u64).unwrap_or(0)
}
